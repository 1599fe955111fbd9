"""`docs/plugins/directory.md` is true: it lists the repository's plugins, and what the kit says of their parts.

`python plugins/test_directory.py` writes it again.
"""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cartpole_dqn import Registry, builtin_builder
from cartpole_dqn.plugin.registry import Component
from cartpole_dqn.testing import run_checks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "plugins" / "directory.md"
AGAIN = "run `python plugins/test_directory.py` to write the page again"
INTRODUCTION = """\
# Find a plugin

    pip install ./plugins/NAME

installs one of these distributions. The last column counts the checks of the
[conformance kit](index.md#the-conformance-kit) that each part passes with its default options.
"""
ELSEWHERE = {
    ("collector", "ray"): "in its own tests, with Ray",
    ("sweep-engine", "ray"): "in its own tests, with Ray",
    ("agent", "hdqn"): "in its own tests, with other goals",
    ("agent", "hdqn-tabular"): "in its own tests, with other goals",
    ("observer", "mlflow"): "in its own tests, which start programs",
    ("observer", "wandb"): "in its own tests, which start programs",
    ("agent", "visit-counts"): "in its own tests, with another agent inside",
}
"""Parts that need surroundings which are not the kit's own."""


class Plugin(NamedTuple):
    project: dict[str, Any]
    components: list[Component]


def plugins() -> list[Plugin]:
    found = []
    for path in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        registry = Registry(project["name"], project["version"])
        for module in project["entry-points"]["cartpole_dqn"].values():
            register = getattr(importlib.import_module(module), "register_components", None)
            if register is not None:
                register(registry)
        found.append(Plugin(project, registry.components()))
    return found


def result(component: Component) -> str:
    """What the kit says of a part; "" for kinds that it has no checks for."""
    if component.kind == "preset":
        return ""
    if (component.kind, component.name) in ELSEWHERE:
        return ELSEWHERE[component.kind, component.name]
    results = run_checks(component.kind, component.load(), builder=builtin_builder())
    return f"{sum(one.passed for one in results)} of {len(results)}"


def section(plugin: Plugin, results: dict[tuple[str, str], str]) -> str:
    project = plugin.project
    needs = [need for need in project["dependencies"] if not need.startswith(("cartpole-dqn>", "numpy", "torch>"))]
    lines = [f"\n## {project['name']}\n", project["description"], ""]
    lines += [f"Version {project['version']}, {project['license']}. Needs {', '.join(needs) or 'nothing else'}."]
    lines += ["", "| kind | name | what it does | checks passed |", "|---|---|---|---|"]
    rows = [(c.kind, c.name, c.summary, results[c.kind, c.name]) for c in plugin.components]
    rows += [("command", name, "", "") for name in project["entry-points"].get("cartpole_dqn.commands", {})]
    return "\n".join([*lines, *(f"| {kind} | `{name}` | {text} | {said} |" for kind, name, text, said in rows)]) + "\n"


def page_with(results: dict[tuple[str, str], str]) -> str:
    return INTRODUCTION + "".join(section(plugin, results) for plugin in plugins())


def results_on_the_page() -> dict[tuple[str, str], str]:
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if "| `" in line]
    return {(row[0], row[1].strip("`")): row[3] if len(row) > 3 else "" for row in rows}


def test_the_page_lists_every_part_of_every_plugin() -> None:
    assert page_with(results_on_the_page()) == PAGE.read_text(encoding="utf-8"), AGAIN


CHECKED = [c for plugin in plugins() for c in plugin.components if c.kind != "preset"]


@pytest.mark.parametrize("component", CHECKED, ids=lambda c: f"{c.kind}/{c.name}")
def test_the_kit_says_what_the_page_says(component: Component) -> None:
    try:
        component.load()
    except Exception as error:
        pytest.skip(str(error))
    assert results_on_the_page()[component.kind, component.name] == result(component), AGAIN


def test_every_check_passes_or_is_made_elsewhere() -> None:
    for name, said in results_on_the_page().items():
        passed, _, all_of_them = said.partition(" of ")
        assert passed == all_of_them or said in ELSEWHERE.values() or name[0] in ("preset", "command"), name


if __name__ == "__main__":
    PAGE.write_text(
        page_with({(c.kind, c.name): result(c) for plugin in plugins() for c in plugin.components}), encoding="utf-8"
    )
