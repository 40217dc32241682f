"""The error pages as a visitor gets them."""

from html.parser import HTMLParser

import pytest

from hawse_api import names
from hawse_exitnode import pages

SHOWN = [error for error in names.ERRORS if error.status]
RENDERED = pages.render_pages()


class Reader(HTMLParser):
    """What stands in a page, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "srcset", "data", "action", "onload"}]
        if tag in {"script", "link", "iframe", "img"}:
            self.loads.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


def read(code: str) -> Reader:
    reader = Reader()
    reader.feed(RENDERED[code].decode())
    return reader


def test_every_code_that_the_edge_shows_has_a_page() -> None:
    assert sorted(RENDERED) == sorted(error.code for error in SHOWN)


@pytest.mark.parametrize("error", SHOWN, ids=[error.code for error in SHOWN])
def test_a_page_is_whole_self_contained_and_has_its_slots(error: names.ErrorCode) -> None:
    html, reader = RENDERED[error.code].decode(), read(error.code)
    assert reader.open == []
    assert reader.loads == []
    assert "@import" not in html
    assert "url(" not in html
    for slot in ("{host}", "{request_id}", "{detail}"):
        assert reader.text.count(slot) == 1
    assert error.code in reader.text
    assert str(error.status) in reader.text
    assert len(html) < 8000
    for tag in ("title", "h1", "main", "ol"):
        assert tag in reader.tags
    assert '<html lang="en">' in html


@pytest.mark.parametrize(
    ("code", "stations"),
    [
        ("HAWSE-1001", ["works", "failed here", "not reached", "not reached"]),
        ("HAWSE-1002", ["works", "works", "failed here", "not reached"]),
        ("HAWSE-1003", ["works", "works", "works", "failed here"]),
        ("HAWSE-1004", ["works", "works", "works", "failed here"]),
        ("HAWSE-1006", ["failed here", "not reached", "not reached", "not reached"]),
    ],
)
def test_the_way_of_the_request_names_the_hop_that_failed_in_words(code: str, stations: list[str]) -> None:
    text = read(code).text
    found = sorted((text.index(f"{name}: "), name) for name in ("You", "Exit node", "Agent", "App"))
    said = [text[at:].split(": ", 1)[1].split("\n")[0] for at, _ in found]
    for line, word in zip(said, stations, strict=True):
        assert line.startswith(word)


def test_commands_are_marked_and_text_is_escaped() -> None:
    page = pages.Page(pages.Hop.APP, "a < b & `c < d`", "v", ())
    html = pages.render_page(names.BY_NAME["APP_REFUSED"], page)
    assert "a &lt; b &amp; <code>c &lt; d</code>" in html
    assert "The tunnel works, but the app on the developer&#x27;s side refused the connection." in html
