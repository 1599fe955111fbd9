"""Runs a sweep: schedules its trials and records their states.

* `Sweep`: a sweep in a folder. `run` drives an engine until all trials have ended or it is asked to stop.
* `SweepView`: the trials with their states and progress, for a table.

The folder holds `sweep.toml` (the plan), `trials.json` (the trials' states) and the run folders `trials/NAME/`. Only
its run folder decides whether a trial is done, so that a killed sweep can be resumed.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cartpole_dqn.config.schema import read_toml
from cartpole_dqn.contracts.sweep_engine import SweepEngine, TrialEnd
from cartpole_dqn.errors import RunFolderError, UserError
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.folder import is_run, run_state, write_text_atomic
from cartpole_dqn.runs.metrics import read_figures
from cartpole_dqn.studies.sweep_plan import FILE, SweepPlan, SweepTrial, TrialStatus, corner_settings, plan_trials
from cartpole_dqn.studies.sweep_search import Search
from cartpole_dqn.studies.sweep_space import Setting

_RECORD = "trials.json"
_LOOK = 0.5
"""Seconds between updates of the trials' progress."""


@dataclass(frozen=True)
class SweepView:
    """States and progress of a sweep's trials."""

    trials: tuple[SweepTrial, ...]
    total: int
    """Number of trials, including those of settings that a search has not chosen yet."""
    stopping: bool = False

    def count(self, state: TrialStatus) -> int:
        """Return the number of trials in a state. Trials that a search has not chosen yet are waiting."""
        unknown = self.total - len(self.trials) if state == "waiting" else 0
        return sum(trial.state == state for trial in self.trials) + unknown


class Sweep:
    """A sweep in its folder. Use it inside `folder_lock.hold(folder)`. Nothing is written before `run`.

    Args:
        folder: new, empty, or the folder of a sweep with the same plan.
        plan: the trials.
        host: the loaded plugins.
        retry_failed: whether to try failed trials again.
        warn: called with messages for the user.
        clock: seconds, monotonic.
        sleep: waits for some seconds.

    Raises:
        UserError: a setting is invalid, or the folder holds something else or a sweep with another plan.
    """

    def __init__(
        self,
        folder: Path,
        plan: SweepPlan,
        host: PluginHost,
        *,
        retry_failed: bool = False,
        warn: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = folder
        self.plan = plan
        self._host, self._clock, self._sleep = host, clock, sleep
        self._trials: dict[str, SweepTrial] = {}
        self._counted: dict[str, float] = {}
        """Until when the seconds of each trial of this session are counted."""
        self._unscored: dict[int, Setting] = {}
        """The settings whose scores the search does not know yet, by number."""
        self._stopping = False
        self._require_same()
        self._search = Search(plan.space, plan.seed, plan.searches) if plan.searches else None
        self._check(warn)
        self._recall(retry_failed)

    def run(
        self,
        engine: SweepEngine,
        *,
        watch: Callable[[SweepView], None] = lambda view: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> SweepView:
        """Run the remaining trials and return their final states.

        Args:
            engine: a new engine. It is closed at the end, also after an exception.
            watch: called about twice a second with the current states.
            should_stop: called as often. Once it returns True, running trials stop cleanly and no other starts.
        """
        try:
            self.plan = self.plan.write(self.folder)  # The user may change the file of --config meanwhile.
            self._keep()
            while True:
                if should_stop() and not self._stopping:
                    self._stopping = True
                    engine.stop()
                if not self._stopping:
                    self._start(engine)
                for trial in self._running():
                    self._change(trial, place=engine.place(trial.name))
                watch(self.view())
                if not self._running() and (self._stopping or not self._waiting()):
                    break
                if not self._running():
                    self._sleep(_LOOK)  # A process of an earlier session still locks the remaining folders.
                    continue
                for end in engine.wait(_LOOK):
                    self._record_end(end)
        finally:
            engine.close()
            for trial in self._running():
                self._record_end(TrialEnd(trial.name, "interrupted"))
        watch(self.view())
        return self.view()

    def view(self) -> SweepView:
        """Return the current states."""
        total = self.plan.searches * len(self.plan.seeds) if self._search else len(self._trials)
        return SweepView(tuple(self._trials.values()), total, self._stopping)

    def done_folders(self) -> list[Path]:
        """Return the run folders of finished trials, in the order of the plan."""
        return [trial.run.folder for trial in self._trials.values() if trial.state == "done"]

    # Before ---------------------------------------------------------------------------------------------------------

    def _require_same(self) -> None:
        if self.plan.config is not None:
            read_toml(self.plan.config)  # Here its errors name no setting.
        if (self.folder / FILE).is_file():
            kept = SweepPlan.read(self.folder)
            if differences := kept.differences(self.plan):
                raise UserError(
                    f"{self.folder} holds a sweep with other settings. {'; '.join(differences)}. Resume it unchanged "
                    f"with `cartpole-dqn sweep --resume {self.folder}`, or choose another folder with --out."
                )
            # Its texts name the trials, which may be typed in another way now.
            now = self.plan
            self.plan = replace(kept, engine=now.engine, engine_options=now.engine_options, jobs=now.jobs)
        elif others := [path.name for path in self.folder.iterdir() if path.name != folder_lock.NAME]:
            raise RunFolderError(
                f"{self.folder} is not empty, and no sweep is in it ({sorted(others)[0]}). Choose a new or empty "
                f"folder with --out."
            )

    def _check(self, warn: Callable[[str], None]) -> None:
        """Plan all known trials and build each setting once. For a search, build the corners of its space."""
        planned, notes = [], dict[str, None]()
        for setting in corner_settings(self.plan.space) if self._search else self.plan.settings():
            trials, messages = plan_trials(self.plan, setting, self._host, self.folder, build=True)
            planned.append(trials)
            notes.update(dict.fromkeys(messages))
        for text in notes:
            warn(text)
        if self._search is None:
            # Seed by seed, so that a sweep that is cut short has compared all settings.
            self._trials = {trial.name: trial for trials in zip(*planned, strict=True) for trial in trials}

    def _recall(self, retry_failed: bool) -> None:
        """Restore the states of an earlier session."""
        saved = self._read()
        if self._search:
            for params in saved.get("settings", []):
                self._add(self._search, self._search.take_back(dict(params)))
        before = {str(entry["name"]): entry for entry in saved.get("trials", [])}
        for name, trial in self._trials.items():
            earlier = before.get(name, {})
            changes: dict[str, Any] = {"seconds": float(earlier.get("seconds", 0.0))}
            if run_state(trial.run.folder).state == "done":
                changes["state"] = "done"
            elif earlier.get("state") == "failed" and not retry_failed:
                changes |= {"state": "failed", "error": str(earlier.get("error", ""))}
            elif is_run(trial.run.folder):
                changes["state"] = "interrupted"
            self._change(trial, **changes)
        self._tell()

    # A round --------------------------------------------------------------------------------------------------------

    def _change(self, trial: SweepTrial, **changes: Any) -> None:
        """Change a trial, count its time, and read its progress. Another process or machine may write to its folder."""
        if trial.state == "running":
            now = self._clock()
            changes["seconds"] = trial.seconds + now - self._counted[trial.name]
            self._counted[trial.name] = now
        with contextlib.suppress(RunFolderError):
            changes["progress"] = read_figures(trial.run.folder)
        self._trials[trial.name] = replace(trial, **changes)

    def _running(self) -> list[SweepTrial]:
        return [trial for trial in self._trials.values() if trial.state == "running"]

    def _waiting(self) -> list[SweepTrial]:
        """Return the trials to start. If none is left, a search adds those of its next setting."""
        states = ("waiting", "interrupted")
        waiting = [trial for name, trial in self._trials.items() if trial.state in states and name not in self._counted]
        if not waiting and self._search and (setting := self._search.ask()):
            waiting = self._add(self._search, setting)
            self._keep()
        return waiting

    def _start(self, engine: SweepEngine) -> None:
        """Fill the free slots. Skip folders that a process of an earlier session still locks."""
        running, slots = len(self._running()), engine.slots
        while running < slots:
            trial = next((trial for trial in self._waiting() if not folder_lock.is_held(trial.run.folder)), None)
            if trial is None:
                return
            self._counted[trial.name] = self._clock()
            self._change(trial, state="running", error="")
            self._keep()
            engine.start(trial.run)
            running += 1

    def _record_end(self, end: TrialEnd) -> None:
        trial = self._trials.get(end.name)
        if trial is None or trial.state != "running":
            raise RuntimeError(f"it reported the end of a trial {end.name!r}, which does not run.")
        folder_state = run_state(trial.run.folder).state
        if end.state == "done" and folder_state != "done":
            error = f"the engine reports it as done, but its folder {trial.run.folder} says {folder_state}."
            end = TrialEnd(end.name, "failed", error)
        self._change(trial, state=end.state, error=end.error, place="")
        self._keep()
        self._tell()

    # A search -------------------------------------------------------------------------------------------------------

    def _add(self, search: Search, setting: Setting) -> list[SweepTrial]:
        """Add and return the trials of a search's latest setting."""
        trials, _ = plan_trials(self.plan, setting, self._host, self.folder)
        self._trials |= {trial.name: trial for trial in trials}
        self._unscored[len(search.proposed) - 1] = setting
        return trials

    def _tell(self) -> None:
        """Pass the search the score of each setting whose trials have all ended."""
        for number, setting in list(self._unscored.items()):
            trials = [trial for trial in self._trials.values() if trial.setting is setting]
            if self._search and all(trial.state in ("done", "failed") for trial in trials):
                del self._unscored[number]
                best = [trial.progress.best for trial in trials if trial.state == "done"]
                scores = [score for score in best if score is not None]
                self._search.tell(number, sum(scores) / len(scores) if len(scores) == len(trials) else None)

    # The record -----------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        trials = [
            {
                "name": trial.name,
                "setting": trial.setting.label,
                "seed": trial.seed,
                "state": trial.state,
                "error": trial.error,
                "seconds": round(trial.seconds, 3),
            }
            for trial in self._trials.values()
        ]
        table = {"trials": trials, **({"settings": self._search.proposed} if self._search else {})}
        write_text_atomic(self.folder / _RECORD, json.dumps(table, indent=1, ensure_ascii=False) + "\n")

    def _read(self) -> dict[str, Any]:
        path = self.folder / _RECORD
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            assert isinstance(table, dict)
            return table
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AssertionError, RecursionError) as error:
            raise RunFolderError(f"{path} is not what a sweep writes: {error}.") from None
