import csv
from io import StringIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dropoff.dashboard.frame import spreadsheet

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(
    st.characters(exclude_categories=["Cs"])
)  # fmt: skip


@given(st.lists(st.lists(st.tuples(VALUES, VALUES), max_size=4), max_size=3))
@example([[("a,b", 'say "hi"'), ("line\r\nline", "\n")], [("=1+1", "'=x"), ("\x00", "ü\u2028")]])
def test_what_is_written_is_read_again(pages):
    rows = [[{"one": a, "two": b} for a, b in page] for page in pages]
    text = b"".join(spreadsheet.lines(["one", "two"], rows)).decode()
    read = list(csv.reader(StringIO(text, newline=""), strict=True))
    assert read[0] == ["one", "two"]
    assert read[1:] == [[spreadsheet.cell(a), spreadsheet.cell(b)] for page in pages for a, b in page]
    assert text.endswith("\r\n")


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_a_text_is_no_formula(first):
    assert spreadsheet.cell(f"{first}cmd|' /C calc'!A0") == f"'{first}cmd|' /C calc'!A0"
    assert spreadsheet.cell(first) == f"'{first}"


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, ""), (True, "true"), (False, "false"), (-0.25, "-0.25"), (-3, "-3"), (0, "0"), ("a-b", "a-b"), ("", "")],
)
def test_what_is_no_text_stays(value, written):
    assert spreadsheet.cell(value) == written


def test_pages_are_written_as_they_come():
    seen = []

    def pages():
        for number in range(3):
            seen.append(number)
            yield [{"n": number}]

    lines = spreadsheet.lines(["n"], pages())
    assert (next(lines), seen) == (b"n\r\n", [])
    assert (next(lines), seen) == (b"0\r\n", [0])
