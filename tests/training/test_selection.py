"""Which model is the best, told as a story of evaluations and confirmations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.training.selection import Selection


def played(step: int, mean: float) -> Evaluation:
    return Evaluation(step, (mean,), (1,), "select", 0.0)


def follow(selection: Selection, means: Sequence[float], confirming: Sequence[float]) -> tuple[list[int], list[int]]:
    """Return the steps at which a model became the best, and those at which one was confirmed, passed or not.

    The state goes through `state_dict` after each evaluation, as in a run that is resumed all the time.
    """
    left, best, asked = list(confirming), [], []
    for step, mean in enumerate(means, start=1):
        evaluation, confirmation = played(step, mean), None
        if selection.wants_confirmation(evaluation):
            asked.append(step)
            confirmation = played(step, left.pop(0))
        if selection.decide(evaluation, confirmation).best:
            best.append(step)
            assert selection.best is not None
            assert (selection.best.step, selection.best.mean) == (step, mean)
        state = selection.state_dict()
        selection.best = selection.solved_step = None
        selection.load_state_dict(state)
    assert not left
    return best, asked


@pytest.mark.parametrize(
    ("means", "confirming", "budget", "best", "asked", "solved"),
    [
        # After 82 was confirmed by 85: 81 is not asked, 90 is confirmed by less, so 88 is not asked; 95 by more.
        ([82, 81, 90, 88, 95], [85, 83, 88], 9, [1, 5], [1, 3, 5], 1),
        # Evaluations cannot be higher than 100: equals challenge too, and only a higher confirmation wins.
        ([100, 100, 100, 100], [81, 81, 95], 3, [1, 3], [1, 2, 3], 1),
        # Neither confirmation passes and the budget is spent: the highest evaluation is the best.
        ([90, 85, 95, 70], [70, 75], 2, [1, 3], [1, 2], None),
        ([90, 95], [], 0, [1, 2], [], None),
        # A model that is confirmed wins over one with a higher evaluation that was not.
        ([90, 80, 99], [60, 85, 84], None, [1, 2], [1, 2, 3], 2),
    ],
)
def test_the_best_model(
    means: list[float], confirming: list[float], budget: int | None, best: list[int], asked: list[int], solved: int
) -> None:
    selection = Selection(solved_at=80, confirmations=budget)
    assert follow(selection, means, confirming) == (best, asked)
    assert selection.solved_step == solved


def test_returns_below_zero_are_compared_too() -> None:
    assert follow(Selection(solved_at=-100, confirmations=3), [-90, -80], [-95, -85]) == ([1, 2], [1, 2])


def test_without_a_threshold_no_model_is_confirmed() -> None:
    assert follow(Selection(), [10, 30, 20, 30], []) == ([1, 2], [])
