"""Rows as CSV (RFC 4180, UTF-8, with a header) for people, who open such files in a spreadsheet."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

MEDIA_TYPE = "text/csv; charset=utf-8; header=present"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def lines(columns: Sequence[str], pages: Iterable[Sequence[Mapping[str, Any]]]) -> Iterator[bytes]:
    """The header, then each page of rows as soon as it is there."""
    yield _written([columns])
    for page in pages:
        yield _written([cell(row[name]) for name in columns] for row in page)


def cell(value: object) -> str:
    """A value as it stands in the file: nothing for null, `true` and `false`, numbers as in JSON.

    A text that a spreadsheet would run as a formula has an apostrophe before it (OWASP, CSV Injection).
    """
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
        case _:
            return str(value)


def _written(rows: Iterable[Sequence[str]]) -> bytes:
    text = StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
