"""Risks of the two worlds standardised over chosen rows, with their odds ratio, risk ratio and risk difference.

The fit and the two means are solved together: outcome-model scores and standardisation moments are stacked and summed
by cluster, so the interval covers the sampling of the rows that are averaged over as well. The version that holds
those rows fixed, which is what the delta method on R's ``vcovCL`` gives, stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from missie_impact.errors import NoParticipantError, SettingsError
from missie_impact.numerics.binomial import BinomialFit
from missie_impact.numerics.cells import Design, Floats
from missie_impact.numerics.covariance import (
    Clusters,
    Correction,
    Covariance,
    Scores,
    correction_factor,
    crossed,
    finish,
    interval,
    leave_out_sums,
)
from missie_impact.numerics.links import LinkName, get_link


@dataclass(frozen=True, slots=True)
class Contrast:
    """One effect on one scale.

    Attributes
    ----------
    estimate : on its own scale (ratios not logged)
    std_error : of the logarithm for ratios, of the estimate itself for differences
    conf_low, conf_high : interval, made on the log scale for ratios
    log_scale : whether it is a ratio
    """

    estimate: float
    std_error: float
    conf_low: float
    conf_high: float
    log_scale: bool


@dataclass(frozen=True, slots=True)
class Estimates:
    """Numbers estimated together: r values, their joint covariance, and the same with the averaged rows held fixed.

    Attributes
    ----------
    names : (r,) what each is
    value : (r,) log ratios, differences or levels
    stacked : covariance from stacked estimating equations
    fixed : covariance given the rows averaged over
    means : the means they are functions of, and ``slope`` their derivative in these; None where nobody kept them
    """

    names: tuple[str, ...]
    value: Floats
    stacked: Covariance
    fixed: Covariance
    means: Means | None = None
    slope: Floats | None = None

    def contrast(self, name: str, *, level: float = 0.95, small_sample: bool = True, fixed: bool = False) -> Contrast:
        """Return one of them with its interval.

        Parameters
        ----------
        name : one of ``names``; those beginning with "log_" come back as ratios
        small_sample : t with the degrees of freedom of the covariance, else normal
        fixed : use the covariance that holds the averaged rows fixed
        """
        position = self.names.index(name)
        cov = self.fixed if fixed else self.stacked
        value, error = float(self.value[position]), float(np.sqrt(cov.matrix[position, position]))
        low, high = interval(value, error, level=level, df=cov.df if small_sample else np.inf)
        if not name.startswith("log_"):
            return Contrast(value, error, float(low), float(high), False)
        return Contrast(float(np.exp(value)), error, float(np.exp(low)), float(np.exp(high)), True)

    def transform(self, names: Sequence[str], value: Floats, gradient: Floats) -> Estimates:
        """Return functions of the estimates by the delta method; ``gradient`` is (new, r)."""
        slope = None if self.slope is None else gradient @ self.slope
        covariances = (_moved(self.stacked, gradient), _moved(self.fixed, gradient))
        return Estimates(tuple(names), value, *covariances, self.means, slope)


@dataclass(frozen=True, slots=True)
class Means:
    """Means of predictions, before their errors.

    Attributes
    ----------
    names : (r,) what each is
    value : (r,) the means
    gradient : (r, k) their derivative in the coefficients of the model
    moment : (m, r) what each averaged row adds beyond the mean, divided by the total weight
    clusters : of the averaged rows, numbered as those of the fit; empty when they are the rows of the fit
    """

    names: tuple[str, ...]
    value: Floats
    gradient: Floats
    moment: Floats
    clusters: tuple[Clusters, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """Rows to average over, in the two worlds.

    Attributes
    ----------
    treated, untreated : designs of the same m rows with the treatment on and off; columns as in the fit
    weight : (m,) weight of each row in the mean, zero to leave it out; frequency times probability
    clusters : of these rows, numbered as those of the fit, one per dimension; empty when the rows are those of the fit
    """

    treated: Design
    untreated: Design
    weight: Floats
    clusters: tuple[Clusters, ...] = ()


def standardise_binomial(
    fit: BinomialFit,
    scores: Scores,
    prediction: Prediction,
    clusters: Sequence[Clusters] = (),
    *,
    correction: Correction = "g_over_gm1",
) -> Estimates:
    """Estimate mean predicted risks with and without treatment over chosen rows, and their contrasts.

    Parameters
    ----------
    fit, scores : the outcome model and its score equations
    prediction : the two worlds and the weight of each row; the treated rows for the effect on the treated
    clusters : of the rows of the fit; none means every row on its own
    correction : small-sample factor

    Returns
    -------
    Estimates
        ``risk_1``, ``risk_0``, ``log_odds_ratio``, ``log_risk_ratio``, ``risk_difference``. The odds ratio is that of
        the standardised risks: marginal, not the coefficient.

    Raises
    ------
    NoParticipantError
        If the weights are all zero.

    References
    ----------
    Stefanski and Boos (2002), The American Statistician 56, 29-38; Hernan and Robins (2020), chapter 13.
    """
    share = weight_share(prediction.weight)
    worlds = [_mean_risk(fit.coef, fit.link, world, share) for world in (prediction.treated, prediction.untreated)]
    means = Means(
        ("risk_1", "risk_0"),
        np.array([risk for risk, _, _ in worlds]),
        np.array([gradient for _, gradient, _ in worlds]),
        np.array([moment for _, _, moment in worlds]).T,
        prediction.clusters,
    )
    return risk_contrasts(stack_means(means, scores, clusters, correction))


def stack_means(means: Means, scores: Scores, clusters: Sequence[Clusters], correction: Correction) -> Estimates:
    """Stack means of predictions on the score equations of the model that predicts them.

    Parameters
    ----------
    means : the means, their derivatives and their moments
    scores : of the model
    clusters : of the rows of the fit; empty for rows on their own, which needs the averaged rows to be those of the fit
    correction : small-sample factor of each dimension
    """
    if not clusters:
        return _stack_rows(means, scores)
    to_mean = scores.bread @ means.gradient.T
    r = len(means.value)
    stacked, fixed = np.zeros((r, r)), np.zeros((r, r))
    for of_fit, of_means, sign in _paired(clusters, means.clusters or clusters):
        factor = sign * correction_factor(correction, scores.n_clusters(of_fit), scores.n_rows, len(scores.bread))
        bent = correction == "cr3"  # bends what the fit adds; the means themselves have no leverage on it
        model = leave_out_sums(scores, of_fit) @ to_mean if bent else scores.by_cluster(of_fit, to_mean)
        whole = model + sum_by(means.moment, of_means)
        fixed += factor * model.T @ model
        stacked += factor * whole.T @ whole
    return Estimates(
        means.names,
        means.value,
        finish(stacked, scores, clusters, correction),
        finish(fixed, scores, clusters, correction),
        means,
        np.eye(r),
    )


def sum_by(rows: Floats, clusters: Clusters) -> Floats:
    """Sum (m, r) rows per cluster, shape (G, r)."""
    columns = [np.bincount(clusters.codes, column, minlength=clusters.count) for column in rows.T]
    return np.array(columns, dtype=np.float64).reshape(-1, clusters.count).T


def _paired(clusters: Sequence[Clusters], own: Sequence[Clusters]) -> list[tuple[Clusters, Clusters, float]]:
    """Clusters of the fit and of the averaged rows under the same numbers, with the sign of each part."""
    for one, other in zip(clusters, own, strict=True):
        if len(other.codes) and int(other.codes.max()) >= one.count:
            raise SettingsError("the averaged rows have clusters that the fit does not know; number both together.")
    parts = [(one, other, 1.0) for one, other in zip(clusters, own, strict=True)]
    if len(parts) == 1:
        return parts
    n = len(clusters[0].codes)
    joined = [Clusters(np.concatenate([a.codes, b.codes]), a.count) for a, b, _ in parts]
    both = crossed(joined[0], joined[1])
    return [*parts, (Clusters(both.codes[:n], both.count), Clusters(both.codes[n:], both.count), -1.0)]


def _stack_rows(means: Means, scores: Scores) -> Estimates:
    if len(means.moment) != scores.design.n_rows:
        raise SettingsError("without clusters the averaged rows must be the rows of the fit; give clusters.")
    to_mean = scores.bread @ means.gradient.T
    design = replace(scores.design, offset=None)
    model = np.array([scores.row * design.predict(column) for column in to_mean.T]).T
    per_row = (
        np.ones(len(model)) if scores.frequency is None else 1.0 / np.where(scores.frequency > 0, scores.frequency, 1)
    )
    stacked, fixed = (influence.T @ (influence * per_row[:, None]) for influence in (model + means.moment, model))
    return Estimates(
        means.names, means.value, Covariance(stacked, (), "hc0", np.inf), Covariance(fixed, (), "hc0", np.inf)
    )


def weight_share(weight: Floats) -> Floats:
    """Return weights as shares of their sum."""
    total = float(weight.sum())
    if not total > 0:
        raise NoParticipantError("expected rows to average over, found none with a positive weight.")
    return weight / total


def _mean_risk(coef: Floats, link: LinkName, design: Design, share: Floats) -> tuple[float, Floats, Floats]:
    """Mean predicted risk, its gradient, and each row's part beyond the mean."""
    functions, eta = get_link(link), design.predict(coef)
    each = functions.probability(eta)
    risk = float(share @ each)
    return risk, design.sums(share * functions.density(eta)), share * (each - risk)


def risk_contrasts(means: Estimates) -> Estimates:
    """Turn ``risk_1`` and ``risk_0`` (the first two values) into themselves and their contrasts on three scales."""
    one, zero = float(means.value[0]), float(means.value[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.array(
            [one, zero, np.log(one / (1 - one)) - np.log(zero / (1 - zero)), np.log(one / zero), one - zero]
        )
        gradient = np.array(
            [[1, 0], [0, 1], [1 / (one * (1 - one)), -1 / (zero * (1 - zero))], [1 / one, -1 / zero], [1, -1]]
        )
    rest = np.zeros((5, len(means.value) - 2))
    names = ("risk_1", "risk_0", "log_odds_ratio", "log_risk_ratio", "risk_difference")
    return means.transform(names, value, np.hstack([gradient, rest]))


def _moved(covariance: Covariance, gradient: Floats) -> Covariance:
    return replace(covariance, matrix=gradient @ covariance.matrix @ gradient.T)
