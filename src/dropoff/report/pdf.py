"""A report as PDF, by Typst (the extra `pdf`). What is told goes in as data: no text of an event is ever markup."""

from functools import cache
from pathlib import Path

import msgspec

from dropoff.errors import InvalidInput
from dropoff.report.plain import told
from dropoff.report.references import References
from dropoff.report.value import Report

_TEMPLATE = Path(__file__).parent / "templates" / "report.typ"


def write(report: Report, base: str | None) -> bytes:
    """The file: on one machine the same bytes for the same report. Raises `InvalidInput` without the extra."""
    try:
        import typst
    except ImportError:
        raise InvalidInput("format", "pdf", "html or md, or installed: pip install 'dropoff[pdf]'") from None
    given = msgspec.json.encode(told(report, References(report, base))).decode()
    made = typst.compile(_template(), format="pdf", sys_inputs={"report": given}, timestamp=0)
    assert isinstance(made, bytes)  # noqa: S101
    return made


@cache
def _template() -> bytes:
    return _TEMPLATE.read_bytes()
