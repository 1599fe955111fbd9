"""`RaySweep`: a sweep's trials on the nodes of a Ray cluster.

* `RaySweep`: the sweep engine `ray`; `RaySweepOptions`: its options.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, Literal

from cartpole_dqn import SweepEngine, SweepEngineContext, Trial, TrialEnd, UserError, option, options_class
from cartpole_dqn_ray.connection import Connection, answer
from cartpole_dqn_ray.home import Home, News
from cartpole_dqn_ray.nodes import Node, Nodes
from cartpole_dqn_ray.trial import MovedError, Outcome, Terms, lost_too_often, run_trial

FOLDER = "ray"
"""The engine's folder in the sweep's."""

_MEGABYTE = 1 << 20
_LOOK = 0.5
"""Seconds between two looks at what became of the trials."""
_LEAVING = 10.0
"""Seconds that trials may take to end when the engine closes."""
_THREADS = 16
"""Trials whose files are moved at once."""


@options_class
class RaySweepOptions:
    """Options of the sweep engine `ray`."""

    address: str = option(
        default="",
        effect="the cluster's head as HOST:PORT, or auto for one that runs here; empty starts a Ray on this machine",
    )
    cpus: float = option(default=1.0, gt=0, effect="cores that Ray sets aside for a trial", typical="1")
    gpus: float = option(
        default=0.0, ge=0, effect="GPUs, or the fraction of one, for a trial; with 0 it sees none", typical="0 or 0.25"
    )
    storage: Literal["auto", "shared", "object-store"] = option(
        default="auto",
        effect="shared: trials write into the sweep's folder themselves, which every node must see; object-store: "
        "their files are brought back; auto: brought back from other machines",
    )
    sync_seconds: float = option(default=5.0, gt=0, effect="how often metrics are brought back between checkpoints")
    max_moves: int = option(default=3, ge=0, effect="how often a trial goes on elsewhere before it is given up")
    patience: float = option(
        default=300.0, ge=0, effect="seconds that a trial waits while no node of the cluster could take it"
    )
    stop_seconds: float = option(
        default=60.0, gt=0, effect="how long trials may take to end in order before they are killed"
    )
    object_store_megabytes: int = option(
        default=100, ge=80, effect="memory of the object store of a Ray that is started here"
    )


class RaySweep(SweepEngine):
    """Runs trials as tasks on the nodes of a Ray cluster; Ray runs those of a lost node elsewhere.

    Without an address it starts a Ray on this machine, with as many places as `--jobs` says, or as there are cores.

    Raises:
        UserError: there is no such cluster, or none of its nodes can be used; the message says why.
    """

    Options: ClassVar[type] = RaySweepOptions
    options: RaySweepOptions

    def __init__(self, options: RaySweepOptions, context: SweepEngineContext) -> None:
        super().__init__(options, context)
        _require_whole(options)
        self._folder = context.folder.absolute() / FOLDER
        self._trials: dict[str, Trial] = {}
        self._tasks: dict[Any, str] = {}
        """The trial of each task that has not ended."""
        self._places: dict[str, Node] = {}
        self._ended: list[TrialEnd] = []
        self._no_place_since: float | None = None
        cores = (context.jobs or _usable_cores()) * options.cpus
        self._connection = Connection(
            options.address,
            cpus=math.ceil(cores),
            gpus=options.gpus > 0,
            store=options.object_store_megabytes * _MEGABYTE,
        )
        try:
            self._nodes = Nodes(
                context.folder.absolute(),
                options.storage,
                {"CPU": options.cpus, "GPU": options.gpus},
                alone=self._connection.alone,
                say=context.say,
            )
            self._nodes.require_one()
            self._home = self._make_home()
        except BaseException:
            self._connection.close()
            raise
        environment = {name: str(max(1, int(options.cpus))) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        if not options.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        self._terms = Terms(
            environment=environment,
            current=str(Path.cwd()),
            added=[str(Path.cwd()), str(Path(sys.argv[0]).resolve().parent)],
            sync_seconds=options.sync_seconds,
            stop_seconds=options.stop_seconds,
            max_moves=options.max_moves,
        )

    @property
    def slots(self) -> int:
        """The places on the nodes that are used now, at most as many as `--jobs` says."""
        places = max(1, self._nodes.places)
        return places if self.context.jobs is None else min(places, self.context.jobs)

    def start(self, trial: Trial) -> None:
        """Give the trial to Ray."""
        self._trials[trial.name] = dataclasses.replace(trial, folder=trial.folder.absolute())
        answer(self._home.expect.remote(self._trials[trial.name]))
        self._submit(trial.name)

    def wait(self, timeout: float) -> list[TrialEnd]:
        """Return the trials that ended, waiting for the first."""
        import ray

        until = time.monotonic() + timeout
        while True:
            self._listen(self._home.news.remote(self._nodes.known))
            left = max(0.0, until - time.monotonic()) if self._tasks and not self._ended else 0.0
            done, _ = ray.wait(list(self._tasks), timeout=min(left, _LOOK)) if self._tasks else ([], [])
            for task in done:
                self._hear(task)
            self._give_up_waiting()
            if self._ended or left <= _LOOK:
                found, self._ended = self._ended, []
                return found

    def stop(self) -> None:
        """Ask every run to end in order, on whatever node it is."""
        self._listen(self._home.order.remote("stop"))
        for task, name in list(self._tasks.items()):
            if name not in self._places:
                self._end(task, TrialEnd(name, "interrupted"))

    def close(self) -> None:
        """End every run, and the Ray that was started here."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            self._listen(self._home.order.remote("leave"))
            placed = [task for task, name in self._tasks.items() if name in self._places]
            if placed:
                ray.wait(placed, num_returns=len(placed), timeout=_LEAVING)
        # A task whose home is gone ends its run. None is cancelled: Ray 2.60 aborts where one ends at that moment.
        ray.kill(self._home)
        self._nodes.forget_mark()
        self._connection.close()

    def place(self, name: str) -> str:
        """Return the node that a trial is on; "" while it waits for one, and where there is only this machine."""
        return "" if name not in self._places or self._connection.embedded else self._places[name].name

    def _make_home(self) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        remote: Any = ray.remote(Home)
        options = {"num_cpus": 0, "max_concurrency": _THREADS, "max_task_retries": -1, "scheduling_strategy": here}
        return remote.options(**options).remote(self._folder)

    def _submit(self, name: str) -> None:
        """Have Ray run a trial, and run it again where its node, worker or process is lost."""
        import ray

        options: dict[str, Any] = {
            "num_cpus": self.options.cpus,
            "num_gpus": self.options.gpus,
            "max_retries": self.options.max_moves,
            "retry_exceptions": [MovedError],
        }
        if selector := self._nodes.selector:
            options["label_selector"] = selector
        remote: Any = ray.remote(run_trial)
        task = remote.options(**options).remote(self._trials[name], self._terms, self._home)
        self._tasks[task] = name

    def _listen(self, news: Any) -> None:
        found: News = answer(news)
        self._nodes.refresh()
        self._places = {name: node for name, node in found.places.items() if self._nodes.is_alive(node)}
        for text in found.said:
            self.context.say(text)

    def _hear(self, task: Any) -> None:
        """Take what became of a task."""
        import ray

        name = self._tasks[task]
        try:
            outcome: Outcome | None = answer(task)
        except (MovedError, ray.exceptions.RayError) as error:
            self._end(task, self._lost(name, error))
            return
        if outcome is None:  # Its node joined after it was given to Ray, and is not to be used.
            del self._tasks[task]
            self._submit(name)
            return
        if outcome.end.state == "failed" and outcome.said:
            self._keep(name, outcome.said)
        self._end(task, outcome.end)

    def _lost(self, name: str, error: Exception) -> TrialEnd:
        import ray

        if isinstance(error, ray.exceptions.RayTaskError):
            said = f"the sweep engine ray failed: {type(error.cause).__name__}: {error.cause}"
            return TrialEnd(name, "failed", " ".join(said.split())[:300])
        lost, moves = answer(self._home.finish.remote(name))
        if lost:
            return lost_too_often(name, lost, moves)
        said = " ".join(str(error).split())[-300:]
        return TrialEnd(name, "failed", f"Ray could not start a worker for it: {said}")

    def _end(self, task: Any, end: TrialEnd) -> None:
        del self._tasks[task]
        self._places.pop(end.name, None)
        self._ended.append(end)
        answer(self._home.finish.remote(end.name))

    def _give_up_waiting(self) -> None:
        """Fail the trials that wait for a place where no node could take one for too long."""
        waiting = {task: name for task, name in self._tasks.items() if name not in self._places}
        if not waiting or self._nodes.places:
            self._no_place_since = None
            return
        self._no_place_since = self._no_place_since or time.monotonic()
        if time.monotonic() - self._no_place_since > self.options.patience:
            why = f"for {self.options.patience:g} seconds no node of the cluster could take it."
            for task, name in waiting.items():
                self._end(task, TrialEnd(name, "failed", why))

    def _keep(self, name: str, said: str) -> None:
        """Keep what a failed run said; a log that cannot be written must not hide what it is about."""
        try:
            (self._folder / f"{name}.log").write_text(said, encoding="utf-8")
        except OSError as error:
            self.context.say(f"{name}: what it said could not be kept: {error.strerror or error}.")


def _require_whole(options: RaySweepOptions) -> None:
    """Raise a `UserError` for an amount that Ray does not set aside: above 1 it must be whole."""
    for name, amount in (("cpus", options.cpus), ("gpus", options.gpus)):
        if amount > 1 and amount != int(amount):
            raise UserError(f"{name}: expected a fraction below 1 or a whole number, got {amount:g}.")


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
