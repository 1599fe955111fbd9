"""The contract of `ReplayBuffer`, first half: what is stored.

The other half, in `replay_sampling`, is about which transitions are sampled, and about randomness and state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from cartpole_dqn.contracts.parts import Batch, Context, ReplayBuffer
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._course import OPTIONS, Course
from cartpole_dqn.testing._spaces import IMAGE, SIGNED, VECTOR, context, devices
from cartpole_dqn.testing._state import assert_kind, assert_same, snapshot
from cartpole_dqn.testing._story import Outcome, Row, Step, Story, draw_batch, fill, live

CAPACITY = 60
"""The `capacity` in checks, if there is such an option and no value was given."""


class Living(Course):
    """A replay in use."""

    part: ReplayBuffer

    def __init__(self, part: Subject, seed: int = 0) -> None:
        self.part, self.story = build(part, context(n_step=3, seed=seed))

    def plan(self) -> tuple[int, Iterable[int]]:
        """See `Course`: it is saved empty, filling, and full."""
        capacity = self.part.capacity
        return 20, (0, capacity // 60, capacity // 10, capacity // 5 * 2)

    def go(self, steps: int) -> dict[str, Any]:
        return {"batches": live(self.part, self.story, steps), "len": len(self.part)}


REPLAY = Contract("replay", Living, OPTIONS)


def check_replay(cls: Callable[..., ReplayBuffer], /, **options: object) -> None:
    """Run every check of a replay buffer.

    The kit adds made-up episodes in one to three lanes. No two observations are equal, so it can find each sampled
    transition among those that it added. If there is an option `capacity`, it is 60 unless you give it.
    """
    REPLAY.hold(cls, **options)


def build(part: Subject, where: Context, capacity: int = CAPACITY) -> tuple[ReplayBuffer, Story]:
    """Return a new, small replay and a story for it."""
    replay: ReplayBuffer = part.build(where, capacity=capacity)
    assert replay.capacity <= 20_000, (
        f"the capacity is {replay.capacity}: give the check options that make it small, or name the option capacity."
    )
    return replay, Story(where)


def surroundings(*n_steps: int) -> Iterator[Context]:
    """Yield contexts with every space, and one to three lanes, for each n."""
    for n_step in n_steps:
        yield context(VECTOR, num_envs=3, n_step=n_step)
        yield context(IMAGE, num_envs=1, n_step=n_step)
        yield context(SIGNED, num_envs=2, n_step=n_step)


def rows(
    part: Subject, *n_steps: int, accepts: Callable[[Outcome], bool] = lambda outcome: True, what: str = ""
) -> Iterator[tuple[Story, Row, Step]]:
    """Yield rows of batches that are drawn while replays fill, a quarter of the way; at least one.

    Args:
        part: the class.
        *n_steps: numbers of steps to build it for.
        accepts: selects rows by their outcome; without `what`, all rows are yielded.
        what: names the wanted rows in the message that there are none.
    """
    count = 0
    for where in surroundings(*n_steps):
        replay, story = build(part, where)
        for _ in range(8):
            fill(replay, story, max(1, CAPACITY // (30 * where.num_envs)))
            for row in story.rows(draw_batch(replay)) if len(replay) else ():
                step = _step_of(row)
                if not what or (row.outcome is not None and accepts(row.outcome)):
                    count += 1
                    yield story, row, step
    assert count, f"no {what or 'transition'} was ever sampled."


@REPLAY.check
def check_batch_shapes(part: Subject) -> None:
    """Every field of a batch has the shape, dtype and device documented in `Batch`."""
    for device in devices():
        for where in (context(space, device=device) for space in (VECTOR, IMAGE, SIGNED)):
            replay, story = build(part, where)
            fill(replay, story, 16)
            for size in (1, 7, 16):
                _assert_shapes(replay.sample(size), size, where)


def _assert_shapes(batch: Batch, size: int, where: Context) -> None:
    space = where.observation_space
    stored = torch.from_numpy(np.zeros(0, space.dtype)).dtype
    expected = {
        "obs": ((size, *space.shape), stored),
        "actions": ((size,), torch.int64),
        "rewards": ((size,), torch.float32),
        "next_obs": ((size, *space.shape), stored),
        "discounts": ((size,), torch.float32),
        "weights": ((size,), torch.float32),
        "indices": ((size,), torch.int64),
    }
    for name, (shape, dtype) in expected.items():
        declared = f"{dtype} {list(shape)} on {where.device.type}"
        assert_kind(getattr(batch, name), declared, f"batch.{name} of sample({size})")


@REPLAY.check
def check_sampling_from_nothing(part: Subject) -> None:
    """While no transition is complete, `sample` raises `ValueError` and `len` is 0."""
    for n_step in (1, 3):
        replay, _ = build(part, context(n_step=n_step))
        assert len(replay) == 0, f"len of a new replay is {len(replay)}: expected 0."
        try:
            replay.sample(1)
        except ValueError:
            continue
        raise AssertionError("sample(1) from an empty replay returned something: expected a ValueError.")


@REPLAY.check
def check_observations(part: Subject) -> None:
    """`obs` and `next_obs` are as they were added, an episode's last one too; integers stay integers."""
    endings = 0
    for story, row, step in rows(part, 1):
        endings += step.ends
        end = " at the end of an episode" if step.ends else ""
        assert row.next_number == step.next_number, (
            f"a sampled next_obs ({story.context.observation_space}) is not what was added{end}."
        )
    assert endings, "no transition at an episode's end was ever sampled."


@REPLAY.check
def check_actions_and_rewards(part: Subject) -> None:
    """`actions`, and for n = 1 `rewards`, are those of the transition that begins at `obs`."""
    for _, row, step in rows(part, 1):
        assert row.action == step.action, f"expected the action {step.action}, got {row.action}."
        assert _near(row.reward, step.reward), f"expected the reward {step.reward:g}, got {row.reward:g}."


@REPLAY.check
def check_discounts(part: Subject) -> None:
    """`discounts` is gamma^n if the episode continues."""
    _check_discounts(part, lambda o: not o.last.ends, "transition within an episode")


@REPLAY.check
def check_terminated_steps(part: Subject) -> None:
    """`discounts` is 0 if the episode terminated within the n steps, even if it was truncated at the same step."""
    _check_discounts(part, lambda o: o.last.terminated, "transition that terminates")


@REPLAY.check
def check_truncated_steps(part: Subject) -> None:
    """`discounts` is gamma^k if the episode was truncated after k steps: the last observation's value counts."""
    _check_discounts(part, lambda o: o.last.truncated and not o.last.terminated, "truncated transition")


@REPLAY.check
def check_n_step_returns(part: Subject) -> None:
    """`rewards` is r_1 + gamma r_2 + ... over n steps, cut at the episode's end; `next_obs` comes after them."""
    complete = 0
    for story, row, _ in rows(part, 2, 4, what="complete transition"):
        _assert_n_step(row, story)
        complete += row.outcome is not None and row.outcome.steps == story.context.n_step
    assert complete, "no transition with all its n steps was ever sampled."


@REPLAY.check
def check_incomplete_steps_wait(part: Subject) -> None:
    """A transition is sampled only after its n steps, or its episode's end, were added."""
    for story, row, _ in rows(part, 3, 5):
        assert row.outcome is not None, (
            f"a transition was sampled before its {story.context.n_step} steps were added and before its episode ended."
        )


@REPLAY.check
def check_episodes_stay_apart(part: Subject) -> None:
    """`obs` and `next_obs` of a transition belong to one lane and one episode."""
    for story, row, step in rows(part, 1, 3):
        episode = {number for other in story.episode(step) for number in (other.number, other.next_number)}
        assert row.next_number in episode, "obs and next_obs of a transition are of different episodes or lanes."


@REPLAY.check
def check_broken_lanes(part: Subject) -> None:
    """`break_lane` ends the episode of that lane alone; transitions before it bootstrap, or are dropped."""
    for where in (context(n_step=n, num_envs=2) for n in (1, 3)):
        replay, story = build(part, where)
        broken = 0
        for _ in range(20):
            fill(replay, story, 1)
            if story.break_lane(0):
                broken += 1
                replay.break_lane(0)
        assert broken, "no episode was under way when its lane was broken."
        for _ in range(20):
            for row in _check_rows(story, draw_batch(replay)):
                assert row.outcome is not None
                _assert_discount(row, story, f"transition{' before a broken lane' if row.outcome.last.cut else ''}")


@REPLAY.check
def check_wrap_around(part: Subject) -> None:
    """After old transitions were overwritten, batches are still correct, and `len` is at most `capacity`."""
    for where in surroundings(3):
        replay, story = build(part, where)
        added = 0
        while added <= 2 * replay.capacity:
            fill(replay, story, 6)
            added += 6 * where.num_envs
            assert len(replay) <= replay.capacity, f"len is {len(replay)}, above the capacity of {replay.capacity}."
            if added > replay.capacity:
                _check_rows(story, draw_batch(replay))


@REPLAY.check
def check_storage_is_its_own(part: Subject) -> None:
    """The caller may overwrite what it added, and a batch does not change after it was drawn."""
    where = context()
    replay, story = build(part, where)
    arrays = [np.empty(where.observation_space.shape, where.observation_space.dtype) for _ in range(2)]
    for _ in range(12):
        for transition in story.round():
            arrays[0][...], arrays[1][...] = transition.obs, transition.next_obs
            replay.add(transition._replace(obs=arrays[0], next_obs=arrays[1]))
    rows = [row for _ in range(8) for row in story.rows(draw_batch(replay))]
    assert all(row.step is not None and row.next_number == row.step.next_number for row in rows), (
        "an observation changed when the array that it was added from was overwritten: keep a copy."
    )
    batch = draw_batch(replay)
    before = snapshot([batch.obs, batch.next_obs, batch.rewards])
    fill(replay, story, replay.capacity)
    after, problem = [batch.obs, batch.next_obs, batch.rewards], "a batch changed when more transitions were added"
    assert_same(before, after, problem, "batch", hint=" Make batches of copies.")


@REPLAY.check
def check_memory(part: Subject) -> None:
    """`nbytes` and `capacity` are constant; observations are stored in their own dtype, at most twice."""
    space = spaces.Box(0, 255, (24, 32, 3), np.uint8)
    where = context(space, num_envs=2)
    replay, story = build(part, where)
    initial = replay.nbytes, replay.capacity
    assert all(type(number) is int for number in initial), f"nbytes and capacity are {initial!r}: expected integers."
    nbytes, capacity = initial
    each = math.prod(space.shape)
    most = capacity * (2 * each + 256) + 16_384
    assert capacity * each // 2 <= nbytes <= most, (
        f"nbytes is {nbytes} for {capacity} slots of {each} bytes: expected {capacity * each // 2} to {most}."
    )
    while len(story.lanes[0]) * 2 < min(2 * capacity, 2000):
        fill(replay, story, 10)
        now = replay.nbytes, replay.capacity
        assert now == initial, f"nbytes and capacity were {initial} when new, and became {now}."


def _check_rows(story: Story, batch: Batch) -> list[Row]:
    """Check each row, except its discount, and return the rows."""
    rows = story.rows(batch)
    for row in rows:
        step = _step_of(row)
        assert row.outcome is not None, "an incomplete transition was sampled."
        assert row.action == step.action, "a sampled action is not the one that was taken at obs."
        _assert_n_step(row, story)
    return rows


def _step_of(row: Row) -> Step:
    assert row.step is not None, "a sampled obs begins no transition that was added."
    return row.step


def _assert_n_step(row: Row, story: Story) -> None:
    assert row.outcome is not None
    n_step, gamma, outcome = story.context.n_step, story.context.gamma, row.outcome
    assert row.next_number == outcome.last.next_number, (
        f"with n = {n_step}, next_obs is not the observation that {outcome.steps} steps led to"
        f"{', where the episode ended.' if outcome.last.ends or outcome.last.cut else '.'}"
    )
    assert _near(row.reward, outcome.reward), (
        f"the sum of {outcome.steps} rewards with gamma {gamma:g}: expected {outcome.reward:g}, got {row.reward:g}."
    )


def _check_discounts(part: Subject, accepts: Callable[[Outcome], bool], what: str) -> None:
    for story, row, _ in rows(part, 1, 3, accepts=accepts, what=what):
        _assert_discount(row, story, what)


def _assert_discount(row: Row, story: Story, what: str) -> None:
    assert row.outcome is not None
    n_step, gamma, expected = story.context.n_step, story.context.gamma, row.outcome.discount
    assert _near(row.discount, expected), (
        f"the discount of a {what} (n = {n_step}, gamma = {gamma:g}): expected {expected:g}, got {row.discount:g}."
    )


def _near(actual: float, expected: float) -> bool:
    return math.isclose(actual, expected, rel_tol=1e-4, abs_tol=1e-5)
