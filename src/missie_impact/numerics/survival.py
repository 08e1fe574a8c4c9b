"""Kaplan-Meier curves and life tables from (start, stop] rows, so that delayed entry and repeated spells are right.

A row is at risk at time t when start < t <= stop. Entering late (left truncation) is a start above zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from missie_impact.errors import EmptyTableError, SettingsError
from missie_impact.numerics.bands import Interval, interval_of
from missie_impact.numerics.cells import Floats

SMALL_RISK_SET = 2


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """A step function: survival just after each time at which somebody exits.

    Attributes
    ----------
    time : (m,) times with at least one event, ascending
    at_risk : (m,) at risk just before each time, weights summed
    events : (m,) events at each time
    survival : (m,)
    std_error : (m,) Greenwood's, of the survival; NaN once the curve is zero
    conf_low, conf_high : (m,) pointwise
    cumulative_hazard : (m,) Nelson-Aalen
    notes : what a reader must know, such as curves that rest on one or two early rows
    """

    time: Floats
    at_risk: Floats
    events: Floats
    survival: Floats
    std_error: Floats
    conf_low: Floats
    conf_high: Floats
    cumulative_hazard: Floats
    notes: tuple[str, ...] = ()

    @property
    def hazard(self) -> Floats:
        """Share of those at risk that exit at each time: the life table's exit probability."""
        return self.events / self.at_risk

    def survival_at(self, times: ArrayLike) -> Floats:
        """Survival just after given times; one before the first event."""
        return self._step(self.survival, times, 1.0)

    def std_error_at(self, times: ArrayLike) -> Floats:
        """Greenwood standard error at given times; zero before the first event."""
        return self._step(self.std_error, times, 0.0)

    def interval_at(self, times: ArrayLike) -> tuple[Floats, Floats]:
        """Ends of the pointwise interval at given times."""
        return self._step(self.conf_low, times, 1.0), self._step(self.conf_high, times, 1.0)

    def cumulative_hazard_at(self, times: ArrayLike) -> Floats:
        """Nelson-Aalen cumulative hazard at given times."""
        return self._step(self.cumulative_hazard, times, 0.0)

    def quantile(self, share: float) -> tuple[float, float, float]:
        """Time by which a share has exited, with its interval; NaN where the curve does not come down so far.

        Where the curve is flat at exactly that level, the middle of the flat piece, as R does.
        """
        ends = (self.survival, self.conf_low, self.conf_high)
        middle, low, high = (self._first_below(curve, 1.0 - share) for curve in ends)
        return middle, low, high

    def restricted_mean(self, horizon: float) -> tuple[float, float]:
        """Mean time survived up to ``horizon``, with its standard error: the area under the curve."""
        inside = self.time <= horizon
        edges = np.concatenate([[0.0], self.time[inside], [horizon]])
        pieces = np.diff(edges) * np.concatenate([[1.0], self.survival[inside]])
        area_after = np.cumsum(pieces[::-1])[::-1][1:]
        at_risk, events = self.at_risk[inside], self.events[inside]
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.where(area_after > 0, area_after**2 * events / (at_risk * (at_risk - events)), 0.0)
        return float(pieces.sum()), float(np.sqrt(parts.sum()))

    def _step(self, values: Floats, times: ArrayLike, before: float) -> Floats:
        position = np.searchsorted(self.time, np.asarray(times, dtype=np.float64), side="right")
        found: Floats = np.concatenate([[before], values])[position]
        return found

    def _first_below(self, curve: Floats, level: float) -> float:
        close = 1e-8  # products of fractions meet a half only up to rounding
        below = np.flatnonzero(curve <= level + close)
        if not len(below):
            return float("nan")
        first = below[0]
        if abs(curve[first] - level) > close:
            return float(self.time[first])
        lower = np.flatnonzero(curve < level - close)
        return float((self.time[first] + self.time[lower[0]]) / 2) if len(lower) else float(self.time[first])


def kaplan_meier(
    stop: ArrayLike,
    event: ArrayLike,
    *,
    start: ArrayLike | None = None,
    frequency: ArrayLike | None = None,
    interval: Interval = "log-log",
    level: float = 0.95,
) -> SurvivalCurve:
    """Estimate survival from rows at risk over (start, stop].

    Parameters
    ----------
    stop : (n,) end of each row, in years or other units
    event : (n,) whether the row ends with the event
    start : (n,) beginning; zero if left out. Rows of one spell may follow each other
    frequency : (n,) weights that count rows
    interval : "log-log" (stays within 0 and 1), "log" or "plain", as R's ``survfit(conf.type=)``
    level : coverage of the pointwise interval

    Raises
    ------
    EmptyTableError
        If there is no row.
    SettingsError
        If a row ends before or when it begins; such rows were never at risk.

    References
    ----------
    Kaplan and Meier (1958), JASA 53, 457-481; Klein and Moeschberger (2003), sections 4.2 and 4.6.
    """
    stop, event = np.asarray(stop, dtype=np.float64), np.asarray(event, dtype=np.float64)
    start = np.zeros(len(stop)) if start is None else np.asarray(start, dtype=np.float64)
    weight = np.ones(len(stop)) if frequency is None else np.asarray(frequency, dtype=np.float64)
    if not len(stop):
        raise EmptyTableError("a survival curve needs at least one row, found none.")
    bad = int(np.count_nonzero(~(stop > start)))
    if bad:
        raise SettingsError(
            f"{bad} of {len(stop)} rows do not end after they begin, so they were never at risk: drop them."
        )
    time, position = np.unique(stop[event > 0], return_inverse=True)
    events = np.bincount(position.reshape(-1), (weight * event)[event > 0], minlength=len(time)).astype(np.float64)
    at_risk = _mass_from(stop, weight, time) - _mass_from(start, weight, time)
    return _curve(time, at_risk, events, interval, level)


def _mass_from(values: Floats, weight: Floats, time: Floats) -> Floats:
    """Weight of the rows whose value is at least each time."""
    order = np.argsort(values, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    mass: Floats = total[-1] - total[np.searchsorted(values[order], time, side="left")]
    return mass


def _curve(time: Floats, at_risk: Floats, events: Floats, interval: Interval, level: float) -> SurvivalCurve:
    survival = np.cumprod(1.0 - events / at_risk).astype(np.float64, copy=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_error = np.sqrt(np.cumsum(events / (at_risk * (at_risk - events))))  # of log survival
        log_error = np.where(survival > 0, log_error, np.nan)
    low, high = interval_of(survival, survival * log_error, float(special.ndtri(0.5 + level / 2)), interval)
    return SurvivalCurve(
        time, at_risk, events, survival, survival * log_error, low, high, np.cumsum(events / at_risk),
        _warnings(time, at_risk, survival),
    )  # fmt: skip


def _warnings(time: Floats, at_risk: Floats, survival: Floats) -> tuple[str, ...]:
    """Under delayed entry the first risk sets may be tiny and the whole curve hangs on them."""
    notes = []
    largest = int(np.argmax(at_risk)) if len(at_risk) else 0
    small = int(np.count_nonzero(at_risk[:largest] <= SMALL_RISK_SET))
    if small:
        notes.append(
            f"{small} early risk sets hold at most {SMALL_RISK_SET} rows, and the curve hangs on them: "
            "condition on surviving to a later start"
        )
    zero = np.flatnonzero(survival <= 0)
    if len(zero) and zero[0] < len(time) - 1:
        notes.append("the curve falls to zero while others are still to come: it says nothing after that time")
    return tuple(notes)
