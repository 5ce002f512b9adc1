"""What is mined is what counting every subsequence and every run gives; every case of cases/patterns.jsonl is met, or
declined here by id with the reason."""

import json
import os
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.analyse.patterns import mining
from dropoff.analyse.patterns.flows import END, START, flows
from dropoff.analyse.patterns.paths import FAILED, WON, of, parse
from pathways import units

SHARED = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[3] / "shared"))
FILE = SHARED / "cases" / "patterns.jsonl"

_ITEMSETS = "steps of a path come one after the other: none has several items at once"
_FUNNELS = "a funnel over units, which cases of funnels and analyse/attempts.py answer: patterns have none"
DECLINED = {
    "pt-ps-generator": "generators: of patterns with the same carriers the closed ones are listed",
    "pt-ps-topk5": "top k by support alone: patterns are ranked by what they say of the outcome",
    "pt-spmf-prefixspan-50": _ITEMSETS,
    "pt-spmf-ms3": _ITEMSETS,
    "pt-spmf-ms4": _ITEMSETS,
    "pt-ret-funnel-basic": _FUNNELS,
    "pt-ret-funnel-order": _FUNNELS,
    "pt-ret-funnel-revisit": _FUNNELS,
    "pt-ret-funnel-diff": _FUNNELS,
}


def numbered(paths):
    """The paths with their steps as numbers, and the steps by number."""
    names = sorted({step for path in paths for step in path})
    return [[names.index(step) for step in path] for path in paths], names


def supports(found):
    return {pattern: int(table.sum()) for pattern, table in found.items()}


def mined(case):
    paths, names = numbered(case["input"]["sequences"])
    found = mining.subsequences(mining.sequences(paths), mining.at_least(case["input"]["min_support"]))
    kept = mining.closed(found, contiguous=False) if case["id"] == "pt-ps-closed" else list(found)
    return {tuple(names[item] for item in pattern): int(found[pattern].sum()) for pattern in kept}


def check_mined(case):
    assert mined(case) == {tuple(one["pattern"]): one["support"] for one in case["expected"]}


def check_contrast(case):
    """Supports of given patterns in both groups, gaps allowed."""
    won, lost = case["input"]["won"], case["input"]["lost"]
    paths, names = numbered(won + lost)
    data = mining.sequences(paths)
    for one in case["expected"]:
        carried = mining.carries(data, tuple(names.index(step) for step in one["pattern"]), contiguous=False)
        both = int(carried[: len(won)].sum()), int(carried[len(won) :].sum())
        assert both == (one["support_won"], one["support_lost"])
        assert both[0] / len(won) - both[1] / len(lost) == pytest.approx(one["diff"])


def transitions(paths):
    groups = [WON] + [FAILED] * (len(paths) - 1)
    made = of(units(paths, groups), parse({}))
    assert len(made.units) == len(paths)
    return {(one["from"], one["to"]): sum(one["counts"]) for one in flows(made, ("a", "b"), None)["transitions"]}


def check_transitions(case):
    wide = [[f"bot:{step}" for step in path] for path in case["input"]["paths"].values()]
    found = transitions(wide)
    labels = [{"path_start": START, "path_end": END}.get(name, f"bot:{name}") for name in case["expected"]["labels"]]
    matrix = [[found.get((one, other), 0) for other in labels] for one in labels]
    # There an end counts as following the last step; so it does here, and a start comes before the first.
    assert matrix == case["expected"]["matrix"]


def check_log(case):
    expected, cases = case["expected"], list(case["input"]["cases"].values())
    found = transitions([[f"bot:{step}" for step in path] for path in cases])
    between = [[one[4:], other[4:], n] for (one, other), n in found.items() if one != START and other != END]
    assert sorted(between) == sorted(expected["dfg"])
    assert {other[4:]: n for (one, other), n in found.items() if one == START} == expected["start_activities"]
    assert {one[4:]: n for (one, other), n in found.items() if other == END} == expected["end_activities"]
    made = of(units([[f"bot:{step}" for step in path] for path in cases], [WON] * len(cases)), parse({}))
    assert len(made.starts) - 1 == expected["n_variants"]
    assert len(made.items) == expected["n_events"]
    assert Counter(made.names[item][4:] for item in made.items.tolist()) == expected["activity_counts"]


CHECKS = {
    "pt-ps-frequent": check_mined,
    "pt-ps-closed": check_mined,
    "pt-ps-text": check_mined,
    "pt-contrast-small": check_contrast,
    "pt-ret-transitions-count": check_transitions,
    "pt-pm4py-running-example": check_log,
}
CASES = [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []


@pytest.mark.skipif(not CASES, reason=f"{FILE} is missing (DROPOFF_SHARED names the folder that holds cases/)")
def test_every_case_is_met_or_declined():
    ids = {case["id"] for case in CASES}
    assert ids == CHECKS.keys() | DECLINED.keys()
    assert not CHECKS.keys() & DECLINED.keys()


@pytest.mark.parametrize("case", [case for case in CASES if case["id"] in CHECKS], ids=lambda case: case["id"])
def test_a_case_is_met(case):
    CHECKS[case["id"]](case)


# against counting everything


PATHS = st.lists(st.lists(st.integers(0, 3), max_size=7), min_size=1, max_size=9)


def by_hand(paths, *, contiguous, longest=5):
    """Of every pattern how many paths have it."""
    counts = Counter()
    for path in paths:
        if contiguous:
            own = {tuple(path[i:j]) for i in range(len(path)) for j in range(i + 1, min(len(path), i + longest) + 1)}
        else:
            own = {
                tuple(path[i] for i in at) for n in range(1, longest + 1) for at in combinations(range(len(path)), n)
            }
        counts.update(own)
    return counts


def holds(long, short, *, contiguous):
    if contiguous:
        return any(long[i : i + len(short)] == short for i in range(len(long)))
    rest = iter(long)
    return all(item in rest for item in short)


@pytest.mark.parametrize("contiguous", [False, True])
@settings(max_examples=60)
@given(paths=PATHS, least=st.integers(1, 3), data=st.data())
def test_supports_and_closed_sets_are_those_of_counting_by_hand(contiguous, paths, least, data):
    mine = mining.runs if contiguous else mining.subsequences
    found = supports(mine(mining.sequences(paths), mining.at_least(least)))
    expected = {p: n for p, n in by_hand(paths, contiguous=contiguous).items() if n >= least}
    assert found == expected
    kept = mining.closed(mine(mining.sequences(paths), mining.at_least(least)), contiguous=contiguous)
    larger = {
        p for p in found for q in found
        if len(q) > len(p) and found[p] == found[q] and holds(q, p, contiguous=contiguous)
    }  # fmt: skip
    assert set(kept) == found.keys() - larger
    for pattern in data.draw(st.lists(st.sampled_from(sorted(found)), max_size=3)) if found else []:
        carried = mining.carries(mining.sequences(paths), pattern, contiguous=contiguous)
        assert carried.tolist() == [holds(tuple(path), pattern, contiguous=contiguous) for path in paths]
    shuffled = data.draw(st.permutations(paths))
    assert supports(mine(mining.sequences(shuffled), mining.at_least(least))) == found


@settings(max_examples=30)
@given(paths=PATHS, data=st.data())
def test_weights_by_stratum_and_group_are_those_of_each_path_by_itself(paths, data):
    n = len(paths)
    weights = np.array([data.draw(st.lists(st.integers(0, 5), min_size=3, max_size=3)) for _ in range(n)], np.int64)
    strata = np.array([data.draw(st.integers(0, 2)) for _ in range(n)], np.int64)
    given_ = mining.sequences(paths)._replace(weights=weights, strata=strata)
    for mine, contiguous in ((mining.subsequences, False), (mining.runs, True)):
        for pattern, table in mine(given_, mining.at_least(1)).items():
            expected = np.zeros_like(table)
            for path, stratum, own in zip(paths, strata, weights, strict=True):
                if holds(tuple(path), pattern, contiguous=contiguous):
                    expected[stratum] += own
            assert (table == expected).all()


def test_what_is_grown_in_parts_is_the_same(monkeypatch):
    """However little is looked at at once; and what is done only grows, up to 1."""
    rng = np.random.default_rng(3)
    paths = [rng.integers(0, 6, rng.integers(0, 12)).tolist() for _ in range(200)]
    whole = supports(mining.subsequences(mining.sequences(paths), mining.at_least(5)))
    monkeypatch.setattr(mining, "AT_ONCE", 50)
    told: list[float] = []
    assert supports(mining.subsequences(mining.sequences(paths), mining.at_least(5), done=told.append)) == whole
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 10
