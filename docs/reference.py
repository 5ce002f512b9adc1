"""Writes `api.md` from the document of the HTTP API, of which each shape and parameter is declared once, in the code.

python docs/reference.py        # `make docs` does it first; a test says when it was forgotten
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from dropoff.dashboard.api.api import api
from dropoff.dashboard.api.desk import with_desk
from dropoff.dashboard.api.filters import with_filters
from dropoff.query import COMMON

PAGE = Path(__file__).with_name("api.md")
HEAD = """# HTTP API

Answers are JSON. They are those of the pages and of the [command line](cli.md) with `--json`; the same parameters mean
the same. A server shows this reference at `/api/docs` and gives it as OpenAPI at `/api/openapi.json`. This page is made
of that document.

An unknown parameter is refused, as a wrong value is: 400 with `{"code", "message"}`, the message naming parameter,
value and rule. 401 asks for a token ([operate.md](operate.md)), 503 says that the answer must wait, with `Retry-After`.
"""
Json = Mapping[str, Any]


def reference() -> str:
    """The page as it should be."""
    nowhere = cast("Any", None)  # only what is declared is read, nothing is asked
    document = with_filters(with_desk(api(nowhere, nowhere, nowhere), nowhere), nowhere).openapi()
    operations = [(method, path, op) for path, ops in document["paths"].items() for method, op in ops.items()]
    shared = next(op for _, path, op in operations if path == "/v1/funnel")["parameters"]
    parts = [HEAD, "## Parameters of every question", "", *_table([p for p in shared if p["name"] in COMMON])]
    for method, path, op in sorted(operations, key=lambda each: each[1]):
        parts += _section(method, path, op, document["components"]["schemas"])
    return "\n".join(parts) + "\n"


def _section(method: str, path: str, op: Json, shapes: Json) -> Iterator[str]:
    yield f"\n## {method.upper()} {path if 'servers' in op else f'/api{path}'}\n"
    yield op["description"] + ("" if op["description"].endswith(".") else ".")
    given = op.get("parameters", [])
    is_question = {*COMMON} <= {each["name"] for each in given}
    own = [each for each in given if not is_question or each["name"] not in COMMON]
    if is_question:
        yield "\nTakes the parameters of every question" + (" and" if own else ".")
    if own:
        yield ""
        yield from _table(own)
    if keys := list(_keys(op, shapes)):
        yield "\nAnswers with " + ", ".join(f"`{key}`" for key in keys) + "."


def _table(parameters: list[Json]) -> Iterator[str]:
    yield "| parameter | means |"
    yield "|---|---|"
    for each in parameters:
        yield f"| `{each['name']}` | {each.get('description') or 'part of the address'} |"


def _keys(op: Json, shapes: Json) -> Iterator[str]:
    """The keys of the answer, where it is an object."""
    for status, response in op["responses"].items():
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
        if status in ("200", "202"):
            named = schema.get("$ref", "").rpartition("/")[2]
            yield from shapes.get(named, schema).get("properties", {})


if __name__ == "__main__":
    PAGE.write_text(reference())
