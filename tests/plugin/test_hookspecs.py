from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cartpole_dqn.plugin import hookspecs
from cartpole_dqn.plugin import host as host_module
from cartpole_dqn.plugin.host import load_plugins


def test_a_host_has_every_hook_and_each_says_when_who_and_what_wins() -> None:
    hooks = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "cartpole_dqn_spec")}
    builtins = load_plugins(allowed=()).plugins[0].hooks
    assert builtins is not None
    called = {name for name in vars(builtins.hook) if not name.startswith("_")}
    assert set(hooks) == called == {"register_components", "register_environments"}
    for hook in hooks.values():
        for heading in ("When: ", "Who: ", "What wins: "):
            assert heading in hook.__doc__


OLD = """
from cartpole_dqn import hookimpl

@hookimpl
def register_components(registry, folder):
    registry.add("replay", "acme", "acme:Part", folder)
"""


def test_a_deprecated_parameter_still_works_and_is_said(
    install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `docs/plugins/hooks.md` promises: a parameter `folder` is to go, and one plugin of two still takes it."""

    @hookspecs.hookspec(warn_on_impl_args={"folder": DeprecationWarning("`folder` goes in 0.4: use `registry`.")})
    def register_components(registry: Any, folder: str) -> None: ...

    call = host_module._call

    def calling(hooks: Any, hook: str, **arguments: Any) -> None:
        call(hooks, hook, **arguments, **{"folder": "old"} if hook == "register_components" else {})

    monkeypatch.setattr(hookspecs, "register_components", register_components)
    monkeypatch.setattr(host_module, "_call", calling)
    install("acme-old", {"old": "acme_old"}, acme_old=OLD)
    install(
        "acme-new",
        {"new": "acme_new"},
        acme_new=OLD.replace(", folder", "", 1).replace(", folder)", ")").replace('"acme"', '"new"'),
    )
    host = load_plugins(allowed=["acme-old", "acme-new"], strict=True)
    assert host.registry.component("replay", "acme").summary == "old"
    assert host.failures() == []
    assert host.warnings() == ["plugin 'old' of acme-old: `folder` goes in 0.4: use `registry`. (acme_old.py, line 4)"]
