"""The contract of `TargetUpdate`: the target network follows the online one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from cartpole_dqn.contracts.parts import TargetUpdate
from cartpole_dqn.contracts.seeding import SeedTree, seeded_torch
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._course import DETERMINISTIC, OPTIONS, Course
from cartpole_dqn.testing._spaces import context
from cartpole_dqn.testing._state import assert_same, difference, snapshot

UPDATES = 20_000
"""The most updates of a check. An episode ends after every hundredth."""


class Pair(Course):
    """An online network with its target, and a target update between them."""

    part: TargetUpdate

    def __init__(self, part: Subject, seed: int = 0) -> None:
        self.part = part.build(context())
        self.random = SeedTree(0).torch("weights")
        with seeded_torch(0):
            self.online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.target = copy.deepcopy(self.online).eval().requires_grad_(False)
        self.updates = 0
        self.learn()

    @torch.no_grad()
    def learn(self) -> None:
        """Give the online network new weights and statistics."""
        for tensor in (*self.online.parameters(), *self.online.buffers()):
            if tensor.dtype.is_floating_point:
                tensor.copy_(torch.randn(tensor.shape, generator=self.random))
            else:
                tensor.add_(1)

    def step(self) -> None:
        """Report the next update, and after every hundredth the end of an episode."""
        self.updates += 1
        self.part.after_update(self.online, self.target, self.updates)
        if self.updates % 100 == 0:
            self.part.after_episode(self.online, self.target, self.updates // 100)

    @torch.no_grad()
    def distance(self) -> float:
        return sum(float((a - b).norm()) for a, b in zip(self.online.parameters(), self.weights(), strict=True))

    def weights(self) -> list[Tensor]:
        return list(self.target.parameters())

    def moves(self) -> Iterator[int]:
        """Make updates; yield the number of each that changes the target's weights."""
        before = snapshot(self.weights())
        while self.updates < UPDATES:
            self.step()
            if not all(map(torch.equal, before, self.weights())):
                before = snapshot(self.weights())
                yield self.updates

    def plan(self) -> tuple[int, Iterable[int]]:
        first = next(self.moves(), None)
        assert first, "the weights never moved."
        return min(2 * first, UPDATES), (1, max(1, first - 1), first, first + 1)

    def go(self, steps: int) -> dict[str, Any]:
        distances = []
        for _ in range(steps):
            self.step()
            distances.append(self.distance())
        return {"distance": distances, "weights": snapshot(self.weights())}


TARGET_UPDATE = Contract("target-update", Pair, OPTIONS)


def check_target_update(cls: Callable[..., TargetUpdate], /, **options: object) -> None:
    """Run every check of a target update.

    The kit makes at most 20,000 updates and 200 episodes, and the online network does not change. Give options with
    which the target covers at least half the distance to it in that time.
    """
    TARGET_UPDATE.hold(cls, **options)


@TARGET_UPDATE.check
def check_target_moves(part: Subject) -> None:
    """The target approaches a constant online network, never moves away, and covers half the distance or more."""
    pair = Pair(part)
    start = last = pair.distance()
    for move in pair.moves():
        now = pair.distance()
        assert now <= last + 1e-5, f"update {move} took the target farther from the online network: {last} to {now}."
        last = now
        if now < 0.01 * start:
            return
    assert last < start, f"the target never moved in {UPDATES} updates and {UPDATES // 100} episodes."
    assert last <= 0.5 * start, (
        f"after {UPDATES} updates and {UPDATES // 100} episodes the target is still {last / start:.0%} of its first "
        f"distance from the online network."
    )


@TARGET_UPDATE.check
def check_online_stays(part: Subject) -> None:
    """The online network does not change: neither weights, buffers, gradients nor mode."""
    pair = Pair(part)
    pair.online(torch.ones(4, 3)).sum().backward()
    parameters = list(pair.online.parameters())
    before, grads = snapshot(dict(pair.online.state_dict())), snapshot([p.grad for p in parameters])
    next(pair.moves(), None)
    assert_same(before, dict(pair.online.state_dict()), "the online network changed")
    assert_same(grads, [p.grad for p in parameters], "the online network's gradients changed")
    assert pair.online.training, "the online network is no longer in training mode."
    assert all(p.requires_grad for p in parameters), "the online network takes no gradients any more."


@TARGET_UPDATE.check
def check_buffers_are_copied(part: Subject) -> None:
    """When weights change, buffers (BatchNorm's statistics) are copied from the online network, not averaged."""
    pair = Pair(part)
    moved = 0
    for _ in pair.moves():
        moved += 1
        for (name, online), target in zip(pair.online.named_buffers(), pair.target.buffers(), strict=True):
            place = difference(online, target, f"buffer {name}")
            assert not place, (
                f"after weights moved, {place} of the target is {target.tolist()}, the online one's {online.tolist()}."
            )
        if moved == 3:
            return
        pair.learn()
    assert moved, "the weights never moved."


@TARGET_UPDATE.check
def check_target_is_its_own(part: Subject) -> None:
    """The target shares no memory with the online network, keeps its own tensors, and needs no gradients."""
    pair = Pair(part)
    tensors = [*pair.target.parameters(), *pair.target.buffers()]
    assert next(pair.moves(), None), "the weights never moved."
    now = [*pair.target.parameters(), *pair.target.buffers()]
    assert all(a is b for a, b in zip(tensors, now, strict=True)), (
        "the target has other tensors than before: copy into those that it has."
    )
    assert not any(tensor.requires_grad for tensor in now), "the target takes gradients: work inside torch.no_grad()."
    assert not pair.target.training, "the target is in training mode: leave its mode alone."
    before = snapshot(dict(pair.target.state_dict()))
    pair.learn()
    assert not difference(before, dict(pair.target.state_dict())), (
        "the target changed when the online network learned: it shares its memory."
    )


TARGET_UPDATE.share(DETERMINISTIC)
