"""Means of matched sets in which controls may serve several treated units, and their errors (Abadie and Imbens)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from missie_impact.numerics.contrasts import sum_by
from missie_impact.numerics.covariance import (
    Clusters,
    Correction,
    Covariance,
    Scores,
    clusters_of,
    correction_factor,
    described,
    dimensions,
)

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class MatchedMeans:
    """Mean outcome of the treated and of their matches, and what every row of n adds to both.

    Attributes
    ----------
    risks : (2,) with and without the treatment
    mean : (n, 2) at treated rows: their outcome and that of their matches, less the means, by their share
    use : (n,) share that a control has in the second mean
    pair : (m, 2) rows of a treated unit and a control
    share : (m,) share of the pair in the second mean
    """

    risks: Floats
    mean: Floats
    use: Floats
    pair: Positions
    share: Floats

    @property
    def rows(self) -> Positions:
        """Rows that take part."""
        return np.unique(self.pair)


def matched_means(y: Floats, pair: Positions, weight: Floats, tie: Floats | None = None) -> MatchedMeans:
    """Average over the treated their own outcome and the mean of their matches.

    Parameters
    ----------
    y : (n,) outcomes
    pair : (m, 2) rows of a treated unit and a control
    weight : (n,) weight of each treated row in the population; others play no part
    tie : (m,) weight of a control within its set; None for equal ones
    """
    treated, control = pair.T
    n = len(y)
    within = np.ones(len(pair)) if tie is None else tie
    rows = np.unique(treated)
    total = float(weight[rows].sum())
    part = within / np.bincount(treated, within, n)[treated]
    other = np.bincount(treated, part * y[control], n)
    own = np.zeros(n)
    own[rows] = weight[rows] / total
    risks = np.array([own @ y, own @ other])
    mean = own[:, None] * (np.column_stack([y, other]) - risks)
    share = own[treated] * part
    use = np.bincount(control, share, n).astype(np.float64, copy=False)
    return MatchedMeans(risks, mean, use, pair, share)


def spread_of_controls(y: Floats, alike: Positions) -> tuple[Floats, Floats]:
    """Residual of each control in use against its nearest other controls, and what scales it to its own variance.

    Parameters
    ----------
    y : (n,) outcomes
    alike : (c, 1 + q) row of a control, then its neighbours, -1 for none

    Returns
    -------
    residual : (n,) y less the mean of q neighbours, zero elsewhere; NaN without a neighbour
    scale : (n,) root of q / (q + 1)
    """
    used, near = alike[:, 0], alike[:, 1:]
    number = (near >= 0).sum(axis=1)
    residual, scale = np.zeros(len(y)), np.zeros(len(y))
    with np.errstate(invalid="ignore", divide="ignore"):
        residual[used] = y[used] - np.where(near >= 0, y[near], 0.0).sum(axis=1) / number
    residual[used[number == 0]] = np.nan
    scale[used] = np.sqrt(number / (number + 1.0))
    return residual, scale


@dataclass(frozen=True, slots=True)
class MatchedErrors:
    """What errors of matched means are made of.

    Attributes
    ----------
    means : the estimate
    residual, scale : (n,) from `spread_of_controls`
    propensity : score equations of the logit that was matched on, or None where it is known or plays no part
    positions : rows that these equations run over
    """

    means: MatchedMeans
    residual: Floats
    scale: Floats
    propensity: Scores | None = None
    positions: Positions | None = None

    def covariance(self, clusters: Sequence[Clusters], correction: Correction) -> Covariance:
        """Covariance of the two means (2, 2), rows on their own without clusters.

        The matches of a treated row estimate its mean without treatment with the noise of their own outcomes. Its
        square is in the spread of the treated and again in the controls' own part, so it is taken off once. Where the
        propensity was estimated, its scores enter through the covariance of residual and covariates among controls in
        use: for a logit that is what the two corrections of Abadie and Imbens (2016) add up to.

        References
        ----------
        Abadie and Imbens (2006), Econometrica 74, 235-267; (2016), Econometrica 84, 781-807.
        """
        n, rows = len(self.residual), self.means.rows
        parts = dimensions(clusters) if clusters else [(Clusters(np.arange(n), n), 1.0)]
        total = np.zeros((2, 2))
        mass = np.zeros(n)
        mass[rows] = 1.0
        for part, sign in parts:
            there = int(np.count_nonzero(np.bincount(part.codes, mass, minlength=part.count)))
            factor = correction_factor(correction, there, float(len(rows)), 2) if clusters else 1.0
            total += sign * factor * self._within(part)
        if not clusters:
            return Covariance(total, (), "hc0", np.inf)
        return described(total, clusters, mass, correction)

    def _within(self, part: Clusters) -> Floats:
        means = self.means
        noise = self.residual * self.scale
        treated = sum_by(means.mean, part)
        controls = np.bincount(part.codes, means.use * noise, minlength=part.count).astype(np.float64, copy=False)
        added = treated + np.column_stack([np.zeros(part.count), controls])
        matrix = added.T @ added
        matrix[1, 1] -= self._doubled(part, controls)
        if self.propensity is None or self.positions is None:
            return matrix
        plain = treated.copy()  # covariances with the scores take residuals as they are
        plain[:, 1] += np.bincount(part.codes, means.use * self.residual, minlength=part.count)
        own = Clusters(part.codes[self.positions], part.count)
        moved = np.zeros((part.count, 2))
        moved[:, 1] = self.propensity.by_cluster(own, self.slope()[:, None])[:, 0]
        matrix += plain.T @ moved + moved.T @ plain + moved.T @ moved
        return matrix

    def _doubled(self, part: Clusters, controls: Floats) -> float:
        """Noise of the matches in the spread of the treated, per cluster of the treated and of the control."""
        treated, control = (part.codes[rows] for rows in self.means.pair.T)
        noise = self.means.share * (self.residual * self.scale)[self.means.pair[:, 1]]
        cells = clusters_of(treated, control)
        sums = np.bincount(cells.codes, noise, minlength=cells.count)
        inside = np.bincount(treated, np.where(treated == control, noise, 0.0), minlength=part.count)
        return float(sums @ sums + 2.0 * inside @ controls)

    def slope(self) -> Floats:
        """What one unit of each coefficient of the propensity moves the second mean by, times their covariance."""
        if self.propensity is None or self.positions is None:
            return np.zeros(0)
        residual = (self.means.use * self.residual)[self.positions]
        slope: Floats = self.propensity.bread.T @ self.propensity.design.sums(residual)
        return slope
