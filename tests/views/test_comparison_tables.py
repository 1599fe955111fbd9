from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from cartpole_dqn.studies.comparison import Comparison, Played, Scores, compare
from cartpole_dqn.studies.grouping import group_records, read_record
from cartpole_dqn.views.comparison_tables import comparison_tables, comparison_text, explanations

WriteRun = Callable[..., Path]


def comparison_of(write_run: WriteRun, *, played: bool = False) -> Comparison:
    records = []
    for seed in range(2):
        confirmed = {200: ([480.0] * 4, True)}
        path = write_run(f"a{seed}", seed=seed, evaluations={200: [500]}, confirmations=confirmed, best=[200])
        records.append(read_record(path))
    sets = ["agent.optimiser.lr=0.01"]
    records.append(read_record(write_run("b\x1b[31m", sets=sets, evaluations={100: [-3], 300: [-5.25]}, best=[100])))
    if played:
        scores = {record.path: Scores(Played(30, 1.0, 0.5, 0.0), Played(30, 2.0, 0.5, 1.0)) for record in records}
        return compare(group_records(records), scores)
    return compare(group_records(records))


def test_tables_say_everything(write_run: WriteRun) -> None:
    groups, improvements, runs = comparison_tables(comparison_of(write_run))
    assert groups.columns == (
        "group", "runs", "best [95%]", "lowest", "last [95%]", "lowest", "solved", "steps to solved", "training time",
    )  # fmt: skip
    assert groups.rows == (
        ("lr=0.002", "2", "480.0 [480.0, 480.0]", "480.0", "500.0 [500.0, 500.0]", "500.0", "2 of 2", "200", "0:02"),
        ("lr=0.01", "1", "-3 [-]", "-", "-5.25 [-]", "-", "0 of 1", "-", "-"),
    )
    assert improvements.title == "Probability of improvement (best)"
    assert improvements.rows == (("lr=0.002", "lr=0.01", "-"),), "one run cannot tell"
    assert runs.rows[0] == ("a0", "lr=0.002", "0", "300", "480.0", "0", "480.0", "500.0", "200", "0:02")
    assert runs.rows[2] == ("b [31m", "lr=0.01", "0", "300", "-3", "0", "-3", "-5.25", "-", "-"), (
        "nothing moves the cursor"
    )


def test_what_a_score_is_is_said(write_run: WriteRun, tmp_path: Path) -> None:
    sentences = explanations(comparison_of(write_run))
    assert "model in best/ (1 or 4 episodes) and of the last model (1), in the evaluations made during" in sentences[0]
    assert "interquartile mean over its runs, with its 95% bootstrap interval" in sentences[0]
    assert any("--episodes 100" in text for text in sentences)
    assert any("fewer than 5 runs" in text for text in sentences)


def test_played_scores_do_not_flatter(write_run: WriteRun) -> None:
    sentences = explanations(comparison_of(write_run, played=True))
    assert "(30 episodes) and of the last model (30), on held-out seeds, played just now" in sentences[0]
    assert not any("too high" in text for text in sentences)


def test_one_group_has_no_improvement(write_run: WriteRun) -> None:
    record = read_record(write_run("r"))
    comparison = compare(group_records([record]), {record.path: Scores()})
    assert [table.title for table in comparison_tables(comparison)] == ["Groups", "Runs"]
    assert "some episodes" in explanations(comparison)[0]


def test_json_holds_the_whole(write_run: WriteRun) -> None:
    table = json.loads(comparison_text(comparison_of(write_run), "json"))
    assert table["source"] == "metrics"
    assert [run["name"] for run in table["runs"]] == ["a0", "a1", "b\x1b[31m"]
    assert table["groups"][0]["best"] == {"value": 480.0, "low": 480.0, "high": 480.0}
    assert table["groups"][0]["settings"] == {"agent.optimiser.lr": 0.002}
    assert table["groups"][1]["best"] == {"value": -3.0, "low": None, "high": None}
    assert table["improvements"] == [
        {"group": "lr=0.002", "over": "lr=0.01", "chance": {"value": 1.0, "low": None, "high": None}}
    ]
    assert table["confidence"] == 0.95
    assert table["explanations"]
