"""Figures as short text on one line.

* `number`: any number. `compact`: in few characters.
* `score`, `spread`, `alike`: a mean return, with its deviation, or several in a row.
* `duration`, `size`, `count_of`: seconds, bytes, and counts of things.
* `printable`, `one_line`: untrusted text without control characters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

NOTHING = "-"
"""Stands for an unknown figure."""


def number(value: Any, digits: int = 4) -> str:
    r"""Return a figure with so many significant digits, usually in at most nine characters. Counts are shown in full.

    >>> [number(v) for v in (None, 12345, 93.1, 500.0, 0.012345, 0.00005, float("nan"), "goal\n3")]
    ['-', '12,345', '93.1', '500', '0.01235', '5e-05', 'nan', 'goal 3']
    >>> number(114.83, 3), number(0.012345, 3)
    ('115', '0.0123')
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
        text = f"{real:,.{max(0, digits - 1 - math.floor(math.log10(abs(real))))}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{real:.3g}"


def compact(value: float) -> str:
    """Return a figure with 3 significant digits and thousands as "k", millions as "M".

    >>> [compact(v) for v in (0, 475.0, 1_500, 50_000, 5_612, 1_250_000, 0.25)]
    ['0', '475', '1.5k', '50k', '5.61k', '1.25M', '0.25']
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if math.isfinite(value) and abs(value) >= 0.9995 * unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"


def alike(figures: Sequence[float | None]) -> list[str]:
    """Return figures in a row with the same number of decimals: one, if the greatest is 10 or more.

    >>> alike([499.6, 1.842, 500]), alike([0.2064, None])
    (['499.6', '1.8', '500.0'], ['0.2064', '-'])
    """
    most = max((abs(figure) for figure in figures if figure is not None and math.isfinite(figure)), default=0.0)
    return [f"{f:,.1f}" if f is not None and math.isfinite(f) and 10 <= most < 1e6 else number(f) for f in figures]


def score(value: float | None) -> str:
    """Return a mean return, with one decimal from 10 on, so that a column looks uniform."""
    return alike([value])[0]


def spread(mean: float, std: float, sign: str = "±") -> str:
    """Return a mean with its standard deviation, neither with more decimals than help.

    >>> spread(150, 50), spread(9.4, 0.4899)
    ('150.0 ± 50.0', '9.4 ± 0.49')
    """
    most = max(abs(mean), abs(std))
    places = 2 - math.floor(math.log10(most)) if most > 0 and math.isfinite(most) else 0
    return f" {sign} ".join(alike([round(mean, max(places, 1)), round(std, max(places, 1))]))


def duration(seconds: float | None) -> str:
    """Return seconds as m:ss or h:mm:ss, preceded by days if there are any.

    >>> duration(77.6), duration(3725.6), duration(90_000), duration(None)
    ('1:17', '1:02:05', '1d 1:00:00', '-')
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days or hours:
        return f"{f'{days}d ' if days else ''}{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


def size(nbytes: int) -> str:
    """Return bytes in decimal units.

    >>> size(160_000_000), size(1_250)
    ('160 MB', '1.25 kB')
    """
    value, unit = float(nbytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:,.0f} {unit}"


def count_of(count: int, thing: str) -> str:
    """Return "1 episode", "1,200 episodes"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def printable(text: str, instead: str | None = None, *, lines: bool = False) -> str:
    r"""Return `text` with control characters and other invisible ones replaced.

    Args:
        text: may be untrusted.
        instead: replaces such a character; None escapes it.
        lines: keep newlines.

    >>> printable("a\x1b[2J\n"), printable("a\x1b[2J\n", "?", lines=True)
    ('a\\x1b[2J\\n', 'a?[2J\n')
    """
    if text.isprintable():
        return text
    newline = "\n" if lines else ""
    return "".join(
        c if c.isprintable() or c == newline else repr(c)[1:-1] if instead is None else instead for c in text
    )


def one_line(text: str) -> str:
    """Return `text` with control characters and newlines replaced by spaces."""
    return printable(text, " ").strip()
