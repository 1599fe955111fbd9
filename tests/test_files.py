from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cartpole_dqn.files import create_file, open_regular, reason, replace_file, sync_folder, write_all


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    replace_file(path, b"one")
    replace_file(path, b"two" * 100_000)
    assert path.read_bytes() == b"two" * 100_000
    assert [p.name for p in tmp_path.iterdir()] == ["x.toml"]


def test_what_a_kill_left_behind_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".x.new").write_text("half")
    replace_file(tmp_path / "x", b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "x").symlink_to(victim)
    (tmp_path / ".x.new").symlink_to(victim)
    replace_file(tmp_path / "x", b"new")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "x").is_symlink()
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_an_error_keeps_the_old_content_and_leaves_nothing(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    replace_file(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_reader_that_is_in_the_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where a file that somebody has open cannot be replaced."""
    real, refusals = os.replace, [PermissionError(errno.EACCES, "Access is denied")] * 3

    def replace(new: Path, path: Path) -> None:
        if refusals:
            raise refusals.pop()
        real(new, path)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(PermissionError):
        replace_file(tmp_path / "x", b"new")
    monkeypatch.setattr("cartpole_dqn.files._PATIENCE", 60.0)
    replace_file(tmp_path / "x", b"new")
    assert not refusals
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_write_that_takes_a_part_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    descriptor = create_file(tmp_path / "x")
    write_all(descriptor, b"0123456789")
    os.close(descriptor)
    assert (tmp_path / "x").read_bytes() == b"0123456789"


def test_a_new_file_is_new(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    (tmp_path / "y").symlink_to("nowhere")
    for name in ("x", "y"):
        with pytest.raises(FileExistsError):
            create_file(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"text"
    for name, words in (
        ("link", "links are not followed"),
        ("pipe", "not a regular file"),
        ("folder", "directory|not a regular file"),
    ):
        with pytest.raises(OSError, match=words):
            open_regular(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")


def test_a_folder_that_cannot_be_synced_is_told_apart_from_a_broken_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, raised in ((errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)):

        def fail(descriptor: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        if raised:
            with pytest.raises(OSError, match="Input/output"):
                sync_folder(tmp_path)
        else:
            sync_folder(tmp_path)


def test_a_reason_is_what_the_system_said() -> None:
    assert reason(OSError(errno.ENOSPC, "No space left on device", "x")) == "No space left on device"
    assert reason(OSError("in words.")) == "in words"
    assert reason(OSError()) == "OSError"
