"""How the bot is running in plain words, for page, terminal and report: its rates, what stands out, its answers."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from dropoff.phrases import formats
from dropoff.phrases.addresses import ends, url
from dropoff.query import Params


class Part(NamedTuple):
    """A rate of the page: its key in the answer, its name, its lists (key, heading, parameter of a list), a chart?"""

    key: str
    name: str
    lists: tuple[tuple[str, str, str], ...]
    drawn: bool


PARTS = (
    Part(
        "fallbacks", "Fallbacks", (("triggers", "Trigger", "trigger"), ("utterances", "Not understood", "utterance")),
        drawn=True,
    ),
    Part("errors", "Errors", (("kinds", "Kind", "error"),), drawn=True),
    Part("escalations", "Escalations", (("reasons", "Reason", "escalation"),), drawn=False),
    Part(
        "opt_outs", "Opt-outs", (("keywords", "Word", "keyword"), ("after", "Said before", "opted_out_after")),
        drawn=False,
    ),
)  # fmt: skip


def value_of(row: Mapping) -> str:
    """The trigger, the reason, … of a listed row: what its other keys count."""
    return next(iter(row.values()))


def when(span: Mapping, answer: Mapping) -> str:
    """When a span was: `Tue 2026-05-05`, `2026-05-05 09:00 to 13:00`."""
    zone, interval = answer["period"]["timezone"], answer["definition"]["interval"]
    if interval == "hour":
        start, end = (formats.local(span[name], zone) for name in ("from", "to"))
        return f"{start:%Y-%m-%d %H:%M} to {end:%H:%M}" + ("" if start.date() == end.date() else f" ({end:%Y-%m-%d})")
    first, last = (f"{formats.local(moment, zone):%a %Y-%m-%d}" for moment in (span["from"], _before(span["to"])))
    return first if first == last else f"{first} to {last}"


def _before(end: str) -> datetime:
    return datetime.fromisoformat(end) - timedelta(microseconds=1)


_OF = {
    "fallbacks": "bot turns were fallbacks", "errors": "bot turns had an error",
    "escalations": "conversations were handed to a human", "opt_outs": "conversations opted out",
}  # fmt: skip


def said(key: str, span: Mapping) -> str:
    """What stood out in a span, as a sentence without its time."""
    rate, others = span["rate"], span["others"]
    return (
        f"{formats.percent(rate['value'])} of {formats.number(rate['denominator'])} {_OF[key]} "
        f"(95 %: {formats.interval(rate['interval'])}), otherwise {formats.percent(others['value'])} of "
        f"{formats.number(others['denominator'])} ({formats.sure(span['q_value'])})"
    )


def most(span: Mapping) -> str:
    """What was behind most of it: `nlu_unavailable (80 of 94)`."""
    leading = span["leading"]
    if leading is None:
        return ""
    count, whole = (formats.number(leading["share"][name]) for name in ("numerator", "denominator"))
    return f"{formats.visible(value_of(leading))} ({count} of {whole})"


def parts_said(answer: Mapping) -> Iterator[tuple[Part, str]]:
    """What stands out, a sentence each, for where there are no links."""
    for part in PARTS:
        for span in answer[part.key]["unusual"]:
            more = f"; mostly {most(span)}" if span["leading"] else ""
            yield part, f"{when(span, answer)}: {said(part.key, span)}{more}."


def narrowed(span: Mapping, answer: Mapping, params: Params) -> str:
    """This page of a part of the period alone."""
    return url("/operations", params, **ends(span, answer["period"]["timezone"]))


class Bin(NamedTuple):
    """How many took as long as `name` says; `start` stands below its bar."""

    name: str
    start: str
    n: int


def bins(answer: Mapping) -> list[Bin]:
    """The histogram of the response times up to the last bar that is not empty, the shortest first."""
    given = answer["response_times"]["histogram"]
    last = max((i for i, one in enumerate(given) if one["count"]), default=-1)
    return [Bin(_took(one), formats.duration(one["from"]), one["count"]) for one in given[: last + 1]]


def _took(one: Mapping) -> str:
    if one["to"] is None:
        return f"{formats.duration(one['from'])} and more"
    return (
        f"{formats.duration(one['from'])} to {formats.duration(one['to'])}"
        if one["from"]
        else f"under {formats.duration(one['to'])}"
    )
