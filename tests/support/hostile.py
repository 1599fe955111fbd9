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


def places_in(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside nested lists and dictionaries."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [place for key in keys for place in [(node, key), *places_in(node[key])]]


def require_sentence(error: Exception, where: str, seed: int) -> None:
    """Fail unless an error says where the fault is, in a sentence that a terminal can show."""
    message = str(error)
    assert where in message, f"seed {seed}: the message does not say where: {message}"
    assert message.isprintable(), f"seed {seed}: a terminal would take it for more than text: {message!r}"
    assert len(message) < 1500, f"seed {seed}: {message}"
