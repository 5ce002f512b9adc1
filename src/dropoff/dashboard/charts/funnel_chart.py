"""The chart of the funnel: a bar for each stage, those who reached it and those lost on the way, as pure functions."""

from collections.abc import Callable, Mapping, Sequence

from dropoff.dashboard.charts.charts import NARROW, base, rows
from dropoff.phrases.formats import is_small, label, number, percent

Link = Callable[..., str]
_OUTLINE = {"borderColor": "var(--line-strong)", "borderWidth": 1}
_NAME = 104  # pixels for the name of a stage


def funnel_chart(answer: Mapping, link: Link | None = None) -> dict:
    """Horizontal bars, one per stage: those who reached it, then those lost since the stage before.

    `answer` is the funnel answer; `link(stage=…)` and `link(dropped=…)` give the address of the
    conversations behind a bar. A stage that is not recorded has an outlined bar and no rate.
    """
    stages = answer["stages"]
    before = _recorded_before(stages)
    reached = [_reached_item(stage, link) for stage in stages]
    # Where each stage counts its own events alone, those lost are a difference of counts, not a set to list.
    listed = link if answer.get("definition", {}).get("mode") != "recorded" else None
    lost = [_lost_item(stage, previous, listed) for stage, previous in zip(stages, before, strict=True)]
    return {
        "baseOption": base(describe_funnel(answer))
        | {
            "grid": {"left": 0, "right": 0, "top": 0, "bottom": 0, "outerBoundsMode": "same"},
            "xAxis": {"type": "value", "show": False, "max": "dataMax"},
            "yAxis": [_names(stages), _figures([_wide(stage) for stage in stages])],
            "series": [_bars("Reached", reached), _bars("Lost since the stage before", lost)],
        },
        "media": [
            {
                "query": {"maxWidth": NARROW},
                "option": {"yAxis": [_room(_NAME), {"data": [_short(stage) for stage in stages]}]},
            },
            {"option": {"yAxis": [_room(_longest(stages)), {"data": [_wide(stage) for stage in stages]}]}},
        ],
    }


def describe_funnel(answer: Mapping) -> str:
    """The chart in words, for those who do not see it."""
    parts = [f"{label(stage['stage'])} {_spoken(stage)}" for stage in answer["stages"]]
    return f"Bar chart of the funnel: {'; '.join(parts)}. The table below has the same numbers."


def _recorded_before(stages: Sequence[Mapping]) -> list[Mapping | None]:
    """For each stage the one before it that counts; None for the first, for those that are not recorded, and for
    optional ones: who leaves one out is not lost."""
    found: list[Mapping | None] = []
    latest = None
    for stage in stages:
        counts = stage["is_recorded"] and not stage.get("optional")
        found.append(latest if counts else None)
        latest = stage if counts else latest
    return found


def _reached_item(stage: Mapping, link: Link | None) -> dict:
    recorded = stage["is_recorded"]
    style = {"color": "var(--chart-1)"} if recorded else _OUTLINE | {"color": "transparent", "borderType": "dashed"}
    item = {
        "value": stage["count"],
        "itemStyle": style,
        "tooltip": {"formatter": f"{label(stage['stage'])}\n{_spoken(stage)}"},
    }
    return item | _url(link, stage=stage["stage"])


def _lost_item(stage: Mapping, previous: Mapping | None, link: Link | None) -> dict:
    volume = max(previous["count"] - stage["count"], 0) if previous else 0
    if previous is None or not volume:
        return {"value": 0}
    rate = volume / previous["count"]
    name = f"{label(previous['stage'])}, not {label(stage['stage']).lower()}"
    item = {
        "value": volume,
        "itemStyle": _OUTLINE | {"color": "var(--chart-lost)"},
        "tooltip": {"formatter": f"{name}\n{number(volume)} lost, {percent(rate)}"},
    }
    return item | _url(link, dropped=previous["stage"])


def _url(link: Link | None, **changes: str) -> dict:
    return {"url": link(**changes)} if link else {}


def _spoken(stage: Mapping) -> str:
    if not stage["is_recorded"]:
        return f"{number(stage['count'])}, not recorded"
    rate = stage["rate_from_previous"]["value"]
    return number(stage["count"]) + (f", {percent(rate)} of the stage before" if rate is not None else "")


def _wide(stage: Mapping) -> str:
    if not stage["is_recorded"]:
        return f"{{n|{number(stage['count'])}}}{{r|not recorded}}"
    rate = stage["rate_from_previous"]
    if rate["value"] is None:
        return _short(stage)
    note = "not enough data" if is_small(rate["denominator"]) else f"{percent(rate['value'])} of previous"
    return f"{{n|{number(stage['count'])}}}{{r|{note}}}"


def _short(stage: Mapping) -> str:
    return f"{{n|{number(stage['count'])}}}"


def _room(width: int) -> dict:
    return {"axisLabel": {"width": width}}


def _longest(stages: Sequence[Mapping]) -> int:
    """The room for names where there is enough of it."""
    return max((_NAME, *(min(7 * len(label(stage["stage"])), 2 * _NAME) for stage in stages)))


def _names(stages: Sequence[Mapping]) -> dict:
    text = {"color": "var(--text)", "fontSize": 13, "width": _NAME, "overflow": "truncate", "margin": 12}
    return rows() | {"data": [label(stage["stage"]) for stage in stages], "axisLabel": text}


def _figures(texts: list[str]) -> dict:
    rich = {
        "n": {"width": 64, "align": "right", "color": "var(--text)", "fontSize": 13, "fontWeight": 600},
        "r": {"width": 132, "align": "right", "color": "var(--muted)", "fontSize": 13},
    }
    return rows() | {"position": "right", "data": texts, "axisLabel": {"rich": rich, "margin": 0}}


def _bars(name: str, data: list[dict]) -> dict:
    return {
        "type": "bar",
        "name": name,
        "stack": "stage",
        "barWidth": "62%",
        "data": data,
        "emphasis": {"disabled": True},
    }
