"""Alerts in a terminal."""

from rich.console import Console
from rich.text import Text

from dropoff.dashboard import formats
from dropoff.terminal.tables import Answer, head_line, plain, table


def alerts(answer: Answer, console: Console) -> None:
    """`dropoff alerts check`."""
    columns = {"alert": False, "state": False, "value": True, "n": True, "rule": False, "severity": False}
    table("Alerts", columns | {"since": False}, [_alert(one) for one in answer["alerts"]], console)
    if "coverage" in answer:
        covered = [[c["name"], _part(c["enough"]), c["window"] or "none"] for c in answer["coverage"]]
        columns = {"rule": False, "enough data": True, "window that mostly has": False}
        table("Of the last four weeks", columns, covered, console)


def _alert(one: Answer) -> list[object]:
    rule = "" if one["name"] == _rule_text(one) else _rule_text(one)
    n, since = formats.number(round(one["n"])), formats.instant(one["since"]) if one["since"] else ""
    return [_alert_name(one), one["state"], _alert_value(one), n, rule, one["severity"], since]


def _alert_name(one: Answer) -> str:
    return one["name"] if one["segment"] is None else f"{one['name']} · {one['segment']}"


def _alert_value(one: Answer) -> str:
    return "–" if one["value"] is None else f"{one['value']:.4g}"


def _rule_text(one: Answer) -> str:
    return f"{one['metric']} {one['condition']} {one['threshold']:g} in {one['window']}"


def _part(share: float | None) -> str:
    return "–" if share is None else formats.percent(share)


def rehearsals(answer: Answer, console: Console) -> None:
    """`dropoff alerts test`."""
    for test in answer["tests"]:
        mark = "ok" if test["ok"] else "FAILED"
        console.print(Text(f"{mark}  {plain(test['name'])} ({test['expectations']} expectations)"))
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
            f"{one['threshold']:g}",
            "none" if one["suggested_threshold"] is None else f"{one['suggested_threshold']:g}",
        ]
        for one in answer["rules"]
    ]  # fmt: skip
    quiet = f"quiet at ({answer['per_month']:g} a month)"
    columns = {"rule": False, "fired": True, "hours": True, "enough data": True, "threshold": True, quiet: True}
    table("What the rules would have done", columns, rows, console)
    zone = answer["period"]["timezone"]
    fired = [(one, firing) for one in answer["rules"] for firing in one["firings"]]
    if fired:
        rows = [
            [
                formats.instant(f["fired"], zone), formats.instant(f["resolved"], zone) if f["resolved"] else "still",
                _alert_name({**one, **f}), _alert_value(f),
            ]
            for one, f in sorted(fired, key=lambda pair: pair[1]["fired"])
        ]  # fmt: skip
        table("When", {"fired": False, "resolved": False, "rule": False, "value": True}, rows, console)


def episodes(answer: Answer, console: Console) -> None:
    """`dropoff alerts history`."""
    rows: list[list[object]] = [
        [
            formats.instant(one["fired"]), formats.instant(one["resolved"]) if one["resolved"] else "firing",
            _alert_name(one), one["severity"], _alert_value(one), one["n"], one["usual"] or "",
        ]
        for one in answer["episodes"]
    ]  # fmt: skip
    columns = {"fired": False, "resolved": False, "alert": False, "severity": False, "value": True, "n": True}
    table("Alerts that fired", columns | {"usually": False}, rows, console)


def silences(answer: Answer, console: Console) -> None:
    """`dropoff alerts silences`, and what was just made of either kind."""
    for name, when, every in (("silences", "until", "any"), ("acknowledgements", "at", "all")):
        if name in answer:
            columns = {"rule": False, "segment": False, when: False, "by": False, "comment": False, "id": False}
            rows: list[list[object]] = [
                [one["rule"] or every, one["segment"] or every, one[when], one["by"], one["comment"], one["id"]]
                for one in answer[name]
            ]
            table(name, columns, rows, console)
