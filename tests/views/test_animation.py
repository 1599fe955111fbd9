"""Pictures in a file, written as they come: what decoders read is what was added."""

from __future__ import annotations

import importlib.util
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from cartpole_dqn.errors import UserError
from cartpole_dqn.views.animation import check_animation, open_animation

Picture = NDArray[np.uint8]


def write(path: Path, pictures: Sequence[Picture], fps: float = 25) -> Path:
    with open_animation(path, fps=fps) as animation:
        for picture in pictures:
            animation.add(picture)
    return path


def read_gif(path: Path) -> list[tuple[Picture, int]]:
    """Every picture of a GIF and its milliseconds, as Pillow reads them."""
    with Image.open(path) as image:
        return [
            (np.asarray(frame.convert("RGB")), int(frame.info["duration"])) for frame in ImageSequence.Iterator(image)
        ]


def few_colours(rng: np.random.Generator, height: int, width: int, colours: int) -> Picture:
    palette = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    return palette[rng.integers(0, colours, (height, width))]


@st.composite
def films(draw: st.DrawFn) -> list[Picture]:
    """Pictures of one size, each a change of a part of the one before, or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    picture = few_colours(rng, height, width, draw(st.integers(1, 255)))
    pictures = [picture]
    for _ in range(draw(st.integers(0, 5))):
        picture = picture.copy()
        top, left = draw(st.integers(0, height)), draw(st.integers(0, width))
        part = picture[top : top + 7, left : left + 9]
        part[...] = few_colours(rng, part.shape[0], part.shape[1], draw(st.integers(1, 200)))
        pictures.append(picture)
    return pictures


@given(pictures=films())
def test_a_gif_of_up_to_255_colours_at_a_time_is_without_loss(
    tmp_path_factory: pytest.TempPathFactory, pictures: list[Picture]
) -> None:
    path = write(tmp_path_factory.mktemp("gif") / "x.gif", pictures, fps=25)
    frames = read_gif(path)
    shown = [picture for picture, milliseconds in frames for _ in range(milliseconds // 40)]
    assert len(shown) == len(pictures)
    for ours, theirs in zip(pictures, shown, strict=True):
        assert (ours == theirs).all()


def test_many_colours_are_brought_down_to_near_ones(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:64, 0:64]
    gradient = np.stack([rows * 4, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)
    ((frames, _),) = read_gif(write(tmp_path / "x.gif", [gradient]))
    assert np.abs(frames.astype(int) - gradient).mean() < 8


@pytest.mark.parametrize("fps", [50, 30, 29.97, 15, 7, 1, 0.5])
def test_a_gif_takes_as_long_as_it_should(tmp_path: Path, fps: float) -> None:
    rng = np.random.default_rng(0)
    pictures = [few_colours(rng, 4, 4, 9) for _ in range(61)]
    frames = read_gif(write(tmp_path / "x.gif", pictures, fps=fps))
    assert abs(sum(milliseconds for _, milliseconds in frames) - 61_000 / fps) <= 10
    assert len(frames) == 61
    with Image.open(tmp_path / "x.gif") as image:
        assert (image.format, image.info["loop"]) == ("GIF", 0), "it repeats for ever"


def test_no_picture_is_kept_once_it_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = few_colours(rng, 200, 300, 30)

    write(tmp_path / "first.gif", [base, base])  # what Pillow sets up once
    tracemalloc.start()
    with open_animation(tmp_path / "x.gif", fps=50) as animation:
        peaks = []
        for i in range(150):
            picture = base.copy()
            picture[i : i + 20, i : i + 20] = i
            animation.add(picture)
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert animation.frames == 150
    # One picture has 180,000 bytes, and 60,000 as indices: even a copy of these each would be 6 MB from here to there.
    assert peaks[-1] - peaks[20] < 300_000


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.gif"
    path.write_bytes(b"as it was")
    picture = np.zeros((9, 9, 3), np.uint8)

    def interrupted() -> None:
        with open_animation(path, fps=10) as animation:
            animation.add(picture)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"as it was"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.gif"]
    with open_animation(path, fps=10) as animation:
        animation.add(picture)
        assert path.read_bytes() == b"as it was"
    assert len(read_gif(path)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.gif"]


SUFFIXES = [".gif", pytest.param(".mp4", marks=pytest.mark.skipif(not importlib.util.find_spec("av"), reason="no av"))]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bad_input_gets_a_sentence(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UserError, match=r"x: expected an animation's name, ending in \.gif or \.mp4"):
        check_animation(Path("x"))
    for fps in (0, 1e-9, -1, float("nan"), 1e6):
        with pytest.raises(UserError, match=r"pictures a second: expected a number from 0\.01"):
            write(tmp_path / f"x{suffix}", [], fps=fps)
    with pytest.raises(UserError, match=r"x\.(gif|mp4) cannot be written: No such file"):
        write(tmp_path / "no" / f"x{suffix}", [])
    with pytest.raises(ValueError, match="needs one picture or more"):
        write(tmp_path / f"x{suffix}", [])
    with pytest.raises(ValueError, match="expected pictures of"):
        write(tmp_path / f"x{suffix}", [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 34, 3), np.uint8)])
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs PyAV.*pip install 'cartpole-dqn\[video\]'"):
        check_animation(tmp_path / "x.mp4")
    check_animation(tmp_path / "x.gif")


def test_an_mp4_shows_what_was_added(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    pictures = []
    for i in range(12):
        picture = np.full((61, 83, 3), 255, np.uint8)
        picture[20:40, 5 * i : 5 * i + 16] = (31, 95, 168)
        pictures.append(picture)
    path = write(tmp_path / "x.mp4", pictures, fps=25)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (84, 62)  # H.264 takes even sizes alone
        assert stream.average_rate == 25
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 12
    for ours, theirs in zip(pictures, frames, strict=True):
        assert np.abs(theirs[:61, :83].astype(int) - ours).mean() < 4
    moved = path.read_bytes()
    assert moved.index(b"moov") < moved.index(b"mdat")  # a browser may begin before it has the whole
