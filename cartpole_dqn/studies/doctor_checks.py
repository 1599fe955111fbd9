"""The checks of `doctor` that cannot crash. Each returns a `Finding`.

* `check_python`, `check_packages`, `check_processors`, `check_memory`, `check_disk`, `check_terminal`: run here.
* `judge`: the finding in an answer of `doctor_probe`, which has the other checks.

This module does not import torch.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from cartpole_dqn.files import reason
from cartpole_dqn.system import __version__, available_bytes, usable_cores
from cartpole_dqn.text.figures import size

Verdict = Literal["ok", "warning", "problem"]

BESIDE = ("pygame-ce", "pygame", "av", "box2d", "ale-py")
"""Optional packages to list if they are installed."""

_MEMORY, _DISK = (1 << 29, 3 << 29), (100 << 20, 2 << 30)
"""Bytes below which it is a problem, and a warning."""
_NARROW = 80
_NO_PYGAME = "Runs from pixels need pygame: pip install --force-reinstall pygame-ce."
_ADVICE = (
    ("torch", "No module named 'torch'", "pip install torch."),
    ("torch", "SIGILL", "This build of torch needs instructions that the processor lacks: install another version."),
    ("torch", "SIGKILL", "The system killed it, probably because memory is short: close other programs."),
    ("torch", "", "Reinstall it: pip install --force-reinstall torch."),
    (
        "torchvision",
        "",
        "torch and torchvision must match. Install both in one command: pip install --force-reinstall torch "
        "torchvision.",
    ),
    ("display", "ImportError", _NO_PYGAME),
    ("display", "ModuleNotFound", _NO_PYGAME),
    ("display", "NotInstalled", _NO_PYGAME),
    # Uninstalling `pygame` leaves a broken package that can still be imported.
    ("display", "module 'pygame' has no attribute", _NO_PYGAME),
    ("display", "", "Unset SDL_VIDEODRIVER and DISPLAY to render without a display."),
    ("plugins", "", "`cartpole-dqn plugins list` says more."),
    ("", "", "Fix the problems above, or report a bug."),
)
"""A stage of `doctor_probe`, words of its error, and what to do. The first that fits counts; "" fits all."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    verdict: Verdict
    said: str
    """The result in one line."""
    advice: str = ""
    """What to do, or ""."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Details for a bug report."""


# Checked in this process ----------------------------------------------------------------------------------------------


def check_python() -> Finding:
    """Report the Python and system versions."""
    text = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    data = {"cartpole-dqn": __version__, "release": platform.release()}
    return Finding("python", "ok", f"{text}, cartpole-dqn {__version__}", data=data)


def check_packages() -> Finding:
    """Check installed packages against the requirements."""
    required = _requirements("cartpole-dqn")
    names = dict.fromkeys([*(need.name for need in required), *BESIDE])
    versions = {name: version for name in names if (version := _version(name)) is not None}
    missing = [need.name for need in required if need.name not in versions]
    problems = [f"{' and '.join(missing)} not installed"] if missing else []
    problems += [
        f"{need.name} {versions[need.name]} does not satisfy {need}"
        for need in required
        if need.name in versions and not need.specifier.contains(versions[need.name], prereleases=True)
    ]
    advice = "pip install --upgrade cartpole-dqn installs what it needs."
    if "pygame" in versions:
        problems.append("pygame is installed, and overwrites the files of pygame-ce, which Gymnasium needs")
        advice = "pip uninstall -y pygame && pip install --force-reinstall pygame-ce. The first alone breaks pygame-ce."
    elif "pygame-ce" not in versions:
        problems.append("pygame-ce not installed")
    text = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "torch")
    if problems:
        return Finding("packages", "problem", f"{'; '.join(problems)}. Here: {text}", advice, {"versions": versions})
    return Finding("packages", "ok", text, data={"versions": versions})


def check_processors() -> Finding:
    """Report the number and load of the processors."""
    count = os.cpu_count() or 1
    usable = usable_cores()
    load = None
    with contextlib.suppress(OSError, AttributeError):
        load = os.getloadavg()[0]
    text = f"{usable} of {count} usable" if usable < count else str(count)
    busy = load is not None and load > usable
    text += "" if load is None else f", load {load:.1f}"
    text += ": the machine is busy, so the speeds below are low" if busy else ""
    return Finding("processors", "ok", text, data={"count": count, "usable": usable, "load": load})


def check_memory() -> Finding:
    """Check the available memory."""
    available = available_bytes()
    advice = "Close other programs, or make replays smaller: --set agent.replay.capacity=10000."
    return _judge_amount(available, _MEMORY, "memory", f"{size(available)} available", advice, {"available": available})


def check_disk(runs: Path) -> Finding:
    """Check that run folders can be written, and the free space."""
    place = runs
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(place).free
    except OSError as error:
        text = reason(error)
        return Finding("disk", "problem", f"{runs} cannot be written to: {text}", "Choose another place with --out.")
    advice = "Make room, choose another place with --out, or use --no-save-replay."
    return _judge_amount(free, _DISK, "disk", f"{size(free)} free at {runs}", advice, {"free": free})


def check_terminal(stream: Any) -> Finding:
    """Check what the terminal offers the live display."""
    if not stream.is_terminal:
        return Finding("terminal", "ok", "none: runs print a line every few seconds", data={"terminal": False})
    width, height = stream.size
    colours = stream.color_system or "none"
    data = {"width": width, "height": height, "colours": colours, "encoding": stream.encoding}
    text = f"{width} x {height}, colours: {colours}, {stream.encoding}"
    if not str(stream.encoding).lower().startswith("utf"):
        return Finding("terminal", "warning", text, "Curves are drawn in ASCII; PYTHONIOENCODING=utf-8 fixes it.", data)
    if width < _NARROW:
        return Finding("terminal", "warning", text, f"The display shows more in {_NARROW} columns.", data)
    return Finding("terminal", "ok", text, data=data)


# Checked in another process ------------------------------------------------------------------------------------------


def judge(name: str, answer: Mapping[str, Any] | None) -> Finding:
    """Return what a stage of `doctor_probe` found, or what its error means. `answer` is None if it did not begin."""
    if answer is None:
        return Finding(name, "warning", "not checked: the process had ended")
    if "found" in answer:
        return Finding(**answer["found"])
    error, version = str(answer["error"]), _version(name)
    summary = f"{version}: {error}" if version else error
    if name == "torchvision":
        summary += f" (torch is {_version('torch')})"
    advice = next(text for stage, sign, text in _ADVICE if stage in ("", name) and sign in error)
    return Finding(name, "problem", summary, advice)


# Helpers -------------------------------------------------------------------------------------------------------------


def _judge_amount(
    available: int, limits: tuple[int, int], name: str, text: str, advice: str, data: Mapping[str, Any]
) -> Finding:
    if available >= limits[1]:
        return Finding(name, "ok", text, data=data)
    return Finding(name, "problem" if available < limits[0] else "warning", text, advice, data)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements(distribution: str) -> list[Requirement]:
    """Return the requirements that apply here; none if the distribution is not installed."""
    try:
        requirements = [Requirement(text) for text in importlib.metadata.requires(distribution) or []]
    except importlib.metadata.PackageNotFoundError:
        return []
    return [need for need in requirements if need.marker is None or need.marker.evaluate({"extra": ""})]
