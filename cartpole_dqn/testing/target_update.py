"""The contract of `TargetUpdate`: the target network follows the online one.

* `check_target_update`: every check of the kind.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from cartpole_dqn.contracts.parts import State, TargetUpdate
from cartpole_dqn.contracts.seeding import SeedTree, seeded_torch
from cartpole_dqn.testing._contract import Contract
from cartpole_dqn.testing._course import DETERMINISTIC, Course, Lasting
from cartpole_dqn.testing._options import SHARED
from cartpole_dqn.testing._spaces import context
from cartpole_dqn.testing._state import difference, snapshot

UPDATES = 20_000
"""How long the kit waits; an episode ends after every hundredth update."""


class TargetUpdateSubject(Lasting[TargetUpdate]):
    """A target update class."""

    @functools.cached_property
    def first(self) -> int:
        """The update after which the target moves for the first time."""
        first = next(Pair(self).moves(), None)
        assert first, "the weights never moved."
        return first

    @property
    def saved_after(self) -> tuple[int, ...]:  # type: ignore[override]
        """See `Lasting`."""
        return (1, max(1, self.first - 1), self.first, self.first + 1)

    @property
    def steps(self) -> int:  # type: ignore[override]
        """See `Lasting`."""
        return min(2 * self.first, UPDATES)

    def course(self, seed: int = 0) -> Pair:
        """See `Lasting`."""
        return Pair(self)


TARGET_UPDATE: Contract[TargetUpdateSubject] = Contract("target-update", TargetUpdateSubject, SHARED)


def check_target_update(cls: Callable[..., TargetUpdate], /, **options: object) -> None:
    """Hold a target update to its contract.

    The kit makes 20,000 updates and ends 200 episodes, in which the target must get at least half way to an online
    network that stands still: give options with which it does.
    """
    TARGET_UPDATE.hold(cls, **options)


class Pair(Course):
    """An online network with its target, and a target update between them."""

    def __init__(self, part: TargetUpdateSubject) -> None:
        self.update = part.build(context())
        self._random = SeedTree(0).torch("weights")
        with seeded_torch(0):
            self.online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.target = copy.deepcopy(self.online).eval().requires_grad_(False)
        self.updates = 0
        self.learn()

    def learn(self) -> None:
        """Give the online network new weights and statistics."""
        with torch.no_grad():
            for tensor in (*self.online.parameters(), *self.online.buffers()):
                if tensor.dtype.is_floating_point:
                    tensor.copy_(torch.randn(tensor.shape, generator=self._random))
                else:
                    tensor.add_(1)

    def tell(self) -> None:
        """Tell of the next update, and after every hundredth of an episode's end."""
        self.updates += 1
        self.update.after_update(self.online, self.target, self.updates)
        if self.updates % 100 == 0:
            self.update.after_episode(self.online, self.target, self.updates // 100)

    def distance(self) -> float:
        """How far apart the weights are."""
        with torch.no_grad():
            return sum(float((a - b).norm()) for a, b in zip(self.online.parameters(), self.weights(), strict=True))

    def weights(self) -> list[Tensor]:
        """The target's."""
        return list(self.target.parameters())

    def moves(self) -> Iterator[int]:
        """Tell of updates; give the number of each after which the target's weights are others than before."""
        before = snapshot(self.weights())
        while self.updates < UPDATES:
            self.tell()
            if not all(map(torch.equal, before, self.weights())):
                before = snapshot(self.weights())
                yield self.updates

    def go(self, steps: int) -> dict[str, Any]:
        """See `Course`."""
        distances = []
        for _ in range(steps):
            self.tell()
            distances.append(self.distance())
        return {"distance": distances, "weights": snapshot(self.weights())}

    def state(self) -> State:
        """See `Course`."""
        return self.update.state_dict()

    @torch.no_grad()
    def take_over(self, state: State, other: Pair) -> None:
        """See `Course`."""
        for tensor, source in zip(_tensors(self), _tensors(other), strict=True):
            tensor.copy_(source)
        self.updates = other.updates
        self.update.load_state_dict(state)


@TARGET_UPDATE.check
def check_target_moves(part: TargetUpdateSubject) -> None:
    """The target gets nearer to an online network that stands still, never farther, and half way at least."""
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
def check_online_stays(part: TargetUpdateSubject) -> None:
    """The online network is only read: its weights, buffers, gradients and mode stay."""
    pair = Pair(part)
    pair.online(torch.ones(4, 3)).sum().backward()
    before, grads = snapshot(dict(pair.online.state_dict())), snapshot(_grads(pair.online))
    next(pair.moves(), None)
    place = difference(before, dict(pair.online.state_dict())) or difference(grads, _grads(pair.online))
    assert not place, f"the online network changed at {place}."
    assert pair.online.training, "the online network is no longer in training mode."
    assert all(p.requires_grad for p in pair.online.parameters()), "the online network takes no gradients any more."


@TARGET_UPDATE.check
def check_buffers_are_copied(part: TargetUpdateSubject) -> None:
    """Whenever weights move, buffers (BatchNorm's statistics) become the online network's, and are not averaged."""
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
def check_target_is_its_own(part: TargetUpdateSubject) -> None:
    """The target shares no memory with the online network, keeps its tensors, and takes no gradients."""
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


def _tensors(pair: Pair) -> list[Tensor]:
    return [t for network in (pair.online, pair.target) for t in (*network.parameters(), *network.buffers())]


def _grads(network: nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in network.parameters()]
