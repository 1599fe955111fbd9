"""`StratifiedReplay`: the replay `acme`; `StratifiedOptions`: its options."""

from __future__ import annotations

import numpy as np
from cartpole_dqn import (
    Batch,
    Context,
    ReplayBuffer,
    State,
    Transition,
    TransitionRing,
    generator_state,
    option,
    options_class,
    restore_generator,
)


@options_class
class StratifiedOptions:
    """Options of `StratifiedReplay`."""

    capacity: int = option(
        default=10_000, ge=1, effect="slots for observations, over all lanes", typical="10000 to 50000"
    )


class StratifiedReplay(ReplayBuffer):
    """Lays all transitions end to end, lane after lane and oldest first, and draws one from each of B equal parts.

    Every transition is as likely as every other, so weights are 1; but no batch of B is all old or all new.
    """

    Options = StratifiedOptions

    def __init__(self, options: StratifiedOptions, context: Context) -> None:
        self.ring = TransitionRing(
            observation_space=context.observation_space,
            capacity=options.capacity,
            gamma=context.gamma,
            num_envs=context.num_envs,
            n_step=context.n_step,
            device=context.device,
        )
        self._generator = context.seeds.numpy("sample")

    def add(self, transition: Transition) -> None:
        """Keep a transition."""
        self.ring.append(transition)

    def sample(self, batch_size: int) -> Batch:
        """Choose `batch_size` transitions. Raises `ValueError` while there are none."""
        held = len(self.ring)
        if held == 0:
            raise ValueError("replay acme holds no complete transition yet.")
        places = (np.arange(batch_size) + self._generator.random(batch_size)) * (held / batch_size)
        # Rounding may carry the last place to the very end.
        ranks = np.minimum(places.astype(np.int64), held - 1)
        return self.ring.gather(self.ring.index_at(ranks))

    def break_lane(self, env: int) -> None:
        """Hear that the lane's episode will not be continued."""
        self.ring.break_lane(env)

    def __len__(self) -> int:
        return len(self.ring)

    @property
    def capacity(self) -> int:
        """Slots, over all lanes."""
        return self.ring.capacity

    @property
    def nbytes(self) -> int:
        """Bytes of memory taken."""
        return self.ring.nbytes

    def state_dict(self) -> State:
        """What a resumed run needs: the transitions, and where the generator stands."""
        return {"ring": self.ring.state_dict(), "generator": generator_state(self._generator)}

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned."""
        self.ring.load_state_dict(state["ring"])
        restore_generator(self._generator, state["generator"])
