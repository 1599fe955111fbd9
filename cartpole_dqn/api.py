"""What scripts and notebooks use.

* `train`: configure and run, returning a `Run`.
* `load`: a run folder -> a `Run`.
* `Run`: evaluate it, act with it, show it (curves, animation, report), go on training.

In a notebook a run is shown below its cell, and interrupting the kernel ends it in order.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from cartpole_dqn.config.schema import RunConfig, Table
from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.options import to_table
from cartpole_dqn.contracts.parts import Obs, Policy
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.observers.notebook import in_kernel
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.runs.catalogue import find_run, run_title, summarise_run
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import Which
from cartpole_dqn.system import stopping_on_signals
from cartpole_dqn.training.initial_weights import find_initial_weights
from cartpole_dqn.training.models import evaluate_run, load_policy
from cartpole_dqn.training.resolve import read_config, resolve_config
from cartpole_dqn.training.session import execute, extended, say_notes
from cartpole_dqn.views.curves import Style, XAxis, draw_curves, draw_run, read_metrics
from cartpole_dqn.views.in_notebook import ShownFile, summary_html
from cartpole_dqn.views.record import Recording, record_run
from cartpole_dqn.views.report.gather import write_report


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
        obs: "pixels", or "state".
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
    resolved, notes = resolve_config(
        host, preset=preset, config_file=None if config is None else Path(config), flags=flags, observers=observers
    )
    resolved, initial = find_initial_weights(resolved, host, beside=None if config is None else Path(config).parent)
    say_notes(Console(stderr=True), host, notes)
    folder = RunFolder.create(None if out is None else Path(out), env_id=resolved.env.id, obs=resolved.obs)
    _execute(folder, resolved, host, plain=plain, initial=initial)
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
        draw_curves(read_metrics(self.path), target, title=run_title(to_table(self.config)), style=style, x=x)
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
        return summary_html(summarise_run(self.path), run_title(to_table(self.config)))

    def resume(self, steps: int | None = None, *, plain: bool = False) -> Run:
        """Go on from the last checkpoint, to `steps` in all where given."""
        config = extended(self.config, steps)
        _execute(self.folder, config, self.host, plain=plain, resuming=True)
        return Run(self.folder, config, self.host)


def _execute(folder: RunFolder, config: RunConfig, host: PluginHost, **how: Any) -> None:
    execute(folder, config, host, console=Console(stderr=True), handle=_ending_on_interrupt, draw=draw_run, **how)


def _ending_on_interrupt(ask: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Interrupting a notebook's kernel ends the run in order; elsewhere Ctrl-C is what it always is."""
    return stopping_on_signals(ask, [signal.SIGINT]) if in_kernel() else contextlib.nullcontext()


def _without_none(table: Table) -> Table:
    return {key: value for key, value in table.items() if value is not None}
