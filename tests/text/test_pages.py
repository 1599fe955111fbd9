from __future__ import annotations

from html.parser import HTMLParser

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.text.pages import _environment, data_uri, filled, render


class Seen(HTMLParser):
    """What a browser would find: elements with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


TEMPLATE = _environment().from_string('<p title="{{ title }}">{{ text }}<b>{{ text }}</b></p>')


@given(st.text(), st.text(min_size=1))
def test_whatever_is_put_in_comes_out_as_text(text: str, title: str) -> None:
    shown, told = ("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in words) for words in (text, title))
    inner = filled("<b>{}</b>", text)
    for page in (TEMPLATE.render(text=text, title=title), filled('<p title="{}">{}{}</p>', title, text, inner)):
        found = Seen(page)
        assert found.elements == [("p", {"title": told}), ("b", {})]
        assert found.text == shown * 2
        page.encode()  # not even half a surrogate pair is left


def test_a_template_that_lacks_a_value_is_no_page() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'name' is undefined"):
        render("observers/notebook_card.html.jinja", width=1)


def test_addresses() -> None:
    assert data_uri(b"\x00\xff", "image/png") == "data:image/png;base64,AP8="
