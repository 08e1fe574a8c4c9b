"""Hazards with a normal random effect per cluster, by adaptive Gauss-Hermite quadrature with analytic derivatives.

The likelihood of a cluster is the integral over its effect u of the product of its rows' likelihoods. Where a cluster
was followed only after it had survived for a while, its rows before entry are supplied and the likelihood conditions on
surviving them: log of the integral over all rows, less log of the integral over the rows before entry. The effect has
its normal distribution at the origin of the spells, not among those who survived to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from missie_impact.errors import ConvergenceError
from missie_impact.numerics.binomial import BinomialFit, fit_binomial
from missie_impact.numerics.cells import Codes, Floats, Term
from missie_impact.numerics.frailty_data import FrailtyData, followed_rows
from missie_impact.numerics.links import LARGEST_ETA, LinkName, get_link
from missie_impact.numerics.quadrature import (
    ClusterIntegral,
    ClusterRows,
    hermite_rule,
    integrate_clusters,
    summed_rows,
)

CHUNK_NUMBERS = 800_000  # numbers held at a time; small enough for the cache
HALVINGS = 30
NEAR_ENOUGH = 1.0  # standard deviations of score
BOUNDARY_SD = 1e-3
STARTS = (0.1, 0.4, 0.9, 1.8)
PROFILE_STEPS = 4
MOVES_WITH_POINTS = 1e-3  # change of the log likelihood under doubled points that a reader must know of


@dataclass(frozen=True, slots=True)
class FrailtyFit:
    """Maximum-likelihood fit with a normal effect per cluster. It holds no microdata.

    Attributes
    ----------
    coef : (k,) conditional on the cluster's effect
    sd : standard deviation of the effect; 0 at the boundary
    bread : (k + 1, k + 1) inverse observed information of coef and sd; (k, k) at the boundary
    log_likelihood, log_likelihood_pooled : with the effect and without
    p_value : of no effect, by the 50:50 mixture of 0 and chi-squared with one degree of freedom
    n_rows, n_events, n_clusters : rows before entry not counted
    points : quadrature points per cluster
    quadrature_change : change of the log likelihood at the optimum under twice as many points
    steps, gradient : Newton steps, and the largest score in units of its own standard deviation
    link, terms : of the model
    notes : what a reader must know
    """

    coef: Floats
    sd: float
    bread: Floats
    log_likelihood: float
    log_likelihood_pooled: float
    p_value: float
    n_rows: float
    n_events: float
    n_clusters: int
    points: int
    quadrature_change: float
    steps: int
    gradient: float
    link: LinkName
    terms: tuple[Term, ...]
    notes: tuple[str, ...] = ()

    @property
    def std_error(self) -> Floats:
        """Model-based standard errors of coef (k,)."""
        errors: Floats = np.sqrt(np.diag(self.bread)[: len(self.coef)])
        return errors


def fit_gaussian_frailty(
    data: FrailtyData,
    *,
    link: LinkName = "cloglog",
    points: int = 15,
    most_points: int | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 60,
) -> FrailtyFit:
    """Fit P(y = 1 | u) = link(x'b + sd * u) with u standard normal per cluster.

    Parameters
    ----------
    data : from `frailty_data`
    link : "cloglog", "logit" or "probit"
    points : quadrature points per cluster
    most_points : points are doubled up to this number while twice as many move the log likelihood by more than 0.001,
        or while no step raises it; None keeps ``points``
    tolerance : largest score at the optimum, in units of its own standard deviation

    Returns
    -------
    FrailtyFit
        With sd 0 and the coefficients without frailty where the likelihood is highest there.

    Raises
    ------
    ConvergenceError
        If the steps do not settle.

    References
    ----------
    Pinheiro and Bates (1995), JCGS 4, 12-35; Liu and Pierce (1994), Biometrika 81, 624-629;
    van den Berg and Drepper (2016), Econometric Reviews 35, 1075-1098, on entry; Self and Liang (1987), JASA 82.
    """
    y, design, frequency, probability = followed_rows(data)
    pooled = fit_binomial(y, design, link=link, frequency=frequency, probability=probability)
    theta, asked = _start(data, pooled, link, points), points
    while theta is not None:
        last = most_points is None or 2 * points > most_points
        try:
            theta, here, reached = _climb(data, theta, link, points, (tolerance, max_steps))
        except ConvergenceError:
            if last:
                raise
            points *= 2
            continue
        if here is None:
            break
        change = frailty_loglik_at(theta[:-1], theta[-1], data, link=link, points=2 * points) - here.log_likelihood
        if last or abs(change) <= MOVES_WITH_POINTS:
            return _finished(data, (theta, here), pooled, link, (asked, points, change), reached)
        points *= 2
    return _at_boundary(data, pooled, points)


def _climb(
    data: FrailtyData, theta: Floats, link: LinkName, points: int, until: tuple[float, int]
) -> tuple[Floats, _Evaluation | None, tuple[int, float]]:
    """Newton steps from ``theta`` to where the score is zero; no evaluation where they end at a variance of zero."""
    tolerance, max_steps = until
    here = _evaluate(data, theta, link, points)
    for step in range(1, max_steps + 1):
        scale = np.sqrt(np.maximum(np.diag(here.outer), 1e-300))
        gradient = float(np.abs(here.score / scale).max())
        if gradient <= tolerance:
            return theta, here, (step, gradient)
        theta, here = _advance(data, theta, _direction(here), here, link, points)
        if theta[-1] < BOUNDARY_SD:
            return theta, None, (step, gradient)
    raise ConvergenceError(
        f"the frailty likelihood has no maximum after {max_steps} steps (standard deviation now {theta[-1]:.3g}); it "
        "may be too flat: use fewer duration terms, or leave the frailty out."
    )


def frailty_loglik_at(
    coef: Floats, sd: float, data: FrailtyData, *, link: LinkName = "cloglog", points: int = 15
) -> float:
    """Log likelihood at given coefficients and standard deviation."""
    return _evaluate(data, np.append(coef, sd), link, points, derivatives=False).log_likelihood


def frailty_scores(
    coef: Floats, sd: float, data: FrailtyData, *, link: LinkName = "cloglog", points: int = 15
) -> Floats:
    """Score of each cluster in coef and sd, (G, k + 1), weights included: their sums make a robust covariance."""
    return _evaluate(data, np.append(coef, sd), link, points).by_cluster


def frailty_by_cluster(
    coef: Floats, sd: float, data: FrailtyData, *, link: LinkName = "cloglog", points: int = 15
) -> tuple[Floats, Floats]:
    """Log likelihood of each cluster (G,) and its derivative in coef and sd (G, k + 1), without probability weights.

    Of rows without events, these are the logarithm of the probability of surviving them, given those before entry.
    """
    found = _evaluate(replace(data, weight=np.ones(len(data.starts))), np.append(coef, sd), link, points)
    return found.log_likelihoods, found.by_cluster


def predicted_effects(
    coef: Floats, sd: float, data: FrailtyData, *, link: LinkName = "cloglog", points: int = 15
) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each cluster's effect sd * u given all its rows, (G,) each."""
    found = _evaluate(data, np.append(coef, sd), link, points, derivatives=False)
    spread = np.sqrt(np.maximum(found.second - found.mean**2, 0.0))
    return sd * found.mean, sd * spread


@dataclass(frozen=True, slots=True)
class _Evaluation:
    log_likelihoods: Floats
    by_cluster: Floats
    information: Floats
    mean: Floats
    second: Floats
    modes: tuple[Floats, ...]
    weight: Floats

    @property
    def log_likelihood(self) -> float:
        return float(self.weight @ self.log_likelihoods)

    @property
    def score(self) -> Floats:
        total: Floats = self.by_cluster.sum(axis=0)
        return total

    @property
    def outer(self) -> Floats:
        return self.by_cluster.T @ self.by_cluster


def _evaluate(
    data: FrailtyData,
    theta: Floats,
    link: LinkName,
    points: int,
    *,
    derivatives: bool = True,
    modes: tuple[Floats, ...] = (),
) -> _Evaluation:
    """Likelihood of all rows less that of the rows before entry; ``modes`` are those of parameters near by."""
    k = len(theta)
    eta, cluster = data.design.predict(theta[:-1]), data.cluster
    with np.errstate(over="ignore", invalid="ignore"):  # far off, the likelihood is not finite and the step is halved
        rate = data.frequency * np.exp(np.minimum(eta, LARGEST_ETA)) * summed_rows(get_link(link), data.y)
        parts = [(1.0, None)] + ([(-1.0, data.before_entry)] if data.before_entry.any() else [])
        found, curvature, information = [], np.zeros(len(eta)), np.zeros((k, k))
        for position, (sign, among) in enumerate(parts):
            rates = rate if among is None else rate * among
            near = modes[position] if modes else None
            part = _integrate(data, theta, link, points, (eta, rates, among), derivatives, near)
            found.append(part)
            if derivatives:
                curvature += sign * rates * (part.growth * data.weight)[cluster]
                information += sign * part.information
        if derivatives:
            information[:-1, :-1] += data.design.crossproduct(curvature)
    total = found[0].log_likelihood - (found[1].log_likelihood if len(found) > 1 else 0.0)
    by_cluster = found[0].score - (found[1].score if len(found) > 1 else 0.0)
    return _Evaluation(
        total, by_cluster * data.weight[:, None] if derivatives else np.zeros((0, k)), information, found[0].mean,
        found[0].second, tuple(part.mode for part in found), data.weight,
    )  # fmt: skip


def _integrate(
    data: FrailtyData,
    theta: Floats,
    link: LinkName,
    points: int,
    of_rows: tuple[Floats, Floats, NDArray[np.bool_] | None],
    derivatives: bool,
    near: Floats | None,
) -> ClusterIntegral:
    """Integrate all clusters, as many at a time as the cache holds."""
    eta, rates, among = of_rows
    functions, rule, g, k = get_link(link), hermite_rule(points), len(data.starts), len(theta)
    single = ~summed_rows(functions, data.y)
    positions = np.flatnonzero(single if among is None else single & among)
    edges = np.searchsorted(positions, np.append(data.starts, len(data.y))).astype(np.intp)
    summed_rate = np.bincount(data.cluster, rates, g).astype(np.float64, copy=False)
    rows = ClusterRows(data.y[positions], eta[positions], data.frequency[positions], edges, summed_rate)
    summed = data.design.cluster_sums(rates, data.cluster, g) if derivatives else np.empty((g, 0))
    found = []
    for clusters in _chunks(edges, points * (k + 4) if derivatives else 4 * points):
        own = positions[rows.rows(clusters)]
        covariates = None
        if derivatives:
            covariates = data.design.written_out(own), summed[clusters], data.weight[clusters]
        start = None if near is None else near[clusters]
        part = rows.part(clusters)
        found.append(integrate_clusters(functions, part, theta[-1], rule, start=start, derivatives=covariates))
    return ClusterIntegral(
        np.concatenate([part.log_likelihood for part in found]),
        np.concatenate([part.mode for part in found]),
        np.concatenate([part.mean for part in found]),
        np.concatenate([part.second for part in found]),
        np.concatenate([part.growth for part in found]),
        np.concatenate([part.score for part in found]),
        np.sum([part.information for part in found], axis=0),
    )


def _chunks(edges: Codes, numbers_per_row: int) -> list[slice]:
    """Whole clusters at a time; a cluster costs as much as a row of its own."""
    load = np.arange(len(edges)) + edges
    size = max(1, CHUNK_NUMBERS // max(numbers_per_row, 1))
    found, first = [], 0
    while first < len(edges) - 1:
        last = max(first + 1, int(np.searchsorted(load, load[first] + size, side="right")) - 1)
        found.append(slice(first, last))
        first = last
    return found


def _start(data: FrailtyData, pooled: BinomialFit, link: LinkName, points: int) -> Floats | None:
    """Return coefficients and the best of a few standard deviations, or None where the likelihood is highest at zero.

    Where none is better at the coefficients without an effect, these follow the standard deviation before zero is
    taken for the maximum.
    """
    tried = [(frailty_loglik_at(pooled.coef, sd, data, link=link, points=points), sd) for sd in STARTS]
    best, sd = max(tried)
    if best > pooled.log_likelihood or sd > STARTS[0]:
        return np.append(pooled.coef, sd)
    followed = [_profile(data, np.append(pooled.coef, sd), link, points) for sd in STARTS[1:]]
    value, theta = max(followed, key=lambda found: found[0])
    return theta if value > pooled.log_likelihood else None


def _profile(data: FrailtyData, theta: Floats, link: LinkName, points: int) -> tuple[float, Floats]:
    """Move the coefficients a few steps towards their best values at a standard deviation."""
    here = _evaluate(data, theta, link, points)
    for _ in range(PROFILE_STEPS):
        try:
            move = _ascent(here.score[:-1], here.information[:-1, :-1], here.outer[:-1, :-1])
        except ConvergenceError:
            break
        direction = np.append(move, 0.0)
        for halving in range(HALVINGS):
            there = _evaluate(data, theta + direction * 0.5**halving, link, points, modes=here.modes)
            if there.log_likelihood >= here.log_likelihood:
                theta, here = theta + direction * 0.5**halving, there
                break
        else:
            break
    return here.log_likelihood, theta


def _direction(here: _Evaluation) -> Floats:
    """Newton's direction; by the outer product of scores where the likelihood is not concave."""
    return _ascent(here.score, here.information, here.outer)


def _ascent(score: Floats, newton: Floats, outer: Floats) -> Floats:
    for information in (newton, outer + 1e-10 * np.diag(np.diag(outer))):
        scale = np.sqrt(np.maximum(np.diag(information), 0.0))
        if (scale > 0).all():
            try:
                lower = linalg.cholesky(information / np.outer(scale, scale), lower=True)
            except np.linalg.LinAlgError:
                continue
            direction: Floats = linalg.cho_solve((lower, True), score / scale) / scale
            return direction
    raise ConvergenceError("the scores of the clusters are not independent: fewer clusters than columns, or collinear.")


def _advance(
    data: FrailtyData, theta: Floats, direction: Floats, here: _Evaluation, link: LinkName, points: int
) -> tuple[Floats, _Evaluation]:
    """Go along the direction, half as far until likelihood or score is better.

    Near the optimum the score decides: the quadrature's error in the likelihood moves with its nodes, and would stop
    steps that the score, which is what is solved, shows to be right.
    """
    scale = np.sqrt(np.maximum(np.diag(here.outer), 1e-300))
    before = float(np.abs(here.score / scale).max())
    for halving in range(HALVINGS):
        trial = theta + direction * 0.5**halving
        trial[-1] = abs(trial[-1])  # the likelihood is even in the standard deviation
        there = _evaluate(data, trial, link, points, modes=here.modes)
        after = float(np.abs(there.score / scale).max())
        near = before < NEAR_ENOUGH and trial[-1] > 0.5 * theta[-1]  # the score in sd is zero at zero, always
        if there.log_likelihood >= here.log_likelihood or (near and after < 0.9 * before):
            return trial, there
    raise ConvergenceError("no step along the score raises the frailty likelihood; use more quadrature points.")


def _finished(
    data: FrailtyData,
    best: tuple[Floats, _Evaluation],
    pooled: BinomialFit,
    link: LinkName,
    quadrature: tuple[int, int, float],
    reached: tuple[int, float],
) -> FrailtyFit:
    (theta, here), (asked, points, change) = best, quadrature
    notes = []
    if points > asked:
        notes.append(f"quadrature points raised from {asked} to {points}: with fewer the log likelihood is not settled")
    if abs(change) > MOVES_WITH_POINTS:
        notes.append(f"the log likelihood moves by {change:.2g} under {2 * points} points: do not take it as settled")
    ratio = max(0.0, 2 * (here.log_likelihood - pooled.log_likelihood))
    return FrailtyFit(
        theta[:-1], float(theta[-1]), linalg.inv(here.information), here.log_likelihood, pooled.log_likelihood,
        boundary_p_value(ratio), pooled.n_rows, pooled.n_events, len(data.starts), points, change, *reached, link,
        pooled.terms, tuple(notes),
    )  # fmt: skip


def _at_boundary(data: FrailtyData, pooled: BinomialFit, points: int) -> FrailtyFit:
    note = "the variance of the effect is at its boundary, zero: the fit is the one without frailty"
    return FrailtyFit(
        pooled.coef, 0.0, pooled.bread, pooled.log_likelihood, pooled.log_likelihood, 1.0, pooled.n_rows,
        pooled.n_events, len(data.starts), points, 0.0, pooled.steps, pooled.gradient, pooled.link, pooled.terms,
        (note,),
    )  # fmt: skip


def boundary_p_value(likelihood_ratio: float) -> float:
    """P value of a variance against zero: half chi-squared with one degree of freedom, half nothing."""
    return 1.0 if likelihood_ratio <= 0 else 0.5 * float(special.chdtrc(1, likelihood_ratio))
