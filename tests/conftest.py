"""Fixtures for tests of what looks at runs: `trained_once` trains, `write_run` writes one, `call` types a command."""

from __future__ import annotations

import functools
import hashlib
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

import distributions


class Result(NamedTuple):
    """What a command wrote."""

    out: str
    err: str


@pytest.fixture(autouse=True)
def no_driver_of_an_earlier_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget that a recording selected SDL's dummy driver: a test that sets the same one is the user who wants it."""
    monkeypatch.delenv("CARTPOLE_DQN_SDL_VIDEODRIVER", raising=False)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Result]:
    """Run the command line in this process, in the test's own folder, to the expected exit code."""
    from cartpole_dqn import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def typed(*arguments: str | Path, code: int = 0) -> Result:
        monkeypatch.setattr(sys, "argv", ["cartpole-dqn", *map(str, arguments)])
        capfd.readouterr()
        left: object = 0
        try:
            cli.main()
        except SystemExit as leaving:
            left = leaving.code or 0
        result = Result(*capfd.readouterr())
        assert left == code, (arguments, result)
        assert "Traceback" not in result.err or {"--traceback", "show"} & {*arguments}
        return result

    return typed


@pytest.fixture(scope="session")
def trained_once(made_once: Callable[..., Path]) -> Callable[..., Path]:
    """`trained_once(obs="state", steps=40)`: the folder of a run that `train` made, once for all workers."""
    from cartpole_dqn.api import train

    def folder(**given: Any) -> Path:
        name = hashlib.sha256(repr(sorted(given.items())).encode()).hexdigest()[:16]
        return made_once(name, lambda out: train(out=out, plain=True, **given))

    return folder


@functools.cache
def _resolved(sets: tuple[str, ...], env: str, seed: int) -> str:
    from cartpole_dqn.config.schema import to_toml
    from cartpole_dqn.plugin.host import load_plugins
    from cartpole_dqn.training.resolve import resolve_config

    flags = {"obs": "state", "seed": seed, "env": {"id": env}}
    config, _ = resolve_config(load_plugins(allowed=()), flags=flags, sets=sets)
    return to_toml(config)


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Make a run's folder: the configuration as `run` writes it, the metrics by their observer, no model."""
    from cartpole_dqn.contracts.events import Episode, Evaluation, ObserverContext, Progress, RunEnded, RunStarted
    from cartpole_dqn.observers.metrics import Metrics, MetricsOptions
    from cartpole_dqn.runs.folder import RunFolder

    def written(
        name: str,
        *,
        seed: int = 0,
        env: str = "CartPole-v1",
        sets: Sequence[str] = (),
        returns: Sequence[float] = (10.0, 20.0, 30.0),
        length: int = 100,
        evaluations: Mapping[int, Sequence[float]] | None = None,
        confirmations: Mapping[int, tuple[Sequence[float], bool]] | None = None,
        best: Sequence[int] = (),
        ended: bool = True,
    ) -> Path:
        """Each episode takes `length` steps and a second a hundred steps; `best` are the steps of kept models."""
        folder = RunFolder(tmp_path / name, fresh=True)
        folder.path.mkdir(parents=True)
        folder.write_config(_resolved(tuple(sets), env, seed))
        metrics = Metrics(MetricsOptions(), ObserverContext(folder=str(folder.path), console=None, clock=lambda: 0.0))
        solved_at = 475.0 if env == "CartPole-v1" else None
        metrics.run_started(RunStarted(f"dqn on {env}", None, None, None, 0, 0, 1, solved_at=solved_at))
        events: list[tuple[int, int, Any]] = []
        progress = Progress(0, 0, 0.0, {}, {})
        for k, value in enumerate(returns, start=1):
            step = k * length
            learned = {"loss": 1.0 / k} if k > 1 else {}
            progress = Progress(step, k, step / 100, learned, {"epsilon": max(0.1, 1 - k / 50)})
            events.append((step, 0, Episode(k, step, 0, k, float(value), length, True, progress)))
        for step, means in (evaluations or {}).items():
            event = Evaluation(step, tuple(map(float, means)), (1,) * len(means), "select", 2.0, best=step in best)
            events.append((step, 1, event))
        for step, (means, passed) in (confirmations or {}).items():
            event = Evaluation(step, tuple(map(float, means)), (1,) * len(means), "confirm", 3.0, best=passed)
            events.append((step, 2, event))
        for _, _, event in sorted(events, key=lambda entry: entry[:2]):
            (metrics.episode_ended if isinstance(event, Episode) else metrics.evaluated)(event)
        if ended:
            metrics.run_ended(RunEnded("done", progress, None, 0.0, 0.0))
            folder.write_status("done", progress.step)
        return folder.path

    return written


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install distributions, version 1.0, for this test alone.

    Each has a name, entry points of plugins and of commands (name -> what it names), a `Requires-Dist`, and modules.
    """
    import gymnasium

    monkeypatch.delenv("CARTPOLE_DQN_PLUGINS", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    def make(
        name: str,
        plugins: Mapping[str, str] = MappingProxyType({}),
        commands: Mapping[str, str] = MappingProxyType({}),
        requires: str = "",
        **modules: str,
    ) -> None:
        for module, text in modules.items():
            (tmp_path / f"{module}.py").write_text(textwrap.dedent(text))
        groups = {"cartpole_dqn": plugins, "cartpole_dqn.commands": commands}
        distributions.write(tmp_path, name, groups, requires=[requires] if requires else [])

    before = dict(gymnasium.registry)
    yield make
    gymnasium.registry.clear()
    gymnasium.registry.update(before)
    for name, loaded in list(sys.modules.items()):
        if str(getattr(loaded, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
