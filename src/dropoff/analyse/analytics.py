"""Every question by name: what page, API and command line call, with the parameters of a URL."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from types import MappingProxyType
from typing import Any

import msgspec

from dropoff.analyse import (
    behind,
    cohorts,
    executive,
    health,
    metrics,
    operations,
    optimization,
    own,
    remembered,
    select,
    trends,
)
from dropoff.analyse.conversations import conversations, sampling
from dropoff.analyse.experiments import experiments, plans
from dropoff.analyse.funnels import custom_funnel, dropoffs, funnel
from dropoff.analyse.funnels.funnel import Definition
from dropoff.analyse.messages import messages
from dropoff.analyse.patterns import patterns
from dropoff.analyse.remembered import Remembered
from dropoff.analyse.segments import explain, segments
from dropoff.analyse.young import Young
from dropoff.errors import InvalidInput, did_you_mean
from dropoff.metrics import METRICS, Metric, named
from dropoff.periods import FIRST, parse_instant, parse_zone
from dropoff.project import annotations
from dropoff.project.annotations import Mark
from dropoff.project.experiments import Experiment
from dropoff.project.funnels import Funnel, in_mode, parse_json, split
from dropoff.project.targets import Target
from dropoff.project.wording import RULES, Rule
from dropoff.query import COMMON, NO_TEST_RULES, Params, Query, TestTraffic, number, one, parse_query, whole_number
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "funnel": (*COMMON, "by", "name", "definition", "mode", "threshold", "interval"),
    "dropoffs": (*COMMON, "by", "name", "definition", "mode", "threshold", "sort", "explain"),
    "cohorts": (*COMMON, "stage", "interval"),
    "executive": COMMON,
    "experiments": (*COMMON, "name", "goal", "horizon"),
    "experiments/plan": ("base", "effect", "power", "daily", "arms", "planned", "horizon"),
    "messages": (*COMMON, "rank", "position", "within", "limit"),
    "metrics": (*COMMON, "by", "metric"),
    "operations": (*COMMON, "interval"),
    "trend": (*COMMON, "by", "metric", "interval"),
    "segments": (*COMMON, "metric", "by", "segment", "units", "compare", "compare_from", "compare_to", "follow"),
    "explain": (*COMMON, "metric", "by", "compare_from", "compare_to", "follow"),
    "patterns": (*COMMON, *patterns.PARAMETERS),
    "optimization": (*COMMON, "goal", "work"),
    "definitions": (),
    "conversations": (*COMMON, *behind.PARAMETERS, "limit", "after"),
    "conversation": ("timezone", "as_of"),
    "sample": (*COMMON, *sampling.PARAMETERS),
    "report": (*COMMON, "kind", "format"),
    "rejected": ("limit",),
    "alerts": ("rules", "as_of", "coverage"),
    "alerts/history": ("rule", "limit"),
    "alerts/backtest": ("from", "to", "rules", "rule", "per_month"),
}  # fmt: skip
"""The parameters of each question. Another one is refused: a misspelt filter would otherwise filter nothing."""


def check_parameters(question: str, params: Params) -> None:
    """Refuse what the question does not know."""
    unknown = [name for name in params if name not in PARAMETERS[question]]
    if unknown:
        known = PARAMETERS[question]
        hint = did_you_mean(unknown[0], known, "; ")
        rule = f"one of {', '.join(known)}{hint}" if known else "left out: there are none here"
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
        maturity: Mapping[str, float] = MappingProxyType({}),
        past: Callable[[datetime], Store] = no_past,
        planned: Mapping[str, Experiment] = MappingProxyType({}),
        wording: Sequence[Rule] = RULES,
        targets: Mapping[str, Sequence[Target]] = MappingProxyType({}),
        marks: Sequence[Mark] = (),
        live: Callable[[], health.Live] = health.unknown,
    ) -> None:
        self._store = store
        self._timezone = timezone
        self._now = now
        self._test = test
        self._registry = registry
        self._funnels = funnels
        self._young = Young(maturity)
        self._past = past
        self._planned = planned
        self._wording = wording
        self._targets = targets
        self._marks = marks
        self._live = live
        self._remembered = Remembered()

    @property
    def is_large(self) -> bool:
        """Whether answers that take long may be shown that are not current."""
        return remembered.is_large(self._store)

    def funnel(self, params: Params) -> dict[str, Any]:
        """Stages, rates and drop-offs of the funnel `name`, or of the `definition`, a JSON text."""
        check_parameters("funnel", params)
        name, chosen = self._chosen(params)
        threshold, interval = number(params, "threshold", 0, 0, 1), one(params, "interval")
        if isinstance(chosen, Funnel):
            whole, by = {key: texts for key, texts in params.items() if key != "by"}, one(params, "by")
            chosen = chosen if by is None else split(chosen, by)
            store, query = self._asked(whole)
            answer = custom_funnel.answer(store, query, chosen, name, threshold, interval)
            if "trend" in answer:
                answer["trend"]["annotations"] = annotations.shown(self._marks, query.period, query.now)
        elif interval is not None:
            raise InvalidInput("interval", interval, "left out: only a funnel of your own has a trend")
        else:
            store, query = self._asked(params)
            answer = funnel.answer(store, query, chosen, threshold, self._young)
        answer = msgspec.to_builtins(answer)
        if not answer["stages"][0]["count"]:
            select.check_properties(store, query)
        return answer

    def _chosen(self, params: Params) -> tuple[str, Definition | Funnel]:
        """The funnel that is asked for, in the `mode` that is, and what it goes by."""
        name, definition, mode = one(params, "name"), one(params, "definition"), one(params, "mode")
        if definition is None:
            name = name or "sales"
            chosen = funnel.named(name, self._funnels)
        elif name is not None:
            raise InvalidInput("name", name, "left out where a definition is given")
        else:
            name, chosen = "definition", parse_json(definition, "definition")
        if isinstance(chosen, Funnel):
            return name, chosen if mode is None else in_mode(chosen, mode, name)
        if mode not in (None, chosen.mode):
            raise InvalidInput("mode", mode, f"{chosen.mode} or left out: it is a part of what the funnel {name} means")
        return name, chosen

    def dropoffs(self, params: Params) -> dict[str, Any]:
        """The drop-offs alone, by `sort`, and why those of `explain` are there."""
        check_parameters("dropoffs", params)
        return self._kept("dropoffs", params, lambda *_: self._dropoffs(params))

    def _dropoffs(self, params: Params) -> dict[str, Any]:
        asked = dropoffs.parse(params)
        answer = self.funnel({name: texts for name, texts in params.items() if name not in ("sort", "explain")})
        kept = ("period", "as_of", "definition", "drop_offs", "test_conversations", "by", "overlapping")
        segments = {value: {"drop_offs": s["drop_offs"]} for value, s in answer.get("segments", {}).items()}
        found = {name: answer[name] for name in kept if name in answer} | ({"segments": segments} if segments else {})
        _, chosen = self._chosen(params)
        # What came meanwhile may have moved the default period.
        same = {name: [answer["period"][name]] for name in ("from", "to", "timezone")}
        store, query = self._asked({**params, **same, "by": []})
        query = replace(query, now=datetime.fromisoformat(answer["as_of"]))
        return dropoffs.answer(store, query, chosen, found, asked)

    def cohorts(self, params: Params) -> dict[str, Any]:
        """Which share of those that began in each week had come to a stage at which age."""
        check_parameters("cohorts", params)
        interval, is_given = cohorts.interval_of(params), any(one(params, end) for end in ("from", "to"))

        def make(store: Store, query: Query) -> dict[str, Any]:
            period = query.period if is_given else cohorts.whole(query.period, interval)
            return cohorts.answer(store, replace(query, period=period), one(params, "stage"), interval)

        return self._kept("cohorts", params, make)

    def experiments(self, params: Params) -> dict[str, Any]:
        """Which variant is better, of the experiment `name` or of all, and what to do."""
        check_parameters("experiments", params)
        asked = experiments.parse(params)
        whole = one(params, "from") is None and one(params, "to") is None

        def make(store: Store, query: Query) -> dict[str, Any]:
            found = experiments.answer(store, query, self._planned, self._young, asked, whole=whole)
            return _with_test(store, query, found)

        return self._kept("experiments", params, make, self._of_all_time)

    def messages(self, params: Params) -> dict[str, Any]:
        """Which of the bot's messages do best and worst at their place in the conversation."""
        check_parameters("messages", params)
        asked = messages.parse(params)

        def make(store: Store, query: Query) -> dict[str, Any]:
            return _with_test(store, query, messages.answer(store, query, self._young, self._wording, asked))

        return self._kept("messages", params, make)

    def operations(self, params: Params) -> dict[str, Any]:
        """How the bot is running, and whether its data is whole. What waits now is not asked of the past."""
        check_parameters("operations", params)
        live = self._live() if one(params, "as_of") is None else health.unknown()

        def make(store: Store, query: Query) -> dict[str, Any]:
            found = operations.answer(store, query, self._young, operations.interval_of(params, query))
            return found | {"annotations": annotations.shown(self._marks, query.period, query.now)}

        found = self._kept("operations", params, make)
        store, _ = self._asked(params)
        known = msgspec.to_builtins(health.fresh(store, live)) | found["health"]
        return found | {"health": known, "test_conversations": known["test_conversations"]}

    def unusual(self, params: Params) -> dict[str, Any]:
        """When something went wrong in operations far more often than otherwise: of that answer the part that is soon
        there, and nothing of what is behind it."""
        return self._kept("unusual", params, lambda store, query: operations.standing_out(store, query, self._young))

    def plan(self, params: Params) -> dict[str, Any]:
        """How many units an experiment needs, and how long that takes."""
        check_parameters("experiments/plan", params)
        return plans.answer(params)

    def _of_all_time(self, params: Params) -> tuple[Store, Query]:
        """What is asked of experiments, which by default have no period."""
        ends = {"from": [FIRST.isoformat()]} if one(params, "from") is None else {}
        ends |= {"to": [self._now().isoformat()]} if one(params, "to") is None else {}
        kept = {name: texts for name, texts in params.items() if name in COMMON}
        return self._asked({**kept, **ends})

    def metrics(self, params: Params) -> dict[str, Any]:
        """Every metric, or those named `metric`, of the query; split by `by`."""
        check_parameters("metrics", params)
        wanted, (store, query) = self._metrics(params), self._asked(params)
        answer = metrics.answer(store, query, wanted, self._young)
        if not any(row["value"] for row in answer["metrics"]):
            select.check_properties(store, query)
        return _with_test(store, query, answer)

    def trend(self, params: Params) -> dict[str, Any]:
        """One metric over time, beside the period before."""
        check_parameters("trend", params)
        metric, interval = self._metric(params), one(params, "interval") or "day"

        def make(store: Store, query: Query) -> dict[str, Any]:
            answer = trends.answer(store, query, metric, interval, self._young, self._marks)
            if not any(row["value"] for row in answer["total"]):
                select.check_properties(store, query)
            return _with_test(store, query, answer)

        return self._kept("trend", params, make)

    def executive(self, params: Params) -> dict[str, Any]:
        """A few metrics against target and the period before, and what changed."""
        check_parameters("executive", params)

        def make(store: Store, query: Query) -> dict[str, Any]:
            found = executive.answer(store, query, self._registry, self._targets, self._young, self._marks)
            return _with_test(store, query, found)

        return self._kept("executive", params, make)

    def segments(self, params: Params) -> dict[str, Any]:
        """One metric by segment, and which segments truly differ; on demand beside another period."""
        check_parameters("segments", params)
        metric = self._metric(params)

        def make(store: Store, query: Query) -> dict[str, Any]:
            segments.check_split(query)
            answer = segments.answer(store, query, metric, self._young, segments.parse_units(params))
            if (asked := explain.question(store, query, metric, self._young, params)) is not None:
                answer["compare"] = explain.compared(store, asked)
            return _with_test(store, query, answer)

        return self._kept("segments", params, make)

    def explain(self, params: Params) -> dict[str, Any]:
        """Which segments account for the change of a metric since another period, by default the one before."""
        check_parameters("explain", params)
        metric, (store, query) = self._metric(params), self._asked(params)
        asked = explain.question(store, query, metric, self._young, {"compare": ["previous"], **params})
        assert asked is not None  # noqa: S101
        return _with_test(store, query, explain.answer(store, asked))

    def patterns(self, params: Params, done: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
        """What won conversations do and failed ones do not. `done` is told which part is done, between 0 and 1."""
        check_parameters("patterns", params)

        def make(store: Store, query: Query) -> dict[str, Any]:
            return _with_test(store, query, patterns.answer(store, query, params, done))

        return self._kept("patterns", params, make)

    def optimization(self, params: Params, done: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
        """What may be done better, and what to test next; what takes long is remembered. `done` as of patterns."""
        check_parameters("optimization", params)
        now, then = self._now(), copy(self)
        then._now = lambda: now  # all parts are of one moment
        known = {name: texts for name, texts in params.items() if name in COMMON}
        store, query = then._asked(known)
        waits = self._young.waits(store, query, select.recorded_stages(store))
        asked = optimization.parse(params, waits.recorded)

        steps = count(1)

        def ask(question: str, more: Params) -> dict[str, Any]:
            done(min(next(steps) / optimization.QUESTIONS, 1.0))
            return getattr(then, question)(more)

        found = optimization.answer(store, query, asked, optimization.Asks(ask, known, waits), self._remembered)
        return _with_test(store, query, found)

    def definitions(self, params: Params) -> dict[str, Any]:
        """What every metric means."""
        check_parameters("definitions", params)
        store, query = self._asked({})
        waits = self._young.waits(store, query, select.recorded_stages(store))
        return {"metrics": [metrics.definition(metric, waits) for metric in self._registry.values()]}

    def _metrics(self, params: Params) -> list[Metric]:
        return named(params.get("metric", ()), self._registry)

    def _metric(self, params: Params) -> Metric:
        wanted = self._metrics(params)
        if len(wanted) != 1:
            raise InvalidInput("metric", list(params.get("metric", ())), "one metric")
        return wanted[0]

    def conversations(self, params: Params) -> dict[str, Any]:
        """A page of the list of conversations."""
        check_parameters("conversations", params)
        limit, after = whole_number(params, "limit", conversations.LIMIT, 1, 1000), one(params, "after")
        listed = self._list(params)
        answer = listed.page(limit, after)
        if not answer["total"]:
            select.check_properties(listed.store, listed.query)
        return answer

    def all_conversations(self, params: Params) -> Iterator[list[dict[str, Any]]]:
        """The whole list of conversations, some rows at a time. What is wrong with the question is raised at once."""
        check_parameters("conversations", params)
        for name in ("limit", "after"):
            if (text := one(params, name)) is not None:
                raise InvalidInput(name, text, "left out: an export is the whole list")
        return self._list(params).pages()

    def _list(self, params: Params) -> behind.Conversations:
        chosen = self._chosen(params)
        is_of_experiment = one(params, "experiment") is not None
        store, query = self._of_all_time(params) if is_of_experiment else self._asked(params)
        project = behind.Project(self._planned, self._young, self._wording, self._registry)
        return behind.parse(store, query, params, chosen, project)

    def conversation(self, conversation_id: str, params: Params = MappingProxyType({})) -> dict[str, Any]:
        """One conversation with its messages, its events, and the two that began most like it."""
        check_parameters("conversation", params)
        store, query = self._asked(params)
        return conversations.show(store, conversation_id, query, alike=True)

    def transcripts(self, ids: Collection[str], params: Params = MappingProxyType({})) -> dict[str, list[dict]]:
        """What was said in a few conversations, by id: empty of one that is not there."""
        check_parameters("conversation", params)
        return conversations.transcripts(self._asked(params)[0], ids)

    def sample(self, params: Params) -> dict[str, Any]:
        """A few conversations to read: successful and failed ones, unlike one another."""
        check_parameters("sample", params)
        store, query = self._asked(params)
        return _with_test(store, query, sampling.answer(store, query, params))

    def filters(self) -> dict[str, Any]:
        """What a page offers to choose from."""
        channel = select.dimension(self._store.dialect, "channel")
        rows = self._store.select(f"SELECT DISTINCT {channel} FROM conversation_rows ORDER BY 1")
        held = self.held()
        return {
            "channels": [row[0] for row in rows.rows],
            "timezone": self._timezone,
            "has_data": held is not None,
            "held": held,
            "funnels": list(self._funnels),
            "metrics": [
                {"metric": metric.name, "clock": metric.clock, "good": metric.good, "description": metric.description}
                for metric in self._registry.values()
            ],
            "version": self.version(),
        }

    def held(self) -> tuple[datetime, datetime] | None:
        """When the first conversation and the latest began; None without any."""
        return select.held(self._store, self._test)

    def version(self) -> str:
        """Another text once there are more events."""
        return str(self._store.select(f"SELECT count(*) FROM {PHYSICAL['events']}").rows[0][0])

    def query(self, text: str) -> dict[str, Any]:
        """The rows of somebody's own SELECT."""
        return own.answer(self._store, text)

    def rejected(self, params: Params) -> dict[str, Any]:
        """Refused events, the newest first, and their counts by reason."""
        check_parameters("rejected", params)
        limit = whole_number(params, "limit", 100, 1, 100_000)
        found = self._store.select(
            f"""SELECT id, received_at, reason, field, message, body FROM rejected_rows
                ORDER BY received_at DESC, id LIMIT {limit}"""
        ).dicts()
        reasons = self._store.select("SELECT reason, count(*) FROM rejected_rows GROUP BY 1 ORDER BY 1").rows
        rows = [{**r, "received_at": r["received_at"].replace(tzinfo=UTC).isoformat()} for r in found]
        return {"rejected": rows, "total": sum(n for _, n in reasons), "reasons": dict(reasons)}

    def _kept(
        self, question: str, params: Params, make: Callable[[Store, Query], dict[str, Any]],
        asked: Callable[[Params], tuple[Store, Query]] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """What `make` says, or said lately; a copy, with which whoever gets it may do as they like."""
        asked = asked or self._asked
        store, query = asked(params)
        period = query.period if asked == self._asked else None  # that of all time is another at every moment
        texts = tuple(sorted((name, tuple(given)) for name, given in params.items()))

        found = self._remembered.get(store, (question, texts, period), query.now, lambda: make(*asked(params)))
        return msgspec.to_builtins(found.answer)

    def _asked(self, params: Params) -> tuple[Store, Query]:
        """The store that answers, and what it is asked: `as_of` a moment the store as it was then, and then is now."""
        now, store = self._now(), self._store
        timezone = one(params, "timezone") or self._timezone
        as_of = one(params, "as_of")
        if as_of is not None:
            moment = parse_instant("as_of", as_of, parse_zone(timezone))
            if not FIRST <= moment < now:
                raise InvalidInput("as_of", as_of, "a day that has begun, or an instant in the past, from 1901 on")
            now, store = moment, self._past(moment)
        return store, parse_query(params, now, select.default_period(store, timezone, now, self._test), self._test)


def _with_test(store: Store, query: Query, answer: dict[str, Any]) -> dict[str, Any]:
    return msgspec.to_builtins({**answer, "test_conversations": funnel.count_test(store, query)})
