"""`Session`: what the commands of one invocation share, which is the loaded plugins and the consoles."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cartpole_dqn.cli.messages import make_console
from cartpole_dqn.errors import UserError, bad

if TYPE_CHECKING:
    from rich.console import Console

    from cartpole_dqn.contracts.events import Evaluating
    from cartpole_dqn.plugin.host import PluginHost
    from cartpole_dqn.runs.folder import RunFolder
    from cartpole_dqn.training.models import SavedRun


@dataclass
class Session:
    """One invocation of the command line."""

    blocked: Sequence[str] = ()
    strict: bool = False

    @cached_property
    def host(self) -> PluginHost:
        """The plugins, loaded at the first use."""
        from cartpole_dqn.plugin.host import load_plugins

        return load_plugins(blocked=self.blocked, strict=self.strict)

    def open_run(self, run: str | RunFolder) -> SavedRun:
        """Return the run in a folder, or of a name. Raises `UserError` if it or its configuration cannot be read."""
        from cartpole_dqn.runs.catalogue import find_run
        from cartpole_dqn.training.models import SavedRun
        from cartpole_dqn.training.resolve import read_config

        folder = find_run(run) if isinstance(run, str) else run
        return SavedRun(folder, read_config(folder, self.host), self.host)

    @cached_property
    def out(self) -> Console:
        """Stdout, for results. Lines are wrapped only on a terminal."""
        return make_console()

    @cached_property
    def err(self) -> Console:
        """Stderr, for everything else."""
        return make_console(stderr=True)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line on stderr. Brackets in it are not markup."""
        from rich.text import Text

        # Not `print(style=)`: the live display prints this later, and would not know the style.
        self.err.print(Text(text, style or ""))

    def warn(self, text: str) -> None:
        """Print a warning on stderr."""
        from cartpole_dqn.text.tables import print_warning

        print_warning(self.err, text)

    @contextlib.contextmanager
    def first_screen(self, title: str, *, steps: int | None, plain: bool) -> Iterator[Callable[[], None]]:
        """Show the panel of a run that is being prepared. Yield a function that removes it."""
        if plain:
            yield lambda: None
            return
        from cartpole_dqn.contracts.events import RunStarted
        from cartpole_dqn.observers.display.display import first_screen

        event = RunStarted(title, None, steps, None, step=0, episode=0, num_envs=1)
        with first_screen(self.err, event) as clear:
            yield clear

    def spinner(self, doing: str) -> AbstractContextManager[Callable[[str], None]]:
        """Show what a command is doing, on a terminal. The context manager returns a function that changes the text."""
        from cartpole_dqn.observers.display.screen import spinner

        return spinner(self.err, doing)

    @contextlib.contextmanager
    def showing_evaluation(self) -> Iterator[Callable[[Evaluating], None]]:
        """Yield a callback that shows an evaluation's progress on a terminal."""
        from cartpole_dqn.observers.wording import evaluation_line

        began = time.monotonic()
        with self.spinner("loading") as set_status:
            yield lambda event: set_status(evaluation_line(event, time.monotonic() - began))


def parse_plugin_switches(switches: Sequence[str]) -> list[str]:
    """Return the names in `-p no:NAME` switches. Raises `UserError` for any other form."""
    for switch in switches:
        if not switch.startswith("no:") or len(switch) == 3:
            raise UserError(f"-p {bad(switch)}: expected no:NAME, the name of a plugin to block.")
    return [switch[3:] for switch in switches]
