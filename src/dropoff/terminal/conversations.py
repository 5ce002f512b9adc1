"""Conversations in a terminal."""

from rich.console import Console
from rich.text import Text

from dropoff.dashboard import findings, formats
from dropoff.terminal.tables import Answer, head_line, plain, table


def conversations(answer: Answer, console: Console) -> None:
    """`dropoff conversations list`."""
    head_line(answer, console)
    names = ("id", "channel", "started_at", "stage", "outcome", "message_count")
    rows: list[list[object]] = [[c[name] for name in names] for c in answer["conversations"]]
    table(f"{formats.number(answer['total'])} conversations", dict.fromkeys(names, False), rows, console)
    said: list[list[object]] = [
        [c["id"], c["hit"]["position"], c["hit"]["sender"], c["hit"]["text"]]
        for c in answer["conversations"]
        if c.get("hit")
    ]
    if said:
        console.print()
        table("where it was said", {"id": False, "message": True, "who": False, "text": False}, said, console)
    if answer["next"]:
        console.print(Text(f"more: --after {answer['next']}", style="dim"))


def conversation(answer: Answer, console: Console) -> None:
    """`dropoff conversations show`."""
    facts: list[list[object]] = [
        [name, formats.plain(value)]
        for name, value in answer.items()
        if name not in ("messages", "events", "funnel", "neighbours") and value not in (None, [], {}, "")
    ]
    table("conversation", {"fact": False, "value": False}, facts, console)
    console.print()
    _standing(answer, console)
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
        [one["stage"], one["at"] or "implied", formats.duration(one["seconds"])]
        for one in answer["funnel"]["stages"]
        if one["reached"]
    ]
    table("stages", {"stage": False, "reached": False, "after the start": True}, reached, console)
    console.print(Text(findings.next_step(answer), style="dim"))
    console.print()
    alike: list[list[object]] = [
        [name, one["id"], len(one["shared"]), one["channel"], one["started_at"], one["outcome"]]
        for name, one in answer["neighbours"].items()
        if one is not None
    ]
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
