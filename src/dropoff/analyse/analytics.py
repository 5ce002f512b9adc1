"""Every question by name: what page, API and command line call, with the parameters of a URL."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from dropoff.analyse import conversations, custom_funnel, funnel, metrics, own, select
from dropoff.analyse.funnel import Definition
from dropoff.errors import InvalidInput
from dropoff.funnels import Funnel, parse_json, split
from dropoff.metrics import METRICS, Metric, named
from dropoff.periods import parse_instant, parse_zone
from dropoff.query import NO_TEST_RULES, Params, Query, TestTraffic, number, one, parse_query
from dropoff.store.base import Store

_FIRST = datetime(1901, 1, 1, tzinfo=UTC)  # long before it engines have no dates
COMMON = ("from", "to", "timezone", "where", "include_test", "as_of")
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "funnel": (*COMMON, "by", "name", "definition", "threshold", "interval"),
    "dropoffs": (*COMMON, "by", "name", "definition", "threshold"),
    "metrics": (*COMMON, "by", "metric"),
    "trend": (*COMMON, "by", "metric", "interval"),
    "definitions": (),
    "conversations": (*COMMON, "name", "definition", "threshold", "stage", "dropped", "limit", "after"),
    "conversation": ("timezone", "as_of"),
    "rejected": ("limit",),
}
"""The parameters of each question. Another one is refused: a misspelt filter would otherwise filter nothing."""


def check_parameters(question: str, params: Params) -> None:
    """Refuse what the question does not know."""
    unknown = [name for name in params if name not in PARAMETERS[question]]
    if unknown:
        known = PARAMETERS[question]
        rule = f"one of {', '.join(known)}" if known else "left out: there are none here"
        raise InvalidInput("parameter", ", ".join(unknown), rule)


def no_past(moment: datetime) -> Store:
    """Where a store is asked that nobody can make again."""
    raise InvalidInput("as_of", moment.isoformat(), "left out: only the present is known here")


def utc_now() -> datetime:
    """The clock of the product."""
    return datetime.now(UTC)


class Analytics:
    """The answers of one store. `now` is asked once for each question.

    `past` gives the store as it would be, had no event at or after a moment ever happened.
    """

    def __init__(
        self,
        store: Store,
        timezone: str,
        now: Callable[[], datetime] = utc_now,
        test: TestTraffic = NO_TEST_RULES,
        registry: Mapping[str, Metric] = METRICS,
        funnels: Mapping[str, Funnel] = MappingProxyType({}),
        past: Callable[[datetime], Store] = no_past,
    ) -> None:
        self._store = store
        self._timezone = timezone
        self._now = now
        self._test = test
        self._registry = registry
        self._funnels = funnels
        self._past = past

    def funnel(self, params: Params) -> dict[str, Any]:
        """Stages, rates and drop-offs of the funnel `name`, or of the `definition`, a JSON text."""
        check_parameters("funnel", params)
        name, chosen = self._chosen(params)
        threshold, interval = number(params, "threshold", 0, 0, 1), one(params, "interval")
        if isinstance(chosen, Funnel):
            whole, by = {key: texts for key, texts in params.items() if key != "by"}, one(params, "by")
            chosen = chosen if by is None else split(chosen, by)
            answer = custom_funnel.answer(*self._asked(whole), chosen, name, threshold, interval)
        elif interval is not None:
            raise InvalidInput("interval", interval, "left out: only a funnel of your own has a trend")
        else:
            answer = funnel.answer(*self._asked(params), chosen, threshold)
        return msgspec.to_builtins(answer)

    def _chosen(self, params: Params) -> tuple[str, Definition | Funnel]:
        """The funnel that is asked for, and what it goes by."""
        name, definition = one(params, "name"), one(params, "definition")
        if definition is None:
            name = name or "sales"
            return name, funnel.named(name, self._funnels)
        if name is not None:
            raise InvalidInput("name", name, "left out where a definition is given")
        return "definition", parse_json(definition, "definition")

    def dropoffs(self, params: Params) -> dict[str, Any]:
        """The drop-offs alone."""
        answer = self.funnel(params)
        kept = ("period", "as_of", "definition", "drop_offs", "test_conversations")
        segments = {value: {"drop_offs": s["drop_offs"]} for value, s in answer.get("segments", {}).items()}
        return {name: answer[name] for name in kept} | ({"segments": segments} if segments else {})

    def metrics(self, params: Params) -> dict[str, Any]:
        """Every metric, or those named `metric`, of the query; split by `by`."""
        check_parameters("metrics", params)
        wanted, (store, query) = self._metrics(params), self._asked(params)
        return _with_test(store, query, metrics.answer(store, query, wanted))

    def trend(self, params: Params) -> dict[str, Any]:
        """One metric over time, beside the period before."""
        check_parameters("trend", params)
        wanted = self._metrics(params)
        if len(wanted) != 1:
            raise InvalidInput("metric", list(params.get("metric", ())), "one metric")
        store, query = self._asked(params)
        return _with_test(store, query, metrics.trend(store, query, wanted[0], one(params, "interval") or "day"))

    def definitions(self, params: Params) -> dict[str, Any]:
        """What every metric means."""
        check_parameters("definitions", params)
        return {"metrics": [metrics.definition(metric) for metric in self._registry.values()]}

    def _metrics(self, params: Params) -> list[Metric]:
        return named(params.get("metric", ()), self._registry)

    def conversations(self, params: Params) -> dict[str, Any]:
        """A page of the list of conversations."""
        check_parameters("conversations", params)
        (name, chosen), (store, query) = self._chosen(params), self._asked(params)
        stage, dropped, after = one(params, "stage"), one(params, "dropped"), one(params, "after")
        limit = int(number(params, "limit", conversations.LIMIT, 1, 1000))
        if isinstance(chosen, Definition):
            return conversations.listing(store, query, chosen, stage=stage, dropped=dropped, limit=limit, after=after)
        found = custom_funnel.units(store, query, chosen, stage, dropped)
        text = custom_funnel.listed(name, stage, dropped)
        return conversations.listing_of(store, query, found, text, limit=limit, after=after)

    def conversation(self, conversation_id: str, params: Params = MappingProxyType({})) -> dict[str, Any]:
        """One conversation with its messages and events."""
        check_parameters("conversation", params)
        store, query = self._asked(params)
        return conversations.show(store, conversation_id, query)

    def filters(self) -> dict[str, Any]:
        """What a page offers to choose from."""
        channel = select.dimension(self._store.dialect, "channel")
        rows = self._store.select(f"SELECT DISTINCT {channel} FROM conversation_rows ORDER BY 1")
        has_data = self._store.select("SELECT count(*) FROM conversation_rows").rows[0][0] > 0
        return {
            "channels": [row[0] for row in rows.rows],
            "timezone": self._timezone,
            "has_data": has_data,
            "funnels": list(self._funnels),
        }

    def query(self, text: str) -> dict[str, Any]:
        """The rows of somebody's own SELECT."""
        return own.answer(self._store, text)

    def rejected(self, params: Params) -> dict[str, Any]:
        """Refused events, the newest first, and their counts by reason."""
        check_parameters("rejected", params)
        limit = int(number(params, "limit", 100, 1, 100_000))
        found = self._store.select(
            f"""SELECT id, received_at, reason, field, message, body FROM rejected_rows
                ORDER BY received_at DESC, id LIMIT {limit}"""
        ).dicts()
        reasons = self._store.select("SELECT reason, count(*) FROM rejected_rows GROUP BY 1 ORDER BY 1").rows
        rows = [{**r, "received_at": r["received_at"].replace(tzinfo=UTC).isoformat()} for r in found]
        return {"rejected": rows, "total": sum(n for _, n in reasons), "reasons": dict(reasons)}

    def _asked(self, params: Params) -> tuple[Store, Query]:
        """The store that answers, and what it is asked: `as_of` a moment the store as it was then, and then is now."""
        now, store = self._now(), self._store
        timezone = one(params, "timezone") or self._timezone
        as_of = one(params, "as_of")
        if as_of is not None:
            moment = parse_instant("as_of", as_of, parse_zone(timezone))
            if not _FIRST <= moment < now:
                raise InvalidInput("as_of", as_of, "a day that has begun, or an instant in the past, from 1901 on")
            now, store = moment, self._past(moment)
        return store, parse_query(params, now, select.default_period(store, timezone, now, self._test), self._test)


def _with_test(store: Store, query: Query, answer: dict[str, Any]) -> dict[str, Any]:
    return msgspec.to_builtins({**answer, "test_conversations": funnel.count_test(store, query)})
