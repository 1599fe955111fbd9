from __future__ import annotations

import io
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cartpole_dqn.text.tables import TextTable, as_markdown, as_rich, as_text, fitted, print_table, to_json

TABLE = TextTable("Title", ("name", "env", "n"), (("a", "x|y\\z", "1"), ("long name", "b", "1,234")), left=2)


def test_text_is_aligned_however_wide() -> None:
    assert as_text(TABLE) == "Title\nname       env        n\na          x|y\\z      1\nlong name  b      1,234\n"
    wide = TextTable("", ("a",), (("x" * 500,),))
    assert as_text(wide).splitlines()[1] == "x" * 500
    named = TextTable("A title that is longer than its table", ("a",), (("[red]長",), ("b",)))
    assert as_text(named) == "A title that is longer than its table\na\n[red]長\nb\n"


def test_markdown_is_escaped() -> None:
    assert as_markdown([TABLE], ["said | so"]) == (
        "## Title\n\n| name | env | n |\n| --- | --- | ---: |\n| a | x\\|y\\\\z | 1 |\n| long name | b | 1,234 |\n\n"
        "- said \\| so\n"
    )


def test_rich_shows_markup_as_it_is() -> None:
    table = TextTable("T", ("a", "b"), (("[red]x[/red]", "1"),))
    console = Console(file=io.StringIO(), width=40, force_terminal=True, color_system=None)
    console.print(as_rich(table))
    assert "[red]x[/red]" in console.file.getvalue()  # type: ignore[attr-defined]


def printed(table: TextTable, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_table(table, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_narrow_terminal_breaks_no_word() -> None:
    table = TextTable("T", ("run", "settled in"), (("CartPole-v1-pixels", "a long time"), ("b", "3")), left=1)
    assert printed(table, 29) == [
        "T",
        "                      settled",
        "run                        in",
        "CartPole-v1-pixels     a long",
        "                         time",
        "b                           3",
    ]
    assert printed(table, 20) == [
        "T",
        "CartPole-v1-pixels",
        "  settled in  a long",
        "              time",
        "",
        "b",
        "  settled in  3",
    ]


@given(st.lists(st.tuples(*[st.text("ab", max_size=9)] * 3), max_size=4), st.integers(0, 40))
def test_fitted_drops_no_more_than_it_must(rows: list[tuple[str, str, str]], width: int) -> None:
    def wide(table: TextTable) -> int:
        return max(len(line) for line in as_text(TextTable("", table.columns, table.rows, 99)).splitlines())

    columns = ("one", "two", "three")
    whole = TextTable("", columns, tuple(tuple(cell + "." for cell in row) for row in rows), left=2)
    found = fitted(whole, width, ["three", "one"])
    kept = {3: columns, 2: ("one", "two"), 1: ("two",)}[len(found.columns)]
    assert found.columns == kept
    assert wide(found) <= width or kept == ("two",)
    if kept != columns:
        assert wide(fitted(whole, width + 1000, ["three", "one"])) > width
    assert found.left == (1 if kept == ("two",) else 2)


def test_json_has_null_for_what_is_not_finite() -> None:
    value = {"a": float("nan"), "b": [1, True, None, "x"], Path("c"): (float("-inf"), Path("d/e")), "f": {1}}
    assert json.loads(to_json(value)) == {"a": None, "b": [1, True, None, "x"], "c": [None, "d/e"], "f": "{1}"}
