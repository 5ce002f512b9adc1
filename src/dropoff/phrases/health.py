"""Data health in words: a line for each thing that is counted, for page and terminal."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dropoff.phrases import formats
from dropoff.phrases.addresses import url
from dropoff.query import Params

MANY = 0.5
"""Where more than this share of events came late, it is because they were imported or sent in bulk."""


class Line(NamedTuple):
    """What is counted, how many that are, what it means, and where they are."""

    name: str
    value: str
    meaning: str
    url: str | None = None


def lines(answer: Mapping, params: Params) -> list[Line]:
    """The table of data health: what waits now, how events came in, what could not be told."""
    health, zone = answer["health"], answer["period"]["timezone"]
    ties, loose = health["ties"], (health["unmatched_contacts"], health["contact_events"])
    tied = url("/conversations", params, health="tied") if ties["numerator"] else None
    return [
        *_now(health, zone),
        *_arrived(health),
        Line("Unmatched contact events", _of(*loose), _unmatched(health)),
        Line("Contacts not merged", formats.number(health["unmerged_contacts"]), _unmerged(health)),
        Line("Path depends on a tie", f"{formats.percent(ties['value'])} ({formats.fraction(ties)})",
             "conversations of which two events in the path differ by nothing but their ids", tied),
        Line("Test conversations", formats.number(health["test_conversations"]), "started in the period"),
        Line("Labels", _labels(health), "what labelled the prospects' messages of the period"),
        Line("Amounts not convertible", formats.number(health["not_convertible"]), _currencies(health)),
        Line("Refused events", formats.number(sum(health["rejected"].values())), _refused(health), "/api/v1/rejected"),
    ]  # fmt: skip


def _of(n: int, whole: int) -> str:
    return f"{formats.number(n)} of {formats.number(whole)}"


def _now(health: Mapping, zone: str) -> list[Line]:
    since = f"since the server started, {formats.instant(health['since'], zone)}" if health["since"] else _ELSEWHERE
    waits = f"the oldest for {formats.duration(health['lag_seconds'])}" if health["lag_events"] else "nothing waits"
    return [
        Line("Last event received", formats.instant(health["last_received_at"], zone), "of all events there are"),
        Line(
            "Waiting in the queue",
            formats.number(health["lag_events"]),
            _ELSEWHERE if health["lag_events"] is None else waits,
        ),
        Line("Duplicates", formats.number(health["duplicates"]), f"equal copies, left out; {since}"),
        Line("Conflicts", formats.number(health["conflicts"]), f"other events with a known id, left out; {since}"),
        Line("Dead letters", formats.number(health["dead"]), f"accepted and not to be processed; {since}"),
    ]


_ELSEWHERE = "not known to this process, or of the past"


def _arrived(health: Mapping) -> list[Line]:
    n, after = health["events"], formats.duration(health["late_seconds"])
    late = f"received more than {after} after they happened"
    if n and health["late"] / n > MANY:
        late += "; so many because they were imported or sent in bulk"
    return [
        Line("Events", formats.number(n), "that happened in the period, all traffic"),
        Line("Late events", _of(health["late"], n), late),
        Line("Without identity", _of(health["no_identity"], n), "no id and no time: sent again, they count again"),
        Line("Without a time", _of(health["stamped"], n), "the time of receipt stands instead"),
        Line("Clock corrected", _of(health["skewed"], n), "their sender's clock was off by more than a minute"),
    ]  # fmt: skip


def _unmatched(health: Mapping) -> str:
    kinds = ", ".join(
        f"{formats.visible(row['event_type'])}: {formats.number(row['count'])}" for row in health["unmatched"]
    )
    return "name only a contact, and no conversation was found for them" + (f" ({kinds})" if kinds else "")


def _unmerged(health: Mapping) -> str:
    ids = ", ".join(
        f"{formats.visible(row['contact_id'])}: {formats.number(row['ids'])} ids" for row in health["unmerged"]
    )
    return "said to be the same under more than 50 ids" + (f" ({ids})" if ids else "")


def _labels(health: Mapping) -> str:
    return (
        ", ".join(
            f"{'no label' if row['label_source'] is None else formats.visible(row['label_source'])}: "
            f"{formats.percent(row['messages']['value'])}"
            for row in health["labels"]
        )
        or formats.NONE
    )


def _currencies(health: Mapping) -> str:
    named = ", ".join(f"{formats.visible(name)}: {formats.number(n)}" for name, n in health["currencies"].items())
    said = "deals won in the period in another than the commonest currency: never added to it"
    return said + (f" ({named})" if named else "")


def _refused(health: Mapping) -> str:
    reasons: Mapping[str, Any] = health["rejected"]
    named = ", ".join(f"{reason}: {formats.number(n)}" for reason, n in reasons.items())
    return "of the last 30 days, whatever the period" + (f" ({named})" if named else "")
