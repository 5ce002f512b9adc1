import json
import os
from pathlib import Path

import pytest

from dropoff.analyse.answers import divide, ratio, share
from dropoff.analyse.stats import wilson

SHARED = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[3] / "shared"))
CASES = SHARED / "cases" / "stats.jsonl"


def cases():
    if not CASES.exists():
        missing = pytest.mark.skip(reason=f"{CASES} is missing (DROPOFF_SHARED names the folder that holds cases/)")
        return [pytest.param(None, marks=missing)]
    found = [json.loads(line) for line in CASES.read_text().splitlines() if line.strip()]
    wanted = [case for case in found if case["group"] == "one-proportion CI" and case["method"] == "Wilson score"]
    return [pytest.param(case, id=case["id"]) for case in wanted]


@pytest.mark.parametrize("case", cases())
def test_wilson_agrees_with_others(case):
    given = case["inputs"]
    assert given["level"] == 0.95
    assert wilson(given["successes"], given["n"]) == pytest.approx(case["expected"], abs=case["tolerance"])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe, Interval estimation for the difference of proportions (Stat. Med. 1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_newcombe(successes, n, low, high):
    assert [round(bound, 4) for bound in wilson(successes, n) or ()] == [low, high]


def test_wilson_at_the_ends_is_exact():
    for n in range(1, 200):
        low, high = wilson(0, n) or (1, 1)
        assert low == 0.0
        assert 0 < high < 1
        low, high = wilson(n, n) or (0, 0)
        assert high == 1.0
        assert 0 < low < 1


def test_an_interval_holds_its_share():
    for n in range(1, 40):
        for successes in range(n + 1):
            low, high = wilson(successes, n) or (2, 2)
            assert 0 <= low <= successes / n <= high <= 1


def test_nothing_over_nothing_is_null():
    assert wilson(0, 0) is None
    assert divide(0, 0) is None
    assert divide(3, 0) is None
    assert share(0, 0).value is None
    assert ratio(0, 0).value is None
    assert share(0, 4).value == 0


def test_a_ratio_may_exceed_one_and_has_no_interval():
    assert ratio(3, 2).value == 1.5
    assert ratio(3, 2).interval is None
