"""How errors and interrupts look, and how wide a console is."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import pytest

from cartpole_dqn.cli import _run
from cartpole_dqn.cli.app import app
from cartpole_dqn.cli.messages import error_text, make_console
from cartpole_dqn.errors import CartpoleDqnError, UserError, bad, did_you_mean
from cartpole_dqn.text.tables import WARNING


def marked(error: CartpoleDqnError) -> dict[str, str]:
    """The marked parts of an error, with the style that is seen: the last one."""
    text = error_text(error)
    assert text.plain == f"error: {error}"
    return {text.plain[span.start : span.end]: str(span.style) for span in text.spans}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("run --seed x", "x"),
        ("run --seed=1.5", "1.5"),
        ("-p foo runs", "foo"),
        ("run --replay unifrom", "unifrom"),
        ("run --set agent.lr=1", "agent.lr"),
        ("run --set steps=0", "0"),
        ("run --foo", "--foo"),
        ("trian", "trian"),
        ("presets show a b", "b"),
    ],
)
def test_the_bad_value_is_marked(line: str, wrong: str) -> None:
    with pytest.raises(CartpoleDqnError) as refused:
        app(line.split(), prog_name="cartpole-dqn")
    found = marked(refused.value)
    assert found["error"] == "bold red"
    assert [part for part, style in found.items() if style == f"bold {WARNING}"] == [wrong]


def test_what_was_meant_is_marked_as_good_and_options_too() -> None:
    hint = did_you_mean("a b", ["a c"])
    assert marked(UserError(f"no 'a b'.{hint}")) == {"error": "bold red", "a c": "bold green"}
    assert marked(UserError("the run's folder: give --out.")) == {"error": "bold red", "--out": "cyan"}


def test_marks_are_not_in_the_text_and_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(UserError(f"--seed {bad(3)}: no.")))
    assert str(error) == "--seed 3: no."
    assert repr(error) == "UserError('--seed 3: no.')"
    assert marked(error)["3"] == f"bold {WARNING}"


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
