"""Every case of cases/stats.jsonl is met to its tolerance, or declined here by id with the reason.

A part of a case that is declined alone stands as `id.part`.
"""

import json
import os
from pathlib import Path

import pytest

from dropoff.analyse import stats
from dropoff.analyse.experiments import power, sequential
from dropoff.analyse.stats import Moments, Share

SHARED = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[3] / "shared"))
FILE = SHARED / "cases" / "stats.jsonl"
MISSING = f"{FILE} is missing (DROPOFF_SHARED names the folder that holds cases/)"


def wilson(given):
    assert given["level"] == 0.95
    return stats.wilson(given["successes"], given["n"])


def pair(given):
    """Both shares, in the order in which the case subtracts them."""
    if "control" in given:
        return Share(*given["treatment"]), Share(*given["control"])
    first, second = map(Share, given["successes"], given["n"])
    return first, second


def newcombe(given):
    assert given["level"] == 0.95
    return stats.newcombe(*pair(given))


def shares(given):
    found = stats.compare_shares(*pair(given))
    assert found is not None
    return {"diff": found.difference, "p": found.p_value}


def binomial(given):
    """A share against a given one is the sample ratio of two arms."""
    hits, n, weight = given["successes"], given["n"], given["p0"]
    return {"p": sequential.sample_ratio([hits, n - hits], [weight, 1 - weight]).fixed_p_value}


def false_discovery_rate(given):
    return stats.q_values(given["p"])


def sample_ratio(given):
    return sequential.sample_ratio(given["counts"], given["weights"]).fixed_p_value


def powerful(given):
    base, units = given["prop2"], given["n_per_group"]
    return {"power": power.power_at(base, given["diff"], units, power.Design(alpha=given["alpha"], sequential=False))}


def moments(of):
    """Of a case's group, given by its sums or as hits of n."""
    return Moments(of["n"], of["sum"], of["sum_squares"]) if isinstance(of, dict) else Moments(of[1], of[0], of[0])


def welch(given):
    found = stats.welch(moments(given["treatment"]), moments(given["control"]))
    assert found is not None
    return {"effect": found.difference, "ci": found.interval, "p": found.p_value}


def relative_sequence(given):
    """Our sequence around a relative effect, whose estimate and variance (delta method) only this test needs."""
    a, b = moments(given["treatment"]), moments(given["control"])
    n = a.n + b.n
    of_a, of_b = (one.variance if isinstance(given["control"], dict) else one.mean * (1 - one.mean) for one in (a, b))
    variance = of_a / a.n / b.mean**2 + of_b / b.n * a.mean**2 / b.mean**4
    effect = a.mean / b.mean - 1
    found = sequential.confidence_sequence(effect, variance, n, given["tuning_N"], given["alpha"])
    return {"effect": found.difference, "ci": found.interval, "p": found.p_value}


def mixture_bound(given):
    rho = sequential.rho(given["v_opt"], given["alpha_opt"])
    return sequential.boundary(given["v"], rho, given["alpha"])


def mixture_evidence(given):
    return sequential.log_evidence(given["s"], given["v"], sequential.rho(given["v_opt"], given["alpha_opt"]))


MET = {
    "Wilson score": wilson,
    "Wilson score, bounds stay in [0,1]": wilson,
    "exact binomial test (R binom.test)": binomial,
    "Newcombe hybrid score (method 10)": newcombe,
    "Newcombe 1998 method 10 (Wilson hybrid score)": newcombe,
    "two-sided pooled z-test": shares,
    "chi-square p (no correction) + Wald CI": shares,
    "normal, no correction, pooled test": shares,
    "BH": false_discovery_rate,
    "exact binomial SRM 1:1": sample_ratio,
    "chi-square SRM as GrowthBook defines it (df = number of groups - 1; total 0 -> p = 1; zero-weight groups skipped "
    "but still counted in df)": sample_ratio,
    "two-sided unpooled/pooled normal power (R power.prop.test)": powerful,
    "two-sided Welch t, absolute": welch,
    "two-sided, tuning N*=1000, relative": relative_sequence,
    "two-sided, default tuning N*=5000, relative, proportions": relative_sequence,
    "two-sided normal mixture bound (= mSPRT boundary on the sum scale)": mixture_bound,
    "two-sided normal mixture: log likelihood ratio": mixture_evidence,
}
"""Method of the case → what Dropoff has for it."""


def all_of(reason, *ids):
    return dict.fromkeys(ids, reason)


DECLINED = {
    **all_of(
        "one interval of a share is offered, Wilson's: Clopper–Pearson covers too much",
        "st-binom-exact-18-20",
        "st-binom-exact-4-20",
        "st-binom-exact-4-200",
        "st-binom-exact-190-200",
        "st-binom-exact-29-30",
        "st-binom-exact-0-30",
        "st-binom-exact-30-30",
        "st-binomtest-51-235-two-sided.ci95",
    ),
    **all_of(
        "one interval of a share is offered, Wilson's: Agresti–Coull is its approximation",
        "st-binom-agresti-coull-18-20",
        "st-binom-agresti-coull-4-200",
        "st-binom-agresti-coull-1-30",
        "st-binom-agresti-coull-0-30",
        "st-binom-agresti-coull-30-30",
    ),
    **all_of(
        "one interval of a share is offered, Wilson's: Wald's covers too little and is empty at 0 and 1",
        "st-binom-asymptotic-4-200",
        "st-binom-asymptotic-1-30",
        "st-binom-asymptotic-30-30",
    ),
    **all_of(
        "Wilson's interval is offered without continuity correction (SEMANTICS §6)",
        "st-binom-prop.test-18-20",
        "st-binom-prop.test-4-200",
        "st-binom-prop.test-190-200",
        "st-binom-prop.test-1-30",
        "st-binom-prop.test-29-30",
        "st-binom-prop.test-0-30",
    ),
    **all_of(
        "tests are two-sided: nobody knows beforehand which segment is better",
        "st-binomtest-51-235-greater",
        "st-binomtest-51-235-less",
        "st-tt-prop-fisher-less",
        "st-gb-one-greater-rel",
        "st-gb-one-greater-abs",
        "st-gb-one-less-rel",
        "st-gb-seq-greater-rel",
        "st-cs-log1",
        "st-cs-bound1",
    ),
    **all_of(
        "a share is compared with another one of the data, not with a given number",
        "st-proptest-4-vs-0.9",
        "st-ztest-1s-5-83",
    ),
    **all_of(
        "p-value and interval are reported, not the statistic between them",
        "st-ztest-5-83-12-99.z",
    ),
    **all_of(
        "the interval of a difference of shares is Newcombe's: Wald's leaves [-1, 1] and covers too little",
        "st-diff-wald-fagerland",
        "st-diff-wald-propcis",
        "st-tt-prop-norm-nocc.diff_ci",
        "st-spot-chi-us.ci",
        "st-spot-chi-gb.ci",
    ),
    **all_of(
        "the interval of a difference of shares is Newcombe's",
        "st-diff-mn-propcis",
        "st-diff-ac-propcis",
    ),
    **all_of(
        "differences are absolute: odds ratios are not offered",
        "st-or-score-propcis",
        "st-or-logit-smoothed-fagerland",
    ),
    **all_of(
        "differences are absolute: ratios of shares are not offered",
        "st-rr-score-propcis",
        "st-ratio-log-fagerland",
        "st-ratio-log-adjusted-fagerland",
        "st-tt-prop-norm-nocc.rel_ci",
    ),
    **all_of(
        "tests of shares are Fisher's and the pooled z-test without continuity correction (SEMANTICS §6)",
        "st-tt-prop-pearson-yates",
        "st-tt-prop-g-yates",
        "st-tt-prop-norm-unpooled-cc",
    ),
    **all_of(
        "no χ² there: an empty column goes to Fisher's exact test, of which p = 1 is the right answer",
        "st-tt-zero-margin",
    ),
    **all_of(
        "families are adjusted by Benjamini–Hochberg alone (SEMANTICS §6, §7)",
        "st-pairwise-holm",
        "st-res_multtest1-Hochberg",
        "st-res_multtest1-SidakSS",
        "st-res_multtest1-SidakSD",
        "st-res_multtest1-BY",
        "st-res_multtest2-Hochberg",
        "st-res_multtest2-SidakSS",
        "st-res_multtest2-SidakSD",
        "st-res_multtest2-BY",
        "st-res_multtest3-SidakSS",
        "st-res_multtest3-SidakSD",
        "st-res_multtest3-BY",
        "st-res0_large-Holm",
        "st-res0_large-Hochberg",
        "st-res0_large-SidakSS",
        "st-res0_large-BY",
        "st-tt-BY",
        "st-tt-Hochberg-Sidak",
        "st-tt-Hochberg",
        "st-tt-Holm",
        "st-gb-holm",
    ),
    **all_of(
        "Bonferroni only divides the threshold of sample ratios; no adjusted p-values are made by it",
        "st-res_multtest2-Bonferroni",
        "st-res_multtest3-Bonferroni",
    ),
    **all_of(
        "an interval is for one comparison and is never bent to agree with a q-value (SEMANTICS §6)",
        "st-gb-adjci",
    ),
    **all_of(
        "one mixture is offered, the two-sided normal one",
        "st-cs-gamma-exp",
        "st-cs-gamma-poisson",
        "st-cs-beta-binom-2s",
        "st-cs-stitch",
    ),
    **all_of(
        "the sequence is for the difference of two arms, not for a single share",
        "st-cs-bern-700-1000-100",
        "st-cs-bern-15-50-50",
        "st-cs-bern-1-50-50",
        "st-cs-bern-1-2-50",
    ),
    **all_of(
        "goals of experiments are per-unit rates: quantiles are not tested",
        "st-cs-quantAB-0.5-70",
        "st-cs-quantAB-0.5-85",
    ),
    **all_of(
        "looks are not planned beforehand: the sequence holds at any number of them",
        "st-gs-pocock-3",
        "st-gs-obf-3",
        "st-gs-pocock-4",
        "st-gs-obf-4",
    ),
}


def cases():
    if not FILE.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=MISSING), id="missing")]
    found = [json.loads(line) for line in FILE.read_text().splitlines() if line.strip()]
    return [pytest.param(case, id=case["id"]) for case in found if case["id"] not in DECLINED]


def parts(case, numbers):
    """Each part of an answer by its full name."""
    return (
        {f"{case['id']}.{key}": value for key, value in numbers.items()}
        if isinstance(numbers, dict)
        else {case["id"]: numbers}
    )


@pytest.mark.parametrize("case", cases())
def test_a_case_is_met_to_its_tolerance(case):
    found = parts(case, MET[case["method"]](case["inputs"]))
    wanted = {key: value for key, value in parts(case, case["expected"]).items() if key not in DECLINED}
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=case["tolerance"], rel=0), name


@pytest.mark.skipif(not FILE.exists(), reason=MISSING)
def test_what_is_declined_is_there_to_be_declined():
    there = [json.loads(line) for line in FILE.read_text().splitlines() if line.strip()]
    assert len(there) == 111
    ids = {case["id"] for case in there}
    assert len(ids) == 111
    assert set(DECLINED) <= ids | {name for case in there for name in parts(case, case["expected"])}
    assert {case["method"] for case in there if case["id"] not in DECLINED} == set(MET)
