"""How a run looks in a terminal: pure functions of a snapshot and a size.

* `RunPanel`: a Rich renderable that fits the console; `panel_lines`: its lines.
* `plain_line`: the run in one line without styles. `summary_lines`: its summary at the end.
* `says_solved`, `verdict`: whether a run, or a score, solves the environment.
* `describe_evaluating`, `describe_evaluation`, `describe_checkpoint`: an event in a few words.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.box import ROUNDED
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from cartpole_dqn.contracts.events import Checkpoint, Evaluating, Evaluation, RunEnded
from cartpole_dqn.observers.display.braille import Chart, chart_lines, legend
from cartpole_dqn.observers.display.eye import Line, eye_lines
from cartpole_dqn.observers.display.tracker import Snapshot
from cartpole_dqn.text.figures import NOTHING, compact, count_of, duration, number, one_line, score, size, spread

MOST_COLUMNS = 100
"""Without the agent's eye."""
EYE_FROM = 130
"""Columns of a terminal from which on what the agent sees is drawn beside the figures."""
_EYE_SHARE, _EYE_MOST, _EYE_GAP = 0.36, 54, 3
_CHART_ROWS, _FIGURE_ROWS, _BLANKS = (5, 11), 4, 3
_MORE_CHART_ROWS = 3  # Where nothing else needs them.
_ASIDE_FROM = 60  # Cells from which on counts and the legend stand right of bar and chart.
_ASIDE, _GUTTER, _CELL, _NARROW = 16, 3, 26, 50
_OURS = 12  # Figures that every agent has; an agent's own ones may have long names.
_IDLE_SECONDS, _EVALUATING_SECONDS = 2.0, 0.5
"""The panel gives the reason when there has been no step for so long."""
# Figures with a place of their own in the panel; others that the agent reports are listed by their keys.
_KNOWN_METRICS = ("loss", "q_mean")
_KNOWN_STATUS = ("epsilon", "lr", "replay_size", "replay_capacity", "updates")
_SHORT = {"learning rate": "lr", "mean of 20": "mean 20", "mean of 100": "mean 100", "last return": "last"}
"""Labels for narrow terminals."""
_BOLD = ("mean of", "mean 20", "mean 100")
_CTRL_C = {
    "": "",
    "saves": "Ctrl-C: saves and stops",
    "interrupts": "stopping and saving, Ctrl-C again: stops at once",
}

CtrlC = Literal["", "saves", "interrupts"]
Figure = tuple[str, str]
"""A label and a value, as texts."""


@dataclass(frozen=True)
class RunPanel:
    """A run as one panel, a little smaller than the console.

    It is at most `MOST_COLUMNS` wide, without what the agent sees, which is drawn beside it in consoles of `EYE_FROM`
    columns or more.
    """

    snapshot: Snapshot
    curve: bool = True
    """Draw the chart of returns if there is room."""
    ctrl_c: CtrlC = ""
    """What Ctrl-C does: it saves and stops the run, or interrupts one that is stopping. "" if it is not to be said."""
    below: int = 1
    """Lines of the console to leave free."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines(console, options):
            yield from line
            yield Segment.line()

    def lines(self, console: Console, options: ConsoleOptions) -> list[Line]:
        """Return the panel's lines. They need no more layout: drawing takes time from the run."""
        snapshot = self.snapshot
        width, height = max(1, options.max_width - 2), max(1, options.size.height - self.below)
        beside = 0
        if snapshot.glimpse is not None and options.max_width >= EYE_FROM and height >= 16 and not options.ascii_only:
            beside = min(_EYE_MOST, int(width * _EYE_SHARE)) + _EYE_GAP
        width = min(width, MOST_COLUMNS + beside)
        framed = width >= 24 and height >= 7
        inner = (width - 4 if framed else width) - beside
        room = height - 2 if framed else height
        rows = panel_lines(snapshot, inner, room, console, curve=self.curve, ascii_only=options.ascii_only)
        if not framed:
            return rows
        if beside and snapshot.glimpse is not None:
            most = min(room, max(len(rows), 26))
            eye = eye_lines(snapshot.glimpse, beside - _EYE_GAP, most, colour=not console.no_color)
            pairs = itertools.zip_longest(rows, eye, fillvalue=())
            rows = [[*Segment.adjust_line_length([*row], inner + _EYE_GAP), *part] for row, part in pairs]
        ascii_only, style = options.ascii_only, "green" if snapshot.solved is not None else "dim"
        box, words = ROUNDED.substitute(options), (one_line(snapshot.started.name) or "run").split(", ")
        title = Text(_joined([[(", " * (i > 0) + word, "")] for i, word in enumerate(words)], width - 6).plain, "bold")
        footer = _footer(snapshot, self.ctrl_c, width - 6, ", " if ascii_only else " · ")
        side = Style.parse(style)
        left, right = Segment(f"{box.mid_left} ", side), Segment(f" {box.mid_right}", side)
        edges = [
            _edge(box.top_left, box.top, box.top_right, _cut(title, width - 6, ascii_only), width, style),
            _edge(box.bottom_left, box.bottom, box.bottom_right, _cut(footer, width - 6, ascii_only), width, style),
        ]
        above, below = ([*edge.render(console)] for edge in edges)
        return [above, *([left, *Segment.adjust_line_length(row, width - 4), right] for row in rows), below]


def _edge(left: str, line: str, right: str, title: Text, width: int, style: str) -> Text:
    edge = Text.assemble((left + line, style))
    if title:
        edge.append(" ").append_text(title).append(" ")
    return edge.append(line * (width - 1 - edge.cell_len) + right, style)


def panel_lines(
    snapshot: Snapshot, width: int, height: int, console: Console, *, curve: bool = True, ascii_only: bool = False
) -> list[Line]:
    """Return at most `height` lines of at most `width` cells.

    By priority: progress and time, the evaluation, figures, then the chart if `_CHART_ROWS` fit.
    """
    chart = _chart(snapshot)
    gutter = chart.gutter if curve and not ascii_only else 0
    aside = _aside(snapshot, width)
    columns = max(1, width - gutter - aside)
    head = [*_solved(snapshot, width, ascii_only), *_bar(snapshot, width, gutter, columns, console)]
    hero = _evaluations(snapshot, width, console, ascii_only)
    room = max(0, height - len(head))
    hero = hero[:room]
    room -= len(hero)
    least = min(room, _FIGURE_ROWS)
    rows = min(_CHART_ROWS[1], room - least - _BLANKS)
    if not curve or ascii_only or rows < _CHART_ROWS[0]:
        rows = 0
    figures = _grid(figures_of(snapshot), width, max(least, min(room - rows - _BLANKS, 2 * _FIGURE_ROWS)))
    room -= rows + len(figures)
    chart_rows: list[Line] = []
    if rows:
        more = min(_MORE_CHART_ROWS, max(0, room - _BLANKS))
        below = [] if aside >= _ASIDE else [[Segment(" " * gutter), *legend(width - gutter)]]
        chart_rows = [*chart_lines(chart, columns, rows + more - len(below), aside), *below]
        room -= more
    above, below, last = (
        [[*_cut(text, width, ascii_only).render(console)] for text in texts] for texts in (head, hero, figures)
    )
    return _spaced([above, below, chart_rows, last], room)[: max(1, height)]


def figures_of(snapshot: Snapshot) -> list[Figure]:
    """Return labels and values by importance; the agent's own figures come last."""
    progress, returns = snapshot.progress, snapshot.returns
    metrics: Mapping[str, Any] = {} if progress is None else dict(progress.metrics)
    status: Mapping[str, Any] = {} if progress is None else dict(progress.status)
    figures = [
        ("last return", number(returns.last)),
        ("mean of 20", score(returns.mean_20)),
        ("mean of 100", score(returns.mean_100)),
        ("epsilon", number(status.get("epsilon"), 3)),
        ("loss", number(metrics.get("loss"), 3)),
        ("mean Q", number(metrics.get("q_mean"), 3)),
        ("episode", number(snapshot.started.episode if progress is None else progress.episode)),
        ("updates", number(status.get("updates"))),
        ("learning rate", number(status.get("lr"), 3)),
        ("best return", number(returns.best)),
        *_replay(snapshot, status),
        ("saved at", NOTHING if snapshot.checkpoint is None else f"{snapshot.checkpoint.step:,}"),
    ]
    extras = [(key, value) for key, value in status.items() if key not in _KNOWN_STATUS]
    extras += [(key, value) for key, value in metrics.items() if key not in _KNOWN_METRICS]
    return figures + [(one_line(str(key)).replace("_", " "), number(value, 3)) for key, value in extras]


def plain_line(snapshot: Snapshot) -> str:
    """Return the run's state as one line, without unknown figures."""
    progress = snapshot.progress
    step = snapshot.started.step if progress is None else progress.step
    parts = [f"step {step:,}{_of_total(snapshot, steps=True)}"]
    if snapshot.counts_episodes:
        parts.append(f"episode {snapshot.done:,}{_of_total(snapshot, steps=False)}")
    hidden = {"learning rate", "updates", "best return", "replay", "memory", "saved at"}
    hidden |= {"episode"} if snapshot.counts_episodes else set()
    figures = figures_of(snapshot)
    parts += [f"{label} {value}" for label, value in figures if value != NOTHING and label not in hidden]
    if snapshot.rate is not None:
        parts.append(f"{number(snapshot.rate, 3)} steps/s")
    if snapshot.remaining is not None:
        parts.append(f"{duration(snapshot.remaining)} left")
    return f"{duration(snapshot.elapsed)}  {', '.join(parts)}"


def summary_lines(snapshot: Snapshot, run_ended: RunEnded, *, scored: bool = False) -> list[str]:
    """Return the summary of a run: whether it is solved, or how good it became, then counts and times.

    The score is left out if a panel above has it (`scored`).
    """
    progress = run_ended.progress
    lines = []
    if snapshot.solved is not None and not scored:
        lines.append(f"SOLVED: {says_solved(snapshot)}")
    elif snapshot.best is not None and not scored:
        lines.append(f"best {_of_needed(snapshot.best.mean, snapshot)}: {_over(snapshot.best)}")
    if run_ended.reason not in ("done", "solved"):
        lines.append(_stopped(snapshot, run_ended))
    rate = f" at {number(progress.step / progress.seconds, 3)} steps/s" if progress.seconds > 0 else ""
    return [
        *lines,
        f"{count_of(progress.step, 'step')}, {count_of(progress.episode, 'episode')}; training "
        f"{duration(progress.seconds)}{rate}, evaluation {duration(run_ended.evaluation_seconds)}, checkpoints "
        f"{duration(run_ended.checkpoint_seconds)}",
    ]


def says_solved(snapshot: Snapshot) -> str:
    """Return the confirmed score of a solved run: "499.2 ± 7.6 over 100 episodes at step 5,000"; otherwise ""."""
    return "" if snapshot.solved is None else _over(snapshot.solved)


def verdict(mean: float, episodes: int, needed: float | None, confirming: int) -> str:
    """Return "SOLVED", or what is needed: "needs 475", "needs 475 over 100 episodes"; "" without a threshold."""
    if needed is None:
        return ""
    if mean < needed:
        return f"needs {number(needed)}"
    return "SOLVED" if episodes >= confirming else f"needs {number(needed)} over {confirming:,} episodes"


def describe_evaluating(event: Evaluating, needed: float | None = None) -> str:
    """Return the progress of an evaluation: "confirming 34/100, mean 498.2, needs 475"."""
    mean = "" if event.mean is None else f", mean {score(event.mean)}"
    return f"{_doing(event)} {event.done:,}/{event.episodes:,}{mean}{_needs(needed)}"


def describe_evaluation(event: Evaluation, needed: float | None = None) -> str:
    """Return an evaluation or a confirmation in one line."""
    kind = "confirmation" if event.stream == "confirm" else "evaluation"
    if needed is not None and event.stream == "confirm":
        end = ": SOLVED" if event.mean >= needed else _needs(needed)
    else:
        end = ", the best so far" if event.best else ""
    return (
        f"{kind} at step {event.step:,}: mean {spread(event.mean, event.std)} over {len(event.returns)} episodes, "
        f"{event.seconds:.1f} s{end}"
    )


def describe_checkpoint(event: Checkpoint) -> str:
    """Return a checkpoint in one line."""
    return f"checkpoint at step {event.step:,}: {size(event.nbytes)}, {event.seconds:.1f} s"


# Lines ----------------------------------------------------------------------------------------------------------------


def _chart(snapshot: Snapshot) -> Chart:
    trail, step = snapshot.trail, (snapshot.progress or snapshot.started).step
    # Without a budget, and where less than the budget was needed, the present is the right edge.
    to_budget = snapshot.started.steps is not None and not _is_over(snapshot)
    end = max(step, snapshot.started.steps or 0) if to_budget else step
    steps = trail.steps
    return Chart(
        tuple(zip(steps, trail.returns, strict=True)),
        tuple(zip(steps, trail.means_20, strict=True)),
        trail.evaluations,
        float(max(1, end)),
        snapshot.started.solved_at,
    )


def _aside(snapshot: Snapshot, width: int) -> int:
    """Return the cells right of bar and chart."""
    if width < _ASIDE_FROM:
        return 0 if snapshot.total is None else 6
    return max(_ASIDE, len(_counts(snapshot, snapshot.total or snapshot.done)) + 8)


def _counts(snapshot: Snapshot, done: int) -> str:
    unit = "episodes" if snapshot.counts_episodes else "steps"
    without_total = snapshot.total is None or (_is_over(snapshot) and done < snapshot.total)
    return f"{done:,} {unit}" if without_total else f"{done:,} / {snapshot.total:,} {unit}"


def _bar(snapshot: Snapshot, width: int, gutter: int, columns: int, console: Console) -> list[Text]:
    """Return the bar, in line with the chart, and the times."""
    total, over = snapshot.total, _is_over(snapshot)
    counts = _counts(snapshot, snapshot.done)
    wide = width >= _ASIDE_FROM
    elapsed = duration(snapshot.elapsed)
    parts = [f"{elapsed} gone" if snapshot.running else f"took {elapsed}"]
    if snapshot.remaining is not None and snapshot.running:
        parts.append(f"{duration(snapshot.remaining)} left")
    if snapshot.rate is not None and snapshot.running:
        parts.append(f"{number(snapshot.rate, 3)} steps/s")
    if total is None:
        lines = [Text(counts, style="bold")]
    else:
        share = 1.0 if over else min(1.0, snapshot.done / max(1, total))
        percent = f"{math.floor(share * 100)}%"
        words = f"  {counts}  {percent}" if wide else f"  {percent}"
        words = words.removesuffix("  100%") if over else words
        bar = _progress_bar(share, columns, console)
        lines = [Text.assemble(" " * gutter, bar, (words, "bold"))]
        if not wide:
            parts.insert(0, f"{snapshot.done:,}" if over else f"{snapshot.done:,}/{compact(total)}")
    dot = ", " if console.options.ascii_only else " · "
    while len(parts) > 1 and cell_len(dot.join(parts)) + wide * gutter > width:
        parts.pop()
    return [*lines, Text(" " * (gutter * wide) + dot.join(parts))]


def _progress_bar(share: float, columns: int, console: Console) -> Text:
    bar = ProgressBar(1.0, share, columns, style="dim", complete_style="green", finished_style="green")
    segments = [s for s in console.render(bar, console.options.update(width=columns)) if not s.control]
    text = Text.assemble(*((s.text, s.style or "") for s in segments))
    # Without colours Rich leaves the rest out.
    return text.append(("-" if console.options.ascii_only else "─") * (columns - text.cell_len), style="dim")


def _solved(snapshot: Snapshot, width: int, ascii_only: bool) -> list[Text]:
    """Return the line that says that the run is solved."""
    if snapshot.solved is None:
        return []
    solved, over = snapshot.solved, f"over {len(snapshot.solved.returns)}"
    score_text = spread(solved.mean, solved.std, "+-" if ascii_only else "±")
    at = f"at step {solved.step:,}"
    words = [f"{over} greedy episodes on held-out seeds, {at}", f"{over} episodes, {at}", f"{over} ep.", ""]
    rest = _first_that_fits(words, width - cell_len(score_text) - 10)
    return [Text.assemble((" SOLVED ", "bold reverse green"), " ", (score_text, "bold"), f" {rest}".rstrip())]


def _evaluations(snapshot: Snapshot, width: int, console: Console, ascii_only: bool) -> list[Text]:
    """Return the evaluation and what it needs, then the best score, or the bar of an evaluation under way."""
    needed, last, best = snapshot.started.solved_at, snapshot.evaluation, snapshot.best
    previous, mean = snapshot.previous, None if last is None else last.mean
    score_text = "" if last is None else spread(last.mean, last.std, "+-" if ascii_only else "±")
    if snapshot.to_confirm is not None and snapshot.to_confirm.mean is not None:
        previous, mean = last, snapshot.to_confirm.mean
        score_text = score(mean)
    lines, upcoming = [], _next(snapshot)
    if mean is not None:
        parts = [[("evaluation ", "dim"), (score_text, "bold")], [(_needs(needed), "")]]
        if previous is not None:
            change = mean - previous.mean
            marks = ("up", "down") if ascii_only else ("▲", "▼")
            style = "green" if change > 0 else "red" if change < 0 else ""
            mark = "=" if change == 0 else marks[change < 0]
            parts.append([(f"   {mark} {score(abs(change))}", style)])
            parts.append([(f" since step {previous.step:,}", "")])
        if upcoming is not None:
            parts.append([("   next at ", "dim"), (f"{upcoming:,}", "")])
        lines.append(_joined(parts, width))
    elif upcoming is not None:
        first = [("first evaluation at ", "dim"), (f"{upcoming:,}", "")]
        lines.append(_joined([first, [(_needs(needed), "")]], width))
    if snapshot.evaluating is not None and snapshot.idle >= _EVALUATING_SECONDS:
        lines.append(_under_way(snapshot.evaluating, needed, width, console))
    elif snapshot.solved is None and best is not None:
        doubt = " (not confirmed)" if needed is not None and best.mean >= needed and best.stream != "confirm" else ""
        score_of = [("best ", "dim"), (f"{_of_needed(best.mean, snapshot)}{doubt}", "")]
        over = [(f" over {len(best.returns)} episodes at step {best.step:,}", "")]
        lines.append(_joined([score_of, over], width))
    return lines


def _under_way(event: Evaluating, needed: float | None, width: int, console: Console) -> Text:
    doing, counts = f"{_doing(event)} ", f"{event.done:,}/{event.episodes:,}"
    mean = "" if event.mean is None else f", mean {score(event.mean)}"
    words = _first_that_fits([f"{counts}{mean}{_needs(needed)}", f"{counts}{mean}", counts], width - len(doing) - 6)
    columns = min(24, width - len(doing) - cell_len(words) - 2)
    bar = _progress_bar(event.done / max(1, event.episodes), columns, console) if columns >= 4 else Text("")
    return Text.assemble((doing, "bold"), bar, f"  {words}" if columns >= 4 else words)


def _doing(event: Evaluating) -> str:
    return "confirming" if event.stream == "confirm" else "evaluating"


def _needs(needed: float | None) -> str:
    return "" if needed is None else f", needs {number(needed)}"


def _next(snapshot: Snapshot) -> int | None:
    """Return the step of the next evaluation."""
    every, step = snapshot.started.evaluate_every, (snapshot.progress or snapshot.started).step
    if not every or not snapshot.running:
        return None
    upcoming, steps = (step // every + 1) * every, snapshot.started.steps
    upcoming = upcoming if steps is None else min(upcoming, steps)
    return upcoming if upcoming > step else None


def _over(evaluation: Evaluation) -> str:
    reached = spread(evaluation.mean, evaluation.std)
    return f"{reached} over {len(evaluation.returns)} episodes at step {evaluation.step:,}"


def _of_needed(mean: float, snapshot: Snapshot) -> str:
    needed = snapshot.started.solved_at
    if needed is None or mean >= needed:
        return score(mean)
    # "-113 of -100" would not say that more is needed.
    return f"{number(mean, 3)} of {number(needed)}" if needed > 0 else f"{score(mean)}{_needs(needed)}"


def _joined(parts: Iterable[Sequence[tuple[str, str]]], width: int) -> Text:
    """Join as many parts as fit, each with its styles."""
    text = Text()
    for part in parts:
        more = Text.assemble(*part)
        if text and text.cell_len + more.cell_len > width:
            break
        text.append_text(more)
    return text


def _grid(figures: Sequence[Figure], width: int, rows: int) -> list[Text]:
    """Return as many figures as fit, column by column, with shorter labels where there is little room."""
    narrow = width < _NARROW
    gutter, least = (2, 14) if narrow else (_GUTTER, 20)
    names = [figures, [(_SHORT.get(label, label), value) for label, value in figures]] if narrow else [figures]
    for columns, entries in itertools.product(range(max(1, width // least), 0, -1), names):
        visible = entries[: rows * columns]
        cell = min((width + gutter) // columns - gutter, _CELL)
        if columns == 1 or all(cell_len(label) + cell_len(value) < cell for label, value in visible[:_OURS]):
            break
    height = -(-len(visible) // columns)
    lines = []
    for row in range(height):
        line = Text()
        for i in range(row, len(visible), height):
            line.append(" " * gutter if i != row else "").append_text(_cell(visible[i], cell))
        lines.append(line)
    return lines


def _cell(figure: Figure, width: int) -> Text:
    label, value = figure
    if cell_len(label) + 1 + cell_len(value) > width:
        # Shorten the label first: a number with missing digits would be wrong.
        room = max(3, width - 1 - cell_len(value))
        prefixes = [" ".join(words[:n]) for words in [label.split()] for n in range(len(words) - 1, 0, -1)]
        label = _first_that_fits([*prefixes, set_cell_size(label, room).rstrip()], room)
        value = set_cell_size(value, max(1, min(cell_len(value), width - 1 - cell_len(label))))
    gap = " " * max(1, width - cell_len(label) - cell_len(value))
    return Text.assemble((label, "dim"), gap, (value, "bold" if figure[0].startswith(_BOLD) else ""))


def _replay(snapshot: Snapshot, status: Mapping[str, Any]) -> list[Figure]:
    """Return the transitions held, of how many, and the memory that they use."""
    count, capacity = status.get("replay_size"), status.get("replay_capacity")
    if not isinstance(count, int | float) or not isinstance(capacity, int | float) or capacity <= 0:
        return [("replay", NOTHING)]
    figures = [("replay", f"{compact(count)} / {compact(capacity)}")]
    nbytes = round(snapshot.started.replay_bytes * min(1.0, count / capacity))
    return figures + [("memory", size(nbytes))] * bool(snapshot.started.replay_bytes)


def _stopped(snapshot: Snapshot, run_ended: RunEnded) -> str:
    cause = "Ctrl-C" if run_ended.reason == "SIGINT" else one_line(run_ended.reason)
    return f"stopped ({cause})" + (f", saved at step {snapshot.checkpoint.step:,}" if snapshot.checkpoint else "")


def _footer(snapshot: Snapshot, ctrl_c: str, width: int, dot: str) -> Text:
    stopping = ctrl_c == "interrupts"
    if snapshot.progress is None and snapshot.running:
        return Text.assemble(("starting", "bold"))
    if snapshot.running and snapshot.evaluating is None and snapshot.idle >= _IDLE_SECONDS and not stopping:
        waits = f"saving, or waiting for the environment: {int(snapshot.idle)} s since the last step"
        return Text.assemble((waits, "bold"))
    if snapshot.failed:
        text, style = snapshot.failed, "bold red"
    elif snapshot.ended is not None and not _is_over(snapshot):
        text, style = _stopped(snapshot, snapshot.ended), "bold"
    else:
        text, style = _CTRL_C[ctrl_c] * snapshot.running, "bold" * stopping
    first, comma, rest = text.partition(", ")
    folder = one_line(snapshot.started.folder or "")
    then = f"{dot * bool(text)}{folder}" if folder else ""
    return _joined([[(first, style)], [(f"{comma}{rest}", style)], [(then, "dim")]], width)


def _is_over(snapshot: Snapshot) -> bool:
    """Whether the run ended because nothing is left to do."""
    return snapshot.ended is not None and snapshot.ended.reason in ("done", "solved")


def _of_total(snapshot: Snapshot, *, steps: bool) -> str:
    total = snapshot.total
    if total is None or steps == snapshot.counts_episodes:
        return ""
    return f" of {total:,} ({math.floor(100 * snapshot.done / max(1, total))}%)"


def _first_that_fits(candidates: Sequence[str], width: int) -> str:
    return next((text for text in candidates if cell_len(text) <= width), candidates[-1])


def _spaced(blocks: Iterable[list[Line]], room: int) -> list[Line]:
    """Return the blocks' lines with blank lines between them, if all of these fit."""
    filled = [block for block in blocks if block]
    blank: list[Line] = [[]] * (len(filled) - 1 <= room)
    return [line for i, block in enumerate(filled) for line in [*blank * (i > 0), *block]]


def _cut(line: Text, width: int, ascii_only: bool) -> Text:
    line.truncate(max(0, width), overflow="crop" if ascii_only else "ellipsis")
    line.no_wrap = True
    return line
