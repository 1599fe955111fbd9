"""The contract of `Network`: observations in, action values out, and a loss that teaches them.

* `check_network`: every check of the kind.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from cartpole_dqn.contracts.parts import Batch, Context, Network, State
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.errors import UserError
from cartpole_dqn.testing._contract import Contract
from cartpole_dqn.testing._course import SEEDED, Course, Lasting
from cartpole_dqn.testing._options import SHARED
from cartpole_dqn.testing._spaces import VECTOR, context, devices, random_obs
from cartpole_dqn.testing._state import difference, snapshot

SPACES = (
    VECTOR,
    spaces.Box(-20, 20, (6,), np.int16),
    spaces.Box(0, 255, (40, 48, 2), np.uint8),
    spaces.Box(-255, 255, (44, 40, 1), np.int16),
)
"""Where a network is tried: it takes at least one, and refuses the others by a `UserError` or a `ValueError`."""


class NetworkSubject(Lasting[Network]):
    """A network class; `space` is the only one it is tried on, if given."""

    def __init__(self, cls: Callable[..., Network], space: spaces.Box | None = None, /, **options: Any) -> None:
        super().__init__(cls, **options)
        self.spaces = SPACES if space is None else (space,)

    saved_after = (0, 1)
    steps = 1

    def course(self, seed: int = 0) -> Lessons:
        """See `Lasting`."""
        return Lessons(self, seed)


class Attempt:
    """A new network in one space, with what it can be asked."""

    def __init__(self, part: NetworkSubject, where: Context) -> None:
        self.context = where
        self.space = where.observation_space
        self.network: Network = part.build(where).to(where.device)
        self.random = SeedTree(0).numpy("trial")
        self.generator = SeedTree(0).torch("noise")

    def obs(self, count: int) -> Tensor:
        """[count, ...] random observations as a replay gives them."""
        return torch.from_numpy(random_obs(self.space, count, self.random)).to(self.context.device)

    def batch(self, count: int) -> Batch:
        """A made-up batch."""
        device, rewards = self.context.device, self.random.standard_normal(count).astype(np.float32)
        actions = self.random.integers(int(self.context.action_space.n), size=count)
        discounts = np.full(count, 0.9, np.float32)
        return Batch(
            obs=self.obs(count),
            actions=torch.from_numpy(actions).to(device),
            rewards=torch.from_numpy(rewards).to(device),
            next_obs=self.obs(count),
            discounts=torch.from_numpy(discounts).to(device),
            weights=torch.ones(count, device=device),
            indices=torch.arange(count, device=device),
        )

    def loss(self, batch: Batch, next_actions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What `td_loss` makes of the network's own outputs."""
        with torch.no_grad():
            next_output = self.network(batch.next_obs)
        actions = self.network.q_values(next_output).argmax(1) if next_actions is None else next_actions
        return self.network.td_loss(self.network(batch.obs), next_output, actions, batch)

    def shake(self) -> None:
        """Move every parameter a little, so that nothing is 0 because a layer started there."""
        generator = SeedTree(0).torch("shake")
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator).to(parameter.device))


def attempts(part: NetworkSubject, *, device: str = "cpu", seed: int = 0) -> Iterator[Attempt]:
    """A network in each space that it takes: at least one."""
    refusals = []
    for space in part.spaces:
        try:
            attempt = Attempt(part, context(space, device=device, seed=seed))
        except (UserError, ValueError) as error:
            refusals.append(f"{space}: {error}")
            continue
        yield attempt
    assert len(refusals) < len(part.spaces), f"it refused every observation space: {' '.join(refusals)}"


class Lessons(Course):
    """A network in each space, trained a little."""

    def __init__(self, part: NetworkSubject, seed: int) -> None:
        self.attempts = list(attempts(part, seed=seed))

    def go(self, steps: int) -> list[Any]:
        """See `Course`; the outputs are in training mode and out of it, with the same noise."""
        results = []
        for attempt in self.attempts:
            for _ in range(steps):
                _train_a_little(attempt)
            obs = attempt.obs(4)
            for training in (True, False):
                attempt.network.train(training).resample_noise(SeedTree(3).torch("noise"))
                with torch.no_grad():
                    results.append({"output": attempt.network(obs)})
        return results

    def state(self) -> list[State]:
        """See `Course`."""
        return [dict(attempt.network.state_dict()) for attempt in self.attempts]

    def take_over(self, state: list[State], other: Lessons) -> None:
        """See `Course`."""
        for mine, theirs, saved in zip(self.attempts, other.attempts, state, strict=True):
            mine.network.load_state_dict(saved)
            mine.random = copy.deepcopy(theirs.random)
            mine.generator.set_state(theirs.generator.get_state())


NETWORK: Contract[NetworkSubject] = Contract("network", NetworkSubject, SHARED)


def check_network(cls: Callable[..., Network], space: spaces.Box | None = None, /, **options: object) -> None:
    """Hold a network to its contract.

    Args:
        cls: built as `cls(options, context)`.
        space: the observations it is made for. By default the kit tries float vectors, integer vectors, and two sorts
            of integer images of about 40 x 48; a network may refuse some, by a `UserError` or a `ValueError`.
        **options: values of `cls.Options`.
    """
    NETWORK.hold(cls, space, **options)


@NETWORK.check
def check_output_shapes(part: NetworkSubject) -> None:
    """[B, ...] as in the space -> output [B, A, ...] and action values [B, A], finite float32, training or not."""
    for device in devices():
        for attempt in attempts(part, device=device):
            for training in (True, False):
                attempt.network.train(training)
                for count in (2, 7):
                    _assert_output(attempt, count)


@NETWORK.check
def check_single_observations(part: NetworkSubject) -> None:
    """A batch of one works, in training mode too: that is how an agent with one environment acts."""
    for attempt in attempts(part):
        for training in (True, False):
            attempt.network.train(training)
            _assert_output(attempt, 1)


@NETWORK.check
def check_integers_are_scaled(part: NetworkSubject) -> None:
    """Integer observations are made small first: `self.scale(obs)` divides them by their space's bound.

    Held loosely, for a network may scale in its own way: a new one's values stay of the size that they have for the
    same observations as floats in [-1, 1].
    """
    for attempt in attempts(part):
        space = attempt.space
        if np.issubdtype(space.dtype, np.integer):
            bound = max(abs(int(space.low.min())), abs(int(space.high.max())))
            obs, network = attempt.obs(32), attempt.network.eval()
            with torch.no_grad():
                came, small = (float(network.q_values(network(x)).abs().max()) for x in (obs, obs.float() / bound))
            assert came <= 5 * small + 1, (
                f"values of integers of {space} go up to {came:.3g}, and to {small:.3g} where they are divided by "
                f"{bound}: call self.scale(obs) first in forward."
            )


@NETWORK.check
def check_loss(part: NetworkSubject) -> None:
    """`td_loss` gives a finite loss [B] with gradients, and finite TD errors [B] without."""
    for attempt in attempts(part):
        for count in (1, 5):
            loss, td_errors = attempt.loss(attempt.batch(count))
            for name, tensor in (("loss", loss), ("td_errors", td_errors)):
                assert tuple(tensor.shape) == (count,), (
                    f"{name} for a batch of {count}: expected [{count}], got {list(tensor.shape)}; weights come later."
                )
                assert bool(torch.isfinite(tensor).all()), f"{name} is not finite: {tensor.tolist()}."
            assert loss.requires_grad, "the loss has no gradients: nothing can be learned from it."
            assert not td_errors.requires_grad, "td_errors carries gradients: detach it."


@NETWORK.check
def check_gradients(part: NetworkSubject) -> None:
    """The loss reaches every parameter, within a few steps, in training mode or out of it."""
    for attempt in attempts(part):
        network = attempt.network
        wanted = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        assert wanted, "the network has no parameters to learn."
        optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
        reached: set[str] = set()
        for step in range(8):
            # In training mode BatchNorm hides the bias before it; out of it noise may be hidden.
            network.train(step % 2 == 0)
            network.resample_noise(attempt.generator)
            optimiser.zero_grad()
            attempt.loss(attempt.batch(16))[0].mean().backward()  # type: ignore[no-untyped-call]
            grads = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
            assert all(bool(torch.isfinite(grad).all()) for grad in grads.values()), "a gradient is not finite."
            reached |= {name for name, grad in grads.items() if bool(grad.any())}
            optimiser.step()
        assert reached >= wanted, f"no gradient reached {', '.join(sorted(wanted - reached))}."


@NETWORK.check
def check_terminal_steps(part: NetworkSubject) -> None:
    """With a discount of 0 the next observation changes neither loss nor TD errors; with another discount it does."""
    for attempt in attempts(part):
        attempt.shake()
        attempt.network.eval()
        batch = attempt.batch(8)
        for discount, matters in ((0.0, False), (0.9, True)):
            one = dataclasses.replace(batch, discounts=torch.full_like(batch.discounts, discount))
            other = dataclasses.replace(one, next_obs=attempt.obs(8))
            same = _close(attempt.loss(one), attempt.loss(other))
            assert same != matters, (
                "the next value counts although the discount is 0: a terminated step must not bootstrap."
                if not matters
                else "the next value counts for nothing although the discount is 0.9."
            )


@NETWORK.check
def check_next_actions(part: NetworkSubject) -> None:
    """The next value is read at `next_actions`, as the agent chose them."""
    for attempt in attempts(part):
        attempt.shake()
        attempt.network.eval()
        batch = attempt.batch(16)
        losses = [attempt.loss(batch, torch.full_like(batch.actions, action)) for action in (0, 1)]
        assert not _close(*losses), "the loss is the same whatever next_actions are: Double Q-learning has no effect."


@NETWORK.check
def check_loss_teaches(part: NetworkSubject) -> None:
    """Following the loss moves the value of the action that was taken towards its reward."""
    for attempt in attempts(part):
        network = attempt.network.train()
        batch = attempt.batch(16)
        rewards = torch.where(batch.actions % 2 == 0, 1.0, -1.0)
        batch = dataclasses.replace(batch, rewards=rewards, discounts=torch.zeros_like(rewards))
        optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
        distances = []
        for _ in range(400):
            network.resample_noise(attempt.generator)
            with torch.no_grad():
                chosen = network.q_values(network(batch.obs)).gather(1, batch.actions[:, None])[:, 0]
            distances.append(float((chosen - rewards).abs().mean()))
            if distances[-1] < 0.5 * distances[0]:
                break
            optimiser.zero_grad()
            attempt.loss(batch)[0].mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        assert min(distances) < 0.5 * distances[0], (
            f"after {len(distances)} steps along the loss, values are {distances[-1]:.3g} from their rewards, from "
            f"{distances[0]:.3g} at first: expected half."
        )
        return  # one space is enough: the loss does not know it


@NETWORK.check
def check_rows_stay_apart(part: NetworkSubject) -> None:
    """Out of training mode, a row of the batch is valued alike whatever stands in the other rows, and at any place."""
    for attempt in attempts(part):
        attempt.shake()
        attempt.network.eval()
        batch = attempt.batch(6)
        order = torch.tensor([3, 0, 5, 1, 4, 2], device=batch.obs.device)
        values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        moved = Batch(**{name: value[order] for name, value in values.items() if value is not None})
        with torch.no_grad():
            output = attempt.network(batch.obs)
            pairs = [(output[order], attempt.network(moved.obs)), (output[2:3], attempt.network(batch.obs[2:3]))]
            pairs += [(a[order], b) for a, b in zip(attempt.loss(batch), attempt.loss(moved), strict=True)]
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in pairs), (
            "the output or the loss of a transition depends on the others in its batch, or on its place among them."
        )


@NETWORK.check
def check_target_copy(part: NetworkSubject) -> None:
    """A deep copy in evaluation mode shares nothing with the network, and running it changes nothing in it."""
    for attempt in attempts(part):
        attempt.shake()
        obs = attempt.obs(4)
        target = copy.deepcopy(attempt.network)
        shared = _addresses(attempt.network) & _addresses(target)
        assert not shared, "a deep copy shares tensors with the network that it was copied from."
        target.eval().requires_grad_(False)
        before = snapshot(dict(target.state_dict()))
        with torch.no_grad():
            first = target(obs)
            _train_a_little(attempt)
            second = target(obs)
        assert torch.equal(first, second), (
            "a copy in evaluation mode gave another output when the network it was copied from was trained, or when it "
            "was asked twice."
        )
        place = difference(before, dict(target.state_dict()))
        assert not place, f"running a copy in evaluation mode changed its state at {place}."


@NETWORK.check
def check_buffers_are_registered(part: NetworkSubject) -> None:
    """Every tensor that a module keeps is a parameter or a registered buffer, so that `.to(device)` moves it."""
    for device in devices():
        for attempt in attempts(part, device=device):
            for name, module in attempt.network.named_modules():
                loose = [f"{name}.{key}".strip(".") for key, value in vars(module).items() if isinstance(value, Tensor)]
                assert not loose, f"{', '.join(loose)} is a plain attribute: use register_buffer."
            attempt.loss(attempt.batch(3))


# Randomness and state -------------------------------------------------------------------------------------------------


@NETWORK.check
def check_noise(part: NetworkSubject) -> None:
    """`resample_noise` draws from its generator alone: equal generators give equal outputs."""
    for attempt in attempts(part):
        network, obs, outputs = attempt.network.train(), attempt.obs(4), []
        for _ in range(2):
            network.resample_noise(SeedTree(3).torch("noise"))
            with torch.no_grad():
                outputs.append(network(obs))
        assert torch.equal(*outputs), "noise from equal generators differs: draw all of it from `generator`."


NETWORK.share(SEEDED)


def _assert_output(attempt: Attempt, count: int) -> None:
    actions = int(attempt.context.action_space.n)
    with torch.no_grad():
        output = attempt.network(attempt.obs(count))
        values = attempt.network.q_values(output)
    where = f"for {count} observations of {attempt.space}"
    assert tuple(output.shape[:2]) == (count, actions), (
        f"forward {where}: expected [{count}, {actions}, ...], got {list(output.shape)}."
    )
    assert tuple(values.shape) == (count, actions), (
        f"q_values {where}: expected [{count}, {actions}], got {list(values.shape)}."
    )
    for name, tensor in (("forward", output), ("q_values", values)):
        assert tensor.dtype == torch.float32, f"{name} {where}: expected float32, got {tensor.dtype}."
        assert bool(torch.isfinite(tensor).all()), f"{name} {where} is not finite."


def _addresses(network: Network) -> set[int]:
    return {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers()) if tensor.numel()}


def _train_a_little(attempt: Attempt) -> None:
    network = attempt.network.train()
    network.resample_noise(attempt.generator)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    optimiser.zero_grad()
    with torch.enable_grad():
        attempt.loss(attempt.batch(8))[0].mean().backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _close(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(one, other, strict=True))
