"""`RaySweep`: a sweep's trials on the nodes of a Ray cluster.

* `RaySweep`: the sweep engine `ray`; `RaySweepOptions`: its options.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import queue
from pathlib import Path
from typing import ClassVar, Literal

from cartpole_dqn import SweepEngine, SweepEngineContext, Trial, TrialEnd, UserError, option, options_class
from cartpole_dqn_ray.connection import Connection
from cartpole_dqn_ray.follower import Follower, Rules
from cartpole_dqn_ray.nodes import Nodes
from cartpole_dqn_ray.seats import Seats

FOLDER = "ray"
"""The engine's folder in the sweep's."""

_MEGABYTE = 1 << 20


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
    """Runs trials on the nodes of a Ray cluster; those of a node that is lost go on elsewhere.

    Without an address it starts a Ray on this machine, with as many places as `--jobs` says, or as there are cores.

    Raises:
        UserError: there is no such cluster, or none of its nodes can be used; the message says why.
    """

    Options: ClassVar[type] = RaySweepOptions
    options: RaySweepOptions

    def __init__(self, options: RaySweepOptions, context: SweepEngineContext) -> None:
        super().__init__(options, context)
        _require_whole(options)
        self._followers: dict[str, Follower] = {}
        self._ended: queue.SimpleQueue[TrialEnd] = queue.SimpleQueue()
        folder = context.folder.absolute() / FOLDER
        cores = (context.jobs or _usable_cores()) * options.cpus
        self._connection = Connection(
            options.address,
            cpus=math.ceil(cores),
            gpus=options.gpus > 0,
            store=options.object_store_megabytes * _MEGABYTE,
        )
        resources = {"CPU": options.cpus, "GPU": options.gpus}
        try:
            alone = self._connection.alone
            self._nodes = Nodes(context.folder.absolute(), options.storage, resources, alone=alone, say=context.say)
            self._nodes.require_one()
        except BaseException:
            self._connection.close()
            raise
        environment = {name: str(max(1, int(options.cpus))) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        if not options.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        worker = {"environment": environment, "sync_seconds": options.sync_seconds}
        self._seats = Seats(self._nodes, resources, worker, options.patience)
        self._rules = Rules(
            folder=folder,
            current=str(Path.cwd()),
            max_moves=options.max_moves,
            stop_seconds=options.stop_seconds,
            say=context.say,
        )

    @property
    def slots(self) -> int:
        """The places on the nodes that are used now, at most as many as `--jobs` says."""
        places = max(1, self._nodes.places)
        return places if self.context.jobs is None else min(places, self.context.jobs)

    def start(self, trial: Trial) -> None:
        """Begin to follow the trial, in a thread of its own."""
        absolute = dataclasses.replace(trial, folder=trial.folder.absolute())
        follower = Follower(absolute, self._seats, self._rules, self._ended.put)
        self._followers[trial.name] = follower
        follower.start()

    def wait(self, timeout: float) -> list[TrialEnd]:
        """Return the trials that ended, waiting for the first."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._ended.get(timeout=timeout) if timeout > 0 else self._ended.get_nowait())
            while True:
                found.append(self._ended.get_nowait())
        for end in found:
            self._followers.pop(end.name).join()
        if not self._connection.embedded:
            self._seats.release_idle()
        return found

    def stop(self) -> None:
        """Ask every run to end in order, on whatever node it is."""
        self._seats.stopping.set()

    def close(self) -> None:
        """End every run and every worker, and the Ray that was started here."""
        self._seats.close()
        for follower in self._followers.values():
            follower.join(timeout=10)
        self._seats.close()  # a worker that was only just starting
        self._nodes.forget_mark()
        self._connection.close()

    def place(self, name: str) -> str:
        """Return the node that a trial is on; "" while it waits for one, and where there is only this machine."""
        follower = self._followers.get(name)
        return "" if follower is None or self._connection.embedded else follower.place


def _require_whole(options: RaySweepOptions) -> None:
    """Raise a `UserError` for an amount that Ray does not set aside: above 1 it must be whole."""
    for name, amount in (("cpus", options.cpus), ("gpus", options.gpus)):
        if amount > 1 and amount != int(amount):
            raise UserError(f"{name}: expected a fraction below 1 or a whole number, got {amount:g}.")


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
