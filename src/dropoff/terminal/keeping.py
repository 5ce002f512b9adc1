"""What became of imports, copies, keys and refused events, in a terminal."""

from rich.console import Console
from rich.text import Text

from dropoff.phrases import formats
from dropoff.terminal.tables import Answer, lines, plain, table, zone_line, zone_of


def imported(answer: Answer, console: Console) -> None:
    """`dropoff import`."""
    names = ("read", "accepted", "duplicates", "rejected")
    counts = {name: answer[name] for name in names} | {f"  {reason}": n for reason, n in answer["reasons"].items()}
    rows: list[list[object]] = [[name, formats.number(count)] for name, count in counts.items()]
    table("import", {"events": False, "": True}, rows, console)


def retried(answer: Answer, console: Console) -> None:
    """`dropoff rejected replay`. What would be refused again is not even sent: it is no part of what was read."""
    counts = {
        "tried": answer["read"] + answer["kept"], "accepted": answer["accepted"], "duplicates": answer["duplicates"],
        "still refused": answer["rejected"] + answer["kept"],
    }  # fmt: skip
    rows: list[list[object]] = [[name, formats.number(count)] for name, count in counts.items()]
    table("replay of refused events", {"events": False, "": True}, rows, console)


def enriched(answer: Answer, console: Console) -> None:
    """`dropoff enrich`."""
    names = ("messages", "labelled", "replaced", "unchanged", "left", "unknown")
    counts = {name: answer[name] for name in names} | {f"  {name}": n for name, n in answer["intents"].items()}
    rows: list[list[object]] = [[name, formats.number(count)] for name, count in counts.items()]
    what = "a dry run" if answer["dry_run"] else "messages"
    table("labels", {what: False, plain(answer["labeller"]): True}, rows, console)


def exported(answer: Answer, console: Console) -> None:
    """`dropoff export`."""
    rows: list[list[object]] = [
        [name, formats.number(one["rows"]), formats.number(one["bytes"])] for name, one in answer["tables"].items()
    ]
    table("export", {"table": False, "rows": True, "bytes": True}, rows, console)


def copied(answer: Answer, console: Console) -> None:
    """`dropoff copy`."""
    rows: list[list[object]] = [
        [one["table"], *(formats.number(one[side]["rows"]) for side in ("source", "target")), _VERDICTS[one["equal"]]]
        for one in answer["tables"]
    ]
    table("copy", {"table": False, "source": True, "target": True, "": False}, rows, console)
    for name, count in answer["carried"].items():
        console.print(Text(f"{name} carried: {formats.number(count)}"))
    if answer["later"]:
        later = formats.counted(answer["later"], "event")
        console.print(Text(f"{later} came later: the same command carries what came, too"))
    if answer["dead"]:
        dead = formats.counted(answer["dead"], "event")
        console.print(Text(f"{dead} could not be processed and stay here: dropoff dead replay, then copy again"))


_VERDICTS = {True: "equal", False: "DIFFERENT", None: "not compared: the source was still rolling up"}


def keys(answer: Answer, console: Console) -> None:
    """`dropoff keys list`."""
    zone_line(answer, console)
    rows: list[list[object]] = [
        [k["name"], k["kind"], formats.second(k["created_at"], zone_of(answer))] for k in answer["keys"]
    ]
    table("keys", {"name": False, "kind": False, "created": False}, rows, console)


def rejected(answer: Answer, console: Console) -> None:
    """`dropoff rejected list`."""
    zone_line(answer, console)
    rows: list[list[object]] = [
        [formats.second(r["received_at"], zone_of(answer)), r["reason"], r["message"], r["body"][:200]]
        for r in answer["rejected"]
    ]
    table(
        formats.counted(answer["total"], "refused event"),
        {"received": False, "reason": False, "why": False, "event": False}, rows, console,
    )  # fmt: skip


def dead(answer: Answer, console: Console) -> None:
    """`dropoff dead list`."""
    zone_line(answer, console)
    rows: list[list[object]] = [
        [formats.second(r["at"], zone_of(answer)), r["reason"], r["body"][:200]] for r in answer["dead"]
    ]
    title = formats.counted(answer["total"], "event") + " that could not be processed"
    table(title, {"at": False, "why": False, "event": False}, rows, console)


def replayed(answer: Answer, console: Console) -> None:
    """`dropoff dead replay`."""
    console.print(Text(f"events replayed: {formats.number(answer['replayed'])} (dropoff dead list: what came back)"))


def query(answer: Answer, console: Console) -> None:
    """`dropoff query`."""
    rows: list[list[object]] = [[_own(value) for value in row] for row in answer["rows"]]
    lines("", answer["columns"], [False] * len(answer["columns"]), rows, console)
    if answer["truncated"]:
        console.print(Text("there are more rows", style="dim"))


def _own(value: object) -> str:
    """A number as it is: it may be an id, and is often copied."""
    match value:
        case int() | float() if not isinstance(value, bool):
            return str(value).removesuffix(".0")
        case [_, *_]:
            return ", ".join(_own(item) for item in value)
        case dict() if value:
            return ", ".join(f"{plain(name)}: {_own(item)}" for name, item in value.items())
    return formats.plain(value)
