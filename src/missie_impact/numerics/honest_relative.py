"""Values of an effect that stand when moves after treatment may be as large as those before, with sampling error.

The conditional and least favourable hybrid test of Andrews, Roth and Pakes (2023), as Rambachan and Roth (2023) use it.
Let d_t be the move of the estimates from period t - 1 to t, v the largest move before treatment, and r_t the part of
move t in the effect, so that the effect is u = sum of r_t d_t. The moments are d_t - Mbar v <= 0 and -d_t - Mbar v <= 0
for t after treatment. The dual of their linear program is {g >= 0, g's = 1, g+ - g- parallel to r}, s the errors of the
moments; its corners are r itself, -r, and one pair (g+ = g-) per period. So no program is solved: the statistic is the
largest of a few numbers, and its least favourable distribution is that of two normals, u and v, an integral.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, optimize, special

from missie_impact.numerics.cells import Floats

POINTS = 2001
HALVINGS = 60
FIRST_STAGE = 0.1  # share of the size that the least favourable test takes
NEVER_BEYOND = 12.0  # standard errors
EQUAL = 1e-10


@dataclass(frozen=True, slots=True)
class Corners:
    """Corners of the dual as weights (m, 3) of the effect u, the move v and the value tested.

    Attributes
    ----------
    weight : (m, 3); the first says that the value is too low, the second too high, the others that v is negative
    moment : (2,) estimates of u and v
    covariance : (2, 2) of u and v
    """

    weight: Floats
    moment: Floats
    covariance: Floats


def relative_interval(
    estimate: Floats, covariance: Floats, n_before: int, contrast: Floats, bound: float, level: float = 0.95
) -> tuple[float, float]:
    """Return the lowest and highest value that the hybrid test accepts; NaN if it accepts none.

    A value is accepted if it is for one of the moves before treatment, up or down, taken as the largest.

    Parameters
    ----------
    estimate : (n_before + n_after,) in order of time, the base period left out; (r, r) covariance
    contrast : (n_after,) weights of the effect of interest, not all zero
    bound : Mbar
    """
    alpha = 1 - level
    first = FIRST_STAGE * alpha
    ends = []
    for move in range(n_before):
        for sign in (1.0, -1.0):
            corners = corners_of(estimate, covariance, n_before, contrast, bound, (move, sign))
            cut = least_favourable(corners, 1 - first)
            ends.append(_accepted(corners, cut, (alpha - first) / (1 - first)))
    found = np.array([pair for pair in ends if pair is not None])
    if not len(found):
        return float("nan"), float("nan")
    return float(found[:, 0].min()), float(found[:, 1].max())


def corners_of(
    estimate: Floats, covariance: Floats, n_before: int, contrast: Floats, bound: float, largest: tuple[int, float]
) -> Corners:
    """Corners of the dual when one move before treatment (its position, and 1 or -1 for up or down) is the largest."""
    n_after = len(contrast)
    periods = n_before + n_after
    moves = np.delete(np.eye(periods + 1)[1:] - np.eye(periods + 1)[:-1], n_before, axis=1)
    v = largest[1] * moves[largest[0]]
    after = moves[n_before:]
    reach = np.cumsum(contrast[::-1])[::-1]
    part = np.abs(reach)
    up, down = (_errors(side * after - bound * v, covariance) for side in (1.0, -1.0))
    low = 1 / float(np.where(reach >= 0, up, down) @ part)
    high = 1 / float(np.where(reach >= 0, down, up) @ part)
    longest = bound * float(part.sum())
    rows = [[low, -low * longest, -low], [-high, -high * longest, high]]
    if n_after > 1:
        rows += [[0.0, -2 * bound / total, 0.0] for total in up + down]
    both = np.vstack([np.concatenate([np.zeros(n_before), contrast]), v])
    return Corners(np.array(rows), both @ estimate, both @ covariance @ both.T)


def _errors(weights: Floats, covariance: Floats) -> Floats:
    found: Floats = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", weights, covariance, weights), 0.0))
    return found


def least_favourable(corners: Corners, probability: float) -> float:
    """Quantile of the largest corner when all moments have mean zero."""
    spread = corners.covariance
    of_v = float(np.sqrt(max(spread[1, 1], 1e-16 * spread[0, 0])))
    slope = spread[0, 1] / of_v**2
    of_u = float(np.sqrt(max(spread[0, 0] - slope * spread[0, 1], 1e-16 * spread[0, 0])))
    low, high = corners.weight[0], corners.weight[1]
    steepest = -float(corners.weight[2:, 1].min(initial=0.0))
    longest = -low[1] / low[0]

    def below(cut: float) -> float:
        """Probability: v above a limit, and u between two lines in v."""
        limits = [-NEVER_BEYOND * of_v]
        if steepest > 0:
            limits.append(-cut / steepest)
        if longest > 0:
            limits.append(-(cut / low[0] + cut / high[2]) / (2 * longest))

        def density(v: float) -> float:
            top, bottom = cut / low[0] + longest * v, -cut / high[2] - longest * v
            inside = special.ndtr((top - slope * v) / of_u) - special.ndtr((bottom - slope * v) / of_u)
            return float(inside * np.exp(-0.5 * (v / of_v) ** 2) / (of_v * np.sqrt(2 * np.pi)))

        return float(integrate.quad(density, max(limits), NEVER_BEYOND * of_v, epsabs=1e-11, limit=200)[0])

    return float(optimize.brentq(lambda cut: below(cut) - probability, 0.0, 2 * NEVER_BEYOND, xtol=1e-10))


def accepts(corners: Corners, cut: float, size: float, values: Floats) -> NDArray[np.bool_]:
    """Whether the hybrid test accepts each value: below the least favourable cut, and not beyond the conditional one.

    The conditional test compares the largest corner with a normal cut off where another corner would be the largest.
    """
    weight = corners.weight[:, :2]
    stat = (weight @ corners.moment)[:, None] + corners.weight[:, 2:] * values
    spread = weight @ corners.covariance @ weight.T
    at = stat.argmax(axis=0)
    top = stat.max(axis=0)
    fixed = spread[at, at] <= EQUAL * spread.diagonal().max()
    variance = np.where(fixed, 1.0, spread[at, at])
    error = np.sqrt(variance)
    along = spread[:, at] / variance
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = (stat - along * top) / (1 - along)
    lowest = np.where(along < 1 - EQUAL, limit, -np.inf).max(axis=0)
    highest = np.minimum(np.where(along > 1 + EQUAL, limit, np.inf).min(axis=0), cut)
    # the tail beyond the quantile of the truncated normal, on the logarithm: far out both ends are close to zero
    tail = np.logaddexp(
        np.log(size) + special.log_ndtr(-lowest / error), np.log1p(-size) + special.log_ndtr(-highest / error)
    )
    beyond = (top > 0) & (special.log_ndtr(-top / error) < tail)
    accepted: NDArray[np.bool_] = np.where(fixed, top <= EQUAL, ~beyond) & (top <= cut)
    return accepted


def _accepted(corners: Corners, cut: float, size: float) -> tuple[float, float] | None:
    """Ends of the accepted values: found on a grid between the limits of the first stage, then by halving."""
    low, high = corners.weight[0], corners.weight[1]
    u, v = corners.moment
    start, end = u + (low[1] * v - cut) / low[0], u - (high[1] * v - cut) / high[2]
    if (corners.weight[2:, 1] * v > cut).any() or start > end:
        return None
    grid = np.linspace(start, end, POINTS)
    found = np.flatnonzero(accepts(corners, cut, size, grid))
    if not len(found):
        return None
    inside = np.array([grid[found[0]], grid[found[-1]]])
    outside = np.array([grid[max(found[0] - 1, 0)], grid[min(found[-1] + 1, POINTS - 1)]])
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        good = accepts(corners, cut, size, middle)
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return float(inside[0]), float(inside[1])
