"""Answers as readable tables. Text from events is shown, never interpreted: no markup, no escape sequence."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropoff.dashboard import formats
from dropoff.dashboard.formats import visible

Answer = Mapping[str, Any]


def plain(value: object) -> str:
    """Any value as inert text: control characters become visible symbols."""
    return "–" if value is None else visible(value)


def table(title: str, columns: Mapping[str, bool], rows: list[list[object]], console: Console) -> None:
    """Print a table; `columns` says which are right-aligned."""
    shown = Table(title=Text(title), title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for name, right in columns.items():
        shown.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    console.print(shown)


def _head(answer: Answer, console: Console) -> None:
    period = answer["period"]
    zone = period["timezone"]
    text = f"{formats.day(period['from'], zone)} – {formats.last_day(period['to'], zone)} ({zone})"
    console.print(Text(text, style="dim"))
    if answer.get("test_conversations"):
        console.print(Text(f"{answer['test_conversations']} test conversations of the period left out or marked", style="dim"))


def rate(number: Mapping[str, Any]) -> str:
    """A rate with its interval, or how little there is to say."""
    if number["value"] is None:
        return "–"
    text = formats.percent(number["value"])
    if number["interval"] is None:
        return text
    small = " not enough data" if formats.is_small(number["denominator"]) else ""
    return f"{text} [{formats.interval(number['interval'])}]{small}"


def funnel(answer: Answer, console: Console) -> None:
    """`dropoff funnel`."""
    _head(answer, console)
    parts = {"": answer} if "segments" not in answer else answer["segments"]
    for value, part in parts.items():
        _funnel(f"{answer['definition']['name']} funnel" + (f" · {answer['by']} = {value}" if value else ""), part, console)


def _funnel(title: str, part: Answer, console: Console) -> None:
    columns = {"stage": False, "count": True, "recorded": True, "from previous": False, "from start": False}
    rows: list[list[object]] = [
        [
            s["stage"] + ("" if s["is_recorded"] else " (not recorded)"), formats.number(s["count"]),
            formats.number(s["recorded"]), rate(s["rate_from_previous"]), rate(s["rate_from_start"]),
        ]
        for s in part["stages"]
    ]  # fmt: skip
    table(title, columns, rows, console)
    console.print()
    table("rates", {"rate": False, "value": False, "of": True}, [
        [name, rate(n), f"{formats.number(n['numerator'])} / {formats.number(n['denominator'])}"]
        for name, n in part["numbers"].items()
    ], console)  # fmt: skip
    console.print()
    _drop_offs("drop-offs", part, console)


def drop_offs(answer: Answer, console: Console) -> None:
    """`dropoff dropoffs`."""
    _head(answer, console)
    for value, part in ({"": answer} if "segments" not in answer else answer["segments"]).items():
        _drop_offs(f"drop-offs · {value}" if value else "drop-offs", part, console)


def _drop_offs(title: str, part: Answer, console: Console) -> None:
    rows: list[list[object]] = [
        [f"{d['from']} → {d['to']}", formats.percent(d["drop_rate"]), formats.interval(d["interval"]) if d["interval"] else "",
         formats.number(d["volume_lost"])]
        for d in part["drop_offs"]
    ]  # fmt: skip
    table(title, {"between": False, "drop rate": True, "95 %": False, "lost": True}, rows, console)


def conversations(answer: Answer, console: Console) -> None:
    """`dropoff conversations list`."""
    _head(answer, console)
    names = ("id", "channel", "started_at", "stage", "outcome", "message_count")
    rows: list[list[object]] = [[c[name] for name in names] for c in answer["conversations"]]
    table(f"{formats.number(answer['total'])} conversations", dict.fromkeys(names, False), rows, console)
    if answer["next"]:
        console.print(Text(f"more: --after {answer['next']}", style="dim"))


def conversation(answer: Answer, console: Console) -> None:
    """`dropoff conversations show`."""
    facts: list[list[object]] = [
        [name, formats.plain(value)]
        for name, value in answer.items()
        if name not in ("messages", "events") and value not in (None, [], {}, "")
    ]
    table("conversation", {"fact": False, "value": False}, facts, console)
    console.print()
    said: list[list[object]] = [
        [m["position"], m["timestamp"], m["sender"], m["intent"] or "", m["content"]] for m in answer["messages"]
    ]
    table("messages", {"": True, "time": False, "who": False, "intent": False, "text": False}, said, console)
    console.print()
    messages = ("message_sent", "message_received")
    others: list[list[object]] = [
        [e["timestamp"], e["event_type"], formats.plain(e["properties"])]
        for e in answer["events"]
        if e["event_type"] not in messages
    ]
    table("other events", {"time": False, "event": False, "properties": False}, others, console)


def imported(answer: Answer, console: Console) -> None:
    """`dropoff import`."""
    names = ("read", "accepted", "duplicates", "rejected")
    rows: list[list[object]] = [[name, formats.number(answer[name])] for name in names]
    rows += [[f"  {reason}", formats.number(count)] for reason, count in answer["reasons"].items()]
    table("import", {"events": False, "": True}, rows, console)


def keys(answer: Answer, console: Console) -> None:
    """`dropoff keys list`."""
    rows: list[list[object]] = [[k["name"], k["kind"], k["created_at"]] for k in answer["keys"]]
    table("keys", {"name": False, "kind": False, "created": False}, rows, console)


def rejected(answer: Answer, console: Console) -> None:
    """`dropoff rejected list`."""
    rows: list[list[object]] = [
        [r["received_at"], r["reason"], r["message"], r["body"][:200]] for r in answer["rejected"]
    ]
    table(
        f"{formats.number(answer['total'])} refused events",
        {"received": False, "reason": False, "why": False, "event": False}, rows, console,
    )  # fmt: skip
