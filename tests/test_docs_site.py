"""The documentation site builds without a warning, is whole, and needs no network to be read.

`test_docs.py` runs what the pages say; this looks at what Sphinx makes of them.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
PUBLIC = ("cartpole_dqn", "cartpole_dqn.wrappers", "cartpole_dqn.testing")
DOCUMENTED = re.compile(r"^\.\. (?:auto(?:class|function|exception|data)|py:data):: (cartpole_dqn\.\S+)$", re.MULTILINE)
SPHINX_OWN = ("search", "genindex", "_modules/index")
"""Pages that no source stands behind; the list of modules links to a page of `builtins`, which it does not make."""
COMMAND = "python -m sphinx -W --keep-going -b html docs docs/_build/html"
pytestmark = pytest.mark.timeout(600)  # the first test waits for what all of them look at


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).with_suffix("").as_posix()


class Page(HTMLParser):
    """What a built page loads, links to and can be linked to at, and how many equations it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.equations = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.update(value for key in ("id", "name") if (value := given.get(key)))
        self.equations += tag == "math"
        if tag in ("script", "img", "source", "iframe") and (source := given.get("src")):
            self.loads.append(source)
        if tag == "link" and (target := given.get("href")):
            self.loads.append(target)
        if tag == "a" and (target := given.get("href")):
            self.links.append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in ("sphinx", "myst_parser", "furo") if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install -e '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    arguments = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(out / "doctrees")]
    # A proxy that nobody serves: what would fetch something fails.
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    done = subprocess.run(
        [*arguments, str(DOCS), str(out / "html")], capture_output=True, text=True, env=os.environ | nowhere
    )
    assert done.returncode == 0, f"{COMMAND}\n{done.stderr}"
    assert not done.stderr
    return out / "html"


@pytest.fixture(scope="module")
def built(site: Path) -> dict[str, Page]:
    made = {path.relative_to(site).with_suffix("").as_posix(): Page(path) for path in site.rglob("*.html")}
    return {name: page for name, page in made.items() if not name.startswith("_static/")}


# The built site -------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_every_page_is_built_and_reached_from_the_table_of_contents(site: Path, built: dict[str, Page]) -> None:
    assert len(PAGES) > 30
    sidebar = (site / "index.html").read_text(encoding="utf-8")
    sidebar = sidebar[sidebar.index('class="sidebar-tree"') : sidebar.index('class="main"')]
    for page in PAGES:
        name = name_of(page)
        assert name in built, f"docs/{name}.md was not built"
        assert name == "index" or f'href="{name}.html"' in sidebar, f"docs/{name}.md is in no table of contents"


@pytest.mark.process
def test_nothing_is_loaded_from_elsewhere(site: Path, built: dict[str, Page]) -> None:
    for name, page in built.items():
        for source in page.loads:
            assert not re.match(r"([a-z]+:)?//", source), f"{name} loads {source}"
            assert not source.startswith("data:") or ";base64" in source
            if not source.startswith("data:"):
                path = page.path.parent / unquote(source.partition("?")[0].partition("#")[0])
                assert path.exists(), f"{name} loads {source}, which is not there"
    for style in site.rglob("*.css"):
        assert not re.search(r"@import\s+(url\()?['\"]?(https?:)?//|url\(['\"]?(https?:)?//", style.read_text())


@pytest.mark.process
def test_links_between_pages_lead_somewhere(built: dict[str, Page]) -> None:
    pages = {page.path.resolve(): page for page in built.values()}
    checked = 0
    for name, page in built.items():
        for link in page.links:
            target, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", target) or name in SPHINX_OWN:
                continue
            path = (page.path.parent / target).resolve() if target else page.path.resolve()
            assert path.exists(), f"{name} links to {link}, which is not there"
            if anchor and path in pages:
                assert anchor in pages[path].ids, f"{name} links to {link}, which has no such place"
            checked += 1
    assert checked > 1000


@pytest.mark.process
def test_equations_are_written_for_the_browser(built: dict[str, Page]) -> None:
    code = re.compile(r"^(```|~~~).*?^\1$|^ {4}[^\n]*$|`[^`]*`", re.DOTALL | re.MULTILINE)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if "{include}" not in text:
            written = len(re.findall(r"\$\$.+?\$\$|\$[^$]+\$", code.sub("", text), re.DOTALL))
            assert built[name_of(page)].equations == written, f"equations of {name_of(page)}"
    assert built["how-dqn-works"].equations > 20


@pytest.mark.process
def test_pictures_have_variants_and_commands_colours(site: Path) -> None:
    landing = (site / "index.html").read_text(encoding="utf-8")
    for name, shown in (
        ("progress", "only-light only-wide"),
        ("progress-dark", "only-dark only-wide"),
        ("progress-narrow", "only-light only-narrow"),
        ("progress-narrow-dark", "only-dark only-narrow"),
    ):
        (picture,) = re.findall(rf'<img [^>]*src="_images/{name}\.gif"[^>]*>', landing)
        assert f'class="{shown}"' in picture
    assert landing.count("highlight-sh ") >= 4
    assert '<meta property="og:image" content="https://' in landing
    assert "copybutton.js" in landing


# What needs no build --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_lists_each_public_name_once_and_no_other(module: str) -> None:
    listed = [name for page in PAGES for name in DOCUMENTED.findall(page.read_text(encoding="utf-8"))]
    here = [name.removeprefix(f"{module}.") for name in listed if name.rpartition(".")[0] == module]
    public = list(importlib.import_module(module).__all__)
    assert sorted(here) == sorted(public), (
        f"docs/api must list each name of {module}.__all__ once: missing {sorted({*public} - {*here})}, "
        f"not public {sorted({*here} - {*public})}"
    )


def test_every_plugin_of_the_repository_has_a_page() -> None:
    readmes = {path.resolve() for path in (ROOT / "plugins").glob("*/README.md")}
    shown = set()
    for page in PAGES:
        for name in re.findall(r"^~~~\{include\} (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            shown.add((page.parent / name).resolve())
    missing = sorted(str(path.relative_to(ROOT)) for path in readmes - shown)
    assert not missing, f"{missing} are not on the site: add a page to docs/plugins/repository that includes each"


def named_sources(page: Path) -> Iterator[tuple[str, Path]]:
    """Links to Python files whose text is a name in code: `[`Network.td_loss`](../cartpole_dqn/contracts/parts.py)`."""
    for name, target in re.findall(r"\[`([\w.]+)`\]\(([^)#\s]+\.py)\)", page.read_text(encoding="utf-8")):
        yield name, (page.parent / target).resolve()


def defines(path: Path, name: str) -> bool:
    """Whether the file defines the class, function or method."""
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    for part in name.split("."):
        found = [n for n in body if isinstance(n, (ast.ClassDef, ast.FunctionDef)) and n.name == part]
        if not found:
            return False
        body = found[-1].body
    return True


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_the_source_are_where_the_page_says(page: Path) -> None:
    for name, path in named_sources(page):
        assert defines(path, name), f"{page.name} says that {name} is in {path.relative_to(ROOT)}"


def test_pages_for_contributors_name_what_is_there() -> None:
    named = []
    for page in (ROOT / "CONTRIBUTING.md", DOCS / "architecture.md"):
        text = page.read_text(encoding="utf-8")
        paths = re.findall(r"`((?:cartpole_dqn|tests|docs|plugins|examples|\.ci)/[\w./-]*)`", text)
        named += [(page, ROOT / path) for path in paths]
        targets = re.findall(r"\]\(([^)#\s]+)", text)
        named += [(page, page.parent / target) for target in targets if ":" not in target]
    assert len(named) > 40
    for page, path in named:
        assert path.exists(), f"{page.name} names {path}"


def test_the_drawing_of_the_house_has_every_room_in_the_order_of_the_law() -> None:
    law = (ROOT / "tests" / "test_imports.py").read_text(encoding="utf-8")
    rows = re.findall(r'"(\w+)"', law[law.index("ROWS = [") : law.index("]", law.index("ROWS = ["))])
    drawn = re.findall(r"^  │ (\w+)(?:/|\.py) ", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert ["__main__", *drawn] == rows
