"""The command line. `main` runs it and turns errors into messages and exit codes.

* `app`: the root command. `session`, `options`: what the commands share. `help`, `messages`: how help and errors look.
* `train`: `run` and `resume`. `sweep`, `runs`, `plot`, `compare`, `presets`, `plugins`, `doctor`: themselves.
* `look`: `evaluate`, `preview` and `report`. `play`: `watch` and `record`. `share`: `share` and `export`.
* `component_text`, `plugin_sets`: for `plugins`. `plugin_commands`: commands from plugins.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import warnings
from typing import Any

from cartpole_dqn.errors import CartpoleDqnError, Notice
from cartpole_dqn.files import reason
from cartpole_dqn.system import Steady

_GONE = (errno.EPIPE, errno.EIO)
"""Errors that mean that nobody reads any more: not a fault of the command."""
_format = warnings.formatwarning


def main() -> None:
    """Run the command line with the process's arguments, and exit."""
    # Before anything imports pygame, which would otherwise replace the signal handlers.
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    warnings.formatwarning = _formatted
    streams: Any = [stream and Steady(stream) for stream in (sys.stdout, sys.stderr)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        code = _run()
        code = max(code, *(_closed(stream, name) for stream, name in zip(streams, ("stdout", "stderr"), strict=True)))
    sys.exit(code)


def _run() -> int:
    """Run the command line, and return its exit code."""
    try:
        from cartpole_dqn.cli.app import app  # in here, since it takes long enough to be interrupted
        from cartpole_dqn.cli.messages import print_error

        app(prog_name="cartpole-dqn")
    except CartpoleDqnError as error:
        print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except SystemExit as exiting:
        if isinstance(exiting.code, str):
            print(exiting.code, file=sys.stderr)
        return exiting.code if isinstance(exiting.code, int) else int(exiting.code is not None)
    return 0


def _formatted(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"{message}\n" if issubclass(category, Notice) else _format(message, category, filename, lineno, line)


def _closed(stream: Steady | None, name: str) -> int:
    """Flush a stream. Return 1, with a sentence on stderr, if results could not be written to it, else 0."""
    if stream is None:
        return 0
    stream.flush()
    if stream.error is None:
        return 0
    # The interpreter flushes again at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if name == "stderr" or os.name == "nt" or stream.error.errno in _GONE:
        return 0
    print(f"error: the results could not be written to {name}: {reason(stream.error)}.", file=sys.stderr)
    return 1
