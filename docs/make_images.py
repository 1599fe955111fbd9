"""Make the documentation's pictures: `python docs/make_images.py` writes them into docs/images.

The display is drawn from a real run, trained here for some thousand steps; the previews by the command of that name.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from cartpole_dqn.assembly import assemble, resolve_config
from cartpole_dqn.interfaces import Observer
from cartpole_dqn.observers.panel import RunPanel
from cartpole_dqn.observers.tracker import Tracker
from cartpole_dqn.options import changed
from cartpole_dqn.plugin_manager import load_plugins

IMAGES = Path(__file__).parent / "images"
STEPS = 12_400


class Recorder(Observer):
    """Hears of a run as the display does."""

    def __init__(self) -> None:
        self.tracker = Tracker(time.perf_counter)

    def __getattribute__(self, name: str) -> Any:
        if name in ("run_started", "updated", "episode_ended", "evaluated", "checkpoint_written"):
            return getattr(object.__getattribute__(self, "tracker"), name)
        return object.__getattribute__(self, name)


def draw_display() -> None:
    """Train, and draw the panel as it stood at the last step."""
    host = load_plugins(allowed=())
    config, _ = resolve_config(host, flags={"obs": "pixels", "observer": []})
    recorder = Recorder()
    made = assemble(
        changed(config, observer=[]),
        host,
        folder=None,
        console=Console(stderr=True),
        clock=time.perf_counter,
        extra_observers=[("recorder", recorder), ("stop", _StopAt(lambda: made.runner.request_stop("enough")))],
    )
    made.runner.run()
    made.close()
    console = Console(file=StringIO(), record=True, width=102, height=36, force_terminal=True)
    console.print(RunPanel(recorder.tracker.snapshot()))
    svg = console.export_svg(title="cartpole-dqn run --obs pixels")
    # The fonts that Rich names are fetched from a network; any monospaced font does.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (IMAGES / "display.svg").write_text(svg, encoding="utf-8")


class _StopAt(Observer):
    def __init__(self, stop: Any) -> None:
        self._stop = stop

    def updated(self, event: Any) -> None:
        if event.step >= STEPS:
            self._stop()


def draw_previews() -> None:
    """Draw the stages of the tutorial's observation and of ours."""
    for name, arguments in {
        "preview-tutorial": ["--preset", "tutorial-pixels"],
        "preview-pixels": ["--obs", "pixels"],
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "preview.png"
            command = [sys.executable, "-m", "cartpole_dqn", "preview", *arguments, "--out", str(picture)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (IMAGES / f"{name}.png").write_bytes(picture.read_bytes())


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_previews()
    draw_display()
