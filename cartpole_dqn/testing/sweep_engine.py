"""The contract of `SweepEngine`: it runs trials, reports how each ended, and leaves nothing running.

Trials are short runs of CartPole that do not learn.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cartpole_dqn.contracts.sweep_engine import SweepEngine, SweepEngineContext, Trial, TrialEnd
from cartpole_dqn.testing._contract import Contract, Subject
from cartpole_dqn.testing._course import OPTIONS

_STEPS, _ENDLESS = 300, 100_000_000
_LONGEST = 120.0
"""Seconds until a check gives up on something that takes a few."""
_CONFIG = """\
obs = "state"
seed = 3
steps = {steps}
device = "cpu"
[env]
id = "{env}"
[agent]
name = "dqn"
train_every = 1000000000
[agent.replay]
name = "uniform"
capacity = 1000
[evaluation]
every = 0
"""


@contextlib.contextmanager
def running(part: Subject, folder: Path | None = None, *, jobs: int | None = 2) -> Iterator[tuple[SweepEngine, Path]]:
    """A new engine and the folder of its sweep, a temporary one by default. Closes the engine at the end."""
    with tempfile.TemporaryDirectory() as place:
        folder = folder or Path(place).resolve()
        engine = part.cls(part.options(), SweepEngineContext(folder=folder, jobs=jobs, say=lambda text: None))
        with contextlib.closing(engine):
            yield engine, folder


SWEEP_ENGINE = Contract("sweep-engine", running, OPTIONS)


def check_sweep_engine(cls: Callable[..., SweepEngine], /, **options: object) -> None:
    """Run every check of a sweep engine. It takes about twenty seconds, since real trials run."""
    SWEEP_ENGINE.hold(cls, **options)


@SWEEP_ENGINE.check
def check_slots(part: Subject) -> None:
    """`slots` is 1 or more, and at most `jobs` if given."""
    for jobs in (None, 1):
        with part.course(jobs=jobs) as (engine, _):
            slots = engine.slots
            assert slots >= 1, f"slots is {slots} with jobs {jobs}: expected room for a trial at least."
            assert jobs is None or slots <= jobs, f"slots is {slots}, and the user asked for {jobs}."


@SWEEP_ENGINE.check
def check_waiting(part: Subject) -> None:
    """`wait` returns an empty list if no trial runs or ended."""
    with part.course() as (engine, _):
        began = time.monotonic()
        ends = engine.wait(0.2)
        assert ends == [], f"wait returned {ends!r} before a trial was started."
        assert time.monotonic() - began < 10, "wait(0.2) took more than ten seconds."


@SWEEP_ENGINE.check
def check_trials_are_runs(part: Subject) -> None:
    """Each trial is reported once, as done, its folder is a complete run, and equal configurations give equal runs."""
    with part.course() as (engine, folder):
        trials = [_trial(folder, "a=1,seed=0"), _trial(folder, "a=1,seed=1")]
        ends = _until_ended(engine, trials)
        assert [end.state for end in ends] == ["done", "done"], f"two good trials ended as {ends!r}."
        again = engine.wait(0.2)
        assert again == [], f"wait returned {again!r} again."
        for trial in trials:
            for name in ("config.toml", "metrics.jsonl", "environment.json", "checkpoint/state.json"):
                assert (trial.folder / name).is_file(), f"the trial is done, and its folder holds no {name}."
            status = _status(trial)
            assert status == ("done", _STEPS), f"the trial is done, and its status.json says {status}."
        first, second = (_episodes(trial) for trial in trials)
        assert first, "the trial's metrics.jsonl has no episode."
        assert first == second, "two trials with one configuration had different episodes."


@SWEEP_ENGINE.check
def check_a_failing_trial(part: Subject) -> None:
    """A failing trial is reported as failed, with the reason in one line; one beside it still ends as done."""
    with part.course() as (engine, folder):
        trials = [_trial(folder, "bad", env="no_such_module:Nothing-v0"), _trial(folder, "good")]
        bad, good = _until_ended(engine, trials)
        assert bad.state == "failed", f"a trial without an environment ended as {bad!r}."
        assert bad.error.strip(), "a trial failed, and its end has no error: give the reason in one line."
        assert "\n" not in bad.error, f"a trial's error is {bad.error!r}: expected one line."
        assert good.state == "done", f"a trial beside one that failed ended as {good!r}."


@SWEEP_ENGINE.check
def check_stopping_and_going_on(part: Subject) -> None:
    """After `stop` a trial is interrupted with a checkpoint, from which another engine continues it."""
    with tempfile.TemporaryDirectory() as place:
        folder, steps = Path(place).resolve(), []
        trial = _trial(folder, "long", steps=_ENDLESS)
        for patience in (3.0, 0.0):
            with part.course(folder) as (engine, _):
                engine.start(trial)
                _until_under_way(engine, trial, patience)
                engine.stop()
                (end,) = _until_ended(engine, [trial], start=False)
                assert end.state == "interrupted", f"a trial that was stopped ended as {end!r}."
                state, step = _status(trial)
                assert state == "interrupted", f"a trial was stopped, and its status.json says {state}."
                assert (trial.folder / "checkpoint" / "state.json").is_file(), "a trial was stopped without checkpoint."
                steps.append(step)
        assert 0 < steps[0] <= steps[1], (
            f"a trial was stopped at step {steps[0]}, started again, and stopped at step {steps[1]}: a trial "
            f"whose folder holds a run must go on from its checkpoint."
        )


@SWEEP_ENGINE.check
def check_close_leaves_nothing(part: Subject) -> None:
    """After `close` no trial runs, even without a `stop` before it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        trial = _trial(folder, "long", steps=_ENDLESS)
        with part.course(folder) as (engine, _):
            engine.start(trial)
            _until_under_way(engine, trial, 0.0)
        metrics = trial.folder / "metrics.jsonl"
        before = metrics.stat().st_size if metrics.exists() else 0
        time.sleep(1.0)
        after = metrics.stat().st_size if metrics.exists() else 0
        assert before == after, f"a trial wrote {after - before} bytes of metrics after close: end it in close."


@SWEEP_ENGINE.check
def check_place_is_text(part: Subject) -> None:
    """`place` returns one line, also for a trial that does not run."""
    with part.course() as (engine, folder):
        trial = _trial(folder, "one")
        for moment in ("before", "during"):
            place = engine.place(trial.name)
            assert isinstance(place, str), f"place returned {place!r} {moment} the trial: expected a string."
            assert "\n" not in place, f"place returned {place!r} {moment} the trial: expected one line."
            if moment == "before":
                engine.start(trial)


def _trial(folder: Path, name: str, *, steps: int = _STEPS, env: str = "CartPole-v1") -> Trial:
    return Trial(name=name, config=_CONFIG.format(steps=steps, env=env), folder=folder / "trials" / name)


def _until_ended(engine: SweepEngine, trials: Sequence[Trial], *, start: bool = True) -> list[TrialEnd]:
    """Run the trials, as many at once as there are slots, and return how they ended, in their order."""
    waiting, ends = list(trials) if start else [], dict[str, TrialEnd]()
    running = 0 if start else len(trials)
    until = time.monotonic() + _LONGEST
    while len(ends) < len(trials):
        while waiting and running < engine.slots:
            engine.start(waiting.pop(0))
            running += 1
        for end in engine.wait(0.5):
            assert end.name in {trial.name for trial in trials}, f"wait returned {end!r}, which was not started."
            assert end.name not in ends, f"wait returned {end.name} twice."
            ends[end.name] = end
            running -= 1
        missing = [trial.name for trial in trials if trial.name not in ends]
        assert not missing or time.monotonic() < until, f"{missing} did not end within {_LONGEST:g} seconds."
    return [ends[trial.name] for trial in trials]


def _until_under_way(engine: SweepEngine, trial: Trial, seconds: float) -> None:
    """Wait until a trial's metrics show an episode, for a minute at most, and then `seconds` longer."""
    until, is_under_way = time.monotonic() + 60.0, False
    while time.monotonic() < until:
        ends = engine.wait(0.2)
        assert not ends, f"a trial that takes hours ended after seconds: {ends!r}."
        if not is_under_way and trial.folder.is_dir() and _episodes(trial):
            is_under_way, until = True, time.monotonic() + seconds


def _status(trial: Trial) -> tuple[str, int]:
    try:
        table = json.loads((trial.folder / "status.json").read_text(encoding="utf-8"))
        return str(table["state"]), int(table["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return "nothing", 0


def _episodes(trial: Trial) -> list[tuple[int, float, int]]:
    """Return step, return and seed of each episode in a trial's metrics."""
    try:
        lines = (trial.folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []
    events = [json.loads(line) for line in lines]
    return [(e["step"], e["return"], e["seed"]) for e in events if e["event"] == "episode"]
