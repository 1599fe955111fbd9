"""CartPole from the state: the default until it is solved, beside stable-baselines3 with rl-zoo3's settings, in turn.

    pip install stable-baselines3
    python tests/benchmarks/peer.py --seeds 5

Each side is a process of its own, pinned to one processor and one torch thread, seed by seed one after the other.
Stable-baselines3's time is that of `learn` for the 50,000 steps of its recipe, without evaluation; ours is the time
until a model is confirmed on 100 episodes, with every evaluation that it took, and beside it the seconds of training
alone, which is what `cartpole-dqn compare` calls the time to solved. Both are then played greedily on 100
episodes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import pin, timed

EPISODES = 100
REPORT_SEED = 1_000_000


def peer(seed: int, steps: int | None) -> dict[str, Any]:
    """Train stable-baselines3's DQN as rl-zoo3 does on CartPole-v1, and play it."""
    import gymnasium
    import torch
    from stable_baselines3 import DQN

    torch.set_num_threads(1)
    model = DQN(
        "MlpPolicy",
        gymnasium.make("CartPole-v1"),
        learning_rate=2.3e-3,
        batch_size=64,
        buffer_size=100_000,
        learning_starts=1_000,
        gamma=0.99,
        target_update_interval=10,
        train_freq=256,
        gradient_steps=128,
        exploration_fraction=0.16,
        exploration_final_eps=0.04,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )
    began = time.perf_counter()
    model.learn(steps or 50_000)
    seconds = time.perf_counter() - began
    env = gymnasium.make("CartPole-v1")
    returns = []
    for episode in range(EPISODES):
        obs, _ = env.reset(seed=REPORT_SEED + episode)
        total, done = 0.0, False
        while not done:
            action, _ = model.predict(obs, deterministic=True)
            obs, reward, terminated, truncated, _ = env.step(int(action))
            total, done = total + float(reward), terminated or truncated
        returns.append(total)
    return {"seconds": seconds, "steps": steps or 50_000, "mean": statistics.mean(returns)}


def ours(seed: int, steps: int | None) -> dict[str, Any]:
    """Train the default until it is solved, and play what it kept."""
    from cartpole_dqn import train
    from cartpole_dqn.runs.catalogue import summarise_run

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        settings = {"evaluation": {"until_solved": True}}
        run = train(obs="state", steps=steps, seed=seed, out=folder, settings=settings, plain=True)
        mean = run.evaluate(EPISODES).mean
        ended = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
        summary = summarise_run(folder)
    return {
        "seconds": ended["seconds"] + ended["evaluation_seconds"],
        "training": summary.solved_seconds,
        "steps": ended["step"],
        "mean": mean,
        "solved": summary.solved_step is not None,
    }


def main() -> None:
    """Print a table, or with `--side` one figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--side", choices=["peer", "ours"])
    parser.add_argument("--steps", type=int, help="of both sides, for a short try")
    arguments = parser.parse_args()
    if arguments.side:
        pin(1)
        print(json.dumps({"peer": peer, "ours": ours}[arguments.side](arguments.first_seed, arguments.steps)))
        return
    try:
        import stable_baselines3
    except ModuleNotFoundError:
        sys.exit("This comparison needs stable-baselines3: pip install stable-baselines3")
    print(f"stable-baselines3 {stable_baselines3.__version__}\n")
    print("| seed | stable-baselines3: s | score | ours: s to solved | of it training | steps | score | share |")
    print("|---|---|---|---|---|---|---|---|")
    shares = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        short = [] if arguments.steps is None else ["--steps", arguments.steps]
        a, b = (timed("peer.py", "--side", side, "--first-seed", seed, *short) for side in ("peer", "ours"))
        solved = b["solved"]
        shares.append(b["seconds"] / a["seconds"] if solved else float("inf"))
        print(
            f"| {seed} | {a['seconds']:.1f} | {a['mean']:.1f} | "
            + (f"{b['seconds']:.1f} | {b['training']:.1f}" if solved else "not solved | -")
            + f" | {b['steps']:,} | {b['mean']:.1f} | {shares[-1]:.2f} |",
            flush=True,
        )
    print(f"\nmedian share {statistics.median(shares):.2f}, lowest {min(shares):.2f}, highest {max(shares):.2f}")


if __name__ == "__main__":
    main()
