from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from cartpole_dqn.text.markup import Html, count_of, data_uri, joined, rows_table, section, tag


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


@given(st.text(), st.text(min_size=1))
def test_whatever_is_put_in_comes_out_as_text(text: str, attribute: str) -> None:
    found = Seen(tag("p", text, tag("b", text), title=attribute))
    assert [name for name, _ in found.elements] == ["p", "b"]
    shown = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    assert found.text == shown * 2
    assert set(found.elements[0][1]) == {"title"}


def test_attributes() -> None:
    assert tag("a", "x", class_="c", aria_label='"', hidden=True, id=None) == (
        '<a class="c" aria-label="&quot;" hidden>x</a>'
    )
    assert tag("img", alt="") == '<img alt="">'
    assert tag("meta", name="viewport") == '<meta name="viewport">'


def test_only_html_is_left_as_it_is() -> None:
    assert joined(["<b>", Html("<b>")]) == "&lt;b&gt;<b>"
    # What is made of Html by ordinary means is text again.
    assert joined([Html("<b>") + "<i>"]) == "&lt;b&gt;&lt;i&gt;"


def test_what_turns_text_around_or_ends_a_file_is_replaced() -> None:
    assert tag("p", "a\u202eb\0c\ud800d") == "<p>a\ufffdb\ufffdc\ufffdd</p>"
    tag("p", "\ud800").encode()


def test_tables_and_sections() -> None:
    found = rows_table(("run", "mean"), [("<a>", "1"), ("b", "2")])
    assert '<td>&lt;a&gt;</td><td class="n">1</td>' in found
    assert '<th scope="col">run</th>' in found
    assert "<thead>" not in rows_table(("", ""), [("a", "1")])
    assert section("A & B", "x", class_="long") == '<section class="long"><h2>A &amp; B</h2>x</section>'


def test_words_and_addresses() -> None:
    assert [count_of(n, "episode") for n in (0, 1, 1200)] == ["0 episodes", "1 episode", "1,200 episodes"]
    assert data_uri(b"\x00\xff", "image/png") == "data:image/png;base64,AP8="
