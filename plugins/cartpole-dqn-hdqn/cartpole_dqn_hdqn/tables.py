"""Values without networks.

* `StepSizes`: the options of a table's step sizes.
* `Table`: the values of every choice at every observation met so far.
* `TableValues`: a hierarchy of tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cartpole_dqn import State, option, options_class
from cartpole_dqn_hdqn.goals import Obs
from cartpole_dqn_hdqn.values import Values


@options_class
class StepSizes:
    """How far a value moves towards its target: visits^-decay, and `rate` at least."""

    rate: float = option(
        default=0.02, gt=0, le=1, effect="share of the error that is learned at least", typical="0.01 to 0.1"
    )
    decay: float = option(
        default=0.7,
        ge=0,
        le=1,
        effect="the first visits to a value move it by visits^-decay: 1 averages them, 0 keeps the last target",
        typical="0.6 to 0.9",
    )


class Table:
    """The values [A] of every observation met so far, told apart by their bytes; 0 where nothing was learned.

    Args:
        choices: A.
        sizes: how far values move.
    """

    def __init__(self, choices: int, sizes: StepSizes) -> None:
        self._choices = choices
        self._sizes = sizes
        self._zeros = [0.0] * choices
        self._places: dict[bytes, int] = {}
        self._obs: list[Obs] = []
        self._values: list[list[float]] = []
        self._visits: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._places)

    def row(self, obs: Obs) -> Sequence[float]:
        """An observation -> its values [A]; not to be changed."""
        place = self._places.get(obs.tobytes())
        return self._zeros if place is None else self._values[place]

    def rows(self, obs: Obs) -> Tensor:
        """[N, ...] -> [N, A] float32."""
        return torch.tensor([self.row(one) for one in obs])

    def learn(self, obs: Obs, choice: int, target: float) -> float:
        """Move the value of `choice` at `obs` towards `target` and return the error that it had."""
        place = self._places.setdefault(obs.tobytes(), len(self._obs))
        if place == len(self._obs):
            self._obs.append(obs.copy())
            self._values.append([0.0] * self._choices)
            self._visits.append([0] * self._choices)
        self._visits[place][choice] += 1
        size = max(self._sizes.rate, self._visits[place][choice] ** -self._sizes.decay)
        error = target - self._values[place][choice]
        self._values[place][choice] += size * error
        return error

    def copy(self) -> Table:
        """Return a copy that shares nothing."""
        twin = Table(self._choices, self._sizes)
        twin.load_state_dict(self.state_dict())
        return twin

    def state_dict(self) -> State:
        """Arrays over the observations met: themselves [K, ...], values [K, A] float64, visits [K, A] int64."""
        shape = (len(self._obs), self._choices)
        return {
            "obs": np.stack(self._obs) if self._obs else np.zeros(0, np.float32),
            "values": np.array(self._values, np.float64).reshape(shape),
            "visits": np.array(self._visits, np.int64).reshape(shape),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned. Raises `ValueError` where it is of other choices or not finite."""
        obs, values, visits = np.asarray(state["obs"]), np.asarray(state["values"]), np.asarray(state["visits"])
        if values.shape != (len(obs), self._choices) or visits.shape != values.shape:
            raise ValueError(
                f"the saved table has {list(values.shape)} values and {list(visits.shape)} visits for {len(obs)} "
                f"observations, and {self._choices} choices were expected at each."
            )
        if not np.isfinite(values).all():
            raise ValueError("the saved table has values that are not finite.")
        self._obs = [one.copy() for one in obs]
        self._values, self._visits = values.tolist(), visits.tolist()
        self._places = {one.tobytes(): place for place, one in enumerate(self._obs)}


class TableValues(Values):
    """A table for choosing goals, and one for each goal for choosing actions."""

    def __init__(self, meta: Table, controllers: Sequence[Table]) -> None:
        self.meta = meta
        self.controllers = list(controllers)

    def of_goals(self, obs: Obs) -> Tensor:
        return self.meta.rows(obs)

    def of_actions(self, obs: Obs, goals: NDArray[np.int64]) -> Tensor:
        rows = [self.controllers[goal].row(one) for one, goal in zip(obs, goals.tolist(), strict=True)]
        return torch.tensor(rows)

    def copy(self) -> TableValues:
        return TableValues(self.meta.copy(), [table.copy() for table in self.controllers])

    def state_dict(self) -> State:
        return {"meta": self.meta.state_dict(), "controllers": [table.state_dict() for table in self.controllers]}

    def load_state_dict(self, state: State) -> None:
        self.meta.load_state_dict(state["meta"])
        for table, its_state in zip(self.controllers, state["controllers"], strict=True):
            table.load_state_dict(its_state)
