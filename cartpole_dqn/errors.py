"""What can go wrong in words that a user can act on.

* `CartpoleDqnError`: the base of them all; the command line prints its sentence and leaves with `exit_code`.
* `UserError` (exit code 2): the input was wrong.
* `ConfigError`, `UnknownComponentError`, `UnsuitableEnvError`, `RunFolderError`: kinds of `UserError`.
* `CheckpointError` (exit code 2): a file that should hold a run's state does not.
* `RunError` (exit code 1): a run or a check failed while it was under way.

`did_you_mean` finds the nearest name for a typo; `said_by` returns any exception as one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from cartpole_dqn.text.figures import printable


class CartpoleDqnError(Exception):
    """An error whose message is a sentence for the user: what was expected, what came, what to do."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message. Control characters are escaped: it may quote an untrusted file."""
        return printable(super().__str__(), lines=True)


class UserError(CartpoleDqnError):
    """The input was wrong; nothing was started."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration, a preset or an option does not hold together."""


class UnknownComponentError(UserError):
    """No component of that kind and name is registered."""


class UnsuitableEnvError(UserError):
    """The environment cannot be made, or deep Q-learning cannot be used on it."""


class RunFolderError(UserError):
    """A run folder is missing, foreign, or already there."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or belongs to something else."""


class RunError(CartpoleDqnError):
    """A run or a check failed while it was under way."""


def said_by(error: BaseException) -> str:
    """Return an exception as one line: our own sentences as they are, what others say with its type before it."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})."
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "(an exception that cannot be printed)"
    if isinstance(error, CartpoleDqnError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest of `names`, or the whole list where none is near."""
    known = sorted(set(names))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(known)}." if known else ""
