"""`docs/plugins/broken-plugins.md` is true: each row's plugin is made, installed, and says what the page says."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import distributions
from cartpole_dqn import __version__
from cartpole_dqn.cli.plugin_commands import find_plugin_commands, load_plugin_command
from cartpole_dqn.errors import UserError
from cartpole_dqn.plugin.host import PluginHost, load_plugins

PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "broken-plugins.md"

GOOD = """
from cartpole_dqn import hookimpl

@hookimpl
def register_components(registry):
    registry.add("replay", "acme", "acme_parts:Acme")
"""


ENVIRONMENTS = """
import gymnasium
from cartpole_dqn import hookimpl

@hookimpl
def register_environments():
    """


def hook(body: str) -> str:
    """A plugin whose `register_components` has `body`."""
    lines = ["from cartpole_dqn import hookimpl", "@hookimpl", "def register_components(registry):"]
    return "\n".join([*lines, textwrap.indent(body, "    ")])


@dataclass(frozen=True)
class Distribution:
    """What is installed: modules, entry points, metadata."""

    modules: dict[str, str] = field(default_factory=lambda: {"acme": GOOD})
    entry_points: str = "[cartpole_dqn]\nacme = acme"
    name: str = "acme-replays"
    requires: str = ""
    metadata: bool = True

    def install(self, folder: Path) -> None:
        for module, text in self.modules.items():
            (folder / f"{module}.py").write_text(textwrap.dedent(text))
        requires = [self.requires] if self.requires else []
        distributions.write(folder, self.name, self.entry_points, requires=requires, metadata=self.metadata)


def at_loading(host: PluginHost) -> str:
    line = host.warnings()[0]
    assert [c for c in host.registry.components() if c.distribution == "acme-replays"] == []
    return line


def second(host: PluginHost) -> str:
    assert [record.state for record in host.plugins if record.distribution == "acme-replays"] == ["loaded", "failed"]
    return host.warnings()[0]


def choosing(kind: str, name: str) -> Callable[[PluginHost], str]:
    def see(host: PluginHost) -> str:
        with pytest.raises(UserError) as caught:
            host.registry.load(kind, name)
        return str(caught.value)

    return see


def making_an_environment(host: PluginHost) -> str:
    import gymnasium

    before = dict(gymnasium.registry)
    host.register_environments()
    assert gymnasium.registry == before
    (line,) = host.warnings()
    return line


def calling(host: PluginHost) -> str:
    entry_point = find_plugin_commands((), allowed=("acme-replays",))[0]["heatmap"]
    with pytest.raises(UserError) as caught:
        load_plugin_command(entry_point)
    return str(caught.value)


def listing_commands(host: PluginHost) -> str:
    _, (line,) = find_plugin_commands(("run",), allowed=("acme-replays",))
    return line


@dataclass(frozen=True)
class Case:
    wrong: str
    """The row's first cell."""
    distribution: Distribution
    see: Callable[[PluginHost], str] = at_loading
    other: Distribution | None = None


def module(text: str) -> Distribution:
    return Distribution(modules={"acme": text})


def point(line: str, text: str = GOOD) -> Distribution:
    return Distribution({"acme": text}, f"[cartpole_dqn]\n{line}")


def choose(wrong: str, **modules: str) -> Case:
    """A case of the replay `acme`, which fails when it is loaded."""
    return Case(wrong, Distribution(modules={"acme": GOOD, **modules}), choosing("replay", "acme"))


def command(wrong: str, **modules: str) -> Case:
    return Case(wrong, Distribution(modules, "[cartpole_dqn.commands]\nheatmap = acme_command:app"), calling)


CASES = [
    # While plugins are loaded.
    Case("its module is not there", Distribution(modules={})),
    Case("it imports a package that is not installed", module("import numba_of_tomorrow")),
    Case("it raises while it is imported", module("raise RuntimeError('no licence file')")),
    Case("it has a syntax error", module("registry = = 1")),
    Case("it calls `sys.exit` while it is imported", module("import sys; sys.exit(3)")),
    Case(
        "it raises an exception that cannot be printed",
        module("class Bad(Exception):\n    def __str__(self):\n        return 1 / 0\nraise Bad"),
    ),
    Case("a hook's name is misspelled", module(GOOD.replace("components", "component"))),
    Case("a hook takes another parameter", module(GOOD.replace("(registry)", "(reg)").replace("registry.", "reg."))),
    Case("`@hookimpl` was forgotten", module(GOOD.replace("@hookimpl", ""))),
    Case("a hook is `async`", module(GOOD.replace("def ", "async def "))),
    Case("a hook yields", module(hook("yield registry"))),
    Case(
        "a hook raises after it added something",
        module(hook("registry.add('replay', 'acme', 'acme_parts:Acme')\nraise KeyError('ACME_HOME')")),
    ),
    Case("the entry point names the hook", point("acme = acme:register_components")),
    Case("the entry point names a class", point("acme = acme:Plugin", "class Plugin: ...")),
    Case("the entry point names nothing", point("acme = acme/plugin.py")),
    Case("the entry point has no value", point("acme")),
    Case("two entry points name one module", point("a = acme\nb = acme"), second),
    Case("its METADATA is missing", Distribution(metadata=False)),
    Case("a kind is misspelled", module(hook("registry.add('replays', 'acme', 'acme_parts:Acme')"))),
    Case("a name has other letters", module(hook("registry.add('replay', 'Acme Replay', 'acme_parts:Acme')"))),
    Case("a reference has no colon", module(hook("registry.add('replay', 'acme', 'acme_parts.Acme')"))),
    Case("a preset is no TOML file", module(hook("registry.add('preset', 'acme', 'acme:presets')"))),
    Case("it adds a component twice", module(hook("for _ in range(2):\n    registry.add('replay', 'acme', 'a:Acme')"))),
    Case("it takes a built-in's name", module(hook("registry.add('replay', 'uniform', 'acme_parts:Acme')"))),
    Case(
        "it takes another plugin's name",
        Distribution(),
        other=Distribution(
            {"abel": GOOD.replace("acme_parts", "abel_parts")}, "[cartpole_dqn]\nabel = abel", name="abel-replays"
        ),
    ),
    Case("it needs a newer cartpole-dqn, by attribute", module("requires_cartpole_dqn = '>=99'\n" + GOOD)),
    Case("it needs a newer cartpole-dqn, by its metadata", Distribution(requires="cartpole-dqn>=99")),
    Case("`requires_cartpole_dqn` is no specifier", module("requires_cartpole_dqn = 'newer'\n" + GOOD)),
    # When a component is chosen.
    choose("the chosen component's module is not there"),
    choose("the chosen component's module has no such class", acme_parts="class Acne: ..."),
    choose("the chosen component's module needs what is not installed", acme_parts="import numba_of_tomorrow"),
    choose("the chosen component is no class", acme_parts="Acme = {}"),
    choose("the chosen component's plugin was left out", acme=hook("raise KeyError('ACME_HOME')")),
    # When an environment is made.
    Case(
        "its environments' hook raises half-way",
        module(ENVIRONMENTS + "gymnasium.register('Acme-v0', 'acme:Env')\n    raise KeyError('ACME_HOME')"),
        making_an_environment,
    ),
    Case(
        "it replaces somebody's environment",
        module(ENVIRONMENTS + "gymnasium.registry['CartPole-v1'] = gymnasium.registry['Acrobot-v1']"),
        making_an_environment,
    ),
    # When its command is called, or listed.
    command("its command's module is not there"),
    command("its command calls `sys.exit` while it is imported", acme_command="raise SystemExit('no licence')"),
    command("its command is no command", acme_command="app = 'heatmap'"),
    Case(
        "its command takes a built-in's name",
        Distribution(modules={}, entry_points="[cartpole_dqn.commands]\nrun = acme_command:app"),
        listing_commands,
    ),
]


def rows_of(page: str) -> dict[str, str]:
    """What is wrong -> what is seen, from every table of the page."""
    rows = re.findall(r"^\| (.+?) \| `` (.+) `` \|$", page, re.MULTILINE)
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def seen(case: Case, folder: Path) -> str:
    installed = [d for d in (case.distribution, case.other) if d is not None]
    for distribution in installed:
        distribution.install(folder)
    message = case.see(load_plugins(allowed=[d.name for d in installed]))
    return message.replace(__version__, "0.1.0")


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.wrong)
def test_user_sees_what_the_page_says(case: Case, tmp_path: Path) -> None:
    assert seen(case, tmp_path) == rows_of(PAGE.read_text(encoding="utf-8"))[case.wrong]


def test_page_has_a_row_for_each_case_and_no_other() -> None:
    assert list(rows_of(PAGE.read_text(encoding="utf-8"))) == [case.wrong for case in CASES]
    assert len(CASES) >= 10
