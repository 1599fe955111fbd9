"""`RaySweep`, the sweep engine `ray`, and its options: a sweep's trials on the nodes of a Ray cluster."""

from __future__ import annotations

import math
import tempfile
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
from cartpole_dqn_ray.connection import Connection, on_node, ray
from cartpole_dqn_ray.home import Home
from cartpole_dqn_ray.nodes import Nodes
from cartpole_dqn_ray.trial import run_trial

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
        for name, amount in (("cpus", options.cpus), ("gpus", options.gpus)):
            if amount > 1 and amount != int(amount):  # Ray does not set it aside.
                raise UserError(f"{name}: expected a fraction below 1 or a whole number, got {amount:g}.")
        self._tasks: dict[Any, Trial] = {}
        """The trial of each task that has not ended."""
        self._places: dict[str, str] = {}
        """The node's name of each trial that has one."""
        self._stopping = False
        self._placed_at = time.monotonic()
        """When each trial last had a node, or could have got one."""
        cores = math.ceil((context.jobs or usable_cores()) * options.cpus)
        self._connection = Connection(options.address, cpus=cores, store=options.object_store_megabytes << 20)
        try:
            mark = tempfile.NamedTemporaryFile(prefix=".ray-", dir=context.folder)  # noqa: SIM115 (closed with it)
            self._connection.enter_context(mark)
            takes = {"CPU": options.cpus, **({"GPU": options.gpus} if options.gpus else {})}
            self._nodes = Nodes(Path(mark.name), takes, options.storage, context.say)
            here = on_node(ray.get_runtime_context().get_node_id())
            home = ray.remote(num_cpus=0, max_concurrency=_THREADS, max_task_retries=-1, scheduling_strategy=here)(Home)
            self._home = home.remote(options.max_moves, context.folder / "ray")
        except BaseException:
            self._connection.close()
            raise

    @property
    def slots(self) -> int:
        """The number of trials that the usable nodes can run, at most `--jobs`."""
        return max(1, min(self._nodes.places, self.context.jobs or self._nodes.places))

    def start(self, trial: Trial) -> None:
        """Give the trial to Ray."""
        ray.get(self._home.expect.remote(trial))
        self._submit(trial)

    def wait(self, timeout: float) -> list[TrialEnd]:
        """Return the trials that ended, and those that wait for a node in vain, or while the sweep stops."""
        self._nodes.refresh()
        names = {trial.name for trial in self._tasks.values()}
        self._places, over, messages = ray.get(self._home.news.remote(self._nodes.known, self._stopping, names))
        for text in messages:
            self.context.say(text)
        done = ray.wait(list(self._tasks), timeout=timeout)[0] if self._tasks else []
        ends = [end for task in done if (end := self._hear(task))]
        waiting = {task: trial.name for task, trial in self._tasks.items() if trial.name not in self._places}
        now = time.monotonic()
        if not waiting or self._nodes.places:
            self._placed_at = now
        if now - self._placed_at > self.options.patience:
            why = f"for {self.options.patience:g} seconds no node of the cluster could take it."
            over = {**dict.fromkeys(waiting.values(), why), **over}
        for task, name in waiting.items():
            if self._stopping or name in over:
                del self._tasks[task]
                ends.append(TrialEnd(name, "failed" if name in over else "interrupted", over.get(name, "")))
        return ends

    def stop(self) -> None:
        """Have `wait` ask every run to save and stop."""
        self._stopping = True

    def close(self) -> None:
        """End every run, and the Ray that was started here."""
        # A task whose home is gone ends its run. None is cancelled: Ray 2.60 aborts if one ends at that moment.
        ray.kill(self._home)
        placed = [task for task, trial in self._tasks.items() if trial.name in self._places]
        if placed:
            ray.wait(placed, num_returns=len(placed), timeout=_LEAVING)
        self._connection.close()

    def place(self, name: str) -> str:
        """Return the node of a trial; "" while it waits for one, and if there is only this machine."""
        return self._places.get(name, "") if self.options.address else ""

    def _submit(self, trial: Trial) -> None:
        """Have Ray run a trial, and run it again if its node or worker is lost."""
        refused = [node.id for node in self._nodes.known.values() if node.refused]
        task = ray.remote(
            num_cpus=self.options.cpus,
            num_gpus=self.options.gpus,
            max_retries=self.options.max_moves + 1,  # The home refuses the last one, and says why.
            label_selector={"ray.io/node-id": f"!in({','.join(refused)})"} if refused else {},
        )(run_trial)
        self._tasks[task.remote(trial, self.options, Path.cwd(), self._home)] = trial

    def _hear(self, task: Any) -> TrialEnd | None:
        """Return how a trial ended, or give it to Ray once more."""
        trial = self._tasks.pop(task)
        try:
            end: TrialEnd | None = ray.get(task)
        except ray.exceptions.RayError as error:
            return TrialEnd(trial.name, "failed", f"Ray could not run it: {str(error).strip().splitlines()[-1][:300]}")
        if end is None:  # Its node joined after the trial was given to Ray, and is not to be used.
            self._submit(trial)
        return end
