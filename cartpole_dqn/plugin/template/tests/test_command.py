from __future__ import annotations

from pathlib import Path

import typer
from cartpole_dqn import train
from typer.testing import CliRunner

from cartpole_dqn_acme.command import spread


def test_it_prints_a_line(tmp_path: Path) -> None:
    train(obs="state", steps=100, plain=True, out=tmp_path / "run")
    app = typer.Typer()
    app.command()(spread)
    said = CliRunner().invoke(app, [str(tmp_path / "run"), "--episodes", "2"])
    assert said.exit_code == 0
    assert said.stdout.endswith(" over 2 episodes\n")
