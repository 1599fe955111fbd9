"""The contract of `Network`: observations in, action values out, and a loss that teaches them.

* `check_network`: every check of the kind.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from cartpole_dqn.contracts.parts import Batch, Network
from cartpole_dqn.contracts.seeding import SeedTree, seeded_torch
from cartpole_dqn.testing._contract import Contract
from cartpole_dqn.testing._options import SHARED
from cartpole_dqn.testing._spaces import devices
from cartpole_dqn.testing._state import difference, global_randomness_untouched, snapshot
from cartpole_dqn.testing._trial import NetworkSubject, Trial, trials

NETWORK: Contract[NetworkSubject] = Contract("network", NetworkSubject, SHARED)


def check_network(cls: Callable[..., Network], space: spaces.Box | None = None, /, **options: object) -> None:
    """Hold a network to its contract.

    Args:
        cls: built as `cls(options, context)`.
        space: the observations it is made for. By default the kit tries float vectors, integer vectors, and two sorts
            of integer images of about 40 x 48; a network may refuse some, by a `UserError` or a `ValueError`.
        **options: values of `cls.Options`.

    Raises:
        AssertionError: names each check that failed, and what was wrong.
    """
    NETWORK.hold(cls, space, **options)


@NETWORK.check
def check_output_shapes(part: NetworkSubject) -> None:
    """[B, ...] as in the space -> output [B, A, ...] and action values [B, A], finite float32, training or not."""
    for device in devices():
        for trial in trials(part, device=device):
            for training in (True, False):
                trial.network.train(training)
                for count in (2, 7):
                    _assert_output(trial, count)


@NETWORK.check
def check_single_observations(part: NetworkSubject) -> None:
    """A batch of one works, in training mode too: that is how an agent with one environment acts."""
    for trial in trials(part):
        for training in (True, False):
            trial.network.train(training)
            _assert_output(trial, 1)


@NETWORK.check
def check_integers_are_scaled(part: NetworkSubject) -> None:
    """Integer observations are made small first: `self.scale(obs)` divides them by their space's bound.

    Held loosely, for a network may scale in its own way: a new one's values stay of the size that they have for the
    same observations as floats in [-1, 1].
    """
    for trial in trials(part):
        space = trial.space
        if np.issubdtype(space.dtype, np.integer):
            bound = max(abs(int(space.low.min())), abs(int(space.high.max())))
            obs, network = trial.obs(32), trial.network.eval()
            with torch.no_grad():
                came, small = (float(network.q_values(network(x)).abs().max()) for x in (obs, obs.float() / bound))
            assert came <= 5 * small + 1, (
                f"values of integers of {space} go up to {came:.3g}, and to {small:.3g} where they are divided by "
                f"{bound}: call self.scale(obs) first in forward."
            )


@NETWORK.check
def check_loss(part: NetworkSubject) -> None:
    """`td_loss` gives a finite loss [B] with gradients, and finite TD errors [B] without."""
    for trial in trials(part):
        for count in (1, 5):
            loss, td_errors = trial.loss(trial.batch(count))
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
    for trial in trials(part):
        network = trial.network
        wanted = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        assert wanted, "the network has no parameters to learn."
        optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
        reached: set[str] = set()
        for step in range(8):
            # In training mode BatchNorm hides the bias before it; out of it noise may be hidden.
            network.train(step % 2 == 0)
            network.resample_noise(trial.generator)
            optimiser.zero_grad()
            trial.loss(trial.batch(16))[0].mean().backward()  # type: ignore[no-untyped-call]
            grads = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
            assert all(bool(torch.isfinite(grad).all()) for grad in grads.values()), "a gradient is not finite."
            reached |= {name for name, grad in grads.items() if bool(grad.any())}
            optimiser.step()
        assert reached >= wanted, f"no gradient reached {', '.join(sorted(wanted - reached))}."


@NETWORK.check
def check_terminal_steps(part: NetworkSubject) -> None:
    """With a discount of 0 the next observation changes neither loss nor TD errors; with another discount it does."""
    for trial in trials(part):
        trial.shake()
        trial.network.eval()
        batch = trial.batch(8)
        for discount, matters in ((0.0, False), (0.9, True)):
            one = dataclasses.replace(batch, discounts=torch.full_like(batch.discounts, discount))
            other = dataclasses.replace(one, next_obs=trial.obs(8))
            same = _close(trial.loss(one), trial.loss(other))
            assert same != matters, (
                "the next value counts although the discount is 0: a terminated step must not bootstrap."
                if not matters
                else "the next value counts for nothing although the discount is 0.9."
            )


@NETWORK.check
def check_next_actions(part: NetworkSubject) -> None:
    """The next value is read at `next_actions`, as the agent chose them."""
    for trial in trials(part):
        trial.shake()
        trial.network.eval()
        batch = trial.batch(16)
        losses = [trial.loss(batch, torch.full_like(batch.actions, action)) for action in (0, 1)]
        assert not _close(*losses), "the loss is the same whatever next_actions are: Double Q-learning has no effect."


@NETWORK.check
def check_loss_teaches(part: NetworkSubject) -> None:
    """Following the loss moves the value of the action that was taken towards its reward."""
    for trial in trials(part):
        network = trial.network.train()
        batch = trial.batch(16)
        rewards = torch.where(batch.actions % 2 == 0, 1.0, -1.0)
        batch = dataclasses.replace(batch, rewards=rewards, discounts=torch.zeros_like(rewards))
        optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
        distances = []
        for _ in range(400):
            network.resample_noise(trial.generator)
            with torch.no_grad():
                chosen = network.q_values(network(batch.obs)).gather(1, batch.actions[:, None])[:, 0]
            distances.append(float((chosen - rewards).abs().mean()))
            if distances[-1] < 0.5 * distances[0]:
                break
            optimiser.zero_grad()
            trial.loss(batch)[0].mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        assert min(distances) < 0.5 * distances[0], (
            f"after {len(distances)} steps along the loss, values are {distances[-1]:.3g} from their rewards, from "
            f"{distances[0]:.3g} at first: expected half."
        )
        return  # one space is enough: the loss does not know it


@NETWORK.check
def check_rows_stay_apart(part: NetworkSubject) -> None:
    """Out of training mode, a row of the batch is valued alike whatever stands in the other rows, and at any place."""
    for trial in trials(part):
        trial.shake()
        trial.network.eval()
        batch = trial.batch(6)
        order = torch.tensor([3, 0, 5, 1, 4, 2], device=batch.obs.device)
        values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        moved = Batch(**{name: value[order] for name, value in values.items() if value is not None})
        with torch.no_grad():
            output = trial.network(batch.obs)
            pairs = [(output[order], trial.network(moved.obs)), (output[2:3], trial.network(batch.obs[2:3]))]
            pairs += [(a[order], b) for a, b in zip(trial.loss(batch), trial.loss(moved), strict=True)]
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in pairs), (
            "the output or the loss of a transition depends on the others in its batch, or on its place among them."
        )


@NETWORK.check
def check_target_copy(part: NetworkSubject) -> None:
    """A deep copy in evaluation mode shares nothing with the network, and running it changes nothing in it."""
    for trial in trials(part):
        trial.shake()
        obs = trial.obs(4)
        target = copy.deepcopy(trial.network)
        shared = _addresses(trial.network) & _addresses(target)
        assert not shared, "a deep copy shares tensors with the network that it was copied from."
        target.eval().requires_grad_(False)
        before = snapshot(dict(target.state_dict()))
        with torch.no_grad():
            first = target(obs)
            _train_a_little(trial)
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
        for trial in trials(part, device=device):
            for name, module in trial.network.named_modules():
                loose = [f"{name}.{key}".strip(".") for key, value in vars(module).items() if isinstance(value, Tensor)]
                assert not loose, f"{', '.join(loose)} is a plain attribute: use register_buffer."
            trial.loss(trial.batch(3))


# Randomness and state -------------------------------------------------------------------------------------------------


@NETWORK.check
def check_same_seed(part: NetworkSubject) -> None:
    """Equal seeds give equal weights, and other seeds others."""
    same, again, other = (list(trials(part, seed=seed)) for seed in (0, 0, 1))
    for a, b, c in zip(same, again, other, strict=True):
        states = [dict(trial.network.state_dict()) for trial in (a, b, c)]
        place = difference(states[0], states[1], "state_dict")
        assert not place, f"two networks built with equal seeds differ: {place}."
        assert difference(states[0], states[2]), "two networks built with different seeds are the same."


@NETWORK.check
def check_global_randomness(part: NetworkSubject) -> None:
    """Outputs, losses and noise leave the global generators alone and do not depend on them."""
    for trial in trials(part):
        for training in (True, False):
            trial.network.train(training)
            batch, twin = trial.batch(4), copy.deepcopy(trial.network)
            results = []
            for network, seed in ((trial.network, 1), (twin, 2)):
                trial.network = network
                generator = SeedTree(0).torch("noise")
                with seeded_torch(seed), global_randomness_untouched("the network"):
                    network.resample_noise(generator)
                    results.append(trial.loss(batch)[1])
            assert torch.equal(*results), "the network depends on torch's global seed."


@NETWORK.check
def check_noise(part: NetworkSubject) -> None:
    """`resample_noise` draws from its generator alone: equal generators give equal outputs."""
    for trial in trials(part):
        network, obs, outputs = trial.network.train(), trial.obs(4), []
        for _ in range(2):
            network.resample_noise(SeedTree(3).torch("noise"))
            with torch.no_grad():
                outputs.append(network(obs))
        assert torch.equal(*outputs), "noise from equal generators differs: draw all of it from `generator`."


@NETWORK.check
def check_state_round_trip(part: NetworkSubject) -> None:
    """A network built with another seed that takes over a state gives the same outputs, training or not."""
    for trial, other in zip(trials(part), trials(part, seed=1), strict=True):
        trial.shake()
        _train_a_little(trial)
        other.network.load_state_dict(snapshot(dict(trial.network.state_dict())))
        obs = trial.obs(4)
        for training in (True, False):
            outputs = []
            for network in (trial.network, other.network):
                network.train(training).resample_noise(SeedTree(3).torch("noise"))
                with torch.no_grad():
                    outputs.append(network(obs))
            assert torch.equal(*outputs), "a network that took over a state gives other outputs: state is missing."


def _assert_output(trial: Trial, count: int) -> None:
    actions = int(trial.context.action_space.n)
    with torch.no_grad():
        output = trial.network(trial.obs(count))
        values = trial.network.q_values(output)
    where = f"for {count} observations of {trial.space}"
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


def _train_a_little(trial: Trial) -> None:
    network = trial.network.train()
    network.resample_noise(trial.generator)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    with torch.enable_grad():
        trial.loss(trial.batch(8))[0].mean().backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _close(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(one, other, strict=True))
