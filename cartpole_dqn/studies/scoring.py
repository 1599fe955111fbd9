"""`score_model`: the score of a run's model on held-out seeds, beside the one that a shared agent claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cartpole_dqn.contracts.events import Evaluating, Evaluation
from cartpole_dqn.contracts.options import to_table
from cartpole_dqn.observers.wording import verdict
from cartpole_dqn.runs.saved import Which, choose_model
from cartpole_dqn.runs.shared import Score, read_claim
from cartpole_dqn.studies.estimates import holds, score_of
from cartpole_dqn.training.assembly import solved_at
from cartpole_dqn.training.models import SavedRun, evaluate_run


@dataclass(frozen=True)
class ModelScore:
    """The score of a model on held-out seeds, which a shared agent also claims."""

    evaluation: Evaluation
    which: Which
    score: Score
    verdict: str
    """"SOLVED", or what is needed; "" without a threshold."""
    claimed: Score | None = None
    holds: bool | None = None
    """Whether the claimed score holds; None if there is none, or there are too few episodes to tell."""

    def figures(self) -> dict[str, Any]:
        """Return the score as plain data."""
        mean, std, returns = self.score.mean, self.score.std, self.evaluation.returns
        figures: dict[str, Any] = {"mean": mean, "std": std, "min": min(returns), "max": max(returns)}
        figures |= {"episodes": len(returns), "seed": self.score.seed, "model": self.which}
        if self.claimed is not None:
            figures["claimed"] = {**to_table(self.claimed), "holds": self.holds}
        return figures


def score_model(
    run: SavedRun, *, episodes: int, seed: int, which: Which, on_progress: Callable[[Evaluating], None]
) -> ModelScore:
    """Play greedy episodes as `evaluate_run`, and judge them. Raises the same errors."""
    which, config = choose_model(run.folder, which), run.config
    evaluation = evaluate_run(run, episodes=episodes, seed=seed, which=which, on_progress=on_progress)
    score, claimed = score_of(evaluation, seed), read_claim(run.folder)
    words = verdict(evaluation.mean, episodes, solved_at(config), config.evaluation.confirm_episodes)
    return ModelScore(evaluation, which, score, words, claimed, None if claimed is None else holds(claimed, score))
