"""Checks the installation. It works even if much of the installation does not.

* `examine`: runs all checks.
* `as_json`: findings for a bug report, without names of users, hosts and home folders.
* `probe`: runs `doctor_probe` in another process, because importing torch may fail, hang or crash.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import getpass
import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cartpole_dqn.errors import error_line
from cartpole_dqn.files import reason
from cartpole_dqn.studies import doctor_checks as checks
from cartpole_dqn.studies.doctor_checks import Finding
from cartpole_dqn.studies.doctor_probe import STAGES
from cartpole_dqn.system import __version__

VARIABLES = (
    "CARTPOLE_DQN_PLUGINS",
    "SDL_VIDEODRIVER",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "NO_COLOR",
    "FORCE_COLOR",
    "TERM",
)
"""Environment variables in a bug report."""

_VERDICTS = ("ok", "warning", "problem")
_PATIENCE = 300.0
"""Time limit of the other process, in seconds."""
_PACKAGE = Path(__file__).parents[2]


def examine(runs: Path, *, blocked: Sequence[str] = (), stream: Any = None) -> list[Finding]:
    """Run all checks. A check that fails is a finding; nothing is raised.

    Args:
        runs: parent of the run folders.
        blocked: plugins to leave out.
        stream: the console of the live display, a `rich.console.Console`; None skips its check.
    """
    looks: dict[str, Callable[[], Finding]] = {
        "python": checks.check_python,
        "packages": checks.check_packages,
        "processors": checks.check_processors,
        "memory": checks.check_memory,
        "disk": functools.partial(checks.check_disk, runs),
    }
    if stream is not None:
        looks["terminal"] = functools.partial(checks.check_terminal, stream)
    answers = probe(blocked)
    looks |= {name: functools.partial(checks.judge, name, answers.get(name)) for name in STAGES}
    findings = []
    for name, look in looks.items():
        try:
            findings.append(look())
        except Exception as error:
            advice = "Report a bug with this line."
            findings.append(Finding(name, "problem", f"this check failed: {error_line(error)}", advice))
    return findings


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as JSON for a bug report, without names of users, hosts and home folders."""
    worst = max((_VERDICTS.index(finding.verdict) for finding in findings), default=0)
    table = {
        "cartpole_dqn": __version__,
        "verdict": _VERDICTS[worst],
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
    return json.dumps(_anonymous(table), indent=2, ensure_ascii=False) + "\n"


def probe(blocked: Sequence[str] = (), *, patience: float = _PATIENCE) -> dict[str, dict[str, Any]]:
    """Run `doctor_probe`. Return the answer of each stage that began, with "found" or "error"."""
    command = [sys.executable, "-m", "cartpole_dqn.studies.doctor_probe", *blocked]
    # At the end, so that the same packages shadow each other as in this process.
    paths = [path for path in (os.environ.get("PYTHONPATH"), str(_PACKAGE)) if path]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    output: Any = b""
    try:
        process = subprocess.run(
            command, capture_output=True, timeout=patience, check=False, stdin=subprocess.DEVNULL, env=environ
        )
        output, failure = process.stdout, _how_it_ended(process.returncode, process.stderr)
    except subprocess.TimeoutExpired as silence:
        output, failure = silence.stdout or b"", f"no answer within {patience:.0f} seconds"
    except OSError as error:
        failure = f"no other process can be started: {reason(error)}"
    answers: dict[str, dict[str, Any]] = {}
    for line in output.decode(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            answer = json.loads(line)
            answers[answer["stage"]] = answer
    unanswered = [name for name, answer in answers.items() if answer.keys() == {"stage"}]
    for name in unanswered or ([] if answers else ["torch"]):
        answers[name] = {"stage": name, "error": failure}
    return answers


# Helpers -------------------------------------------------------------------------------------------------------------


def _how_it_ended(code: int, stderr: bytes) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"the process was ended by {signal.Signals(-code).name}"
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f"the process ended with code {code}: {lines[-1] if lines else 'it said nothing'}"


def _anonymous(value: Any) -> Any:
    """Replace the home folder, the user and the host in every text in `value`."""
    if isinstance(value, Mapping):
        return {key: _anonymous(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_anonymous(inner) for inner in value]
    if not isinstance(value, str):
        return value
    for secret, stands_for in _secrets():
        value = re.sub(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", stands_for, value)
    return value


def _secrets() -> list[tuple[str, str]]:
    secrets: list[tuple[str, str]] = []
    with contextlib.suppress(RuntimeError):
        secrets.append((str(Path.home()), "~"))
    with contextlib.suppress(Exception):  # The exception for a missing user depends on the system.
        secrets.append((getpass.getuser(), "USER"))
    secrets += [(name, "HOST") for name in {platform.node(), platform.node().partition(".")[0]}]
    return [(secret, word) for secret, word in secrets if len(secret) > 1]
