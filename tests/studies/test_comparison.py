from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.studies.comparison import Comparison, Estimate, Scores, compare, kept_scores
from cartpole_dqn.studies.grouping import Record, group_records, read_record

WriteRun = Callable[..., Path]
LR = "agent.optimiser.lr=0.01"


def compared(records: Sequence[Record], *keys: str, **options: object) -> Comparison:
    scores, source = kept_scores(records)
    return compare(group_records(records, keys), scores, source, **{"resamples": 400, **options})  # type: ignore[arg-type]


@pytest.fixture
def two_groups(write_run: WriteRun) -> list[Record]:
    """Five runs with one learning rate, solved at 100, 200, 300 or not, and three with another that are worse."""
    records = []
    for seed, solved in enumerate([100, 200, 300, None, None]):
        evaluations = {step: [400.0 + seed, 410.0 + seed] for step in (100, 200, 300)}
        confirmations = {solved: ([480.0, 490.0 + seed], True)} if solved else {}
        best = [solved or 100]
        records.append(
            read_record(
                write_run(f"a{seed}", seed=seed, evaluations=evaluations, confirmations=confirmations, best=best)
            )
        )
    for seed in range(3):
        records.append(
            read_record(write_run(f"b{seed}", seed=seed, sets=[LR], evaluations={200: [seed + 1.0]}, best=[200]))
        )
    return records


def test_scores_are_those_of_the_metrics(two_groups: list[Record]) -> None:
    comparison = compared(two_groups)
    assert comparison.source == "metrics"
    found = [(run.name, run.best, run.best_episodes, run.last, run.last_episodes) for run in comparison.runs]
    assert found[0] == ("a0", 485.0, 2, 405.0, 2), "the best by its confirmation, the last by its evaluation"
    assert found[3] == ("a3", 408.0, 2, 408.0, 2)
    assert found[5] == ("b0", 1.0, 1, 1.0, 1)


def test_groups_and_their_medians(two_groups: list[Record]) -> None:
    good, bad = compared(two_groups).groups
    assert (good.label, good.runs, good.solved) == ("lr=0.001", 5, 3)
    assert (good.solved_step, good.solved_seconds) == (300, 3.0), "of five runs the third, those not solved the last"
    assert good.solved_wall == 3.0 + 3 * 2.0 + 3.0, "with three evaluations and the confirmation"
    assert (bad.label, bad.runs, bad.solved, bad.solved_step) == ("lr=0.01", 3, 0, None)
    assert bad.best is not None
    assert bad.best.value == 2.0
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
    assert compared(two_groups, seed=1).groups[0].best != first.groups[0].best
    alone = compared(two_groups[:5], "lr").groups[0]
    assert (alone.best, alone.last) == (first.groups[0].best, first.groups[0].last)


def report(record: Record, best: float, last: float, *, age: float = -10) -> None:
    path = record.path / "report.json"
    path.write_text(json.dumps({"best": {"mean": best, "episodes": 100}, "last": {"mean": last, "episodes": 100}}))
    for place in (RunFolder(record.path).best, RunFolder(record.path).checkpoint):
        place.mkdir(exist_ok=True)
        (place / "state.json").write_text("")
        os.utime(place / "state.json", (1e9, 1e9))
    os.utime(path, (1e9 - age, 1e9 - age))


def test_reports_are_used_where_every_run_has_one(two_groups: list[Record]) -> None:
    records = two_groups[5:]
    for record in records[:2]:
        report(record, 50.0, 40.0)
    assert kept_scores(records)[1] == "metrics", "figures of one kind for all"
    report(records[2], 60.0, 30.0)
    comparison = compared(records)
    assert comparison.source == "report"
    assert [(run.best, run.last, run.best_episodes) for run in comparison.runs] == [(50, 40, 100)] * 2 + [(60, 30, 100)]
    report(records[2], 60.0, 30.0, age=10)
    assert kept_scores(records)[1] == "metrics", "the report is older than the model"
    for damaged in ("", "[]", '{"best": {}}', '{"best": {"mean": "x"}}'):
        report(records[2], 1.0, 1.0)
        (records[2].path / "report.json").write_text(damaged)
        assert kept_scores(records)[1] == "metrics"
    assert kept_scores([]) == ({}, "metrics")


def test_played_scores_are_taken_as_they_are(two_groups: list[Record]) -> None:
    records = two_groups[5:]
    scores = {record.path: Scores(5.0 + i, None, 7, 0) for i, record in enumerate(records)}
    comparison = compare(group_records(records), scores, "played")
    assert comparison.groups[0].best is not None
    assert comparison.groups[0].best.value == 6.0
    assert comparison.groups[0].last is None


def test_returns_of_different_environments_have_no_mean_but_a_chance_of_improvement(write_run: WriteRun) -> None:
    records = []
    for env, good in (("CartPole-v1", 400.0), ("Acrobot-v1", -80.0)):
        for seed in range(3):
            for n_step, score in ((1, good - 20 - seed), (3, good + seed)):
                name = f"{env}-{n_step}-{seed}"
                sets = [f"agent.n_step={n_step}"]
                path = write_run(name, env=env, seed=seed, sets=sets, evaluations={100: [score]}, best=[100])
                records.append(read_record(path))
    comparison = compared(records, "n_step")
    assert [(group.label, group.best) for group in comparison.groups] == [("n_step=1", None), ("n_step=3", None)]
    assert comparison.improvements[0].chance.value == 0.0, "lower on both"
    notes = [note for note in comparison.notes if "no mean over different environments" in note]
    assert notes == [f"n_step={n}: no mean over different environments (Acrobot-v1, CartPole-v1)." for n in (1, 3)]
    apart = compared(records[:3] + records[6:9], "env")
    assert apart.improvements == (), "nothing in common"
    assert all(group.best is not None for group in apart.groups)


def test_notes_say_what_to_know(write_run: WriteRun) -> None:
    records = [read_record(write_run(f"r{k}", seed=0, evaluations={100: [1.0]}, best=[100])) for k in range(2)]
    records.append(read_record(write_run("longer", seed=1, returns=range(9), ended=False)))
    RunFolder(records[2].path).write_status("failed", 900)
    notes = compared(records).notes
    assert notes == (
        "The runs took different numbers of steps: 300 to 900.",
        "Not at their end, ended by a failure: longer.",
        "Never evaluated, so in no mean: longer.",
        "CartPole-v1, state, preset state: seed 0 came more than once, and one seed gives one run, not two.",
        "Intervals from fewer than 5 runs are too narrow (CartPole-v1, state, preset state): read them as a hint.",
    )
    assert compared(records[:1]).notes == ()
    other = read_record(write_run("other", seed=0, sets=[LR], evaluations={100: [1.0]}))
    assert not any("more than once" in note for note in compared([records[0], other], "all").notes)


def test_returns_that_are_not_known_are_no_score(write_run: WriteRun) -> None:
    record = read_record(write_run("r", evaluations={100: [float("nan"), 3.0]}, best=[100]))
    comparison = compared([record])
    assert (comparison.runs[0].best, comparison.runs[0].last) == (None, None)
    assert comparison.groups[0].best is None
