"""`PointObserver`: turns the events of a run into points, for observers that write curves.

* `Point`: a tag and its value.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

from cartpole_dqn.contracts.events import Episode, Evaluation, Observer, Progress
from cartpole_dqn.contracts.parts import State

Point = tuple[str, float]
"""A tag, such as `episode/return`, and its value."""


class PointObserver(Observer, abc.ABC):
    """Turns the events of a run into points, and calls `log` with them. A subclass defines `log`.

    * `episode/return`, `episode/length`: of every episode.
    * `agent/...`: every number of `Agent.status` (`epsilon`, `lr`, `replay_size`, ...), at an episode's end.
    * `speed/steps_per_second`: of training, from one episode's end to the next.
    * `learning/...`: every figure of `Agent.learn` (`loss`, `q_mean`, ...), once in `every_updates` updates.
    * `evaluation/mean`, `evaluation/std`: over the returns of an evaluation's episodes.

    Args:
        every_updates: updates of the network between two points of `learning/...`; at least 1.
    """

    def __init__(self, every_updates: int) -> None:
        self._every = every_updates
        self._updates = 0  # of the network, at the last point of learning
        self._measured = (0, 0.0)  # step and training seconds at the last episode's end

    @abc.abstractmethod
    def log(self, step: int, points: Sequence[Point]) -> None:
        """Write the points of one event.

        `step` counts environment steps over all lanes. Within a session it never decreases, but may stay the same.
        """

    def updated(self, event: Progress) -> None:
        """Log the figures of learning when they are due."""
        updates = event.status.get("updates", event.step)
        if not event.metrics or not isinstance(updates, int | float):
            return
        if self._updates == 0 or updates - self._updates >= self._every:
            self._updates = int(updates)
            if points := _numbers("learning", event.metrics):
                self.log(event.step, points)

    def episode_ended(self, event: Episode) -> None:
        """Log the episode's figures, the agent's and the speed."""
        progress = event.progress
        points = [("episode/return", float(event.episode_return)), ("episode/length", float(event.length))]
        step, seconds = self._measured
        # Of several episodes that end at one step, the first tells how the agent and the speed are.
        if progress.step > step:
            points += _numbers("agent", progress.status)
            if progress.seconds > seconds:
                points.append(("speed/steps_per_second", (progress.step - step) / (progress.seconds - seconds)))
            self._measured = (progress.step, progress.seconds)
        self.log(event.step, points)

    def evaluated(self, event: Evaluation) -> None:
        """Log the mean and the spread of returns."""
        self.log(event.step, [("evaluation/mean", event.mean), ("evaluation/std", event.std)])

    def state_dict(self) -> State:
        """Return when the next points are due. Add what your own record needs."""
        return {"updates": self._updates, "measured": list(self._measured)}

    def load_state_dict(self, state: State) -> None:
        """Restore what `state_dict` returned. Called before `run_started`."""
        self._updates = int(state["updates"])
        step, seconds = state["measured"]
        self._measured = (int(step), float(seconds))


def _numbers(group: str, figures: Mapping[str, float | str]) -> list[Point]:
    """Return the figures that are numbers, tagged `group/name`."""
    return [(f"{group}/{name}", float(value)) for name, value in figures.items() if isinstance(value, int | float)]
