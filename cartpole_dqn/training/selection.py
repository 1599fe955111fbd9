"""`Selection`: chooses the best model of a run and decides whether the run is solved, with a `Verdict`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.parts import State


@dataclass(frozen=True)
class Verdict:
    """The result for one evaluated model."""

    best: bool
    """The best so far."""
    solved: bool = False
    """Its confirmation reached the threshold."""


class Selection:
    """Chooses the best model of a run.

    At first the model with the highest mean evaluation is the best, the earlier one in a tie. A model whose evaluation
    reaches `solved_at` is confirmed: it plays more episodes, on other held-out seeds. Once a confirmation reaches
    `solved_at` too, only a model with a higher confirmation replaces the best one.

    Evaluations are short and noisy. So while the budget lasts, later models are confirmed too if their evaluation is at
    least as high as that of every model confirmed before.

    Args:
        solved_at: the mean return that counts as solved; None confirms no model.
        confirmations: the maximal number of confirmations; None for no limit.
    """

    def __init__(self, *, solved_at: float | None = None, confirmations: int | None = 0) -> None:
        self._solved_at = math.inf if solved_at is None else solved_at
        self._budget = math.inf if confirmations is None else confirmations
        self.best: Evaluation | None = None
        """The evaluation of the best model."""
        self.solved_step: int | None = None
        """Environment steps of the first solved model."""
        self._confirmed: float | None = None  # mean in the best model's confirmation
        self._confirmations = 0
        self._challenged = -math.inf  # highest evaluation of a confirmed model

    def wants_confirmation(self, evaluation: Evaluation) -> bool:
        """Return whether to confirm the model with this evaluation."""
        if evaluation.mean < self._solved_at or self._confirmations >= self._budget:
            return False
        return self._confirmed is None or evaluation.mean >= self._challenged

    def decide(self, evaluation: Evaluation, confirmation: Evaluation | None = None) -> Verdict:
        """Record the evaluation and confirmation of a model, and return whether it is the best and solved."""
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
        return {
            "best": None if self.best is None else dataclasses.asdict(self.best),
            "solved_step": self.solved_step,
            "confirmed": self._confirmed,
            "confirmations": self._confirmations,
            "challenged": self._challenged,
        }

    def load_state_dict(self, state: State) -> None:
        best, confirmed, solved_step = state["best"], state["confirmed"], state["solved_step"]
        self.best = None if best is None else Evaluation(**best)
        self.solved_step = None if solved_step is None else int(solved_step)
        self._confirmed = None if confirmed is None else float(confirmed)
        self._confirmations = int(state["confirmations"])
        self._challenged = float(state["challenged"])
