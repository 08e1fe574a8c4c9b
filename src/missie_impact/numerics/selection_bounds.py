"""Bounds on a survival difference among those who would enter in both worlds, and intervals for them.

Survival is seen of those who entered. If the treatment keeps nobody from entering, the untreated who entered would
enter in both worlds, and a share q = P(enter without) / P(enter with) of the treated who entered would. Of the others
it is not known whether none, or all, of them stayed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from missie_impact.numerics.cells import Floats

NOT_MONOTONE = "fewer enter with the treatment: monotonicity does not hold in this direction"


@dataclass(frozen=True, slots=True)
class SelectionBounds:
    """Lowest and highest difference, and the interval that holds the true difference at a level.

    Attributes
    ----------
    lowest, highest : estimates of the ends of the identified set
    error_lowest, error_highest : their standard errors
    conf_low, conf_high : ends of the interval
    reason : why there is none, else empty
    """

    lowest: float = float("nan")
    highest: float = float("nan")
    error_lowest: float = float("nan")
    error_highest: float = float("nan")
    conf_low: float = float("nan")
    conf_high: float = float("nan")
    reason: str = ""


def always_selected_bounds(
    value: Floats, covariance: Floats, *, level: float = 0.95, n: float = 1e3
) -> SelectionBounds:
    """Bound the difference in survival of those who would enter with and without the treatment.

    Each end is the largest, or smallest, of several functions of the data (a share between 0 and 1, a q of at most 1);
    those that cannot be told apart from the extreme one all keep their limit, which makes the interval wider, never
    too short. With a risk ratio below 1 that could be 1, the ratio is taken as 1 and the bounds meet.

    Parameters
    ----------
    value : (4,) survival with and without among those who entered, probability to enter with and without
    covariance : (4, 4) of these
    level : of the interval for the true difference, not for the whole identified set
    n : independent units behind the numbers; functions within sqrt(log n) errors of the extreme one count

    References
    ----------
    Zhang and Rubin (2003), JEBS 28, 353-368; Lee (2009), REStud 76, 1071-1102; Horowitz and Manski (2000), JASA 95,
    77-84; Imbens and Manski (2004), Econometrica 72, 1845-1857; Stoye (2009), Econometrica 77, 1299-1315; Andrews and
    Soares (2010), Econometrica 78, 119-157, on which of several functions count.
    """
    near = float(np.sqrt(np.log(max(n, 3.0))))
    ratio, slope = _ratio(value)
    error = float(np.sqrt(slope @ covariance @ slope))
    if not np.isfinite(ratio) or (ratio < 1.0 and not 1.0 - ratio < near * error):
        return SelectionBounds(reason=NOT_MONOTONE)
    ratios = [(max(ratio, 1.0), slope if ratio >= 1.0 else np.zeros(4))]
    if ratio < 1.0 or ratio - 1.0 < near * error:
        ratios += [(1.0, np.zeros(4)), (max(ratio, 1.0), slope)]
    lower = _limits(*_lower(value, ratios), covariance, near)
    upper = _limits(*_upper(value, ratios), covariance, near)
    c = _critical(max(upper[0] - lower[0], 0.0), max(lower[1], upper[1]), level)
    low = max(-1.0, float((lower[2] - c * lower[3]).min()))
    high = min(1.0, float((upper[2] + c * upper[3]).max()))
    return SelectionBounds(lower[0], upper[0], lower[1], upper[1], low, high)


def _ratio(value: Floats) -> tuple[float, Floats]:
    """Probability to enter with over that without, 1 / q, and its derivative."""
    one, zero = float(value[2]), float(value[3])
    if not (one > 0 and zero > 0):
        return float("nan"), np.zeros(4)
    return one / zero, np.array([0.0, 0.0, 1 / zero, -one / zero**2])


Pieces = tuple[list[float], list[Floats], int]


def _lower(value: Floats, ratios: list[tuple[float, Floats]]) -> Pieces:
    """The share of always-entrants who stay is at least 1 - (1 - S1) / q, and at least zero."""
    s1, s0 = float(value[0]), float(value[1])
    found = [1 - (1 - s1) * r - s0 for r, _ in ratios]
    slopes = [np.array([r, -1.0, 0.0, 0.0]) - (1 - s1) * slope for r, slope in ratios]
    return [*found, -s0], [*slopes, np.array([0.0, -1.0, 0.0, 0.0])], 1


def _upper(value: Floats, ratios: list[tuple[float, Floats]]) -> Pieces:
    """It is at most S1 / q, and at most one."""
    s1, s0 = float(value[0]), float(value[1])
    found = [s1 * r - s0 for r, _ in ratios]
    slopes = [np.array([r, -1.0, 0.0, 0.0]) + s1 * slope for r, slope in ratios]
    return [*found, 1.0 - s0], [*slopes, np.array([0.0, -1.0, 0.0, 0.0])], -1


def _limits(
    values: list[float], slopes: list[Floats], sign: int, covariance: Floats, near: float
) -> tuple[float, float, Floats, Floats]:
    """Extreme function and its error; values and errors of all that may be the extreme one."""
    each, slope = np.array(values), np.array(slopes)
    chosen = 0 if sign * each[0] >= sign * each[-1] else len(each) - 1
    errors = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", slope, covariance, slope), 0.0))
    apart = slope - slope[chosen]
    spread = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", apart, covariance, apart), 0.0))
    kept = np.abs(each - each[chosen]) <= near * spread
    kept[chosen] = True
    kept[1:-1] = kept[0]  # the same function under a ratio of one, which the ratio may be
    return float(each[chosen]), float(errors[chosen]), each[kept], errors[kept]


def _critical(width: float, error: float, level: float) -> float:
    """Quantile that covers any point of the set: two-sided for a point, one-sided for a wide set."""
    two_sided, one_sided = float(special.ndtri(0.5 + level / 2)), float(special.ndtri(level))
    if not error > 0 or width / error > 20:
        return one_sided if width > 0 else two_sided
    found = optimize.brentq(
        lambda c: special.ndtr(c + width / error) - special.ndtr(-c) - level, one_sided - 1e-9, two_sided + 1e-9
    )
    return float(found)
