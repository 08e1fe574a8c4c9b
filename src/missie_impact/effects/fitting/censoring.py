"""Units whose outcome is not seen: those who stay in sight stand for them, by the inverse probability of staying.

Staying is modelled year by year after t. What the estimation of these models adds to an effect is in its errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.becoming.nuisance import Logit
from missie_impact.effects.fitting.groups import FIXED
from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.stacked import Sums, counted_rows, mean_steps, of_fit, summed_covariance
from missie_impact.effects.fitting.standardise import risk_means
from missie_impact.effects.result import GroupResult
from missie_impact.numerics.covariance import Clusters, Scores, fit_scores
from missie_impact.numerics.design import Design, rows_of
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Weighted:
    """A risk set with the weight of each row: zero for units censored before the outcome is seen."""

    risk: RiskSet
    weight: Floats
    method: str
    estimand: str = "att"


@dataclass(frozen=True, slots=True)
class Censoring:
    """Unit-years of units that may leave sight, until they do, and the models of leaving.

    Attributes
    ----------
    unit : (m,) row of the risk set
    goes : (m,) 1 in the year in which the unit leaves sight
    models : each with its design and the sign of its part in the logarithm of the weights: 1 below, -1 above the line
    free : (n,) rows whose weight moves with the models: watched, not censored, not truncated
    weights : (m,) frequency and sampling weight of each unit-year, or None
    """

    unit: Positions
    goes: Floats
    models: tuple[tuple[Logit, Design, float], ...]
    free: NDArray[np.bool_]
    weights: tuple[Floats | None, Floats | None]


def unit_years(ahead: Floats, watched: NDArray[np.bool_], years: int) -> tuple[Positions, Positions]:
    """Row and year after t of each year in which a watched unit is in sight at its beginning."""
    parts = [np.flatnonzero(watched & (ahead >= k)) for k in range(1, years + 1)]
    return np.concatenate(parts), np.repeat(np.arange(1, years + 1), [len(p) for p in parts])


def staying_weights(models: Sequence[tuple[Logit, Design, float]], unit: Positions, stays: NDArray[np.bool_]) -> Floats:
    """Inverse probability of staying in sight in every year, (n,); one where no model says otherwise."""
    log_weight = np.zeros(len(stays))
    for logit, design, sign in models:
        with np.errstate(divide="ignore"):
            staying = np.log1p(-logit.predict(design))
        log_weight -= sign * np.bincount(unit, np.where(stays[unit], staying, 0.0), minlength=len(stays))
    weight: Floats = np.exp(log_weight)
    return weight


def with_estimated_weights(result: GroupResult, fitted: Fitted, censoring: Censoring) -> GroupResult:
    """Put what the estimation of the weights adds into the errors."""
    averaged = risk_means(fitted, "treated")
    scales = {n: m for n, m in result.covariances.items() if not n.endswith(FIXED)}
    coefs = {n: m for n, m in result.coef_covariances.items() if not n.endswith(FIXED)}
    k, counted = len(fitted.fit.coef), counted_rows(fitted)
    wide = len(result.terms) - k
    for clustering in fitted.rows.clusterings:
        name, correction = clustering.name, clustering.correction
        steps = mean_steps(fitted, averaged.means, averaged.positions, correction)[0]
        steps += _weight_steps(fitted, censoring, averaged.means.gradient.T)
        joint = summed_covariance(steps, clustering.dimensions, counted, correction).matrix
        scales[name] = averaged.gradient @ joint @ averaged.gradient.T
        steps = [of_fit(fitted, fitted.fit.bread, correction), *_weight_steps(fitted, censoring, np.eye(k))]
        own = summed_covariance(steps, clustering.dimensions, counted, correction).matrix
        coefs[name] = np.pad(own, ((0, wide), (0, wide)), constant_values=np.nan)
    degrees = {n: d for n, d in result.degrees.items() if n in scales}
    return replace(result, covariances=scales, coef_covariances=coefs, degrees=degrees)


def _weight_steps(fitted: Fitted, censoring: Censoring, to_means: Floats) -> list[Sums]:
    """Per cluster, what estimating each model of going adds, through the weights, to the outcome model's means."""
    place = np.full(fitted.rows.n, -1, dtype=np.intp)
    place[fitted.used] = np.arange(len(fitted.used))
    steps: list[Sums] = []
    for logit, design, sign in censoring.models:
        unit = censoring.unit[logit.used]
        there = censoring.free[unit] & (place[unit] >= 0)
        # the logarithm of a weight moves with the linear predictor of each year by the probability of going then
        moves = sign * logit.predict(design, logit.used)[there] * fitted.scores.row[place[unit[there]]]
        z = rows_of(logit.settled.design, np.flatnonzero(there))
        through = z.crossproduct_with(rows_of(fitted.scores.design, place[unit[there]]), moves)
        frequency, probability = (None if w is None else w[logit.used] for w in censoring.weights)
        scores = fit_scores(
            logit.fit, censoring.goes[logit.used], logit.settled.design, frequency=frequency, probability=probability
        )
        matrix = logit.fit.bread @ through @ fitted.fit.bread @ to_means

        def sums(
            clusters: Clusters, scores: Scores = scores, unit: Positions = unit, matrix: Floats = matrix
        ) -> Floats:
            return scores.by_cluster(Clusters(clusters.codes[unit], clusters.count), matrix)

        steps.append(sums)
    return steps
