"""The process that sends a run's rows to a tracking service: `python -m cartpole_dqn.observers.remote_process FOLDER`.

* `RemoteRecord`: the run's record at the service, as a plugin defines it. `PointRow`: what it is sent.

It imports no torch. Its first line of input is a JSON object (`record`, `options`, `wait`), its last one why the run
ended. Without a last line the run was killed. `sent.json` in the folder holds how far the record is.
"""

from __future__ import annotations

import abc
import importlib
import json
import os
import sys
import textwrap
import threading
import time
import tomllib
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from cartpole_dqn.files import replace_file
from cartpole_dqn.text.tables import flat

MOST_ROWS = 200
"""Rows sent at once."""
PAUSE = 0.5
"""Seconds between two looks at the file."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries while the service does not answer."""


class PointRow(NamedTuple):
    """The points of one event."""

    number: int
    """Counts the record's rows from 0, over all sessions."""
    step: int
    """Environment steps, over all lanes."""
    time: float
    """Seconds since 1970."""
    points: Sequence[tuple[str, float]]


class RemoteRecord(abc.ABC):
    """Writes the record of a run at a tracking service. It lives in a separate process.

    If a method raises, the run continues, and the method is called again later. Set time limits for requests.

    Args:
        options: those that the `RemoteObserver` got.
        folder: the run's folder.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        self.options = options
        self.folder = folder

    @abc.abstractmethod
    def open(self, key: str | None, config: Mapping[str, Any]) -> str:
        """Open the record, and return its key at the service.

        Args:
            key: what `open` returned in an earlier session; None for a new record.
            config: the run's settings by dotted keys, such as `agent.replay.capacity` and `observation.0.wrapper`. A
                resumed run may have other settings than before.
        """

    @abc.abstractmethod
    def send(self, rows: Sequence[PointRow]) -> None:
        """Send rows. After an exception the same rows are sent again."""

    @abc.abstractmethod
    def close(self, reason: str) -> None:
        """Close the record. Send the files that belong to it, such as the curve, before.

        Args:
            reason: "done", "solved", "failed", "killed", or the name of a signal.
        """


@dataclass
class Sent:
    """How far a record is."""

    key: str | None = None
    """The record's, at the service."""
    offset: int = 0
    """Bytes of the file that were sent or passed over."""
    rows: int = 0
    step: int = 0
    count: int = 0
    """Rows of the last step that were sent."""


class Outbox:
    """The rows of a file that were not sent yet.

    A resumed run repeats some rows of an earlier session. They are passed over.
    """

    def __init__(self, place: Path) -> None:
        self._file = (place / "rows.jsonl").open("rb")
        self._path = place / "sent.json"
        self.sent = Sent(**json.loads(self._path.read_bytes())) if self._path.exists() else Sent()

    def next(self) -> tuple[list[PointRow], Sent]:
        """Return up to `MOST_ROWS` rows, and what to `keep` once they are sent."""
        rows: list[PointRow] = []
        after = replace(self.sent)
        self._file.seek(after.offset)
        for line in self._file:
            if not line.endswith(b"\n") or len(rows) == MOST_ROWS:
                break
            after.offset += len(line)
            try:
                entry = json.loads(line)
            except ValueError:  # What a crash left of a row.
                continue
            if tuple(entry["row"]) > (after.step, after.count):
                after.step, after.count = entry["row"]
                rows.append(PointRow(after.rows, after.step, entry["time"], entry["points"]))
                after.rows += 1
        return rows, after

    def keep(self, sent: Sent) -> None:
        """Remember what was sent."""
        if sent != self.sent:
            self.sent = sent
            replace_file(self._path, json.dumps(asdict(sent)).encode())


def main(place: Path) -> int:
    """Send rows until the run has ended and everything is sent, or the service does not answer then: return 0 or 1."""
    start = json.loads(sys.stdin.readline() or "null")
    if start is None:
        return 1
    over = LastLine(float(start["wait"]))
    over.start()
    module, _, name = start["record"].partition(":")
    # The process of a session that was killed may still be sending.
    with FileLock(place / "lock"):
        outbox = Outbox(place)
        record: RemoteRecord | None = None
        pause = PAUSE
        while True:
            is_over = over.received.is_set()  # asked before the file is read: nothing is written afterwards
            try:
                if record is None:
                    config = tomllib.loads((place.parent / "config.toml").read_text(encoding="utf-8"))
                    new: RemoteRecord = getattr(importlib.import_module(module), name)(start["options"], place.parent)
                    key = new.open(outbox.sent.key, flat(config))
                    outbox.keep(replace(outbox.sent, key=key))
                    record = new
                rows, after = outbox.next()
                if rows:
                    record.send(rows)
                outbox.keep(after)
                if is_over and not rows:
                    record.close(over.reason)
                    return 0
                pause = PAUSE
                if rows and (is_over or len(rows) == MOST_ROWS):
                    continue
            except Exception as error:
                if pause == PAUSE:
                    traceback.print_exc()
                message = " ".join(str(error).split()) or type(error).__name__
                replace_file(place / "problem.txt", textwrap.shorten(message, 160).encode())
                if is_over:
                    return 1
                pause = min(2 * pause, LONGEST_PAUSE)
            over.received.wait(pause)


class LastLine(threading.Thread):
    """Reads the line that says why the run ended, and ends this process if it takes too long afterwards."""

    def __init__(self, wait: float) -> None:
        super().__init__(daemon=True)
        self._wait = wait
        self.received = threading.Event()
        self.reason = "killed"

    def run(self) -> None:
        for line in sys.stdin:
            self.reason = json.loads(line)
        self.received.set()
        time.sleep(self._wait + 1)
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
