"""The command line: `main` runs it and turns errors into sentences and exit codes.

* `app`: the root and what it mounts.
* `session`: what the commands share.
* `train`: `run` and `resume`. `sweep`: many runs.
* `look`: `evaluate` and `preview`.
* `play`: `watch` and `record`.
* `report`: a run on one page.
* `runs`, `plot`, `compare`: what runs there are, their curves, and runs beside each other.
* `run_argument`: how every command is told which run.
* `presets`, `plugins`: listings.
* `doctor`: what is wrong, and what to do.
* `plugin_project`: a new plugin's files. `plugin_commands`: commands that plugins bring.
"""

from __future__ import annotations

import os
import sys

from cartpole_dqn.errors import CartpoleDqnError


def main() -> None:
    """Run the command line on the process's arguments and leave the process."""
    # A display of pygame must not take over the process's signals, so this comes before anything can import it.
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
        # Whoever read our output has left; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
