"""A run ends with whoever started it, and is imported from nowhere but what is installed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-P", "-m", "cartpole_dqn_ray.launch"]


def test_it_is_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('imported from the current folder')")
    with subprocess.Popen(
        [*COMMAND, "resume", "nowhere"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(60) == 2
    assert said.startswith("cartpole-dqn: 'nowhere' is no run")


def test_a_run_is_killed_when_its_starter_is_gone(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [*COMMAND, "run", "--obs", "state", "--steps", "100000000", "--out", str(out), "--plain"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        process.stderr.readline()  # it is under way
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(30) == -signal.SIGKILL
