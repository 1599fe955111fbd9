"""What `share` writes: a folder and a zip that hold all that others need, and nothing private."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cartpole_dqn.api import Run, load, train
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.errors import RunFolderError, UserError
from cartpole_dqn.runs import checkpoint
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import InitialWeights
from cartpole_dqn.runs.shared import read_claim
from cartpole_dqn.views.share import Shared, share_run

SETTINGS = {"evaluation": {"every": 20, "episodes": 1}, "observer": [{"name": "metrics"}]}
FILES = ["README.md", "best", "config.toml", "curve.png", "environment.json", "record.gif", "shared.json"]


@pytest.fixture(scope="module")
def run(trained_once: Callable[..., Path]) -> Run:
    return load(trained_once(obs="state", steps=60, seed=3, settings=SETTINGS))


@pytest.fixture(scope="module")
def shared(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    out = tmp_path_factory.mktemp("shared") / "mine"
    return share_run(run, out, episodes=20, recorded_steps=5)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_and_a_zip_hold_the_same(shared: Shared) -> None:
    folder = shared.folder.path
    assert names_in(folder) == FILES
    assert names_in(folder / "best") == ["policy-1.safetensors", "state.json"]
    with zipfile.ZipFile(shared.archive) as archive:
        for name in archive.namelist():
            assert archive.read(name) == (folder.parent / name).read_bytes()
        assert len(archive.namelist()) == len(FILES) + 1
    with Image.open(folder / "record.gif") as image:
        assert image.width == 600 + 328, "what it does beside what it sees"
    assert shared.missing == ()


def test_it_is_opened_as_a_run_is(run: Run, shared: Shared) -> None:
    claimed = read_claim(shared.folder)
    assert claimed is not None
    for opened in (load(shared.folder.path), load(shared.archive)):
        evaluation = opened.evaluate(20)
        assert evaluation.returns == run.evaluate(20).returns
        assert (evaluation.mean, evaluation.std) == (claimed.mean, claimed.std)
        assert claimed.low <= claimed.mean <= claimed.high
        assert opened.act(np.zeros(4, dtype=np.float32)) == run.act(np.zeros(4, dtype=np.float32))
        assert opened.config.agent == run.config.agent
        assert opened.config.seed == 3


def test_nothing_of_the_machine_or_the_person_is_in_it(run: Run, tmp_path: Path) -> None:
    watched = changed(run.config, observer=[{"name": "private", "folder": "/home/me/secrets"}])
    result = share_run(replace(run, config=watched), tmp_path / "x", episodes=10, recorded_steps=0)
    text = "".join(p.read_text() for p in result.folder.path.iterdir() if p.suffix in (".toml", ".json", ".md"))
    for private in ("secrets", str(run.path), str(tmp_path), "cpu_count", "memory_bytes", "platform"):
        assert private not in text
    (needed,) = result.folder.plugins()
    assert needed["distribution"] == "cartpole-dqn"
    assert {"agent/dqn", "network/mlp", "replay/uniform"} <= set(needed["components"])
    assert "network/conv" not in needed["components"], "only what it needs"
    assert "record.gif" not in (result.folder.path / "README.md").read_text()


def test_the_card_is_one_of_the_hub(shared: Shared) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra test brings it")
    card = hub.ModelCard.load(shared.folder.path / "README.md")
    assert card.data.library_name == "cartpole-dqn"
    assert card.data.pipeline_tag == "reinforcement-learning"
    assert {"reinforcement-learning", "CartPole-v1", "dqn", "state"} <= set(card.data.tags)
    (result,) = card.data.eval_results
    score = shared.score
    assert (card.data.model_name, result.dataset_name, result.metric_type) == ("mine", "CartPole-v1", "mean_reward")
    assert result.task_type == "reinforcement-learning"
    assert result.metric_value.split(" +/- ")[0] == f"{score.mean:.1f}"
    again = hub.ModelCard.from_template(
        card.data, template_str="---\n{{ card_data }}\n---\n", ignore_metadata_errors=False
    )
    assert again.data.to_dict() == card.data.to_dict(), "the Hub's own classes write what they read"
    for text in (
        "Seed of the run | 3",
        "cartpole-dqn run --config config.toml",
        "cartpole-dqn 0.",
        f"{score.episodes} episodes on held-out seeds",
    ):
        assert text in card.text


def test_weights_that_a_run_started_from_go_with_it(run: Run, shared: Shared, tmp_path: Path) -> None:
    started = train(
        obs="state", steps=20, out=tmp_path / "next", plain=True, settings={"init": {"run": str(shared.archive)}}
    )
    assert started.config.init.run == "mine"
    result = share_run(started, tmp_path / "x", episodes=10, recorded_steps=0)
    assert InitialWeights.read(result.folder).checksum == started.config.init.weights
    assert load(result.archive).folder.initial.is_dir()
    again = train(config=result.folder.config, out=tmp_path / "again", plain=True)
    assert again.config.init == started.config.init


def test_a_run_without_metrics_is_shared_without_a_curve(run: Run, tmp_path: Path) -> None:
    folder = RunFolder(Path(shutil.copytree(run.path, tmp_path / "run")))
    folder.metrics_jsonl.unlink()
    result = share_run(replace(run, folder=folder), tmp_path / "x", episodes=10, recorded_steps=0)
    assert not result.folder.curve.exists()
    assert result.missing[0].startswith("the curve: ")


def test_what_cannot_be_shared_leaves_nothing(run: Run, shared: Shared, tmp_path: Path) -> None:
    code = changed(run.config, env=changed(run.config.env, id="my_envs:Mine-v0"))
    with pytest.raises(UserError, match=r"names code to import, env\.id = 'my_envs:Mine-v0'"):
        share_run(replace(run, config=code), tmp_path / "x")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(RunFolderError, match="is not empty"):
        share_run(run, tmp_path / "taken")
    with pytest.raises(RunFolderError, match="holds no model yet"):
        share_run(replace(run, folder=RunFolder(tmp_path / "taken")), tmp_path / "y")
    (tmp_path / "z.zip").touch()
    with pytest.raises(RunFolderError, match=r"z\.zip exists"):
        share_run(run, tmp_path / "z")
    shutil.copytree(shared.folder.path, tmp_path / "mine")
    with pytest.raises(RunFolderError, match=r"mine holds a shared agent already\. Choose another --out"):
        share_run(run, tmp_path / "mine")
    assert names_in(tmp_path) == ["mine", "taken", "z.zip"]


def test_a_second_share_to_the_same_folder_touches_nothing(run: Run, tmp_path: Path) -> None:
    refused: list[Any] = []

    def second(status: str) -> None:
        if not refused:
            with pytest.raises(RunFolderError, match=r"is using .*, or choose another folder with --out") as error:
                share_run(run, tmp_path / "x", episodes=10, recorded_steps=0)
            refused.append(error)

    made = share_run(run, tmp_path / "x", episodes=10, recorded_steps=0, on_status=second)
    assert refused
    assert names_in(tmp_path) == ["x", "x.zip"]
    assert ".lock" not in names_in(made.folder.path)
    with zipfile.ZipFile(made.archive) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".lock")]


def test_a_full_disk_is_named_and_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, tensors: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with pytest.raises(UserError, match=r"/x cannot be written: No space left on device\.$"):
        share_run(run, tmp_path / "x", episodes=10, recorded_steps=0)
    assert names_in(tmp_path) == []
