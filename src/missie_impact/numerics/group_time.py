"""Effects by cohort and period when treatment begins at different times (Callaway and Sant'Anna 2021).

Every cohort is compared, period by period, with units that are not treated (yet): change of the outcome since a base
period, by outcome regression, inverse probability weights or both. Influences of all estimates and of the cohort shares
are kept together, so that any average over cohorts and periods has its error, estimated shares included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from missie_impact.errors import MissieError, SeparationError, SettingsError
from missie_impact.numerics.cells import Floats
from missie_impact.numerics.covariance import Clusters, Correction, correction_factor
from missie_impact.numerics.two_periods import Estimator, Mask, did_cross_sections, did_two_periods

Comparison = Literal["not_yet", "never"]
BasePeriod = Literal["varying", "universal"]

NEVER = np.inf


@dataclass(frozen=True, slots=True)
class GroupTimeSettings:
    """How cohorts are compared.

    Attributes
    ----------
    comparison : units never treated, or not yet treated in either period
    estimator : of the change that the treated would have had
    base : "varying": the period before each pre-treatment period, the last one before treatment after it;
        "universal": the last period before treatment throughout
    anticipation : periods before treatment in which it may already work
    cross_sections : compare the rows of both periods, also those of units that are in one of them alone
    """

    comparison: Comparison = "not_yet"
    estimator: Estimator = "doubly_robust"
    base: BasePeriod = "varying"
    anticipation: int = 0
    cross_sections: bool = False


@dataclass(frozen=True, slots=True)
class UnitPanel:
    """Outcomes of n units in T periods.

    Attributes
    ----------
    outcome : (n, T), NaN where not observed
    times : (T,) periods, rising
    cohort : (n,) first treated period, infinite for never
    weight : (n,) sampling weight of each unit
    covariates : (n, T, k), or None
    clusters : of the units
    """

    outcome: Floats
    times: Floats
    cohort: Floats
    weight: Floats
    covariates: Floats | None
    clusters: Clusters


@dataclass(frozen=True, slots=True)
class Cell:
    """One cohort in one period: its estimate, and what stands behind it.

    ``base`` marks the base period itself, where the effect is zero by construction.
    """

    cohort: float
    time: float
    estimate: float
    n_treated: int
    n_comparison: int
    base: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GroupTime:
    """Estimates by cohort and period with everything that averages of them need. No unit's number is in it.

    Attributes
    ----------
    cells : in order of cohort and time, those without an estimate among them
    cohorts : (c,) treated cohorts with an estimate
    share : (c,) their share of all units, weights counted
    covariance : (m + c, m + c) of the estimates of all cells (zero where there is none) and the shares
    draws : (draws, m + c) errors of a multiplier bootstrap, or None
    n_units, n_clusters : behind them
    """

    cells: tuple[Cell, ...]
    cohorts: Floats
    share: Floats
    covariance: Floats
    draws: Floats | None
    n_units: int
    n_clusters: int


def group_time(
    panel: UnitPanel,
    settings: GroupTimeSettings,
    *,
    correction: Correction = "cr0",
    bootstrap: int = 0,
    seed: int = 1,
) -> GroupTime:
    """Estimate the effect on each cohort in each period.

    Parameters
    ----------
    correction : small-sample factor by cluster; "cr0" is none, as R's ``did``
    bootstrap : number of draws of a multiplier bootstrap by cluster (Rademacher), 0 for none

    Raises
    ------
    SettingsError
        If nobody is treated within the periods, or nobody can be compared with.
    """
    cohorts = np.unique(panel.cohort[np.isfinite(panel.cohort)])
    cohorts = cohorts[cohorts > panel.times[0] + settings.anticipation]
    if not len(cohorts):
        raise SettingsError("group-time effects: expected units first treated after the first period, found none.")
    if settings.comparison == "never" and np.isfinite(panel.cohort).all():
        raise SettingsError(
            'group-time effects: nobody is never treated. Use comparison="not_yet", or add untreated units.'
        )
    cells: list[Cell] = []
    influences: list[Floats] = []
    for cohort in cohorts:
        for position in range(len(panel.times)):
            base = _base(panel.times, position, float(cohort), settings)
            if base is None:
                continue
            cell, influence = _cell(panel, float(cohort), position, base, settings)
            cells.append(cell)
            influences.append(influence)
    if not any(not cell.reason and not cell.base for cell in cells):
        raise SettingsError("group-time effects: no cohort and period has units to compare with.")
    there = np.array([g for g in cohorts if any(c.cohort == g and not c.reason for c in cells)])
    weight = panel.weight / panel.weight.mean()
    member = (panel.cohort[:, None] == there[None, :]) * weight[:, None]
    share = member.mean(axis=0)
    joint = np.column_stack([*influences, (member - share) / len(weight)])
    return _summed(tuple(cells), there, share, joint, panel.clusters, correction, bootstrap, seed)


def _summed(
    cells: tuple[Cell, ...],
    cohorts: Floats,
    share: Floats,
    joint: Floats,
    clusters: Clusters,
    correction: Correction,
    bootstrap: int,
    seed: int,
) -> GroupTime:
    sums = np.zeros((clusters.count, joint.shape[1]))
    np.add.at(sums, clusters.codes, joint)
    factor = correction_factor(correction, clusters.count, len(joint), 1)
    draws = None
    if bootstrap:
        signs = np.random.default_rng(seed).integers(0, 2, (bootstrap, clusters.count)) * 2.0 - 1.0
        draws = np.sqrt(factor) * signs @ sums
    return GroupTime(cells, cohorts, share, factor * sums.T @ sums, draws, len(joint), clusters.count)


def _base(times: Floats, position: int, cohort: float, settings: GroupTimeSettings) -> int | None:
    """Position of the period a cell is compared with; None where the cell does not exist."""
    before = np.flatnonzero(times < cohort - settings.anticipation)
    if not len(before):
        return None
    if settings.base == "universal" or times[position] >= cohort - settings.anticipation:
        return int(before[-1])
    return position - 1 if position else None


def _cell(
    panel: UnitPanel, cohort: float, position: int, base: int, settings: GroupTimeSettings
) -> tuple[Cell, Floats]:
    time = float(panel.times[position])
    empty = np.zeros(len(panel.cohort))
    treated = panel.cohort == cohort
    if position == base:
        return Cell(cohort, time, 0.0, int(treated.sum()), 0, base=True), empty
    others = np.isinf(panel.cohort)
    if settings.comparison == "not_yet":
        others |= (panel.cohort > max(time, float(panel.times[base])) + settings.anticipation) & ~treated
    among = (treated | others) & (panel.weight > 0)
    rows = (
        _both_periods(panel, among, position, base)
        if settings.cross_sections
        else _changes(panel, among, position, base)
    )
    counts = rows.count(treated), rows.count(others)
    if not min(counts):
        return Cell(cohort, time, np.nan, *counts, reason="nobody treated" if not counts[0] else "no comparison"), empty
    try:
        value, influence = rows.effect(treated, panel.weight, settings.estimator)
    except SeparationError:
        return Cell(cohort, time, np.nan, *counts, reason="covariates tell treated and others apart: no overlap"), empty
    except MissieError as error:
        return Cell(cohort, time, np.nan, *counts, reason=str(error).split(".")[0]), empty
    np.add.at(empty, rows.unit, influence)
    return Cell(cohort, time, value, *counts), empty


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a cell is estimated from: changes of units, or (``later`` is there) rows of either period."""

    unit: NDArray[np.intp]
    outcome: Floats
    x: Floats
    later: Mask | None = None

    def count(self, arm: Mask) -> int:
        """Units of an arm; none where a period has no row of it."""
        mine = arm[self.unit]
        parts = [mine] if self.later is None else [mine & self.later, mine & ~self.later]
        return len(np.unique(self.unit[mine])) if all(part.any() for part in parts) else 0

    def effect(self, treated: Mask, weight: Floats, estimator: Estimator) -> tuple[float, Floats]:
        """Estimate, and the influence of each row."""
        arm, w = treated[self.unit], weight[self.unit]
        if self.later is None:
            return did_two_periods(self.outcome, arm, self.x, w, estimator)
        return did_cross_sections(self.outcome, self.later, arm, self.x, w, estimator)


def _changes(panel: UnitPanel, among: Mask, position: int, base: int) -> _Rows:
    """Changes of units seen in both periods; covariates as known in the earlier one."""
    change = panel.outcome[:, position] - panel.outcome[:, base]
    x = _with_constant(panel, min(position, base))
    unit = np.flatnonzero(among & np.isfinite(change) & np.isfinite(x).all(axis=1))
    return _Rows(unit, change[unit], x[unit])


def _both_periods(panel: UnitPanel, among: Mask, position: int, base: int) -> _Rows:
    """Rows of both periods with their own covariates."""
    outcome = np.concatenate([panel.outcome[:, position], panel.outcome[:, base]])
    x = np.concatenate([_with_constant(panel, position), _with_constant(panel, base)])
    row = np.flatnonzero(np.tile(among, 2) & np.isfinite(outcome) & np.isfinite(x).all(axis=1))
    return _Rows(row % len(among), outcome[row], x[row], row < len(among))


def _with_constant(panel: UnitPanel, position: int) -> Floats:
    constant = np.ones((len(panel.cohort), 1))
    return constant if panel.covariates is None else np.column_stack([constant, panel.covariates[:, position]])


@dataclass(frozen=True, slots=True)
class Average:
    """Averages of cells: r numbers, their covariance, and bootstrap errors where there are any.

    Attributes
    ----------
    at : (r,) event times, cohorts or periods; one NaN for the overall average
    value : (r,)
    covariance : (r, r)
    draws : (draws, r), or None
    cells : positions of the cells in each average
    """

    at: Floats
    value: Floats
    covariance: Floats
    draws: Floats | None
    cells: tuple[tuple[int, ...], ...]


def average_by(
    found: GroupTime, by: Literal["event", "cohort", "time", "simple"], balance: int | None = None
) -> Average:
    """Average cells by event time, cohort or period, or all after treatment (``simple``).

    Parameters
    ----------
    balance : event time up to which every cohort must be seen, others are left out ("event" only)
    """
    usable = [i for i, c in enumerate(found.cells) if not c.reason]
    if by != "event":
        usable = [i for i in usable if found.cells[i].time >= found.cells[i].cohort]
    if balance is not None:
        last = max(c.time for c in found.cells)
        usable = [i for i in usable if last - found.cells[i].cohort >= balance and _event(found.cells[i]) <= balance]
    keys = {
        "event": [_event(c) for c in found.cells],
        "cohort": [c.cohort for c in found.cells],
        "time": [c.time for c in found.cells],
        "simple": [np.nan for _ in found.cells],
    }[by]
    at = np.array([np.nan]) if by == "simple" else np.unique([keys[i] for i in usable])
    groups = [usable] if by == "simple" else [[i for i in usable if keys[i] == key] for key in at]
    return _combined(found, at, groups, weighted=by != "cohort")


def overall(found: GroupTime, by: Literal["event", "cohort", "time", "simple"], balance: int | None = None) -> Average:
    """Average the averages: over event times from 0 and periods alike, over cohorts by their size."""
    parts = average_by(found, by, balance)
    if by == "simple":
        return parts
    if by == "cohort":
        m = len(found.cells)
        places = [int(np.flatnonzero(found.cohorts == g)[0]) for g in parts.at]
        share = found.share[places] / found.share[places].sum()
        value = float(share @ parts.value)
        gradient = np.zeros(m + len(found.cohorts))
        for row, cells in enumerate(parts.cells):
            gradient[list(cells)] += share[row] / len(cells)
        gradient[[m + p for p in places]] = (parts.value - value) / found.share[places].sum()
        return _linear(found, gradient, value, tuple(i for cells in parts.cells for i in cells))
    chosen = np.flatnonzero(parts.at >= 0) if by == "event" else np.arange(len(parts.at))
    line = np.zeros(len(parts.at))
    line[chosen] = 1 / max(len(chosen), 1)
    return Average(
        np.array([np.nan]),
        np.array([line @ parts.value]) if len(chosen) else np.array([np.nan]),
        np.array([[line @ parts.covariance @ line]]),
        None if parts.draws is None else (parts.draws @ line)[:, None],
        (tuple(i for j in chosen for i in parts.cells[j]),),
    )


def _linear(found: GroupTime, gradient: Floats, value: float, cells: tuple[int, ...]) -> Average:
    draws = None if found.draws is None else (found.draws @ gradient)[:, None]
    variance = np.array([[gradient @ found.covariance @ gradient]])
    return Average(np.array([np.nan]), np.array([value]), variance, draws, (cells,))


def _combined(found: GroupTime, at: Floats, groups: Sequence[Sequence[int]], weighted: bool) -> Average:
    m = len(found.cells)
    gradient = np.zeros((len(groups), m + len(found.cohorts)))
    value = np.zeros(len(groups))
    estimates = np.array([0.0 if c.reason else c.estimate for c in found.cells])
    place = {float(g): j for j, g in enumerate(found.cohorts)}
    for row, cells in enumerate(groups):
        chosen = list(cells)
        columns = np.array([place[found.cells[i].cohort] for i in chosen])
        share = found.share[columns] if weighted else np.ones(len(chosen))
        total = share.sum()
        value[row] = share @ estimates[chosen] / total
        gradient[row, chosen] = share / total
        if weighted:
            np.add.at(gradient[row], m + columns, (estimates[chosen] - value[row]) / total)
    draws = None if found.draws is None else found.draws @ gradient.T
    return Average(at, value, gradient @ found.covariance @ gradient.T, draws, tuple(tuple(g) for g in groups))


def _event(cell: Cell) -> float:
    return cell.time - cell.cohort
