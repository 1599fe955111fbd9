"""Goals: which there are, when they are reached, and what is said of those that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cartpole_dqn_hdqn.goals import ActionGoals, Goals, StateGoals, make_goals
from gymnasium import spaces

from cartpole_dqn import Context, UserError, option, options_class

SIX = Context(observation_space=spaces.Box(0.0, 1.0, (6,), np.float32), action_space=spaces.Discrete(3))
ROWS = np.eye(6, dtype=np.float32)
NO_ACTIONS = np.zeros(6, dtype=np.int64)
ALL = np.ones((6, 3), dtype=np.bool_)


def test_every_state_is_a_goal() -> None:
    goals = make_goals({"name": "states"}, SIX)
    assert list(goals.names) == ["s1", "s2", "s3", "s4", "s5", "s6"]
    assert (goals.reached(ROWS[::-1], NO_ACTIONS, ROWS) == np.eye(6, dtype=bool)).all()
    assert (goals.available(ROWS, ALL) == ~np.eye(6, dtype=bool)).all()
    assert (goals.encodings == np.eye(6)).all()


def test_landmarks_are_some_states() -> None:
    goals = make_goals({"name": "states", "states": [5, 2], "names": ["end", "middle"]}, SIX)
    assert list(goals.names) == ["end", "middle"]
    reached = goals.reached(ROWS, NO_ACTIONS, ROWS)
    assert reached.tolist() == [[s == 5, s == 2] for s in range(6)]
    assert goals.available(ROWS, ALL).tolist() == [[s != 5, s != 2] for s in range(6)]


def test_a_goal_is_always_available() -> None:
    one = make_goals({"name": "states", "states": [2]}, SIX)
    assert one.available(ROWS, ALL).all()
    back = make_goals({"current": True}, SIX)
    assert back.available(ROWS, ALL).all()


def test_actions_as_goals() -> None:
    goals = make_goals({"name": "actions"}, SIX)
    assert isinstance(goals, ActionGoals)
    assert goals.reached(ROWS[:3], np.array([2, 0, 1]), ROWS[:3]).tolist() == [
        [False, False, True],
        [True, False, False],
        [False, True, False],
    ]
    mask = np.array([[True, False, True]])
    assert (goals.available(ROWS[:1], mask) == mask).all()


@options_class
class HalfOptions:
    border: int = option(default=3, ge=1, effect="where the right half begins")


class Halves(Goals):
    """The left half and the right half."""

    Options = HalfOptions

    def __init__(self, options: HalfOptions, context: Context) -> None:
        self.names = ["left", "right"]
        self._border = options.border

    def reached(self, obs: Any, actions: Any, next_obs: Any) -> Any:
        right = next_obs.argmax(axis=1) >= self._border
        return np.stack([~right, right], axis=1)


def test_goals_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("halves_of_somebody")
    module.Halves = Halves  # type: ignore[attr-defined]
    module.Nothing = Context  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "halves_of_somebody", module)
    goals = make_goals({"name": "halves_of_somebody:Halves", "border": 2}, SIX)
    assert goals.reached(ROWS, NO_ACTIONS, ROWS)[:, 1].tolist() == [False, False, True, True, True, True]
    assert goals.available(ROWS, ALL).all()
    with pytest.raises(UserError, match=r"unknown option agent.goals.bordr. Did you mean 'border'"):
        make_goals({"name": "halves_of_somebody:Halves", "bordr": 2}, SIX)
    with pytest.raises(UserError, match="is no subclass of"):
        make_goals({"name": "halves_of_somebody:Nothing"}, SIX)
    with pytest.raises(UserError, match="cannot be imported"):
        make_goals({"name": "halves_of_somebody:Quarters"}, SIX)
    with pytest.raises(UserError, match="cannot be imported"):
        make_goals({"name": "no_such_module_anywhere:Quarters"}, SIX)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"name": 5}, r"agent.goals.name: expected 'states', 'actions' or \"module:Class\", got 5"),
        ({"name": "stats"}, "unknown goals 'stats'"),
        ({"name": "states", "states": [6]}, "different states from 0 to 5, got"),
        ({"name": "states", "states": [1, 1]}, "different states"),
        ({"name": "states", "states": [1, 2], "names": ["one"]}, "1 names do not fit 2 goals"),
        ({"name": "states", "landmarks": [1]}, "unknown option agent.goals.landmarks"),
        ({"name": "actions", "states": [1]}, "unknown option agent.goals.states"),
    ],
)
def test_goals_that_do_not_fit_are_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_goals(table, SIX)


@pytest.mark.parametrize(
    "space",
    [spaces.Box(-1.0, 1.0, (4,), np.float32), spaces.Box(0, 255, (4, 4, 1), np.uint8)],
    ids=["CartPole", "image"],
)
def test_states_need_observations_that_tell_them(space: spaces.Box) -> None:
    with pytest.raises(UserError, match="goals 'states' needs observations that are 1 at the state"):
        StateGoals(StateGoals.Options(), Context(observation_space=space, action_space=spaces.Discrete(2)))
