"""`TensorBoard`: the observer `tensorboard`; `TensorBoardOptions`: its options."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from torch.utils.tensorboard import SummaryWriter

from cartpole_dqn import (
    ObserverContext,
    Point,
    PointObserver,
    RunEnded,
    RunFailed,
    RunStarted,
    State,
    UserError,
    option,
    options_class,
)

LONGEST_WAIT = 5.0
"""Seconds to wait for the clock to pass an older file's second."""


@options_class
class TensorBoardOptions:
    """Options of `TensorBoard`."""

    folder: str = option(default="tensorboard", effect="where event files go, inside the run's folder")
    every_updates: int = option(
        default=100, ge=1, effect="updates of the network between two points of loss and q_mean", typical="10 to 1000"
    )


class TensorBoard(PointObserver):
    """Writes the points of `PointObserver` into event files for TensorBoard.

    A resumed run continues in the same folder with a new file. Readers then drop what was written after the checkpoint,
    so they see each point once, as if the run had never stopped.

    Raises:
        UserError: the run has no folder, or `folder` leads out of it; at the start, an older event file is dated in the
            future, so that readers would take the new one for the older.
    """

    Options: ClassVar[type] = TensorBoardOptions
    needs_folder: ClassVar[bool] = True

    def __init__(self, options: TensorBoardOptions, context: ObserverContext) -> None:
        super().__init__(options.every_updates)
        if context.folder is None:
            raise UserError("observer 'tensorboard' needs a run folder to write to, and this run keeps none.")
        inside = Path(options.folder)
        if inside.is_absolute() or ".." in inside.parts or not inside.parts:
            raise UserError(
                f"observer 'tensorboard' expected a folder inside the run's own, such as 'tensorboard', got "
                f"{options.folder!r}."
            )
        self._folder = Path(context.folder) / inside
        self._file: SummaryWriter | None = None
        self._latest: tuple[int, list[Point]] = (0, [])  # the last step that has points, and these

    def run_started(self, event: RunStarted) -> None:
        """Open a new event file."""
        older = sorted(self._folder.glob("events.out.tfevents.*"))
        if older:
            _wait_until_newer_than(older[-1])
        # Readers forget what older files say of this step and later ones.
        self._file = SummaryWriter(str(self._folder), purge_step=event.step if older else None)
        step, points = self._latest
        if step == event.step:
            # Of the checkpoint's step, what was written before it counts and what came after it does not.
            self._add(points, step)

    def log(self, step: int, points: Sequence[Point]) -> None:
        """Write points."""
        if self._file is None:
            return
        self._add(points, step)
        kept = self._latest[1] if self._latest[0] == step else []
        self._latest = (step, [*kept, *points])

    def run_ended(self, event: RunEnded) -> None:
        """Close the file."""
        self._close()

    def run_failed(self, event: RunFailed) -> None:
        """Close the file."""
        self._close()

    def state_dict(self) -> State:
        """What was written last and when the next points are due; everything so far is in the file then."""
        if self._file is not None:
            self._file.flush()
        step, points = self._latest
        return {**super().state_dict(), "step": step, "points": [list(point) for point in points]}

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned; before `run_started`."""
        super().load_state_dict(state)
        self._latest = (int(state["step"]), [(str(tag), float(value)) for tag, value in state["points"]])

    def _add(self, points: Sequence[Point], step: int) -> None:
        if self._file is not None:
            for tag, value in points:
                self._file.add_scalar(tag, value, step)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _wait_until_newer_than(path: Path) -> None:
    """Wait until a new file's name comes after that of `path`: names begin with the second, and are read in order."""
    second = path.name.split(".")[3]
    created = int(second) if second.isdigit() else 0
    while (wait := created + 1 - time.time()) > 0:
        if wait > LONGEST_WAIT:
            raise UserError(
                f"the event file {path} is dated {wait:.0f} s in the future, and TensorBoard reads event files in the "
                f"order of their dates: set the clock right, or move that file away."
            )
        time.sleep(wait)
