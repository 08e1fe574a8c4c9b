"""Subdistribution hazard (Fine and Gray): whoever left by another cause stays in the risk set, weighted.

The weight of such a unit at t is W(t) / W(T), T its own time. W is the estimated chance of not being censored before t
and, under delayed entry, of having entered (Geskus). It is a function of t divided by one of T, so risk-set sums are
cumulative sums and no row is ever copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import linalg

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError, SettingsError
from missie_impact.numerics.cells import Codes, Floats

Weights = Literal["fine_gray", "geskus"]

HALVINGS = 30
LARGEST_ETA = 500.0


@dataclass(frozen=True, slots=True)
class UnitTimes:
    """Units followed over (entry, exit].

    Attributes
    ----------
    entry, exit : (n,)
    cause : (n,) 0 censored, 1 the event of interest, 2 another
    weight : (n,) case weights
    """

    entry: Floats
    exit: Floats
    cause: Codes
    weight: Floats

    @property
    def delayed(self) -> bool:
        """Whether units enter at different times."""
        return bool(self.entry.max() > self.entry.min())

    def at(self, positions: Codes) -> UnitTimes:
        """Return some of the units."""
        return UnitTimes(self.entry[positions], self.exit[positions], self.cause[positions], self.weight[positions])


@dataclass(frozen=True, slots=True)
class StayWeights:
    """W at event times and at own times.

    Attributes
    ----------
    time : (m,) distinct times of the event of interest
    at_event : (m,) W just before each
    at_exit : (n,) W just before each unit's own time
    kind : how it was estimated
    """

    time: Floats
    at_event: Floats
    at_exit: Floats
    kind: Weights


@dataclass(frozen=True, slots=True)
class SubdistributionFit:
    """Maximum of the weighted partial likelihood (Breslow ties). It holds no microdata.

    Attributes
    ----------
    coef : (k,) log subdistribution hazard ratios
    bread : (k, k) inverse information
    log_likelihood : weighted partial, at the optimum
    steps : Newton steps
    """

    coef: Floats
    bread: Floats
    log_likelihood: float
    steps: int


def stay_weights(units: UnitTimes, kind: Weights | None = None) -> StayWeights:
    """Estimate the weights.

    Parameters
    ----------
    units : times and causes
    kind : "fine_gray": who leaves at t could still have been censored at t, as R's ``cmprsk::crr``; no delayed entry.
        "geskus": events come before censoring at the same time, and entry counts, as R's ``survival::finegray``. None
        takes the first, or the second under delayed entry

    Raises
    ------
    SettingsError
        If "fine_gray" is asked for under delayed entry, where it is not consistent.

    References
    ----------
    Fine and Gray (1999), JASA 94, 496-509; Geskus (2011), Biometrics 67, 39-49.
    """
    kind = kind or ("geskus" if units.delayed else "fine_gray")
    if kind not in get_args(Weights):
        raise SettingsError(f"weights: expected one of {list(get_args(Weights))}, found {kind!r}.")
    if kind == "fine_gray" and units.delayed:
        raise SettingsError("weights='fine_gray' knows no delayed entry; take 'geskus', which is the default then.")
    time = np.unique(units.exit[units.cause == 1])
    return StayWeights(time, chance_before(units, time, kind), chance_before(units, units.exit, kind), kind)


def chance_before(units: UnitTimes, times: Floats, kind: Weights) -> Floats:
    """Return W just before given times: the chance of not being censored, and of having entered, by then."""
    chance = np.ones(len(times))
    for jumps, after in [_censoring(units, kind), *([_entering(units)] if units.delayed else [])]:
        chance *= after[np.searchsorted(jumps, times, side="left")]
    return chance


def _censoring(units: UnitTimes, kind: Weights) -> tuple[Floats, Floats]:
    """Times of censoring, and the chance of no censoring before the first, second, ... and after the last of them."""
    censored = units.cause == 0
    jumps = np.unique(units.exit[censored])
    lost = _mass_at(units.exit[censored], units.weight[censored], jumps)
    there = _mass(units.exit, units.weight, jumps, "left") - _mass(units.entry, units.weight, jumps, "left")
    if kind == "geskus":  # those with an event at the same time have left before
        there = there - _mass_at(units.exit[~censored], units.weight[~censored], jumps)
    steps = 1.0 - lost / there
    return jumps, np.concatenate([[1.0], np.cumprod(steps)])


def _entering(units: UnitTimes) -> tuple[Floats, Floats]:
    """Times of entry, and the chance of having entered before each; one after the last. Product limit from the end."""
    jumps = np.unique(units.entry)
    arrived = _mass_at(units.entry, units.weight, jumps)
    there = _mass(units.exit, units.weight, jumps, "right") - _mass(units.entry, units.weight, jumps, "right")
    steps = np.clip(1.0 - arrived / there, 0.0, None)
    steps[0] = 1.0  # nobody enters before the first entry: the chance is conditional on it
    chance = np.concatenate([np.cumprod(steps[::-1])[::-1], [1.0]])
    return jumps, np.where(chance > 0, chance, 1.0)


def _mass(values: Floats, weight: Floats, at: Floats, side: Literal["left", "right"]) -> Floats:
    """Weight of the values at or beyond (left), or beyond (right), each time."""
    order = np.argsort(values, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    mass: Floats = total[-1] - total[np.searchsorted(values[order], at, side=side)]
    return mass


def _mass_at(values: Floats, weight: Floats, at: Floats) -> Floats:
    if not len(at):
        return np.zeros(0)
    place = np.searchsorted(at, values)
    inside = (place < len(at)) & (at[np.minimum(place, len(at) - 1)] == values)
    return np.bincount(place[inside], weight[inside], len(at)).astype(np.float64, copy=False)


@dataclass(frozen=True, slots=True)
class _Sets:
    """Sums over the risk sets of event times at given coefficients."""

    risk: Floats
    total: Floats
    mean: Floats
    deaths: Floats
    log_likelihood: float
    score: Floats
    information: Floats


def fit_subdistribution(
    x: Floats, units: UnitTimes, weights: StayWeights, *, tolerance: float = 1e-9, max_steps: int = 50
) -> SubdistributionFit:
    """Maximise the weighted partial likelihood by Newton's method.

    Parameters
    ----------
    x : (n, k) covariates of the units, fixed at entry
    tolerance : largest score at the optimum, in units of its own standard deviation

    Raises
    ------
    NoEventError, CollinearityError, ConvergenceError
        Where there is no finite maximum.
    """
    if not len(weights.time):
        raise NoEventError(f"no events of the cause of interest among {len(units.exit)} units.")
    x = x - np.average(x, axis=0, weights=units.weight)
    coef = np.zeros(x.shape[1])
    here = _sets(x, units, weights, coef)
    for step in range(1, max_steps + 1):
        scale = np.sqrt(np.maximum(np.diag(here.information), 1e-300))
        if float(np.abs(here.score / scale).max(initial=0.0)) <= tolerance:
            return SubdistributionFit(coef, linalg.inv(here.information), here.log_likelihood, step)
        try:
            lower = linalg.cholesky(here.information / np.outer(scale, scale), lower=True)
        except np.linalg.LinAlgError as error:
            raise CollinearityError("the covariates are not independent within the risk sets; drop one.") from error
        direction = linalg.cho_solve((lower, True), here.score / scale) / scale
        slack = 1e-11 * (1 + abs(here.log_likelihood))
        for halving in range(HALVINGS):
            there = _sets(x, units, weights, coef + direction * 0.5**halving)
            if there.log_likelihood >= here.log_likelihood - slack:
                coef, here = coef + direction * 0.5**halving, there
                break
        else:
            raise ConvergenceError("no step along the score raises the partial likelihood; rescale the covariates.")
        if np.abs(x @ coef).max() > LARGEST_ETA:
            raise ConvergenceError("a covariate orders all events before the others: no finite hazard ratio.")
    raise ConvergenceError(f"no maximum of the partial likelihood after {max_steps} steps.")


def subdistribution_scores(x: Floats, units: UnitTimes, weights: StayWeights, coef: Floats) -> tuple[Floats, Floats]:
    """Score of each unit (n, k), and what it adds by the estimate of the censoring weights (n, k).

    Their sum is the influence whose squares make the variance of Fine and Gray; the first alone takes the weights as
    known. Under delayed entry only the first is given, the second is zero.
    """
    x = x - np.average(x, axis=0, weights=units.weight)
    sets = _sets(x, units, weights, coef)
    increments = sets.deaths / sets.total
    exposure = _exposure(units, weights, increments[:, None])
    shifted = _exposure(units, weights, increments[:, None] * sets.mean)
    score = -sets.risk[:, None] * (x * exposure - shifted)
    events = np.flatnonzero(units.cause == 1)
    score[events] += x[events] - sets.mean[np.searchsorted(weights.time, units.exit[events])]
    score *= units.weight[:, None]
    if weights.kind == "geskus":
        return score, np.zeros_like(score)
    return score, _censoring_part(x, units, weights, sets, increments)


def _censoring_part(x: Floats, units: UnitTimes, weights: StayWeights, sets: _Sets, increments: Floats) -> Floats:
    """Influence through the Kaplan-Meier estimate of censoring: sum over u of q(u) / n(u) dM(u)."""
    other = units.cause == 2
    times = np.unique(units.exit[units.cause == 0])
    mass = (units.weight * sets.risk / weights.at_exit)[other]
    own = units.exit[other]
    order = np.argsort(own, kind="stable")
    gone = np.searchsorted(own[order], times, side="left")  # left before the censoring; ties as in cmprsk
    sums = np.vstack([np.zeros((1, x.shape[1] + 1)), np.cumsum(
        mass[order, None] * np.column_stack([np.ones(len(order)), x[other][order]]), axis=0)])[gone]  # fmt: skip
    later = np.searchsorted(weights.time, times, side="left")  # events from then on
    tail = np.vstack([_reverse(weights.at_event[:, None] * increments[:, None] * np.column_stack(
        [np.ones(len(increments)), sets.mean])), np.zeros((1, x.shape[1] + 1))])[later]  # fmt: skip
    q = sums[:, 1:] * tail[:, :1] - sums[:, :1] * tail[:, 1:]
    there = _mass(units.exit, units.weight, times, "left") - _mass(units.entry, units.weight, times, "left")
    lost = _mass_at(units.exit[units.cause == 0], units.weight[units.cause == 0], times)
    total = np.vstack([np.zeros((1, x.shape[1])), np.cumsum(q / there[:, None] * (lost / there)[:, None], axis=0)])
    part = -total[np.searchsorted(times, units.exit, side="right")]
    censored = units.cause == 0
    part[censored] += (q / there[:, None])[np.searchsorted(times, units.exit[censored])]
    return part * units.weight[:, None]


def _reverse(rows: Floats) -> Floats:
    """Sums from each line to the last."""
    return np.asarray(np.cumsum(rows[::-1], axis=0)[::-1], dtype=np.float64)


def _sets(x: Floats, units: UnitTimes, weights: StayWeights, coef: Floats) -> _Sets:
    eta = x @ coef
    risk = np.exp(np.minimum(eta, LARGEST_ETA))
    k = x.shape[1]
    mass = units.weight * risk
    at_risk = _risk_sums(mass[:, None] * np.column_stack([np.ones(len(x)), x]), units, weights)
    total, mean = at_risk[:, 0], at_risk[:, 1:] / at_risk[:, :1]
    events = np.flatnonzero(units.cause == 1)
    own = np.searchsorted(weights.time, units.exit[events])
    w = units.weight[events]
    deaths = np.bincount(own, w, len(weights.time)).astype(np.float64, copy=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_likelihood = float(w @ eta[events] - deaths @ np.log(total))
    score = w @ x[events] - deaths @ mean
    second = mass * _exposure(units, weights, (deaths / total)[:, None])[:, 0]
    information = x.T @ (x * second[:, None]) - mean.T @ (mean * deaths[:, None])
    return _Sets(risk, total, mean.reshape(-1, k), deaths, log_likelihood, score, information)


def _risk_sums(values: Floats, units: UnitTimes, weights: StayWeights) -> Floats:
    """Sums of (n, j) values over the weighted risk set of each event time, (m, j)."""
    m = len(weights.time)
    first = np.searchsorted(weights.time, units.entry, side="right")
    last = np.searchsorted(weights.time, units.exit, side="right")
    other = units.cause == 2
    out = np.empty((m, values.shape[1]))
    for j, column in enumerate(values.T):
        change = np.bincount(first, column, m + 1) - np.bincount(last, column, m + 1)
        stays = np.bincount(last[other], (column / weights.at_exit)[other], m + 1)
        out[:, j] = np.cumsum(change)[:m] + weights.at_event * np.cumsum(stays)[:m]
    return out


def _exposure(units: UnitTimes, weights: StayWeights, increments: Floats) -> Floats:
    """Sums of (m, j) increments over the event times at which each unit is at risk, weighted, (n, j)."""
    first = np.searchsorted(weights.time, units.entry, side="right")
    last = np.searchsorted(weights.time, units.exit, side="right")
    plain = np.vstack([np.zeros((1, increments.shape[1])), np.cumsum(increments, axis=0)])
    stayed = np.vstack([np.zeros((1, increments.shape[1])), np.cumsum(weights.at_event[:, None] * increments, axis=0)])
    out: Floats = plain[last] - plain[first]
    other = np.flatnonzero(units.cause == 2)
    out[other] += (stayed[-1] - stayed[last[other]]) / weights.at_exit[other, None]
    return out
