"""The replay checks: small, right replays pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pydantic
import pytest
import torch
from torch import Tensor

from broken import after, broken, name_all
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Batch, Context, ReplayBuffer, State, Transition
from cartpole_dqn.contracts.seeding import generator_state, restore_generator
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.testing import check_replay


@options_class
class PlainOptions:
    capacity: int = option(default=1000, ge=1, effect="transitions kept")


class PlainReplay(ReplayBuffer):
    """One ring for all lanes, both observations with each transition; n steps are walked when they are asked for."""

    Options: ClassVar[type] = PlainOptions
    alpha, eps = 0.0, 1e-3

    def __init__(self, options: Any, context: Context) -> None:
        size, space = options.capacity, context.observation_space
        self.size: int = size
        self.context = context
        self.data: dict[str, np.ndarray[Any, Any]] = {
            "obs": np.zeros((size, *space.shape), space.dtype),
            "next_obs": np.zeros((size, *space.shape), space.dtype),
            "action": np.zeros(size, np.int64),
            "reward": np.zeros(size, np.float64),
            "terminated": np.zeros(size, np.bool_),
            "truncated": np.zeros(size, np.bool_),
            "serial": np.full(size, -1, np.int64),
            "following": np.full(size, -1, np.int64),
            "priority": np.zeros(size, np.float64),
        }
        self.count = 0
        self.largest = 1.0
        self.last = [-1] * context.num_envs  # serial of each lane's newest transition, while its episode lasts
        self.generator = context.seeds.numpy("sample")
        self.cache: dict[int, list[int]] | None = None  # the walk from each transition that can be sampled

    # Storing

    def add(self, transition: Transition) -> None:
        self.cache = None
        env = transition.env
        before = self.last[env]
        if before >= 0 and self.stored(before):
            self.data["following"][before % self.size] = self.count
        self.write(self.count % self.size, transition)
        self.last[env] = -1 if transition.terminated or transition.truncated else self.count
        self.count += 1

    def write(self, slot: int, transition: Transition) -> None:
        fields = transition._asdict()
        for name in ("obs", "next_obs", "action", "reward", "terminated", "truncated"):
            self.data[name][slot] = fields[name]
        self.data["serial"][slot] = self.count
        self.data["following"][slot] = -1
        self.data["priority"][slot] = self.largest

    def break_lane(self, env: int) -> None:
        self.cache = None
        if self.last[env] >= 0 and self.stored(self.last[env]):
            self.data["truncated"][self.last[env] % self.size] = True
        self.last[env] = -1

    def stored(self, serial: int) -> bool:
        return bool(self.data["serial"][serial % self.size] == serial)

    # Walking

    def walk(self, serial: int) -> list[int] | None:
        """The slots of the n steps from a transition on, or to its episode's end; None where they are not known."""
        slots: list[int] = []
        for _ in range(self.context.n_step):
            if serial < 0:
                return None
            slots.append(serial % self.size)
            if self.is_over(slots[-1]):
                break
            serial = self.data["following"].item(slots[-1])
        return slots

    def is_over(self, slot: int) -> bool:
        return bool(self.data["terminated"].item(slot) or self.data["truncated"].item(slot))

    def ready(self) -> list[int]:
        return list(self.walks())

    def walks(self) -> dict[int, list[int]]:
        if self.cache is None:
            walks = {serial: self.walk(serial) for serial in sorted(self.data["serial"].tolist()) if serial >= 0}
            self.cache = {serial: walk for serial, walk in walks.items() if walk is not None}
        return self.cache

    # Choosing

    def sample(self, batch_size: int) -> Batch:
        if not self.ready():
            raise ValueError("nothing to sample from.")
        serials, chances = self.choose(batch_size)
        return self.gather(serials, self.weigh(chances))

    def choose(self, batch_size: int) -> tuple[list[int], np.ndarray[Any, Any]]:
        ready = self.ready()
        chances = self.chances(np.array(ready) % self.size)
        drawn = self.generator.choice(len(ready), size=batch_size, p=chances)
        return [ready[i] for i in drawn], len(ready) * chances[drawn]

    def chances(self, slots: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        scaled = self.data["priority"][slots] ** self.alpha
        return np.asarray(scaled / scaled.sum())

    def weigh(self, chances: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        weights = chances**-0.5
        return np.asarray(weights / weights.max())

    def gather(self, serials: list[int], weights: np.ndarray[Any, Any]) -> Batch:
        walks = [self.walks()[serial] for serial in serials]
        first, last = [w[0] for w in walks], [w[-1] for w in walks]
        returns = [self.returns(walk) for walk in walks]
        return Batch(
            obs=torch.from_numpy(self.data["obs"][first]),
            actions=torch.from_numpy(self.data["action"][first]),
            rewards=torch.tensor(returns, dtype=torch.float32),
            next_obs=torch.from_numpy(self.data["next_obs"][last]),
            discounts=torch.tensor([self.discount(walk) for walk in walks], dtype=torch.float32),
            weights=torch.tensor(weights, dtype=torch.float32),
            indices=torch.tensor(serials),
        )

    def returns(self, walk: list[int]) -> float:
        return float(sum(self.context.gamma**i * self.data["reward"].item(slot) for i, slot in enumerate(walk)))

    def discount(self, walk: list[int]) -> float:
        return 0.0 if self.data["terminated"][walk[-1]] else self.context.gamma ** len(walk)

    def update_priorities(self, indices: Tensor, td_errors: Tensor) -> None:
        for serial, error in zip(indices.tolist(), td_errors.tolist(), strict=True):
            if serial >= 0 and self.stored(serial):
                priority = self.priority(error)
                self.data["priority"][serial % self.size] = priority
                self.largest = max(self.largest, priority)

    def priority(self, error: float) -> float:
        return abs(error) + self.eps

    def has_enough(self, count: int) -> bool:
        return len(self) >= count or self.count >= self.size

    def __len__(self) -> int:
        return len(self.ready())

    @property
    def capacity(self) -> int:
        return self.size

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.data.values())

    def state_dict(self) -> State:
        return {
            "data": dict(self.data),
            "count": self.count,
            "largest": self.largest,
            "last": list(self.last),
            "generator": generator_state(self.generator),
        }

    def load_state_dict(self, state: State) -> None:
        self.cache = None
        for name, array in state["data"].items():
            self.data[name][...] = array
        self.count, self.largest, self.last = state["count"], state["largest"], list(state["last"])
        restore_generator(self.generator, state["generator"])


# Right in other ways --------------------------------------------------------------------------------------------------


class Prioritised(PlainReplay):
    alpha = 0.7


class FavoursTheNew(PlainReplay):
    """A transition is half as likely as one 2000 steps later; weights correct for that."""

    def chances(self, slots: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        scaled = 2.0 ** (self.data["serial"][slots] / 2000)
        return np.asarray(scaled / scaled.sum())


class SavesItsSmallState(Prioritised):
    def small_state_dict(self) -> State:
        return {"generator": generator_state(self.generator), "largest": self.largest}

    def load_small_state_dict(self, state: State) -> None:
        restore_generator(self.generator, state["generator"])
        self.largest = state["largest"]


# The larger the TD error, the more rarely it is sampled.
AvoidsSurprise = broken(Prioritised, priority=lambda self, error: 1 / (1 + abs(error)))

# Broken ones: each in one way -----------------------------------------------------------------------------------------


class OptionsWithoutDecorator(PlainReplay):
    @dataclasses.dataclass
    class Options:
        capacity: int = 1000


class OptionsThatChange(PlainReplay):
    @pydantic.dataclasses.dataclass(kw_only=True, config={"strict": True, "extra": "forbid", "allow_inf_nan": False})
    class Options:
        capacity: int = option(default=1000, ge=1, effect="transitions kept")


class OptionsWithoutEffect(PlainReplay):
    @options_class
    class Options:
        capacity: int = 1000


class LaxOptions(PlainReplay):
    @pydantic.dataclasses.dataclass(frozen=True)
    class Options:
        capacity: int = option(default=1000, effect="transitions kept")


def in_batches(change: Callable[[Batch], dict[str, Tensor]]) -> Any:
    """A replay that changes some fields of each batch."""
    return after(PlainReplay, "gather", lambda batch: dataclasses.replace(batch, **change(batch)))


def storing(change: Callable[[Transition], dict[str, Any]]) -> Any:
    """A replay that stores something else than it was given."""
    return broken(PlainReplay, write=lambda self, slot, t: PlainReplay.write(self, slot, t._replace(**change(t))))


ShortActions = in_batches(lambda batch: {"actions": batch.actions.int()})
FloatImages = in_batches(lambda batch: {"obs": batch.obs.float()})
NextAction = in_batches(lambda batch: {"actions": batch.actions.roll(1)})
IndicesOfTheBatch = in_batches(lambda batch: {"indices": torch.arange(len(batch))})
ClippedRewards = storing(lambda t: {"reward": max(-1.0, min(1.0, t.reward))})
# What a vector environment with autoreset hands on: the next episode's first observation, or nothing.
LosesLastObservation = storing(lambda t: {"next_obs": t.obs} if t.terminated or t.truncated else {})


class EmptyIsNoError(PlainReplay):
    def sample(self, batch_size: int) -> Batch:
        if not self.ready():
            return self.gather([], np.ones(0))
        return super().sample(batch_size)


def discounting(share: Callable[[int, bool, bool, int], float]) -> Any:
    """A replay with another power of gamma, from steps, terminated, truncated and n. Infinity makes it 0."""

    def discount(self: PlainReplay, walk: list[int]) -> float:
        terminated, truncated = (bool(self.data[name][walk[-1]]) for name in ("terminated", "truncated"))
        return self.context.gamma ** share(len(walk), terminated, truncated, self.context.n_step)

    return broken(PlainReplay, discount=discount)


DiscountOfOneStep = discounting(lambda steps, terminated, truncated, n: math.inf if terminated else 1)
TruncationHidesTermination = discounting(lambda steps, ended, cut, n: math.inf if ended and not cut else steps)
TruncationEnds = discounting(lambda steps, terminated, truncated, n: math.inf if terminated or truncated else steps)
UndiscountedSum = broken(PlainReplay, returns=lambda self, walk: float(self.data["reward"][walk].sum()))


class Impatient(PlainReplay):
    def walk(self, serial: int) -> list[int] | None:
        slots: list[int] = []
        while len(slots) < self.context.n_step and serial >= 0:
            slots.append(serial % self.size)
            if self.is_over(slots[-1]):
                break
            serial = int(self.data["following"][slots[-1]])
        return slots


class CrossesEpisodes(PlainReplay):
    """Continues from an episode's end with the lane's next episode."""

    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.newest = [-1] * context.num_envs

    def add(self, transition: Transition) -> None:
        self.last[transition.env] = self.newest[transition.env]
        super().add(transition)
        self.newest[transition.env] = self.count - 1

    def is_over(self, slot: int) -> bool:
        return False


DeafToBrokenLanes = broken(PlainReplay, break_lane=lambda self, env: None)


class BreakingTerminates(PlainReplay):
    def break_lane(self, env: int) -> None:
        if self.last[env] >= 0:
            self.data["terminated"][self.last[env] % self.size] = True
        super().break_lane(env)


class RingsOutOfStep(PlainReplay):
    """Next observations lie in a ring that is one shorter."""

    def write(self, slot: int, transition: Transition) -> None:
        super().write(slot, transition)
        self.data["next_obs"][self.count % (self.size - 1)] = transition.next_obs

    def gather(self, serials: list[int], weights: np.ndarray[Any, Any]) -> Batch:
        batch = super().gather(serials, weights)
        last = [int(self.data["serial"][self.walks()[serial][-1]]) % (self.size - 1) for serial in serials]
        return dataclasses.replace(batch, next_obs=torch.from_numpy(self.data["next_obs"][last]))


class KeepsReferences(PlainReplay):
    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        self.given: dict[int, Any] = {}

    def write(self, slot: int, transition: Transition) -> None:
        super().write(slot, transition)
        self.given[slot] = transition.obs

    def gather(self, serials: list[int], weights: np.ndarray[Any, Any]) -> Batch:
        batch = super().gather(serials, weights)
        obs = [self.given.get(serial % self.size, self.data["obs"][serial % self.size]) for serial in serials]
        return dataclasses.replace(batch, obs=torch.from_numpy(np.stack(obs)))

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self.given = {}


class LendsItsMemory(PlainReplay):
    """A batch's rewards lie in an array that is used again."""

    lent = np.zeros(1, np.float32)

    def gather(self, serials: list[int], weights: np.ndarray[Any, Any]) -> Batch:
        batch = super().gather(serials, weights)
        self.lent = batch.rewards.numpy()
        return batch

    def write(self, slot: int, transition: Transition) -> None:
        super().write(slot, transition)
        self.lent[0] = transition.reward


GrowingBytes = broken(PlainReplay, nbytes=property(lambda self: 100_000 + self.count))


class WideStorage(PlainReplay):
    def __init__(self, options: Any, context: Context) -> None:
        super().__init__(options, context)
        for name in ("obs", "next_obs"):
            self.data[name] = self.data[name].astype(np.float32)

    def gather(self, serials: list[int], weights: np.ndarray[Any, Any]) -> Batch:
        batch = super().gather(serials, weights)
        dtype = torch.from_numpy(np.zeros(0, self.context.observation_space.dtype)).dtype
        return dataclasses.replace(batch, obs=batch.obs.to(dtype), next_obs=batch.next_obs.to(dtype))


ForgetsTheOldest = after(PlainReplay, "ready", lambda found: found[1:] or found)
CountsTheIncomplete = broken(PlainReplay, __len__=lambda self: min(self.count, self.size) if self.ready() else 0)
CountsEverything = broken(PlainReplay, __len__=lambda self: len(self.ready()) + max(0, self.count - self.size))
FullIsFull = broken(PlainReplay, add=lambda self, t: PlainReplay.add(self, t) if self.count < self.size else None)


NeverHasEnough = broken(PlainReplay, has_enough=ReplayBuffer.has_enough)
AlwaysHasEnough = broken(PlainReplay, has_enough=lambda self, count: True)
DoubtsItsLength = broken(PlainReplay, has_enough=lambda self, count: len(self) > count or self.count >= self.size)


def ones(self: Any, chances: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Weights that correct nothing."""
    return np.ones(len(chances))


FavoursTheNewUnsaid = broken(FavoursTheNew, weigh=ones)
NeverWeighs = broken(Prioritised, weigh=ones)
UnscaledWeights = broken(Prioritised, weigh=lambda self, chances: chances**-0.5)
SmallWeights = broken(PlainReplay, weigh=lambda self, chances: np.full(len(chances), 1 / len(chances)))


class ZeroStaysZero(Prioritised):
    eps = 0.0

    def chances(self, slots: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        scaled = self.data["priority"][slots] ** self.alpha
        return np.asarray(scaled / scaled.sum()) if scaled.any() else np.eye(len(slots))[0]


class IndicesArePlaces(PlainReplay):
    """Names a transition by its place among those that can be sampled now."""

    def gather(self, serials: list[int], weights: np.ndarray[Any, Any]) -> Batch:
        batch = super().gather(serials, weights)
        return dataclasses.replace(batch, indices=self.ready()[-1] - batch.indices)


LosesItsGenerator = broken(
    SavesItsSmallState, load_small_state_dict=lambda self, state: setattr(self, "largest", state["largest"])
)
SavesAllAsSmall = broken(
    SavesItsSmallState,
    small_state_dict=lambda self: {**SavesItsSmallState.small_state_dict(self), "priority": self.data["priority"]},
)


class BelievesStaleIndices(Prioritised):
    """Updates whatever lies in the slot now."""

    def update_priorities(self, indices: Tensor, td_errors: Tensor) -> None:
        known = (indices >= 0) & (indices < self.count)
        now = [int(self.data["serial"][i % self.size]) for i in indices[known].tolist()]
        super().update_priorities(torch.tensor(now), td_errors[known])


class NegativeIndicesCountFromTheEnd(Prioritised):
    def update_priorities(self, indices: Tensor, td_errors: Tensor) -> None:
        super().update_priorities(torch.where(indices < 0, indices + self.count, indices), td_errors)


def drawing(generator: Callable[[], np.random.Generator], method: str) -> Any:
    """A replay that takes another generator in `method`."""

    def draw(self: PlainReplay, *given: Any) -> Any:
        result = getattr(PlainReplay, method)(self, *given)
        self.generator = generator()
        return result

    return broken(PlainReplay, **{method: draw})


Unseeded = drawing(np.random.default_rng, "__init__")
OwnSeed = drawing(lambda: np.random.default_rng(0), "__init__")
GlobalRandomness = drawing(lambda: np.random.default_rng(int(torch.randint(1 << 30, ()))), "choose")


def loading(change: Callable[[PlainReplay], State]) -> Any:
    """A replay that loads something else than it was given."""
    return broken(
        PlainReplay, load_state_dict=lambda self, state: PlainReplay.load_state_dict(self, {**state, **change(self)})
    )


GeneratorNotSaved = loading(lambda replay: {"generator": generator_state(replay.generator)})


class ForgetsOnlySome(PlainReplay):
    """Keeps what it had if the loaded state is empty."""

    def load_state_dict(self, state: State) -> None:
        if state["count"]:
            super().load_state_dict(state)


StateOfObjects = after(PlainReplay, "state_dict", lambda state: {**state, "numpy": object()})


class SavingClosesEpisodes(PlainReplay):
    def state_dict(self) -> State:
        for env in range(self.context.num_envs):
            self.break_lane(env)
        return super().state_dict()


name_all(globals())
RIGHT = [PlainReplay, Prioritised, FavoursTheNew, AvoidsSurprise, SavesItsSmallState]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (OptionsWithoutDecorator, "check_options_are_declared", "decorate it with @options_class"),
    (OptionsThatChange, "check_options_are_declared", "capacity can be set"),
    (OptionsWithoutEffect, "check_options_are_declared", "capacity"),
    (LaxOptions, "check_bad_options_are_refused", "accepts True as a number"),
    (ShortActions, "check_batch_shapes", "batch.actions"),
    (FloatImages, "check_batch_shapes", "batch.obs"),
    (EmptyIsNoError, "check_sampling_from_nothing", "expected a ValueError"),
    (LosesLastObservation, "check_observations", "end of an episode"),
    (ClippedRewards, "check_actions_and_rewards", "expected the reward"),
    (NextAction, "check_actions_and_rewards", "expected the action"),
    (DiscountOfOneStep, "check_discounts", "0.729, got 0.9"),
    (TruncationHidesTermination, "check_terminated_steps", "expected 0"),
    (TruncationEnds, "check_truncated_steps", "got 0"),
    (UndiscountedSum, "check_n_step_returns", "rewards with gamma 0.9"),
    (Impatient, "check_incomplete_steps_wait", "before its"),
    (CrossesEpisodes, "check_episodes_stay_apart", "different episodes or lanes"),
    (DeafToBrokenLanes, "check_broken_lanes", "where the episode ended"),
    (BreakingTerminates, "check_broken_lanes", "before a broken lane"),
    (RingsOutOfStep, "check_wrap_around", "is not the observation"),
    (KeepsReferences, "check_storage_is_its_own", "keep a copy"),
    (LendsItsMemory, "check_storage_is_its_own", "batches of copies"),
    (GrowingBytes, "check_memory", "and became"),
    (WideStorage, "check_memory", "expected"),
    (ForgetsTheOldest, "check_everything_is_sampled", "never sampled"),
    (CountsTheIncomplete, "check_length", "different transitions are sampled"),
    (CountsEverything, "check_wrap_around", "above the capacity"),
    (NeverHasEnough, "check_has_enough", "is full with 58 transitions, and has_enough(60)"),
    (AlwaysHasEnough, "check_has_enough", "still fills, and has_enough(60) is True"),
    (DoubtsItsLength, "check_has_enough", "it holds 0 transitions, and has_enough(0) is False"),
    (FullIsFull, "check_new_replaces_old", "only the first"),
    (UnscaledWeights, "check_weights", "expected (0, 1]"),
    (SmallWeights, "check_weights", "divide by the largest"),
    (ZeroStaysZero, "check_zero_errors", "never sampled again"),
    (IndicesArePlaces, "check_indices", "changed when a few more were added"),
    (IndicesOfTheBatch, "check_indices", "two different indices"),
    (FavoursTheNewUnsaid, "check_even_sampling", "of 10 tenths"),
    (NeverWeighs, "check_priorities", "Expected weights of 1"),
    (LosesItsGenerator, "check_small_state", "became another"),
    (SavesAllAsSmall, "check_small_state", "of each transition belongs in state_dict"),
    (BelievesStaleIndices, "check_stale_indices", "overwritten transitions"),
    (NegativeIndicesCountFromTheEnd, "check_unknown_indices", "unknown index -1"),
    (Unseeded, "check_same_seed", "equal seeds"),
    (OwnSeed, "check_other_seed", "two seeds"),
    (GlobalRandomness, "check_global_randomness", "state of torch"),
    (GeneratorNotSaved, "check_state_round_trip", "loaded into another"),
    (ForgetsOnlySome, "check_state_round_trip", "saved after 0 steps"),
    (StateOfObjects, "check_state_round_trip", "no checkpoint can hold"),
    (SavingClosesEpisodes, "check_saving_changes_nothing", "after state_dict() was called"),
]


def test_options_reach_the_part() -> None:
    check_replay(PlainReplay, capacity=60)
    with pytest.raises(ConfigError, match=r"unknown option PlainReplay\.capcity"):
        check_replay(PlainReplay, capcity=60)


def test_a_replay_that_cannot_be_small_is_told_so() -> None:
    with pytest.raises(AssertionError, match="the capacity is 100000: give the check options"):
        check_replay(PlainReplay, capacity=100_000)
