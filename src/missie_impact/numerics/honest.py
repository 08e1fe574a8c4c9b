"""Intervals for an effect when parallel trends may fail, but not by more than said (Rambachan and Roth 2023).

Smoothness: the slope of the difference in trends changes by at most M from one period to the next; the answer is the
shortest interval of fixed length around an affine function of all estimates. Relative magnitudes: the difference in
trends moves from one period to the next by at most Mbar times its largest move before treatment; what is computed is
the set that the point estimates identify.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, optimize, special

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Floats


@dataclass(frozen=True, slots=True)
class FixedLength:
    """Interval centre plus or minus half its length.

    Attributes
    ----------
    centre, half : of the interval
    weights : (r,) of all estimates in the centre
    worst_bias : of the centre under the restriction
    """

    centre: float
    half: float
    weights: Floats
    worst_bias: float


def relative_bounds(estimate: Floats, n_before: int, contrast: Floats, bound: float) -> tuple[float, float]:
    """Return the ends of the set identified at the point estimates under relative magnitudes; no sampling error in it.

    Parameters
    ----------
    estimate : in order of time, the base period left out; contrast : (n_after,); bound : Mbar
    """
    steps = np.abs(np.diff(np.append(estimate[:n_before], 0.0)))
    # move j after treatment shifts all effects from j on
    reach = np.abs(np.cumsum(contrast[::-1])[::-1]).sum()
    middle = float(contrast @ estimate[n_before:])
    half = bound * float(steps.max(initial=0.0)) * float(reach)
    return middle - half, middle + half


def folded_quantile(level: float, bias: float) -> float:
    """Quantile of |N(bias, 1)|."""
    if bias > 30:
        return bias + float(special.ndtri(level))

    def miss(c: float) -> float:
        return float(special.ndtr(c - bias) - special.ndtr(-c - bias)) - level

    return float(optimize.brentq(miss, 0.0, bias + 10.0, xtol=1e-14))


def smoothness_interval(
    estimate: Floats, covariance: Floats, n_before: int, contrast: Floats, bound: float, level: float = 0.95
) -> FixedLength:
    """Return the shortest fixed-length interval when slopes change by at most ``bound`` from period to period.

    Parameters
    ----------
    estimate : (n_before + n_after,) in order of time, the base period between them left out; (r, r) covariance
    contrast : (n_after,) weights of the effect of interest
    bound : M
    """
    problem = _smooth_problem(covariance, n_before, contrast)
    k = problem.free.shape[1]
    z = _shortest(problem, bound, level) if k else np.zeros(0)
    weights = _weights(problem, z)
    sigma = float(np.sqrt(weights @ covariance @ weights))
    bias = bound * float(np.abs(problem.second.T @ weights).sum())
    return FixedLength(float(weights @ estimate), sigma * folded_quantile(level, bias / sigma), weights, bias)


@dataclass(frozen=True, slots=True)
class _Smooth:
    """Weights of the pre-period estimates are ``start + free @ z``: all that keep a linear trend out of the centre."""

    covariance: Floats
    contrast: Floats
    start: Floats
    free: Floats
    second: Floats
    n_before: int


def _smooth_problem(covariance: Floats, n_before: int, contrast: Floats) -> _Smooth:
    if n_before < 1:
        raise SettingsError("smoothness: expected at least one estimate before the base period, found none.")
    n_after = len(contrast)
    times = np.concatenate([np.arange(-n_before, 0), np.arange(1, n_after + 1)]).astype(float)
    trend = times[:n_before]
    start = -trend * (contrast @ times[n_before:]) / (trend @ trend)
    free = linalg.null_space(trend[None, :])
    # path of the difference in trends from its second differences: each moves all later periods, or all earlier ones
    full = np.arange(-n_before, n_after + 1)
    columns = []
    for knot in full[1:-1]:
        path = np.maximum(full - knot, 0.0) if knot >= 0 else np.maximum(knot - full, 0.0)
        columns.append(path[full != 0])
    return _Smooth(covariance, contrast, start, free, np.array(columns, dtype=float).T, n_before)


def _weights(problem: _Smooth, z: Floats) -> Floats:
    return np.concatenate([problem.start + problem.free @ z, problem.contrast])


def _smallest_variance(problem: _Smooth) -> Floats:
    n = problem.n_before
    own, mixed = problem.covariance[:n, :n], problem.covariance[:n, n:]
    right = problem.free.T @ (own @ problem.start + mixed @ problem.contrast)
    z: Floats = -linalg.solve(problem.free.T @ own @ problem.free, right, assume_a="pos")
    return z


def _shortest(problem: _Smooth, bound: float, level: float) -> Floats:
    """Weights with the shortest interval: convex in them, |bias| written with one more variable per kink."""
    least = _smallest_variance(problem)
    if bound == 0:
        return least
    k = len(least)
    base = problem.second.T @ _weights(problem, np.zeros(k))
    slope = problem.second[: problem.n_before].T @ problem.free
    m = len(base)
    w = _weights(problem, least)
    unit = float(np.sqrt(w @ problem.covariance @ w))

    def length(x: Floats) -> float:
        w = _weights(problem, x[:k])
        sigma = float(np.sqrt(w @ problem.covariance @ w))
        return sigma * folded_quantile(level, bound * float(np.maximum(x[k:], 0).sum()) / sigma) / unit

    ones, limits = np.eye(m), []
    for sign in (1.0, -1.0):
        matrix = np.hstack([-sign * slope, ones])
        limits.append(
            {"type": "ineq", "fun": lambda x, a=matrix, c=sign * base: a @ x - c, "jac": lambda x, a=matrix: a}
        )
    minimize: Any = optimize.minimize  # its types know no list of constraints
    best, value = least, np.inf
    for start in (least, _least_squares_bias(base, slope)):
        x = np.concatenate([start, np.abs(base + slope @ start)])
        for _ in range(3):  # from where it stopped, until it stays
            x = minimize(length, x, method="SLSQP", constraints=limits, options={"maxiter": 500, "ftol": 1e-13}).x
            x[k:] = np.abs(base + slope @ x[:k])
        if length(x) < value:
            best, value = x[:k], length(x)
    return best


def _least_squares_bias(base: Floats, slope: Floats) -> Floats:
    z: Floats = linalg.lstsq(slope, -base)[0]
    return z
