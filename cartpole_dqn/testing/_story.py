"""Made-up episodes for replays, in which every observation can be told from every other.

* `Story`: makes transitions lane by lane, and finds by slow lookup what n steps from any of them lead to.
* `Row`: one transition of a batch, beside what it should be.
* `fill`, `live`: add transitions to a replay; `live` also draws batches and reports TD errors.
* `draw`, `draw_batch`: sample much, or one batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Batch, Context, ReplayBuffer, Transition
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.testing._spaces import UNREADABLE, Stamp

BATCH = 32


@dataclass
class Step:
    """One transition; observations by their numbers."""

    env: int
    episode: int
    number: int
    action: int
    reward: float
    next_number: int
    terminated: bool
    truncated: bool
    cut: bool = False
    """Whether the lane was broken after it."""

    @property
    def ends(self) -> bool:
        return self.terminated or self.truncated


class Outcome(NamedTuple):
    """What n steps from a transition lead to."""

    reward: float
    discount: float
    steps: int
    last: Step


class Row(NamedTuple):
    """One transition of a batch: its values, the step that it begins at, and the values it should have."""

    number: int
    next_number: int
    action: int
    reward: float
    discount: float
    step: Step | None
    """None if no added transition begins with the observation."""
    outcome: Outcome | None
    """None if the n steps are not complete yet."""


class Story:
    """Made-up episodes of 1 to 9 steps, ending in termination, truncation or both.

    Args:
        context: spaces, lanes, gamma and n_step.
        seed: of everything in the story.
    """

    def __init__(self, context: Context, seed: int = 0) -> None:
        self.context = context
        self.lanes: list[list[Step]] = [[] for _ in range(context.num_envs)]
        self._random = SeedTree(seed).numpy("story")
        self.stamp = Stamp(context.observation_space)
        self._place: dict[int, tuple[int, int]] = {}  # number -> lane, position
        self._count = 0  # observations so far
        self._left = [0] * context.num_envs  # steps until the lane's episode ends
        self._episodes = 0

    def step(self, env: int) -> Transition:
        """Return the next transition of a lane."""
        lane = self.lanes[env]
        if self._left[env] == 0:
            self._left[env] = int(self._random.integers(1, 10))
            self._episodes += 1
            episode, number = self._episodes, self._new_number()
        else:
            episode, number = lane[-1].episode, lane[-1].next_number
        self._left[env] -= 1
        ending = int(self._random.integers(5)) if self._left[env] == 0 else -1
        step = Step(
            env=env,
            episode=episode,
            number=number,
            action=int(self._random.integers(self.context.action_space.n)),
            reward=float(self._random.normal()),
            next_number=self._new_number(),
            terminated=ending in (0, 1, 2),
            truncated=ending in (2, 3, 4),
        )
        self._place[number] = (env, len(lane))
        lane.append(step)
        obs, next_obs = self.stamp.put(step.number), self.stamp.put(step.next_number)
        return Transition(obs, step.action, step.reward, next_obs, step.terminated, step.truncated, env)

    def round(self) -> list[Transition]:
        """Return the next transition of every lane, in their order."""
        return [self.step(env) for env in range(len(self.lanes))]

    def break_lane(self, env: int) -> bool:
        """Cut a lane's episode; return whether there was one."""
        under_way = self._left[env] > 0
        if under_way:
            self.lanes[env][-1].cut = True
            self._left[env] = 0
        return under_way

    def outcome(self, number: int) -> Outcome | None:
        """Walk n steps from the transition that begins at `number`, or to its episode's end; None if too few exist."""
        env, position = self._place[number]
        total, gamma = 0.0, self.context.gamma
        for count, step in enumerate(self.lanes[env][position:], start=1):
            total += gamma ** (count - 1) * step.reward
            if step.ends or step.cut or count == self.context.n_step:
                return Outcome(total, 0.0 if step.terminated else gamma**count, count, step)
        return None

    def steps(self) -> Iterator[Step]:
        """Every step so far, lane after lane."""
        return itertools.chain(*self.lanes)

    def episode(self, step: Step) -> list[Step]:
        """The steps of `step`'s episode so far."""
        return [other for other in self.lanes[step.env] if other.episode == step.episode]

    def rows(self, batch: Batch) -> list[Row]:
        """Return the transitions of a batch."""
        starts, ends = (self.stamp.read(obs.cpu().numpy()) for obs in (batch.obs, batch.next_obs))
        fields = (starts, ends, batch.actions, batch.rewards, batch.discounts)
        rows = []
        for number, next_number, action, reward, discount in zip(*(field.tolist() for field in fields), strict=True):
            lane, position = self._place.get(number, (0, -1))
            is_known = position >= 0
            step, outcome = (self.lanes[lane][position], self.outcome(number)) if is_known else (None, None)
            rows.append(Row(number, next_number, action, reward, discount, step, outcome))
        return rows

    def _new_number(self) -> int:
        self._count += 1
        return self._count


class Draws(NamedTuple):
    """K drawn transitions: numbers of their observations, indices, weights, and the batch of each."""

    numbers: NDArray[np.int64]
    indices: NDArray[np.int64]
    weights: NDArray[np.float32]
    batches: NDArray[np.int64]


def fill(replay: ReplayBuffer, story: Story, rounds: int) -> None:
    """Add `rounds` transitions of every lane."""
    for _ in range(rounds):
        for transition in story.round():
            replay.add(transition)


def draw_batch(replay: ReplayBuffer, most: int = BATCH) -> Batch:
    """Sample a batch, no larger than the replay."""
    size = len(replay)
    assert size > 0, f"len is {size} although complete transitions were added."
    return replay.sample(min(most, size))


def draw(replay: ReplayBuffer, story: Story, count: int, *, small: bool = False) -> Draws:
    """Sample `count` transitions or a few more. A transition is rarely twice in a `small` batch."""
    batches: list[Batch] = []
    while count > 0:
        batches.append(draw_batch(replay, max(1, len(replay) // 4) if small else BATCH))
        count -= len(batches[-1])
    obs = np.concatenate([batch.obs.cpu().numpy() for batch in batches])
    return Draws(
        story.stamp.read(obs),
        np.concatenate([batch.indices.cpu().numpy() for batch in batches]),
        np.concatenate([batch.weights.cpu().numpy() for batch in batches]),
        np.repeat(np.arange(len(batches)), [len(batch) for batch in batches]),
    )


def live(replay: ReplayBuffer, story: Story, rounds: int) -> list[Batch]:
    """Add `rounds` transitions of every lane. After each, draw a batch and report its TD errors; return the batches.

    TD errors depend on the batch alone, so that equal replays stay equal.
    """
    batches = []
    for _ in range(rounds):
        fill(replay, story, 1)
        if len(replay):
            batch = draw_batch(replay)
            sizes = 1 + (batch.rewards.abs() * (1 + batch.actions)).clamp(max=3)
            replay.update_priorities(batch.indices, torch.where(batch.rewards < 0, -sizes, sizes))
            batches.append(batch)
    return batches


def known(draws: Draws) -> set[int]:
    """The numbers that were drawn, except unreadable ones."""
    return set(draws.numbers.tolist()) - {UNREADABLE}
