"""For every test, of the package and of the plugins in this tree: markers, processes, Hypothesis, and the order.

- One torch thread, here and in what tests start: what is tested is small, and two threads wait for each other.
- `--shuffle SEED` runs the files, and the tests in each, in another order.
- Hypothesis tries few examples, the same each time. `HYPOTHESIS_PROFILE=ci` tries many, others each time.
- `--skipped` runs those that were skipped so far, for what was installed since, and those marked `extras`.
- A test that starts a program says so: it is marked `process` (or `ray`), or it fails.
- `made_once` makes a folder once for all workers of a session.
"""

from __future__ import annotations

import multiprocessing.util
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from filelock import FileLock

os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in ("COLUMNS", "LINES"):  # of the terminal that the tests are started from
    os.environ.pop(name, None)

# A shell lets what it starts in the background ignore both, and so would all that tests start.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (getattr(signal, "SIGQUIT", None), signal.SIG_DFL)):
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# Examples take as long as the machine is slow, and fixtures of a function are read only.
COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
}
hypothesis.settings.register_profile("few", max_examples=20, derandomize=True, database=None, **COMMON)
hypothesis.settings.register_profile("ci", max_examples=100, print_blob=True, **COMMON)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("this project")
    group.addoption("--shuffle", type=int, metavar="SEED", help="run files, and the tests in each, in another order")
    group.addoption("--skipped", action="store_true", help="run what was skipped so far, and what is marked `extras`")


def pytest_xdist_auto_num_workers() -> int:
    """Each worker imports torch: beyond eight they take more memory than they save time."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--skipped"):
        before = set(config.cache.get(SKIPPED, []))
        kept = [item for item in items if item.nodeid in before or item.get_closest_marker("extras")]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
    seed = config.getoption("--shuffle")
    if seed is not None:
        files: dict[Path, list[pytest.Item]] = {}
        for item in items:
            files.setdefault(item.path, []).append(item)
        chance = random.Random(seed)
        groups = list(files.values())
        chance.shuffle(groups)
        for group in groups:
            chance.shuffle(group)
        items[:] = [item for group in groups for item in group]


# What was skipped -----------------------------------------------------------------------------------------------------

SKIPPED = "cartpole-dqn/skipped"
outcomes: dict[str, bool] = {}  # of the tests that ran: whether they were skipped


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    outcomes[report.nodeid] = report.skipped or outcomes.get(report.nodeid, False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput") and outcomes and hasattr(session.config, "cache"):
        left = set(session.config.cache.get(SKIPPED, [])) - outcomes.keys()
        session.config.cache.set(SKIPPED, sorted(left | {name for name, skipped in outcomes.items() if skipped}))


# Programs -------------------------------------------------------------------------------------------------------------

STARTS = {"subprocess.Popen", "os.exec", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}
QUICK = {"cc", "gcc", "ld", "ldconfig", "uname"}  # what Python's own libraries ask about the system
started: list[str] | None = None  # by the test under way that may start none


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if started is None or event not in STARTS:
        return
    if event != "subprocess.Popen" or Path(os.fsdecode(arguments[0])).name not in QUICK:
        started.append(f"{event} {arguments[1] if len(arguments) > 1 else ''}")


def _spawned(spawn: Callable[..., Any], *arguments: Any) -> Any:
    _heard("os.spawn", arguments)
    return spawn(*arguments)


sys.addaudithook(_heard)
# No event tells of these: processes of `multiprocessing` that are not forked.
_spawn = multiprocessing.util.spawnv_passfds
multiprocessing.util.spawnv_passfds = lambda *arguments: _spawned(_spawn, *arguments)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Programs take seconds to start: without the marker they would end up in the tests that run all the time."""
    global started
    started = None if item.get_closest_marker("process") or item.get_closest_marker("ray") else []
    try:
        return (yield)
    finally:
        started = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    result = yield
    if started:
        pytest.fail(f"starts a program and is not marked `process`: {started[0][:200]}", pytrace=False)
    return result


# What is made once ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[..., Path]:
    """`made_once(name, make)`: a folder that `make(folder)` fills, once for all workers. Copy it to change it."""
    shared = tmp_path_factory.getbasetemp()
    shared = (shared if worker_id == "master" else shared.parent) / "made-once"
    shared.mkdir(exist_ok=True)

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        with FileLock(shared / f"{name}.lock"):
            if not (shared / f"{name}.whole").exists():
                shutil.rmtree(shared / name, ignore_errors=True)
                make(shared / name)
                (shared / f"{name}.whole").touch()
        return shared / name

    return folder
