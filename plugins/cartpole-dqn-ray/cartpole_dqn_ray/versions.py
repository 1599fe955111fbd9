"""The versions on a machine, and how those of two machines differ: `versions_here`, `mismatch`, `differences`."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Mapping

import cartpole_dqn

Versions = Mapping[str, str]
"""By name: "python", and distributions; one that is missing is left out."""

_DISTRIBUTIONS = ("ray", "torch", "gymnasium", "numpy")
_GROUPS = ("cartpole_dqn", "cartpole_dqn.commands")


def versions_here() -> dict[str, str]:
    """Return the versions of Python, cartpole-dqn, its plugins, and the libraries that a run's numbers depend on."""
    versions = {"python": platform.python_version(), "cartpole-dqn": cartpole_dqn.__version__}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    for group in _GROUPS:
        for entry in importlib.metadata.entry_points(group=group):
            if entry.dist is not None:
                versions[entry.dist.name] = entry.dist.version
    return versions


def mismatch(there: Versions, here: Versions) -> str:
    """Return why a machine cannot be used, as a sentence about it; "" if it can. Ray itself compares Ray and Python."""
    for name in ("cartpole-dqn", "cartpole-dqn-ray"):
        theirs, ours = there.get(name, "none"), here.get(name, "none")
        if theirs != ours:
            return f"it has {name} {theirs}, and this machine has {ours}. Install the same version on both."
    return ""


def differences(there: Versions, here: Versions) -> str:
    """Return all differences in one line; "" if there are none."""
    return ", ".join(
        f"{name} {there.get(name, 'none')} (here {here.get(name, 'none')})"
        for name in sorted({*here, *there})
        if there.get(name) != here.get(name)
    )
