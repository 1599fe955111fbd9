"""The examples run as they stand, only shorter: the scripts, the notebook in a kernel of its own, the trained agents.

`tests/studies/test_export.py` runs `play_onnx.py`, which needs a model.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import forked
from cartpole_dqn.api import load
from cartpole_dqn.runs.shared import read_claim
from cartpole_dqn.studies.estimates import holds, score_of
from cartpole_dqn.views.watch import watch_run

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("name", sorted(p.name for p in EXAMPLES.glob("*.py") if p.name != "play_onnx.py"))
@pytest.mark.process
def test_example(name: str, tmp_path: Path) -> None:
    arguments = ["--steps", "1300", "--out", str(tmp_path / "run")] if name.startswith("train") else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = forked.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example says what came out"
    if arguments:
        assert "mean return" in done.stdout
        assert (tmp_path / "run" / "best").is_dir()


# The notebook ---------------------------------------------------------------------------------------------------------


def read_notebook() -> Any:
    nbformat = pytest.importorskip("nbformat", reason="the extra test brings it")
    return nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)


def test_the_notebook_is_kept_without_what_running_it_left() -> None:
    book = read_notebook()
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code
    for cell in code:
        assert cell.outputs == []
        assert cell.execution_count is None
    assert book.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


@pytest.mark.process
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """As it stands, but for the cell of parameters."""
    nbclient = pytest.importorskip("nbclient", reason="the extra test brings it")
    pytest.importorskip("ipykernel", reason="the extra test brings it")
    book = read_notebook()
    (parameters,) = (cell for cell in book.cells if "parameters" in cell.metadata.get("tags", ()))
    assert parameters.source.startswith("steps = ")
    parameters.source = "steps = 1_300"
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=170, kernel_name="python3", resources=resources).execute()
    said = {}
    for cell in book.cells:
        errors = [out.text for out in cell.get("outputs", ()) if out.output_type == "stream" and out.name == "stderr"]
        assert all("agent.network is now '__main__:Net'" in text for text in errors), errors
        for output in cell.get("outputs", ()):
            said.setdefault(cell.source.splitlines()[-1], []).append(output.get("text") or output.data)
    live, run = said["run"]
    assert "1,300 of 1,300 steps" in live["text/html"]
    assert "<svg" in live["text/html"]
    assert "dqn on CartPole-v1, state, preset state, seed 0" in run["text/html"]
    assert "data:image/png;base64," in said["run.plot()"][0]["text/html"]
    assert "data:image/gif;base64," in said['run.record("play.gif", max_steps=150)'][0]["text/html"]
    assert "image/png" in said["    panel.set_axis_off()"][0]
    assert said['print(f"return {total:.0f}")'][0].startswith("return ")
    assert said["again.act(obs) == run.act(obs)"][0]["text/plain"] == "True"
    last = said['print(f"{len(returns)} episodes, the longest {max(returns):.0f}")']
    assert any("episodes, the longest" in str(output) for output in last)


# Trained agents: small, solved, and open at once ----------------------------------------------------------------------

TRAINED = EXAMPLES / "trained"
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
