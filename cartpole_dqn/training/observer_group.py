"""`ObserverGroup`: calls the observers of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cartpole_dqn.contracts.events import Observer
from cartpole_dqn.contracts.parts import State
from cartpole_dqn.errors import error_line
from cartpole_dqn.runs.state_tree import pack


class ObserverGroup:
    """Calls every observer. One that raises is switched off with a warning, and the run continues.

    Args:
        observers: (name, observer) pairs, with names for warnings.
        warn: shows a warning to the user.
        keep: takes the exception of an observer, to keep its traceback.
    """

    def __init__(
        self,
        observers: Sequence[tuple[str, Observer]],
        warn: Callable[[str], None],
        keep: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self._observers = list(observers)
        self.warn = warn
        self._keep = keep

    def tell(self, method: str, event: Any) -> None:
        """Call `method` of every observer with `event`."""
        self._each(f"failed in {method}", lambda name, observer: getattr(observer, method)(event))

    @property
    def want_glimpses(self) -> bool:
        """Whether any observer wants to be told what the agent sees."""
        answers = self._each("failed in wants_glimpses", lambda name, observer: observer.wants_glimpses)
        return any(wants for _, wants in answers)

    def state_dict(self) -> State:
        """Return the states of the observers by name."""

        def state_of(name: str, observer: Observer) -> State:
            state = observer.state_dict()
            pack(state)  # What cannot be saved would end the run at its checkpoint.
            return state

        return dict(self._each("failed in state_dict", state_of))

    def load_state_dict(self, state: State) -> None:
        """Restore the observers that have a state under their name."""

        def restore(name: str, observer: Observer) -> None:
            if name in state:
                observer.load_state_dict(state[name])

        self._each("could not restore its state", restore)

    def _each(self, failure: str, call: Callable[[str, Observer], Any]) -> list[tuple[str, Any]]:
        """Call `call` with each observer, and return (name, result) of those that did not raise."""
        results = []
        for name, observer in list(self._observers):
            try:
                results.append((name, call(name, observer)))
            except (Exception, SystemExit) as error:
                self._observers.remove((name, observer))
                self._keep(error)
                self.warn(f"observer {name} {failure} and is switched off: {error_line(error)}")
        return results
