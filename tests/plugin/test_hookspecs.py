from __future__ import annotations

import inspect

import pytest

from cartpole_dqn.plugin import hookspecs
from cartpole_dqn.plugin.host import PluginHost


@pytest.mark.parametrize(("name", "parameters"), [("register_components", ["registry"]), ("register_environments", [])])
def test_each_hook_says_when_who_and_what_wins(name: str, parameters: list[str]) -> None:
    hook = getattr(hookspecs, name)
    assert list(inspect.signature(hook).parameters) == parameters
    assert inspect.signature(hook).return_annotation == "None"
    for heading in ("When: ", "Who: ", "What wins: "):
        assert heading in (hook.__doc__ or "")


def test_a_host_knows_every_hook_and_no_other() -> None:
    specified = {n for n, f in vars(hookspecs).items() if hasattr(f, "cartpole_dqn_spec")}
    known = {n for n in vars(PluginHost()._manager.hook) if not n.startswith("_")}
    assert specified == known == {"register_components", "register_environments"}
