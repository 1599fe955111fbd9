"""CartPole from the state: the default until it is solved, beside stable-baselines3 with rl-zoo3's settings, in turn.

    pip install stable-baselines3
    python tests/benchmarks/bench_peer.py --seeds 5

Each side is a process of its own, pinned to one processor and one torch thread, seed by seed one after the other.
Stable-baselines3's time is that of `learn` for the 50,000 steps of its recipe, without evaluation; ours is the time
until a model is confirmed on 100 episodes, with every evaluation that it took. Both are then played greedily on 100
episodes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EPISODES = 100
REPORT_SEED = 1_000_000


def peer(seed: int) -> dict[str, Any]:
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
    model.learn(50_000)
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
    return {"seconds": seconds, "steps": 50_000, "mean": statistics.mean(returns)}


def ours(seed: int) -> dict[str, Any]:
    """Train the default until it is solved, and play what it kept."""
    from cartpole_dqn.studies.learning import run_seeds

    with tempfile.TemporaryDirectory() as folder:
        [trial] = run_seeds(["--obs", "state", "--until-solved"], [seed], Path(folder), episodes=EPISODES)
    return {"seconds": trial.solved_wall, "training": trial.solved_seconds, "steps": trial.steps, "mean": trial.best}


def measure(side: str, seed: int) -> dict[str, Any]:
    """Run one side in a process of its own, on one processor."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", __file__, "--side", side, "--first-seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Print a table, or with `--side` one figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--side", choices=["peer", "ours"])
    arguments = parser.parse_args()
    if arguments.side:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
        print(json.dumps({"peer": peer, "ours": ours}[arguments.side](arguments.first_seed)))
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
        a, b = measure("peer", seed), measure("ours", seed)
        solved = b["seconds"] is not None
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
