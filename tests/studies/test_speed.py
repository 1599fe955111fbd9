"""Real timings of a few steps: that both sides run and are counted, never how fast they are."""

from __future__ import annotations

import pytest

from cartpole_dqn.errors import RunError
from cartpole_dqn.studies.speed import Comparison, measure_speed


@pytest.mark.process
def test_both_sides_are_timed_in_turn() -> None:
    said: list[str] = []
    [speed] = measure_speed([Comparison("state", "tutorial-state", 150, 150)], repeats=2, said=said.append)
    assert [text.split(", ")[1] for text in said] == ["notebook", "preset", "notebook", "preset"]
    assert len(speed.ratios) == 2
    assert all(value > 0 for value in (*speed.notebook, *speed.preset))
    assert min(speed.ratios) <= speed.ratio <= max(speed.ratios)


@pytest.mark.process
def test_a_process_that_fails_is_named() -> None:
    with pytest.raises(RunError, match=r"timing .* failed"):
        measure_speed([Comparison("state", "no-such-preset", 10, 10)], repeats=1)
