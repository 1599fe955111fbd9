"""What checkpoints cost a run: their time as a share of it, and their bytes.

    python tests/soak/checkpoint_cost.py runs/NAME ...

The share is checkpoint seconds over those of training, evaluation and checkpoints together, as the run itself measured
them. Its exit code is 1 where a share is above `--bar`. Times are worth reading where the machine did nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a run's `metrics.jsonl` says."""

    name: str
    steps: int
    training: float
    evaluation: float
    checkpoints: float
    sizes: list[int]
    """Bytes of each checkpoint."""

    @property
    def share(self) -> float:
        """Of the run's time."""
        return self.checkpoints / (self.training + self.evaluation + self.checkpoints)


def main() -> int:
    """Report the runs."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--bar", type=float, default=0.03, help="the share that is still good")
    options = parser.parse_args()
    costs = [read_cost(folder) for folder in options.runs]
    columns = ("steps", "training s", "evaluation s", "checkpoints s", "share", "checkpoints", "last MB", "all MB")
    print(f"{'run':<24}" + "".join(f"{column:>15}" for column in columns))
    for cost in costs:
        cells = [f"{cost.steps:,}", f"{cost.training:.1f}", f"{cost.evaluation:.1f}", f"{cost.checkpoints:.2f}"]
        cells += [
            f"{cost.share:.2%}",
            str(len(cost.sizes)),
            f"{cost.sizes[-1] / 1e6:.1f}",
            f"{sum(cost.sizes) / 1e6:.1f}",
        ]
        print(f"{cost.name:<24}" + "".join(f"{cell:>15}" for cell in cells))
    return 1 if any(cost.share > options.bar for cost in costs) else 0


def read_cost(folder: Path) -> Cost:
    """Return a finished run's figures."""
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    ended = [event for event in events if event["event"] == "run_ended"]
    if not ended:
        sys.exit(f"{folder} is not done: its metrics.jsonl has no run_ended.")
    return Cost(
        folder.name,
        ended[-1]["step"],
        ended[-1]["seconds"],
        ended[-1]["evaluation_seconds"],
        ended[-1]["checkpoint_seconds"],
        [event["nbytes"] for event in events if event["event"] == "checkpoint"],
    )


if __name__ == "__main__":
    sys.exit(main())
