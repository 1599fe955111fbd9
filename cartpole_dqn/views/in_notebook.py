"""Files and runs in notebooks.

* `ShownFile`: a path that notebooks show as the picture or film, or as a link.
* `shown_as`: a file as a MIME bundle. `summary_html`: a run as a small table.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartpole_dqn.runs.catalogue import RunSummary
from cartpole_dqn.text.figures import number, score
from cartpole_dqn.text.pages import data_uri, filled

_LARGEST = 20_000_000
"""Most bytes to embed in a notebook."""
_IMAGE = '<img src="{}" alt="{}" style="max-width:100%;height:auto">'
_FILM = '<video src="{}" controls loop style="max-width:100%">{}</video>'
_SHOWN = {
    ".png": ("image/png", _IMAGE),
    ".svg": ("image/svg+xml", _IMAGE),
    ".jpg": ("image/jpeg", _IMAGE),
    ".jpeg": ("image/jpeg", _IMAGE),
    ".webp": ("image/webp", _IMAGE),
    ".gif": ("image/gif", _IMAGE),
    ".mp4": ("video/mp4", _FILM),
}
"""Media type and HTML of files that notebooks can show, by ending."""

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # of this system: before Python 3.12 `Path` itself has no subclasses


class ShownFile(_Path):
    """A path that notebooks show as the file's content."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return shown_as(self)


def shown_as(path: Path) -> dict[str, str]:
    """Return a file as text and HTML by media type: a picture or film itself, otherwise a link to it."""
    text = {"text/plain": str(path)}
    kind, html = _SHOWN.get(path.suffix.lower(), ("", ""))
    try:
        data = path.read_bytes() if kind and path.stat().st_size <= _LARGEST else b""
    except OSError:
        return text
    if data:
        return {**text, "text/html": filled(html, data_uri(data, kind), path.name)}
    if not path.is_file():
        return text
    return {**text, "text/html": filled('<a href="{}" target="_blank">{}</a>', path.as_posix(), path)}


def summary_html(run: RunSummary, title: str) -> str:
    """Return a run as a small table: state, steps, best mean, and the step at which it was solved."""
    rows = [("state", run.state), ("steps", f"{run.step:,} of {run.steps:,}" if run.steps else f"{run.step:,}")]
    if run.best is not None:
        rows.append(("kept as best", f"{score(run.best)} at step {number(run.best_step)}"))
    rows.append(("solved", "not yet" if run.solved_step is None else f"at step {run.solved_step:,}"))
    rows.append(("folder", str(run.path)))
    left = "text-align:left"
    cells = [
        filled('<tr><th style="{}">{}</th><td style="{}">{}</td></tr>', left, name, left, value) for name, value in rows
    ]
    return filled("<div><b>{}</b><table>{}</table></div>", title, filled("").join(cells))
