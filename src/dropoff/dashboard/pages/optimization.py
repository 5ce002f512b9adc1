"""The page of what may be done better: sentences with the lists and pages behind them, as pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dropoff.background import aside
from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.dashboard.pages.patterns import listed
from dropoff.errors import InvalidInput
from dropoff.phrases import advice, findings, formats, utterances
from dropoff.phrases.addresses import common, url
from dropoff.query import COMMON, Params

_PARAMETERS = (*COMMON, "goal", "work")
_GOALS = {"": "Booked, or the last", **{name: formats.label(name) for name in advice.GOALS}}
DEFAULTS: Params = {"work": ["ready"]}
CHEAP = 50_000
"""Of so many conversations the page has what takes long worked out by itself: it takes some seconds."""
ANSWERS = 2
"""Of an objection so many answers are shown, those that differ most."""


def optimization_page(analytics: Analytics, request: Request) -> Response:
    """`/optimization`: what may be done better, and what to test next; `work=all` works out what takes long first."""
    params = query(request, _PARAMETERS)
    asked = {name: texts for name, texts in params.items() if name != "work"}
    if params.get("work") == ["all"] and "until" not in request.query_params:
        try:
            aside(lambda: analytics.optimization(params))
        except InvalidInput:
            pass  # the page says so
        else:
            return RedirectResponse(url("/optimization", asked), 303)
    return question(
        analytics, request, "optimization.html", params,
        lambda: analytics.optimization({**DEFAULTS, **params}),
        lambda answer: shown(answer, asked) | {"cheap": answer["worked_out"] is None and _is_cheap(analytics, asked)},
        goals=_GOALS, advice=advice, findings=findings,
    )  # fmt: skip


def _is_cheap(analytics: Analytics, params: Params) -> bool:
    (started,) = analytics.metrics({**common(params), "metric": ["conversations_started"]})["metrics"]
    return started["value"] <= CHEAP


class Said(NamedTuple):
    """A finding as a sentence, the page that has more of it, and its conversations: pairs of a name and an address."""

    text: str
    url: str
    lists: list[tuple[str, str]]


class Test(NamedTuple):
    """A test: what, its size in words, the page that its finding is on, its conversations, and its plan."""

    row: Mapping
    text: str
    size: str
    url: str
    list: str | None
    plan: str


def shown(answer: Mapping, params: Params) -> dict[str, Any]:
    """What the page shows of an answer; what is not worked out yet is None."""
    is_worked = answer["worked_out"] is not None
    quick = {
        "experiments": [_experiment(row, params) for row in answer["experiments"]],
        "best": [_message(row, answer, params) for row in answer["best_messages"][:3]],
        "worst": [_message(row, answer, params) for row in answer["worst_messages"][:3]],
        "work": url("/optimization", params, work="all"),
    }
    return quick | {"long": _long(answer, params) if is_worked else None}


def _long(answer: Mapping, params: Params) -> dict[str, Any]:
    goal = answer["definition"]["goal"]
    tests = [test(row, answer, params) for row in answer["next_tests"]]
    paths = {**common(params), "success": [goal]}
    return {
        "tests": [one for one in tests if one.row["reason"] == "worth_it"],
        "small": [one for one in tests if one.row["reason"] == "too_small"],
        "drop_offs": [_drop_off(row, params) for row in answer["drop_offs"]],
        "segments": [_segment(row, params) for row in answer["segments"]],
        "points": [_point(row, paths, i) for i, row in _places(answer["divergence_points"])],
        "patterns": [
            _pattern(row, paths, name) for name in ("successful", "failed") for row in answer["patterns"][name][:2]
        ],
        "objections": [
            _answer(one, row, paths) for one in answer["objections"] for row in _differing(one["answers"])
        ][:5],
    }  # fmt: skip


def _experiment(row: Mapping, params: Params) -> Said:
    address = url("/experiments", common(params), name=row["experiment"])
    lists = [
        (f"{name}", url("/conversations", common(params), experiment=row["experiment"], variant=name))
        for name in row["variants"]
    ]
    return Said(advice.of_experiment(row), address, lists)


def _message(row: Mapping, answer: Mapping, params: Params) -> Said:
    rank = answer["messages"]
    place = {"message": row["message"], "position": str(row["position"]), "intent": row["intent"]}
    text = utterances.sentence(row, rank, 110).removesuffix(".")
    page = url("/messages", common(params), rank=rank["rank"], position=str(row["position"]))
    return Said(text, page, [(formats.number(row["n"]), url("/conversations", common(params), **place))])


def _drop_off(row: Mapping, params: Params) -> tuple[Said, list[Said]]:
    page = url("/dropoffs", common(params), explain=row["from"])

    def those(**more: str) -> str:
        return url("/conversations", common(params), dropped=row["from"], **more)

    said = [
        Said(advice.of_said(one), page, [(formats.number(one["silent"]), those(last_intent=one["intent"]))])
        for one in row["messages"]
    ]
    return Said(advice.of_drop_off(row), page, [(formats.number(row["lost"]), those())]), said


def _segment(row: Mapping, params: Params) -> Said:
    page = url("/segments", common(params), metric=row["metric"], by=row["by"])
    lists = [
        (formats.visible(one["segment"]), url("/conversations", {**common(params), "where": one["where"]}))
        for one in row["of"]
        if one["where"] is not None
    ]
    return Said(advice.of_segment(row), page, lists)


def _places(points: Sequence[Mapping]) -> list[tuple[int, Mapping]]:
    """Of places that differ only in how one came there the first, each with its number on the page of patterns."""
    found: dict[tuple[str, str], tuple[int, Mapping]] = {}
    for i, row in enumerate(points):
        found.setdefault((row["after"][-1] if row["after"] else "", row["branch"]), (i, row))
    return list(found.values())[:3]


def _point(row: Mapping, paths: Params, place: int) -> Said:
    lists = [
        (f"{findings.step(one['step'])}: {formats.number(one['rate']['denominator'])}",
         listed(paths, [*row["after"], one["step"]], row["kind"]))
        for one in row["branches"][:3]
    ]  # fmt: skip
    return Said(
        findings.of_point(row, paths["success"][0]), url("/patterns", paths, point=str(place)) + "#sides", lists
    )


def _pattern(row: Mapping, paths: Params, group: str) -> Said:
    found = listed(paths, row["pattern"], row["kind"], group)
    return Said(
        findings.of_pattern(row, paths["success"][0]),
        url("/patterns", paths) + f"#{group}",
        [(formats.number(row[group]["numerator"]), found)],
    )


def _differing(answers: list[Mapping]) -> list[Mapping]:
    """The answers that were compared, what differs most first."""
    compared = [row for row in answers if row["q_value"] is not None]
    return sorted(compared, key=lambda row: (row["q_value"], -row["difference"], row["answer"]))[:ANSWERS]


def _answer(one: Mapping, row: Mapping, paths: Params) -> Said:
    known = common(paths)
    raised = url("/conversations", {**known, "where": [*known.get("where", ()), f"objection={one['objection']}"]})
    text = advice.of_answer(one["objection"], row)
    return Said(text, url("/patterns", paths) + "#objections", [(f"with {formats.visible(one['objection'])}", raised)])


def test(row: Mapping, answer: Mapping, params: Params) -> Test:
    """A test with its addresses, of the days on which it rests."""
    goal, recent = answer["definition"]["goal"], answer["definition"]["recent"]
    own = {**common(params), "from": [recent["from"]], "to": [recent["to"]], "timezone": [recent["timezone"]]}
    paths = {**own, "success": [goal]}
    behind = {name: [text] if isinstance(text, str) else text for name, text in row["behind"].items()}
    pages = {
        "drop_off": url("/dropoffs", own, explain=row["place"].partition(" → ")[0]),
        "message": url("/messages", own, position=behind.get("position", [""])[0]),
        "divergence": url("/patterns", paths) + "#points",
        "objection": url("/patterns", paths) + "#objections",
        "experiment": url("/experiments", {}, name=row["place"]),
    }  # fmt: skip
    conditions = [*own.get("where", ()), *behind.get("where", ())]
    lists = {**(paths if "pattern" in behind else own), **behind} | ({"where": conditions} if conditions else {})
    daily = row["volume_per_week"] / 7
    plan = url("/experiments", {}, base=f"{row['base']:g}", effect=f"{row['effect']:g}", daily=f"{daily:.1f}")
    return Test(
        row, advice.of_test(row), advice.of_size(row, goal), pages[row["what"]],
        None if row["what"] == "experiment" else url("/conversations", lists), plan + "#plan",
    )  # fmt: skip
