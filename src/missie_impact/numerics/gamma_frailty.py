"""Complementary log-log hazards with a gamma effect per cluster, in closed form (Prentice-Gloeckler-Meyer).

The hazard of a row is multiplied by a gamma variable of mean one and variance v. With H the sum of exp(eta) over rows,
surviving them has probability g(H) = (1 + v H)^(-1 / v). A cluster with events sums over the subsets of its events with
alternating signs, which is exact and cheap for the few events that a pair's spells have. Rows before entry divide the
likelihood by the probability of surviving them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from missie_impact.errors import ConvergenceError, SettingsError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.cells import Floats, Term
from missie_impact.numerics.frailty import boundary_p_value
from missie_impact.numerics.frailty_data import FrailtyData, followed_rows

MOST_EVENTS = 6  # per cluster: 64 subsets, and signs that cancel no more than a few digits
STARTS = (0.01, 0.1, 0.5, 1.5)
SMALLEST_VARIANCE = 1e-4
HALVINGS = 30
DIFFERENCE = 1e-4
LARGEST_STEP = 5.0  # in a coefficient or the log variance: a flat start points far beyond the maximum


@dataclass(frozen=True, slots=True)
class GammaFrailtyFit:
    """Maximum-likelihood fit with a gamma effect per cluster. It holds no microdata.

    Attributes
    ----------
    coef : (k,) log hazard ratios conditional on the effect
    variance : of the effect; 0 at the boundary
    bread : (k + 1, k + 1) inverse observed information of coef and log variance; (k, k) at the boundary
    log_likelihood, log_likelihood_pooled : with the effect and without
    p_value : of no effect, by the 50:50 mixture
    n_rows, n_events, n_clusters : rows before entry not counted
    steps, gradient : Newton steps, and the largest score in units of its own standard deviation
    terms : the k columns
    notes : what a reader must know
    """

    coef: Floats
    variance: float
    bread: Floats
    log_likelihood: float
    log_likelihood_pooled: float
    p_value: float
    n_rows: float
    n_events: float
    n_clusters: int
    steps: int
    gradient: float
    terms: tuple[Term, ...]
    notes: tuple[str, ...] = ()

    @property
    def std_error(self) -> Floats:
        """Model-based standard errors of coef (k,)."""
        errors: Floats = np.sqrt(np.diag(self.bread)[: len(self.coef)])
        return errors


def fit_gamma_frailty(data: FrailtyData, *, tolerance: float = 1e-7, max_steps: int = 60) -> GammaFrailtyFit:
    """Fit P(y = 1 | w) = 1 - exp(-w exp(x'b)) with w gamma, mean one, per cluster.

    Parameters
    ----------
    data : from `missie_impact.numerics.frailty_data.frailty_data`; frequency weights must be one on rows with an event

    Raises
    ------
    SettingsError
        If a cluster has more than 6 events, or an event row stands for several.
    ConvergenceError
        If the steps do not settle.

    References
    ----------
    Prentice and Gloeckler (1978), Biometrics 34, 57-67; Meyer (1990), Econometrica 58, 757-782.
    """
    _check(data)
    y, design, frequency, probability = followed_rows(data)
    pooled = fit_binomial(y, design, link="cloglog", frequency=frequency, probability=probability)
    tried = [(gamma_loglik_at(pooled.coef, v, data), v) for v in STARTS]
    best, variance = max(tried)
    counts = (pooled.n_rows, pooled.n_events, len(data.starts))
    if best <= pooled.log_likelihood and variance == STARTS[0]:
        return _boundary(pooled.coef, pooled.bread, pooled.log_likelihood, counts, pooled.terms)
    theta = np.append(pooled.coef, np.log(variance))
    here = _evaluate(data, theta)
    for step in range(1, max_steps + 1):
        score, outer = here[1].sum(axis=0), here[1].T @ here[1]
        gradient = float(np.abs(score / np.sqrt(np.maximum(np.diag(outer), 1e-300))).max())
        if gradient <= tolerance:
            ratio = max(0.0, 2 * (here[0] - pooled.log_likelihood))
            return GammaFrailtyFit(
                theta[:-1], float(np.exp(theta[-1])), linalg.inv(_information(data, theta)), here[0],
                pooled.log_likelihood, boundary_p_value(ratio), *counts, step, gradient, pooled.terms,
            )  # fmt: skip
        theta, here = _advance(data, theta, here, outer)
        if np.exp(theta[-1]) < SMALLEST_VARIANCE:
            return _boundary(pooled.coef, pooled.bread, pooled.log_likelihood, counts, pooled.terms)
    raise ConvergenceError(f"the gamma frailty likelihood has no maximum after {max_steps} steps.")


def gamma_loglik_at(coef: Floats, variance: float, data: FrailtyData) -> float:
    """Log likelihood at given coefficients and variance of the effect."""
    return _evaluate(data, np.append(coef, np.log(variance)))[0]


def gamma_by_cluster(coef: Floats, variance: float, data: FrailtyData) -> tuple[Floats, Floats]:
    """Log likelihood of each cluster (G,) and its derivative in coef and log variance, without probability weights."""
    return _by_cluster(data, np.append(coef, np.log(variance)))


def gamma_predicted_effects(coef: Floats, variance: float, data: FrailtyData) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each cluster's multiplier given all its rows, (G,) each.

    Rows of rate zero and events would change the likelihood by a factor w: moments are ratios of such likelihoods.
    """
    g = len(data.starts)
    rate = data.frequency * np.exp(np.minimum(data.design.predict(coef), 500.0))
    quiet = data.y <= 0
    total = np.bincount(data.cluster, np.where(quiet, rate, 0.0), g).astype(np.float64, copy=False)
    events = np.bincount(data.cluster[~quiet], minlength=g)
    first, positions = np.cumsum(events) - events, np.flatnonzero(~quiet)
    mean, second = np.empty(g), np.empty(g)
    for m in np.unique(events):
        chosen = np.flatnonzero(events == m)
        signs, mass = _subsets(total[chosen], rate[positions[first[chosen][:, None] + np.arange(m)]])
        logs = np.log1p(variance * mass)
        survive, once, twice = (np.exp(-logs * (1 / variance + j)) @ signs for j in (0, 1, 2))
        value = np.maximum(survive, np.finfo(float).tiny)
        mean[chosen], second[chosen] = once / value, (1 + variance) * twice / value
    return mean, np.sqrt(np.maximum(second - mean**2, 0.0))


def gamma_scores(coef: Floats, variance: float, data: FrailtyData) -> Floats:
    """Score of each cluster in coef and log variance, (G, k + 1): their sums make a robust covariance."""
    return _evaluate(data, np.append(coef, np.log(variance)))[1]


def _evaluate(data: FrailtyData, theta: Floats) -> tuple[float, Floats]:
    """Log likelihood, and the score of each cluster in coef and log variance, weights included."""
    log_likelihood, scores = _by_cluster(data, theta)
    return float(data.weight @ log_likelihood), scores * data.weight[:, None]


def _by_cluster(data: FrailtyData, theta: Floats) -> tuple[Floats, Floats]:
    g, variance = len(data.starts), float(np.exp(theta[-1]))
    rate = np.exp(np.minimum(data.design.predict(theta[:-1]), 500.0))
    cluster = data.cluster
    quiet = data.y <= 0
    calm = np.where(quiet, data.frequency * rate, 0.0)
    total = np.bincount(cluster, calm, g).astype(np.float64, copy=False)
    log_likelihood, slope, of_variance = np.empty(g), np.empty(g), np.empty(g)
    row = np.zeros(len(rate))
    events = np.bincount(cluster[~quiet], minlength=g)
    first = np.cumsum(events) - events
    positions = np.flatnonzero(~quiet)
    for m in np.unique(events):
        chosen = np.flatnonzero(events == m)
        own = positions[first[chosen][:, None] + np.arange(m)]
        value, by_total, by_event, by_variance = _cluster_likelihood(total[chosen], rate[own], variance)
        log_likelihood[chosen], slope[chosen] = np.log(value), by_total / value
        of_variance[chosen] = by_variance / value
        row[own] = rate[own] * by_event / value[:, None]
    row[quiet] = (calm * slope[cluster])[quiet]
    if data.before_entry.any():
        survived = np.where(data.before_entry, data.frequency * rate, 0.0)
        entry = np.bincount(cluster, survived, g)
        log_likelihood += np.log1p(variance * entry) / variance
        of_variance -= np.log1p(variance * entry) / variance - entry / (1 + variance * entry)
        row += survived / (1 + variance * entry)[cluster]
    return log_likelihood, np.column_stack([data.design.cluster_sums(row, cluster, g), of_variance])


def _cluster_likelihood(total: Floats, events: Floats, variance: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Likelihood of clusters with m events each, and its derivatives in H, in each event's rate, in log variance."""
    subsets = _subset_table(events.shape[1])
    signs, mass = _subsets(total, events)
    logs = np.log1p(variance * mass)
    survive, slope = np.exp(-logs / variance), -np.exp(-logs * (1 / variance + 1))
    value = np.maximum(survive @ signs, np.finfo(float).tiny)
    by_variance = (survive * (logs / variance - mass / (1 + variance * mass))) @ signs
    return value, slope @ signs, (slope * signs) @ subsets, by_variance


def _subset_table(m: int) -> Floats:
    """All subsets of m events, (2^m, m) of 0 and 1."""
    return ((np.arange(2**m)[:, None] >> np.arange(m)) & 1).astype(np.float64)


def _subsets(total: Floats, events: Floats) -> tuple[Floats, Floats]:
    """Signs of the subsets (2^m,), and the sum of rates of the rows without event and each subset (clusters, 2^m)."""
    subsets = _subset_table(events.shape[1])
    return 1.0 - 2.0 * (subsets.sum(axis=1) % 2), total[:, None] + events @ subsets.T


def _information(data: FrailtyData, theta: Floats) -> Floats:
    """Minus the Hessian, by central differences of the analytic score."""
    columns = []
    for j in range(len(theta)):
        step = DIFFERENCE * (np.arange(len(theta)) == j)
        up, down = (_evaluate(data, theta + sign * step)[1].sum(axis=0) for sign in (1, -1))
        columns.append((down - up) / (2 * DIFFERENCE))
    information = np.array(columns, dtype=np.float64)
    symmetric: Floats = (information + information.T) / 2
    return symmetric


def _advance(
    data: FrailtyData, theta: Floats, here: tuple[float, Floats], outer: Floats
) -> tuple[Floats, tuple[float, Floats]]:
    score = here[1].sum(axis=0)
    try:
        direction = linalg.cho_solve(linalg.cho_factor(_information(data, theta)), score)
    except np.linalg.LinAlgError:
        direction = np.linalg.lstsq(outer, score, rcond=None)[0]  # not concave here: the scores' own metric
    direction = direction * min(1.0, LARGEST_STEP / max(float(np.abs(direction).max()), 1e-300))
    for halving in range(HALVINGS):
        trial = theta + direction * 0.5**halving
        with np.errstate(over="ignore", invalid="ignore"):  # far off, the likelihood is not finite: half the step
            there = _evaluate(data, trial)
        higher = there[0] >= here[0] - 1e-10 * (1 + abs(here[0]))
        if higher and np.isfinite(there[0]) and np.isfinite(there[1]).all():
            return trial, there
    raise ConvergenceError("no step along the score raises the gamma frailty likelihood; rescale the columns.")


def _boundary(
    coef: Floats, bread: Floats, log_likelihood: float, counts: tuple[float, float, int], terms: tuple[Term, ...]
) -> GammaFrailtyFit:
    note = "the variance of the effect is at its boundary, zero: the fit is the one without frailty"
    return GammaFrailtyFit(coef, 0.0, bread, log_likelihood, log_likelihood, 1.0, *counts, 0, 0.0, terms, (note,))


def _check(data: FrailtyData) -> None:
    happened = data.y > 0
    most = int(np.bincount(data.cluster, happened, len(data.starts)).max(initial=0))
    several = int(np.count_nonzero(happened & ((data.frequency != 1) | (data.y < 1))))
    if most > MOST_EVENTS or several:
        raise SettingsError(
            f"the closed form takes at most {MOST_EVENTS} events per cluster and one per row, found {most} in one "
            f"cluster and {several} rows that stand for several: use the normal effect, or clusters of pairs "
            "instead of firms."
        )
