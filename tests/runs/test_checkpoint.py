from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import small_disk
from cartpole_dqn.errors import CheckpointError, RunError
from cartpole_dqn.files import open_regular
from cartpole_dqn.runs import checkpoint
from cartpole_dqn.runs.checkpoint import STATE_FILE, has_state, read_state, write_state
from children import in_child

PARTS: dict[str, dict[str, Any]] = {
    "run": {"step": 7, "weights": {"w": torch.arange(6.0).reshape(2, 3)}, "pcg": np.random.PCG64(1).state},
    "replay": {"obs": np.arange(40, dtype=np.uint8).reshape(10, 4), "position": np.int64(3)},
}


def parts_at(step: int) -> dict[str, Any]:
    """A state in which every file tells the step."""
    return {"run": {"step": step}, "replay": {"steps": np.full(500, step)}}


def step_of(folder: Path) -> int:
    meta, parts = read_state(folder)
    assert parts["run"]["step"] == meta["step"]
    assert parts["replay"]["steps"].tolist() == [meta["step"]] * 500
    return int(meta["step"])


def write_step(folder: Path, step: int) -> int:
    return write_state(folder, parts_at(step), meta={"step": step})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def named(folder: Path) -> set[str]:
    """The files that belong to the state."""
    table = json.loads((folder / STATE_FILE).read_text())
    return {STATE_FILE} | {part["file"] for part in table["parts"].values()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint"


# The whole way --------------------------------------------------------------------------------------------------------


def test_a_state_comes_back_writable(folder: Path) -> None:
    assert not has_state(folder)
    meta = {"env": "CartPole-v1", "step": 7, "shape": (1, 2)}
    nbytes = write_state(folder, PARTS, meta=meta)
    assert has_state(folder)
    assert nbytes == sum(path.stat().st_size for path in folder.iterdir())
    for _ in range(2):
        found, parts = read_state(folder)
        run, replay = parts["run"], parts["replay"]
        assert (found, run["pcg"], type(replay["position"])) == (meta, PARTS["run"]["pcg"], np.int64)
        assert torch.equal(run["weights"]["w"], PARTS["run"]["weights"]["w"])
        assert replay["obs"].dtype == np.uint8
        assert np.array_equal(replay["obs"], PARTS["replay"]["obs"])
        run["weights"]["w"] += 1
        replay["obs"][:] = 0


def test_only_the_parts_that_are_wanted_are_opened(folder: Path) -> None:
    write_state(folder, PARTS, meta={})
    (folder / "replay-1.safetensors").write_bytes(b"broken")
    assert read_state(folder, parts={"run"})[1].keys() == {"run"}
    with pytest.raises(CheckpointError, match=r"replay-1\.safetensors has 6 bytes where"):
        read_state(folder)
    with pytest.raises(CheckpointError, match="holds no part 'other', only run, replay"):
        read_state(folder, parts={"other"})


def test_an_optional_part_may_be_absent_but_not_broken(folder: Path) -> None:
    write_state(folder, {"run": PARTS["run"]}, meta={})
    assert read_state(folder, parts=["run", "replay"], optional={"replay"})[1].keys() == {"run"}
    write_state(folder, PARTS, meta={})
    (folder / "replay-2.safetensors").unlink()
    assert read_state(folder, optional={"replay"})[1].keys() == {"run"}
    with pytest.raises(CheckpointError, match=r"replay-2\.safetensors is missing"):
        read_state(folder)
    (folder / "replay-2.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="has 1 bytes"):
        read_state(folder, optional={"replay"})


def test_a_new_state_replaces_the_old_one_and_only_that(folder: Path) -> None:
    write_step(folder, 1)
    for foreign in ("notes.txt", "run.safetensors", "run-x.safetensors", "Run-1.safetensors"):
        (folder / foreign).write_text("mine")
    for leftover in ("run-1.safetensors", "old-17.safetensors", f".{STATE_FILE}.new"):
        (folder / leftover).write_text("left behind")
    write_step(folder, 2)
    assert step_of(folder) == 2
    assert names(folder) == named(folder) | {"notes.txt", "run.safetensors", "run-x.safetensors", "Run-1.safetensors"}


def test_bad_states_are_refused_before_anything_is_touched(folder: Path) -> None:
    write_step(folder, 1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TypeError, match=r"part 'run': state\['x'\] is a builtins.set"):
        write_state(folder, {"run": {"x": {1}}}, meta={})
    with pytest.raises(TypeError, match="put it into a part"):
        write_state(folder, {}, meta={"x": torch.zeros(1)})
    for name in ("../run", "run-1", "", "/run", "Run", "run.x"):
        with pytest.raises(ValueError, match="lower-case word"):
            write_state(folder, {name: {}}, meta={})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_index_that_could_not_be_read_again_is_not_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_step(folder, 1)
    monkeypatch.setattr("cartpole_dqn.runs.checkpoint._MAX_INDEX", 5_000)
    with pytest.raises(RunError, match="put long histories into arrays"):
        write_state(folder, {"run": {"x": list(range(5000))}}, meta={})
    assert step_of(folder) == 1
    assert names(folder) == named(folder)


# Kills ----------------------------------------------------------------------------------------------------------------

CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir", "close", "rmdir")


@contextlib.contextmanager
def before_calls(numbers: Container[int], act: Callable[[str, tuple[Any, ...]], None]) -> Iterator[Callable[[], int]]:
    """Call `act(name, args)` just before those calls to the system, from 1; yields how many were made."""
    real = {name: getattr(os, name) for name in CALLS}
    count = 0

    def wrap(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count in numbers:
                act(name, args)
            return real[name](*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, wrap(name))
    try:
        yield lambda: count
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def die(name: str, args: tuple[Any, ...]) -> None:
    """Be killed in the middle of a write, or just before anything else."""
    if name == "write":
        descriptor, data = args
        os.pwrite(descriptor, bytes(data)[: len(data) // 2], os.lseek(descriptor, 0, os.SEEK_CUR))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("first", [True, False], ids=["first write", "later write"])
def test_a_kill_at_any_call_leaves_the_old_state_or_the_new(folder: Path, first: bool) -> None:
    def work(number: int) -> None:
        with before_calls([number], die):
            write_step(folder, 2)

    killed = seen_old = 0
    for number in range(1, 100):
        shutil.rmtree(folder, ignore_errors=True)
        if not first:
            write_step(folder, 1)
        if in_child(lambda: work(number)) == 0:  # noqa: B023
            break
        killed += 1
        if first and not has_state(folder):
            seen_old += 1
        else:
            step = step_of(folder)
            assert step in ((2,) if first else (1, 2))
            seen_old += step == 1
        write_step(folder, 3)
        assert step_of(folder) == 3
        assert names(folder) == named(folder)
    assert killed >= 15
    assert 5 < seen_old < killed


def test_names_last_only_after_what_they_name(folder: Path) -> None:
    """At a power cut the disk may keep any subset of what was not synced; so everything is, in the right order."""
    write_step(folder, 1)
    log: list[tuple[str, str]] = []

    def note(name: str, args: tuple[Any, ...]) -> None:
        if name in ("write", "fsync"):  # what safetensors writes itself is not seen here
            log.append((name, Path(f"/proc/self/fd/{args[0]}").readlink().name))
        elif name in ("replace", "unlink"):
            log.append((name, Path(args[0]).name))

    with before_calls(range(1, 1000), note):
        write_step(folder, 2)
    log = [(call, name.split("-")[0]) for call, name in log]
    log = [entry for i, entry in enumerate(log) if i == 0 or entry != log[i - 1]]
    wanted = [
        ("fsync", "run"),
        ("fsync", "replay"),
        ("fsync", "checkpoint"),
        ("write", f".{STATE_FILE}.new"),
        ("fsync", f".{STATE_FILE}.new"),
        ("replace", f".{STATE_FILE}.new"),
        ("fsync", "checkpoint"),
        ("fsync", folder.parent.name.split("-")[0]),
    ]
    log.remove(("unlink", f".{STATE_FILE}.new"))
    assert log[:-2] == wanted
    assert set(log[-2:]) == {("unlink", "run"), ("unlink", "replay")}


@pytest.mark.parametrize("optional", [(), ("replay",)])
def test_a_state_replaced_between_its_index_and_its_files_is_read_anew(
    folder: Path, optional: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_step(folder, 1)
    steps = [2, 3]

    def open_late(path: Path) -> Any:
        if steps and path.name.startswith("replay"):
            write_step(folder, steps.pop(0))
        return open_regular(path)

    monkeypatch.setattr(checkpoint, "open_regular", open_late)
    meta, parts = read_state(folder, optional=optional)
    assert meta["step"] == parts["run"]["step"] == parts["replay"]["steps"][0] == 3


# Failing disks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_an_error_at_any_call_leaves_a_whole_state(folder: Path, lasting: bool) -> None:
    def fail(name: str, args: tuple[Any, ...]) -> None:
        # A close that fails has closed, as on Linux.
        if name == "close":
            os.closerange(args[0], args[0] + 1)
        raise OSError(errno.EIO, "Input/output error")

    number = total = refused = 0
    while number <= total:
        number += 1
        shutil.rmtree(folder, ignore_errors=True)
        write_step(folder, 1)
        said = None
        with before_calls(range(number, 1000 if lasting else number + 1), fail) as count:
            try:
                write_step(folder, 2)
            except RunError as error:
                said = str(error)
        assert said is None or "Input/output error. The one before it is kept." in said
        failed = said is not None
        total = max(total, count())
        refused += failed
        assert step_of(folder) in ((1, 2) if failed else (2,))
        if failed and not lasting and step_of(folder) == 1:
            assert names(folder) == named(folder)
        write_step(folder, 3)
        assert step_of(folder) == 3
        assert names(folder) == named(folder)
    assert 10 < refused < total


def test_a_disk_that_fills_at_any_page_keeps_a_whole_state(tmp_path: Path) -> None:
    disk, refused = tmp_path / "disk", tmp_path / "refused"
    disk.mkdir()

    def work() -> None:
        try:
            small_disk.enter(disk, 1)
        except OSError as error:
            refused.write_text(str(error))
            return
        folder = disk / "checkpoint"
        with pytest.raises(RunError, match=r"No space left on device\. Make room"):
            write_state(folder, {"run": {"x": np.ones(200_000)}}, meta={})
        assert not folder.exists()
        outcomes = set()
        for pages in range(12):
            shutil.rmtree(folder, ignore_errors=True)
            (disk / "filler").unlink(missing_ok=True)
            write_step(folder, 1)
            (disk / "filler").write_bytes(bytes((os.statvfs(disk).f_bavail - pages) * 4096))
            try:
                write_step(folder, 2)
                outcomes.add("written")
                assert step_of(folder) == 2
            except RunError as error:
                outcomes.add(str(error).partition(": ")[2].partition(" Make room")[0])
                assert step_of(folder) == 1
                assert names(folder) == named(folder)
        assert outcomes == {"written", "No space left on device. The one before it is kept."}
        small_disk.make_read_only(disk)
        with pytest.raises(RunError, match=r"Read-only file system\. The one before it is kept"):
            write_step(folder, 3)

    assert in_child(work) == 0
    if refused.exists():
        pytest.skip(f"this system lets nobody mount a small filesystem: {refused.read_text()}")


def test_a_kill_at_any_byte_keeps_a_whole_state(folder: Path) -> None:
    """The system itself kills the process with the byte that would make a file longer than allowed."""
    write_step(folder, 1)
    longest = max(path.stat().st_size for path in folder.iterdir())
    # Every file of the second state has the length of the first one's, or nearly.
    killed = 0
    for limit in [*range(0, longest, 173), *range(longest - 3, longest + 2)]:

        def work(limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            write_step(folder, 2)

        ended = in_child(work)
        assert ended in (0, signal.SIGXFSZ)
        killed += ended != 0
        assert step_of(folder) in ((1,) if ended else (2,))
        write_step(folder, 1)
        assert names(folder) == named(folder)
    assert killed > 20
    assert ended == 0, "the last limit is none"


def test_a_file_where_the_folder_should_be_is_kept(folder: Path) -> None:
    folder.write_text("mine")
    with pytest.raises(RunError, match=r"could not be written to .*checkpoint: "):
        write_step(folder, 1)
    with pytest.raises(RunError, match="Not a directory"):
        write_step(folder / "below", 1)
    assert folder.read_text() == "mine"
    with pytest.raises(CheckpointError, match="no such folder"):
        read_state(folder)


def test_nothing_is_read_or_written_through_a_link(folder: Path) -> None:
    write_step(folder, 7)
    link = folder.parent / "link"
    link.symlink_to(folder)
    with pytest.raises(CheckpointError, match="symbolic link"):
        read_state(link)
    with pytest.raises(RunError, match="symbolic link"):
        write_step(link, 1)
    victim = folder.parent / "victim"
    victim.write_text("precious")
    for name in (STATE_FILE, f".{STATE_FILE}.new", "run-2.safetensors", "replay-77.safetensors"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(victim)
    write_step(folder, 1)
    assert victim.read_text() == "precious"
    assert step_of(folder) == 1
    assert names(folder) == named(folder)
