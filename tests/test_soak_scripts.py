"""What the soak's scripts conclude: a verdict that cannot be bad would be worth nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import scripts

SOAK = Path(__file__).parent / "soak"
MIB = 1 << 20


memory, checkpoint_cost = scripts.load(SOAK / "memory.py"), scripts.load(SOAK / "checkpoint_cost.py")


def samples(*, growth: float = 0.0, files: int = 0, processes: int = 0, count: int = 100) -> list[Any]:
    """A run of 100,000 steps whose replay fills with its first half; a leak begins in its last quarter."""
    made = []
    for i in range(count):
        replay = round(300 * MIB * min(1.0, 2 * i / count))
        late = i >= 0.75 * count
        made.append(
            memory.Sample(
                seconds=float(i),
                step=i * 1000,
                rss=round(800 * MIB + replay + growth * MIB * i * 1000 / 100_000),
                replay=replay,
                workers_rss=0,
                files=9 + files * late,
                threads=2,
                processes=processes * late,
                also_rss=0,
            )
        )
    return made


@pytest.mark.parametrize(
    ("given", "words", "good"),
    [
        ({}, "+0.0 MiB per 100,000 steps: flat", True),
        ({"growth": 20}, "+20.0 MiB per 100,000 steps: flat", True),
        ({"growth": 80}, "+80.0 MiB per 100,000 steps: GROWS", False),
        ({"files": 1}, "file handles: at most 9 in the first third, 10 in the last: LEAKS", False),
        ({"processes": 1}, "processes: at most 0 in the first third, 1 in the last: LEAKS", False),
        ({"count": 8}, "too few to judge", False),
    ],
)
def test_a_leak_is_told_from_a_replay_that_fills(given: dict[str, Any], words: str, good: bool) -> None:
    lines, verdict = memory.verdict(samples(**given))
    assert verdict is good, lines
    assert words in "\n".join(lines)


def test_the_cost_of_checkpoints_is_read_from_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = {"event": "run_ended", "step": 500, "seconds": 90.0, "evaluation_seconds": 8.0, "checkpoint_seconds": 2.0}
    events = [{"event": "checkpoint", "nbytes": 1_000_000}, {"event": "checkpoint", "nbytes": 3_000_000}, ended]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    cost = checkpoint_cost.read_cost(tmp_path)
    assert (cost.share, cost.sizes) == (0.02, [1_000_000, 3_000_000])
    for bar, code in (("0.03", 0), ("0.01", 1)):
        monkeypatch.setattr(sys, "argv", ["checkpoint_cost.py", str(tmp_path), "--bar", bar])
        assert checkpoint_cost.main() == code
    assert "2.00%              2            3.0            4.0" in capsys.readouterr().out
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(SystemExit, match="is not done"):
        checkpoint_cost.read_cost(tmp_path)
