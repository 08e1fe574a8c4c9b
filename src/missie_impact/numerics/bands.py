"""Intervals of a survival or an incidence at each time, and bands that hold at all times at once.

A band is the interval with a larger quantile: that of the largest of the standardised errors of the curve. It is drawn
from the normal law with the covariance of the curve itself. With influences summed by cluster this is the Gaussian
multiplier method by cluster; with Greenwood's covariance it is the equal-precision band of Nair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from scipy import special

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Codes, Floats
from missie_impact.numerics.covariance import Clusters, dimensions, positive_part

Interval = Literal["log-log", "log", "plain"]

DRAWS = 20_000


def interval_of(
    value: Floats, std_error: Floats, quantile: float, interval: Interval = "log-log"
) -> tuple[Floats, Floats]:
    """Return the ends of intervals of probabilities, made on a scale and taken back, kept within 0 and 1.

    Parameters
    ----------
    value, std_error : (m,) probabilities and their errors
    quantile : how many errors wide; 1.96 for 95% at one time
    interval : "log-log" (log(-log p)), "log" or "plain", as R's ``survfit(conf.type=)``
    """
    if interval not in get_args(Interval):
        raise SettingsError(f"expected an interval among {list(get_args(Interval))}, found {interval!r}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        half = quantile * std_error / value
        if interval == "plain":
            low, high = value - quantile * std_error, value + quantile * std_error
        elif interval == "log":
            low, high = value * np.exp(-half), value * np.exp(half)
        else:
            relative = np.abs(half / np.log(value))
            low, high = value ** np.exp(relative), value ** np.exp(-relative)
    return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def critical_value(covariance: Floats, level: float = 0.95, *, draws: int = DRAWS, seed: int = 1) -> float:
    """Return the quantile of the largest absolute standardised error over all times of a curve.

    Parameters
    ----------
    covariance : (m, m) of the curve at m times; times without variance are left out
    level : coverage at all times together
    draws, seed : of the simulation; 20,000 draws leave about half a percent of uncertainty

    Returns
    -------
    float
        The normal quantile where there is one time only; NaN where there is none.

    References
    ----------
    Lin, Wei and Ying (1993), Biometrika 80, 557-572; Nair (1984), Technometrics 26, 265-275.
    """
    variance = np.diag(covariance)
    there = np.isfinite(variance) & (variance > 0)
    if not there.any():
        return float("nan")
    error = np.sqrt(variance[there])
    correlation = covariance[np.ix_(there, there)] / np.outer(error, error)
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    kept = values > 1e-10 * float(values.max())
    pointwise = float(special.ndtri(0.5 + level / 2))
    if kept.sum() == 1:
        return pointwise
    root = vectors[:, kept] * np.sqrt(values[kept])
    normal = np.random.default_rng(seed).standard_normal((draws, int(kept.sum())))
    return max(pointwise, float(np.quantile(np.abs(normal @ root.T).max(axis=1), level)))


def influence_covariance(
    columns: Sequence[tuple[Codes, Floats]],
    clusters: Sequence[Clusters],
    also: Callable[[Clusters], Floats] | None = None,
) -> Floats:
    """Covariance of numbers from what each row adds to them, summed by cluster, without a small-sample factor.

    Parameters
    ----------
    columns : for each of r numbers, positions of its rows among all rows and what each adds
    clusters : of all rows; one dimension, or two (V_a + V_b - V_ab, negative eigenvalues set to zero)
    also : what a further step, such as estimated weights, adds to the numbers per cluster, (G, r)
    """
    total = np.zeros((len(columns), len(columns)))
    for part, sign in dimensions(clusters):
        sums = np.array([np.bincount(part.codes[rows], added, minlength=part.count) for rows, added in columns])
        sums = sums if also is None else sums + also(part).T
        total += sign * sums @ sums.T
    return positive_part(total)[0] if len(clusters) == 2 else total


def greenwood_covariance(survival: Floats, log_variance: Floats) -> Floats:
    """Covariance of a Kaplan-Meier curve at m times: increments of log survival are uncorrelated."""
    joint = np.minimum.outer(log_variance, log_variance)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.outer(survival, survival) * joint, dtype=np.float64)
