"""The page of alerts: what fires, every rule, the history on the metric's chart, silences, and messages."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dropoff.dashboard.api.desk import Desk
from dropoff.dashboard.charts.charts import inert
from dropoff.dashboard.frame.forms import Given, form
from dropoff.dashboard.frame.frame import Analytics, query
from dropoff.dashboard.frame.rendering import render
from dropoff.dashboard.pages.trends import lines, trend_chart
from dropoff.errors import DropoffError, InvalidInput, Unavailable
from dropoff.metrics import decimal
from dropoff.notify.base import Notice
from dropoff.notify.outbox import Mark, Outbox
from dropoff.notify.silences import Acknowledgement
from dropoff.notify.texts import fires
from dropoff.phrases import formats
from dropoff.phrases.addresses import url
from dropoff.phrases.formats import NONE, instant, span, visible
from dropoff.phrases.meanings import known
from dropoff.query import Params

PATH = "/alerts"
SPANS = {"1h": "1 hour", "4h": "4 hours", "1d": "1 day", "7d": "1 week", "30d": "30 days"}
STATES = {
    "firing": "Firing", "pending": "Pending", "resolved": "Resolved", "error": "Error", "no_data": "No data",
    "insufficient": "Not enough data", "inactive": "Fine",
}  # fmt: skip
"""The states, the worst first."""
OUTCOMES = {
    "sent": "Sent", "failed": "Failed", "dropped": "Dropped: too many waited", "silenced": "Silenced",
    "acknowledged": "Acknowledged", "overtaken": "Overtaken by a later one",
}  # fmt: skip
_LATEST = 20
_REMEMBERED = 1000
"""As many episodes as are kept: a rule that fires seldom has its latest one far back."""
_HOURS = timedelta(days=2)


class Alerts(Protocol):
    """The rules, and how they stand."""

    @property
    def rules(self) -> Sequence[Any]:
        """Each with a `name`, a `metric`, a `condition`, a `threshold` and a `window`."""
        ...

    def check(self, now: datetime) -> Sequence[Any]:
        """Every rule as it stands: each has `to_dict`."""
        ...

    def history(self, rule: str | None = None, limit: int = 100) -> Sequence[Any]:
        """The episodes, the latest first: each has `to_dict`."""
        ...

    def firing(self) -> Sequence[tuple[str, str, Any]]:
        """What was last written down: rule, segment, and a state with a `name`."""
        ...


class Office(NamedTuple):
    """What the page is made of; `ask` answers `alerts/backtest`."""

    desk: Desk
    alerts: Alerts
    outbox: Outbox
    ask: Callable[[str, Params], Mapping[str, Any]]

    def firing(self) -> int:
        """How many alerts fire, as last written down; 0 while that cannot be told."""
        with suppress(Unavailable):
            return sum(state.name == "firing" for _, _, state in self.alerts.firing())
        return 0


def alerts_page(
    office: Office, analytics: Analytics, request: Request, problem: InvalidInput | None = None
) -> Response:
    """`/alerts`; `rule` in its address picks whose history is drawn, `would=1` asks what all rules would have done."""
    desk, alerts, outbox, _ = office
    request.state.firing = office.firing
    now = desk.clock()
    standing = [alert.to_dict() for alert in alerts.check(now)]
    episodes = [each.to_dict() for each in alerts.history(limit=_REMEMBERED)]
    metrics = analytics.definitions({})["metrics"]
    units = {row["metric"]: row["unit"] for row in metrics}
    named = {rule.name: rule for rule in alerts.rules}
    params = query(request, ("rule", "would"))
    asked, tried = params.get("rule", [""])[0], params.get("would") == ["1"]
    chosen = named.get(asked) or named.get(_first(standing, episodes)) or next(iter(named.values()), None)
    zone, acknowledgements = desk.zone.key, desk.acknowledgements()
    page = {
        "now": now, "zone": zone, "problem": problem, "rules": list(named.values()), "chosen": chosen, "asked": asked,
        "firing": [shown(alert, units, zone) for alert in standing if alert["state"] == "firing"],
        "others": [shown(alert, units, zone) for alert in sorted(standing, key=_order) if alert["state"] != "firing"],
        "latest": {(each["name"], each["segment"]): each for each in reversed(episodes) if each["resolved"] is None},
        "episodes": [told(each, units, zone) for each in episodes if chosen and each["name"] == chosen.name][:_LATEST],
        "silences": desk.silences(), "acknowledgements": acknowledgements, "spans": SPANS,
        "acknowledged": partial(acknowledged, acknowledgements),
        "messages": messages(outbox, zone), "definitions": known(metrics),
        # What takes seconds is not done again and again.
        "live": None if tried else "now", "chart": None, "is_young": not episodes,
        "would": would(office.ask("alerts/backtest", {}), units) if tried else None,
    }  # fmt: skip
    if chosen and chosen.metric in units:
        asked_for = _around(chosen, now)
        page["chart"] = _chart(analytics, chosen, episodes, asked_for)
        page["files"] = {"alerts": url("/trends", asked_for, format="csv", rows="trend")}
    return render("alerts.html", request, 400 if problem else 200, **page)


def forms(office: Office, analytics: Analytics) -> list[Route]:
    """What the page's forms do; afterwards it is shown again. A mistake is shown with it."""

    def refused(request: Request, _: Given, error: InvalidInput) -> Response:
        return alerts_page(office, analytics, request, error)

    acts = (office.desk.silence, office.desk.expire, office.desk.acknowledge, office.desk.withdraw)
    return [form(f"{PATH}/{act.__name__}", PATH, act, refused) for act in acts]


def shown(alert: Mapping[str, Any], units: Mapping[str, str], zone: str) -> dict[str, Any]:
    """An alert with its numbers as texts."""
    unit = units.get(alert["metric"], "share")
    return {
        **alert,
        "says": condition(alert, unit),
        "shown": NONE if formats.says_little(alert) else formats.measure({"value": alert["value"], "unit": unit}),
        "between": NONE if formats.says_little(alert) else span(alert["interval"], unit, signs=False),
        "over": formats.standing_behind(alert),
        "usually": formats.measure({"value": alert["usual"], "unit": unit}),
        "began": instant(alert["since"], zone) if alert["since"] else NONE,
        "called": STATES[alert["state"]],
    }


def acknowledged(
    acknowledgements: Sequence[Acknowledgement], alert: Mapping[str, Any], episode: Mapping[str, Any] | None
) -> Acknowledgement | None:
    """The latest acknowledgement of what an alert that fires tells of."""
    since = datetime.fromisoformat(episode["fired"] if episode else alert["since"])
    return next((each for each in acknowledgements if each.covers(alert["name"], alert["segment"], since)), None)


def told(episode: Mapping[str, Any], units: Mapping[str, str], zone: str) -> dict[str, Any]:
    """An episode with its numbers as texts."""
    unit = units.get(episode["metric"], "share")
    begin = datetime.fromisoformat(episode["fired"])
    end = datetime.fromisoformat(episode["resolved"]) if episode["resolved"] else None
    return {
        **episode,
        "began": instant(begin, zone),
        "ended": instant(end, zone) if end else "Still firing",
        "lasted": formats.duration((end - begin).total_seconds()) if end else NONE,
        "shown": formats.measure({"value": episode["value"], "unit": unit}),
        "between": span(episode["interval"], unit, signs=False),
    }


class Trial(NamedTuple):
    """What a rule would have done, with its numbers as texts; `problem`: why that cannot be told."""

    name: str
    problem: str | None
    fired: int
    lasted: str
    enough: str
    threshold: str
    quiet: str


class Would(NamedTuple):
    """What all rules would have done: the period, a row for each, and each time that one would have fired."""

    period: Mapping[str, str]
    per_month: float
    trials: list[Trial]
    firings: list[dict[str, Any]]


def would(answer: Mapping[str, Any], units: Mapping[str, str]) -> Would:
    """What is shown of a backtest; the latest firings first."""
    zone = answer["period"]["timezone"]
    firings = [_fired(one, firing, units, zone) for one in answer["rules"] for firing in one["firings"]]
    firings.sort(key=lambda one: (one["fired"], one["name"]), reverse=True)
    return Would(answer["period"], answer["per_month"], [_trial(one) for one in answer["rules"]], firings)


def _trial(one: Mapping[str, Any]) -> Trial:
    suggested = one["suggested_threshold"]
    return Trial(
        one["name"], one["problem"], one["fired"], formats.duration(one["seconds"]) if one["fired"] else NONE,
        formats.percent(one["enough"]), decimal(one["threshold"]), "none" if suggested is None else decimal(suggested),
    )  # fmt: skip


def _fired(one: Mapping[str, Any], firing: Mapping[str, Any], units: Mapping[str, str], zone: str) -> dict[str, Any]:
    unit = units.get(one["metric"], "share")
    return {
        **firing, "name": one["name"], "severity": one["severity"],
        "began": instant(firing["fired"], zone),
        "ended": instant(firing["resolved"], zone) if firing["resolved"] else "Still firing",
        "shown": formats.measure({"value": firing["value"], "unit": unit}),
        "worst": formats.measure({"value": firing["worst"], "unit": unit}),
    }  # fmt: skip


def condition(alert: Mapping[str, Any], unit: str) -> str:
    """When an alert fires: `above 20.0 % in 4 hours`."""

    def number(value: float) -> str:
        return formats.measure({"value": value, "unit": unit})

    said = fires(alert["condition"], alert["threshold"], number, partial(formats.percent, digits=0))
    return f"{said} in {formats.window(alert['window'])}"


def messages(outbox: Outbox, zone: str) -> list[dict[str, Any]]:
    """Messages that wait, and the latest of which something became; with the receiver."""

    def row(receiver: str, of: Notice | Mark, outcome: str, error: str | None, attempts: int = 0) -> dict[str, Any]:
        return {
            "receiver": receiver, "rule": of.rule, "segment": of.segment, "kind": of.kind, "at": instant(of.at, zone),
            "outcome": outcome, "error": error, "attempts": attempts,
        }  # fmt: skip

    waiting = [(receiver, each) for receiver, some in outbox.waiting().items() for each in some]
    waiting.sort(key=lambda pair: pair[1].notice.at, reverse=True)
    return [
        *(row(to, each.notice, "Waiting", each.error, each.attempts) for to, each in waiting[:_LATEST]),
        *(row(to, mark, OUTCOMES[mark.outcome], mark.error) for to, mark in outbox.marks()[:_LATEST]),
    ]


def alert_chart(answer: Mapping[str, Any], episodes: Sequence[Mapping[str, Any]], level: float | None) -> dict | None:
    """The trend of the metric, with an area for each episode and a line at the threshold; None without values."""
    rows = next(iter(lines(answer, lambda *_, **__: "").values()), [])
    if not any(row.point["value"] is not None for row in rows):
        return None
    option = trend_chart([row._replace(url=None) for row in rows], answer)
    series = option["baseOption"]["series"][-1]
    series["markArea"] = {
        "silent": True, "animation": False, "itemStyle": {"color": "var(--problem)", "opacity": 0.16},
        "label": {"show": False},
        "data": [area for each in episodes if (area := _area(rows, each)) is not None],
    }  # fmt: skip
    if level is not None:
        factor = 100 if rows[0].point["unit"] == "share" else 1
        mark = {
            "yAxis": level * factor, "lineStyle": {"color": "var(--problem)", "type": "dashed"},
            "label": {"show": False},
        }  # fmt: skip
        series["markLine"]["data"].append(mark)
    fired = formats.counted(len(series["markArea"]["data"]), "time")
    option["baseOption"]["aria"]["label"]["description"] += f" The rule fired {fired} in it."
    return option


def _area(rows: Sequence[Any], episode: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """From the bucket in which an episode began to that in which it ended."""
    if episode["resolved"] is not None and datetime.fromisoformat(episode["resolved"]) <= _at(rows[0]):
        return None
    end = datetime.fromisoformat(episode["resolved"]) if episode["resolved"] else None
    begin = sum(_at(row) <= datetime.fromisoformat(episode["fired"]) for row in rows) - 1
    begin = max(min(begin, len(rows) - 2), 0)  # an area of no width is not seen
    last = len(rows) - 1 if end is None else max(sum(_at(row) <= end for row in rows) - 1, begin + 1)
    return [{"xAxis": begin, "name": inert(visible(episode["name"])[:40])}, {"xAxis": last}]


def _at(row: Any) -> datetime:
    return datetime.fromisoformat(row.point["from"])


def _around(rule: Any, now: datetime) -> dict[str, list[str]]:
    """The trend of a rule's metric: a week by the hour; of a rule with a window of days, five weeks by the day."""
    by_hour = rule.window < _HOURS
    begin = now - (timedelta(days=7) if by_hour else timedelta(days=35))
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)  # so that who looks again asks the same
    return {
        "metric": [rule.metric], "interval": ["hour" if by_hour else "day"],
        "from": [begin.replace(minute=0, second=0, microsecond=0).isoformat()], "to": [end.isoformat()],
    }  # fmt: skip


def _chart(
    analytics: Analytics, rule: Any, episodes: Sequence[Mapping[str, Any]], asked: Mapping[str, list[str]]
) -> Mapping[str, Any] | None:
    """Its chart, with what the rule did."""
    try:
        answer = analytics.trend(asked)
    except DropoffError:  # the table says it all without it
        return None
    own = [each for each in episodes if each["name"] == rule.name]
    return alert_chart(answer, own, rule.threshold if rule.condition in ("exceeds", "drops_below") else None)


def _first(standing: Sequence[Mapping[str, Any]], episodes: Sequence[Mapping[str, Any]]) -> str:
    firing = [alert["name"] for alert in standing if alert["state"] == "firing"]
    return next(iter([*firing, *(each["name"] for each in episodes)]), "")


def _order(alert: Mapping[str, Any]) -> tuple[int, str, str]:
    return list(STATES).index(alert["state"]), alert["name"], alert["segment"] or ""
