"""What the command line prints besides results: consoles and errors.

* `make_console`: a console for stdout or stderr.
* `print_error`: an error in one style. `usage_as_error`: turns Typer's usage errors into `UserError`s.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from cartpole_dqn.errors import BAD, MEANT, CartpoleDqnError, UserError, bad, sentence
from cartpole_dqn.text.tables import WARNING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UsageError: Any = typer.BadParameter.__base__

OPTION = r"(?<!\w)--[a-z][\w-]*"
"""Matches an option in a text."""
_STYLES = {BAD: f"bold {WARNING}", MEANT: "bold green"}


def make_console(*, stderr: bool = False) -> Console:
    """Return a console. It wraps lines only on a terminal. `COLUMNS` sets the width, of a dumb terminal too."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    console.soft_wrap = not console.is_terminal
    if console.is_dumb_terminal:  # Rich would take 80 columns.
        console.size = shutil.get_terminal_size()
    return console


def print_error(error: CartpoleDqnError) -> None:
    """Print an error on stderr: "error: " and its message, with what is wrong in a colour on a terminal."""
    make_console(stderr=True).print(error_text(error))


def error_text(error: CartpoleDqnError) -> Text:
    """Return "error: " and the message, with styles."""
    from rich.text import Text

    text = Text.assemble(("error", "bold red"), ": ")
    for mark, piece in error.pieces():
        part = Text(piece, _STYLES.get(mark, ""))
        if mark not in _STYLES:
            part.highlight_regex(OPTION, "cyan")
        text.append_text(part)
    return text


@contextlib.contextmanager
def usage_as_error(arguments: Sequence[str]) -> Iterator[None]:
    """Raise a `UserError` for each of Typer's usage errors, such as an unknown option, in `arguments`."""
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # The help was printed when it was made.
            raise typer.Exit(2) from None
        words = [word for argument in arguments for word in argument.split("=", 1)]
        message = _bad_value(error, words) or _repeating(str(error.format_message()).strip(), words)
        hint = f"\nSee: {error.ctx.command_path} --help" if error.ctx is not None else ""
        raise UserError(f"{message[:1].lower()}{message[1:]}{hint}") from None


def _bad_value(error: Any, words: Sequence[str]) -> str:
    """Return "--option VALUE: expected ..." for an option's bad value, otherwise ""."""
    options = getattr(getattr(error, "param", None), "opts", ())
    for option, value in itertools.pairwise(words):
        if option in options and isinstance(error, typer.BadParameter):
            from cartpole_dqn.contracts.options import expectation

            return f"{option} {bad(value)}: {sentence(expectation(str(error.message)))}"
    return ""


def _repeating(message: str, words: Sequence[str]) -> str:
    """Return the message with the last of the command line's words that it repeats marked as bad."""
    for word in reversed(words):
        if match := re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", message):
            return f"{message[: match.start()]}{bad(word)}{message[match.end() :]}"
    return message
