"""Whether a preset learns, over many seeds: every seed an ordinary run folder, evaluated on report seeds.

`run_seeds` trains seed after seed, several processes side by side where asked, and goes on where it was stopped: seeds
that are done are left alone, those that were interrupted are resumed. `Trial` is what is known of one seed,
`summarise` the figures over all of them, `machine_line` what they were made with.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import RunError, UserError
from cartpole_dqn.runs.checkpoint import has_state
from cartpole_dqn.runs.folder import run_state, write_text_atomic

EPISODES = 100
REPORT_SEED = 0


@dataclass(frozen=True)
class Trial:
    """One seed: when it was solved, and how its best and last models do on 100 report episodes."""

    seed: int
    steps: int
    seconds: float
    """Training alone."""
    evaluation_seconds: float
    solved_step: int | None
    """Steps at the first evaluation whose model was confirmed."""
    solved_seconds: float | None
    """Training seconds until then, without evaluation."""
    solved_wall: float | None
    """Seconds until then, with the evaluations made."""
    best: float
    best_worst: float
    last: float


def run_seeds(
    arguments: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    *,
    jobs: int = 1,
    episodes: int = EPISODES,
    said: Callable[[str], None] = lambda text: None,
) -> list[Trial]:
    """Train every seed into `out/seed-K` and report it.

    Args:
        arguments: further arguments of `cartpole-dqn run`, such as `--obs pixels`.
        seeds: the runs' seeds.
        out: a folder for all of them.
        jobs: processes side by side. Times are only worth reading with one.
        episodes: report episodes that each model plays.
        said: hears of each seed as it starts and ends.

    Raises:
        RunError: a run failed; its folder says why.
        UserError: the folder holds runs with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    _claim(out / "arguments.json", arguments)

    def one(seed: int) -> Trial:
        folder = out / f"seed-{seed}"
        _train(arguments, seed, folder, said)
        report = _report(folder, episodes)
        trial = _trial(seed, folder, report)
        said(
            f"seed {seed}: solved at {trial.solved_step or 'no'} steps, best {trial.best:.1f}, last {trial.last:.1f} "
            f"over {episodes} report episodes"
        )
        return trial

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        return list(pool.map(one, seeds))


def summarise(trials: Sequence[Trial], threshold: float) -> dict[str, Any]:
    """Return the figures over seeds: shares, medians with quartiles, means with the spread."""
    solved = [t for t in trials if t.solved_step is not None]
    return {
        "seeds": len(trials),
        "solved": sum(t.best >= threshold for t in trials),
        "best_mean": statistics.mean(t.best for t in trials),
        "best_lowest": min(t.best for t in trials),
        "last_mean": statistics.mean(t.last for t in trials),
        "last_lowest": min(t.last for t in trials),
        "solved_step": _quartiles([float(t.solved_step or 0) for t in solved]),
        "solved_seconds": _quartiles([t.solved_seconds or 0.0 for t in solved]),
        "solved_wall": _quartiles([t.solved_wall or 0.0 for t in solved]),
    }


def machine_line(folder: Path) -> str:
    """Return processor, versions and threads of a run, as its `environment.json` has them."""
    made_with = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    versions = made_with["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("torch", "gymnasium") if name in versions)
    return (
        f"{made_with['cpu']}, {made_with['cpu_count']} processors, {made_with['python']}, {named}, "
        f"{made_with['threads']} torch thread{'' if made_with['threads'] == 1 else 's'}, {made_with['device']}"
    )


def _claim(path: Path, arguments: Sequence[str]) -> None:
    """Write down what the runs beside `path` are made with; refuse where that was something else before."""
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != list(arguments):
        raise UserError(
            f"{path.parent} holds runs with other settings: {path.read_text(encoding='utf-8').strip()}, now "
            f"{json.dumps(list(arguments))}. Give another folder with --out."
        )
    write_text_atomic(path, json.dumps(list(arguments)) + "\n")


def _train(arguments: Sequence[str], seed: int, folder: Path, said: Callable[[str], None]) -> None:
    state = run_state(folder).state if (folder / "config.toml").exists() else None
    if state == "done":
        return
    if state is None:
        said(f"seed {seed}: training")
        command = ["run", *arguments, "--seed", str(seed), "--out", str(folder), "--plain"]
    else:
        said(f"seed {seed}: going on")
        command = ["resume", str(folder), "--plain"]
    _call(command)


def _report(folder: Path, episodes: int) -> dict[str, Any]:
    """Return the evaluations of the best and the last model, made once and kept in `report.json`."""
    path = folder / "report.json"
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if all(kept[which]["episodes"] == episodes for which in ("best", "last")):
            return kept
    command = ["evaluate", str(folder), "--episodes", str(episodes), "--seed", str(REPORT_SEED), "--json"]
    last = json.loads(_call([*command, "--last"]))
    best = json.loads(_call(command)) if has_state(folder / "best") else last
    write_text_atomic(path, json.dumps({"best": best, "last": last}, indent=2) + "\n")
    return {"best": best, "last": last}


def _trial(seed: int, folder: Path, report: dict[str, Any]) -> Trial:
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    evaluations = [e for e in events if e["event"] == "evaluation"]
    ended = [e for e in events if e["event"] == "run_ended"][-1]
    confirmed = [e for e in evaluations if e["stream"] == "confirm" and e["best"]]
    first = confirmed[0] if confirmed else None
    before = [] if first is None else [e for e in evaluations if e["step"] <= first["step"]]
    training = None if first is None else _training_seconds(events, first["step"])
    return Trial(
        seed=seed,
        steps=ended["step"],
        seconds=ended["seconds"],
        evaluation_seconds=ended["evaluation_seconds"],
        solved_step=None if first is None else first["step"],
        solved_seconds=training,
        solved_wall=None if training is None else training + sum(e["seconds"] for e in before),
        best=report["best"]["mean"],
        best_worst=report["best"]["min"],
        last=report["last"]["mean"],
    )


def _training_seconds(events: Sequence[dict[str, Any]], step: int) -> float:
    """Return the training seconds at the last episode that ended by `step`, brought forward to `step` at its speed."""
    last = [e for e in events if e["event"] == "episode" and e["step"] <= step][-1]
    return float(last["seconds"] * step / last["step"])


def _call(arguments: Sequence[str]) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cartpole_dqn", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise RunError(f"`cartpole-dqn {' '.join(arguments)}` ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _quartiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    if len(values) == 1:
        return {"lower": values[0], "median": values[0], "upper": values[0]}
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return {"lower": lower, "median": median, "upper": upper}
