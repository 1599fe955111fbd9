from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.views.report.course import course_of, evaluations_of

WriteRun = Callable[..., Path]


def test_evaluations_and_confirmations_in_their_order(write_run: WriteRun) -> None:
    path = write_run(
        "a",
        returns=range(30),
        evaluations={1000: [8, 12], 2000: [480, 500]},
        confirmations={2000: ([470, 490], True)},
        best=[1000, 2000],
    )
    evaluations = evaluations_of(read_metrics(path))
    assert evaluations is not None
    assert evaluations.every is None
    assert evaluations.shown.rows == (
        ("1,000", "evaluation", "2", "10.0", "2.0", "8.0", "12.0", ""),
        ("2,000", "evaluation", "2", "490.0", "10.0", "480.0", "500.0", "kept as best"),
        ("2,000", "confirmation", "2", "480.0", "10.0", "470.0", "490.0", "solved"),
    )


def test_many_evaluations_are_folded_but_for_those_that_matter(write_run: WriteRun) -> None:
    path = write_run("a", returns=range(300), evaluations={k * 1000: [k, k + 1] for k in range(1, 26)}, best=[7000])
    evaluations = evaluations_of(read_metrics(path))
    assert evaluations is not None
    assert evaluations.every is not None
    assert [row[0] for row in evaluations.shown.rows] == ["1,000", "7,000", "25,000"]
    assert len(evaluations.every.rows) == 25


def test_the_course_is_in_tenths_of_the_steps(write_run: WriteRun) -> None:
    course = course_of(read_metrics(write_run("a", returns=range(1, 101), length=50)))
    assert course is not None
    rows = course.table.rows
    assert [row[:2] for row in rows] == [(f"{500 * (k + 1):,}", "10") for k in range(10)]
    assert rows[0][2:5] == ("5.5", "10.0", "50.0")
    assert rows[9][2:6] == ("95.5", "100.0", "50.0", "0.100")
    assert course.facts[:2] == ("best return: 100", "mean of the last 100: 50.5")


def test_few_episodes_have_few_rows_and_parts_without_any_no_figures(write_run: WriteRun) -> None:
    assert course_of(RunHistory("nothing")) is evaluations_of(RunHistory("nothing")) is None
    few = course_of(read_metrics(write_run("a", returns=[5.0, 6.0, 7.0])))
    assert few is not None
    assert len(few.table.rows) == 3
    history = read_metrics(write_run("b", returns=range(10)))
    gap = dataclasses.replace(history, step=np.where(np.arange(10) < 9, history.step, 5000.0), end=(5000.0, 1.0))
    course = course_of(gap)
    assert course is not None
    assert [row[1] for row in course.table.rows] == ["5", "4", "0", "0", "0", "0", "0", "0", "0", "1"]
    assert set(course.table.rows[3][2:]) == {"-"}
