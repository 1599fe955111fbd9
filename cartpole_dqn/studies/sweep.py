"""Runs a sweep: schedules its trials and records their states.

* `Sweep`: a sweep in a folder. `run` drives an engine until all trials have ended or it is asked to stop.
* `SweepView`, `TrialView`: progress, for a table.

The folder holds `sweep.toml` (the plan), `trials.json` (the trials' states) and the run folders `trials/NAME/`. Only
its run folder decides whether a trial is done, so that a killed sweep can be resumed.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.sweep_engine import SweepEngine
from cartpole_dqn.errors import RunFolderError, UserError
from cartpole_dqn.plugin.host import PluginHost
from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.folder import is_run, run_state, write_text_atomic
from cartpole_dqn.runs.metrics import RunFigures, read_figures
from cartpole_dqn.studies.sweep_plan import (
    FILE,
    Planned,
    SweepPlan,
    check_setting,
    corner_settings,
    labels_of,
    plan_trials,
)
from cartpole_dqn.studies.sweep_search import Search
from cartpole_dqn.studies.sweep_space import Setting

TrialStatus = Literal["waiting", "running", "done", "failed", "interrupted"]

_RECORD = "trials.json"
_LOOK = 0.5
"""Seconds between updates of the trials' progress."""


@dataclass(frozen=True)
class TrialView:
    """State and progress of a trial."""

    name: str
    state: TrialStatus
    error: str
    progress: RunFigures
    steps: int | None
    """Total steps of the run; None if it is limited by episodes."""
    episodes: int | None
    seconds: float
    """Running time, over all sessions of the sweep."""
    place: str
    """Where it runs, as the engine says; "" for nothing."""


@dataclass(frozen=True)
class SweepView:
    """States and progress of a sweep's trials."""

    trials: tuple[TrialView, ...]
    total: int
    """Number of trials, including those of settings that a search has not chosen yet."""
    stopping: bool = False

    def count(self, state: TrialStatus) -> int:
        """Return the number of trials in a state. Trials that a search has not chosen yet are waiting."""
        unknown = self.total - len(self.trials) if state == "waiting" else 0
        return sum(trial.state == state for trial in self.trials) + unknown


@dataclass
class _Entry:
    """A trial and its state."""

    planned: Planned
    setting: int
    state: TrialStatus = "waiting"
    error: str = ""
    seconds: float = 0.0
    began: float | None = None
    """Start time in this session."""
    progress: RunFigures = field(default_factory=RunFigures)

    @property
    def name(self) -> str:
        return self.planned.trial.name

    @property
    def path(self) -> Path:
        return self.planned.trial.folder

    def look(self) -> None:
        """Read the trial's progress. Another process or machine may be writing to its folder."""
        with contextlib.suppress(RunFolderError):
            self.progress = read_figures(self.path)


class Sweep:
    """A sweep in its folder. Use it inside `folder_lock.hold(folder)`. Nothing is written before `run`.

    Args:
        folder: new, empty, or the folder of a sweep with the same plan.
        plan: the trials.
        host: the loaded plugins.
        base: the file with `plan.config`, for messages.
        retry_failed: whether to try failed trials again.
        prepare: completes each setting's configuration with details of this machine.
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
        base: Path | None = None,
        retry_failed: bool = False,
        prepare: Callable[[RunConfig], RunConfig] = lambda config: config,
        warn: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = folder
        self.plan = plan
        self._host, self._base, self._prepare = host, base, prepare
        self._clock, self._sleep = clock, sleep
        self._entries: list[_Entry] = []
        self._scored: set[int] = set()
        self._search = Search(plan.space, plan.seed) if plan.searches else None
        self._stopping = False
        self._require_same()
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
            self.plan.write(self.folder)
            self._keep()
            while True:
                if should_stop() and not self._stopping:
                    self._stopping = True
                    engine.stop()
                if not self._stopping:
                    self._start(engine)
                watch(self.view(engine))
                if not self._running() and (self._stopping or not self._waiting()):
                    break
                if not self._running():
                    self._sleep(_LOOK)  # A process of an earlier session still locks the remaining folders.
                    continue
                for end in engine.wait(_LOOK):
                    self._record_end(end.name, end.state, end.error)
        finally:
            engine.close()
            for entry in self._running():
                self._record_end(entry.name, "interrupted", "")
        view = self.view(None)
        watch(view)
        return view

    def view(self, engine: SweepEngine | None) -> SweepView:
        """Return the current states."""
        total = self.plan.searches * len(self.plan.seeds) if self._search else len(self._entries)
        return SweepView(tuple(self._view(entry, engine) for entry in self._entries), total, self._stopping)

    def done_folders(self) -> list[Path]:
        """Return the run folders of finished trials, in the order of the plan."""
        return [entry.path for entry in self._entries if entry.state == "done"]

    # Before ---------------------------------------------------------------------------------------------------------

    def _require_same(self) -> None:
        if (self.folder / FILE).is_file():
            differences = SweepPlan.read(self.folder).differences(self.plan)
            if differences:
                raise UserError(
                    f"{self.folder} holds a sweep with other settings. {'; '.join(differences)}. Resume it unchanged "
                    f"with `cartpole-dqn sweep --resume {self.folder}`, or choose another folder with --out."
                )
        elif others := [path.name for path in self.folder.iterdir() if path.name != folder_lock.NAME]:
            raise RunFolderError(
                f"{self.folder} is not empty, and no sweep is in it ({sorted(others)[0]}). Choose a new or empty "
                f"folder with --out."
            )

    def _check(self, warn: Callable[[str], None]) -> None:
        """Plan all known trials and build each setting once. For a search, build the corners of its space."""
        settings = self.plan.settings()
        labels = labels_of(self.plan, settings)
        planned: list[list[Planned]] = []
        notes: dict[str, None] = {}
        corners = corner_settings(self.plan.space) if self._search else []
        for i, setting in enumerate([*settings, *corners]):
            label = labels[i] if i < len(labels) else ", ".join(setting.sets)
            trials, config, setting_notes = self._planned(setting, label)
            notes.update(dict.fromkeys([*setting_notes, *check_setting(config, label, self._host)]))
            planned += [trials] if i < len(labels) else []
        for text in notes:
            warn(text)
        # Seed by seed, so that a sweep that is cut short has compared all settings.
        self._entries = [_Entry(trials[k], i) for k in range(len(self.plan.seeds)) for i, trials in enumerate(planned)]

    def _planned(self, setting: Setting, label: str) -> tuple[list[Planned], RunConfig, list[str]]:
        return plan_trials(self.plan, setting, label, self._host, self.folder, base=self._base, prepare=self._prepare)

    def _recall(self, retry_failed: bool) -> None:
        """Restore the states of an earlier session."""
        saved = self._read()
        if self._search:
            for params in saved.get("settings", []):
                self._search.take_back(dict(params))
                self._add_latest(self._search)
        before = {str(entry["name"]): entry for entry in saved.get("trials", [])}
        for entry in self._entries:
            earlier = before.get(entry.name, {})
            entry.seconds = float(earlier.get("seconds", 0.0))
            if run_state(entry.path).state == "done":
                entry.state = "done"
            elif earlier.get("state") == "failed" and not retry_failed:
                entry.state, entry.error = "failed", str(earlier.get("error", ""))
            elif is_run(entry.path):
                entry.state = "interrupted"
            if entry.state != "waiting":
                entry.look()
        self._tell()

    # A round --------------------------------------------------------------------------------------------------------

    def _running(self) -> list[_Entry]:
        return [entry for entry in self._entries if entry.state == "running"]

    def _waiting(self) -> list[_Entry]:
        """Return the trials to start. If none is left, a search adds those of its next setting."""
        waiting = [e for e in self._entries if e.state in ("waiting", "interrupted") and e.began is None]
        if not waiting and self._search and len(self._search.proposed) < self.plan.searches:
            self._search.ask()
            waiting = self._add_latest(self._search)
            self._keep()
        return waiting

    def _start(self, engine: SweepEngine) -> None:
        """Fill the free slots. Skip folders that a process of an earlier session still locks."""
        running, slots = len(self._running()), engine.slots
        while running < slots:
            entry = next((entry for entry in self._waiting() if not folder_lock.is_held(entry.path)), None)
            if entry is None:
                return
            entry.state, entry.error, entry.began = "running", "", self._clock()
            self._keep()
            engine.start(entry.planned.trial)
            running += 1

    def _record_end(self, name: str, state: TrialStatus, error: str) -> None:
        entry = next((entry for entry in self._running() if entry.name == name), None)
        if entry is None:
            raise RuntimeError(f"it reported the end of a trial {name!r}, which does not run.")
        entry.seconds += self._clock() - (entry.began or 0.0)
        folder_state = run_state(entry.path).state
        if state == "done" and folder_state != "done":
            state, error = "failed", f"the engine reports it as done, but its folder {entry.path} says {folder_state}."
        entry.state, entry.error = state, error
        entry.look()
        self._keep()
        self._tell()

    # A search -------------------------------------------------------------------------------------------------------

    def _add_latest(self, search: Search) -> list[_Entry]:
        """Add and return the trials of a search's latest setting."""
        number, setting = len(search.proposed) - 1, search.latest()
        trials, _, _ = self._planned(setting, labels_of(self.plan, [setting], first=number)[0])
        entries = [_Entry(planned, number) for planned in trials]
        self._entries += entries
        return entries

    def _tell(self) -> None:
        """Pass the search the score of each setting whose trials have all ended."""
        if self._search is None:
            return
        for number in range(len(self._search.proposed)):
            entries = [entry for entry in self._entries if entry.setting == number]
            if number in self._scored or not all(entry.state in ("done", "failed") for entry in entries):
                continue
            self._scored.add(number)
            scores = [e.progress.best for e in entries if e.state == "done" and e.progress.best is not None]
            self._search.tell(number, sum(scores) / len(scores) if len(scores) == len(entries) else None)

    # The record -----------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        trials = [
            {
                "name": entry.name,
                "setting": entry.planned.label,
                "seed": entry.planned.seed,
                "state": entry.state,
                "error": entry.error,
                "seconds": round(entry.seconds, 3),
            }
            for entry in self._entries
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

    def _view(self, entry: _Entry, engine: SweepEngine | None) -> TrialView:
        if entry.state == "running":
            entry.look()
        return TrialView(
            name=entry.name,
            state=entry.state,
            error=entry.error,
            progress=entry.progress,
            steps=entry.planned.steps,
            episodes=entry.planned.episodes,
            seconds=entry.seconds + (self._clock() - (entry.began or 0.0) if entry.state == "running" else 0.0),
            place=engine.place(entry.name) if engine is not None and entry.state == "running" else "",
        )
