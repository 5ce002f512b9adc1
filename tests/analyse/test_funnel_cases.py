"""Funnels with known answers, from suites that are not ours: PostHog's funnel tests and ClickHouse's `windowFunnel`."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from operator import eq, ge, itemgetter, le, ne
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pytest

from dropoff.analyse.funnels import custom_funnel
from dropoff.analyse.funnels.attempts import attempts
from dropoff.analyse.funnels.tallies import count, times, trend
from dropoff.periods import MICROSECOND, Period, to_micros
from dropoff.project.funnels import Funnel, parse
from dropoff.query import NONE, Query, Where
from dropoff.store.base import Store
from worlds import give_back, given

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHARED = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[3] / "shared")) / "cases"

FIRST_TIME = "a step that only a person's first event of its kind ever satisfies: not offered"
REPEATS = "strict_deduplication: a repeated event ends the chain: not offered"
FOREIGN = "strict_order: an event of another step ends the chain, a repeated one does not: not offered"
SEVERAL = "one event fills several equal steps: with Dropoff it fills one"

DECLINED = {
    "ph-075-first-time-step1": FIRST_TIME,
    "ph-076-first-time-both": FIRST_TIME,
    "ph-077-first-time-history-outside-range": FIRST_TIME,
    "ph-080-first-time-then-filter": FIRST_TIME,
    "ch-wf-dedup": REPEATS,
    "ch-wf-dedup-pr99003": REPEATS,
    "ch-wf-order-strict": FOREIGN,
    "ch-wf-same-cond-3x": SEVERAL,
    "ch-wf-same-cond-3x-increase": "strict_increase: steps at one instant do not follow one another: not offered",
    "ch-wf-once-strict_once-strict_increase": "strict_once, strict_increase: not offered",
    "ch-wf-once-strict_once-strict_deduplication": "strict_once, strict_deduplication: not offered",
    "ch-wf-ecom-reentry": "strict_order, allow_reentry: not offered",
}
"""Cases about what Dropoff does not offer, and what that is."""


def cases(name: str) -> list[dict[str, Any]]:
    path = SHARED / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


POSTHOG, CLICKHOUSE = cases("posthog_funnel"), cases("clickhouse_funnel")
needs_cases = pytest.mark.skipif(not POSTHOG or not CLICKHOUSE, reason=f"no known answers under {SHARED}")


def offered(found: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in found if case["id"] not in DECLINED]


IN_STORE = [case for case in POSTHOG + CLICKHOUSE if case["id"] not in DECLINED]


@needs_cases
def test_every_declined_case_exists():
    assert DECLINED.keys() <= {case["id"] for case in POSTHOG + CLICKHOUSE}


@needs_cases
def test_what_is_declined_is_what_dropoff_does_not_offer():
    declined = [case for case in POSTHOG if any(step.get("first_time") for step in case["funnel"]["steps"])]
    declined += [case for case in CLICKHOUSE if case["params"][1:]]
    declined += [c for c in CLICKHOUSE if len({one["sql"] for one in c["conditions"]}) < len(c["conditions"])]
    assert DECLINED.keys() == {case["id"] for case in declined}


# PostHog: a person is the unit


MODES = {"ordered": "ordered", "strict": "strict", "unordered": "any"}
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
ATTRIBUTIONS = {"first_touch": "first", "last_touch": "last", "all_events": "all"}


def posthog_funnel(given: dict[str, Any]) -> Funnel:
    return parse(posthog_definition(given))


def posthog_definition(given: dict[str, Any]) -> dict[str, Any]:
    window = given["window"]["value"] * SECONDS[given["window"]["unit"]]
    definition: dict[str, Any] = {
        "steps": [
            {"event": f"event_{i}", "optional": step.get("optional", False)} for i, step in enumerate(given["steps"])
        ],
        "mode": MODES[given["order"]],
        "window": f"{window}s",
        "exclusions": [
            {"event": f"exclusion_{i}", "between": [each["from_step"], each["to_step"]]}
            for i, each in enumerate(given["exclusions"])
        ],
    }
    breakdown = given["breakdown"]
    if breakdown:
        by_step = {"step": breakdown.get("attribution_step")}
        definition |= {"by": "event:p", "attribution": ATTRIBUTIONS.get(breakdown["attribution"], by_step)}
    return definition


def satisfies(event: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return wanted["event"] in (None, event["event"]) and all(
        has(event["props"], one) for one in wanted.get("props") or []
    )


def has(props: dict[str, Any], wanted: dict[str, Any]) -> bool:
    if wanted["key"] not in props:
        return False
    value, asked = (text(one).lower() for one in (props[wanted["key"]], wanted["value"]))
    return {"exact": value == asked, "icontains": asked in value}[wanted["op"]]


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def posthog_events(case: dict[str, Any]) -> pl.DataFrame:
    given = case["funnel"]
    breakdown, by = given["breakdown"] or {"keys": []}, given.get("aggregate_by")
    rows = []
    for event in case["events"]:
        values = [event["props"].get(key) for key in breakdown["keys"]]
        rows.append(
            {
                "unit": event["props"].get(by) if by else event["person"],
                "at": to_micros(instant(event["ts"])),
                "steps": bits(satisfies(event, step) for step in given["steps"]),
                "exclusions": bits(satisfies(event, each) for each in given["exclusions"]),
                "value": None
                if all(v is None for v in values)
                else "|".join("" if v is None else text(v) for v in values),
            }
        )
    frame = pl.DataFrame(
        rows, {"unit": pl.String, "at": pl.Int64, "steps": pl.UInt32, "exclusions": pl.UInt32, "value": pl.String}
    )
    return frame.drop_nulls("unit")


def bits(satisfied: Any) -> int:
    return sum(1 << i for i, does in enumerate(satisfied) if does)


def instant(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)


def period(case: dict[str, Any]) -> tuple[int, int]:
    """The days asked for, else all; what PostHog calls its end is still in it."""
    start, end = case["funnel"]["date_from"], case["funnel"]["date_to"]
    return (to_micros(instant(start)) if start else 0, to_micros(instant(end)) + 1 if end else 2**60)


def checked(case: dict[str, Any], *known: str) -> dict[str, Any]:
    """What is expected. A case may expect nothing that this test does not look at."""
    assert case["expected"].keys() <= set(known)
    return case["expected"]


def posthog(kind: str) -> Any:
    return pytest.mark.parametrize("case", offered([case for case in POSTHOG if case["kind"] == kind]))


def check_counts_and_times(found: pl.DataFrame, funnel: Funnel, expected: dict[str, Any]) -> None:
    counts = count(found, funnel)["count"].to_list()
    assert counts == expected["counts"]
    for key, name in (("avg_time", "average"), ("median_time", "median")):
        for step, seconds in enumerate(expected.get(key, [])):
            measured = getattr(times(found, step - 1, step), name) if step else None
            # null says that there is none, or where people came, that the suite does not say
            if seconds is not None or not counts[step]:
                assert measured == seconds, (key, step)


@needs_cases
@posthog("steps")
def test_posthog_steps(case: dict[str, Any]):
    funnel = posthog_funnel(case["funnel"])
    found = attempts(posthog_events(case), funnel, period(case))
    expected = checked(case, "counts", "avg_time", "median_time", "persons", "by_breakdown")
    if "by_breakdown" in expected:
        missing = "|".join("" for _ in case["funnel"]["breakdown"]["keys"])
        values = found.with_columns(pl.col("value").fill_null(missing)).partition_by("value", as_dict=True)
        # A value of which nobody took the first step is not in PostHog's answer.
        assert {value for (value,) in values} == expected["by_breakdown"].keys()
        for (value,), own in values.items():
            check_counts_and_times(own, funnel, expected["by_breakdown"][value])
    else:
        check_counts_and_times(found, funnel, expected)
    for number, persons in expected.get("persons", {}).items():
        assert sorted(found.drop_nulls(f"at_{int(number) - 1}")["unit"]) == sorted(persons), number


@needs_cases
@posthog("trends")
def test_posthog_trends(case: dict[str, Any]):
    given, funnel = case["funnel"], posthog_funnel(case["funnel"])
    expected = checked(case, "days", "from_count", "to_count", "rate")
    zone = ZoneInfo(given.get("timezone") or "UTC")
    cuts = [to_micros(datetime.fromisoformat(day).replace(tzinfo=zone)) for day in expected["days"]]
    days = trend(attempts(posthog_events(case), funnel, period(case), cuts), funnel, len(cuts))
    first, last = given.get("from_step") or 0, given.get("to_step")
    entered, came = days[:, first].tolist(), days[:, -1 if last is None else last].tolist()
    assert (entered, came) == (expected["from_count"], expected["to_count"])
    rates = [round(100 * c / e, 2) if e else 0 for e, c in zip(entered, came, strict=True)]
    assert rates == expected.get("rate", rates)


@needs_cases
@posthog("time_to_convert")
def test_posthog_time_to_convert(case: dict[str, Any]):
    given, funnel = case["funnel"], posthog_funnel(case["funnel"])
    expected = checked(case, "bins", "avg_time")
    source, target = given.get("from_step"), given.get("to_step")
    last = len(funnel.steps) - 1
    taken = times(attempts(posthog_events(case), funnel, period(case)), source or 0, last if target is None else target)
    assert [list(each) for each in taken.histogram] == expected["bins"]
    assert taken.average == expected["avg_time"]


# ClickHouse: a group is the unit


@needs_cases
@pytest.mark.parametrize("case", offered(CLICKHOUSE))
def test_clickhouse_window_funnel(case: dict[str, Any]):
    assert (case["extra_args"], case["where"]) == ([], None)
    funnel = parse(clickhouse_definition(case))
    events = pl.DataFrame(list(clickhouse_events(case)), {"unit": pl.String, "at": pl.Int64, "steps": pl.UInt32})
    found = attempts(events, funnel, (0, 2**60))
    level = dict(zip(found["unit"], (found["furthest"] + 1).to_list(), strict=True))
    expected = case["expected"] if case["group_by"] else {"all": case["expected"]}
    assert {unit: level.get(unit, 0) for unit in events["unit"]} == expected


def clickhouse_definition(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "steps": [{"event": f"event_{i}"} for i in range(len(case["conditions"]))] + [{"event": "never"}],
        "window": f"{min(case['params'][0], LONGEST)}s",
    }


LONGEST = 3650 * 86_400
"""Seconds of the longest window; every case is shorter than that."""


def clickhouse_events(case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rows = [dict(zip(case["columns"], row, strict=True)) for row in case["rows"]]
    clock = next(name for name in case["columns"] if name in case["ts_expr"])
    earliest = min(clickhouse_seconds(row[clock]) for row in rows)
    for row in rows:
        yield {
            "unit": str(row[case["group_by"]]) if case["group_by"] else "all",
            "at": (clickhouse_seconds(row[clock]) - earliest) * 1_000_000,
            "steps": bits(clickhouse_has(row, condition["sql"]) for condition in case["conditions"]),
        }


def clickhouse_seconds(value: Any) -> int:
    return value if isinstance(value, int) else int(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp())


def clickhouse_has(row: dict[str, Any], condition: str) -> bool:
    column, sign, value = condition.replace("COALESCE(a, '')", "a").split(maxsplit=2)
    wanted = value.strip("'") if value.startswith("'") else int(value)
    found = wanted.__class__() if row[column] is None else row[column]
    return {"=": eq, "!=": ne, "<=": le, ">=": ge}[sign](found, wanted)


# The same through a store: every case has conversations of its own, told apart by a property


@pytest.fixture(scope="module")
def store(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The events of all cases, imported at once."""
    directory = tmp_path_factory.mktemp("cases")
    opened = given(*(event for case in IN_STORE for event in stored(case)), directory=directory, engine=engine)
    yield opened
    opened.close()
    give_back(directory)


def frame_of(case: dict[str, Any]) -> pl.DataFrame:
    if "rows" not in case:
        return posthog_events(case)
    return pl.DataFrame(list(clickhouse_events(case)), {"unit": pl.String, "at": pl.Int64, "steps": pl.UInt32})


def stored(case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a case: which steps and exclusions each satisfies are its properties."""
    for place, row in enumerate(frame_of(case).to_dicts()):
        properties = {"case": case["id"], "p": row.get("value")}
        for kind, of in (("s", row["steps"]), ("x", row.get("exclusions", 0))):
            properties |= {f"{kind}{i}": True for i in range(32) if of >> i & 1}
        yield {
            "event_type": "case", "conversation_id": f"{case['id']}/{row['unit']}", "event_id": f"{place:06}",
            "timestamp": (EPOCH + row["at"] * MICROSECOND).isoformat(),
            "sequence": place, "properties": {name: value for name, value in properties.items() if value is not None},
        }  # fmt: skip


def by_properties(definition: dict[str, Any]) -> Funnel:
    """A funnel whose steps are known by those properties."""
    steps = [one | {"event": "case", "where": {f"s{i}": True}} for i, one in enumerate(definition["steps"])]
    exclusions = [
        one | {"event": "case", "where": {f"x{i}": True}} for i, one in enumerate(definition.get("exclusions", ()))
    ]
    return parse({**definition, "steps": steps, "exclusions": exclusions})


def asked(store: Store, case: dict[str, Any], definition: dict[str, Any], **more: Any) -> dict[str, Any]:
    first, end = (0, 2**51) if "rows" in case else period(case)
    zone = case["funnel"].get("timezone") or "UTC" if "funnel" in case else "UTC"
    span = Period(EPOCH + first * MICROSECOND, EPOCH + min(end, 2**51) * MICROSECOND, zone)
    query = Query(span, datetime(2100, 1, 1, tzinfo=UTC), (Where("property:case", (case["id"],)),))
    return msgspec.to_builtins(custom_funnel.answer(store, query, by_properties(definition), "case", **more))


def counts_of(part: dict[str, Any]) -> list[int]:
    return [stage["count"] for stage in part["stages"]]


@needs_cases
@pytest.mark.one_store
@pytest.mark.parametrize("case", [case for case in IN_STORE if case.get("kind") == "steps"], ids=itemgetter("id"))
def test_posthog_through_a_store(store: Store, case: dict[str, Any]):
    found = asked(store, case, posthog_definition(case["funnel"]))
    if "by_breakdown" not in case["expected"]:
        assert counts_of(found) == case["expected"]["counts"]
        return
    missing = "|".join("" for _ in case["funnel"]["breakdown"]["keys"])
    segments = {missing if value == NONE else value: counts_of(part) for value, part in found["segments"].items()}
    assert segments == {value: own["counts"] for value, own in case["expected"]["by_breakdown"].items()}


@needs_cases
@pytest.mark.parametrize("case", [case for case in IN_STORE if "rows" in case], ids=itemgetter("id"))
def test_clickhouse_through_a_store(store: Store, case: dict[str, Any]):
    levels = list(case["expected"].values()) if case["group_by"] else [case["expected"]]
    steps = len(case["conditions"])
    assert counts_of(asked(store, case, clickhouse_definition(case))) == [
        *(sum(level > i for level in levels) for i in range(steps)), 0
    ]  # fmt: skip


@needs_cases
@pytest.mark.one_store
@pytest.mark.parametrize("case", [c for c in IN_STORE if c.get("kind") == "trends"], ids=itemgetter("id"))
def test_posthog_trends_through_a_store(store: Store, case: dict[str, Any]):
    given, expected = case["funnel"], case["expected"]
    found = asked(store, case, posthog_definition(given), interval=given["interval"])
    zone, last = ZoneInfo(given.get("timezone") or "UTC"), given.get("to_step")
    points = {instant(p["from"]).astimezone(zone).date().isoformat(): counts_of(p) for p in found["trend"]["points"]}
    days = [points.get(day, [0] * len(given["steps"])) for day in expected["days"]]
    assert [day[given.get("from_step") or 0] for day in days] == expected["from_count"]
    assert [day[-1 if last is None else last] for day in days] == expected["to_count"]


@needs_cases
@pytest.mark.one_store
@pytest.mark.parametrize("case", [c for c in IN_STORE if c.get("kind") == "time_to_convert"], ids=itemgetter("id"))
def test_posthog_time_to_convert_through_a_store(store: Store, case: dict[str, Any]):
    """The answer has the time from the first step to the last, and that of each step."""
    given, expected = case["funnel"], case["expected"]
    found = asked(store, case, posthog_definition(given))
    if (target := given.get("to_step")) is not None:
        assert found["stages"][target]["average_seconds"] == expected["avg_time"]
    else:
        taken = found["time_to_convert"]
        bins = [[one["from_seconds"], one["count"]] for one in taken["histogram"]]
        assert (bins, taken["average_seconds"]) == (expected["bins"], expected["avg_time"])
