"""The target update checks: right ones pass them all, and each way to be wrong is named by its check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from broken import after, broken, name_all
from cartpole_dqn.contracts.parts import Context, State, TargetUpdate


class PlainUpdate(TargetUpdate):
    """Takes over a share of the online weights now and then; counts for itself, and so has state."""

    tau, every = 0.25, 3

    def __init__(self, options: Any, context: Context) -> None:
        self.waited = 0

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


def also(action: Callable[[nn.Module, nn.Module], object]) -> Any:
    """An update that does more to the online and target networks, once it has moved the target."""

    @torch.no_grad()
    def move(self: PlainUpdate, online: nn.Module, target: nn.Module) -> None:
        PlainUpdate.move(self, online, target)
        action(online, target)

    return broken(PlainUpdate, move=move)


def averaged(self: PlainUpdate, online: nn.Module, target: nn.Module) -> None:
    for source, goal in zip(online.buffers(), target.buffers(), strict=True):
        goal.copy_(goal + self.tau * (source - goal))


def share_memory(online: nn.Module, target: nn.Module) -> None:
    for source, goal in zip(online.parameters(), target.parameters(), strict=True):
        goal.data = source.data


def replace_tensors(online: nn.Module, target: nn.Module) -> None:
    for module in target.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.clone(), requires_grad=False))


Idle = broken(PlainUpdate, move=lambda self, online, target: None)
WrongWay = broken(PlainUpdate, tau=-0.25)
TooSlow = broken(PlainUpdate, tau=1e-5)
MovesTheOnline = also(lambda online, target: [*map(Tensor.copy_, online.parameters(), target.parameters())])
FreezesTheOnline = also(lambda online, target: online.requires_grad_(False))
ForgetsGradients = also(lambda online, target: online.zero_grad())
EvaluatesTheOnline = also(lambda online, target: online.eval())
AveragesBuffers = broken(PlainUpdate, copy_buffers=averaged)
SharesMemory = also(share_memory)
NewTensors = also(replace_tensors)
TracksGradients = also(lambda online, target: target.requires_grad_(True))
TrainsTheTarget = also(lambda online, target: target.train())
CountsWithoutState = after(PlainUpdate, "state_dict", lambda state: {"waited": 0})
name_all(globals())
RIGHT = [PlainUpdate, AfterEpisodes]
TABLE = [
    # (class, the check that names the fault, words of its message)
    (Idle, "check_target_moves", "never moved"),
    (WrongWay, "check_target_moves", "farther from the online network"),
    (TooSlow, "check_target_moves", "still 94%"),
    (MovesTheOnline, "check_online_stays", "the online network changed"),
    (FreezesTheOnline, "check_online_stays", "no gradients any more"),
    (ForgetsGradients, "check_online_stays", "the online network's gradients changed"),
    (EvaluatesTheOnline, "check_online_stays", "no longer in training mode"),
    (AveragesBuffers, "check_buffers_are_copied", "running_mean"),
    (SharesMemory, "check_target_is_its_own", "shares its memory"),
    (NewTensors, "check_target_is_its_own", "copy into those"),
    (TracksGradients, "check_target_is_its_own", "torch.no_grad()"),
    (TrainsTheTarget, "check_target_is_its_own", "training mode"),
    (CountsWithoutState, "check_state_round_trip", "continued differently"),
]
