"""The README and `docs/` are true: links resolve, snippets run, commands parse, plugin pages say what the code says.

`python tests/test_docs.py` writes the tables of checks and of public names into the pages again. `test_first_plugin.py`
runs its page.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import re
import shlex
import sys
import tomllib
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import pytest
import typer.main

from cartpole_dqn import Registry
from cartpole_dqn.cli.app import app
from cartpole_dqn.cli.plugin_commands import load_plugin_command
from cartpole_dqn.contracts import collector as collection
from cartpole_dqn.contracts import events, sweep_engine
from cartpole_dqn.contracts import parts as interfaces
from cartpole_dqn.plugin import hookspecs
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.plugin.registry import KINDS
from cartpole_dqn.testing import checks_for
from cartpole_dqn.training.resolve import resolve_config

ROOT = Path(__file__).parents[1]
PLUGINS = ROOT / "docs" / "plugins"
TEMPLATE = ROOT / "cartpole_dqn" / "plugin" / "template" / "cartpole_dqn_acme"
PAGES = {str(path.relative_to(ROOT)): path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
CLASSES: dict[str, tuple[type, ...]] = {
    "replay": (interfaces.ReplayBuffer,),
    "network": (interfaces.Network,),
    "target-update": (interfaces.TargetUpdate,),
    "exploration": (interfaces.Exploration,),
    "optimiser": (interfaces.Optimiser,),
    "agent": (interfaces.Agent, interfaces.Policy),
    "observer": (events.Observer,),
    "collector": (collection.Collector,),
    "sweep-engine": (sweep_engine.SweepEngine,),
}
"""The interfaces that a kind's page describes; the first is the kind's own."""
CHECKED = (*CLASSES, "wrapper")


class Block(NamedTuple):
    """A fenced block, its language, and its first line's number."""

    language: str
    text: str
    line: int
    file: bool
    """Whether it is the content of a file whose path stands above it."""


def read(page: str) -> str:
    return PAGES[page].read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    fence = re.compile(r"^(`[\w./-]+`\n\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [Block(m[2], m[3], text.count("\n", 0, m.start(3)) + 1, bool(m[1])) for m in fence.finditer(text)]


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    """Inline code; one that goes over a line's end becomes one line."""
    paragraphs = re.sub(r"^ {4}.*$", "", prose(text), flags=re.MULTILINE).split("\n\n")
    return [" ".join(span.split()) for part in paragraphs for span in re.findall(r"`([^`]+)`", part)]


# Links ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]+`", "", prose(read(page)))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (PAGES[page].parent / name).resolve() if name else PAGES[page]
        assert path.exists(), f"{page} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: {target} has no such heading"


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_has_the_figures_of_the_results() -> None:
    results = read("docs/results.md").replace("\u00a0", " ").replace("*", "")
    rows = re.findall(r"^\| from .*?(\| .+ \|) `cartpole-dqn ", read("README.md"), re.MULTILINE)
    assert len(rows) == 3
    for row in rows:
        assert row in results


# Snippets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_toml_parses(page: str) -> None:
    for block in blocks(read(page)):
        if block.language == "toml":
            assert tomllib.loads(block.text), f"{page}, line {block.line}"


WITH_PYTHON = [p for p in PAGES if any(b.language == "python" for b in blocks(read(p)))]
STARTS = {"docs/sweeps.md", "docs/plugins/sweep-engine.md"}


@pytest.mark.parametrize("page", [pytest.param(p, marks=[pytest.mark.process] * (p in STARTS)) for p in WITH_PYTHON])
def test_python_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block in turn, as one module; what is named `test_` is called. Training is cut short."""
    monkeypatch.chdir(tmp_path)
    module = run_python(page, monkeypatch)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    for test in tests:
        test()
    assert tests or page not in {f"docs/plugins/{kind}.md" for kind in CHECKED}, f"{page} shows no test"


def run_python(page: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("docs_" + re.sub(r"\W", "_", page))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(read(page)):
        if block.language == "python" and not block.file:
            text = "\n" * (block.line - 1) + re.sub(r"\bsteps=[\d_]+", "steps=220", block.text)
            exec(compile(text, PAGES[page], "exec", dont_inherit=True), vars(module))
    return module


# Commands -------------------------------------------------------------------------------------------------------------


def command_lines(text: str) -> Iterator[str]:
    """Commands in fenced and indented blocks; blocks of other languages have none."""
    text = re.sub(r"^```(?!console|sh)\w+\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for line in re.findall(r"^(?: {4}|\$ )(.+)$", text.replace("\\\n", " "), re.MULTILINE):
        yield from (part.strip() for part in line.split("&&") if part.strip().startswith("cartpole-dqn "))


def parse(command: str) -> None:
    """Parse a command, as the program would, and do nothing of what it asks, not even while it is parsed."""
    arguments = shlex.split(command, comments=True)[1:]
    group: Any = typer.main.get_command(app)
    context, name = None, "cartpole-dqn"
    while True:
        for option in group.params:
            if option.is_eager or not option.expose_value:
                option.callback = None  # --install-completion would write into the home of whoever tests.
        context = group.make_context(name, arguments, parent=context)
        held = "_protected_args" if hasattr(context, "_protected_args") else "protected_args"
        arguments = [*getattr(context, held, ()), *context.args]
        if not arguments or not hasattr(group, "resolve_command"):
            return
        name, group, arguments = group.resolve_command(context, arguments)


def why_refused(command: str) -> str:
    try:
        parse(command)
    except Exception as error:  # of typer's own copy of click, or of click's
        return "" if type(error).__name__ == "Exit" else f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse(page: str) -> None:
    for command in command_lines(read(page)):
        assert not why_refused(command), f"{page}: {command}: {why_refused(command)}"
    for span in spans(read(page)):
        # In a sentence arguments may be left out, and COMMAND stands for any.
        if span.startswith("cartpole-dqn ") and "COMMAND" not in span:
            refused = why_refused(span)
            assert not refused or refused.startswith(("MissingParameter", "NoArgsIsHelp")), f"{page}: {span}: {refused}"


# Docstrings -----------------------------------------------------------------------------------------------------------

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "cartpole_dqn").rglob("*.py")
    if "template" not in path.parts and ">>>" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert results.attempted > 0
    assert results.failed == 0


# Plugin pages ---------------------------------------------------------------------------------------------------------


class Written:
    """An annotation as it is written."""

    def __init__(self, annotation: Any) -> None:
        self.text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)

    def __repr__(self) -> str:
        return self.text


def signature(name: str, function: Any) -> str:
    """A function or property as the pages have it: `name(x: int) -> str`, `name -> str`, without self."""
    called: Any = function.fget if isinstance(function, property) else function
    shape = inspect.signature(called)
    kept = [p.replace(annotation=Written(p.annotation)) for p in shape.parameters.values() if p.name != "self"]
    text = str(shape.replace(parameters=kept, return_annotation=Written(shape.return_annotation)))
    return name + (text.removeprefix("()") if isinstance(function, property) else text)


def signatures_on(text: str) -> set[str]:
    return {span for span in spans(text) if re.fullmatch(r"[\w.]+(\(.*\))? -> .+", span)}


def public_methods(cls: type) -> dict[str, Any]:
    methods = {n: f for n, f in vars(cls).items() if not n.startswith("_") or n == "__len__"}
    return {n: f for n, f in methods.items() if inspect.isfunction(f) or isinstance(f, property)}


def test_hooks_are_as_the_page_says() -> None:
    hooks = {n: f for n, f in vars(hookspecs).items() if hasattr(f, f"{hookspecs.PROJECT}_spec")}
    assert len(hooks) >= 2
    expected = {signature(name, hook) for name, hook in hooks.items()}
    expected.add(signature("registry.add", Registry.add))
    page = read("docs/plugins/hooks.md")
    assert signatures_on(page) == expected
    for name in hooks:
        assert f"\n## {name}\n" in page, f"hooks.md has no section on {name}"


def test_snippets_of_the_hooks_page_do_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    module = run_python("docs/plugins/hooks.md", monkeypatch)
    registry = Registry("acme")
    module.register_components(registry)
    assert [c.reference for c in registry.components()] == ["cartpole_dqn_acme.replay:StratifiedReplay"]
    monkeypatch.setattr("gymnasium.envs.registration.registry", dict(gymnasium.registry))
    module.register_environments()
    assert gymnasium.make("SlowCartPole-v0").spec.max_episode_steps == 1000  # type: ignore[union-attr]
    entry = EntryPoint("heatmap", f"{module.__name__}:heatmap", "cartpole_dqn.commands")
    context = load_plugin_command(entry).make_context("heatmap", ["runs/NAME", "--episodes", "3"])
    assert context.params == {"run": Path("runs/NAME"), "episodes": 3}


@pytest.mark.parametrize("kind", CLASSES)
def test_methods_are_as_the_page_says(kind: str) -> None:
    text = read(f"docs/plugins/{kind}.md")
    expected = {signature(n, f) for cls in CLASSES[kind] for n, f in public_methods(cls).items()}
    assert signatures_on(text) == expected
    required = re.search(r"^## You define\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    cls: Any = CLASSES[kind][0]
    abstract = {signature(n, f) for n, f in public_methods(cls).items() if n in getattr(cls, "__abstractmethods__", ())}
    assert required is not None
    assert signatures_on(required[1]) == abstract


def table_of_checks(kind: str) -> str:
    rows = [f"| `{check.__name__}` | {str(check.__doc__).splitlines()[0]} |" for check in checks_for(kind)]
    return "\n".join(["| check | what holds |", "|---|---|", *rows])


@pytest.mark.parametrize("kind", CHECKED)
def test_checks_are_as_the_page_says(kind: str) -> None:
    hint = f"run `python {Path(__file__).relative_to(ROOT)}` to write the kit's checks into the pages again"
    assert table_of_checks(kind) in read(f"docs/plugins/{kind}.md"), hint


REFERENCE = [page for page in PAGES if page.startswith("docs/api/") and page != "docs/api/index.md"]


def table_of_names(page: str) -> str:
    """The classes and functions on a page of the reference, for readers without the site: source, first sentence."""
    rows = []
    for module, name in re.findall(
        r"^\.\. auto(?:class|function|exception):: ([\w.]+)\.(\w+)$", read(page), re.MULTILINE
    ):
        value = getattr(importlib.import_module(module), name)
        source = os.path.relpath(Path(str(inspect.getsourcefile(inspect.unwrap(value)))).resolve(), PAGES[page].parent)
        rows.append(f"| [`{name}`]({Path(source).as_posix()}) | {str(inspect.getdoc(value)).splitlines()[0]} |")
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


@pytest.mark.parametrize("page", REFERENCE)
def test_the_reference_reads_without_the_site(page: str) -> None:
    assert table_of_names(page) in read(page), f"run `python {Path(__file__).relative_to(ROOT)}`"


@pytest.mark.parametrize(
    "path", [TEMPLATE / f"{kind.replace('-', '_')}.py" for kind in CHECKED], ids=lambda path: path.name
)
def test_pages_show_the_files_that_plugins_new_makes(path: Path) -> None:
    page = read(f"docs/plugins/{path.stem.replace('_', '-')}.md")
    assert path.read_text() in [block.text for block in blocks(page)]


def test_every_kind_has_a_page() -> None:
    overview = read("docs/plugins/index.md")
    table = overview[overview.index("| kind |") : overview.index("A plugin may also bring")]
    assert [name for row in re.findall(r"^\| \[(.+?)\]", table, re.MULTILINE) for name in row.split(", ")] == [
        "wrapper", "replay", "network", "target-update", "exploration", "optimiser", "agent", "observer", "preset",
        "collector", "sweep-engine",
    ]  # fmt: skip
    assert set(KINDS) <= set(re.findall(r"[\w-]+", table))


def test_preset_of_the_page_holds_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = next(block.text for block in blocks(read("docs/plugins/preset.md")) if block.language == "toml")
    (tmp_path / "cartpole_dqn_acme" / "presets").mkdir(parents=True)
    (tmp_path / "cartpole_dqn_acme" / "__init__.py").write_text("")
    (tmp_path / "cartpole_dqn_acme" / "presets" / "acme-long.toml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = run_python("docs/plugins/preset.md", monkeypatch)
    entry = EntryPoint("acme", module.__name__, "cartpole_dqn")
    monkeypatch.setattr("cartpole_dqn.plugin.host.find_entry_points", lambda group: ([entry], []))
    host = load_plugins()
    config, _ = resolve_config(host, preset="acme-long")
    assert config.agent["target_update"]["every"] == 200
    config, _ = resolve_config(host, flags={"env": {"id": "LongCartPole-v3"}, "obs": "state"})
    assert config.preset == "acme-long"


if __name__ == "__main__":
    for one in CHECKED:
        path = PLUGINS / f"{one}.md"
        table = re.compile(r"^\| check \|.*\n(\|.*\n)+", re.MULTILINE)
        path.write_text(table.sub(lambda _, one=one: table_of_checks(one) + "\n", path.read_text()))  # type: ignore[misc]
    for one in REFERENCE:
        table = re.compile(r"^\| name \| what it is \|\n(\|.*\n)+", re.MULTILINE)
        PAGES[one].write_text(table.sub(lambda _, one=one: table_of_names(one) + "\n", read(one)))  # type: ignore[misc]
