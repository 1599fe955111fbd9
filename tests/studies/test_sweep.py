"""The sweep's driver, with an engine that trains in this very process: what runs when, what is kept, what goes on."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cartpole_dqn.api import train
from cartpole_dqn.contracts.options import options_class
from cartpole_dqn.contracts.sweep_engine import SweepEngine, SweepEngineContext, Trial, TrialEnd
from cartpole_dqn.errors import CartpoleDqnError, RunFolderError, UserError
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.runs import lock as folder_lock
from cartpole_dqn.runs.catalogue import read_settings
from cartpole_dqn.runs.folder import RunFolder, run_state
from cartpole_dqn.studies.sweep import Sweep, SweepView
from cartpole_dqn.studies.sweep_plan import SweepPlan, plan_trials
from cartpole_dqn.studies.sweep_space import Range, Setting, parse_grid, parse_variants
from cartpole_dqn.training.resolve import read_config
from cartpole_dqn.training.session import execute

SETS = ("evaluation.every=40", "evaluation.episodes=1", "agent.learning_starts=60")
FLAGS = {"obs": "state", "steps": 80}
LR = "agent.optimiser.lr"


@options_class
class HereOptions:
    """None."""


class Here(SweepEngine):
    """Runs a trial whenever it is waited for, in this process.

    Args:
        interrupt: the number of the trial, from 1, that is asked to stop while it runs.
        broken: names of trials whose configuration is spoilt.
        wrong: what is told of every trial, whatever it did.
    """

    Options = HereOptions

    def __init__(
        self, folder: Path, *, interrupt: int = 0, broken: tuple[str, ...] = (), wrong: str = "", slots: int = 2
    ) -> None:
        super().__init__(HereOptions(), SweepEngineContext(folder=folder, jobs=None, say=print))
        self._slots, self._interrupt, self._broken, self._wrong = slots, interrupt, broken, wrong
        self.started: list[str] = []
        self.most = 0
        self.waiting: list[Trial] = []
        self.stopped = self.closed = False

    @property
    def slots(self) -> int:
        return self._slots

    def start(self, trial: Trial) -> None:
        self.started.append(trial.name)
        self.waiting.append(trial)
        self.most = max(self.most, len(self.waiting))

    def wait(self, timeout: float) -> list[TrialEnd]:
        assert self.waiting, "the sweep waits for nothing"
        trial = self.waiting.pop(0)
        if self.stopped:
            return [TrialEnd(trial.name, "interrupted")]
        self._interrupt -= 1
        try:
            reason = self._train(trial, stopping=self._interrupt == 0)
        except CartpoleDqnError as error:
            return [TrialEnd(trial.name, "failed", str(error).splitlines()[0])]
        state: Any = self._wrong or ("done" if reason == "done" else "interrupted")
        return [TrialEnd(trial.name, state)]

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed = True

    def _train(self, trial: Trial, *, stopping: bool) -> str:
        host = load_plugins(allowed=())
        folder, resuming = RunFolder(trial.folder), (trial.folder / "config.toml").exists()
        if not resuming:
            folder = RunFolder.create(trial.folder, env_id="x", obs="y")
            env = "Broken-v0" if trial.name in self._broken else "CartPole-v1"
            folder.write_config(trial.config.replace('"CartPole-v1"', f'"{env}"'))
        config = read_config(folder, host)
        if not resuming:
            folder.config.unlink()

        @contextlib.contextmanager
        def handle(ask: Callable[[str], None]) -> Iterator[None]:
            if stopping:
                ask("SIGTERM")
            yield

        console = Console(file=io.StringIO())
        return execute(folder, config, host, console=console, plain=True, resuming=resuming, handle=handle).reason


@pytest.fixture(scope="module")
def host() -> PluginHost:
    return load_plugins(allowed=())


def plan(**changes: Any) -> SweepPlan:
    return SweepPlan(
        **{"seeds": (0, 1), "flags": FLAGS, "sets": SETS, "grid": parse_grid([f"{LR}=1e-3,1e-4"]), **changes}
    )


@pytest.fixture
def make(tmp_path: Path, host: PluginHost) -> Callable[..., Sweep]:
    folder = tmp_path / "sweep"
    folder.mkdir()

    def new_sweep(asked: SweepPlan | None = None, **changes: Any) -> Sweep:
        return Sweep(folder, asked or plan(), host, **changes)

    return new_sweep


def states(view: SweepView) -> dict[str, str]:
    return {trial.name: trial.state for trial in view.trials}


NAMES = ["lr=0.001,seed=0", "lr=0.0001,seed=0", "lr=0.001,seed=1", "lr=0.0001,seed=1"]


def test_every_trial_is_an_ordinary_run(make: Callable[..., Sweep], tmp_path: Path, host: PluginHost) -> None:
    sweep, views = make(), list[SweepView]()
    engine = Here(sweep.folder)
    view = sweep.run(engine, watch=views.append)
    assert states(view) == dict.fromkeys(NAMES, "done")
    assert engine.started == NAMES, "a seed of every setting first"
    assert engine.most == 2
    assert engine.closed
    assert sweep.done_folders() == [sweep.folder / "trials" / name for name in NAMES]
    assert {(v.count("done"), v.count("running"), v.count("waiting")) for v in views} == {
        (0, 2, 2), (1, 2, 1), (2, 2, 0), (3, 1, 0), (4, 0, 0)
    }  # fmt: skip
    assert all(trial.progress.step == 80 and trial.progress.best is not None for trial in view.trials)
    assert read_settings(sweep.done_folders()[1])["agent"]["optimiser"]["lr"] == 1e-4
    # The same as the run by hand that its settings ask for.
    agent = {"learning_starts": 60, "optimiser": {"lr": 1e-4}}
    settings = {"evaluation": {"every": 40, "episodes": 1}, "agent": agent}
    train(obs="state", steps=80, seed=1, out=tmp_path / "hand", settings=settings, plain=True)
    assert episodes(tmp_path / "hand") == episodes(sweep.done_folders()[3])
    assert (tmp_path / "hand" / "config.toml").read_text() == (sweep.done_folders()[3] / "config.toml").read_text()


def episodes(folder: Path) -> list[Any]:
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    dropped = ("seconds", "steps_per_second", "evaluation_seconds", "checkpoint_seconds", "nbytes")
    return [{k: v for k, v in event.items() if k not in dropped} for event in events]


def test_what_was_stopped_goes_on_and_what_is_done_is_left_alone(make: Callable[..., Sweep]) -> None:
    sweep, asked = make(), list[int]()

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 2  # once the second trial was waited for

    view = sweep.run(Here(sweep.folder, interrupt=2), should_stop=should_stop)
    assert list(states(view).values()) == ["done", "interrupted", "interrupted", "waiting"]
    assert view.stopping
    before = (sweep.done_folders()[0] / "metrics.jsonl").stat().st_mtime_ns
    again = make()
    engine = Here(again.folder)
    view = again.run(engine)
    assert engine.started == NAMES[1:]
    assert states(view) == dict.fromkeys(NAMES, "done")
    assert (sweep.done_folders()[0] / "metrics.jsonl").stat().st_mtime_ns == before
    assert kept_states(again) == ["done"] * 4
    kept = (again.folder / "trials.json").read_text()
    (again.folder / "trials.json").write_text(kept.replace('"done"', '"running"'))  # a sweep that was killed
    third = Here(again.folder)
    assert states(make().run(third)) == dict.fromkeys(NAMES, "done")
    assert third.started == []


def kept_states(sweep: Sweep) -> list[str]:
    return [entry["state"] for entry in json.loads((sweep.folder / "trials.json").read_text())["trials"]]


def test_a_failed_trial_harms_no_other_and_is_tried_again_when_asked(make: Callable[..., Sweep]) -> None:
    view = make().run(Here(Path(), broken=(NAMES[1],)))
    assert list(states(view).values()) == ["done", "failed", "done", "done"]
    assert "Broken-v0" in view.trials[1].error
    again = make()
    engine = Here(again.folder)
    view = again.run(engine)
    assert engine.started == []
    assert "Broken-v0" in view.trials[1].error, "an earlier session's error is kept"
    engine = Here(again.folder)
    assert states(make(retry_failed=True).run(engine)) == dict.fromkeys(NAMES, "done")
    assert engine.started == [NAMES[1]]


def test_done_is_believed_of_the_folder_alone(make: Callable[..., Sweep]) -> None:
    sweep = make(plan(seeds=(0,), grid={}))
    view = sweep.run(Here(sweep.folder, interrupt=1, wrong="done"))
    assert view.trials[0].state == "failed"
    assert "its folder" in view.trials[0].error
    assert "says interrupted" in view.trials[0].error
    finished = make(plan(seeds=(0,), grid={}), retry_failed=True)
    finished.run(Here(finished.folder))
    shutil.rmtree(finished.done_folders()[0])
    engine = Here(finished.folder)
    make(plan(seeds=(0,), grid={})).run(engine)
    assert engine.started == ["seed=0"], "a run folder that is gone is made again"


def test_a_folder_that_a_process_still_holds_is_waited_for(make: Callable[..., Sweep]) -> None:
    asked = plan(seeds=(0,), grid={})
    sweep = make(asked)
    sweep.run(Here(sweep.folder, interrupt=1))
    with contextlib.ExitStack() as held:
        held.enter_context(folder_lock.hold(sweep.folder / "trials" / "seed=0"))
        slept = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                held.close()

        again = make(asked, sleep=sleep)
        assert states(again.run(Here(again.folder))) == {"seed=0": "done"}
    assert len(slept) == 3


def test_an_engine_that_raises_is_closed_and_the_sweep_goes_on_later(make: Callable[..., Sweep]) -> None:
    class Raises(Here):
        def wait(self, timeout: float) -> list[TrialEnd]:
            raise OSError("the cluster is gone")

    sweep = make()
    engine = Raises(sweep.folder)
    with pytest.raises(OSError, match="the cluster is gone"):
        sweep.run(engine)
    assert engine.closed
    assert kept_states(sweep) == ["interrupted", "interrupted", "waiting", "waiting"]
    again = make()
    assert states(again.run(Here(again.folder))) == dict.fromkeys(NAMES, "done")


def test_an_end_that_is_told_twice_is_refused(make: Callable[..., Sweep]) -> None:
    class TellsTwice(Here):
        def wait(self, timeout: float) -> list[TrialEnd]:
            return [TrialEnd(NAMES[0], "failed"), TrialEnd(NAMES[0], "failed")]

    sweep = make()
    with pytest.raises(RuntimeError, match="which does not run"):
        sweep.run(TellsTwice(sweep.folder))


def test_the_plan_repeats_the_sweep(tmp_path: Path, host: PluginHost) -> None:
    (tmp_path / "mine.toml").write_text("# mine\n[agent]\ngamma = 0.9\n")
    asked = plan(
        config=tmp_path / "mine.toml",
        preset="state",
        grid={},
        space={LR: Range(low=1e-4, high=1e-2, log=True)},
        draws=3,
        seed=5,
        jobs=2,
        engine_options={"stop_seconds": 5.0},
    )
    asked.write(tmp_path)
    read = SweepPlan.read(tmp_path)
    assert read == replace(asked, config=tmp_path / "base.toml")
    assert read.differences(asked) == []
    assert (tmp_path / "base.toml").read_text() == (tmp_path / "mine.toml").read_text()
    assert [s.values for s in read.settings()] == [s.values for s in asked.settings()]
    other = plan(seeds=(0,), jobs=1)
    assert any(text.startswith("seeds: [0, 1], now [0]") for text in asked.differences(other))
    (trial, _), _ = plan_trials(read, Setting({}, "x"), host, tmp_path)
    config = tomllib.loads(trial.run.config)
    assert (config["agent"]["gamma"], config["seed"]) == (0.9, 0)
    assert trial.run.folder == tmp_path / "trials" / "x,seed=0"


@pytest.mark.parametrize("obs", ["pixels", "state"])
def test_every_choice_of_a_default_can_be_taken_away(obs: str, tmp_path: Path, host: PluginHost) -> None:
    """The variants of `examples/` fit together, and differ from the default and from each other."""
    variants = parse_variants([str(Path(__file__).parents[2] / "examples" / f"ablation-{obs}.toml")])
    asked = plan(seeds=(0,), flags={"obs": obs, "steps": 200}, sets=(), grid={}, variants=variants)
    Sweep(tmp_path, asked, host)  # builds the agent of each
    asked.write(tmp_path)
    assert SweepPlan.read(tmp_path) == asked
    trials = [plan_trials(asked, variant, host, tmp_path)[0][0].run for variant in variants]
    assert [trial.name for trial in trials[:2]] == ["default,seed=0", f"{variants[1].label},seed=0"]
    assert len({trial.config for trial in trials}) == len(variants) > 6


def test_wrong_settings_get_a_sentence_and_nothing_is_begun(make: Callable[..., Sweep], tmp_path: Path) -> None:
    few = {"agent.n_step": Range(low=1, high=3, int=True)}
    for asked, words in (
        (plan(grid=parse_grid([f"{LR}=1e-3,-1"])), "setting lr=-1: agent.optimiser.lr"),
        (plan(grid=parse_grid(["agent.network.name=mlp,conv"])), "setting network=conv: network conv reads images"),
        (plan(grid={}, space=few, draws=4), "--random 4: the space holds no more than 3 different settings"),
        (plan(grid={}, space={LR: Range(low=-1, high=1)}, searches=3), "agent.optimiser.lr=-1"),
        (plan(config=tmp_path / "none.toml"), "^cannot read the configuration .*none.toml"),
    ):
        with pytest.raises(UserError, match=words):
            make(asked)
    assert list((tmp_path / "sweep").iterdir()) == []


def test_other_folders_are_refused(make: Callable[..., Sweep], tmp_path: Path, host: PluginHost) -> None:
    sweep = make()
    sweep.run(Here(sweep.folder), should_stop=lambda: True)
    with pytest.raises(UserError, match=r"other settings\. seeds: \[0, 1\], now \[7\]"):
        make(plan(seeds=(7,)))
    with pytest.raises(RunFolderError, match=r"holds no sweep\.toml"):
        SweepPlan.read(tmp_path)
    (tmp_path / "sweep" / "sweep.toml").write_text("seeds = 3\n")
    with pytest.raises(UserError, match=r"sweep\.toml is not what a sweep writes"):
        make()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match=r"no sweep is in it \(thesis\.tex\)"):
        Sweep(tmp_path / "mine", plan(), host)


def test_another_spelling_of_the_same_values_is_the_same_sweep(make: Callable[..., Sweep]) -> None:
    pairs = [f"{LR}=1e-3,1e-4", "agent.network={name='mlp', hidden=[8]},{name='mlp', hidden=[9]}"]
    sweep = make(plan(seeds=(0,), grid=parse_grid(pairs)))
    sweep.run(Here(sweep.folder))
    text = (sweep.folder / "sweep.toml").read_text()
    spelt = [f"{LR}=0.001, 0.00010", 'agent.network={ name="mlp", hidden=[8]},{name="mlp", hidden=[9]}']
    sets = tuple(f" {text.replace('=', ' = ')}" for text in SETS)
    again = make(plan(seeds=(0,), grid=parse_grid(spelt), sets=sets, jobs=3))
    engine = Here(again.folder)
    again.run(engine)
    assert engine.started == [], "its trials have the names of before"
    assert (sweep.folder / "sweep.toml").read_text() == text.replace('"local"\n', '"local"\njobs = 3\n')
    with pytest.raises(UserError, match=r"grid: .*0\.0001\], .*, now .*0\.0002\]\}"):
        make(plan(seeds=(0,), grid=parse_grid([f"{LR}=1e-3,2e-4"])))


def test_a_search_keeps_to_the_configuration_that_it_began_with(
    make: Callable[..., Sweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    file = tmp_path / "mine.toml"
    file.write_text("[agent]\ngamma = 0.9\n")
    sweep = make(plan(seeds=(0,), grid={}, space={LR: Range(low=1e-4, high=1e-2)}, searches=2, config=file))
    engine = Here(sweep.folder, slots=1)
    train_trial = engine.start

    def start(trial: Trial) -> None:
        file.write_text("[agent]\ngamma = 0.8\n")
        train_trial(trial)

    monkeypatch.setattr(engine, "start", start)
    assert sweep.run(engine).count("done") == 2
    assert {read_settings(folder)["agent"]["gamma"] for folder in sweep.done_folders()} == {0.9}


def test_a_search_is_told_what_was_reached_and_goes_on_as_if_never_stopped(
    make: Callable[..., Sweep], tmp_path: Path, host: PluginHost
) -> None:
    pytest.importorskip("optuna")
    asked = plan(grid={}, space={LR: Range(low=1e-4, high=1e-2, log=True)}, searches=3, seed=4)
    sweep = make(asked)
    view = sweep.run(Here(sweep.folder, slots=1))
    assert (view.total, view.count("done")) == (6, 6)
    assert [trial.name.partition(",")[0] for trial in view.trials] == ["0", "0", "1", "1", "2", "2"]
    whole = json.loads((sweep.folder / "trials.json").read_text())["settings"]
    assert len(whole) == 3
    assert all(run_state(folder).state == "done" for folder in sweep.done_folders())
    other = tmp_path / "other"
    other.mkdir()
    asked_to = iter([False, False, False, True])
    Sweep(other, asked, host).run(Here(other, slots=1), should_stop=lambda: next(asked_to, True))
    assert len(json.loads((other / "trials.json").read_text())["settings"]) == 2
    view = Sweep(other, asked, host).run(Here(other, slots=1))
    assert view.count("done") == 6
    assert json.loads((other / "trials.json").read_text())["settings"] == whole
