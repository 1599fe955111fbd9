"""Verdicts: from what was found, and from another process that may die of looking."""

from __future__ import annotations

import getpass
import io
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cartpole_dqn.studies import doctor_checks as checks
from cartpole_dqn.studies.doctor import as_json, examine, probe
from cartpole_dqn.studies.doctor_checks import Finding
from cartpole_dqn.studies.doctor_probe import judge_display, judge_plugins


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Put packages with this source before the installed ones, for other processes."""
    for name, source in modules.items():
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(source)
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), before])))


# Another process ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("source", "error", "advice"),
    [
        ("import os; os.kill(os.getpid(), 4)", "the process was ended by SIGILL", "that the processor lacks"),
        ("import os; os.kill(os.getpid(), 9)", "the process was ended by SIGKILL", "because memory is short"),
        ("import os; os.write(2, b'a\\nbad\\n'); os._exit(3)", "the process ended with code 3: bad", "Reinstall it"),
        ("import time; time.sleep(600)", "no answer within 2 seconds", "Reinstall it"),
    ],
)
@pytest.mark.process
def test_whatever_kills_or_hangs_the_other_process_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, error: str, advice: str
) -> None:
    fake(tmp_path, monkeypatch, torch=source)
    answers = probe(patience=2 if "sleep" in source else 100)
    assert answers.keys() == {"torch"}
    assert answers["torch"]["error"] == error
    assert advice in checks.judge("torch", answers["torch"]).advice


@pytest.mark.process
def test_what_was_not_reached_is_a_warning_and_a_check_that_raises_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, torch="import os; os._exit(1)")

    def fails() -> Finding:
        raise ZeroDivisionError("so it\nis")

    monkeypatch.setattr(checks, "check_memory", fails)
    findings = {finding.name: finding for finding in examine(tmp_path)}
    assert findings["memory"].verdict == "problem"
    assert findings["memory"].said.startswith("this check failed: ZeroDivisionError: so it is (test_doctor.py, line ")
    assert findings["torch"].verdict == "problem"
    for name in ("torchvision", "display", "plugins", "run from state", "run from pixels"):
        assert (findings[name].verdict, findings[name].said) == ("warning", "not checked: the process had ended")
    assert "terminal" not in findings


@pytest.mark.process
def test_another_python_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert probe()["torch"]["error"] == "no other process can be started: No such file or directory"


# Verdicts -------------------------------------------------------------------------------------------------------------


def test_packages_are_held_to_what_is_required(install: Callable[..., None]) -> None:
    needs = ("rich>=999", "numpy>=1", "typer<0.1; extra == 'x'")
    install("cartpole-dqn", requires="\nRequires-Dist: ".join(needs))
    finding = checks.check_packages()
    assert finding.verdict == "problem"
    assert finding.said.startswith("rich ")
    assert " does not satisfy rich>=999. Here: " in finding.said
    assert finding.data["versions"]["rich"] in finding.said


@pytest.mark.process
def test_the_other_pygame_is_a_problem_and_so_is_what_its_removal_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Callable[..., None]
) -> None:
    install("pygame")
    finding = checks.check_packages()
    assert finding.verdict == "problem"
    assert "pygame is installed, and overwrites the files of pygame-ce" in finding.said
    assert "pip uninstall -y pygame && pip install --force-reinstall pygame-ce" in finding.advice
    fake(tmp_path, monkeypatch, pygame="")
    broken = checks.judge("display", probe()["display"])
    assert (broken.verdict, "pip install --force-reinstall pygame-ce" in broken.advice) == ("problem", True)


@pytest.mark.process
def test_a_torchvision_of_another_torch_is_a_problem_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checks.judge("torchvision", probe()["torchvision"]).verdict == "ok"
    error = "operator torchvision::nms does not exist"
    fake(tmp_path, monkeypatch, torchvision=f"raise RuntimeError({error!r})")
    answers = probe()
    finding = checks.judge("torchvision", answers["torchvision"])
    assert finding.verdict == "problem"
    assert f"RuntimeError: {error} (torch is " in finding.said
    assert "pip install --force-reinstall torch torchvision" in finding.advice
    assert "found" in answers["run from state"], "runs need torchvision only where they are told to"


@pytest.mark.parametrize(("left", "verdict"), [(8 << 30, "ok"), (1 << 30, "warning"), (1 << 28, "problem")])
def test_memory_is_judged_by_what_is_left(monkeypatch: pytest.MonkeyPatch, left: int, verdict: str) -> None:
    monkeypatch.setattr(checks, "available_bytes", lambda: left)
    assert checks.check_memory().verdict == verdict


def test_disk_is_judged_where_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_disk(tmp_path / "not" / "yet").verdict == "ok"
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    refused = checks.check_disk(tmp_path / "file")
    assert (refused.verdict, refused.advice) == ("problem", "Choose another place with --out.")
    assert "cannot be written to: Not a directory" in refused.said
    for free, verdict in ((1 << 30, "warning"), (1 << 20, "problem")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert checks.check_disk(tmp_path).verdict == verdict


def test_terminals_are_judged_by_what_they_can_show() -> None:
    def judged(width: int, encoding: str = "utf-8") -> Finding:
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        return checks.check_terminal(Console(file=file, force_terminal=True, width=width, height=30))

    assert judged(120).verdict == "ok"
    assert judged(60).verdict == "warning"
    assert "PYTHONIOENCODING" in judged(120, "latin-1").advice
    piped = checks.check_terminal(Console(file=io.StringIO()))
    assert (piped.verdict, "a line every few seconds" in piped.said) == ("ok", True)


@pytest.mark.parametrize(
    ("drawing", "verdict", "words"),
    [
        ({"colours": 32, "driver": "x11", "window": ""}, "ok", "SDL's driver x11"),
        ({"colours": 32, "driver": "dummy", "window": ""}, "ok", "`watch` has no window"),
        ({"colours": 32, "driver": "", "window": "x11 not available"}, "warning", "no window can be opened"),
        ({"colours": 1, "driver": "x11", "window": ""}, "problem", "rendered pictures are empty"),
    ],
)
def test_displays_are_judged_by_what_comes_out(drawing: dict[str, Any], verdict: str, words: str) -> None:
    finding = judge_display(**drawing)
    assert (finding.verdict, words in finding.said) == (verdict, True)


def test_broken_plugins_are_warned_of() -> None:
    mine = {"name": "acme", "distribution": "acme", "version": "1", "state": "failed", "error": "no", "components": []}
    own = {**mine, "distribution": "cartpole-dqn", "state": "loaded"}
    finding = judge_plugins([own, mine], ["plugin 'acme' of acme 1 failed: no"])
    assert finding.verdict == "warning"
    assert finding.said == "acme 1 failed; plugin 'acme' of acme 1 failed: no"
    assert judge_plugins([own], []).verdict == "ok"


def test_a_report_names_no_user_host_or_home() -> None:
    user, home, host = getpass.getuser(), str(Path.home()), platform.node()
    sentence = f"{home}/lib/torch.so of {user}@{host}: {home}x {user}s"
    finding = Finding("torch", "problem", sentence, f"ask {user}", {"list": [f"{home}/x", 3], "inner": {"host": host}})
    table = json.loads(as_json([finding]))
    (entry,) = table["findings"]
    assert entry["said"] == f"~/lib/torch.so of USER@HOST: {home}x {user}s"
    assert entry["advice"] == "ask USER"
    assert entry["data"] == {"list": ["~/x", 3], "inner": {"host": "HOST"}}
    assert table["verdict"] == "problem"
    assert json.loads(as_json([]))["verdict"] == "ok"
