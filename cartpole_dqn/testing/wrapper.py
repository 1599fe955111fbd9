"""The contract of a wrapper: a Gymnasium environment whose observations fit its space."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import AddRenderObservation

from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._state import assert_in_space, assert_same, difference, global_randomness_untouched
from cartpole_dqn.wrappers.image import wrappers_of
from cartpole_dqn.wrappers.moments import TorchForm

Env = gymnasium.Env[Any, Any]
BUDGET = 5000
"""Steps within which an episode of random actions must end."""


@contextlib.contextmanager
def wrapped(part: Subject) -> Iterator[Env]:
    """A new wrapped environment, closed at the end."""
    with contextlib.closing(_make_env(part)) as env:
        yield env


def _make_env(part: Subject) -> Env:
    """Return an environment. A wrapper class wraps pictures of CartPole, or its numbers if it refuses."""
    make: Any = part.cls
    if not (isinstance(make, type) and issubclass(make, gymnasium.Wrapper)):
        return cast(Env, make(**part.table))
    env = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    refusals: dict[str, list[str]] = {}
    for what, wrappable in (("pictures", AddRenderObservation(env, render_only=True)), ("numbers", env)):
        try:
            return make(wrappable, **part.table)
        except (TypeError, ValueError) as error:
            refusals.setdefault(str(error), []).append(what)
    raise AssertionError(" ".join(f"It refuses CartPole's {' and '.join(of)}: {why}" for why, of in refusals.items()))


WRAPPER = Contract("wrapper", wrapped)


def check_wrapper(make: Callable[..., Env], /, **options: object) -> None:
    """Run every check of a wrapper.

    Args:
        make: returns a new wrapped environment at each call, a deterministic one made by `gymnasium.make`. Or a wrapper
            class: the kit wraps CartPole as pictures, or as four numbers if the class refuses pictures.
        **options: arguments of `make`, besides the environment.
    """
    WRAPPER.hold(make, **options)


@WRAPPER.check
def check_observations(part: Subject) -> None:
    """Every observation is in the space and has its dtype: after resets, steps, and at an episode's end."""
    with part.course() as env:
        for obs, *_ in itertools.chain(*(_episode(env, seed) for seed in range(3))):
            assert_in_space(obs, env.observation_space, "an observation")


@WRAPPER.check
def check_steps(part: Subject) -> None:
    """`reset` returns (observation, info), `step` (observation, finite reward, terminated, truncated, info)."""
    with part.course() as env:
        results = _results(env, 0)
        reset = next(results)
        fits = isinstance(reset, tuple) and len(reset) == 2 and isinstance(reset[1], dict)
        assert fits, f"reset gave {_types(reset)}: expected an observation and a dict."
        for step in results:
            fits = isinstance(step, tuple) and len(step) == 5 and isinstance(step[4], dict)
            assert fits, f"step gave {_types(step)}: expected an observation, a number, two booleans and a dict."
            assert np.isfinite(float(step[1])), f"step gave the reward {step[1]!r}: expected a finite number."
            for flag in step[2:4]:
                assert isinstance(flag, bool | np.bool_), f"step gave {flag!r}: expected a boolean."


@WRAPPER.check
def check_observations_are_their_own(part: Subject) -> None:
    """Later observations do not change an observation, and the caller may overwrite it."""
    with part.course() as env, part.course() as spoilt:
        observations, copies = [], []
        for (obs, *_), (victim, *_) in zip(_episode(env, 0), _episode(spoilt, 0), strict=True):
            is_same = not difference(obs, victim)
            assert is_same, "an observation differs because an earlier one was overwritten: return copies."
            observations.append(obs)
            copies.append(copy.deepcopy(obs))
            _spoil(victim)
        problem = "an observation changed when later ones came"
        assert_same(observations, copies, problem, "observations", hint=" Return a new array each time.")


@WRAPPER.check
def check_determinism(part: Subject) -> None:
    """Equal seeds and actions give equal episodes, in two environments stepped in turn."""
    with part.course() as one, part.course() as other:
        for seed in (0, 1):
            for a, b in zip(_episode(one, seed), _episode(other, seed), strict=True):
                assert_same(a, b, "two environments with equal seeds and actions differ")


@WRAPPER.check
def check_reset_forgets(part: Subject) -> None:
    """`reset(seed)` gives the same episode after any other, finished or not."""
    with part.course() as fresh, part.course() as used:
        expected = list(_episode(fresh, 0))
        for length in (1, 3, BUDGET):
            for _ in itertools.islice(_episode(used, 7), length):
                pass
            problem = "an episode after another one differs from the first of a new environment"
            assert_same(expected, list(_episode(used, 0)), problem, "episode")


@WRAPPER.check
def check_spec(part: Subject) -> None:
    """`gymnasium.make` makes the same environment from `env.spec`, also after JSON."""
    with part.course() as env:
        spec = env.spec
        assert spec is not None, (
            "env.spec is None, so the environment cannot be made again: wrap one from gymnasium.make, and inherit from "
            "gymnasium.utils.RecordConstructorArgs."
        )
        text = spec.to_json()
        json.loads(text)
        with contextlib.closing(gymnasium.make(EnvSpec.from_json(text))) as again:
            assert again.observation_space == env.observation_space, (
                f"the environment made from the spec observes {again.observation_space}, not {env.observation_space}."
            )
            one, other = list(_episode(env, 0)), list(_episode(again, 0))
            assert_same(one, other, "the environment made from the spec plays another episode", "episode")


@WRAPPER.check
def check_as_torch(part: Subject) -> None:
    """If the wrapper has `as_torch`, that computes its observations: integers within 1, floats within 0.1 %."""
    with part.course() as env:
        if not any(hasattr(type(wrapper), "as_torch") for wrapper in wrappers_of(env)):
            return
        env.reset(seed=0)
        form = TorchForm(env)
        for obs, *_ in _episode(form.env, 0):
            tensors = {name: torch.from_numpy(value) for name, value in form.look().items()}
            computed = form.observation(tensors).numpy()
            assert_in_space(computed, env.observation_space, "what as_torch returns")
            tolerance = 1.0 if np.issubdtype(computed.dtype, np.integer) else 1e-3 * max(1.0, float(np.abs(obs).max()))
            apart = float(np.abs(computed.astype(np.float64) - obs).max(initial=0.0))
            assert apart <= tolerance, f"as_torch gives numbers up to {apart:g} from those of the observation."


@WRAPPER.check
def check_global_randomness(part: Subject) -> None:
    """The global generators do not change while environments are made, reset and stepped."""
    with global_randomness_untouched("the wrapper"), part.course() as env:
        for _ in _episode(env, 0):
            pass


def _episode(env: Env, seed: int) -> Iterator[tuple[Any, ...]]:
    """Play an episode; yield (observation,) of the reset, then observation, reward, terminated and truncated."""
    for *result, _ in _results(env, seed):
        yield tuple(result)


def _results(env: Env, seed: int) -> Iterator[Any]:
    """Play random actions until the episode ends; yield what `reset` and `step` return. Fail if it does not end."""
    yield env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(BUDGET):
        step = env.step(env.action_space.sample())
        yield step
        if step[2] or step[3]:
            return
    raise AssertionError(f"no episode ended in {BUDGET} random steps: give the environment a TimeLimit.")


def _spoil(obs: Any) -> None:
    if isinstance(obs, np.ndarray):
        if obs.flags.writeable:
            obs[...] = 0
    elif isinstance(obs, dict | tuple):
        for part in obs.values() if isinstance(obs, dict) else obs:
            _spoil(part)


def _types(values: Any) -> str:
    return f"({', '.join(type(value).__name__ for value in values)})" if isinstance(values, tuple) else repr(values)
