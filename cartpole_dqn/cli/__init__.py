"""The command line. `main` runs it and turns errors into messages and exit codes.

* `app`: the root command. `session`, `options`: what the commands share.
* `train`: `run` and `resume`. `sweep`, `runs`, `plot`, `compare`, `report`, `presets`, `plugins`, `doctor`: themselves.
* `look`: `evaluate` and `preview`. `export`: itself. `play`: `watch` and `record`.
* `component_text`, `plugin_project`: for `plugins show` and `plugins new`. `plugin_commands`: commands from plugins.
"""

from __future__ import annotations

import os
import sys

from cartpole_dqn.errors import CartpoleDqnError


def main() -> None:
    """Run the command line with the process's arguments, and exit."""
    # Before anything imports pygame, which would otherwise replace the signal handlers.
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    from cartpole_dqn.cli.app import app

    try:
        app(prog_name="cartpole-dqn")
    except CartpoleDqnError as error:
        print(f"cartpole-dqn: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader closed the pipe. This keeps Python from reporting it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
