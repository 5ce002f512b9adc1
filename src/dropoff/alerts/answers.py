"""What page, API and command line ask about alerts, by name and with the parameters of a URL."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from dropoff.alerts import backtest
from dropoff.alerts.backtest import Trial
from dropoff.alerts.evaluate import Alerts
from dropoff.alerts.files import of_json
from dropoff.alerts.links import link
from dropoff.alerts.rules import Rule, parse
from dropoff.alerts.values import Reader
from dropoff.analyse.analytics import check_parameters, no_past, utc_now
from dropoff.analyse.answers import instant
from dropoff.errors import InvalidInput
from dropoff.periods import Period, parse_instant, parse_period
from dropoff.project.funnels import Funnel
from dropoff.query import Params, flag, number, one
from dropoff.store.base import Store

_DEFAULT = timedelta(days=28)
_REMEMBERED = timedelta(hours=1)


class Answers:
    """The answers about the alerts of one store. `now` is asked once for each question; `past` as of `Analytics`."""

    def __init__(
        self,
        alerts: Alerts,
        funnels: dict[str, Funnel],
        now: Callable[[], datetime] = utc_now,
        past: Callable[[datetime], Store] = no_past,
    ) -> None:
        self._alerts = alerts
        self._funnels = funnels
        self._now = now
        self._past = past
        self._covered: tuple[datetime, list[dict[str, Any]]] | None = None

    def ask(self, question: str, params: Params) -> dict[str, Any]:
        """The answer to `alerts`, `alerts/history` or `alerts/backtest`, as the API gives it."""
        check_parameters(question, params)
        answers = {"alerts": self._check, "alerts/history": self._history, "alerts/backtest": self._backtest}
        return answers[question](params)

    def _check(self, params: Params) -> dict[str, Any]:
        """Every rule as it stands."""
        given = self._given(params)
        now, reader = self._moment(params)
        is_own = given is None and reader is self._alerts.reader
        rules = self._alerts.rules if given is None else given
        alerts = self._alerts if is_own else Alerts(reader, self._alerts.control, rules)
        found = alerts.check(now, None if is_own else rules)
        answer: dict[str, Any] = {"as_of": instant(now), "alerts": [alert.to_dict() for alert in found]}
        if flag(params, "coverage"):
            answer["coverage"] = self._coverage(reader, rules, now) if not is_own else self._own_coverage(now)
        return msgspec.to_builtins(answer)

    def _own_coverage(self, now: datetime) -> list[dict[str, Any]]:
        if self._covered is None or now - self._covered[0] > _REMEMBERED:
            self._covered = (now, self._coverage(self._alerts.reader, self._alerts.rules, now))
        return self._covered[1]

    def _coverage(self, reader: Reader, rules: Sequence[Rule], now: datetime) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(one) for one in backtest.coverage(reader, rules, now)]

    def _history(self, params: Params) -> dict[str, Any]:
        """When alerts fired, the latest first."""
        limit = int(number(params, "limit", 100, 1, 1000))
        return {"episodes": [each.to_dict() for each in self._alerts.history(one(params, "rule"), limit)]}

    def _backtest(self, params: Params) -> dict[str, Any]:
        """What the rules would have done in a period, by default the last four weeks."""
        given, now = self._given(params), self._now()
        rules = self._named(self._alerts.rules if given is None else given, params)
        reader = self._alerts.reader
        period = _period(params, reader, now)
        per_month = number(params, "per_month", backtest.PER_MONTH, 0, 1000)
        trials = backtest.backtest(reader, rules, period, now, per_month)
        by_name = {rule.name: rule for rule in rules}
        return {
            "period": period.to_dict(),
            "as_of": instant(now),
            "per_month": per_month,
            "rules": [_trial(by_name[trial.name], trial) for trial in trials],
        }

    def _named(self, rules: Sequence[Rule], params: Params) -> Sequence[Rule]:
        names = params.get("rule", ())
        for name in names:
            if name not in {rule.name for rule in rules}:
                raise InvalidInput("rule", name, f"one of {', '.join(rule.name for rule in rules)}")
        return [rule for rule in rules if rule.name in names] if names else rules

    def _given(self, params: Params) -> list[Rule] | None:
        """The rules of the parameter `rules`, a JSON text."""
        text = one(params, "rules")
        if text is None:
            return None
        raw, place = of_json(text, "rules")
        found = parse(raw, place, self._alerts.reader.registry, self._funnels)
        return [rule for rule in found if rule.enabled]

    def _moment(self, params: Params) -> tuple[datetime, Reader]:
        now, reader = self._now(), self._alerts.reader
        as_of = one(params, "as_of")
        if as_of is None:
            return now, reader
        moment = parse_instant("as_of", as_of, reader.zone)
        if moment >= now:
            raise InvalidInput("as_of", as_of, "a day that has begun, or an instant in the past")
        return moment, reader.over(self._past(moment))


def _period(params: Params, reader: Reader, now: datetime) -> Period:
    start, end = one(params, "from"), one(params, "to")
    latest = min(now, reader.latest() or now)
    last = end or latest.isoformat()
    first = start or (parse_instant("to", last, reader.zone) - _DEFAULT).isoformat()
    return parse_period(first, last, reader.timezone)


def _trial(rule: Rule, trial: Trial) -> dict[str, Any]:
    fired = [
        {
            "segment": f.segment, "fired": instant(f.fired), "resolved": instant(f.resolved), "seconds": f.seconds,
            "value": f.value, "worst": f.worst, "link": link(rule, f.segment, f.fired, f.resolved or f.fired),
        }
        for f in trial.firings
    ]  # fmt: skip
    return {
        **rule.to_dict(), "evaluations": trial.evaluations, "enough": trial.enough, "fired": len(fired),
        "seconds": trial.seconds, "per_month": trial.per_month, "firings": fired,
        "suggested_threshold": trial.suggested, "problem": trial.problem,
    }  # fmt: skip
