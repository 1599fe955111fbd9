"""What commands and notebooks share.

* `train`: configure and run, returning a `Run`.
* `load`: a run folder -> a `Run`.
* `Run`: evaluate it, act with it, show it (curves, animation, report), go on training.
* `execute`: the steps common to starting and resuming, used by the command line.

In a notebook a run is shown below its cell, and interrupting the kernel ends it in order.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from cartpole_dqn.config.schema import RunConfig, Table, complete, parse_toml, to_toml
from cartpole_dqn.contracts.events import Evaluation, ObserverContext, RunEnded
from cartpole_dqn.contracts.options import changed, to_table
from cartpole_dqn.contracts.parts import Obs, Policy
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.errors import CartpoleDqnError, RunFolderError, UserError
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.runs.catalogue import find_run, summarise_run
from cartpole_dqn.runs.catalogue import run_title as title_of
from cartpole_dqn.runs.checkpoint import has_state, taking_over
from cartpole_dqn.runs.folder import RunFolder, describe_environment
from cartpole_dqn.runs.saved import InitialWeights, Origin, Which, read_checkpoint
from cartpole_dqn.training import assembly
from cartpole_dqn.training.initial_weights import find_initial_weights
from cartpole_dqn.training.models import evaluate_run, load_policy
from cartpole_dqn.training.runner import Runner
from cartpole_dqn.views.curves import Style, XAxis, draw_curves, read_metrics
from cartpole_dqn.views.in_notebook import ShownFile, ending_on_interrupt, summary_html, with_notebook_display
from cartpole_dqn.views.record import Recording, record_run
from cartpole_dqn.views.report.gather import write_report

Handle = Callable[[Runner], contextlib.AbstractContextManager[None]]
"""Wraps the run, given its runner: the command line turns signals into stop requests with it."""


def train(
    *,
    env: str | None = None,
    obs: str | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    steps: int | None = None,
    episodes: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    settings: Mapping[str, Any] | None = None,
    observers: Sequence[str] = (),
    plain: bool = False,
) -> Run:
    """Train, and return the finished run.

    Args:
        env: a Gymnasium id.
        obs: "pixels", or "native" (also "state").
        preset: a preset's name; without it `env` and `obs` choose one.
        config: a TOML file to lay over the preset.
        steps: environment steps of the whole run; replaces a budget in episodes.
        episodes: episodes of the whole run; replaces a budget in steps.
        seed: where every random choice comes from.
        out: the run's folder; by default a new one under `runs/`.
        device: "auto", "cpu" or "cuda".
        settings: further settings as tables, such as `{"agent": {"batch_size": 64}}`.
        observers: names of observers to add.
        plain: print lines instead of the live display, also in a notebook.

    Raises:
        UserError: something of this does not hold together.
        RunError: the run failed.
    """
    host = load_plugins()
    flags = _without_none(
        {**dict(settings or {}), "obs": obs, "steps": steps, "episodes": episodes, "seed": seed, "device": device}
    )
    if env is not None:
        flags["env"] = {**flags.get("env", {}), "id": env}
    console = Console(stderr=True)
    resolved, notes = assembly.resolve_config(
        host, preset=preset, config_file=None if config is None else Path(config), flags=flags, observers=observers
    )
    resolved, initial = find_initial_weights(resolved, host, beside=None if config is None else Path(config).parent)
    say_notes(console, host, notes)
    folder = RunFolder.create(None if out is None else Path(out), env_id=resolved.env.id, obs=resolved.obs)
    execute(folder, resolved, host, console=console, plain=plain, initial=initial, handle=ending_on_interrupt)
    return Run(folder, resolved, host)


def load(path: str | Path) -> Run:
    """Open a run: its folder, the beginning of its name under `runs/`, or "latest". Raises `UserError` for none."""
    host = load_plugins()
    folder = find_run(path)
    return Run(folder, read_config(folder, host), host)


@dataclass
class Run:
    """A run that was kept."""

    folder: RunFolder
    config: RunConfig
    host: PluginHost

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    def evaluate(self, episodes: int = 100, *, seed: int = 0, which: Which = "best") -> Evaluation:
        """Play greedily on report seeds, with the best model or the last."""
        return evaluate_run(self.folder, self.config, self.host, episodes=episodes, seed=seed, which=which)

    def act(self, obs: Obs, mask: Sequence[bool] | None = None) -> int:
        """Return the best model's action for one observation, as the run's wrappers give it.

        Args:
            obs: one observation.
            mask: [A], True where an action is allowed, as `info["action_mask"]` says; None where all are.
        """
        allowed = None if mask is None else np.asarray(mask, dtype=np.bool_)[None]
        return int(self._policy.act(np.asarray(obs)[None], allowed)[0]) + self._first_action

    def begin_episode(self) -> None:
        """Hear that `act` is to begin an episode: a policy with goals of its own, such as h-DQN's, sets new ones."""
        self._policy.reset(np.ones(1, dtype=np.bool_))

    @property
    def _policy(self) -> Policy:
        return self._loaded[0]

    @functools.cached_property
    def _first_action(self) -> int:
        """The number of the environment's first action."""
        env = self._loaded[1].make(evaluating=True)
        env.close()
        return env.first_action

    @functools.cached_property
    def _loaded(self) -> tuple[Policy, EnvFactory, int]:
        return load_policy(self.folder, self.config, self.host, "best")

    def plot(self, out: str | Path | None = None, *, style: Style = "light", x: XAxis = "steps") -> ShownFile:
        """Draw the run's curves and return the picture's path, which a notebook shows as the picture.

        Args:
            out: its name, which says the format; by default the run's own `curve.png`.
            style: for a light page, or a dark one.
            x: what the curves run over: environment steps, episodes, or training time.
        """
        target = ShownFile(self.folder.curve if out is None else out)
        draw_curves(read_metrics(self.path), target, title=run_title(self.config), style=style, x=x)
        return target

    def record(
        self,
        out: str | Path | None = None,
        *,
        episodes: int = 1,
        seed: int = 0,
        which: Which = "best",
        side_by_side: bool = True,
        fps: float | None = None,
        max_steps: int | None = None,
    ) -> Recording:
        """Record the model at play, as a GIF or an MP4; a notebook shows what is returned as the animation.

        Args:
            out: a name ending in .gif or .mp4; by default the run's own `record.gif`.
            episodes: how many, one after the other.
            seed: which report seeds; the same as for `evaluate`.
            which: the best model, or the last; the last too where no best one was kept.
            side_by_side: whether what the agent sees stands beside the environment's picture.
            fps: steps shown in a second; by default real time, in a GIF at most 50.
            max_steps: where each episode is cut off; None for the environment's own limit.
        """
        return record_run(
            self.folder,
            self.config,
            self.host,
            self.path / "record.gif" if out is None else Path(out),
            episodes=episodes,
            seed=seed,
            which=which,
            side_by_side=side_by_side,
            fps=fps,
            max_steps=max_steps,
        )

    def report(
        self,
        out: str | Path | None = None,
        *,
        episodes: int = 100,
        seed: int = 0,
        which: Which = "best",
        animation: bool = True,
    ) -> ShownFile:
        """Write the run's report, one HTML page with everything in it, and return its path.

        Args:
            out: a name ending in .html; by default the run's own `report.html`.
            episodes: greedy episodes to play for it on report seeds, 0 for none.
            seed: which report seeds.
            which: the best model, or the last; the last too where no best one was kept.
            animation: whether the model is shown at play.
        """
        target = ShownFile(self.path / "report.html" if out is None else out)
        options: dict[str, Any] = {"episodes": episodes, "seed": seed, "last": which == "last", "animation": animation}
        write_report(self.folder, self.config, self.host, target, now=time.time(), **options)
        return target

    def _repr_html_(self) -> str:
        """Return what a notebook shows of a run: what it is, how far it came, how good it became."""
        return summary_html(summarise_run(self.path), run_title(self.config))

    def resume(self, steps: int | None = None, *, plain: bool = False) -> Run:
        """Go on from the last checkpoint, to `steps` in all where given."""
        config = extended(self.config, steps)
        console = Console(stderr=True)
        execute(self.folder, config, self.host, console=console, plain=plain, resuming=True, handle=ending_on_interrupt)
        return Run(self.folder, config, self.host)


def read_config(folder: RunFolder, host: PluginHost) -> RunConfig:
    """Return a run folder's configuration. Raises `UserError` where it cannot be read or used."""
    try:
        text = folder.config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(f"cannot read {folder.config}: {error}.") from None
    table: Table = parse_toml(text, str(folder.config))
    host.expect(folder.plugins())  # a component that is missing here then names the distribution that brought it
    return complete(table, functools.partial(assembly.options_of_component, host.registry))


def extended(config: RunConfig, steps: int | None) -> RunConfig:
    """Return the configuration with a new total of steps, where one is given."""
    if steps is None:
        return config
    return changed(config, steps=steps, episodes=None)


def run_title(config: RunConfig) -> str:
    """Return what stands above a run's pictures."""
    return title_of(to_table(config))


def say_notes(console: Console, host: PluginHost, notes: Sequence[str]) -> None:
    """Print what the user should know before a run: broken plugins and options that were dropped."""
    for text in [*host.warnings(), *notes]:
        console.print(text, style="yellow", markup=False, highlight=False)


@contextlib.contextmanager
def _unhandled(runner: Runner) -> Iterator[None]:
    yield


def execute(
    folder: RunFolder,
    config: RunConfig,
    host: PluginHost,
    *,
    console: Console,
    plain: bool = False,
    resuming: bool = False,
    initial: InitialWeights | None = None,
    handle: Handle = _unhandled,
) -> RunEnded:
    """Run to the end in `folder`, and leave its curve and state there.

    A new run starts from the weights `initial`, which `find_initial_weights` gave with its configuration.

    Raises:
        UserError: the configuration and the environment, or the checkpoint, do not fit.
        RunError: the run failed; the message says where its folder is.
    """
    with folder.lock():
        try:
            context = ObserverContext(folder=str(folder.path), console=console, clock=time.perf_counter, plain=plain)
            watched, shown = with_notebook_display(config, host, context)
            made = assembly.assemble(
                watched,
                host,
                folder=folder,
                console=console,
                clock=context.clock,
                plain=plain,
                extra_observers=shown,
            )
            if resuming:
                _restore(made, folder, console)
            elif initial is not None:
                initial.give(made.agent)
                initial.keep(folder)
            elif config.init.run:
                raise UserError("init.run is set, and nobody looked up the weights: call find_initial_weights first.")
        except CartpoleDqnError:
            if not resuming:
                folder.discard_if_empty()
            raise
        folder.write_config(to_toml(config))
        description = describe_environment(
            plugins=host.describe(), threads=config.threads, device=str(assembly.choose_device(config.device))
        )
        if resuming and (changes := folder.differences(description)):
            text = f"since this run began: {', '.join(changes)}. From here on its course may be another."
            console.print(text, style="yellow", markup=False, highlight=False)
        folder.write_environment(description)
        folder.write_status("running", made.runner.step)
        try:
            with handle(made.runner):
                ended = made.runner.run()
        except BaseException as error:
            asked = isinstance(error, KeyboardInterrupt)
            folder.write_status("interrupted" if asked else "failed", made.runner.step)
            if isinstance(error, CartpoleDqnError):
                owner = host.owner_of_failure(error)
                blame = "" if owner is None else f" It was raised in code of the plugin {owner}."
                raise type(error)(f"{error}{blame}\nThe run's folder: {folder.path}") from error.__cause__
            raise
        finally:
            made.close()
            _draw(folder, config, console)
        folder.write_status("done" if ended.reason in ("done", "solved") else "interrupted", made.runner.step)
        return ended


def _restore(made: assembly.Assembly, folder: RunFolder, console: Console) -> None:
    if not has_state(folder.checkpoint):
        console.print("no checkpoint was written yet: starting from the beginning.", style="yellow")
        if made.config.init.run:
            InitialWeights.kept(folder).give(made.agent)
        folder.clear_metrics()
        return
    run, replay = read_checkpoint(folder, Origin(made.config.env.id, made.config.obs))
    if replay is None:
        console.print("the replay was not saved: it fills anew, and the run's course differs.", style="yellow")
    with taking_over(folder.checkpoint):
        lost = made.runner.load_state_dict(run, replay)
    if lost:
        console.print(made.collector.why_lost, style="yellow", markup=False)


def _draw(folder: RunFolder, config: RunConfig, console: Console) -> None:
    """Draw `curve.png`; a picture that fails must not turn a finished run into a failed one."""
    if not folder.metrics_jsonl.exists():
        return
    try:
        draw_curves(read_metrics(folder.path), folder.curve, title=run_title(config))
    except (OSError, ValueError, UserError) as error:
        console.print(f"curve.png could not be drawn: {error}", style="yellow", markup=False)


def _without_none(table: Table) -> Table:
    return {key: value for key, value in table.items() if value is not None}
