"""The three dashboards in a terminal."""

from rich.console import Console
from rich.text import Text

from dropoff.phrases import advice, findings, formats, health, running, utterances, verdicts
from dropoff.terminal.funnels import drop_off_table
from dropoff.terminal.metrics import annotations, measured
from dropoff.terminal.tables import ROWS, Answer, head_line, plain, rate, sayings, table


def executive(answer: Answer, console: Console) -> None:
    """`dropoff executive`."""
    head_line(answer, console)
    zone = answer["period"]["timezone"]
    for row in answer["metrics"]:
        currency = f", {plain(row['currency'])}" if row.get("currency") else ""
        said = ", ".join(str(text) for text in measured(row)[1:] if text not in ("", "–"))
        head = f"{row['metric']}{currency}: {formats.measure(row)}"
        console.print(Text(plain(f"{head} ({said})" if said else head), style="bold"))
        young = [formats.matured_first(row)] if row["immature"] and row.get("matured") else []
        young += [f"projected {formats.projected(row)}"] if row["immature"] and row.get("projected") else []
        target = [f"target: {verdicts.of_target(row)}"] if row["target"] else []
        for text in (*young, *target, verdicts.of_previous(row)):
            console.print(Text(plain(f"  {text}")))
    console.print()
    console.print(Text("what changed", style="bold"))
    for one in answer["changes"]:
        causes = "; ".join(verdicts.of_cause(cause, one) for cause in one["causes"])
        said = (
            verdicts.of_change(one, zone),
            verdicts.of_day(one, answer["interval"], zone),
            verdicts.why(one),
            causes,
        )
        console.print(Text(plain(" ".join(text for text in said if text))))
    if not answer["changes"]:
        console.print(Text(verdicts.nothing(answer)))
    annotations(answer["annotations"], zone, console)


def optimization(answer: Answer, console: Console) -> None:
    """`dropoff optimization`."""
    head_line(answer, console)
    console.print(Text(plain(answer["definition"]["text"]), style="dim"))
    rank, goal = answer["messages"], answer["definition"]["goal"]
    sayings("experiments", list(map(advice.of_experiment, answer["experiments"])), console)
    for title in ("best_messages", "worst_messages"):
        said = [utterances.sentence(row, rank, 80) for row in answer[title][:3]]
        sayings(title.replace("_", " "), said, console)
    if answer["worked_out"] is None:
        console.print(Text("what takes longer is not worked out yet: --work all", style="dim"))
        return
    lost = [
        text for row in answer["drop_offs"]
        for text in (advice.of_drop_off(row), *(f"  {advice.of_said(one)}" for one in row["messages"]))
    ]  # fmt: skip
    sayings("where conversations are lost", lost, console)
    sayings("segments that differ", list(map(advice.of_segment, answer["segments"])), console)
    sayings("where ways part", [findings.of_point(row, goal) for row in answer["divergence_points"][:3]], console)
    for name in ("successful", "failed"):
        patterns = [findings.of_pattern(row, goal) for row in answer["patterns"][name][:2]]
        sayings(f"patterns of {name} conversations", patterns, console)
    answers = [
        advice.of_answer(one["objection"], row)
        for one in answer["objections"] for row in one["answers"] if row["q_value"] is not None
    ]  # fmt: skip
    sayings("answers to objections", answers, console)
    console.print(Text(findings.HONEST, style="dim"))
    _tests(answer["next_tests"], goal, answer["definition"]["longest_weeks"], console)


def _tests(tests: list[Answer], goal: str, longest: int, console: Console) -> None:
    sizes = {name: [row for row in tests if row["reason"] == name] for name in ("worth_it", "too_small")}
    worth = [f"{advice.of_test(row)}. {advice.of_size(row, goal)}." for row in sizes["worth_it"]]
    sayings("what to test next", worth, console)
    small = list(map(advice.of_small, sizes["too_small"]))
    if small:
        sayings(f"too small to be found within {longest} weeks", small, console)


def operations(answer: Answer, console: Console) -> None:
    """`dropoff operations`."""
    head_line(answer, console)
    odd = [f"{part.name}, {text}" for part, text in running.parts_said(answer)]
    table("what stands out", {"": False}, [[text] for text in odd or ["nothing"]], console)
    console.print()
    drop_off_table("drop-offs", answer["funnel"], console)
    console.print()
    rates: list[list[object]] = [[part.name, *measured(answer[part.key]["rate"])] for part in running.PARTS]
    table("rates", {"rate": False, "value": True, "95 %": False, "of": True, "": False}, rows=rates, console=console)
    for part in running.PARTS:
        for name, heading, _ in part.lists:
            rows: list[list[object]] = [
                [running.value_of(row), formats.number(row["count"]), rate(row["share"]),
                 formats.number(row["conversations"])]
                for row in answer[part.key][name][:ROWS]
            ]  # fmt: skip
            console.print()
            columns = {heading.lower(): False, "times": True, "share": False, "conversations": True}
            table(f"{part.name.lower()}: {heading.lower()}", columns, rows, console)
    _response_times(answer["response_times"], answer, console)
    console.print()
    _health(answer, console)


def _health(answer: Answer, console: Console) -> None:
    rows: list[list[object]] = [[line.name, line.value, line.meaning] for line in health.lines(answer, {})]
    table("data health", {"": False, " ": True, "meaning": False}, rows, console)


def doctor(answer: Answer, console: Console) -> None:
    """`dropoff doctor`."""
    below = ("lag_events", "lag_seconds") if "health" in answer else ()
    said: list[list[object]] = [
        [name.replace("_", " "), formats.plain(value)]
        for name, value in answer["server"].items()
        if name not in ("run", *below)
    ]
    table("server", {"": False, " ": False}, said, console)
    if "health" in answer:
        console.print()
        head_line(answer, console)
        _health(answer, console)


def _response_times(times: Answer, answer: Answer, console: Console) -> None:
    console.print()
    quantiles = ", ".join(f"{name} {formats.duration(times[name])}" for name in ("median", "p90", "p99"))
    console.print(Text(f"response times: {quantiles} (n = {formats.number(times['n'])})"))
    rows: list[list[object]] = [[one.name, formats.number(one.n)] for one in running.bins(answer)]
    table("", {"took": False, "answers": True}, rows, console)
