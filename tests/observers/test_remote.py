from __future__ import annotations

import io
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cartpole_dqn.contracts.events import Episode, ObserverContext, Progress, RunEnded, RunFailed, RunStarted
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.observers.remote import RemoteObserver, RemoteOptions
from cartpole_dqn.observers.remote_process import MOST_ROWS, Outbox
from waiting import until


@options_class
class FileOptions(RemoteOptions):
    file: str = option(effect="where the service is")


class FileObserver(RemoteObserver):
    Options = FileOptions
    name = "made-up"
    record = "file_record:FileRecord"


def begun(
    run: Path, step: int = 0, state: State | None = None, *, wait: float = 60.0
) -> tuple[RemoteObserver, io.StringIO]:
    """An observer of the run in `run`, whose service is the file `record` beside the folder; and what it says."""
    run.mkdir(exist_ok=True)
    (run / "config.toml").write_text('seed = 1\n[agent]\nname = "dqn"\n')
    output = io.StringIO()
    context = ObserverContext(folder=str(run), console=Console(file=output, width=500), clock=time.monotonic)
    observer = FileObserver(FileOptions(every_updates=10, wait=wait, file=str(run.parent / "record")), context)
    if state is not None:
        observer.load_state_dict(state)
    observer.run_started(RunStarted("made up", None, steps=1000, episodes=None, step=step, episode=0, num_envs=1))
    return observer, output


def end(observer: RemoteObserver, reason: str = "done") -> None:
    observer.run_ended(RunEnded(reason, Progress(0, 0, 0.0, {}, {}), None, 0.0, 0.0))


def episode(observer: RemoteObserver, step: int) -> None:
    progress = Progress(step, step, float(step), {}, {"epsilon": 0.5})
    observer.episode_ended(Episode(step, step, 0, 0, float(step), 7, True, progress))


def heard(run: Path, kind: str) -> list[Any]:
    """What the service heard of a kind: open, send or close."""
    lines = [json.loads(line) for line in (run.parent / "record").read_text().splitlines()]
    return [line[1:] for line in lines if line[0] == kind]


def sent(run: Path) -> list[tuple[int, int]]:
    """(number, step) of every row that the service was sent."""
    return [(number, step) for (rows,) in heard(run, "send") for number, step, _ in rows]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    support = str(Path(__file__).parents[1] / "support")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([support, os.environ.get("PYTHONPATH", "")]))


# The rows that were not sent yet --------------------------------------------------------------------------------------


def write(place: Path, *rows: tuple[int, int]) -> None:
    with (place / "rows.jsonl").open("a") as file:
        for row in rows:
            file.write(json.dumps({"row": row, "time": 1.0, "points": [["x", 2.0]]}) + "\n")


def test_rows_that_a_resumed_run_writes_again_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, (5, 1), (9, 1), (9, 2), (12, 1))
    outbox = Outbox(tmp_path)
    rows, after = outbox.next()
    assert [(row.number, row.step) for row in rows] == [(0, 5), (1, 9), (2, 9), (3, 12)]
    outbox.keep(after)
    write(tmp_path, (9, 2), (12, 1), (12, 2), (15, 1))
    rows, after = Outbox(tmp_path).next()
    assert [(row.number, row.step) for row in rows] == [(4, 12), (5, 15)]


def test_what_was_not_kept_comes_again(tmp_path: Path) -> None:
    write(tmp_path, (5, 1))
    outbox = Outbox(tmp_path)
    assert outbox.next() == outbox.next()


def test_half_a_line_waits_and_what_a_crash_left_of_one_is_no_row(tmp_path: Path) -> None:
    write(tmp_path, (5, 1))
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"row": [6')
    outbox = Outbox(tmp_path)
    rows, after = outbox.next()
    assert [row.step for row in rows] == [5]
    outbox.keep(after)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write("\n")
    write(tmp_path, (7, 1))
    assert [row.step for row in outbox.next()[0]] == [7]


def test_many_rows_come_in_parts(tmp_path: Path) -> None:
    write(tmp_path, *((step, 1) for step in range(1, MOST_ROWS + 11)))
    outbox = Outbox(tmp_path)
    rows, after = outbox.next()
    assert len(rows) == MOST_ROWS
    outbox.keep(after)
    assert [row.step for row in outbox.next()[0]] == list(range(MOST_ROWS + 1, MOST_ROWS + 11))


# The process ----------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_resumed_run_continues_its_record(tmp_path: Path) -> None:
    run = tmp_path / "run"
    observer, _ = begun(run)
    episode(observer, 5)
    state = observer.state_dict()
    episode(observer, 9)
    episode(observer, 9)
    observer.run_failed(RunFailed(9, RuntimeError("made up")))
    observer, output = begun(run, 5, state)
    for step in (9, 9, 12):
        episode(observer, step)
    end(observer)
    assert sent(run) == [(0, 5), (1, 9), (2, 9), (3, 12)]
    assert heard(run, "open") == [[None, {"seed": 1, "agent.name": "dqn"}], ["made", {"seed": 1, "agent.name": "dqn"}]]
    assert heard(run, "close") == [["failed"], ["done"]]
    assert output.getvalue() == ""


@pytest.mark.process
def test_a_service_that_goes_down_is_said_once_and_gets_the_rest_later(tmp_path: Path) -> None:
    run = tmp_path / "run"
    observer, output = begun(run)
    episode(observer, 1)
    until(lambda: (tmp_path / "record").exists() and sent(run) == [(0, 1)])
    (tmp_path / "down").touch()
    episode(observer, 2)
    until((run / "made-up" / "problem.txt").exists)
    for step in range(3, 6):
        episode(observer, step)
    end(observer)
    assert output.getvalue().count("\n") == 1
    assert "observer made-up: nobody answers at made-up.example. The run goes on" in output.getvalue()
    assert sent(run) == [(0, 1)]
    (tmp_path / "down").unlink()
    observer, output = begun(run, 5, observer.state_dict())
    end(observer)
    assert sent(run) == [(step - 1, step) for step in range(1, 6)]
    assert output.getvalue() == ""


@pytest.mark.process
def test_a_service_that_never_answers_does_not_hold_the_run_up(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "hang").touch()
    observer, output = begun(run, wait=0.5)
    process = observer._process
    assert process is not None
    for step in range(1, 2000):  # more than a pipe holds
        episode(observer, step)
    end(observer)
    assert process.returncode == -signal.SIGKILL
    assert "not everything was sent within 0.5 s" in output.getvalue()


@pytest.mark.process
def test_the_record_of_a_run_that_is_killed_is_closed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    observer, _ = begun(run)
    episode(observer, 3)
    observer.run_failed(RunFailed(3, KeyboardInterrupt()))  # which closes the pipe, as the end of the process would
    until(lambda: (tmp_path / "record").exists() and heard(run, "close") == [["killed"]])
    assert sent(run) == [(0, 3)]
