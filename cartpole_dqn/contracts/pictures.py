"""The pictures of an observation: `Panel` is one of them, and `colours_of` its values as colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""[H, W, 3]."""
Colour = tuple[int, int, int]
Kind = Literal["colour", "grey", "difference", "numbers"]
Kept = tuple[slice, slice]
"""Rows and columns."""

PAPER, RED, BLUE = (255, 255, 255), (179, 38, 30), (31, 95, 168)


@dataclass(frozen=True)
class Panel:
    """One picture of an observation."""

    caption: str
    values: NDArray[Any]
    """[H, W, 3] uint8 where `kind` is "colour", [H, W] where "grey" or "difference", [n] where "numbers"."""
    kind: Kind
    low: float = 0.0
    """The value drawn black, for "grey"; `high` is drawn white."""
    high: float = 1.0
    zero: float = 0.0
    """The value of no difference, for "difference"."""
    names: Sequence[str] = ()
    """The names [n] of "numbers"; empty if unknown."""

    def name(self, i: int) -> str:
        """Return the name of number `i`, by default its index."""
        return self.names[i] if len(self.names) == len(self.values) else f"[{i}]"

    def span(self, *, moving: bool = False) -> tuple[float, float]:
        """Return the values with the first and the last colour, for "grey" and "difference".

        The greatest difference has full colour. In an animation (`moving`) this is the greatest possible one, so that
        equal differences look equal in all pictures.
        """
        if self.kind == "grey":
            return self.low, self.high
        most = float(np.abs(np.nan_to_num(self.values.astype(np.float32)) - self.zero).max(initial=0.0)) or 1.0
        if moving:
            possible = next((bound for bound in (1.0, 255.0) if most <= bound), most)
            most = 127.0 if self.values.dtype == np.uint8 else possible
        return self.zero - most, self.zero + most

    def is_cut(self, kept: Kept | None) -> bool:
        """Whether `kept` differs from the whole picture."""
        return kept is not None and self.kind != "numbers" and kept != tuple(slice(0, n) for n in self.values.shape[:2])


def colours_of(
    panel: Panel, *, moving: bool = False, page: tuple[Colour, Colour, Colour] = (PAPER, RED, BLUE)
) -> Picture:
    """Return a panel's values as colours [H, W, 3]: grey from low to high, differences from blue over white to red.

    `moving` is that of `Panel.span`. `page` has the colours of no difference, of more and of less.
    """
    if panel.kind == "colour":
        return np.ascontiguousarray(panel.values, dtype=np.uint8)
    numbers = np.nan_to_num(panel.values.astype(np.float32))
    low, high = panel.span(moving=moving)
    if panel.kind == "grey":
        grey = np.clip((numbers - low) / max(high - low, 1e-9), 0, 1)
        return np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    share = np.clip((numbers - panel.zero) / (high - panel.zero), -1, 1)[..., None]
    paper, more, less = (np.array(colour, dtype=np.float32) for colour in page)
    # The square root keeps small differences visible beside large ones.
    mixed = paper + np.sqrt(np.abs(share)) * (np.where(share >= 0, more, less) - paper)
    return np.asarray(mixed, dtype=np.uint8)
