"""The display of a running sweep.

* `watching`: shows a sweep on a console, as a table redrawn in place or as lines (`PlainSweep`).
* `sweep_table`: the table of a `SweepView`, never higher than its room.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, OverflowMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cartpole_dqn.observers.display.screen import Screen, is_live
from cartpole_dqn.studies.sweep import SweepView
from cartpole_dqn.studies.sweep_plan import SweepTrial
from cartpole_dqn.text.figures import NOTHING, count_of, duration, one_line, score
from cartpole_dqn.text.tables import WARNING

_STATES = ("running", "failed", "interrupted", "done", "waiting")
"""The order of priority if there is no room for all trials."""
_STYLES = {"running": "bold", "failed": "red", "interrupted": WARNING, "done": "green", "waiting": "dim"}
_BAR, _GAP, _NARROWEST = 10, 2, 20
_PLAIN_EVERY = 30.0
"""Seconds between two lines of progress."""
_PER_SECOND = 2.0


def sweep_table(view: SweepView, seconds: float, options: ConsoleOptions) -> Group:
    """Return a table of trials for the size in `options`, with a line below it that counts them.

    `seconds` are those since this session began. A narrow terminal has fewer columns. The last line stays empty.
    """
    width, height = options.size
    room = max(1, height - 3)  # the headings, the line below, and an empty one for the cursor
    trials = _select_trials(view.trials, room)
    if len(trials) < view.total and len(trials) == room:
        trials = _select_trials(view.trials, max(1, room - 1))
    overflow: OverflowMethod = "crop" if options.ascii_only else "ellipsis"
    columns, room = _columns(trials, width)
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for name in ("trial", "state", *columns):
        justify: JustifyMethod = "right" if name in ("last", "best", "time") else "left"
        table.add_column(name, no_wrap=True, justify=justify, overflow="crop")
    for trial in trials:
        label = Text(one_line(trial.name))
        label.truncate(room, overflow=overflow)
        table.add_row(label, Text(trial.state, style=_STYLES[trial.state]), *(_cell(trial, name) for name in columns))
    lines: list[RenderableType] = [table]
    if len(trials) < view.total:
        lines.append(_line(_rest(view, trials), overflow))
    lines.append(_line(f"{_counts(view)}   {duration(seconds)}{'   stopping' if view.stopping else ''}", overflow))
    return Group(*lines)


class PlainSweep:
    """Prints a line for each trial that begins or ends, and the progress every 30 seconds."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console, self._clock = console, clock
        self._states: dict[str, str] = {}
        self._next: float | None = None

    def __call__(self, view: SweepView) -> None:
        """Print what changed."""
        first = self._next is None
        for trial in view.trials:
            if self._states.get(trial.name, "waiting") != trial.state and (trial.state == "running" or not first):
                self._say(_trial_line(trial))
            self._states[trial.name] = trial.state
        if self._next is not None and self._clock() < self._next:
            return
        running = [f"{trial.name} {_steps(trial)}" for trial in view.trials if trial.state == "running" and not first]
        self._say("; ".join([_counts(view), *running]))
        self._next = self._clock() + _PLAIN_EVERY

    def _say(self, text: str) -> None:
        self._console.print(one_line(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


@contextlib.contextmanager
def watching(
    console: Console, clock: Callable[[], float], *, plain: bool = False
) -> Iterator[Callable[[SweepView], None]]:
    """Yield a function that shows a view: live on a terminal unless `plain`, otherwise in lines."""
    if plain or not is_live(console):
        yield PlainSweep(console, clock)
        return
    began, views = clock(), list[SweepView]()

    def lines(room: ConsoleOptions) -> list[list[Segment]]:
        return console.render_lines(sweep_table(views[-1], clock() - began, room), room.update(height=None), pad=False)

    def show(view: SweepView) -> None:
        first = not views
        views[:] = [view]
        if first:
            screen.start()

    screen = Screen(console, lines, per_second=_PER_SECOND)
    try:
        yield show
    finally:
        screen.stop()
        if views:
            console.print(sweep_table(views[-1], clock() - began, console.options))


def _select_trials(trials: Sequence[SweepTrial], room: int) -> list[SweepTrial]:
    """Return the `room` most important trials in their order; of those done, the latest."""

    def rank(i: int) -> tuple[int, int]:
        state = trials[i].state
        return _STATES.index(state), -i if state == "done" else i

    return [trials[i] for i in sorted(sorted(range(len(trials)), key=rank)[:room])]


def _columns(trials: Sequence[SweepTrial], width: int) -> tuple[list[str], int]:
    """Return the columns after name and state that leave room for names, and the cells left for names."""
    columns = ["steps", "last", "best", "time", *(["place"] if any(trial.place for trial in trials) else [])]
    while True:
        width_used = max([len("state"), *(len(trial.state) for trial in trials)])
        for name in columns:
            bar = _BAR + 1 if name == "steps" else 0
            width_used += max([len(name), *(bar + cell_len(_text(trial, name)) for trial in trials)])
        room = width - width_used - _GAP * (len(columns) + 1)
        droppable = [name for name in ("place", "time", "steps") if name in columns]
        if room >= _NARROWEST or not droppable:
            return columns, max(1, room)
        columns.remove(droppable[0])


def _cell(trial: SweepTrial, column: str) -> RenderableType:
    text = _text(trial, column)
    if column != "steps" or not text:
        return Text(text)
    progress = trial.progress
    done, total = (progress.step, trial.steps) if trial.steps else (progress.episode, trial.episodes or 0)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_BAR)
    grid.add_column(no_wrap=True)
    grid.add_row(ProgressBar(total=max(1, total), completed=min(done, total), width=_BAR), Text(text))
    return grid


def _text(trial: SweepTrial, column: str) -> str:
    progress = trial.progress
    if column == "steps":
        return _steps(trial) if trial.state != "waiting" and (trial.steps or trial.episodes) else ""
    if column == "time":
        return duration(trial.seconds) if trial.seconds else NOTHING
    if column == "place":
        return one_line(trial.place)
    return score(progress.last if column == "last" else progress.best)


def _steps(trial: SweepTrial) -> str:
    progress = trial.progress
    if trial.steps:
        return f"{progress.step:,} of {trial.steps:,}"
    return f"{progress.episode:,} of {trial.episodes or 0:,} episodes"


def _trial_line(trial: SweepTrial) -> str:
    if trial.state == "running":
        return f"{trial.name}: running{f', from step {trial.progress.step:,}' if trial.progress.step else ''}"
    best = f", best {score(trial.progress.best)}" if trial.progress.best is not None else ""
    error = f": {trial.error}" if trial.error else ""
    return f"{trial.name}: {trial.state} after {duration(trial.seconds)}{best}{error}"


def _counts(view: SweepView) -> str:
    counts = [f"{count} {state}" for state in ("done", *_STATES) if (count := view.count(state))]  # type: ignore[arg-type]
    return f"{count_of(view.total, 'trial')}: {', '.join(dict.fromkeys(counts))}"


def _rest(view: SweepView, shown: Sequence[SweepTrial]) -> str:
    names = {trial.name for trial in shown}
    hidden = [trial.state for trial in view.trials if trial.name not in names]
    hidden += ["waiting"] * (view.total - len(view.trials))
    counts = [f"{hidden.count(state)} {state}" for state in _STATES if hidden.count(state)]  # type: ignore[arg-type]
    return f"and {', '.join(counts)}"


def _line(text: str, overflow: OverflowMethod) -> Text:
    return Text(text, style="dim", no_wrap=True, overflow=overflow)
