"""Use runs from scripts and notebooks.

* `train`: configures a run and trains. `load`: opens a run folder.
* `Run`: evaluates the model, acts with it, draws curves, records, reports, shares and resumes.

In a notebook the display is below the cell, and interrupting the kernel stops the run cleanly.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
from rich.console import Console

from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.options import to_table
from cartpole_dqn.contracts.parts import Obs, Policy
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.observers.notebook import in_kernel
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.runs.catalogue import find_run, run_title, summarise_run
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.saved import Which
from cartpole_dqn.studies.export import Exported, export_run
from cartpole_dqn.system import Steady, stopping_on_signals
from cartpole_dqn.training.assembly import solved_at
from cartpole_dqn.training.initial_weights import find_initial_weights
from cartpole_dqn.training.models import evaluate_run, load_policy
from cartpole_dqn.training.resolve import read_config, resolve_config
from cartpole_dqn.training.session import execute, extended, say_notes
from cartpole_dqn.views.curves import Theme, XAxis, draw_curves, draw_run, read_metrics
from cartpole_dqn.views.in_notebook import ShownFile, summary_html
from cartpole_dqn.views.record import Recording, record_run
from cartpole_dqn.views.report.gather import write_report
from cartpole_dqn.views.share import share_run


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
    """Train and return the finished run.

    Args:
        env: a Gymnasium id.
        obs: "pixels", or "state".
        preset: the name of a preset. By default `env` and `obs` select one.
        config: a TOML file whose settings override the preset.
        steps: environment steps to train for.
        episodes: episodes to train for, instead of steps.
        seed: the seed of all randomness.
        out: the run's folder; by default a new one under `runs/`.
        device: "auto", "cpu" or "cuda".
        settings: further settings as tables, such as `{"agent": {"batch_size": 64}}`.
        observers: names of observers to add.
        plain: print lines instead of a live display.

    Raises:
        UserError: a setting is invalid.
        RunError: the run failed.
    """
    host = load_plugins()
    flags = {**(settings or {}), "obs": obs, "steps": steps, "episodes": episodes, "seed": seed, "device": device}
    flags = {key: value for key, value in flags.items() if value is not None}
    if env is not None:
        flags["env"] = {**flags.get("env", {}), "id": env}
    resolved, notes = resolve_config(
        host, preset=preset, config_file=None if config is None else Path(config), flags=flags, observers=observers
    )
    resolved, initial = find_initial_weights(resolved, host, beside=None if config is None else Path(config).parent)
    say_notes(_console(), host, notes)
    folder = RunFolder.create(None if out is None else Path(out), env_id=resolved.env.id, obs=resolved.obs)
    _execute(folder, resolved, host, plain=plain, initial=initial)
    return Run(folder, resolved, host)


def load(path: str | Path) -> Run:
    """Open a run by its folder, the start of its name under `runs/`, or "latest"; or the zip of a shared agent.

    Raises:
        UserError: there is no such run, or a shared agent is not safe to open.
    """
    host = load_plugins()
    folder = find_run(path)
    return Run(folder, read_config(folder, host), host)


@dataclass
class Run:
    """A saved run."""

    folder: RunFolder
    config: RunConfig
    host: PluginHost

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    def evaluate(self, episodes: int = 100, *, seed: int = 0, which: Which = "best") -> Evaluation:
        """Play greedy episodes on held-out report seeds, with the best model or the last."""
        return evaluate_run(self.folder, self.config, self.host, episodes=episodes, seed=seed, which=which)

    def act(self, obs: Obs, mask: Sequence[bool] | None = None) -> int:
        """Return the best model's action.

        Args:
            obs: one observation, after the run's wrappers.
            mask: [A], True for allowed actions, as in `info["action_mask"]`; None if all are allowed.
        """
        allowed = None if mask is None else np.asarray(mask, dtype=np.bool_)[None]
        return int(self._loaded[0].act(np.asarray(obs)[None], allowed)[0]) + self._first_action

    def begin_episode(self) -> None:
        """Call this before the first `act` of an episode if the policy has state within episodes, as h-DQN has."""
        self._loaded[0].reset(np.ones(1, dtype=np.bool_))

    @functools.cached_property
    def _first_action(self) -> int:
        """The number of the environment's first action."""
        env = self._loaded[1].make(evaluating=True)
        env.close()
        return env.first_action

    @functools.cached_property
    def _loaded(self) -> tuple[Policy, EnvFactory, int]:
        return load_policy(self.folder, self.config, self.host, "best")

    def plot(self, out: str | Path | None = None, *, theme: Theme = "light", x: XAxis = "steps") -> ShownFile:
        """Draw the learning curves and return the path of the picture. A notebook shows it as a picture.

        Args:
            out: the file; its ending sets the format. By default `curve.png` in the run's folder.
            theme: "light" or "dark".
            x: the x axis: environment steps, episodes, or training time.
        """
        target = ShownFile(self.folder.product("curve.png") if out is None else out)
        how: dict[str, Any] = {"theme": theme, "x": x, "threshold": solved_at(self.config)}
        draw_curves(read_metrics(self.path), target, title=run_title(to_table(self.config)), **how)
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
        theme: Theme = "light",
        attribution: bool = False,
    ) -> Recording:
        """Record greedy episodes as a GIF or an MP4. A notebook shows the result as an animation.

        Args:
            out: a file ending in .gif or .mp4; by default `record.gif` in the run's folder.
            episodes: how many.
            seed: selects the held-out report seeds, as in `evaluate`.
            which: the best model or the last; the last if there is no best one.
            side_by_side: show the agent's observations beside the environment's picture.
            fps: steps per second; by default real time, at most 50 in a GIF.
            max_steps: a limit for each episode; None for the environment's own.
            theme: "light" or "dark".
            attribution: show where the value of each chosen action comes from.
        """
        return record_run(
            self.folder,
            self.config,
            self.host,
            self.folder.product("record.gif") if out is None else Path(out),
            episodes=episodes,
            seed=seed,
            which=which,
            side_by_side=side_by_side,
            fps=fps,
            max_steps=max_steps,
            theme=theme,
            attribution=attribution,
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
        """Write the report, a single HTML page, and return its path.

        Args:
            out: a file ending in .html; by default `report.html` in the run's folder.
            episodes: greedy episodes to play on held-out report seeds, 0 for none.
            seed: selects the report seeds.
            which: the best model or the last; the last if there is no best one.
            animation: include an animation of the model.
        """
        target = ShownFile(self.folder.product("report.html") if out is None else out)
        options: dict[str, Any] = {"episodes": episodes, "seed": seed, "last": which == "last", "animation": animation}
        write_report(self.folder, self.config, self.host, target, now=time.time(), **options)
        return target

    def share(self, out: str | Path, *, episodes: int = 100, seed: int = 0, recorded_steps: int = 250) -> Path:
        """Write the best model as a shared agent, a folder and a zip beside it, and return the folder.

        Args:
            out: the folder, new or empty.
            episodes: greedy episodes to play on held-out report seeds, for the score.
            seed: selects the report seeds.
            recorded_steps: steps of the recording, 0 for none.
        """
        options: dict[str, Any] = {"episodes": episodes, "seed": seed, "recorded_steps": recorded_steps}
        return share_run(self.folder, self.config, self.host, Path(out), **options).folder.path

    def export(
        self,
        out: str | Path | None = None,
        *,
        form: str = "onnx",
        episodes: int = 100,
        seed: int = 0,
        which: Which = "best",
    ) -> Exported:
        """Export the model with its observation wrappers as one file, after checking that it acts as the agent does.

        Args:
            out: the file; by default `policy.onnx` or `policy.pt2` in the run's folder.
            form: "onnx" (with the extra `export`), or "torch" for a `torch.export` program.
            episodes: greedy episodes to compare.
            seed: selects the held-out report seeds, as in `evaluate`.
            which: the best model or the last; the last if there is no best one.
        """
        target = None if out is None else Path(out)
        how: dict[str, Any] = {"form": form, "episodes": episodes, "seed": seed, "which": which}
        return export_run(self.folder, self.config, self.host, target, **how)

    def _repr_html_(self) -> str:
        """Return a summary for notebooks: title, progress and best score."""
        return summary_html(summarise_run(self.path), run_title(to_table(self.config)))

    def resume(self, steps: int | None = None, *, plain: bool = False) -> Run:
        """Resume from the last checkpoint. `steps` is a new total."""
        config = extended(self.config, steps)
        _execute(self.folder, config, self.host, plain=plain, resuming=True)
        return Run(self.folder, read_config(self.folder, self.host), self.host)


def _console() -> Console:
    return Console(file=cast(TextIO, Steady(sys.stderr)))


def _execute(folder: RunFolder, config: RunConfig, host: PluginHost, **how: Any) -> None:
    execute(folder, config, host, console=_console(), handle=_ending_on_interrupt, draw=draw_run, **how)


def _ending_on_interrupt(ask: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Stop cleanly when a notebook's kernel is interrupted. Elsewhere Ctrl-C raises `KeyboardInterrupt`."""
    return stopping_on_signals(ask, [signal.SIGINT]) if in_kernel() else contextlib.nullcontext()
