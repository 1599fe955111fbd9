"""`play_models`: scores of runs from episodes that their models play now."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from cartpole_dqn.contracts.events import Evaluating
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs.checkpoint import has_state
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.studies.comparison import Played, Scores
from cartpole_dqn.studies.grouping import Record
from cartpole_dqn.training.models import SavedRun, Which, evaluate_run
from cartpole_dqn.training.resolve import read_config

Showing = Callable[[], contextlib.AbstractContextManager[Callable[[Evaluating], None]]]
"""Returns a context manager that yields a function to call after each episode."""


def play_models(
    records: Sequence[Record],
    host: PluginHost,
    *,
    episodes: int,
    seed: int,
    say: Callable[[str], None],
    showing: Showing = lambda: contextlib.nullcontext(lambda event: None),
) -> dict[Path, Scores]:
    """Play the best and the last model of every run on the held-out seeds that `seed` selects.

    Returns:
        The scores by `Record.path`. A run without models has none.
    """
    scores = {}
    for i, record in enumerate(records, start=1):
        folder = RunFolder(record.path)
        results: dict[Which, Played | None] = {}
        places: dict[Which, Path] = {"last": folder.checkpoint, "best": folder.best}
        for which, place in places.items():
            if has_state(place):
                say(f"{record.name}, {which} model ({i} of {len(records)})")
                run = SavedRun(folder, read_config(folder, host), host)
                with showing() as on_progress:
                    evaluation = evaluate_run(run, episodes=episodes, seed=seed, which=which, on_progress=on_progress)
                results[which] = Played.of(evaluation.returns)
        scores[record.path] = Scores(results.get("best", results.get("last")), results.get("last"))
    return scores
