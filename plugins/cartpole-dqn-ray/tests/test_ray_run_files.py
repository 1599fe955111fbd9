"""A run's files are taken as they stood at one moment, and put in place so that each moment shows a whole state."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import FrameType

import pytest
from cartpole_dqn_ray.run_files import Stamps, read_run, stamps, write_run
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn import RunError


def write_state(folder: Path, number: int, content: bytes) -> None:
    """Write a state as a run does: numbered files, then `state.json` at once, then the old files removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("run", "replay"):
        (folder / f"{part}-{number}.safetensors").write_bytes(content * (3 if part == "replay" else 1))
    new = folder / ".state.json.new"
    new.write_text(json.dumps({"number": number, "content": content.hex()}))
    new.replace(folder / "state.json")
    for path in folder.glob("*.safetensors"):
        if not path.name.endswith(f"-{number}.safetensors"):
            path.unlink()


def require_whole(folder: Path) -> int:
    """Check that `state.json` names files that are there and its own; return its number."""
    report = json.loads((folder / "state.json").read_text())
    content = bytes.fromhex(report["content"])
    assert (folder / f"run-{report['number']}.safetensors").read_bytes() == content
    assert (folder / f"replay-{report['number']}.safetensors").read_bytes() == content * 3
    return int(report["number"])


def a_run(folder: Path, number: int = 1) -> Path:
    for state in ("checkpoint", "best"):
        write_state(folder / state, number, b"%d" % number * 1000)
    (folder / "config.toml").write_text("seed = 1\n")
    (folder / "metrics.jsonl").write_text("{}\n" * number)
    (folder / "tensorboard").mkdir(exist_ok=True)
    (folder / "tensorboard" / "events.out.tfevents.17.host.0").write_bytes(b"\x00" * number)
    (folder / "empty").touch()
    return folder


def bring(source: Path, target: Path, known: Stamps | None = None) -> Stamps:
    files, stamps = read_run(source, known or {}, bytes)
    write_run(target, files, bytes)
    return stamps


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_run_arrives_as_it_is(tmp_path: Path) -> None:
    source, target = a_run(tmp_path / "a"), tmp_path / "b"
    (source / ".lock").write_text("17\n")
    bring(source, target)
    expected = contents(source)
    del expected[".lock"]
    assert contents(target) == expected


def test_only_what_changed_is_sent(tmp_path: Path) -> None:
    source, target = a_run(tmp_path / "a"), tmp_path / "b"
    known = bring(source, target)
    assert known == stamps(source)
    assert read_run(source, known, bytes) == ({}, known)
    (source / "metrics.jsonl").write_text("{}\n" * 9)
    assert read_run(source, known, bytes)[0] == {"metrics.jsonl": b"{}\n" * 9}
    write_state(source / "checkpoint", 2, b"two" * 500)
    files, _ = read_run(source, known, bytes)
    assert not [name for name in files if name.startswith("best/")]
    bring(source, target, known)
    assert contents(target) == contents(source)


@pytest.mark.parametrize("times", [1, 2])
def test_a_checkpoint_that_is_written_at_any_call_is_not_torn(tmp_path: Path, times: int) -> None:
    source = a_run(tmp_path / "a")
    number, calls = 1, 0

    def write_at(frame: FrameType, event: str, called: object) -> None:
        nonlocal number, calls
        if event == "c_call" and getattr(called, "__module__", "") in {"posix", "nt", "_io"}:
            calls += 1
            if calls == due:
                for _ in range(times):  # the second may get the inode and the time of the first one's predecessor
                    number += 1
                    write_state(source / "checkpoint", number, b"%d" % number * 400)

    for due in range(1, 1000):
        calls = 0
        sys.setprofile(write_at)
        try:
            files, _ = read_run(source, {}, bytes)
        finally:
            sys.setprofile(None)
        if calls < due:
            break
        state = json.loads(files["checkpoint/state.json"])
        assert files[f"checkpoint/run-{state['number']}.safetensors"] == bytes.fromhex(state["content"])
        assert files[f"checkpoint/replay-{state['number']}.safetensors"] == bytes.fromhex(state["content"]) * 3
    assert 20 < due < 999


def test_a_receiver_that_dies_at_any_call_shows_a_whole_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = a_run(tmp_path / "a", 1), a_run(tmp_path / "c", 2)
    real = os.replace
    seen = []
    for deadly in range(40):
        target = tmp_path / "b"
        shutil.rmtree(target, ignore_errors=True)
        bring(first, target)
        calls = 0

        def dying(path: Path, to: Path, deadly: int = deadly) -> None:
            nonlocal calls
            calls += 1
            if calls > deadly:
                raise KeyboardInterrupt
            real(path, to)

        monkeypatch.setattr(os, "replace", dying)
        try:
            bring(second, target)
            died = False
        except KeyboardInterrupt:
            died = True
        monkeypatch.undo()
        best, last = require_whole(target / "best"), require_whole(target / "checkpoint")
        assert best >= last  # what the checkpoint counts on came before it
        assert last == 1 or (target / "metrics.jsonl").read_text() == "{}\n" * 2
        seen.append(last)
        if not died:
            break
    assert seen[0] == 1
    assert seen[-1] == 2
    assert len(seen) > 8


def test_links_are_neither_sent_nor_written_through(tmp_path: Path) -> None:
    source, outside = a_run(tmp_path / "a"), tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (source / "link").symlink_to(outside / "secret")
    (source / "folder").symlink_to(outside)
    assert not {"link", "folder/secret"} & stamps(source).keys()
    target = tmp_path / "b"
    target.mkdir()
    (target / "tensorboard").symlink_to(outside)
    with pytest.raises(RunError, match="is not inside"):
        bring(source, target)
    assert list(outside.iterdir()) == [outside / "secret"]


def test_content_that_does_not_arrive_leaves_a_whole_state(tmp_path: Path) -> None:
    first, second = a_run(tmp_path / "a", 1), a_run(tmp_path / "c", 2)
    bring(first, tmp_path / "b")
    files, _ = read_run(second, {}, bytes)

    def get(content: bytes) -> bytes:
        if content == files["checkpoint/replay-2.safetensors"]:
            raise OSError("its owner died")
        return content

    with pytest.raises(OSError, match="its owner died"):
        write_run(tmp_path / "b", files, get)
    assert require_whole(tmp_path / "b" / "checkpoint") == 1


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "../run-2/x"])
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not inside"):
        write_run(tmp_path / "run", {name: b""}, bytes)
    assert not (tmp_path / "run").exists()


@given(st.text(alphabet="ab./\\:~ \x00-\u00e9", max_size=12))
def test_a_name_that_passes_stays_inside(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place).resolve()
        with contextlib.suppress(RunError, OSError, ValueError):
            write_run(root / "run", {name: b""}, bytes)
            assert (root / "run" / name).resolve().is_relative_to(root / "run")
            assert (root / "run" / name).is_file()
        assert {path.name for path in root.iterdir()} <= {"run"}
