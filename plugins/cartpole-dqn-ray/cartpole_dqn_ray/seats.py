"""Workers on the cluster, kept from trial to trial: starting one takes as long as some seconds of a trial.

* `Seats`: hands out workers, and takes them back.
* `Seat`: a worker and the node that it is on.
* `ask`: an actor's answer, or `Closing` where the engine closes meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cartpole_dqn import CartpoleDqnError, RunError
from cartpole_dqn_ray.nodes import Node, Nodes
from cartpole_dqn_ray.worker import TrialWorker

_SLICE = 0.5
"""Seconds between two looks at whether the engine closes."""
_IDLE = 20.0
"""Seconds for which a worker without a trial is kept, its place taken from others on the cluster."""

_ATTEMPTS = 5
"""Workers that may end before they began, one after another."""


class ClosingError(Exception):
    """The engine closes: leave everything as it is."""


@dataclass(eq=False)
class Seat:
    """A worker and the node that it is on."""

    actor: Any
    node: Node
    since: float = field(default_factory=time.monotonic)
    """When it was last put back."""


class Seats:
    """Workers on the cluster. Methods may be called from any thread.

    Args:
        nodes: where they may be.
        resources: what one takes: "CPU" and "GPU".
        worker: arguments of `TrialWorker`.
        patience: seconds to wait while no node of the cluster could take a worker.
    """

    def __init__(
        self, nodes: Nodes, resources: Mapping[str, float], worker: Mapping[str, Any], patience: float
    ) -> None:
        self.nodes = nodes
        self.closing = threading.Event()
        self.stopping = threading.Event()
        self._resources = resources
        self._worker = worker
        self._patience = patience
        self._lock = threading.Lock()
        self._idle: list[Seat] = []
        self._all: set[Seat] = set()

    def take(self) -> Seat | None:
        """Return a worker, waiting until there is a place for one; None where the sweep stops first.

        Raises:
            RunError: no node of the cluster could take it for too long.
            ClosingError: the engine closes.
        """
        import ray

        while True:
            with self._lock:
                seat = self._idle.pop() if self._idle else None
            if seat is None:
                return self._start()
            try:
                self.ask(seat.actor.node_id.remote())
                return seat
            except ray.exceptions.RayActorError:
                self.drop(seat)

    def put_back(self, seat: Seat) -> None:
        """Take a worker back whose trial ended."""
        seat.since = time.monotonic()
        with self._lock:
            self._idle.append(seat)

    def drop(self, seat: Seat) -> None:
        """Give up a worker that is gone, or is to be."""
        self._kill(seat.actor)
        with self._lock:
            self._all.discard(seat)

    def release_idle(self) -> None:
        """Give back the places of workers that had no trial for a while."""
        with self._lock:
            old = [seat for seat in self._idle if time.monotonic() - seat.since > _IDLE]
            self._idle = [seat for seat in self._idle if seat not in old]
        for seat in old:
            self.drop(seat)

    def close(self) -> None:
        """End all workers and what they run."""
        import ray

        self.closing.set()
        with self._lock:
            seats = list(self._all)
        left = {seat.actor.finish.remote(): seat for seat in seats}
        if left:
            ray.wait(list(left), num_returns=len(left), timeout=10)
        for seat in seats:
            self.drop(seat)

    def ask(self, reference: Any, patience: float | None = None) -> Any:
        """Return the answer of an actor.

        Args:
            reference: what calling it returned.
            patience: seconds to wait, after which a `GetTimeoutError` is raised; None for no bound.

        Raises:
            ClosingError: the engine closes.
            RayActorError: the actor is gone, or out of reach for now.
            CartpoleDqnError, OSError: what was raised in the worker.
        """
        import ray

        until = None if patience is None else time.monotonic() + patience
        while True:
            if self.closing.is_set():
                raise ClosingError
            try:
                return ray.get(reference, timeout=_SLICE)
            except ray.exceptions.RayTaskError as error:
                # Ray's own text is a traceback of the worker's; what was raised there says it in a sentence.
                raise error.cause if isinstance(error.cause, CartpoleDqnError | OSError) else error from None
            except ray.exceptions.GetTimeoutError:
                if until is not None and time.monotonic() > until:
                    raise

    def _start(self) -> Seat | None:
        """Start a worker where Ray finds a place on a node that can be used."""
        failures = 0
        while self._await_places():
            actor = self._actor()
            try:
                node = self._placed(actor)
            except BaseException:
                self._kill(actor)
                raise
            if isinstance(node, Node):
                seat = Seat(actor, node)
                with self._lock:
                    self._all.add(seat)
                return seat
            self._kill(actor)
            failures += node is not None
            if failures >= _ATTEMPTS:
                raise RunError(f"Ray could not start a worker for it: {node}")
        return None

    def _await_places(self) -> bool:
        """Wait until some node could take a worker; return False where the sweep stops first."""
        until = time.monotonic() + self._patience
        while not self.stopping.is_set():
            if self.nodes.places:
                return True
            if time.monotonic() > until:
                raise RunError(f"for {self._patience:g} seconds no node of the cluster could take it.")
            if self.closing.wait(_SLICE):
                raise ClosingError
        return False

    def _actor(self) -> Any:
        import ray

        remote: Any = ray.remote(TrialWorker)
        options: dict[str, Any] = {
            "num_cpus": self._resources["CPU"],
            "num_gpus": self._resources["GPU"],
            "max_restarts": 0,
        }
        if selector := self.nodes.selector:
            options["label_selector"] = selector
        return remote.options(**options).remote(**self._worker)

    def _placed(self, actor: Any) -> Node | str | None:
        """Return the node that a new actor is on; where the attempt is to be made anew, what failed, or None."""
        import ray

        reference = actor.node_id.remote()
        while True:
            try:
                node_id = self.ask(reference, 2.0)
                break
            except ray.exceptions.GetTimeoutError:
                # It waits for a place. Where all that it may wait for are gone, somebody has to notice.
                if self.stopping.is_set() or not self.nodes.places:
                    return None
            except ray.exceptions.RayActorError as error:
                self.nodes.refresh(at_once=True)
                return " ".join(str(error).split())[-300:]
        while (node := self.nodes.get(node_id)) is None:  # it joined a moment ago, and has yet to answer
            if self.closing.wait(_SLICE):
                raise ClosingError
            self.nodes.refresh()
            if not self.nodes.is_alive(node_id):
                return None
        return None if node.refused else node

    def _kill(self, actor: Any) -> None:
        import ray

        ray.kill(actor)
