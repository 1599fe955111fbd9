"""Animations that are written picture by picture, so that memory does not grow with their length.

* `open_animation`: opens a file to which pictures of one size are added. It appears when it is complete.
* `check_animation`: checks the name and the installed packages.
* `GifFile`: needs Pillow only. `Mp4File`: needs PyAV, the extra `video`.

Pillow itself saves a GIF only from a complete list of pictures. `GifFile` therefore writes one frame at a time: the
smallest rectangle that changed, with unchanged pixels transparent and a palette of its own. A frame with up to 255 new
colours is lossless.
"""

from __future__ import annotations

import contextlib
import importlib.util
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from cartpole_dqn.contracts.pictures import Picture
from cartpole_dqn.errors import UserError
from cartpole_dqn.files import require_suffix, writing

SLOWEST = 0.01
"""Pictures per second. A GIF shows a frame for at most eleven minutes."""
FASTEST_GIF = 50.0
"""Pictures per second. A GIF counts hundredths of a second, and viewers slow down frames shorter than two of them."""


def check_animation(path: Path) -> None:
    """Raise a `UserError` for an ending other than .gif and .mp4, or if a package is missing."""
    require_suffix(path, "an animation", (".gif", ".mp4"))
    if path.suffix.lower() == ".mp4" and importlib.util.find_spec("av") is None:
        raise UserError(
            f"{path}: an MP4 needs PyAV, which is not installed. Install the extra video: "
            f"pip install 'cartpole-dqn[video]'. A name ending in .gif needs nothing more."
        )


@contextlib.contextmanager
def open_animation(path: Path, *, fps: float) -> Iterator[GifFile | Mp4File]:
    """Yield an animation to add pictures to. `path` is replaced at the end of the block; on an error it is unchanged.

    Args:
        path: ends in .gif or .mp4.
        fps: pictures per second, from 0.01, up to 50 in a GIF.

    Raises:
        UserError: a bad name or rate, or the file cannot be written.
    """
    check_animation(path)
    gif = path.suffix.lower() == ".gif"
    if not (SLOWEST <= fps <= (FASTEST_GIF if gif else 1000)):
        most = f"{FASTEST_GIF:g}, the most that viewers of a GIF play" if gif else "1000"
        raise UserError(f"{fps:g} pictures a second: expected a number from {SLOWEST}, up to {most}.")
    temporary = path.with_name(f".{path.stem}.new{path.suffix}")
    try:
        with writing(path):
            with contextlib.closing(GifFile(temporary, fps) if gif else Mp4File(temporary, fps)) as animation:
                yield animation
                if not animation.frames:
                    raise ValueError("an animation needs one picture or more, and none was added.")
                animation.finish()
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


# GIF ------------------------------------------------------------------------------------------------------------------


class GifFile:
    """A GIF that loops forever. A picture equal to the previous one extends its time."""

    frames = 0
    """Pictures added so far."""

    def __init__(self, path: Path, fps: float) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._hundredths = Fraction(100) / Fraction(fps).limit_denominator(1000)
        self._before: NDArray[np.uint32] | None = None
        # The last picture with its transparent index and blocks: its time is known when the next one comes.
        self._waiting = (0, b"")
        self._began = 0

    def add(self, picture: Picture) -> None:
        """Append a picture uint8 [H, W, 3]. Raises `ValueError` for a size other than the first one's."""
        colours = _as_integers(picture)
        if self._before is None:
            # The screen descriptor: 8 bits per colour, no global palette. Then the extension that loops forever.
            self._file.write(b"GIF89a" + struct.pack("<HHBBB", *colours.shape[::-1], 7 << 4, 0, 0))
            self._file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
            self._waiting = _blocks(colours, np.ones(colours.shape, dtype=np.bool_))
        elif colours.shape != self._before.shape:
            raise ValueError(f"expected pictures of {self._before.shape}, as the first, got {colours.shape}.")
        elif (changed := colours != self._before).any():
            self._write_waiting()
            self._waiting = _blocks(colours, changed)
        self._before = colours
        self.frames += 1

    def finish(self) -> None:
        """Complete the file, which has a picture or more."""
        self._write_waiting()
        self._file.write(b";")

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()

    def _write_waiting(self) -> None:
        """Write the last picture. Ends of frames are rounded, not durations, so that no error accumulates."""
        ends = round(self.frames * self._hundredths)
        delay = min(max(ends - self._began, 1), 0xFFFF)
        self._began = ends
        clear, blocks = self._waiting
        # Flags: 1 << 2 keeps the frame below the next one, 1 makes one index transparent.
        self._file.write(b"!\xf9\x04" + struct.pack("<BHBB", 1 << 2 | 1, delay, clear, 0) + blocks)


_MOST_COLOURS = 255
"""Besides the transparent index."""


def _blocks(colours: NDArray[np.uint32], changed: NDArray[np.bool_]) -> tuple[int, bytes]:
    """Return the transparent index and the GIF blocks of the rectangle that changed: position, palette, pixels."""
    rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    colours, changed = colours[window], changed[window]
    palette, indices = _palette(colours[changed])
    clear = len(palette)
    pixels = np.full(colours.shape, clear, dtype=np.uint8)
    pixels[changed] = indices
    image = Image.fromarray(pixels)
    image.putpalette(np.append(palette, np.zeros((1, 3), np.uint8), axis=0).tobytes())
    place = int(columns[0]), int(rows[0])
    return clear, b"".join(GifImagePlugin.getdata(image, place, include_color_table=True, interlace=0))


def _palette(colours: NDArray[np.uint32]) -> tuple[Picture, NDArray[np.uint8]]:
    """Return at most 255 colours [k, 3] for the colours [n], and the index [n] of each one."""
    distinct, inverse = np.unique(colours, return_inverse=True)
    if len(distinct) <= _MOST_COLOURS:
        return _as_channels(distinct), inverse.astype(np.uint8)
    # All pixels rather than distinct colours: a colour seen once must not weigh as much as the background.
    row = Image.fromarray(_as_channels(colours)[None])
    few = row.quantize(_MOST_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette = np.array(few.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    return palette[:_MOST_COLOURS], np.asarray(few)[0]


def _as_integers(picture: Picture) -> NDArray[np.uint32]:
    """[H, W, 3] -> [H, W]: one number per colour."""
    red, green, blue = np.moveaxis(picture.astype(np.uint32), -1, 0)
    return np.asarray(red << 16 | green << 8 | blue, dtype=np.uint32)


def _as_channels(colours: NDArray[np.uint32]) -> Picture:
    """[n] -> [n, 3]."""
    return np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=-1).astype(np.uint8)


# MP4 ------------------------------------------------------------------------------------------------------------------


class Mp4File:
    """An MP4 by the first codec of `_CODECS` that PyAV has. An odd height or width is padded by one."""

    frames = 0

    def __init__(self, path: Path, fps: float) -> None:
        import av

        self._av = av
        path.open("wb").close()  # FFmpeg opens the file with the first picture: an error should come now.
        # faststart puts the index first, so that a browser can play the file while it loads.
        self._container: Any = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        self._rate = Fraction(fps).limit_denominator(1000)
        self._stream: Any = None

    def add(self, picture: Picture) -> None:
        odd = picture.shape[0] % 2, picture.shape[1] % 2
        even = np.pad(picture, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._open_stream(*even.shape[:2])
        size = (self._stream.height, self._stream.width)
        if even.shape[:2] != size:
            raise ValueError(f"expected pictures of {size}, as the first, got {even.shape[:2]}.")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame.pts, frame.time_base = self.frames, 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def close(self) -> None:
        with contextlib.suppress(Exception):  # FFmpeg may fail in any way to close half a film.
            self._container.close()

    def _open_stream(self, height: int, width: int) -> Any:
        codec = next((name for name in _CODECS if name in self._av.codecs_available), _CODECS[-1])
        quality = {"crf": "20"} if codec == "libx264" else {}
        stream = self._container.add_stream(codec, rate=self._rate, options=quality)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        if codec != "libx264":
            stream.bit_rate = 4_000_000
        return stream


_CODECS = ("libx264", "libopenh264", "mpeg4")
