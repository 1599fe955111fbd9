"""What the lanes of a run might live through, made up so that every observation tells which one it is.

* `Story`: tells transitions lane by lane, remembers them all, and knows by slow lookup what n steps from any lead to.
* `Row`: what a batch says of one transition, beside what the story knows.
* `tell`, `live`: add a story to a replay; `live` draws batches and tells TD errors on the way.
* `draw`, `draw_batch`: sample much, or one batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import Batch, Context, ReplayBuffer, Transition
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.testing._spaces import UNREADABLE, Stamp

BATCH = 32


@dataclass
class Step:
    """One remembered transition; observations by their numbers."""

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


class Outcome(NamedTuple):
    """What n steps from a transition come to."""

    reward: float
    next_number: int
    discount: float
    terminated: bool
    truncated: bool
    cut: bool
    steps: int


class Row(NamedTuple):
    """One transition of a batch: what the batch says, the step it began at, and what it should say."""

    number: int
    next_number: int
    action: int
    reward: float
    discount: float
    step: Step | None
    """None where the observation begins no transition that was ever told."""
    outcome: Outcome | None
    """None where not all n steps were told yet."""


class Story:
    """Made-up episodes of 1 to 9 steps, ending in termination, truncation or both.

    Args:
        context: spaces, lanes, gamma and n_step.
        seed: another seed, another story.
    """

    def __init__(self, context: Context, seed: int = 0) -> None:
        self.context = context
        self.lanes: list[list[Step]] = [[] for _ in range(context.num_envs)]
        self._random = SeedTree(seed).numpy("story")
        self._stamp = Stamp(context.observation_space)
        self._place: dict[int, tuple[int, int]] = {}  # number -> lane, position
        self._count = 0  # observations so far
        self._left = [0] * context.num_envs  # steps until the lane's episode ends
        self._episodes = 0

    def tell(self, env: int) -> Transition:
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
        obs, next_obs = self._stamp.put(np.array([step.number, step.next_number]))
        return Transition(obs, step.action, step.reward, next_obs, step.terminated, step.truncated, env)

    def round(self) -> list[Transition]:
        """Return the next transition of every lane, in their order."""
        return [self.tell(env) for env in range(len(self.lanes))]

    def break_lane(self, env: int) -> bool:
        """Cut a lane's episode; False where none was under way."""
        under_way = self._left[env] > 0
        if under_way:
            self.lanes[env][-1].cut = True
            self._left[env] = 0
        return under_way

    def outcome(self, number: int) -> Outcome | None:
        """Walk n steps from the transition that begins at `number`, or to the episode's end; None: not told so far."""
        env, position = self._place[number]
        total, gamma = 0.0, self.context.gamma
        for taken, step in enumerate(self.lanes[env][position:], start=1):
            total += gamma ** (taken - 1) * step.reward
            if step.terminated or step.truncated or step.cut or taken == self.context.n_step:
                discount = 0.0 if step.terminated else gamma**taken
                flags = step.terminated, step.truncated, step.cut
                return Outcome(total, step.next_number, discount, *flags, taken)
        return None

    def steps(self) -> Iterator[Step]:
        """Every step told, lane after lane."""
        for lane in self.lanes:
            yield from lane

    def episode(self, step: Step) -> list[Step]:
        """The steps of the episode that `step` belongs to, as far as told."""
        return [other for other in self.lanes[step.env] if other.episode == step.episode]

    def step_at(self, number: int) -> Step | None:
        """The step that begins at the observation `number`; None for an episode's last one, and unreadable ones."""
        place = self._place.get(number)
        return None if place is None else self.lanes[place[0]][place[1]]

    def rows(self, batch: Batch) -> list[Row]:
        """Return what a batch says, transition by transition."""
        starts, ends = (self._stamp.read(obs.cpu().numpy()) for obs in (batch.obs, batch.next_obs))
        told = zip(
            starts.tolist(),
            ends.tolist(),
            batch.actions.tolist(),
            batch.rewards.tolist(),
            batch.discounts.tolist(),
            strict=True,
        )
        rows = []
        for number, next_number, action, reward, discount in told:
            step = self.step_at(number)
            outcome = None if step is None else self.outcome(number)
            rows.append(Row(number, next_number, action, reward, discount, step, outcome))
        return rows

    def _new_number(self) -> int:
        self._count += 1
        return self._count


class Draws(NamedTuple):
    """Many drawn transitions: [K] numbers of their observations, indices, weights, and which batch each is of."""

    numbers: NDArray[np.int64]
    indices: NDArray[np.int64]
    weights: NDArray[np.float32]
    batches: NDArray[np.int64]


def tell(replay: ReplayBuffer, story: Story, rounds: int) -> None:
    """Add `rounds` transitions of every lane."""
    for _ in range(rounds):
        for transition in story.round():
            replay.add(transition)


def draw_batch(replay: ReplayBuffer, most: int = BATCH) -> Batch:
    """Sample a batch that is no larger than what the replay chooses from."""
    size = len(replay)
    assert size > 0, f"len is {size} although complete transitions were added."
    return replay.sample(min(most, size))


def draw(replay: ReplayBuffer, space: spaces.Box, count: int, *, small: bool = False) -> Draws:
    """Sample `count` transitions or a few more; in `small` batches, in which hardly any comes twice, if asked for."""
    batches: list[Batch] = []
    while count > 0:
        batches.append(draw_batch(replay, max(1, len(replay) // 4) if small else BATCH))
        count -= len(batches[-1])
    obs = np.concatenate([batch.obs.cpu().numpy() for batch in batches])
    return Draws(
        Stamp(space).read(obs),
        np.concatenate([batch.indices.cpu().numpy() for batch in batches]),
        np.concatenate([batch.weights.cpu().numpy() for batch in batches]),
        np.repeat(np.arange(len(batches)), [len(batch) for batch in batches]),
    )


def live(replay: ReplayBuffer, story: Story, rounds: int) -> list[Batch]:
    """Add `rounds` transitions of every lane; return the batches drawn on the way, whose TD errors were told.

    TD errors depend on the batch alone, so that equal replays live equally.
    """
    batches = []
    for _ in range(rounds):
        tell(replay, story, 1)
        if len(replay):
            batch = draw_batch(replay)
            replay.update_priorities(batch.indices, told_errors(batch))
            batches.append(batch)
    return batches


def told_errors(batch: Batch) -> torch.Tensor:
    """TD errors [B] of both signs, from 1 to 4: none so small that its transition would hardly be seen again."""
    sizes = 1 + (batch.rewards.abs() * (1 + batch.actions)).clamp(max=3)
    return torch.where(batch.rewards < 0, -sizes, sizes)


def known(draws: Draws) -> set[int]:
    """The numbers that were drawn, without those that could not be read."""
    return set(draws.numbers.tolist()) - {UNREADABLE}
