"""ECharts options as pure functions: what all charts share, lines, bars of times, and dots with intervals. Colours are
named as CSS custom properties, which `web/main.ts` replaces by the theme's; labels are finished texts; `url` makes an
item a link."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from dropoff.phrases.formats import cut, number, visible
from dropoff.phrases.running import Bin

_MUTED = {"color": "var(--muted)", "fontSize": 12, "hideOverlap": True}
_ZERO = {
    "silent": True, "symbol": "none", "animation": False,
    "data": [{"xAxis": 0, "label": {"show": False}}],
    "lineStyle": {"color": "var(--text)", "type": "solid", "width": 1},
}  # fmt: skip
HOLLOW = {"color": "var(--page)", "borderColor": "var(--line-strong)", "borderWidth": 2}
"""The style of a point that says little: cut, young, or of too few."""
_MARK = 20  # characters of the text at a mark: the page has all of them
MOST_DOTS = 92  # points; above, dots would hide the line, so only those that need care keep theirs
NARROW = 560  # pixels: below, the numbers beside the bars are cut to what fits a phone


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
            # The first and the last label end where the axis does: one centred near its end would be cut off.
            "axisLabel": _MUTED | {
                "showMinLabel": True, "showMaxLabel": True, "alignMinLabel": "left", "alignMaxLabel": "right",
            },
            "axisTick": {"show": False}, "axisLine": axis_line,
        },
        "yAxis": {"type": "value", "axisLabel": _MUTED | {"formatter": f"{{value}}{suffix}"}, "splitLine": grid_line},
    }  # fmt: skip


def marks(marked: Sequence[tuple[str, str]], begins: Sequence[str]) -> dict:
    """A vertical line for each instant with its text, at the point that has it; neighbours' texts at two heights."""
    data, last = [], -len(begins)
    for at, text in sorted(marked):
        place = sum(begin <= at for begin in begins) - 1
        raised = place - last < len(begins) / 10 and (not data or data[-1]["label"]["distance"] < 14)
        mark = {"xAxis": max(place, 0), "name": inert(cut(text, _MARK))}
        data.append(mark | {"label": {"formatter": mark["name"], "distance": 16 if raised else 3}})
        last = place
    return {
        "silent": True, "symbol": "none", "animation": False, "data": data,
        "lineStyle": {"color": "var(--muted)", "type": "solid", "width": 1},
        "label": {"color": "var(--muted)", "fontSize": 11, "position": "end"},
    }  # fmt: skip


def line_series(name: str, data: Sequence[dict], color: int = 1, **more: Any) -> dict:
    """A line with its points, in a colour of the style sheet."""
    of_color = {"color": f"var(--chart-{color})"}
    return {
        "type": "line", "name": name, "data": data, "showAllSymbol": True, "symbol": "circle", "symbolSize": 8,
        "lineStyle": of_color | {"width": 2}, "itemStyle": of_color,
    } | more  # fmt: skip


def histogram(of: str, bins: Sequence[Bin]) -> dict:
    """Bars: how many took how long."""
    most = max(bins, key=lambda one: one.n)
    said = f"Bar chart of {of}: {len(bins)} spans, most ({number(most.n)}) {most.name}."
    frame = over_time(f"{said} The table below has the same numbers.", [one.start for one in bins], "")
    frame["xAxis"] |= {"boundaryGap": True, "axisLabel": _MUTED}
    frame["yAxis"]["minInterval"] = 1
    items = [{"value": one.n, "tooltip": {"formatter": f"{one.name}: {number(one.n)}"}} for one in bins]
    bars = {"type": "bar", "barCategoryGap": "12%", "itemStyle": {"color": "var(--chart-1)"}, "data": items}
    return frame | {"series": [bars]}


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
                "type": "value", "scale": not zero, "axisLabel": _MUTED | {"formatter": f"{{value}}{suffix}"},
                "splitLine": {"lineStyle": {"color": "var(--line)"}},
            },
            "yAxis": rows() | {"data": [inert(visible(dot.name)) for dot in dots], "axisLabel": names},
            "series": [*lines, _dots(dots) | ({"markLine": _ZERO} if zero else {})],
        },
        "media": [
            {"query": {"maxWidth": NARROW}, "option": {"yAxis": {"axisLabel": {"width": 96}}}},
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


def rows() -> dict:
    """A category axis without lines, first stage on top."""
    return {"type": "category", "inverse": True, "axisLine": {"show": False}, "axisTick": {"show": False}}
