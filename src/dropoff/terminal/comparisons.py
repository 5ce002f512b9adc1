"""Segments, periods, messages and experiments in a terminal."""

from rich.console import Console
from rich.text import Text

from dropoff.phrases import differences, formats, utterances
from dropoff.terminal.tables import Answer, head_line, lines, plain, table


def segments(answer: Answer, console: Console) -> None:
    """`dropoff segments`."""
    head_line(answer, console)
    for note in answer["notes"]:
        console.print(Text(plain(note), style="dim"))
    if not answer["segments"]:
        console.print(Text("no conversation in this period fits the filters"))
        return
    best = answer["best_performing"]
    rows: list[list[object]] = [
        [
            one["segment"], formats.measure(one), formats.bounds(one), formats.number(one["sample_size"]),
            formats.number(one["clusters"]), formats.number(one["conversations"]),
            differences.standing(one, best=one["segment"] == best),
        ]
        for one in answer["segments"]
    ]  # fmt: skip
    columns = {"segment": False, "value": True, "95 %": False, "n": True, "contacts": True, "conversations": True}
    by = answer["definition"]["by"]
    table(f"{answer['metric']} by {by}" if by else answer["metric"], columns | {"": False}, rows, console)
    if remark := differences.of_best(answer):
        console.print(Text(plain(f"best: {best}. {remark}")))
    console.print()
    for one in answer["significant_differences"][:_MOVES]:
        console.print(Text(plain(differences.differs_or_mixes(one, answer["definition"]["unit"]))))
    if (more := len(answer["significant_differences"]) - _MOVES) > 0:
        console.print(Text(f"and {more} more: --json has them all"))
    if not answer["significant_differences"]:
        console.print(Text(f"no significant difference ({formats.counted(answer['tested'], 'pair')} tested)"))
    for one in answer["tendencies"]:
        console.print(Text(plain(f"{one['a']} tends to be larger than {one['b']} ({formats.sure(one['q_value'])})")))
    if "compare" in answer:
        _periods(answer, console)
        _moved("segments in both periods", answer["compare"]["segments"], answer, console)


def explain(answer: Answer, console: Console) -> None:
    """`dropoff explain`."""
    head_line(answer, console)
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
    values = [_in_period(both[side], unit) for side in ("now", "before")]
    console.print(Text(f"{values[0]}, before ({before}) {values[1]}: {differences.change(both, unit)}"))
    for text in differences.how_old(both):
        console.print(Text(text, style="dim"))


def _moved(title: str, moves: list[Answer], answer: Answer, console: Console) -> None:
    unit = answer["definition"]["unit"]
    console.print()
    rows: list[list[object]] = [
        [
            f"{one['dimension']} = {plain(one['segment'])}" if one["dimension"] else one["segment"],
            _in_period(one["now"], unit), _in_period(one["before"], unit),
            formats.moved(one["rate_effect"], unit), formats.moved(one["mix_effect"], unit),
            formats.moved(one["contribution"], unit), formats.span(one["interval"], unit),
            "not enough data" if not one["enough"] else "" if one["q_value"] is None else formats.sure(one["q_value"]),
        ]
        for one in moves
    ]  # fmt: skip
    columns = {"segment": False, "now": True, "before": True, "by rate": True, "by mix": True, "together": True}
    table(title, columns | {"95 %": False, "": False}, rows, console)


def _in_period(side: Answer, unit: str) -> str:
    return f"{formats.measure({**side, 'unit': unit})} ({differences.side_basis(side, unit)})"


def messages(answer: Answer, console: Console) -> None:
    """`dropoff messages`."""
    head_line(answer, console)
    definition = answer["definition"]
    rank, unit = definition["rank"], definition["unit"]
    others = [one for one in utterances.MEASURES if one != rank]
    console.print(Text(plain(definition["text"]), style="dim"))
    for title, name in (("best", "best_performing"), ("worst", "worst_performing")):
        console.print()
        console.print(Text(title, style="bold"))
        for row in answer[name]:
            console.print(Text(plain(utterances.sentence(row, definition, 80))))
        if not answer[name]:
            console.print(Text("none: too few messages to compare, or they do alike", style="dim"))
    rows: list[list[object]] = [
        [
            utterances.name(row, 40), row["position"], formats.number(row["n"]), utterances.measured(row, rank),
            utterances.interval(row, rank), utterances.old_enough(row, rank), utterances.shrunk(row, unit),
            *(_of(row, one) for one in others), utterances.verdict(row),
        ]
        for row in answer["messages"][:_MESSAGES]
    ]  # fmt: skip
    console.print()
    columns = {
        "message": False,
        "position": True,
        "sent": True,
        rank.replace("_", " "): True,
        "95 %": False,
        "of": True,
        "shrunk": True,
        **{one.replace("_", " "): True for one in others},
    }
    table(formats.counted(answer["total"], "message"), columns | {f"by {rank.replace('_', ' ')}": False}, rows, console)
    if answer["total"] > _MESSAGES:
        console.print(Text("the most frequent ones: --json has more", style="dim"))


def _of(row: Answer, measure: str) -> str:
    value = utterances.measured(row, measure)
    return value if value == formats.NONE else f"{value} of {utterances.old_enough(row, measure)}"


_MESSAGES = 25


def experiments(answer: Answer, console: Console) -> None:
    """`dropoff experiments`."""
    head_line(answer, console)
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
    _needed(trial, console)
    _steps(trial, console)
    _trust(trial, console)


def _needed(trial: Answer, console: Console) -> None:
    rows: list[list[object]] = [
        [
            need["metric"], formats.number(need["have"]), formats.number(need["needed"]),
            formats.points(need["detectable"]), formats.points(need["detectable_at_needed"]),
            formats.number(need["per_day"], 1), formats.number(need["days_left"]),
        ]
        for need in trial["needed"]
    ]  # fmt: skip
    columns = ("mature units", "needed in each arm", "can find now", "with all", "new a day", "days left")
    if rows:
        table("what it still needs", {"per exposed unit": False, **dict.fromkeys(columns, True)}, rows, console)


def _steps(trial: Answer, console: Console) -> None:
    variants = [arm["variant"] for arm in trial["arms"]]
    rows: list[list[object]] = [
        [
            f"{step['from']} → {step['to']}",
            *(f"{formats.percent(found['value'])} of {formats.number(found['denominator'])}" for found in arms),
        ]
        for step in trial["descriptive"]
        for arms in [[step["arms"][one] for one in variants]]
    ]
    if rows and variants:
        lines("step to step, never tested", ["", *variants], [False, *[True] * len(variants)], rows, console)


def _trust(trial: Answer, console: Console) -> None:
    ratio, mixed = trial["sample_ratio"], trial["mixed_exposure"]
    said = [f"sample ratio: {_fell(ratio)}", f"exposed to more than one variant: {formats.percent(mixed['share'])}"]
    if trial["covariate"]:
        said.append(f"adjusted for {trial['covariate']}")
    console.print(Text("; ".join(said), style="dim"))
    worst = sorted(ratio["by_dimension"], key=lambda part: part["p_value"])
    rows: list[list[object]] = [
        [f"{part['dimension']} = {plain(part['value'])}", *map(formats.number, part["counts"]), _fell(part)]
        for part in worst[:_VALUES]
    ]
    if rows:
        variants = [arm["variant"] for arm in trial["arms"]]
        title = f"sample ratio by value, the least likely of {len(worst)} (limit {ratio['by_dimension_limit']:.2g})"
        lines(title, ["", *variants, " "], [False, *[True] * len(variants), False], rows, console)


_VALUES = 5


def _fell(ratio: Answer) -> str:
    """How likely units fell to the arms as they did: at any look, and by the chi-squared test of one."""
    looks = [f"p {formats.chance(ratio[name])}" for name in ("p_value", "fixed_p_value")]
    return f"{looks[0]} at any look, {looks[1]} at one, {'as intended' if ratio['ok'] else 'NOT as intended'}"


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
