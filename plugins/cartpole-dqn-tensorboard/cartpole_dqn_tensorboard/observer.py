"""`TensorBoard`: the observer `tensorboard`; `TensorBoardOptions`: its options."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from torch.utils.tensorboard import SummaryWriter

from cartpole_dqn import (
    Episode,
    Evaluation,
    Observer,
    ObserverContext,
    Progress,
    RunEnded,
    RunFailed,
    RunStarted,
    State,
    UserError,
    option,
    options_class,
)

Point = tuple[str, float]
"""A tag and its value."""
LONGEST_WAIT = 5.0
"""Seconds to wait for the clock to pass an older file's second."""


@options_class
class TensorBoardOptions:
    """Options of `TensorBoard`."""

    folder: str = option(default="tensorboard", effect="where event files go, inside the run's folder")
    every_updates: int = option(
        default=100, ge=1, effect="updates of the network between two points of loss and q_mean", typical="10 to 1000"
    )


class TensorBoard(Observer):
    """Writes event files for TensorBoard; a point's step is that of the run, over all lanes.

    * `episode/return`, `episode/length`: of every episode.
    * `agent/...`: every number of `Agent.status` (`epsilon`, `lr`, `replay_size`, ...), at an episode's end.
    * `speed/steps_per_second`: of training, from one episode's end to the next.
    * `learning/...`: every figure of `Agent.learn` (`loss`, `q_mean`, ...), once in `every_updates` updates.
    * `evaluation/mean`, `evaluation/std`: over the returns of an evaluation's episodes.

    A resumed run goes on in the same folder, in a new file, and makes readers forget what was written after the
    checkpoint: a reader sees each point once, as if the run had never stopped.

    Raises:
        UserError: the run has no folder, or `folder` leads out of it; at the start, an older event file is dated in the
            future, so that readers would take the new one for the older.
    """

    Options: ClassVar[type] = TensorBoardOptions
    needs_folder: ClassVar[bool] = True

    def __init__(self, options: TensorBoardOptions, context: ObserverContext) -> None:
        if context.folder is None:
            raise UserError("observer 'tensorboard' needs a run folder to write to, and this run keeps none.")
        inside = Path(options.folder)
        if inside.is_absolute() or ".." in inside.parts or not inside.parts:
            raise UserError(
                f"observer 'tensorboard' expected a folder inside the run's own, such as 'tensorboard', got "
                f"{options.folder!r}."
            )
        self._folder = Path(context.folder) / inside
        self._every = options.every_updates
        self._file: SummaryWriter | None = None
        self._updates = 0  # of the network, at the last point of learning
        self._measured = (0, 0.0)  # step and training seconds at the last episode's end
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

    def updated(self, event: Progress) -> None:
        """Write the figures of learning when they are due."""
        updates = event.status.get("updates", event.step)
        if not event.metrics or not isinstance(updates, int | float):
            return
        if self._updates == 0 or updates - self._updates >= self._every:
            self._updates = int(updates)
            self._write(event.step, _numbers("learning", event.metrics))

    def episode_ended(self, event: Episode) -> None:
        """Write the episode's figures, the agent's and the speed."""
        progress = event.progress
        points = [("episode/return", float(event.episode_return)), ("episode/length", float(event.length))]
        step, seconds = self._measured
        # Of several episodes that end at one step, the first tells how the agent and the speed are.
        if progress.step > step:
            points += _numbers("agent", progress.status)
            if progress.seconds > seconds:
                points.append(("speed/steps_per_second", (progress.step - step) / (progress.seconds - seconds)))
            self._measured = (progress.step, progress.seconds)
        self._write(event.step, points)

    def evaluated(self, event: Evaluation) -> None:
        """Write the mean and the spread of returns."""
        self._write(event.step, [("evaluation/mean", event.mean), ("evaluation/std", event.std)])

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
        return {
            "updates": self._updates,
            "measured": list(self._measured),
            "step": step,
            "points": [list(point) for point in points],
        }

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned; before `run_started`."""
        self._updates = int(state["updates"])
        step, seconds = state["measured"]
        self._measured = (int(step), float(seconds))
        self._latest = (int(state["step"]), [(str(tag), float(value)) for tag, value in state["points"]])

    def _write(self, step: int, points: list[Point]) -> None:
        if self._file is None or not points:
            return
        self._add(points, step)
        kept = self._latest[1] if self._latest[0] == step else []
        self._latest = (step, [*kept, *points])

    def _add(self, points: list[Point], step: int) -> None:
        if self._file is not None:
            for tag, value in points:
                self._file.add_scalar(tag, value, step)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _numbers(group: str, figures: Mapping[str, float | str]) -> list[Point]:
    """Return the figures that are numbers, tagged `group/name`."""
    return [(f"{group}/{name}", float(value)) for name, value in figures.items() if isinstance(value, int | float)]


def _wait_until_newer_than(path: Path) -> None:
    """Wait until a new file's name comes after that of `path`: names begin with the second, and are read in order."""
    second = path.name.split(".")[3]
    made = int(second) if second.isdigit() else 0
    while (wait := made + 1 - time.time()) > 0:
        if wait > LONGEST_WAIT:
            raise UserError(
                f"the event file {path} is dated {wait:.0f} s in the future, and TensorBoard reads event files in the "
                f"order of their dates: set the clock right, or move that file away."
            )
        time.sleep(wait)
