"""ECharts options as pure functions: what all charts share, the chart of dots, and that of the funnel. Colours are
named as CSS custom properties, which `web/main.ts` replaces by the theme's; labels are finished texts; `url` makes an
item a link."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dropoff.dashboard.formats import is_small, label, number, percent, visible

Link = Callable[..., str]
_OUTLINE = {"borderColor": "var(--line-strong)", "borderWidth": 1}
MUTED = {"color": "var(--muted)", "fontSize": 12, "hideOverlap": True}
"""The labels of an axis."""
_ZERO = {
    "silent": True, "symbol": "none", "animation": False,
    "data": [{"xAxis": 0, "label": {"show": False}}],
    "lineStyle": {"color": "var(--text)", "type": "solid", "width": 1},
}  # fmt: skip
HOLLOW = {"color": "var(--page)", "borderColor": "var(--line-strong)", "borderWidth": 2}
"""The style of a point that says little: cut, young, or of too few."""
_NAME = 104  # pixels for the name of a stage
_MARK = 20  # characters of the text at a mark: the page has all of them
_NARROW = 560  # pixels: below, the numbers beside the bars are cut to what fits a phone


def base(description: str, size: int = 13) -> dict:
    """What every chart has: its words for those who do not see it, a font of `size` pixels, a box at the pointer."""
    return {
        "animation": False,
        "aria": {"enabled": True, "label": {"description": description}},
        "textStyle": {"fontFamily": "var(--font)", "fontSize": size, "color": "var(--text)"},
        "tooltip": _tooltip(),
    }


def _tooltip() -> dict:
    """The box at the pointer."""
    # richText draws the tooltip on the canvas: the HTML one needs inline styles, which the policy forbids.
    return {
        "renderMode": "richText",
        "trigger": "item",
        "confine": True,
        "transitionDuration": 0,
        "backgroundColor": "var(--surface)",
        "borderColor": "var(--line-strong)",
        "textStyle": {"fontFamily": "var(--font)", "color": "var(--text)", "fontSize": 13},
    }


def over_time(description: str, names: Sequence[str], suffix: str, top: int = 10) -> dict:
    """What a chart over time has around its lines: a name for each point, values with `suffix`, `top` pixels free."""
    grid_line, axis_line = {"lineStyle": {"color": "var(--line)"}}, {"lineStyle": {"color": "var(--line-strong)"}}
    return base(description, 12) | {
        "grid": {"left": 0, "right": 12, "top": top, "bottom": 0, "outerBoundsMode": "same"},
        "xAxis": {
            "type": "category", "data": list(names), "boundaryGap": False,
            # The first and the last label end where the axis does: centred at it they would be cut off.
            "axisLabel": MUTED | {"alignMinLabel": "left", "alignMaxLabel": "right"},
            "axisTick": {"show": False}, "axisLine": axis_line,
        },
        "yAxis": {"type": "value", "axisLabel": MUTED | {"formatter": f"{{value}}{suffix}"}, "splitLine": grid_line},
    }  # fmt: skip


def marks(marked: Sequence[tuple[str, str]], begins: Sequence[str]) -> dict:
    """A vertical line for each instant with its text, at the point that has it; neighbours' texts at two heights."""
    data, last = [], -len(begins)
    for at, text in sorted(marked):
        place = sum(begin <= at for begin in begins) - 1
        raised = place - last < len(begins) / 10 and (not data or data[-1]["label"]["distance"] < 14)
        mark = {"xAxis": max(place, 0), "name": inert(text if len(text) <= _MARK else f"{text[: _MARK - 1]}…")}
        data.append(mark | {"label": {"formatter": mark["name"], "distance": 16 if raised else 3}})
        last = place
    return {
        "silent": True, "symbol": "none", "animation": False, "data": data,
        "lineStyle": {"color": "var(--muted)", "type": "solid", "width": 1},
        "label": {"color": "var(--muted)", "fontSize": 11, "position": "end"},
    }  # fmt: skip


class Dot(NamedTuple):
    """A row of a chart of dots: a value with its interval as a line through it. Hollow: of too few."""

    name: str
    value: float
    interval: Sequence[float] | None
    told: str
    color: str = "var(--chart-1)"
    url: str | None = None
    hollow: bool = False
    best: bool = False


def dot_chart(description: str, dots: Sequence[Dot], suffix: str, *, zero: bool = False) -> dict:
    """Rows of dots, the first on top. `zero`: a line at 0, for differences."""
    lines = [_through(place, dot) for place, dot in enumerate(dots) if dot.interval is not None]
    names = {"color": "var(--text)", "width": 190, "overflow": "truncate", "interval": 0}
    return {
        "baseOption": base(description) | {
            "grid": {"left": 0, "right": 16, "top": 4, "bottom": 4, "outerBoundsMode": "same"},
            "xAxis": {
                "type": "value", "scale": not zero, "axisLabel": MUTED | {"formatter": f"{{value}}{suffix}"},
                "splitLine": {"lineStyle": {"color": "var(--line)"}},
            },
            "yAxis": _rows() | {"data": [inert(visible(dot.name)) for dot in dots], "axisLabel": names},
            "series": [*lines, _dots(dots) | ({"markLine": _ZERO} if zero else {})],
        },
        "media": [
            {"query": {"maxWidth": _NARROW}, "option": {"yAxis": {"axisLabel": {"width": 96}}}},
            {"option": {"yAxis": {"axisLabel": {"width": 190}}}},
        ],
    }  # fmt: skip


def _through(place: int, dot: Dot) -> dict:
    """An interval as a line of its own: from its lower to its upper bound at the height of its row."""
    style = {"width": 2, "color": "var(--line-strong)" if dot.hollow else dot.color}
    ends = [[short(bound), place] for bound in dot.interval or ()]
    return {
        "type": "line", "data": ends, "symbol": "none", "silent": True, "z": 2,
        "lineStyle": style | {"type": "dashed" if dot.hollow else "solid"},
    }  # fmt: skip


def _dots(dots: Sequence[Dot]) -> dict:
    data = []
    for place, dot in enumerate(dots):
        item: dict[str, Any] = {"value": [short(dot.value), place], "tooltip": {"formatter": inert(visible(dot.told))}}
        item["itemStyle"] = HOLLOW if dot.hollow else {"color": dot.color}
        item |= {"symbol": "diamond", "symbolSize": 15} if dot.best and not dot.hollow else {}
        data.append(item | ({"url": dot.url} if dot.url else {}))
    return {"type": "scatter", "data": data, "symbolSize": 10, "z": 3, "itemStyle": {"opacity": 1}}


def short(value: float) -> float:
    """A number with six digits: more than a chart shows."""
    return float(f"{value:.6g}")


def inert(text: str) -> str:
    """A text in which a chart sees no style: braces would be read as one."""
    return text.replace("{", "❴").replace("}", "❵")


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
                "query": {"maxWidth": _NARROW},
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
    return _rows() | {"data": [label(stage["stage"]) for stage in stages], "axisLabel": text}


def _figures(texts: list[str]) -> dict:
    rich = {
        "n": {"width": 64, "align": "right", "color": "var(--text)", "fontSize": 13, "fontWeight": 600},
        "r": {"width": 132, "align": "right", "color": "var(--muted)", "fontSize": 13},
    }
    return _rows() | {"position": "right", "data": texts, "axisLabel": {"rich": rich, "margin": 0}}


def _rows() -> dict:
    """A category axis without lines, first stage on top."""
    return {"type": "category", "inverse": True, "axisLine": {"show": False}, "axisTick": {"show": False}}


def _bars(name: str, data: list[dict]) -> dict:
    return {
        "type": "bar",
        "name": name,
        "stack": "stage",
        "barWidth": "62%",
        "data": data,
        "emphasis": {"disabled": True},
    }
