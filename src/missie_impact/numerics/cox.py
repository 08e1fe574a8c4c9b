"""Cox regression on (start, stop] rows: Efron or Breslow ties, strata, delayed entry, errors by cluster as in R.

Sums over risk sets are differences of cumulative sums over the sorted times, so nothing loops over rows or times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError, SettingsError
from missie_impact.numerics.cells import Codes, Floats
from missie_impact.numerics.contrasts import sum_by
from missie_impact.numerics.covariance import (
    Clusters,
    Covariance,
    cluster_covariance,
    dimensions,
    positive_part,
)

Ties = Literal["efron", "breslow"]
FittedTies = Literal["efron", "breslow", "exact"]

HALVINGS = 30
LARGEST_ETA = 500.0
VANISHED = 1e-4  # of the information at zero: what is left where a coefficient runs to infinity


@dataclass(frozen=True, slots=True)
class CoxData:
    """Rows at risk over (start, stop], sorted into risk sets once.

    Attributes
    ----------
    x : (n, k) covariates, centred
    event : (n,) whether the row ends with the event
    weight : (n,) case weights
    last : (n,) number of event times of the stratum up to ``stop``; the row is at risk at those after ``first``
    first : (n,) number of event times up to ``start``
    time : (E,) event time that each event belongs to, 0 .. T - 1, sorted
    fraction : (E,) Efron's share of the tied events already gone, zero under Breslow
    own : (n,) event time of the row's own event, -1 without one
    tied_weight : (T,) mean weight of the events of each time
    clock : (T,) when each event time is; the same moment in two strata are two event times
    """

    x: Floats
    event: NDArray[np.bool_]
    weight: Floats
    last: Codes
    first: Codes
    time: Codes
    fraction: Floats
    own: Codes
    tied_weight: Floats
    clock: Floats


@dataclass(frozen=True, slots=True)
class CoxFit:
    """Maximum partial likelihood. It holds no microdata.

    Attributes
    ----------
    coef : (k,) log hazard ratios
    bread : (k, k) inverse of the observed information: the model-based covariance
    log_likelihood, log_likelihood_null : partial, at the optimum and at zero
    n_rows, n_events : counts
    steps : Newton steps
    ties : how ties were treated
    """

    coef: Floats
    bread: Floats
    log_likelihood: float
    log_likelihood_null: float
    n_rows: int
    n_events: int
    steps: int
    ties: FittedTies

    @property
    def std_error(self) -> Floats:
        """Model-based standard errors (k,)."""
        errors: Floats = np.sqrt(np.diag(self.bread))
        return errors


def cox_data(
    x: Floats,
    stop: ArrayLike,
    event: ArrayLike,
    *,
    start: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    ties: Ties = "efron",
) -> CoxData:
    """Sort rows into risk sets.

    Parameters
    ----------
    x : (n, k) covariates; they may change from row to row of a unit
    stop, event : (n,) end of each row, and whether it ends with the event
    start : (n,) beginning, zero if left out; a row is at risk at t when start < t <= stop
    strata : (n,) labels; each stratum has its own baseline
    weight : (n,) case weights as in R
    ties : "efron", or "breslow" (which pulls effects towards zero with yearly data)

    Raises
    ------
    SettingsError
        If a row does not end after it begins, or a covariate is not finite.
    NoEventError
        If nobody has the event.
    """
    if ties not in get_args(Ties):
        raise SettingsError(f"expected ties among {list(get_args(Ties))}, found {ties!r}.")
    x, stop = np.asarray(x, dtype=np.float64), np.asarray(stop, dtype=np.float64)
    happened = np.asarray(event, dtype=bool)
    begin = np.zeros(len(stop)) if start is None else np.asarray(start, dtype=np.float64)
    w = np.ones(len(stop)) if weight is None else np.asarray(weight, dtype=np.float64)
    never, unknown = int(np.count_nonzero(~(stop > begin))), int(np.count_nonzero(~np.isfinite(x).all(axis=1)))
    if never or unknown:
        raise SettingsError(
            f"{never} of {len(stop)} rows do not end after they begin and {unknown} have a covariate that is not "
            "finite: drop them."
        )
    if not happened.any():
        raise NoEventError(f"expected events, found none in {len(stop)} rows.")
    stratum = np.zeros(len(stop), dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    values, rank = np.unique(np.concatenate([stop, begin]), return_inverse=True)
    rank = rank.reshape(-1) + np.tile(stratum.reshape(-1), 2) * len(values)
    stop_rank, start_rank = rank[: len(stop)], rank[len(stop) :]
    times, of_event = np.unique(stop_rank[happened], return_inverse=True)
    own = np.full(len(stop), -1, dtype=np.intp)
    own[happened] = of_event.reshape(-1)
    count = np.bincount(own[happened], minlength=len(times))
    time = np.repeat(np.arange(len(times)), count)
    position = np.arange(len(time)) - np.repeat(np.cumsum(count) - count, count)
    fraction = position / count[time] if ties == "efron" else np.zeros(len(time))
    tied = np.bincount(own[happened], w[happened], minlength=len(times)) / count
    centred = x - np.average(x, axis=0, weights=w)
    last, first = (np.searchsorted(times, r, side="right").astype(np.intp) for r in (stop_rank, start_rank))
    return CoxData(centred, happened, w, last, first, time, fraction, own, tied, values[times % len(values)])


@dataclass(frozen=True, slots=True)
class _RiskSets:
    """Sums over risk sets at given coefficients; E tied events, T times."""

    risk: Floats
    log_likelihood: float
    denominator: Floats
    mean: Floats
    score: Floats
    information: Floats


def fit_cox(data: CoxData, *, ties: Ties = "efron", tolerance: float = 1e-9, max_steps: int = 50) -> CoxFit:
    """Maximise the partial likelihood.

    Parameters
    ----------
    data : from `cox_data`, with the same ``ties``
    tolerance : largest score at the optimum, in units of its own standard deviation

    Raises
    ------
    CollinearityError
        If a covariate is constant within the risk sets or a combination of others.
    ConvergenceError
        If the steps do not settle, or a covariate separates events from the others at risk.

    References
    ----------
    Efron (1977), JASA 72, 557-565; Therneau and Grambsch (2000), Modeling Survival Data.
    """
    k = data.x.shape[1]
    coef = np.zeros(k)
    here = _risk_sets(data, coef)
    null = here.log_likelihood
    at_null = np.sqrt(np.maximum(np.diag(here.information), 0.0))
    if np.any(at_null <= 0):
        raise CollinearityError(f"covariates {np.flatnonzero(at_null <= 0).tolist()} do not vary at event times.")
    for step in range(1, max_steps + 1):
        scale = np.sqrt(np.maximum(np.diag(here.information), 0.0))
        if np.any(scale <= VANISHED * at_null):
            raise ConvergenceError("a covariate orders all events before the others at risk: no finite hazard ratio.")
        if float(np.abs(here.score / scale).max(initial=0.0)) <= tolerance:
            bread = linalg.inv(here.information)
            n_events = int(data.event.sum())
            return CoxFit(coef, bread, here.log_likelihood, null, len(data.event), n_events, step, ties)
        coef, here = _step(data, coef, here, scale)
    raise ConvergenceError(f"no maximum of the partial likelihood after {max_steps} steps.")


def cox_score_residuals(data: CoxData, coef: Floats) -> Floats:
    """Score of each row (n, k), weights included: their sums per cluster make the sandwich of R's ``coxph``."""
    sets = _risk_sets(data, coef)
    increments = data.tied_weight[data.time] / sets.denominator
    exposure, mean_exposure = _exposure(data, increments), _exposure_of(data, increments, sets.mean)
    score = -sets.risk[:, None] * (data.x * exposure[:, None] - mean_exposure)
    count = np.bincount(data.time)
    means = np.array([np.bincount(data.time, column) for column in sets.mean.T]).T / count[:, None]
    score[data.event] += data.x[data.event] - means[data.own[data.event]]
    return score * data.weight[:, None]


def cox_covariance(data: CoxData, fit: CoxFit, clusters: Clusters | Sequence[Clusters] | None = None) -> Covariance:
    """Robust covariance of rows, clusters or both of two, without a small-sample factor, as R's ``coxph(cluster=)``."""
    scores = cox_score_residuals(data, fit.coef)
    listed = [clusters] if isinstance(clusters, Clusters) else list(clusters or ())
    if len(listed) == 1:
        return cluster_covariance(fit.bread, sum_by(scores, listed[0]), "cr0")
    influence = scores @ fit.bread
    if not listed:
        return Covariance(influence.T @ influence, (), "hc0", np.inf)
    parts = [sign * (summed := sum_by(influence, part)).T @ summed for part, sign in dimensions(listed)]
    matrix, truncated = positive_part(np.sum(parts, axis=0))
    counts = tuple(c.count for c in listed)
    return Covariance(matrix, counts, "cr0", min(counts) - 1.0, truncated)


def martingale_residuals(data: CoxData, coef: Floats) -> Floats:
    """Event less the expected number of events of each row (n,), weights not included; they sum to zero."""
    sets = _risk_sets(data, coef)
    expected = sets.risk * _exposure(data, data.tied_weight[data.time] / sets.denominator)
    residuals: Floats = data.event - expected
    return residuals


@dataclass(frozen=True, slots=True)
class Proportionality:
    """Score tests of effects that change along time.

    Attributes
    ----------
    statistic, df, p_value : per set of columns asked for, then of all together
    """

    statistic: Floats
    df: NDArray[np.intp]
    p_value: Floats


def proportionality(data: CoxData, fit: CoxFit, of_time: Floats, columns: Sequence[Sequence[int]]) -> Proportionality:
    """Score test of each set of covariates times a function of time, added to the model; the last is of all at once.

    Parameters
    ----------
    of_time : (T,) the function at each event time, such as ``data.clock`` or `kaplan_meier_clock`
    columns : sets of columns tested together, such as the dummies of a factor

    References
    ----------
    Grambsch and Therneau (1994), Biometrika 81, 515-526; the score test itself, as R's ``cox.zph`` from survival 3.0.
    """
    sets, k = _risk_sets(data, fit.coef), data.x.shape[1]
    g = of_time[data.time]
    g = g - g.mean()  # the test does not feel a shift
    each = data.tied_weight[data.time]
    own_time = (of_time - of_time[data.time].mean())[data.own[data.event]] * data.weight[data.event]
    score = own_time @ data.x[data.event] - (each * g) @ sets.mean
    first, second = (_information(data, sets, each * power) for power in (g, g * g))
    chosen = [*(list(c) for c in columns), list(range(k))]
    # what the tested column adds beyond the model: the information of both, less what the model itself explains
    left = second - first @ fit.bread @ first
    found = [float(score[c] @ linalg.solve(left[np.ix_(c, c)], score[c], assume_a="pos")) for c in chosen]
    df = np.array([len(c) for c in chosen])
    return Proportionality(np.array(found), df, np.asarray(special.chdtrc(df, found), dtype=np.float64))


def kaplan_meier_clock(data: CoxData) -> Floats:
    """One less Kaplan-Meier just before each event time (T,), all strata together, rows unweighted."""
    clock, moment = np.unique(data.clock, return_inverse=True)
    moment = moment.reshape(-1)
    ones = np.ones((len(data.event), 1))
    at_risk = np.bincount(moment, _at_risk(data, ones)[:, 0], len(clock))
    events = np.bincount(moment[data.own[data.event]], minlength=len(clock))
    before = np.concatenate([[1.0], np.cumprod(1 - events / at_risk)[:-1]])
    return np.asarray((1 - before)[moment], dtype=np.float64)


def _information(data: CoxData, sets: _RiskSets, each: Floats) -> Floats:
    """Information summed over the events with weights ``each`` (E,)."""
    second = data.weight * sets.risk * _exposure(data, each / sets.denominator)
    information: Floats = data.x.T @ (data.x * second[:, None]) - sets.mean.T @ (sets.mean * each[:, None])
    return information


def _step(data: CoxData, coef: Floats, here: _RiskSets, scale: Floats) -> tuple[Floats, _RiskSets]:
    try:
        lower = linalg.cholesky(here.information / np.outer(scale, scale), lower=True)
    except np.linalg.LinAlgError as error:
        raise CollinearityError("the covariates are not independent within the risk sets; drop one.") from error
    direction = linalg.cho_solve((lower, True), here.score / scale) / scale
    slack = 1e-11 * (1 + abs(here.log_likelihood))
    for halving in range(HALVINGS):
        trial = coef + direction * 0.5**halving
        there = _risk_sets(data, trial)
        if there.log_likelihood >= here.log_likelihood - slack:
            return trial, there
    raise ConvergenceError("no step along the score raises the partial likelihood; rescale the covariates.")


def _risk_sets(data: CoxData, coef: Floats) -> _RiskSets:
    eta = data.x @ coef
    eta = np.clip(eta - eta.max(), -LARGEST_ETA, 0.0)  # the partial likelihood does not feel a constant
    risk = np.exp(eta)
    mass = data.weight * risk
    n_times = len(data.tied_weight)
    at_risk = _at_risk(data, mass[:, None] * np.column_stack([np.ones(len(mass)), data.x]))
    own = data.own[data.event]
    tied = mass[data.event] * np.vstack([np.ones(len(own)), data.x[data.event].T])
    gone = np.array([np.bincount(own, column, n_times) for column in tied]).T
    left = at_risk[data.time] - data.fraction[:, None] * gone[data.time]
    denominator, mean = left[:, 0], left[:, 1:] / left[:, :1]
    each = data.tied_weight[data.time]
    with np.errstate(invalid="ignore", divide="ignore"):  # a step too far is not a number, and refused
        logs = np.log(denominator)
    log_likelihood = float(data.weight[data.event] @ eta[data.event] - each @ logs)
    score = data.weight[data.event] @ data.x[data.event] - each @ mean
    second = mass * _exposure(data, each / denominator)
    information = data.x.T @ (data.x * second[:, None]) - mean.T @ (mean * each[:, None])
    return _RiskSets(risk, log_likelihood, denominator, mean, score, information)


def _at_risk(data: CoxData, values: Floats) -> Floats:
    """Sums of (n, j) values over the rows at risk at each event time, (T, j)."""
    n_times = len(data.tied_weight)
    columns = []
    for column in values.T:
        # a row enters after its first times and leaves after its last
        change = np.bincount(data.first, column, n_times + 1) - np.bincount(data.last, column, n_times + 1)
        columns.append(np.cumsum(change)[:n_times])
    return np.array(columns).T


def _exposure(data: CoxData, increments: Floats) -> Floats:
    """Sum of (E,) increments over the event times at which each row is at risk, (n,); its own tied part less."""
    return _exposure_of(data, increments, np.ones((len(increments), 1)))[:, 0]


def _exposure_of(data: CoxData, increments: Floats, values: Floats) -> Floats:
    n_times = len(data.tied_weight)
    out = np.empty((len(data.event), values.shape[1]))
    own = data.own[data.event]
    for j, column in enumerate(values.T):
        per_time = np.bincount(data.time, increments * column, n_times)
        total = np.concatenate([[0.0], np.cumsum(per_time)])
        out[:, j] = total[data.last] - total[data.first]
        out[data.event, j] -= np.bincount(data.time, increments * column * data.fraction, n_times)[own]
    return out
