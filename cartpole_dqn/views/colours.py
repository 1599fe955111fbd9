"""The colours of all pictures: `COLOURS` of a light and of a dark page. `rgb`: a colour as three numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from PIL import ImageColor

from cartpole_dqn.contracts.pictures import Colour

Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class Colours:
    """The colours of a page."""

    paper: str
    ink: str
    faint: str
    line: str
    grid: str
    lines: tuple[str, ...]
    """Of curves: distinct with any kind of colour vision, by hue or lightness."""
    episode: str
    evaluation: str
    blue: str
    """Less, and the chosen action."""
    red: str
    """More, and a fall."""
    green: str
    """Success, and the threshold for it."""
    pale: str
    """The other actions."""
    chosen: str
    """Behind the chosen action."""
    kept: str
    """Around what the next wrapper keeps."""


COLOURS: Mapping[str, Colours] = {
    "light": Colours(
        paper="#ffffff",
        ink="#24292f",
        faint="#6e7681",
        line="#d0d7de",
        grid="#e3e6ea",
        lines=("#1f5fa8", "#d1570c", "#1a8a63", "#8b3fa0", "#b3261e", "#4aa3d8", "#8a6d00", "#5b5f66"),
        episode="#a8c5e6",
        evaluation="#c2570c",
        blue="#1f5fa8",
        red="#b3261e",
        green="#1a7f37",
        pale="#a8c5e6",
        chosen="#e8f0fa",
        kept="#c2187c",
    ),
    "dark": Colours(
        paper="#15191e",
        ink="#d7dde4",
        faint="#8b949e",
        line="#38404a",
        grid="#2b323a",
        lines=("#74b2f2", "#f2a65a", "#6fd3ae", "#cf9be6", "#ef8a83", "#b7dcf5", "#e3cf6a", "#aab1ba"),
        episode="#4a72a0",
        evaluation="#f2a65a",
        blue="#74b2f2",
        red="#f87168",
        green="#56d364",
        pale="#345880",
        chosen="#1e2938",
        kept="#f07fbe",
    ),
}


def rgb(colour: str) -> Colour:
    """Return red, green and blue of a colour "#rrggbb"."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue
