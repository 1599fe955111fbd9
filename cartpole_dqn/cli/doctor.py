"""`doctor` checks the installation and says how to fix problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cartpole_dqn.cli.session import Session
from cartpole_dqn.errors import RunError
from cartpole_dqn.text.tables import WARNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cartpole_dqn.studies.doctor_checks import Finding


_STYLES = {"ok": "green", "warning": WARNING, "problem": "bold red"}


def doctor(
    ctx: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for a bug report. It names no user, host or home folder.")
    ] = False,
) -> None:
    """Check the installation, and train for a second.

    The exit code is 1 if there is a problem.

    Examples:
        cartpole-dqn doctor
        cartpole-dqn doctor --json > report.json
    """
    from cartpole_dqn.runs.catalogue import ROOT
    from cartpole_dqn.studies.doctor import as_json as to_json
    from cartpole_dqn.studies.doctor import examine

    session: Session = ctx.obj
    with session.spinner("looking"):
        findings = examine(ROOT, blocked=session.blocked, stream=session.err)
    if as_json:
        print(to_json(findings), end="")
    else:
        _print(session.out, findings)
    problems = sum(finding.verdict == "problem" for finding in findings)
    if problems:
        raise RunError(f"{problems} {'problem was' if problems == 1 else 'problems were'} found.")
    warnings = sum(finding.verdict == "warning" for finding in findings)
    summary = f"No problem was found, and {warnings} to look at." if warnings else "No problem was found."
    session.say(summary)


def _print(console: Console, findings: Sequence[Finding]) -> None:
    """Print each finding with its advice below. On a terminal, long lines are wrapped in a table."""
    if not console.is_terminal:
        for finding in findings:
            print(f"{finding.verdict:9}{finding.name:17}{finding.said}")
            if finding.advice:
                print(f"{'':26}{finding.advice}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for finding in findings:
        table.add_row(Text(finding.verdict, style=_STYLES[finding.verdict]), finding.name, Text(finding.said))
        if finding.advice:
            table.add_row("", "", Text(finding.advice, style="bold"))
    console.print(table)
