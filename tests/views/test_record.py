from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import MountainCarEnv
from PIL import Image, ImageSequence

from cartpole_dqn.api import Run
from cartpole_dqn.errors import RunError, UserError
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.record import record_run
from cartpole_dqn.views.scene import draw_scene

Trained = Callable[..., Run]


def test_a_recording_is_the_episodes_picture_by_picture(trained: Trained, tmp_path: Path) -> None:
    run = trained()
    heard: list[tuple[int, int]] = []
    recording = record_run(run, tmp_path / "x.gif", episodes=2, seed=3, on_progress=lambda *at: heard.append(at))
    assert recording.returns == tuple(run.evaluate(episodes=2, seed=3).returns)
    assert recording.lengths == tuple(int(value) for value in recording.returns)
    assert recording.fps == 50
    # An episode has one moment more than steps, and its last one stands for 0.7 s.
    assert recording.frames == sum(recording.lengths) + 2 * 35
    assert heard == [(k, step) for k in (1, 2) for step in range(recording.lengths[k - 1] + 1)]
    assert recording.nbytes == (tmp_path / "x.gif").stat().st_size
    with Playback(run, seed=3) as playback:
        shown = [draw_scene(scene) for number in (1, 2) for scene in playback.episode(number)]
    with Image.open(recording.path) as image:
        frames = list(np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image))
    assert len(frames) == len(shown)
    assert all((ours == theirs).all() for ours, theirs in zip(shown, frames, strict=True))


def test_what_is_faster_than_a_gif_can_be_is_slowed_down_to_it(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartpole_dqn.views.playback.steps_per_second", lambda env: 60.0)
    assert record_run(trained(), tmp_path / "x.gif", max_steps=2).fps == 50
    pytest.importorskip("av")
    assert record_run(trained(), tmp_path / "x.mp4", max_steps=2).fps == 60


def test_pictures_that_are_more_than_enough_are_skipped_but_for_the_last(trained: Trained, tmp_path: Path) -> None:
    recording = record_run(trained(), tmp_path / "x.gif", max_steps=5, most=25.0)
    assert (recording.fps, recording.frames, recording.lengths, recording.cut) == (25, 3 + 18, (5,), True)
    assert not record_run(trained(), tmp_path / "x.gif", most=25.0).cut


def test_an_environment_without_a_limit_is_cut_after_a_bound(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartpole_dqn.views.record.LONGEST", 4)
    gymnasium.register("tests/Endless-v0", MountainCarEnv)
    endless = record_run(trained("tests/Endless-v0"), tmp_path / "x.gif")
    assert (endless.lengths, endless.bound) == ((4,), 4)
    assert record_run(trained(), tmp_path / "x.gif").bound is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fps": math.nan}, "fps: expected a number above 0, got nan"),
        ({"fps": math.inf}, "fps: expected a number above 0, got inf"),
        ({"fps": 0.0}, "fps: expected a number above 0, got 0"),
        ({"fps": 60.0}, "60 pictures a second: expected a number from 0.01, up to 50"),
        ({"max_steps": 0}, "max_steps: expected 1 or more, got 0"),
        ({"max_steps": -3}, "max_steps: expected 1 or more, got -3"),
    ],
)
def test_numbers_that_make_no_recording_are_refused(
    trained: Trained, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        record_run(trained(), tmp_path / "x.gif", **options)
    assert not list(tmp_path.iterdir())


def test_what_fails_leaves_nothing(trained: Trained, tmp_path: Path) -> None:
    def fail(*_: int) -> None:
        raise RunError("enough")

    with pytest.raises(RunError, match="enough"):
        record_run(trained(), tmp_path / "x.gif", max_steps=2, on_progress=fail)
    assert not list(tmp_path.iterdir())
