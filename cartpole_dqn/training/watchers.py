"""Those who watch a run, none of whom can harm it.

* `ObserverGroup`: tells every observer; one that raises is named and switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cartpole_dqn.contracts.events import Observer
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.errors import said_by


class ObserverGroup:
    """Tells every observer; one that raises is named and switched off, and the run goes on.

    Args:
        observers: (name, observer) pairs; the name says whose fault it is.
        warn: takes a sentence for the user.
    """

    def __init__(self, observers: Sequence[tuple[str, Observer]], warn: Callable[[str], None]) -> None:
        self._observers = list(observers)
        self._warn = warn

    def warn(self, text: str) -> None:
        """Say a sentence to the user."""
        self._warn(text)

    def tell(self, method: str, event: Any) -> None:
        """Call `method` of every observer with `event`."""
        for entry in list(self._observers):
            try:
                getattr(entry[1], method)(event)
            except Exception as error:
                self._observers.remove(entry)
                self._warn(f"observer {entry[0]} failed in {method} and is switched off: {said_by(error)}")

    def state_dict(self) -> State:
        """Return the observers' states by name."""
        states: State = {}
        for entry in list(self._observers):
            try:
                states[entry[0]] = entry[1].state_dict()
            except Exception as error:
                self._observers.remove(entry)
                self._warn(f"observer {entry[0]} failed in state_dict and is switched off: {said_by(error)}")
        return states

    def load_state_dict(self, state: State) -> None:
        """Give every observer the state saved under its name, where there is one."""
        for entry in list(self._observers):
            if entry[0] not in state:
                continue
            try:
                entry[1].load_state_dict(state[entry[0]])
            except Exception as error:
                self._observers.remove(entry)
                self._warn(f"observer {entry[0]} could not go on from its state and is switched off: {said_by(error)}")
