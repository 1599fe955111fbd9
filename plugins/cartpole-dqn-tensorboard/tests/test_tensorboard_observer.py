from __future__ import annotations

import io
import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cartpole_dqn_tensorboard.observer import TensorBoard
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from cartpole_dqn import (
    Episode,
    Evaluation,
    ObserverContext,
    Progress,
    RunEnded,
    RunFailed,
    RunStarted,
    UserError,
)

Points = dict[str, list[tuple[int, float]]]


def make(place: Path | None, /, **options: Any) -> TensorBoard:
    context = ObserverContext(
        folder=None if place is None else str(place), console=Console(file=io.StringIO()), clock=time.monotonic
    )
    return TensorBoard(TensorBoard.Options(**options), context)


def read(folder: Path) -> Points:
    """What TensorBoard's own reader finds: tag -> [(step, value)]."""
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def age(folder: Path) -> None:
    """Make event files ten seconds older: as if the sessions that wrote them had begun that much earlier."""
    for path in sorted(folder.glob("events.*")):
        head, second = path.name.split(".")[:3], int(path.name.split(".")[3])
        path.rename(path.with_name(".".join([*head, str(second - 10), *path.name.split(".")[4:]])))


def started(step: int) -> RunStarted:
    return RunStarted(name="made up", folder=None, steps=1000, episodes=None, step=step, episode=step // 7, num_envs=1)


def progress(step: int, **metrics: float) -> Progress:
    """Learning begins at step 10, with two updates a step; a step takes 0.1 s, and 0.2 s from step 50 on."""
    updates = max(0, 2 * (step - 9))
    if updates and not metrics:
        metrics = {"loss": 1 / step, "q_mean": step / 8}
    status: dict[str, float | str] = {"epsilon": 1 - step / 1000, "lr": 0.001, "updates": updates, "mood": "curious"}
    return Progress(step, step // 7, step / 10 + max(0, step - 50) / 10, metrics, status)


def episode(step: int, number: int, env: int = 0) -> Episode:
    return Episode(
        episode=number, step=step, env=env, seed=number, episode_return=float(number * 3 % 17), length=7 + number % 5,
        terminated=True, progress=progress(step),
    )  # fmt: skip


def evaluation(step: int) -> Evaluation:
    return Evaluation(step, (1.0, 3.0, float(step)), (1, 3, step), "select", 0.1)


def happen(observer: TensorBoard, begin: int, end: int) -> None:
    """An episode ends at every seventh step, and at every twelfth an evaluation comes after it."""
    for step in range(begin + 1, end + 1):
        observer.updated(progress(step))
        if step % 7 == 0:
            observer.episode_ended(episode(step, step // 7))
        if step % 12 == 0:
            observer.evaluated(evaluation(step))


def finish(observer: TensorBoard, step: int) -> None:
    observer.run_ended(RunEnded("done", progress(step), None, 0.0, 0.0))


def crash(observer: TensorBoard, step: int) -> None:
    observer.run_failed(RunFailed(step, RuntimeError("made up")))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Points:
    """The points of a run of 100 steps that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    observer = make(folder, every_updates=8)
    observer.run_started(started(0))
    happen(observer, 0, 100)
    finish(observer, 100)
    return read(folder / "tensorboard")


# What is written ------------------------------------------------------------------------------------------------------


def test_every_episode(whole: Points) -> None:
    steps = list(range(7, 101, 7))
    assert whole["episode/return"] == [(step, step // 7 * 3 % 17) for step in steps]
    assert whole["episode/length"] == [(step, 7 + step // 7 % 5) for step in steps]
    assert [step for step, _ in whole["agent/epsilon"]] == steps
    assert [value for _, value in whole["agent/epsilon"]] == pytest.approx([1 - step / 1000 for step in steps])
    assert whole["agent/updates"][-1] == (98, 178.0)
    assert set(whole) == {
        "episode/return", "episode/length", "agent/epsilon", "agent/lr", "agent/updates", "speed/steps_per_second",
        "learning/loss", "learning/q_mean", "evaluation/mean", "evaluation/std",
    }  # fmt: skip


def test_the_speed_is_that_of_training_since_the_last_episode(whole: Points) -> None:
    speed = dict(whole["speed/steps_per_second"])
    assert speed[7] == pytest.approx(10)
    assert speed[49] == pytest.approx(10)
    assert speed[56] == pytest.approx(7 / (1 * 0.1 + 6 * 0.2))
    assert speed[63] == pytest.approx(5)


def test_figures_of_learning_are_throttled_by_updates(whole: Points) -> None:
    steps = list(range(10, 101, 4))
    assert [step for step, _ in whole["learning/loss"]] == steps
    assert [value for _, value in whole["learning/loss"]] == pytest.approx([1 / step for step in steps])
    assert whole["learning/q_mean"] == [(step, step / 8) for step in steps]


def test_every_evaluation(whole: Points) -> None:
    assert [step for step, _ in whole["evaluation/mean"]] == list(range(12, 101, 12))
    assert dict(whole["evaluation/mean"])[24] == pytest.approx(28 / 3)
    assert dict(whole["evaluation/std"])[24] == pytest.approx(evaluation(24).std)


def test_an_agents_own_figures_and_odd_values(tmp_path: Path) -> None:
    observer = make(tmp_path, every_updates=5)
    observer.run_started(started(0))
    for step in range(1, 13):  # this agent does not count its updates: steps count instead
        observer.updated(Progress(step, 0, 0.0, {"regret": math.nan if step == 1 else float(step)}, {}))
    finish(observer, 12)
    points = read(tmp_path / "tensorboard")
    assert set(points) == {"learning/regret"}
    assert [step for step, _ in points["learning/regret"]] == [1, 6, 11]
    assert math.isnan(points["learning/regret"][0][1])
    assert points["learning/regret"][1] == (6, 6.0)


def test_lanes_that_end_at_the_same_step(tmp_path: Path) -> None:
    observer = make(tmp_path)
    observer.run_started(started(0))
    for env in range(3):
        observer.episode_ended(episode(21, env + 1, env))
    finish(observer, 21)
    points = read(tmp_path / "tensorboard")
    assert points["episode/return"] == [(21, 3.0), (21, 6.0), (21, 9.0)]
    assert [step for step, _ in points["agent/epsilon"]] == [21]
    assert [step for step, _ in points["speed/steps_per_second"]] == [21]


# Going on -------------------------------------------------------------------------------------------------------------


@given(stops=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 30), st.booleans()), min_size=1, max_size=3))
def test_a_resumed_run_reads_as_if_it_had_never_stopped(
    whole: Points, tmp_path_factory: pytest.TempPathFactory, stops: list[tuple[int, int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    observer = make(folder, every_updates=8)
    observer.run_started(started(0))
    at = 0
    for checkpoint, lost, evaluated in sorted(stops):
        happen(observer, at, checkpoint)
        state = observer.state_dict()
        if evaluated:  # as at a run's end, when the checkpoint of that step was there already
            observer.evaluated(evaluation(checkpoint))
        happen(observer, checkpoint, checkpoint + lost)
        crash(observer, checkpoint + lost)
        age(folder / "tensorboard")
        observer, at = make(folder, every_updates=8), checkpoint
        observer.load_state_dict(state)
        observer.run_started(started(at))
    happen(observer, at, 100)
    finish(observer, 100)
    assert read(folder / "tensorboard") == whole


def test_a_run_that_begins_again_forgets_what_was_there(whole: Points, tmp_path: Path) -> None:
    lost = make(tmp_path, every_updates=8)
    lost.run_started(started(0))
    happen(lost, 0, 55)
    crash(lost, 55)
    age(tmp_path / "tensorboard")
    again = make(tmp_path, every_updates=8)
    again.run_started(started(0))
    happen(again, 0, 100)
    finish(again, 100)
    assert read(tmp_path / "tensorboard") == whole


def test_files_come_one_after_the_other_even_at_once(tmp_path: Path) -> None:
    state = None
    for i in range(2):
        observer = make(tmp_path)
        if state is not None:
            observer.load_state_dict(state)
        observer.run_started(started(i))
        observer.evaluated(evaluation(i + 1))
        state = observer.state_dict()
        finish(observer, i + 1)
    names = sorted(path.name for path in (tmp_path / "tensorboard").iterdir())
    assert len(names) == 2
    assert int(names[0].split(".")[3]) < int(names[1].split(".")[3])
    assert [step for step, _ in read(tmp_path / "tensorboard")["evaluation/mean"]] == [1, 2]


def test_what_a_checkpoint_counts_on_is_in_the_file(tmp_path: Path) -> None:
    observer = make(tmp_path)
    observer.run_started(started(0))
    for i in range(1, 11):
        for step in range(i * 10 - 8, i * 10 + 1):
            observer.evaluated(evaluation(step))
        observer.state_dict()
        assert len(read(tmp_path / "tensorboard")["evaluation/mean"]) == 9 * i
    crash(observer, 100)


def test_a_file_from_the_future_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / f"events.out.tfevents.{int(time.time()) + 3600}.host.1.0").touch()
    with pytest.raises(UserError, match=r"is dated 36\d\d s in the future.*set the clock right"):
        make(tmp_path).run_started(started(10))


# Beginning and ending -------------------------------------------------------------------------------------------------


def test_a_run_without_a_folder_is_refused() -> None:
    with pytest.raises(UserError, match="observer 'tensorboard' needs a run folder"):
        make(None)


@pytest.mark.parametrize("folder", ["", ".", "../elsewhere", "logs/../../x", "/tmp/x"])
def test_the_folder_is_inside_the_runs(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UserError, match="expected a folder inside the run's own"):
        make(tmp_path, folder=folder)


def test_another_folder(tmp_path: Path) -> None:
    observer = make(tmp_path, folder="logs/tb")
    observer.run_started(started(0))
    happen(observer, 0, 20)
    finish(observer, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert "episode/return" in read(tmp_path / "logs" / "tb")


@pytest.mark.parametrize("last", [finish, crash])
def test_no_thread_is_left_and_nothing_is_written_afterwards(tmp_path: Path, last: Any) -> None:
    before = threading.active_count()
    observer = make(tmp_path)
    observer.run_started(started(0))
    assert threading.active_count() == before + 1
    happen(observer, 0, 20)
    last(observer, 20)
    assert threading.active_count() == before
    points = read(tmp_path / "tensorboard")
    happen(observer, 20, 40)
    last(observer, 40)
    assert read(tmp_path / "tensorboard") == points
    assert observer.state_dict()["step"] == 14
