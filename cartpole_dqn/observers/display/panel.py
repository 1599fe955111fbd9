"""How a run looks in a terminal: pure functions of a snapshot and a size.

* `RunPanel`: a Rich renderable that fits the console; `panel_lines`: its lines.
* `plain_line`: the run in one line without styles. `summary_lines`: its summary at the end.
* `describe_evaluating`, `describe_evaluation`, `describe_checkpoint`: an event in a few words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.panel import Panel
from rich.text import Text

from cartpole_dqn.contracts.events import Checkpoint, Evaluating, Evaluation, RunEnded
from cartpole_dqn.observers.display.braille import curve_lines
from cartpole_dqn.observers.display.tracker import Snapshot
from cartpole_dqn.text.figures import NOTHING, duration, number, one_line, score, size, spread

MOST_COLUMNS = 100
_CURVE_ROWS = (3, 8)
_CELL, _GUTTER = 26, 3
_GROUP = 5  # Five figures of returns, then five of learning: one column each if there is room.
_BLANKS = 3  # Lines between the blocks.
_ECHO = 2
_IDLE_SECONDS, _EVALUATING_SECONDS = 2.0, 0.5
"""The footer gives the reason when there has been no step for so long."""
# Figures with a place of their own in the panel; others that the agent reports are listed by their keys.
_KNOWN_METRICS = ("loss", "q_mean")
_KNOWN_STATUS = ("epsilon", "lr", "replay_size", "replay_capacity", "updates")

Figure = tuple[str, str]
"""A label and a value, as texts."""


class RunPanel:
    """A run as one panel, a little smaller than the console and at most `MOST_COLUMNS` wide.

    `curve` adds the curve of returns if there is room.
    """

    def __init__(self, snapshot: Snapshot, *, curve: bool = True) -> None:
        self._snapshot = snapshot
        self._curve = curve

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # A terminal echoes ^C behind the cursor. Without room it would wrap, and redrawing the panel from the cursor
        # upwards would leave its first line on the screen.
        width = min(max(1, options.max_width - _ECHO), MOST_COLUMNS)
        height = max(1, options.size.height - 1)
        framed = width >= 24 and height >= 7
        lines = panel_lines(
            self._snapshot,
            width - 4 if framed else width,
            height - 2 if framed else height,
            curve=self._curve,
            ascii_only=options.ascii_only,
        )
        text = Text("\n", no_wrap=True, overflow="crop").join(lines)
        if not framed:
            yield text
            return
        yield Panel(
            text,
            # The frame's style overrides the title's, except for its spans.
            title=Text.assemble((one_line(self._snapshot.started.name) or "run", "bold not dim")),
            title_align="left",
            subtitle=Text.assemble((_footer(self._snapshot), "bold not dim" if _is_busy(self._snapshot) else "dim")),
            subtitle_align="left",
            border_style="dim",
            width=width,
        )


def panel_lines(
    snapshot: Snapshot, width: int, height: int, *, curve: bool = True, ascii_only: bool = False
) -> list[Text]:
    """Return at most `height` lines of at most `width` cells.

    By priority: progress and time, figures, evaluation and replay, then the curve if `_CURVE_ROWS` fit.
    """
    head = [_bar(snapshot, width, ascii_only), _times(snapshot, width)]
    last = _evaluations(snapshot, width, "+-" if ascii_only else "±"), _replay(snapshot, width)
    tail = [line for line in last if line is not None]
    room = max(0, height - len(head))
    figures = _grid(figures_of(snapshot), width, max(room - len(tail), min(room, 2)))
    room -= len(figures)
    tail = tail[:room]
    room -= len(tail)
    drawn: list[Text] = []
    rows = min(_CURVE_ROWS[1], max(room - _BLANKS, min(room, _CURVE_ROWS[0])))
    if curve and not ascii_only and rows >= _CURVE_ROWS[0]:
        drawn = curve_lines(snapshot.trail.returns, snapshot.trail.means_20, width, rows)
        room -= len(drawn)
    blocks = [block for block in (head, figures, tail, drawn) if block]
    return [_cut(line, width, ascii_only) for line in _spaced(blocks, room)][: max(1, height)]


def figures_of(snapshot: Snapshot) -> list[Figure]:
    """Return labels and values by importance; the agent's own figures come last."""
    progress, returns = snapshot.progress, snapshot.returns
    metrics: Mapping[str, Any] = {} if progress is None else dict(progress.metrics)
    status: Mapping[str, Any] = {} if progress is None else dict(progress.status)
    figures = [
        ("episode", number(snapshot.started.episode if progress is None else progress.episode)),
        ("last return", number(returns.last)),
        ("mean of 20", number(returns.mean_20)),
        ("mean of 100", number(returns.mean_100)),
        ("best return", number(returns.best)),
        ("epsilon", number(status.get("epsilon"))),
        ("loss", number(metrics.get("loss"))),
        ("mean Q", number(metrics.get("q_mean"))),
        ("learning rate", number(status.get("lr"))),
        ("updates", number(status.get("updates"))),
    ]
    extras = [(key, value) for key, value in status.items() if key not in _KNOWN_STATUS]
    extras += [(key, value) for key, value in metrics.items() if key not in _KNOWN_METRICS]
    return figures + [(one_line(str(key)).replace("_", " "), number(value)) for key, value in extras]


def plain_line(snapshot: Snapshot) -> str:
    """Return the run's state as one line, without unknown figures."""
    progress = snapshot.progress
    step = snapshot.started.step if progress is None else progress.step
    parts = [f"step {step:,}{_of_total(snapshot, steps=True)}"]
    if snapshot.counts_episodes:
        parts.append(f"episode {snapshot.done:,}{_of_total(snapshot, steps=False)}")
    hidden = ["learning rate", "updates", "best return", *["episode"] * snapshot.counts_episodes]
    figures = figures_of(snapshot)
    parts += [f"{label} {value}" for label, value in figures if value != NOTHING and label not in hidden]
    if snapshot.rate is not None:
        parts.append(f"{number(snapshot.rate)} steps/s")
    if snapshot.remaining is not None:
        parts.append(f"{duration(snapshot.remaining)} left")
    return f"{duration(snapshot.elapsed)}  {', '.join(parts)}"


def summary_lines(snapshot: Snapshot, ended: RunEnded) -> list[str]:
    """Return the summary of a run: counts, times, best evaluation, mean of the last returns."""
    progress = ended.progress
    reason = {"done": "done", "solved": "solved"}.get(ended.reason, f"ended by {one_line(ended.reason)}")
    rate = f", {number(progress.step / progress.seconds)} steps/s" if progress.seconds > 0 else ""
    lines = [
        f"{reason}: {progress.step:,} steps, {progress.episode:,} episodes",
        f"training {duration(progress.seconds)}{rate}; evaluation {duration(ended.evaluation_seconds)}; "
        f"checkpoints {duration(ended.checkpoint_seconds)}",
    ]
    if ended.best is not None:
        mean = spread(ended.best.mean, ended.best.std)
        lines.append(f"best evaluation: {mean} over {len(ended.best.returns)} episodes, at step {ended.best.step:,}")
    if snapshot.returns.mean_100 is not None:
        lines.append(
            f"mean of the last {min(100, progress.episode)} training returns: {number(snapshot.returns.mean_100)}"
        )
    return lines


def describe_evaluating(event: Evaluating) -> str:
    """Return the progress of an evaluation: "confirming on 100 episodes: 34 done, mean 498.2"."""
    doing = "confirming" if event.stream == "confirm" else "evaluating"
    mean = "" if event.mean is None else f", mean {score(event.mean)}"
    return f"{doing} on {event.episodes:,} episodes: {event.done:,} done{mean}"


def describe_evaluation(event: Evaluation) -> str:
    """Return an evaluation in one line."""
    best = ", the best so far" if event.best else ""
    return (
        f"evaluation at step {event.step:,}: mean {spread(event.mean, event.std)} over {len(event.returns)} episodes, "
        f"{event.seconds:.1f} s{best}"
    )


def describe_checkpoint(event: Checkpoint) -> str:
    """Return a checkpoint in one line."""
    return f"checkpoint at step {event.step:,}: {size(event.nbytes)}, {event.seconds:.1f} s"


# Lines ----------------------------------------------------------------------------------------------------------------


def _bar(snapshot: Snapshot, width: int, ascii_only: bool) -> Text:
    total = snapshot.total
    unit = "episodes" if snapshot.counts_episodes else "steps"
    if total is None:
        return Text(f"{snapshot.done:,} {unit}", style="bold")
    share = min(1.0, snapshot.done / max(1, total))
    percent = f"{math.floor(share * 100)}%"
    counts = f"{snapshot.done:,} / {total:,} {unit}"
    words = _first_that_fits([f"{counts}  {percent}", f"{snapshot.done:,}/{total:,}  {percent}", percent], width - 12)
    cells = max(0, width - cell_len(words) - 2)
    full, half, empty = ("#", "", "-") if ascii_only else ("━", "╸", "─")
    halves = int(share * cells * 2)
    done = full * (halves // 2) + half * (halves % 2)
    return Text.assemble((done, "green"), (empty * (cells - len(done)), "dim"), (f"  {words}", "bold"))


def _times(snapshot: Snapshot, width: int) -> Text:
    elapsed, left, rate = duration(snapshot.elapsed), duration(snapshot.remaining), number(snapshot.rate)
    words = [f"elapsed {elapsed}   {rate} steps/s", f"{elapsed}  {rate}/s", elapsed]
    if snapshot.total is not None:
        words[0] = f"elapsed {elapsed}   remaining {left}   {rate} steps/s"
        words[1:2] = [f"{elapsed}  left {left}  {rate}/s", f"{elapsed}  left {left}"]
    return Text(_first_that_fits(words, width))


def _grid(figures: Sequence[Figure], width: int, rows: int) -> list[Text]:
    """Return as many figures as fit, column by column."""
    columns = max(1, (width + _GUTTER) // (_CELL + _GUTTER))
    if columns == 1 and width >= 32:
        columns = 2
    gutter = _GUTTER if width >= 50 else 2
    cell = min(_CELL + 2, (width - gutter * (columns - 1)) // columns)
    kept = figures[: rows * columns]
    height = max(-(-len(kept) // columns), min(_GROUP, rows))
    lines = []
    for row in range(height):
        line = Text()
        for i in range(row, len(kept), height):
            line.append(" " * gutter if i != row else "").append_text(_cell(kept[i], cell))
        lines.append(line)
    return lines


def _cell(figure: Figure, width: int) -> Text:
    label, value = figure
    if cell_len(label) + 1 + cell_len(value) > width:
        # Shorten the label first: a number with missing digits would be wrong.
        label = set_cell_size(label, max(3, width - 1 - cell_len(value))).rstrip()
        value = set_cell_size(value, max(1, min(cell_len(value), width - 1 - cell_len(label))))
    gap = " " * max(1, width - cell_len(label) - cell_len(value))
    return Text.assemble((label, "dim"), gap, (value, "bold" if "mean of" in figure[0] else ""))


def _evaluations(snapshot: Snapshot, width: int, sign: str) -> Text | None:
    last, best = snapshot.evaluation, snapshot.best
    if last is None:
        return None
    here = spread(last.mean, last.std, sign)
    if last.best or best is None or best.step == last.step:
        words = [f"evaluation {here} at step {last.step:,}, the best so far", f"eval {here}, the best", f"eval {here}"]
    else:
        there = spread(best.mean, best.std, sign)
        words = [
            f"evaluation {here} at step {last.step:,}   best {there} at step {best.step:,}",
            f"evaluation {here}   best {there}",
            f"eval {here}  best {there.partition(' ')[0]}",
            f"eval {here}",
        ]
    return _labelled(_first_that_fits(words, width))


def _replay(snapshot: Snapshot, width: int) -> Text | None:
    status: Mapping[str, Any] = {} if snapshot.progress is None else dict(snapshot.progress.status)
    held, capacity = status.get("replay_size"), status.get("replay_capacity")
    if not isinstance(held, int | float) or not isinstance(capacity, int | float) or capacity <= 0:
        return None
    held, capacity = int(held), int(capacity)
    percent = f"{100 * held // capacity}%"
    memory = f"   {size(snapshot.started.replay_bytes)}" if snapshot.started.replay_bytes else ""
    saved = f"   saved at step {snapshot.checkpoint.step:,}" if snapshot.checkpoint is not None else ""
    words = [
        f"replay {held:,} / {capacity:,}   {percent}{memory}{saved}",
        f"replay {held:,} / {capacity:,}   {percent}{memory}",
        f"replay {held:,}/{capacity:,} {percent}",
        f"replay {percent}",
    ]
    return _labelled(_first_that_fits(words, width))


def _footer(snapshot: Snapshot) -> str:
    if snapshot.progress is None:
        return "starting"
    if _is_busy(snapshot):
        if snapshot.evaluating is not None:
            return describe_evaluating(snapshot.evaluating)
        return f"saving, or waiting for the environment: {int(snapshot.idle)} s since the last step"
    return one_line(snapshot.started.folder or "")


def _is_busy(snapshot: Snapshot) -> bool:
    patience = _IDLE_SECONDS if snapshot.evaluating is None else _EVALUATING_SECONDS
    return snapshot.progress is not None and snapshot.idle >= patience


def _of_total(snapshot: Snapshot, *, steps: bool) -> str:
    total = snapshot.total
    if total is None or steps == snapshot.counts_episodes:
        return ""
    return f" of {total:,} ({math.floor(100 * snapshot.done / max(1, total))}%)"


def _labelled(words: str) -> Text:
    label, _, rest = words.partition(" ")
    return Text.assemble((label, "dim"), f" {rest}")


def _first_that_fits(candidates: Sequence[str], width: int) -> str:
    return next((text for text in candidates if cell_len(text) <= width), candidates[-1])


def _spaced(blocks: Sequence[list[Text]], room: int) -> Iterator[Text]:
    """Yield the blocks with blank lines between them, if all of these fit."""
    blank = len(blocks) - 1 <= room
    for i, block in enumerate(blocks):
        if i and blank:
            yield Text("")
        yield from block


def _cut(line: Text, width: int, ascii_only: bool) -> Text:
    line.truncate(max(0, width), overflow="crop" if ascii_only else "ellipsis")
    line.no_wrap = True
    return line
