"""A report as one HTML file: no script, nothing from elsewhere, and it prints."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dropoff.phrases.formats import visible
from dropoff.report.references import References
from dropoff.report.value import Report

TEMPLATES = Path(__file__).parent / "templates"


def write(report: Report, base: str | None) -> bytes:
    """The file. Numbers lead to pages below `base`, else to the list of commands at the end."""
    page = _templates().get_template("report.html")
    references = References(report, base)
    return page.render(report=report, references=references, style=style(), kind=_kind).encode()


def style() -> str:
    """The style sheet, which stands in the file."""
    return (TEMPLATES / "report.css").read_text()


def policy() -> str:
    """The content security policy of the file: it needs its own style sheet and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _shown(value: object) -> object:
    """Text without characters that act: what is markup already is ours."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _kind(block: object) -> str:
    return type(block).__name__


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_shown,
    )  # fmt: skip
