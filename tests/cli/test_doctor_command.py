"""`doctor`, typed."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cartpole_dqn.studies.doctor_checks import Finding

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other plugins that may be installed are nothing to these tests."""
    monkeypatch.setenv("CARTPOLE_DQN_PLUGINS", "")


@pytest.mark.process
def test_a_machine_that_works_has_no_problem(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    result = call("doctor", "--json")
    table = json.loads(result.out)
    findings = {finding["name"]: finding for finding in table["findings"]}
    assert table["verdict"] != "problem"
    assert list(findings) == [
        "python", "packages", "processors", "memory", "disk", "terminal",
        "torch", "torchvision", "display", "plugins", "run from state", "run from pixels",
    ]  # fmt: skip
    for name in ("run from state", "run from pixels"):
        assert findings[name]["data"]["steps"] > 0
        assert findings[name]["data"]["updates"] > 0
    assert findings["torch"]["data"]["version"]
    assert table["environment"]["SDL_VIDEODRIVER"] == "dummy"
    for secret in (str(Path.home()) + os.sep, platform.node(), str(Path.cwd())):
        assert secret not in result.out
    assert "No problem was found" in result.err
    assert not list(Path().iterdir())


def test_problems_are_said_with_their_advice(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [Finding("torch", "problem", "OSError: cannot open", "Reinstall it."), Finding("memory", "ok", "8 GB")]
    monkeypatch.setattr("cartpole_dqn.studies.doctor.examine", lambda *given, **more: findings)
    result = call("doctor", code=1)
    assert result.out == (
        f"{'problem':9}{'torch':17}OSError: cannot open\n{'':26}Reinstall it.\n{'ok':9}{'memory':17}8 GB\n"
    )
    assert result.err == "error: 1 problem was found.\n"


@pytest.mark.process
def test_a_torch_that_does_not_work_is_found_and_its_mend_said(
    call: Call, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("fake")
    (folder / "torch.py").write_text("raise OSError('libtorch_cpu.so: cannot open')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    result = call("doctor", code=1)
    lines = result.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("problem  torch "))
    assert lines[at].endswith("OSError: libtorch_cpu.so: cannot open")
    assert "pip install --force-reinstall torch" in lines[at + 1]
    verdicts = {line[9:26].strip(): line[:9].strip() for line in lines if line[:9].strip()}
    assert verdicts["display"] == "ok"
    assert verdicts["run from state"] == verdicts["run from pixels"] == "problem"
    assert result.err.endswith("error: 4 problems were found.\n")
