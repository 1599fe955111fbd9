"""Replay buffers.

* `UniformReplay` ("uniform"): every transition is as likely as every other (Lin 1992; Mnih et al. 2015).
"""

from __future__ import annotations

from cartpole_dqn.components.replay.ring import TransitionRing
from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Batch, Context, ReplayBuffer, State, Transition
from cartpole_dqn.contracts.seeding import generator_state, restore_generator
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.system import available_bytes, require_memory


@options_class
class UniformOptions:
    """Options of `UniformReplay`."""

    capacity: int = option(
        default=10_000,
        ge=1,
        effect="slots for observations, over all lanes; an episode's last observation takes one too",
        typical="10000 for state, 50000 for pixels",
    )
    replacement: bool = option(
        default=True, effect="whether a batch may hold a transition twice; false draws each batch without replacement"
    )


class UniformReplay(ReplayBuffer):
    """Samples uniformly from a `TransitionRing`; weights are 1.

    Takes gamma, n_step, num_envs, frame_stack and the device from its context, the generator `sample` from its seeds.

    Raises:
        ConfigError: the capacity is too small for the lanes and n_step.
        UserError: the ring would take more memory than is left.
    """

    Options = UniformOptions

    def __init__(self, options: UniformOptions, context: Context) -> None:
        space, capacity = context.observation_space, options.capacity
        try:
            needed = TransitionRing.bytes_needed(
                observation_space=space,
                capacity=capacity,
                num_envs=context.num_envs,
                n_step=context.n_step,
                frame_stack=context.frame_stack,
            )
        except ValueError as error:
            raise ConfigError(f"replay uniform: {error}") from None
        available = available_bytes()
        fitting = int(capacity * min(1.0, available / needed))
        require_memory(
            needed,
            who=f"replay uniform with {capacity} slots of {space.dtype} {list(space.shape)}",
            mend=f"Set its capacity well below {fitting}, or make observations smaller (uint8, fewer pixels).",
            available=available,
        )
        self.ring = TransitionRing(
            observation_space=space,
            capacity=capacity,
            gamma=context.gamma,
            num_envs=context.num_envs,
            n_step=context.n_step,
            device=context.device,
            frame_stack=context.frame_stack,
        )
        self._replacement = options.replacement
        self._generator = context.seeds.numpy("sample")

    def add(self, transition: Transition) -> None:
        """See `ReplayBuffer` and `TransitionRing.append`."""
        self.ring.append(transition)

    def sample(self, batch_size: int) -> Batch:
        """Choose `batch_size` transitions.

        Raises:
            ValueError: there are none, or fewer than `batch_size` where sampling is without replacement.
        """
        held = len(self.ring)
        if held < (1 if self._replacement else batch_size):
            raise ValueError(
                f"replay uniform holds {held} transitions, too few to draw {batch_size} "
                f"{'with' if self._replacement else 'without'} replacement: store more of them before learning."
            )
        if self._replacement:
            ranks = self._generator.integers(held, size=batch_size)
        else:
            ranks = self._generator.choice(held, size=batch_size, replace=False, shuffle=False)
        return self.ring.gather(self.ring.index_at(ranks))

    def break_lane(self, env: int) -> None:
        """See `ReplayBuffer`."""
        self.ring.break_lane(env)

    def __len__(self) -> int:
        return len(self.ring)

    @property
    def capacity(self) -> int:
        """See `ReplayBuffer`."""
        return self.ring.capacity

    @property
    def nbytes(self) -> int:
        """See `ReplayBuffer`."""
        return self.ring.nbytes

    def state_dict(self) -> State:
        """`ring` is large, `generator` small."""
        return {"ring": self.ring.state_dict(), "generator": generator_state(self._generator)}

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned; raises `ValueError` where it does not fit."""
        self.ring.load_state_dict(state["ring"])
        restore_generator(self._generator, state["generator"])
