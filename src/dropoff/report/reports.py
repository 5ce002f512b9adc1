"""Reports as files: what API, command line and the schedule ask for."""

from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import Any, NamedTuple

from dropoff.analyse.analytics import check_parameters, utc_now
from dropoff.errors import InvalidInput
from dropoff.periods import parse_instant, parse_zone
from dropoff.phrases.addresses import end_of_link
from dropoff.query import Params, one
from dropoff.report import html, markdown, pdf, plain
from dropoff.report.contents import contents
from dropoff.report.spans import kind_of, spans
from dropoff.report.value import Report


class Format(NamedTuple):
    """How a report is written, and what such a file is called."""

    write: Callable[[Report, str | None], bytes]
    media_type: str


FORMATS = {
    "html": Format(html.write, "text/html; charset=utf-8"),
    "md": Format(markdown.write, "text/markdown; charset=utf-8"),
    "pdf": Format(pdf.write, "application/pdf"),
    "json": Format(plain.write, "application/json"),
}


class File(NamedTuple):
    """A report in a format; `policy` is the content security policy with which it is shown."""

    name: str
    media_type: str
    body: bytes
    policy: str


class Reports:
    """The reports of one installation. `ask` answers questions by name; `public_url`: where people reach the pages."""

    def __init__(
        self, ask: Callable[[str, Params], Mapping[str, Any]], timezone: str, public_url: str | None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:  # fmt: skip
        self._ask, self._timezone, self._base, self._now = ask, timezone, public_url, now

    @property
    def shown(self) -> list[str]:
        """The formats for people that can be made here."""
        return ["html", *(["pdf"] if find_spec("typst") else []), "md"]

    def file(self, params: Params) -> File:
        """The report `kind` as a file of `format`, of the last whole week or month unless `from` and `to` say so."""
        name = one(params, "format") or "html"
        if name not in FORMATS:
            raise InvalidInput("format", name, f"one of {', '.join(FORMATS)}")
        return self.written(self.report(params), name)

    def written(self, report: Report, name: str) -> File:
        """A report that is made, as a file."""
        write, media_type = FORMATS[name]
        end = f"{report.kind}-{report.period['from'][:10]}.{name}"
        return File(f"dropoff-{end}", media_type, write(report, self._base), html.policy())

    def report(self, params: Params) -> Report:
        """The same as a value."""
        check_parameters("report", params)
        kind, zone = kind_of(one(params, "kind")), parse_zone(one(params, "timezone") or self._timezone)
        now = self._now()
        if (text := one(params, "as_of")) is not None:
            now = parse_instant("as_of", text, zone)
            params = {**params, "as_of": [end_of_link(now, zone.key)]}
        return contents(self._ask, kind, spans(kind, params, now, zone), params, now)
