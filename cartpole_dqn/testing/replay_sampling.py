"""The contract of `ReplayBuffer`, second half: which transitions are chosen, and what is remembered of them.

Coverage and evenness, priorities and weights, randomness, and state. `replay.check_replay` runs these checks too.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch

from cartpole_dqn.contracts.parts import ReplayBuffer
from cartpole_dqn.contracts.seeding import seeded_torch
from cartpole_dqn.testing._contract import Subject
from cartpole_dqn.testing._spaces import UNREADABLE, context
from cartpole_dqn.testing._state import difference, global_randomness_untouched, snapshot
from cartpole_dqn.testing._story import Draws, Story, draw, draw_batch, known, live, tell
from cartpole_dqn.testing.replay import REPLAY as REPLAY
from cartpole_dqn.testing.replay import build

Replays = Subject[ReplayBuffer]
SURE = 40
"""Draws for each transition after which none that is as likely as the others is unseen: but once in e^40."""
MANY = 150
"""Draws for each transition that tell how likely it is: to a twelfth, usually."""


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
    """Where all weights are 1 and no TD error was told, each transition is as likely as the others.

    Lanes are filled unlike each other, so that choosing a lane first shows. A replay that favours some transitions from
    the start says so by its weights.
    """
    replay, story = _uneven(part)
    draws = draw(replay, story.context.observation_space, MANY * len(replay))
    counts = Counter(draws.numbers.tolist())
    if (draws.weights == 1).all():
        even = len(draws.numbers) / len(replay)
        least, most = min(counts.values()), max(counts.values())
        assert 0.6 * even < least <= most < 1.5 * even, (
            f"of {len(replay)} transitions the rarest was sampled {least} times and the commonest {most} times, where "
            f"{even:.0f} would be even, and all weights are 1."
        )


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
    """A transition of large TD error is not sampled more rarely than others, and if more often, weighs less."""
    replay, story = _uneven(part)
    space = story.context.observation_space
    favourite = sorted(known(draw(replay, space, SURE * len(replay))))[3]
    _tell_all(replay, story, lambda number: -5.0 if number == favourite else 0.05)
    draws = draw(replay, space, MANY * len(replay))
    chosen = draws.numbers == favourite
    share = float(chosen.mean()) * len(replay)
    assert share > 0.4, (
        f"the transition with a TD error of -5, where others have 0.05, was sampled {share:.2g} times as often as if "
        f"all were even: its size counts, not its sign."
    )
    if share > 2:
        mine, others = float(draws.weights[chosen].max()), float(draws.weights[~chosen].min())
        assert mine <= others + 1e-6, (
            f"a transition that is sampled {share:.2g} times as often as if all were even has the weight {mine:.3g}, "
            f"and others {others:.3g}: what is sampled more often must weigh less."
        )


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


# Randomness and state -------------------------------------------------------------------------------------------------


@REPLAY.check
def check_same_seed(part: Replays) -> None:
    """Two replays with equal seeds, told the same, give the same batches, whatever torch's global seed is."""
    courses = []
    for other in (1, 2):
        with seeded_torch(other):
            where = context(n_step=3)
            replay = build(part, where)
            courses.append(live(replay, Story(where), 20))
    place = difference(courses[0], courses[1], "batches")
    assert not place, f"equal seeds and equal transitions gave different batches: {place}."


@REPLAY.check
def check_other_seed(part: Replays) -> None:
    """Another seed chooses other transitions: the generator comes from `context.seeds`."""
    courses = []
    for seed in (0, 1):
        where = context(seed=seed)
        courses.append([batch.obs for batch in live(build(part, where), Story(where), 20)])
    assert difference(courses[0], courses[1]), "two seeds chose the same transitions in 20 batches."


@REPLAY.check
def check_global_randomness(part: Replays) -> None:
    """Building, adding, sampling and telling TD errors leave the global generators alone."""
    where = context()
    with global_randomness_untouched("the replay"):
        replay = build(part, where)
        live(replay, Story(where), 12)


@REPLAY.check
def check_state_round_trip(part: Replays) -> None:
    """A new replay that takes over a state goes on exactly as the old one: empty, filling, or wrapped around."""
    for fill in (0.0, 0.05, 0.3, 1.2):
        where, elsewhere = (context(n_step=3, seed=seed) for seed in (0, 7))
        replay, story = build(part, where), Story(where)
        rounds = round(fill * replay.capacity / where.num_envs)
        live(replay, story, rounds)
        state = snapshot(replay.state_dict())
        resumed = build(part, elsewhere)
        live(resumed, Story(elsewhere, seed=5), rounds % 7)  # what it held before is forgotten
        resumed.load_state_dict(state)
        twin = Story(where)
        for _ in range(rounds):
            twin.round()
        when = f"a state of {rounds} transitions a lane was loaded into another replay"
        assert len(resumed) == len(replay), f"len became {len(resumed)} instead of {len(replay)} after {when}."
        _assert_same_course(resumed, replay, [twin, story], when)


@REPLAY.check
def check_saving_changes_nothing(part: Replays) -> None:
    """A replay whose state is taken goes on as one whose state is not."""
    where = context(n_step=2)
    replays, stories = [build(part, where) for _ in range(2)], [Story(where) for _ in range(2)]
    for _ in range(4):
        snapshot(replays[0].state_dict())
        _assert_same_course(replays[0], replays[1], stories, "state_dict was called")


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
