"""Tables of text, and their forms.

* `TextTable`: a title, columns, rows of text. `fitted`: drops columns of a table that is too wide.
* `as_rich`: for a terminal. `as_text`: for a pipe or a file. `as_markdown`: for a page. `print_table`: for stdout.
* `flat`: a table of settings -> its values by dotted keys.
* `to_json`, `json_value`: any value as JSON.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class TextTable:
    """A table of text, each cell on one line; the first `left` columns are words, the others figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


def fitted(table: TextTable, width: int, droppable: Sequence[str]) -> TextTable:
    """Drop columns in the order of `droppable` until the table fits into `width` cells."""
    for name in droppable:
        if _width(table) <= width:
            break
        i = table.columns.index(name)
        table = TextTable(
            table.title,
            table.columns[:i] + table.columns[i + 1 :],
            tuple(row[:i] + row[i + 1 :] for row in table.rows),
            table.left - (i < table.left),
        )
    return table


def as_rich(table: TextTable) -> Table:
    """Return a Rich table without lines. Cells are folded if the terminal is too narrow."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=table.title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(table.columns):
        made.add_column(column, justify="left" if i < table.left else "right", overflow="fold")
    for row in table.rows:
        made.add_row(*map(Text, row))
    return made


def as_text(table: TextTable) -> str:
    """Return the title, and below it columns and rows aligned by spaces in full width."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=_width(table), color_system=None)
    with console.capture() as made:
        console.print(as_rich(dataclasses.replace(table, title="")))
    return "".join(f"{line.rstrip()}\n" for line in [*filter(None, [table.title]), *made.get().splitlines()])


def print_table(table: TextTable, console: Console) -> None:
    """Print a table: folded to a terminal's width, otherwise in full width with one line per row."""
    if console.is_terminal:
        console.print(as_rich(table))
    else:
        print(as_text(table), end="")


def as_markdown(tables: Sequence[TextTable], said: Sequence[str] = ()) -> str:
    """Return a Markdown page: each table under its title, then the sentences `said` as a list."""
    parts = []
    for table in tables:
        # Rich's box MARKDOWN cannot mark right-aligned columns.
        rule = ["---" if i < table.left else "---:" for i in range(len(table.columns))]
        rows = [[_escaped(cell) for cell in row] for row in table.rows]
        lines = [f"| {' | '.join(cells)} |" for cells in (table.columns, rule, *rows)]
        parts.append("\n".join([f"## {table.title}", "", *lines]))
    if said:
        parts.append("\n".join(f"- {_escaped(text)}" for text in said))
    return "\n\n".join(parts) + "\n"


def to_json(value: Any) -> str:
    """Return `value` as indented JSON that ends with a newline."""
    return json.dumps(json_value(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def json_value(value: Any) -> Any:
    """Return `value` as JSON types: numbers that are not finite as null, unknown types as text."""
    if isinstance(value, Mapping):
        return {str(key): json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(inner) for inner in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    try:
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)
    return real if math.isfinite(real) else None


def _width(table: TextTable) -> int:
    """Return the width of the whole table in cells."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(file=io.StringIO(), width=1_000_000)
    return Measurement.get(console, console.options, as_rich(dataclasses.replace(table, title=""))).maximum


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")


def flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return every value by its dotted key. Tables in a list have their index as key.

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
