"""What the commands of one invocation share: how plugins are to be loaded, and the consoles."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from cartpole_dqn.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from cartpole_dqn.contracts.events import Evaluating
    from cartpole_dqn.plugin.host import PluginHost


@dataclass
class Session:
    """One invocation: `host()` loads the plugins when first asked."""

    blocked: Sequence[str] = ()
    strict: bool = False
    _host: PluginHost | None = field(default=None, repr=False)

    def host(self) -> PluginHost:
        """Return the loaded plugins."""
        if self._host is None:
            from cartpole_dqn.plugin.host import load_plugins

            self._host = load_plugins(blocked=self.blocked, strict=self.strict)
        return self._host

    @cached_property
    def out(self) -> Console:
        """Where results go: stdout, never wrapped when it is no terminal."""
        return _console(stderr=False)

    @cached_property
    def err(self) -> Console:
        """Where everything else goes: stderr."""
        return _console(stderr=True)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line on stderr as it stands: brackets in it are no markup."""
        self.err.print(text, style=style, markup=False, highlight=False)

    @contextlib.contextmanager
    def showing_evaluation(self) -> Iterator[Callable[[Evaluating], None]]:
        """Inside the block a terminal says how far the evaluation is that tells the function."""
        from cartpole_dqn.observers.display.panel import describe_evaluating

        with self.err.status("loading") as status:
            yield lambda event: status.update(describe_evaluating(event))


def parse_plugin_switches(switches: Sequence[str]) -> list[str]:
    """Return the names in `-p no:NAME` switches. Raises `UserError` for another form."""
    for switch in switches:
        if not switch.startswith("no:") or len(switch) == 3:
            raise UserError(f"-p {switch}: expected no:NAME, the name of a plugin to block.")
    return [switch[3:] for switch in switches]


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console = Console(stderr=stderr, soft_wrap=True)
    return console
