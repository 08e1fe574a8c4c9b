"""Cumulative incidence of competing exits (Aalen-Johansen), with delayed entry, exact ties and errors by cluster.

Errors are the infinitesimal jackknife: what each row adds to the curve, squared over rows or over clusters. The same
gives clustered errors of the Kaplan-Meier curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from missie_impact.errors import EmptyTableError, SettingsError
from missie_impact.numerics.cells import Codes, Floats
from missie_impact.numerics.covariance import Clusters


@dataclass(frozen=True, slots=True)
class Incidence:
    """Curves just after each time at which somebody exits.

    Attributes
    ----------
    time : (m,) times with at least one exit of any cause
    at_risk : (m,) at risk just before
    events : (m, K) exits of each cause
    incidence : (m, K) share that has left by each cause
    survival : (m,) share still there: one less the incidences
    """

    time: Floats
    at_risk: Floats
    events: Floats
    incidence: Floats
    survival: Floats

    def at(self, times: ArrayLike) -> Floats:
        """Incidence of each cause just after given times, (t, K)."""
        position = np.searchsorted(self.time, np.asarray(times, dtype=np.float64), side="right")
        found: Floats = np.vstack([np.zeros(self.incidence.shape[1]), self.incidence])[position]
        return found


@dataclass(frozen=True, slots=True)
class ExitRows:
    """Rows at risk over (start, stop], checked.

    Attributes
    ----------
    start, stop : (n,)
    cause : (n,) 0 without exit, else 1 .. K
    frequency : (n,) weights that count rows
    n_causes : K
    probability : (n,) sampling or balancing weights, which do not count rows; None for one
    """

    start: Floats
    stop: Floats
    cause: Codes
    frequency: Floats
    n_causes: int
    probability: Floats | None = None

    @property
    def weight(self) -> Floats:
        """Both weights multiplied."""
        return self.frequency if self.probability is None else self.frequency * self.probability


def exit_rows(
    stop: ArrayLike,
    cause: ArrayLike,
    *,
    start: ArrayLike | None = None,
    frequency: ArrayLike | None = None,
    probability: ArrayLike | None = None,
    n_causes: int | None = None,
) -> ExitRows:
    """Check rows for the incidence of competing exits.

    Parameters
    ----------
    stop : (n,) end of each row
    cause : (n,) 0 where the row ends without an exit, 1 .. K for its cause
    start : (n,) beginning, zero if left out
    frequency : (n,) weights that count rows
    probability : (n,) weights that do not
    n_causes : K, where some causes do not occur among these rows

    Raises
    ------
    EmptyTableError
        If there is no row.
    SettingsError
        If a row does not end after it begins, or a cause is not a whole number from 0 on.
    """
    end, kind = np.asarray(stop, dtype=np.float64), np.asarray(cause)
    if not len(end):
        raise EmptyTableError("incidence needs at least one row, found none.")
    begin = np.zeros(len(end)) if start is None else np.asarray(start, dtype=np.float64)
    bad = int(np.count_nonzero(~(end > begin)))
    wrong = int(np.count_nonzero((kind < 0) | (kind != np.floor(kind))))
    if bad or wrong:
        raise SettingsError(
            f"{bad} of {len(end)} rows do not end after they begin and {wrong} have a cause that is not 0, 1, 2, ...: "
            "drop or mend them."
        )
    weight = np.ones(len(end)) if frequency is None else np.asarray(frequency, dtype=np.float64)
    codes = kind.astype(np.intp)
    other = None if probability is None else np.asarray(probability, dtype=np.float64)
    return ExitRows(begin, end, codes, weight, n_causes or max(1, int(codes.max())), other)


def cumulative_incidence(rows: ExitRows) -> Incidence:
    """Estimate the share that has left by each cause.

    References
    ----------
    Aalen and Johansen (1978), Scandinavian Journal of Statistics 5, 141-150; Geskus (2011), Biometrics 67, 39-49.
    """
    exits = rows.cause > 0
    time, position = np.unique(rows.stop[exits], return_inverse=True)
    m, k = len(time), rows.n_causes
    key = position.reshape(-1) * k + rows.cause[exits] - 1
    events = np.bincount(key, rows.weight[exits], m * k).astype(np.float64, copy=False).reshape(m, k)
    at_risk = _at_risk(rows, time)
    with np.errstate(invalid="ignore", divide="ignore"):
        hazard = np.where(at_risk[:, None] > 0, events / at_risk[:, None], 0.0)
    survival = np.cumprod(1.0 - hazard.sum(axis=1)).astype(np.float64, copy=False)
    before = np.concatenate([[1.0], survival[:-1]])
    return Incidence(time, at_risk, events, np.cumsum(before[:, None] * hazard, axis=0), survival)


def incidence_std_error(rows: ExitRows, times: ArrayLike, clusters: Clusters | None = None) -> Floats:
    """Standard errors at given times, (t, K + 1): the incidence of each cause, and survival last.

    Parameters
    ----------
    times : at which to look
    clusters : of the rows; without them every row is its own, which is right only if a unit has one row

    References
    ----------
    Infinitesimal jackknife as in R's ``survfit`` for several states.
    """
    curves = cumulative_incidence(rows)
    found = []
    for t in np.asarray(times, dtype=np.float64).reshape(-1):
        influence = incidence_influence(rows, curves, float(t))
        if clusters is None:
            of_unit = influence if rows.probability is None else influence * rows.probability[:, None]
            found.append(np.sqrt((of_unit**2 * rows.frequency[:, None]).sum(axis=0)))
            continue
        whole = influence * rows.weight[:, None]
        sums = np.array([np.bincount(clusters.codes, column, minlength=clusters.count) for column in whole.T])
        found.append(np.sqrt((sums**2).sum(axis=1)))
    return np.array(found)


def incidence_influence(rows: ExitRows, curves: Incidence, t: float) -> Floats:
    """Return what a unit of weight of each row adds to incidences and survival at t, (n, K + 1)."""
    n, k = len(rows.stop), rows.n_causes
    inside = curves.time <= t
    time, at_risk = curves.time[inside], curves.at_risk[inside]
    hazard = curves.events[inside] / at_risk[:, None]
    survival, incidence = curves.survival[inside], curves.incidence[inside]
    before = np.concatenate([[1.0], survival[:-1]])[: len(time)]
    own, first, last = _positions(rows, time)
    exits = np.flatnonzero(own >= 0)
    staying = 1.0 - hazard.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # an exit or a year at risk at r moves all that follows r, in proportion to what still follows
        later = np.where(staying[:, None] > 0, (incidence[-1:] - incidence) / staying[:, None], 0.0)
        surviving = np.where(staying > 0, survival[-1:] / staying, 0.0)
    out = np.zeros((n, k + 1))
    for c in range(k + 1):
        # effect on the curve of one exit of each cause at each time
        effect = -np.repeat((later[:, c] if c < k else surviving)[:, None], k, axis=1)
        if c < k:
            effect[:, c] += before
        effect = effect / at_risk[:, None]
        expected = np.concatenate([[0.0], np.cumsum((effect * hazard).sum(axis=1))])
        out[:, c] = expected[first] - expected[last]
        out[exits, c] += effect[own[exits], rows.cause[exits] - 1]
    return out


def _positions(rows: ExitRows, time: Floats) -> tuple[Codes, Codes, Codes]:
    """Time of the row's own exit (-1: none by then), and the times at which it is at risk: from first up to last."""
    first = np.searchsorted(time, rows.start, side="right").astype(np.intp)
    last = np.searchsorted(time, rows.stop, side="right").astype(np.intp)
    exits: NDArray[Any] = (rows.cause > 0) & (last > first) & (rows.stop <= (time[-1] if len(time) else -np.inf))
    return np.where(exits, last - 1, -1), first, last


def _at_risk(rows: ExitRows, time: Floats) -> Floats:
    first = np.searchsorted(time, rows.start, side="right")
    last = np.searchsorted(time, rows.stop, side="right")
    m, weight = len(time), rows.weight
    change = np.bincount(first, weight, m + 1) - np.bincount(last, weight, m + 1)
    return np.cumsum(change)[:m].astype(np.float64, copy=False)
