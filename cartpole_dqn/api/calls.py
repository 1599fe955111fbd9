"""What every public call does.

* `entry`: checks the arguments, and restores torch's threads.
* `given`: the arguments of a call, to pass on. `require_one`: refuses arguments that exclude each other.
* `make_console`: where messages go.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TextIO, TypeVar, cast

from rich.console import Console

from cartpole_dqn.contracts.calls import typed
from cartpole_dqn.contracts.seeding import torch_put_back
from cartpole_dqn.errors import UserError
from cartpole_dqn.system import Steady

P = ParamSpec("P")
T = TypeVar("T")


def entry(function: Callable[P, T]) -> Callable[P, T]:
    """Let a public function check its arguments, as `typed` does, and leave torch as many threads as before."""
    return typed(torch_put_back()(function))


def given(arguments: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the `locals()` of a function without self, with some changes, to pass them on."""
    return {**{name: value for name, value in arguments.items() if name != "self"}, **changes}


def require_one(**arguments: Any) -> None:
    """Raise a `UserError` if more than one argument is given."""
    names = [name for name, value in arguments.items() if value is not None]
    if len(names) > 1:
        raise UserError(f"{' and '.join(names)}: give one of them.")


def make_console() -> Console:
    """Return the console for everything but results, which outlives its reader."""
    return Console(file=cast(TextIO, Steady(sys.stderr)))
