"""Many runs: `sweep` trains settings times seeds, `compare` compares runs. Both return a `Study`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cartpole_dqn.api.calls import entry, make_console, require_one
from cartpole_dqn.api.runs import Run
from cartpole_dqn.config.layers import merge_tables
from cartpole_dqn.contracts.calls import typed
from cartpole_dqn.errors import RunError, UserError
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.runs.metrics import flat_row
from cartpole_dqn.studies.comparison import Comparison, Estimate, Played
from cartpole_dqn.studies.comparison import compare as compare_groups
from cartpole_dqn.studies.grouping import group_records, read_records
from cartpole_dqn.studies.playing import play_models
from cartpole_dqn.studies.sweep_plan import SweepPlan
from cartpole_dqn.studies.sweep_space import Setting, as_toml, read_space, read_space_table, texts_of
from cartpole_dqn.training.resolve import DEFAULT_ENV, named_settings, read_config
from cartpole_dqn.views.comparison_tables import comparison_text
from cartpole_dqn.views.sweep import run_sweep, sweep_folder


@entry
def sweep(
    *,
    env: str | None = None,
    obs: str | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    steps: int | None = None,
    episodes: int | None = None,
    device: str | None = None,
    seeds: int | Sequence[int] = 5,
    grid: Mapping[str, Sequence[Any]] | None = None,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    space: Mapping[str, Any] | str | Path | None = None,
    random: int | None = None,
    search: int | None = None,
    sweep_seed: int = 0,
    out: str | Path | None = None,
    retry_failed: bool = False,
    jobs: int | None = None,
    engine: str = "local",
    engine_options: Mapping[str, Any] | None = None,
    plain: bool = False,
) -> Study:
    """Train every setting with every seed, several runs at once, and compare them, as `cartpole-dqn sweep` does.

    The runs train in processes of their own. These import your classes by "module:Class", so they must be in a file.

    Args:
        env: a Gymnasium id, or "module:Id", or "module:Class".
        obs: "pixels", or "state".
        preset: the name of a preset. By default `env` and `obs` select one.
        config: a TOML file whose settings override the preset.
        settings: further settings as tables, such as `{"agent": {"batch_size": 64}}`.
        steps: environment steps to train each run for.
        episodes: episodes to train each run for, instead of steps.
        device: "auto", "cpu" or "cuda".
        seeds: how many, from 0 on; or the seeds themselves.
        grid: values by dotted key; all combinations are tried: `{"agent.optimiser.lr": [1e-3, 5e-4]}`.
        variants: instead of a grid, settings by name: `{"default": {}, "no-double": {"agent.double": False}}`.
        space: ranges and choices by dotted key, for `random` and `search`, as a table or a TOML file:
            `{"agent.optimiser.lr": {"low": 1e-4, "high": 1e-2, "log": True}}`.
        random: how many settings to draw from `space`.
        search: how many settings of `space` to try, guided by the scores so far (with the extra `optuna`).
        sweep_seed: the seed of `random` and `search`.
        out: the sweep's folder; by default a new one under `sweeps/`. If it holds a sweep, that is resumed.
        retry_failed: run failed trials again.
        jobs: how many runs at once; by default one per core.
        engine: the sweep engine, which runs the trials.
        engine_options: its options.
        plain: print lines instead of a live table.

    Raises:
        UserError: a setting is invalid. Nothing has started.
        RunError: trials did not finish, or all have failed. The message says how to resume.
        KeyboardInterrupt: you interrupted the sweep, and every run has saved a checkpoint.
    """
    host = load_plugins()
    require_one(steps=steps, episodes=episodes)
    require_one(grid=grid, variants=variants, random=random, search=search)
    if (random is None and search is None) != (space is None):
        raise UserError("random and search need space, and only they use it.")
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    for name, number in {"seeds": len(seeds), "random": random, "search": search, "jobs": jobs}.items():
        if number is not None and number < 1:
            raise UserError(f"{name}: expected 1 or more, got {number}.")
    if min(seeds) < 0:
        raise UserError(f"seeds: expected 0 or more, got {min(seeds)}.")
    if "seed" in (settings or {}):
        raise UserError("settings: a sweep takes its seeds from `seeds`.")
    named = {"env": env, "obs": obs, "steps": steps, "episodes": episodes, "device": device}
    plan = SweepPlan(
        seeds=tuple(map(int, seeds)),
        preset=preset,
        config=None if config is None else Path(config),
        flags=merge_tables(dict(settings or {}), named_settings(host.registry, named)),
        grid={str(key): [*map(as_toml, values)] for key, values in (grid or {}).items()},
        variants=tuple(Setting(texts_of(table), str(name)) for name, table in (variants or {}).items()),
        space=read_space(Path(space)) if isinstance(space, str | Path) else read_space_table("space", space or {}),
        draws=random or 0,
        searches=search or 0,
        seed=sweep_seed,
        engine=engine,
        engine_options=dict(engine_options or {}),
        jobs=jobs,
    )
    folder = sweep_folder(None if out is None else Path(out), env_id=env or preset or DEFAULT_ENV, obs=obs)
    swept = run_sweep(folder, plan, host, console=make_console(), retry_failed=retry_failed, plain=plain)
    if swept.left and swept.stopped:
        raise KeyboardInterrupt(f"{swept.left} of {swept.total} trials are left; resume with: {swept.resume}")
    if swept.comparison is None:
        raise RunError(f"{swept.left or swept.total} trials did not finish. Resume with: {swept.resume}")
    return Study(swept.comparison, host, path=swept.folder, failed=swept.failed)


@entry
def compare(
    *runs: str | Path | Run,
    group_by: str | Sequence[str] = (),
    episodes: int | None = None,
    seed: int = 0,
    score: Literal["best", "last"] = "best",
) -> Study:
    """Compare runs, as `cartpole-dqn compare` does.

    Args:
        runs: runs, or paths and names as for `load`. A folder of runs, or of a sweep, stands for all of them.
        group_by: settings that the runs of a group share, such as "lr" or "agent.replay"; "run" keeps all apart, "all"
            joins them. By default runs that differ only in their seed form a group.
        episodes: play so many episodes with the best and the last model of each run. By default the evaluations made
            during training are compared.
        seed: selects the held-out seeds of these episodes.
        score: the model, best or last, that the probabilities of improvement compare.

    Raises:
        UserError: there is no such run, or no such setting.
    """
    if not runs:
        raise UserError("compare: which runs? Expected paths, such as runs/ or the folder of a sweep.")
    host, say = load_plugins(), functools.partial(make_console().print, markup=False, highlight=False)
    records = read_records([run.path if isinstance(run, Run) else run for run in runs], say)
    groups = group_records(records, [group_by] if isinstance(group_by, str) else group_by)
    played = None if episodes is None else play_models(records, host, episodes=episodes, seed=seed, say=say)
    return Study(compare_groups(groups, played, score=score), host)


class Study:
    """Runs and their comparison, from `sweep` or `compare`. `print(study)` prints the tables of `cartpole-dqn compare`.

    Attributes:
        path: the sweep's folder; None for runs of several folders.
        failed: the error of each trial that failed, by its name. Failed trials are in no figure.
    """

    def __init__(
        self, comparison: Comparison, host: PluginHost, *, path: Path | None = None, failed: Mapping[str, str] = {}
    ) -> None:
        self._comparison, self._host = comparison, host
        self.path, self.failed = path, dict(failed)

    @functools.cached_property
    def runs(self) -> list[Run]:
        """The runs, in the order of `rows()`."""
        folders = [RunFolder(run.path) for run in self._comparison.runs]
        return [Run(folder, read_config(folder, self._host), self._host) for folder in folders]

    @typed
    def rows(self, of: Literal["runs", "groups", "improvements"] = "runs") -> list[dict[str, Any]]:
        """Return the figures as rows. `pandas.DataFrame` takes them.

        Args:
            of: "runs": a run's name, group, seed, scores ("best.mean", "last.mean", ...), and the steps and training
                seconds until it was solved; "groups": interquartile means with their intervals ("best.value",
                "best.low", "best.high"), and how many runs were solved; "improvements": the probability that a run of
                `group` scores higher than one of `over` ("chance.value", ...). What is unknown is None.
        """
        unknown = dict.fromkeys(field.name for field in dataclasses.fields(Played if of == "runs" else Estimate))
        tables = [dataclasses.asdict(entry) for entry in getattr(self._comparison, of)]
        for table in tables:
            table |= {key: unknown for key in ("best", "last") if table.get(key, "") is None}
        return [flat_row(table) for table in tables]

    def __repr__(self) -> str:
        """Return the tables of groups, of improvements, and of runs, and what the figures mean."""
        return comparison_text(self._comparison)
