"""From a fit to effects: the risks, or the histories, of chosen rows in the two worlds, with their joint covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.across import sums_of_coefficient, sums_of_means
from missie_impact.effects.fitting.groups import FIXED, FIXED_WEIGHTS, Scales, covariance_with
from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import Clustering
from missie_impact.effects.fitting.stacked import stacked_means
from missie_impact.numerics.cells import Design
from missie_impact.numerics.contrasts import Means, stack_means, weight_share
from missie_impact.numerics.covariance import Clusters
from missie_impact.numerics.links import LinkName, get_link

Floats = NDArray[np.float64]
Population = Literal["treated", "all", "overlap"]

RISK_SCALES = (
    "odds_ratio", "risk_ratio", "risk_difference", "risk_with", "risk_without", "odds_ratio_conditional", "log_odds",
)  # fmt: skip
CONDITIONAL: dict[LinkName, tuple[str, ...]] = {
    "cloglog": ("hazard_ratio_conditional", "log_hazard"),
    "logit": ("odds_ratio_conditional", "log_odds"),
    "probit": ("probit_index",),
}


def risk_scales(fitted: Fitted, population: Population) -> Scales:
    """Standardise predicted risks over the treated, or over all rows: odds ratio, risk ratio, risk difference.

    Rows the likelihood left out because their outcome is certain take part with that certain risk, so the population
    stays the one the risk set names. Errors come from stacked estimating equations (outcome model and means, summed by
    cluster); the version that holds the covariates of the averaged rows fixed stands beside it.
    """
    averaged = risk_means(fitted, population)
    means, positions, gradient = averaged.means, averaged.positions, averaged.gradient
    covariances: dict[str, Floats] = {}
    for clustering in fitted.rows.clusterings:
        stacked, fixed = known = _covariances_of_means(fitted, means, positions, clustering)
        if fitted.rows.weighting is not None:
            stacked, fixed = stacked_means(fitted, fitted.rows.weighting, means, positions, clustering)
        covariances[clustering.name] = gradient @ stacked @ gradient.T
        covariances[clustering.name + FIXED] = gradient @ fixed @ gradient.T
        if fitted.rows.probability is not None:  # weights and rows averaged over taken as known, as R's vcovCL does
            covariances[clustering.name + FIXED_WEIGHTS] = gradient @ known[1] @ gradient.T
    sums = sums_of_means(fitted, means, positions, gradient)
    return Scales(RISK_SCALES, averaged.values, covariances, sums=sums)


@dataclass(frozen=True, slots=True)
class Averaged:
    """Risks of chosen rows in both worlds.

    Attributes
    ----------
    values : (7,) on ``RISK_SCALES``
    means : the two risks and the treatment's coefficient
    positions : (m,) rows averaged over
    gradient : (7, 3) derivative of the scales in the means, ratios in logs
    """

    values: Floats
    means: Means
    positions: NDArray[np.intp]
    gradient: Floats


def risk_means(fitted: Fitted, population: Population) -> Averaged:
    """Average predicted risks over the treated, or over all rows, in both worlds."""
    chosen = fitted.group & fitted.rows.treated if population == "treated" else fitted.group
    positions: NDArray[np.intp] = np.flatnonzero(chosen)
    share = weight_share(fitted.weights(positions))
    worlds = [_mean_risk(fitted, fitted.world(positions, arm), share) for arm in (1, 0)]
    k, b = fitted.treatment, float(fitted.fit.coef[fitted.treatment])
    unit = np.zeros(len(fitted.fit.coef))
    unit[k] = 1.0
    means = Means(
        ("risk_1", "risk_0", "log_odds"),
        np.array([worlds[0][0], worlds[1][0], b]),
        np.array([worlds[0][1], worlds[1][1], unit]),
        np.array([worlds[0][2], worlds[1][2], np.zeros(len(positions))]).T,
    )
    one, zero = worlds[0][0], worlds[1][0]
    odds, ratio = one / (1 - one) / (zero / (1 - zero)), one / zero
    gradient = np.array(
        [
            [1 / (one * (1 - one)), -1 / (zero * (1 - zero)), 0], [1 / one, -1 / zero, 0], [1, -1, 0],
            [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1],
        ]
    )  # fmt: skip
    values = np.array([odds, ratio, one - zero, one, zero, np.exp(b), b])
    return Averaged(values, means, positions, gradient)


def _mean_risk(fitted: Fitted, design: Design, share: Floats) -> tuple[float, Floats, Floats]:
    """Mean risk of the rows, its derivative in the coefficients, and what each row adds beyond the mean."""
    link, eta = get_link(fitted.fit.link), design.predict(fitted.fit.coef)
    each = link.probability(eta)
    risk = float(share @ each)
    return risk, design.sums(share * link.density(eta)), share * (each - risk)


def _covariances_of_means(
    fitted: Fitted, means: Means, positions: NDArray[np.intp], clustering: Clustering
) -> tuple[Floats, Floats]:
    """Covariance of means with the averaged rows sampled, and with them held fixed."""
    if clustering.dimensions:
        pairs = fitted.together(positions, clustering.dimensions)
        stacked = stack_means(
            replace(means, clusters=tuple(rows for _, rows in pairs)),
            fitted.scores,
            [of for of, _ in pairs],
            clustering.correction,
        )
        return stacked.stacked.matrix, stacked.fixed.matrix
    frequency = fitted.rows.frequency
    root = np.ones(fitted.rows.n) if frequency is None else np.sqrt(np.where(frequency > 0, frequency, 1.0))
    # A row of frequency f stands for f rows on their own: f squares of an f-th part each.
    moment = means.moment / root[positions, None]
    if clustering.name == "hc0":
        each = Clusters(np.arange(fitted.rows.n), fitted.rows.n)
        (of_fit, of_rows) = fitted.together(positions, [each])[0]
        scores = replace(fitted.scores, row=fitted.scores.row / root[fitted.used])
        both = stack_means(replace(means, moment=moment, clusters=(of_rows,)), scores, [of_fit], "cr0")
        return both.stacked.matrix, both.fixed.matrix
    # Under the model, scores and the sampling of covariates are uncorrelated.
    fixed = means.gradient @ fitted.fit.bread @ means.gradient.T
    return fixed + moment.T @ moment, fixed


def conditional_scales(fitted: Fitted) -> Scales:
    """Return the treatment's coefficient and its exponential: conditional on the controls, not averaged over anyone."""
    b, k = float(fitted.fit.coef[fitted.treatment]), fitted.treatment
    names = CONDITIONAL[fitted.fit.link]
    values = np.array([np.exp(b), b][-len(names) :])
    covariances: dict[str, Floats] = {}
    for clustering in fitted.rows.clusterings:
        variance = float(covariance_with(fitted, clustering, k)[k])
        covariances[clustering.name] = covariances[clustering.name + FIXED] = np.full((len(names),) * 2, variance)
    return Scales(names, values, covariances, sums=sums_of_coefficient(fitted, k, len(names)))
