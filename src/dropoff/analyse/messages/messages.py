"""Which of the bot's messages do best and worst, compared with what else it says at the same place.

`followed` reads what came after each message, `wordings` says which texts are one, `table` adds up, `ranks` compares;
here are the question and its answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl

from dropoff.analyse import select, stats
from dropoff.analyse.answers import divide, instant
from dropoff.analyse.contacts import interval_of
from dropoff.analyse.maturity import Maturity
from dropoff.analyse.messages.followed import Sent, read
from dropoff.analyse.messages.ranks import Judged, is_enough, judge, q_values_of
from dropoff.analyse.messages.table import MEASURES, WITHIN, Measure, Row, Sums, Table, named, table
from dropoff.analyse.stats import SIGNIFICANT
from dropoff.analyse.young import Step, Waits, Young, at_minute
from dropoff.errors import InvalidInput, Missing
from dropoff.periods import to_micros
from dropoff.project.wording import Rule
from dropoff.query import Params, Query, choice, one, whole_number
from dropoff.store.base import Store

LISTED = 5
"""So many are the best, and so many the worst."""
LIMIT = 100
MOST = 1000

_TEXT = (
    "What followed the bot's messages before its next one, and what their conversations came to. Messages count once "
    "they are old enough, and are compared with the others at the same place."
)


# what is asked for


class Asked(NamedTuple):
    """By which measure messages are ranked, at which position (None: any), within what, and how many are listed."""

    rank: Measure
    position: int | None
    within: str
    limit: int


def parse(params: Params) -> Asked:
    """`rank`, `position`, `within`, `limit`; raises `InvalidInput`."""
    rank, within = choice(params, "rank", MEASURES, "reply_rate"), choice(params, "within", WITHIN, WITHIN[0])
    return Asked(MEASURES[rank], _position(params), within, whole_number(params, "limit", LIMIT, 1, MOST))


def _position(params: Params) -> int | None:
    return None if one(params, "position") is None else whole_number(params, "position", 1, 1, 1_000_000)


BEHIND = ("message", "position")
"""What the list of conversations takes, beside the `intent` that it looks for without them, too."""


class Behind(NamedTuple):
    """Which conversations are meant: those in which the bot's message at a position is this one, with this intent."""

    message: str
    position: int
    intent: str | None


def parse_behind(params: Params) -> Behind | None:
    """The message whose conversations are meant; None where none is."""
    message, position, intent = one(params, "message"), _position(params), one(params, "intent")
    if message is None and position is None:  # an intent alone is looked for in every message
        return None
    if message is None or position is None:
        missing = "position" if message is not None else "message"
        raise Missing(missing, "given: what is meant is a message at a position")
    return Behind(message, position, intent)


# the answer


def answer(store: Store, query: Query, young: Young, rules: Sequence[Rule], asked: Asked) -> dict[str, Any]:
    """The shape `messages` of the API."""
    query = replace(query, by=None, segments=())
    waits = young.waits(store, query, select.recorded_stages(store))
    known, now = _waits(waits), to_micros(at_minute(query).now)
    if asked.rank.name not in known:
        raise InvalidInput("rank", asked.rank.name, f"one of {', '.join(known)}: the project records no more")
    sent = read(store, query)
    found = table(named(sent, rules, asked.within), known, asked.rank.name, now)
    judged = judge(found, asked.rank)
    q = q_values_of(judged)
    wanted = [row for row in found.sent if asked.position in (None, row.position)]
    ranked = sorted(wanted, key=lambda row: (-found.sent[row][0], *row.place, found.names[row.code]))
    best, worst = (_ranked(found, judged, asked, worst=worst) for worst in (False, True))
    first = _first(found, judged, wanted, asked)
    shown = {
        row: _row(found, sent, known, asked.rank, row, judged.get(row), q.get(row))
        for row in dict.fromkeys([*ranked[: asked.limit], *best, *worst, *first])
    }
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": _definition(asked, known, rules),
        "messages": [shown[row] for row in ranked[: asked.limit]],
        "best_performing": [shown[row] for row in best],
        "worst_performing": [shown[row] for row in worst],
        "first_messages": [shown[row] for row in first],
        "total": len(ranked),
        "tested": len(q),
    }


def _waits(waits: Waits) -> dict[str, Maturity]:
    """By measure how long a message is waited for; without those of stages that the project does not record."""
    return {
        one.name: waits.of(Step("started", one.stage))
        for one in MEASURES.values()
        if one.stage == "responded" or one.stage in waits.recorded
    }


def _definition(asked: Asked, waits: Mapping[str, Maturity], rules: Sequence[Rule]) -> dict[str, Any]:
    rank = asked.rank
    return {
        "text": _TEXT, "rank": rank.name, "unit": rank.unit, "good": rank.good, "position": asked.position,
        "within": asked.within,
        "maturity": {name: {"days": wait.days, "source": wait.source} for name, wait in waits.items()},
        "rules": [rule._asdict() for rule in rules],
    }  # fmt: skip


def _ranked(found: Table, judged: Mapping[Row, Judged], asked: Asked, *, worst: bool) -> list[Row]:
    """Those whose bound on the bad side is the best, or the worst: how far from the mean of their place at least."""
    good = asked.rank.good
    able = [
        row for row, one in judged.items()
        if asked.position in (None, row.position) and one.lead != 0 and (one.lead > 0) is ((good == "up") is not worst)
    ]  # fmt: skip
    ordered = sorted(able, key=lambda row: (-judged[row].bound(good)[worst], *row.place, found.names[row.code]))
    return ordered[:LISTED]


def _first(found: Table, judged: Mapping[Row, Judged], rows: Sequence[Row], asked: Asked) -> list[Row]:
    """The variants of the first message, by their bound on the bad side; those with too few last."""
    first = [row for row in rows if row.position == 1 and row.code in found.variants]
    bounds = {row: judged[row].bound(asked.rank.good)[0] for row in first if row in judged}
    first.sort(key=lambda row: (row not in bounds, -bounds.get(row, 0.0), found.names[row.code]))
    return first[: asked.limit]


def _row(
    found: Table, sent: Sent, waits: Mapping[str, Maturity], rank: Measure, row: Row, judged: Judged | None,
    q_value: float | None,
) -> dict[str, Any]:  # fmt: skip
    name, (n, contacts), text = found.names[row.code], found.sent[row], found.examples.get(row)
    sums = found.sums[rank.name][row]
    verdict = None
    if judged and judged.against and q_value is not None and q_value < SIGNIFICANT:
        verdict = "better" if (judged.against.difference > 0) is (rank.good == "up") else "worse"
    return {
        "message": name, "variant": name if row.code in found.variants else None, "position": row.position,
        "intent": row.intent or None,
        "example": None if text is None else sent.texts[text], "n": n, "contacts": contacts,
        **{one: _number(MEASURES[one], found.sums[one][row], waits[one]) if one in waits else None for one in MEASURES},
        "enough": is_enough(sums.old),
        "shrunk": judged and {
            "value": judged.estimate.value, "interval": judged.estimate.interval, "weight": judged.estimate.weight,
            "drawn_to": judged.drawn_to,
        },
        "position_mean": found.totals[row.place].ratio if found.totals[row.place].n else None,
        "lead": judged and judged.lead,
        "difference": judged and judged.against and judged.against.difference,
        "interval": judged and judged.against and judged.against.interval,
        "p_value": judged and judged.against and judged.against.p_value,
        "q_value": q_value,
        "verdict": verdict,
    }  # fmt: skip


def _number(measure: Measure, sums: Sums, wait: Maturity) -> dict[str, Any]:
    """A NUMBER: so far, and `matured`: of those old enough, with its interval over contacts."""
    old, is_share = sums.old, measure.unit == "share"
    return {
        "value": divide(sums.x, sums.n), "numerator": sums.x, "denominator": sums.n,
        "interval": stats.wilson(sums.x, sums.n) if is_share else None,
        "matured": {
            "value": divide(old.total, old.n), "n": int(old.n), "clusters": old.clusters,
            "interval": interval_of(old, share=is_share) if old.n else None,
            "maturity_days": wait.days, "source": wait.source,
        },
        "projected": None,
    }  # fmt: skip


# the conversations behind a message


def units(store: Store, query: Query, rules: Sequence[Rule], behind: Behind) -> list[str]:
    """The ids of the conversations that are meant."""
    found = named(read(store, replace(query, by=None, segments=())), rules)
    if behind.message not in found.names:
        return []
    meant = (pl.col("position") == behind.position) & (pl.col("code") == found.names.index(behind.message))
    if behind.intent is not None:
        meant &= pl.col("intent") == behind.intent
    return found.rows.filter(meant)["id"].to_list()


def described(behind: Behind) -> str:
    """Which conversations `units` gives, in words."""
    return f"Conversations in which message {behind.position} of the bot is: {behind.message}"
