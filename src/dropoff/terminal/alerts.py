"""Alerts in a terminal."""

from functools import partial

from rich.console import Console
from rich.text import Text

from dropoff.alerts.rules import written_out
from dropoff.metrics import decimal
from dropoff.notify.texts import fires
from dropoff.phrases import formats
from dropoff.terminal.tables import Answer, head_line, plain, table, zone_line, zone_of


def alerts(answer: Answer, console: Console) -> None:
    """`dropoff alerts check`."""
    zone_line(answer, console)
    columns = {"alert": False, "state": False, "value": True, "n": True, "rule": False, "severity": False}
    rows = [_alert(one, zone_of(answer)) for one in answer["alerts"]]
    table("Alerts", columns | {"since": False}, rows, console)
    if "coverage" in answer:
        covered = [[c["name"], _part(c["enough"]), c["window"] or "none"] for c in answer["coverage"]]
        columns = {"rule": False, "enough data": True, "window that mostly has": False}
        table("Of the last four weeks", columns, covered, console)


def _alert(one: Answer, zone: str) -> list[object]:
    rule = "" if one["name"] == written_out(one) else _rule(one)
    n, since = formats.standing_behind(one), formats.instant(one["since"], zone) if one["since"] else ""
    value = formats.NONE if formats.says_little(one) else _alert_value(one)
    return [_alert_name(one), one["state"], value, n, rule, one["severity"], since]


def _alert_name(one: Answer) -> str:
    return one["name"] if one["segment"] is None else f"{one['name']} · {one['segment']}"


def _alert_value(one: Answer) -> str:
    return "–" if one["value"] is None else decimal(one["value"], 4)


def _rule(one: Answer) -> str:
    said = fires(one["condition"], one["threshold"], decimal, partial(formats.percent, digits=0))
    return f"{one['metric']} {said} in {formats.window(one['window'])}"


def _part(share: float | None) -> str:
    return "–" if share is None else formats.percent(share)


def rehearsals(answer: Answer, console: Console) -> None:
    """`dropoff alerts test`."""
    for test in answer["tests"]:
        mark = "ok" if test["ok"] else "FAILED"
        console.print(Text(f"{mark}  {plain(test['name'])} ({formats.counted(test['expectations'], 'expectation')})"))
        for failure in test["failures"]:
            where = plain(failure["rule"]) + (f" · {plain(failure['segment'])}" if failure["segment"] else "")
            console.print(Text(f"    {where} at {failure['at']}: {failure['got']}, expected {failure['expected']}"))
    console.print(Text(f"{answer['passed']} passed, {answer['failed']} failed"))


def backtest(answer: Answer, console: Console) -> None:
    """`dropoff alerts backtest`."""
    head_line(answer, console)
    rows: list[list[object]] = [
        [
            one["name"], one["problem"] or str(one["fired"]), f"{one['seconds'] / 3600:.1f}", _part(one["enough"]),
            decimal(one["threshold"]),
            "none" if one["suggested_threshold"] is None else decimal(one["suggested_threshold"]),
        ]
        for one in answer["rules"]
    ]  # fmt: skip
    quiet = f"quiet at ({decimal(answer['per_month'])} a month)"
    columns = {"rule": False, "fired": True, "hours": True, "enough data": True, "threshold": True, quiet: True}
    table("What the rules would have done", columns, rows, console)
    zone = answer["period"]["timezone"]
    fired = [(one, firing) for one in answer["rules"] for firing in one["firings"]]
    if fired:
        rows = [
            [
                formats.instant(f["fired"], zone), _until(f, zone),
                _alert_name({**one, **f}), _alert_value(f),
            ]
            for one, f in sorted(fired, key=lambda pair: pair[1]["fired"])
        ]  # fmt: skip
        table("When", {"fired": False, "until": False, "rule": False, "value": True}, rows, console)


def episodes(answer: Answer, console: Console) -> None:
    """`dropoff alerts history`."""
    zone = zone_of(answer)
    zone_line(answer, console)
    rows: list[list[object]] = [
        [
            formats.instant(one["fired"], zone), _until(one, zone),
            _alert_name(one), one["severity"], _alert_value(one), one["n"], one["usual"] or "",
        ]
        for one in answer["episodes"]
    ]  # fmt: skip
    columns = {"fired": False, "until": False, "alert": False, "severity": False, "value": True, "n": True}
    table("Alerts that fired", columns | {"usually": False}, rows, console)


def _until(one: Answer, zone: str) -> str:
    return formats.instant(one["resolved"], zone) if one["resolved"] else "still firing"


def silences(answer: Answer, console: Console) -> None:
    """`dropoff alerts silences`, and what was just made of either kind."""
    zone = zone_of(answer)
    zone_line(answer, console)
    for name, when, every in (("silences", "until", "any"), ("acknowledgements", "at", "all")):
        if name in answer:
            columns = {"rule": False, "segment": False, when: False, "by": False, "comment": False, "id": False}
            rows: list[list[object]] = [
                [
                    one["rule"] or every, one["segment"] or every, formats.instant(one[when], zone), one["by"],
                    one["comment"], one["id"],
                ]
                for one in answer[name]
            ]  # fmt: skip
            table(name, columns, rows, console)
