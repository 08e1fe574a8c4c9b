"""Totals that a few large units carry: who carries them, and intervals that say how far they can be trusted.

A unit is a firm with all its rows; an amount is what it adds to a total. Everything here takes one number per unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from missie_impact.errors import SettingsError

Floats = NDArray[np.float64]
Bootstrap = Literal["percentile", "m_out_of_n", "studentised"]

TOPS = (1, 5, 10)
MIN_CONTRIBUTORS = 10  # a share of the largest of fewer contributors could reveal one of them
TRIMMED = 0.01  # share of the contributors that a trimmed total leaves out
SMALLER_SAMPLE = 0.8  # m-out-of-n: m = n ** 0.8
COUNTS_AT_ONCE = 4_000_000  # numbers in a block of resampling counts


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """Totals of resampled units, one line per draw.

    Attributes
    ----------
    totals : (draws, k) means over the units of a draw, times the number of units n
    errors : (draws, k) standard error of each total within its draw
    observed : (k,) totals of the units themselves
    error : (k,) their standard error, sqrt(n) times the standard deviation over units
    n : number of units
    size : units in a draw; n, or fewer for m-out-of-n
    """

    totals: Floats
    errors: Floats
    observed: Floats
    error: Floats
    n: int
    size: int


@dataclass(frozen=True, slots=True)
class Concentration:
    """How much of a total its largest units carry. Shares only: an amount of a single unit is never given.

    Attributes
    ----------
    tops : shares of the largest 1, 5 and 10 units in the sum of absolute amounts; NaN below ten contributors
    without_one : smallest and largest total that leaving out one unit can give, as a share of the total
    trimmed : total without the largest hundredth of the contributors (at least one), as a share of the total
    hill : tail index of the amounts (Hill, on the largest tenth); 2 or below means no finite variance
    n : units that contribute
    """

    tops: tuple[float, ...]
    without_one: tuple[float, float]
    trimmed: float
    hill: float
    n: int


def top_shares(amounts: ArrayLike, tops: tuple[int, ...] = TOPS) -> tuple[float, ...]:
    """Shares of the largest units in the sum of absolute amounts, NaN where fewer than ten units contribute."""
    sizes = _largest_first(amounts)
    if len(sizes) < MIN_CONTRIBUTORS:
        return (np.nan,) * len(tops)
    total = sizes.sum()
    return tuple(float(sizes[:k].sum() / total) for k in tops)


def _largest_first(amounts: ArrayLike) -> Floats:
    sizes = np.abs(np.asarray(amounts, dtype=np.float64))
    sizes = sizes[sizes > 0]
    return sizes if (sizes[1:] <= sizes[:-1]).all() else np.sort(sizes)[::-1]


def leave_one_out(amounts: ArrayLike) -> tuple[float, float]:
    """Smallest and largest total that leaving out one unit can give, as a share of the total.

    NaN where fewer than ten units contribute or the total is zero.
    """
    values = np.asarray(amounts, dtype=np.float64)
    values, total = values[values != 0], float(values.sum())
    if len(values) < MIN_CONTRIBUTORS or total == 0:
        return np.nan, np.nan
    low, high = sorted((1 - float(values.max()) / total, 1 - float(values.min()) / total))
    return low, high


def winsorised(amounts: ArrayLike, threshold: float) -> Floats:
    """Amounts cut at a threshold that was fixed beforehand, on both sides; their total is an estimand of its own."""
    if not threshold > 0:
        raise SettingsError(f"winsorised amounts: expected a threshold above zero, found {threshold!r}.")
    return np.clip(np.asarray(amounts, dtype=np.float64), -threshold, threshold)


def trimmed_total(amounts: ArrayLike, share: float = TRIMMED) -> float:
    """Total without the contributors that are largest in absolute amount: a share of them, at least one."""
    if not 0 <= share < 1:
        raise SettingsError(f"trimmed total: expected a share of at least 0 and below 1, found {share!r}.")
    values = np.asarray(amounts, dtype=np.float64)
    values = values[values != 0]
    if not len(values) or share == 0:
        return float(values.sum())
    n_out = max(1, int(np.floor(share * len(values))))
    return float(np.sort(values[np.argsort(np.abs(values), kind="stable")][:-n_out]).sum())


def hill(amounts: ArrayLike, share: float = 0.1) -> float:
    """Hill's estimate of the tail index of absolute amounts, on the largest share of the contributors.

    NaN below 50 contributors. A lognormal tail has no index; its estimate falls as the spread grows.
    """
    sizes = _largest_first(amounts)
    k = int(share * len(sizes))
    if len(sizes) < 5 * MIN_CONTRIBUTORS or k < 2:
        return np.nan
    mean_excess = float(np.mean(np.log(sizes[:k]) - np.log(sizes[k])))
    return 1 / mean_excess if mean_excess > 0 else np.inf


def concentration(amounts: ArrayLike) -> Concentration:
    """Return who carries a total: shares, range without one unit, trimmed total and tail index."""
    values = np.asarray(amounts, dtype=np.float64)
    values = values[values != 0]
    values = values[np.argsort(-np.abs(values), kind="stable")]  # once for all: the functions find it in order
    total = float(values.sum())
    few = len(values) < MIN_CONTRIBUTORS or total == 0
    trimmed = np.nan if few else float(values[max(1, int(TRIMMED * len(values))) :].sum()) / total
    return Concentration(top_shares(values), leave_one_out(values), trimmed, hill(values), len(values))


def resample(amounts: ArrayLike, *, draws: int = 999, seed: int = 1, size: int | None = None) -> Resampled:
    """Draw units with replacement and total each draw.

    Parameters
    ----------
    amounts : (n,) or (n, k), one line per unit; the columns share the draws
    draws : number of draws
    size : units per draw; n unless said. Totals are always those of n units
    seed : of the draws
    """
    values = np.asarray(amounts, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    n, k = values.shape
    m = n if size is None else size
    if n < 2 or draws < 2 or m < 2:
        raise SettingsError(f"resampling: expected at least 2 units, draws and units a draw, found {n}, {draws}, {m}.")
    random = np.random.default_rng(seed)
    both = np.hstack([values, values**2])
    totals, errors = np.empty((draws, k)), np.empty((draws, k))
    block = max(1, COUNTS_AT_ONCE // n)
    for first in range(0, draws, block):
        last = min(first + block, draws)
        counts = np.stack([np.bincount(random.integers(n, size=m), minlength=n) for _ in range(first, last)])
        moments = counts.astype(np.float64) @ both / m
        mean, second = moments[:, :k], moments[:, k:]
        totals[first:last] = n * mean
        errors[first:last] = n * np.sqrt(np.maximum(second - mean**2, 0) / m)
    spread = values.std(axis=0)
    return Resampled(totals, errors, values.sum(axis=0), np.sqrt(n) * spread, n, m)


def bootstrap_interval(
    drawn: Resampled, method: Bootstrap = "percentile", level: float = 0.95
) -> tuple[Floats, Floats]:
    """Return the ends (k,) of an interval of the totals.

    Parameters
    ----------
    drawn : from `resample`; for "m_out_of_n" with ``size`` below n
    method : "percentile": quantiles of the drawn totals. "m_out_of_n": deviations of smaller draws, scaled by
        sqrt(m / n) and turned round. "studentised": deviations in standard errors, turned round, which lengthens the
        side of the tail
    """
    if method not in get_args(Bootstrap):
        raise SettingsError(f"bootstrap: expected one of {list(get_args(Bootstrap))}, found {method!r}.")
    tails = [(1 - level) / 2, (1 + level) / 2]
    if method == "percentile":
        low, high = np.quantile(drawn.totals, tails, axis=0)
        return low, high
    away = drawn.totals - drawn.observed
    if method == "m_out_of_n":
        low, high = np.quantile(away * np.sqrt(drawn.size / drawn.n), tails, axis=0)
        return drawn.observed - high, drawn.observed - low
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(drawn.errors > 0, away / drawn.errors, np.nan)
    low, high = (
        np.nanquantile(ratio, tails, axis=0) if np.isfinite(ratio).any(axis=0).all() else np.full((2, 1), np.nan)
    )
    return drawn.observed - high * drawn.error, drawn.observed - low * drawn.error


def smaller_size(n: int) -> int:
    """Units per draw of the m-out-of-n bootstrap."""
    return max(2, int(n**SMALLER_SAMPLE + 0.5))
