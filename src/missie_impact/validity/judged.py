"""The acceptance rule: bias and coverage of estimates over draws with a known truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

NEAR_COVERAGE = (0.935, 0.965)
BIAS_SHARE = 0.03


def judged(
    values: np.ndarray[Any, Any],
    truth: float,
    *,
    ratio: bool,
    effect_size: float | None = None,
    truth_error: float = 0.0,
) -> dict[str, Any]:
    """Judge estimates and their 95% intervals by the truth.

    Parameters
    ----------
    values : (draws, 3) estimate, conf_low, conf_high; NaN where a draw has none
    ratio : judge the bias on the logarithm
    effect_size : what 3 per cent are taken of; the truth (of a ratio: its logarithm) where left out
    truth_error : Monte-Carlo error of the truth, where that was simulated too

    Returns
    -------
    dict
        truth, draws (with an estimate), failed (without one), mean (ratios: of logs), bias, bias_error (Monte Carlo,
        that of the truth included), coverage, coverage_low, coverage_high (exact binomial, 99.9%), unbiased (bias below
        3 per cent of the effect plus two Monte-Carlo errors), covers (0.95 in the binomial interval, or the coverage in
        93.5 to 96.5 per cent).
    """
    kept = values[np.isfinite(values).all(axis=1)]
    n = len(kept)
    shown, target = (np.log(kept), math.log(truth)) if ratio else (kept, truth)
    bias = float(shown[:, 0].mean() - target) if n else math.nan
    error = float(shown[:, 0].std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    error = math.hypot(error, truth_error / truth if ratio else truth_error)
    hits = int(((kept[:, 1] <= truth) & (truth <= kept[:, 2])).sum())
    low, high = exact_interval(hits, n)
    share = hits / n if n else math.nan
    size = abs(target) if effect_size is None else effect_size
    return {
        "truth": truth,
        "draws": n,
        "failed": len(values) - n,
        "mean": bias + target,
        "bias": bias,
        "bias_error": error,
        "coverage": share,
        "coverage_low": low,
        "coverage_high": high,
        "unbiased": bool(abs(bias) <= BIAS_SHARE * size + 2 * error),
        "covers": bool(NEAR_COVERAGE[0] <= share <= NEAR_COVERAGE[1] or low <= 0.95 <= high),
    }


def exact_interval(hits: int, n: int, level: float = 0.999) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a share."""
    if n == 0:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low = float(special.betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(special.betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return low, high
