"""Wrappers in any order against the same steps written out in NumPy. Each refusal has its test beside its wrapper."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.wrappers import CenteredCrop, Channel, Crop, FrameDifference, Resize
from cartpole_dqn.wrappers.locators import darkest

Wrap = Callable[[Any], Any]
ENV: Any = None


@dataclass(frozen=True)
class Episode:
    """All pictures of one episode, and what is known of them."""

    pictures: list[Any]
    stacked: bool
    now: tuple[bool, ...]
    """For each channel, whether it shows the present; [H, W] has one."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pictures[0].shape)

    @property
    def axis(self) -> int:
        """The axis of the rows."""
        return 1 if self.stacked else 0

    @property
    def channelled(self) -> bool:
        return len(self.shape) == self.axis + 3

    def with_pictures(self, pictures: list[Any], now: Sequence[bool] | None = None) -> Episode:
        return Episode(pictures, self.stacked, self.now if now is None else tuple(now))

    def part(self, rows: slice, columns: slice) -> list[Any]:
        index = (slice(None),) * self.axis + (rows, columns)
        return [picture[index] for picture in self.pictures]


Stage = tuple[Wrap, Episode] | tuple[Wrap, type[Exception]]
"""How to wrap, and what must come of it: other pictures, or a refusal."""


# The steps, one by one ------------------------------------------------------------------------------------------------


def crop(before: Episode, data: st.DataObject) -> Stage:
    rows, columns = (a_range(before.shape[before.axis + i], data) for i in range(2))
    wrap = functools.partial(Crop, rows=[rows.start, rows.stop], columns=[columns.start, columns.stop])
    return wrap, before.with_pictures(before.part(rows, columns))


def window(before: Episode, data: st.DataObject) -> Stage:
    size = before.shape[before.axis + 1]
    width = data.draw(st.integers(1, size))
    locator = data.draw(st.sampled_from(["centre", "darkest"]))
    wrap = functools.partial(CenteredCrop, width=width, locator=locator)
    if locator == "darkest" and not any(before.now):
        return wrap, ValueError
    pictures = []
    for picture in before.pictures:
        newest = picture[-1] if before.stacked else picture
        seen = newest[..., list(before.now)] if before.channelled and not all(before.now) else newest
        place: Any = darkest(ENV, seen) if locator == "darkest" else None
        centre = size // 2 if place is None else int(place * size)
        start = min(max(centre - width // 2, 0), size - width)
        pictures.append(picture[(slice(None),) * (before.axis + 1) + (slice(start, start + width),)])
    return wrap, before.with_pictures(pictures)


def resize(before: Episode, data: st.DataObject) -> Stage:
    """By whole factors, for which the nearest pixel is the same by any rounding: larger, or smaller by odd ones."""
    sizes, picks = [], []
    for i in range(2):
        size = before.shape[before.axis + i]
        shrink = [k for k in (1, 3, 5) if size % k == 0]
        larger = data.draw(st.integers(1, 3))
        smaller = data.draw(st.sampled_from(shrink)) if larger == 1 else 1
        picks.append(np.repeat(np.arange(smaller // 2, size, smaller), larger))
        sizes.append(len(picks[-1]))
    wrap = functools.partial(Resize, height=sizes[0], width=sizes[1], interpolation="nearest-exact")
    pictures = [picture.take(picks[0], before.axis).take(picks[1], before.axis + 1) for picture in before.pictures]
    return wrap, before.with_pictures(pictures)


def difference(before: Episode, data: st.DataObject) -> Stage:
    gap, keep = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    encoding = data.draw(st.sampled_from(["int16", "uint8"]))
    wrap = functools.partial(FrameDifference, gap=gap, keep_current=keep, encoding=encoding)
    dtype = before.pictures[0].dtype
    if encoding == "uint8" and dtype != np.uint8:
        return wrap, TypeError
    pictures = []
    for i, picture in enumerate(before.pictures):
        then = before.pictures[max(0, i - gap)]
        if dtype.kind == "f":
            change = picture - then
        else:
            change = picture.astype(int) - then
            change = (change if encoding == "int16" else 128 + change // 2).astype(encoding)
        if keep:
            both = [picture.astype(change.dtype), change]
            change = np.concatenate(both, axis=-1) if before.channelled else np.stack(both, axis=-1)
        pictures.append(change)
    old = (False,) * len(before.now)
    return wrap, before.with_pictures(pictures, before.now + old if keep else old)


def channel(before: Episode, data: st.DataObject) -> Stage:
    if not before.channelled:
        return functools.partial(Channel, channel=0), ValueError
    count = before.shape[-1]
    one = data.draw(st.integers(0, count))
    wrap = functools.partial(Channel, channel=one)
    if one == count:
        return wrap, ValueError
    return wrap, before.with_pictures([picture[..., one : one + 1] for picture in before.pictures], [before.now[one]])


def stack(before: Episode, data: st.DataObject) -> Stage:
    wrap = functools.partial(FrameStackObservation, stack_size=2)
    pairs = [np.stack([before.pictures[max(0, i - 1)], picture]) for i, picture in enumerate(before.pictures)]
    return wrap, Episode(pairs, True, before.now)


def a_range(size: int, data: st.DataObject) -> slice:
    first = data.draw(st.integers(0, size - 1))
    return slice(first, data.draw(st.integers(first + 1, size)))


# All of them ----------------------------------------------------------------------------------------------------------


@st.composite
def pictures_to_begin_with(draw: st.DrawFn) -> tuple[tuple[int, ...], bool, Any, Any]:
    """Shape, whether it is a stack, dtype, and the greatest value."""
    height, width = draw(st.integers(6, 10)), draw(st.integers(6, 10))
    kinds = {"hw": (), "hw1": (1,), "hw3": (3,), "shw": (), "shw3": (3,)}
    kind = draw(st.sampled_from(sorted(kinds)))
    stacked = kind.startswith("s")
    shape = (*([2] if stacked else []), height, width, *kinds[kind])
    dtype, greatest = draw(st.sampled_from([(np.uint8, 255), (np.int16, 900), (np.float32, 1.0)]))
    return shape, stacked, dtype, greatest


@given(pictures_to_begin_with(), st.integers(1, 4), st.data())
def test_any_order(pictures: Any, begin: Any, length: int, data: st.DataObject) -> None:
    shape, stacked, dtype, greatest = begin
    env: Any = pictures(shape, dtype, 0, greatest)
    alone = pictures(shape, dtype, 0, greatest)
    shown = [alone.reset(seed=1)[0], *(alone.step(0)[0] for _ in range(5))]
    expected = Episode(shown, stacked, (True,) * (shape[-1] if len(shape) == 3 + stacked else 1))
    for _ in range(length):
        steps = [crop, window, resize, difference, channel, *([] if expected.stacked else [stack])]
        wrap, after = data.draw(st.sampled_from(steps))(expected, data)
        if isinstance(after, type):
            with pytest.raises(after, match=r"^(CenteredCrop|FrameDifference|Channel): "):
                wrap(env)
            continue
        env, expected = wrap(env), after
    for picture, observation in zip(
        expected.pictures, [env.reset(seed=1)[0], *(env.step(0)[0] for _ in range(5))], strict=True
    ):
        assert observation in env.observation_space
        assert observation.dtype == picture.dtype == env.observation_space.dtype
        assert np.array_equal(observation, picture)
