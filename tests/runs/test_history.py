from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.errors import RunFolderError
from cartpole_dqn.runs.history import RunHistory, read_metrics, trailing_mean

WriteRun = Callable[..., Path]


def test_history_is_what_was_recorded(write_run: WriteRun) -> None:
    folder = write_run(
        "run-1",
        returns=range(1, 31),
        evaluations={1000: [10, 20], 2000: [400, 500], 3000: [1, 2, 3]},
        confirmations={2000: ([480, 500, 490], True)},
        best=(1000, 2000),
    )
    history = read_metrics(folder)
    assert (history.name, history.title, history.solved_at) == ("run-1", "dqn on CartPole-v1", 475.0)
    assert history.returns.tolist() == list(range(1, 31))
    assert history.lengths.tolist() == [100] * 30
    assert history.step.tolist() == (history.episode * 100).tolist() == (history.seconds * 100).tolist()
    assert np.isnan(history.loss[0])
    assert history.loss[1] == 0.5
    assert history.epsilon[24] == 0.5
    assert history.evaluation_step.tolist() == [1000, 2000, 3000], "a confirmation is no evaluation"
    assert history.evaluation_mean.tolist() == [15, 450, 2]
    assert history.evaluation_std.tolist() == [5, 50, pytest.approx(math.sqrt(2 / 3))]
    assert history.confirmation_step.tolist() == [2000]
    assert history.confirmation_mean.tolist() == [490]
    assert (history.best_step, history.solved_step, history.end) == (2000, 2000, (3000, 30))
    assert list(history.best_returns) == [480, 500, 490]
    assert history.best_has_confirmation
    assert list(history.last_returns) == [1, 2, 3]


def test_a_failed_confirmation_no_confirmation_and_no_evaluation(write_run: WriteRun) -> None:
    folder = write_run("r", evaluations={100: [500]}, confirmations={100: ([300, 400], False)}, best=(100,))
    history = read_metrics(folder)
    assert (history.best_step, history.solved_step, history.best_returns) == (100, None, (300, 400))
    history = read_metrics(write_run("a", evaluations={100: [7], 200: [9]}, best=(100,)))
    assert (history.best_returns, history.last_returns, history.best_has_confirmation) == ((7,), (9,), False)
    history = read_metrics(write_run("b"))
    assert (history.best_returns, history.last_returns, history.best_step) == ((), (), None)
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl is missing"):
        read_metrics(folder / "nowhere")


def test_seconds_between_episodes_and_beyond(write_run: WriteRun) -> None:
    history = read_metrics(write_run("r", evaluations={150: [1], 250: [2]}, confirmations={250: ([3], True)}))
    assert [history.seconds_at(step) for step in (0, 50, 100, 250, 300, 600)] == [0, 0.5, 1, 2.5, 3, 6]
    assert math.isnan(RunHistory("empty").seconds_at(5))
    assert RunHistory("empty").solved_seconds is None


def test_a_torn_last_line_is_left_out(write_run: WriteRun) -> None:
    folder = write_run("r", returns=range(12), ended=False)
    whole = (folder / "metrics.jsonl").read_bytes()
    for cut in (1, 2, 40):
        (folder / "metrics.jsonl").write_bytes(whole[:-cut])
        assert len(read_metrics(folder).returns) == 11
    (folder / "metrics.jsonl").write_bytes(whole + b'{"event":"something new"}\n{"no": 1}\n')
    assert len(read_metrics(folder).returns) == 12


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b"[1, 2]",
        b"\xff\xfe",
        b'{"event":"episode","step":"many"}',
        b'{"event":"evaluation","step":1}',
        b'{"event":"evaluation","step":Infinity,"best":true,"returns":[]}',
        b'{"event":"evaluation","step":1,"returns":["x"]}',
        b'{"event":"run_ended"}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_is_named_and_left_out(write_run: WriteRun, line: bytes) -> None:
    folder = write_run("r")
    lines = (folder / "metrics.jsonl").read_bytes().split(b"\n")
    lines[2] = line
    # The end would hide an end before it.
    (folder / "metrics.jsonl").write_bytes(b"\n".join(lines[:4]) + b"\n")
    history = read_metrics(folder)
    assert history.episode.tolist() == [1, 3]
    assert history.problem == f"{folder}/metrics.jsonl: line 3 is damaged and left out."
    (folder / "metrics.jsonl").write_bytes(b"\n".join([*lines[:2], *[line] * 5]) + b"\n")
    assert str(read_metrics(folder).problem).endswith("lines 3, 4, 5 and 2 more are damaged and left out.")
    (folder / "metrics.jsonl").write_bytes(line + b"\n")
    with pytest.raises(RunFolderError, match="none of its lines can be read"):
        read_metrics(folder)


def test_what_is_not_known_is_nan(tmp_path: Path) -> None:
    events = [
        {"event": "episode", "step": 5, "return": None, "metrics": 3},
        {"event": "evaluation", "step": 6, "returns": []},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    history = read_metrics(tmp_path)
    assert history.step.tolist() == [5]
    assert np.isnan([history.returns[0], history.loss[0], history.evaluation_mean[0]]).all()


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=40), st.integers(1, 30))
def test_trailing_mean_equals_the_slow_reference(values: list[float], window: int) -> None:
    slow = []
    for i in range(len(values)):
        known = [value for value in values[max(0, i - window + 1) : i + 1] if not math.isnan(value)]
        slow.append(sum(known) / len(known) if known else math.nan)
    assert trailing_mean(values, window).tolist() == pytest.approx(slow, abs=1e-6, nan_ok=True)
