"""The pictures embedded in a report.

* `drawn_stage`: a stage of an observation. `spread_of`: a histogram of returns. `png_of`: a picture as a PNG.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cartpole_dqn.contracts.pictures import Panel, colours_of
from cartpole_dqn.envs.stages import Stage
from cartpole_dqn.text.figures import count_of, number
from cartpole_dqn.text.pages import data_uri
from cartpole_dqn.views.panels import MOST_PANELS, MOST_ROWS, decimals_of, figure, size_within

_WIDEST, _HIGHEST = 420, 280
"""Most pixels of a picture on the page."""
_ROW, _GAP = 700, 18
_BINS = 25


def spread_of(returns: Sequence[float]) -> dict[str, Any] | None:
    """Return a histogram of the returns; None if all are equal."""
    least, most = min(returns), max(returns)
    if not np.isfinite([least, most]).all() or least == most:
        return None
    counts, _ = np.histogram(returns, bins=_BINS, range=(least, most))
    highest = int(counts.max())
    episodes = count_of(highest, "episode")
    words = f"Histogram of the returns, from {number(least)} to {number(most)}. The highest column has {episodes}"
    return {"columns": counts.tolist(), "highest": highest, "least": least, "most": most, "words": words}


def drawn_stage(stage: Stage) -> dict[str, Any]:
    """Return a stage with its pictures or numbers."""
    panels = stage.panels()
    share = min(_WIDEST, (_ROW + _GAP) // max(min(len(panels), 4), 1) - _GAP)
    return {
        "name": stage.name,
        "facts": stage.facts(),
        "panels": [
            _numbers(panel) if panel.kind == "numbers" else _picture(panel, stage, share)
            for panel in panels[:MOST_PANELS]
        ],
        "more": max(0, len(panels) - MOST_PANELS),
        "words": repr(stage.obs)[:300],
    }


def _picture(panel: Panel, stage: Stage, widest: int) -> Mapping[str, Any]:
    rows, columns = panel.values.shape[:2]
    width, _ = size_within(panel.values.shape, widest, _HIGHEST)
    crop_style = ""
    if stage.kept is not None and panel.is_cut(stage.kept):
        (top, bottom), (left, right) = ((part.start, part.stop) for part in stage.kept)
        sides = {"left": left / columns, "top": top / rows}
        sides |= {"width": (right - left) / columns, "height": (bottom - top) / rows}
        crop_style = ";".join(f"{name}:{100 * share:.3f}%" for name, share in sides.items())
    return {
        "kind": "picture",
        "uri": data_uri(png_of(colours_of(panel)), "image/png"),
        "alt": ", ".join(filter(None, (stage.name, panel.caption))),
        "caption": panel.caption,
        "rows": rows,
        "columns": columns,
        "width": width,
        "enlarged": width > columns,
        "kept": crop_style,
    }


def _numbers(panel: Panel) -> Mapping[str, Any]:
    """Return a vector's first numbers, each with its bar on a line from 0 to 100, where 50 stands for zero."""
    values = panel.values
    numbers = np.nan_to_num(values.astype(np.float64))
    shares = 50 * numbers / max(float(np.abs(numbers).max(initial=0.0)), 1e-9)
    rows = [
        {
            "name": panel.name(i) if panel.names else "",
            "figure": figure(float(values[i]), decimals_of(values)),
            "x": f"{50 + min(share, 0):.2f}",
            "width": f"{abs(share):.2f}",
        }
        for i, share in enumerate(shares[:MOST_ROWS].tolist())
    ]
    return {"kind": "numbers", "rows": rows, "more": max(0, len(values) - MOST_ROWS)}


def png_of(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture [H, W, 3] as a small PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", optimize=True)
    return file.getvalue()
