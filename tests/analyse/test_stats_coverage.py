"""How often intervals of shares hold the truth, exactly: every outcome, weighted by its probability.

No interval of a share holds it with exactly 95 % at every share, since hits are whole numbers. Wilson's and Newcombe's
do on the average over the shares; that is why they are chosen over exact ones, which hold more everywhere and are
wider. The bounds here: the average within a hundredth, and 91 % wherever at least five hits and five others are
expected. For rarer hits a single outcome decides: just below the lower bound of one hit, some 0.177 / n, the share is
held by no hit alone, in exp(-0.177) = 83.8 % (the dip that Brown, Cai & DasGupta 2001 describe); it gets no deeper.
Newcombe (1998) met 86.7 % at the least.
"""

import numpy as np
import pytest
import scipy.stats

from dropoff.analyse.stats import Share, newcombe, wilson

SIZES = (5, 10, 20, 30, 50, 100, 300)


def outcomes(n, shares):
    """The probability of 0 … n hits at each share: (n + 1) × shares."""
    return scipy.stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)


@pytest.mark.parametrize("n", SIZES)
def test_wilson_holds_a_share(n):
    shares, hits = np.arange(1, 2000) / 2000, np.arange(n + 1)
    low, high = np.array([wilson(k, n) for k in hits]).T[:, :, None]
    held = (outcomes(n, shares) * ((low <= shares) & (shares <= high))).sum(axis=0)
    assert held.mean() == pytest.approx(0.95, abs=0.01)
    assert held.min() >= (1 - low[1, 0]) ** n
    often = n * np.minimum(shares, 1 - shares) >= 5
    assert held[often].min(initial=1) >= 0.91
    # It is no wider than it must be: Clopper–Pearson's, which never holds less than 95 %, is.
    exact = scipy.stats.beta.ppf(0.025, hits, n - hits + 1), scipy.stats.beta.ppf(0.975, hits + 1, n - hits)
    assert (high - low).sum() < np.sum(np.nan_to_num(exact[1], nan=1) - np.nan_to_num(exact[0]))


@pytest.mark.parametrize(("n", "m"), [(10, 10), (20, 20), (30, 30), (30, 100), (100, 100)])
def test_newcombe_holds_a_difference(n, m):
    shares = np.arange(1, 50) / 50
    intervals = [[newcombe(Share(k, n), Share(j, m)) for j in range(m + 1)] for k in range(n + 1)]
    low, high = np.moveaxis(np.array(intervals), 2, 0)
    of_a, of_b = outcomes(n, shares), outcomes(m, shares)
    held = np.empty((len(shares), len(shares)))
    for i, p in enumerate(shares):
        for j, q in enumerate(shares):
            # A difference on a bound is held: rounding must not decide that.
            inside = (low <= p - q + 1e-12) & (p - q - 1e-12 <= high)
            held[i, j] = of_a[:, i] @ inside @ of_b[:, j]
    assert held.mean() == pytest.approx(0.95, abs=0.01)
    assert held.min() >= 0.867
    often = np.minimum.outer(n * np.minimum(shares, 1 - shares), m * np.minimum(shares, 1 - shares)) >= 5
    assert held[often].min(initial=1) >= 0.91
