"""Conversations in a terminal."""

from rich.console import Console
from rich.text import Text

from dropoff.phrases import findings, formats
from dropoff.terminal.tables import Answer, head_line, plain, table, zone_line, zone_of


def conversations(answer: Answer, console: Console) -> None:
    """`dropoff conversations list`."""
    head_line(answer, console)
    names, zone = ("id", "channel", "started_at", "stage", "outcome", "message_count"), zone_of(answer)
    rows: list[list[object]] = [
        [formats.instant(c[name], zone) if name == "started_at" else c[name] for name in names]
        for c in answer["conversations"]
    ]
    table(formats.counted(answer["total"], "conversation"), dict.fromkeys(names, False), rows, console)
    said: list[list[object]] = [
        [c["id"], c["hit"]["position"], c["hit"]["sender"], c["hit"]["text"]]
        for c in answer["conversations"]
        if c.get("hit")
    ]
    if said:
        console.print()
        table("where it was said", {"id": False, "message": True, "who": False, "text": False}, said, console)
    if answer["next"]:
        console.print(Text(f"more: --after {answer['next']}", style="dim"), soft_wrap=True)


def conversation(answer: Answer, console: Console) -> None:
    """`dropoff conversations show`."""
    zone = zone_of(answer)
    zone_line(answer, console)
    facts: list[list[object]] = [
        [name, _fact(name, value, zone)] for name, value in answer.items()
        if name not in _OWN_TABLES and value not in (None, [], {}, "")
    ]  # fmt: skip
    table("conversation", {"fact": False, "value": False}, facts, console)
    console.print()
    _standing(answer, console)
    said: list[list[object]] = [
        [m["position"], formats.second(m["timestamp"], zone), m["sender"], m["intent"] or "", m["content"]]
        for m in answer["messages"]
    ]
    table("messages", {"": True, "time": False, "who": False, "intent": False, "text": False}, said, console)
    console.print()
    messages = ("message_sent", "message_received")
    others: list[list[object]] = [
        [formats.second(e["timestamp"], zone), e["event_type"], formats.plain(e["properties"])]
        for e in answer["events"]
        if e["event_type"] not in messages
    ]
    table("other events", {"time": False, "event": False, "properties": False}, others, console)


_OWN_TABLES = ("messages", "events", "funnel", "neighbours", "timezone")


def _fact(name: str, value: object, zone: str) -> str:
    if name.endswith("_at") and isinstance(value, str):
        return formats.second(value, zone)
    return formats.plain(round(value, 4) if isinstance(value, float) else value)


def sample(answer: Answer, console: Console) -> None:
    """`dropoff conversations sample`."""
    head_line(answer, console)
    console.print(Text(plain(answer["definition"]["text"]), style="dim"))
    zone = answer["period"]["timezone"]
    for name in ("failed", "successful"):
        group = answer[name]
        shown = f"{formats.number(len(group['conversations']))} of {formats.number(group['total'])}"
        console.print()
        console.print(Text(f"{name}: {shown}", style="bold"))
        for one in group["conversations"]:
            facts = (one["channel"] or "–", formats.instant(one["started_at"], zone), one["stage"], one["outcome"])
            console.print()
            console.print(Text(plain(f"{one['id']}  {', '.join(facts)}")))
            for line in one["lines"]:
                console.print(Text(plain(f"  {line['position']:>3} {line['sender']}: {line['content'] or ''}")))


def _standing(answer: Answer, console: Console) -> None:
    reached: list[list[object]] = [
        [
            one["stage"],
            formats.second(one["at"], zone_of(answer)) if one["at"] else "implied",
            formats.duration(one["seconds"]),
        ]
        for one in answer["funnel"]["stages"]
        if one["reached"]
    ]
    table("stages", {"stage": False, "reached": False, "after the start": True}, reached, console)
    console.print(Text(findings.next_step(answer), style="dim"))
    console.print()
    alike: list[list[object]] = [
        [name, one["id"], len(one["shared"]), one["channel"], formats.second(one["started_at"], zone_of(answer)),
         one["outcome"]]
        for name, one in answer["neighbours"].items()
        if one is not None
    ]  # fmt: skip
    columns = {"": False, "id": False, "steps in common": True, "channel": False, "started": False, "outcome": False}
    table("most alike", columns, alike, console)
    console.print()


def filters(answer: Answer, console: Console) -> None:
    """`dropoff conversations filters`."""
    rows: list[list[object]] = [
        [one["name"], " ".join(f"{key}={text}" for key, texts in one["params"].items() for text in texts), one["by"]]
        for one in answer["filters"]
    ]
    table("saved filters", {"name": False, "filters": False, "by": False}, rows, console)
