"""Fragments hold what they were made of, each observation once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.contracts.collector import Ending, Fragment
from cartpole_dqn.contracts.parts import Transition

FLAGS = st.sampled_from([(False, False), (False, False), (True, False), (False, True), (True, True)])


def story(
    ends: list[tuple[bool, bool]], *, shape: tuple[int, ...] = (2,), stack: int = 1, masks: bool, told: bool
) -> list[Transition]:
    """Consecutive steps of lane 3; every frame has a number of its own."""
    number, steps = 0, []
    window: list[np.ndarray] = []  # type: ignore[type-arg]

    def frame() -> np.ndarray:  # type: ignore[type-arg]
        nonlocal number
        number += 1
        return np.full(shape, number, np.int16)

    def show() -> np.ndarray:  # type: ignore[type-arg]
        return np.stack(window) if stack > 1 else window[0]

    for i, (terminated, truncated) in enumerate(ends):
        if not window:
            window = [frame() for _ in range(stack)]
        obs = show()
        window = [*window[1:], frame()]
        mask = np.array([i % 2 == 0, True]) if masks else None
        steps.append(
            Transition(
                obs, i % 2, i / 3, show(), terminated, truncated, 3, mask, float(np.float32(i)) if told else None
            )
        )
        if terminated or truncated:
            window = []
    return steps


@given(st.lists(FLAGS, min_size=1, max_size=12), st.sampled_from([1, 2, 4]), st.booleans(), st.booleans())
def test_steps_come_back_as_they_were(ends: list[tuple[bool, bool]], stack: int, masks: bool, told: bool) -> None:
    steps = story(ends, stack=stack, masks=masks, told=told)
    endings = [Ending(3, 5, 1.0, 2, terminated=True)]
    fragment = Fragment.pack(3, steps, endings, stack)
    assert len(fragment) == len(steps)
    assert fragment.endings == tuple(endings)
    for old, new in zip(steps, fragment.transitions(), strict=True):
        assert new.obs.dtype == old.obs.dtype
        for name in Transition._fields:
            a, b = getattr(old, name), getattr(new, name)
            assert (a is None) == (b is None)
            assert a is None or np.array_equal(a, b), name
    episodes = 1 + sum(terminated or truncated for terminated, truncated in ends[:-1])
    assert len(fragment.obs) == len(steps) + episodes * stack, "each frame is held once, and the first ones"


def test_masks_may_begin_in_the_middle_of_an_episode() -> None:
    masked = story([(False, False)] * 4, masks=True, told=False)
    steps = [step._replace(next_mask=None) if i < 3 else step for i, step in enumerate(masked)]
    unpacked = Fragment.pack(3, steps).transitions()
    assert [step.next_mask.tolist() for step in unpacked if step.next_mask is not None] == [
        [True, True],
        [True, True],
        [True, True],
        [False, True],
    ]


def test_a_step_of_a_stack_of_frames_takes_one_frame() -> None:
    steps = story([(False, False)] * 32, shape=(84, 84), stack=4, masks=False, told=True)
    fragment = Fragment.pack(
        0, [s._replace(obs=s.obs.astype(np.uint8), next_obs=s.next_obs.astype(np.uint8)) for s in steps], (), 4
    )
    assert fragment.nbytes == (32 + 4) * 84 * 84 + 32 * (1 + 8 + 1 + 4)


@pytest.mark.parametrize(("most", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_actions_take_as_little_as_they_can(most: int, dtype: type) -> None:
    step = story([(False, False)], masks=False, told=False)[0]
    assert Fragment.pack(0, [step._replace(action=most)]).actions.dtype == dtype
