"""`FileRecord`: a tracking service that is a file, down while `down` is beside it, silent while `hang` is."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cartpole_dqn import PointRow, RemoteRecord


class FileRecord(RemoteRecord):
    """Appends a line for each call to `options["file"]`."""

    def open(self, key: str | None, config: Mapping[str, Any]) -> str:
        self._write("open", key, dict(config))
        return key or "made"

    def send(self, rows: Sequence[PointRow]) -> None:
        self._write("send", [[row.number, row.step, dict(row.points)] for row in rows])

    def close(self, reason: str) -> None:
        self._write("close", reason)

    def _write(self, *what: Any) -> None:
        file = Path(self.options["file"])
        while (file.parent / "hang").exists():
            time.sleep(0.05)
        if (file.parent / "down").exists():
            raise ConnectionError("nobody answers at made-up.example")
        with file.open("a") as out:
            out.write(json.dumps(what) + "\n")
