"""Make the documentation's pictures: `python docs/make_images.py` writes them into docs/images.

The display is drawn from a real run, trained here for some thousand steps; moments of play from an agent of
`examples/trained` and from one trained here; the previews by the command of that name, those of `wrap-your-env.md` by
that page's own files and commands (which need the extras box2d and atari); the charts of results from that page's own
tables. `--previews` leaves out what is trained here; `--results` draws only the charts and the card. Dark pages show
`NAME-dark` in place of `NAME`, and phones `NAME-narrow`.
"""

from __future__ import annotations

import itertools
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
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageChops, ImageDraw, ImageFont
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI

from cartpole_dqn import load, train
from cartpole_dqn.contracts.events import Glimpse
from cartpole_dqn.contracts.options import Part, changed
from cartpole_dqn.observers.display.panel import RunPanel
from cartpole_dqn.observers.display.tracker import Tracker
from cartpole_dqn.plugin.host import load_plugins
from cartpole_dqn.training.assembly import assemble
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.views.colours import COLOURS, Theme
from cartpole_dqn.views.playback import Playback
from cartpole_dqn.views.scene import draw_scene

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
THEMES: tuple[tuple[Theme, str], ...] = (("light", ""), ("dark", "-dark"))
"""Each with what a picture's name ends in."""
Colour = tuple[int, int, int]
TERMINALS = {
    "light": ((255, 255, 255), (36, 41, 47), DEFAULT_TERMINAL_THEME),
    "dark": ((24, 26, 31), (220, 223, 228), MONOKAI),
}
"""Paper, ink and the colours by number."""


def draw_display() -> None:
    """Train until the run is solved, and draw the panel as it stands then.

    Its times are processor time, so that other work on the machine does not show.
    """
    host = load_plugins(allowed=())
    config, _ = resolve_config(host, flags={"obs": "pixels", "seed": 4, "evaluation": {"until_solved": True}})
    tracker = _Looking(time.process_time)
    made = assemble(
        changed(config, observer=[Part(name=host.registry.use("observer", tracker))]),
        host,
        folder=None,
        console=Console(stderr=True),
        clock=time.process_time,
    )
    made.runner.run()
    made.close()
    for theme, suffix in THEMES:
        paint(RunPanel(tracker.snapshot()), IMAGES / f"display{suffix}.png", theme)
        paint(RunPanel(tracker.snapshot()), IMAGES / f"display-narrow{suffix}.png", theme, width=60)


class _Looking(Tracker):
    wants_glimpses = True

    def glimpsed(self, event: Glimpse) -> None:
        """Keep the last glimpse with a clear motion: an episode's first difference is empty."""
        if np.ptp(event.panels[-1].values) > 60:
            super().glimpsed(event)


def paint(renderable: Any, out: Path, theme: str, *, width: int = 140, height: int = 33, scale: int = 2) -> None:
    """Draw what a terminal of `width` x `height` cells would show of a Rich renderable."""
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system="truecolor")
    lines = console.render_lines(renderable, pad=False)
    paper = TERMINALS[theme][0]
    cell, line = 8 * scale, 17 * scale
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    plain = ImageFont.truetype(str(fonts / "DejaVuSansMono.ttf"), 13 * scale)
    bold = ImageFont.truetype(str(fonts / "DejaVuSansMono-Bold.ttf"), 13 * scale)
    margin = 10 * scale
    picture = Image.new("RGB", (cell * width + 2 * margin, line * len(lines) + 2 * margin), paper)
    draw = ImageDraw.Draw(picture)
    for row, segments in enumerate(lines):
        column = 0
        for segment in segments:
            style = segment.style or Style()
            colour, behind = _colours(style, theme)
            for character in segment.text:
                left, top = margin + column * cell, margin + row * line
                if behind != paper:
                    draw.rectangle((left, top, left + cell - 1, top + line - 1), fill=behind)
                if 0x2800 <= ord(character) <= 0x28FF:
                    _dots(draw, ord(character) - 0x2800, (left, top), cell, line, colour)
                elif character == "▀":
                    draw.rectangle((left, top, left + cell - 1, top + line // 2 - 1), fill=colour)
                elif character == "│":  # The font leaves gaps.
                    draw.line((left + cell // 2, top, left + cell // 2, top + line), fill=colour, width=scale)
                else:
                    draw.text((left, top), character, font=bold if style.bold else plain, fill=colour)
                column += 1
    picture.save(out, optimize=True)


def _colours(style: Style, theme: str) -> tuple[Colour, Colour]:
    """Return the colour of a style's text, and the one behind it."""
    paper, ink, colours = TERMINALS[theme]
    text: Colour = ink if style.color is None or style.color.is_default else style.color.get_truecolor(colours)
    behind: Colour = paper if style.bgcolor is None else style.bgcolor.get_truecolor(colours)
    if style.dim:
        red, green, blue = ((a + b) // 2 for a, b in zip(text, paper, strict=True))
        text = (red, green, blue)
    return (behind, text) if style.reverse else (text, behind)


def _dots(draw: Any, bits: int, corner: tuple[int, int], cell: int, line: int, colour: Colour) -> None:
    """Draw a braille pattern: no monospaced font at hand has them."""
    for bit in range(8):
        if bits >> bit & 1:
            column, row = (bit // 3, bit % 3) if bit < 6 else (bit - 6, 3)
            x, y = corner[0] + (column + 0.5) * cell / 2, corner[1] + (row + 0.5) * line / 4
            radius = cell / 6
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def draw_plays() -> None:
    """Draw a moment of two agents at play: CartPole from its screen, and LunarLander from its state."""
    with tempfile.TemporaryDirectory() as folder:
        lander = train(
            env="LunarLander-v3", obs="state", until_solved=True, seed=0, out=Path(folder) / "run", plain=True
        )
        cartpole = load(DOCS.parent / "examples" / "trained" / "pixels")
        for name, run, step in (("play-pixels", cartpole, 40), ("play-lunar-lander", lander, 150)):
            with Playback(run) as playback:
                scene = next(itertools.islice(playback.episode(1), step, None))
            for theme, suffix in THEMES:
                Image.fromarray(draw_scene(scene, theme)).save(IMAGES / f"{name}{suffix}.png", optimize=True)


def draw_previews() -> None:
    """Draw the stages of the tutorial's observation and of ours, and both beside each other."""
    for name, arguments in {
        "preview-tutorial": ["--preset", "tutorial-pixels"],
        "preview-pixels": ["--obs", "pixels"],
        "preview-compared": ["--obs", "pixels", "--compare", "tutorial-pixels"],
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            preview(f"{name}.png", [*arguments, "--out", "preview.png"], Path(folder))
            preview(f"{name}-dark.png", [*arguments, "--theme", "dark", "--out", "preview.png"], Path(folder))
    stack_for_phones("preview-compared")


def stack_for_phones(name: str) -> None:
    """Put the two columns of a comparison below each other: side by side, a phone shows them too small."""
    for theme in ("", "-dark"):
        with Image.open(IMAGES / f"{name}{theme}.png") as wide:
            picture = wide.convert("RGB")
        paper, half = picture.getpixel((0, 0)), picture.width // 2
        columns = [picture.crop((left, 0, left + half, picture.height)) for left in (0, half)]
        ends = [ImageChops.difference(c, Image.new("RGB", c.size, paper)).getbbox()[3] + 24 for c in columns]
        narrow = Image.new("RGB", (half, sum(ends)), paper)
        for column, top in zip(columns, (0, ends[0]), strict=True):
            narrow.paste(column, (0, top))
        narrow.quantize(256, dither=Image.Dither.NONE).save(IMAGES / f"{name}-narrow{theme}.png", optimize=True)


def draw_previews_of(page: Path) -> None:
    """Draw the previews that a page shows, by its own files and commands."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in re.findall(r"^`([\w.-]+)`\n\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            (Path(folder) / name).write_text(content)
        for name in re.findall(r"\(images/preview-([\w-]+)\.png\)", text):
            command = re.search(rf"^ {{4}}cartpole-dqn preview (.* --out {name}\.png)$", text, re.MULTILINE)
            assert command is not None, f"{page} shows {name}.png, but no command that makes it"
            arguments = shlex.split(command[1])
            preview(f"preview-{name}.png", arguments, Path(folder))
            preview(f"preview-{name}-dark.png", ["--theme", "dark", *arguments], Path(folder))


def preview(image: str, arguments: list[str], folder: Path) -> None:
    """Run the command in `folder` and keep the picture that it names last."""
    command = [sys.executable, "-m", "cartpole_dqn", "preview", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    (IMAGES / image).write_bytes((folder / arguments[-1]).read_bytes())


def draw_results() -> None:
    """Draw what `results.md` says, from its tables: CartPole from its screen, and from its state."""
    results, ablations = ((DOCS / name).read_text(encoding="utf-8") for name in ("results.md", "ablations.md"))
    ours = table_below(results, "## CartPole from pixels, the default")
    theirs = table_below(ablations, "## The tutorial's presets")[0]
    peer = table_below(results, "From the state, seed by seed:")
    for theme in ("light", "dark"):
        chart = ResultsChart("CartPole from its screen", "environment steps", theme, 14_000)
        chart.points(0, [(row[1][0], row[3][0]) for row in ours], "cartpole-dqn: 10 of 10 seeds", (4_600, 440))
        for first, second in zip(*theirs[1:3], strict=True):
            chart.axes.plot([2_500, 5_000], [first, second], color=chart.look.lines[1])
            chart.points(1, [(2_500, first), (5_000, second)])
        chart.say(1, "PyTorch tutorial: 0 of 3 seeds", (2_250, 122))
        chart.save("results-pixels")
        chart = ResultsChart("CartPole from its state", "seconds of training", theme, 36)
        ours_text, theirs_text = (
            f"{name}: {solved(peer, i)}" for i, name in ((1, "cartpole-dqn"), (4, "stable-baselines3"))
        )
        chart.points(0, [(row[2][0], row[3][0]) for row in peer if row[3]], ours_text, (0.6, 455))
        chart.points(1, [(row[5][0], row[6][0]) for row in peer if row[6]], theirs_text, (11, 395))
        chart.save("results-state")


def draw_card() -> None:
    """Draw what a link to the site shows where it is shared, around a moment of `progress-narrow.gif`."""
    card = Image.new("RGB", (1200, 630), "white")
    draw = ImageDraw.Draw(card)
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    large, small = (ImageFont.truetype(str(fonts / f"DejaVuSans{n}.ttf"), s) for n, s in (("-Bold", 60), ("", 34)))
    draw.text((600, 64), "cartpole-dqn", "#24292f", large, anchor="mm")
    draw.text((600, 136), "Deep Q-learning that learns CartPole by looking at it", "#24292f", small, anchor="mm")
    with Image.open(IMAGES / "progress-narrow.gif") as learned:
        learned.seek(learned.n_frames // 3)
        card.paste(learned.convert("RGB").resize((840, 443), Image.Resampling.LANCZOS), (180, 178))
    card.save(IMAGES / "card.png", optimize=True)


def table_below(page: str, heading: str) -> list[list[list[float]]]:
    """The numbers in each cell of the first table below a heading."""
    rows = re.search(r"^\|[ :|-]+\|\n((?:\|.*\n)+)", page[page.index(f"\n{heading}\n") :], re.MULTILINE)
    assert rows is not None, heading
    cells = [re.sub(r"`.*?`", "", row).split("|")[1:-1] for row in rows[1].splitlines()]
    return [[[float(n.replace(",", "")) for n in re.findall(r"[\d.,]*\d", cell)] for cell in row] for row in cells]


def solved(table: list[list[list[float]]], column: int) -> str:
    """How many rows have a number in a column."""
    return f"{sum(bool(row[column]) for row in table)} of {len(table)} seeds"


class ResultsChart:
    """Mean returns on CartPole, up to `most` steps or seconds. Readable on a phone."""

    def __init__(self, title: str, across: str, theme: Theme, most: float) -> None:
        self.theme, self.look = theme, COLOURS[theme]
        self.figure = Figure(figsize=(5.6, 3.1), facecolor=self.look.paper, layout="constrained")
        self.axes = axes = self.figure.add_subplot(facecolor=self.look.paper)
        axes.set_title(title, color=self.look.ink, fontsize=12, loc="left", fontweight="bold")
        axes.set_xlabel(across, color=self.look.ink, fontsize=11)
        axes.set_ylabel("mean return", color=self.look.ink, fontsize=11)
        axes.set(xlim=(0, most), ylim=(0, 530), yticks=(0, 100, 200, 300, 400, 500))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.tick_params(colors=self.look.ink, labelsize=11, length=0)
        axes.grid(color=self.look.grid)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        axes.axhline(475, color=self.look.green, linestyle="--", linewidth=1.2)
        axes.text(most, 466, "solved", color=self.look.green, fontsize=11, ha="right", va="top")

    def points(self, line: int, places: Any, text: str = "", at: tuple[float, float] = (0, 0)) -> None:
        """Draw points, with what they are at `at`."""
        self.axes.plot(
            *zip(*places, strict=True), "o", color=self.look.lines[line], markersize=7, alpha=0.8, clip_on=False
        )
        self.say(line, text, at)

    def say(self, line: int, text: str, at: tuple[float, float]) -> None:
        """Write in the colour of points."""
        self.axes.text(*at, text, color=self.look.lines[line], fontsize=11, va="top")

    def save(self, name: str) -> None:
        """Write the picture, under a second name for dark pages."""
        suffix = "-dark" if self.theme == "dark" else ""
        self.figure.savefig(IMAGES / f"{name}{suffix}.png", dpi=200)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_results()
    draw_card()
    if "--results" not in sys.argv[1:]:
        draw_previews()
        draw_previews_of(DOCS / "wrap-your-env.md")
    if not {"--previews", "--results"} & {*sys.argv[1:]}:
        draw_display()
        draw_plays()
