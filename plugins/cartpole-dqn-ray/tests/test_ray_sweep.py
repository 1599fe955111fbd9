"""Sweeps on real clusters of several raylets on this machine: nodes that die, stopping, versions, storage."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cartpole_dqn_ray.sweep import RaySweep, RaySweepOptions

import cartpole_dqn
from cartpole_dqn import SweepEngineContext, Trial, TrialEnd, UserError
from cartpole_dqn.testing import check_sweep_engine

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

STORE = 100 << 20
STEPS = 4_000
CONFIG = """\
obs = "native"
seed = {seed}
steps = {steps}
device = "cpu"
[env]
id = "{env}"
[agent]
name = "dqn"
batch_size = 32
train_every = 2
[agent.replay]
name = "uniform"
capacity = 2000
[evaluation]
every = 1000
episodes = 1
[checkpoint]
every_steps = 400
every_seconds = 0
[[observer]]
name = "metrics"
"""


def trial(folder: Path, name: str, *, seed: int = 0, steps: int = STEPS, env: str = "CartPole-v1") -> Trial:
    return Trial(name=name, config=CONFIG.format(seed=seed, steps=steps, env=env), folder=folder / "trials" / name)


def weights(run: Path) -> dict[str, bytes]:
    """Return the last checkpoint's tensors, replay included, and the best model's, whatever number their files have."""
    paths = [*(run / "checkpoint").glob("*.safetensors"), *(run / "best").glob("*.safetensors")]
    bits = {f"{path.parent.name}/{path.name.rsplit('-', 1)[0]}": path.read_bytes() for path in paths}
    assert len(bits) == len(paths) >= 3
    return bits


def episodes(run: Path) -> list[list[str]]:
    """Return the rows of `metrics.csv` but for times."""
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if name not in ("seconds", "steps_per_second")]
    return [[row[i] for i in kept] for row in rows]


def equal(run: Path, reference: Path) -> bool:
    return weights(run) == weights(reference) and episodes(run) == episodes(reference)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trial with seed 0, run by hand."""
    folder = tmp_path_factory.mktemp("by-hand")
    alone = trial(folder, "alone")
    config = folder / "config.toml"
    config.write_text(alone.config)
    subprocess.run([sys.executable, "-m", "cartpole_dqn", *alone.arguments(config)], check=True, capture_output=True)
    return alone.folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without cores; tests add nodes."""
    from ray.cluster_utils import Cluster

    # As in a Ray that the engine starts: else runs on a busy machine take many times as long as by hand.
    os.environ.setdefault("RAY_worker_niceness", "0")
    checks = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": STORE,
            "include_dashboard": False,
            "_system_config": checks,
        },
    )
    yield cluster
    cluster.shutdown()


@pytest.fixture
def add_node(cluster: Any) -> Iterator[Callable[..., Any]]:
    """`add_node(**arguments)` -> a node of the cluster, gone when the test is over."""
    nodes: list[Any] = []

    def add(**arguments: Any) -> Any:
        nodes.append(cluster.add_node(**{"num_cpus": 1, "object_store_memory": STORE, **arguments}))
        return nodes[-1]

    yield add
    for node in nodes:
        if node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)


class Driver:
    """An engine, driven as `sweep` drives it, and what it said."""

    def __init__(self, folder: Path, jobs: int | None, **options: Any) -> None:
        self.messages: list[str] = []
        self.ends: dict[str, TrialEnd] = {}
        self.engine = RaySweep(
            RaySweepOptions(**options), SweepEngineContext(folder=folder, jobs=jobs, say=self.messages.append)
        )

    def wait_until(self, condition: Callable[[], object], seconds: float = 240) -> None:
        until = time.monotonic() + seconds
        while not condition():
            self.ends.update({end.name: end for end in self.engine.wait(0.2)})
            assert time.monotonic() < until, f"nothing came of it: {self.ends}, {self.said}"

    def until_ended(self, *names: str) -> None:
        self.wait_until(lambda: set(names) <= self.ends.keys())


@contextlib.contextmanager
def driving(folder: Path, jobs: int | None = None, **options: Any) -> Iterator[Driver]:
    driver = Driver(folder, jobs, **options)
    try:
        yield driver
    finally:
        driver.engine.close()


def kill_at_once(cluster: Any, node: Any) -> None:
    """End a node's raylet by `kill -9`: its workers lose it."""
    os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)


def remove(cluster: Any, node: Any) -> None:
    """Take a node away with all that runs on it."""
    cluster.remove_node(node, allow_graceful=False)


def runs_under(folder: Path) -> list[str]:
    """Return the commands of the processes that have `folder` in their arguments."""
    items = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in text:
                items.append(text)
    return items


@pytest.mark.parametrize(("storage", "lose"), [("object-store", kill_at_once), ("shared", remove)])
def test_a_lost_node_loses_no_trial(
    storage: str, lose: Callable[..., None], cluster: Any, add_node: Any, reference: Path, tmp_path: Path
) -> None:
    nodes = {node.node_id[:4]: node for node in (add_node(), add_node())}
    with driving(tmp_path, address=cluster.address, storage=storage, sync_seconds=1.0) as sweep:
        assert sweep.engine.slots == 2
        for seed in (0, 1):
            sweep.engine.start(trial(tmp_path, f"t{seed}", seed=seed))
        checkpoint = tmp_path / "trials" / "t0" / "checkpoint" / "state.json"
        sweep.wait_until(lambda: checkpoint.is_file() and sweep.engine.place("t1"))
        before, other = sweep.engine.place("t0"), sweep.engine.place("t1")
        assert before != other
        lose(cluster, nodes[before.rpartition("/")[2]])
        assert not sweep.ends, "the trial came to its end before its node could be taken away."
        add_node()
        sweep.until_ended("t0", "t1")
        assert [end.state for end in sweep.ends.values()] == ["done", "done"], sweep.ends
        assert any(before in text and "goes on from its last checkpoint" in text for text in sweep.messages)
    assert equal(tmp_path / "trials" / "t0", reference)
    assert runs_under(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["trials"]


def test_stopped_it_goes_on_on_another_node(cluster: Any, add_node: Any, reference: Path, tmp_path: Path) -> None:
    node = add_node()
    with driving(tmp_path, address=cluster.address, storage="object-store", sync_seconds=0.5) as sweep:
        sweep.engine.start(trial(tmp_path, "t0"))
        sweep.wait_until((tmp_path / "trials" / "t0" / "metrics.jsonl").exists)
        sweep.engine.stop()
        sweep.until_ended("t0")
        assert sweep.ends["t0"] == TrialEnd("t0", "interrupted")
    assert '"interrupted"' in (tmp_path / "trials" / "t0" / "status.json").read_text()
    remove(cluster, node)
    add_node()
    with driving(tmp_path, address=cluster.address, storage="object-store") as sweep:
        sweep.engine.start(trial(tmp_path, "t0"))
        sweep.until_ended("t0")
        assert sweep.ends["t0"] == TrialEnd("t0", "done")
    assert equal(tmp_path / "trials" / "t0", reference)


def test_a_node_with_another_version_is_not_used_and_a_failing_trial_harms_no_other(
    cluster: Any, add_node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Ray puts the current folder first on the path of its workers.
    other = tmp_path / "other"
    shutil.copytree(Path(cartpole_dqn.__file__).parent, other / "cartpole_dqn")
    module = other / "cartpole_dqn" / "system.py"
    text = module.read_text()
    assert f'"{cartpole_dqn.__version__}"' in text
    module.write_text(text.replace(f'"{cartpole_dqn.__version__}"', '"9.9.9"'))
    wrong = add_node(num_cpus=2, env_vars={"PYTHONPATH": os.pathsep.join([str(other), *sys.path])})
    with pytest.raises(
        UserError, match=r"no node of the cluster can be used. \S+ is not used: it has cartpole-dqn 9.9.9"
    ):
        RaySweep(
            RaySweepOptions(address=cluster.address),
            SweepEngineContext(folder=tmp_path, jobs=1, say=lambda text: None),
        )
    add_node(num_gpus=1)
    with driving(tmp_path, address=cluster.address, cpus=0.5, gpus=0.5) as sweep:
        assert sweep.engine.slots == 2
    with driving(tmp_path, address=cluster.address) as sweep:
        assert sweep.engine.slots == 1
        (message,) = sweep.messages
        assert wrong.node_id[:4] in message
        assert f"this machine has {cartpole_dqn.__version__}" in message
        sweep.engine.start(trial(tmp_path, "bad", env="no_such_module:Nothing-v0"))
        sweep.until_ended("bad")
        assert sweep.ends["bad"].state == "failed"
        assert "no_such_module" in sweep.ends["bad"].error
        sweep.engine.start(trial(tmp_path, "good", steps=200))
        sweep.until_ended("good")
        assert sweep.ends["good"].state == "done"
        assert "no_such_module" in (tmp_path / "ray" / "bad.log").read_text()
    with pytest.raises(UserError, match="no node of the cluster has 1 CPU and 2 GPU"):
        RaySweep(
            RaySweepOptions(address=cluster.address, gpus=2.0),
            SweepEngineContext(folder=tmp_path, jobs=1, say=lambda text: None),
        )


def test_a_trial_that_is_lost_too_often_fails_with_a_sentence(cluster: Any, add_node: Any, tmp_path: Path) -> None:
    node = add_node()
    with driving(tmp_path, address=cluster.address, max_moves=1) as sweep:
        sweep.engine.start(trial(tmp_path, "t0", steps=100_000_000))
        sweep.wait_until((tmp_path / "trials" / "t0" / "config.toml").exists)
        os.kill(int((tmp_path / "trials" / "t0" / ".lock").read_text()), signal.SIGKILL)
        sweep.wait_until(lambda: sweep.messages)
        assert "its process was ended by SIGKILL" in sweep.messages[0]
        assert "goes on from its last checkpoint" in sweep.messages[0]
        remove(cluster, node)
        sweep.until_ended("t0")
        assert sweep.ends["t0"].state == "failed"
        assert "is gone, and it was moved 1 times before" in sweep.ends["t0"].error


def test_no_cluster_at_the_address_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no Ray cluster can be used at 127\.0\.0\.1:1: "):
        RaySweep(
            RaySweepOptions(address="127.0.0.1:1"),
            SweepEngineContext(folder=tmp_path, jobs=1, say=lambda text: None),
        )


@pytest.mark.slow
def test_the_contract() -> None:
    check_sweep_engine(RaySweep)
    check_sweep_engine(RaySweep, storage="object-store")


def test_the_command_starts_a_ray_of_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(CONFIG.format(seed=0, steps=600, env="CartPole-v1"))
    command = [
        "sweep",
        "--config",
        "base.toml",
        "--seeds",
        "2",
        "--jobs",
        "2",
        "--engine",
        "ray",
        "--out",
        "swept",
        "--plain",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "cartpole_dqn", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    states = [path.read_text() for path in (tmp_path / "swept" / "trials").glob("*/status.json")]
    assert len(states) == 2
    assert all('"done"' in state for state in states)
    assert runs_under(tmp_path) == []
