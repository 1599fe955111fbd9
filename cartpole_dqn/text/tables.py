"""Tables of text, and the forms they are printed in.

* `TextTable`: a title, columns, rows of text.
* `fitted`: without columns that make it too wide.
* `as_text`: aligned by spaces, for a pipe or a file; `as_rich`: for a terminal; `as_markdown`: for a page.
* `flat`: a table of settings -> its values under their dotted keys.
* `print_table`: as text or for a terminal, whichever stdout is.
* `score`: how a mean return is written.
* `to_json`: tables, dataclasses' dicts and paths as JSON; what is not finite is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cartpole_dqn.text.figures import number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_GAP = "  "


@dataclass(frozen=True)
class TextTable:
    """A table of text, each cell on one line; the first `left` columns are words, the others figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


def fitted(table: TextTable, width: int, droppable: Sequence[str]) -> TextTable:
    """Return the table without as many of the columns `droppable`, in that order, as make it too wide."""
    for name in droppable:
        if sum(_widths(table)) + len(_GAP) * (len(table.columns) - 1) <= width:
            break
        i = table.columns.index(name)
        table = TextTable(
            table.title,
            table.columns[:i] + table.columns[i + 1 :],
            tuple(row[:i] + row[i + 1 :] for row in table.rows),
            table.left - (i < table.left),
        )
    return table


def as_text(table: TextTable) -> str:
    """Return the columns and rows aligned by spaces, however wide that is; without the title."""
    widths = _widths(table)
    lines = []
    for row in (table.columns, *table.rows):
        cells = [
            cell.ljust(width) if i < table.left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(cells).rstrip())
    return "\n".join(lines) + "\n"


def as_rich(table: TextTable) -> Table:
    """Return a Rich table without lines. Where it is too wide for the terminal, cells go over several lines."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=table.title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(table.columns):
        made.add_column(column, justify="left" if i < table.left else "right", overflow="fold")
    for row in table.rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def print_table(table: TextTable, console: Console) -> None:
    """Print a table: folded to a terminal's width, a line a row and nothing cut where `console` is none."""
    if console.is_terminal:
        console.print(as_rich(table))
    else:
        print(as_text(table), end="")


def as_markdown(tables: Sequence[TextTable], said: Sequence[str] = ()) -> str:
    """Return a Markdown page: each table under its title, and what is said beside them as a list."""
    parts = []
    for table in tables:
        rule = ["---" if i < table.left else "---:" for i in range(len(table.columns))]
        rows = [[_escaped(cell) for cell in row] for row in table.rows]
        lines = [f"| {' | '.join(cells)} |" for cells in (table.columns, rule, *rows)]
        parts.append("\n".join([f"## {table.title}", "", *lines]))
    if said:
        parts.append("\n".join(f"- {_escaped(text)}" for text in said))
    return "\n\n".join(parts) + "\n"


def score(value: float | None) -> str:
    """Return a mean return: one decimal from 10 on, so that figures in a column are alike."""
    return f"{value:,.1f}" if value is not None and 10 <= abs(value) < 1e6 else number(value)


def to_json(value: Any) -> str:
    """Return `value` as indented JSON that ends with a newline."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _widths(table: TextTable) -> list[int]:
    return [max(map(len, cells)) for cells in zip(table.columns, *table.rows, strict=True)]


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) or not isinstance(value, str | int | float | None) else value


def flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return every value under its dotted key; an entry of a list of tables under its number.

    >>> flat({"agent": {"name": "dqn", "gamma": 0.99}, "observation": [{"wrapper": "render"}]})
    {'agent.name': 'dqn', 'agent.gamma': 0.99, 'observation.0.wrapper': 'render'}
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        elif isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
            for i, entry in enumerate(value):
                found |= flat(entry, f"{above}{key}.{i}.")
        else:
            found[f"{above}{key}"] = value
    return found
