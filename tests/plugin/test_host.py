"""What holds for every plugin; `test_broken_plugins.py` has the many ways of being broken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import pytest

from cartpole_dqn import __version__
from cartpole_dqn.errors import UnknownComponentError, UserError
from cartpole_dqn.plugin.host import PluginError, PluginHost, load_plugins

Install = Callable[..., None]

ADDS = """
from cartpole_dqn import hookimpl

@hookimpl
def register_components(registry):
    registry.add("{kind}", "{name}", "{module}:Part")

class Part: ...
"""


def adds(module: str, name: str, kind: str = "replay") -> dict[str, str]:
    return {module: ADDS.format(kind=kind, name=name, module=module)}


def states(host: PluginHost) -> dict[str, str]:
    return {record.name: record.state for record in host.plugins if record.distribution.startswith("acme")}


def test_the_built_ins_come_first_and_through_the_same_hook() -> None:
    host = load_plugins(allowed=())
    first = host.plugins[0]
    assert (first.label, first.state) == (f"'builtins' of cartpole-dqn {__version__}", "loaded")
    assert host.registry.components() == list(first.components)
    assert {"replay", "network", "agent", "preset"} <= {c.kind for c in first.components}


def test_plugins_follow_by_distribution_and_name(install: Install) -> None:
    install("acme-b", {"one": "acme_b"}, **adds("acme_b", "b"))
    install("acme-a", {"two": "acme_a2", "one": "acme_a1"}, **adds("acme_a1", "a1"), **adds("acme_a2", "a2"))
    host = load_plugins(allowed=["acme-a", "acme-b"])
    mine = [record for record in host.plugins if record.state == "loaded"][1:]
    assert [(r.distribution, r.name, r.version) for r in mine] == [
        ("acme-a", "one", "1.0"),
        ("acme-a", "two", "1.0"),
        ("acme-b", "one", "1.0"),
    ]
    assert [[c.name for c in r.components] for r in mine] == [["a1"], ["a2"], ["b"]]
    component = host.registry.component("replay", "b")
    assert (component.distribution, component.version) == ("acme-b", "1.0")
    assert host.registry.load("replay", "b").__name__ == "Part"
    assert host.failures() == []
    assert host.warnings() == []


def test_one_failure_leaves_the_others_and_nothing_of_itself(install: Install) -> None:
    broken = ADDS.format(kind="replay", name="b", module="acme_b") + "\n    \nimport nowhere_at_all\n"
    late = adds("acme_c", "c")["acme_c"].replace('Part")\n', 'Part")\n    raise RuntimeError("late")\n')
    install("acme", {"a": "acme_a", "b": "acme_b", "c": "acme_c", "d": "acme_d"}, acme_b=broken, acme_c=late,
            **adds("acme_a", "a"), **adds("acme_d", "d"))  # fmt: skip
    host = load_plugins(allowed=["acme"])
    assert states(host) == {"a": "loaded", "b": "failed", "c": "failed", "d": "loaded"}
    assert [c.name for c in host.registry.components("replay") if c.distribution == "acme"] == ["a", "d"]
    assert [record.error for record in host.failures()] == [
        "ModuleNotFoundError: No module named 'nowhere_at_all' (acme_b.py, line 11)",
        "RuntimeError: late (acme_c.py, line 7)",
    ]
    assert isinstance(host.failures()[1].cause, RuntimeError)
    with pytest.raises(UnknownComponentError, match=r"failed to load: .*'c' of acme 1\.0: RuntimeError: late"):
        host.registry.component("replay", "c")


@pytest.mark.parametrize("line", ["", "__hash__ = None"])
def test_an_object_can_be_a_plugin(install: Install, line: str) -> None:
    source = f"""
    from cartpole_dqn import hookimpl
    class Plugin:
        {line}
        @hookimpl
        def register_environments(self): ...
    plugin = Plugin()
    """
    install("acme", {"a": "acme_a:plugin", "b": "acme_b"}, acme_a=source, **adds("acme_b", "b"))
    host = load_plugins(allowed=["acme"])
    host.register_environments()
    assert states(host) == {"a": "loaded", "b": "loaded"}


def test_an_optional_hook_of_a_later_version_is_passed_over(install: Install) -> None:
    source = adds("acme_a", "a")["acme_a"] + "\n@hookimpl(optionalhook=True)\ndef register_themes(registry): ...\n"
    install("acme", {"a": "acme_a"}, acme_a=source)
    assert states(load_plugins(allowed=["acme"])) == {"a": "loaded"}


def test_blocked_and_not_allowed_plugins_are_not_imported(install: Install) -> None:
    install("acme", {"a": "acme_a", "b": "acme_b"}, **adds("acme_a", "a"), **adds("acme_b", "b"))
    for blocked, allowed, expected in (
        (["a"], ["acme"], {"a": "blocked", "b": "loaded"}),
        ([], ["b"], {"a": "not-allowed", "b": "loaded"}),
        (["acme"], ["acme"], {"a": "blocked", "b": "blocked"}),
    ):
        host = load_plugins(blocked=blocked, allowed=allowed)
        assert states(host) == expected
        assert host.failures() == []
    assert "acme_a" not in sys.modules


def test_the_environment_variable_allows_a_list_only(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme", {"a": "acme_a", "b": "acme_b"}, **adds("acme_a", "a"), **adds("acme_b", "b"))
    monkeypatch.setenv("CARTPOLE_DQN_PLUGINS", " b ,")
    assert states(load_plugins()) == {"a": "not-allowed", "b": "loaded"}
    monkeypatch.setenv("CARTPOLE_DQN_PLUGINS", "")
    host = load_plugins()
    assert states(host) == {"a": "not-allowed", "b": "not-allowed"}
    assert "uniform" in host.registry.names("replay")


@pytest.mark.parametrize("name", ["builtins", "cartpole-dqn", "Cartpole_DQN"])
def test_the_built_ins_cannot_be_blocked(name: str) -> None:
    with pytest.raises(UserError, match="cannot be blocked"):
        load_plugins(blocked=[name])


def test_a_name_that_switches_nothing_is_said(install: Install) -> None:
    install("acme", {"plug": "acme_a"}, **adds("acme_a", "a"))
    assert load_plugins(blocked=["plugg"], allowed=["acme"]).warnings() == [
        "no plugin 'plugg' is installed that could be blocked. Did you mean 'plug'?"
    ]
    (line,) = load_plugins(blocked=["plug"], allowed=["acmee"]).warnings()
    assert line.startswith("no plugin 'acmee' is installed that could be allowed. Did you mean 'acme'?")


def test_strict_mode_refuses_every_failure(install: Install) -> None:
    install("acme", {"a": "acme_a", "b": "acme_b"}, acme_a="1 / 0", acme_b="requires_cartpole_dqn = '>=99'")
    with pytest.raises(PluginError) as caught:
        load_plugins(allowed=["acme"], strict=True)
    assert str(caught.value).splitlines() == [
        "plugin 'a' of acme 1.0 failed: ZeroDivisionError: division by zero (acme_a.py, line 1)",
        f"plugin 'b' of acme 1.0 failed: it needs cartpole-dqn >=99, and this is {__version__}.",
    ]
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert states(load_plugins(allowed=["acme"])) == {"a": "failed", "b": "incompatible"}
    load_plugins(allowed=(), strict=True)


@pytest.mark.parametrize("moment", ["acme_a = 1", "register_components"])
def test_an_interrupt_passes_through(install: Install, moment: str) -> None:
    hook = ADDS.replace("registry.add", "raise KeyboardInterrupt #") if moment == "register_components" else ""
    install("acme", {"a": "acme_a"}, acme_a=hook or "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_plugins(allowed=["acme"])


def test_what_a_plugin_prints_goes_to_stderr(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    source = adds("acme_a", "a")["acme_a"].replace("    registry", "    print('called')\n    registry")
    install("acme", {"a": "acme_a"}, acme_a=source + "\nprint('imported')")
    load_plugins(allowed=["acme"])
    assert capsys.readouterr() == ("", "imported\ncalled\n")


ENVIRONMENT = """
import gymnasium
from cartpole_dqn import hookimpl

@hookimpl
def register_environments():
    print("called")
    gymnasium.register("{env}", "gymnasium.envs.classic_control:CartPoleEnv")
    {then}
"""


def test_environments_are_registered_once_and_only_when_asked(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme", {"a": "acme_a"}, acme_a=ENVIRONMENT.format(env="Acme-v0", then=""))
    host = load_plugins(allowed=["acme"])
    assert "Acme-v0" not in gymnasium.registry
    host.register_environments()
    host.register_environments()
    assert capsys.readouterr().err == "called\n"
    gymnasium.make("Acme-v0").close()
    # Another host in the same process registers the same again, which replaces nothing.
    again = load_plugins(allowed=["acme"])
    again.register_environments()
    assert again.failures() == []


def test_an_environment_hook_that_fails_is_taken_back_alone(install: Install) -> None:
    bad = ENVIRONMENT.format(env="Bad-v0", then="raise SystemExit(1)")
    bad += adds("x", "bad")["x"].replace("x:Part", "acme_a:Part")
    good = ENVIRONMENT.format(env="Good-v0", then="")
    install("acme", {"a": "acme_a", "b": "acme_b"}, acme_a=bad, acme_b=good)
    host = load_plugins(allowed=["acme"])
    host.register_environments()
    assert "Good-v0" in gymnasium.registry
    assert "Bad-v0" not in gymnasium.registry
    assert states(host) == {"a": "failed", "b": "loaded"}
    assert host.warnings() == ["plugin 'a' of acme 1.0 failed: register_environments: it called sys.exit(1)."]
    assert host.registry.load("replay", "bad").__name__ == "Part"
    strict = load_plugins(allowed=["acme"], strict=True)
    with pytest.raises(PluginError, match=r"plugin 'a' of acme 1\.0 failed: register_environments"):
        strict.register_environments()


def test_a_run_folder_can_say_what_to_install(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme", {"a": "acme_a"}, **adds("acme_a", "a"))
    described = load_plugins(allowed=["acme"]).describe()
    mine = next(d for d in described if d["distribution"] == "acme")
    assert mine == {"name": "a", "distribution": "acme", "version": "1.0", "state": "loaded", "error": "",
                    "components": ["replay/a"]}  # fmt: skip
    monkeypatch.setattr("cartpole_dqn.plugin.host.find_entry_points", lambda group: ([], []))
    later = load_plugins()
    later.expect(described)
    assert later.registry.component("replay", "uniform").distribution == "cartpole-dqn"
    with pytest.raises(UnknownComponentError, match=r"unknown replay 'a'\. It came from acme 1\.0: install that"):
        later.registry.component("replay", "a")


@pytest.mark.parametrize(
    ("off", "words"),
    [
        ({"blocked": ["a"]}, "which is blocked on the command line: leave out -p no:a."),
        ({"allowed": []}, "which is not in the list of allowed plugins (CARTPOLE_DQN_PLUGINS)."),
    ],
)
def test_what_is_installed_but_off_is_not_to_be_installed(install: Install, off: Any, words: str) -> None:
    install("acme", {"a": "acme_a"}, **adds("acme_a", "a"))
    host = load_plugins(**off)
    host.expect(load_plugins(allowed=["acme"]).describe())
    with pytest.raises(UnknownComponentError) as caught:
        host.registry.component("replay", "a")
    assert str(caught.value) == f"unknown replay 'a'. It came from acme 1.0, {words}"


def test_a_newer_version_without_the_component_is_named(install: Install) -> None:
    install("acme", {"a": "acme_a"}, **adds("acme_a", "a"))
    host = load_plugins(allowed=["acme"])
    before = {"name": "a", "distribution": "acme", "version": "0.9", "components": ["replay/b"]}
    host.expect([before])
    with pytest.raises(UnknownComponentError, match=r"came from acme 0\.9, and version 1\.0, which is installed"):
        host.registry.component("replay", "b")
