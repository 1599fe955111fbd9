"""What a run saves comes back, and what is another run's is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.errors import CheckpointError, RunFolderError
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import (
    InitialWeights,
    Origin,
    choose_model,
    read_checkpoint,
    read_model,
    write_best,
    write_checkpoint,
)

ORIGIN = Origin("CartPole-v1", "pixels", {"agent/dqn": "cartpole-dqn 1.0"})
EVALUATION = Evaluation(300, (9.0, 11.0), (9, 11), "select", 1.0)


def weights(value: float) -> dict[str, Any]:
    return {"w": np.full(3, value)}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.mark.parametrize("replay", [None, {"obs": np.arange(4)}])
def test_a_checkpoint_comes_back(folder: RunFolder, replay: Any) -> None:
    assert write_checkpoint(folder, ORIGIN, {"step": 400}, weights(2), replay) > 0
    run, kept = read_checkpoint(folder, ORIGIN)
    assert run == {"step": 400}
    assert (kept is None) == (replay is None)


def test_a_model_is_the_best_one_where_it_was_kept_and_is_wanted(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="holds no model yet"):
        read_model(folder, ORIGIN, "best")
    write_checkpoint(folder, ORIGIN, {"step": 400}, weights(2), None)
    assert (choose_model(folder, "best"), read_model(folder, ORIGIN, "best").step) == ("last", 400)
    write_best(folder, ORIGIN, weights(1), EVALUATION)
    for wanted, step, value in (("best", 300, 1), ("last", 400, 2)):
        model = read_model(folder, ORIGIN, wanted)  # type: ignore[arg-type]
        assert (choose_model(folder, wanted), model.step) == (wanted, step)  # type: ignore[arg-type]
        assert model.policy["w"].tolist() == [value] * 3


def test_what_another_run_saved_is_refused(folder: RunFolder) -> None:
    write_best(folder, ORIGIN, weights(1), EVALUATION)
    write_checkpoint(folder, Origin("CartPole-v1", "\x1b[2J" * 1000), {"step": 1}, weights(1), None)
    words = "has env 'CartPole-v1', but the run's configuration has 'Acrobot-v1'"
    with pytest.raises(CheckpointError, match=words):
        read_model(folder, Origin("Acrobot-v1", "pixels"), "best")
    with pytest.raises(CheckpointError, match="has obs ") as caught:
        read_checkpoint(folder, ORIGIN)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()
    InitialWeights("other", "best", 1, {}, weights(1)).keep(folder)
    folder.initial.rename(folder.path / "moved")
    folder.best.rename(folder.initial)
    with pytest.raises(CheckpointError, match="init does not fit the run's configuration: KeyError"):
        InitialWeights.kept(folder)


def test_initial_weights_come_back_with_their_checksum(folder: RunFolder) -> None:
    given = InitialWeights("other", "best", 300, {"agent": "dqn"}, weights(1))
    given.keep(folder)
    kept = InitialWeights.kept(folder)
    assert (kept.run, kept.which, kept.step, kept.origin) == ("other", "best", 300, {"agent": "dqn"})
    assert kept.checksum == given.checksum
    assert InitialWeights("other", "best", 300, {}, weights(2)).checksum != given.checksum
