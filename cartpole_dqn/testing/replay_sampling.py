"""The contract of `ReplayBuffer`, second half: which transitions are sampled, randomness and state.

`replay.check_replay` runs these checks too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from cartpole_dqn.contracts.parts import ReplayBuffer
from cartpole_dqn.testing._contract import Subject
from cartpole_dqn.testing._course import SEEDED
from cartpole_dqn.testing._spaces import UNREADABLE, context
from cartpole_dqn.testing._state import assert_same, snapshot
from cartpole_dqn.testing._story import Draws, Story, draw, draw_batch, fill, known, live
from cartpole_dqn.testing.replay import REPLAY as REPLAY
from cartpole_dqn.testing.replay import build

SURE = 40
"""Draws for each transition. A transition as likely as the others is missed with a probability of e^-40."""
OFTEN = 400
"""Draws for each transition that measure its probability to about 5%."""
MANY = 5000
"""Slots that show a slow change of probability with age."""


def _uneven(part: Subject, n_step: int = 1) -> tuple[ReplayBuffer, Story]:
    """Return a replay with 13, 5 and 2 transitions in three lanes, and its story."""
    replay, story = build(part, context(n_step=n_step))
    for env, count in enumerate((13, 5, 2)):
        for _ in range(count):
            replay.add(story.step(env))
    return replay, story


@REPLAY.check
def check_everything_is_sampled(part: Subject) -> None:
    """Every complete transition can be sampled; the newest of a lane may wait for the next one."""
    for n_step in (1, 3):
        replay, story = _uneven(part, n_step)
        sampled = known(draw(replay, story, SURE * len(replay)))
        newest = {lane[-1].number for lane in story.lanes}
        complete = {step.number for step in story.steps() if story.outcome(step.number) is not None} - newest
        missing = complete - sampled
        assert not missing, (
            f"{len(missing)} of {len(complete)} complete transitions (n = {n_step}) were never sampled in "
            f"{SURE * len(replay)} draws."
        )


@REPLAY.check
def check_length(part: Subject) -> None:
    """`len` is the number of different transitions that can be sampled, also after some were overwritten."""
    for n_step in (1, 3):
        replay, story = _uneven(part, n_step)
        for rounds in (0, replay.capacity // 2):
            fill(replay, story, rounds)
            sampled = known(draw(replay, story, SURE * len(replay)))
            assert len(sampled) == len(replay), (
                f"len is {len(replay)}, but {len(sampled)} different transitions are sampled (n = {n_step})."
            )


@REPLAY.check
def check_has_enough(part: Subject) -> None:
    """`has_enough` is True for `len`, False for more while it fills, and True for the capacity once it is full."""
    for n_step in (1, 3):
        replay, story = build(part, context(n_step=n_step, num_envs=2))
        capacity = replay.capacity
        for tenth in range(15):
            count = len(replay)
            assert replay.has_enough(count), f"it holds {count} transitions, and has_enough({count}) is False."
            too_early = tenth < 2 and count < capacity and replay.has_enough(capacity)
            assert not too_early, f"it holds {count} transitions and still fills, and has_enough({capacity}) is True."
            fill(replay, story, max(1, capacity // 10))
        assert replay.has_enough(capacity), (
            f"it is full with {len(replay)} transitions, and has_enough({capacity}), its capacity, is False: an agent "
            f"that waits for as many never learns."
        )


@REPLAY.check
def check_new_replaces_old(part: Subject) -> None:
    """A full replay still stores new transitions."""
    replay, story = build(part, context())
    fill(replay, story, replay.capacity // 2)
    old = {step.number for step in story.steps()}
    fill(replay, story, replay.capacity // 2)
    sampled = known(draw(replay, story, SURE * len(replay)))
    assert sampled - old, f"after {2 * len(old)} transitions only the first {len(old)} are sampled."


@REPLAY.check
def check_even_sampling(part: Subject) -> None:
    """Before TD errors are reported, weights correct for uneven sampling; all are 1 if sampling is even.

    Lanes of different lengths reveal a replay that chooses a lane first. Tenths of thousands of transitions reveal a
    slow change with age.
    """
    replay, story = _uneven(part)
    _assert_weights_undo_sampling(replay, _draw_often(replay, story))
    replay, story = build(part, context(num_envs=1), MANY)
    fill(replay, story, min(MANY, replay.capacity) * 4 // 5)
    lane = story.lanes[0]
    if len(replay) > max(1000, len(lane) - 2):  # else it is too small, or chose what to keep
        draws = draw(replay, story, OFTEN * 50)
        bounds = [lane[len(lane) * i // 10].number for i in range(1, 10)]
        tenths = np.searchsorted(bounds, draws.numbers, side="right")
        _assert_weights_undo_sampling(replay, draws._replace(numbers=tenths), "tenth")


@REPLAY.check
def check_weights(part: Subject) -> None:
    """Weights are in (0, 1], and the largest is 1, before and after TD errors are reported."""
    replay, story = build(part, context())
    for rounds in (8, replay.capacity // 2):
        live(replay, story, rounds)
        _assert_weights(draw(replay, story, SURE * len(replay)))


@REPLAY.check
def check_zero_errors(part: Subject) -> None:
    """With TD errors of 0, every transition can still be sampled, and every weight is finite."""
    replay, story = _uneven(part)
    _report_all(replay, story, lambda number: 0.0)
    draws = draw(replay, story, SURE * len(replay))
    _assert_weights(draws)
    assert len(known(draws)) == len(replay), "transitions were never sampled again once their TD error was 0."


@REPLAY.check
def check_indices(part: Subject) -> None:
    """Each stored transition has one index, which no other has and which does not change."""
    replay, story = _uneven(part)
    first = _names(draw(replay, story, SURE * len(replay)))
    live(replay, story, 2)
    again = _names(draw(replay, story, SURE * len(replay)))
    both = first.keys() & again.keys()
    assert both, "no transition was sampled both before and after a few more were added."
    changed = [number for number in both if first[number] != again[number]]
    assert not changed, f"the indices of {len(changed)} stored transitions changed when a few more were added."


@REPLAY.check
def check_priorities(part: Subject) -> None:
    """After TD errors of many sizes were reported, weights still correct for uneven sampling."""
    replay, story = _uneven(part)
    _report_all(replay, story, lambda number: (0.1, -0.5, 2.0, -8.0)[number % 4])
    _assert_weights_undo_sampling(replay, _draw_often(replay, story))


@REPLAY.check
def check_stale_indices(part: Subject) -> None:
    """TD errors of overwritten transitions are ignored: later batches do not change."""
    pairs = [build(part, context()) for _ in range(3)]
    earlies = []
    for replay, story in pairs:
        earlies.append(live(replay, story, 8)[-1])
        fill(replay, story, replay.capacity // 2)
    early, (replay, story) = earlies[0], pairs[0]
    stored = known(draw(*pairs[2], SURE * len(pairs[2][0])))
    stale = [i for i, row in enumerate(story.rows(early)) if row.number not in stored]
    assert stale, f"no transition of the first 24 was overwritten by {replay.capacity // 2 * 3} more."
    replay.update_priorities(early.indices[stale], torch.full((len(stale),), 1e3))
    _assert_same_batches(pairs[0], pairs[1], "TD errors of overwritten transitions were reported")


@REPLAY.check
def check_unknown_indices(part: Subject) -> None:
    """An index that `sample` never returned raises an exception, or changes nothing."""
    for index in (-1, 10**12 + 7):
        one, other = (build(part, context()) for _ in range(2))
        for replay, story in (one, other):
            live(replay, story, 8)
        with contextlib.suppress(Exception):  # both are allowed: only later batches count
            one[0].update_priorities(torch.tensor([index]), torch.tensor([1e3]))
        _assert_same_batches(one, other, f"a TD error of the unknown index {index} was reported")


REPLAY.share(SEEDED)


@REPLAY.check
def check_small_state(part: Subject) -> None:
    """`small_state_dict` is empty, or small; two replays that load it sample equally."""
    old = part.course()
    old.go(old.part.capacity // 5 * 2)
    state = snapshot(old.part.small_state_dict())
    if not state:
        return
    stored = [len(array) for array in _arrays(state) if len(array) >= old.part.capacity]
    assert not stored, f"it holds an array of {stored[0]}: data of each transition belongs in state_dict."
    results = []
    for seed in (1, 2):
        new = part.course(seed=seed)
        new.part.load_small_state_dict(state)
        loaded = snapshot(new.part.small_state_dict())
        assert_same(state, loaded, "a small state that was loaded became another", "state")
        results.append(new.go(20))
    problem = "two replays that loaded one small state, and stored the same, differ"
    assert_same(results[0], results[1], problem, "results")


def _arrays(state: Any) -> Iterator[Any]:
    if isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from _arrays(value)
    elif isinstance(state, np.ndarray | torch.Tensor) and state.ndim and state.dtype != torch.uint8:  # a generator's
        yield state


def _draw_often(replay: ReplayBuffer, story: Story) -> Draws:
    return draw(replay, story, OFTEN * len(replay), small=True)


def _assert_weights_undo_sampling(replay: ReplayBuffer, draws: Draws, what: str = "transition") -> None:
    """Check that weights are c P^-beta for a beta from 0.05 to 1, where P is a transition's sampling probability.

    If the replay has an attribute `beta` below that, its weights hardly correct anything and are not checked. Each
    batch may have a factor c of its own. So log weights are split into a part of the batch and a part of the
    transition, which is -beta log P. That gives P for every beta, and one of them must explain the counts.
    """
    if float(getattr(replay, "beta", 1.0)) < 0.05:
        return
    _, which, counts = np.unique(draws.numbers, return_inverse=True, return_counts=True)
    logs, sizes = np.log(draws.weights), np.bincount(draws.batches)
    log_weights, shift = np.zeros(len(counts)), np.zeros(len(sizes))
    for _ in range(100):
        shift = np.bincount(draws.batches, logs - log_weights[which]) / sizes
        log_weights = np.bincount(which, logs - shift[draws.batches]) / counts
    misfits = []
    for beta in np.linspace(0.05, 1, 39):
        scaled = np.exp(-(log_weights - log_weights.max()) / beta)
        expected = scaled / scaled.sum() * len(draws.numbers)
        misfits.append(float(((counts - expected) ** 2 / expected).mean()))
    rarest, commonest = counts.argmin(), counts.argmax()
    least, most = np.exp(log_weights[[rarest, commonest]] - log_weights.max())
    assert min(misfits) < 5, (
        f"of {len(counts)} {what}s the commonest was sampled {counts[commonest]} times with the weight {most:.3g}, the "
        f"rarest {counts[rarest]} times with the weight {least:.3g}. Expected weights of 1 where all are as likely, "
        f"else (p / min p)^-beta for a beta of at most 1."
    )


def _assert_same_batches(one: tuple[ReplayBuffer, Story], other: tuple[ReplayBuffer, Story], when: str) -> None:
    """Use both for a while and compare every batch."""
    assert_same(live(*one, 10), live(*other, 10), f"the batches differ after {when}", "batches")


def _assert_weights(draws: Draws) -> None:
    least, most = float(draws.weights.min()), float(draws.weights.max())
    assert np.isfinite(draws.weights).all(), "a weight is not finite."
    assert 0 < least <= most <= 1 + 1e-5, f"weights range from {least:.3g} to {most:.3g}: expected (0, 1]."
    assert most > 0.99, f"the largest of {len(draws.weights)} weights is {most:.3g}: divide by the largest."


def _report_all(replay: ReplayBuffer, story: Story, error_of: Callable[[int], float]) -> None:
    """Report a TD error for every transition."""
    reported: set[int] = set()
    for _ in range(SURE * len(replay)):
        batch = draw_batch(replay)
        numbers = [row.number for row in story.rows(batch)]
        replay.update_priorities(batch.indices, torch.tensor([error_of(number) for number in numbers]))
        reported.update(numbers)
        if len(reported - {UNREADABLE}) >= len(replay):
            return
    raise AssertionError(f"only {len(reported)} of {len(replay)} transitions came in {SURE * len(replay)} batches.")


def _names(draws: Draws) -> dict[int, int]:
    """Return the index of each drawn number; both must be one to one."""
    pairs = set(zip(draws.numbers.tolist(), draws.indices.tolist(), strict=True))
    names = dict(pairs)
    assert len(names) == len(pairs), "a transition was named by two different indices."
    assert len(set(names.values())) == len(names), "two different transitions had the same index."
    return names
