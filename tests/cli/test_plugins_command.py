from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cartpole_dqn.cli import plugins
from cartpole_dqn.cli.component_text import example, option_rows
from cartpole_dqn.contracts.options import Part, options_class, part
from cartpole_dqn.errors import CartpoleDqnError, ConfigError, RunError, UnknownComponentError, UserError
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.plugin.registry import KINDS, Component, PluginError

Invoke = Callable[..., Any]

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


class Session:
    blocked = ()

    def __init__(self, **load: Any) -> None:
        self._load = load

    def host(self) -> PluginHost:
        return load_plugins(**self._load)


@pytest.fixture
def invoke() -> Invoke:
    """Run `plugins ...` under a root that supplies the host; an error of ours is raised, as it is to the program."""

    def run(*arguments: str, **load: Any) -> Any:
        root = typer.Typer()
        root.add_typer(plugins.app, name="plugins")

        @root.callback()
        def main(ctx: typer.Context) -> None:
            ctx.obj = Session(**{"allowed": ["acme", "acme-broken"], **load})

        result = CliRunner().invoke(root, ["plugins", *arguments])
        if isinstance(result.exception, CartpoleDqnError):
            result.exception.result = result  # type: ignore[attr-defined]
            raise result.exception
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


# list -----------------------------------------------------------------------------------------------------------------


def rows(stdout: str) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in stdout.splitlines()]


def test_list_says_that_nothing_is_installed(invoke: Invoke) -> None:
    result = invoke("list", allowed=())
    installed = [
        line for line in result.stdout.splitlines() if "not-allowed" not in line and "distribution" not in line
    ]
    assert installed == []
    assert "--all shows them" in result.stderr


def test_list_shows_what_plugins_bring_in_full(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme", {"acme-plugin": "acme"}, acme=ACME, acme_parts=ACME_PARTS)
    install(
        "acme-broken",
        {"acme-broken-plugin": "acme_broken"},
        acme_broken="raise RuntimeError('no [bold]licence[/bold]')",
    )
    result = invoke("list")
    found = [row for row in rows(result.stdout) if "not-allowed" not in row]
    assert found[0] == ["name", "kind", "distribution", "version", "state", "what it is, or what is wrong"]
    assert [row[:5] for row in found[1:]] == [
        ["still", "wrapper", "acme", "1.0", "loaded"],
        ["bare", "network", "acme", "1.0", "loaded"],
        ["acme", "target-update", "acme", "1.0", "loaded"],
        ["linear", "target-update", "acme", "1.0", "loaded"],
        ["acme-broken-plugin", "(plugin)", "acme-broken", "1.0", "failed"],
    ]
    assert found[3][5] == "keeps [red]the[/red] target where it is, and this summary " + ("goes on " * 20).strip()
    assert found[5][5] == "RuntimeError: no [bold]licence[/bold]"
    assert "acme_parts" not in sys.modules


def test_list_all_and_kind_choose_rows(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme", {"acme-plugin": "acme"}, acme=ACME, acme_parts=ACME_PARTS)
    assert [row[0] for row in rows(invoke("list", "--kind", "target-update").stdout)[1:]] == ["acme", "linear"]
    both = rows(invoke("list", "--all", "--kind", "target-update").stdout)[1:]
    assert [row[0] for row in both] == ["acme", "hard", "linear", "soft"]
    everything = invoke("list", "--all")
    assert {row[1] for row in rows(everything.stdout)[1:]} >= set(KINDS)
    assert everything.stderr == ""
    nothing = invoke("list", "--kind", "replay")
    assert nothing.stdout == ""
    assert "No plugin brings any replay" in nothing.stderr


def test_list_of_a_kind_mentions_plugins_that_failed(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme-broken", {"acme-broken-plugin": "acme_broken"}, acme_broken="1 / 0")
    assert "'acme-broken-plugin' of acme-broken 1.0" in invoke("list", "--kind", "replay").stderr


def test_list_json_is_one_object(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme", {"acme-plugin": "acme"}, acme="print('noise')\n" + ACME, acme_parts=ACME_PARTS)
    install("acme-broken", {"acme-broken-plugin": "acme_broken"}, acme_broken="1 / 0")
    found = json.loads(invoke("list", "--json", "--kind", "network").stdout)
    assert found["components"] == [
        {
            "name": "bare",
            "kind": "network",
            "distribution": "acme",
            "version": "1.0",
            "state": "loaded",
            "plugin": "acme-plugin",
            "target": "acme_parts:Bare",
            "summary": "declares no options",
        }
    ]
    states = {p["distribution"]: (p["state"], p["error"]) for p in found["plugins"] if p["state"] != "not-allowed"}
    assert states == {
        "acme": ("loaded", ""),
        "acme-broken": ("failed", "ZeroDivisionError: division by zero"),
    }
    everything = json.loads(invoke("list", "--json", "--all").stdout)
    assert {"name": "uniform", "kind": "replay"}.items() <= next(
        c for c in everything["components"] if c["name"] == "uniform"
    ).items()


def test_an_unknown_kind_is_refused_before_plugins_load(invoke: Invoke) -> None:
    with pytest.raises(
        UnknownComponentError, match=r"unknown kind of component 'replays'\. Did you mean 'replay'"
    ) as caught:
        invoke("list", "--kind", "replays", blocked=["cartpole-dqn"])
    assert caught.value.exit_code == 2


# show -----------------------------------------------------------------------------------------------------------------


def test_show_a_component(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme", {"acme-plugin": "acme"}, acme=ACME, acme_parts=ACME_PARTS)
    shown = invoke("show", "acme").stdout
    assert "target-update acme: keeps [red]the[/red] target" in shown
    assert "from acme 1.0, acme_parts:Acme" in shown
    assert "Never moves.\n\nOr hardly." in shown
    assert ["every", "int", "7", ">= 1, <= 900", "how seldom [B, A] it moves", "7 to 70"] in rows(shown)
    assert "cartpole-dqn run --target-update acme --set agent.target_update.every=7" in shown


def test_show_a_wrapper_from_its_constructor(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme", {"acme-plugin": "acme"}, acme=ACME, acme_parts=ACME_PARTS)
    shown = invoke("show", "wrapper/still").stdout
    assert ["how_long", "int", "required", "steps for which it does."] in rows(shown)
    assert ["mode", '"all"', "as the documentation has it."] in rows(shown)
    assert ["area", "tuple[int, int] | None", "None"] in rows(shown)
    assert '    wrapper = "still"\n    how_long = ...  # required\n' in shown


def test_show_says_what_cannot_be_chosen(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme", {"acme-plugin": "acme"}, acme=ACME, acme_parts=ACME_PARTS)
    assert "declares no options class" in invoke("show", "bare").stdout


def test_an_ambiguous_name_lists_the_candidates(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme", {"acme-plugin": "acme"}, acme=ACME, acme_parts=ACME_PARTS)
    with pytest.raises(UserError, match="say which of target-update/linear, exploration/linear") as caught:
        invoke("show", "linear")
    assert caught.value.exit_code == 2
    assert "shares its name" in invoke("show", "target-update/linear").stdout


def test_show_an_unknown_name(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme-broken", {"acme-broken-plugin": "acme_broken"}, acme_broken="1 / 0")
    with pytest.raises(
        UnknownComponentError, match=r"named 'unifrom'\. Did you mean 'uniform'\? These plugins failed: "
    ):
        invoke("show", "unifrom")
    with pytest.raises(UnknownComponentError, match=r"unknown replay 'unifrom'\. Did you mean 'uniform'"):
        invoke("show", "replay/unifrom")


@pytest.mark.parametrize("name", ["acme-broken", "acme-broken-plugin"])
def test_show_a_plugin_with_its_traceback(install: Callable[..., None], invoke: Invoke, name: str) -> None:
    install("acme-broken", {"acme-broken-plugin": "acme_broken"}, acme_broken="def f():\n    1 / 0\nf()")
    result = invoke("show", name)
    assert result.stdout == (
        "plugin 'acme-broken-plugin' of acme-broken 1.0: failed\nZeroDivisionError: division by zero\n"
    )
    assert "acme_broken.py" in result.stderr


def test_show_a_plugin_lists_what_it_brings(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme", {"acme-plugin": "acme"}, acme=ACME, acme_parts=ACME_PARTS)
    assert "  network/bare: declares no options\n" in invoke("show", "acme-plugin").stdout


def test_show_a_preset_prints_it(invoke: Invoke) -> None:
    shown = invoke("show", "preset/state").stdout
    assert "[[applies]]" in shown
    assert "    cartpole-dqn run --preset state\n" in shown


def test_show_a_component_that_cannot_be_loaded(install: Callable[..., None], invoke: Invoke) -> None:
    install("acme", {"acme-plugin": "acme"}, acme=ACME)
    with pytest.raises(PluginError, match=r"acme 1\.0 \(acme_parts:Acme\) cannot be loaded"):
        invoke("show", "acme")


@pytest.mark.parametrize(
    ("kind", "rows", "text"),
    [
        ("replay", [("capacity", "int", "100")], "cartpole-dqn run --replay a --set agent.replay.capacity=100"),
        ("replay", [("mode", "str", '"x"')], "cartpole-dqn run --replay a"),
        ("agent", [("gamma", "float", "0.99")], "cartpole-dqn run --agent a --set agent.gamma=0.99"),
        ("observer", [("every", "int", "1")], "cartpole-dqn run --observer a"),
        ("sweep-engine", [], "cartpole-dqn sweep --engine a"),
        ("collector", [], "cartpole-dqn run --collector a"),
        ("collector", [("every", "int", "1")], "cartpole-dqn run --collector a --set collector.every=1"),
    ],
)
def test_example_commands(kind: str, rows: list[tuple[str, ...]], text: str) -> None:
    assert example(Component(kind, "a", "a:A"), rows) == text


@options_class
class HolderOptions:
    replay: Part = part("replay", "uniform", capacity=5)


class Holder:
    Options = HolderOptions


def test_option_rows_of_a_part_name_its_kind_and_default() -> None:
    assert option_rows("agent", Holder) == [("replay", "replay part", "uniform", "", "the replay and its options", "")]


# check ----------------------------------------------------------------------------------------------------------------


def test_check_a_built_in_component(invoke: Invoke) -> None:
    result = invoke("check", "target-update", "soft", "--set", "tau=0.25")
    lines = result.stdout.splitlines()
    assert len(lines) > 1
    assert all(line.startswith("passed  ") for line in lines)
    assert "checks of target-update soft passed" in result.stderr


def test_check_a_class_in_the_current_folder_that_fails(
    tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(RunError, match="checks of target-update forgetful_probe:Forgetful failed: ") as caught:
        invoke("check", "target-update", "forgetful_probe:Forgetful")
    assert caught.value.exit_code == 1
    assert "\nFAILED  " in "\n" + caught.value.result.stdout  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["replays", "uniform"], UnknownComponentError, "unknown kind"),
        (["replay", "unifrom"], UnknownComponentError, "Did you mean 'uniform'"),
        (["replay", "nowhere_at_all:Replay"], PluginError, "No module named 'nowhere_at_all'"),
        (["replay", "a b:c"], PluginError, "expected a class or 'module:Class'"),
        (["target-update", "acme", "--set", "every"], ConfigError, "expected KEY=VALUE"),
    ],
)
def test_check_refuses_what_it_cannot_check(
    install: Callable[..., None], invoke: Invoke, arguments: list[str], error: type[Exception], text: str
) -> None:
    install("acme", {"acme-plugin": "acme"}, acme=ACME, acme_parts=ACME_PARTS)
    with pytest.raises(error, match=text) as caught:
        invoke("check", *arguments)
    assert caught.value.exit_code == 2  # type: ignore[attr-defined]
