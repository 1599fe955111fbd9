"""What both levels are told, held to a slow account of whole episodes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from cartpole_dqn_hdqn.goal_lanes import NONE, GoalLanes
from cartpole_dqn_hdqn.goals import make_goals
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn import Context, Transition

STATES = 4
ROWS = np.eye(STATES, dtype=np.float32)
END = st.sampled_from(["no", "no", "no", "terminated", "truncated", "both"])


class Step(NamedTuple):
    """Part of a made-up story: where a lane goes, what it pays, whether its episode ends, and a goal if one is due."""

    state: int
    reward: float
    end: str
    goal: int


STEP = st.builds(Step, st.integers(0, STATES - 1), st.integers(-3, 3).map(float), END, st.integers(0, STATES - 1))


def context(lanes: int) -> Context:
    return Context(
        observation_space=spaces.Box(0.0, 1.0, (STATES,), np.float32),
        action_space=spaces.Discrete(2),
        num_envs=lanes,
    )


def both_levels(lanes: int, story: list[list[Step]]) -> tuple[list[Any], list[Any]]:
    """What the lanes say of a story: (goal, controller's transition), and the meta-controller's, in their order."""
    where = context(lanes)
    courses = GoalLanes(make_goals({"name": "states"}, where), where)
    states = [0] * lanes
    inner, chosen = [], []
    for moment in story:
        free = np.flatnonzero(courses.goals == NONE)
        courses.begin(free, ROWS[[states[lane] for lane in free]], np.array([moment[lane].goal for lane in free], int))
        transitions = [
            Transition(
                ROWS[states[lane]],
                lane % 2,
                step.reward,
                ROWS[step.state],
                step.end in ("terminated", "both"),
                step.end in ("truncated", "both"),
                lane,
            )
            for lane, step in enumerate(moment)
        ]
        for heard in courses.observe(transitions):
            inner.append((heard.goal, plain(heard.inner)))
            if heard.chosen is not None:
                chosen.append(plain(heard.chosen))
                assert heard.chosen.next_mask is not None
                here = int(heard.chosen.next_obs.argmax())
                assert heard.chosen.next_mask.tolist() == [state != here for state in range(STATES)]
        states = [step.state if step.end == "no" else 0 for step in moment]
    return inner, chosen


def plain(step: Transition) -> tuple[Any, ...]:
    return (
        int(step.obs.argmax()),
        step.action,
        step.reward,
        int(step.next_obs.argmax()),
        step.terminated,
        step.truncated,
        step.env,
    )


def account(lanes: int, story: list[list[Step]]) -> tuple[list[Any], list[Any]]:
    """The same from the definition: a lane's story is cut wherever a goal is reached or an episode ends."""
    inner: list[tuple[int, int, Any]] = []
    chosen: list[tuple[int, int, Any]] = []
    for lane in range(lanes):
        steps = [moment[lane] for moment in story]
        begin, at = 0, 0
        while begin < len(steps):
            goal = steps[begin].goal
            cut = next((i for i in range(begin, len(steps)) if steps[i].state == goal or steps[i].end != "no"), None)
            last = len(steps) - 1 if cut is None else cut
            here = at
            for i in range(begin, last + 1):
                step = steps[i]
                terminated, truncated = step.end in ("terminated", "both"), step.end in ("truncated", "both")
                reached = step.state == goal
                over = reached or terminated
                record = (here, lane % 2, 1.0 if reached else 0.0, step.state, over, truncated and not over, lane)
                inner.append((i, lane, (goal, record)))
                here = step.state
            if cut is not None:
                step = steps[cut]
                terminated, truncated = step.end in ("terminated", "both"), step.end in ("truncated", "both")
                earned = sum(one.reward for one in steps[begin : cut + 1])
                chosen.append((cut, lane, (at, goal, earned, step.state, terminated, truncated, lane)))
                at = 0 if step.end != "no" else step.state
            begin = last + 1
    return [one[2] for one in sorted(inner, key=lambda o: o[:2])], [
        one[2] for one in sorted(chosen, key=lambda o: o[:2])
    ]


@given(data=st.data(), lanes=st.integers(1, 3), length=st.integers(1, 25))
def test_both_levels_are_told_what_happened(data: st.DataObject, lanes: int, length: int) -> None:
    story = data.draw(st.lists(st.lists(STEP, min_size=lanes, max_size=lanes), min_size=length, max_size=length))
    assert both_levels(lanes, story) == account(lanes, story)


def test_a_broken_lane_forgets_its_goal() -> None:
    where = context(2)
    courses = GoalLanes(make_goals({"name": "states"}, where), where)
    courses.begin(np.array([0, 1]), ROWS[:2], np.array([3, 3]))
    courses.break_lane(0)
    assert courses.goals.tolist() == [NONE, 3]
    with pytest.raises(ValueError, match="lane 0 made a step, but no goal is set"):
        courses.observe([Transition(ROWS[0], 0, 0.0, ROWS[1], False, False, 0)])


def test_a_state_of_other_lanes_or_goals_is_refused() -> None:
    two, three = context(2), context(3)
    lanes = GoalLanes(make_goals({"name": "states"}, two), two)
    lanes.begin(np.array([0, 1]), ROWS[:2], np.array([3, 1]))
    with pytest.raises(ValueError, match="of 2 lanes, and do not fit the 3"):
        GoalLanes(make_goals({"name": "states"}, three), three).load_state_dict(lanes.state_dict())
    with pytest.raises(ValueError, match="not all among the 2 here"):
        GoalLanes(make_goals({"name": "states", "states": [0, 1]}, two), two).load_state_dict(lanes.state_dict())
    twin = GoalLanes(make_goals({"name": "states"}, two), two)
    twin.load_state_dict(lanes.state_dict())
    assert twin.goals.tolist() == [3, 1]
