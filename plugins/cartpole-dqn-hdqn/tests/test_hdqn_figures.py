"""The command that makes the figures: what it measures, draws and prints, and that it goes on where it was."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cartpole_dqn_hdqn import study
from cartpole_dqn_hdqn.command import hdqn_figures
from cartpole_dqn_hdqn.drawing import draw_courses
from cartpole_dqn_hdqn.study import Course, Trial, table_text
from PIL import Image

import forked
from cartpole_dqn import UserError


def test_the_whole_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small: dict[str, Any] = {
        "out": tmp_path,
        "seeds": 1,
        "episodes": 200,
        "report_episodes": 20,
        "steps": 150,
        "preset": ["hdqn-tabular", "flat-q-learning"],
    }
    hdqn_figures(**small)
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].split()[:2] == ["hdqn-tabular", "1"]
    assert printed.splitlines()[2].split()[:2] == ["flat-q-learning", "1"]
    pictures = [tmp_path / f"figure-{style}.png" for style in ("light", "dark")]
    assert printed.splitlines()[3:] == [str(path) for path in pictures]
    papers = [Image.open(path).convert("RGB").getpixel((2, 2)) for path in pictures]
    assert papers == [(255, 255, 255), (21, 25, 30)]
    runs = sorted(path.parent.relative_to(tmp_path) for path in tmp_path.rglob("metrics.jsonl"))
    assert [str(path) for path in runs] == [
        "greedy-20-after-150/flat-q-learning-seed-0",
        "greedy-20-after-150/hdqn-tabular-seed-0",
        "long-200/flat-q-learning-seed-0",
        "long-200/hdqn-tabular-seed-0",
    ]
    # Called again, it trains nothing.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    hdqn_figures(**small)
    assert capsys.readouterr().out == printed
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}


@pytest.mark.process
def test_a_killed_study_goes_on(tmp_path: Path) -> None:
    arguments = ["--seeds", "1", "--episodes", "500", "--report-episodes", "0", "--preset", "hdqn-tabular"]
    command = [sys.executable, "-m", "cartpole_dqn", "hdqn-figures", *arguments]
    metrics = tmp_path / "killed" / "long-500" / "hdqn-tabular-seed-0" / "metrics.jsonl"
    first = forked.Popen([*command, "--out", str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 50):
        assert time.monotonic() < deadline
        assert first.poll() is None
        time.sleep(0.01)
    first.kill()
    first.wait()
    kept = metrics.parent.with_suffix(".json")
    assert not kept.exists()
    courses = [study.long_trial("hdqn-tabular", 0, metrics.parents[1], episodes=500)]
    (tmp_path / "whole").mkdir()
    courses.append(study.long_trial("hdqn-tabular", 0, tmp_path / "whole", episodes=500))
    assert (courses[0].returns == courses[1].returns).all()
    assert (courses[0].visits == courses[1].visits).all()
    assert courses[0].visits.shape == (5, 6)
    assert courses[0].visits[:, 0].tolist() == [1.0] * 5  # every episode ends at s1
    assert (courses[0].visits[:, 2] > courses[0].visits[:, 4]).all()


def test_windows_of_episodes() -> None:
    episodes = []
    totals = np.zeros(2)
    for i in range(250):
        totals += [1, i % 4]
        status = {"epsilon": 0.1, "visits s1": int(totals[0]), "visits s2": int(totals[1])}
        episodes.append({"return": float(i >= 100), "status": status})
    course = study._course(episodes)
    assert course.returns.tolist() == [0.0, 1.0]
    assert course.visits.tolist() == [[1.0, 1.5], [1.0, 1.5]]


def test_when_a_run_was_good() -> None:
    def evaluation(step: int, mean: float, stream: str = "select") -> dict[str, Any]:
        return {"event": "evaluation", "step": step, "mean": mean, "std": 0.4, "returns": [0] * 500, "stream": stream}

    events = [
        {"event": "episode", "step": 90, "seconds": 0.5},
        evaluation(100, 0.2),
        {"event": "episode", "step": 190, "seconds": 1.5},
        evaluation(200, 0.01),
        {"event": "episode", "step": 290, "seconds": 2.5},
        evaluation(300, 0.17),
        evaluation(300, 0.01, "confirm"),
        evaluation(400, 0.2),
        {"event": "run_ended", "step": 400, "seconds": 3.0},
    ]
    trial = study._trial("hdqn", 0, 0.21, 0.2, events)
    assert (trial.good_step, trial.good_seconds, trial.steps, trial.seconds) == (300, 2.5, 400, 3.0)
    events[-2] = evaluation(400, 0.1)
    assert study._trial("hdqn", 0, 0.21, 0.2, events).good_step is None


def test_the_papers_schedule_goes_to_every_exploration() -> None:
    for preset, keys in {
        "hdqn": ["controller_exploration", "meta_exploration"],
        "hdqn-tabular": ["controller_exploration", "meta_exploration"],
        "flat-dqn": ["exploration"],
        "flat-q-learning": ["exploration"],
    }.items():
        agent = study._agent_of(preset)
        changed = study._with_papers_schedule(agent)
        assert [key for key in changed if changed[key] != agent[key]] == keys
        assert all((changed[key]["start"], changed[key]["end"]) == (1.0, 0.1) for key in keys)
        assert changed[keys[-1]]["steps"] == 50_000


def test_a_table() -> None:
    trials = [
        Trial("hdqn", 0, 0.21, 0.2, 100, 3.0, 50, 2.0),
        Trial("hdqn", 1, 0.2, 0.01, 100, 3.0, None, None),
        Trial("flat-dqn", 0, 0.01, 0.01, 200, 3.0, None, None),
    ]
    head, first, second = table_text(trials).splitlines()
    assert " ".join(head.split()) == "preset seeds best >= 0.19 best lowest last >= 0.19 last steps to good s"
    assert first.split() == ["hdqn", "2", "2", "0.205", "0.200", "1", "0.105", "100", "50", "2.0"]
    assert second.split() == ["flat-dqn", "1", "0", "0.010", "0.010", "0", "0.010", "200", "-", "-"]
    assert len({len(line) for line in (head, first, second)}) == 1


def test_pictures_need_something_to_draw(tmp_path: Path) -> None:
    empty = Course(np.zeros(0), np.zeros((0, 6)))
    with pytest.raises(ValueError, match="courses of 100 episodes or more"):
        draw_courses({"hdqn": [empty]}, tmp_path / "none.png")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"preset": ["dqn"]}, "--preset dqn: expected one of hdqn, "),
        ({"episodes": 50}, "--episodes 50: a point of the picture is 100 episodes"),
    ],
)
def test_wrong_input_is_said(wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        hdqn_figures(**{"out": tmp_path, "seeds": 1, "episodes": 0, "report_episodes": 0, **wrong})
