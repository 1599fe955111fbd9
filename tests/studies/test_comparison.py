from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.studies.comparison import Comparison, Estimate, Played, Scores, compare
from cartpole_dqn.studies.grouping import Record, group_records

Write = Callable[..., Record]
LR = "agent.optimiser.lr=0.01"


def compared(records: Sequence[Record], *keys: str, **options: Any) -> Comparison:
    return compare(group_records(records, keys), **options)


@pytest.fixture
def two_groups(record: Write) -> list[Record]:
    """Five runs with one learning rate, solved at 100, 200, 300 or not, and three with another that are worse."""
    records = []
    for seed, solved in enumerate([100, 200, 300, None, None]):
        evaluations = {step: [400.0 + seed, 410.0 + seed] for step in (100, 200, 300)}
        confirmations = {solved: ([480.0, 490.0 + seed], True)} if solved else {}
        best = [solved or 100]
        figures = {"evaluations": evaluations, "confirmations": confirmations, "best": best}
        records.append(record(f"a{seed}", seed=seed, sets=["agent.optimiser.lr=0.001"], **figures))
    for seed in range(3):
        records.append(record(f"b{seed}", seed=seed, sets=[LR], evaluations={200: [seed + 1.0]}, best=[200]))
    return records


def test_scores_are_those_of_the_metrics(two_groups: list[Record]) -> None:
    runs = compared(two_groups).runs
    assert runs[0].best == Played(2, 485.0, 5.0, 480.0), "the best by its confirmation"
    assert runs[0].last == Played(2, 405.0, 5.0, 400.0), "the last by its evaluation"
    assert runs[3].best == runs[3].last == Played(2, 408.0, 5.0, 403.0)
    assert runs[5].best == runs[5].last == Played(1, 1.0, 0.0, 1.0)


def test_groups_and_their_medians(two_groups: list[Record]) -> None:
    good, bad = compared(two_groups).groups
    assert (good.label, good.runs, good.solved) == ("lr=0.001", 5, 3)
    assert (good.solved_step, good.solved_seconds) == (300, 3.0), "of five runs the third, those not solved the last"
    assert (bad.label, bad.runs, bad.solved, bad.solved_step) == ("lr=0.01", 3, 0, None)
    assert bad.best is not None
    assert (bad.best.value, bad.best_lowest, good.best_lowest, good.last_lowest) == (2.0, 1.0, 408.0, 405.0)
    assert good.best is not None
    middle = sorted([485.0, 485.5, 486.0, 408.0, 409.0])[1:4]
    assert good.best.value == pytest.approx(sum(middle) / 3)
    assert good.best.low is not None
    assert good.best.high is not None
    assert 408 <= good.best.low <= good.best.value <= good.best.high <= 486


def test_improvement_between_groups(two_groups: list[Record]) -> None:
    (improvement,) = compared(two_groups).improvements
    assert (improvement.group, improvement.over) == ("lr=0.001", "lr=0.01")
    assert improvement.chance == Estimate(1.0, 1.0, 1.0)
    (same,) = compared(two_groups[:5], "run").improvements[:1]
    assert same.chance == Estimate(0.0), "a single run has no interval"
    by_last = compared(two_groups[:2], "run", score="last").improvements[0]
    assert by_last.chance.value == 0.0


def test_equal_seeds_give_equal_intervals_whatever_else_is_compared(two_groups: list[Record]) -> None:
    first, again = compared(two_groups), compared(two_groups)
    assert first == again
    alone = compared(two_groups[:5], "lr").groups[0]
    assert (alone.best, alone.last) == (first.groups[0].best, first.groups[0].last)


def test_played_scores_are_taken_as_they_are(two_groups: list[Record]) -> None:
    records = two_groups[5:]
    scores = {record.path: Scores(Played(7, 5.0 + i, 0.0, 5.0)) for i, record in enumerate(records)}
    comparison = compare(group_records(records), scores)
    assert comparison.groups[0].best is not None
    assert comparison.groups[0].best.value == 6.0
    assert (comparison.groups[0].last, comparison.groups[0].last_lowest) == (None, None)


def test_returns_of_different_environments_have_no_mean_but_a_chance_of_improvement(record: Write) -> None:
    records = []
    for env, good in (("CartPole-v1", 400.0), ("Acrobot-v1", -80.0)):
        for seed in range(3):
            for n_step, score in ((1, good - 20 - seed), (3, good + seed)):
                name = f"{env}-{n_step}-{seed}"
                sets = [f"agent.n_step={n_step}"]
                records.append(record(name, env=env, seed=seed, sets=sets, evaluations={100: [score]}, best=[100]))
    comparison = compared(records, "n_step")
    assert [(group.label, group.best) for group in comparison.groups] == [("n_step=1", None), ("n_step=3", None)]
    assert comparison.improvements[0].chance.value == 0.0, "lower on both"
    notes = [note for note in comparison.notes if "no mean over different environments" in note]
    assert notes == [f"n_step={n}: no mean over different environments (Acrobot-v1, CartPole-v1)." for n in (1, 3)]
    apart = compared(records[:3] + records[6:9], "env")
    assert apart.improvements == (), "nothing in common"
    assert all(group.best is not None for group in apart.groups)


def test_notes_say_what_to_know(record: Write) -> None:
    records = [record(f"r{k}", seed=0, evaluations={100: [1.0]}, best=[100]) for k in range(2)]
    records.append(record("longer", seed=1, returns=range(9), ended=False))
    RunFolder(records[2].path).write_status("failed", 900)
    notes = compared(records).notes
    assert notes == (
        "The runs took different numbers of steps: 300 to 900.",
        "Not finished (failed): longer.",
        "Never evaluated, so not in the means: longer.",
        "CartPole-v1, state, preset state: seed 0 occurs more than once, so its runs are not independent.",
        "Intervals from fewer than 5 runs are too narrow (CartPole-v1, state, preset state): read them as a hint.",
    )
    assert compared(records[:1]).notes == ()
    other = record("other", seed=0, sets=[LR], evaluations={100: [1.0]})
    assert not any("more than once" in note for note in compared([records[0], other], "all").notes)


def test_returns_that_are_not_known_are_no_score(record: Write) -> None:
    record = record("r", evaluations={100: [float("nan"), 3.0]}, best=[100])
    comparison = compared([record])
    assert (comparison.runs[0].best, comparison.runs[0].last) == (None, None)
    assert comparison.groups[0].best is None
