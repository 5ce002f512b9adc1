"""The page of patterns: sentences, rows, a flow and two transcripts side by side, as pure functions of the answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.charts.charts import base, inert
from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.dashboard.pages.sides import Side, around
from dropoff.phrases import findings
from dropoff.phrases.addresses import common, url
from dropoff.phrases.findings import step
from dropoff.phrases.formats import label, number, percent
from dropoff.phrases.words import STAGES
from dropoff.query import COMMON, Params

_PATHS = ("success", "cut", "groups", "steps", "repeats")
_PARAMETERS = (*COMMON, *_PATHS, "anchor", "support", "segment", "compare")

_GROUPS = {"closed": "All that ended without success", "mission": "Dropped or disqualified"}
_COMPARED = {"": "Successful and failed", "previous": "Now and the period before"}
_STAGES = {name: label(name) for name in ("converted", *(n for n in STAGES if n not in ("started", "converted")))}

ROWS = 10
"""So many rows are shown before the rest is folded away."""
NODES = 6  # of a position of the flow: the others together
_OTHER, _END = "(other)", "(end)"


def patterns_page(analytics: Analytics, request: Request) -> Response:
    """`/patterns`: what won conversations do and failed ones do not."""
    params = query(request, (*_PARAMETERS, "point"))
    asked = {name: texts for name, texts in params.items() if name != "point"}

    def show(answer: dict) -> dict[str, Any]:
        goal = answer["definition"]["success"]
        place = _point_of(params, len(answer["divergence_points"]))
        return {
            "points": [point(one, params, i, goal) for i, one in enumerate(answer["divergence_points"])],
            "place": place,
            "goal": goal,
            "sides": sides(analytics, answer["divergence_points"][place], params) if place is not None else [],
            "tables": [
                (name, [pattern(row, params, goal) for row in answer[name]]) for name in ("successful", "failed")
            ],
            "chart": flow_chart(answer),
            "cells": cells(answer["difference_matrix"]),
            "telling": findings.more_telling(answer),
            "days": _days(answer["period"]),
        }

    return question(
        analytics, request, "patterns.html", params, lambda: analytics.patterns(asked), show,
        findings=findings, rows=ROWS, stages=_STAGES, groups=_GROUPS, compared=_COMPARED,
    )  # fmt: skip


def _days(period: Mapping) -> float:
    start, end = (datetime.fromisoformat(period[name]) for name in ("from", "to"))
    return (end - start) / timedelta(days=1)


def _point_of(params: Params, many: int) -> int | None:
    """Which place is shown with its transcripts: the first, unless the address says another."""
    text = params.get("point", ["0"])[0]
    return None if not many else min(int(text) if text.isdecimal() and len(text) < 4 else 0, many - 1)


def listed(params: Params, steps: Sequence[str], kind: str, group: str | None = None) -> str:
    """Where the conversations with a pattern are."""
    kept = {name: texts for name, texts in params.items() if name in _PATHS}
    more = {"group": [group]} if group else {}
    return url("/conversations", {**common(params), **kept, "pattern": list(steps), "kind": [kind], **more})


class Pattern(NamedTuple):
    """A pattern, the sentence about it, and where its conversations are."""

    row: Mapping
    text: str
    successful: str
    failed: str


def pattern(row: Mapping, params: Params, goal: str) -> Pattern:
    """A row of a table of patterns."""
    lists = (listed(params, row["pattern"], row["kind"], group) for group in ("successful", "failed"))
    return Pattern(row, findings.of_pattern(row, goal), *lists)


class Point(NamedTuple):
    """A place where ways part, the sentence about it, its branches with their lists, and where its transcripts are."""

    row: Mapping
    text: str
    branches: list[tuple[Mapping, str]]
    url: str


def point(row: Mapping, params: Params, place: int, goal: str) -> Point:
    """A place with its branches."""
    branches = [(one, listed(params, [*row["after"], one["step"]], row["kind"])) for one in row["branches"]]
    return Point(row, findings.of_point(row, goal), branches, url("/patterns", params, point=str(place)) + "#sides")


def sides(analytics: Analytics, row: Mapping, params: Params) -> list[Side]:
    """A transcript of either way around the place: a won one of the better way, a failed one of the other."""
    better = row["difference"] > 0
    names = {"branch": step(row["branch"]), "others": "Otherwise"}
    found = []
    for way, name in names.items():
        first = "successful" if (way == "branch") == better else "failed"
        order = (first, "failed" if first == "successful" else "successful")
        examples = [(one, outcome) for outcome in order for one in row["examples"][way][outcome]]
        if examples:
            found.append((name, examples))
    known = {key: texts for key, texts in params.items() if key in ("timezone", "as_of")}
    said = analytics.transcripts([examples[0][0]["id"] for _, examples in found], known) if found else {}
    return [_side(name, examples, said) for name, examples in found]


def _side(name: str, examples: Sequence[tuple[Mapping, str]], said: Mapping[str, Sequence[Mapping]]) -> Side:
    example, outcome = examples[0]
    shown = around(said[example["id"]], example["position"] or 0)
    return Side(name, outcome, example["id"], shown, [(one["id"], why) for one, why in examples[1:]])


class Cell(NamedTuple):
    """A difference of two shares, and how it is coloured."""

    text: str
    kind: str


def cells(matrix: Mapping) -> list[tuple[str, list[Cell]]]:
    """The difference matrix, a row for each step."""
    return [
        (step(name), [Cell(findings.apart(value), _shade(value)) for value in row])
        for name, row in zip(matrix["steps"], matrix["values"], strict=True)
    ]  # fmt: skip


def _shade(value: float) -> str:
    if abs(value) < 0.02:
        return ""
    return ("more" if value > 0 else "less") + (" strong" if abs(value) >= 0.1 else "")


def flow_chart(answer: Mapping) -> dict | None:
    """From position to position which steps follow, both groups together; None where nothing does."""
    large = _large(answer["flow"])
    links: dict[tuple[str, str], list[int]] = {}
    nodes: dict[str, str] = {}
    for link in answer["flow"]:
        ends = []
        for position, name in _ends(link):
            shown = name if (position, name) in large or name == _END else _OTHER
            ends.append(f"{position} {shown}")
            nodes[ends[-1]] = shown
        both = links.setdefault((ends[0], ends[1]), [0, 0])
        both[0] += link["counts"][0]
        both[1] += link["counts"][1]
    if not links:
        return None
    compared = answer["compared"]
    return {
        **base("Flow from step to step; the tables have the numbers.", 12),
        "series": [{
            "type": "sankey", "left": 4, "right": 130, "top": 8, "bottom": 8, "nodeGap": 10, "nodeWidth": 12,
            "draggable": False, "layoutIterations": 32, "emphasis": {"focus": "adjacency"},
            "lineStyle": {"color": "var(--chart-1)", "opacity": 0.28},
            "itemStyle": {"color": "var(--chart-1)", "borderWidth": 0},
            "label": {"color": "var(--text)", "fontSize": 11, "width": 118, "overflow": "truncate"},
            "data": [
                {"name": inert(key), "label": {"formatter": inert(_short(name))},
                 "tooltip": {"formatter": inert(f"{key.split(' ')[0]}: {_short(name)}")}}
                for key, name in nodes.items()
            ],
            "links": [
                {"source": inert(source), "target": inert(target), "value": a + b,
                 "tooltip": {"formatter": inert(_told(nodes[source], nodes[target], a, b, compared))}}
                for (source, target), (a, b) in links.items()
            ],
        }],
    }  # fmt: skip


def _ends(link: Mapping) -> tuple[tuple[int, str], tuple[int, str]]:
    """The two steps of a link, each with its position."""
    return (link["position"], link["from"]), (link["position"] + 1, link["to"])


def _large(flow: Sequence[Mapping]) -> set[tuple[int, str]]:
    """The steps of each position that stand by themselves: the most frequent ones."""
    totals: Counter[tuple[int, str]] = Counter()
    for link in flow:
        for end in _ends(link):
            totals[end] += sum(link["counts"])
    kept: set[tuple[int, str]] = set()
    for at in {position for position, _ in totals}:
        mine = sorted(((n, name) for (position, name), n in totals.items() if position == at and name != _END),
                      key=lambda one: (-one[0], one[1]))  # fmt: skip
        kept |= {(at, name) for _, name in mine[:NODES]}
    return kept


def _short(name: str) -> str:
    return {_END: "(end)", _OTHER: "(other)"}.get(name) or step(name)


def _told(source: str, target: str, a: int, b: int, compared: Mapping) -> str:
    rate = percent(a / (a + b)) if a + b else "–"
    return f"{_short(source)} → {_short(target)}\n{compared['a']}: {number(a)}, {compared['b']}: {number(b)} ({rate})"
