"""The contract of `Network`: observations in, action values out, and a loss that improves them."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from cartpole_dqn.contracts.parts import Batch, Context, Network, State
from cartpole_dqn.contracts.returned import output_fault
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.errors import UserError
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._course import OPTIONS, SEEDED, Course
from cartpole_dqn.testing._spaces import VECTOR, context, devices
from cartpole_dqn.testing._state import assert_kind, assert_same, snapshot

SPACES = (
    VECTOR,
    spaces.Box(-20, 20, (6,), np.int16),
    spaces.Box(0, 255, (40, 48, 2), np.uint8),
    spaces.Box(-255, 255, (44, 40, 1), np.int16),
)
"""A network accepts at least one of these, and refuses the others with a `UserError` or a `ValueError`."""


class Attempt(Course):
    """A network for one observation space."""

    part: Network

    def __init__(self, part: Subject, where: Context) -> None:
        self.context = where
        self.space = where.observation_space
        self.part = part.build(where).to(where.device)
        self.random = SeedTree(0).numpy("trial")
        self.sampler = copy.deepcopy(self.space)
        self.sampler.seed(0)
        self.generator = SeedTree(0).torch("noise")

    def obs(self, count: int) -> Tensor:
        """[count, ...] random observations, as a replay returns them."""
        return torch.from_numpy(np.stack([self.sampler.sample() for _ in range(count)])).to(self.context.device)

    def batch(self, count: int) -> Batch:
        device, rewards = self.context.device, self.random.standard_normal(count).astype(np.float32)
        actions = self.random.integers(int(self.context.action_space.n), size=count)
        return Batch(
            obs=self.obs(count),
            actions=torch.from_numpy(actions).to(device),
            rewards=torch.from_numpy(rewards).to(device),
            next_obs=self.obs(count),
            discounts=torch.full((count,), 0.9, device=device),
            weights=torch.ones(count, device=device),
            indices=torch.arange(count, device=device),
        )

    def loss(self, batch: Batch, next_actions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`td_loss` of the network's own outputs."""
        with torch.no_grad():
            next_output = self.part(batch.next_obs)
        actions = self.part.q_values(next_output).argmax(1) if next_actions is None else next_actions
        return self.part.td_loss(self.part(batch.obs), next_output, actions, batch)

    def learn(self, batch: Batch, optimiser: torch.optim.Optimizer | None = None) -> None:
        """Take one step along the loss, with new noise."""
        optimiser = optimiser or torch.optim.SGD(self.part.parameters(), lr=0.01)
        self.part.resample_noise(self.generator)
        optimiser.zero_grad()
        with torch.enable_grad():
            self.loss(batch)[0].mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    @torch.no_grad()
    def shake(self) -> Network:
        """Move every parameter a little, since some layers start at 0; return the network in evaluation mode."""
        generator = SeedTree(0).torch("shake")
        for parameter in self.part.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator).to(parameter.device))
        return self.part.eval()

    @torch.no_grad()
    def go(self, steps: int) -> list[Tensor]:
        """See `Course`; the outputs are in training mode and out of it, with the same noise."""
        for _ in range(steps):
            self.part.train()
            self.learn(self.batch(8))
        obs, outputs = self.obs(4), []
        for training in (True, False):
            self.part.train(training).resample_noise(SeedTree(3).torch("noise"))
            outputs.append(self.part(obs))
        return outputs


def attempts(part: Subject, *, device: str = "cpu", seed: int = 0) -> Iterator[Attempt]:
    """Yield a network for each space that the class accepts: at least one."""
    choices = SPACES if part.beside is None else (part.beside,)
    refusals = []
    for space in choices:
        try:
            attempt = Attempt(part, context(space, device=device, seed=seed))
        except (UserError, ValueError) as error:
            refusals.append(f"{space}: {error}")
            continue
        yield attempt
    assert len(refusals) < len(choices), f"it refused every observation space: {' '.join(refusals)}"


class Lessons(Course):
    """A network for each space, which learns a little."""

    def __init__(self, part: Subject, seed: int = 0) -> None:
        self.attempts = list(attempts(part, seed=seed))

    def plan(self) -> tuple[int, Iterable[int]]:
        return 1, (0, 1)

    def go(self, steps: int) -> list[Any]:
        return [attempt.go(steps) for attempt in self.attempts]

    def state(self) -> list[State]:
        return [dict(attempt.state()) for attempt in self.attempts]

    def take_over(self, state: list[State], other: Lessons) -> None:
        for mine, saved, theirs in zip(self.attempts, state, other.attempts, strict=True):
            mine.take_over(saved, theirs)


NETWORK = Contract("network", Lessons, OPTIONS)


def check_network(cls: Callable[..., Network], space: spaces.Box | None = None, /, **options: object) -> None:
    """Run every check of a network.

    Args:
        cls: built as `cls(options, context)`.
        space: the only observation space it accepts. By default the kit tries float vectors, integer vectors, and two
            sorts of integer images of about 40 x 48; a network may refuse some, with a `UserError` or a `ValueError`.
        **options: values of `cls.Options`.
    """
    NETWORK.hold(cls, space, **options)


@NETWORK.check
def check_output_shapes(part: Subject) -> None:
    """Observations [B, ...] give an output [B, A, ...] and action values [B, A], finite float32, in either mode."""
    for device in devices():
        _assert_outputs(part, 2, 7, device=device)


@NETWORK.check
def check_single_observations(part: Subject) -> None:
    """A batch of one works, in training mode too: agents with one environment act on such batches."""
    _assert_outputs(part, 1)


@NETWORK.check
def check_integers_are_scaled(part: Subject) -> None:
    """Integer observations are scaled first: `self.scale(obs)` divides them by their space's bound.

    A network may scale in its own way. So a new one's values may be up to five times, and 1 more, of those for the same
    observations as floats in [-1, 1].
    """
    for attempt in attempts(part):
        space = attempt.space
        if np.issubdtype(space.dtype, np.integer):
            bound = max(abs(int(space.low.min())), abs(int(space.high.max())))
            obs, network = attempt.obs(32), attempt.part.eval()
            with torch.no_grad():
                largest, small = (float(network.q_values(network(x)).abs().max()) for x in (obs, obs.float() / bound))
            assert largest <= 5 * small + 1, (
                f"values of integers of {space} go up to {largest:.3g}, and to {small:.3g} where they are divided by "
                f"{bound}: call self.scale(obs) first in forward."
            )


@NETWORK.check
def check_loss(part: Subject) -> None:
    """`td_loss` returns a finite loss [B] with gradients, and finite TD errors [B] without gradients."""
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
def check_gradients(part: Subject) -> None:
    """Every parameter gets a gradient from the loss within a few steps, in one of the modes."""
    for attempt in attempts(part):
        network = attempt.part
        trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        assert trainable, "the network has no parameters to learn."
        optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
        reached: set[str] = set()
        for step in range(8):
            # In training mode BatchNorm cancels the bias before it; in evaluation mode noise is off.
            network.train(step % 2 == 0)
            attempt.learn(attempt.batch(16), optimiser)
            grads = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
            assert all(bool(torch.isfinite(grad).all()) for grad in grads.values()), "a gradient is not finite."
            reached |= {name for name, grad in grads.items() if bool(grad.any())}
        assert reached >= trainable, f"no gradient reached {', '.join(sorted(trainable - reached))}."


@NETWORK.check
def check_terminal_steps(part: Subject) -> None:
    """The next observation affects loss and TD errors only if the discount is not 0."""
    for attempt in attempts(part):
        attempt.shake()
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
def check_next_actions(part: Subject) -> None:
    """The loss uses the next values of `next_actions`, which the agent chose."""
    for attempt in attempts(part):
        attempt.shake()
        batch = attempt.batch(16)
        losses = [attempt.loss(batch, torch.full_like(batch.actions, action)) for action in (0, 1)]
        assert not _close(*losses), "the loss is the same whatever next_actions are: Double Q-learning has no effect."


@NETWORK.check
def check_loss_teaches(part: Subject) -> None:
    """Steps along the loss move the value of the taken action towards its reward."""
    for attempt in attempts(part):
        network = attempt.part.train()
        batch = attempt.batch(16)
        rewards = torch.where(batch.actions % 2 == 0, 1.0, -1.0)
        batch = dataclasses.replace(batch, rewards=rewards, discounts=torch.zeros_like(rewards))
        optimiser = torch.optim.Adam(network.parameters(), lr=4e-3)
        distances = []
        for _ in range(400):
            with torch.no_grad():
                values = network.q_values(network(batch.obs)).gather(1, batch.actions[:, None])[:, 0]
            distances.append(float((values - rewards).abs().mean()))
            if distances[-1] < 0.5 * distances[0]:
                break
            attempt.learn(batch, optimiser)
        assert min(distances) < 0.5 * distances[0], (
            f"after {len(distances)} steps along the loss, values are {distances[-1]:.3g} from their rewards, from "
            f"{distances[0]:.3g} at first: expected half."
        )
        return  # one space is enough: the loss does not depend on it


@NETWORK.check
def check_rows_stay_apart(part: Subject) -> None:
    """In evaluation mode, neither the other rows of a batch nor their order affect a row's output and loss."""
    for attempt in attempts(part):
        attempt.shake()
        batch = attempt.batch(6)
        order = torch.tensor([3, 0, 5, 1, 4, 2], device=batch.obs.device)
        values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        moved = Batch(**{name: value[order] for name, value in values.items() if value is not None})
        with torch.no_grad():
            output = attempt.part(batch.obs)
            pairs = [(output[order], attempt.part(moved.obs)), (output[2:3], attempt.part(batch.obs[2:3]))]
            pairs += [(a[order], b) for a, b in zip(attempt.loss(batch), attempt.loss(moved), strict=True)]
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in pairs), (
            "the output or the loss of a transition depends on the others in its batch, or on its place among them."
        )


@NETWORK.check
def check_target_copy(part: Subject) -> None:
    """A deep copy in evaluation mode shares no memory with the network, and running it does not change it."""
    for attempt in attempts(part):
        attempt.shake()
        obs = attempt.obs(4)
        target = copy.deepcopy(attempt.part)
        tensors = [(*network.parameters(), *network.buffers()) for network in (attempt.part, target)]
        pointers, copy_pointers = ({tensor.data_ptr() for tensor in some if tensor.numel()} for some in tensors)
        assert not pointers & copy_pointers, "a deep copy shares tensors with the network that it was copied from."
        target.eval().requires_grad_(False)
        before = snapshot(dict(target.state_dict()))
        with torch.no_grad():
            first = target(obs)
            attempt.part.train()
            attempt.learn(attempt.batch(8))
            second = target(obs)
        assert torch.equal(first, second), (
            "a copy in evaluation mode gave another output when the network it was copied from was trained, or when it "
            "was asked twice."
        )
        assert_same(before, dict(target.state_dict()), "running a copy in evaluation mode changed its state")


@NETWORK.check
def check_buffers_are_registered(part: Subject) -> None:
    """Every tensor of a module is a parameter or a registered buffer, so that `.to(device)` moves it."""
    for device in devices():
        for attempt in attempts(part, device=device):
            for name, module in attempt.part.named_modules():
                loose = [f"{name}.{key}".strip(".") for key, value in vars(module).items() if isinstance(value, Tensor)]
                assert not loose, f"{', '.join(loose)} is a plain attribute: use register_buffer."
            attempt.loss(attempt.batch(3))


# Randomness and state -------------------------------------------------------------------------------------------------


@NETWORK.check
def check_noise(part: Subject) -> None:
    """`resample_noise` draws from its `generator` argument alone: equal generators give equal outputs."""
    for attempt in attempts(part):
        network, obs, outputs = attempt.part.train(), attempt.obs(4), []
        for _ in range(2):
            network.resample_noise(SeedTree(3).torch("noise"))
            with torch.no_grad():
                outputs.append(network(obs))
        assert torch.equal(*outputs), "noise from equal generators differs: draw all of it from `generator`."


NETWORK.share(SEEDED)


def _assert_outputs(part: Subject, *counts: int, device: str = "cpu") -> None:
    for attempt in attempts(part, device=device):
        for training, count in itertools.product((True, False), counts):
            attempt.part.train(training)
            _assert_output(attempt, count)


def _assert_output(attempt: Attempt, count: int) -> None:
    actions = int(attempt.context.action_space.n)
    with torch.no_grad():
        fault = output_fault(attempt.part, attempt.obs(count), actions)
        assert not fault, f"for {count} observations of {attempt.space}: {UserError(fault)}"  # without marks
        output = attempt.part(attempt.obs(count))
        values = attempt.part.q_values(output)
    where = f"for {count} observations of {attempt.space}"
    assert_kind(values, f"torch.float32 [{count}, {actions}] on {values.device.type}", f"q_values {where}")
    assert output.dtype == torch.float32, f"forward {where}: expected float32, got {output.dtype}."
    for name, tensor in (("forward", output), ("q_values", values)):
        assert bool(torch.isfinite(tensor).all()), f"{name} {where} is not finite."


def _close(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(one, other, strict=True))
