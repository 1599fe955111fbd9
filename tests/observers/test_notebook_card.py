from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.observers.notebook_card import Trail, _ticks, card

Make = Callable[..., Any]


def filled(count: int = 30, epsilon: float = 0.5) -> Trail:
    trail = Trail()
    for k in range(1, count + 1):
        trail.add(20 * k, float(10 + k), 10 + k / 2, epsilon)
    return trail


def parsed(text: str) -> ElementTree.Element:
    """A card is well-formed, so any reader of HTML makes the same of it."""
    return ElementTree.fromstring(text)


def test_a_card_tells_how_the_run_stands(snapshot: Make, events: Any) -> None:
    trail = filled()
    trail.evaluate(events.evaluation(300, best=True))
    trail.evaluate(events.evaluation(500, (50.0, 70.0)))
    made = card(snapshot(), trail)
    words = " ".join(parsed(made).itertext())
    assert "dqn on CartPole-v1, pixels" in words
    assert "600 of 1,000 steps" in words
    assert "mean of 100" in words
    assert "evaluation at step 500: mean 60.0 ± 10.0" in words
    assert "best so far: 150.0 at step 300" in words
    curves = [line.get("points", "").split() for line in parsed(made).iter("polyline")]
    assert [len(points) for points in curves] == [30, 30, 2, 30]
    assert len(list(parsed(made).iter("circle"))) == 2


def test_curves_keep_their_places(snapshot: Make) -> None:
    made = card(snapshot(), filled())
    (returns, means, _, epsilon) = (
        [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        for line in parsed(made).iter("polyline")
    )
    # Steps run to the right up to the budget of 1,000, of which 600 are done; larger values stand higher.
    assert returns[-1][0] == pytest.approx(46 + (760 - 46 - 22) * 0.6)
    assert [point[0] for point in returns] == [point[0] for point in means] == [point[0] for point in epsilon]
    assert all(later[1] < earlier[1] for earlier, later in itertools.pairwise(returns))
    assert all(mean[1] > value[1] for mean, value in zip(means, returns, strict=True))
    assert len({point[1] for point in epsilon}) == 1


def test_what_is_not_known_is_left_out(snapshot: Make) -> None:
    before = card(snapshot(played=0, evaluated=False), Trail())
    assert "<svg" not in before
    assert "0 of 1,000 steps" in before
    without = card(snapshot(), filled(epsilon=math.nan))
    assert ">epsilon<" not in without[without.index("<svg") :]
    one = card(snapshot(played=1, evaluated=False), filled(1))
    assert len(list(parsed(one).iter("circle"))) == 1
    assert "evaluation</text>" not in one
    unbounded = card(snapshot(steps=None, episodes=None), filled())
    assert "600 steps" in unbounded


def test_what_an_agent_tells_cannot_break_the_page(snapshot: Make) -> None:
    status = {"epsilon": 0.5, "<script>": "</div><b>"}
    made = card(snapshot(status=status, name="<i>", folder="</style>"), filled(), ["<u>"])
    assert not re.search(r"<(script|i|b>\w*</b|u)>", made.replace("<b>", "").replace("</b>", ""))
    assert "&lt;script&gt;" in made
    parsed(made)


def test_a_trail_goes_on_from_its_state_and_stays_small(events: Any) -> None:
    trail = filled(20_000)
    for k in range(400):
        trail.evaluate(events.evaluation(k))
    again = Trail()
    again.load_state_dict(trail.state_dict())
    for one in (trail, again):
        one.add(500_000, 1.0, 2.0, 0.1)
    for name in ("return", "mean", "epsilon", "evaluation"):
        assert again.points(name) == trail.points(name)
    assert len(trail.points("return")) <= 256
    assert [step for step, _ in trail.points("evaluation")] == list(range(100, 400))


@given(st.just(0.0) | st.floats(-1e6, -1e-6), st.just(0.0) | st.floats(1e-6, 1e6))
def test_ticks_enclose_the_range_and_are_few(low: float, high: float) -> None:
    found = _ticks(low, high)
    apart = found[1] - found[0]
    assert found[0] <= low + 1e-6 * apart
    assert found[-1] >= high - 1e-6 * apart
    assert 2 <= len(found) <= 8
    assert float(f"{apart:.0e}") == pytest.approx(apart)
    assert 0.0 in found
