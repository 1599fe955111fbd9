"""How errors and interrupts look, and how wide a console is."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from cartpole_dqn.cli import _run
from cartpole_dqn.cli.messages import error_text, make_console
from cartpole_dqn.text.tables import WARNING


def marked(message: str) -> dict[str, str]:
    """The marked parts of an error, with the style that is seen: the last one."""
    text = error_text(message)
    assert text.plain == f"error: {message}"
    return {text.plain[span.start : span.end]: str(span.style) for span in text.spans}


@pytest.mark.parametrize(
    ("message", "bad"),
    [
        ("--seed x: expected a valid integer.", "x"),
        ("-p foo: expected no:NAME, the name of a plugin to block.", "foo"),
        ("unknown replay 'unifrom'. Did you mean 'uniform'?", "'unifrom'"),
        ("unknown option agent.lr. Did you mean 'agent.optimiser.lr'?", "agent.lr"),
        ("steps: expected greater than 0, got 0 (int).", "0"),
        ("no such option: --foo (Possible options: --obs, --out)", "--foo"),
    ],
)
def test_the_bad_value_is_marked(message: str, bad: str) -> None:
    found = marked(message)
    assert found["error"] == "bold red"
    assert [part for part, style in found.items() if style == f"bold {WARNING}"] == [bad]


def test_what_was_meant_is_marked_as_good_and_an_apostrophe_is_nothing() -> None:
    assert marked("no 'a'. Did you mean 'b'?")["'b'"] == "bold green"
    assert marked("the run's folder is not the sweep's.") == {"error": "bold red"}


def test_an_interrupt_while_the_commands_are_imported_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def find_spec(self, name: str, *more: Any) -> None:
            if name == "cartpole_dqn.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "cartpole_dqn.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert _run() == 130
    assert capsys.readouterr().err == ""


def test_a_width_that_is_given_is_taken_on_a_dumb_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = make_console()
    assert console.is_dumb_terminal
    assert console.width == 130
