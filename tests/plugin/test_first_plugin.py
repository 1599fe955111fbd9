"""`docs/plugins/first-plugin.md` is true: its files are written, its commands run, and their output is as it says.

Every command runs as written in a shell, but for `pip install`, which needs the network for its build tools: in its
place `expose_plugin.py` makes the project visible as an editable install would.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plugins" / "first-plugin.md"
FENCE = re.compile(r"^(?:`(?P<path>[\w./-]+)`\n\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Shell:
    """A reader's terminal: it remembers the folder, and knows `cartpole-dqn`, `pytest` and `pip`."""

    folder: Path
    bin: Path
    site: Path

    def prepare(self) -> None:
        self.bin.mkdir()
        self.site.mkdir()
        python, expose = shlex.quote(sys.executable), ROOT / "tests" / "support" / "expose_plugin.py"
        pip = f'[ "$1 $2" = "install -e" ] && exec {python} {expose} "${{3%\\[*}}" {self.site}'
        # -P: as an installed program, it does not look into the current folder by itself.
        programs = {
            "cartpole-dqn": f'exec {python} -P -m cartpole_dqn "$@"',
            "pytest": f'exec {python} -P -m pytest -p no:cacheprovider "$@"',
            "pip": pip,
        }
        for name, line in programs.items():
            (self.bin / name).write_text(f"#!/bin/sh\n{line}\n")
            (self.bin / name).chmod(0o755)

    def run(self, command: str) -> tuple[int, str]:
        """Return the exit code and all output."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.site)]), "OMP_NUM_THREADS": "1"}
        environment |= {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
        environment.pop("CARTPOLE_DQN_PLUGINS", None)
        place = self.bin / "pwd.txt"
        done = subprocess.run(
            ["bash", "-c", f"{command}\ncode=$?; pwd > {shlex.quote(str(place))}; exit $code"],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.folder = Path(place.read_text().strip())
        return done.returncode, done.stdout


def commands_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """(command, lines of its output) of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *output = part.splitlines()
        yield command, output


def assert_printed(expected: list[str], came: str, command: str) -> None:
    """Each expected line came, in this order; `...` is anything, within a line too."""
    lines = iter([" ".join(line.split()) for line in came.splitlines()])
    for line in expected:
        pattern = "*".join(re.sub(r"([*?\[])", r"[\1]", piece) for piece in " ".join(line.split()).split("..."))
        found = pattern == "*" or any(fnmatch.fnmatchcase(one, pattern) for one in lines)
        assert found, f"$ {command}\nsaid no line {line!r} after those before it, but:\n{came}"


def expected_code(output: list[str]) -> int:
    if any(line.startswith("FAILED") for line in output):
        return 1
    return 2 if any(line.startswith("error:") for line in output) else 0


@pytest.mark.process
def test_page_is_true(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home", tmp_path / "bin", tmp_path / "site")
    shell.folder.mkdir()
    shell.prepare()
    ran, written = [], []
    for fence in FENCE.finditer(PAGE.read_text(encoding="utf-8")):
        if fence["path"]:
            (shell.folder / fence["path"]).write_text(fence["text"])
            written.append(fence["path"])
        else:
            assert fence["language"] == "console", f"a block without a path: {fence['text']}"
            for command, output in commands_of(fence["text"]):
                code, came = shell.run(command)
                assert code == expected_code(output), f"$ {command}\n{came}"
                assert_printed(output, came, command)
                ran.append(command)
    assert {"pyproject.toml", "tests/test_target_update.py"} <= set(written)
    assert any(command.startswith("pip install -e ") for command in ran)
    assert any(command.startswith("cartpole-dqn run") for command in ran)
    assert (shell.folder / "first" / "best").is_dir()
