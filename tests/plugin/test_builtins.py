from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest

import cartpole_dqn
from cartpole_dqn.plugin import builtins
from cartpole_dqn.plugin.registry import KINDS, Component, Registry

BUILT_INS = Registry("cartpole-dqn", cartpole_dqn.__version__)
builtins.register_components(BUILT_INS)


@pytest.mark.parametrize("component", BUILT_INS.components(), ids=lambda c: f"{c.kind}/{c.name}")
def test_every_reference_loads_what_its_kind_needs(component: Component) -> None:
    loaded = component.load()
    if component.kind == "preset":
        assert tomllib.loads(loaded)["summary"] == component.summary
        return
    assert inspect.isclass(loaded)
    if component.kind == "wrapper":
        assert next(iter(inspect.signature(loaded).parameters)) == "env"
    else:
        assert list(inspect.signature(loaded).parameters) == ["options", "context"]
        assert isinstance(loaded.Options, type)


@pytest.mark.parametrize("component", BUILT_INS.components(), ids=lambda c: f"{c.kind}/{c.name}")
def test_every_summary_is_a_line(component: Component) -> None:
    assert 20 <= len(component.summary) <= 100
    assert not component.summary.endswith(".")


def test_every_preset_file_is_registered() -> None:
    folder = Path(cartpole_dqn.__file__).parent / "config" / "presets"
    assert BUILT_INS.names("preset") == sorted(path.stem for path in folder.glob("*.toml"))


def test_every_kind_has_a_built_in() -> None:
    assert [kind for kind in KINDS if not BUILT_INS.names(kind)] == []
