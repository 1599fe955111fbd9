"""How many steps a second environments side by side make, in one process and in processes of their own.

* `measure_vector`: times every number of environments, both ways, from state and from pixels.
* `Rates`: what came out for one kind of observation and one way.
* `as_markdown`: a table, with what it was measured on.

Random actions are taken through the lanes that a run has, episodes begun anew where they end; nothing is learned. Each
timing is a process of its own, and the ways take turns, so that a machine that grows busy slows all of them. Run as a
module, this file times one kind of observation and one way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cartpole_dqn.errors import RunError

COUNTS = (1, 2, 4, 8)
OBSERVATIONS = ("state", "pixels")
WAYS = ("sync", "async")
_WARM_UP = 50
_VERSIONS = ("torch", "gymnasium", "numpy", "pygame-ce", "pygame")


@dataclass(frozen=True)
class Rates:
    """Environment steps a second, over all environments; one figure a repeat."""

    obs: str
    vector: str
    steps_per_second: dict[int, list[float]] = field(default_factory=dict)
    """By the number of environments."""


def measure_vector(
    env: str = "CartPole-v1",
    *,
    observations: Sequence[str] = OBSERVATIONS,
    counts: Sequence[int] = COUNTS,
    seconds: float = 1.0,
    repeats: int = 3,
    said: Callable[[str], None] = lambda text: None,
) -> list[Rates]:
    """Time each number of environments `repeats` times.

    Args:
        env: a Gymnasium id.
        observations: "state" and "pixels", as `env`'s presets make them.
        counts: numbers of environments.
        seconds: how long each timing takes, beside what it takes to start.
        repeats: timings of each.
        said: hears a line before each process.

    Raises:
        RunError: a process failed.
    """
    found = {(obs, way): Rates(obs, way, {n: [] for n in counts}) for obs in observations for way in WAYS}
    for k in range(repeats):
        for (obs, way), rates in found.items():
            said(f"{obs}, {way}, {k + 1} of {repeats}")
            for n, figure in zip(counts, _time(env, obs, way, counts, seconds), strict=True):
                rates.steps_per_second[n].append(figure)
    return list(found.values())


def as_markdown(env: str, results: Sequence[Rates], machine: Mapping[str, Any]) -> str:
    """Return the medians as a table, lowest and highest in brackets, and above it what they were measured on.

    Args:
        env: the environment's id.
        results: what `measure_vector` returned.
        machine: what `run_folder.describe_environment` returned.
    """
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in _VERSIONS if name in machine["versions"])
    load = f", load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    lines = [
        f"{env}, environment steps a second over all environments, random actions, nothing learned.",
        f"{machine['cpu']}, {machine['cpu_count']} processors{load}; {machine['platform']}, {machine['python']}; "
        f"{versions}.",
        "",
        f"| observation | environments | {' | '.join(WAYS)} |",
        f"|---|--:|{'--:|' * len(WAYS)}",
    ]
    by_way = {(rates.obs, rates.vector): rates.steps_per_second for rates in results}
    for obs in dict.fromkeys(rates.obs for rates in results):
        for n in by_way[obs, WAYS[0]]:
            cells = " | ".join(_cell(by_way[obs, way][n]) for way in WAYS)
            lines.append(f"| {obs} | {n} | {cells} |")
    return "\n".join(lines)


def _cell(figures: Sequence[float]) -> str:
    middle = f"{statistics.median(figures):,.0f}"
    return middle if len(figures) == 1 else f"{middle} ({min(figures):,.0f} to {max(figures):,.0f})"


def _time(env: str, obs: str, way: str, counts: Sequence[int], seconds: float) -> list[float]:
    """Return the steps a second that a timing process prints, one figure for each of the counts."""
    arguments = [env, obs, way, "--seconds", str(seconds), "--counts", *map(str, counts)]
    command = [sys.executable, "-W", "ignore", "-m", "cartpole_dqn.studies.vector", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    try:
        figures = [float(figure) for figure in json.loads(done.stdout.splitlines()[-1])]
    except (IndexError, ValueError, TypeError):
        raise RunError(f"timing `{' '.join(arguments)}` failed:\n{done.stderr.strip()[-2000:]}") from None
    return figures


def time_lanes(env: str, obs: str, way: str, num_envs: int, *, seconds: float) -> float:
    """Return the steps a second of `num_envs` environments, over all of them.

    Raises:
        UserError: the environment cannot be made so.
    """
    import torch

    from cartpole_dqn.contracts.seeding import SeedTree
    from cartpole_dqn.envs.factory import EnvFactory
    from cartpole_dqn.envs.lanes import Lanes
    from cartpole_dqn.plugin.host import load_plugins
    from cartpole_dqn.training.resolve import resolve_config

    torch.set_num_threads(1)
    host = load_plugins()
    flags = {"obs": obs, "steps": 1, "env": {"id": env, "num_envs": num_envs, "vector": way}}
    config, _ = resolve_config(host, flags=flags)
    host.register_environments()
    envs = EnvFactory(config, host.registry).make_vector()
    actions = int(envs.single_action_space.n)  # type: ignore[attr-defined]
    generator = SeedTree(0).numpy("actions")
    lanes = Lanes(envs, seed=0)
    try:
        lanes.start()
        began, steps = 0.0, -_WARM_UP
        while steps <= 0 or time.perf_counter() - began < seconds:
            if steps == 0:
                began = time.perf_counter()
            chosen = generator.integers(actions, size=num_envs)
            if lanes.mask is not None:
                chosen = (generator.random((num_envs, actions)) * lanes.mask).argmax(1)
            _, endings = lanes.step(chosen)
            if endings:
                lanes.begin([ending.env for ending in endings])
            steps += 1
        return steps * num_envs / (time.perf_counter() - began)
    finally:
        lanes.close()


def main() -> None:
    """Time one kind of observation and one way, and print the figures."""
    parser = argparse.ArgumentParser(description="Time environments side by side.")
    parser.add_argument("env")
    parser.add_argument("obs")
    parser.add_argument("vector", choices=WAYS)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    figures = [time_lanes(given.env, given.obs, given.vector, n, seconds=given.seconds) for n in given.counts]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
