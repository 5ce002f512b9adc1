"""Metrics and trends in a terminal."""

from rich.console import Console
from rich.text import Text

from dropoff.phrases import formats, words
from dropoff.terminal.tables import Answer, head_line, plain, table


def metrics(answer: Answer, console: Console) -> None:
    """`dropoff metrics`."""
    head_line(answer, console)
    by = answer["definition"]["by"]
    overlapping(answer["definition"], console)
    split = {by: False} if by else {}
    columns = {"metric": False, **split, "value": True, "95 %": False, "of": True, "": False}
    rows: list[list[object]] = [
        [m["metric"], *([m["segment"]] if by else []), *measured(m)] for m in answer["metrics"]
    ]  # fmt: skip
    table("metrics", columns, rows, console)


def overlapping(definition: Answer, console: Console) -> None:
    """Said where a conversation can stand in several segments, so that they do not add up to the whole."""
    if definition.get("overlapping"):
        console.print(Text(plain(words.OVERLAPPING.format(definition["by"])), style="dim"))


def measured(row: Answer) -> list[object]:
    """Value, interval, what it is made of, and a warning."""
    interval = formats.interval(row["interval"]) if row["interval"] else ""
    return [formats.measure(row), interval, formats.basis(row), formats.remarks(row)]


def _value(row: Answer) -> list[str]:
    return [formats.measure(row), *([formats.basis(row)] if formats.sample(row) is not None else [])]


def definitions(answer: Answer, console: Console) -> None:
    """`dropoff metrics --definitions`."""
    names = ("metric", "unit", "clock", "good", "description")
    rows: list[list[object]] = [[m[name] for name in names] for m in answer["metrics"]]
    table("metrics", dict.fromkeys(names, False), rows, console)


def trend(answer: Answer, console: Console) -> None:
    """`dropoff trend`."""
    head_line(answer, console)
    overlapping(answer["definition"], console)
    zone, interval = answer["period"]["timezone"], answer["interval"]
    split = any(point["segment"] for point in answer["points"])
    columns = {"from": False, **({"segment": False} if split else {})}
    columns |= {"value": True, "95 %": False, "of": True, "": False}
    rows: list[list[object]] = [
        [formats.bucket(p["from"], interval, zone), *([p["segment"]] if split else []), *measured(p)]
        for p in answer["points"]
    ]  # fmt: skip
    table(f"{answer['definition']['metric']} by {interval}", columns, rows, console)
    console.print()
    for name, total in (("whole period", answer["total"]), ("period before", answer["previous"]["total"])):
        said = [", ".join(_value(row)) for row in total if not split]
        if said:
            console.print(Text(plain(f"{name}: {'; '.join(said)}")))
    for one in answer["labellers"]:
        text = f"{formats.instant(one['at'], zone)}: labels by {one['label_source']}, not comparable with those before"
        console.print(Text(plain(text)))
    for deploy in answer["deploys"]:
        console.print(Text(plain(f"{formats.instant(deploy['at'], zone)}: version {deploy['bot_version']}")))
    annotations(answer["annotations"], zone, console)


def annotations(found: list[Answer], zone: str, console: Console) -> None:
    for one in found:
        console.print(Text(plain(f"{formats.instant(one['at'], zone)}: {one['text']}")))
