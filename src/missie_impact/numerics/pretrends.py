"""What a test of pre-treatment estimates can see: joint test, its power, and the slope it would find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # scipy.stats loads slowly: at its first use
from scipy import linalg, optimize, special

from missie_impact.numerics.cells import Floats

DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class JointTest:
    """Wald test that r estimates are all zero.

    Attributes
    ----------
    statistic : chi-squared with ``df`` degrees of freedom
    p_value : NaN where nothing can be tested
    """

    statistic: float
    df: int
    p_value: float


def joint_test(estimate: Floats, covariance: Floats) -> JointTest:
    """Test that all estimates are zero; directions without variance are left out."""
    if not len(estimate):
        return JointTest(np.nan, 0, np.nan)
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
    statistic = float(estimate @ linalg.pinvh(covariance) @ estimate)
    return JointTest(statistic, rank, float(scipy.stats.chi2.sf(statistic, rank)) if rank else np.nan)


def slope_for_joint_power(times: Floats, covariance: Floats, power: float, level: float = 0.05) -> float:
    """Return the linear trend a year that the joint test finds with some probability.

    Parameters
    ----------
    times : (r,) years from the base period, to which the estimates are compared
    covariance : (r, r)
    power : such as 0.5 or 0.8
    level : of the test
    """
    df = len(times)
    critical = scipy.stats.chi2.ppf(1 - level, df)
    needed = optimize.brentq(lambda x: scipy.stats.ncx2.sf(critical, df, x) - power, 1e-8, 1e4)
    return float(np.sqrt(needed / (times @ linalg.solve(covariance, times, assume_a="pos"))))


def slope_for_any_power(times: Floats, covariance: Floats, power: float, level: float = 0.05) -> float:
    """Return the linear trend a year with which at least one estimate is significant on its own with some probability.

    References
    ----------
    Roth (2022), AER: Insights 4, 305-322; R's ``pretrends::slope_for_power``.
    """
    error = np.sqrt(np.diag(covariance))
    quantile = float(special.ndtri(1 - level / 2))
    root = np.linalg.cholesky(covariance)
    noise = np.random.default_rng(1).standard_normal((DRAWS, len(times))) @ root.T / error

    def found(slope: float) -> float:
        return float((np.abs(noise + slope * times / error) > quantile).any(axis=1).mean()) - power

    high = float((error / np.abs(times)).min()) * 20
    if found(0.0) >= 0:
        return 0.0
    return float(optimize.bisect(found, 0.0, high, xtol=1e-7 * high))
