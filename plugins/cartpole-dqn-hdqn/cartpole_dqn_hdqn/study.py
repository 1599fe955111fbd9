"""What is measured on the decision process: how good each agent gets, how soon, and where it goes on the way.

* `PRESETS`: the agents that are compared.
* `greedy_trial`, `Trial`: a preset as it stands, and greedy episodes with what it learned.
* `long_trial`, `Course`: a preset over many episodes with the paper's schedule of exploration: returns and visits.
* `table_text`: trials as a table.

Each trial is a run folder with a JSON file of figures beside it. If that file exists it is read instead; an interrupted
run is resumed from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from cartpole_dqn import Run, load, replace_file, train

PRESETS = ("hdqn", "hdqn-tabular", "flat-dqn", "flat-q-learning")
GOOD = 0.19
"""A greedy return that only the detour over s6 gives; the optimum is 0.208."""
REPORT_SEED = 0
"""Every model plays the same episodes: differences between models are none of luck."""
SURELY_GOOD = 0.15
"""What an optimal policy's mean over 500 episodes stays above: three of its standard errors below 0.208."""
WINDOW = 100
"""Episodes that a point of a `Course` is the mean of."""

_EPSILON_STEPS = 50_000
_GOALS = 6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """How one seed of a preset went."""

    preset: str
    seed: int
    best: float
    """Mean greedy return of the best model, on held-out seeds."""
    last: float
    """The same of the last model."""
    steps: int
    seconds: float
    """Of the whole run's training."""
    good_step: int | None
    """Environment steps at the first evaluation from which on every one had a mean of `SURELY_GOOD` or more."""
    good_seconds: float | None
    """Seconds of training until then."""


def greedy_trial(preset: str, seed: int, out: Path, *, report_episodes: int, steps: int | None = None) -> Trial:
    """Train a preset as it stands, or for `steps`, and play `report_episodes` greedily with its best and last model."""
    folder = out / f"{preset}-seed-{seed}"
    kept = folder.with_suffix(".json")
    if kept.exists():
        return Trial(**json.loads(kept.read_text(encoding="utf-8")))
    run = _train(folder, preset=preset, seed=seed, steps=steps)
    best, last = (run.evaluate(report_episodes, seed=REPORT_SEED, which=which).mean for which in ("best", "last"))
    trial = _trial(preset, seed, best, last, _events(folder))
    replace_file(kept, json.dumps(asdict(trial)).encode())
    return trial


@dataclass(frozen=True)
class Course:
    """A long run in windows of `WINDOW` episodes."""

    returns: Floats
    """[W]: mean return of the episodes in each."""
    visits: Floats
    """[W, S]: steps an episode that led to each state."""


def long_trial(preset: str, seed: int, out: Path, *, episodes: int) -> Course:
    """Train a preset for `episodes` with epsilon from 1 to 0.1 over 50,000 steps, and count where it goes."""
    folder = out / f"{preset}-seed-{seed}"
    kept = folder.with_suffix(".json")
    if not kept.exists():
        agent = {"name": "visit-counts", "agent": _with_papers_schedule(_agent_of(preset))}
        settings = {"agent": agent, "evaluation": {"every": 0}, "checkpoint": {"every_seconds": 60.0}}
        _train(folder, preset=preset, seed=seed, episodes=episodes, settings=settings)
        course = _course([event for event in _events(folder) if event["event"] == "episode"][:episodes])
        figures = {"returns": course.returns.tolist(), "visits": course.visits.tolist()}
        replace_file(kept, json.dumps(figures).encode())
    table = json.loads(kept.read_text(encoding="utf-8"))
    return Course(np.array(table["returns"]), np.array(table["visits"]))


def table_text(trials: Sequence[Trial]) -> str:
    """Return a line a preset: shares of seeds, returns as mean and lowest, medians of what it took."""
    head = ("preset", "seeds", f"best >= {GOOD}", "best", "lowest", f"last >= {GOOD}", "last", "steps", "to good", "s")
    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(name, justify="left" if name == "preset" else "right")
    for preset in dict.fromkeys(trial.preset for trial in trials):
        its = [trial for trial in trials if trial.preset == preset]
        good = [trial for trial in its if trial.good_step is not None]
        when = f"{statistics.median(t.good_step or 0 for t in good):,.0f}" if good else "-"
        seconds = f"{statistics.median(t.good_seconds or 0.0 for t in good):.1f}" if good else "-"
        table.add_row(
            preset,
            str(len(its)),
            f"{sum(t.best >= GOOD for t in its)}",
            f"{statistics.mean(t.best for t in its):.3f}",
            f"{min(t.best for t in its):.3f}",
            f"{sum(t.last >= GOOD for t in its)}",
            f"{statistics.mean(t.last for t in its):.3f}",
            f"{its[0].steps:,}",
            when,
            seconds,
        )
    console = Console(file=io.StringIO(), width=200, color_system=None)
    with console.capture() as text:
        console.print(table)
    return text.get().rstrip("\n")


# Runs -----------------------------------------------------------------------------------------------------------------


def _train(folder: Path, *, settings: Mapping[str, Any] | None = None, **arguments: Any) -> Run:
    """Start a run, or go on with one that was broken off. What it says is shown only where it fails."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            if (folder / "config.toml").exists():
                return load(folder).resume(plain=True)
            return train(out=folder, settings={**(settings or {}), "observer": [{"name": "metrics"}]}, **arguments)
    except Exception:
        sys.stderr.write(output.getvalue())
        raise


def _events(folder: Path) -> list[dict[str, Any]]:
    with (folder / "metrics.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _agent_of(preset: str) -> dict[str, Any]:
    text = resources.files("cartpole_dqn_hdqn").joinpath("presets", f"{preset}.toml").read_text(encoding="utf-8")
    agent: dict[str, Any] = tomllib.loads(text)["agent"]
    return agent


def _with_papers_schedule(agent: Mapping[str, Any]) -> dict[str, Any]:
    """Return an agent's table with epsilon from 1 to 0.1 over 50,000 steps; a goal's own over its share of them."""
    changed = dict(agent)
    for key, steps in (
        ("exploration", _EPSILON_STEPS),
        ("meta_exploration", _EPSILON_STEPS),
        ("controller_exploration", _EPSILON_STEPS // _GOALS),
    ):
        if key in agent:
            changed[key] = {"name": "linear", "start": 1.0, "end": 0.1, "steps": steps}
    return changed


# Figures --------------------------------------------------------------------------------------------------------------


def _trial(preset: str, seed: int, best: float, last: float, events: Sequence[Mapping[str, Any]]) -> Trial:
    ended = [event for event in events if event["event"] == "run_ended"][-1]
    evaluations = [event for event in events if event["event"] == "evaluation" and event["stream"] == "select"]
    good_step = None
    for event in reversed(evaluations):
        if event["mean"] < SURELY_GOOD:
            break
        good_step = event["step"]
    seconds = None
    if good_step is not None:
        until = [event["seconds"] for event in events if event["event"] == "episode" and event["step"] <= good_step]
        seconds = until[-1] if until else 0.0
    return Trial(preset, seed, best, last, ended["step"], ended["seconds"], good_step, seconds)


def _course(episodes: Sequence[Mapping[str, Any]]) -> Course:
    """Return windows of episodes; the figures of visits at an episode's end count all steps up to there."""
    whole = len(episodes) // WINDOW * WINDOW
    returns = np.array([episode["return"] for episode in episodes[:whole]], np.float64)
    names = [name for name in episodes[0]["status"] if name.startswith("visits ")]
    ends = episodes[WINDOW - 1 : whole : WINDOW]
    totals = np.array([[end["status"][name] for name in names] for end in ends], np.float64)
    visits = np.diff(totals, axis=0, prepend=np.zeros((1, len(names)))) / WINDOW
    return Course(returns.reshape(-1, WINDOW).mean(axis=1), visits)
