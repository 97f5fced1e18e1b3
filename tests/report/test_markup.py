"""Elements that escape whatever is put into them."""

from __future__ import annotations

import unicodedata
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.report.markup import Html, el, exact, joined, plain, short

TEXTS = st.text(st.characters()) | st.text(st.sampled_from("<>&\"'`=/ -!\0\n\r\t\u202e\ud800a"))


class Parsed(HTMLParser):
    """What a browser makes of some markup."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


@given(TEXTS)
def test_text_stays_text_in_elements_and_in_attributes(text: str) -> None:
    parsed = Parsed(el("p", text, title=text))

    assert parsed.tags == [("p", {"title": plain(text)})]
    assert parsed.text == plain(text)


@given(TEXTS)
def test_exact_text_can_be_read_back(text: str) -> None:
    read = ""
    for part in exact(text, most=10_000).split("<"):
        if part.startswith("span"):
            read += "".join(chr(int(one.removeprefix("U+"), 16)) for one in part.partition(">")[2].split())
        else:
            read += unescape(part.removeprefix("/span>"))

    assert read == text


@given(TEXTS)
def test_whatever_is_made_can_be_written_to_a_file(text: str) -> None:
    for markup in (el("p", text, title=text), exact(text, most=100)):
        markup.encode()  # Which half of a surrogate pair would not let it.
        assert not any(_steers(one) for one in markup if one not in "\t\n")


def test_markup_is_put_in_as_it_is_and_none_left_out() -> None:
    assert joined(el("b", "a & b"), None, "<") == "<b>a &amp; b</b>&lt;"


def test_only_what_the_builders_made_is_markup() -> None:
    made = el("b", "x")

    assert isinstance(made, Html)
    assert not isinstance(made + "<i>", Html)
    assert el("p", made + "<i>") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"


def test_attributes_are_named_as_in_html() -> None:
    assert el("p", class_="a", aria_label="b", id=None, tabindex=0) == '<p class="a" aria-label="b" tabindex="0"></p>'


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\r\nb\tc", "a  b c"), ("\u202eevil", "\ufffdevil"), ("\0\x1b[31m", "\ufffd\ufffd[31m"),
    ("é\u00a0ü", "é\u00a0ü")],
    ids=["lines", "direction", "controls", "no-break space"],
)  # fmt: skip
def test_a_label_is_one_line_that_steers_nothing(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_long_text_is_cut_and_says_so() -> None:
    assert short("x" * 10_000) == "x" * 400 + "…"
    assert exact("x" * 30, most=10) == "x" * 10 + '<span class="code">20 characters more</span>'


def _steers(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
