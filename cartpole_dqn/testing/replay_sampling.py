"""The contract of `ReplayBuffer`, second half: which transitions are chosen, and what is remembered of them.

Coverage and evenness, priorities and weights, randomness, and state. `replay.check_replay` runs these checks too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cartpole_dqn.contracts.parts import ReplayBuffer
from cartpole_dqn.testing._course import SEEDED
from cartpole_dqn.testing._spaces import UNREADABLE, context
from cartpole_dqn.testing._state import difference, snapshot
from cartpole_dqn.testing._story import Draws, Story, draw, draw_batch, known, live, tell
from cartpole_dqn.testing.replay import REPLAY as REPLAY
from cartpole_dqn.testing.replay import Replays, build

SURE = 40
"""Draws for each transition after which none that is as likely as the others is unseen: but once in e^40."""
OFTEN = 400
"""Draws for each transition that tell how likely it is, to a twentieth."""
MANY = 5000
"""Slots, where what changes slowly with age is to show."""


def _uneven(part: Replays, n_step: int = 1) -> tuple[ReplayBuffer, Story]:
    """Return a replay with three lanes filled unlike each other, before anything is overwritten."""
    where = context(n_step=n_step)
    replay, story = build(part, where), Story(where)
    for env, count in enumerate((13, 5, 2)):
        for _ in range(count):
            replay.add(story.tell(env))
    return replay, story


@REPLAY.check
def check_everything_is_sampled(part: Replays) -> None:
    """Every transition that is complete and followed by another is sampled sooner or later."""
    for n_step in (1, 3):
        replay, story = _uneven(part, n_step)
        found = known(draw(replay, story.context.observation_space, SURE * len(replay)))
        newest = {lane[-1].number for lane in story.lanes}  # a replay may wait for what follows
        complete = {step.number for step in story.steps() if story.outcome(step.number) is not None} - newest
        missing = complete - found
        assert not missing, (
            f"{len(missing)} of {len(complete)} complete transitions (n = {n_step}) were never sampled in "
            f"{SURE * len(replay)} draws."
        )


@REPLAY.check
def check_length(part: Replays) -> None:
    """`len` is the number of different transitions that `sample` gives, before and after wrapping around."""
    for n_step in (1, 3):
        replay, story = _uneven(part, n_step)
        for rounds in (0, replay.capacity // 2):
            tell(replay, story, rounds)
            found = known(draw(replay, story.context.observation_space, SURE * len(replay)))
            assert len(found) == len(replay), (
                f"len is {len(replay)}, but {len(found)} different transitions are sampled (n = {n_step})."
            )


@REPLAY.check
def check_new_replaces_old(part: Replays) -> None:
    """When it is full, a replay goes on to learn what is new."""
    where = context()
    replay, story = build(part, where), Story(where)
    tell(replay, story, replay.capacity // 2)
    old = {step.number for step in story.steps()}
    tell(replay, story, replay.capacity // 2)
    found = known(draw(replay, where.observation_space, SURE * len(replay)))
    assert found - old, f"after {2 * len(old)} transitions only the first {len(old)} are sampled."


@REPLAY.check
def check_even_sampling(part: Replays) -> None:
    """Before TD errors are told, weights undo how often each transition is sampled; all are 1 where sampling is even.

    Lanes are filled unlike each other, so that choosing a lane first shows. Then thousands of transitions are added,
    and tenths of them compared, so that a slow change with age shows.
    """
    replay, story = _uneven(part)
    _assert_weights_undo_sampling(replay, _draw_often(replay, story))
    where = context(num_envs=1)
    replay, story = build(part, where, MANY), Story(where)
    tell(replay, story, min(MANY, replay.capacity) * 4 // 5)
    if len(replay) > max(1000, len(story.lanes[0]) - 2):  # else it is too small, or chose what to keep
        draws = draw(replay, where.observation_space, OFTEN * 50)
        tenths = np.searchsorted(np.linspace(0, len(story.lanes[0]), 10, endpoint=False)[1:], _places(story, draws))
        _assert_weights_undo_sampling(replay, draws._replace(numbers=tenths), "tenth")


@REPLAY.check
def check_weights(part: Replays) -> None:
    """Weights are in (0, 1], and the largest is 1, before and after TD errors were told."""
    where = context()
    replay, story = build(part, where), Story(where)
    for rounds in (8, replay.capacity // 2):
        live(replay, story, rounds)
        _assert_weights(draw(replay, where.observation_space, SURE * len(replay)))


@REPLAY.check
def check_zero_errors(part: Replays) -> None:
    """TD errors of 0 leave every transition's chance above 0 and every weight finite."""
    replay, story = _uneven(part)
    _tell_all(replay, story, lambda number: 0.0)
    draws = draw(replay, story.context.observation_space, SURE * len(replay))
    _assert_weights(draws)
    assert len(known(draws)) == len(replay), "transitions were never sampled again once their TD error was 0."


@REPLAY.check
def check_indices(part: Replays) -> None:
    """`indices` name transitions: one for each, different ones for different transitions, as long as it is stored."""
    replay, story = _uneven(part)
    space = story.context.observation_space
    first = _names(draw(replay, space, SURE * len(replay)))
    live(replay, story, 2)
    again = _names(draw(replay, space, SURE * len(replay)))
    both = first.keys() & again.keys()
    assert both, "no transition was sampled both before and after a few more were added."
    changed = [number for number in both if first[number] != again[number]]
    assert not changed, f"the indices of {len(changed)} stored transitions changed when a few more were added."


@REPLAY.check
def check_priorities(part: Replays) -> None:
    """Once TD errors of many sizes were told, weights still undo how often each transition is sampled."""
    replay, story = _uneven(part)
    _tell_all(replay, story, lambda number: (0.1, -0.5, 2.0, -8.0)[number % 4])
    _assert_weights_undo_sampling(replay, _draw_often(replay, story))


@REPLAY.check
def check_stale_indices(part: Replays) -> None:
    """TD errors of overwritten transitions are dropped: nothing that is sampled afterwards changes."""
    where = context()
    replays, stories = [build(part, where) for _ in range(3)], [Story(where) for _ in range(3)]
    earlies = []
    for replay, story in zip(replays, stories, strict=True):
        earlies.append(live(replay, story, 8)[-1])
        tell(replay, story, replay.capacity // 2)
    early = earlies[0]
    stored = known(draw(replays[2], where.observation_space, SURE * len(replays[2])))
    stale = [i for i, row in enumerate(stories[0].rows(early)) if row.number not in stored]
    assert stale, f"no transition of the first 24 was overwritten by {replays[0].capacity // 2 * 3} more."
    replays[0].update_priorities(early.indices[stale], torch.full((len(stale),), 1e3))
    _assert_same_course(replays[0], replays[1], stories, "TD errors of overwritten transitions were told")


@REPLAY.check
def check_unknown_indices(part: Replays) -> None:
    """Indices that `sample` never gave are refused by an exception, or change nothing."""
    for index in (-1, 10**12 + 7):
        where = context()
        replays, stories = [build(part, where) for _ in range(2)], [Story(where) for _ in range(2)]
        for replay, story in zip(replays, stories, strict=True):
            live(replay, story, 8)
        with contextlib.suppress(Exception):  # refusing is as good as ignoring; what counts is what happens next
            replays[0].update_priorities(torch.tensor([index]), torch.tensor([1e3]))
        _assert_same_course(replays[0], replays[1], stories, f"a TD error for the unknown index {index} was told")


REPLAY.share(SEEDED)


@REPLAY.check
def check_small_state(part: Replays) -> None:
    """What `small_state_dict` returns, if anything, is small, and two replays that take it over draw alike."""
    old = part.course()
    old.go(part.saved_after[-1])
    state = snapshot(old.replay.small_state_dict())
    if not state:
        return
    stored = [len(array) for array in _arrays(state) if len(array) >= old.replay.capacity]
    assert not stored, f"it holds an array of {stored[0]}: leave what is kept for each transition to state_dict."
    results = []
    for seed in (1, 2):
        new = part.course(seed)
        new.replay.load_small_state_dict(state)
        place = difference(state, snapshot(new.replay.small_state_dict()), "state")
        assert not place, f"a small state that was taken over became another: {place}."
        results.append(new.go(part.steps))
    place = difference(results[0], results[1], "results")
    assert not place, f"two replays that took over one small state, and were told the same, differ: {place}."


def _arrays(state: Any) -> Iterator[Any]:
    if isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from _arrays(value)
    elif isinstance(state, np.ndarray | torch.Tensor) and state.ndim and state.dtype != torch.uint8:  # a generator's
        yield state


def _draw_often(replay: ReplayBuffer, story: Story) -> Draws:
    return draw(replay, story.context.observation_space, OFTEN * len(replay), small=True)


def _places(story: Story, draws: Draws) -> NDArray[np.int64]:
    """Where in the only lane each drawn transition begins."""
    numbers = np.array([step.number for step in story.lanes[0]])
    return np.searchsorted(numbers, draws.numbers)


def _assert_weights_undo_sampling(replay: ReplayBuffer, draws: Draws, what: str = "transition") -> None:
    """Hold weights to w = c P^-beta, P being how often each was drawn, for a beta from 0.05 to 1.

    A replay whose attribute `beta` is smaller says that its weights make up for little, and nothing is asked of them.
    Within a batch weights may have any common factor. So log weights are split into a part of the batch and a part of
    the transition, which is -beta log P; then P follows for every beta, and one must explain the counts.
    """
    if float(getattr(replay, "beta", 1.0)) < 0.05:
        return
    _, which, counts = np.unique(draws.numbers, return_inverse=True, return_counts=True)
    logs, sizes = np.log(draws.weights), np.bincount(draws.batches)
    mine, shift = np.zeros(len(counts)), np.zeros(len(sizes))
    for _ in range(100):
        shift = np.bincount(draws.batches, logs - mine[which]) / sizes
        mine = np.bincount(which, logs - shift[draws.batches]) / counts
    misfits = []
    for beta in np.linspace(0.05, 1, 39):
        scaled = np.exp(-(mine - mine.max()) / beta)
        expected = scaled / scaled.sum() * len(draws.numbers)
        misfits.append(float(((counts - expected) ** 2 / expected).mean()))
    rarest, commonest = counts.argmin(), counts.argmax()
    least, most = np.exp(mine[[rarest, commonest]] - mine.max())
    assert min(misfits) < 5, (
        f"of {len(counts)} {what}s the commonest was sampled {counts[commonest]} times with the weight {most:.3g}, the "
        f"rarest {counts[rarest]} times with the weight {least:.3g}. Expected weights of 1 where all are as likely, "
        f"else (p / min p)^-beta for a beta of at most 1."
    )


def _assert_same_course(one: ReplayBuffer, other: ReplayBuffer, stories: list[Story], when: str) -> None:
    """Let both live on for a while and compare every batch."""
    place = difference(live(one, stories[0], 10), live(other, stories[1], 10), "batches")
    assert not place, f"the batches differ after {when}: {place}."


def _assert_weights(draws: Draws) -> None:
    least, most = float(draws.weights.min()), float(draws.weights.max())
    assert np.isfinite(draws.weights).all(), "a weight is not finite."
    assert 0 < least <= most <= 1 + 1e-5, f"weights range from {least:.3g} to {most:.3g}: expected (0, 1]."
    assert most > 0.99, f"the largest of {len(draws.weights)} weights is {most:.3g}: divide by the largest."


def _tell_all(replay: ReplayBuffer, story: Story, error_of: Callable[[int], float]) -> None:
    """Tell the TD error of every transition until each was told."""
    told: set[int] = set()
    for _ in range(SURE * len(replay)):
        batch = draw_batch(replay)
        numbers = [row.number for row in story.rows(batch)]
        replay.update_priorities(batch.indices, torch.tensor([error_of(number) for number in numbers]))
        told.update(numbers)
        if len(told - {UNREADABLE}) >= len(replay):
            return
    raise AssertionError(f"only {len(told)} of {len(replay)} transitions were sampled in {SURE * len(replay)} batches.")


def _names(draws: Draws) -> dict[int, int]:
    """Each drawn number's index; both must be one to one."""
    pairs = set(zip(draws.numbers.tolist(), draws.indices.tolist(), strict=True))
    names = dict(pairs)
    assert len(names) == len(pairs), "a transition was named by two different indices."
    assert len(set(names.values())) == len(names), "two different transitions had the same index."
    return names
