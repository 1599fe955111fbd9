from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.observers.notebook_card import _ticks, card

Make = Callable[..., Any]


def parsed(text: str) -> ElementTree.Element:
    """A card is well-formed, so any reader of HTML makes the same of it."""
    return ElementTree.fromstring(text)


def test_a_card_tells_how_the_run_stands(snapshot: Make) -> None:
    page = card(snapshot())
    words = " ".join(parsed(page).itertext())
    assert "dqn on CartPole-v1, pixels" in words
    assert "600 of 1,000 steps" in words
    assert "mean of 100" in words
    assert "evaluation at step 500: mean 60.0 ± 10.0" in words
    assert "best so far: 150.0 ± 50.0 over 2 episodes at step 300" in words
    curves = [line.get("points", "").split() for line in parsed(page).iter("polyline")]
    assert [len(points) for points in curves] == [30, 30, 2, 30]
    assert len(list(parsed(page).iter("circle"))) == 2


def test_a_card_says_solved(snapshot: Make) -> None:
    confirmed = Evaluation(500, (498.0, 500.0), (1, 1), "confirm", 3.0, True)
    words = " ".join("".join(parsed(card(snapshot(solved_at=475.0, confirmed=confirmed))).itertext()).split())
    assert "SOLVED 499.0 ± 1.0 over 2 episodes at step 500" in words
    assert "SOLVED" not in card(snapshot(solved_at=475.0))


def test_curves_keep_their_places(snapshot: Make) -> None:
    view = snapshot()
    (returns, means, greedy, epsilon) = (
        [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        for line in parsed(card(view)).iter("polyline")
    )
    # Steps run to the right up to the budget of 1,000, of which 600 are done; larger values stand higher.
    assert returns[-1][0] == pytest.approx(46 + (760 - 46 - 22) * 0.6)
    assert [point[0] for point in returns] == [point[0] for point in means] == [point[0] for point in epsilon]
    for points, values in ((returns, view.trail.returns), (means, view.trail.means_100)):
        heights = [22 + 200 * (1 - value / 150) for value in values]
        assert [point[1] for point in points] == pytest.approx(heights, abs=0.1)
    assert greedy[0][1] < greedy[1][1], "150 stands above 60"
    assert len({point[1] for point in epsilon}) == 1


def test_what_is_not_known_is_left_out(snapshot: Make) -> None:
    before = card(snapshot(played=0, evaluated=False))
    assert "<svg" not in before
    assert "0 of 1,000 steps" in before
    without = card(snapshot(status={}))
    assert ">epsilon<" not in without[without.index("<svg") :]
    one = card(snapshot(played=1, evaluated=False))
    assert len(list(parsed(one).iter("circle"))) == 1
    assert "evaluation</text>" not in one
    assert "600 steps" in card(snapshot(steps=None, episodes=None))


def test_what_an_agent_tells_cannot_break_the_page(snapshot: Make) -> None:
    status = {"epsilon": 0.5, "<script>": "</div><b>"}
    page = card(snapshot(status=status, name="<i>", folder="</style>"), ["<u>"])
    assert not re.search(r"<(script|i|b>\w*</b|u)>", page.replace("<b>", "").replace("</b>", ""))
    assert "&lt;script&gt;" in page
    parsed(page)


@given(st.just(0.0) | st.floats(-1e6, -1e-6), st.just(0.0) | st.floats(1e-6, 1e6))
def test_ticks_enclose_the_range_and_are_few(low: float, high: float) -> None:
    ticks = _ticks(low, high)
    apart = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * apart
    assert ticks[-1] >= high - 1e-6 * apart
    assert 2 <= len(ticks) <= 8
    assert float(f"{apart:.0e}") == pytest.approx(apart)
    assert 0.0 in ticks
