"""Points of curves: estimates at chosen times with errors by cluster, intervals, bands and what stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from missie_impact.effects.fitting.stacked import of_weights, weight_derivative, weight_ratio
from missie_impact.effects.survival.followed import Followed
from missie_impact.errors import SettingsError
from missie_impact.numerics.bands import (
    DRAWS,
    Interval,
    critical_value,
    greenwood_covariance,
    influence_covariance,
    interval_of,
)
from missie_impact.numerics.covariance import Clusters
from missie_impact.numerics.incidence import ExitRows, Incidence, cumulative_incidence, incidence_influence

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

MOST_POINTS = 1_000
BAND_POINTS = 250
MOST_PERIODS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveOptions:
    """Settings of curves that are rarely changed.

    Attributes
    ----------
    conf_level : of intervals and bands
    interval : "log-log" (stays within 0 and 1), "log" or "plain", as R's ``survfit(conf.type=)``
    times : points of the curve; None takes the beginning and every time at which rows end where there are at most 60,
        else every time with an event, or 1,000 of them evenly
    bands : whether to compute bands that hold at all times at once
    draws, seed : of the simulation behind the bands

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 1] * 3, "since": 0, "until": [1, 2, 2, 3, 4, 4]})
    >>> table["left"] = [1, 1, 1, 1, 0, 0]
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", start="since", duration="until")
    >>> curve = mi.survival_curve(risk, cluster=None, options=mi.CurveOptions(times=(2, 4), bands=False))
    >>> curve.table["time"].tolist()
    [2.0, 4.0, 2.0, 4.0]
    """

    conf_level: float = 0.95
    interval: Interval = "log-log"
    times: tuple[float, ...] | None = None
    bands: bool = True
    draws: int = DRAWS
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0.5 < self.conf_level < 1:
            raise SettingsError(f"conf_level: expected a number between 0.5 and 1, found {self.conf_level}.")
        if self.interval not in get_args(Interval):
            raise SettingsError(f"interval: expected one of {list(get_args(Interval))}, found {self.interval!r}.")
        if self.times is not None and list(self.times) != sorted(set(self.times)):
            raise SettingsError("times: expected rising numbers, found others.")

    @property
    def quantile(self) -> float:
        """Normal quantile of a pointwise interval."""
        return float(special.ndtri(0.5 + self.conf_level / 2))


DEFAULT_CURVE = CurveOptions()
BAND_NOTE = (
    "bands hold at all times at once: the quantile of the largest standardised error, simulated with the covariance of "
    "the curve"
)


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of one group: its curves and their joint covariances at chosen times.

    Attributes
    ----------
    positions : (n,) its rows among all rows
    exits, curves : its rows and its curves at all times with an event
    time : (t,) times looked at
    """

    positions: Codes
    exits: ExitRows
    curves: Incidence
    time: Floats


def arm_of(followed: Followed, positions: Codes, options: CurveOptions, *, cause: Codes | None = None) -> Arm:
    """Estimate the curves of an arm, of all causes or of those given by ``cause`` (n of all rows)."""
    exits = followed.exits(positions, cause)
    curves = cumulative_incidence(exits)
    time = curves.time
    if options.times is not None:
        last = float(exits.stop.max())
        time = np.array([t for t in options.times if t <= last], dtype=np.float64)
    elif len(periods := np.unique(exits.stop)) <= MOST_PERIODS:
        time = periods  # whole years: also those in which nobody leaves
    elif len(time) > MOST_POINTS:
        time = time[np.unique(np.linspace(0, len(time) - 1, MOST_POINTS).round().astype(np.intp))]
    if options.times is None:
        time = np.concatenate([[float(exits.start.min())], time])
    return Arm(positions, exits, curves, time)


def added(followed: Followed, arm: Arm, column: int, time: float) -> Floats:
    """What each row of the arm adds to a curve at a time, weights included; scaled so that squares sum to variances.

    ``column`` is a cause, or the last for survival.
    """
    influence = incidence_influence(arm.exits, arm.curves, time)[:, column]
    weight = arm.exits.weight
    # on their own, f equal rows are f squares of one each
    return influence * (weight if followed.clusters else weight / np.sqrt(arm.exits.frequency))


def clusters_or_rows(followed: Followed) -> tuple[Clusters, ...]:
    """Clusters of the errors; rows on their own where none were asked for."""
    n = followed.rows.n
    return followed.clusters or (Clusters(np.arange(n), n),)


def curve_covariance(followed: Followed, arm: Arm, column: int, greenwood: bool = False) -> Floats:
    """Joint covariance of one curve of an arm at its times, (t, t).

    Greenwood's where rows are on their own and the curve is survival (``greenwood``), else influences summed by
    cluster.
    """
    if greenwood and not followed.clusters and arm.exits.probability is None:
        curves = arm.curves
        exits = curves.events.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(exits > 0, exits / (curves.at_risk * (curves.at_risk - exits)), 0.0)
        place = np.searchsorted(curves.time, arm.time, side="right")
        variance = np.concatenate([[0.0], np.cumsum(steps)])[place]
        return greenwood_covariance(np.concatenate([[1.0], curves.survival])[place], variance)
    return joint_covariance(followed, [(arm.positions, added(followed, arm, column, float(t))) for t in arm.time])


def joint_covariance(followed: Followed, columns: Sequence[tuple[Codes, Floats]]) -> Floats:
    """Covariance of numbers from what each row adds to them, the estimation of a design's weights included.

    Parameters
    ----------
    columns : for each of r numbers, positions of its rows and what each adds, from :func:`added`
    """
    weighting, further = followed.rows.weighting, None
    if weighting is not None:
        # rows on their own come divided by the root of their frequency
        root = np.ones(followed.rows.n)
        if not followed.clusters and followed.rows.frequency is not None:
            root = np.sqrt(followed.rows.frequency)
        slopes = [
            weight_derivative(
                weighting, rows, (each * root[rows] * weight_ratio(followed.rows, weighting, rows))[:, None]
            )
            for rows, each in columns
        ]
        further = of_weights(weighting, np.hstack(slopes))
    return influence_covariance(columns, clusters_or_rows(followed), further)


def points(
    followed: Followed, arm: Arm, value: Floats, covariance: Floats, events: Floats, options: CurveOptions
) -> pd.DataFrame:
    """Table of one curve: estimate, error, interval and band at each time, and the counts behind it.

    Parameters
    ----------
    value, covariance : (t,) and (t, t), of the curve
    events : (n,) 1 for the rows of the arm with the event that the curve shows
    """
    variance = np.diag(covariance)
    edge = (value <= 0.0) | (value >= 1.0)
    error = np.sqrt(np.where(variance >= 0, variance, np.nan))
    shown = np.where(edge & ~(error > 0), np.nan, error)
    low, high = interval_of(value, shown, options.quantile, options.interval)
    table = pd.DataFrame({"time": arm.time, "estimate": value, "std_error": np.where(value <= 0.0, shown, error)})
    table["conf_low"], table["conf_high"] = low, high
    if options.bands:
        usable = np.isfinite(shown) & ~edge
        looked_at = np.flatnonzero(usable)  # neighbouring times of many say the same
        looked_at = looked_at[:: max(1, -(-len(looked_at) // BAND_POINTS))]
        critical = critical_value(
            covariance[np.ix_(looked_at, looked_at)], options.conf_level, draws=options.draws, seed=options.seed
        )
        band = interval_of(value, np.where(usable, shown, np.nan), critical, options.interval)
        table["band_low"], table["band_high"] = band
    return table.assign(**_counts(followed, arm, events))


def _counts(followed: Followed, arm: Arm, events: Floats) -> dict[str, Floats]:
    """At risk just before each time, events since the time before, and firms among those at risk."""
    start, stop, frequency = arm.exits.start, arm.exits.stop, arm.exits.frequency
    place = np.searchsorted(arm.time, stop, side="left")
    with_event = np.bincount(place, frequency * events, len(arm.time) + 1)[: len(arm.time)]
    at_risk, firms = np.zeros(len(arm.time)), np.full(len(arm.time), np.nan)
    numbered = None if followed.rows.firm is None else followed.rows.firm[arm.positions]
    for j, t in enumerate(arm.time):
        inside = (start < t) & (t <= stop)
        if j == 0 and not inside.any():  # the beginning: those there from then on
            inside = (start <= t) & (t < stop)
        at_risk[j] = frequency[inside].sum()
        if numbered is not None:
            firms[j] = len(np.unique(numbered[inside]))
    return {"n_at_risk": at_risk, "n_events": with_event, "n_firms": firms}
