"""`RaySweep`, the sweep engine `ray`, and its options: a sweep's trials on the nodes of a Ray cluster."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any, ClassVar, Literal

from cartpole_dqn import (
    SweepEngine,
    SweepEngineContext,
    Trial,
    TrialEnd,
    UserError,
    option,
    options_class,
    usable_cores,
)
from cartpole_dqn_ray.connection import Connection, answer
from cartpole_dqn_ray.home import Home
from cartpole_dqn_ray.nodes import Node, Nodes
from cartpole_dqn_ray.trial import MovedError, run_trial

_LOOK = 0.5
"""Seconds between two looks at what became of the trials."""
_LEAVING = 10.0
"""Seconds that trials may take to end when the engine closes."""
_THREADS = 16
"""Number of trials whose files are moved at once."""


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
    sync_seconds: float = option(default=5.0, gt=0, effect="how often changed files are brought back")
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
    """Runs trials as tasks on the nodes of a Ray cluster. Ray runs those of a lost node elsewhere.

    Without an address it starts a Ray on this machine, with room for `--jobs` trials, by default one per core.

    Raises:
        UserError: there is no such cluster, or none of its nodes can be used; the message says why.
    """

    Options: ClassVar[type] = RaySweepOptions
    options: RaySweepOptions

    def __init__(self, options: RaySweepOptions, context: SweepEngineContext) -> None:
        super().__init__(options, context)
        _require_whole(options)
        self._tasks: dict[Any, Trial] = {}
        """The trial of each task that has not ended."""
        self._places: dict[str, Node] = {}
        self._ended: list[TrialEnd] = []
        self._stopping = False
        self._no_place_since = math.inf
        cores = math.ceil((context.jobs or usable_cores()) * options.cpus)
        self._connection = Connection(options.address, cpus=cores, store=options.object_store_megabytes << 20)
        try:
            self._nodes = Nodes(context.folder.absolute(), options, context.say)
            self._nodes.require_one()
            self._home = self._make_home()
        except BaseException:
            self._connection.close()
            raise

    @property
    def slots(self) -> int:
        """The number of trials that the usable nodes can run, at most `--jobs`."""
        places = max(1, self._nodes.places)
        return places if self.context.jobs is None else min(places, self.context.jobs)

    def start(self, trial: Trial) -> None:
        """Give the trial to Ray."""
        trial = dataclasses.replace(trial, folder=trial.folder.absolute())
        answer(self._home.expect.remote(trial))
        self._submit(trial)

    def wait(self, timeout: float) -> list[TrialEnd]:
        """Return the trials that ended, and release those that wait for a node in vain."""
        import ray

        until = time.monotonic() + timeout
        while True:
            self._listen()
            left = max(0.0, until - time.monotonic()) if self._tasks and not self._ended else 0.0
            done = ray.wait(list(self._tasks), timeout=min(left, _LOOK))[0] if self._tasks else []
            for task in done:
                self._hear(task)
            self._release()
            if self._ended or left <= _LOOK:
                ends, self._ended = self._ended, []
                return ends

    def stop(self) -> None:
        """Ask every run to save and stop."""
        self._stopping = True
        self._listen()
        self._release()

    def close(self) -> None:
        """End every run, and the Ray that was started here."""
        import ray

        # A task whose home is gone ends its run. None is cancelled: Ray 2.60 aborts if one ends at that moment.
        ray.kill(self._home)
        placed = [task for task, trial in self._tasks.items() if trial.name in self._places]
        if placed:
            ray.wait(placed, num_returns=len(placed), timeout=_LEAVING)
        self._nodes.close()
        self._connection.close()

    def place(self, name: str) -> str:
        """Return the node of a trial; "" while it waits for one, and if there is only this machine."""
        return "" if name not in self._places or self._connection.embedded else self._places[name].name

    def _make_home(self) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        remote: Any = ray.remote  # Its types leave some of its options out.
        decorate = remote(num_cpus=0, max_concurrency=_THREADS, max_task_retries=-1, scheduling_strategy=here)
        return decorate(Home).remote(self.options.max_moves)

    def _submit(self, trial: Trial) -> None:
        """Have Ray run a trial, and run it again if its node, worker or process is lost."""
        import ray

        remote: Any = ray.remote  # Its types leave some of its options out.
        decorate = remote(
            num_cpus=self.options.cpus,
            num_gpus=self.options.gpus,
            max_retries=self.options.max_moves,
            retry_exceptions=[MovedError],
            label_selector=self._nodes.selector,
        )
        self._tasks[decorate(run_trial).remote(trial, self.options, Path.cwd(), self._home)] = trial

    def _listen(self) -> None:
        self._nodes.refresh()
        places, messages = answer(self._home.news.remote(self._nodes.known, self._stopping))
        self._places = {name: node for name, node in places.items() if node.id in self._nodes.known}
        for text in messages:
            self.context.say(text)

    def _hear(self, task: Any) -> None:
        """Take what became of a task."""
        import ray

        trial = self._tasks.pop(task)
        try:
            outcome: tuple[TrialEnd, bytes] | None = answer(task)
        except (MovedError, ray.exceptions.RayError) as error:
            why = answer(self._home.finish.remote(trial.name))
            if not why or isinstance(error, ray.exceptions.RayTaskError):
                why = f"Ray could not run it: {str(error).strip().splitlines()[-1][:300]}"
            self._ended.append(TrialEnd(trial.name, "failed", why))
            return
        if outcome is None:  # Its node joined after it was given to Ray, and is not to be used.
            self._submit(trial)
            return
        end, output = outcome
        if end.state == "failed" and output:
            log = self.context.folder / "ray" / f"{end.name}.log"
            try:
                log.parent.mkdir(exist_ok=True)
                log.write_bytes(output)
            except OSError as problem:
                self.context.say(f"{end.name}: its output could not be kept: {problem.strerror or problem}.")
        self._end(end)

    def _end(self, end: TrialEnd) -> None:
        self._ended.append(end)
        answer(self._home.finish.remote(end.name))

    def _release(self) -> None:
        """End the trials without a node when the sweep stops, or if no node could take one for too long."""
        waiting = {task: trial.name for task, trial in self._tasks.items() if trial.name not in self._places}
        now = time.monotonic()
        if not waiting or self._nodes.places:
            self._no_place_since = math.inf
        self._no_place_since = min(self._no_place_since, now)
        if not self._stopping and now - self._no_place_since <= self.options.patience:
            return
        for task, name in waiting.items():
            del self._tasks[task]
            why = f"for {self.options.patience:g} seconds no node of the cluster could take it."
            self._end(TrialEnd(name, "interrupted") if self._stopping else TrialEnd(name, "failed", why))


def _require_whole(options: RaySweepOptions) -> None:
    """Raise a `UserError` for an amount that Ray does not set aside: above 1 it must be whole."""
    for name, amount in (("cpus", options.cpus), ("gpus", options.gpus)):
        if amount > 1 and amount != int(amount):
            raise UserError(f"{name}: expected a fraction below 1 or a whole number, got {amount:g}.")
