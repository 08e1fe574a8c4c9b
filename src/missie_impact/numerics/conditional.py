"""Conditional logit: what differs within a stratum, given how many of its rows have the event.

The denominator sums over all ways to place the events. It is built row by row in logarithms for all strata of a chunk
at once, with its first and second derivatives, so it is exact however many events a stratum has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError
from missie_impact.numerics.cells import Codes, Floats

CHUNK_NUMBERS = 8_000_000
HALVINGS = 30
VANISHED = 1e-4  # of the information at zero: what is left where a coefficient runs to infinity


@dataclass(frozen=True, slots=True)
class ConditionalFit:
    """Maximum conditional likelihood. It holds no microdata.

    Attributes
    ----------
    coef : (k,) log odds ratios given the stratum
    bread : (k, k) inverse observed information
    log_likelihood, log_likelihood_null : at the optimum and at zero
    n_rows, n_events, n_strata : in strata that say something
    n_strata_dropped, n_rows_dropped : strata with only events, or none
    steps : Newton steps
    """

    coef: Floats
    bread: Floats
    log_likelihood: float
    log_likelihood_null: float
    n_rows: int
    n_events: int
    n_strata: int
    n_strata_dropped: int
    n_rows_dropped: int
    steps: int

    @property
    def std_error(self) -> Floats:
        """Model-based standard errors (k,)."""
        errors: Floats = np.sqrt(np.diag(self.bread))
        return errors


@dataclass(frozen=True, slots=True)
class StrataData:
    """Strata that say something, sorted so that strata alike in size stand together.

    Attributes
    ----------
    x : (n, k) covariates, sign turned in strata with more events than others
    event : (n,) the rarer of event and no event
    starts, size, events : (S,) first row, rows and rarer rows of each stratum
    labels : (S,) number of each stratum as it came in
    n_events : events as they came in
    n_strata_dropped, n_rows_dropped : strata with only events, or none
    """

    x: Floats
    event: Floats
    starts: Codes
    size: Codes
    events: Codes
    labels: Codes
    n_events: int
    n_strata_dropped: int
    n_rows_dropped: int


def strata_data(x: Floats, y: ArrayLike, strata: ArrayLike) -> StrataData:
    """Sort rows by stratum and drop strata that say nothing, counted.

    Raises
    ------
    NoEventError
        If no stratum has both events and other rows.
    """
    outcome = np.asarray(y, dtype=np.float64)
    labels, codes = np.unique(np.asarray(strata), return_inverse=True)
    codes = codes.reshape(-1)
    size, events = np.bincount(codes), np.bincount(codes, outcome).astype(np.int64)
    useful = (events > 0) & (events < size)
    if not useful.any():
        raise NoEventError(f"none of {len(labels)} strata has both events and other rows.")
    turned = 2 * events > size  # placing the few others is the same as placing the many events
    rarer = np.where(turned, size - events, events)
    rank = np.empty(len(labels), dtype=np.intp)
    rank[np.lexsort((rarer, size))] = np.arange(len(labels))
    keep = np.flatnonzero(useful[codes])
    order = keep[np.argsort(rank[codes[keep]], kind="stable")]
    chosen = np.flatnonzero(useful)[np.argsort(rank[useful])]
    sign = np.where(turned[codes[order]], -1.0, 1.0)
    event = np.where(sign < 0, 1.0 - outcome[order], outcome[order])
    starts = np.cumsum(size[chosen]) - size[chosen]
    centred = x[order] - x[order].mean(axis=0)
    return StrataData(
        centred * sign[:, None], event, starts.astype(np.intp), size[chosen].astype(np.intp),
        rarer[chosen].astype(np.intp), chosen.astype(np.intp), int(events[useful].sum()), int((~useful).sum()),
        int(size[~useful].sum()),
    )  # fmt: skip


def fit_conditional(data: StrataData, *, tolerance: float = 1e-9, max_steps: int = 50) -> ConditionalFit:
    """Maximise the conditional likelihood.

    Raises
    ------
    CollinearityError
        If a covariate does not vary within strata, or repeats others there.
    ConvergenceError
        If the steps do not settle, or a covariate orders events and other rows in every stratum.

    References
    ----------
    Chamberlain (1980), Review of Economic Studies 47, 225-238; Gail, Lubin and Rubinstein (1981), Biometrika 68.
    """
    coef = np.zeros(data.x.shape[1])
    here = _evaluate(data, coef)
    null, at_null = here[0], np.sqrt(np.maximum(np.diag(here[2]), 0.0))
    flat = np.flatnonzero(at_null <= 1e-9 * np.sqrt((data.x**2).sum(axis=0)) + 1e-300)
    if len(flat):
        raise CollinearityError(f"covariates {flat.tolist()} do not vary within strata; leave them out.")
    for step in range(1, max_steps + 1):
        log_likelihood, scores, information = here
        score, scale = scores.sum(axis=0), np.sqrt(np.maximum(np.diag(information), 0.0))
        if (scale <= VANISHED * at_null).any():
            raise ConvergenceError("a covariate orders events and other rows in every stratum: no finite odds ratio.")
        if float(np.abs(score / scale).max()) <= tolerance:
            n, s = len(data.event), len(data.size)
            return ConditionalFit(coef, linalg.inv(information), log_likelihood, null, n, data.n_events, s,
                                  data.n_strata_dropped, data.n_rows_dropped, step)  # fmt: skip
        try:
            lower = linalg.cholesky(information / np.outer(scale, scale), lower=True)
        except np.linalg.LinAlgError as error:
            raise CollinearityError("the covariates are not independent within strata; drop one.") from error
        direction = linalg.cho_solve((lower, True), score / scale) / scale
        for halving in range(HALVINGS):
            trial = coef + direction * 0.5**halving
            there = _evaluate(data, trial)
            if there[0] >= log_likelihood - 1e-11 * (1 + abs(log_likelihood)):
                break
        else:
            raise ConvergenceError("no step along the score raises the conditional likelihood; rescale the covariates.")
        coef, here = trial, there
    raise ConvergenceError(f"no maximum of the conditional likelihood after {max_steps} steps.")


def conditional_scores(data: StrataData, coef: Floats) -> tuple[Floats, Codes]:
    """Score of each stratum, (S, k), and its number as it came in: sum them by firm for a robust covariance."""
    return _evaluate(data, coef)[1], data.labels


def conditional_loglik_at(data: StrataData, coef: Floats) -> float:
    """Conditional log likelihood at given coefficients."""
    return _evaluate(data, coef)[0]


def _evaluate(data: StrataData, coef: Floats) -> tuple[float, Floats, Floats]:
    k, eta = len(coef), data.x @ coef
    total, scores, information = 0.0, np.empty((len(data.size), k)), np.zeros((k, k))
    first = 0
    while first < len(data.size):
        # strata are sorted by size, so a chunk is nearly rectangular
        width = (int(data.events[first:].max()) + 1) * (k * k + k + 1)
        last = min(len(data.size), first + max(1, CHUNK_NUMBERS // width))
        chunk = slice(first, last)
        rows = slice(int(data.starts[first]), int(data.starts[last - 1] + data.size[last - 1]))
        log_sum, slope, curvature = _placings(data, eta, chunk)
        local = data.starts[chunk] - rows.start
        seen = np.add.reduceat(data.event[rows] * eta[rows], local)
        total += float((seen - log_sum).sum())
        scores[chunk] = np.add.reduceat(data.event[rows, None] * data.x[rows], local, axis=0) - slope
        information += curvature.sum(axis=0)
        first = last
    return total, scores, information


def _placings(data: StrataData, eta: Floats, chunk: slice) -> tuple[Floats, Floats, Floats]:
    """Log of the sum over placings of the events of each stratum, its gradient and its Hessian."""
    starts, size, events = data.starts[chunk], data.size[chunk], data.events[chunk]
    s, m, k = len(size), int(events.max()), data.x.shape[1]
    log_sum = np.full((s, m + 1), -np.inf)
    log_sum[:, 0] = 0.0
    slope, curvature = np.zeros((s, m + 1, k)), np.zeros((s, m + 1, k, k))
    for position in range(int(size.max())):
        active = int(np.searchsorted(size, position, side="right"))
        row = starts[active:] + position
        x = data.x[row][:, None, :]
        with_row = log_sum[active:, :-1] + eta[row][:, None]
        without = log_sum[active:, 1:]
        both = np.logaddexp(without, with_row)
        # A sum of two parts: derivatives are mixed with their shares, plus the variance between the parts.
        share = np.exp(with_row - np.where(np.isfinite(both), both, 0.0))[:, :, None]
        gap = slope[active:, :-1] + x - slope[active:, 1:]
        between = (share * (1 - share))[:, :, :, None] * gap[:, :, :, None] * gap[:, :, None, :]
        wide = share[:, :, :, None]
        curvature[active:, 1:] = curvature[active:, 1:] * (1 - wide) + curvature[active:, :-1] * wide + between
        slope[active:, 1:] = slope[active:, 1:] + share * gap
        log_sum[active:, 1:] = both
    every = np.arange(s)
    return log_sum[every, events], slope[every, events], curvature[every, events]
