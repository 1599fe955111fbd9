"""How much is collected and learned a second: in lockstep, and by 1, 2 and 4 actors on the same cores.

    python plugins/cartpole-dqn-ray/benchmarks/collection.py --seconds 20 --json collection.json

Each way is a run of its own by the command line, `cartpole-dqn run`, ended by SIGINT after its time. What is measured
is what it wrote to `metrics.jsonl` once it was learning: the first seconds, in which the replay fills and actors start,
are left out. Evaluation and checkpoints are off.

* env steps/s, updates/s: over the measured time.
* bytes/s: of the arrays in the fragments that arrived. 0 in lockstep.
* learner idle: the share of its time in which the run waited for fragments.
* actors busy: the share of its time in which an actor played.
* per step: milliseconds of the learner's time for a step (observing it, and the updates that it pays for), and of an
  actor's (environment, rendering, wrappers, the policy's values), from the shares above.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HEADINGS = (
    "collector", "actors", "envs", "steps/s", "ratio", "updates/s", "kB/s", "B/step", "idle", "busy", "ms/step learner",
    "ms/step actor", "staleness",
)  # fmt: skip


def main() -> None:
    """Measure every way, print a table, write JSON."""
    given = parse()
    results = []
    for actors in [0, *given.actors]:
        results.append(measure(actors, given))
        print_row(results[-1], results[0])
    if given.json is not None:
        given.json.write_text(json.dumps({"cores": len(os.sched_getaffinity(0)), "results": results}, indent=2) + "\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time of each way")
    parser.add_argument("--warm-up", type=float, default=4.0, help="seconds of learning that are left out")
    parser.add_argument("--actors", type=int, nargs="*", default=[1, 2, 4], help="numbers of actors")
    parser.add_argument("--envs-per-actor", type=int, default=1, help="environments of each actor")
    parser.add_argument("--obs", default="pixels", help="pixels or state")
    parser.add_argument("--env", default="CartPole-v1", help="a Gymnasium id")
    parser.add_argument("--train-every", type=int, default=1, help="environment steps to an update")
    parser.add_argument("--cpus", type=float, default=0.25, help="CPUs that Ray counts for an actor")
    parser.add_argument("--set", action="append", default=[], help="a setting of all runs, KEY=VALUE")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    return parser.parse_args()


def measure(actors: int, given: argparse.Namespace) -> dict[str, Any]:
    """Run one way for its time; 0 actors are the single process in lockstep, with as many environments as one actor."""
    envs = max(1, actors) * given.envs_per_actor
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        process = subprocess.Popen(
            command(actors, envs, run, given), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            wait(process, run, given)
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=120)
        events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    if events[-1]["event"] != "run_ended":
        raise SystemExit(f"the run with {actors} actors failed:\n{errors}")
    return {"collector": "ray" if actors else "lockstep", "actors": actors, "envs": envs} | figures(events, given)


def command(actors: int, envs: int, run: Path, given: argparse.Namespace) -> list[str]:
    """Return the command of one way."""
    settings = [
        "evaluation.every=0",
        "checkpoint.every_seconds=0",
        "checkpoint.save_replay=false",
        f"agent.train_every={given.train_every}",
        *given.set,
    ]
    words = [sys.executable, "-m", "cartpole_dqn", "run", "--env", given.env, "--obs", given.obs, "--plain"]
    words += ["--steps", "100000000", "--num-envs", str(envs), "--device", "cpu", "--out", str(run)]
    if actors:
        words += ["--collector", "ray"]
        settings += [f"collector.actors={actors}", f"collector.cpus={given.cpus}"]
    return words + [word for setting in settings for word in ("--set", setting)]


def wait(process: subprocess.Popen[str], run: Path, given: argparse.Namespace) -> None:
    """Wait until it learns, and then for its time."""
    metrics = run / "metrics.jsonl"
    while process.poll() is None:
        time.sleep(0.2)
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        if lines and updates_of(json.loads(lines[-1])) > 0:
            break
    until = time.monotonic() + given.warm_up + given.seconds
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)


def updates_of(event: dict[str, Any]) -> int:
    """Return the updates so far that an episode's line tells, else 0."""
    return int(event.get("status", {}).get("updates", 0))


def figures(events: list[dict[str, Any]], given: argparse.Namespace) -> dict[str, Any]:
    """Return the figures between the first and the last episode that ended while it was learning, warm-up left out."""
    learning = [event for event in events if event["event"] == "episode" and updates_of(event) > 0]
    began = learning[0]["seconds"] + given.warm_up
    measured = [event for event in learning if event["seconds"] >= began]
    if len(measured) < 2:
        raise SystemExit("too few episodes ended in the measured time: give more --seconds.")
    first, last = measured[0], measured[-1]
    seconds = last["seconds"] - first["seconds"]
    steps = last["step"] - first["step"]

    def mean(name: str) -> float:
        values = [event["status"][name] for event in measured if name in event["status"]]
        return sum(values) / len(values) if values else 0.0

    rate, idle, actors = steps / seconds, mean("learner_idle"), mean("actors")
    sent = mean("bytes_per_second")
    return {
        "seconds": seconds,
        "env_steps_per_second": rate,
        "updates_per_second": (updates_of(last) - updates_of(first)) / seconds,
        "bytes_per_second": sent,
        "bytes_per_step": sent / mean("env_steps_per_second") if sent else 0.0,
        "learner_idle": idle,
        "actors_busy": mean("actors_busy"),
        "learner_ms_per_step": 1000 * (1 - idle) / rate,
        "actor_ms_per_step": 1000 * mean("actors_busy") * actors / rate,
        "staleness": mean("staleness"),
        "staleness_max": max((event["status"].get("staleness_max", 0) for event in measured), default=0),
        "actors_playing": actors,
    }


def print_row(result: dict[str, Any], base: dict[str, Any]) -> None:
    """Print a line of the table; its headings before the first."""
    if result is base:
        print("| " + " | ".join(HEADINGS) + " |")
        print("|" + "---|" * len(HEADINGS))
    cells = (
        result["collector"],
        str(result["actors"]),
        str(result["envs"]),
        f"{result['env_steps_per_second']:.0f}",
        f"{result['env_steps_per_second'] / base['env_steps_per_second']:.2f}",
        f"{result['updates_per_second']:.0f}",
        f"{result['bytes_per_second'] / 1000:.0f}",
        f"{result['bytes_per_step']:.0f}",
        f"{result['learner_idle']:.2f}",
        f"{result['actors_busy']:.2f}",
        f"{result['learner_ms_per_step']:.2f}",
        f"{result['actor_ms_per_step']:.2f}",
        f"{result['staleness']:.0f}",
    )
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
