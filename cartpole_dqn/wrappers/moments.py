"""Observations computed by torch operations alone, for programs without Gymnasium and this package.

A wrapper that can be computed so has a method `as_torch(moments) -> Tensor`. It returns the wrapper's present
observation, and gets everything from `moments`: the observations inside the wrapper, now and some steps ago, and what
the wrapper reads from the environment. The wrappers of this package have the method, and any other wrapper may.

* `Moments`: what `as_torch` gets.
* `TorchForm`: a whole chain of wrappers as one function of torch tensors, and the inputs that it needs.
* `Given`: one of these inputs.

This module imports torch only when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation, FrameStackObservation, GrayscaleObservation
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Env = gymnasium.Env[Any, Any]
Wrapper = gymnasium.Wrapper[Any, Any, Any, Any]
Read = Callable[[], Any]


class Moments:
    """What a wrapper's `as_torch` computes from: the present and earlier observations of an episode.

    At the start of an episode, "`ago` steps earlier" may be before its first observation, and then means the first.

    >>> class Negative(gymnasium.ObservationWrapper):
    ...     def observation(self, observation):
    ...         return 255 - observation
    ...
    ...     def as_torch(self, moments):
    ...         return 255 - moments.observation()
    """

    def __init__(self, computation: _Pass, wrapper: Wrapper, ago: int) -> None:
        self._pass = computation
        self._wrapper = wrapper
        self._ago = ago

    def observation(self, ago: int = 0) -> Tensor:
        """Return what the wrapped environment observes now, or observed `ago` steps earlier."""
        return self._pass.inside(self._wrapper, self._ago + ago)

    def given(self, name: str, read: Read, ago: int = 0) -> Tensor:
        """Return another value that the wrapper reads from the environment: now, or `ago` steps earlier.

        Args:
            name: a name for the value, such as "place".
            read: returns the present value: a number, or an array of constant shape and dtype. Called while playing.
            ago: steps before now.
        """
        return self._pass.given(self._wrapper, name, read, self._ago + ago)


@dataclass
class Given:
    """An input of a `TorchForm`: what the environment shows, now and some steps ago.

    Its tensor is [len(ago), ...]: the value at each number of steps `ago`.
    """

    name: str
    read: Read
    """Returns the present value."""
    source: str
    """The name of the class that reads it."""
    ago: list[int] = field(default_factory=list)
    """Steps ago, rising. Before an episode's first step, its first value."""

    def value(self) -> NDArray[Any]:
        """Return a copy of the present value."""
        return np.array(self.read())


class TorchForm:
    """The observations of a chain of wrappers, as a function of what the environment shows.

    The innermost inputs are what `RenderObservation` draws ("frame"), what locators find ("place"), or the
    environment's own observation ("observation"). Where a wrapper has no `as_torch`, or its `as_torch` raises
    `NotImplementedError`, the wrapper's observation is the input and `stops` says why.

    Args:
        env: wrapped, and reset at least once. Play with the attribute `env` from then on.

    >>> env = gymnasium.wrappers.FrameStackObservation(gymnasium.make("CartPole-v1"), 3)
    >>> _ = env.reset(seed=1)
    >>> [(given.name, given.ago) for given in TorchForm(env).inputs]
    [('observation', [0, 1, 2])]
    """

    def __init__(self, env: Env) -> None:
        self._outside: Wrapper = gymnasium.Wrapper(env)
        self._inputs: dict[tuple[Wrapper, str], Given] = {}
        self.stops: dict[str, str] = {}
        """Name of a wrapper that was not expressed -> the reason."""
        _Pass(self, None).inside(self._outside, 0)
        self.begin_episode()

    @property
    def env(self) -> Env:
        """The environment to play with. It keeps the observations of wrappers that are not expressed."""
        return self._outside.env

    @property
    def inputs(self) -> list[Given]:
        """What `observation` needs."""
        return list(self._inputs.values())

    def observation(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the observation; `tensors` holds the tensor of each input by its name. Can be traced."""
        return _Pass(self, tensors).inside(self._outside, 0)

    def begin_episode(self) -> None:
        """Call this after each reset of `env`, before `look`."""
        self._past: dict[str, list[NDArray[Any]]] = {given.name: [] for given in self.inputs}

    def look(self) -> dict[str, NDArray[Any]]:
        """Call this once after each reset and step of `env`: return the present inputs, [len(ago), ...] each."""
        arrays = {}
        for given in self.inputs:
            past = self._past[given.name]
            past.insert(0, given.value())
            del past[max(given.ago) + 1 :]
            arrays[given.name] = np.stack([past[min(ago, len(past) - 1)] for ago in given.ago])
        return arrays


class _Tap(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Keeps the last observation of a wrapper that is not expressed."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        space = env.observation_space
        self.last: Any = np.zeros(space.shape, space.dtype) if isinstance(space, spaces.Box) else space.sample()

    def observation(self, observation: Any) -> Any:
        self.last = observation
        return observation


class _Pass:
    """One computation of a form. Without tensors it finds out which inputs are needed."""

    def __init__(self, form: TorchForm, tensors: Mapping[str, Tensor] | None) -> None:
        self._form = form
        self._tensors = tensors
        self._done: dict[tuple[Env, int], Tensor] = {}

    def inside(self, wrapper: Wrapper, ago: int) -> Tensor:
        """Return the observation of the environment inside `wrapper`."""
        key = (wrapper.env, ago)
        if key not in self._done:
            self._done[key] = self._compute(wrapper, ago)
        return self._done[key]

    def _compute(self, wrapper: Wrapper, ago: int) -> Tensor:
        env = wrapper.env
        if isinstance(env, gymnasium.Wrapper) and not isinstance(env, _Tap):
            as_torch = getattr(type(env), "as_torch", None) or _OF_GYMNASIUM.get(type(env))
            if as_torch is None and _passes_on(env):
                return self.inside(env, ago)
            try:
                if as_torch is None:
                    raise NotImplementedError("it has no method as_torch")
                tensor: Tensor = as_torch(env, Moments(self, env, ago))
                return tensor
            except NotImplementedError as reason:
                self._form.stops[type(env).__name__] = str(reason)
        if not isinstance(env, _Tap):
            wrapper.env = env = _Tap(env)
        tap = env
        return self.given(tap, "observation", lambda: tap.last, ago)

    def given(self, wrapper: Wrapper, name: str, read: Read, ago: int) -> Tensor:
        inputs = self._form._inputs
        if (wrapper, name) not in inputs:
            namesakes = sum(given.name.startswith(name) for given in inputs.values())
            source = type(wrapper.env if isinstance(wrapper, _Tap) else wrapper).__name__
            inputs[wrapper, name] = Given(f"{name}_{namesakes + 1}" if namesakes else name, read, source)
        given = inputs[wrapper, name]
        if self._tensors is not None:
            return self._tensors[given.name][given.ago.index(ago)]
        import torch

        given.ago = sorted({*given.ago, ago})
        return torch.from_numpy(given.value())


def _passes_on(wrapper: Wrapper) -> bool:
    """Whether observations go through unchanged: the wrapper is about rewards, actions or limits."""
    cls = type(wrapper)
    if isinstance(wrapper, gymnasium.RewardWrapper | gymnasium.ActionWrapper):
        return True
    untouched = cls.reset is gymnasium.Wrapper.reset and cls.step is gymnasium.Wrapper.step
    return untouched or cls.__module__ == "gymnasium.wrappers.common"


def _stack(wrapper: Any, moments: Moments) -> Tensor:
    import torch

    if wrapper.padding_type != "reset":
        raise NotImplementedError(f"padding_type {wrapper.padding_type!r} fills in what was never observed")
    return torch.stack([moments.observation(ago) for ago in reversed(range(wrapper.stack_size))])


def _grey(wrapper: Any, moments: Moments) -> Tensor:
    import torch

    red, green, blue = moments.observation().double().unbind(-1)
    grey = ((red * 0.2125 + green * 0.7154) + blue * 0.0721).to(torch.uint8)
    return grey.unsqueeze(-1) if wrapper.keep_dim else grey


def _flat(wrapper: Any, moments: Moments) -> Tensor:
    if not isinstance(wrapper.env.observation_space, spaces.Box):
        raise NotImplementedError(f"it flattens {wrapper.env.observation_space}")
    return moments.observation().reshape(-1)


_OF_GYMNASIUM: dict[type, Callable[[Any, Moments], Tensor]] = {
    FrameStackObservation: _stack,
    GrayscaleObservation: _grey,
    FlattenObservation: _flat,
}
"""Gymnasium's wrappers, which have no `as_torch`."""
