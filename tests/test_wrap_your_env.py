"""The files on `docs/wrap-your-env.md` make the environments that the page shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.training.resolve import resolve_config

PAGE = (Path(__file__).parents[1] / "docs" / "wrap-your-env.md").read_text(encoding="utf-8")
FILES: dict[str, str] = dict(re.findall(r"^`([\w.-]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
SHAPES = {
    "grid.toml": (36, 48, 3),
    "catch.toml": (42, 42, 2),
    "acrobot.toml": (60, 60, 2),
    "lunar-lander.toml": (40, 60, 2),
    "pong.toml": (80, 80, 2),
    "mountain-car.toml": (60, 36, 2),
    "cameras.toml": (40, 40, 3),
}
EXTRAS = {"lunar-lander.toml": "Box2D", "pong.toml": "ale_py", "cameras.toml": "minigrid", "grid.toml": "minigrid"}


@pytest.fixture(scope="module")
def host() -> PluginHost:
    host = load_plugins(allowed=())
    host.register_environments()
    return host


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the page's files, on the path, as the page says."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_locators", "catch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_every_file_is_tried() -> None:
    assert {name for name in FILES if name.endswith(".toml")} == set(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_makes_the_environment(name: str, folder: Path, host: PluginHost) -> None:
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name])
    config, _ = resolve_config(host, config_file=folder / name)
    env: Any = EnvFactory(config, host).make()
    try:
        assert env.observation_space.shape == SHAPES[name]
        assert env.observation_space.dtype == np.uint8
        env.action_space.seed(0)
        env.reset(seed=0)
        changes = []
        for _ in range(30):
            observation = env.step(env.action_space.sample())[0]
            assert observation in env.observation_space
            changes.append(int((observation[..., 1] != 128).sum()))
        assert max(changes) > 10, "what moves can be seen"
    finally:
        env.close()


def test_acrobots_file_is_its_preset(folder: Path, host: PluginHost) -> None:
    ours, _ = resolve_config(host, flags={"env": {"id": "Acrobot-v1"}, "obs": "pixels"})
    shown, _ = resolve_config(host, config_file=folder / "acrobot.toml")
    assert (ours.preset, ours.observation) == ("acrobot-pixels", shown.observation)
