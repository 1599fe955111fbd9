"""The score that a shared agent claims.

* `score_of`: an evaluation -> the `Score` to claim. `holds`: whether a claimed score holds here.
"""

from __future__ import annotations

from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.seeding import SeedTree
from cartpole_dqn.runs.shared import Score
from cartpole_dqn.studies.estimates import mean_interval

_FEWEST = 10
"""Episodes from which an interval of the mean says something."""


def score_of(evaluation: Evaluation, seed: int) -> Score:
    """Return the score of an evaluation on the report seeds of `seed`."""
    low, high = mean_interval(evaluation.returns, SeedTree(seed).numpy("score"))
    count = len(evaluation.returns)
    return Score(mean=evaluation.mean, std=evaluation.std, low=low, high=high, episodes=count, seed=seed)


def holds(claimed: Score, here: Score) -> bool | None:
    """Return whether a claimed score holds: False if the interval here is below the claimed one.

    None if there are too few episodes here to tell.
    """
    if here.episodes < _FEWEST:
        return None
    return here.high >= claimed.low
