from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.text.figures import alike, count_of, duration, number, one_line, printable, score, size, spread


@given(st.floats(-1e300, 1e300))
def test_numbers_are_short_and_true(value: float) -> None:
    text = number(value)
    assert len(text) <= 10
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.006, abs=1e-320)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (50_000, "50,000"),
        (np.int64(50_000), "50,000"),
        (np.float32(0.5), "0.5"),
        (0.0, "0"),
        (999.96, "1,000"),
        (5e-4, "0.0005"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("to\x1b[2J the\nkey", "to [2J the key"),
        (object, "<class 'object'>"),
    ],
)
def test_numbers(value: Any, text: str) -> None:
    assert number(value) == text


def test_returns_have_one_decimal_where_that_is_enough() -> None:
    values = (None, 500.0, -110.54, 9.5, 0.01234, 12345.6, math.nan)
    assert [score(v) for v in values] == ["-", "500.0", "-110.5", "9.5", "0.01234", "12,345.6", "nan"]
    assert alike([499.6, 1.842, 486, 500]) == ["499.6", "1.8", "486.0", "500.0"]
    assert alike([0.2064, 0.4, 0, 1]) == ["0.2064", "0.4", "0", "1"]
    assert alike([None, math.nan, 12]) == ["-", "nan", "12.0"]
    assert (spread(150, 50), spread(0.208, 0.198, "+-")) == ("150.0 ± 50.0", "0.208 +- 0.198")


def test_durations_sizes_and_counts() -> None:
    times = (0, 59.99, 86_400 * 2 + 61, math.inf, -5, None)
    assert [duration(t) for t in times] == ["0:00", "0:59", "2d 0:01:01", "-", "0:00", "-"]
    sizes = (0, 999, 1000, 999_600, 320_000_000, 63_500_000_000, 2**60)
    assert [size(n) for n in sizes] == ["0 B", "999 B", "1 kB", "1 MB", "320 MB", "63.5 GB", "1,152,922 TB"]
    assert [count_of(n, "episode") for n in (0, 1, 1200)] == ["0 episodes", "1 episode", "1,200 episodes"]


@given(st.text())
def test_nothing_printable_moves_a_cursor(text: str) -> None:
    assert one_line(text).isprintable()
    assert printable(text).isprintable()
    assert printable(text, "?", lines=True).replace("\n", "").isprintable()
    if text.isprintable():
        assert printable(text) == text
