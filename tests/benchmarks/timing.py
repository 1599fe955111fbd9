"""What the benchmarks share.

* `timed`: a script in a process of its own -> the JSON object that it prints last.
* `pin`: keep this process on as many processors as it has threads.
* `measure`: functions called in turn -> the microseconds of each; `show` prints them.
* `spread`: figures as a table has them.
* `machine`: a line on processor and versions.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cartpole_dqn.runs.folder import describe_environment


def timed(script: str, *arguments: object, threads: int = 1) -> dict[str, Any]:
    """Run `script`, a file beside this one; leave with what it said where it fails."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name(script)), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    print(" ".join([script, *map(str, arguments)]), file=sys.stderr)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{script} {' '.join(map(str, arguments))} failed:\n{done.stderr.strip()[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def pin(threads: int) -> None:
    """Keep this process on as many processors as it has threads, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def measure(ways: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Return the mean microseconds of each way over its faster half of rounds, the ways taking turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = clock()
            way()
            times[name].append((clock() - begin) * 1e6)
    return {name: statistics.fmean(sorted(values)[: max(1, rounds // 2)]) for name, values in times.items()}


def show(means: Mapping[str, float], bars: Mapping[str, float] = MappingProxyType({})) -> None:
    """Print a table: microseconds, how many times as fast as the first way, and whether that meets a bar."""
    first = next(iter(means.values()))
    for name, mean in means.items():
        bar = f"  bar {bars[name]:.0f}: {'met' if first / mean >= bars[name] else 'MISSED'}" if name in bars else ""
        print(f"  {name:26s} {mean:8.1f} us  {first / mean:5.2f} times{bar}")


def spread(figures: Sequence[float], digits: int = 0) -> str:
    """Return the median, and the lowest and highest behind it: "1,000 (900 to 1,100)"."""
    middle, low, high = (f"{f(figures):,.{digits}f}" for f in (statistics.median, min, max))
    return middle if len(figures) == 1 else f"{middle} ({low} to {high})"


def machine(*others: str) -> str:
    """Return processor, load, and the versions that matter; also of other distributions, where they are installed."""
    found = describe_environment(plugins=[], threads=1, device="cpu")
    installed = [name for name in others if importlib.util.find_spec(name.replace("-", "_"))]
    names = ("torch", "gymnasium", "numpy", *installed)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    load = f", load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return f"{found['cpu']}, {found['cpu_count']} processors{load}; {platform.system()}, {found['python']}, {versions}."
