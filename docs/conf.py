"""How the documentation site is built: `python -m sphinx -W --keep-going -b html docs docs/_build/html`.

It needs no network, neither to build nor to read: fonts are the reader's own, and equations are MathML.

* `RepositoryLinks`: links that leave `docs/` lead to the page that includes the file, or to the repository.
* `PictureVariants`: pictures for dark pages and for phones.
* `ShellBlocks`: colours for indented blocks of commands.
* `ArrayNames`: arrays in signatures as the code has them.
* `write_inline_math`, `write_block_math`: equations, from LaTeX to MathML, by docutils.
* `keep_plain`, `put_back_plain`: what a field's docstring says, as it is written.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from docutils.utils.math import MathError  # type: ignore[import-untyped]
from docutils.utils.math.latex2mathml import tex2mathml  # type: ignore[import-untyped]
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Changelog"].partition("/blob/")[0]

project = PROJECT["name"]
author = PROJECT["authors"][0]["name"]
copyright = f"2026, {author}"
version = release = PROJECT["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxext.opengraph",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as the repository's viewer makes them, so that links work in both
myst_dmath_double_inline = True

default_role = "code"  # in docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"Obs": "Obs"}
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "undoc-members": True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True

html_theme = "furo"
pygments_dark_style = "a11y-dark"  # furo's own underlines the names of classes and modules, as if they were links
html_title = f"{project} {release}"
html_logo = html_favicon = "_static/logo.svg"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}

copybutton_prompt_text = "$ "  # of a block with prompts only their lines are copied, without the prompt

ogp_site_url = os.environ.get("DOCS_URL", "")  # where the site will stand, if that is known
ogp_site_name = project
ogp_image = f"{REPOSITORY}/raw/main/docs/images/card.png"
ogp_image_alt = "One episode before training and with three later models, the last of which keeps the pole up"
ogp_social_cards = {"enable": False}

log = logging.getLogger(__name__)


def includes() -> dict[Path, str]:
    """The files outside `docs/` that a page includes: file -> that page's name."""
    pages: dict[Path, str] = {}
    for page in sorted(DOCS.rglob("*.md")):
        for name in re.findall(r"^[~`:]{3,}\{include\} (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            pages[(page.parent / name).resolve()] = page.relative_to(DOCS).with_suffix("").as_posix()
    return pages


class RepositoryLinks(SphinxTransform):
    """Lets links to files and folders of the repository work on the site as they do in the repository.

    A page of the site that includes the file stands for it, and for a folder the page that includes its README. All
    others lead to the repository. In a page that includes a file, links count from that file's folder.
    """

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Replace the page's links that leave the site."""
        docname = self.env.docname
        pages = includes()
        folders = [(DOCS / docname).parent, *{path.parent for path, page in pages.items() if page == docname}]
        for node in list(self.document.findall(_is_open_link)):
            target, _, anchor = node["reftarget"].partition("#")
            if node.get("refdomain") == "doc":
                target, anchor = f"{target}.md", node.get("reftargetid") or ""
            found = next((p for f in folders if (p := Path(os.path.normpath(f / target))).exists()), None)
            if not target or found is None or not found.is_relative_to(ROOT):
                continue
            page = pages.get(found / "README.md" if found.is_dir() else found)
            if page is None and found.is_relative_to(DOCS) and found.suffix == ".md":
                page = found.relative_to(DOCS).with_suffix("").as_posix()
            if page is None:
                address = (
                    f"{REPOSITORY}/{'tree' if found.is_dir() else 'blob'}/main/{found.relative_to(ROOT).as_posix()}"
                )
                new: nodes.Element = nodes.reference(refuri=address)
            else:
                new = addnodes.pending_xref(
                    refdomain="doc", reftarget=page, reftargetid=anchor or None, refdoc=docname, reftype="myst",
                    refexplicit=True,
                )  # fmt: skip
            new += [child.deepcopy() for child in node.children]
            node.replace_self(new)


class PictureVariants(SphinxTransform):
    """Shows `NAME-dark.png` on dark pages in place of `NAME.png`, and `NAME-narrow.png` on phones, if it exists.

    Dark pages invert the lightness of a picture that has no dark variant.
    """

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Put the variants beside each picture, with the classes by which styles choose one."""
        folder = (DOCS / self.env.docname).parent
        for node in list(self.document.findall(nodes.image)):
            path = Path(node["uri"])
            there = {
                name: path.with_stem(path.stem + name)
                for name in ("", "-dark", "-narrow", "-narrow-dark")
                if (folder / path.with_stem(path.stem + name)).is_file()
            }
            for name, variant in there.items() if len(there) > 1 else ():
                classes = []
                if "-dark" in there:
                    classes.append("only-dark" if name.endswith("-dark") else "only-light")
                if "-narrow" in there:
                    classes.append("only-narrow" if name.startswith("-narrow") else "only-wide")
                shown = node.deepcopy()
                shown["uri"] = variant.as_posix()
                shown["classes"] += classes
                node.parent.insert(node.parent.index(node), shown)
            if len(there) > 1:
                node.parent.remove(node)
            else:
                node["classes"].append("light-alone")


class ShellBlocks(SphinxTransform):
    """Colours indented blocks that begin with a command as a shell's."""

    default_priority = 400
    command = re.compile(r"(cartpole-dqn|git|hf|mypy|pip|pre-commit|pytest|python3?|ruff|\.ci/run)(\s|$)")

    def apply(self, **kwargs: Any) -> None:
        """Give the blocks their language."""
        for node in self.document.findall(nodes.literal_block):
            if node.get("language") == "none" and self.command.match(node.astext()):
                node["language"] = "sh"


def _is_open_link(node: nodes.Node) -> bool:
    """Whether it is a Markdown link that MyST found no page for, or took for a page outside the site."""
    if not isinstance(node, (addnodes.pending_xref, addnodes.download_reference)) or node.get("reftype") != "myst":
        return False
    return node.get("refdomain") != "doc" or Path(node["reftarget"]).is_absolute()


class ArrayNames(SphinxTransform):
    """Writes `NDArray[int64]` where autodoc has `ndarray[tuple[Any, ...], dtype[int64]]`.

    The nodes of an annotation are siblings: a name, a bracket, a name, and so on.
    """

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Rename the arrays of the page's signatures."""
        for name in list(self.document.findall(lambda node: _written(node) == "ndarray")):
            after = name.parent[name.parent.index(name) :]
            texts = [_written(node) for node in after]
            inner = texts.index("dtype") + 2
            end, depth = inner, 2
            while depth:
                depth += (texts[end] == "[") - (texts[end] == "]")
                end += 1
            name.parent[-len(after) :] = [nodes.Text("NDArray["), *after[inner : end - 1], *after[end:]]
        for parameters in self.document.findall(addnodes.desc_parameterlist):
            # autodoc broke the line for the longer text.
            texts = [node for node in parameters.parent.findall(nodes.Text) if node.parent.get("condition") != "*"]
            if sum(map(len, texts)) <= python_maximum_signature_line_length:
                parameters["multi_line_parameter_list"] = False


def _written(node: nodes.Node) -> str:
    """The text of a part of an annotation; of a name without its module."""
    if isinstance(node, addnodes.pending_xref):
        return str(node.get("reftarget", "")).rpartition(".")[2]
    return node.astext() if isinstance(node, (addnodes.desc_sig_punctuation, addnodes.desc_sig_space)) else ""


def write_inline_math(translator: Any, node: nodes.math) -> None:
    """Write an equation within a line."""
    _write_math(translator, node, as_block=False)


def write_block_math(translator: Any, node: nodes.math_block) -> None:
    """Write an equation that stands by itself."""
    _write_math(translator, node, as_block=True)


def _write_math(translator: Any, node: nodes.Element, *, as_block: bool) -> None:
    try:
        mathml = tex2mathml(node.astext(), as_block=as_block).replace("<mo>'</mo>", "<mo>\u2032</mo>")
    except MathError as error:
        log.warning("an equation cannot be written: %s", error, location=node)
        mathml = ""
    translator.body.append(f'<div class="math">{mathml}</div>\n' if as_block else mathml)
    raise nodes.SkipNode


def keep_plain(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep what a field's docstring says, before Napoleon takes all up to a colon for its type.

    A public name that is no class or function is described by what stands below it where it is defined.
    """
    module, _, attribute = name.rpartition(".")
    if what == "data" and attribute in getattr(sys.modules.get(module), "_HOME_OF", {}):
        home = sys.modules[module]._HOME_OF[attribute]
        lines[:] = ModuleAnalyzer.for_module(home).find_attr_docs()["", attribute]
    if what in _FIELDS:
        # What a named tuple says of a field without a docstring says nothing.
        _plain[name] = [] if lines and lines[0].startswith("Alias for field number") else list(lines)


def put_back_plain(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put back what `keep_plain` kept."""
    if what in _FIELDS:
        lines[:] = _plain.pop(name)


_FIELDS = ("attribute", "data", "property")
_plain: dict[str, list[str]] = {}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what is above."""
    for transform in (RepositoryLinks, PictureVariants, ShellBlocks, ArrayNames):
        app.add_transform(transform)
    app.connect("autodoc-process-docstring", keep_plain, priority=400)
    app.connect("autodoc-process-docstring", put_back_plain, priority=600)
    app.add_html_math_renderer("mathml", (write_inline_math, None), (write_block_math, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
