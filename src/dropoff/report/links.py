"""Where a number of a report can be looked at: the address of its page, and the command that answers the same."""

import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from dropoff.phrases.addresses import conversation_url, url
from dropoff.query import Params
from dropoff.report.value import Source

_PAGES = {
    "metrics": "/trends", "trend": "/trends", "funnel": "/", "dropoffs": "/dropoffs", "cohorts": "/cohorts",
    "segments": "/segments", "explain": "/segments", "experiments": "/experiments", "messages": "/messages",
    "patterns": "/patterns", "alerts/history": "/alerts", "sample": "/conversations",
    "conversations": "/conversations",
}  # fmt: skip
_COMMANDS = {"conversation": "conversations show", "conversations": "conversations list",
             "sample": "conversations sample", "alerts/history": "alerts history"}  # fmt: skip
_ARGUMENTS = {"trend": "metric", "metrics": "metric", "segments": "metric", "explain": "metric", "experiments": "name",
              "conversation": "id"}  # fmt: skip
"""Parameters that stand in a command without their names."""


def trend_page(params: Params, metric: str) -> str:
    """The page of a metric of these conversations."""
    return url("/trends", {**params, "metric": [metric]})


def page_of(source: Source) -> str:
    """The path of the page, with its parameters."""
    if source.page is not None:
        return source.page
    params = {name: list(texts) for name, texts in source.params}
    if source.question == "conversation":
        return conversation_url(params.pop("id")[0], params)
    if source.question == "alerts/history":
        return "/alerts"
    if source.question == "sample":
        params = {name: texts for name, texts in params.items() if name not in ("success", "limit")}
    return url(_PAGES.get(source.question, f"/{source.question}"), params)


def api_of(source: Source) -> str:
    """The path of the API that gives the answer."""
    params = {name: list(texts) for name, texts in source.params}
    if source.question == "conversation":
        key = quote(params.pop("id")[0], safe="")
        return url(f"/api/v1/conversations/{key}", params)
    return url(f"/api/v1/{source.question}", params)


def command_of(source: Source) -> str:
    """The command line that answers it."""
    params = {name: list(texts) for name, texts in source.params}
    argument = params.pop(_ARGUMENTS.get(source.question, ""), [])
    words = ["dropoff", *_COMMANDS.get(source.question, source.question).split(), *argument, *_options(params)]
    return shlex.join(words)


def _options(params: Mapping[str, Sequence[str]]) -> list[str]:
    found: list[str] = []
    for name, texts in params.items():
        option = f"--{name.replace('_', '-')}"
        found += [option] if name == "include_test" else [word for text in texts for word in (option, text)]
    return found
