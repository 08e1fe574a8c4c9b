"""Effects when firms are first supported in different years: by cohort and year, and averaged to event time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from missie_impact.display import html_table
from missie_impact.effects.increase.event_study import EventStudy
from missie_impact.effects.increase.group_time_rows import RowColumns, Unbalanced, unit_panel
from missie_impact.effects.increase.poisson import Table, cluster_columns
from missie_impact.effects.result import inference
from missie_impact.effects.survival.curves import Curve, curve_table
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow
from missie_impact.numerics.bands import critical_value
from missie_impact.numerics.cells import Floats
from missie_impact.numerics.covariance import Correction
from missie_impact.numerics.group_time import (
    Average,
    BasePeriod,
    Comparison,
    GroupTime,
    GroupTimeSettings,
    average_by,
    group_time,
    overall,
)
from missie_impact.numerics.pretrends import JointTest, joint_test
from missie_impact.numerics.two_periods import Estimator
from missie_impact.risksets.riskset import RiskSet

FEW_UNITS = 5  # as R's did warns
Kind = Literal["event", "group", "calendar", "simple"]
_BY: dict[str, Literal["event", "cohort", "time", "simple"]] = {
    "event": "event", "group": "cohort", "calendar": "time", "simple": "simple",
}  # fmt: skip
TABLE_COLUMNS = (
    "cohort", "time", "event_time", "estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high",
    "n_treated", "n_comparison", "reason",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTimeOptions:
    """Settings that are rarely changed.

    Attributes
    ----------
    base_period : "varying" or "universal" (as `honest_bounds` needs)
    anticipation : periods before treatment in which it may already work
    unbalanced : "drop" units not observed in every period; compare in "pairs" of periods whoever is there in both; or
        compare all "rows" of two periods as repeated cross-sections, as R's ``did`` with ``allow_unbalanced_panel``
    correction : by cluster; "cr0" is none, as R's ``did``; "g_over_gm1" G / (G - 1)
    bootstrap : draws of a multiplier bootstrap by cluster for errors and bands; 0 for analytic ones
    seed : of the bootstrap and the bands
    conf_level : of intervals and bands

    Examples
    --------
    >>> import missie_impact as mi
    >>> mi.GroupTimeOptions(base_period="universal").correction
    'cr0'
    """

    base_period: BasePeriod = "varying"
    anticipation: int = 0
    unbalanced: Unbalanced = "drop"
    correction: Correction = "cr0"
    bootstrap: int = 0
    seed: int = 1
    conf_level: float = 0.95

    def __post_init__(self) -> None:
        for name, value, known in (
            ("base_period", self.base_period, get_args(BasePeriod)),
            ("unbalanced", self.unbalanced, get_args(Unbalanced)),
        ):
            if value not in known:
                raise SettingsError(f"{name}: expected one of {list(known)}, found {value!r}.")
        if self.anticipation < 0 or self.bootstrap < 0:
            raise SettingsError("anticipation and bootstrap: expected numbers of at least 0, found a negative one.")
        if not 0.5 < self.conf_level < 1:
            raise SettingsError(f"conf_level: expected a number between 0.5 and 1, found {self.conf_level}.")


DEFAULTS = GroupTimeOptions()


@dataclass(frozen=True, slots=True)
class Overall:
    """One average of group-time effects with its error and interval."""

    kind: str
    estimate: float
    std_error: float
    p_value: float
    conf_low: float
    conf_high: float


@dataclass(frozen=True, slots=True, eq=False)
class GroupTimeEffects:
    """Effects by cohort and period: estimates, covariances and counts only. Made by :func:`group_time_effects`.

    Attributes
    ----------
    outcome : name of the outcome
    found : estimates of the cells, shares of the cohorts, their joint covariance
    settings, options : how cohorts were compared
    design : the same in words
    flow : who was left out
    notes : what a reader must know
    simulated : whether from simulated registers
    """

    outcome: str
    found: GroupTime
    settings: GroupTimeSettings
    options: GroupTimeOptions
    design: str
    flow: Flow = field(default_factory=Flow)
    notes: tuple[str, ...] = ()
    simulated: bool = False

    @property
    def table(self) -> pd.DataFrame:
        """One row per cohort and period, those without an estimate among them with their reason."""
        m = len(self.found.cells)
        draws = None if self.found.draws is None else self.found.draws[:, :m]
        error = _errors(self.found.covariance[:m, :m], draws)
        rows = []
        for cell, sigma in zip(self.found.cells, error, strict=True):
            shown = math.nan if cell.base or cell.reason else float(sigma)
            numbers = inference(cell.estimate, shown, math.inf, self.options.conf_level)
            rows.append([
                cell.cohort, cell.time, cell.time - cell.cohort, cell.estimate, *numbers, cell.n_treated,
                cell.n_comparison, cell.reason or ("base period" if cell.base else ""),
            ])  # fmt: skip
        table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
        for name in ("cohort", "time", "event_time"):
            table[name] = _whole(table[name])
        return table

    def aggregate(self, kind: Kind = "event", *, balance: int | None = None, min_time: float | None = None) -> Curve:
        """Average over cohorts and periods.

        Parameters
        ----------
        kind : "event" (years since treatment), "group" (cohorts), "calendar" (periods), "simple" (one number)
        balance : "event": only cohorts seen up to this event time, and event times up to it
        min_time : "event": earliest event time shown

        Returns
        -------
        Curve
            Kind ``event_time``; ``time`` is the event time, cohort or period. Bands hold for all points at once.
        """
        parts = average_by(self.found, _kind(kind), balance)
        keep = np.arange(len(parts.at))
        if min_time is not None:
            keep = np.flatnonzero(~(parts.at < min_time))
        if not len(keep):
            raise SettingsError(
                f"aggregate: nothing is left with balance={balance} and min_time={min_time}; event times reach from "
                f"{self.table['event_time'].min()} to {self.table['event_time'].max()}."
            )
        matrix = parts.covariance[np.ix_(keep, keep)]
        draws = None if parts.draws is None else parts.draws[:, keep]
        error = _errors(matrix, draws)
        wide = _critical(matrix, draws, self.options)
        value, level = parts.value[keep], self.options.conf_level
        error = np.where(error > 0, error, np.nan)
        ends = np.array([inference(float(v), float(s), math.inf, level)[3:] for v, s in zip(value, error, strict=True)])
        cells = [[self.found.cells[i] for i in parts.cells[k]] for k in keep]
        points = pd.DataFrame({
            "group": "all", "arm": "effect on the treated", "time": parts.at[keep], "estimate": value,
            "std_error": error, "conf_low": ends[:, 0], "conf_high": ends[:, 1],
            "band_low": value - wide * error, "band_high": value + wide * error,
            "n_at_risk": [sum(c.n_treated for c in part) for part in cells],
            "reason": ["base period" if all(c.base for c in part) else "" for part in cells],
        })  # fmt: skip
        notes = (*self.notes, f"bands: {wide:.3f} standard errors")
        return Curve(
            self.outcome, "event_time", f"att by {_WORDS[kind]}", curve_table(points), level, self.design, notes,
            self.flow, self.simulated,
        )  # fmt: skip

    def overall(self, kind: Kind = "simple", *, balance: int | None = None) -> Overall:
        """Return one number: the average of an aggregation (event times from 0; cohorts by size; periods alike)."""
        part = overall(self.found, _kind(kind), balance)
        error = float(_errors(part.covariance, part.draws)[0])
        sigma, _, p, low, high = inference(float(part.value[0]), error, math.inf, self.options.conf_level)
        return Overall(kind, float(part.value[0]), sigma, p, low, high)

    def event_study(self) -> EventStudy:
        """Return the averages by event time with their joint covariance, for pre-trends and honest bounds."""
        parts = average_by(self.found, "event")
        keep = [k for k, cells in enumerate(parts.cells) if not all(self.found.cells[i].base for i in cells)]
        base = -1.0 - self.options.anticipation
        return EventStudy(
            self.outcome, parts.at[keep], parts.value[keep], parts.covariance[np.ix_(keep, keep)], base,
            self.options.base_period, self.simulated,
        )  # fmt: skip

    def pretrend_test(self) -> JointTest:
        """Test jointly that all estimates of cohorts before their treatment are zero."""
        cells = [i for i, c in enumerate(self.found.cells) if c.time < c.cohort and not (c.reason or c.base)]
        estimate = np.array([self.found.cells[i].estimate for i in cells])
        return joint_test(estimate, self.found.covariance[np.ix_(cells, cells)])

    def __repr__(self) -> str:
        return (
            f"GroupTimeEffects({self.outcome}; {self.design}; {len(self.found.cohorts)} cohorts, "
            f"{len(self.found.cells)} estimates, {self.found.n_units} units)"
        )

    def _repr_html_(self) -> str:
        return html_table(
            self.table, title=f"Effect on {self.outcome} by cohort", notes=(self.design, *self.notes),
            simulated=self.simulated,
        )  # fmt: skip


_WORDS = {"event": "event time", "group": "cohort", "calendar": "period", "simple": "all together"}


def group_time_effects(
    frame: Any,
    *,
    outcome: str,
    unit: str | Sequence[str],
    time: str,
    first_treated: str,
    covariates: Sequence[str] = (),
    comparison: Comparison = "not_yet",
    estimator: Estimator = "doubly_robust",
    cluster: str | tuple[str, ...] | None,
    weights: str | None = None,
    options: GroupTimeOptions = DEFAULTS,
) -> GroupTimeEffects:
    """Estimate effects by cohort of first treatment and period.

    Parameters
    ----------
    frame : one row per unit and period: pandas, polars, Arrow frame, or a risk set of such rows
    outcome, time : numbers
    unit : column, or columns together, that name the unit
    first_treated : period of the first treatment, the same in all rows of a unit; missing, 0 or infinite for never
    covariates : terms in the language of controls, as known in the earlier of the two periods compared
    comparison : "not_yet" treated units, or "never" treated ones
    estimator : "doubly_robust", "regression" of the outcome or "weighting" by inverse probability
    cluster : column or combination in which units are nested; the unit's own name for units; None for rows of units
    weights : column of sampling weights, constant in a unit

    Returns
    -------
    GroupTimeEffects
        ``table``; ``aggregate("event")`` and others as a curve with bands; ``overall``; ``pretrend_test``.

    Raises
    ------
    SchemaError, DuplicateKeyError
        If a column is not there or not filled, or a unit has two rows in a period.
    SettingsError
        If nobody is treated after the first period, nobody can be compared with, or units change cohort or cluster.

    References
    ----------
    Callaway and Sant'Anna (2021), Journal of Econometrics 225, 200-230; Sant'Anna and Zhao (2020), Journal of
    Econometrics 219, 101-122. Reference implementation: R's ``did`` 2.1.2.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"firm": [1, 2, 3, 4] * 2, "year": [2010] * 4 + [2011] * 4})
    >>> table = table.assign(first=[2011, 2011, 0, 0] * 2, exports=[1.0, 3.0, 2.0, 4.0, 5.0, 6.0, 3.0, 4.0])
    >>> roles = {"outcome": "exports", "unit": "firm", "time": "year", "first_treated": "first"}
    >>> mi.group_time_effects(table, **roles, cluster="firm").table["estimate"].round(2).tolist()
    [3.0]
    """
    for name, value, known in (
        ("comparison", comparison, get_args(Comparison)), ("estimator", estimator, get_args(Estimator)),
    ):  # fmt: skip
        if value not in known:
            raise SettingsError(f"{name}: expected one of {list(known)}, found {value!r}.")
    risk = frame if isinstance(frame, RiskSet) else None
    source = Table(frame)
    units = [unit] if isinstance(unit, str) else list(unit)
    terms = [source.term(name) for name in covariates]
    dims = cluster_columns(risk, cluster)
    if len(dims) > 1:
        raise SettingsError("cluster: expected one dimension (a column or a tuple of columns), found two.")
    needed = [
        outcome,
        *units,
        time,
        first_treated,
        *(c for t in terms for c in t.columns),
        *(c for d in dims for c in d),
    ]
    table = source.collect(needed + ([weights] if weights else []))
    panel, steps = unit_panel(
        table, RowColumns(outcome, units, time, first_treated, weights), terms, dims,
        unbalanced=options.unbalanced, anticipation=options.anticipation,
    )  # fmt: skip
    settings = GroupTimeSettings(
        comparison, estimator, options.base_period, options.anticipation, cross_sections=options.unbalanced == "rows"
    )
    found = group_time(panel, settings, correction=options.correction, bootstrap=options.bootstrap, seed=options.seed)
    words = "units not yet treated" if comparison == "not_yet" else "units never treated"
    how = f"{_ESTIMATORS[estimator]}, compared with {words}, {options.base_period} base period"
    errors = f"errors by {' x '.join(dims[0]) if dims else 'unit'}, {found.n_clusters} clusters"
    flow = (Flow() if risk is None else risk.flow).then(*steps)
    gone = [c for c in found.cells if c.reason]
    notes = [errors] + ([f"{len(gone)} cohort-periods without an estimate: see reason"] if gone else [])
    small = sorted({f"{c.cohort:g}" for c in found.cells if not c.reason and c.n_treated < FEW_UNITS})
    if small:
        notes.append(
            f"cohorts {', '.join(small)} have fewer than {FEW_UNITS} units: their errors are too small, and with them "
            "those of the test of pre-trends"
        )
    return GroupTimeEffects(
        outcome, found, settings, options, how, flow, tuple(notes), False if risk is None else risk.simulated
    )


_ESTIMATORS = {
    "doubly_robust": "doubly robust", "regression": "outcome regression", "weighting": "inverse probability weighting",
}  # fmt: skip


def _errors(matrix: Floats, draws: Floats | None) -> Floats:
    """Standard errors; of a bootstrap, from the distance of its quartiles, which tails do not move."""
    if draws is None:
        return np.asarray(np.sqrt(np.maximum(np.diag(matrix), 0.0)))
    low, high = np.quantile(draws, [0.25, 0.75], axis=0)
    return np.asarray((high - low) / 1.3489795003921634)


def _critical(matrix: Floats, draws: Floats | None, options: GroupTimeOptions) -> float:
    if draws is None:
        return critical_value(matrix, options.conf_level, seed=options.seed)
    error = _errors(matrix, draws)
    there = error > 0
    if not there.any():
        return math.nan
    return float(np.quantile(np.abs(draws[:, there] / error[there]).max(axis=1), options.conf_level))


def _kind(kind: str) -> Literal["event", "cohort", "time", "simple"]:
    if kind not in _BY:
        raise SettingsError(f"kind: expected one of {list(_BY)}, found {kind!r}.")
    return _BY[kind]


def _whole(values: pd.Series[Any]) -> pd.Series[Any]:
    numbers = values.to_numpy(dtype=np.float64)
    return values.astype(np.int64) if (np.isfinite(numbers) & (numbers % 1 == 0)).all() else values


__all__ = ["Average", "GroupTimeEffects", "GroupTimeOptions", "Overall", "group_time_effects"]
