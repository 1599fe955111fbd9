"""What a run saves comes back, and what is another run's is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cartpole_dqn.config.schema import CheckpointConfig, EnvConfig, RunConfig
from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.errors import CheckpointError, RunFolderError
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import (
    LARGEST_KEPT,
    InitialWeights,
    choose_model,
    keep_progress,
    read_checkpoint,
    read_model,
    read_progress,
    write_best,
    write_checkpoint,
)

CONFIG = RunConfig(obs="pixels")
OTHER = changed(CONFIG, env=EnvConfig(id="Acrobot-v1"))
EVALUATION = Evaluation(300, (9.0, 11.0), (9, 11), "select", 1.0)


def weights(value: float) -> dict[str, Any]:
    return {"w": np.full(3, value)}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.mark.parametrize("replay", [None, {"obs": np.arange(4)}])
def test_a_checkpoint_comes_back(folder: RunFolder, replay: Any) -> None:
    assert write_checkpoint(folder, CONFIG, {"step": 400}, weights(2), replay) > 0
    run, kept = read_checkpoint(folder, CONFIG)
    assert run == {"step": 400}
    assert (kept is None) == (replay is None)


def test_a_model_is_the_best_one_where_it_was_kept_and_is_wanted(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="holds no model yet"):
        read_model(folder, CONFIG, "best")
    write_checkpoint(folder, CONFIG, {"step": 400}, weights(2), None)
    assert (choose_model(folder, "best"), read_model(folder, CONFIG, "best").step) == ("last", 400)
    write_best(folder, CONFIG, weights(1), EVALUATION)
    for wanted, step, value in (("best", 300, 1), ("last", 400, 2)):
        model = read_model(folder, CONFIG, wanted)  # type: ignore[arg-type]
        assert (choose_model(folder, wanted), model.step) == (wanted, step)  # type: ignore[arg-type]
        assert model.policy["w"].tolist() == [value] * 3


def test_what_another_run_saved_is_refused(folder: RunFolder) -> None:
    write_best(folder, CONFIG, weights(1), EVALUATION)
    write_checkpoint(folder, changed(CONFIG, obs="\x1b[2J" * 1000), {"step": 1}, weights(1), None)
    words = "has env 'CartPole-v1', but the run's configuration has 'Acrobot-v1'"
    with pytest.raises(CheckpointError, match=words):
        read_model(folder, OTHER, "best")
    with pytest.raises(CheckpointError, match="has obs ") as caught:
        read_checkpoint(folder, CONFIG)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()
    InitialWeights("other", "best", 1, {}, weights(1)).write(folder)
    folder.initial.rename(folder.path / "moved")
    folder.best.rename(folder.initial)
    with pytest.raises(CheckpointError, match="init does not fit the run's configuration: KeyError"):
        InitialWeights.read(folder)


def keep(folder: RunFolder, step: int, mean: float, most: int = 4) -> list[tuple[int, float | None]]:
    config = changed(CONFIG, checkpoint=CheckpointConfig(progress=most))
    keep_progress(folder, config, weights(step), Evaluation(step, (mean,), (9,), "select", 1.0))
    return [(model.step, model.mean) for model in read_progress(folder, CONFIG)]


def test_models_on_the_way_are_kept_where_the_return_changes_most(folder: RunFolder) -> None:
    assert read_progress(folder, CONFIG) == []
    for step, mean in ((1000, 9.0), (2000, 111.0), (3000, 116.0)):
        keep(folder, step, mean)
    assert keep(folder, 4000, 320.0) == [(1000, 9.0), (2000, 111.0), (3000, 116.0), (4000, 320.0)]
    assert keep(folder, 5000, 500.0) == [(1000, 9.0), (3000, 116.0), (4000, 320.0), (5000, 500.0)]
    assert [model.policy["w"].tolist() for model in read_progress(folder, CONFIG)][1] == [3000.0] * 3
    assert keep(folder, 3000, 130.0) == [(1000, 9.0), (3000, 130.0)], "a resumed run may reach a step again"
    assert len(list(folder.progress.iterdir())) == 2
    assert keep(folder, 6000, 500.0, most=1) == [(6000, 500.0)]


def test_what_is_not_to_be_kept_or_too_large_is_not_kept(folder: RunFolder) -> None:
    assert keep(folder, 1000, 9.0, most=0) == []
    large = {"w": np.zeros(LARGEST_KEPT // 8 + 1)}
    keep_progress(folder, CONFIG, large, EVALUATION)
    assert not folder.progress.exists()


def test_damaged_models_on_the_way_are_refused_and_written_anew(folder: RunFolder) -> None:
    keep(folder, 1000, 9.0)
    (folder.progress / "models-1.safetensors").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(CheckpointError, match="looks like a pickle"):
        read_progress(folder, CONFIG)
    assert keep(folder, 2000, 50.0) == [(2000, 50.0)]
    with pytest.raises(CheckpointError, match="has env"):
        read_progress(folder, OTHER)
