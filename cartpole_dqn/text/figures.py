"""How figures are written for people: short, on one line, never misleading.

* `number`, `duration`, `size`: numbers, seconds, bytes.
* `one_line`: text from elsewhere, made harmless for a terminal.
"""

from __future__ import annotations

import math
from typing import Any

NOTHING = "-"
"""What stands for a figure that is not known."""


def number(value: Any) -> str:
    r"""Return a figure in at most nine characters where it can be: 4 significant digits, counts in full.

    >>> [number(v) for v in (None, 12345, 93.1, 500.0, 0.012345, 0.00005, float("nan"), "goal\n3")]
    ['-', '12,345', '93.1', '500', '0.01235', '5e-05', 'nan', 'goal 3']
    """
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, int) and abs(value) < 10**9:
        return f"{value:,}"
    try:
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        return one_line(str(value))
    if not math.isfinite(real) or real == 0:
        return f"{real:g}"
    if 1e-3 <= abs(real) < 1e6:
        text = f"{real:,.{max(0, 3 - math.floor(math.log10(abs(real))))}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{real:.3g}"


def duration(seconds: float) -> str:
    """Return seconds as h:mm:ss, with days before where it takes any.

    >>> duration(3725.6), duration(90_000)
    ('1:02:05', '1d 1:00:00')
    """
    if not math.isfinite(seconds):
        return NOTHING
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days}d ' if days else ''}{hours}:{minutes:02}:{rest:02}"


def size(nbytes: int) -> str:
    """Return bytes in decimal units.

    >>> size(160_000_000), size(1_250)
    ('160 MB', '1.25 kB')
    """
    value, unit = float(nbytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def one_line(text: str) -> str:
    """Return `text` with everything that would move a cursor replaced by spaces."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
