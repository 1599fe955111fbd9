"""One run: `train` configures it and trains, `load` opens its folder, and a `Run` is used."""

from __future__ import annotations

import contextlib
import functools
import signal
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from cartpole_dqn.api.calls import entry, given, make_console, require_one
from cartpole_dqn.config.layers import merge_tables
from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.calls import typed
from cartpole_dqn.contracts.events import Evaluation
from cartpole_dqn.contracts.options import to_table
from cartpole_dqn.contracts.parts import Obs, Policy
from cartpole_dqn.contracts.seeding import torch_put_back
from cartpole_dqn.envs.factory import EnvFactory
from cartpole_dqn.envs.ids import use_env
from cartpole_dqn.errors import Notice, UserError
from cartpole_dqn.observers.notebook import in_kernel
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.runs.catalogue import find_run, run_title, summarise_run
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.history import read_metrics
from cartpole_dqn.runs.metrics import columns, flat_row, read_events
from cartpole_dqn.runs.saved import Which
from cartpole_dqn.studies.export import Exported, export_run
from cartpole_dqn.system import stopping_on_signals
from cartpole_dqn.text.figures import score
from cartpole_dqn.training.models import SavedRun, evaluate_run, load_policy
from cartpole_dqn.training.resolve import named_settings, read_config
from cartpole_dqn.training.session import adjusted, execute, prepare, say_notes
from cartpole_dqn.views.chart import XAxis
from cartpole_dqn.views.colours import Theme
from cartpole_dqn.views.curves import draw_curves, draw_run
from cartpole_dqn.views.in_notebook import ShownFile, summary_html
from cartpole_dqn.views.record import Recording, record_run
from cartpole_dqn.views.report.gather import write_report
from cartpole_dqn.views.share import share_run
from cartpole_dqn.views.watch import watch_run

Part = Any
"""A name, "module:Class", a class, or a pair of one of these and a dictionary of options."""


@entry
def train(
    *,
    env: Any = None,
    obs: str | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    steps: int | None = None,
    episodes: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    num_envs: int | None = None,
    vector: str | None = None,
    step_timeout: float | None = None,
    save_replay: bool | None = None,
    until_solved: bool | None = None,
    init_from: str | Path | Run | None = None,
    init_last: bool = False,
    plain: bool = False,
    agent: Part = None,
    replay: Part = None,
    network: Part = None,
    target_update: Part = None,
    exploration: Part = None,
    optimiser: Part = None,
    collector: Part = None,
    wrappers: Sequence[Part] | Mapping[Any, Mapping[str, Any]] | None = None,
    observers: Sequence[Part] = (),
) -> Run:
    """Train an agent, and return the finished run.

    Select a part by its name, by "module:Class", or by the class itself. To set its options, give a pair:
    `network=(Net, {"hidden": 64})`.

    Args:
        env: a Gymnasium id, "module:Id", a function or a class that makes an environment, or an `EnvSpec`.
        obs: "pixels", or "state".
        preset: the name of a preset. By default `env` and `obs` select one.
        config: a TOML file whose settings override the preset.
        settings: further settings as tables, such as `{"agent": {"batch_size": 64}}`.
        steps: environment steps to train for.
        episodes: episodes to train for, instead of steps.
        seed: the seed of all randomness.
        out: the run's folder; by default a new one under `runs/`.
        device: "auto", "cpu" or "cuda".
        threads: torch's threads during the run. Afterwards torch has as many as before.
        num_envs: environments side by side.
        vector: "sync", or "async" to run each environment in its own process.
        step_timeout: with `vector="async"`, the seconds that a step may take; 0 for no limit.
        save_replay: whether to save the replay in checkpoints.
        until_solved: whether to stop when the run is solved.
        init_from: another run, whose best weights this one starts with.
        init_last: start with the last weights of that run instead.
        plain: print lines instead of a live display.
        agent: the part that acts and learns.
        replay: the agent's replay buffer.
        network: the agent's network.
        target_update: the agent's target update.
        exploration: the agent's exploration.
        optimiser: the agent's optimiser.
        collector: the part that steps the environments.
        wrappers: a list of all observation wrappers, in place of the preset's; or a dictionary of changes to the
            preset's: `{"resize": {"height": 60}, "stack": {"drop": True}, Dark: {"after": "resize"}}`.
        observers: observers to add: names, classes, instances, or functions that take one event (callbacks).

    Raises:
        UserError: a setting is invalid.
        RunError: the run failed.
    """
    arguments = given(locals(), init_from=init_from.path if isinstance(init_from, Run) else init_from)
    host = load_plugins()
    require_one(steps=steps, episodes=episodes)
    if init_last and init_from is None:
        raise UserError("init_last needs init_from.")
    named = {key: value for key, value in arguments.items() if key not in _NOT_SETTINGS}
    flags = merge_tables(dict(settings or {}), named_settings(host.registry, named))
    place, file = (None if path is None else Path(path) for path in (out, config))
    folder, resolved, initial = prepare(
        host, make_console(), place, preset=preset, config_file=file, flags=flags, observers=observers
    )
    _execute(folder, resolved, host, plain=plain, initial=initial)
    return Run(folder, resolved, host)


_NOT_SETTINGS = ("preset", "config", "settings", "out", "plain", "observers")
"""The arguments of `train` that are no settings by themselves."""


@typed
def load(
    path: str | Path,
    *,
    env: Any = None,
    agent: Part = None,
    replay: Part = None,
    network: Part = None,
    target_update: Part = None,
    exploration: Part = None,
    optimiser: Part = None,
    collector: Part = None,
    wrappers: Sequence[Any] = (),
    observers: Sequence[Any] = (),
) -> Run:
    """Open a saved run or a shared agent.

    Usually the path is enough. If the run used a class from a notebook, or from a file that is not in the current
    folder, pass that class again, as you passed it to `train`. Options are always those of the run.

    Args:
        path: the run's folder, the start of its name under `runs/`, "latest", or the zip of a shared agent.
        env: the function or class that makes the environment.
        agent: the agent's class, or the name that it has now.
        replay: the class or name of the replay buffer.
        network: the class or name of the network.
        target_update: the class or name of the target update.
        exploration: the class or name of the exploration.
        optimiser: the class or name of the optimiser.
        collector: the class or name of the collector.
        wrappers: classes of the run's own wrappers. This adds no wrapper.
        observers: classes of the run's own observers. This adds no observer.

    Raises:
        UserError: there is no such run, it needs something that is missing, or a shared agent is not safe to open.
    """
    arguments = given(locals())
    host = load_plugins()
    folder = find_run(path)
    for kind, targets in (("wrapper", wrappers), ("observer", observers)):
        for target in targets:
            host.registry.use(kind, target)
    parts = {key: value for key, value in arguments.items() if key not in ("path", "env", "wrappers", "observers")}
    flags = named_settings(host.registry, parts)
    config = read_config(folder, host, flags)
    if env is not None:
        use_env(env, config.env.id)
    return Run(folder, config, host)


@dataclass(frozen=True, repr=False)
class Run(SavedRun):
    """A saved run, from `train` or `load`: evaluate, watch, record, share or resume it."""

    def __repr__(self) -> str:
        """Return its folder, what it is, and how far it came."""
        run = summarise_run(self.path)
        best = "" if run.best is None else f", best {score(run.best)}"
        return f"<Run {self.path}: {run_title(to_table(self.config))}; {run.state}, {run.step:,} steps{best}>"

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @entry
    def evaluate(
        self, episodes: int = 100, *, seed: int = 0, which: Which = "best", device: str | None = None
    ) -> Evaluation:
        """Play greedy episodes on held-out seeds, and return the result.

        Args:
            episodes: how many.
            seed: another number gives other episodes, also on held-out seeds.
            which: "best" or "last": the model to use.
            device: "auto", "cpu" or "cuda"; None for the run's own.
        """
        run = replace(self, config=adjusted(self.config, device=device))
        return evaluate_run(run, episodes=episodes, seed=seed, which=which)

    @entry
    def make_env(self, *, training: bool = False) -> gymnasium.Env[Any, Any]:
        """Return a new environment with the run's wrappers. Give its observations to `act`.

        Args:
            training: use the time limit and the wrappers of training, not those of evaluation.
        """
        env = EnvFactory(self.config, self.host).make(evaluating=not training)
        if env.running:
            _, factory, _ = load_policy(self, "best")
            env.running.load_state_dict(factory.statistics.state_dict())
        return env.env

    @functools.cached_property
    def policy(self) -> Policy:
        """The best model's policy, which acts on batches of observations. Its actions count from 0."""
        with torch_put_back():
            return load_policy(self, "best")[0]

    def act(self, obs: Obs, mask: Sequence[bool] | None = None) -> int:
        """Return the best model's action.

        Args:
            obs: one observation, after the run's wrappers.
            mask: [A], True for allowed actions, as in `info["action_mask"]`; None if all are allowed.

        Raises:
            UserError: the observation or the mask has the wrong shape.
        """
        actions = self._spaces[1]
        allowed = None if mask is None else np.asarray(mask, dtype=np.bool_)[None]
        if allowed is not None and allowed.shape != (1, actions.n):
            raise UserError(f"mask: expected [{actions.n}], one for each action, got {list(allowed.shape[1:])}.")
        with torch_put_back(self.config.threads):
            return int(self.policy.act(self._batch(obs), allowed)[0] + actions.start)

    def q_values(self, obs: Obs) -> NDArray[np.float32] | None:
        """Return the best model's action values [A] of one observation, as for `act`; None if the agent has none."""
        with torch_put_back(self.config.threads):
            values = self.policy.q_values(self._batch(obs))
        return None if values is None else values[0]

    def begin_episode(self) -> None:
        """Call this before an episode's first `act` if the policy remembers earlier steps, as that of h-DQN does."""
        self.policy.reset(np.ones(1, dtype=np.bool_))

    @functools.cached_property
    def _spaces(self) -> tuple[spaces.Box, spaces.Discrete]:
        """The spaces of observations and actions."""
        env: Any = self.make_env()
        env.close()
        return env.observation_space, env.action_space

    def _batch(self, obs: Obs) -> Obs:
        """Return one observation as a batch, in the dtype of its space."""
        space, array = self._spaces[0], np.asarray(obs)
        if array.shape != space.shape:
            raise UserError(
                f"expected one observation {space.dtype} {list(space.shape)}, got {array.dtype} {list(array.shape)}: "
                f"`make_env()` gives the environment with this run's wrappers."
            )
        return array[None]

    @overload
    def metrics(self, event: str = "episode", *, arrays: Literal[False] = False) -> list[dict[str, Any]]: ...

    @overload
    def metrics(self, event: str = "episode", *, arrays: Literal[True]) -> dict[str, NDArray[Any]]: ...

    def metrics(self, event: str = "episode", *, arrays: bool = False) -> Any:
        """Return the run's metrics as rows or as arrays. `pandas.DataFrame` takes both.

        They come from `metrics.jsonl`. Figures of parts have names such as "metrics.loss" and "status.epsilon".

        Args:
            event: "episode", "evaluation", or another event in `metrics.jsonl`.
            arrays: return a dictionary of arrays instead of a list of dictionaries. Missing numbers are NaN.

        Raises:
            UserError: the run wrote no metrics, or every line is damaged. If only some are, there is a warning.
        """
        events, problem = read_events(self.path)
        _warn(problem)
        rows = [flat_row(row) for row in events if row.get("event") == event]
        return columns(rows) if arrays else rows

    @typed
    def plot(self, out: str | Path | None = None, *, theme: Theme = "light", x: XAxis = "steps") -> ShownFile:
        """Draw the learning curves and return the path of the picture. A notebook shows it as a picture.

        Args:
            out: the file; its ending sets the format. By default `curve.png` in the run's folder.
            theme: "light" or "dark".
            x: the x axis: environment steps, episodes, or training time.
        """
        target = ShownFile(self.folder.product("curve.png") if out is None else out)
        history = read_metrics(self.path)
        _warn(history.problem)
        draw_curves(history, target, title=run_title(to_table(self.config)), theme=theme, x=x)
        return target

    @entry
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
            seed: another number gives other episodes, as in `evaluate`.
            which: "best" or "last": the model to use; the last if there is no best one.
            side_by_side: show the agent's observations beside the environment's picture.
            fps: steps per second; by default real time, at most 50 in a GIF.
            max_steps: a limit for each episode; None for the environment's own.
            theme: "light" or "dark".
            attribution: colour what raises and lowers the value of the chosen action. For agents that observe pictures.
        """
        out = self.folder.product("record.gif") if out is None else Path(out)
        return record_run(self, **given(locals()))

    @entry
    def watch(
        self,
        *,
        episodes: int | None = None,
        seed: int = 0,
        which: Which = "best",
        side_by_side: bool = True,
        speed: float = 1.0,
        max_steps: int | None = None,
        theme: Theme = "light",
        attribution: bool = False,
    ) -> tuple[float, ...]:
        """Play greedy episodes in a window, and return the return of each.

        Args:
            episodes: how many; None plays until the window is closed.
            seed: another number gives other episodes, as in `evaluate`.
            which: "best" or "last": the model to use.
            side_by_side: show the agent's observations beside the environment's picture.
            speed: 1 is real time.
            max_steps: a limit for each episode; None for the environment's own.
            theme: "light" or "dark".
            attribution: colour what raises and lowers the value of the chosen action. For agents that observe pictures.

        Raises:
            UserError: no window can be opened, or the environment renders no pictures.
        """
        return watch_run(self, **given(locals()))

    @entry
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
            episodes: greedy episodes to play on held-out seeds, 0 for none.
            seed: another number gives other episodes, as in `evaluate`.
            which: "best" or "last": the model to use; the last if there is no best one.
            animation: include an animation of the model.
        """
        out = ShownFile(self.folder.product("report.html") if out is None else out)
        write_report(self.folder, self, now=time.time(), **given(locals()))
        return out

    @entry
    def share(self, out: str | Path, *, episodes: int = 100, seed: int = 0, recorded_steps: int = 250) -> Path:
        """Write the best model as a shared agent, a folder and a zip beside it, and return the folder.

        Args:
            out: the folder, new or empty.
            episodes: greedy episodes to play on held-out seeds, for the score.
            seed: another number gives other episodes, as in `evaluate`.
            recorded_steps: steps of the recording, 0 for none.
        """
        return share_run(self, **given(locals(), out=Path(out))).folder.path

    @entry
    def export(
        self,
        out: str | Path | None = None,
        *,
        form: Literal["onnx", "torch"] | None = None,
        episodes: int = 100,
        seed: int = 0,
        which: Which = "best",
    ) -> Exported:
        """Export the model and its observation wrappers as one file, and check that it acts as the agent does.

        Args:
            out: a file ending in .onnx or .pt2; by default `policy.onnx` or `policy.pt2` in the run's folder.
            form: "onnx" (with the extra `export`), or "torch" for a `torch.export` program; by default that of the
                file's ending, or "onnx".
            episodes: greedy episodes to compare.
            seed: another number gives other episodes, as in `evaluate`.
            which: "best" or "last": the model to use; the last if there is no best one.
        """
        return export_run(self, **given(locals(), out=None if out is None else Path(out)))

    def _repr_html_(self) -> str:
        """Return a summary for notebooks: title, progress and best score."""
        return summary_html(summarise_run(self.path), run_title(to_table(self.config)))

    @entry
    def resume(self, steps: int | None = None, *, device: str | None = None, plain: bool = False) -> Run:
        """Continue training from the last checkpoint, and return the run.

        Args:
            steps: the new total of environment steps; None keeps the run's budget.
            device: "auto", "cpu" or "cuda"; None for the run's own.
            plain: print lines instead of a live display.
        """
        config = adjusted(self.config, steps=steps, device=device)
        say_notes(make_console(), self.host, [])
        _execute(self.folder, config, self.host, plain=plain, resuming=True)
        return Run(self.folder, read_config(self.folder, self.host), self.host)


# Helpers --------------------------------------------------------------------------------------------------------------


def _warn(problem: str | None) -> None:
    if problem:
        warnings.warn(problem, Notice, stacklevel=3)


def _execute(folder: RunFolder, config: RunConfig, host: PluginHost, **options: Any) -> None:
    execute(folder, config, host, console=make_console(), handle=_ending_on_interrupt, draw=draw_run, **options)


def _ending_on_interrupt(ask: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    """Stop cleanly when a notebook's kernel is interrupted. Elsewhere Ctrl-C raises `KeyboardInterrupt`."""
    return stopping_on_signals(ask, [signal.SIGINT]) if in_kernel() else contextlib.nullcontext()
