"""Imports what runs need; `multiprocessing`'s fork server imports this once, so that its forks need not.

Nothing is computed here, no random number is drawn, no window is opened and no thread is started: a fork is as new as a
process that did the imports itself.
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
    "cartpole_dqn.envs.lockstep",
    "cartpole_dqn.observers.display.display",
    "cartpole_dqn.observers.metrics",
    "gymnasium.envs.classic_control",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "pygame.gfxdraw",
)
"""What every run imports, or nearly every one."""
_SETTINGS = {
    "OMP_NUM_THREADS": "1",  # Else NumPy's BLAS starts threads when it is imported. Runs set torch's by themselves.
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
    gc.freeze()  # Else each run's first collection would copy the memory that is shared.


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what libraries print while they are imported nowhere: the terminal shows the sweep's table."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    try:
        yield
    finally:
        for descriptor, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)


with _quiet():
    _import_all()
