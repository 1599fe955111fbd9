"""`Home`: an actor on the sweep's machine that keeps the run folders for the tasks that run the trials.

A task begins by asking where the trial stands and gets the files of a run that was begun before. Then it sends changed
files and learns whether to stop. If the process of its run is lost, it begins again; if its node or worker is lost, Ray
runs it again. Each time is an attempt with its own token, and `Home` accepts only the last one: an attempt that was cut
off from the cluster can write nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cartpole_dqn import RunError, Trial
from cartpole_dqn_ray.connection import ray
from cartpole_dqn_ray.nodes import Node
from cartpole_dqn_ray.run_files import read_run, write_run


@dataclass
class _Kept:
    """A trial. Its files are touched while `lock` is held."""

    folder: Path
    token: str = ""
    moves: int = -1
    node: Node | None = None
    lost: str = ""
    """Why another attempt is made, if one is."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def too_often(self) -> str:
        """Return why the trial is not moved again."""
        return (
            f"{self.lost}, and it was moved {self.moves} times before, which is the most that the option max_moves "
            f"allows. `cartpole-dqn sweep --resume` goes on with it."
        )


class Home:
    """Keeps run folders. Ray calls it from several threads, and repeats a call that may not have arrived.

    Args:
        max_moves: as in the options of the engine.
        logs: the folder for the output of trials that failed.
    """

    def __init__(self, max_moves: int, logs: Path) -> None:
        self._max_moves, self._logs = max_moves, logs
        self._kept: dict[str, _Kept] = {}
        self._nodes: Mapping[str, Node] = {}
        self._messages: list[str] = []
        self._stopping = False

    # For the engine

    def expect(self, trial: Trial) -> None:
        """Expect tasks that run the trial."""
        self._kept[trial.name] = _Kept(trial.folder)

    def news(
        self, nodes: Mapping[str, Node], stopping: bool, names: Container[str]
    ) -> tuple[dict[str, str], dict[str, str], list[str]]:
        """Take the nodes by id, whether the sweep stops, and the names of the trials that have not ended.

        Returns:
            The node's name of each trial that has one; why each trial that lost its node is not moved again, if it is
            not; what to tell the user.
        """
        self._nodes, self._stopping = nodes, stopping
        self._kept = {name: kept for name, kept in self._kept.items() if name in names}
        places, over = dict[str, str](), dict[str, str]()
        for name, kept in self._kept.items():
            if kept.node and kept.node.id in nodes:
                places[name] = kept.node.name
            elif kept.node and kept.moves == self._max_moves:
                over[name] = kept.too_often()
        return places, over, [self._messages.pop(0) for _ in range(len(self._messages))]

    # For the tasks. Each raises `RunError` for a trial that has ended or an attempt that is not the last.

    def begin(self, name: str, token: str, node_id: str, lost: str = "") -> tuple[Node, int, Mapping[str, Any]] | None:
        """Begin the attempt `token` at a trial on a node. Earlier attempts are not accepted any more.

        `lost` says what became of the former attempt; it is "" if its node or worker is gone.

        Returns:
            The node; how often the trial was moved before; references to its files by name, if it was begun before and
            the node does not see its folder. None if the node is not used or not known yet, or if the sweep stops.

        Raises:
            RunError: the trial was moved too often. Ray does not count attempts that it ended for lack of memory.
        """
        kept, node = self._trial(name), self._nodes.get(node_id)
        if node is None or node.refused or self._stopping:
            kept.node = None
            return None
        with kept.lock:
            if kept.token != token:
                kept.lost = lost or kept.lost
                if kept.moves == self._max_moves:
                    raise RunError(kept.too_often())
                kept.token, kept.moves = token, kept.moves + 1
                if kept.moves:
                    self._messages.append(f"{name}: {kept.lost}; it goes on from its last checkpoint.")
                kept.node, kept.lost = node, f"its worker on {node.name} is gone"
            return node, kept.moves, {} if node.direct else read_run(kept.folder, {}, ray.put)[0]

    def take(self, name: str, token: str, files: Mapping[str, Any], log: bytes = b"") -> bool:
        """Take references to changed files, see `read_run`, and return whether the attempt is to stop.

        `log` is what a trial that failed wrote to stderr.
        """
        kept = self._trial(name)
        with kept.lock:
            if kept.token != token:
                raise RunError(f"{name} goes on elsewhere.")
            write_run(kept.folder, files, ray.get)
        if log:
            self._logs.mkdir(exist_ok=True)
            (self._logs / f"{name}.log").write_bytes(log)
        return self._stopping

    def _trial(self, name: str) -> _Kept:
        if kept := self._kept.get(name):
            return kept
        raise RunError(f"{name} has ended.")
