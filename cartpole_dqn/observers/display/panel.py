"""How a run looks in a terminal: pure functions of a snapshot and a size.

`RunPanel` is a Rich renderable that fits the console; `panel_lines` returns its lines.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.box import ROUNDED
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from cartpole_dqn.contracts.events import Evaluating
from cartpole_dqn.observers.display.braille import Chart, chart_lines, legend
from cartpole_dqn.observers.display.eye import Line, eye_lines
from cartpole_dqn.observers.display.tracker import Snapshot
from cartpole_dqn.observers.wording import Figure, describe_evaluating, episodes_at, figures_of, needs, pace, stopped
from cartpole_dqn.text.figures import compact, duration, number, one_line, score, spread

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
_SHORT = {"learning rate": "lr", "mean of 20": "mean 20", "mean of 100": "mean 100", "last return": "last"}
"""Labels for narrow terminals."""
_BOLD = ("mean of", "mean 20", "mean 100")
_DOT = " · "
_ASCII = str.maketrans({"±": "+-", "▲": "up", "▼": "down", "·": "-", "…": ".", "━": "=", "╸": "=", "─": "-"})
"""What stands for a character where there is only ASCII. In edges it is as long."""
_CTRL_C = {None: "", False: "Ctrl-C: saves and stops", True: "stopping and saving, Ctrl-C again: stops at once"}


@dataclass(frozen=True)
class RunPanel:
    """A run as one panel, a little smaller than the console.

    It is at most `MOST_COLUMNS` wide, without what the agent sees, which is drawn beside it in consoles of `EYE_FROM`
    columns or more.
    """

    snapshot: Snapshot
    curve: bool = True
    """Draw the chart of returns if there is room."""
    stopping: bool | None = None
    """Whether the run is stopping, so that the next Ctrl-C interrupts it. None if Ctrl-C is not to be mentioned."""
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
        spelled: Callable[[Iterable[Segment]], Line] = _ascii if options.ascii_only else list
        lines = panel_lines(snapshot, inner, room, console, curve=self.curve and not options.ascii_only)
        rows = [spelled(line) for line in lines]
        if not framed:
            return rows
        if beside and snapshot.glimpse is not None:
            most = min(room, max(len(rows), 26))
            eye = eye_lines(snapshot.glimpse, beside - _EYE_GAP, most, colour=not console.no_color)
            pairs = itertools.zip_longest(rows, eye, fillvalue=())
            rows = [[*Segment.adjust_line_length([*row], inner + _EYE_GAP), *part] for row, part in pairs]
        style = "green" if snapshot.solved is not None else "dim"
        box, words = ROUNDED.substitute(options), (one_line(snapshot.started.name) or "run").split(", ")
        title = Text(_joined([[(", " * (i > 0) + word, "")] for i, word in enumerate(words)], width - 6).plain, "bold")
        footer = _footer(snapshot, self.stopping, width - 6)
        side = Style.parse(style)
        left, right = Segment(f"{box.mid_left} ", side), Segment(f" {box.mid_right}", side)
        edges = [
            _edge(box.top_left, box.top, box.top_right, _cut(title, width - 6), width, style),
            _edge(box.bottom_left, box.bottom, box.bottom_right, _cut(footer, width - 6), width, style),
        ]
        above, below = (spelled(edge.render(console)) for edge in edges)
        return [above, *([left, *Segment.adjust_line_length(row, width - 4), right] for row in rows), below]


def _edge(left: str, line: str, right: str, title: Text, width: int, style: str) -> Text:
    edge = Text.assemble((left + line, style))
    if title:
        edge.append(" ").append_text(title).append(" ")
    return edge.append(line * (width - 1 - edge.cell_len) + right, style)


def panel_lines(snapshot: Snapshot, width: int, height: int, console: Console, *, curve: bool = True) -> list[Line]:
    """Return at most `height` lines of at most `width` cells.

    By priority: progress and time, the evaluation, figures, then the chart if `_CHART_ROWS` fit.
    """
    chart = _chart(snapshot)
    gutter = chart.gutter if curve else 0
    aside = _aside(snapshot, width)
    columns = max(1, width - gutter - aside)
    head = [*_solved(snapshot, width), *_bar(snapshot, width, gutter, columns)]
    hero = _evaluations(snapshot, width)
    room = max(0, height - len(head))
    hero = hero[:room]
    room -= len(hero)
    least = min(room, _FIGURE_ROWS)
    rows = min(_CHART_ROWS[1], room - least - _BLANKS)
    if not curve or rows < _CHART_ROWS[0]:
        rows = 0
    figures = _grid(figures_of(snapshot), width, max(least, min(room - rows - _BLANKS, 2 * _FIGURE_ROWS)))
    room -= rows + len(figures)
    chart_rows: list[Line] = []
    if rows:
        more = min(_MORE_CHART_ROWS, max(0, room - _BLANKS))
        below = [] if aside >= _ASIDE else [[Segment(" " * gutter), *legend(width - gutter)]]
        chart_rows = [*chart_lines(chart, columns, rows + more - len(below), aside), *below]
        room -= more
    above, below, last = ([[*_cut(text, width).render(console)] for text in texts] for texts in (head, hero, figures))
    return _spaced([above, below, chart_rows, last], room)[: max(1, height)]


# Lines ----------------------------------------------------------------------------------------------------------------


def _chart(snapshot: Snapshot) -> Chart:
    trail, step = snapshot.trail, (snapshot.progress or snapshot.started).step
    # Without a budget, and where less than the budget was needed, the present is the right edge.
    to_budget = snapshot.started.steps is not None and not snapshot.over
    end = max(step, snapshot.started.steps or 0) if to_budget else step
    return Chart(
        trail.points(trail.returns),
        trail.points(trail.means_20),
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
    without_total = snapshot.total is None or (snapshot.over and done < snapshot.total)
    return f"{done:,} {unit}" if without_total else f"{done:,} / {snapshot.total:,} {unit}"


def _bar(snapshot: Snapshot, width: int, gutter: int, columns: int) -> list[Text]:
    """Return the bar, in line with the chart, and the times."""
    total, over = snapshot.total, snapshot.over
    counts = _counts(snapshot, snapshot.done)
    wide = width >= _ASIDE_FROM
    elapsed = duration(snapshot.elapsed)
    parts = [f"{elapsed} gone" if snapshot.running else f"took {elapsed}", *pace(snapshot)]
    if total is None:
        lines = [Text(counts, style="bold")]
    else:
        share = 1.0 if over else min(1.0, snapshot.done / max(1, total))
        percent = f"{math.floor(share * 100)}%"
        words = f"  {counts}  {percent}" if wide else f"  {percent}"
        words = words.removesuffix("  100%") if over else words
        bar = _progress_bar(share, columns)
        lines = [Text.assemble(" " * gutter, bar, (words, "bold"))]
        if not wide:
            parts.insert(0, f"{snapshot.done:,}" if over else f"{snapshot.done:,}/{compact(total)}")
    while len(parts) > 1 and cell_len(_DOT.join(parts)) + wide * gutter > width:
        parts.pop()
    return [*lines, Text(" " * (gutter * wide) + _DOT.join(parts))]


def _progress_bar(share: float, columns: int) -> Text:
    full, half = divmod(int(share * columns * 2), 2)
    return Text.assemble(("━" * full + "╸" * half, "green"), ("─" * (columns - full - half), "dim"))


def _solved(snapshot: Snapshot, width: int) -> list[Text]:
    """Return the line that says that the run is solved."""
    if snapshot.solved is None:
        return []
    solved, over = snapshot.solved, f"over {len(snapshot.solved.returns)}"
    score_text = spread(solved.mean, solved.std)
    at = f"at step {solved.step:,}"
    words = [f"{over} greedy episodes on held-out seeds, {at}", f"{over} episodes, {at}", f"{over} ep.", ""]
    rest = _first_that_fits(words, width - cell_len(score_text) - 10)
    return [Text.assemble((" SOLVED ", "bold reverse green"), " ", (score_text, "bold"), f" {rest}".rstrip())]


def _evaluations(snapshot: Snapshot, width: int) -> list[Text]:
    """Return the evaluation and what it needs, then the best score, or the bar of an evaluation under way."""
    needed, last, best = snapshot.started.solved_at, snapshot.evaluation, snapshot.best
    previous, mean = snapshot.previous, None if last is None else last.mean
    score_text = "" if last is None else spread(last.mean, last.std)
    if snapshot.to_confirm is not None and snapshot.to_confirm.mean is not None:
        previous, mean = last, snapshot.to_confirm.mean
        score_text = score(mean)
    lines, upcoming = [], snapshot.next_evaluation
    if mean is not None:
        parts = [[("evaluation ", "dim"), (score_text, "bold")], [(needs(needed), "")]]
        if previous is not None:
            change = mean - previous.mean
            style = "green" if change > 0 else "red" if change < 0 else ""
            mark = "=" if change == 0 else "▲▼"[change < 0]
            parts.append([(f"   {mark} {score(abs(change))}", style)])
            parts.append([(f" since step {previous.step:,}", "")])
        if upcoming is not None:
            parts.append([("   next at ", "dim"), (f"{upcoming:,}", "")])
        lines.append(_joined(parts, width))
    elif upcoming is not None:
        first = [("first evaluation at ", "dim"), (f"{upcoming:,}", "")]
        lines.append(_joined([first, [(needs(needed), "")]], width))
    if snapshot.evaluating is not None and snapshot.idle >= _EVALUATING_SECONDS:
        lines.append(_under_way(snapshot.evaluating, needed, width))
    elif snapshot.solved is None and best is not None:
        doubt = " (not confirmed)" if needed is not None and best.mean >= needed and best.stream != "confirm" else ""
        lines.append(
            _joined(
                [[("best ", "dim"), (f"{_of_needed(best.mean, needed)}{doubt}", "")], [(episodes_at(best), "")]], width
            )
        )
    return lines


def _under_way(event: Evaluating, needed: float | None, width: int) -> Text:
    doing, _, words = describe_evaluating(event, needed).partition(" ")
    parts = words.split(", ")
    words = _first_that_fits([", ".join(parts[:n]) for n in range(len(parts), 0, -1)], width - len(doing) - 7)
    columns = min(24, width - len(doing) - cell_len(words) - 3)
    bar = _progress_bar(event.done / max(1, event.episodes), columns) if columns >= 4 else Text("")
    return Text.assemble((f"{doing} ", "bold"), bar, f"  {words}" if columns >= 4 else words)


def _of_needed(mean: float, needed: float | None) -> str:
    if needed is None or mean >= needed:
        return score(mean)
    # "-113 of -100" would not say that more is needed.
    return f"{number(mean, 3)} of {number(needed)}" if needed > 0 else f"{score(mean)}{needs(needed)}"


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


def _footer(snapshot: Snapshot, stopping: bool | None, width: int) -> Text:
    if snapshot.progress is None and snapshot.running:
        return Text.assemble(("starting", "bold"))
    if snapshot.running and snapshot.evaluating is None and snapshot.idle >= _IDLE_SECONDS and not stopping:
        waits = f"saving, or waiting for the environment: {int(snapshot.idle)} s since the last step"
        return Text.assemble((waits, "bold"))
    if snapshot.failed:
        text, style = snapshot.failed, "bold red"
    elif snapshot.ended is not None and not snapshot.over:
        text, style = stopped(snapshot), "bold"
    else:
        text, style = _CTRL_C[stopping] * snapshot.running, "bold" if stopping else ""
    first, comma, rest = text.partition(", ")
    folder = one_line(snapshot.started.folder or "")
    then = f"{_DOT * bool(text)}{folder}" if folder else ""
    return _joined([[(first, style)], [(f"{comma}{rest}", style)], [(then, "dim")]], width)


def _first_that_fits(candidates: Sequence[str], width: int) -> str:
    return next((text for text in candidates if cell_len(text) <= width), candidates[-1])


def _spaced(blocks: Iterable[list[Line]], room: int) -> list[Line]:
    """Return the blocks' lines with blank lines between them, if all of these fit."""
    filled = [block for block in blocks if block]
    blank: list[Line] = [[]] * (len(filled) - 1 <= room)
    return [line for i, block in enumerate(filled) for line in [*blank * (i > 0), *block]]


def _ascii(line: Iterable[Segment]) -> Line:
    return [Segment(part.text.translate(_ASCII), part.style) for part in line]


def _cut(line: Text, width: int) -> Text:
    line.truncate(max(0, width), overflow="ellipsis")
    return line
