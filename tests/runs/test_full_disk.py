"""A whole run on a disk that fills up, and then cannot be written to at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

SCRIPT = """
import json, os, sys
from pathlib import Path
sys.path[:0] = [{tests!r} + "/soak", {tests!r} + "/support"]
import small_disk
disk, place = Path({disk!r}), Path({place!r})
try:
    small_disk.enter(disk, 4)
except OSError as error:
    print(f"refused: {{error}}")
    sys.exit(0)

from kill_and_resume import differences
from cartpole_dqn import cli
from cartpole_dqn.runs.checkpoint import read_state
from cartpole_dqn.runs.folder import run_state

def call(name, *arguments):
    sys.argv = ["cartpole-dqn", *arguments]
    with open(place / f"{{name}}.err", "w") as sys.stderr, open(place / f"{{name}}.out", "w") as sys.stdout:
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    return code

def step():
    return read_state(disk / "r" / "checkpoint")[0]["step"]

def settings(*texts):
    return [word for text in texts for word in ("--set", text)]

COMMON = ["--obs", "state", "--plain", *settings(
    "agent.learning_starts=0", "agent.batch_size=8", "evaluation.every=100", "evaluation.episodes=2",
    "checkpoint.every_steps=50", "agent.network.hidden=[64, 64]",
)]
said = {{}}
said["whole"] = call("whole", "run", *COMMON, "--steps", "400", "--out", str(place / "whole"))
# Room for one checkpoint of 130 kB (33 pages), the best model and the metrics, but not for a second checkpoint.
(disk / "filler").write_bytes(bytes((os.statvfs(disk).f_bavail - 60) * 4096))
said["full"] = call("full", "run", *COMMON, "--steps", "400", "--out", str(disk / "r"))
said["kept"] = [step(), run_state(disk / "r").state]
(disk / "filler").unlink()
said["resumed"] = call("resumed", "resume", str(disk / "r"), "--plain")
said["differences"] = differences(place / "whole", disk / "r")
before = {{str(path): path.read_bytes() for path in (disk / "r").rglob("*") if path.is_file()}}
small_disk.make_read_only(disk)
said["again"] = call("again", "resume", str(disk / "r"), "--steps", "500", "--plain")
said["evaluate"] = call("evaluate", "evaluate", str(disk / "r"), "--episodes", "2")
said["untouched"] = before == {{str(path): path.read_bytes() for path in (disk / "r").rglob("*") if path.is_file()}}
print(json.dumps(said))
"""


@pytest.mark.process
def test_a_run_survives_a_full_disk_and_a_read_only_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    script = SCRIPT.format(tests=str(TESTS), disk=str(tmp_path / "disk"), place=str(tmp_path))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("refused"):
        pytest.skip(f"this system lets nobody mount a small filesystem: {done.stdout}")
    said = json.loads(done.stdout)

    def heard(name: str) -> str:
        return " ".join((tmp_path / f"{name}.err").read_text().split())

    assert said["whole"] == 0, heard("whole")
    assert said["full"] == 1
    assert "No space left on device. The one before it is kept. Make room on the disk" in heard("full")
    assert "Traceback" not in heard("full")
    assert "The last checkpoint is of step 50." in heard("full")
    assert f"resume with: cartpole-dqn resume {tmp_path}/disk/r" in heard("full")
    assert said["kept"] == [50, "failed"]
    assert said["resumed"] == 0, heard("resumed")
    assert said["differences"] == [], heard("resumed")
    assert said["again"] == 2
    assert "cannot be locked: Read-only file system. It must be writable." in heard("again")
    assert said["evaluate"] == 0, heard("evaluate")
    assert said["untouched"]
