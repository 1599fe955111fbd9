"""`TabularAgent`: the agent `acme`; `TabularOptions`: its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from cartpole_dqn import (
    Agent,
    Context,
    Exploration,
    Part,
    Policy,
    State,
    Transition,
    generator_state,
    option,
    options_class,
    part,
    restore_generator,
)
from numpy.typing import NDArray

Obs = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Table:
    """The values [A] of every observation met so far, told apart to a number of decimals."""

    def __init__(self, actions: int, decimals: int) -> None:
        self.actions, self.decimals = actions, decimals
        self.rows: dict[str, NDArray[np.float32]] = {}

    def key(self, obs: Obs) -> str:
        return " ".join(f"{number:.{self.decimals}f}" for number in obs.ravel())

    def row(self, obs: Obs) -> NDArray[np.float32]:
        return self.rows.get(self.key(obs), np.zeros(self.actions, np.float32))

    def move(self, obs: Obs, action: int, by: float) -> None:
        row = self.rows.setdefault(self.key(obs), np.zeros(self.actions, np.float32))
        row[action] += by

    def values(self, obs: Obs) -> NDArray[np.float32]:
        return np.stack([self.row(lane_obs) for lane_obs in obs])

    def state_dict(self) -> State:
        return {"rows": dict(self.rows)}

    def load_state_dict(self, state: State) -> None:
        self.rows = {key: np.array(row, np.float32) for key, row in state["rows"].items()}


class TablePolicy(Policy):
    def __init__(self, table: Table) -> None:
        self._table = Table(table.actions, table.decimals)
        self._table.rows = {key: row.copy() for key, row in table.rows.items()}

    def act(self, obs: Obs, mask: Mask | None = None) -> NDArray[np.int64]:
        values = self.q_values(obs)
        best: NDArray[np.int64] = (values if mask is None else np.where(mask, values, -np.inf)).argmax(1)
        return best

    def q_values(self, obs: Obs) -> NDArray[np.float32]:
        return self._table.values(obs)

    def state_dict(self) -> State:
        return self._table.state_dict()

    def load_state_dict(self, state: State) -> None:
        self._table.load_state_dict(state)


@options_class
class TabularOptions:
    gamma: float = option(default=0.99, ge=0, le=1, effect="discount per step", typical="0.9 to 0.999")
    rate: float = option(default=0.1, gt=0, le=1, effect="share of the error that is learned at once", typical="0.1")
    decimals: int = option(default=1, ge=0, effect="decimals by which observations are told apart", typical="0 to 2")
    exploration: Part = part("exploration", "linear")


class TabularAgent(Agent):
    """Q-learning with a table (Watkins 1989): r + gamma max Q(s', .) is what Q(s, a) moves towards."""

    Options = TabularOptions

    def __init__(self, options: TabularOptions, context: Context) -> None:
        self._options = options
        self._table = Table(int(context.action_space.n), options.decimals)
        self._exploration: Exploration = context.build("exploration", options.exploration)
        self._generator = context.seeds.torch("explore")
        self._steps = 0
        self._transitions: list[Transition] = []

    def act(self, obs: Obs, mask: Mask | None = None) -> NDArray[np.int64]:
        values = torch.from_numpy(self._table.values(obs))
        allowed = torch.ones(values.shape, dtype=torch.bool) if mask is None else torch.from_numpy(mask)
        masked = values.masked_fill(~allowed, -torch.inf)
        actions = self._exploration.select(lambda: masked, self._steps, self._generator, allowed)
        self._steps += len(obs)
        return actions.numpy()

    def observe(self, transitions: Sequence[Transition]) -> None:
        self._transitions = list(transitions)

    def learn(self) -> Mapping[str, float] | None:
        errors = []
        for t in self._transitions:
            ahead = 0.0 if t.terminated else float(self._table.row(t.next_obs).max())
            error = t.reward + self._options.gamma * ahead - float(self._table.row(t.obs)[t.action])
            self._table.move(t.obs, t.action, self._options.rate * error)
            errors.append(error)
        self._transitions = []
        return {"td_error": float(np.mean(errors))} if errors else None

    def policy(self) -> Policy:
        return TablePolicy(self._table)

    def status(self) -> Mapping[str, float | str]:
        epsilon = self._exploration.epsilon(self._steps)
        return {"observations": len(self._table.rows)} | ({} if epsilon is None else {"epsilon": epsilon})

    def state_dict(self) -> State:
        return {
            "table": self._table.state_dict(),
            "exploration": self._exploration.state_dict(),
            "generator": generator_state(self._generator),
            "steps": self._steps,
        }

    def load_state_dict(self, state: State) -> None:
        self._table.load_state_dict(state["table"])
        self._exploration.load_state_dict(state["exploration"])
        restore_generator(self._generator, state["generator"])
        self._steps, self._transitions = int(state["steps"]), []
