"""HTML that is escaped unless it says otherwise.

* `tag`: an element; whatever is put into it is escaped, but for what is `Html` already.
* `joined`: pieces after each other. `rows_table`: a table in a frame of its own that scrolls where it is too wide.
* `section`: a heading and what is below it. `count_of`: how many of something, in words.
* `data_uri`: a file's bytes as an address, so that a page holds them itself.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

_EMPTY = frozenset({"img", "meta", "source", "br"})
"""Elements that hold nothing and are not closed."""


class Html(str):
    """Text that is HTML, and safe as it stands."""


def tag(name: str, /, *content: str, **attributes: str | bool | None) -> Html:
    """Return an element. A trailing `_` of an attribute's name is dropped, other `_` become `-`.

    >>> tag("p", "1 < 2, ", tag("b", "so"), class_="said")
    '<p class="said">1 &lt; 2, <b>so</b></p>'
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_escaped(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(content)}</{name}>")


def joined(content: Iterable[str]) -> Html:
    """Return the pieces after each other, escaped where they are not `Html`."""
    return Html("".join(piece if isinstance(piece, Html) else _escaped(piece) for piece in content))


def rows_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Html:
    """Return a table: the first `left` columns are words, the others figures."""

    def cells(kind: str, row: Sequence[str], scope: str | None) -> Html:
        return tag("tr", *(tag(kind, c, class_=None if i < left else "n", scope=scope) for i, c in enumerate(row)))

    head = tag("thead", cells("th", columns, "col")) if any(columns) else ""
    body = tag("tbody", *(cells("td", row, None) for row in rows))
    return tag("div", tag("table", head, body), class_="wide", tabindex="0")


def section(title: str, *content: str, class_: str | None = None) -> Html:
    """Return a section under its heading."""
    return tag("section", tag("h2", title), *content, class_=class_)


def data_uri(data: bytes, kind: str) -> str:
    """Return `data` as an address. `kind` is its media type, such as "image/png"."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def count_of(count: int, thing: str) -> str:
    """Return "1 episode", "20 episodes"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _escaped(text: str) -> str:
    """Escape what HTML means something by; what a screen cannot show (or turns around) is replaced."""
    shown = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return html.escape(shown)
