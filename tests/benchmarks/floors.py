"""CartPole until it is solved, by the least and by what others use: steps and seconds to 475, side by side.

    pip install stable-baselines3 opencv-python-headless
    python tests/benchmarks/floors.py --obs pixels --out floors.jsonl
    python tests/benchmarks/floors.py --obs state --out floors.jsonl
    python tests/benchmarks/floors.py --table --out floors.jsonl

Each side trains in a process of its own, pinned to one processor and one torch thread; all take turns, seed by seed.
Results are lines in a file, and what is there is not run again: so a run that was killed goes on.

One yardstick for all: after every 1,000 steps of training, ten greedy episodes. If their mean is 475 or more, 100
greedy episodes on other seeds decide: the first model that has 475 there too is solved. These episodes are held out,
and the same for all sides. "Training" is without them, and "in all" is the whole process with imports.

The sides are the functions below. Each says where its settings are from.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from timing import machine, pin, timed

Act = Callable[[NDArray[Any]], Iterable[Any]]
"""Observations [N, ...] -> N greedy actions."""

EVERY = 1_000
SOLVED, LONGEST = 475.0, 500.0
EPISODES, LANES = (10, 100), 10
CAPS = {"pixels": 30_000, "state": 50_000}
"""Steps after which a side has not solved it."""


class SolvedError(Exception):
    """Ends a side's training."""


class Trial:
    """A training under the yardstick.

    A side calls `start` before its first step, and `check` after every 1,000th, which may raise `SolvedError`.
    """

    def __init__(self, obs: str, seed: int, cap: int) -> None:
        self.obs, self.seed, self.cap = obs, seed, cap
        self.step, self.best, self.mean = 0, -math.inf, math.nan
        self._began = self._checking = np.zeros(2)
        self._envs: list[Any] = []

    @property
    def training(self) -> list[float]:
        """Seconds of training so far, and of the processor's time."""
        return (clock() - self._began - self._checking).tolist()  # type: ignore[no-any-return]

    def start(self, make_env: Callable[[], Any]) -> None:
        """Begin to count. `make_env` makes environments to evaluate in, with the side's observations."""
        self._envs = [make_env() for _ in range(LANES)]
        self._began = clock()

    def check(self, step: int, act: Act) -> None:
        """Evaluate the model of this step, and raise `SolvedError` if it is solved."""
        from cartpole_dqn.contracts.seeding import Stream

        began, self.step = clock(), step
        mean = self._play(act, Stream.SELECT, EPISODES[0])
        self.best = max(self.best, mean)
        if mean >= SOLVED:
            self.mean = self._play(act, Stream.CONFIRM, EPISODES[1])
        self._checking = self._checking + clock() - began
        if mean >= SOLVED and self.mean >= SOLVED:
            raise SolvedError

    def _play(self, act: Act, stream: Any, episodes: int) -> float:
        """Return the mean return; of fewer episodes if `SOLVED` is out of reach after them."""
        from cartpole_dqn.contracts.seeding import episode_seed

        returns: list[float] = []
        while len(returns) < episodes and sum(returns) + LONGEST * (episodes - len(returns)) >= SOLVED * episodes:
            numbers = range(len(returns), len(returns) + LANES)
            returns += self._round(act, [episode_seed(stream, self.seed, self.step, number) for number in numbers])
        return statistics.mean(returns)

    def _round(self, act: Act, seeds: Sequence[int]) -> list[float]:
        obs = np.stack([env.reset(seed=seed)[0] for env, seed in zip(self._envs, seeds, strict=True)])
        returns, going = [0.0] * len(seeds), [True] * len(seeds)
        while any(going):
            for lane, action in enumerate(act(obs)):
                if going[lane]:
                    obs[lane], reward, terminated, truncated, _ = self._envs[lane].step(int(action))
                    returns[lane] += float(reward)
                    going[lane] = not (terminated or truncated)
        return returns


# Sides ----------------------------------------------------------------------------------------------------------------


def random_linear(trial: Trial) -> None:
    """Random weights, one episode each, until one is solved: the push's direction is the sign of a weighted sum.

    Weights are evaluated at once if their episode is a full one, and the best ones so far after every 1,000 steps.
    From pixels they weigh our default's small picture, less that of an episode's first step.
    """
    make_env = our_env(trial.obs)
    env, rng, step, best = make_env(), np.random.default_rng(trial.seed), 0, -math.inf
    zero = env.reset(seed=trial.seed)[0].astype(np.float64) * (trial.obs == "pixels")
    trial.start(make_env)
    chosen = np.zeros(0)
    while step < trial.cap:
        weights = rng.standard_normal(env.observation_space.shape).ravel()
        obs, _ = env.reset(seed=int(rng.integers(2**31)))
        total, done, before = 0.0, False, step
        while not done:
            obs, reward, terminated, truncated, _ = env.step(int((obs - zero).ravel() @ weights > 0))
            total, done, step = total + float(reward), terminated or truncated, step + 1
        if total >= best:
            best, chosen = total, weights
        if total >= LONGEST or step // EVERY > before // EVERY:
            trial.check(step, lambda obs, w=chosen: (obs - zero).reshape(len(obs), -1) @ w > 0)  # type: ignore[misc]


def tutorial(trial: Trial) -> None:
    """The loops of the PyTorch tutorial's notebooks, which `notebook_loops.py` has."""
    import notebook_loops
    import torch

    torch.manual_seed(trial.seed)
    if trial.obs == "pixels":
        trial.start(lambda: notebook_loops.Screens(gymnasium.make("CartPole-v1", render_mode="rgb_array")))
        notebook_loops.run_pixels(trial.cap, trial.seed, lambda step, net: each(trial, step, net))
    else:
        trial.start(lambda: gymnasium.make("CartPole-v1"))
        notebook_loops.run_state(trial.cap, trial.seed, lambda step, net: each(trial, step, net))


def stable_baselines3(trial: Trial) -> None:
    """Stable-baselines3's DQN. Settings are rl-zoo3's of April 2026, for CartPole-v1 from the state.

    From pixels they are those for Atari, with the schedule scaled from 10,000,000 steps to 30,000: learning starts
    after 300 instead of 100,000, exploration ends after 3,000 instead of 1,000,000, and the replay keeps all of the
    run. The observation is Gymnasium's: four grey frames of 84 x 84, resized before they are grey, which is quicker.
    """
    import torch
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback

    torch.set_num_threads(1)
    pixels = trial.obs == "pixels"
    atari: dict[str, Any] = {
        "learning_rate": 1e-4,
        "batch_size": 32,
        "buffer_size": CAPS["pixels"],
        "learning_starts": 300,
        "target_update_interval": 1_000,
        "train_freq": 4,
        "gradient_steps": 1,
        "exploration_fraction": 3_000 / trial.cap,
        "exploration_final_eps": 0.01,
    }
    cartpole: dict[str, Any] = {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1_000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 8_000 / trial.cap,
        "exploration_final_eps": 0.04,
        "policy_kwargs": {"net_arch": [256, 256]},
    }

    class Check(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps % EVERY == 0:
                trial.check(self.num_timesteps, lambda obs: model.predict(obs, deterministic=True)[0])
            return True

    make_env = grey_frames if pixels else lambda: gymnasium.make("CartPole-v1")
    model = DQN(
        "CnnPolicy" if pixels else "MlpPolicy",
        make_env(),
        seed=trial.seed,
        device="cpu",
        **(atari if pixels else cartpole),
    )
    trial.start(make_env)
    model.learn(trial.cap, callback=Check())


def cleanrl(trial: Trial) -> None:
    """CleanRL's settings for `dqn.py`, from the state, in a plain loop written here: 500,000 steps, epsilon from 1 to
    0.05 over the first half, a replay of 10,000, learning from step 10,000 on, every 10 steps."""
    import torch
    from torch import nn

    def network() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 2))

    torch.manual_seed(trial.seed)
    rng = np.random.default_rng(trial.seed)
    env = gymnasium.make("CartPole-v1")
    online, target = network(), network()
    target.load_state_dict(online.state_dict())
    optimiser = torch.optim.Adam(online.parameters(), lr=2.5e-4)
    size = 10_000
    states, next_states = (torch.zeros(size, 4) for _ in range(2))
    actions, rewards, going_on = torch.zeros(size, 1, dtype=torch.int64), torch.zeros(size), torch.zeros(size)
    obs, _ = env.reset(seed=trial.seed)
    trial.start(lambda: gymnasium.make("CartPole-v1"))
    for step in range(trial.cap):
        if rng.random() < max(1 - 0.95 * step / 250_000, 0.05):
            action = int(rng.integers(2))
        else:
            with torch.no_grad():
                action = int(online(torch.from_numpy(obs)).argmax())
        next_obs, reward, terminated, truncated, _ = env.step(action)
        slot = step % size
        states[slot], next_states[slot] = torch.from_numpy(obs), torch.from_numpy(next_obs)
        actions[slot], rewards[slot], going_on[slot] = action, float(reward), float(not terminated)
        obs = env.reset()[0] if terminated or truncated else next_obs
        if step > 10_000 and step % 10 == 0:
            drawn = torch.from_numpy(rng.integers(0, min(step + 1, size), 128))
            with torch.no_grad():
                wanted = rewards[drawn] + 0.99 * going_on[drawn] * target(next_states[drawn]).max(1)[0]
            values = online(states[drawn]).gather(1, actions[drawn])[:, 0]
            loss = nn.functional.mse_loss(values, wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if step > 10_000 and step % 500 == 0:
            target.load_state_dict(online.state_dict())
        each(trial, step + 1, online)


def ours(trial: Trial) -> None:
    """This package's defaults, in the loop of its `Runner` without displays and files."""
    from rich.console import Console

    from cartpole_dqn.plugin.host import load_plugins
    from cartpole_dqn.training.assembly import assemble
    from cartpole_dqn.training.resolve import resolve_config

    host = load_plugins(allowed=())
    flags = {"obs": trial.obs, "seed": trial.seed, "evaluation": {"every": 0}, "device": "cpu", "observer": []}
    config, _ = resolve_config(host, flags=flags)
    made = assemble(config, host, folder=None, console=Console(stderr=True), clock=time.perf_counter)
    trial.start(our_env(trial.obs))
    made.collector.start()
    for step in range(1, trial.cap + 1):
        collected = made.collector.collect(made.agent)
        made.agent.observe(collected.transitions)
        made.agent.learn()
        if collected.endings:
            made.collector.begin([ending.env for ending in collected.endings])
        if step % EVERY == 0:
            trial.check(step, made.agent.policy().act)


SIDES: dict[str, tuple[Callable[[Trial], None], str, Sequence[str]]] = {
    "linear": (random_linear, "random weights of a linear policy", ("pixels", "state")),
    "tutorial": (tutorial, "the PyTorch tutorial's loop", ("pixels", "state")),
    "cleanrl": (cleanrl, "CleanRL's settings for `dqn.py`", ("state",)),
    "sb3": (stable_baselines3, "stable-baselines3, settings of rl-zoo3", ("pixels", "state")),
    "ours": (ours, "**ours**", ("pixels", "state")),
}
"""Each side's function, its name in the table, and its observations."""


def clock() -> NDArray[np.float64]:
    """Return the time, and what this process had of the processor, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def each(trial: Trial, step: int, net: Any) -> None:
    """Check a torch network at every 1,000th step."""
    import torch

    def act(obs: NDArray[Any]) -> Iterable[Any]:
        with torch.no_grad():
            actions: Iterable[Any] = net(torch.as_tensor(obs)).argmax(1).numpy()
            return actions

    if step % EVERY == 0:
        net.eval()
        trial.check(step, act)
        net.train()


def our_env(obs: str) -> Callable[[], Any]:
    """Return what makes environments with our default's observations."""
    from cartpole_dqn.envs.factory import EnvFactory
    from cartpole_dqn.plugin.host import load_plugins
    from cartpole_dqn.training.resolve import resolve_config

    host = load_plugins(allowed=())
    config, _ = resolve_config(host, flags={"obs": obs})
    factory = EnvFactory(config, host)
    return lambda: factory.make(evaluating=True)


def grey_frames() -> Any:
    """Return CartPole as Gymnasium's own wrappers show it: uint8 [4, 84, 84]."""
    from gymnasium import wrappers

    env: Any = wrappers.AddRenderObservation(gymnasium.make("CartPole-v1", render_mode="rgb_array"))
    return wrappers.FrameStackObservation(wrappers.GrayscaleObservation(wrappers.ResizeObservation(env, (84, 84))), 4)


# The command ----------------------------------------------------------------------------------------------------------


def run_side(side: str, obs: str, seed: int, cap: int) -> dict[str, Any]:
    """Train one side; return its figures."""
    trial = Trial(obs, seed, cap)
    try:
        SIDES[side][0](trial)
        solved = False
    except SolvedError:
        solved = True
    training, processor = trial.training
    return {
        "solved": solved,
        "steps": trial.step,
        "training": training,
        "processor": processor,
        "best": trial.best,
        "mean": trial.mean if solved else None,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return the results as Markdown. Medians are over all seeds; one that is not solved counts as slower than any."""
    lines = [
        "| from | side | solved | steps | training, s | of the processor | in all, s | best mean of ten |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for obs in CAPS:
        for side, (_, name, _) in SIDES.items():
            rows = [row for row in results if (row["obs"], row["side"]) == (obs, side)]
            if rows:
                solved = f"{sum(row['solved'] for row in rows)} of {len(rows)}"
                figures = (("steps", 0), ("training", 2), ("processor", 2), ("all", 1))
                cells = [median(rows, figure, digits) for figure, digits in figures]
                lowest, highest = (f"{choose(row['best'] for row in rows):.1f}" for choose in (min, max))
                best = lowest if lowest == highest else f"{lowest} to {highest}"
                lines.append(f"| {obs} | {name} | {solved} | {' | '.join(cells)} | {best} |")
    seeds = sorted({row["seed"] for row in results})
    return "\n".join([*lines, "", f"Seeds {', '.join(map(str, seeds))}.", "", results[-1]["machine"]])


def median(rows: Sequence[dict[str, Any]], figure: str, digits: int) -> str:
    """Return a figure's median (lowest to highest), "-" where a seed is not solved; a lower bound if none is."""
    if not any(row["solved"] for row in rows):
        return f"more than {statistics.median(row[figure] for row in rows):,.{digits}f}"
    figures = [row[figure] if row["solved"] else math.inf for row in rows]
    three = (statistics.median(figures), min(figures), max(figures))
    return "{} ({} to {})".format(*("-" if math.isinf(value) else f"{value:,.{digits}f}" for value in three))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--obs", choices=CAPS, action="append", help="only from these; may be repeated")
    parser.add_argument("--only", choices=SIDES, nargs="+", default=list(SIDES), help="only these sides")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=440)
    parser.add_argument("--steps", type=int, help="another cap for all sides")
    parser.add_argument("--out", type=Path, default=Path("floors.jsonl"), help="the file of results")
    parser.add_argument("--table", action="store_true", help="print the results as a table, and run nothing")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if given.one:
        pin(1)
        print(json.dumps(run_side(given.only[0], given.obs[0], given.first_seed, given.steps)))
        return
    results = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = {(row["obs"], row["side"], row["seed"], row["cap"]) for row in results}
    jobs = [
        (obs, side, seed, given.steps or (500_000 if side == "cleanrl" else CAPS[obs]))
        for obs in given.obs or CAPS
        for seed in range(given.first_seed, given.first_seed + given.seeds)
        for side in given.only
        if obs in SIDES[side][2]
    ]
    jobs = [job for job in jobs if job not in done and not given.table]
    if any(side == "sb3" for _, side, _, _ in jobs) and not (find_spec("stable_baselines3") and find_spec("cv2")):
        sys.exit("The side sb3 needs: pip install stable-baselines3 opencv-python-headless. Or choose others: --only")
    for obs, side, seed, cap in jobs:
        began = time.perf_counter()
        one = ("--one", "--obs", obs, "--only", side, "--first-seed", seed, "--steps", cap)
        figures = timed("floors.py", *one)
        whole = {"all": time.perf_counter() - began, "machine": machine("stable-baselines3")}
        results.append({"obs": obs, "side": side, "seed": seed, "cap": cap, **figures, **whole})
        with given.out.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
    print(table(results) if results else f"{given.out} has no results.")


if __name__ == "__main__":
    main()
