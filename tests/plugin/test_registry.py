from __future__ import annotations

import re
import string
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.errors import UnknownComponentError, UserError, error_line
from cartpole_dqn.plugin.registry import Component, PluginError, Registry


def registry(*names: str, distribution: str = "acme", version: str = "1.0") -> Registry:
    registry = Registry(distribution, version)
    for name in names:
        registry.add("replay", name, "acme:Replay", f"summary of {name}")
    return registry


def test_a_component_says_what_was_registered_and_by_whom() -> None:
    component = registry("acme").component("replay", "acme")
    assert component == Component("replay", "acme", "acme:Replay", "summary of acme", "acme", "1.0")
    assert component.owner == "acme 1.0"


def test_loading_imports_the_module_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registry_probe.py").write_text("class Outer:\n    class Inner: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("acme", "1.0")
    registry.add("replay", "outer", "registry_probe:Outer")
    registry.add("replay", "inner", "registry_probe:Outer.Inner")
    assert registry.names("replay") == ["inner", "outer"]
    assert "registry_probe" not in sys.modules
    try:
        assert registry.load("replay", "outer").__name__ == "Outer"
        assert registry.load("replay", "inner").__qualname__ == "Outer.Inner"
    finally:
        del sys.modules["registry_probe"]


def test_a_class_is_its_own_target() -> None:
    registry = Registry("acme", "1.0")
    registry.add("replay", "ordered", OrderedDict)
    assert registry.load("replay", "ordered") is OrderedDict
    assert registry.component("replay", "ordered").reference == "collections:OrderedDict"


def test_a_preset_is_its_files_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "preset_probe" / "more"
    folder.mkdir(parents=True)
    (tmp_path / "preset_probe" / "__init__.py").write_text("")
    (folder / "quick.toml").write_text('summary = "é"\n', encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("acme", "1.0")
    registry.add("preset", "quick", "preset_probe:more/quick.toml")
    registry.add("preset", "gone", "preset_probe:more/gone.toml")
    assert registry.load("preset", "quick") == 'summary = "é"\n'
    assert [component.summary for component in registry.components()] == ["", "é"]
    with pytest.raises(
        PluginError, match=r"preset 'gone' of acme 1\.0 \(preset_probe:more/gone\.toml\) cannot be loaded"
    ):
        registry.load("preset", "gone")


TARGETS: dict[str, list[object]] = {
    "replay": ["acme.Replay", ":Replay", "acme:", lambda: None],
    "preset": ["acme:../secret.toml", "acme:/etc/secret.toml", "acme:preset", OrderedDict],
}


@pytest.mark.parametrize(("kind", "target"), [(kind, target) for kind in TARGETS for target in TARGETS[kind]])
def test_a_target_is_a_class_or_a_file_inside_its_package(kind: str, target: object) -> None:
    wanted = {"replay": "a class or 'module:Class'", "preset": "'package:path/file.toml'"}[kind]
    with pytest.raises(PluginError, match=re.escape(f"{kind} 'acme': expected {wanted} as its target, got {target!r}")):
        Registry().add(kind, "acme", target)  # type: ignore[arg-type]


@given(st.text(alphabet=string.ascii_letters + string.digits + "-_ .é/", max_size=8))
def test_names_are_lower_case_letters_digits_and_hyphens(name: str) -> None:
    allowed = name != "" and set(name) <= set(string.ascii_lowercase + string.digits + "-")
    if allowed:
        assert registry(name).names("replay") == [name]
    else:
        with pytest.raises(PluginError, match="is no name for a replay"):
            registry(name)


def test_a_name_is_unique_within_its_kind_alone() -> None:
    target = registry("acme")
    target.add("network", "acme", "acme:Network")
    with pytest.raises(PluginError, match=r"acme 1\.0 registers replay 'acme' twice"):
        target.add("replay", "acme", "acme:Other")


def test_merging_takes_all_or_nothing_and_names_both_owners() -> None:
    host = Registry()
    host.merge(registry("a", "b"))
    with pytest.raises(PluginError, match=r"replay 'b' of other 2\.0 is already registered by acme 1\.0"):
        host.merge(registry("c", "b", distribution="other", version="2.0"))
    assert host.names("replay") == ["a", "b"]
    assert host.component("replay", "b").distribution == "acme"


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(UnknownComponentError, match=r"^unknown replay 'unifrom'\. Did you mean 'uniform'\?$"):
        registry("uniform").component("replay", "unifrom")
    with pytest.raises(UnknownComponentError, match=r"No collector is registered"):
        registry("uniform").component("collector", "ray")


def test_an_unknown_kind_gets_the_nearest_one() -> None:
    for ask in (lambda r: r.component("replays", "a"), lambda r: r.names("replays"), lambda r: r.load("replays", "a")):
        with pytest.raises(UnknownComponentError, match=r"unknown kind of component 'replays'\. Did you mean 'replay'"):
            ask(registry("a"))


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\n  lines"), "ValueError: two lines"),
        (ValueError(), "ValueError"),
        (RuntimeError("too large\nException raised from f at x.cpp:1\nframe #0: f"), "RuntimeError: too large"),
        (ValueError("x" * 5000), f"ValueError: {'x' * 1000}..."),
        (SystemExit(3), "it called sys.exit(3)."),
        (UserError("a sentence."), "a sentence."),
        (UnprintableError(), "UnprintableError: (an exception that cannot be printed)"),
    ],
)
def test_any_error_is_said_in_one_line(error: BaseException, text: str) -> None:
    assert error_line(error) == text


def test_an_interrupt_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interrupted_probe.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("acme", "1.0")
    registry.add("replay", "acme", "interrupted_probe:Part")
    with pytest.raises(KeyboardInterrupt):
        registry.load("replay", "acme")
