"""Collection on a real cluster of several raylets on this machine: actors and nodes that die, weights, staleness."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from cartpole_dqn_ray import collection_team
from cartpole_dqn_ray.collection import RayCollectionOptions, RayCollector

from cartpole_dqn import Agent, CollectorContext, Run, RunError, Transition, UserError, builtin_collection, train
from cartpole_dqn.testing import check_collector

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]

STORE = 100 << 20
SETTINGS: dict[str, Any] = {
    "agent": {
        "learning_starts": 100,
        "batch_size": 8,
        "train_every": 2,
        "network": {"name": "mlp", "hidden": [8]},
        "replay": {"name": "uniform", "capacity": 4000},
    },
    "evaluation": {"every": 0},
    "checkpoint": {"every_seconds": 0},
    "collector": {
        "name": "ray",
        "cpus": 0.5,
        "fragment": 8,
        "publish_every": 4,
        "max_staleness": 40,
        "patience": 400.0,
    },
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs and two nodes with one each; this process is connected to it."""
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "RAY_worker_niceness"):
        os.environ[name] = "0"
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "num_gpus": 0,
            "object_store_memory": STORE,
            "include_dashboard": False,
            "_system_config": {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500},
        },
    )
    cluster.spare = [cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=STORE) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(autouse=True)
def no_actor_is_left() -> Iterator[None]:
    yield
    late = time.monotonic() + 60
    while players() and time.monotonic() < late:
        time.sleep(0.05)
    assert players() == []


def players(parent: int | None = None) -> list[int]:
    """The processes of actors among those that `parent`, by default this process, started."""
    ancestor = os.getpid() if parent is None else parent
    parents, processes = {}, []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if (entry / "cmdline").read_bytes().startswith(b"ray::Player"):
                processes.append(int(entry.name))
        except (OSError, ValueError):
            continue

    def ours(pid: int) -> bool:
        while pid > 1:
            if pid == ancestor:
                return True
            pid = parents.get(pid, 0)
        return False

    return [pid for pid in processes if ours(pid)]


def while_it_runs(act: Callable[[], None]) -> threading.Thread:
    """Do something in a thread."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def steps_of(run: Path) -> int:
    """The last step that a run under way has told of."""
    lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    return max((json.loads(line).get("step", 0) for line in lines), default=0)


def once_at(run: Path, step: int, act: Callable[[], None]) -> threading.Thread:
    """Do something once a run has come so far."""

    def wait() -> None:
        while steps_of(run) < step:
            time.sleep(0.05)
        act()

    return while_it_runs(wait)


def events(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def collect(collector: RayCollector, agent: Agent, enough: Callable[[list[Transition]], bool]) -> list[Transition]:
    """Collect and learn, as a run does, until there is enough; return the steps."""
    steps: list[Transition] = []
    late = time.monotonic() + 400
    while not enough(steps):
        collected = collector.collect(agent)
        for lane in collected.broken:
            agent.break_lane(lane)
        agent.observe(collected.transitions)
        agent.learn()
        steps += collected.transitions
        assert time.monotonic() < late
    return steps


def ray_collector(context: CollectorContext, **options: Any) -> RayCollector:
    given = {"cpus": 0.5, "fragment": 8, "publish_every": 4, "max_staleness": 40, "patience": 400.0, **options}
    return RayCollector(RayCollectionOptions(**given), context)


def test_the_contract(cluster: Any) -> None:
    check_collector(RayCollector, builtin_collection, actors=1, cpus=0.5, patience=400.0)


def test_new_weights_arrive_and_epsilon_falls_from_lane_to_lane(cluster: Any) -> None:
    import torch

    context, agent = builtin_collection(2)
    collector = ray_collector(context, epsilon=0.5, alpha=20.0, actors=1)
    collector.start()
    try:
        for best in (1, 0):
            online: Any = dict(agent.state_dict()["online"])
            state = agent.state_dict()
            last = list(online)[-1]
            for key in {"online", "target", "average"} & set(state):  # whichever of them plays
                state[key] = {name: torch.zeros_like(value) for name, value in online.items()}
                state[key][last] = torch.tensor([float(best == 0), float(best == 1)])
            # Learning would move them: these weights are published as of so many more updates.
            state["updates"] = int(state["updates"]) + 10
            agent.load_state_dict(state)
            actions: list[list[int]] = [[], []]
            late = time.monotonic() + 100
            while len(actions[1]) < 200 or set(actions[1][-60:]) != {best}:
                for step in collector.collect(agent).transitions:
                    actions[step.env].append(step.action)
                assert time.monotonic() < late
            assert 0.1 < np.mean(np.array(actions[0][-60:]) != best) < 0.45, "half of the first lane's are random"
    finally:
        collector.close()


def test_staleness_is_bounded_and_told(cluster: Any) -> None:
    for bound in (0, 15):
        context, agent = builtin_collection(2)
        collector = ray_collector(context, max_staleness=bound, publish_every=100, in_flight=4, actors=1)
        collector.start()
        seen: list[float] = []
        learner = agent

        def enough(steps: list[Transition], collector: RayCollector = collector, seen: list[float] = seen) -> bool:
            seen.append(float(collector.state_dict()["staleness_max"]))
            return len(steps) > 600

        try:
            collect(collector, learner, enough)
        finally:
            collector.close()
        assert max(seen) <= bound
        assert bound == 0 or max(seen) > 0
        assert int(learner.status()["updates"]) > 100


def test_an_actor_and_a_node_killed_in_the_middle_of_a_run_lose_nothing_but_episodes(
    cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def kill_node() -> None:
        while True:
            for node in cluster.spare:
                if players(node.all_processes["raylet"][0].process.pid):
                    cluster.spare.remove(node)
                    cluster.remove_node(node, allow_graceful=False)
                    return

    def kill_actor() -> None:
        os.kill(players()[0], signal.SIGKILL)
        once_at(tmp_path / "run", 3000, kill_node)

    threads = [once_at(tmp_path / "run", 1000, kill_actor)]
    settings = {**SETTINGS, "env": {"num_envs": 4}, "collector": {**SETTINGS["collector"], "actors": 2}}
    run = train(obs="state", steps=15_000, seed=1, settings=settings, plain=True, out=tmp_path / "run")
    for thread in threads:
        thread.join()
    rows = events(run)
    assert rows[-1]["event"] == "run_ended"
    assert 15_000 <= rows[-1]["step"] < 15_000 + 4 * (8 + 5)
    status = [event["status"] for event in rows if event["event"] == "episode"][-1]
    assert status["actors_replaced"] >= 2
    assert 0 < status["staleness_max"] <= 40
    assert status["updates"] > 2500
    seeds = [event["seed"] for event in rows if event["event"] == "episode"]
    assert len(set(seeds)) == len(seeds)
    text = " ".join(capfd.readouterr().err.split())
    assert text.count("another takes its place, and new episodes begin in lanes") == status["actors_replaced"]
    cluster.spare.append(cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=STORE))
    cluster.wait_for_nodes()


def test_the_lanes_of_an_actor_that_died_go_on_with_others_episodes(cluster: Any) -> None:
    messages: list[str] = []
    context, agent = builtin_collection(2, warn=messages.append)
    collector = ray_collector(context, actors=2)
    collector.start()
    try:
        assert collect(collector, agent, lambda steps: {0, 1} == {step.env for step in steps})
        os.kill(players()[0], signal.SIGKILL)
        broken: list[int] = []
        late = time.monotonic() + 400
        while not broken:
            collected = collector.collect(agent)
            broken = list(collected.broken)
            for lane in broken:
                agent.break_lane(lane)
            agent.observe(collected.transitions)
            assert time.monotonic() < late
        # A replay would refuse steps that do not go on where the lane's last one led.
        collect(collector, agent, lambda steps: {0, 1} == {step.env for step in steps})
    finally:
        collector.close()
    assert len(broken) == 1
    assert [f"new episodes begin in lane {broken[0]}" in text for text in messages] == [True]


def test_a_run_is_resumed_with_new_episodes(cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = {**SETTINGS, "env": {"num_envs": 2}, "collector": {**SETTINGS["collector"], "actors": 1}}
    first = train(obs="state", steps=600, seed=2, settings=settings, plain=True, out=tmp_path / "run")
    whole = first.resume(1200, plain=True)
    rows = events(whole)
    assert rows[-1]["step"] >= 1200
    assert [event["event"] for event in rows].count("run_started") == 1
    steps = [event["step"] for event in rows if event["event"] == "episode"]
    assert steps == sorted(steps)
    assert "collector ray keeps no episodes under way: its actors begin new ones" in " ".join(
        capfd.readouterr().err.split()
    )
    seeds = [event["seed"] for event in rows if event["event"] == "episode"]
    assert len(set(seeds)) == len(seeds)


def test_what_fails_in_an_actor_is_said_in_words(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "collection_faulty.py").write_text(
        "import gymnasium\n"
        "class Faulty(gymnasium.Wrapper):\n"
        "    count = 0\n"
        "    def step(self, action):\n"
        "        self.count += 1\n"
        "        if self.count == 30:\n"
        "            raise OSError('out of order')\n"
        "        return super().step(action)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings: dict[str, Any] = {**SETTINGS, "env": {"num_envs": 1}}
    settings["observation"] = [{"wrapper": "collection_faulty:Faulty"}]
    # The actor does not look into that folder: only this process does.
    with pytest.raises(RunError, match=r"actor 0.*collection_faulty:Faulty.*cannot be (found|loaded|imported)"):
        train(obs="state", steps=500, settings=settings, plain=True, out=tmp_path / "a")
    monkeypatch.undo()

    gymnasium.register("OnlyHere-v0", lambda: gymnasium.make("CartPole-v1"))
    try:
        settings = {**SETTINGS, "env": {"num_envs": 1}}
        with pytest.raises(RunError, match=r"actor 0: .*OnlyHere"):
            train(env="OnlyHere-v0", obs="native", steps=500, settings=settings, plain=True, out=tmp_path / "b")
    finally:
        gymnasium.registry.pop("OnlyHere-v0")


def test_an_actor_of_another_version_is_refused_with_what_to_do(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = collection_team.versions_here()
    monkeypatch.setattr(collection_team, "versions_here", lambda: {**here, "cartpole-dqn": "9.9.9"})
    context, agent = builtin_collection(1)
    collector = ray_collector(context)
    collector.start()
    try:
        with pytest.raises(
            RunError, match=r"actor 0 on .* cannot be used: it has cartpole-dqn \d+\.\d+\.\d+, and .* 9\.9\.9\. Install"
        ):
            collector.collect(agent)
    finally:
        collector.close()
    messages: list[str] = []
    monkeypatch.setattr(collection_team, "versions_here", lambda: {**here, "torch": "0.1"})
    context, agent = builtin_collection(1, warn=messages.append)
    collector = ray_collector(context)
    collector.start()
    try:
        collect(collector, agent, lambda steps: len(steps) > 10)
    finally:
        collector.close()
    assert [text for text in messages if "other versions: torch" in text] == messages
    assert len(messages) == 1


def test_an_actor_that_no_node_can_take_is_refused(cluster: Any) -> None:
    context, _ = builtin_collection(1)
    with pytest.raises(UserError, match="an actor takes 3 CPUs, and no node of the cluster has more than 1"):
        ray_collector(context, cpus=3)


@pytest.mark.parametrize("group", [True, False], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_it_in_order(tmp_path: Path, group: bool) -> None:
    """With a Ray of its own, which is gone afterwards too."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "cartpole_dqn", "run", "--obs", "state", "--collector", "ray", "--num-envs", "2"]
    command += ["--steps", "1000000", "--plain", "--out", str(run), "--set", "collector.actors=1"]
    command += ["--set", "collector.store_mib=80", "--set", "evaluation.every=0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    try:
        late = time.monotonic() + 400
        while steps_of(run) < 500 and process.poll() is None and time.monotonic() < late:
            time.sleep(0.1)
        began = time.monotonic()
        if group:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        _, err = process.communicate(timeout=60)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == (130 if group else 143), err
    assert time.monotonic() - began < 45
    assert "resume with:" in err
    assert "Traceback" not in err
    assert (run / "checkpoint").exists()
    late = time.monotonic() + 10
    while (left := of_session(process.pid)) and time.monotonic() < late:
        time.sleep(0.1)
    assert left == [], "Ray's processes were left behind"


def of_session(leader: int) -> list[str]:
    """Processes of a session that are still there."""
    items = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                items.append((entry / "cmdline").read_text().replace("\0", " ")[:80])
        except (OSError, ValueError, IndexError):
            continue
    return items
