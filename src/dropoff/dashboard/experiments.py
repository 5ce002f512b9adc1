"""The page of experiments: all of them with what to do, one of them with what that rests on, and a plan."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard import formats
from dropoff.dashboard.charts import tooltip
from dropoff.dashboard.frame import COMMON, Analytics, common, query, question, url
from dropoff.dashboard.trends import end_of_link, inert, short
from dropoff.errors import InvalidInput

_PLAN = ("base", "effect", "power", "daily", "arms")
_PARAMETERS = (*COMMON, "name", "goal", "horizon", *_PLAN)

DECISIONS = {"ship": "Ship", "roll back": "Roll back", "keep running": "Keep running", "invalid": "Invalid"}

TERMS = {
    "Unit": "A contact; a conversation where nobody says whose it is. Its first exposure counts, and what any of its "
    "conversations come to at or after it.",
    "Per exposed unit": "Units that reach the stage within its maturity time of their first exposure, of those exposed "
    "as long ago. Whoever was exposed later is still young, and not counted.",
    "Interval of an arm": "95 %, of one look (Wilson; of the sentiment Student's).",
    "Difference": "From the control, or from the first variant where none is called so. Sequential: its 95 % interval "
    "and p-value hold at every look together (normal-mixture confidence sequence). Fixed: those of one look at "
    "the end.",
    "q": "The share of false discoveries among all goals and arms with a q as small (Benjamini–Hochberg). Below 0.05 a "
    "difference is called better or worse; guardrails are a family of their own.",
    "Adjusted": "What was known of units before their exposure explains a part of the differences between them, which "
    "is taken off (CUPED). The plain difference stands beside it.",
    "Not enough data": "Fewer than 30 mature units in an arm, or fewer than 5 of one outcome to be expected.",
    "Sample ratio": "Whether units fell to the arms by their weights. Below 0.001 at any look (in a dimension: shared "
    "out among its values) they did not, and no difference can be trusted.",
    "Mixed exposure": "Units that met more than one variant. Above 1 % nothing can be said.",
    "Guardrail": "What must not get worse within 7 days of the exposure: opt-outs and complaints per exposed unit, and "
    "the mean sentiment of what units wrote, 0 for those that wrote nothing.",
    "Step to step": "Of those that came to a stage, those that came to the next. Who comes to the first of them "
    "depends on the variant already: a variant that wins over more doubtful prospects loses more of them later. So "
    "these are shown and never tested.",
    "Can find": "The smallest rise that so many units find four times in five.",
    "Observational": "Nothing says that the variants were assigned at random: the same numbers, and no decision.",
}


def experiments_page(analytics: Analytics, request: Request) -> Response:
    """`/experiments`: which variant is better, and what to do."""
    params = query(request, _PARAMETERS)
    asked = {name: texts for name, texts in params.items() if name not in _PLAN}
    plan, problem = _planned(analytics, {name: params[name] for name in _PLAN if name in params})
    return question(
        analytics, request, "experiments.html", params, lambda: analytics.experiments(asked),
        lambda answer: shown(answer, asked), terms=TERMS, decisions=DECISIONS, plan=plan, problem=problem,
    )  # fmt: skip


def _planned(analytics: Analytics, given: dict[str, list[str]]) -> tuple[dict | None, InvalidInput | None]:
    """The plan that the form asks for, or what is wrong with it."""
    try:
        return (analytics.plan(given) if given else None), None
    except InvalidInput as problem:
        return None, problem


class Cell(NamedTuple):
    """A goal in an arm, and where its conversations are."""

    value: str
    interval: str
    n: int
    immature: int
    is_small: bool
    url: str | None


class Row(NamedTuple):
    """A goal in each arm."""

    metric: str
    cells: list[Cell]


def shown(answer: Mapping, params: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the page shows of an answer: the list, and everything about the one experiment that was asked for."""
    trial = answer["experiments"][0] if "name" in params else None
    if trial is None:
        return {"trial": None}
    zone = answer["period"]["timezone"]
    ends = {name: end_of_link(answer["period"][name], zone) for name in ("from", "to")}

    def link(**more: str) -> str:
        return url("/conversations", {**common(params), "experiment": [trial["experiment"]]}, **ends, **more)

    return {
        "trial": trial,
        "arms": [{"arm": arm, "url": link(variant=arm["variant"]) if arm["units"] else None} for arm in trial["arms"]],
        "goals": _rows(trial, [goal["metric"] for goal in answer["definition"]["goals"]], link),
        "guards": _rows(trial, [goal["metric"] for goal in answer["definition"]["guardrails"]], None),
        "chart": chart(trial) if any(row["interval"] for row in trial["comparisons"]) else None,
        "days": {goal["metric"]: goal["maturity_days"] for goal in (*answer["definition"]["goals"],)},
    }


def _rows(trial: Mapping, metrics: Sequence[str], link: Callable[..., str] | None) -> list[Row]:
    return [
        Row(metric, [_cell(arm, metric, link) for arm in trial["arms"]])
        for metric in metrics
        if all(metric in arm["metrics"] for arm in trial["arms"])
    ]


def _cell(arm: Mapping, metric: str, link: Callable[..., str] | None) -> Cell:
    found = arm["metrics"][metric]
    leads = link is not None and found["numerator"]
    address = link(variant=arm["variant"], goal=metric.removesuffix("_per_unit")) if link and leads else None
    small = found["value"] is not None and formats.is_small(found["n"])
    value, bounds = formats.in_arm(found, metric)
    return Cell(value, bounds, found["n"], found["immature"], small, address)


def chart(trial: Mapping) -> dict:
    """A row for each difference of a goal: a dot, and its interval as a line through it; 0 is no difference."""
    rows = [row for row in trial["comparisons"] if row["interval"]]
    many = len(trial["arms"]) > 2
    names = [
        formats.label(row["metric"].removesuffix("_per_unit")) + (f" · {row['a']}" if many else "") for row in rows
    ]
    names = [inert(formats.visible(name)[:28]) for name in names]
    lines = [_line(place, row) for place, row in enumerate(rows)]
    return {
        "baseOption": {
            "animation": False,
            "aria": {"enabled": True, "label": {"description": describe(trial)}},
            "textStyle": {"fontFamily": "var(--font)", "fontSize": 12, "color": "var(--text)"},
            "tooltip": tooltip(),
            "grid": {"left": 0, "right": 16, "top": 8, "bottom": 4, "outerBoundsMode": "same"},
            "xAxis": {
                "type": "value",
                "axisLabel": {"color": "var(--muted)", "fontSize": 12, "hideOverlap": True, "formatter": "{value} pp"},
                "splitLine": {"lineStyle": {"color": "var(--line)"}},
            },
            "yAxis": {
                "type": "category", "inverse": True, "data": names, "axisTick": {"show": False},
                "axisLabel": {"color": "var(--text)", "fontSize": 12}, "axisLine": {"show": False},
            },
            "series": [*lines, _dots(rows)],
        },
        "media": [],
    }  # fmt: skip


def describe(trial: Mapping) -> str:
    """The chart in words, for those who do not see it."""
    said = [
        f"{row['a']} minus {row['b']}, {row['metric']}: {formats.apart(row['difference'], row['metric'])}, "
        f"{formats.apart_interval(row['interval'], row['metric'])}"
        for row in trial["comparisons"]
        if row["interval"]
    ]
    return inert(
        formats.visible(f"Differences with their intervals: {'; '.join(said)}. The table has the same numbers.")
    )


_COLOURS = {"better": "var(--chart-3)", "worse": "var(--chart-2)"}


def _line(place: int, row: Mapping) -> dict:
    colour = {"color": _COLOURS.get(row["verdict"], "var(--line-strong)")}
    ends = [[short(bound * 100), place] for bound in row["interval"]]
    return {"type": "line", "data": ends, "symbol": "none", "lineStyle": colour | {"width": 3}, "silent": True}


def _dots(rows: Sequence[Mapping]) -> dict:
    data = [
        {
            "value": [short(row["difference"] * 100), place],
            "itemStyle": {"color": _COLOURS.get(row["verdict"], "var(--line-strong)")},
            "tooltip": {"formatter": _told(row)},
        }
        for place, row in enumerate(rows)
    ]
    zero = {"xAxis": 0, "lineStyle": {"color": "var(--text)", "type": "solid", "width": 1}, "label": {"show": False}}
    return {
        "type": "line", "data": data, "symbol": "circle", "symbolSize": 10, "showAllSymbol": True, "z": 4,
        "lineStyle": {"width": 0, "opacity": 0},
        "markLine": {"silent": True, "symbol": "none", "animation": False, "data": [zero]},
    }  # fmt: skip


def _told(row: Mapping) -> str:
    """The tooltip of a dot."""
    metric = row["metric"]
    parts = [f"{formats.label(metric)}: {row['a']} − {row['b']}", formats.apart(row["difference"], metric)]
    parts += [f"95 %: {formats.apart_interval(row['interval'], metric)}", f"q {formats.chance(row['q_value'])}"]
    return inert(formats.visible("\n".join(parts)))
