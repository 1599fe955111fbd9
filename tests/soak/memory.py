"""Trains for long and watches the process: is its memory flat, does it leak file handles, threads or processes?

    python tests/soak/memory.py --steps 200000
    python tests/soak/memory.py --steps 200000 --also "record {run} --out {run}/soak.gif" --also-every 120
    python tests/soak/memory.py --steps 20000 --set agent.replay.capacity=2000 --out /tmp/soak

Writes `samples.csv` beside the run, prints a verdict, and ends with 1 where it is bad. A replay takes
its memory as it fills, which is no leak: from the process's memory the part of the replay that is filled is taken off
before the samples are judged. `--also` runs another command over and over while training goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from forked import is_alive

MIB = 1 << 20
WARM_UP = 0.2
"""The share of the samples, in steps, that is not judged: caches fill, the first evaluation makes its environments."""
GROWTH = 0.03
LEAST = 16 * MIB
"""Memory is flat if it grows by no more than this share, or by no more than these bytes, whichever is more."""


@dataclass(frozen=True)
class Sample:
    """The training process at a moment; bytes are of resident memory."""

    seconds: float
    step: int
    rss: int
    replay: int
    """Bytes of the replay that are filled so far."""
    workers_rss: int
    """Of the processes that it started."""
    files: int
    threads: int
    processes: int
    also_rss: int
    """Of the command that runs beside it; 0 where none does."""

    @property
    def own(self) -> int:
        """Memory without the replay."""
        return self.rss - self.replay


def main() -> int:
    """Train, sample, judge."""
    options = _options()
    place = Path(options.out or tempfile.mkdtemp(prefix="soak-memory-"))
    place.mkdir(parents=True, exist_ok=True)
    run = place / "run"
    arguments = ["run", "--obs", options.obs, "--steps", str(options.steps), "--out", str(run), "--plain"]
    arguments += [word for text in options.set for word in ("--set", text)] + options.more
    with (place / "run.log").open("w") as log:
        process = _start(arguments, log)
        also = _Also(options.also, options.also_every, run, place / "also.log")
        samples = _watch(process, run, also, place / "samples.csv", options.every)
        seen = also.end()
    code = process.wait()
    lines, good = verdict(samples)
    if code != 0:
        lines, good = [*lines, f"the run ended with {code}: see {place / 'run.log'}"], False
    if options.also:
        lines.append(f"`{options.also}` ran {seen[0]} times beside it, {seen[1]} of them failed")
        good = good and seen[1] == 0 < seen[0]
    print("\n".join([*lines, f"samples: {place / 'samples.csv'}"]))
    return 0 if good else 1


def verdict(samples: Sequence[Sample]) -> tuple[list[str], bool]:
    """Return sentences about the samples after the warm-up, and whether all is well."""
    end = max((sample.step for sample in samples), default=0)
    judged = [sample for sample in samples if sample.step >= WARM_UP * end]
    if len(judged) < 9:
        return [
            f"{len(judged)} samples after the warm-up are too few to judge: train longer, or sample more often"
        ], False
    third = len(judged) // 3
    first, last = judged[:third], judged[-third:]
    before, after = (median(sample.own for sample in part) for part in (first, last))
    steps = median(sample.step for sample in last) - median(sample.step for sample in first)
    rate = (after - before) / MIB / max(1.0, steps) * 100_000
    flat = after - before <= max(LEAST, GROWTH * before)
    lines = [
        f"memory without the replay: {before / MIB:.1f} MiB in the first third, {after / MIB:.1f} MiB in the last, "
        f"{rate:+.1f} MiB per 100,000 steps: {'flat' if flat else 'GROWS'}",
        f"memory at most: {max(sample.rss for sample in samples) / MIB:.1f} MiB, of it the replay "
        f"{max(sample.replay for sample in samples) / MIB:.1f} MiB",
    ]
    good = flat
    for name, read in (
        ("file handles", lambda sample: sample.files),
        ("threads", lambda sample: sample.threads),
        ("processes", lambda sample: sample.processes),
    ):
        early, late = max(map(read, first)), max(map(read, last))
        lines.append(
            f"{name}: at most {early} in the first third, {late} in the last{'' if late <= early else ': LEAKS'}"
        )
        good = good and late <= early
    return lines, good


# Watching -------------------------------------------------------------------------------------------------------------


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--obs", default="pixels", help="as of cartpole-dqn run")
    parser.add_argument("--steps", type=int, default=200_000, help="environment steps")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of the run")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples")
    parser.add_argument("--also", default="", help="a command to run beside it, {run} standing for the run's folder")
    parser.add_argument("--also-every", type=float, default=60.0, help="seconds from its end to its next start")
    parser.add_argument("--out", help="a folder for the run and the samples; by default a temporary one")
    parser.add_argument("more", nargs="*", help="further arguments of cartpole-dqn run, after --")
    return parser.parse_args()


def _start(arguments: Sequence[str], log: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cartpole_dqn", *arguments]
    return subprocess.Popen(command, stdout=log, stderr=log, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def _watch(process: subprocess.Popen[str], run: Path, also: _Also, path: Path, every: float) -> list[Sample]:
    """Return a sample now and then until the process has ended; each is written as soon as it is taken."""
    samples: list[Sample] = []
    began = time.monotonic()
    metrics = _Metrics(run / "metrics.jsonl")
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Sample)])
        table.writeheader()
        while process.poll() is None:
            also.go_on()
            sample = _sample(process.pid, time.monotonic() - began, metrics, also.rss())
            if sample is not None:
                samples.append(sample)
                table.writerow(asdict(sample))
                file.flush()
            time.sleep(every)
    return samples


def _sample(pid: int, seconds: float, metrics: _Metrics, also_rss: int) -> Sample | None:
    """Return the process as it stands; None while it has not begun to train, or where it is gone."""
    metrics.read()
    if not metrics.step:
        return None
    try:
        process = psutil.Process(pid)
        children = [child for child in process.children() if is_alive(child.pid)]
        return Sample(
            seconds=round(seconds, 1),
            step=metrics.step,
            rss=process.memory_info().rss,
            replay=metrics.replay,
            workers_rss=sum(child.memory_info().rss for child in children),
            files=process.num_fds(),
            threads=process.num_threads(),
            processes=len(children),
            also_rss=also_rss,
        )
    except psutil.Error:
        return None


class _Metrics:
    """Follows `metrics.jsonl`: the last episode's step, and how many bytes of the replay were filled then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._bytes = 0
        self.step = 0
        self.replay = 0

    def read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open() as file:
            file.seek(self._at)
            for line in file:
                if line.endswith("\n"):
                    self._at += len(line.encode())
                    self._hear(json.loads(line))

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "run_started":
            self._bytes = event["replay_bytes"]
        elif event["event"] == "episode":
            self.step = event["step"]
            status = event["status"]
            filled = status.get("replay_size", 0) / max(1, status.get("replay_capacity", 0))
            self.replay = round(self._bytes * min(1.0, filled))


class _Also:
    """Runs a command over and over, one at a time."""

    def __init__(self, command: str, every: float, run: Path, log: Path) -> None:
        self._words = [word.replace("{run}", str(run)) for word in shlex.split(command)]
        self._every, self._run, self._log = every, run, log
        self._process: subprocess.Popen[str] | None = None
        self._next = 0.0
        self._times = self._failed = 0

    def go_on(self) -> None:
        """Start the command where it is due: there is a model, and nothing of it runs."""
        if self._process is not None and self._process.poll() is not None:
            self._failed += self._process.returncode != 0
            self._process = None
            self._next = time.monotonic() + self._every
        has_model = (self._run / "best" / "state.json").exists()
        if self._words and self._process is None and has_model and time.monotonic() >= self._next:
            with self._log.open("a") as log:
                self._process = _start(self._words, log)
            self._times += 1

    def rss(self) -> int:
        """Return what it takes."""
        try:
            return 0 if self._process is None else psutil.Process(self._process.pid).memory_info().rss
        except psutil.Error:
            return 0

    def end(self) -> tuple[int, int]:
        """Wait for it; return how often it ran and how often it failed."""
        if self._process is not None:
            self._failed += self._process.wait() != 0
        return self._times, self._failed


if __name__ == "__main__":
    sys.exit(main())
