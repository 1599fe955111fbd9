"""Tables, held to a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from cartpole_dqn_hdqn.tables import StepSizes, Table, TableValues
from cartpole_dqn_hdqn.tabular import learn_one
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cartpole_dqn import Transition

OBS = st.integers(0, 4).map(lambda k: np.array([k, -k], np.float32))
SIZES = StepSizes(rate=0.05, decay=0.5)


@given(lessons=st.lists(st.tuples(OBS, st.integers(0, 2), st.floats(-5, 5)), max_size=60))
def test_values_are_those_of_the_rule(lessons: list[tuple[NDArray[np.float32], int, float]]) -> None:
    table = Table(3, SIZES)
    values: dict[tuple[float, int], float] = {}
    visits: dict[tuple[float, int], int] = {}
    for obs, choice, target in lessons:
        key = (float(obs[0]), choice)
        visits[key] = visits.get(key, 0) + 1
        size = max(0.05, visits[key] ** -0.5)
        error = target - values.get(key, 0.0)
        assert table.learn(obs, choice, target) == pytest.approx(error, abs=1e-12)
        values[key] = values.get(key, 0.0) + size * error
    everything = np.array([[k, -k] for k in range(5)], np.float32)
    expected = [[values.get((float(k), choice), 0.0) for choice in range(3)] for k in range(5)]
    assert np.allclose(table.rows(everything), expected, atol=1e-5)
    twin = Table(3, SIZES)
    twin.load_state_dict(table.state_dict())
    for copy in (twin, table.copy()):
        assert [list(copy.row(obs)) for obs in everything] == [list(table.row(obs)) for obs in everything]
        assert copy.learn(everything[0], 1, 2.0) == 2.0 - table.row(everything[0])[1]
        assert len(copy) == len({*(float(lesson[0][0]) for lesson in lessons), 0.0})


def test_lookahead_stops_at_terminations_and_knows_masks() -> None:
    here, there = np.zeros(1, np.float32), np.ones(1, np.float32)
    for terminated, truncated, mask, target in (
        (False, False, None, 1.0 + 0.5 * 8.0),
        (False, True, None, 1.0 + 0.5 * 8.0),
        (True, False, None, 1.0),
        (True, True, None, 1.0),
        (False, False, np.array([True, False]), 1.0 + 0.5 * 4.0),
    ):
        table = Table(2, StepSizes(rate=1.0))
        table.learn(there, 0, 4.0)
        table.learn(there, 1, 8.0)
        learn_one(table, Transition(here, 1, 1.0, there, terminated, truncated, 0, mask), 0.5)
        assert list(table.row(here)) == [0.0, target]


def test_a_table_that_does_not_fit_is_refused() -> None:
    table = Table(2, SIZES)
    table.learn(np.zeros(3, np.float32), 1, 1.0)
    with pytest.raises(ValueError, match="3 choices were expected"):
        Table(3, SIZES).load_state_dict(table.state_dict())
    state = table.state_dict()
    state["values"] = np.array([[np.nan, 0.0]])
    with pytest.raises(ValueError, match="not finite"):
        Table(2, SIZES).load_state_dict(state)


def test_a_hierarchy_of_tables_reads_each_goals_own() -> None:
    obs = np.eye(2, dtype=np.float32)
    values = TableValues(Table(2, SIZES), [Table(3, SIZES) for _ in range(2)])
    values.controllers[0].learn(obs[0], 2, 1.0)
    values.controllers[1].learn(obs[0], 1, 1.0)
    values.meta.learn(obs[1], 1, 1.0)
    assert values.of_actions(obs[[0, 0, 1]], np.array([0, 1, 1])).tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert values.of_goals(obs).tolist() == [[0, 0], [0, 1]]
    copy = values.copy()
    values.meta.learn(obs[1], 1, 9.0)
    assert copy.of_goals(obs).tolist() == [[0, 0], [0, 1]]
