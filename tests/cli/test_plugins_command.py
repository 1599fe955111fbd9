from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.cli.component_text import example
from cartpole_dqn.contracts.options import OptionInfo
from cartpole_dqn.plugin.registry import KINDS, Component

Plugins = Callable[..., Any]

ACME = """
from cartpole_dqn import hookimpl

@hookimpl
def register_components(registry):
    summary = "keeps [red]the[/red] target where it is, and this summary " + "goes on " * 20
    registry.add("target-update", "acme", "acme_parts:Acme", summary)
    registry.add("target-update", "linear", "acme_parts:Acme", "shares its name with an exploration")
    registry.add("network", "bare", "acme_parts:Bare", "declares no options")
    registry.add("wrapper", "still", "acme_parts:Still", "a wrapper")
"""

ACME_PARTS = '''
import gymnasium
from cartpole_dqn import TargetUpdate, option, options_class


@options_class
class AcmeOptions:
    every: int = option(default=7, ge=1, le=900, effect="how seldom [B, A] it moves", typical="7 to 70")


class Acme(TargetUpdate):
    """Never moves.

    Or hardly.
    """

    Options = AcmeOptions

    def __init__(self, options, context):
        pass


class Bare:
    pass


class Still(gymnasium.ObservationWrapper):
    """Shows the same thing.

    Args:
        env: what is wrapped.
        how_long: steps
            for which it does.
        mode (str): as the documentation has it.

    Raises:
        ValueError: never.
    """

    def __init__(self, env, how_long: int, mode="all", *, area: tuple[int, int] | None = None):
        super().__init__(env)
'''


BROKEN = "def f():\n    raise RuntimeError('no [bold]licence[/bold]')\nf()"


@pytest.fixture(autouse=True)
def _installed(install: Callable[..., None]) -> None:
    install("acme", {"acme-plugin": "acme"}, acme="print('noise')\n" + ACME, acme_parts=ACME_PARTS)
    install("acme-broken", {"acme-broken-plugin": "acme_broken"}, acme_broken=BROKEN)


# list -----------------------------------------------------------------------------------------------------------------


def sections(stdout: str) -> dict[str, dict[str, str]]:
    """The printed lists: "kind  distribution" -> name -> text."""
    tables: dict[str, dict[str, str]] = {}
    heading = ""
    for line in stdout.splitlines():
        if line.startswith("  "):
            name, _, text = line.strip().partition("  ")
            tables[heading][name] = text.strip()
        elif line and line != "noise":
            heading = line
            tables[heading] = {}
    states = ("not-allowed",)
    tables = {key: rows for key, rows in tables.items() if not key.startswith("commands  ")}
    return {key: rows for key, rows in tables.items() if not any(text.startswith(states) for text in rows.values())}


def test_list_shows_components_of_plugins_in_full(plugins: Plugins) -> None:
    nothing = plugins("list", allowed="")
    assert sections(nothing.out) == {}
    assert "--all shows them" in nothing.err
    text = plugins("list").out
    assert sections(text) == {
        "wrapper  acme 1.0": {"still": "a wrapper"},
        "network  acme 1.0": {"bare": "declares no options"},
        "target-update  acme 1.0": {
            "acme": "keeps [red]the[/red] target where it is, and this summary " + ("goes on " * 20).strip(),
            "linear": "shares its name with an exploration",
        },
        "plugins  acme-broken 1.0": {
            "acme-broken-plugin": "failed: RuntimeError: no [bold]licence[/bold] (acme_broken.py, line 2)"
        },
    }
    assert "loaded" not in text, "the state is said only where it is another"
    assert "acme_parts" not in sys.modules


def test_list_all_and_kind_choose_rows(plugins: Plugins) -> None:
    assert list(*sections(plugins("list", "--kind", "target-update").out).values()) == ["acme", "linear"]
    both = sections(plugins("list", "--all", "--kind", "target-update").out)
    assert list(map(list, both.values())) == [["acme", "linear"], ["hard", "soft"]]
    everything = plugins("list", "--all")
    assert {heading.split()[0] for heading in sections(everything.out)} >= set(KINDS)
    assert "built-in" not in everything.err
    nothing = plugins("list", "--kind", "replay")
    assert sections(nothing.out) == {}
    assert "No plugin adds any replay" in nothing.err
    assert "'acme-broken-plugin' of acme-broken 1.0" in nothing.err, "it may have more"
    assert "no plugin 'acmee' is installed that could be allowed" in plugins("list", allowed="acmee").err


def test_list_json_is_one_object(plugins: Plugins) -> None:
    table = json.loads(plugins("list", "--json", "--kind", "network").out)
    (bare,) = table["components"]
    assert bare == {
        "name": "bare", "kind": "network", "distribution": "acme", "version": "1.0", "state": "loaded",
        "plugin": "acme-plugin", "target": "acme_parts:Bare", "summary": "declares no options",
    }  # fmt: skip
    states = {p["distribution"]: (p["state"], p["error"]) for p in table["plugins"] if p["state"] != "not-allowed"}
    error = "RuntimeError: no [bold]licence[/bold] (acme_broken.py, line 2)"
    assert states == {"acme": ("loaded", ""), "acme-broken": ("failed", error)}
    everything = json.loads(plugins("list", "--json", "--all").out)
    assert ("replay", "uniform") in {(c["kind"], c["name"]) for c in everything["components"]}


# show -----------------------------------------------------------------------------------------------------------------


def test_show_a_component(plugins: Plugins) -> None:
    shown = plugins("show", "acme").out
    assert "target-update acme: keeps [red]the[/red] target" in shown
    assert "from acme 1.0, acme_parts:Acme" in shown
    assert "Never moves.\n\nOr hardly." in shown
    assert "  every  how seldom [B, A] it moves [int from 1 to 900, default: 7, typical: 7 to 70]\n" in shown
    assert "cartpole-dqn run --target-update acme --set agent.target_update.every=7" in shown
    assert "shares its name" in plugins("show", "target-update/linear").out
    assert "It has no options." in plugins("show", "bare").out


def test_show_a_wrapper_from_its_constructor(plugins: Plugins) -> None:
    shown = plugins("show", "wrapper/still").out
    assert "  how_long  steps for which it does. [int, required]\n" in shown
    assert '  mode      as the documentation has it. [default: "all"]\n' in shown
    assert "  area      [tuple[int, int] | None, default: None]\n" in shown
    assert "    cartpole-dqn run --wrapper still --set observation.still.how_long=...\n" in shown


def test_show_a_preset_or_a_plugin(plugins: Plugins) -> None:
    shown = plugins("show", "preset/state").out
    assert "[[applies]]" in shown
    assert "    cartpole-dqn run --preset state\n" in shown
    assert "  network/bare: declares no options\n" in plugins("show", "acme-plugin").out
    for name in ("acme-broken", "acme-broken-plugin"):
        result = plugins("show", name)
        heading = "plugin 'acme-broken-plugin' of acme-broken 1.0: failed"
        assert result.out.endswith(f"{heading}\nRuntimeError: no [bold]licence[/bold] (acme_broken.py, line 2)\n")
        assert "acme_broken.py" in result.err, "its traceback"


def test_show_a_plugin_named_as_its_components(plugins: Plugins, install: Callable[..., None]) -> None:
    twin = ACME.replace('"acme"', '"twin"').replace('"bare"', '"twin"')
    install("twin", {"twin": "twin"}, twin=twin, acme_parts=ACME_PARTS)
    shown = plugins("show", "twin", allowed="twin").out
    assert "  network/twin: declares no options\n" in shown
    assert "  target-update/twin: keeps " in shown


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("linear", "say which of target-update/linear, exploration/linear"),
        ("unifrom", "'unifrom'. Did you mean 'uniform'? These plugins failed: "),
        ("acme", "acme 1.0 (acme_parts:Acme) cannot be loaded"),
    ],
)
def test_bad_input_gets_a_sentence(tmp_path: Path, plugins: Plugins, name: str, words: str) -> None:
    (tmp_path / "acme_parts.py").unlink()
    result = plugins("show", name, code=2)
    assert words in result.err


@pytest.mark.parametrize(
    ("kind", "defaults", "text"),
    [
        ("replay", {"full": False, "capacity": 100}, "cartpole-dqn run --replay a --set agent.replay.capacity=100"),
        ("replay", {"mode": "x"}, "cartpole-dqn run --replay a"),
        ("agent", {"gamma": 0.99}, "cartpole-dqn run --agent a --set agent.gamma=0.99"),
        ("observer", {"every": 1}, "cartpole-dqn run --observer a"),
        ("sweep-engine", {}, "cartpole-dqn sweep --engine a"),
        ("collector", {}, "cartpole-dqn run --collector a"),
        ("collector", {"every": 1}, "cartpole-dqn run --collector a --set collector.every=1"),
    ],
)
def test_example_commands(kind: str, defaults: dict[str, Any], text: str) -> None:
    options = [OptionInfo(name, "", value, False, "", "", "", "") for name, value in defaults.items()]
    assert example(Component(kind, "a", "a:A"), options) == text


def test_an_option_that_is_a_part_has_its_kind_and_default(plugins: Plugins) -> None:
    assert re.search(r"\n +replay +.* \[replay part, default: uniform\]\n", plugins("show", "agent/dqn").out)


# check ----------------------------------------------------------------------------------------------------------------


def test_check_a_built_in_component(plugins: Plugins) -> None:
    result = plugins("check", "target-update", "soft", "--set", "tau=0.25")
    lines = result.out.splitlines()
    assert len(lines) > 1
    assert all(line.startswith("passed  ") for line in lines)
    assert "checks of target-update soft passed" in result.err


def test_check_a_class_in_the_current_folder_that_fails(
    tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forgetful_probe.py").write_text(
        textwrap.dedent(
            """
            from cartpole_dqn import TargetUpdate, option, options_class

            @options_class
            class ForgetfulOptions:
                every: int = option(default=1, ge=1, effect="nothing")

            class Forgetful(TargetUpdate):
                Options = ForgetfulOptions

                def __init__(self, options, context):
                    pass

                def after_update(self, online, target, updates):
                    for parameter in online.parameters():
                        parameter.data.zero_()
            """
        )
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = plugins("check", "target-update", "forgetful_probe:Forgetful", code=1)
    assert "checks of target-update forgetful_probe:Forgetful failed: " in result.err
    assert result.err.endswith("It is in forgetful_probe.py, line 8.\n")
    reasons = [line.partition(": ")[2] for line in result.out.splitlines() if line.startswith("FAILED")]
    causes = [reason for reason in reasons if not reason.startswith("as check_")]
    assert 1 <= len(causes) == len(set(causes)) < len(reasons), "one cause is said once"
