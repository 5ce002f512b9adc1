"""The page of experiments: all of them with what to do, one of them with what that rests on, and a plan."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.charts.charts import Dot, dot_chart, inert
from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.errors import InvalidInput
from dropoff.phrases import formats
from dropoff.phrases.addresses import common, ends, url
from dropoff.query import COMMON

_PLAN = ("base", "effect", "power", "daily", "arms")
_PARAMETERS = (*COMMON, "name", "goal", "horizon", *_PLAN)


def experiments_page(analytics: Analytics, request: Request) -> Response:
    """`/experiments`: which variant is better, and what to do."""
    params = query(request, _PARAMETERS)
    asked = {name: texts for name, texts in params.items() if name not in _PLAN}
    plan, problem = _planned(analytics, {name: params[name] for name in _PLAN if name in params})
    return question(
        analytics, request, "experiments.html", params, lambda: analytics.experiments(asked),
        lambda answer: shown(answer, asked), plan=plan, problem=problem,
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
    days = ends(answer["period"], answer["period"]["timezone"])

    def link(**more: str) -> str:
        return url("/conversations", {**common(params), "experiment": [trial["experiment"]]}, **days, **more)

    return {
        "trial": trial,
        "arms": [{"arm": arm, "url": link(variant=arm["variant"]) if arm["units"] else None} for arm in trial["arms"]],
        "goals": _rows(trial, [goal["metric"] for goal in answer["definition"]["goals"]], link),
        "guards": _rows(trial, [goal["metric"] for goal in answer["definition"]["guardrails"]], None),
        "chart": chart(trial) if any(row["interval"] for row in trial["comparisons"]) else None,
        "days": {goal["metric"]: goal["maturity_days"] for goal in answer["definition"]["goals"]},
    }


def _rows(trial: Mapping, metrics: Sequence[str], link: Callable[..., str] | None) -> list[Row]:
    return [
        Row(metric, [_cell(arm, metric, link) for arm in trial["arms"]])
        for metric in metrics
        if all(metric in arm["metrics"] for arm in trial["arms"])
    ]


def _cell(arm: Mapping, metric: str, link: Callable[..., str] | None) -> Cell:
    found = arm["metrics"][metric]
    leads = link if found["numerator"] else None
    address = leads(variant=arm["variant"], goal=metric.removesuffix("_per_unit")) if leads else None
    small = found["value"] is not None and formats.is_small(found["n"])
    value, bounds = formats.in_arm(found, metric)
    return Cell(value, bounds, found["n"], found["immature"], small, address)


def chart(trial: Mapping) -> dict:
    """A dot for each difference of a goal."""
    many = len(trial["arms"]) > 2
    rows = [row for row in trial["comparisons"] if row["interval"]]
    return dot_chart(describe(trial), [_dot(row, named=many) for row in rows], " pp", zero=True)


def _dot(row: Mapping, *, named: bool) -> Dot:
    name = formats.label(row["metric"].removesuffix("_per_unit")) + (f" · {row['a']}" if named else "")
    ends = [bound * 100 for bound in row["interval"]]
    return Dot(name, row["difference"] * 100, ends, _told(row), _COLOURS.get(row["verdict"], "var(--line-strong)"))


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


def _told(row: Mapping) -> str:
    """The tooltip of a dot."""
    metric = row["metric"]
    parts = [f"{formats.label(metric)}: {row['a']} − {row['b']}", formats.apart(row["difference"], metric)]
    parts += [f"95 %: {formats.apart_interval(row['interval'], metric)}", f"q {formats.chance(row['q_value'])}"]
    return "\n".join(parts)
