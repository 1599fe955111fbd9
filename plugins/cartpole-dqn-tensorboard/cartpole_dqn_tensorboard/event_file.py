"""`EventFile`: scalars in the format of TensorBoard, by TensorBoard's own writer.

A folder of event files is one run. Readers go through its files in the order of their names, which begin with the
second of their making, and take what each has to add; a file may say that everything from some step on is void.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.event_file_writer import EventFileWriter  # type: ignore[import-untyped]

from cartpole_dqn import UserError

Point = tuple[str, float]
"""A tag and its value."""
LONGEST_WAIT = 5.0
"""Seconds to wait for the clock to pass an older file's second."""


class EventFile:
    """A new event file in `folder`.

    Args:
        folder: made where it is not there yet.
        purge_step: where the folder has event files already, readers forget what they say of this step and later ones.

    Raises:
        UserError: an older file is dated in the future, so that readers would take the new one for the older.
        OSError: the folder or the file cannot be made.
    """

    def __init__(self, folder: Path, *, purge_step: int) -> None:
        older = sorted(folder.glob("events.out.tfevents.*"))
        if older:
            _wait_until_newer_than(older[-1])
        self._writer = EventFileWriter(str(folder))
        if older:
            self._writer.add_event(
                Event(wall_time=time.time(), step=purge_step, session_log=SessionLog(status=SessionLog.START))
            )

    def write(self, points: Sequence[Point], step: int) -> None:
        """Write the points of a step. Raises `OSError` where an earlier write failed."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in points]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def flush(self) -> None:
        """Return when everything is in the file."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left and end the writer's thread."""
        self._writer.close()


def _wait_until_newer_than(path: Path) -> None:
    """Wait until a new file's name comes after that of `path`; the wall clock is what TensorBoard names files by."""
    second = path.name.split(".")[3]
    made = int(second) if second.isdigit() else 0
    wait = made + 1 - time.time()
    if wait > LONGEST_WAIT:
        raise UserError(
            f"the event file {path} is dated {wait:.0f} s in the future, and TensorBoard reads event files in the "
            f"order of their dates: set the clock right, or move that file away."
        )
    while int(time.time()) <= made:
        time.sleep(max(0.0, made + 1 - time.time()))
