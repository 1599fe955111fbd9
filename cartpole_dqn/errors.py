"""Errors with a message for the user.

* `CartpoleDqnError`: the base class. The command line prints the message and exits with `exit_code`.
* `UserError` (exit code 2): invalid input. Subclasses: `ConfigError`, `UnknownComponentError`, `UnsuitableEnvError`,
  `RunFolderError`, `CheckpointError`.
* `RunError` (exit code 1): a run or a check failed. `DivergedError`: learning did; `is_diverged` looks for it.
* `Notice`: a warning. `error_line`: formats any exception as one line. `message_of`: its message alone.
* `bad`: marks a value in a message. `suggestion`, `did_you_mean`: suggest a name for a typo.
* `place_of`: the file and line that raised an exception. `sentence`: ends a text.
"""

from __future__ import annotations

import difflib
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import PurePath

from cartpole_dqn.text.figures import printable

BAD, MEANT, _END = "\ue001", "\ue002", "\ue003"
"""Marks in messages. They are never shown."""
_PIECE = re.compile(f"([{BAD}{MEANT}{_END}]?)([^{BAD}{MEANT}{_END}]*)")
_LONGEST = 1000
"""Most characters that are repeated of another library's message."""


class CartpoleDqnError(Exception):
    """The base class of errors whose message is for the user: what was expected, what came instead, and what to do."""

    exit_code = 1

    def pieces(self) -> list[tuple[str, str]]:
        """Return the message in pieces, each after its mark: `BAD`, `MEANT` or another for plain text.

        Control characters are escaped: a message may quote an untrusted file.
        """
        return [(mark, printable(text, lines=True)) for mark, text in _PIECE.findall(super().__str__())]

    def __str__(self) -> str:
        """Return the message without marks."""
        return "".join(text for _, text in self.pieces())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class UserError(CartpoleDqnError):
    """Invalid input, such as a setting, a name or a file. Raised before anything starts."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration, a preset or an option is invalid."""


class UnknownComponentError(UserError):
    """No component of that kind and name is registered."""


class UnsuitableEnvError(UserError):
    """The environment cannot be made, or does not suit deep Q-learning."""


class RunFolderError(UserError):
    """A run folder is missing, already exists, or is not a run."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or of another configuration."""


class RunError(CartpoleDqnError):
    """Training, or other work that had started, failed."""


class DivergedError(RunError):
    """Training diverged: a loss, a weight or a value became infinite or NaN.

    Resuming leads to the same error. Start a new run with other settings, such as a smaller learning rate.
    """


class Notice(UserWarning):
    """A warning for the user, from code that has no console. The command line prints it without file and line."""


def is_diverged(error: BaseException | None) -> bool:
    """Return whether a `DivergedError` is `error` or its cause."""
    while error is not None and not isinstance(error, DivergedError):
        error = error.__cause__
    return error is not None


def error_line(error: BaseException) -> str:
    """Return an exception as one line.

    This is the message of a `CartpoleDqnError`. Other exceptions also get their type, and the file and line if a plugin
    or the user's own code raised them.
    """
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})."
    text = message_of(error)
    if isinstance(error, CartpoleDqnError):
        return text
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    place = place_of(error)
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__) + (f" ({place})" if place else "")


def message_of(error: BaseException) -> str:
    """Return the message of any exception as one line."""
    try:
        return " ".join(str(error).partition("\nException raised from ")[0].split())  # torch's C++ frames follow
    except Exception:
        return "(an exception that cannot be printed)"


def place_of(error: BaseException) -> str:
    """Return the innermost file and line outside this package and the libraries it uses, or ""."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        path = PurePath(frame.f_code.co_filename)
        # A module of this package that runs as a program has the name __main__.
        if module in _LIBRARIES or module in sys.stdlib_module_names or path.is_relative_to(_HERE):
            continue
        file = "/".join(path.parts[-2:]) if path.name == "__init__.py" else path.name
        place = f"{'a cell of the notebook' if 'ipykernel' in str(path) else file}, line {line}"
    return place


_HERE = PurePath(__file__).parent
_LIBRARIES = {
    *("cartpole_dqn", "torch", "torchvision", "numpy", "gymnasium", "pydantic", "pluggy", "typer", "click"),
    "importlib_metadata",  # where it is installed, it also makes the entry points that the standard library finds
}


def sentence(text: str) -> str:
    """Return `text` with one full stop at its end, or with its own question or exclamation mark."""
    text = text.rstrip(". \n")
    return text if text.endswith(("?", "!")) else f"{text}."


def bad(value: object) -> str:
    """Mark a value in the message of an error as the one that is wrong. The command line prints it in a colour."""
    return f"{BAD}{value}{_END}"


def suggestion(name: object) -> str:
    """Return " Did you mean 'x'?" for the message of a `CartpoleDqnError`. The name is marked too."""
    return f" Did you mean '{MEANT}{name}{_END}'?"


def did_you_mean(name: str, names: Iterable[str], otherwise: str | None = None) -> str:
    """Return a `suggestion` of the most similar of `names`; if none is similar, `otherwise` or a list of all."""
    choices = sorted(set(names))
    matches = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if matches:
        return suggestion(matches[0])
    if otherwise is not None:
        return otherwise
    return f" Known: {', '.join(choices)}." if choices else ""
