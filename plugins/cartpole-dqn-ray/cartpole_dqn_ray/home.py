"""`Home`: an actor on the sweep's machine that keeps the run folders for the tasks that run the trials.

A task begins by asking where the trial stands and gets the files of a run that was begun before. Then it sends changed
files and learns whether to stop. If its node or process is lost, Ray runs the task again. Each time is an attempt with
its own token, and `Home` accepts only the last one: an attempt that was cut off from the cluster can write nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cartpole_dqn import RunError, Trial
from cartpole_dqn_ray.nodes import Node
from cartpole_dqn_ray.run_files import read_run, write_run


class Beginning(NamedTuple):
    """How an attempt begins."""

    stopping: bool
    """Whether the sweep stops, so that the trial is not run."""
    node: Node | None
    """Its node; None until the node was asked for its versions."""
    moves: int = 0
    """How often the trial was moved before."""
    files: Mapping[str, Any] = {}
    """References to the run's files by name, if it was begun before and the node does not see its folder."""


@dataclass
class _Kept:
    """A trial. Its files are touched while `lock` is held."""

    folder: Path
    token: str = ""
    moves: int = -1
    node: Node | None = None
    lost: str = ""
    """Why the last attempt failed, unless it ended."""
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
    """

    def __init__(self, max_moves: int) -> None:
        self._max_moves = max_moves
        self._kept: dict[str, _Kept] = {}
        self._nodes: Mapping[str, Node] = {}
        self._messages: list[str] = []
        self._stopping = False

    # For the engine

    def expect(self, trial: Trial) -> None:
        """Expect tasks that run the trial."""
        self._kept[trial.name] = _Kept(trial.folder)

    def news(self, nodes: Mapping[str, Node], stopping: bool) -> tuple[dict[str, Node], list[str]]:
        """Take the nodes by id, and whether the sweep stops. Return the trials' nodes, and what to tell the user."""
        self._nodes, self._stopping = nodes, stopping
        messages = [self._messages.pop(0) for _ in range(len(self._messages))]
        return {name: kept.node for name, kept in list(self._kept.items()) if kept.node}, messages

    def finish(self, name: str) -> str:
        """Forget a trial. Return why it is not moved again; "" if it never began."""
        kept = self._kept.pop(name, None)
        return kept.too_often() if kept is not None and kept.lost else ""

    # For the tasks. Each raises `RunError` for a trial that has ended or an attempt that is not the last.

    def begin(self, name: str, token: str, node_id: str) -> Beginning:
        """Begin the attempt `token` on a node. Earlier attempts are not accepted any more.

        Raises:
            RunError: the trial was moved too often. Ray does not count attempts that it ended for lack of memory.
        """
        import ray

        kept, node = self._trial(name), self._nodes.get(node_id)
        if node is None or node.refused or self._stopping:
            return Beginning(self._stopping, node)
        with kept.lock:
            if kept.token != token:
                if kept.moves == self._max_moves:
                    raise RunError(kept.too_often())
                kept.token, kept.moves = token, kept.moves + 1
                if kept.moves:
                    self._messages.append(f"{name}: {kept.lost}; it goes on from its last checkpoint.")
                kept.node, kept.lost = node, f"its worker on {node.name} is gone"
            files = {} if node.direct else read_run(kept.folder, {}, ray.put)[0]
            return Beginning(False, node, kept.moves, files)

    def take(self, name: str, token: str, files: Mapping[str, Any], lost: str = "") -> bool:
        """Return whether the attempt is to stop.

        Args:
            name: of the trial.
            token: of the attempt.
            files: references to changed files, see `read_run`.
            lost: why the attempt ends and another one is wanted.
        """
        import ray

        kept = self._trial(name)
        with kept.lock:
            if kept.token != token:
                raise RunError(f"{name} goes on elsewhere.")
            write_run(kept.folder, files, ray.get)
            if lost:
                kept.node, kept.lost = None, lost
            return self._stopping

    def _trial(self, name: str) -> _Kept:
        if name not in self._kept:
            raise RunError(f"{name} has ended.")
        return self._kept[name]
