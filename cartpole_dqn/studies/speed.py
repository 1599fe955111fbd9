"""How fast presets train beside the notebooks' plain loops, in one sitting.

Every timing is a process of its own, the two sides in turn, pinned to the same processors and with the same number of
torch threads; ratios are taken pair by pair. `measure_speed` returns them; run as a module, this file times one preset.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cartpole_dqn.errors import RunError


@dataclass(frozen=True)
class Comparison:
    """What to put side by side: a notebook's loop and a preset, and the environment steps that each takes."""

    loop: str
    preset: str
    notebook_steps: int
    preset_steps: int


@dataclass(frozen=True)
class Speed:
    """Steps per second of one comparison; pair k was measured one after the other."""

    comparison: Comparison
    threads: int
    notebook: tuple[float, ...]
    preset: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """The preset's speed over the notebook's, pair by pair."""
        return tuple(ours / theirs for ours, theirs in zip(self.preset, self.notebook, strict=True))

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)


COMPARISONS = (
    Comparison("state", "tutorial-state", 10_000, 10_000),
    Comparison("state", "state", 10_000, 10_000),
    Comparison("pixels", "tutorial-pixels", 500, 500),
    Comparison("pixels", "pixels", 500, 5_000),
)
"""The faithful presets, same mathematics; and the defaults, which do other work and are there for a figure.

The default from pixels only begins to learn after 1,000 steps, so that it takes more of them.
"""


def measure_speed(
    comparisons: Sequence[Comparison] = COMPARISONS,
    *,
    repeats: int = 3,
    threads: int = 1,
    said: Callable[[str], None] = lambda text: None,
) -> list[Speed]:
    """Time each comparison `repeats` times, the two sides in turn.

    Args:
        comparisons: what to time.
        repeats: pairs of each.
        threads: torch's threads, and the number of processors that each process may use.
        said: hears a line before each timing.

    Raises:
        RunError: a process failed.
    """
    results = []
    for comparison in comparisons:
        common = ["--threads", str(threads), "--steps"]
        loop = ["-m", "cartpole_dqn.studies.notebook_loops", comparison.loop, *common, str(comparison.notebook_steps)]
        preset = ["-m", "cartpole_dqn.studies.speed", comparison.preset, *common, str(comparison.preset_steps)]
        speeds: tuple[list[float], list[float]] = ([], [])
        for k in range(repeats):
            for side, command in enumerate((loop, preset)):
                said(f"{comparison.preset}, {('notebook', 'preset')[side]}, {k + 1} of {repeats}")
                speeds[side].append(_time(command, threads))
        results.append(Speed(comparison, threads, tuple(speeds[0]), tuple(speeds[1])))
    return results


def _time(arguments: Sequence[str], threads: int) -> float:
    """Return the steps per second that a timing process prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    try:
        figures = json.loads(done.stdout.splitlines()[-1])
        return float(figures["steps"] / figures["seconds"])
    except (IndexError, ValueError, KeyError, ZeroDivisionError):
        raise RunError(f"timing `{' '.join(arguments)}` failed:\n{done.stderr.strip()[-2000:]}") from None


def pin(threads: int) -> None:
    """Keep this process on as many processors as it has threads, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def time_preset(preset: str, *, steps: int, threads: int) -> float:
    """Train a preset for `steps`, without display, files or evaluation; return the seconds of training."""
    from rich.console import Console

    from cartpole_dqn.contracts.options import changed
    from cartpole_dqn.plugin.host import load_plugins
    from cartpole_dqn.training.assembly import assemble
    from cartpole_dqn.training.resolve import resolve_config

    host = load_plugins()
    flags = {"steps": steps, "threads": threads, "device": "cpu", "observer": [], "evaluation": {"every": 0}}
    config, _ = resolve_config(host, preset=preset, flags=flags)
    config = changed(config, observer=[])
    made = assemble(config, host, folder=None, console=Console(stderr=True), clock=time.perf_counter)
    ended = made.runner.run()
    made.close()
    return ended.progress.seconds


def main() -> None:
    """Time one preset and print its figures."""
    parser = argparse.ArgumentParser(description="Time a preset's training.")
    parser.add_argument("preset")
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    pin(arguments.threads)
    seconds = time_preset(arguments.preset, steps=arguments.steps, threads=arguments.threads)
    print(json.dumps({"steps": arguments.steps, "seconds": seconds}))


if __name__ == "__main__":
    main()
