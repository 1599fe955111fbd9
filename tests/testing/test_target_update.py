"""The target update checks: right ones pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from cartpole_dqn.contracts.options import option, options_class
from cartpole_dqn.contracts.parts import Context, State, TargetUpdate
from cartpole_dqn.testing import check_target_update


@options_class
class PlainOptions:
    tau: float = option(default=0.25, gt=0, le=1, effect="share taken over")
    every: int = option(default=3, ge=1, effect="updates between")


class PlainUpdate(TargetUpdate):
    """Takes over a share of the online weights now and then; counts for itself, and so has state."""

    Options: ClassVar[type] = PlainOptions

    def __init__(self, options: Any, context: Context) -> None:
        self.tau, self.every, self.waited = options.tau, options.every, 0

    def after_update(self, online: nn.Module, target: nn.Module, updates: int) -> None:
        self.waited += 1
        if self.waited == self.every:
            self.waited = 0
            self.move(online, target)

    @torch.no_grad()
    def move(self, online: nn.Module, target: nn.Module) -> None:
        for source, goal in zip(online.parameters(), target.parameters(), strict=True):
            goal.lerp_(source, self.tau)
        self.copy_buffers(online, target)

    def copy_buffers(self, online: nn.Module, target: nn.Module) -> None:
        for source, goal in zip(online.buffers(), target.buffers(), strict=True):
            goal.copy_(source)

    def state_dict(self) -> State:
        return {"waited": self.waited}

    def load_state_dict(self, state: State) -> None:
        self.waited = state["waited"]


class AfterEpisodes(PlainUpdate):
    """Copies everything after every third episode."""

    def after_update(self, online: nn.Module, target: nn.Module, updates: int) -> None:
        pass

    def after_episode(self, online: nn.Module, target: nn.Module, episodes: int) -> None:
        if episodes % 3 == 0:
            target.load_state_dict(online.state_dict())


# Broken ones: each in one way -----------------------------------------------------------------------------------------


class Idle(PlainUpdate):
    def move(self, online: nn.Module, target: nn.Module) -> None:
        pass


class WrongWay(PlainUpdate):
    @torch.no_grad()
    def move(self, online: nn.Module, target: nn.Module) -> None:
        for source, goal in zip(online.parameters(), target.parameters(), strict=True):
            goal.lerp_(source, -self.tau)
        self.copy_buffers(online, target)


class TooSlow(PlainUpdate):
    @torch.no_grad()
    def move(self, online: nn.Module, target: nn.Module) -> None:
        for source, goal in zip(online.parameters(), target.parameters(), strict=True):
            goal.lerp_(source, 1e-5)
        self.copy_buffers(online, target)


class MovesTheOnline(PlainUpdate):
    @torch.no_grad()
    def move(self, online: nn.Module, target: nn.Module) -> None:
        super().move(online, target)
        for source, goal in zip(online.parameters(), target.parameters(), strict=True):
            source.copy_(goal)


class FreezesTheOnline(PlainUpdate):
    def move(self, online: nn.Module, target: nn.Module) -> None:
        super().move(online, target)
        online.requires_grad_(False)


class ForgetsGradients(PlainUpdate):
    def move(self, online: nn.Module, target: nn.Module) -> None:
        super().move(online, target)
        online.zero_grad()


class EvaluatesTheOnline(PlainUpdate):
    def move(self, online: nn.Module, target: nn.Module) -> None:
        super().move(online.eval(), target)


class ForgetsBuffers(PlainUpdate):
    def copy_buffers(self, online: nn.Module, target: nn.Module) -> None:
        pass


class AveragesBuffers(PlainUpdate):
    def copy_buffers(self, online: nn.Module, target: nn.Module) -> None:
        for source, goal in zip(online.buffers(), target.buffers(), strict=True):
            goal.copy_(goal + self.tau * (source - goal))


class SharesMemory(PlainUpdate):
    def move(self, online: nn.Module, target: nn.Module) -> None:
        for source, goal in zip(online.parameters(), target.parameters(), strict=True):
            goal.data = source.data
        self.copy_buffers(online, target)


class NewTensors(PlainUpdate):
    def move(self, online: nn.Module, target: nn.Module) -> None:
        super().move(online, target)
        for module in target.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(parameter.clone(), requires_grad=False))


class TracksGradients(PlainUpdate):
    def move(self, online: nn.Module, target: nn.Module) -> None:
        target.requires_grad_(True)
        super().move(online, target)


class TrainsTheTarget(PlainUpdate):
    def move(self, online: nn.Module, target: nn.Module) -> None:
        super().move(online, target.train())


class CountsWithoutState(PlainUpdate):
    def state_dict(self) -> State:
        return {"waited": 0}


RIGHT = [PlainUpdate, AfterEpisodes]
TABLE = [
    # (class, the check that names the fault, words of its message, other checks that fail for the same reason)
    (Idle, "check_target_moves", "never moved", "*"),
    (WrongWay, "check_target_moves", "farther from the online network", ""),
    (TooSlow, "check_target_moves", "still 94%", ""),
    (MovesTheOnline, "check_online_stays", "the online network changed", ""),
    (FreezesTheOnline, "check_online_stays", "no gradients any more", ""),
    (ForgetsGradients, "check_online_stays", "the online network changed", ""),
    (EvaluatesTheOnline, "check_online_stays", "no longer in training mode", ""),
    (ForgetsBuffers, "check_buffers_are_copied", "running_mean", ""),
    (AveragesBuffers, "check_buffers_are_copied", "running_mean", ""),
    (SharesMemory, "check_target_is_its_own", "shares its memory", "check_buffers_are_copied"),
    (NewTensors, "check_target_is_its_own", "copy into those", ""),
    (TracksGradients, "check_target_is_its_own", "torch.no_grad()", ""),
    (TrainsTheTarget, "check_target_is_its_own", "training mode", ""),
    (CountsWithoutState, "check_state_round_trip", "continued differently", ""),
]


def test_all_at_once() -> None:
    check_target_update(PlainUpdate, tau=0.01, every=1)
    with pytest.raises(AssertionError, match="Idle fails 7 of 10 checks"):
        check_target_update(Idle)
