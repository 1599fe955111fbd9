"""The contract of `ReplayBuffer`, first half: what is stored comes back as it was.

* `check_replay`: every check of the kind.

The other half, which transitions are chosen, with randomness and state, is in `replay_sampling`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from cartpole_dqn.contracts.parts import Batch, Context, ReplayBuffer, State
from cartpole_dqn.testing._contract import Contract
from cartpole_dqn.testing._course import Course, Lasting
from cartpole_dqn.testing._options import SHARED
from cartpole_dqn.testing._spaces import IMAGE, SIGNED, VECTOR, context, devices
from cartpole_dqn.testing._state import difference, snapshot
from cartpole_dqn.testing._story import Outcome, Row, Step, Story, draw_batch, live, tell

CAPACITY = 60
"""What the kit asks for, where `capacity` is an option and was not given."""


class Replays(Lasting[ReplayBuffer]):
    """A class of replays."""

    steps = 20

    @property
    def saved_after(self) -> list[int]:  # type: ignore[override]
        """See `Lasting`: empty, filling, and wrapped around."""
        capacity = build(self, context()).capacity
        return [0, capacity // 60, capacity // 10, capacity // 5 * 2]

    def course(self, seed: int = 0) -> Living:
        """See `Lasting`."""
        return Living(self, context(n_step=3, seed=seed))


class Living(Course):
    """A replay that lives a story."""

    def __init__(self, part: Replays, where: Context) -> None:
        self.replay, self.story = build(part, where), Story(where)

    def go(self, steps: int) -> dict[str, Any]:
        """See `Course`."""
        return {"batches": live(self.replay, self.story, steps), "len": len(self.replay)}

    def state(self) -> State:
        """See `Course`."""
        return self.replay.state_dict()

    def take_over(self, state: State, other: Living) -> None:
        """See `Course`."""
        self.replay.load_state_dict(state)
        self.story = copy.deepcopy(other.story)


REPLAY: Contract[Replays] = Contract("replay", Replays, SHARED)


def check_replay(cls: Callable[..., ReplayBuffer], /, **options: object) -> None:
    """Hold a replay buffer to its contract.

    The kit makes up episodes in one to three lanes, with every observation unlike every other, and holds what `sample`
    gives to a slow walk along what was added. It asks for a `capacity` of 60 slots where that is an option.
    """
    REPLAY.hold(cls, **options)


def build(part: Replays, where: Context, capacity: int = CAPACITY) -> ReplayBuffer:
    """Return a new, small replay."""
    replay = part.build(where, capacity=capacity)
    assert replay.capacity <= 20_000, (
        f"the capacity is {replay.capacity}: give the check options that make it small, or name the option capacity."
    )
    return replay


def surroundings(*n_steps: int) -> Iterator[Context]:
    """Every space and several lanes, for each n."""
    for n_step in n_steps:
        yield context(VECTOR, num_envs=3, n_step=n_step)
        yield context(IMAGE, num_envs=1, n_step=n_step)
        yield context(SIGNED, num_envs=2, n_step=n_step)


def rows(
    part: Replays, *n_steps: int, wanted: Callable[[Outcome], bool] = lambda outcome: True, what: str = ""
) -> Iterator[tuple[Story, Row, Step]]:
    """Rows of batches that are drawn while replays fill, a quarter of the way; at least one is there.

    Args:
        part: what is built.
        *n_steps: numbers of steps to build it for.
        wanted: which of the rows whose n steps are known; without `what`, all rows of a step are given.
        what: the wanted ones, in the message where there are none.
    """
    found = 0
    for where in surroundings(*n_steps):
        replay, story = build(part, where), Story(where)
        for _ in range(8):
            tell(replay, story, max(1, CAPACITY // (30 * where.num_envs)))
            for row in story.rows(draw_batch(replay)) if len(replay) else ():
                if row.step is not None and (not what or (row.outcome is not None and wanted(row.outcome))):
                    found += 1
                    yield story, row, row.step
    assert found, f"no {what} was ever sampled." if what else "no sampled obs begins a transition that was added."


@REPLAY.check
def check_batch_shapes(part: Replays) -> None:
    """Every field of a batch has the shape, dtype and device that `Batch` says."""
    for device in devices():
        for where in (context(space, device=device) for space in (VECTOR, IMAGE, SIGNED)):
            replay = build(part, where)
            tell(replay, Story(where), 16)
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
        tensor = getattr(batch, name)
        assert isinstance(tensor, torch.Tensor), f"batch.{name} is a {type(tensor).__name__}: expected a tensor."
        came = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device.type}"
        said = f"{dtype} {list(shape)} on {where.device.type}"
        assert came == said, f"batch.{name} of sample({size}): expected {said}, got {came}."


@REPLAY.check
def check_sampling_from_nothing(part: Replays) -> None:
    """`sample` raises `ValueError` while no transition is complete, and `len` is 0 then."""
    for n_step in (1, 3):
        replay = build(part, context(n_step=n_step))
        assert len(replay) == 0, f"len of a new replay is {len(replay)}: expected 0."
        try:
            replay.sample(1)
        except ValueError:
            continue
        raise AssertionError("sample(1) from an empty replay returned something: expected a ValueError.")


@REPLAY.check
def check_observations(part: Replays) -> None:
    """`obs` and `next_obs` come back as they were added, integers as integers, an episode's last one too."""
    endings = 0
    for where in surroundings(1):
        replay, story = build(part, where), Story(where)
        tell(replay, story, 10)
        for row in story.rows(draw_batch(replay)):
            space = where.observation_space
            assert row.step is not None, f"a sampled obs ({space}) begins no transition that was added."
            ends = row.step.terminated or row.step.truncated
            endings += ends
            assert row.next_number == row.step.next_number, (
                f"a sampled next_obs ({space}) is not what was added{' at the end of an episode' if ends else ''}."
            )
    assert endings, "no transition at an episode's end was ever sampled."


@REPLAY.check
def check_actions_and_rewards(part: Replays) -> None:
    """`actions`, and with one step `rewards`, belong to the transition whose `obs` came."""
    for _, row, step in rows(part, 1):
        assert row.action == step.action, f"expected the action {step.action}, got {row.action}."
        assert _near(row.reward, step.reward), f"expected the reward {step.reward:g}, got {row.reward:g}."


@REPLAY.check
def check_discounts(part: Replays) -> None:
    """`discounts` is gamma^n where the episode goes on."""
    for story, row, _ in rows(
        part, 1, 3, wanted=lambda o: not (o.terminated or o.truncated), what="transition within an episode"
    ):
        _assert_discount(row, story, "within an episode")


@REPLAY.check
def check_terminated_steps(part: Replays) -> None:
    """`discounts` is 0 where the episode terminated within the n steps, whether it was truncated too or not."""
    for story, row, _ in rows(part, 1, 3, wanted=lambda o: o.terminated, what="transition that terminates"):
        _assert_discount(row, story, "at a terminated step")


@REPLAY.check
def check_truncated_steps(part: Replays) -> None:
    """`discounts` is gamma^k where the episode was truncated after k steps: it bootstraps from the last observation."""
    for story, row, _ in rows(
        part, 1, 3, wanted=lambda o: o.truncated and not o.terminated, what="truncated transition"
    ):
        assert row.outcome is not None
        _assert_discount(row, story, f"at a truncation {row.outcome.steps} steps on")


@REPLAY.check
def check_n_step_returns(part: Replays) -> None:
    """`rewards` is r_1 + gamma r_2 + ... over n steps, cut at the episode's end, and `next_obs` is where they lead."""
    whole = 0
    for story, row, _ in rows(part, 2, 4, what="complete transition"):
        _assert_n_step(row, story)
        whole += row.outcome is not None and row.outcome.steps == story.context.n_step
    assert whole, "no transition with all its n steps was ever sampled."


@REPLAY.check
def check_incomplete_steps_wait(part: Replays) -> None:
    """A transition is sampled only once all its n steps, or its episode's end, are known."""
    for story, row, _ in rows(part, 3, 5):
        assert row.outcome is not None, (
            f"a transition was sampled before its {story.context.n_step} steps were added and before its episode ended."
        )


@REPLAY.check
def check_episodes_stay_apart(part: Replays) -> None:
    """`obs` and `next_obs` of a transition are of one lane and one episode."""
    for story, row, step in rows(part, 1, 3):
        episode = {number for other in story.episode(step) for number in (other.number, other.next_number)}
        assert row.next_number in episode, "obs and next_obs of a transition are of different episodes or lanes."


@REPLAY.check
def check_broken_lanes(part: Replays) -> None:
    """After `break_lane` another episode begins in that lane alone; what came before it bootstraps, or is dropped."""
    for where in (context(n_step=n, num_envs=2) for n in (1, 3)):
        replay, story = build(part, where), Story(where)
        broken = 0
        for _ in range(20):
            tell(replay, story, 1)
            if story.break_lane(0):
                broken += 1
                replay.break_lane(0)
        assert broken, "no episode was under way when its lane was broken."
        for _ in range(20):
            for row in _whole(story, draw_batch(replay)):
                assert row.outcome is not None
                _assert_discount(row, story, "before a broken lane" if row.outcome.cut else "where no lane was broken")


@REPLAY.check
def check_wrap_around(part: Replays) -> None:
    """When old transitions are overwritten, what is sampled is still whole, and never more than `capacity` are held."""
    for where in surroundings(3):
        replay, story = build(part, where), Story(where)
        added = 0
        while added <= 2 * replay.capacity:
            tell(replay, story, 6)
            added += 6 * where.num_envs
            assert len(replay) <= replay.capacity, f"len is {len(replay)}, above the capacity of {replay.capacity}."
            if added > replay.capacity:
                _whole(story, draw_batch(replay))


@REPLAY.check
def check_storage_is_its_own(part: Replays) -> None:
    """What was added may be overwritten by whoever added it, and a batch stays as it was drawn."""
    where = context()
    replay, story = build(part, where), Story(where)
    given = [np.empty(where.observation_space.shape, where.observation_space.dtype) for _ in range(2)]
    for _ in range(12):
        for told in story.round():
            given[0][...], given[1][...] = told.obs, told.next_obs
            replay.add(told._replace(obs=given[0], next_obs=given[1]))
    rows = [row for _ in range(8) for row in story.rows(draw_batch(replay))]
    assert all(row.step is not None and row.next_number == row.step.next_number for row in rows), (
        "an observation changed when the array that it was added from was overwritten: keep a copy."
    )
    batch = draw_batch(replay)
    before = snapshot([batch.obs, batch.next_obs, batch.rewards])
    tell(replay, story, replay.capacity)
    assert not difference(before, [batch.obs, batch.next_obs, batch.rewards]), (
        "a batch changed when more transitions were added: make batches of copies."
    )


@REPLAY.check
def check_memory(part: Replays) -> None:
    """`nbytes` and `capacity` are said at once and stay; observations are stored in their own dtype, twice at most."""
    space = spaces.Box(0, 255, (24, 32, 3), np.uint8)
    where = context(space, num_envs=2)
    replay, story = build(part, where), Story(where)
    said = replay.nbytes, replay.capacity
    assert all(type(number) is int for number in said), f"nbytes and capacity are {said!r}: expected integers."
    nbytes, capacity = said
    each = math.prod(space.shape)
    most = capacity * (2 * each + 256) + 16_384
    assert capacity * each // 2 <= nbytes <= most, (
        f"nbytes is {nbytes} for {capacity} slots of {each} bytes: expected {capacity * each // 2} to {most}."
    )
    while len(story.lanes[0]) * 2 < min(2 * capacity, 2000):
        tell(replay, story, 10)
        now = replay.nbytes, replay.capacity
        assert now == said, f"nbytes and capacity were {said} when new, and became {now}."


def _whole(story: Story, batch: Batch) -> list[Row]:
    """Hold each row to the story, but for its discount."""
    rows = story.rows(batch)
    for row in rows:
        assert row.step is not None, "a sampled obs begins no transition that was added."
        assert row.outcome is not None, "an incomplete transition was sampled."
        assert row.action == row.step.action, "a sampled action is not the one that was taken at obs."
        _assert_n_step(row, story)
    return rows


def _assert_n_step(row: Row, story: Story) -> None:
    assert row.outcome is not None
    n_step, gamma, outcome = story.context.n_step, story.context.gamma, row.outcome
    assert row.next_number == outcome.next_number, (
        f"with n = {n_step}, next_obs is not the observation that {outcome.steps} steps led to"
        f"{', where the episode ended.' if outcome.terminated or outcome.truncated or outcome.cut else '.'}"
    )
    assert _near(row.reward, outcome.reward), (
        f"the sum of {outcome.steps} rewards with gamma {gamma:g}: expected {outcome.reward:g}, got {row.reward:g}."
    )


def _assert_discount(row: Row, story: Story, place: str) -> None:
    assert row.outcome is not None
    n_step, gamma, expected = story.context.n_step, story.context.gamma, row.outcome.discount
    assert _near(row.discount, expected), (
        f"the discount {place} (n = {n_step}, gamma = {gamma:g}): expected {expected:g}, got {row.discount:g}."
    )


def _near(came: float, expected: float) -> bool:
    return math.isclose(came, expected, rel_tol=1e-4, abs_tol=1e-5)
