"""Patterns, paths and flows in a terminal."""

from rich.console import Console
from rich.text import Text

from dropoff.phrases import findings, formats
from dropoff.terminal.tables import Answer, head_line, lines, plain, rate, table

_ROWS = 12  # of each table: --json has more


def patterns(answer: Answer, console: Console) -> None:
    """`dropoff patterns`."""
    head_line(answer, console)
    n = answer["conversations"]
    counts = (f"{name.replace('_', ' ')}: {formats.number(n[name])}" for name in ("successful", "failed", "left_out"))
    console.print(Text(", ".join(counts) + f"; tested: {formats.number(answer['tested'])}", style="dim"))
    groups = (
        ("where ways part", answer["divergence_points"], findings.of_point),
        ("patterns of successful conversations", answer["successful"], findings.of_pattern),
        ("patterns of failed conversations", answer["failed"], findings.of_pattern),
    )
    for title, found, said in groups:
        console.print()
        console.print(Text(title, style="bold"))
        for one in found[:_ROWS]:
            console.print(Text(plain(said(one, answer["definition"]["success"]))))
        if not found:
            console.print(Text("none is confirmed: what differs may be chance"))
    if findings.nothing_found(answer):
        for stage, n in findings.more_telling(answer).items():
            console.print(Text(f"more to tell: --success {stage} ({formats.counted(n, 'conversation')} came to it)"))
    rows: list[list[object]] = [
        [one["objection"], formats.number(one["conversations"]), findings.step(row["answer"]), rate(row["alive"]),
         rate(row["won"])]
        for one in answer["objections"] for row in one["answers"][:3]
    ]  # fmt: skip
    console.print()
    came = f"came to {answer['definition']['success']}"
    columns = {"objection": False, "conversations": True, "answer": False, "went on": True, came: True}
    table("objections and their answers", columns, rows, console)
    ends: list[list[object]] = [
        [findings.step(one["step"]), formats.number(one["conversations"]), formats.percent(one["share"]["value"])]
        for one in answer["common_drop_points"][:_ROWS]
    ]
    console.print()
    table("last step of failed conversations", {"step": False, "conversations": True, "share": True}, ends, console)
    _paths(answer, came, console)
    _flows(answer, console)
    console.print(Text(findings.HONEST, style="dim"))


def _paths(answer: Answer, came: str, console: Console) -> None:
    rows: list[list[object]] = [
        [formats.number(one["conversations"]), formats.percent(one["share"]["value"]), rate(one["rate"]),
         findings.path(one["path"])]
        for one in answer["common_paths"][:_ROWS]
    ]  # fmt: skip
    console.print()
    columns = {"conversations": True, "share": True, came: True, "path": False}
    table("most common paths", columns, rows, console)


def _flows(answer: Answer, console: Console) -> None:
    """The two groups side by side: what follows what, and at which step they are at each position."""
    console.print()
    console.print(Text(findings.compared(answer), style="bold"))
    a, b = answer["compared"]["a"], answer["compared"]["b"]
    moves: list[list[object]] = [[*one] for one in findings.transitions(answer)[:_ROWS]]
    names = ["step", "next", a, f"each of {a}", b, f"each of {b}", "difference"]
    lines("how often a step follows another", names, [False, False, *[True] * 5], moves, console)
    positions = findings.positions(answer)
    for title, rows in (
        (f"at each position, % of {a} / of {b}", findings.shares(answer)),
        (f"{a} − {b}, in percentage points", findings.differences(answer)),
    ):
        console.print()
        cells: list[list[object]] = [[step, *row] for step, row in rows[:_ROWS]]
        lines(title, ["step", *positions], [False, *[True] * len(positions)], cells, console)
