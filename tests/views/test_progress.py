"""One episode with models of several stages, side by side."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import MountainCarEnv
from PIL import Image, ImageSequence

from cartpole_dqn.api import Run, load
from cartpole_dqn.errors import CheckpointError
from cartpole_dqn.runs.history import RunHistory, read_metrics
from cartpole_dqn.runs.saved import Model
from cartpole_dqn.training.models import load_policy, models_of_progress
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.progress import _some, _title, record_progress

Trained = Callable[..., Run]
LEARNING = {
    "agent": {"learning_starts": 64, "batch_size": 32},
    "evaluation": {"every": 100, "episodes": 2},
    "observer": [{"name": "metrics"}],
}


def test_every_model_plays_the_same_episode(trained: Trained, tmp_path: Path) -> None:
    run = trained(steps=600, **LEARNING)
    heard: list[int] = []
    recording = record_progress(run, tmp_path / "x.gif", max_steps=60, on_progress=heard.append)
    models = _some(models_of_progress(run))
    played = []
    for model in models:
        with Playback(run, which=model, max_steps=60) as playback:
            played.append(list(playback.episode(1))[-1])
    assert recording.returns == tuple(scene.total for scene in played)
    assert recording.lengths == tuple(scene.step for scene in played)
    assert recording.fps == 25
    assert heard[-1] == max(recording.lengths)
    with Image.open(recording.path) as image:
        assert image.size[0] == 10 + 310 * len(models)
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
    first = frames[0][36:100].astype(int)
    assert (first[:, 10:310] == first[:, 320:620]).all(), "all start alike"
    fallen = recording.lengths.index(min(recording.lengths))
    column = slice(10 + 310 * fallen, 310 + 310 * fallen)
    assert frames[0][37:-33, column].min() < 10, "the cart is black"
    assert played[fallen].ending == "terminated"
    assert frames[-1][37:-33, column].min() > 100, "and faded after a fall"


def test_the_model_before_training_is_the_one_that_the_seed_makes(trained: Trained) -> None:
    run = trained(steps=600, **LEARNING)
    models = models_of_progress(run)
    assert [model.step for model in models] == sorted({model.step for model in models})
    assert models[0].step == 0
    assert models[-1].step == load_policy(run, "best")[2]
    fresh = trained(steps=601, **{**LEARNING, "agent": {"learning_starts": 10_000}})
    policy, _, _ = load_policy(fresh, "last")
    untrained = policy.state_dict()["network"]
    assert all((untrained[name] == weights).all() for name, weights in models[0].policy["network"].items())


def test_an_episode_without_a_limit_is_cut_after_a_bound(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartpole_dqn.views.record.LONGEST", 4)
    endless: Any = MountainCarEnv
    gymnasium.register("tests/EndlessProgress-v0", endless)
    recording = record_progress(trained("tests/EndlessProgress-v0"), tmp_path / "x.gif")
    assert (recording.lengths, recording.bound, recording.cut) == ((4, 4), 4, True)


def test_a_damaged_model_is_refused(trained: Trained, tmp_path: Path) -> None:
    run = load(shutil.copytree(trained(steps=600, **LEARNING).path, tmp_path / "run"))
    (run.folder.progress / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match="progress"):
        record_progress(run, tmp_path / "x.gif", max_steps=5)
    assert not (tmp_path / "x.gif").exists()


def test_which_are_shown_and_under_which_title(trained: Trained) -> None:
    models = [Model(Path(), step, {}) for step in (0, 1000, 2000, 3000, 5000)]
    assert [model.step for model in _some(models)] == [0, 2000, 3000, 5000]
    assert [model.step for model in _some(models[:1] + models[-1:])] == [0, 5000]
    assert _title(models[0], RunHistory("x")) == "before training"
    assert _title(models[-1], RunHistory("x")) == "5,000 steps"
    assert _title(models[-1], RunHistory("x", solved_step=5000)) == "solved: 5,000 steps"
    run = trained(steps=600, **LEARNING)
    assert re.fullmatch(r"300 steps, \d+ (s|min)", _title(Model(Path(), 300, {}), read_metrics(run.path)))
