"""The pictures of a report, small enough to stand in the page.

* `stages_list`: an observation's stages, pixel by pixel. * `spread_of`: how often which return came.
* `picture_of_both`: a picture for light pages and one for dark. * `still_of`: an animation's first picture.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cartpole_dqn.text.figures import number
from cartpole_dqn.text.markup import Html, data_uri, tag
from cartpole_dqn.views.preview import Panel, Stage

_WIDEST, _HIGHEST = 420, 280
"""Pixels on the page that a picture is enlarged to."""
_ROW, _GAP = 700, 18
_MOST_PANELS, _MOST_NUMBERS = 8, 16
_BINS = 25
_PAPER, _MORE, _LESS = (
    np.array(colour, dtype=np.float64) for colour in ((255, 255, 255), (179, 38, 30), (31, 95, 168))
)


def picture_of_both(light: bytes, dark: bytes, kind: str, alt: str) -> Html:
    """Return a picture that follows the reader's choice of a light or a dark page; on paper the light one."""
    other = tag("source", srcset=data_uri(dark, kind), media="screen and (prefers-color-scheme: dark)")
    return tag("picture", other, tag("img", src=data_uri(light, kind), alt=alt))


def still_of(gif: bytes) -> bytes:
    """Return an animation's first picture as a PNG."""
    with Image.open(io.BytesIO(gif)) as image:
        return _png(np.asarray(image.convert("RGB")))


def stages_list(stages: Sequence[Stage], names: Sequence[str] = ()) -> Html:
    """Return the stages below each other, each with its pictures or numbers; `names` are those of the last one's."""
    last = len(stages) - 1
    return tag("ol", *(_stage(stage, i, i == last, names) for i, stage in enumerate(stages)), class_="stages")


def spread_of(returns: Sequence[float]) -> Html:
    """Return how often which return came, as columns; nothing where all are one."""
    least, most = min(returns), max(returns)
    if not np.isfinite([least, most]).all() or least == most:
        return Html()
    counts, _ = np.histogram(returns, bins=_BINS, range=(least, most))
    highest = int(counts.max())
    columns = [
        tag("rect", x=f"{i}.1", y=f"{highest - count}", width=".8", height=f"{count}")
        for i, count in enumerate(counts.tolist())
        if count
    ]
    words = f"How often which return came, from {number(least)} to {number(most)}; at most {highest} times in a column"
    drawn = tag(
        "svg", *columns, viewBox=f"0 0 {_BINS} {highest}", preserveAspectRatio="none", class_="spread", role="img",
        aria_label=words,
    )  # fmt: skip
    ends = tag("div", tag("span", number(least)), tag("span", number(most)), class_="ends")
    return tag("figure", drawn, ends, tag("figcaption", f"{words}."))


def _stage(stage: Stage, place: int, last: bool, names: Sequence[str]) -> Html:
    name, _, facts = stage.label.partition("\n")
    found = re.fullmatch(r"observation\[\d+\] \((.+)\)", name)
    panels = stage.panels()
    side_by_side = min(len(panels), 4)
    share = min(_WIDEST, (_ROW + _GAP) // max(side_by_side, 1) - _GAP)
    drawn: list[str] = [_panel(panel, stage, share, names if last else ()) for panel in panels[:_MOST_PANELS]]
    if len(panels) > _MOST_PANELS:
        drawn.append(tag("p", f"and {len(panels) - _MOST_PANELS} more", class_="faint"))
    if not panels:
        drawn.append(tag("code", repr(stage.obs)[:300]))
    label = [tag("h3", f"{place}  {found[1] if found else name}")]
    label += [tag("div", fact, class_="facts") for fact in facts.split("  ")]
    if any(panel.kind == "difference" for panel in panels):
        label.append(tag("div", "red: more, blue: less", class_="facts"))
    if any(_is_cut(panel, stage) for panel in panels):
        label.append(tag("div", "broken line: what is kept", class_="facts"))
    if last:
        label.append(tag("div", "what the agent sees", class_="sees"))
    return tag("li", tag("div", *label), tag("div", *drawn, class_="panels"))


def _panel(panel: Panel, stage: Stage, widest: int, names: Sequence[str]) -> Html:
    if panel.kind == "numbers":
        return _numbers(panel.values, names)
    rows, columns = panel.values.shape[:2]
    zoom = min(widest / columns, _HIGHEST / rows)
    zoom = float(int(zoom)) if zoom >= 1 else zoom
    wide = max(1, round(columns * zoom))
    alt = f"{stage.label.partition(chr(10))[0]}, {panel.caption}" if panel.caption else stage.label.partition("\n")[0]
    image = tag("img", src=data_uri(_png(_colours(panel)), "image/png"), alt=alt, width=str(columns), height=str(rows))
    shown = [image]
    if stage.kept is not None and _is_cut(panel, stage):
        shown.append(_kept(stage.kept, rows, columns))
    # Enlarged pixels stay squares; a picture that must shrink is averaged, or lines would vanish.
    frame = tag("div", *shown, class_="shown enlarged" if zoom > 1 else "shown")
    caption = [tag("figcaption", panel.caption)] if panel.caption else []
    return tag("figure", *caption, frame, style=f"width:{wide}px")


def _is_cut(panel: Panel, stage: Stage) -> bool:
    """Whether the next stage keeps less than the whole picture, or more."""
    whole = tuple(slice(0, n) for n in panel.values.shape[:2])
    return stage.kept is not None and panel.kind != "numbers" and stage.kept != whole


def _kept(kept: tuple[slice, slice], rows: int, columns: int) -> Html:
    (top, bottom), (left, right) = ((part.start, part.stop) for part in kept)
    shares = {
        "left": left / columns,
        "top": top / rows,
        "width": (right - left) / columns,
        "height": (bottom - top) / rows,
    }
    return tag("div", class_="kept", style=";".join(f"{name}:{100 * share:.3f}%" for name, share in shares.items()))


def _colours(panel: Panel) -> NDArray[np.uint8]:
    """Return a panel's values as colours [H, W, 3]: grey from low to high, differences from blue over white to red."""
    if panel.kind == "colour":
        return np.ascontiguousarray(panel.values, dtype=np.uint8)
    values = np.nan_to_num(panel.values.astype(np.float64))
    if panel.kind == "grey":
        grey = np.clip((values - panel.low) / max(panel.high - panel.low, 1e-9), 0, 1)
        return np.repeat(np.round(grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    difference = values - panel.zero
    share = (difference / max(float(np.abs(difference).max(initial=0.0)), 1e-9))[..., None]
    mixed = _PAPER + np.abs(share) * (np.where(share >= 0, _MORE, _LESS) - _PAPER)
    return np.round(mixed).astype(np.uint8)


def _numbers(values: NDArray[np.generic], names: Sequence[str]) -> Html:
    """Return a vector as a table with a bar beside each number; the first ones of a long one."""
    numbers = np.nan_to_num(np.asarray(values, dtype=np.float64))
    most = max(float(np.abs(numbers).max(initial=0.0)), 1e-9)
    decimals = 0 if values.dtype.kind in "biu" else 4
    rows = []
    for i, value in enumerate(numbers[:_MOST_NUMBERS].tolist()):
        share = 50 * value / most
        bar = tag("rect", x=f"{50 + min(share, 0):.2f}", y="1", width=f"{abs(share):.2f}", height="8")
        zero = tag("line", x1="50", x2="50", y1="0", y2="10", stroke_width="1")
        drawn = tag("svg", bar, zero, viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")
        name = names[i] if len(names) == len(numbers) else tag("code", f"[{i}]")
        figure = tag("td", f"{value:+.{decimals}f}", class_="n")
        rows.append(tag("tr", tag("td", name), figure, tag("td", drawn)))
    table = tag("table", tag("tbody", *rows), class_="bars")
    more = len(numbers) - _MOST_NUMBERS
    return tag("div", table, *([tag("p", f"and {more:,} more", class_="faint")] if more > 0 else []))


def _png(colours: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(colours).save(file, format="PNG", optimize=True)
    return file.getvalue()
