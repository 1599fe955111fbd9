"""What is otherwise for a run that a notebook's cell started.

* `with_notebook_display`: the notebook's display in place of the terminal's.
* `ending_on_interrupt`: interrupting the kernel ends the run in order.

Elsewhere neither does anything.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.events import Observer, ObserverContext
from cartpole_dqn.contracts.options import changed
from cartpole_dqn.observers.notebook import in_kernel
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.training import assembly
from cartpole_dqn.training.runner import Runner


def with_notebook_display(
    config: RunConfig, host: PluginHost, context: ObserverContext
) -> tuple[RunConfig, list[tuple[str, Observer]]]:
    """Return the configuration to assemble, and the observers to add to it.

    The notebook's display goes by the terminal's name, so that each goes on from what the other saved.
    """
    names = [entry["name"] for entry in config.observer]
    if context.plain or "display" not in names or not in_kernel():
        return config, []
    rest = changed(config, observer=[entry for entry in config.observer if entry["name"] != "display"])
    if "notebook" in names:
        return rest, []
    own = changed(config, observer=[{"name": "notebook"}])
    return rest, [("display", observer) for _, observer in assembly.make_observers(own, host, context)]


@contextlib.contextmanager
def ending_on_interrupt(runner: Runner) -> Iterator[None]:
    """Inside the block the first interrupt of the kernel ends the run in order, the second one at once."""
    if not in_kernel() or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if runner.stop_reason:
            raise KeyboardInterrupt
        runner.request_stop("SIGINT")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
