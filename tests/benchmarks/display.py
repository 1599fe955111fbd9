"""What the live display costs: the same run with it, on terminals of two sizes, and with `--plain`.

    python tests/benchmarks/display.py
    python tests/benchmarks/display.py --obs state --steps 20000

Every timing is a process of its own on a terminal of its own, which is read as fast as it is written. The sides take
turns, and ratios are taken turn by turn: in steps per second of training, and in steps per second of processor time.
The last column is the share of a processor that all threads but the training one use, for drawing by the clock.
From 130 columns on, what the agent sees is drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pexpect
from timing import machine, pin, spread

SIDES = {"--plain": (30, 100), "100x30": (30, 100), "160x45": (45, 160)}
"""The rows and columns of each side's terminal."""
STEPS = {"pixels": 5_000, "state": 20_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--obs", choices=STEPS, default="pixels")
    parser.add_argument("--steps", type=int, help="of each run")
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    steps = given.steps or STEPS[given.obs]
    if given.out:
        train_here(given.obs, steps, given.out, plain=given.plain)
        return
    turns = [{side: timed(side, given.obs, steps) for side in SIDES} for _ in range(given.repeats)]
    print(f"{steps:,} steps from {given.obs}\n")
    print(
        "| display | steps/s | of --plain (lowest to highest) | steps/s of processor time | of --plain | drawing, % |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    for side in SIDES:
        cells = [f"`{side}`" if side == "--plain" else side]
        for clock in ("seconds", "processor"):
            cells.append(spread([steps / turn[side][clock] for turn in turns]))
            cells.append(spread([turn["--plain"][clock] / turn[side][clock] for turn in turns], 3))
        cells.append(spread([100 * turn[side]["drawing"] for turn in turns], 2))
        print(f"| {' | '.join(cells)} |")
    print(f"\n{machine()}")


def timed(side: str, obs: str, steps: int) -> dict[str, Any]:
    """Train in a process of its own on a terminal; return seconds of training and of the processor, and the drawing."""
    print(f"{side}, {obs}", file=sys.stderr)
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        command = [__file__, "--obs", obs, "--steps", str(steps), "--out", str(out)]
        command += ["--plain"] * (side == "--plain")
        child = pexpect.spawn(sys.executable, command, dimensions=SIDES[side], env=environment, timeout=None)
        shown = child.read()
        child.close()
        if child.exitstatus:
            sys.exit(f"{side} failed:\n{shown.decode(errors='replace')[-2000:]}")
        figures: dict[str, Any] = json.loads((out / "figures.json").read_text())
    return figures


def train_here(obs: str, steps: int, out: Path, *, plain: bool) -> None:
    """Train without evaluation in this process, and write what it took."""
    from cartpole_dqn import train
    from cartpole_dqn.runs.history import read_metrics
    from cartpole_dqn.training import session  # noqa: F401  It imports torch, before the clocks are read.

    pin(1)
    clocks = (time.perf_counter, time.process_time, time.thread_time)
    before = [clock() for clock in clocks]
    train(preset=obs, steps=steps, device="cpu", out=out, settings={"evaluation": {"every": 0}}, plain=plain)
    passed, processor, thread = (clock() - began for clock, began in zip(clocks, before, strict=True))
    end = read_metrics(out).end
    assert end is not None
    figures = {"seconds": end[1], "processor": processor, "drawing": (processor - thread) / passed}
    (out / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
