import subprocess
import sys
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropoff.analyse.answers import divide, ratio, share
from dropoff.analyse.stats import Share, family, kitagawa, newcombe, p_value, q_values, wilson


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


def exactly(a: Share, b: Share) -> Fraction:
    """Fisher's two-sided p from whole numbers."""
    hits = a.successes + b.successes

    def ways(k):
        return comb(a.n, k) * comb(b.n, hits - k)

    seen = ways(a.successes)
    tables = [ways(k) for k in range(min(a.n, hits) + 1)]
    return Fraction(sum(one for one in tables if one <= seen), sum(tables))


SHARES = st.integers(1, 40).flatmap(lambda n: st.integers(0, n).map(lambda k: Share(k, n)))


@given(SHARES, SHARES)
def test_a_p_value_is_exact_where_cells_are_small(a, b):
    hits, n = a.successes + b.successes, a.n + b.n
    found = p_value(a, b)
    assert found is not None
    assert found == pytest.approx(p_value(b, a), rel=1e-9)
    assert 0 <= found <= 1
    if hits in (0, n) or min(hits, n - hits) * min(a.n, b.n) < 5 * n:
        assert found == pytest.approx(float(exactly(a, b)), rel=1e-9)


@given(SHARES, SHARES)
def test_the_interval_of_a_difference_holds_it_and_turns_with_it(a, b):
    (low, high), (other_low, other_high) = newcombe(a, b) or (2, 2), newcombe(b, a) or (2, 2)
    difference = a.successes / a.n - b.successes / b.n
    assert -1 - 1e-9 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1 + 1e-9
    assert (other_low, other_high) == pytest.approx((-high, -low))


def test_of_nothing_there_is_no_comparison():
    assert newcombe(Share(0, 0), Share(1, 2)) is None
    assert p_value(Share(1, 2), Share(0, 0)) is None


def test_q_values_as_benjamini_and_hochberg_have_them():
    # Of 15 hypotheses those four are rejected at 0.05 (J. R. Stat. Soc. B 57, 1995, section 3.2).
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1,
    ]
    assert [q < 0.05 for q in q_values(p)] == [True] * 4 + [False] * 11
    assert q_values(p[::-1]) == q_values(p)[::-1]
    assert q_values([]) == []


def test_what_was_not_tested_is_no_part_of_a_family():
    assert family([None, 0.01, None, 0.04]) == [None, 0.02, None, 0.04]
    assert family([None]) == [None]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_a_q_value_is_the_rate_at_which_the_procedure_rejects(p):
    for place, q in enumerate(q_values(p)):
        at_least = [one for one in p if one >= p[place]]
        rates = [one * len(p) / sum(other <= one for other in p) for one in at_least]
        assert q == pytest.approx(min(1, *rates) if len(rates) else 1)


GROUPS = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=4)


@given(GROUPS, GROUPS)
def test_rate_and_mix_effects_add_up_to_the_difference_exactly(now, before):
    tables = [{g: Share(Fraction(k), Fraction(k + m)) for g, (k, m) in table.items()} for table in (now, before)]  # pyright: ignore[reportArgumentType]
    effects = kitagawa(*tables)
    hits = [sum((one.successes for one in table.values()), Fraction()) for table in tables]
    n = [sum((one.n for one in table.values()), Fraction()) for table in tables]
    if not all(n):
        assert effects == {}
        return
    assert sum(one.rate + one.mix for one in effects.values()) == hits[0] / n[0] - hits[1] / n[1]
    for group, (rate, _) in effects.items():
        new, old = (table.get(group, Share(0, 0)) for table in tables)
        if new.n and old.n:
            weight = (new.n / n[0] + old.n / n[1]) / 2
            assert rate == weight * (new.successes / new.n - old.successes / old.n)
        else:
            assert rate == 0


def test_only_the_mix_changes():
    now = {"chat": Share(60, 100), "sms": Share(20, 100)}
    before = {"chat": Share(30, 50), "sms": Share(30, 150)}
    effects = kitagawa(now, before)
    assert [one.rate for one in effects.values()] == [0, 0]
    # A quarter of all moved from the lower rate to the higher one: 0.25 * (0.6 - 0.2).
    assert sum(one.mix for one in effects.values()) == pytest.approx(0.1)
    assert all(one.mix > 0 for one in effects.values())


def test_the_command_line_starts_without_what_only_tests_of_hypotheses_need():
    heavy = "import sys, dropoff.analyse.experiments.power; print({'numpy', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "set()\n"
