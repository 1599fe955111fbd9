"""`plugins`: `cartpole-dqn plugins ...` with chosen plugins. `refused`: a command that is wrong and changes nothing.

`signalled_once`: a signal to this process as soon as a condition holds.
`trained`: a run of 40 steps without metrics. `runs`: a folder with a copy of it, `mine`.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from waiting import until


@pytest.fixture(scope="session")
def trained(trained_once: Callable[..., Path]) -> Path:
    return trained_once(obs="state", steps=40, settings={"evaluation": {"every": 0}, "observer": []})


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "runs" / "mine")
    return tmp_path / "runs"


@pytest.fixture
def refused(call: Callable[..., Any], tmp_path: Path) -> Callable[..., None]:
    """Type a wrong command: it prints these words on stderr, exits with 2 and leaves the files as they are."""

    def check(words: str, *arguments: Any) -> None:
        before = sorted(tmp_path.rglob("*"))
        result = call(*arguments, code=2)
        assert result.out == "", arguments
        assert words in result.err or words in " ".join(result.err.split()), arguments
        left = [path for path in tmp_path.rglob("*") if path not in before and path.name not in ("runs", "sweeps")]
        assert left == [], "nothing was started"

    return check


@pytest.fixture
def plugins(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Type `plugins ...`, with these plugins `allowed`."""

    def typed(*arguments: str, allowed: str = "acme,acme-broken", code: int = 0) -> Any:
        monkeypatch.setenv("CARTPOLE_DQN_PLUGINS", allowed)
        return call("plugins", *arguments, code=code)

    return typed


@pytest.fixture
def signalled_once() -> Iterator[Callable[..., None]]:
    """Send this process a signal as soon as `ready()` holds. It fails the test where nothing handles it."""
    before: dict[int, Any] = {}

    def unheard(number: int, frame: Any) -> None:
        raise AssertionError(f"nothing handles signal {number}")

    def send(ready: Callable[[], bool], number: int) -> None:
        if number != signal.SIGINT:  # for which Python has a handler
            before[number] = signal.signal(number, unheard)
        threading.Thread(target=lambda: (until(ready), os.kill(os.getpid(), number)), daemon=True).start()

    yield send
    for number, handler in before.items():
        signal.signal(number, handler)
