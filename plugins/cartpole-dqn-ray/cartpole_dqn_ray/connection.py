"""The connection to a cluster, or a Ray of its own on this machine.

* `Connection`: `embedded` says which of the two it is; `close` ends it.
* `answer`: what a reference stands for, with errors of ours as they were raised.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from cartpole_dqn import CartpoleDqnError, UserError

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "RAY_enable_output_error_log_if_still_retry": "0",
}
"""What keeps Ray from reporting its use over the network, and from printing to stdout; read when it is imported."""
_KNOCK = 10.0
"""Seconds in which a cluster's head must take a connection."""


class Connection:
    """A connection of this process to Ray; one that the process had already is used, and left as it was.

    Args:
        address: HOST:PORT of a cluster's head, or "auto" for the one that runs on this machine; "" starts a Ray.
        cpus: of the Ray that is started.
        gpus: whether the Ray that is started counts the GPUs that are there.
        store: bytes of memory of its object store.

    Raises:
        UserError: there is no cluster at the address, it is of another version, or Ray cannot start here.
    """

    def __init__(self, address: str, *, cpus: int, gpus: bool, store: int) -> None:
        self.embedded = not address
        self.address = address
        self._folder: str | None = None
        self._ours = False
        if address.startswith("ray://"):
            raise UserError(
                f"address: expected HOST:PORT of the cluster's head, got {address}, which is Ray Client's. Start the "
                f"sweep on a machine of the cluster, or one that reaches all of its ports, with HOST:6379."
            )
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import ray

        if ray.is_initialized():
            return
        if ":" in address:
            _require_listener(address)
        with _keeping_sigterm():
            try:
                if self.embedded:
                    self._start(cpus, gpus, store)
                else:
                    ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
            except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
                self._clean()
                raise UserError(self._why(error)) from error
        self._ours = True

    @property
    def alone(self) -> bool:
        """Whether the cluster is a Ray that was started for this connection."""
        return self._ours and self.embedded

    def close(self) -> None:
        """End the connection, and the Ray that was started for it."""
        if self._ours:
            import ray

            with _keeping_sigterm():
                ray.shutdown()
        self._ours = False
        self._clean()

    def _start(self, cpus: int, gpus: bool, store: int) -> None:
        import ray

        # Else trials would have a lower priority than by hand, and be slower beside other work.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # The names of sockets in it must be short, so it is not in the sweep's folder.
        self._folder = tempfile.mkdtemp(prefix="cdr-")
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=None if gpus else 0,
            object_store_memory=store,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _temp_dir=self._folder,
        )

    def _clean(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _why(self, error: Exception) -> str:
        said = " ".join(str(error).split())[:600]
        if self.embedded:
            return f"Ray could not be started on this machine: {said}"
        return (
            f"no Ray cluster can be used at {self.address}: {said} "
            f"Start one there with `ray start --head`, or leave out the address to have one on this machine."
        )


def answer(reference: Any) -> Any:
    """Return what a call returned.

    Raises:
        CartpoleDqnError, OSError: as it was raised where the call was made; Ray's own text is a traceback.
        RayError: anything else that went wrong.
    """
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, CartpoleDqnError | OSError) else error from None


def _require_listener(address: str) -> None:
    """Raise a `UserError` where nothing answers at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {address}: {error}. Start one there with `ray start --head`, or leave out the "
            f"address to have one on this machine."
        ) from None


@contextlib.contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Put this process's answer to SIGTERM back, which Ray replaces by its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
