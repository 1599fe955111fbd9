"""What checkpoints cost a run: their time as a share of it, and their bytes.

    python tests/soak/checkpoint_cost.py runs/NAME ...

The share is checkpoint seconds over those of training, evaluation and checkpoints together, as the run itself measured
them. Its exit code is 1 where a share is above `--bar`. Times are worth reading where the machine did nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

COLUMNS = ("steps", "training s", "evaluation s", "checkpoints s", "share", "checkpoints", "last MB", "all MB")


def main() -> int:
    """Report the runs."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--bar", type=float, default=0.03, help="the share that is still good")
    options = parser.parse_args()
    print(f"{'run':<24}" + "".join(f"{column:>15}" for column in COLUMNS))
    shares = []
    for folder in options.runs:
        events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        ends = [event for event in events if event["event"] == "run_ended"]
        if not ends:
            sys.exit(f"{folder} is not done: its metrics.jsonl has no run_ended.")
        sizes = [event["nbytes"] / 1e6 for event in events if event["event"] == "checkpoint"]
        seconds = [ends[-1][f"{name}seconds"] for name in ("", "evaluation_", "checkpoint_")]
        shares.append(seconds[2] / sum(seconds))
        cells = [f"{ends[-1]['step']:,}", *(f"{value:.2f}" for value in seconds), f"{shares[-1]:.2%}"]
        cells += [str(len(sizes)), f"{sizes[-1]:.1f}", f"{sum(sizes):.1f}"]
        print(f"{folder.name:<24}" + "".join(f"{cell:>15}" for cell in cells))
    return int(max(shares) > options.bar)


if __name__ == "__main__":
    sys.exit(main())
