"""`Player`: what an actor runs: some lanes of the run, by the weights that the learner published last.

* `Greeting`: what an actor says of itself before it plays. `Answer`: what it sends.
* `portable`, `restored`: weights as Ray carries them without a copy: arrays in place of tensors, and back.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from cartpole_dqn import Fragment, Rollout, State
from cartpole_dqn_ray.versions import versions_here


class Greeting(NamedTuple):
    """What an actor says of itself before it plays."""

    node: str
    """The machine's name."""
    versions: dict[str, str]


class Answer(NamedTuple):
    """What an actor sends at once."""

    fragments: list[Fragment]
    seconds: float
    """That it took to play and pack them."""


class _Tensor(NamedTuple):
    """A tensor's numbers on their way."""

    array: np.ndarray[Any, Any]


class Player:
    """Plays consecutive lanes of a run. Everything is built in `open`, so that what fails can be told in words.

    Args:
        config: the run's complete configuration as TOML.
        lanes: which of its lanes.
        incarnation: see `Rollout`.
        epsilons: of each of these lanes.
        steps: that each lane makes for one answer.
        threads: torch's.
    """

    def __init__(
        self, config: str, lanes: Sequence[int], incarnation: int, epsilons: Sequence[float], steps: int, threads: int
    ) -> None:
        self._config = config
        self._lanes = lanes
        self._incarnation = incarnation
        self._epsilons = epsilons
        self._steps = steps
        self._threads = threads
        self._rollout: Rollout | None = None
        self._version = -1

    def open(self) -> Greeting:
        """Make environments and policy. Raises `UserError` where the configuration cannot be used here."""
        self._rollout = Rollout(self._config, self._lanes, incarnation=self._incarnation)
        torch.set_num_threads(self._threads)
        return Greeting(platform.node(), versions_here())

    def collect(self, weights: Sequence[Any], version: int) -> Answer:
        """Play on by the weights of `version`.

        Args:
            weights: a reference to them, in a list: Ray fetches what stands by itself for every call.
            version: the learner's updates when they were published.
        """
        assert self._rollout is not None
        began = time.perf_counter()
        if version != self._version:
            import ray

            self._rollout.load(restored(ray.get(weights[0])))
            self._version = version
        fragments = self._rollout.collect(self._steps, self._epsilons)
        return Answer(fragments, time.perf_counter() - began)


def portable(state: Any) -> Any:
    """Return a copy of a state for `ray.put`: tensors, wherever they are, as arrays of their own."""
    if isinstance(state, dict):
        return {key: portable(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [portable(value) for value in state]
    if isinstance(state, torch.Tensor):
        return _Tensor(state.detach().cpu().numpy().copy())
    return state


def restored(state: Any) -> State:
    """Return what `portable` was given; its tensors are copies, since what Ray hands out cannot be written to."""
    copies: State = _restored(state)
    return copies


def _restored(state: Any) -> Any:
    if isinstance(state, _Tensor):
        return torch.from_numpy(state.array.copy())
    if isinstance(state, dict):
        return {key: _restored(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_restored(value) for value in state]
    return state
