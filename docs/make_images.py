"""Make the documentation's pictures: `python docs/make_images.py` writes them into docs/images.

The display is drawn from a real run, trained here for some thousand steps; the previews by the command of that name,
those of `wrap-your-env.md` by that page's own files and commands (which need the extras box2d and atari).
`--previews` leaves the run out.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI

from cartpole_dqn.contracts.options import changed
from cartpole_dqn.observers.display.panel import RunPanel
from cartpole_dqn.observers.display.tracker import Tracker
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.assembly import assemble
from cartpole_dqn.training.resolve import resolve_config

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
BACKGROUND = (24, 26, 31)


def draw_display() -> None:
    """Train until the run is solved, and draw the panel as it stands then."""
    host = load_plugins(allowed=())
    config, _ = resolve_config(host, flags={"obs": "pixels", "seed": 4, "evaluation": {"until_solved": True}})
    tracker = _Looking(time.perf_counter)
    made = assemble(
        changed(config, observer=[]),
        host,
        folder=None,
        console=Console(stderr=True),
        clock=time.perf_counter,
        extra_observers=[("tracker", tracker)],
    )
    made.runner.run()
    made.close()
    paint(RunPanel(tracker.snapshot()), IMAGES / "display.png")


class _Looking(Tracker):
    wants_glimpses = True


def paint(renderable: Any, out: Path, *, width: int = 140, height: int = 33, scale: int = 2) -> None:
    """Draw what a terminal of `width` x `height` cells would show of a Rich renderable."""
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system="truecolor")
    lines = console.render_lines(renderable, pad=False)
    cell, line = 8 * scale, 17 * scale
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    plain = ImageFont.truetype(str(fonts / "DejaVuSansMono.ttf"), 13 * scale)
    bold = ImageFont.truetype(str(fonts / "DejaVuSansMono-Bold.ttf"), 13 * scale)
    margin = 10 * scale
    picture = Image.new("RGB", (cell * width + 2 * margin, line * len(lines) + 2 * margin), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for row, segments in enumerate(lines):
        column = 0
        for segment in segments:
            style = segment.style or Style()
            colour = _colour(style)
            behind = BACKGROUND if style.bgcolor is None else _colour(Style(color=style.bgcolor))
            if style.reverse:
                colour, behind = behind, colour
            for character in segment.text:
                corner = (margin + column * cell, margin + row * line)
                if behind != BACKGROUND:
                    draw.rectangle((*corner, corner[0] + cell - 1, corner[1] + line - 1), fill=behind)
                if 0x2800 <= ord(character) <= 0x28FF:
                    _dots(draw, ord(character) - 0x2800, corner, cell, line, colour)
                elif character == "▀":
                    draw.rectangle((*corner, corner[0] + cell - 1, corner[1] + line // 2 - 1), fill=colour)
                else:
                    draw.text(corner, character, font=bold if style.bold else plain, fill=colour)
                column += 1
    picture.save(out, optimize=True)


def _colour(style: Style) -> tuple[int, int, int]:
    colour = (220, 223, 228)
    if style.color is not None and not style.color.is_default:
        colour = tuple(style.color.get_truecolor(MONOKAI))  # type: ignore[assignment]
    if style.dim:
        colour = tuple((c + b) // 2 for c, b in zip(colour, BACKGROUND, strict=True))  # type: ignore[assignment]
    return colour


def _dots(draw: Any, bits: int, corner: tuple[int, int], cell: int, line: int, colour: tuple[int, int, int]) -> None:
    """Draw a braille pattern: no monospaced font at hand has them."""
    for bit in range(8):
        if bits >> bit & 1:
            column, row = (bit // 3, bit % 3) if bit < 6 else (bit - 6, 3)
            x, y = corner[0] + (column + 0.5) * cell / 2, corner[1] + (row + 0.5) * line / 4
            radius = cell / 6
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def draw_previews() -> None:
    """Draw the stages of the tutorial's observation and of ours."""
    for name, arguments in {
        "preview-tutorial": ["--preset", "tutorial-pixels"],
        "preview-pixels": ["--obs", "pixels"],
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            preview(f"{name}.png", [*arguments, "--out", "preview.png"], Path(folder))


def draw_previews_of(page: Path) -> None:
    """Draw the previews that a page shows, by its own files and commands."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in re.findall(r"^`([\w.-]+)`\n\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            (Path(folder) / name).write_text(content)
        for name in re.findall(r"\(images/preview-([\w-]+)\.png\)", text):
            command = re.search(rf"^ {{4}}cartpole-dqn preview (.* --out {name}\.png)$", text, re.MULTILINE)
            assert command is not None, f"{page} shows {name}.png, but no command that makes it"
            preview(f"preview-{name}.png", shlex.split(command[1]), Path(folder))


def preview(image: str, arguments: list[str], folder: Path) -> None:
    """Run the command in `folder` and keep the picture that it names last."""
    command = [sys.executable, "-m", "cartpole_dqn", "preview", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    (IMAGES / image).write_bytes((folder / arguments[-1]).read_bytes())


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_previews()
    draw_previews_of(DOCS / "wrap-your-env.md")
    if "--previews" not in sys.argv[1:]:
        draw_display()
