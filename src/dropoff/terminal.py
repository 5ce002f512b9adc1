"""Answers as readable tables. Text from events is shown, never interpreted: no markup, no escape sequence."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropoff.dashboard import advice, findings, formats, health, verdicts, words
from dropoff.dashboard import operations as operating
from dropoff.dashboard.formats import visible

Answer = Mapping[str, Any]


def plain(value: object) -> str:
    """Any value as inert text: control characters become visible symbols."""
    return "–" if value is None else visible(value)


def table(title: str, columns: Mapping[str, bool], rows: list[list[object]], console: Console) -> None:
    """Print a table; `columns` says which are right-aligned."""
    heading = Text(title, style="bold")
    shown = Table(title=heading, title_justify="left", title_style="", header_style="dim", box=None, pad_edge=False)
    first = min(max((len(plain(row[0])) for row in rows), default=0), 26)  # a name is cut last of all
    for name, right in columns.items():
        shown.add_column(
            Text(name), justify="right" if right else "left", overflow="fold",
            min_width=None if shown.columns else first,
        )  # fmt: skip
    for row in rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    console.print(shown)


def _head(answer: Answer, console: Console) -> None:
    period = answer["period"]
    zone = period["timezone"]
    text = f"{formats.day(period['from'], zone)} – {formats.last_day(period['to'], zone)} ({zone})"
    console.print(Text(text, style="dim"))
    if answer.get("test_conversations"):
        count = formats.number(answer["test_conversations"])
        console.print(Text(f"{count} test conversations, left out unless --include-test", style="dim"))


def rate(number: Mapping[str, Any]) -> str:
    """A rate with its interval, or how little there is to say."""
    if number["value"] is None:
        return "–"
    text = formats.percent(number["value"])
    if number["interval"] is None:
        return text
    small = " not enough data" if formats.is_small(number["denominator"]) else ""
    return f"{text} [{formats.interval(number['interval'])}]{small}"


def interval(drop: Mapping[str, Any]) -> str:
    """The interval of a drop-off; nothing where there is none."""
    return formats.interval(drop["interval"]) if drop["interval"] else ""


def funnel(answer: Answer, console: Console) -> None:
    """`dropoff funnel`."""
    _head(answer, console)
    name = f"{answer['definition']['name']} funnel"
    for value, part in answer.get("segments", {"": answer}).items():
        _funnel(f"{name} · {answer['by']} = {plain(value)}" if "by" in answer else name, part, console)
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
    _annotations(answer["trend"]["annotations"], zone, console)


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
    _drop_offs("drop-offs", part, console)


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
    _head(answer, console)
    for value, part in answer.get("segments", {"": answer}).items():
        _drop_offs(f"drop-offs · {plain(value)}" if value else "drop-offs", part, console)
    for drop in answer["drop_offs"]:
        if drop["explanation"] is not None:
            _explained(drop, drop["explanation"], console)


_ROWS = 5  # of each table of an explanation: the page and --json have them all


def _explained(drop: Answer, why: Answer, console: Console) -> None:
    counts = [f"{formats.number(why[name])} {words.LOST[name]}" for name in ("lost", "went_on", "silent")]
    console.print()
    console.print(Text(f"{plain(drop['from'])} → {plain(drop['to'])}: {', '.join(counts)}", style="bold"))
    said: list[list[object]] = [
        [m["intent"], formats.number(m["silent"]), formats.percent(m["share"]["value"]), rate(m["silence_rate"]),
         formats.signed(m["excess"], 0), m["example"] or ""]
        for m in why["messages"][:_ROWS]
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
    table(
        "segments that lose more than the rest", {"": False, "lost": False, "excess": True}, segments[:_ROWS], console
    )


def _drop_offs(title: str, part: Answer, console: Console) -> None:
    rows: list[list[object]] = [
        [
            f"{d['from']} → {d['to']}", formats.percent(d["drop_rate"]), interval(d), formats.number(d["volume_lost"]),
            *(formats.percent(d[age]["value"]) if d[age] else "–" for age in ("matured", "projected")),
        ]
        for d in part["drop_offs"]
    ]  # fmt: skip
    columns = {"between": False, "drop rate": True, "95 %": False, "lost": True, "matured": True, "projected": True}
    table(title, columns, rows, console)


def metrics(answer: Answer, console: Console) -> None:
    """`dropoff metrics`."""
    _head(answer, console)
    by = answer["definition"]["by"]
    if answer["definition"]["overlapping"]:
        console.print(Text(f"a conversation stands under each of its values of {by}", style="dim"))
    split = {by: False} if by else {}
    columns = {"metric": False, **split, "value": True, "95 %": False, "of": True, "": False}
    rows: list[list[object]] = [
        [m["metric"], *([m["segment"]] if by else []), *_measured(m)] for m in answer["metrics"]
    ]  # fmt: skip
    table("metrics", columns, rows, console)


def _measured(row: Answer) -> list[object]:
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
    _head(answer, console)
    zone, interval = answer["period"]["timezone"], answer["interval"]
    split = any(point["segment"] for point in answer["points"])
    columns = {"from": False, **({"segment": False} if split else {})}
    columns |= {"value": True, "95 %": False, "of": True, "": False}
    rows: list[list[object]] = [
        [formats.bucket(p["from"], interval, zone), *([p["segment"]] if split else []), *_measured(p)]
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
    _annotations(answer["annotations"], zone, console)


def _annotations(found: list[Answer], zone: str, console: Console) -> None:
    for one in found:
        console.print(Text(plain(f"{formats.instant(one['at'], zone)}: {one['text']}")))


def executive(answer: Answer, console: Console) -> None:
    """`dropoff executive`."""
    _head(answer, console)
    zone = answer["period"]["timezone"]
    for row in answer["metrics"]:
        currency = f", {plain(row['currency'])}" if row.get("currency") else ""
        said = ", ".join(str(text) for text in _measured(row)[1:] if text not in ("", "–"))
        head = f"{row['metric']}{currency}: {formats.measure(row)}"
        console.print(Text(plain(f"{head} ({said})" if said else head), style="bold"))
        young = [f"matured {formats.matured(row)}"] if row["immature"] and row.get("matured") else []
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
    _annotations(answer["annotations"], zone, console)


def cohorts(answer: Answer, console: Console) -> None:
    """`dropoff cohorts`."""
    _head(answer, console)
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


def segments(answer: Answer, console: Console) -> None:
    """`dropoff segments`."""
    _head(answer, console)
    for note in answer["notes"]:
        console.print(Text(note, style="dim"))
    best = answer["best_performing"]
    rows: list[list[object]] = [
        [
            one["segment"], formats.measure(one), formats.bounds(one), formats.number(one["sample_size"]),
            formats.number(one["clusters"]), formats.number(one["conversations"]),
            formats.standing(one, best=one["segment"] == best),
        ]
        for one in answer["segments"]
    ]  # fmt: skip
    columns = {"segment": False, "value": True, "95 %": False, "n": True, "contacts": True, "conversations": True}
    by = answer["definition"]["by"]
    table(f"{answer['metric']} by {by}" if by else answer["metric"], columns | {"": False}, rows, console)
    console.print()
    for one in answer["significant_differences"][:_MOVES]:
        console.print(Text(plain(formats.differs(one, answer["definition"]["unit"]))))
    if (more := len(answer["significant_differences"]) - _MOVES) > 0:
        console.print(Text(f"and {more} more: --json has them all"))
    if not answer["significant_differences"]:
        console.print(Text(f"no significant difference ({formats.number(answer['tested'])} pairs tested)"))
    for one in answer["tendencies"]:
        console.print(Text(plain(f"{one['a']} tends to be larger than {one['b']} (q = {one['q_value']:.2g})")))
    if "compare" in answer:
        _periods(answer, console)
        _moved("segments in both periods", answer["compare"]["segments"], answer, console)


def patterns(answer: Answer, console: Console) -> None:
    """`dropoff patterns`."""
    _head(answer, console)
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
        for one in found[:_MOVES]:
            console.print(Text(plain(said(one))))
        if not found:
            console.print(Text("none is confirmed: what differs may be chance"))
    rows: list[list[object]] = [
        [one["objection"], formats.number(one["conversations"]), findings.step(row["answer"]), rate(row["alive"]),
         rate(row["won"])]
        for one in answer["objections"] for row in one["answers"][:3]
    ]  # fmt: skip
    console.print()
    columns = {"objection": False, "conversations": True, "answer": False, "went on": True, "won": True}
    table("objections and their answers", columns, rows, console)
    ends: list[list[object]] = [
        [findings.step(one["step"]), formats.number(one["conversations"]), formats.percent(one["share"]["value"])]
        for one in answer["common_drop_points"][:_MOVES]
    ]
    console.print()
    table("last step of failed conversations", {"step": False, "conversations": True, "share": True}, ends, console)
    console.print(Text(findings.HONEST, style="dim"))


def optimization(answer: Answer, console: Console) -> None:
    """`dropoff optimization`."""
    _head(answer, console)
    console.print(Text(answer["definition"]["text"], style="dim"))
    rank, goal = answer["messages"], answer["definition"]["goal"]
    _sayings("experiments", list(map(advice.of_experiment, answer["experiments"])), console)
    for title in ("best_messages", "worst_messages"):
        said = [
            f"{formats.message_name(row, 80)} ({formats.message_place(row)}): {formats.message_said(row, rank)}"
            for row in answer[title][:3]
        ]
        _sayings(title.replace("_", " "), said, console)
    if answer["worked_out"] is None:
        console.print(Text("what takes longer is not worked out yet: --work all", style="dim"))
        return
    lost = [
        text for row in answer["drop_offs"]
        for text in (advice.of_drop_off(row), *(f"  {advice.of_said(one)}" for one in row["messages"]))
    ]  # fmt: skip
    _sayings("where conversations are lost", lost, console)
    _sayings("segments that differ", list(map(advice.of_segment, answer["segments"])), console)
    _sayings("where ways part", list(map(findings.of_point, answer["divergence_points"][:3])), console)
    for name in ("successful", "failed"):
        patterns = list(map(findings.of_pattern, answer["patterns"][name][:2]))
        _sayings(f"patterns of {name} conversations", patterns, console)
    answers = [
        advice.of_answer(one["objection"], row)
        for one in answer["objections"] for row in one["answers"] if row["q_value"] is not None
    ]  # fmt: skip
    _sayings("answers to objections", answers, console)
    console.print(Text(findings.HONEST, style="dim"))
    _tests(answer["next_tests"], goal, answer["definition"]["longest_weeks"], console)


def _tests(tests: list[Answer], goal: str, longest: int, console: Console) -> None:
    sizes = {name: [row for row in tests if row["reason"] == name] for name in ("worth_it", "too_small")}
    worth = [f"{advice.of_test(row)}. {advice.of_size(row, goal)}." for row in sizes["worth_it"]]
    _sayings("what to test next", worth, console)
    small = [f"{advice.of_test(row)}: {formats.number(row['weeks'])} weeks" for row in sizes["too_small"]]
    if small:
        _sayings(f"too small to be found within {longest} weeks", small, console)


def _sayings(title: str, said: list[str], console: Console) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    for text in said or ["none"]:
        console.print(Text(plain(text)))


@contextmanager
def progress(text: str, *, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar on the error output, where that is a terminal: what is given is told which part is done."""
    from rich.progress import Progress

    console = Console(stderr=True, quiet=quiet)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(text, total=1.0)
        yield lambda part: bar.update(task, completed=part)


def explain(answer: Answer, console: Console) -> None:
    """`dropoff explain`."""
    _head(answer, console)
    _periods(answer, console)
    _moved("with the change", answer["segments"][:_MOVES], answer, console)
    if answer["offsetting"]:
        _moved("against it", answer["offsetting"][:_MOVES], answer, console)


_MOVES = 12  # of each table: --json has more


def _periods(answer: Answer, console: Console) -> None:
    both, unit = answer["compare"], answer["definition"]["unit"]
    zone = both["period"]["timezone"]
    console.print()
    before = f"{formats.day(both['period']['from'], zone)} – {formats.last_day(both['period']['to'], zone)}"
    values = [formats.measure(both[side] | {"unit": unit}) for side in ("now", "before")]
    console.print(Text(f"{values[0]}, before ({before}) {values[1]}: {formats.change(both, unit)}"))
    for text in formats.how_old(both):
        console.print(Text(text, style="dim"))


def _moved(title: str, moves: list[Answer], answer: Answer, console: Console) -> None:
    unit = answer["definition"]["unit"]
    console.print()
    rows: list[list[object]] = [
        [
            f"{one['dimension']} = {plain(one['segment'])}" if one["dimension"] else one["segment"],
            formats.measure(one["now"] | {"unit": unit}), formats.measure(one["before"] | {"unit": unit}),
            formats.moved(one["rate_effect"], unit), formats.moved(one["mix_effect"], unit),
            formats.moved(one["contribution"], unit), formats.span(one["interval"], unit),
            "not enough data" if not one["enough"] else "" if one["q_value"] is None else f"q = {one['q_value']:.2g}",
        ]
        for one in moves
    ]  # fmt: skip
    columns = {"segment": False, "now": True, "before": True, "by rate": True, "by mix": True, "together": True}
    table(title, columns | {"95 %": False, "": False}, rows, console)


def operations(answer: Answer, console: Console) -> None:
    """`dropoff operations`."""
    _head(answer, console)
    odd = [f"{part.name}, {text}" for part, text in operating.parts_said(answer)]
    table("what stands out", {"": False}, [[text] for text in odd or ["nothing"]], console)
    console.print()
    _drop_offs("drop-offs", answer["funnel"], console)
    console.print()
    rates: list[list[object]] = [[part.name, *_measured(answer[part.key]["rate"])] for part in operating.PARTS]
    table("rates", {"rate": False, "value": True, "95 %": False, "of": True, "": False}, rows=rates, console=console)
    for part in operating.PARTS:
        for name, heading, _ in part.lists:
            rows: list[list[object]] = [
                [operating.value_of(row), formats.number(row["count"]), rate(row["share"]),
                 formats.number(row["conversations"])]
                for row in answer[part.key][name][:_ROWS]
            ]  # fmt: skip
            console.print()
            columns = {heading.lower(): False, "times": True, "share": False, "conversations": True}
            table(part.name.lower(), columns, rows, console)
    _response_times(answer["response_times"], answer, console)
    rows = [[line.name, line.value, line.meaning] for line in health.lines(answer, {})]
    console.print()
    table("data health", {"": False, " ": True, "meaning": False}, rows, console)


def _response_times(times: Answer, answer: Answer, console: Console) -> None:
    console.print()
    quantiles = ", ".join(f"{name} {formats.duration(times[name])}" for name in ("median", "p90", "p99"))
    console.print(Text(f"response times: {quantiles} (n = {formats.number(times['n'])})"))
    rows: list[list[object]] = [[one.name, formats.number(one.n)] for one in operating.bins(answer)]
    table("", {"took": False, "answers": True}, rows, console)


def messages(answer: Answer, console: Console) -> None:
    """`dropoff messages`."""
    _head(answer, console)
    definition = answer["definition"]
    rank = definition["rank"]
    console.print(Text(definition["text"], style="dim"))
    for title, name in (("best", "best_performing"), ("worst", "worst_performing")):
        console.print()
        console.print(Text(title, style="bold"))
        for row in answer[name]:
            said = f"{formats.message_name(row, 80)} ({formats.message_place(row)}): "
            console.print(Text(plain(said + formats.message_said(row, definition))))
        if not answer[name]:
            console.print(Text("none: too few messages to compare, or they do alike", style="dim"))
    rows: list[list[object]] = [
        [
            formats.message_name(row, 60), row["position"], formats.number(row["n"]),
            *(formats.of_message(row, one) for one in formats.MEASURES), formats.message_verdict(row),
        ]
        for row in answer["messages"][:_MESSAGES]
    ]  # fmt: skip
    console.print()
    columns = {
        "message": False,
        "position": True,
        "n": True,
        **{one.replace("_", " "): True for one in formats.MEASURES},
    }
    table(
        f"{formats.number(answer['total'])} messages", columns | {f"by {rank.replace('_', ' ')}": False}, rows, console
    )
    if answer["total"] > _MESSAGES:
        console.print(Text("the most frequent ones: --json has more", style="dim"))


_MESSAGES = 25


def experiments(answer: Answer, console: Console) -> None:
    """`dropoff experiments`."""
    _head(answer, console)
    console.print(Text(plain(answer["definition"]["text"]), style="dim"))
    if not answer["experiments"]:
        console.print(Text("no experiment: nobody was exposed to a variant in this period"))
    for trial in answer["experiments"]:
        _experiment(trial, console)


def _experiment(trial: Answer, console: Console) -> None:
    console.print()
    verdict = trial["decision"] or "observational comparison"
    console.print(
        Text(f"{plain(trial['experiment'])}: {verdict} {plain(trial['variant'] or '')}".rstrip(), style="bold")
    )
    console.print(Text(plain(trial["reason"])))
    arms: list[list[object]] = [
        [metric, arm["variant"], *formats.in_arm(found, metric), formats.number(found["n"]), formats.number(young)]
        for metric in (trial["arms"][0]["metrics"] if trial["arms"] else ())
        for arm in trial["arms"]
        for found in [arm["metrics"][metric]]
        for young in [found["immature"]]
    ]
    columns = {"per exposed unit": False, "variant": False, "": True, "95 %": False, "units": True, "young": True}
    table("arms", columns, arms, console)
    compared: list[list[object]] = [
        [
            row["metric"], f"{plain(row['a'])} − {plain(row['b'])}", formats.apart(row["difference"], row["metric"]),
            formats.apart_interval(row["interval"], row["metric"]), formats.chance(row["q_value"]), row["verdict"],
        ]
        for row in (*trial["comparisons"], *trial["guardrails"])
    ]  # fmt: skip
    columns = {"per exposed unit": False, "difference": False, "": True, "95 %": False, "q": True, " ": False}
    table("differences", columns, compared, console)
    ratio, mixed = trial["sample_ratio"], trial["mixed_exposure"]
    said = [
        f"sample ratio: p = {formats.chance(ratio['p_value'])} ({'as intended' if ratio['ok'] else 'NOT as intended'})"
    ]
    said.append(f"exposed to more than one variant: {formats.percent(mixed['share'])}")
    if trial["covariate"]:
        said.append(f"adjusted for {trial['covariate']}")
    console.print(Text("; ".join(said), style="dim"))


def plan(answer: Answer, console: Console) -> None:
    """`dropoff experiments plan`."""
    rows: list[list[object]] = [
        ["from", formats.percent(answer["base"])],
        ["to", formats.percent(answer["base"] + answer["effect"])],
        ["found with a chance of", formats.percent(answer["power"], 0)],
        ["units in each arm", formats.number(answer["units_per_arm"])],
        ["units in all arms", formats.number(answer["units"])],
        ["days", formats.number(answer["days"])],
    ]
    table(f"{answer['arms']} arms, {answer['horizon']}", {"": False, " ": True}, rows, console)
    if answer["horizon"] == "sequential":
        console.print(Text(f"in dropoff.toml: planned = {answer['planned']}", style="dim"))


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
    _head(answer, console)
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


def conversations(answer: Answer, console: Console) -> None:
    """`dropoff conversations list`."""
    _head(answer, console)
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
    _head(answer, console)
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


def imported(answer: Answer, console: Console) -> None:
    """`dropoff import`."""
    names = ("read", "accepted", "duplicates", "rejected")
    counts = {name: answer[name] for name in names} | {f"  {reason}": n for reason, n in answer["reasons"].items()}
    rows: list[list[object]] = [[name, formats.number(count)] for name, count in counts.items()]
    table("import", {"events": False, "": True}, rows, console)


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
        console.print(Text(f"{formats.number(answer['later'])} events came later: the same command carries them, too"))
    if answer["dead"]:
        dead = formats.number(answer["dead"])
        console.print(Text(f"{dead} events could not be processed and stay here: dropoff dead replay, then copy again"))


_VERDICTS = {True: "equal", False: "DIFFERENT", None: "not compared: the source was still rolling up"}


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


def dead(answer: Answer, console: Console) -> None:
    """`dropoff dead list`."""
    rows: list[list[object]] = [[r["at"], r["reason"], r["body"][:200]] for r in answer["dead"]]
    title = f"{formats.number(answer['total'])} events that could not be processed"
    table(title, {"at": False, "why": False, "event": False}, rows, console)


def replayed(answer: Answer, console: Console) -> None:
    """`dropoff dead replay`."""
    console.print(Text(f"events replayed: {formats.number(answer['replayed'])} (dropoff dead list: what came back)"))


def query(answer: Answer, console: Console) -> None:
    """`dropoff query`."""
    rows: list[list[object]] = [[formats.plain(value) for value in row] for row in answer["rows"]]
    table("", dict.fromkeys(answer["columns"], False), rows, console)
    if answer["truncated"]:
        console.print(Text("there are more rows", style="dim"))


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


def filters(answer: Answer, console: Console) -> None:
    """`dropoff conversations filters`."""
    rows: list[list[object]] = [
        [one["name"], " ".join(f"{key}={text}" for key, texts in one["params"].items() for text in texts), one["by"]]
        for one in answer["filters"]
    ]
    table("saved filters", {"name": False, "filters": False, "by": False}, rows, console)
