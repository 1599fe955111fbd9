"""Checkpoints as an attacker makes them: every size and checksum is right again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Bomb:
    """Creates the folder `mark` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.mark),))


def checksum(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def signed(rest: bytes) -> bytes:
    """The index whose text after the checksum is `rest`."""
    return b'{"checksum":"' + checksum(rest).encode() + b'",\n' + rest


def resign(folder: Path, edit: Callable[[dict[str, Any]], Any] = lambda table: None) -> None:
    """Correct the sizes and checksums of the existing files in the index of `folder`; then `edit` it."""
    table = json.loads((folder / "state.json").read_text())
    del table["checksum"]
    for part in table["parts"].values():
        path = folder / part["file"]
        if path.is_file() and path.stat().st_size < 1 << 30:
            part.update(bytes=path.stat().st_size, checksum=checksum(path.read_bytes()))
    edit(table)
    (folder / "state.json").write_bytes(signed(json.dumps(table).encode()[1:]))
