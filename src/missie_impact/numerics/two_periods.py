"""The effect on the treated from two periods: units seen in both, or cross-sections of whoever was there in each.

Each estimate comes with its influence, what every row adds to it, from which errors of any clustering follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from missie_impact.errors import CollinearityError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.cells import Column, Floats
from missie_impact.numerics.design import build_design
from missie_impact.numerics.poisson import independent_columns

Mask = NDArray[np.bool_]
Estimator = Literal["doubly_robust", "regression", "weighting"]

LARGEST_SCORE = 1 - 1e-6  # propensity above which weights are not trusted; R's DRDID caps it there


def did_two_periods(
    change: Floats, treated: Mask, x: Floats, weight: Floats, estimator: Estimator = "doubly_robust"
) -> tuple[float, Floats]:
    """Estimate the effect on the treated from changes between two periods.

    Parameters
    ----------
    change : (n,) outcome in the later period less that in the earlier
    treated : (n,) whether treated in between
    x : (n, k) covariates with a constant
    weight : (n,) sampling weights

    Returns
    -------
    estimate, influence : (n,) what each unit adds to the estimate, summing to zero

    References
    ----------
    Sant'Anna and Zhao (2020), Journal of Econometrics 219, 101-122; R's DRDID (``drdid_panel``, ``reg_did_panel``,
    ``std_ipw_did_panel``).
    """
    x = x[:, independent_columns(x[~treated], weight[~treated])]
    arms = _Arms.of(treated, x, weight, estimator)
    return _above_others(change, np.ones(len(change), dtype=np.bool_), arms, estimator, model_treated=False)


def did_cross_sections(
    outcome: Floats, later: Mask, treated: Mask, x: Floats, weight: Floats, estimator: Estimator = "doubly_robust"
) -> tuple[float, Floats]:
    """Estimate the effect on the treated from rows of two periods that need not be of the same units.

    Parameters
    ----------
    outcome : (n,) of each row in its period
    later : (n,) whether the row is of the later period
    treated : (n,) whether its unit is treated in between
    x : (n, k) covariates of the row with a constant
    weight : (n,) sampling weights
    estimator : "doubly_robust" is the locally efficient one, which models the outcomes of the treated as well

    Returns
    -------
    estimate, influence : (n,) what each row adds to the estimate, summing to zero

    Raises
    ------
    CollinearityError
        If the treated of a period are too few for a model of their outcomes.

    References
    ----------
    Sant'Anna and Zhao (2020), Journal of Econometrics 219, 101-122; R's DRDID (``drdid_rc``, ``reg_did_rc``,
    ``std_ipw_did_rc``).
    """
    for now in (later, ~later):
        others = now & ~treated
        x = x[:, independent_columns(x[others], weight[others])]
    arms, model_treated = _Arms.of(treated, x, weight, estimator), estimator == "doubly_robust"
    value, influence = _above_others(outcome, later, arms, estimator, model_treated=model_treated)
    before, by_before = _above_others(outcome, ~later, arms, estimator, model_treated=model_treated)
    return value - before, influence - by_before


@dataclass(frozen=True, slots=True)
class _Arms:
    """Who is treated, covariates, weights; of the others the odds of treatment, and what rows add to that model."""

    treated: Mask
    x: Floats
    weight: Floats
    odds: Floats
    by_score: Floats

    @classmethod
    def of(cls, treated: Mask, x: Floats, weight: Floats, estimator: Estimator) -> _Arms:
        if estimator == "regression":
            return cls(treated, x, weight, np.zeros(len(x)), np.zeros_like(x))
        score, by_score = _propensity(treated, x, weight)
        return cls(treated, x, weight, np.where(treated, 0.0, score / (1 - score)), by_score)


def _above_others(
    outcome: Floats, now: Mask, arms: _Arms, estimator: Estimator, *, model_treated: bool
) -> tuple[float, Floats]:
    """Return how far the treated lie above what others like them have, by the rows of ``now``, and what each row adds.

    ``model_treated``: their own outcomes are read from a model as well, at the covariates of all treated rows.
    """
    treated, x, weight = arms.treated, arms.x, arms.weight
    everybody = weight * treated
    target = x.T @ everybody / everybody.sum()
    if model_treated:
        if len(independent_columns(x[now & treated], weight[now & treated])) < x.shape[1]:
            raise CollinearityError("too few treated rows for a model of their outcomes")
        fitted, by_own = _least_squares(outcome, x, everybody * now)
        value, influence = _mean(fitted, everybody)
        influence = influence + by_own @ target
    else:
        value, influence = _mean(outcome, everybody * now)
    left, by_others = outcome, np.zeros_like(x)
    if estimator != "weighting":
        fitted, by_others = _least_squares(outcome, x, weight * (now & ~treated))
        expected, moved = _mean(fitted, everybody)
        value, influence, left = value - expected, influence - moved - by_others @ target, outcome - fitted
    if estimator != "regression":
        alike = weight * now * arms.odds
        rest, moved = _mean(left, alike)
        by_odds = arms.by_score @ (x.T @ (alike * (left - rest))) / alike.sum()
        value, influence = value - rest, influence - moved - by_odds + by_others @ (x.T @ alike) / alike.sum()
    return value, influence


def _mean(values: Floats, weight: Floats) -> tuple[float, Floats]:
    """Weighted mean and its influence."""
    total = float(weight.sum())
    mean = float(weight @ values) / total
    return mean, weight * (values - mean) / total


def _least_squares(outcome: Floats, x: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Predictions of all rows from those with a weight, and what each row adds to the coefficients."""
    inverse = np.linalg.inv((x * weight[:, None]).T @ x)
    fitted = x @ (inverse @ (x.T @ (weight * outcome)))
    return fitted, (weight * (outcome - fitted))[:, None] * x @ inverse


def _propensity(treated: Mask, x: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Probability of treatment and what each unit adds to the coefficients."""
    design = build_design([], [Column(f"x{j}", x[:, j]) for j in range(x.shape[1])], intercept=False)
    weight = weight / weight.mean()  # those of populations reach millions, whose rounding no tolerance allows for
    fit = fit_binomial(treated.astype(np.float64), design, link="logit", probability=weight, tolerance=1e-10)
    score = np.minimum(special.expit(design.predict(fit.coef)), LARGEST_SCORE)
    return score, (weight * (treated - score))[:, None] * x @ fit.bread
