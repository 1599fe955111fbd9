"""The contracts that every part keeps, built in or from a plugin.

Data: `Transition` (what a lane lived through), `Batch` (what a network learns from).

Parts, all built as `Class(options, context)`: `ReplayBuffer`, `Network`, `TargetUpdate`, `Exploration`, `Optimiser`,
`Agent` with its `Policy`. `Context` is what a part is told of its surroundings, and how it builds parts of its own.
Observers and what they hear are in `events`.

`B` is the batch, `N` the number of lanes (environments side by side), `A` the number of actions.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.errors import UnsuitableEnvError, UserError

Obs = NDArray[Any]
State = dict[str, Any]
"""A `state_dict`: nested dicts and lists of numbers, strings, None, NumPy arrays and tensors."""


# Data -----------------------------------------------------------------------------------------------------------------


class Transition(NamedTuple):
    """One step of one lane. A lane goes on until `terminated` or `truncated`; a truncated step bootstraps."""

    obs: Obs
    action: int
    reward: float
    next_obs: Obs
    terminated: bool
    truncated: bool
    env: int = 0
    next_mask: NDArray[np.bool_] | None = None
    """[A], True where an action is allowed at `next_obs`; None where the environments do not tell."""
    priority: float | None = None
    """The absolute TD error that whoever made the step found (Horgan et al. 2018); None where nobody did."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one update learns from; all tensors on the same device."""

    obs: Tensor
    """[B, ...], the observation space's dtype."""
    actions: Tensor
    """[B] int64."""
    rewards: Tensor
    """[B] float32: the n-step sum r_1 + gamma r_2 + ... + gamma^(n-1) r_n, cut at the episode's end."""
    next_obs: Tensor
    """[B, ...]: the observation after those n steps, or at the episode's end."""
    discounts: Tensor
    """[B] float32: gamma^n, and 0 where the episode terminated."""
    weights: Tensor
    """[B] float32: the share of each loss; 1 where sampling is uniform."""
    indices: Tensor
    """[B] int64: names the transitions for `ReplayBuffer.update_priorities`."""
    next_mask: Tensor | None = None
    """[B, A] bool: the actions allowed at `next_obs`; None where the replay keeps no masks."""

    def __len__(self) -> int:
        return int(self.actions.shape[0])


# What a part is told --------------------------------------------------------------------------------------------------


class Build(Protocol):
    """Makes the part that a table chooses; handed to parts inside their `Context`."""

    def __call__(self, kind: str, table: Mapping[str, Any], context: Context) -> Any:
        """Return the component `table["name"]` of `kind`, built with the table's other keys and `context`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """A part's surroundings."""

    observation_space: spaces.Box
    """What the part sees, one lane's."""
    action_space: spaces.Discrete
    num_envs: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seeds: SeedTree = field(default_factory=lambda: SeedTree(0))
    """The part's own branch: take generators from it by name, and sample from nothing else."""
    gamma: float = 1.0
    """Discount per step, for replays that sum rewards over n steps: an agent builds them with its own."""
    n_step: int = 1
    frame_stack: int = 1
    """Frames along an observation's first axis, where each step drops the first and brings a new last one; else 1."""
    builder: Build | None = None

    def build(self, kind: str, table: Mapping[str, Any], *, name: str = "", **changes: Any) -> Any:
        """Build a part of `kind` from its table, told this context with `changes`.

        Args:
            kind: "replay", "network", "target-update", "exploration", "optimiser".
            table: its "name" and its options.
            name: the branch of randomness that the part gets; by default its kind. Two parts of a kind need two names.
            **changes: fields of `Context` that differ for this part; with another `observation_space`, `frame_stack`
                is 1 unless it is given too.
        """
        if self.builder is None:
            raise TypeError(f"this context cannot build a {kind}: it was made without a builder.")
        if "observation_space" in changes:
            changes.setdefault("frame_stack", 1)  # what was said of the frames was said of other observations
        context = dataclasses.replace(self, seeds=self.seeds.child(name or kind), **changes)
        return self.builder(kind, table, context)


class Stateful(Protocol):
    """Everything that lasts can be saved and put back."""

    def state_dict(self) -> State:
        """Return the whole state, sharing memory with the part: copy it before the part goes on."""
        ...

    def load_state_dict(self, state: State) -> None:
        """Take over a state that `state_dict` returned."""
        ...


# Components -----------------------------------------------------------------------------------------------------------


class ReplayBuffer(abc.ABC):
    """Keeps transitions and chooses which to learn from."""

    Options: ClassVar[type]

    @abc.abstractmethod
    def add(self, transition: Transition) -> None:
        """Keep one transition of one lane. Per lane, each `obs` is the `next_obs` before it, until the episode ends."""

    @abc.abstractmethod
    def sample(self, batch_size: int) -> Batch:
        """Choose `batch_size` transitions. Raises `ValueError` while `len(self)` is 0."""

    def update_priorities(self, indices: Tensor, td_errors: Tensor) -> None:
        """Hear the TD errors [B] of a batch's transitions. Updates to overwritten transitions are dropped."""

    def break_lane(self, env: int) -> None:
        """Hear that the lane's episode will not be continued: what comes next is another episode."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """The number of transitions that `sample` chooses from."""

    @property
    @abc.abstractmethod
    def capacity(self) -> int:
        """The most slots ever held; an episode's last observation takes one too."""

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Bytes of memory taken for storage."""

    @abc.abstractmethod
    def state_dict(self) -> State:
        """The whole state: the transitions, and everything in `small_state_dict`."""

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> None:
        """See `Stateful`."""

    def small_state_dict(self) -> State:
        """The state besides the transitions: generators, schedules, the largest priority.

        The agent saves it with its own state, so that a run whose replay is not saved goes on with it.
        """
        return {}

    def load_small_state_dict(self, state: State) -> None:
        """Take over what `small_state_dict` returned, and keep the transitions as they are."""


class Network(nn.Module, abc.ABC):
    """Observations in, action values out.

    A subclass defines `forward`; it may return more than values (a distribution over returns, say), as long as
    `q_values` and `td_loss` know how to read it. Integer observations arrive as they are stored: `self.scale(obs)`
    makes floats of them.
    """

    Options: ClassVar[type]

    def __init__(self, context: Context) -> None:
        super().__init__()
        space = context.observation_space
        self.num_actions = int(context.action_space.n)
        self._bound = 1.0
        if np.issubdtype(space.dtype, np.integer):
            self._bound = float(max(abs(int(space.low.min())), abs(int(space.high.max())), 1))

    def scale(self, obs: Tensor) -> Tensor:
        """Return `obs` as float32; integers are divided by their space's bound, into [0, 1] or [-1, 1]."""
        if obs.dtype.is_floating_point:
            return obs.float()
        return obs.float() / self._bound

    @abc.abstractmethod
    def forward(self, obs: Tensor) -> Tensor:
        """[B, ...] as in the observation space (images [H, W, C]) -> output [B, A, ...] float32."""

    def q_values(self, output: Tensor) -> Tensor:
        """Output [B, A, ...] -> action values [B, A]."""
        return output

    def td_loss(self, output: Tensor, next_output: Tensor, next_actions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compare what was predicted with one step of lookahead: Huber loss of the TD error (Mnih et al. 2015).

        delta = r + discount * Q'(s', a') - Q(s, a), loss = delta^2 / 2 where abs(delta) <= 1, else abs(delta) - 1/2.

        Args:
            output: [B, A, ...] of the online network at `batch.obs`, with gradients.
            next_output: [B, A, ...] of the target network at `batch.next_obs`, without.
            next_actions: [B] int64, a' as the agent chose it.
            batch: actions, rewards and discounts.

        Returns:
            (loss [B] with gradients, td_errors [B] without).
        """
        chosen = self.q_values(output).gather(1, batch.actions.unsqueeze(1)).squeeze(1)
        next_values = self.q_values(next_output).gather(1, next_actions.unsqueeze(1)).squeeze(1)
        target = torch.addcmul(batch.rewards, batch.discounts, next_values).detach()
        loss = nn.functional.smooth_l1_loss(chosen, target, reduction="none")
        return loss, target - chosen.detach()

    def resample_noise(self, generator: torch.Generator) -> None:
        """Draw new noise, where the network has any: called before each act and each update."""


class TargetUpdate(abc.ABC):
    """Moves the target network after the online one.

    `nn.Module` buffers (BatchNorm's running statistics) are copied whenever weights move, never averaged.
    """

    Options: ClassVar[type]

    def after_update(self, online: nn.Module, target: nn.Module, updates: int) -> None:
        """Hear that gradient step number `updates` (from 1) was made."""

    def after_episode(self, online: nn.Module, target: nn.Module, episodes: int) -> None:
        """Hear that episode number `episodes` (from 1, over all lanes) ended and its last update was made."""

    def state_dict(self) -> State:
        """See `Stateful`."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """See `Stateful`."""


class Exploration(abc.ABC):
    """Chooses actions while training."""

    Options: ClassVar[type]

    @abc.abstractmethod
    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        """Choose an action for each lane.

        Args:
            q: returns the action values [N, A] float32 on the CPU, -inf where `mask` is False. The network runs only
                when it is called.
            step: environment steps taken before this one, over all lanes.
            generator: the only source of randomness.
            mask: [N, A] bool, True where an action is allowed.

        Returns:
            [N] int64.
        """

    def epsilon(self, step: int) -> float | None:
        """The chance of a random action at `step`, for the display; None where there is none."""
        return None

    def state_dict(self) -> State:
        """See `Stateful`."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """See `Stateful`."""


class Optimiser(abc.ABC):
    """Turns gradients into steps. `Class(options, context)` first, `attach(parameters)` once before use."""

    Options: ClassVar[type]

    @abc.abstractmethod
    def attach(self, parameters: Sequence[nn.Parameter]) -> None:
        """Name the parameters that this optimiser moves."""

    @abc.abstractmethod
    def zero_grad(self) -> None:
        """Forget the gradients."""

    @abc.abstractmethod
    def step(self) -> None:
        """Move the parameters along their gradients, and the learning rate along its schedule."""

    @property
    @abc.abstractmethod
    def lr(self) -> float:
        """The learning rate of the next step."""

    @abc.abstractmethod
    def state_dict(self) -> State:
        """See `Stateful`."""

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> None:
        """See `Stateful`."""


class Policy(abc.ABC):
    """A greedy actor with its own copy of the weights and its own episode state: using it never disturbs training."""

    @abc.abstractmethod
    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """[N, ...] observations (and [N, A] allowed actions) -> [N] actions."""

    def q_values(self, obs: Obs) -> NDArray[np.float32] | None:
        """[N, ...] observations -> [N, A] action values, for looking at; None where there are none."""
        return None

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        """Hear which lanes [N] begin a new episode."""

    @abc.abstractmethod
    def state_dict(self) -> State:
        """See `Stateful`."""

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> None:
        """See `Stateful`."""


class Agent(abc.ABC):
    """Acts, observes what came of it, and learns."""

    Options: ClassVar[type]
    needs_lockstep: ClassVar[bool] = False
    """Whether it must choose every action itself, one step of all lanes after the other: see `Collector.lockstep`."""

    @abc.abstractmethod
    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """[N, ...] observations (and [N, A] allowed actions) -> [N] actions, exploring."""

    @abc.abstractmethod
    def observe(self, transitions: Sequence[Transition]) -> None:
        """Hear steps, in each lane in the order in which they were made.

        In lockstep these are one of every lane, in the order of lanes, for the last `act`. Other collectors hand over
        any number of any lanes, whose actions somebody else chose.
        """

    @abc.abstractmethod
    def learn(self) -> Mapping[str, float] | None:
        """Learn as much as is due after those steps; return figures such as `loss`, `q_mean`; None if none was."""

    def break_lane(self, env: int) -> None:
        """Hear that the lane's episode will not be continued, after a resume or a loss: a new one begins."""

    @abc.abstractmethod
    def policy(self) -> Policy:
        """Return a greedy actor with a copy of the current weights."""

    def start_from(self, policy: State) -> None:
        """Begin with the weights of another run, before the first act: `policy` is its `Policy.state_dict()`.

        Raises:
            UserError: this agent cannot.
            ValueError: they do not fit.
        """
        raise UserError(
            f"agent {type(self).__name__} cannot start from the weights of another run: it defines no start_from. "
            f"Leave out --init-from, or take an agent that does, such as dqn."
        )

    def status(self) -> Mapping[str, float | str]:
        """Figures for the display: `epsilon`, `lr`, `replay_size`, `replay_capacity`, `updates`, and its own."""
        return {}

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the agent's replays take."""
        return 0

    @abc.abstractmethod
    def state_dict(self) -> State:
        """The state without what replays store; with each replay's `small_state_dict`."""

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> None:
        """See `Stateful`."""

    def replay_state_dict(self) -> State:
        """What replays store: large, and saved apart."""
        return {}

    def load_replay_state_dict(self, state: State) -> None:
        """Take over what `replay_state_dict` returned."""


def require_discrete(space: spaces.Space[Any], env_id: str) -> spaces.Discrete:
    """Return `space` if it is `Discrete`, else raise an `UnsuitableEnvError` that says what would work."""
    if isinstance(space, spaces.Discrete):
        return space
    own = 'an action wrapper of your own, named as wrapper = "module:Class" in an entry of [[observation]]'
    if isinstance(space, spaces.Box):
        mend = (
            'Offer a few fixed actions with wrapper = "gymnasium.wrappers:DiscretizeAction" and bins = 5 in an entry '
            "of [[observation]], or use a policy-gradient method."
        )
    elif isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        each = space.nvec if isinstance(space, spaces.MultiDiscrete) else np.full(space.shape, 2)
        mend = f"Number its {math.prod(each.reshape(-1).tolist()):,} combinations in {own}."
    else:
        mend = f"Offer a few fixed actions in {own}."
    raise UnsuitableEnvError(
        f"{env_id} has the action space {space}, but deep Q-learning compares a finite number of actions: it needs "
        f"Discrete. {mend}"
    )
