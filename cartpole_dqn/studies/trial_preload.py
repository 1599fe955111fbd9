"""Imports the modules that runs need. `multiprocessing`'s fork server imports this once for all forks.

It draws no random numbers, opens no windows and starts no threads, so a fork behaves like a new process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
from collections.abc import Iterator

_MODULES = (
    "cartpole_dqn.api",
    "cartpole_dqn.cli.app",
    "cartpole_dqn.agents.dqn",
    "cartpole_dqn.components.exploration",
    "cartpole_dqn.components.networks",
    "cartpole_dqn.components.optimisers",
    "cartpole_dqn.components.replay.uniform",
    "cartpole_dqn.components.target_updates",
    "cartpole_dqn.observers.display.display",
    "cartpole_dqn.observers.metrics",
    "gymnasium.envs.classic_control",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "pygame.gfxdraw",
)
"""Modules that almost every run imports."""
_SETTINGS = {
    "OMP_NUM_THREADS": "1",  # Otherwise importing NumPy starts BLAS threads. Runs set torch's threads themselves.
    "MKL_NUM_THREADS": "1",
    "SDL_NO_SIGNAL_HANDLERS": "1",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}


def _import_all() -> None:
    os.environ.update(_SETTINGS)
    for name in _MODULES:
        with contextlib.suppress(Exception):  # The run that needs it reports the error.
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # Otherwise each run's first collection would copy the shared memory.


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Discard what libraries print on import, because the terminal shows the sweep's table."""
    copies = [os.dup(descriptor) for descriptor in (1, 2)]
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    try:
        yield
    finally:
        for descriptor, copy in zip((1, 2), copies, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)


with _quiet():
    _import_all()
