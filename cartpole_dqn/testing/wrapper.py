"""The contract of a wrapper: a Gymnasium environment whose observations are what its space says.

* `check_wrapper`: every check of the kind.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import AddRenderObservation

from cartpole_dqn.testing._contract import Contract, name_of
from cartpole_dqn.testing._state import difference, global_randomness_untouched

Env = gymnasium.Env[Any, Any]
BUDGET = 5000
"""Steps in which random actions must reach an episode's end."""


class WrapperSubject:
    """A factory of wrapped environments, or a wrapper class with the values of its arguments."""

    def __init__(self, make: Callable[..., Env], /, **options: Any) -> None:
        self.name = name_of(make)
        self._make, self._options = make, options

    def make(self) -> Env:
        """Return a new wrapped environment.

        A class is put around CartPole as pictures; where it refuses those, around CartPole's four numbers.
        """
        make = self._make
        if not (isinstance(make, type) and issubclass(make, gymnasium.Wrapper)):
            return cast(Env, make(**self._options))
        try:
            return cast(Env, make(AddRenderObservation(_cartpole(), render_only=True), **self._options))
        except (TypeError, ValueError):
            return cast(Env, make(_cartpole(), **self._options))


WRAPPER: Contract[WrapperSubject] = Contract("wrapper", WrapperSubject)


def check_wrapper(make: Callable[..., Env], /, **options: object) -> None:
    """Hold a wrapper to its contract.

    Args:
        make: returns a new wrapped environment at each call, a deterministic one made by `gymnasium.make`. Or a wrapper
            class: it is put around CartPole as pictures, and where it refuses those, around CartPole's four numbers.
        **options: arguments of `make`, besides the environment.
    """
    WRAPPER.hold(make, **options)


class Moment(NamedTuple):
    """What a step, or a reset, gave."""

    obs: Any
    reward: float
    terminated: bool
    truncated: bool


@WRAPPER.check
def check_observations(part: WrapperSubject) -> None:
    """Every observation is in the space, with its dtype: after resets, at steps, and at an episode's end."""
    env = part.make()
    for moment in itertools.chain(*(_episode(env, seed) for seed in range(3))):
        _assert_in_space(moment.obs, env.observation_space)
    env.close()


@WRAPPER.check
def check_steps(part: WrapperSubject) -> None:
    """`reset` gives (observation, info), `step` (observation, finite reward, terminated, truncated, info)."""
    env = part.make()
    reset: Any = env.reset(seed=0)
    fits = isinstance(reset, tuple) and len(reset) == 2 and isinstance(reset[1], dict)
    assert fits, f"reset gave {_types(reset)}: expected an observation and a dict."
    env.action_space.seed(0)
    for _ in range(BUDGET):
        step: Any = env.step(env.action_space.sample())
        fits = isinstance(step, tuple) and len(step) == 5 and isinstance(step[4], dict)
        assert fits, f"step gave {_types(step)}: expected an observation, a number, two booleans and a dict."
        assert np.isfinite(float(step[1])), f"step gave the reward {step[1]!r}: expected a finite number."
        for flag in step[2:4]:
            assert isinstance(flag, bool | np.bool_), f"step gave {flag!r}: expected a boolean."
        if step[2] or step[3]:
            env.close()
            return
    raise AssertionError(f"no episode ended in {BUDGET} random steps: give the environment a TimeLimit.")


@WRAPPER.check
def check_observations_are_their_own(part: WrapperSubject) -> None:
    """An observation stays as it was when later ones come, and may be overwritten without harm."""
    env, spoilt = part.make(), part.make()
    kept, copies = [], []
    for moment, victim in zip(_episode(env, 0), _episode(spoilt, 0), strict=True):
        place = difference(moment.obs, victim.obs)
        assert not place, "an observation differs because an earlier one was overwritten: give out copies."
        kept.append(moment.obs)
        copies.append(copy.deepcopy(moment.obs))
        _spoil(victim.obs)
    place = difference(kept, copies, "observations")
    assert not place, f"an observation changed when later ones came: {place}. Give out a new array each time."
    env.close()
    spoilt.close()


@WRAPPER.check
def check_determinism(part: WrapperSubject) -> None:
    """Equal seeds and actions give equal episodes, in two environments stepped in turn."""
    one, other = part.make(), part.make()
    for seed in (0, 1):
        for a, b in zip(_episode(one, seed), _episode(other, seed), strict=True):
            place = difference(a, b)
            assert not place, f"two environments with equal seeds and actions differ: {place}."
    one.close()
    other.close()


@WRAPPER.check
def check_reset_forgets(part: WrapperSubject) -> None:
    """After `reset(seed)` an episode is the same, whatever the last one was and wherever it was left."""
    fresh, used = part.make(), part.make()
    expected = list(_episode(fresh, 0))
    for left in (1, 3, BUDGET):
        for _ in itertools.islice(_episode(used, 7), left):
            pass
        place = difference(expected, list(_episode(used, 0)), "episode")
        assert not place, f"an episode after another one differs from the first of a new environment: {place}."
    fresh.close()
    used.close()


@WRAPPER.check
def check_spec(part: WrapperSubject) -> None:
    """`env.spec` goes through JSON and `gymnasium.make` and comes back as the same environment."""
    env = part.make()
    spec = env.spec
    assert spec is not None, (
        "env.spec is None, so that nothing tells how to make the environment again: wrap one from gymnasium.make, and "
        "let the wrapper be a gymnasium.utils.RecordConstructorArgs."
    )
    text = spec.to_json()
    json.loads(text)
    again = gymnasium.make(EnvSpec.from_json(text))
    assert again.observation_space == env.observation_space, (
        f"the environment made from the spec observes {again.observation_space}, not {env.observation_space}."
    )
    place = difference(list(_episode(env, 0)), list(_episode(again, 0)), "episode")
    assert not place, f"the environment made from the spec plays another episode: {place}."
    env.close()
    again.close()


@WRAPPER.check
def check_global_randomness(part: WrapperSubject) -> None:
    """Making, resetting and stepping leave the global generators alone."""
    with global_randomness_untouched("the wrapper"):
        env = part.make()
        for _ in _episode(env, 0):
            pass
        env.close()


def _episode(env: Env, seed: int) -> Iterator[Moment]:
    """Play random actions to an episode's end, which must come."""
    obs, _ = env.reset(seed=seed)
    yield Moment(obs, 0.0, False, False)
    env.action_space.seed(seed)
    for _ in range(BUDGET):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        yield Moment(obs, float(reward), bool(terminated), bool(truncated))
        if terminated or truncated:
            return
    raise AssertionError(f"no episode ended in {BUDGET} random steps: give the environment a TimeLimit.")


def _assert_in_space(obs: Any, space: spaces.Space[Any]) -> None:
    came = f"{obs.dtype} {list(obs.shape)}" if isinstance(obs, np.ndarray) else type(obs).__name__
    if isinstance(space, spaces.Box):
        said = f"{space.dtype} {list(space.shape)}"
        assert came == said, f"an observation is {came}: the space says {said}."
        assert obs in space, (
            f"an observation goes from {obs.min()} to {obs.max()}: outside the space's bounds, {space.low.min()} to "
            f"{space.high.max()}."
        )
    assert obs in space, f"an observation ({came}) is not in {space}."


def _spoil(obs: Any) -> None:
    if isinstance(obs, np.ndarray):
        if obs.flags.writeable:
            obs[...] = 0
    elif isinstance(obs, dict | tuple):
        for part in obs.values() if isinstance(obs, dict) else obs:
            _spoil(part)


def _types(values: Any) -> str:
    return f"({', '.join(type(value).__name__ for value in values)})" if isinstance(values, tuple) else repr(values)


def _cartpole() -> Env:
    return gymnasium.make("CartPole-v1", render_mode="rgb_array")
