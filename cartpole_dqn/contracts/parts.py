"""The parts of an agent, built in or from a plugin, and the data that passes between them.

* `Transition`: one step of one environment. `Batch`: the transitions of one update, as tensors.
* `ReplayBuffer`, `Network`, `TargetUpdate`, `Exploration`, `Optimiser`, and the `Agent` made of them with its `Policy`.
* `Context`: the second argument of every constructor, `Class(options, context)`: spaces, device, randomness.

`B` is the batch size, `N` the number of lanes (environments side by side), `A` the number of actions.

A part's `state_dict` returns everything needed to continue exactly, and may share memory with the part: copy it before
the part is used again. `load_state_dict` restores it and raises `ValueError` or `KeyError` if it does not fit.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.errors import UserError

Obs = NDArray[Any]
State = dict[str, Any]
"""A `state_dict`: nested dicts and lists of numbers, strings, None, NumPy arrays and tensors."""


# Data -----------------------------------------------------------------------------------------------------------------


class Transition(NamedTuple):
    """One step of one lane: an observation, the action taken there, and what followed."""

    obs: Obs
    action: int
    reward: float
    next_obs: Obs
    terminated: bool
    """True if the task ended, for example because the pole fell. The target is then the reward alone."""
    truncated: bool
    """True if the episode was cut off, for example by a time limit. The target includes the value of `next_obs`."""
    env: int = 0
    """The lane."""
    next_mask: NDArray[np.bool_] | None = None
    """[A]: True for the actions that are allowed at `next_obs`; None if the environment has no action masks."""
    priority: float | None = None
    """The absolute TD error, if the actor in another process computed it (Horgan et al. 2018); otherwise None."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The transitions of one update, as tensors on one device."""

    obs: Tensor
    """[B, ...] in the dtype of the observation space."""
    actions: Tensor
    """[B] int64."""
    rewards: Tensor
    """[B] float32: the n-step sum r_1 + gamma r_2 + ... + gamma^(n-1) r_n, shorter at the end of an episode."""
    next_obs: Tensor
    """[B, ...]: the observation after those n steps, or the last one of the episode."""
    discounts: Tensor
    """[B] float32: gamma^n, or 0 if the episode terminated."""
    weights: Tensor
    """[B] float32: the factor of each transition's loss; 1 for uniform sampling."""
    indices: Tensor
    """[B] int64: the transitions' indices, for `ReplayBuffer.update_priorities`."""
    next_mask: Tensor | None = None
    """[B, A] bool: the actions allowed at `next_obs`; None if the replay stores no masks."""

    def __len__(self) -> int:
        return int(self.actions.shape[0])


# Context --------------------------------------------------------------------------------------------------------------


class Build(Protocol):
    """Builds the part that a table names. Parts call it through `Context.build`."""

    def __call__(self, kind: str, table: Mapping[str, Any], context: Context) -> Any:
        """Return the component `table["name"]` of `kind`; the other keys of the table are its options."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The second argument of every part's constructor, `Class(options, context)`: spaces, device and randomness."""

    observation_space: spaces.Box
    """The observations of one lane."""
    action_space: spaces.Discrete
    """The actions of one lane, 0 to A - 1."""
    num_envs: int = 1
    """N, the number of lanes."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where the part computes."""
    seeds: SeedTree = field(default_factory=lambda: SeedTree(0))
    """The part's only source of randomness: `seeds.numpy("draw")` or `seeds.torch("noise")` makes a generator."""
    gamma: float = 1.0
    """Discount per step, for a replay. The agent sets this field and the next when it builds its replay."""
    n_step: int = 1
    """Steps summed into a return, for a replay."""
    frame_stack: int = 1
    """S if an observation is a stack of S frames along the first axis, and each step adds one frame; otherwise 1."""
    builder: Build | None = None
    """What `build` calls; None if this context cannot build parts."""
    make_env: Callable[[], gymnasium.Env[Any, Any]] | None = None
    """Makes an environment, for parts that must look at one: close it afterwards. None if no training follows."""

    def build(self, kind: str, table: Mapping[str, Any], *, name: str = "", **changes: Any) -> Any:
        """Build a part with this context.

        Args:
            kind: "replay", "network", "target-update", "exploration", "optimiser".
            table: the part's "name" and its options.
            name: the name of the part's randomness, `kind` by default. Give two parts of one kind two names.
            **changes: fields of `Context` that differ for this part. A new `observation_space` resets `frame_stack`
                to 1 unless you pass that too.
        """
        if self.builder is None:
            raise TypeError(f"this context cannot build the {kind}: it has no builder.")
        if "observation_space" in changes:
            changes.setdefault("frame_stack", 1)
        context = dataclasses.replace(self, seeds=self.seeds.child(name or kind), **changes)
        return self.builder(kind, table, context)


# Components -----------------------------------------------------------------------------------------------------------


class ReplayBuffer(abc.ABC):
    """Stores transitions and samples batches from them."""

    Options: ClassVar[type]

    @abc.abstractmethod
    def add(self, transition: Transition) -> None:
        """Store a transition. Within an episode of a lane, its `obs` equals the `next_obs` of the transition before."""

    @abc.abstractmethod
    def sample(self, batch_size: int) -> Batch:
        """Return a batch of `batch_size` transitions. Raises `ValueError` if the replay is empty."""

    def update_priorities(self, indices: Tensor, td_errors: Tensor) -> None:
        """Called after each update with the batch's `indices` [B] and `td_errors` [B].

        Some of these transitions may have been overwritten since they were sampled: skip those.
        """

    def break_lane(self, env: int) -> None:
        """Called when the rest of a lane's episode is lost. The lane's next transition begins a new episode."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of transitions that `sample` chooses from."""

    def has_enough(self, count: int) -> bool:
        """Return whether there are enough transitions for a first update. Agents call this before they learn.

        Override it if a full replay may have fewer than `count` transitions to sample: return True when it is full.
        """
        return len(self) >= count

    @property
    @abc.abstractmethod
    def capacity(self) -> int:
        """The maximal number of stored observations. The last observation of an episode counts too."""

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Bytes of storage, constant after construction."""

    @abc.abstractmethod
    def state_dict(self) -> State:
        """Return the transitions and everything in `small_state_dict`."""

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> None: ...

    def small_state_dict(self) -> State:
        """Return the state without the transitions: generators, schedules, the largest priority.

        It is saved even if the replay is not.
        """
        return {}

    def load_small_state_dict(self, state: State) -> None:
        """Restore what `small_state_dict` returned. The transitions stay."""


class Network(nn.Module, abc.ABC):
    """Maps observations to action values.

    Define `forward`. Integer observations arrive unscaled, so call `self.scale(obs)` there. If the output is not action
    values but, for example, a distribution over returns, override `q_values` and `td_loss` too.
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
        """Return `obs` as float32. Integers are divided by the bound of their space, which gives [0, 1] or [-1, 1]."""
        return obs.float() if obs.dtype.is_floating_point else obs.float() / self._bound

    @abc.abstractmethod
    def forward(self, obs: Tensor) -> Tensor:
        """Return the output [B, A, ...] float32 for observations [B, ...]. Images are [B, H, W, C]."""

    def q_values(self, output: Tensor) -> Tensor:
        """Return the action values [B, A] of an output [B, A, ...] of `forward`.

        It takes no observations: those of a network are `network.q_values(network(obs))`. `Policy.q_values` takes them.
        """
        return output

    def td_loss(self, output: Tensor, next_output: Tensor, next_actions: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the Huber loss of the TD error (Mnih et al. 2015).

        delta = r + discount * Q'(s', a') - Q(s, a), loss = delta^2 / 2 where abs(delta) <= 1, else abs(delta) - 1/2.

        Args:
            output: [B, A, ...], the online network at `batch.obs`, with gradients.
            next_output: [B, A, ...], the target network at `batch.next_obs`, without gradients.
            next_actions: [B] int64, the action a' that the agent chose for each next observation.
            batch: the actions, rewards and discounts.

        Returns:
            The losses [B], with gradients; and the TD errors delta [B], without gradients.
        """
        values = self.q_values(output).gather(1, batch.actions.unsqueeze(1)).squeeze(1)
        next_values = self.q_values(next_output).gather(1, next_actions.unsqueeze(1)).squeeze(1)
        target = torch.addcmul(batch.rewards, batch.discounts, next_values).detach()
        loss = nn.functional.smooth_l1_loss(values, target, reduction="none")
        return loss, target - values.detach()

    def resample_noise(self, generator: torch.Generator) -> None:
        """Called before each action and each update: draw new noise, if the network has any."""


class TargetUpdate(abc.ABC):
    """Updates the target network from the online network.

    Whenever you change the target's weights, copy the online network's buffers (BatchNorm's running statistics). Do
    not average buffers.
    """

    Options: ClassVar[type]

    def __init__(self, options: Any = None, context: Context | None = None) -> None:
        """Override this to use the options and the context."""

    def after_update(self, online: nn.Module, target: nn.Module, updates: int) -> None:
        """Called after each gradient step; `updates` counts from 1."""

    def after_episode(self, online: nn.Module, target: nn.Module, episodes: int) -> None:
        """Called after the last update of each episode; `episodes` counts from 1, over all lanes."""

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None: ...


class Exploration(abc.ABC):
    """Chooses actions during training."""

    Options: ClassVar[type]

    def __init__(self, options: Any = None, context: Context | None = None) -> None:
        """Override this to use the options and the context."""

    @abc.abstractmethod
    def select(self, q: Callable[[], Tensor], step: int, generator: torch.Generator, mask: Tensor) -> Tensor:
        """Return an action for each lane, [N] int64.

        Args:
            q: returns the action values [N, A] float32 on the CPU, -inf for forbidden actions. The network only runs
                if you call it.
            step: environment steps so far, over all lanes.
            generator: the only source of randomness.
            mask: [N, A] bool, True for allowed actions.
        """

    def epsilon(self, step: int) -> float | None:
        """Return the probability of a random action at `step`, for displays; None if there is none."""
        return None

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None: ...


class Optimiser(abc.ABC):
    """Updates parameters from gradients. `attach` is called once, before any other method."""

    Options: ClassVar[type]

    def __init__(self, options: Any = None, context: Context | None = None) -> None:
        """Override this to use the options and the context."""

    @abc.abstractmethod
    def attach(self, parameters: Sequence[nn.Parameter]) -> None:
        """Take the parameters to optimise."""

    @abc.abstractmethod
    def zero_grad(self) -> None:
        """Clear the gradients."""

    @abc.abstractmethod
    def step(self) -> None:
        """Update the parameters, then advance the learning rate schedule."""

    @property
    @abc.abstractmethod
    def lr(self) -> float:
        """The learning rate of the next step."""

    @abc.abstractmethod
    def state_dict(self) -> State: ...

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> None: ...


class Policy(abc.ABC):
    """Acts without exploration, with its own copy of the agent's weights. Using it never affects training.

    Several processes may share an evaluation, each with a policy that loaded the same `state_dict`. So an action must
    depend only on this state and on the observations since `reset`.
    """

    @abc.abstractmethod
    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return an action [N] for each observation [N, ...]. `mask` [N, A] is True for allowed actions."""

    def q_values(self, obs: Obs) -> NDArray[np.float32] | None:
        """Return the action values [N, A] of observations [N, ...]; None if the policy has none.

        Unlike `Network.q_values`, which takes a network's output, it takes observations.
        """
        return None

    def module(self) -> nn.Module | None:
        """Return a module for `cartpole-dqn export`, or None if the policy cannot be exported.

        It maps observations [N, ...] to values [N, A] float32, and the policy takes the allowed action with the highest
        value. It is on the CPU and in evaluation mode.
        """
        return None

    def reset(self, lanes: NDArray[np.bool_]) -> None:
        """Called when episodes begin; `lanes` [N] is True for those lanes."""

    @abc.abstractmethod
    def state_dict(self) -> State: ...

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> None: ...


class Agent(abc.ABC):
    """Acts in the environments and learns from their transitions."""

    Options: ClassVar[type]
    needs_lockstep: ClassVar[bool] = False
    """True if every action must come from `act`. The run then needs a collector with `lockstep = True`."""

    @abc.abstractmethod
    def act(self, obs: Obs, mask: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return an action [N] for each observation [N, ...], with exploration. `mask`: as in `Policy.act`."""

    @abc.abstractmethod
    def observe(self, transitions: Sequence[Transition]) -> None:
        """Called with new transitions. Those of one lane are in order.

        With a lockstep collector there is one transition of each lane, and its action came from the last `act`. With
        other collectors there may be any number from each lane, and copies of the policy chose the actions.
        """

    @abc.abstractmethod
    def learn(self) -> Mapping[str, float] | None:
        """Do the updates that are due. Return metrics such as `loss` and `q_mean`, or None if no update was due."""

    def steps_before_learning(self) -> int:
        """Return the minimum number of environment steps before the first update of a new run; 0 if unknown.

        Raises:
            UserError: with these options there would never be an update.
        """
        return 0

    def break_lane(self, env: int) -> None:
        """Called when the rest of a lane's episode is lost, on a resume or with a worker. A new episode begins."""

    @abc.abstractmethod
    def policy(self) -> Policy:
        """Return a greedy policy with a copy of the current weights."""

    def start_from(self, policy: State) -> None:
        """Start from the weights of another run, given as its `Policy.state_dict()`. Called before the first `act`.

        Raises:
            UserError: this agent cannot start from weights.
            ValueError: the weights do not fit.
        """
        raise UserError(
            f"agent {type(self).__name__} cannot start from the weights of another run: it defines no start_from. "
            f"Leave out --init-from, or use an agent that supports it, such as dqn."
        )

    def status(self) -> Mapping[str, float | str]:
        """Return figures for displays, such as `epsilon`, `lr`, `replay_size`, `replay_capacity` and `updates`."""
        return {}

    @property
    def nbytes(self) -> int:
        """Bytes that the agent's replays take."""
        return 0

    @abc.abstractmethod
    def state_dict(self) -> State:
        """Return the state, with the `small_state_dict` of each replay in place of its transitions."""

    @abc.abstractmethod
    def load_state_dict(self, state: State) -> None: ...

    def replay_state_dict(self) -> State:
        """Return the stored transitions. They are saved separately, since they are large."""
        return {}

    def load_replay_state_dict(self, state: State) -> None:
        """Restore what `replay_state_dict` returned."""
