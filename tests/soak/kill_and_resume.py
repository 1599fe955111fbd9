"""Kills training at random moments with `kill -9`, resumes it, and compares every bit with a run that nothing stopped.

    python tests/soak/kill_and_resume.py --times 50
    python tests/soak/kill_and_resume.py --times 50 --case pixels-4-prioritized
    python tests/soak/kill_and_resume.py --times 10 --preset hdqn --steps 3000

A case is a set of arguments of `cartpole-dqn run`; `--preset` makes one of any preset. For each case one run is left
alone, without checkpoints on its way. Then others with the same seed are killed up to `--kills` times each, with
checkpoints by steps or by the clock as chance has it, and resumed until they are done. Compared are the final weights,
the optimiser, the generators, the replay, the best model, the observers' histories and the metrics, but for what tells
of times. The exit code is 1 where anything differs, or a worker outlives its run.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib.util
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import bits
from cartpole_dqn.runs.checkpoint import has_state, read_state
from forked import Launched, is_alive, launch, workers_of

TIMES = {"seconds", "elapsed", "steps_per_second", "evaluation_seconds", "checkpoint_seconds", "csv", "jsonl"}
"""What tells of times; `csv` and `jsonl` are sizes of files in which times stand."""
LONG = 600.0

_COMMON = ["agent.learning_starts=0", "agent.batch_size=16", "evaluation.episodes=2", "evaluation.every=100"]


@dataclass
class Case:
    """Arguments of `cartpole-dqn run`, and what became of its runs."""

    name: str
    arguments: list[str]
    runs: int = 0
    kills: int = 0
    resumed_from: list[int] = field(default_factory=list)
    """Steps of the checkpoints that were gone on from; 0 where there was none yet."""
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """Of the run that nothing stopped."""


def main() -> int:
    """Parse the command line, kill, compare and report."""
    options = _options()
    place = Path(options.out or tempfile.mkdtemp(prefix="kill-and-resume-"))
    chance = random.Random(options.seed)
    cases = _cases(options)
    place.mkdir(parents=True, exist_ok=True)
    launch(["--version"], folder=place, name="warm-up").wait(LONG)  # what comes first waits for the server's imports
    for turn in range(options.times):
        case = cases[turn % len(cases)]
        folder = place / case.name
        if not case.runs:
            folder.mkdir(parents=True)
            case.seconds = _run_alone(case, folder)
        case.runs += 1
        name = f"killed-{case.runs}"
        _run_killed(case, folder, name, chance, options.kills)
        found = differences(folder / "whole", folder / name)
        case.differences += [f"{name}: {text}" for text in found]
        verdict = "the same bits" if not found else f"DIFFERS: {'; '.join(found[:3])}"
        print(f"{turn + 1}/{options.times} {case.name}: {verdict}", file=sys.stderr, flush=True)
    return _report(cases, options.json)


# Cases ----------------------------------------------------------------------------------------------------------------


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--times", type=int, default=50, help="runs to kill, dealt to the cases in turn")
    parser.add_argument("--case", action="append", default=[], help="only this case; may be repeated")
    parser.add_argument("--preset", action="append", default=[], help="a case of this preset; may be repeated")
    parser.add_argument("--steps", type=int, default=2_000, help="environment steps of a preset's runs")
    parser.add_argument("--scale", type=float, default=1.0, help="of the built-in cases' 1,500 and 500 steps")
    parser.add_argument("--kills", type=int, default=3, help="at most as many kills a run")
    parser.add_argument("--seed", type=int, default=0, help="where the moments come from")
    parser.add_argument("--out", help="a new folder to keep the runs in; by default a temporary one")
    parser.add_argument("--json", type=Path, help="a file for the report as JSON")
    return parser.parse_args()


def _cases(options: argparse.Namespace) -> list[Case]:
    known = {case.name: case for case in _built_in(options.scale)}
    if unknown := set(options.case) - set(known):
        sys.exit(f"--case {min(unknown)}: expected one of {', '.join(known)}.")
    chosen = [known[name] for name in options.case or (known if not options.preset else ())]
    for preset in options.preset:
        chosen.append(Case(preset, ["--preset", preset, "--steps", str(options.steps)]))
    return chosen


def _built_in(scale: float) -> Iterator[Case]:
    replays = ["uniform"] + ["prioritized"] * (importlib.util.find_spec("cartpole_dqn_prioritized") is not None)
    for replay in replays:
        for obs, steps in (("state", 1_500), ("pixels", 500)):
            for num_envs in (1, 4):
                arguments = ["--obs", obs, "--num-envs", str(num_envs), "--steps", str(round(steps * scale))]
                arguments += ["--replay", replay, *(word for text in _COMMON for word in ("--set", text))]
                yield Case(f"{obs}-{num_envs}-{replay}", arguments)
                if num_envs == 4 and replay == "uniform":
                    yield Case(f"{obs}-{num_envs}-{replay}-async", [*arguments, "--vector", "async"])


# Runs -----------------------------------------------------------------------------------------------------------------


def _run_alone(case: Case, folder: Path) -> float:
    began = time.monotonic()
    run = launch(_command(case, "whole", "checkpoint.every_seconds=0"), folder=folder, name="whole")
    _require_done(run)
    return time.monotonic() - began


def _run_killed(case: Case, folder: Path, name: str, chance: random.Random, most: int) -> None:
    """Kill the run at random moments, and let it go on to its end."""
    if chance.random() < 0.5:
        checkpoints = f"checkpoint.every_steps={chance.randint(5, 150)}"
    else:
        checkpoints = f"checkpoint.every_seconds={chance.uniform(0.01, 0.2) * case.seconds:.3f}"
    wanted, kills, share, part = chance.randint(1, most), 0, 0.95, 0
    while kills < wanted:
        part += 1
        run = launch(_next(case, folder, name, checkpoints), folder=folder, name=f"{name}-{part}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(chance.uniform(0.02, share) * case.seconds)
        while kills == wanted - 1 and run.poll() is None and not has_state(folder / name / "checkpoint"):
            time.sleep(0.01)  # The last one is to go on from a checkpoint.
        if run.poll() is None and _kill(case, run):
            kills += 1
            continue
        _require_done(run)
        if kills:
            break
        shutil.rmtree(folder / name)  # It was done before it was killed: once more, and sooner.
        share /= 2
    run = launch(_next(case, folder, name, checkpoints), folder=folder, name=f"{name}-last")
    _require_done(run)


def _next(case: Case, folder: Path, name: str, checkpoints: str) -> list[str]:
    """Return the command that starts the run or goes on with it."""
    if not (folder / name / "config.toml").exists():
        return _command(case, name, checkpoints)
    state = folder / name / "checkpoint"
    case.resumed_from.append(int(read_state(state, parts=["run"])[0]["step"]) if has_state(state) else 0)
    return ["resume", name, "--plain"]


def _command(case: Case, name: str, checkpoints: str) -> list[str]:
    return ["run", *case.arguments, "--set", checkpoints, "--out", name, "--plain"]


def _kill(case: Case, run: Launched) -> bool:
    """Kill the run's main process and see that its workers follow; return whether it was still there."""
    try:
        workers = workers_of(run.pid)
        run.send("SIGKILL")
    except OSError:
        return False
    if run.wait(LONG) != -signal.SIGKILL:
        return False
    case.kills += 1
    deadline = time.monotonic() + 10
    while any(map(is_alive, workers)):
        if time.monotonic() > deadline:
            case.differences.append(f"a worker of process {run.pid} outlived it")
            break
        time.sleep(0.01)
    return True


def _require_done(run: Launched) -> None:
    code = run.wait(LONG)
    if code != 0:
        sys.exit(f"a run ended with {code}: {run.err.read_text()[-2000:]}")


# Comparing ------------------------------------------------------------------------------------------------------------


def differences(one: Path, other: Path) -> list[str]:
    """Return the places in which two run folders differ, but for times."""
    found = []
    for state in ("checkpoint", "best"):
        if has_state(one / state) != has_state(other / state):
            found.append(f"{state}/ is in one of them only")
        elif has_state(one / state):
            found += bits.differences(read_state(one / state), read_state(other / state), state, ignored=TIMES)
    for name, read in (("metrics.csv", _rows), ("metrics.jsonl", _events)):
        found += bits.differences(read(one / name), read(other / name), name, ignored=TIMES)
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _events(path: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event for event in events if event["event"] != "checkpoint"]


# Reporting ------------------------------------------------------------------------------------------------------------


def _report(cases: Sequence[Case], path: Path | None) -> int:
    tried = [case for case in cases if case.runs]
    print(f"{'case':<28}{'runs':>6}{'kills':>7}{'resumed':>9}{'from a checkpoint':>19}{'differences':>13}")
    for case in tried:
        late = sum(step > 0 for step in case.resumed_from)
        row = (case.runs, case.kills, len(case.resumed_from), late, len(case.differences))
        print(f"{case.name:<28}{row[0]:>6}{row[1]:>7}{row[2]:>9}{row[3]:>19}{row[4]:>13}")
    bad = sum(len(case.differences) for case in tried)
    kills = sum(case.kills for case in tried)
    print(f"{sum(case.runs for case in tried)} runs, {kills} kills, {bad} differences")
    if path is not None:
        path.write_text(json.dumps([asdict(case) for case in tried], indent=2) + "\n")
    return 1 if bad or not kills else 0


if __name__ == "__main__":
    sys.exit(main())
