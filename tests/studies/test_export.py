"""Exported models: the file alone, given what the environment shows, takes the agent's actions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from cartpole_dqn import Policy, RunError, UserError, load
from cartpole_dqn.agents.greedy import GreedyPolicy
from cartpole_dqn.studies import export as exporting
from cartpole_dqn.studies.export import METADATA_FILE, Exported

EXAMPLE = Path(__file__).parents[2] / "examples" / "play_onnx.py"
QUICK = {"evaluation": {"every": 0}, "observer": [], "agent": {"learning_starts": 30, "batch_size": 8}}


@pytest.fixture(scope="module")
def trained(trained_once: Callable[..., Path]) -> Callable[..., Any]:
    """Return a run of 80 steps."""

    def run(obs: str = "state", **settings: Any) -> Any:
        return load(trained_once(obs=obs, steps=80, settings={**QUICK, **settings}))

    return run


def played(run: Any, exported: Exported) -> None:
    """The `torch.export` program, read anew, takes the actions that `Run.act` takes on the run's own observations."""
    program = torch.export.load(exported.path).module()
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    now: dict[str, Callable[[Any], Any]] = {
        "observation": lambda obs: obs,
        "frame": lambda obs: env.render(),
        "place": lambda obs: np.float64(env.unwrapped.state[0] / 4.8 + 0.5),  # type: ignore[attr-defined]
    }
    wrapped = run.make_env()
    obs, _ = env.reset(seed=5)
    wanted, _ = wrapped.reset(seed=5)
    past: dict[str, list[Any]] = {name: [] for name in exported.inputs}
    over = False
    while not over:
        for name, seen in past.items():
            seen.insert(0, now[name](obs))
        given = [
            np.stack([past[name][min(k, len(past[name]) - 1)] for k in ago]) for name, ago in exported.inputs.items()
        ]
        values, action = program(*map(torch.from_numpy, given))
        assert int(action) == run.act(wanted) == int(values.argmax())
        np.testing.assert_allclose(values, run.policy.q_values(wanted[None])[0], rtol=1e-4)
        obs, _, over, _, _ = env.step(int(action))
        wanted, _, also, _, _ = wrapped.step(int(action))
        assert over == also
    env.close()
    wrapped.close()


def metadata(path: Path) -> Any:
    files = {METADATA_FILE: ""}
    torch.export.load(path, extra_files=files)
    return json.loads(files[METADATA_FILE])


def test_a_program_from_pixels_plays_alone(trained: Callable[..., Any], tmp_path: Path) -> None:
    run = trained("pixels")
    exported = run.export(tmp_path / "policy.pt2", form="torch", episodes=2, which="last")
    assert exported.inputs == {"place": [0], "frame": [0, 4]}
    assert exported.stops == {}
    assert exported.parity.equal_actions == exported.parity.steps > 10
    assert exported.parity.score == exported.parity.exported_score
    played(run, exported)
    meta = metadata(exported.path)
    assert meta["env"] == "CartPole-v1"
    assert meta["inputs"] == exported.inputs
    assert meta["parity"]["episodes"] == 2
    assert [entry["wrapper"] for entry in meta["observation"]][-1] == "centered-crop"


def test_a_program_from_state_is_in_the_runs_folder(trained: Callable[..., Any]) -> None:
    run = trained("state")
    exported = run.export(form="torch", episodes=1)
    assert exported.path == run.path / "policy.pt2"
    assert exported.inputs == {"observation": [0]}
    played(run, exported)


def test_a_locator_that_looks_is_named_and_left_out(trained: Callable[..., Any], tmp_path: Path) -> None:
    chain = [
        {"wrapper": "render", "rows": [160, 320]},
        {"wrapper": "centered-crop", "width": 320, "locator": "darkest", "snap": "nearest"},
        {"wrapper": "channel", "channel": 1},
        {"wrapper": "resize", "height": 40},
        {"wrapper": "frame-difference", "keep_current": True},
    ]
    exported = trained("pixels", observation=chain).export(tmp_path / "x.pt2", form="torch", episodes=1)
    assert exported.stops == {"CenteredCrop": "its locator darkest looks at the picture"}
    assert exported.inputs == {"observation": [0, 1]}
    assert metadata(exported.path)["read_by"] == {"observation": "CenteredCrop"}


def test_values_are_the_agents_own(trained: Callable[..., Any], tmp_path: Path) -> None:
    """Not the network's output, which `step_reward` shifts and scales."""
    run = trained("state", agent={**QUICK["agent"], "step_reward": 1.0})
    played(run, run.export(tmp_path / "x.pt2", form="torch", episodes=1))


def test_a_file_that_acts_otherwise_is_not_written(
    trained: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Negated(torch.nn.Module):
        def __init__(self, right: torch.nn.Module) -> None:
            super().__init__()
            self.right = right

        def forward(self, obs: torch.Tensor) -> torch.Tensor:
            return -self.right(obs)

    right = GreedyPolicy.module
    monkeypatch.setattr(GreedyPolicy, "module", lambda policy: Negated(right(policy)))
    with pytest.raises(RunError, match=r"takes the agent's action in 0 of \d+ steps, expected 99.9% or more"):
        trained().export(tmp_path / "x.pt2", form="torch", episodes=1)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_said(
    trained: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained()
    with pytest.raises(UserError, match="form: expected 'onnx' or 'torch', got 'tflite'"):
        run.export(form="tflite")
    with pytest.raises(UserError, match="cannot be written: "):
        run.export(tmp_path / "no" / "x.pt2", form="torch")
    (tmp_path / "x.pt2").mkdir()
    with pytest.raises(UserError, match="cannot be written: "):
        run.export(tmp_path / "x.pt2", form="torch", episodes=1)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install 'cartpole-dqn\[export\]'"):
        exporting._require_onnx()
    monkeypatch.setattr(GreedyPolicy, "module", Policy.module)
    with pytest.raises(UserError, match="agent dqn cannot be exported"):
        run.export(form="torch")


@pytest.mark.parametrize("obs", ["pixels", "state"])
@pytest.mark.process
def test_the_example_plays_an_onnx_model(obs: str, trained: Callable[..., Any], tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="the extra export brings it")
    pytest.importorskip("onnxscript", reason="the extra export brings it")
    exported = trained(obs).export(tmp_path / "policy.onnx", episodes=2)
    assert exported.parity.equal_actions == exported.parity.steps
    meta = runtime.InferenceSession(exported.path).get_modelmeta()
    assert json.loads(meta.custom_metadata_map["parity"])["steps"] == exported.parity.steps
    assert meta.producer_name == "cartpole-dqn"
    blocked = tmp_path / "blocked"
    for name in ("torch", "cartpole_dqn"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text("raise ImportError")
    command = [sys.executable, str(EXAMPLE), str(exported.path), "2"]
    environment = {**os.environ, "PYTHONPATH": str(blocked)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mean return of 2 episodes: ")
