"""Errors that include every step: the model of the weights, the model of the outcome, the means over chosen rows.

The score equations of the steps are stacked. What the weights' estimation adds to an estimate is its derivative in the
parameters of the weights times the influence of each row on these; all parts are summed by cluster before squaring.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.compared import WeightScores
from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import Clustering, Rows
from missie_impact.numerics.contrasts import Means, sum_by
from missie_impact.numerics.covariance import (
    Clusters,
    Correction,
    Covariance,
    correction_factor,
    described,
    dimensions,
    leave_out_sums,
)
from missie_impact.numerics.design import rows_of

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Sums = Callable[[Clusters], Floats]  # what one step adds per cluster, (G, r)


@dataclass(frozen=True, slots=True)
class Counted:
    """What small-sample factors count.

    Attributes
    ----------
    mass : (n,) rows that each row of the risk set stands for, zero outside the fit
    n_columns : coefficients of the fit
    """

    mass: Floats
    n_columns: int


def summed_covariance(
    steps: Sequence[Sums], clusters: Sequence[Clusters], counted: Counted, correction: Correction
) -> Covariance:
    """Covariance of estimates from what each step adds per cluster.

    Parameters
    ----------
    steps : each gives (G, r) sums for clusters of all n rows
    clusters : none (every row its own), one dimension or two
    counted : for the small-sample factor
    correction : small-sample factor of each dimension

    References
    ----------
    Stefanski and Boos (2002), The American Statistician 56, 29-38; Cameron, Gelbach and Miller (2011), JBES 29,
    238-249.
    """
    n = len(counted.mass)
    if not clusters:
        rows = np.sum([step(Clusters(np.arange(n), n)) for step in steps], axis=0)
        # A row of frequency f stands for f rows on their own: f squares of an f-th part each.
        rows = rows / np.sqrt(np.where(counted.mass > 0, counted.mass, 1.0))[:, None]
        return Covariance(rows.T @ rows, (), "hc0", np.inf)
    parts = []
    for part, sign in dimensions(clusters):
        there = int(np.count_nonzero(np.bincount(part.codes, counted.mass, minlength=part.count)))
        factor = sign * correction_factor(correction, there, float(counted.mass.sum()), counted.n_columns)
        sums = np.sum([step(part) for step in steps], axis=0)
        parts.append(factor * sums.T @ sums)
    return described(np.sum(parts, axis=0), clusters, counted.mass, correction)


def counted_rows(fitted: Fitted) -> Counted:
    """Rows of a fit and their frequency, for small-sample factors."""
    rows = fitted.rows
    mass = np.zeros(rows.n)
    mass[fitted.used] = 1.0 if rows.frequency is None else rows.frequency[fitted.used]
    return Counted(mass, len(fitted.fit.coef))


def stacked_coefficients(fitted: Fitted, weighting: WeightScores, clustering: Clustering) -> Covariance:
    """Covariance of the coefficients of a weighted fit, the estimation of its weights included."""
    steps = coefficient_steps(fitted, weighting, clustering.correction)
    return summed_covariance(steps, clustering.dimensions, counted_rows(fitted), clustering.correction)


def coefficient_steps(fitted: Fitted, weighting: WeightScores | None, correction: Correction) -> list[Sums]:
    """What the steps add to the coefficients of a fit."""
    model = of_fit(fitted, fitted.fit.bread, correction)
    return [model] if weighting is None else [model, _of_weights(weighting, _to_coef(fitted, weighting))]


def stacked_means(
    fitted: Fitted, weighting: WeightScores, means: Means, positions: Positions, clustering: Clustering
) -> tuple[Floats, Floats]:
    """Covariance of means of predictions, weights' estimation included: averaged rows sampled, and held fixed.

    Parameters
    ----------
    means : with the moment of each averaged row
    positions : the averaged rows
    """
    counted, correction = counted_rows(fitted), clustering.correction
    whole, fixed = mean_steps(fitted, means, positions, correction, weighting)
    return (
        summed_covariance(whole, clustering.dimensions, counted, correction).matrix,
        summed_covariance(fixed, clustering.dimensions, counted, correction).matrix,
    )


def mean_steps(
    fitted: Fitted,
    means: Means,
    positions: Positions,
    correction: Correction,
    weighting: WeightScores | None = None,
) -> tuple[list[Sums], list[Sums]]:
    """What the steps add to means of predictions: with the averaged rows sampled, and with them held fixed."""
    to_mean = fitted.fit.bread @ means.gradient.T
    model = of_fit(fitted, to_mean, correction)

    def averaged(clusters: Clusters) -> Floats:
        return sum_by(means.moment, Clusters(clusters.codes[positions], clusters.count))

    if weighting is None:
        return [model, averaged], [model]
    through_fit = _to_coef(fitted, weighting) @ means.gradient.T
    whole = through_fit + _of_average(fitted, weighting, positions, means.moment)
    return [model, _of_weights(weighting, whole), averaged], [model, _of_weights(weighting, through_fit)]


def weights_in_means(
    fits: Sequence[Fitted], weighting: WeightScores, positions: Positions, gradients: Sequence[Floats], moment: Floats
) -> Sums:
    """What estimating the weights adds to means of predictions that several fits to the same rows make together.

    Parameters
    ----------
    positions : (m,) the averaged rows
    gradients : (r, k) derivative of the means in the coefficients of each fit
    moment : (m, r) what each averaged row adds
    """
    through = [_to_coef(f, weighting) @ g.T for f, g in zip(fits, gradients, strict=True)]
    return _of_weights(weighting, np.sum(through, axis=0) + _of_average(fits[0], weighting, positions, moment))


def _of_average(fitted: Fitted, weighting: WeightScores, positions: Positions, moment: Floats) -> Floats:
    """The weights also decide over whom is averaged: what one unit of each weight score adds to the means by that."""
    return weight_derivative(weighting, positions, moment * weight_ratio(fitted.rows, weighting, positions)[:, None])


def weight_ratio(rows: Rows, weighting: WeightScores, positions: Positions) -> Floats:
    """Derivative of the logarithm of each row's weight in the linear predictor of its score, zero without weight."""
    weight = np.ones(len(positions)) if rows.probability is None else rows.probability[positions]
    return np.where(weight > 0, weighting.slope[positions] / np.where(weight > 0, weight, 1.0), 0.0)


def weight_derivative(weighting: WeightScores, positions: Positions, rows: Floats) -> Floats:
    """What one unit of each weight score adds to r numbers: (columns of the weights' model, r).

    Parameters
    ----------
    rows : (m, r) derivative of the numbers in the weight's linear predictor, per row in ``positions``
    """
    return weighting.scores.bread.T @ _along(weighting, positions, rows)


def of_fit(fitted: Fitted, matrix: Floats, correction: Correction) -> Sums:
    """Per cluster, scores of the outcome model times a matrix."""

    def sums(clusters: Clusters) -> Floats:
        own = Clusters(clusters.codes[fitted.used], clusters.count)
        if correction == "cr3":
            return leave_out_sums(fitted.scores, own) @ matrix
        return fitted.scores.by_cluster(own, matrix)

    return sums


def _of_weights(weighting: WeightScores, matrix: Floats) -> Sums:
    def sums(clusters: Clusters) -> Floats:
        own = Clusters(clusters.codes[weighting.positions], clusters.count)
        return weighting.scores.by_cluster(own, matrix)

    return sums


def of_weights(weighting: WeightScores, matrix: Floats) -> Sums:
    """Per cluster, weight scores times a matrix: what estimating the weights adds."""
    return _of_weights(weighting, matrix)


def _to_coef(fitted: Fitted, weighting: WeightScores) -> Floats:
    """What one unit of each weight score adds to the coefficients, (columns of the weights' model, k)."""
    used = fitted.used
    weight = fitted.weights(used)
    slope = (
        weighting.slope[used] if fitted.rows.frequency is None else weighting.slope[used] * fitted.rows.frequency[used]
    )
    row = np.where(weight > 0, fitted.scores.row * slope / np.where(weight > 0, weight, 1.0), 0.0)
    place = _places(weighting, fitted.rows.n)[used]
    there = place >= 0
    z, x = rows_of(weighting.scores.design, place[there]), rows_of(fitted.scores.design, np.flatnonzero(there))
    return weighting.scores.bread.T @ z.crossproduct_with(x, row[there]) @ fitted.fit.bread


def _along(weighting: WeightScores, positions: Positions, rows: Floats) -> Floats:
    """Sum r numbers per row times the row's covariates in the weights' model, (columns, r)."""
    place = _places(weighting, len(weighting.slope))[positions]
    there = place >= 0
    design = rows_of(weighting.scores.design, place[there])
    return np.array([design.sums(column) for column in rows[there].T]).T


def _places(weighting: WeightScores, n: int) -> Positions:
    place = np.full(n, -1, dtype=np.intp)
    place[weighting.positions] = np.arange(len(weighting.positions))
    return place
