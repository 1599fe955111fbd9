from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.text.figures import duration, number, one_line, size


@given(st.floats(-1e300, 1e300))
def test_numbers_are_short_and_true(value: float) -> None:
    text = number(value)
    assert len(text) <= 10
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.006, abs=1e-320)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (7, "7"),
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


def test_durations() -> None:
    assert duration(0) == "0:00:00"
    assert duration(59.99) == "0:00:59"
    assert duration(86_400 * 2 + 61) == "2d 0:01:01"
    assert duration(math.inf) == "-"
    assert duration(-5) == "0:00:00"


def test_sizes() -> None:
    assert [size(n) for n in (0, 999, 1000, 320_000_000, 63_500_000_000)] == [
        "0 B",
        "999 B",
        "1 kB",
        "320 MB",
        "63.5 GB",
    ]


@given(st.text())
def test_one_line_moves_no_cursor(text: str) -> None:
    assert one_line(text).isprintable()
