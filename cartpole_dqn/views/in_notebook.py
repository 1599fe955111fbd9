"""What is otherwise in a notebook: for a run that a cell started, and for what a cell shows.

* `with_notebook_display`: the notebook's display in place of the terminal's.
* `ending_on_interrupt`: interrupting the kernel ends the run in order. Elsewhere neither of these does anything.
* `ShownFile`: a path; a picture, an animation or a film is shown by notebooks, anything else as a link.
* `shown_as`: a file -> what a notebook shows of it. `summary_html`: a run in a few figures.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.events import Observer, ObserverContext
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.observers.notebook import in_kernel
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.catalogue import RunSummary
from cartpole_dqn.text.figures import number, score
from cartpole_dqn.text.pages import data_uri, filled
from cartpole_dqn.training import assembly
from cartpole_dqn.training.runner import Runner

_LARGEST = 20_000_000
"""Bytes that a notebook is given to keep."""
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
"""What notebooks show themselves, by a file's ending: its media type, and the HTML."""

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # of this system: before Python 3.12 `Path` itself has no subclasses


def with_notebook_display(
    config: RunConfig, host: PluginHost, context: ObserverContext
) -> tuple[RunConfig, list[tuple[str, Observer]]]:
    """Return the configuration to assemble, and the observers to add to it.

    The notebook's display goes by the terminal's name, so that each goes on from what the other saved.
    """
    names = [entry["name"] for entry in config.observer]
    if context.plain or "display" not in names or not in_kernel():
        return config, []
    rest = changed(config, observer=[entry for entry in config.observer if entry["name"] != "display"])
    if "notebook" in names:
        return rest, []
    own = changed(config, observer=[{"name": "notebook"}])
    return rest, [("display", observer) for _, observer in assembly.make_observers(own, host, context)]


@contextlib.contextmanager
def ending_on_interrupt(runner: Runner) -> Iterator[None]:
    """Inside the block the first interrupt of the kernel ends the run in order, the second one at once."""
    if not in_kernel() or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if runner.stop_reason:
            raise KeyboardInterrupt
        runner.request_stop("SIGINT")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class ShownFile(_Path):
    """A path that a notebook shows as what lies there."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return shown_as(self)


def shown_as(path: Path) -> dict[str, str]:
    """Return what a notebook shows of a file, by media type: the picture or film itself, else a link to it."""
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
    """Return a run as a small table: its state, steps, best mean, and where it was solved."""
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
