from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest

import cartpole_dqn
from cartpole_dqn.plugin import builtins
from cartpole_dqn.plugin.registry import KINDS, Registry

BUILT_INS = Registry("cartpole-dqn", cartpole_dqn.__version__)
builtins.register_components(BUILT_INS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_reference_loads_what_its_kind_needs(kind: str) -> None:
    assert BUILT_INS.names(kind)
    for component in BUILT_INS.components(kind):
        assert 20 <= len(component.summary) <= 100, component
        assert not component.summary.endswith("."), component
        loaded = component.load()
        if kind == "preset":
            assert tomllib.loads(loaded)
        elif kind == "wrapper":
            assert next(iter(inspect.signature(loaded).parameters)) == "env", component
        else:
            assert list(inspect.signature(loaded).parameters) == ["options", "context"], component
            assert BUILT_INS.options(kind, component.name), component


def test_every_preset_file_is_registered() -> None:
    folder = Path(cartpole_dqn.__file__).parent / "config" / "presets"
    assert BUILT_INS.names("preset") == sorted(path.stem for path in folder.glob("*.toml"))
