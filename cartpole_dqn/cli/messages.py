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

from cartpole_dqn.errors import CartpoleDqnError, UserError, sentence
from cartpole_dqn.text.tables import WARNING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UsageError: Any = typer.BadParameter.__base__

_BAD = f"bold {WARNING}"
_MARKS = (
    (r"(?<!\w)--[a-z][\w-]*", "cyan"),
    # The bad value: quoted, after its option, after "got", or after what it should have named.
    (r"(?<!\w)'[^'\n]+'(?!\w)", _BAD),
    (r"^error: --?[\w-]+ (?P<value>\S.*?)(?=: )", _BAD),
    (r"\bgot (?P<value>[^\s,;]+?)(?=[.,;]?(\s|$))", _BAD),
    (r"no such option: (?P<value>\S+)", _BAD),
    (r"\bunknown (option|key|setting) (?P<value>[^\s']+?)(?=[.,;:]?(\s|$))", _BAD),
    (r"Did you mean (?P<value>'[^'\n]+')", "bold green"),
)
"""Patterns and their styles. A later one wins. A pattern with a group `value` marks that group only."""


def make_console(*, stderr: bool = False) -> Console:
    """Return a console. It wraps lines only on a terminal. `COLUMNS` sets the width, of a dumb terminal too."""
    from rich.console import Console

    console = Console(stderr=stderr)
    console.soft_wrap = not console.is_terminal
    if console.is_dumb_terminal:  # Rich would take 80 columns.
        console.size = shutil.get_terminal_size()
    return console


def print_error(error: CartpoleDqnError) -> None:
    """Print an error on stderr: "error: " and its message, with the bad value marked on a terminal."""
    make_console(stderr=True).print(error_text(str(error)), highlight=False)


def error_text(message: str) -> Text:
    """Return "error: " and the message, with styles."""
    from rich.text import Text

    text = Text(f"error: {message}")
    for pattern, style in _MARKS:
        for match in re.finditer(pattern, text.plain):
            group = "value" if "value" in match.groupdict() else 0
            text.stylize(style, *match.span(group))
    text.stylize("bold red", 0, len("error"))
    return text


@contextlib.contextmanager
def usage_as_error(arguments: Sequence[str]) -> Iterator[None]:
    """Raise a `UserError` for each of Typer's usage errors, such as an unknown option, in `arguments`."""
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # The help was printed when it was made.
            raise typer.Exit(2) from None
        message = _bad_value(error, arguments) or str(error.format_message()).strip()
        hint = f"\nSee: {error.ctx.command_path} --help" if error.ctx is not None else ""
        raise UserError(f"{message[:1].lower()}{message[1:]}{hint}") from None


def _bad_value(error: Any, arguments: Sequence[str]) -> str:
    """Return "--option VALUE: expected ..." for an option's bad value, otherwise ""."""
    options = getattr(getattr(error, "param", None), "opts", ())
    words = [word for argument in arguments for word in argument.split("=", 1)]
    for option, value in itertools.pairwise(words):
        if option in options and isinstance(error, typer.BadParameter):
            expected = re.sub(r"^Input should be (.*?)(, .*)?$", r"expected \1", str(error.message))
            expected = expected.replace("greater than or equal to", "at least").replace(
                "less than or equal to", "at most"
            )
            return f"{option} {value}: {sentence(expected)}"
    return ""
