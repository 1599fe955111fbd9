"""What a node must have in common with the machine that a sweep was started on.

`python -m cartpole_dqn_ray.versions` prints the first two as JSON.

* `versions_here`: the versions that this process works with.
* `boot_id`: what tells machines apart.
* `mismatch`, `differences`: how others differ: such that nothing can run there, or only worth knowing.
* `breaking`, `differing`: the same as sentences about a node.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import cartpole_dqn

Versions = Mapping[str, str]
"""By name: "python", and distributions; one that is missing is left out."""

_DISTRIBUTIONS = ("ray", "torch", "gymnasium", "numpy")
_GROUPS = ("cartpole_dqn", "cartpole_dqn.commands")


def versions_here() -> dict[str, str]:
    """Return the versions of Python, of cartpole-dqn and its plugins, and of what decides a run's numbers."""
    found = {"python": platform.python_version(), "cartpole-dqn": cartpole_dqn.__version__}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for group in _GROUPS:
        for entry in importlib.metadata.entry_points(group=group):
            if entry.dist is not None:
                found[entry.dist.name] = entry.dist.version
    return found


def boot_id() -> str:
    """Return what is the same for all processes of a machine until it is started again; "" where it is not known."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def mismatch(there: Versions, here: Versions, names: Sequence[str] = ("python", "cartpole-dqn")) -> list[str]:
    """Return the name and both versions, theirs first, of the first of `names` that must agree and does not."""
    for name in names:
        theirs, ours = there.get(name, "none"), here.get(name, "none")
        # Of Python's, major and minor count.
        counts = 2 if name == "python" else None
        if theirs.split(".")[:counts] != ours.split(".")[:counts]:
            return [name.replace("python", "Python"), theirs, ours]
    return []


def breaking(node: str, there: Versions, here: Versions) -> str:
    """Return why nothing can run on `node`, as a sentence; "" where it can."""
    if not (found := mismatch(there, here)):
        return ""
    name, theirs, ours = found
    return (
        f"{node} is not used: it has {name} {theirs}, and this machine has {ours}. "
        f"Install the same version there, or start the sweep from a machine that has {theirs}."
    )


def differing(node: str, there: Versions, here: Versions) -> str:
    """Return what else differs on `node`, as a sentence; "" where nothing does."""
    found = differences(there, here)
    return f"{node} has other versions: {found}. Its trials may take another course." if found else ""


def differences(there: Versions, here: Versions) -> str:
    """Return what differs, in a line; "" where nothing does."""
    return ", ".join(
        f"{name} {there.get(name, 'none')} (here {here.get(name, 'none')})"
        for name in sorted({*here, *there})
        if there.get(name) != here.get(name)
    )


if __name__ == "__main__":
    print(json.dumps({"versions": versions_here(), "boot": boot_id()}))
