"""What shows itself where a notebook prints it: files, and a run in short.

* `ShownFile`: a path; a picture, an animation or a film is shown by notebooks, anything else as a link.
* `shown_as`: a file -> what a notebook shows of it.
* `summary_html`: a run in a few figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartpole_dqn.runs.catalogue import RunSummary
from cartpole_dqn.text.figures import number
from cartpole_dqn.text.markup import data_uri, tag
from cartpole_dqn.text.tables import score

_LARGEST = 20_000_000
"""Bytes that a notebook is given to keep."""
_PICTURES = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
_FILMS = {".mp4": "video/mp4"}

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # of this system: before Python 3.12 `Path` itself has no subclasses


class ShownFile(_Path):
    """A path that a notebook shows as what lies there."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return shown_as(self)


def shown_as(path: Path) -> dict[str, str]:
    """Return what a notebook shows of a file, by media type: the picture or film itself, else a link to it."""
    text = {"text/plain": str(path)}
    suffix = path.suffix.lower()
    kind = _PICTURES.get(suffix) or _FILMS.get(suffix)
    try:
        data = path.read_bytes() if kind is not None and path.stat().st_size <= _LARGEST else b""
    except OSError:
        return text
    if not data or kind is None:
        linked = path.is_file()
        return {**text, "text/html": tag("a", str(path), href=path.as_posix(), target="_blank")} if linked else text
    uri = data_uri(data, kind)
    if suffix in _FILMS:
        return {**text, "text/html": tag("video", src=uri, controls=True, loop=True, style="max-width:100%")}
    return {**text, "text/html": tag("img", src=uri, alt=path.name, style="max-width:100%;height:auto")}


def summary_html(run: RunSummary, title: str) -> str:
    """Return a run as a small table: its state, steps, best mean, and where it was solved."""
    rows = [("state", run.state), ("steps", f"{run.step:,} of {run.steps:,}" if run.steps else f"{run.step:,}")]
    if run.best is not None:
        rows.append(("kept as best", f"{score(run.best)} at step {number(run.best_step)}"))
    rows.append(("solved", "not yet" if run.solved_step is None else f"at step {run.solved_step:,}"))
    rows.append(("folder", str(run.path)))
    left = "text-align:left"
    made = (tag("tr", tag("th", name, style=left), tag("td", value, style=left)) for name, value in rows)
    return tag("div", tag("b", title), tag("table", *made))
