from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from cartpole_dqn.components.networks import Conv, Mlp
from cartpole_dqn.components.optimisers import Adam, AdamW, RmsProp, TorchOptimiser
from cartpole_dqn.contracts.parts import Context, Network
from cartpole_dqn.contracts.seeding import seeded_torch
from cartpole_dqn.errors import ConfigError
from cartpole_dqn.testing import check_optimiser

STATE = Context(observation_space=spaces.Box(-1, 1, (4,), np.float32), action_space=spaces.Discrete(2))
SCREEN = Context(observation_space=spaces.Box(0, 255, (20, 24, 2), np.uint8), action_space=spaces.Discrete(2))

TABLES: dict[Any, dict[str, Any]] = {
    RmsProp: {"lr": 1e-3, "alpha": 0.9, "eps": 0.01, "momentum": 0.9, "centered": True},
    Adam: {"lr": 5e-4, "eps": 1e-5, "betas": (0.8, 0.9), "amsgrad": True},
    AdamW: {"lr": 1e-3, "betas": (0.8, 0.9), "amsgrad": True, "weight_decay": 0.1},
}
PLAIN: dict[Any, Any] = {RmsProp: torch.optim.RMSprop, Adam: torch.optim.Adam, AdamW: torch.optim.AdamW}


def small_network(seed: int = 0, *, channels_last: bool = True) -> Network:
    with seeded_torch(seed):
        options = Conv.Options(channels=[4, 4], kernels=[4, 3], strides=[2, 2], hidden=8, channels_last=channels_last)
        return Conv(options, SCREEN)


def attached(part: Any, table: dict[str, Any], network: nn.Module) -> TorchOptimiser:
    optimiser: TorchOptimiser = part(part.Options(**table), STATE)
    optimiser.attach(list(network.parameters()))
    return optimiser


def screens(seed: int) -> Tensor:
    return torch.randint(0, 256, (4, 20, 24, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def learn(network: Network, optimiser: Any, seed: int) -> None:
    """One update; the loss is nothing but a function with gradients everywhere."""
    optimiser.zero_grad()
    # Now large, now small, or the largest mean square would be the latest one and amsgrad without effect.
    (0.1 ** (seed % 3) * (network(screens(seed)) - 3) ** 2).mean().backward()
    optimiser.step()


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("part", TABLES)
def test_contract(part: Any) -> None:
    check_optimiser(part, **TABLES[part], final_lr=1e-5, decay_updates=6)


@pytest.mark.parametrize(("part", "table"), TABLES.items())
def test_the_same_mathematics_as_torchs_plain_loop(part: Any, table: dict[str, Any]) -> None:
    network, reference = small_network(), small_network(channels_last=False)
    optimiser = attached(part, table, network)
    slow = PLAIN[part](reference.parameters(), foreach=False, **table)
    for i in range(5):
        # Both take the same gradients, or small differences would grow where the divisor is near zero.
        learn(network, optimiser, i)
        for ours, theirs in zip(network.parameters(), reference.parameters(), strict=True):
            assert ours.grad is not None
            theirs.grad = ours.grad.clone()
        slow.step()
        for ours, theirs in zip(network.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_the_learning_rate_moves_along_a_line_and_stays() -> None:
    network = small_network()
    optimiser = attached(Adam, {"lr": 1e-3, "final_lr": 2e-4, "decay_updates": 4}, network)
    rates = []
    for i in range(6):
        rates.append(optimiser.lr)
        learn(network, optimiser, i)
    assert rates == pytest.approx([1e-3, 8e-4, 6e-4, 4e-4, 2e-4, 2e-4])


@pytest.mark.parametrize("table", [{"final_lr": 1e-4}, {"decay_updates": 10}])
def test_half_a_schedule_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="set both"):
        Adam(Adam.Options(**table), STATE)


def test_use_before_and_after_attach() -> None:
    optimiser, network = Adam(Adam.Options(), STATE), small_network()
    with pytest.raises(RuntimeError, match=r"attach\(parameters\) first"):
        optimiser.step()
    with pytest.raises(ValueError, match="one parameter or more"):
        optimiser.attach([])
    optimiser.attach(list(network.parameters()))
    with pytest.raises(ValueError, match="attached once"):
        optimiser.attach(list(network.parameters()))


def test_a_state_for_other_parameters_is_refused() -> None:
    network = small_network()
    optimiser = attached(Adam, {}, network)
    learn(network, optimiser, 0)
    for hidden in ([], [3], [16, 16, 16, 16, 16, 16, 16]):
        other = attached(Adam, {}, Mlp(Mlp.Options(hidden=hidden), STATE))
        with pytest.raises(ValueError, match="saved with another"):
            other.load_state_dict(optimiser.state_dict())


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("part", [Adam, AdamW])
def test_steps_are_those_of_torch_to_the_bit(part: Any, amsgrad: bool) -> None:
    """Also where a gradient is missing now and then, and under a schedule."""
    options = part.Options(lr=0.01, amsgrad=amsgrad, final_lr=0.001, decay_updates=15)
    network, other = (nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)) for _ in range(2))
    other.load_state_dict(network.state_dict())
    ours = part(options, STATE)
    ours.attach(list(network.parameters()))
    theirs = ours.make(list(other.parameters()))
    generator = torch.Generator().manual_seed(0)
    for update in range(25):
        x = torch.randn(7, 3, generator=generator)
        for net in (network, other):
            net.zero_grad()
            net(x).square().mean().backward()
            if update in (6, 7, 12):
                net[2].bias.grad = None
        theirs.param_groups[0]["lr"] = ours.lr
        ours.step()
        theirs.step()
        assert equal(network, other), update
    assert ours.state_dict()["moments"].keys() == theirs.state_dict()["state"].keys()
    assert float(ours.state_dict()["moments"][0]["step"]) == 25
