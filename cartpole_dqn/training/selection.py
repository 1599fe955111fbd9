"""Which model of a run is the best, and when one solves its environment.

* `Selection`: decides from evaluations and confirmations. `Verdict`: what it decided.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.parts import State


@dataclass(frozen=True)
class Verdict:
    """What an evaluated model is."""

    best: bool
    """Whether it is the best so far."""
    solved: bool = False
    """Whether its confirmation reached the threshold."""


class Selection:
    """Chooses the best model of a run.

    The highest mean in an evaluation wins, and the first of equals, until a model is confirmed: played on further
    episodes, with a mean of at least `solved_at`. From then on only a model with a higher confirmation wins.

    Evaluations are short, so a model whose evaluation is as good as that of any model confirmed before is confirmed
    too, while the budget lasts: it may prove better.

    Args:
        solved_at: the mean return that counts as solved, first in an evaluation and then in its confirmation; None
            confirms no model.
        confirmations: the budget, None for no bound.
    """

    def __init__(self, *, solved_at: float | None = None, confirmations: int | None = 0) -> None:
        self._solved_at = math.inf if solved_at is None else solved_at
        self._budget = math.inf if confirmations is None else confirmations
        self.best: Evaluation | None = None
        """The best model's evaluation."""
        self.solved_step: int | None = None
        """Environment steps at the first confirmed model."""
        self._confirmed: float | None = None  # the best model's mean in its confirmation
        self._confirmations = 0
        self._challenged = -math.inf  # the highest mean in an evaluation that was followed by a confirmation

    def wants_confirmation(self, evaluation: Evaluation) -> bool:
        """Return whether a model with this evaluation is worth the many episodes of a confirmation."""
        if evaluation.mean < self._solved_at or self._confirmations >= self._budget:
            return False
        return self._confirmed is None or evaluation.mean >= self._challenged

    def decide(self, evaluation: Evaluation, confirmation: Evaluation | None = None) -> Verdict:
        """Take note of a model's evaluation, and of its confirmation where there was one; return what the model is."""
        higher = self.best is None or evaluation.mean > self.best.mean
        if confirmation is not None:
            self._confirmations += 1
            self._challenged = max(self._challenged, evaluation.mean)
        if confirmation is not None and confirmation.mean >= self._solved_at:
            verdict = Verdict(self._confirmed is None or confirmation.mean > self._confirmed, solved=True)
            if verdict.best:
                self._confirmed = confirmation.mean
            if self.solved_step is None:
                self.solved_step = evaluation.step
        else:
            verdict = Verdict(higher and self._confirmed is None)
        if verdict.best:
            self.best = dataclasses.replace(evaluation, best=True)
        return verdict

    def state_dict(self) -> State:
        """See `Stateful`."""
        return {
            "best": None if self.best is None else dataclasses.asdict(self.best),
            "solved_step": self.solved_step,
            "confirmed": self._confirmed,
            "confirmations": self._confirmations,
            "challenged": self._challenged,
        }

    def load_state_dict(self, state: State) -> None:
        """See `Stateful`."""
        best, confirmed, solved_step = state["best"], state["confirmed"], state["solved_step"]
        self.best = None if best is None else Evaluation(**best)
        self.solved_step = None if solved_step is None else int(solved_step)
        self._confirmed = None if confirmed is None else float(confirmed)
        self._confirmations = int(state["confirmations"])
        self._challenged = float(state["challenged"])
