"""Bands: the simulated quantile against Nair's formula, and intervals at the edges."""

import numpy as np
import pytest
from scipy import special

from missie_impact.errors import SettingsError
from missie_impact.numerics.bands import critical_value, greenwood_covariance, influence_covariance, interval_of
from missie_impact.numerics.covariance import Clusters


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.9), (0.02, 0.6)])
def test_equal_precision_band_of_nair(low, high):
    # Over the share a of information from low to high: P(sup > c) = 4 f(c) / c + f(c) (c - 1 / c) log odds ratio
    share = np.linspace(special.logit(low), special.logit(high), 600)
    found = critical_value(greenwood_covariance(np.ones(600), np.exp(share)))
    c = np.linspace(2, 5, 30_001)
    density = np.exp(-(c**2) / 2) / np.sqrt(2 * np.pi)
    beyond = 4 * density / c + density * (c - 1 / c) * (share[-1] - share[0])
    assert found == pytest.approx(c[np.argmin(np.abs(beyond - 0.05))], rel=0.03)


def test_independent_and_equal_errors():
    # Ten independent errors: the quantile of the largest is known; ten equal ones are one
    exact = special.ndtri(0.5 + 0.95**0.1 / 2)
    assert critical_value(np.diag(np.arange(1.0, 11.0))) == pytest.approx(exact, rel=0.02)
    assert critical_value(np.full((10, 10), 3.0)) == pytest.approx(special.ndtri(0.975))
    assert np.isnan(critical_value(np.zeros((3, 3))))


def test_intervals_by_hand():
    low, high = interval_of(np.array([0.5]), np.array([0.1]), 2.0, "plain")
    assert (low[0], high[0]) == pytest.approx((0.3, 0.7))
    low, high = interval_of(np.array([0.5]), np.array([0.1]), 2.0, "log")
    assert (low[0], high[0]) == pytest.approx((0.5 * np.exp(-0.4), 0.5 * np.exp(0.4)))
    low, high = interval_of(np.array([0.5]), np.array([0.1]), 2.0, "log-log")
    w = 2 * 0.1 / (0.5 * np.log(2))
    assert (low[0], high[0]) == pytest.approx((0.5 ** np.exp(w), 0.5 ** np.exp(-w)))
    with pytest.raises(SettingsError, match="expected an interval among"):
        interval_of(np.array([0.5]), np.array([0.1]), 2.0, "arcsine")


def test_influences_summed_by_cluster():
    rows, added = np.array([0, 1, 3]), np.array([1.0, 2.0, 4.0])
    pairs = Clusters(np.array([0, 0, 1, 1]), 2)
    found = influence_covariance([(rows, added), (np.array([2]), np.array([5.0]))], [pairs])
    np.testing.assert_allclose(found, [[3**2 + 4**2, 4 * 5], [4 * 5, 25]])
