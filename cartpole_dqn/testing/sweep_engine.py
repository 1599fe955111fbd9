"""The contract of `SweepEngine`: runs trials, says how each ended, leaves nothing running.

* `check_sweep_engine`: every check of the kind.

The trials are real: short runs of CartPole from its state that learn nothing. All checks take about twenty seconds.
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
from cartpole_dqn.testing._options import SHARED

_STEPS, _ENDLESS = 300, 100_000_000
_LONGEST = 120.0
"""Seconds that a check waits for what should take a few."""
_CONFIG = """\
obs = "state"
seed = 3
steps = {steps}
device = "cpu"
[env]
id = "{env}"
[agent]
name = "dqn"
learning_starts = 1000000000
[agent.replay]
name = "uniform"
capacity = 1000
[evaluation]
every = 0
"""


class SweepEngineSubject(Subject[SweepEngine]):
    """A sweep engine class."""

    @contextlib.contextmanager
    def running(self, folder: Path, *, jobs: int | None = 2) -> Iterator[SweepEngine]:
        """A new engine for the sweep in `folder`; closed at the end of the block."""
        engine = self.cls(self.options(), SweepEngineContext(folder=folder, jobs=jobs, say=lambda text: None))
        try:
            yield engine
        finally:
            engine.close()


SWEEP_ENGINE: Contract[SweepEngineSubject] = Contract("sweep-engine", SweepEngineSubject, SHARED)


def check_sweep_engine(cls: Callable[..., SweepEngine], /, **options: object) -> None:
    """Hold a sweep engine to its contract."""
    SWEEP_ENGINE.hold(cls, **options)


@SWEEP_ENGINE.check
def check_slots(part: SweepEngineSubject) -> None:
    """There is a slot at least, with `jobs` and without, and never more of them than `jobs`."""
    with _folder() as folder:
        for jobs in (None, 1):
            with part.running(folder, jobs=jobs) as engine:
                slots = engine.slots
                assert slots >= 1, f"slots is {slots} with jobs {jobs}: at least one trial must be able to run."
                assert jobs is None or slots <= jobs, f"slots is {slots}, and the user asked for {jobs}."


@SWEEP_ENGINE.check
def check_waiting(part: SweepEngineSubject) -> None:
    """`wait` comes back with nothing where no trial runs or ended."""
    with _folder() as folder, part.running(folder) as engine:
        began = time.monotonic()
        found = engine.wait(0.2)
        assert found == [], f"wait returned {found!r} before a trial was started."
        assert time.monotonic() - began < 10, "wait(0.2) took more than ten seconds."


@SWEEP_ENGINE.check
def check_trials_are_runs(part: SweepEngineSubject) -> None:
    """Each trial is told once, as done, its folder is a whole run's, and equal configurations give equal numbers."""
    with _folder() as folder, part.running(folder) as engine:
        trials = [_trial(folder, "a=1,seed=0"), _trial(folder, "a=1,seed=1")]
        told = _until_ended(engine, trials)
        assert [end.state for end in told] == ["done", "done"], f"two trials that nothing is wrong with ended {told!r}."
        again = engine.wait(0.2)
        assert again == [], f"wait told of {again!r} again."
        for trial in trials:
            for name in ("config.toml", "metrics.jsonl", "environment.json", "checkpoint/state.json"):
                assert (trial.folder / name).is_file(), f"the trial is done, and its folder holds no {name}."
            status = _status(trial)
            assert status == ("done", _STEPS), f"the trial is done, and its status.json says {status}."
        first, second = (_episodes(trial) for trial in trials)
        assert first, "the trial's metrics.jsonl tells of no episode."
        assert first == second, "two trials with one configuration went another course."


@SWEEP_ENGINE.check
def check_a_failing_trial(part: SweepEngineSubject) -> None:
    """A trial that fails is told as failed, with a sentence, and one beside it comes to its end."""
    with _folder() as folder, part.running(folder) as engine:
        trials = [_trial(folder, "bad", env="no_such_module:Nothing-v0"), _trial(folder, "good")]
        bad, good = _until_ended(engine, trials)
        assert bad.state == "failed", f"a trial without an environment ended as {bad!r}."
        assert bad.error.strip(), "a trial failed, and its end has no error: say in a sentence what went wrong."
        assert "\n" not in bad.error, f"a trial's error is {bad.error!r}: expected one line."
        assert good.state == "done", f"a trial beside one that failed ended as {good!r}."


@SWEEP_ENGINE.check
def check_stopping_and_going_on(part: SweepEngineSubject) -> None:
    """After `stop` a trial is told as interrupted, its checkpoint written, and another engine goes on from there."""
    with _folder() as folder:
        trial = _trial(folder, "long", steps=_ENDLESS)
        steps = []
        for patience in (3.0, 0.0):
            with part.running(folder) as engine:
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
            f"a trial was stopped at step {steps[0]}, started again, and stopped at step {steps[1]}: it must go on "
            f"from its checkpoint where its folder holds a run."
        )


@SWEEP_ENGINE.check
def check_close_leaves_nothing(part: SweepEngineSubject) -> None:
    """After `close` no trial runs on, without a `stop` before it."""
    with _folder() as folder:
        trial = _trial(folder, "long", steps=_ENDLESS)
        with part.running(folder) as engine:
            engine.start(trial)
            _until_under_way(engine, trial, 0.0)
        metrics = trial.folder / "metrics.jsonl"
        before = metrics.stat().st_size if metrics.exists() else 0
        time.sleep(1.0)
        after = metrics.stat().st_size if metrics.exists() else 0
        assert before == after, f"a trial wrote {after - before} bytes of metrics after close: end it there."


@SWEEP_ENGINE.check
def check_place_is_text(part: SweepEngineSubject) -> None:
    """`place` is a text without line breaks, also of a trial that does not run."""
    with _folder() as folder, part.running(folder) as engine:
        trial = _trial(folder, "one")
        for moment in ("before", "during"):
            place = engine.place(trial.name)
            assert isinstance(place, str), f"place returned {place!r} {moment} the trial: expected a text."
            assert "\n" not in place, f"place returned {place!r} {moment} the trial: expected one line."
            if moment == "before":
                engine.start(trial)


def _trial(folder: Path, name: str, *, steps: int = _STEPS, env: str = "CartPole-v1") -> Trial:
    return Trial(name=name, config=_CONFIG.format(steps=steps, env=env), folder=folder / "trials" / name)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        yield Path(place).resolve()


def _until_ended(engine: SweepEngine, trials: Sequence[Trial], *, start: bool = True) -> list[TrialEnd]:
    """Run the trials, no more at once than there are slots, and return how they ended, in their order."""
    waiting, found = list(trials) if start else [], dict[str, TrialEnd]()
    running = 0 if start else len(trials)
    until = time.monotonic() + _LONGEST
    while len(found) < len(trials):
        while waiting and running < engine.slots:
            engine.start(waiting.pop(0))
            running += 1
        for end in engine.wait(0.5):
            assert end.name in {trial.name for trial in trials}, f"wait told of {end!r}, which was not started."
            assert end.name not in found, f"wait told of {end.name} twice."
            found[end.name] = end
            running -= 1
        missing = [trial.name for trial in trials if trial.name not in found]
        assert not missing or time.monotonic() < until, f"{missing} did not end within {_LONGEST:g} seconds."
    return [found[trial.name] for trial in trials]


def _until_under_way(engine: SweepEngine, trial: Trial, seconds: float) -> None:
    """Wait until a trial's metrics are seen to grow, and `seconds` longer; where they are not seen, a minute."""
    until, seen = time.monotonic() + 60.0, False
    while time.monotonic() < until:
        ends = engine.wait(0.2)
        assert not ends, f"a trial that takes hours ended after seconds: {ends!r}."
        if not seen and trial.folder.is_dir() and _episodes(trial):
            seen, until = True, time.monotonic() + seconds


def _status(trial: Trial) -> tuple[str, int]:
    try:
        table = json.loads((trial.folder / "status.json").read_text(encoding="utf-8"))
        return str(table["state"]), int(table["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return "nothing", 0


def _episodes(trial: Trial) -> list[tuple[int, float, int]]:
    """Return step, return and seed of each episode that the folder tells of."""
    try:
        lines = (trial.folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []
    events = [json.loads(line) for line in lines]
    return [(e["step"], e["return"], e["seed"]) for e in events if e["event"] == "episode"]
