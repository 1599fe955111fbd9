"""Pictures one after another in a file, written as they come: none is kept once it is in the file.

* `open_animation`: a name ending in .gif or .mp4 -> an `Animation` to add pictures to; the file is there whole, under
  its name, once the block is left, or not at all.
* `check_animation`: whether a name's ending is one of these, and what it takes is installed.
* `GifFile`: needs Pillow alone. `Mp4File`: needs PyAV, the extra `video`.

Pillow's own way of saving an animation holds every picture until the last has come. Here each is compressed by Pillow
as a GIF of its own, and its blocks are put into the file: only the rectangle that changed, in it only the pixels that
did, with a palette of its own. Up to 255 colours at a time that is without loss.
"""

from __future__ import annotations

import abc
import contextlib
import importlib.util
import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cartpole_dqn.errors import UserError
from cartpole_dqn.files import reason

Picture = NDArray[np.uint8]

SUFFIXES = (".gif", ".mp4")
FASTEST_GIF = 50.0
"""Pictures a second. A GIF counts hundredths of a second, and viewers slow down what stands for less than two."""


class Animation(abc.ABC):
    """A file that grows by pictures uint8 [H, W, 3] of one size."""

    frames: int = 0
    """How many were added."""

    @abc.abstractmethod
    def add(self, picture: Picture) -> None:
        """Append a picture."""

    @abc.abstractmethod
    def finish(self) -> None:
        """Write what is left."""

    @abc.abstractmethod
    def abandon(self) -> None:
        """Let go of the file, whatever it holds; after `finish` nothing happens."""


def check_animation(path: Path) -> None:
    """Raise a `UserError` where `path` does not end in .gif or .mp4, or where the latter needs a package."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: expected an animation's name, ending in .gif or .mp4.")
    if suffix == ".mp4" and importlib.util.find_spec("av") is None:
        raise UserError(
            f"{path}: an MP4 needs PyAV, which is not installed. The extra video brings it: "
            f"pip install 'cartpole-dqn[video]'. A name ending in .gif needs nothing more."
        )


@contextlib.contextmanager
def open_animation(path: Path, *, fps: float) -> Iterator[Animation]:
    """Yield an animation to add to; `path` is written beside and takes its name once all is in it.

    Args:
        path: ending in .gif or .mp4.
        fps: pictures a second.

    Raises:
        UserError: another ending, a rate that a GIF cannot have, or the file cannot be written.
    """
    check_animation(path)
    gif = path.suffix.lower() == ".gif"
    if not (0 < fps <= (FASTEST_GIF if gif else 1000)):
        most = f"{FASTEST_GIF:g}, the most that viewers of a GIF play" if gif else "1000"
        raise UserError(f"{fps:g} pictures a second: expected a number above 0, up to {most}.")
    new = path.with_name(f".{path.stem}.new{path.suffix}")
    animation: Animation | None = None
    try:
        animation = GifFile(new, fps) if gif else Mp4File(new, fps)
        yield animation
        animation.finish()
        new.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {reason(error)}.") from None
    finally:
        if animation is not None:
            animation.abandon()
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


# GIF ------------------------------------------------------------------------------------------------------------------


class GifFile(Animation):
    """A GIF that repeats for ever. A picture equal to the one before it makes that one stand longer."""

    def __init__(self, path: Path, fps: float) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._hundredths = Fraction(100) / Fraction(fps).limit_denominator(1000)
        self._before: NDArray[np.uint32] | None = None
        self._waiting = (0, b"")  # the last picture, until it is known how long it stands
        self._began = 0

    def add(self, picture: Picture) -> None:
        """See `Animation`. Raises `ValueError` for another size."""
        colours = _as_integers(picture)
        if self._before is None:
            self._write_head(*colours.shape)
            self._waiting = _blocks(colours, np.ones(colours.shape, dtype=np.bool_), (0, 0))
        else:
            if colours.shape != self._before.shape:
                raise ValueError(f"expected pictures of {self._before.shape}, as the first, got {colours.shape}.")
            changed = colours != self._before
            if changed.any():
                self._write_waiting()
                rows, columns = _extent(changed)
                part = colours[rows, columns], changed[rows, columns]
                self._waiting = _blocks(*part, (columns.start, rows.start))
        self._before = colours
        self.frames += 1

    def finish(self) -> None:
        """See `Animation`. Raises `ValueError` where no picture was added."""
        if self._before is None:
            raise ValueError("an animation needs one picture or more, and none was added.")
        self._write_waiting()
        self._file.write(b";")
        self._file.close()

    def abandon(self) -> None:
        """See `Animation`."""
        self._file.close()

    def _write_head(self, height: int, width: int) -> None:
        # 7 << 4: eight bits a colour; no palette for all pictures. Then how often to repeat: 0, without end.
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 7 << 4, 0, 0))
        self._file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", 0) + b"\x00")

    def _write_waiting(self) -> None:
        """Write the last picture; its time ends where the next one begins, rounded so that no error adds up."""
        ends = round(self.frames * self._hundredths)
        delay = min(max(ends - self._began, 1), 0xFFFF)
        self._began = ends
        clear, blocks = self._waiting
        # 1 << 2: it stays where the next one does not cover it; 1: one colour is see-through.
        self._file.write(b"!\xf9\x04" + struct.pack("<BHBB", 1 << 2 | 1, delay, clear, 0) + blocks)


_MOST_COLOURS = 255
"""Beside the index that leaves a pixel as it was."""


def _blocks(colours: NDArray[np.uint32], changed: NDArray[np.bool_], place: tuple[int, int]) -> tuple[int, bytes]:
    """Return the index that is see-through, and a picture's blocks: place and size, palette, pixels."""
    palette, indices = _palette(colours[changed])
    clear = len(palette)
    pixels = np.full(colours.shape, clear, dtype=np.uint8)
    pixels[changed] = indices
    single = io.BytesIO()
    # In shades of grey the numbers of colours pass through Pillow as they are.
    Image.fromarray(pixels).save(single, format="GIF", optimize=False, interlace=0)
    return clear, _moved(single.getvalue(), palette.tobytes(), place)


def _palette(colours: NDArray[np.uint32]) -> tuple[Picture, NDArray[np.uint8]]:
    """Return at most 255 colours [k, 3] for the colours [n], and each one's index [n]."""
    distinct, inverse = np.unique(colours, return_inverse=True)
    if len(distinct) <= _MOST_COLOURS:
        return _as_channels(distinct), inverse.astype(np.uint8)
    # As many times as they occur, or a colour seen once would weigh as much as the background.
    row = Image.fromarray(_as_channels(colours)[None])
    few = row.quantize(_MOST_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    found = np.array(few.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    return found[:_MOST_COLOURS], np.asarray(few)[0]


def _moved(single: bytes, palette: bytes, place: tuple[int, int]) -> bytes:
    """Return the picture in a GIF of one, as it stands in a file of many: at `place`, with its own palette.

    The format (CompuServe 1990): a head of 13 bytes, a palette for all, then blocks. "," begins a picture: nine bytes
    of place, size and flags, a palette if the flags say so, one byte, then sub-blocks up to an empty one.
    """
    at = 13 + _palette_bytes(single[10])
    while single[at : at + 1] == b"!":
        at = _after_sub_blocks(single, at + 2)
    if single[at : at + 1] != b",":
        raise ValueError("Pillow wrote a GIF without a picture.")
    _, _, width, height, flags = struct.unpack_from("<HHHHB", single, at + 1)
    begins = at + 10 + _palette_bytes(flags)
    ends = _after_sub_blocks(single, begins + 1)
    # Room for the see-through index too, in a power of two. 0x40 stays: whether rows are interlaced.
    power = max((len(palette) // 3).bit_length(), 1)
    head = struct.pack("<BHHHHB", ord(","), *place, width, height, flags & 0x40 | 0x80 | power - 1)
    return head + palette.ljust(3 << power, b"\x00") + single[begins:ends]


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _extent(changed: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns of the smallest rectangle around what is True."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _as_integers(picture: Picture) -> NDArray[np.uint32]:
    """[H, W, 3] -> [H, W]: a number a colour."""
    wide = picture.astype(np.uint32)
    return (wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]).astype(np.uint32, copy=False)


def _as_channels(colours: NDArray[np.uint32]) -> Picture:
    """[n] -> [n, 3]."""
    return np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=-1).astype(np.uint8)


# MP4 ------------------------------------------------------------------------------------------------------------------


class Mp4File(Animation):
    """H.264, or what PyAV has in its place; a picture of odd size is given one more row or column."""

    def __init__(self, path: Path, fps: float) -> None:
        import av

        self._av = av
        path.open("wb").close()  # FFmpeg opens it with the first picture: what is wrong with it is said now
        # The index first, so that a browser plays it while it still loads.
        self._container: Any = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        self._rate = Fraction(fps).limit_denominator(1000)
        self._stream: Any = None

    def add(self, picture: Picture) -> None:
        """See `Animation`. Raises `ValueError` for another size."""
        height, width = picture.shape[0] + picture.shape[0] % 2, picture.shape[1] + picture.shape[1] % 2
        if self._stream is None:
            self._stream = self._open_stream(width, height)
        if (self._stream.width, self._stream.height) != (width, height):
            size = (self._stream.height, self._stream.width)
            raise ValueError(f"expected pictures of {size}, as the first, got {(height, width)}.")
        even = np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame.pts = self.frames
        frame.time_base = 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def finish(self) -> None:
        """See `Animation`. Raises `ValueError` where no picture was added."""
        if self._stream is None:
            raise ValueError("an animation needs one picture or more, and none was added.")
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """See `Animation`."""
        with contextlib.suppress(Exception):  # Half a film may fail to be closed in any way of FFmpeg's.
            self._container.close()

    def _open_stream(self, width: int, height: int) -> Any:
        codec = next((name for name in _CODECS if name in self._av.codecs_available), _CODECS[-1])
        quality = {"crf": "20"} if codec == "libx264" else {}
        stream = self._container.add_stream(codec, rate=self._rate, options=quality)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        if codec != "libx264":
            stream.bit_rate = 4_000_000
        return stream


_CODECS = ("libx264", "libopenh264", "mpeg4")
