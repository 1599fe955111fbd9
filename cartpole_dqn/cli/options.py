"""Arguments and options that several commands share, and helpers for them.

* `Run`, `Runs`: one run or several, with shell completion that imports no torch.
* `Env`, `Obs`, `Preset`, `Config`, `Wrapper`, `Set`, `Steps`, `Episodes`: a configuration.
* `Seed`, `Device`, `NewDevice`, `Last`, `Json`, `Plain`, `Theme`, `GroupBy`: the same in every command.
* `wrapper_changes`, `group_keys`: what `--wrapper` and `--group-by` say.
* `whole_number`, `count`: options such as `--steps 1e4`.
* `choice`, `format_choice`: options that take one of a few words.
* `what`, `where`: options in the sections of `--help`. `new_folder`: the folder of `--out`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cartpole_dqn.errors import UserError, bad, did_you_mean

_RUN = "its folder, the beginning of its name under runs/, latest, or a shared zip"
WHAT, HOW_LONG, WHERE, DISPLAY = "What", "How long", "Where", "Display"
"""Sections of `--help`."""


def complete(incomplete: str) -> list[str]:
    """Complete the beginning of a run's name for the shell."""
    from cartpole_dqn.runs.catalogue import complete_run

    return complete_run(incomplete)


def whole_number(text: str) -> int:
    """Return a whole number, which may be written 20000, 20_000 or 2e4. Raises `typer.BadParameter`."""
    with contextlib.suppress(ValueError):
        if float(text).is_integer():
            return int(float(text))
    raise typer.BadParameter(f"{text!r} is not a whole number.")


def parse_folder(text: str) -> Path:
    """Return the path of a folder. Raises `UserError` for "", which `Path` takes for the working directory."""
    if not text:
        raise UserError("--out: expected a folder's name, got an empty one. The working directory is `.`.")
    return Path(text)


def choice(choices: Sequence[str], *names: str, **settings: Any) -> Any:
    """Return a `typer.Option` that takes one of the words `choices`."""

    def parse(text: str) -> str:
        if text not in choices:
            known = f"{', '.join(choices[:-1])} or {choices[-1]}"
            raise typer.BadParameter(f"expected {known}.{did_you_mean(text, choices, '')}")
        return text

    return typer.Option(*names, parser=parse, metavar="|".join(choices), **settings)


def format_choice(*formats: str) -> Any:
    """Return the option `--format`. By default the suffix of --out decides, or the first format is used."""
    default = f"by the suffix of --out, or {formats[0]}"
    return choice(formats, "--format", help="Output format.", show_default=default)


count = functools.partial(typer.Option, parser=whole_number, metavar="N")
"""An option that is a whole number."""
what = functools.partial(typer.Option, rich_help_panel=WHAT)
where = functools.partial(typer.Option, rich_help_panel=WHERE)
new_folder = functools.partial(typer.Option, metavar="DIR", parser=parse_folder)
"""The folder of `--out`."""
Run = Annotated[str, typer.Argument(metavar="RUN", help=f"A run: {_RUN}.", autocompletion=complete)]
Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help=f"Runs. Each is {_RUN}. A folder of runs, or of a sweep, stands for all of them.",
        autocompletion=complete,
    ),
]
Env = Annotated[
    str | None,
    what(
        metavar="ID", help="A Gymnasium id. module:ID imports the module that registers it.", show_default="CartPole-v1"
    ),
]
Obs = Annotated[
    str | None,
    what(
        metavar="pixels|state",
        help="What the agent observes: rendered pixels, or the state that the environment returns.",
        show_default="pixels",
    ),
]
Preset = Annotated[
    str | None,
    what(metavar="NAME", help="A named configuration.", show_default="the one for --env and --obs"),
]
Config = Annotated[
    Path | None,
    what(metavar="FILE.toml", help="Settings that override the preset."),
]
Wrapper = Annotated[
    list[str] | None,
    what(
        metavar="NAME[@PLACE]",
        help="Add a wrapper at the end, or @after:OTHER or @before:OTHER, or move it there. May be repeated.",
    ),
]
Set = Annotated[
    list[str] | None,
    what("--set", metavar="KEY=VALUE", help="Override one setting, such as agent.batch_size=64. May be repeated."),
]
Steps = Annotated[
    int | None,
    count(help="Train for N environment steps.", show_default="the preset's", rich_help_panel=HOW_LONG),
]
Episodes = Annotated[int | None, count(help="Train for N episodes instead.", rich_help_panel=HOW_LONG)]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Which held-out seeds to use.")]
_device = functools.partial(typer.Option, metavar="auto|cpu|cuda", help="Device of the networks.")
Device = Annotated[str | None, _device(show_default="the run's own")]
NewDevice = Annotated[str | None, _device(show_default="auto", rich_help_panel=WHERE)]
"""Of a run that starts."""
Last = Annotated[bool, typer.Option("--last", help="Use the last model instead of the best.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Plain = Annotated[
    bool, typer.Option("--plain", help="Print lines instead of the live display.", rich_help_panel=DISPLAY)
]
Theme = Annotated[Literal["light", "dark"], choice(("light", "dark"), help="Light or dark colours.")]
GroupBy = Annotated[
    list[str] | None,
    typer.Option(
        "--group-by",
        metavar="KEY[,KEY]",
        help="Group runs by these settings, such as lr or agent.replay. `run` keeps all apart, `all` joins them.",
        show_default="runs that differ only in their seed form a group",
    ),
]


def wrapper_changes(texts: Sequence[str] | None) -> dict[str, dict[str, str]] | None:
    """Return the changes in `--wrapper a --wrapper b@before:a`. Raises `UserError` if one is malformed."""
    changes = {}
    for text in texts or []:
        name, at, place = text.partition("@")
        side, _, anchor = place.partition(":") if at else ("after", "", "*")
        if not name or not anchor or side not in ("before", "after"):
            raise UserError(f"--wrapper {bad(text)}: expected NAME, NAME@after:OTHER or NAME@before:OTHER.")
        changes[name] = {side: anchor}
    return changes or None


def group_keys(texts: Sequence[str] | None) -> list[str]:
    """Return the keys in `--group-by a,b --group-by c`."""
    return [key for text in texts or [] for key in text.split(",") if key.strip()]
