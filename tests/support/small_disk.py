"""A filesystem of a few megabytes for this process alone: it is gone when the process is, and needs no root.

* `enter`: mount one at a folder, in namespaces of this process's own.
* `make_read_only`: mount it again so that nothing can be written.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_REC, _MS_PRIVATE = 1, 32, 16384, 1 << 18


def enter(place: Path, megabytes: int) -> None:
    """Mount an empty filesystem at the folder `place`. Only a process with one thread can, so call it after a fork.

    Raises:
        OSError: the system allows neither root nor others to do so.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNS) != 0:
        _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
        # In a user namespace of its own a process is root over what it mounts, whoever it is outside.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount --make-private")
    options = f"size={megabytes}m".encode()
    _check(libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", 0, options), f"mount {place}")


def make_read_only(place: Path) -> None:
    """Mount the filesystem at `place` again, read-only. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", _MS_REMOUNT | _MS_RDONLY, None), f"remount {place}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
