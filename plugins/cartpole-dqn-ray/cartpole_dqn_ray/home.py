"""`Home`: keeps a sweep's run folders for the tasks that run its trials; an actor on the machine of the sweep.

A task begins by asking it where the trial stands, fetches the files of a run that was begun elsewhere, sends new files,
and asks whether to go on. Ray runs a task again whose node or process is lost. Each time it runs is an attempt with a
token of its own, and only the last attempt is heard: one that was cut off from the cluster can write nothing any more.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cartpole_dqn import RunError, Trial
from cartpole_dqn_ray.nodes import Node
from cartpole_dqn_ray.run_files import read_run, write_run

Order = Literal["go", "stop", "leave"]
"""To a running trial: go on; stop cleanly; end at once and send nothing."""


class Beginning(NamedTuple):
    """How a task begins."""

    node: Node | None
    """What is known of its node; None while nobody asked the node yet."""
    moves: int
    """How often the trial was moved before."""
    order: Order
    lost: str = ""
    """Why the attempt before failed; "" for the first."""


class News(NamedTuple):
    """What the engine wants to know."""

    places: dict[str, Node]
    """The node of each trial that runs."""
    said: list[str]
    """Sentences for the user."""


@dataclass
class _Kept:
    """A trial. Its files are touched while `lock` is held."""

    trial: Trial
    token: str = ""
    moves: int = -1
    node: Node | None = None
    lost: str = ""
    """Why the last attempt failed, where it could tell."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Home:
    """Keeps run folders. Ray calls it from several threads, and repeats a call that may not have arrived.

    Args:
        folder: the engine's own in the sweep's, for files on their way.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, _Kept] = {}
        self._nodes: Mapping[str, Node] = {}
        self._said: list[str] = []
        self._order: Order = "go"

    # For the engine

    def expect(self, trial: Trial) -> None:
        """Expect tasks that run the trial."""
        self._kept[trial.name] = _Kept(trial)

    def news(self, nodes: Mapping[str, Node]) -> News:
        """Take what is known of the nodes, and return what happened since the last call."""
        self._nodes = nodes
        said = [self._said.pop(0) for _ in range(len(self._said))]
        return News({name: kept.node for name, kept in list(self._kept.items()) if kept.node}, said)

    def order(self, order: Order) -> News:
        """Give an order to all trials, those that begin later too. It stands when the news are told."""
        self._order = order
        return self.news(self._nodes)

    def finish(self, name: str) -> tuple[str, int]:
        """Forget a trial, if it is known; return why its last attempt failed, and how often it was moved."""
        kept = self._kept.pop(name, None)
        return (kept.lost, kept.moves) if kept is not None else ("", 0)

    # For the tasks

    def begin(self, name: str, token: str, node_id: str) -> Beginning:
        """Begin the attempt `token` on a node; every earlier one is heard no more."""
        node, kept = self._nodes.get(node_id), self._kept.get(name)
        if node is None or node.refused or kept is None:
            return Beginning(node, 0, self._order if kept is not None else "leave")
        with kept.lock:
            lost = kept.lost
            if kept.token != token and self._order == "go":
                kept.token, kept.moves = token, kept.moves + 1
                if kept.moves:
                    self._said.append(f"{name}: {kept.lost}; it goes on from its last checkpoint.")
                kept.node, kept.lost = node, f"its worker on {node.name} is gone"
            return Beginning(node, kept.moves, self._order, lost)

    def ask(self, name: str, token: str) -> Order:
        """Return what the attempt is to do."""
        kept = self._kept.get(name)
        return self._order if kept is not None and kept.token == token else "leave"

    def lose(self, name: str, token: str, why: str) -> None:
        """Note why an attempt fails that is to be made again."""
        with self._heard(name, token) as kept:
            kept.node, kept.lost = None, why

    def give(self, name: str, token: str) -> dict[str, Any]:
        """Return references to the files that there are of the run, by name; none where it was not begun."""
        import ray

        with self._heard(name, token) as kept:
            folder = kept.trial.folder
            return read_run(folder, put=ray.put) if (folder / "config.toml").is_file() else {}

    def take(self, name: str, token: str, files: Mapping[str, Any]) -> None:
        """Put files in place, given references to them by name; see `write_run`."""
        import ray

        with self._heard(name, token) as kept:
            write_run(kept.trial.folder, self._folder / "incoming" / name, files, get=ray.get)

    @contextlib.contextmanager
    def _heard(self, name: str, token: str) -> Iterator[_Kept]:
        kept = self._kept.get(name)
        if kept is not None:
            with kept.lock:
                if kept.token == token:
                    yield kept
                    return
        raise RunError(f"{name} goes on elsewhere.")
