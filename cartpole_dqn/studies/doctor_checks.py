"""What `doctor` looks at, thing by thing: each check returns a `Finding`.

* `Finding`: what was looked at, the verdict, what was found, what to do.
* `check_python`, `check_packages`, `check_processors`, `check_memory`, `check_disk`, `check_terminal`: seen from here.
* `judge_torch`, `judge_torchvision`, `judge_display`, `judge_plugins`, `judge_run`: from an answer of `doctor_probe`.

No torch is imported here.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from cartpole_dqn.files import reason
from cartpole_dqn.system import __version__, available_bytes
from cartpole_dqn.text.figures import size

Verdict = Literal["ok", "warning", "problem"]

BESIDE = ("pygame-ce", "pygame", "av", "box2d", "ale-py")
"""Packages that are told of where they are installed, besides those that cartpole-dqn requires."""

_LITTLE_MEMORY, _TOO_LITTLE_MEMORY = 3 << 29, 1 << 29
_LITTLE_DISK, _TOO_LITTLE_DISK = 2 << 30, 100 << 20
_NARROW = 80


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    said: str
    """What was found, in a line."""
    advice: str = ""
    """What to do about it; "" where that is nothing."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The same and more, for a bug report."""


# Looked at here -------------------------------------------------------------------------------------------------------


def check_python() -> Finding:
    """Which Python on which system."""
    said = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    data = {"cartpole-dqn": __version__, "release": platform.release()}
    return Finding("python", "ok", f"{said}, cartpole-dqn {__version__}", data=data)


def check_packages() -> Finding:
    """What is installed, against what is required."""
    required = list(_requirements("cartpole-dqn"))
    names = dict.fromkeys([*(requirement.name for requirement in required), *BESIDE])
    versions = {name: version for name in names if (version := _version(name)) is not None}
    missing = [requirement.name for requirement in required if requirement.name not in versions]
    problems = [f"{' and '.join(missing)} not installed"] if missing else []
    problems += [
        f"{requirement.name} {versions[requirement.name]} does not satisfy {requirement}"
        for requirement in required
        if requirement.name in versions
        and not requirement.specifier.contains(versions[requirement.name], prereleases=True)
    ]
    mend = "pip install --upgrade cartpole-dqn installs what it needs."
    if "pygame" in versions:
        problems.append("pygame is installed, and overwrites the files of pygame-ce, which Gymnasium needs")
        mend = "pip uninstall -y pygame && pip install --force-reinstall pygame-ce. The first alone breaks pygame-ce."
    elif "pygame-ce" not in versions:
        problems.append("pygame-ce not installed")
    said = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "torch")
    if problems:
        return Finding("packages", "problem", f"{'; '.join(problems)}. Here: {said}", mend, {"versions": versions})
    return Finding("packages", "ok", said, data={"versions": versions})


def check_processors() -> Finding:
    """How many processors there are, and how busy."""
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    load = None
    with contextlib.suppress(OSError, AttributeError):
        load = os.getloadavg()[0]
    said = f"{usable} of {count} usable" if usable < count else str(count)
    busy = load is not None and load > usable
    said += "" if load is None else f", load {load:.1f}"
    said += ": speeds below are those of a busy machine" if busy else ""
    return Finding("processors", "ok", said, data={"count": count, "usable": usable, "load": load})


def check_memory() -> Finding:
    """How much memory may still be taken."""
    left = available_bytes()
    said, data = f"{size(left)} available", {"available": left}
    if left < _LITTLE_MEMORY:
        verdict: Verdict = "problem" if left < _TOO_LITTLE_MEMORY else "warning"
        advice = "Close other programs, or make replays smaller: --set agent.replay.capacity=10000."
        return Finding("memory", verdict, said, advice, data)
    return Finding("memory", "ok", said, data=data)


def check_disk(runs: Path) -> Finding:
    """Whether run folders can be written, and how much fits."""
    place = runs
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        left = shutil.disk_usage(place).free
    except OSError as error:
        text = reason(error)
        return Finding("disk", "problem", f"{runs} cannot be written to: {text}", "Choose another place with --out.")
    said, data = f"{size(left)} free at {runs}", {"free": left}
    if left < _LITTLE_DISK:
        verdict: Verdict = "problem" if left < _TOO_LITTLE_DISK else "warning"
        return Finding("disk", verdict, said, "Make room, choose another place with --out, or --no-save-replay.", data)
    return Finding("disk", "ok", said, data=data)


def check_terminal(stream: Any) -> Finding:
    """What the live display can be drawn with."""
    if not stream.is_terminal:
        return Finding("terminal", "ok", "none: runs print a line every few seconds", data={"terminal": False})
    width, height = stream.size
    colours = stream.color_system or "none"
    data = {"width": width, "height": height, "colours": colours, "encoding": stream.encoding}
    said = f"{width} x {height}, colours: {colours}, {stream.encoding}"
    if not str(stream.encoding).lower().startswith("utf"):
        return Finding("terminal", "warning", said, "Curves are drawn in ASCII; PYTHONIOENCODING=utf-8 mends it.", data)
    if width < _NARROW:
        return Finding("terminal", "warning", said, f"The display shows more in {_NARROW} columns.", data)
    return Finding("terminal", "ok", said, data=data)


# Looked at elsewhere -------------------------------------------------------------------------------------------------


def judge_torch(name: str, answer: Mapping[str, Any]) -> Finding:
    """Whether torch can be imported and computes."""
    if "error" in answer:
        return Finding(name, "problem", _told(name, answer), _mend_torch(str(answer["error"])))
    found = answer["found"]
    devices = ", ".join(found["devices"]) or "CPU alone"
    said = f"{found['version']}, {devices}, threads: {found['threads']} (a run takes 1 unless told otherwise)"
    if found["warnings"]:
        return Finding(name, "warning", f"{said}; it warns: {found['warnings'][0]}", "Runs use the CPU.", found)
    return Finding(name, "ok", said, data=found)


def judge_torchvision(name: str, answer: Mapping[str, Any]) -> Finding:
    """Whether torchvision belongs to the torch that is installed."""
    if "error" in answer:
        advice = (
            "torch and torchvision are built for each other and come in one command: "
            "pip install --force-reinstall torch torchvision."
        )
        return Finding(name, "problem", f"{_told(name, answer)} (torch is {_version('torch')})", advice)
    return Finding(name, "ok", answer["found"]["version"], data=answer["found"])


def judge_display(name: str, answer: Mapping[str, Any]) -> Finding:
    """Whether environments can be drawn, and windows opened."""
    if "error" in answer:
        # What is left of the folder once another distribution was removed from it can still be imported.
        signs = ("ImportError", "ModuleNotFound", "NotInstalled", "module 'pygame' has no attribute")
        absent = any(sign in str(answer["error"]) for sign in signs)
        advice = (
            "Runs from pixels need pygame: pip install --force-reinstall pygame-ce."
            if absent
            else "Unset SDL_VIDEODRIVER and DISPLAY: then pictures are drawn unseen."
        )
        return Finding(name, "problem", _told(name, answer), advice)
    found = answer["found"]
    if found["colours"] < 2:
        return Finding(name, "problem", "pictures come out empty", "Unset SDL_VIDEODRIVER, or report a bug.", found)
    if found["window"]:
        advice = "`record` makes a file instead; over ssh, -X or -Y may bring a display."
        return Finding(name, "warning", f"no window can be opened for `watch`: {found['window']}", advice, found)
    if found["driver"] in ("dummy", "offscreen"):
        said = f"SDL's driver {found['driver']}: runs and `record` need no more, `watch` has no window"
        return Finding(name, "ok", said, data=found)
    return Finding(name, "ok", f"SDL's driver {found['driver']}", data=found)


def judge_plugins(name: str, answer: Mapping[str, Any]) -> Finding:
    """What became of each plugin."""
    if "error" in answer:
        return Finding(name, "problem", _told(name, answer), "`cartpole-dqn plugins list` says more.")
    found = answer["found"]
    brought = [plugin for plugin in found["plugins"] if plugin["distribution"] != "cartpole-dqn"]
    said = ", ".join(f"{p['distribution']} {p['version']} {p['state']}" for p in brought) or "none beside the built-ins"
    data = {"plugins": brought, "warnings": found["warnings"]}
    if found["warnings"]:
        advice = "Update or uninstall it, or leave it out with -p no:NAME."
        return Finding(name, "warning", f"{said}; {' '.join(found['warnings'])}", advice, data)
    return Finding(name, "ok", said, data=data)


def judge_run(name: str, answer: Mapping[str, Any]) -> Finding:
    """Whether a short run trains, and how fast."""
    if "error" in answer:
        return Finding(name, "problem", _told(name, answer), "Mend what stands above first; else report a bug.")
    found = answer["found"]
    rate = found["steps"] / found["seconds"]
    said = f"{found['steps']} steps and {found['updates']} updates in {found['seconds']:.1f} s, {rate:,.0f} steps/s"
    return Finding(name, "ok", said, data=found)


# Helpers -------------------------------------------------------------------------------------------------------------


def _told(name: str, answer: Mapping[str, Any]) -> str:
    version = _version(name)
    return f"{version}: {answer['error']}" if version else str(answer["error"])


def _mend_torch(error: str) -> str:
    if "No module named 'torch'" in error:
        return "pip install torch."
    if "SIGILL" in error:
        return "This build of torch uses instructions that the processor lacks: install another version."
    if "SIGKILL" in error:
        return "The system ended it, most likely for want of memory: close other programs."
    return "Install it anew: pip install --force-reinstall torch."


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements(distribution: str) -> Iterator[Requirement]:
    """Yield what a distribution needs here; nothing where it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for text in importlib.metadata.requires(distribution) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield requirement
