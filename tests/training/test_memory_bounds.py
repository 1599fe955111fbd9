"""What would not fit into memory is refused with the figure, before it is allocated."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest
from rich.console import Console

from cartpole_dqn.agents.dqn import DqnAgent, DqnOptions
from cartpole_dqn.config.schema import RunConfig
from cartpole_dqn.contracts.options import Part, changed, options_class, part
from cartpole_dqn.contracts.parts import Context
from cartpole_dqn.errors import CheckpointError, UserError
from cartpole_dqn.plugin.host import PluginHost, load_plugins
from cartpole_dqn.runs.folder import RunFolder
from cartpole_dqn.training.assembly import assemble
from cartpole_dqn.training.resolve import resolve_config
from cartpole_dqn.training.session import execute

MIB = 1 << 20


@options_class
class TwoOptions(DqnOptions):
    far: Part = part("replay", "uniform", capacity=50_000)


class Two(DqnAgent):
    """Has a second replay, which it does not use."""

    Options: ClassVar[type] = TwoOptions

    def __init__(self, options: TwoOptions, context: Context) -> None:
        super().__init__(options, context)
        self.far = context.build("replay", options.far, name="far")

    @property
    def nbytes(self) -> int:
        return super().nbytes + int(self.far.nbytes)


@pytest.fixture(scope="module")
def host() -> PluginHost:
    loaded = load_plugins(allowed=())
    loaded.registry.add("agent", "two", Two, "two replays")
    return loaded


def left(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let a number of bytes be left, wherever it is asked."""
    for place in ("components.replay.ring_replay", "training.assembly"):
        monkeypatch.setattr(f"cartpole_dqn.{place}.available_bytes", lambda: count)


def start(config: RunConfig, host: PluginHost) -> None:
    assembly = assemble(config, host, folder=None, console=Console(quiet=True), clock=time.perf_counter)
    assembly.collector.close()


def test_two_replays_that_fit_alone_and_not_together_are_refused(
    host: PluginHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolve_config(host, flags={"obs": "state", "steps": 50, "agent": {"name": "two"}})[0]
    config = changed(config, observer=[])
    left(monkeypatch, 10 * MIB)
    start(config, host)
    left(monkeypatch, 4 * MIB)
    words = r"agent two, with all its replays, would take \d\.\d+ MB of memory, but 4\.19 MB are left\. Set smaller"
    with pytest.raises(UserError, match=words):
        start(config, host)
    left(monkeypatch, 2 * MIB)
    with pytest.raises(
        UserError, match=r"replay uniform with 50000 slots .* would take \d\.\d+ MB of memory, but 2\.1"
    ):
        start(config, host)


@pytest.fixture(scope="module")
def run(host: PluginHost, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunConfig]:
    sets = ["agent.batch_size=8", "evaluation.every=0", "observer=[]"]
    config = resolve_config(host, flags={"obs": "state", "steps": 200}, sets=sets)[0]
    folder = RunFolder.create(tmp_path_factory.mktemp("runs") / "r", env_id=config.env.id, obs=config.obs)
    execute(folder, config, host, console=Console(quiet=True))
    return folder, config


def test_a_resumed_run_is_refused_too(
    host: PluginHost, run: tuple[RunFolder, RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = run[0], changed(run[1], steps=220)

    def resume(config: RunConfig) -> None:
        execute(RunFolder(folder.path), config, host, console=Console(quiet=True), resuming=True)

    before = {path: path.read_bytes() for path in folder.checkpoint.iterdir()}
    larger = {**config.agent, "replay": {**config.agent["replay"], "capacity": 10**12}}
    with pytest.raises(UserError, match=r"replay uniform with 1000000000000 slots .* would take 56 TB of memory, but"):
        resume(changed(config, agent=larger))
    monkeypatch.setattr("cartpole_dqn.runs.tensors.available_bytes", lambda: 1000)
    with pytest.raises(CheckpointError, match=r"safetensors would take [\d.]+ kB of memory, but 1 kB are left"):
        resume(config)
    assert {path: path.read_bytes() for path in folder.checkpoint.iterdir()} == before
    monkeypatch.undo()
    resume(config)
