"""Goals: what a meta-controller can ask for, and the critic that says when it is reached.

* `Goals`: the interface. A class of your own is chosen as "module:Class".
* `StateGoals` ("states"): to be in a certain state; all of them, or some landmarks.
* `ActionGoals` ("actions"): to take a certain action: the flat agent as a special case.
* `make_goals`: a table of options -> goals.
"""

from __future__ import annotations

import abc
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cartpole_dqn import Context, UserError, check_options, option, options_class

Obs = NDArray[Any]
Mask = NDArray[np.bool_]


class Goals(abc.ABC):
    """G goals. Built as `Class(options, context)`; keeps no state, so that agents and policies may share one."""

    Options: ClassVar[type]
    names: Sequence[str]
    """What each goal is called in displays, [G]."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def encodings(self) -> NDArray[np.float32]:
        """[G, K] float32: what a controller's network reads of each goal; by default one-hot, K = G."""
        return np.eye(len(self), dtype=np.float32)

    @abc.abstractmethod
    def reached(self, obs: Obs, actions: NDArray[np.int64], next_obs: Obs) -> Mask:
        """Observations [N, ...], the actions [N] taken there and what followed [N, ...] -> [N, G]: is each reached?"""

    def available(self, obs: Obs, mask: Mask) -> Mask:
        """Observations [N, ...] and allowed actions [N, A] -> [N, G]: which goals may be set; one or more in each."""
        return np.ones((len(obs), len(self)), dtype=np.bool_)


@options_class
class StateGoalsOptions:
    """Options of `StateGoals`."""

    states: list[int] = option(
        default_factory=list, effect="the states that are goals, counted from 0; empty is every state", typical="[]"
    )
    names: list[str] = option(
        default_factory=list, effect='what displays call them; empty is "s1", "s2", ... counted from 1', typical="[]"
    )
    current: bool = option(
        default=False, effect="whether the state that the agent is in may be set as a goal: to leave it and come back"
    )


class StateGoals(Goals):
    """To be in one of some states, which observations tell as a vector that is 1 at the state and 0 elsewhere.

    Gymnasium's discrete observations become such vectors in a run.

    Raises:
        UserError: observations are no such vectors, or `states` and `names` do not fit them.
    """

    Options = StateGoalsOptions

    def __init__(self, options: StateGoalsOptions, context: Context) -> None:
        space = context.observation_space
        if len(space.shape) != 1 or space.low.min() < 0 or space.high.max() > 1:
            raise UserError(
                f"goals 'states' needs observations that are 1 at the state and 0 elsewhere, and got "
                f"{' '.join(str(space).split())}. Write "
                f'goals for it, and choose them as agent.goals.name="module:Class".'
            )
        count = space.shape[0]
        states = options.states or list(range(count))
        if len(set(states)) != len(states) or not all(0 <= state < count for state in states):
            raise UserError(f"goals 'states': expected different states from 0 to {count - 1}, got {states}.")
        if options.names and len(options.names) != len(states):
            raise UserError(f"goals 'states': {len(options.names)} names do not fit {len(states)} goals.")
        self.names = options.names or [f"s{state + 1}" for state in states]
        # Row s says which goal the state s is; at most one.
        self._goal_of_state = np.arange(count)[:, None] == np.asarray(states)
        self._current = options.current

    def reached(self, obs: Obs, actions: NDArray[np.int64], next_obs: Obs) -> Mask:
        return self._here(next_obs)

    def available(self, obs: Obs, mask: Mask) -> Mask:
        """See `Goals`: every goal but the state itself, unless it is the only one."""
        if self._current:
            return np.ones((len(obs), len(self)), dtype=np.bool_)
        elsewhere = ~self._here(obs)
        return elsewhere | ~elsewhere.any(axis=1, keepdims=True)

    def _here(self, obs: Obs) -> Mask:
        current: Mask = self._goal_of_state[obs.argmax(axis=1)]
        return current


@options_class
class ActionGoalsOptions:
    """`ActionGoals` has no options."""


class ActionGoals(Goals):
    """To take a certain action, once. The meta-controller then learns what a flat agent learns."""

    Options = ActionGoalsOptions

    def __init__(self, options: ActionGoalsOptions, context: Context) -> None:
        self.names = [f"action {action}" for action in range(int(context.action_space.n))]

    def reached(self, obs: Obs, actions: NDArray[np.int64], next_obs: Obs) -> Mask:
        taken: Mask = actions[:, None] == np.arange(len(self))
        return taken

    def available(self, obs: Obs, mask: Mask) -> Mask:
        return mask


_BUILT_IN: dict[str, type[Goals]] = {"states": StateGoals, "actions": ActionGoals}


def make_goals(table: Mapping[str, Any], context: Context) -> Goals:
    """Return the goals that `table["name"]` chooses ("states" where it is left out), built with the other keys.

    Raises:
        UserError: there is no such class, it is no `Goals`, or its options do not fit.
    """
    name = table.get("name", "states")
    if not isinstance(name, str):
        raise UserError(f"agent.goals.name: expected {_choices()}, got {name!r}.")
    cls = _BUILT_IN.get(name) or _imported(name)
    given = {key: value for key, value in table.items() if key != "name"}
    options: Any = check_options(cls.Options, given, where="agent.goals")
    make: Any = cls
    goals: Goals = make(options, context)
    if len(goals) < 1:
        raise UserError(f"goals '{name}' has no goal: an agent needs one or more.")
    return goals


def _imported(name: str) -> type[Goals]:
    if ":" not in name:
        raise UserError(f"unknown goals '{name}': expected {_choices()}.")
    try:
        cls = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"goals '{name}' cannot be imported: {error}.") from error
    if not isinstance(cls, type) or not issubclass(cls, Goals) or not isinstance(getattr(cls, "Options", 0), type):
        raise UserError(f"goals '{name}' is no subclass of cartpole_dqn_hdqn.goals.Goals with an attribute Options.")
    return cls


def _choices() -> str:
    return f'{", ".join(repr(name) for name in _BUILT_IN)} or "module:Class"'
