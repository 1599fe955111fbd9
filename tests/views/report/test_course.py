from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.views.report.course import alike, course_section, evaluations_section

WriteRun = Callable[..., Path]


def rows(page: str) -> list[list[str]]:
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    cells = (re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("</tr>") if "<td" in row)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


def test_evaluations_and_confirmations_in_their_order(write_run: WriteRun) -> None:
    path = write_run(
        "a",
        returns=range(30),
        evaluations={1000: [8, 12], 2000: [480, 500]},
        confirmations={2000: ([470, 490], True)},
        best=[1000, 2000],
    )
    found = rows(evaluations_section(read_metrics(path)))
    assert found == [
        ["1,000", "evaluation", "2", "10.0", "2.0", "8.0", "12.0", ""],
        ["2,000", "evaluation", "2", "490.0", "10.0", "480.0", "500.0", "kept as best"],
        ["2,000", "confirmation", "2", "480.0", "10.0", "470.0", "490.0", "solved"],
    ]


def test_many_evaluations_are_folded_but_for_those_that_matter(write_run: WriteRun) -> None:
    path = write_run("a", returns=range(300), evaluations={k * 1000: [k, k + 1] for k in range(1, 26)}, best=[7000])
    page = evaluations_section(read_metrics(path))
    assert [row[0] for row in rows(page)] == ["1,000", "7,000", "25,000"]
    assert "<summary>All 25</summary>" in page
    assert len(rows(page[page.index("<details>") :])) == 25
    assert evaluations_section(RunHistory("nothing")) == ""


def test_the_course_is_in_tenths_of_the_steps(write_run: WriteRun) -> None:
    history = read_metrics(write_run("a", returns=range(1, 101), length=50))
    found = rows(course_section(history))
    assert [row[0] for row in found] == [f"{500 * (k + 1):,}" for k in range(10)]
    assert [row[1] for row in found] == ["10"] * 10
    assert found[0][2:5] == ["5.5", "10.0", "50.0"]
    assert found[9][2:5] == ["95.5", "100.0", "50.0"]
    assert found[9][5] == "0.100"


def test_few_episodes_have_few_rows_and_none_is_said(write_run: WriteRun) -> None:
    assert len(rows(course_section(read_metrics(write_run("a", returns=[5.0, 6.0, 7.0]))))) == 3
    assert "No episode has ended." in course_section(RunHistory("nothing"))


def test_parts_without_an_episode_have_no_figures(write_run: WriteRun) -> None:
    history = read_metrics(write_run("a", returns=range(10)))
    gap = dataclasses.replace(history, step=np.where(np.arange(10) < 9, history.step, 5000.0), end=(5000.0, 1.0))
    found = rows(course_section(gap))
    assert [row[1] for row in found] == ["5", "4", "0", "0", "0", "0", "0", "0", "0", "1"]
    assert set(found[3][2:]) == {"-"}


def test_figures_in_a_row_are_alike() -> None:
    assert alike([499.6, 1.842, 486, 500]) == ["499.6", "1.8", "486.0", "500.0"]
    assert alike([0.2064, 0.4, 0, 1]) == ["0.2064", "0.4", "0", "1"]
    assert alike([None, float("nan"), 12]) == ["-", "nan", "12.0"]
