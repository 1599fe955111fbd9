"""`spread`: the command `acme`."""

from __future__ import annotations

import statistics
from typing import Annotated

import typer
from cartpole_dqn import load


def spread(
    run: Annotated[str, typer.Argument(help="The run's folder, or latest.")],
    episodes: Annotated[int, typer.Option(min=2, help="How many episodes to play.")] = 10,
) -> None:
    """Print the mean and the standard deviation of what a run's best model earns."""
    returns = load(run).evaluate(episodes).returns
    print(f"{statistics.mean(returns):.1f} +- {statistics.stdev(returns):.1f} over {len(returns)} episodes")
