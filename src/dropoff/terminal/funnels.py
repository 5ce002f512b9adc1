"""Funnels, drop-offs and cohorts in a terminal."""

from rich.console import Console
from rich.text import Text

from dropoff.phrases import formats, words
from dropoff.terminal.metrics import annotations, overlapping
from dropoff.terminal.tables import ROWS, Answer, head_line, interval, plain, rate, table


def funnel(answer: Answer, console: Console) -> None:
    """`dropoff funnel`."""
    head_line(answer, console)
    overlapping(answer, console)
    name = f"{answer['definition']['name']} funnel"
    _funnel(name, answer, console)
    for value, part in answer.get("segments", {}).items():
        console.print()
        _funnel(f"{name} · {answer['by']} = {plain(value)}", part, console)
    if "trend" in answer:
        _funnel_trend(answer, console)


def _funnel_trend(answer: Answer, console: Console) -> None:
    interval, zone = answer["trend"]["interval"], answer["period"]["timezone"]
    names = {plain(stage["stage"]): True for stage in answer["stages"]}
    rows: list[list[object]] = [
        [
            formats.bucket(point["from"], interval, zone), *(formats.number(s["count"]) for s in point["stages"]),
            rate(point["stages"][-1]["rate_from_start"]), _remark(point),
        ]
        for point in answer["trend"]["points"]
    ]  # fmt: skip
    console.print()
    table(f"by {interval}", {"from": False, **names, "last from start": False, " ": False}, rows, console)
    annotations(answer["trend"]["annotations"], zone, console)


def _remark(point: Answer) -> str:
    return ", ".join(name for name in ("partial", "immature") if point[name])


def _funnel(title: str, part: Answer, console: Console) -> None:
    columns = {"stage": False, "count": True, "recorded": True, "from previous": False, "from start": False}
    is_timed = "time_to_convert" in part
    columns |= dict.fromkeys(("median", "average", "p90"), True) if is_timed else {}
    rows: list[list[object]] = [
        [
            s["stage"] + ("" if s["is_recorded"] else " (not recorded)"), formats.number(s["count"]),
            formats.number(s["recorded"]), rate(s["rate_from_previous"]), rate(s["rate_from_start"]),
            *(_times(s) if is_timed else ()),
        ]
        for s in part["stages"]
    ]  # fmt: skip
    table(title, columns, rows, console)
    console.print()
    if is_timed:
        median, average, p90 = _times(part["time_to_convert"])
        console.print(Text(f"first to last step: {median} (median), {average} (average), {p90} (nine in ten)"))
    else:
        _rates(part, console)
    console.print()
    drop_off_table("drop-offs", part, console)


def _times(taken: Answer) -> list[str]:
    return [formats.duration(taken[f"{name}_seconds"]) for name in ("median", "average", "p90")]


def _rates(part: Answer, console: Console) -> None:
    numbers = part["numbers"]
    is_aged = any(n["matured"] or n["projected"] for n in numbers.values())
    columns = {"rate": False, "value": False, "of": True}
    table("rates", columns | (dict.fromkeys(("matured", "projected"), False) if is_aged else {}), [
        [
            name, rate(n), f"{formats.number(n['numerator'])} / {formats.number(n['denominator'])}",
            *((formats.matured(n), formats.projected(n)) if is_aged else ()),
        ]
        for name, n in numbers.items()
    ], console)  # fmt: skip


def drop_offs(answer: Answer, console: Console) -> None:
    """`dropoff dropoffs`."""
    head_line(answer, console)
    overlapping(answer, console)
    drop_off_table("drop-offs", answer, console)
    for value, part in answer.get("segments", {}).items():
        console.print()
        drop_off_table(f"drop-offs · {answer['by']} = {plain(value)}", part, console)
    for drop in answer["drop_offs"]:
        if drop["explanation"] is not None:
            _explained(drop, drop["explanation"], console)


def _explained(drop: Answer, why: Answer, console: Console) -> None:
    counts = [f"{formats.number(why[name])} {words.LOST[name]}" for name in ("lost", "went_on", "silent")]
    console.print()
    console.print(Text(f"{plain(drop['from'])} → {plain(drop['to'])}: {', '.join(counts)}", style="bold"))
    said: list[list[object]] = [
        [m["intent"], formats.number(m["silent"]), formats.percent(m["share"]["value"]), rate(m["silence_rate"]),
         formats.signed(m["excess"], 0), m["example"] or ""]
        for m in why["messages"][:ROWS]
    ]  # fmt: skip
    columns = {"last said": False, "silent": True, "of the lost": True, "silent when said": False, "excess": True}
    table("the bot's last words before the silence", columns | {"example": False}, said, console)
    instead: list[list[object]] = [
        [words.HAPPENED[i["what"]], formats.number(i["share"]["numerator"]), formats.percent(i["share"]["value"])]
        for i in why["instead"]
        if i["share"]["numerator"]
    ]
    table("instead, they", {"": False, "lost": True, "share": True}, instead, console)
    reasons: list[list[object]] = [
        [words.HAPPENED[r["reason"]], rate(r["lost"]), rate(r["went_on"]), "a reason" if r["is_reason"] else ""]
        for r in why["reasons"]
        if r["lost"]["numerator"] or r["went_on"]["numerator"]
    ]
    table("meanwhile", {"": False, "of the lost": False, "of those that went on": False, " ": False}, reasons, console)
    segments: list[list[object]] = [
        [f"{s['dimension']} = {plain(s['value'])}", rate(s["rate"]), formats.signed(s["excess"], 0)]
        for s in why["segments"]
        if s["over_contributes"]
    ]
    table("segments that lose more than the rest", {"": False, "lost": False, "excess": True}, segments[:ROWS], console)


def drop_off_table(title: str, part: Answer, console: Console) -> None:
    rows: list[list[object]] = [
        [
            f"{d['from']} → {d['to']}", formats.percent(d["drop_rate"]), interval(d), formats.number(d["volume_lost"]),
            _matured(d["matured"]), formats.percent(d["projected"]["value"]) if d["projected"] else "–",
        ]
        for d in part["drop_offs"]
    ]  # fmt: skip
    columns = {"between": False, "drop rate": True, "95 %": False, "lost": True, "matured": True, "projected": True}
    table(title, columns, rows, console)


def _matured(found: Answer | None) -> str:
    if found is None:
        return "–"
    return formats.percent(found["value"]) if found["n"] else "too young"


def waiting(answer: Answer, console: Console) -> None:
    """Under an answer that does not have every event yet."""
    count = formats.counted(answer["waiting"], "event")
    wait = "wait" if answer["waiting"] > 1 else "waits"
    console.print(Text(f"{count} {wait} to be processed, not counted yet", style="dim"))


def cohorts(answer: Answer, console: Console) -> None:
    """`dropoff cohorts`."""
    head_line(answer, console)
    zone, definition = answer["period"]["timezone"], answer["definition"]
    columns = {"from": False, "n": True, **{f"week {age}": True for age in answer["ages"]}, "by now": False, " ": False}
    rows: list[list[object]] = [
        [
            formats.bucket(c["from"], definition["interval"], zone), formats.number(c["n"]), *map(_cell, c["cells"]),
            rate(c["total"]), "partial" if c["partial"] else "",
        ]
        for c in answer["cohorts"]
    ]  # fmt: skip
    table(f"{definition['stage']}, by {definition['interval']} of start", columns, rows, console)
    console.print(Text("(in brackets): not all of them have had that age, the share can still grow", style="dim"))


def _cell(cell: Answer | None) -> str:
    if cell is None:
        return ""
    text = formats.percent(cell["value"])
    return f"({text})" if cell["incomplete"] else text
