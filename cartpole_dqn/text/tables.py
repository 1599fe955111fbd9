"""Tables of text, and their forms.

* `TextTable`: a title, columns, rows of text. `fitted`: drops columns of a table that is too wide.
* `as_rich`: for a terminal. `as_text`: for a pipe or a file. `as_markdown`: for a page. `print_table`: for stdout.
* `print_sections`: lists of names and what they mean, under headings. `print_warning`: a warning in its colour.
* `flat`: a table of settings -> its values by dotted keys.
* `to_json`, `json_value`: any value as JSON.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WARNING = "color(166)"
"""An orange. It is readable on light and on dark terminals, which yellow is not."""
_GAP = 2
"""Cells between two columns."""
_GLUE = "\ue000"
"""A space that is no place for a break. Rich breaks at any other."""


@dataclass(frozen=True)
class TextTable:
    """A table of text, each cell on one line; the first `left` columns are words, the others figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


def fitted(table: TextTable, width: int, droppable: Sequence[str], *, wrapped: bool = False) -> TextTable:
    """Drop columns in the order of `droppable` until the table fits into `width` cells, with cells `wrapped` or not."""
    for name in droppable:
        if _width(table, narrowest=wrapped) <= width:
            break
        i = table.columns.index(name)
        table = TextTable(
            table.title,
            table.columns[:i] + table.columns[i + 1 :],
            tuple(row[:i] + row[i + 1 :] for row in table.rows),
            table.left - (i < table.left),
        )
    return table


def as_rich(table: TextTable, width: int | None = None, styles: Sequence[str] = ()) -> Table:
    """Return a Rich table without lines, in at most `width` cells: its cells are wrapped between words.

    It is wider if the words need more. The rows have these `styles`, if there are any.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    columns = [[name, *(row[i] for row in table.rows)] for i, name in enumerate(table.columns)]
    widths = [max(map(cell_len, cells)) for cells in columns]
    narrowest = [max((cell_len(word) for cell in cells for word in cell.split()), default=0) for cells in columns]
    room = sum(widths) if width is None else max(sum(narrowest), width - _GAP * (len(columns) - 1))
    while sum(widths) > room:
        # The widest of those that can be narrower.
        widths[max((i for i in range(len(widths)) if widths[i] > narrowest[i]), key=widths.__getitem__)] -= 1
    grid = Table(title=table.title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(table.columns):
        grid.add_column(name, justify="left" if i < table.left else "right", width=widths[i])
    for i, row in enumerate(table.rows):
        grid.add_row(*map(Text, row), style=styles[i] if styles else None)
    return grid


def as_text(table: TextTable) -> str:
    """Return the title, and below it columns and rows aligned by spaces in full width."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=_width(table), color_system=None)
    with console.capture() as capture:
        console.print(as_rich(dataclasses.replace(table, title="")))
    return "".join(f"{line.rstrip()}\n" for line in [*filter(None, [table.title]), *capture.get().splitlines()])


def print_table(table: TextTable, console: Console, styles: Sequence[str] = ()) -> None:
    """Print a table: on a terminal wrapped to its width, otherwise in full width with one line per row.

    On a terminal that is too narrow for the words, each row is a list of its cells.
    """
    from rich.text import Text

    if not console.is_terminal:
        print(as_text(table), end="")
    elif _width(table, narrowest=True) <= console.width:
        console.print(as_rich(table, console.width, styles))
    else:
        if table.title:
            console.print(Text(table.title, style="bold"))
        names = [Text(name) for name in table.columns[1:]]
        cells = [(Text(row[0], "bold"), list(zip(names, map(Text, row[1:]), strict=True))) for row in table.rows]
        print_sections(console, cells)


def print_sections(
    console: Console, sections: Sequence[tuple[Text, Sequence[tuple[Text, Text]]]], *, wrap: bool = True
) -> None:
    """Print each heading with its rows of a name and a text, in two columns. An empty line separates sections.

    Args:
        console: where to print.
        sections: headings, which may be empty, and their rows.
        wrap: wrap the texts to the console's width, between words.
    """
    from rich.text import Text

    most = max(18, console.width // 3)
    column = max((name.cell_len for _, rows in sections for name, _ in rows if name.cell_len <= most), default=most)
    for i, (heading, rows) in enumerate(sections):
        if i:
            console.print()
        if heading:
            console.print(heading, soft_wrap=not wrap)
        for name, text in rows:
            lines = _wrapped(text, console, max(10, console.width - column - 4)) if wrap else [text]
            if name.cell_len > column or not lines:
                lines.insert(0, Text())
            for line in lines:
                line.rstrip()
                gap = " " * (column + 2 - name.cell_len) if line else ""
                console.print(Text.assemble("  ", name, gap, line), soft_wrap=True)
                name = Text()


def _wrapped(text: Text, console: Console, width: int) -> list[Text]:
    """Return lines of at most `width` cells, broken between words, but not inside short brackets."""
    text = text.copy()
    text.plain = re.sub(r"\[.*?\]", lambda m: m[0].replace(" ", _GLUE) if len(m[0]) <= width else m[0], text.plain)
    lines = list(text.wrap(console, width))
    for line in lines:
        line.plain = line.plain.replace(_GLUE, " ")
    return lines


def as_markdown(tables: Sequence[TextTable], sentences: Sequence[str] = ()) -> str:
    """Return a Markdown page: each table under its title, then the `sentences` as a list."""
    parts = []
    for table in tables:
        # Rich's box MARKDOWN cannot mark right-aligned columns.
        rule = ["---" if i < table.left else "---:" for i in range(len(table.columns))]
        rows = [[_escaped(cell) for cell in row] for row in table.rows]
        lines = [f"| {' | '.join(cells)} |" for cells in (table.columns, rule, *rows)]
        parts.append("\n".join([f"## {table.title}", "", *lines]))
    if sentences:
        parts.append("\n".join(f"- {_escaped(text)}" for text in sentences))
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


def _width(table: TextTable, *, narrowest: bool = False) -> int:
    """Return the width of the whole table in cells: without wrapped cells, or the narrowest that breaks no word."""
    grid = as_rich(table, 0 if narrowest else None)
    return sum(column.width or 0 for column in grid.columns) + _GAP * (len(grid.columns) - 1)


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")


def print_warning(console: Console, text: str) -> None:
    """Print a warning. Brackets in it are not markup."""
    from rich.text import Text

    # Not `print(style=)`: a live display prints this later, and would not know the style.
    console.print(Text(text, WARNING))


def flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return every value by its dotted key. Tables in a list have their index as key.

    >>> flat({"agent": {"name": "dqn", "gamma": 0.99}, "observation": [{"wrapper": "render"}]})
    {'agent.name': 'dqn', 'agent.gamma': 0.99, 'observation.0.wrapper': 'render'}
    """
    values: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{above}{key}.")
        elif isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
            for i, entry in enumerate(value):
                values |= flat(entry, f"{above}{key}.{i}.")
        else:
            values[f"{above}{key}"] = value
    return values
