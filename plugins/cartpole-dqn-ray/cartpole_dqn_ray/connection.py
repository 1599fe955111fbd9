"""Ray, and the connection to a cluster, or to a Ray that is started on this machine.

* `ray`: Ray's module. Its environment variables are set before it is imported.
* `Connection`: connects, and ends the connection when it is closed.
* `on_node`: has a task or an actor run on one node.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from cartpole_dqn import UserError

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "RAY_enable_output_error_log_if_still_retry": "0",
    "RAY_worker_niceness": "0",
}
"""Read when Ray is imported. Ray reports nothing over the network, prints nothing to stdout, and a Ray that is started
here runs trials at the priority that they have by hand."""
_KNOCK = 10.0
"""Seconds in which a cluster's head must accept a connection."""

for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
ray: Any = importlib.import_module("ray")  # Its types leave out `ray.nodes` and some options.


class Connection(contextlib.ExitStack):
    """A connection of this process to Ray. If the process has one already, it is used and stays open.

    What is entered into it is left before it ends.

    Args:
        address: HOST:PORT of a cluster's head, or "auto" for the one on this machine; "" starts a Ray.
        cpus: number of cores of the Ray that is started.
        store: bytes of memory of its object store.

    Raises:
        UserError: there is no cluster at the address, it has another version, or Ray cannot start here.
    """

    def __init__(self, address: str, *, cpus: int, store: int) -> None:
        super().__init__()
        if address.startswith("ray://"):
            raise UserError(
                f"address: expected HOST:PORT of the cluster's head, got {address}, which is Ray Client's. Start the "
                f"sweep on a machine of the cluster, or one that reaches all of its ports, with HOST:6379."
            )
        if ray.is_initialized():
            return
        options: dict[str, Any] = {"address": address}
        if not address:
            # The names of sockets in the folder must be short, so it is not in the sweep's folder.
            folder = self.enter_context(tempfile.TemporaryDirectory(prefix="cdr-", ignore_cleanup_errors=True))
            options = {"address": "local", "num_cpus": cpus, "object_store_memory": store, "_temp_dir": folder}
            options["include_dashboard"] = False
        self.callback(ray.shutdown)
        try:
            if ":" in address:  # Ray itself would try for minutes.
                host, _, port = address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()
            with _keeping_sigterm():
                ray.init(**options, logging_level=logging.ERROR, log_to_driver=False)
        except (RuntimeError, ValueError, OSError, OverflowError, ray.exceptions.RayError) as error:
            self.close()
            reason = " ".join(str(error).split())[:600]
            advice = "Start one there with `ray start --head`, or leave out the address to have one on this machine."
            none_there = f"no Ray cluster can be used at {address}: {reason}. {advice}"
            raise UserError(none_there if address else f"Ray could not be started on this machine: {reason}") from error

    def close(self) -> None:
        """End the connection, and the Ray that was started for it."""
        with _keeping_sigterm():
            super().close()


def on_node(node_id: str) -> Any:
    """Return Ray's scheduling strategy for a task or an actor that runs on one node, or fails."""
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)


@contextlib.contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Restore this process's handler of SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
