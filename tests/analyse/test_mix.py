"""A segment that looks better only by its mix is found, and one that is better is not accused of it."""

from typing import Any

import polars as pl
import pytest

from dropoff.analyse.segments import mix
from dropoff.analyse.stats import Share, kitagawa
from worlds import received, started


def table(**segments):
    """From segments with their values, each x of n."""
    rows = [
        {"own": own, "value": value, "x": float(x), "n": float(n)}
        for own, values in segments.items()
        for value, (x, n) in values.items()
    ]
    return mix._table(pl.DataFrame(rows))


def explained(tables, difference=0.1) -> Any:
    (found,) = mix.explained(tables, [{"a": "a", "b": "b", "difference": difference}])
    return found


EQUAL = table(a={"good": (90, 150), "bad": (10, 50)}, b={"good": (30, 50), "bad": (30, 150)})
"""60 % and 20 % in both, but three times as many good ones in a: 50 % against 30 %."""


def test_a_difference_that_is_gone_within_a_dimension_is_its_mix():
    found = explained({"medium": EQUAL}, 0.2)
    assert found["dimension"] == "medium"
    assert found["difference"] == pytest.approx(0)
    assert found["interval"][0] < 0 < found["interval"][1]
    assert found["p_value"] == pytest.approx(1)
    assert found["mix_effect"] == pytest.approx(0.2)


def test_one_that_turns_round_is_too():
    turned = table(a={"good": (500, 1000), "bad": (10, 200)}, b={"good": (140, 200), "bad": (250, 1000)})
    assert explained({"medium": turned}, 0.1)["interval"][1] < 0


@pytest.mark.parametrize(
    "other",
    [
        table(a={"good": (120, 150), "bad": (25, 50)}, b={"good": (30, 50), "bad": (30, 150)}),  # it is better in both
        table(a={"good": (90, 150)}, b={"bad": (30, 150)}),  # nothing stands side by side
        table(a={"good": (90, 150), "both": (6, 20)}, b={"bad": (30, 150), "both": (6, 20)}),  # too little does
        table(a={"good": (9, 15), "bad": (1, 5)}, b={"good": (3, 5), "bad": (3, 15)}),  # they are few
    ],
)
def test_what_is_better_or_cannot_be_compared_is_not_called_a_mix(other):
    assert explained({"medium": other}, 0.3) is None


def test_of_several_dimensions_that_with_the_fewest_values_is_named():
    finer = table(
        a={"good": (45, 75), "fine": (45, 75), "bad": (10, 50)},
        b={"good": (15, 25), "fine": (15, 25), "bad": (30, 150)},
    )
    assert explained({"source": finer, "medium": EQUAL}, 0.2)["dimension"] == "medium"
    assert explained({"medium": EQUAL, "source": finer}, 0.2)["dimension"] == "medium"


def test_the_rarer_of_many_values_are_taken_together():
    many = {f"v{i:03d}": (1, 2 + (i < 50)) for i in range(60)}
    found = table(a=many, b=many)
    assert len(found.values) == 51
    assert found.n[0].sum() == 50 * 3 + 10 * 2


def test_the_answer_has_it_as_a_plain_count_gives_it(asked):
    """Two industries, three media; whoever was referred answers."""
    counts = {
        "Legal": {"referral": 60, "paid": 20, "organic": 20},
        "Retail": {"referral": 20, "paid": 60, "organic": 60},
    }
    events, number = [], 0
    for industry, media in counts.items():
        for medium, many in media.items():
            for i in range(many):
                number += 1
                name, answers = f"c{number}", i % 4 < (3 if medium == "referral" else 1)
                events.append(started(conversation_id=name, industry=industry, medium=medium))
                events += [received(conversation_id=name)] if answers else []
    answer = asked(*events).segments(
        {
            "metric": ["response_rate"],
            "by": ["industry"],
            "from": ["2024-01-01"],
            "to": ["2024-02-01"],
            "units": ["all"],
        }
    )
    (found,) = answer["significant_differences"]
    assert (found["a"], found["b"]) == ("Legal", "Retail")
    sides = {
        industry: {m: Share(sum(i % 4 < (3 if m == "referral" else 1) for i in range(n)), n) for m, n in media.items()}
        for industry, media in counts.items()
    }
    assert found["mix"]["dimension"] == "medium"
    assert found["mix"]["difference"] == pytest.approx(0, abs=1e-9)
    expected = sum(one.mix for one in kitagawa(sides["Legal"], sides["Retail"]).values())
    assert found["mix"]["mix_effect"] == pytest.approx(expected)
    held = asked(*events).segments(
        {"metric": ["response_rate"], "by": ["medium"], "from": ["2024-01-01"], "to": ["2024-02-01"], "units": ["all"]}
    )
    assert [one["mix"] for one in held["significant_differences"]] == [None, None]
