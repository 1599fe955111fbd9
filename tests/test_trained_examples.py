"""The trained agents that ship: small, solved, and open at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cartpole_dqn.api import load
from cartpole_dqn.runs.shared import read_claim
from cartpole_dqn.studies.estimates import holds, score_of
from cartpole_dqn.views.watch import watch_run

TRAINED = Path(__file__).parents[1] / "examples" / "trained"
NAMES = ("pixels", "state")


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in TRAINED.rglob("*") if path.is_file()) < 1_000_000
    assert {path.name for path in TRAINED.iterdir()} == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_score_holds(name: str) -> None:
    run = load(TRAINED / name)
    claimed = read_claim(run.folder)
    assert claimed is not None
    assert (claimed.mean, claimed.low, claimed.episodes) == (500.0, 500.0, 100)
    assert run.config.obs == name
    assert holds(claimed, score_of(run.evaluate(10), 0)) is True


@pytest.mark.parametrize("name", NAMES)
def test_they_can_be_watched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    run = load(shutil.copytree(TRAINED / name, tmp_path / name))
    before = sorted(path.name for path in run.path.rglob("*"))
    assert watch_run(run, episodes=1, speed=64, max_steps=5) == (5.0,)
    assert sorted(path.name for path in run.path.rglob("*")) == before
