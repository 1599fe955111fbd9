"""How fast presets train beside the tutorial notebooks' plain loops: steps per second and their ratio.

    python tests/benchmarks/speed.py
    python tests/benchmarks/speed.py --preset tutorial-state --repeats 5

Every timing is a process of its own, the two sides in turn, pinned to the same processors and with the same number of
torch threads; ratios are taken pair by pair. The faithful presets, `tutorial-...`, have the notebooks' mathematics; our
defaults do other work, and are there for a figure.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from timing import machine, pin, spread, timed

PRESETS = {
    "tutorial-state": ("state", 10_000, 10_000),
    "state": ("state", 10_000, 10_000),
    "tutorial-pixels": ("pixels", 500, 500),
    "pixels": ("pixels", 500, 5_000),
}
"""Each preset's notebook loop, and the steps that the loop and the preset take: `pixels` learns from step 1,000 on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", action="append", choices=PRESETS, help="only this one; may be repeated")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of timings")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads and processors, on both sides")
    parser.add_argument("--steps", type=int, help="of both sides, for a short try")
    parser.add_argument("--time", choices=PRESETS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.time:
        pin(given.threads)
        print(json.dumps({"steps": given.steps, "seconds": time_preset(given.time, given.steps, given.threads)}))
        return
    print("| preset | steps | notebook, steps/s | preset, steps/s | ratio (lowest to highest) |")
    print("|---|--:|--:|--:|--:|")
    for preset in given.preset or PRESETS:
        loop, *defaults = PRESETS[preset]
        theirs, ours = (given.steps or steps for steps in defaults)
        threads = ["--threads", given.threads]
        pairs = []
        for _ in range(given.repeats):
            sides = (
                timed("notebook_loops.py", loop, "--steps", theirs, *threads, threads=given.threads),
                timed("speed.py", "--time", preset, "--steps", ours, *threads, threads=given.threads),
            )
            pairs.append([side["steps"] / side["seconds"] for side in sides])
        notebook, mine = zip(*pairs, strict=True)
        ratios = spread([b / a for a, b in pairs], 2)
        print(f"| `{preset}` | {ours:,} | {spread(notebook)} | {spread(mine)} | {ratios} |", flush=True)
    print(f"\n{machine()}")


def time_preset(preset: str, steps: int, threads: int) -> float:
    """Train a preset without evaluation; return the seconds of training alone."""
    from cartpole_dqn import train
    from cartpole_dqn.runs.history import read_metrics

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        settings = {"evaluation": {"every": 0}, "threads": threads}
        train(preset=preset, steps=steps, device="cpu", out=folder, settings=settings, plain=True)
        end = read_metrics(folder).end
    assert end is not None
    return end[1]


if __name__ == "__main__":
    main()
