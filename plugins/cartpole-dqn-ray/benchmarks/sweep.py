"""What a sweep adds to the same runs by hand, one after another: the engine `local`, and `ray` with a Ray of its own.

    python plugins/cartpole-dqn-ray/benchmarks/sweep.py --steps 12000 --seeds 4 --rounds 3

Each round measures the ways in turn, one run at a time, everything that is typed included: by hand `cartpole-dqn run`
for each seed, and `cartpole-dqn sweep --jobs 1` for all. "Beside" is what is not training, evaluation or checkpoints,
as the runs themselves count those: the start of everything, and the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = ("by hand", "local", "ray")


def main() -> None:
    """Measure round by round, and print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--obs", default="state", help="pixels or state")
    parser.add_argument("--steps", type=int, default=12_000, help="environment steps of each run")
    parser.add_argument("--seeds", type=int, default=4, help="runs")
    parser.add_argument("--rounds", type=int, default=3, help="how often all ways are measured")
    given = parser.parse_args()
    totals = dict.fromkeys(WAYS, 0.0)
    for number in range(given.rounds):
        for way in WAYS:
            with tempfile.TemporaryDirectory() as place:
                began = time.perf_counter()
                runs = measured(way, Path(place), given)
                seconds = time.perf_counter() - began
                training = sum(map(counted, runs))
            totals[way] += seconds
            print_row(f"{number + 1}", way, seconds, totals, training)
    for way in WAYS:
        print_row("all", way, totals[way], totals, None)


def measured(way: str, place: Path, given: argparse.Namespace) -> list[Path]:
    """Make the runs and return their folders."""
    common = ["--obs", given.obs, "--steps", str(given.steps), "--plain"]
    if way == "by hand":
        runs = [place / str(seed) for seed in range(given.seeds)]
        for seed, run in enumerate(runs):
            typed(["run", *common, "--seed", str(seed), "--out", str(run)])
        return runs
    engine = ["--engine", way, "--jobs", "1", "--seeds", str(given.seeds)]
    typed(["sweep", *common, *engine, "--out", str(place / "sweep")])
    return list((place / "sweep" / "trials").iterdir())


def typed(arguments: list[str]) -> None:
    """Run the command line."""
    subprocess.run([sys.executable, "-m", "cartpole_dqn", *arguments], check=True, capture_output=True)


def counted(run: Path) -> float:
    """Return the seconds that a run counted as its own."""
    ended = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return float(ended["seconds"] + ended["evaluation_seconds"] + ended["checkpoint_seconds"])


def print_row(number: str, way: str, seconds: float, totals: dict[str, float], training: float | None) -> None:
    """Print one row; a round's ratio is of the totals so far."""
    ratio = totals[way] / totals["by hand"] - 1
    beside = "" if training is None else f"beside {seconds - training:6.1f} s"
    print(f"round {number:>3}  {way:8} {seconds:7.1f} s  {ratio:+7.1%} so far  {beside}", flush=True)


if __name__ == "__main__":
    main()
