"""What commands show while they work."""

from __future__ import annotations

from cartpole_dqn.contracts.events import Evaluating
from cartpole_dqn.observers.wording import evaluation_line


def test_an_evaluation_shows_the_time_left_once_it_can_tell() -> None:
    # Ten long episodes side by side: for their first seconds none has ended.
    assert evaluation_line(Evaluating(4_000, "report", 0, 5_000, None), 3.0) == (
        "evaluating 0/5,000, the first episodes are running"
    )
    assert evaluation_line(Evaluating(4_000, "report", 50, 5_000, 499.5), 17.0) == (
        "evaluating 50/5,000, mean 499.5, 28:03 left"
    )
