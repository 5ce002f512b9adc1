"""The addresses of pages: all that a page shows stands in its address, in the parameters of the API."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from urllib.parse import quote, urlencode

from dropoff.phrases.formats import local
from dropoff.query import COMMON, Params

ONE = ("timezone", "as_of")
"""The parameters of the page of one conversation."""


def common(params: Params) -> dict[str, Sequence[str]]:
    """Of these parameters those that follow from page to page."""
    return {name: texts for name, texts in params.items() if name in COMMON}


def url(path: str, params: Params, **changes: str | None) -> str:
    """The address of `path` with `params`, some replaced, or removed by None."""
    merged = {name: [texts] if isinstance(texts, str) else list(texts) for name, texts in params.items()}
    for name, text in changes.items():
        merged.pop(name, None)
        if text is not None:
            merged[name] = [text]
    text = urlencode(merged, doseq=True, safe="=:,")
    return f"{path}?{text}" if text else path


def conversation_url(key: str, params: Params = MappingProxyType({}), **more: str | None) -> str:
    """The page of a conversation, whatever characters its id has; the period and the filters of `params` go along."""
    followed = common(params)
    if key in (".", ".."):  # a browser takes them for steps in the path, escaped or not
        return url("/conversations/", {"id": [key], **followed}, **more)
    return url(f"/conversations/{quote(key, safe='')}", followed, **more)


def with_condition(params: Params, dimension: str, value: str) -> Params:
    """The parameters narrowed to a value of a dimension, in the place of others of it."""
    others = [text for text in params.get("where", ()) if text.partition("=")[0].strip() != dimension]
    return {**params, "where": [*others, f"{dimension}={value}"]}


def ends(span: Mapping[str, str], timezone: str) -> dict[str, str]:
    """Both ends of a span, `from` and `to`, as they stand in an address."""
    return {name: end_of_link(span[name], timezone) for name in ("from", "to")}


def end_of_link(moment: str | datetime, timezone: str) -> str:
    """An end of a span as it stands in an address: a day where it is a midnight, else the instant."""
    at = local(moment, timezone)
    if at.time() == time() and not at.fold:  # a midnight that comes twice begins the day the first time
        return f"{at:%Y-%m-%d}"
    return moment if isinstance(moment, str) else at.isoformat()


def is_day(text: str) -> bool:
    """Whether a text names a day that has neighbours."""
    try:
        return date.min < date.fromisoformat(text) < date.max
    except ValueError:
        return False


def form_day(params: Params, name: str) -> str:
    """What a date field shows when there is no answer to take it from; empty where the URL names no day."""
    text = params.get(name, [""])[0]
    if not is_day(text):
        return ""
    return (date.fromisoformat(text) - timedelta(days=name == "to")).isoformat()
