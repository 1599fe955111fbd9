"""The contract of `TargetUpdate`: the target network follows the online one.

* `check_target_update`: every check of the kind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from cartpole_dqn.contracts.parts import TargetUpdate
from cartpole_dqn.contracts.seeding import SeedTree, seeded_torch
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._options import SHARED
from cartpole_dqn.testing._spaces import context
from cartpole_dqn.testing._state import difference, global_randomness_untouched, snapshot

TARGET_UPDATE: Contract[Subject[TargetUpdate]] = Contract("target-update", Subject, SHARED)
UPDATES = 20_000
"""How long the kit waits; an episode ends after every hundredth update."""


def check_target_update(cls: Callable[..., TargetUpdate], /, **options: object) -> None:
    """Hold a target update to its contract.

    The kit makes 20,000 updates and ends 200 episodes, in which the target must get at least half way to an online
    network that stands still: give options with which it does.

    Args:
        cls: built as `cls(options, context)`.
        **options: values of `cls.Options`.

    Raises:
        AssertionError: names each check that failed, and what was wrong.
    """
    TARGET_UPDATE.hold(cls, **options)


class Pair:
    """An online network with its target, and a target update between them."""

    def __init__(self, part: Subject[TargetUpdate]) -> None:
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


@TARGET_UPDATE.check
def check_target_moves(part: Subject[TargetUpdate]) -> None:
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
def check_online_stays(part: Subject[TargetUpdate]) -> None:
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
def check_buffers_are_copied(part: Subject[TargetUpdate]) -> None:
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
def check_target_is_its_own(part: Subject[TargetUpdate]) -> None:
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


@TARGET_UPDATE.check
def check_determinism(part: Subject[TargetUpdate]) -> None:
    """Equal courses lead to equal targets, and the global generators are left alone."""
    pairs = [Pair(part), Pair(part)]
    with global_randomness_untouched("the target update"):
        moves = [next(pair.moves(), None) for pair in pairs]
    assert moves[0], "the weights never moved."
    place = difference(snapshot(pairs[0].weights()), snapshot(pairs[1].weights()), "weights")
    assert moves[0] == moves[1], f"of two equal courses one moved the target at update {moves[0]}, one at {moves[1]}."
    assert not place, f"two equal courses led to different targets: {place}."


@TARGET_UPDATE.check
def check_state_round_trip(part: Subject[TargetUpdate]) -> None:
    """A new target update that takes over a state goes on exactly as the old one, from any update on."""
    first = next(Pair(part).moves(), None)
    assert first, "the weights never moved."
    for done in {1, max(1, first - 1), first, first + 1}:
        old, new = Pair(part), Pair(part)
        for _ in range(done):
            old.tell()
        for tensor, source in zip(_tensors(new), _tensors(old), strict=True):
            with torch.no_grad():
                tensor.copy_(source)
        new.updates = old.updates
        new.update.load_state_dict(snapshot(old.update.state_dict()))
        for _ in range(min(2 * first, UPDATES)):
            old.tell()
            new.tell()
            assert all(map(torch.equal, old.weights(), new.weights())), (
                f"saved after update {done} and loaded into another, it led to a different target by update "
                f"{old.updates}."
            )


def _tensors(pair: Pair) -> list[Tensor]:
    return [t for network in (pair.online, pair.target) for t in (*network.parameters(), *network.buffers())]


def _grads(network: nn.Module) -> list[Tensor | None]:
    return [parameter.grad for parameter in network.parameters()]
