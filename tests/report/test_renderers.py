"""The three ways to write a report: nothing of an event is markup, nothing is needed from elsewhere."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dropoff.phrases.formats import visible
from dropoff.report import html, markdown, pdf
from dropoff.report.markdown import escape
from made_reports import report

HOSTILE = [
    "<script>alert(1)</script>", "</style><script>x</script>", "<img src=x onerror=alert(1)>", '" onclick="x', "&lt;b>",
    "[a](javascript:alert(1))", "![a](http://evil.example/a.png)", "<http://evil.example>", "http://evil.example/x",
    "www.evil.example", "a@b.example", "@everyone", "**bold** _it_ ~~no~~ `code`", "| a | b |", "# head", "- item",
    "1. item", "2) item", "    code", "> quote", "```\nfence", "---", "===", "[^1]: note", "[x]: http://evil.example",
    "a\n\n# b", "\\", "$x$", "#panic(\"x\")", "#import \"x\"", "*b* _e_ = h", "<label> @ref", "]#eval(\"1\")[",
    "\u202e", "\x00",
    "{{ 7 * 7 }}", "{% raw %}", "\u2028", "",
]  # fmt: skip
BASES = [None, "https://dropoff.example.com"]


class Seen(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)


TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "h3", "p", "a", "div",
    "table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "ol", "li", "dl", "dt", "dd", "code",
}  # fmt: skip


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_html(text, base):
    page = html.write(report(text), base).decode()
    seen = Seen(page)
    assert set(seen.tags) <= TAGS
    assert len(seen.tags) == len(Seen(html.write(report("plain"), base).decode()).tags) - (not text)  # no caption
    assert {name for _, name, _ in seen.attributes} <= {
        "lang", "charset", "name", "content", "href", "title", "id", "class", "scope",
    }  # fmt: skip
    assert "".join(seen.text).count(visible(text)) >= (10 if text else 0)


@pytest.mark.parametrize("base", BASES)
def test_an_html_file_needs_nothing_from_elsewhere(base):
    page = html.write(report(), base).decode()
    assert "<script" not in page
    assert not re.search(r"url\(|@import|src=", page)
    leads = {value for tag, name, value in Seen(page).attributes if name == "href"}
    if base is None:
        assert leads == {"#q1"}
        assert 'id="q1"' in page
    else:
        assert leads == {f"{base}/trends?from=2026-05-18&where=channel=sms"}
    assert "dropoff metrics --from 2026-05-18 --where channel=sms" in page


def kinds(text: str) -> tuple[list[str], str]:
    """The kinds of all tokens of a Markdown text, and its words."""
    parsed = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)
    inner = [token for block in parsed for token in (block.children or ())]
    found = [token.type for token in (*parsed, *inner) if token.type != "text_special"]
    return [kind for kind in found if kind != "text"], "".join(token.content for token in inner)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_markdown(text, base):
    written = markdown.write(report(text), base).decode()
    if text.strip():
        assert kinds(written)[0] == kinds(markdown.write(report("plain"), base).decode())[0]
    assert "://evil" not in written.replace("\\:", "")
    assert "@" not in written


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_escaped_markdown_is_one_text(text):
    before = kinds("x")[0]
    found, words = kinds(f"x{escape(text)}x")
    assert found == before
    assert kinds(f"* {escape(text + 'x').strip()}")[0] == kinds("* x")[0]
    squeezed = re.sub(r"\s+", "", words)
    assert len(squeezed) >= len(re.sub(r"[\s\x00]+", "", text))


def test_numbers_of_markdown_lead_to_their_query():
    assert "[^1]: `dropoff metrics --from 2026-05-18 --where channel=sms`" in markdown.write(report(), None).decode()
    assert (
        "[plain](<https://a.example/trends?from=2026-05-18&where=channel=sms>)"
        in markdown.write(report(), "https://a.example").decode()
    )


@pytest.mark.parametrize("base", BASES)
def test_no_text_is_typst(base):
    """What would be evaluated would fail: all texts at once, in every place."""
    pytest.importorskip("typst")
    made = pdf.write(report(" ".join(text for text in HOSTILE if "\x00" not in text)), base)
    assert made.startswith(b"%PDF")
    for text in ('#panic("x")', "\x00"):
        assert pdf.write(report(text), base).startswith(b"%PDF")


@pytest.mark.parametrize("write", [html.write, markdown.write, pdf.write], ids=["html", "md", "pdf"])
def test_the_same_report_is_the_same_bytes(write):
    if write is pdf.write:
        pytest.importorskip("typst")
    assert write(report("é 你好"), BASES[1]) == write(report("é 你好"), BASES[1])
