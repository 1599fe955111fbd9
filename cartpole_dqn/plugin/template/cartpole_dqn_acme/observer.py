"""`BestNotes`: the observer `acme`; `NotesOptions`: its options."""

from __future__ import annotations

from pathlib import Path

from cartpole_dqn import Evaluation, Observer, ObserverContext, RunEnded, State, option, options_class


@options_class
class NotesOptions:
    file: str = option(default="best.txt", effect="the file's name in the run's folder")


class BestNotes(Observer):
    """Writes a line for each best evaluation so far, when the run is over."""

    Options = NotesOptions

    def __init__(self, options: NotesOptions, context: ObserverContext) -> None:
        self._path = None if context.folder is None else Path(context.folder) / options.file
        self._lines: list[str] = []

    def evaluated(self, event: Evaluation) -> None:
        if event.best:
            self._lines.append(f"step {event.step}: {event.mean:.1f}\n")

    def run_ended(self, event: RunEnded) -> None:
        if self._path is not None:
            self._path.write_text("".join(self._lines))

    def state_dict(self) -> State:
        return {"lines": list(self._lines)}

    def load_state_dict(self, state: State) -> None:
        self._lines = list(state["lines"])
