"""Time since time zero: which rows are years of one unit, and what its covariates are in a year it did not reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import Mask, Rows
from missie_impact.numerics.covariance import Clusters, clusters_of
from missie_impact.numerics.design import Column, Factor
from missie_impact.risksets.riskset import RiskSet

Positions = NDArray[np.intp]
Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """The rows of n years at risk along their units.

    Attributes
    ----------
    unit : the unit of each row
    year : (n,) year since time zero, 0, 1, ...; -1 for rows beyond the horizon
    first : (n,) rows of year 0: time zero of their unit
    n_years : years followed
    origin : (n,) number of the calendar year of time zero, zero where the table has none
    notes : what a reader must know
    """

    unit: Clusters
    year: Positions
    first: Mask
    n_years: int
    origin: Positions
    notes: tuple[str, ...] = ()


def trial_follow_up(rows: Rows, year: Factor, origin: Values | None) -> FollowUp | None:
    """Follow-up of built trials from the factor of their years, with the trial year of each row."""
    if rows.unit is None or rows.first is None:
        return None
    n_years = len(year.levels)
    codes = np.zeros(rows.n, dtype=np.intp) if origin is None else pd.factorize(origin, sort=True)[0].astype(np.intp)
    note = () if n_years == 5 else (f"follow-up of {n_years} years, not of 5",)
    return FollowUp(rows.unit, year.codes.astype(np.intp), rows.first, n_years, codes, note)


def table_follow_up(risk: RiskSet, rows: Rows, start: Values, stop: Values, horizon: int) -> FollowUp | None:
    """Follow-up of an own table whose rows are years of units, the treatment fixed at time zero; None if they are not.

    A unit is a firm (in a market), or one of its trials where the same durations come back in another year.

    Parameters
    ----------
    start, stop : (n,) each row is at risk over (start, stop]
    horizon : years followed at most
    """
    roles = risk.roles
    whole = np.isfinite(start) & np.isfinite(stop)
    if roles.firm is None or not whole.all() or (stop - start != 1.0).any() or (stop % 1 != 0).any():
        return None
    frame = risk.collect([c for c in (roles.firm, roles.market, roles.year) if c is not None])
    number = {c: pd.factorize(frame[c])[0] for c in frame.columns}
    pair = [number[c] for c in (roles.firm, roles.market) if c is not None]
    choices = [pair] if roles.year is None else [pair, [*pair, number[roles.year]]]
    unit = next((u for u in (clusters_of(*keys) for keys in choices) if _distinct(u, stop)), None)
    if unit is None or (np.bincount(unit.codes).max() < 2 and stop.max() > 1) or _switches(rows.treated, unit):
        return None
    year = start.astype(np.intp)
    first: Mask = year == 0
    if not (first & rows.treated).any() or not (first & ~rows.treated).any():
        return None
    there = np.bincount(year[year < horizon], minlength=horizon) > 0
    n_years = int(np.argmin(there)) if not there.all() else horizon
    treated = np.unique(unit.codes[rows.treated])
    late = len(treated) - len(np.unique(unit.codes[rows.treated & first]))
    notes = [f"survival standardised over the treated followed from their first year, {n_years} years"]
    if late:
        notes.append(f"{late} of {len(treated)} treated units enter late and are not averaged over")
    origin = np.zeros(rows.n, dtype=np.intp)
    return FollowUp(unit, np.where(year < n_years, year, -1), first, n_years, origin, tuple(notes))


def with_follow_up(rows: Rows, follow: FollowUp) -> Rows:
    """Rows whose treated units are counted at their time zero."""
    return replace(rows, first=follow.first, unit=follow.unit)


def in_years(
    rows: Rows, follow: FollowUp, positions: Positions, years: Sequence[int]
) -> tuple[dict[str, Values], tuple[str, ...]]:
    """Return what covariates are in given years of given units, and names of those held as they were at time zero.

    What is the same for all rows of a year since time zero (the duration, its classes, splines or logarithm), or of a
    year and a calendar year of time zero (calendar years), follows the years, and so does its product with what stays.
    The rest is of time zero.

    Parameters
    ----------
    positions : (m,) rows of time zero
    years : (K,) years since time zero

    Returns
    -------
    dict, tuple
        Per variable or factor of a product (K m,) codes or values, years outermost; names of controls that change along
        the rows of a unit in another way.
    """
    known = np.flatnonzero(follow.year >= 0)
    begin = np.full(follow.unit.count, -1, dtype=np.intp)
    order = known[np.argsort(-follow.year[known], kind="stable")]
    begin[follow.unit.codes[order]] = order  # the earliest row of each unit is written last
    own_first = begin[follow.unit.codes[known]]
    sources: dict[str, tuple[Values, ...]] = {
        v.name: (v.values if isinstance(v, Column) else v.codes,) for v in rows.variables if v.name not in rows.products
    }
    sources |= {name: (values,) for name, values in rows.products.items()} | dict(rows.crossed)
    moved: dict[str, Values] = {}
    held = []
    for name, parts in sources.items():
        if all(np.array_equal(part[known], part[own_first]) for part in parts):
            continue
        found = [_part_in_years(part, follow, positions, years, (known, own_first)) for part in parts]
        there = [part for part in found if part is not None]
        if len(there) == len(parts):
            moved[name] = there[0] if len(there) == 1 else np.prod(there, axis=0)
        else:
            held.append(name)
    return moved, tuple(held)


def _part_in_years(
    values: Values, follow: FollowUp, positions: Positions, years: Sequence[int], own: tuple[Positions, Positions]
) -> Values | None:
    """Return what a covariate is in given years of given units, or None where it changes in a way of its own.

    ``own`` are the rows of known years and the first row of each one's unit.
    """
    known, own_first = own
    if np.array_equal(values[known], values[own_first]):
        return np.tile(values[positions], len(years))
    for origin in (np.zeros(len(values), dtype=np.intp), follow.origin):
        table = _by_year(values, follow, origin, known)
        if np.array_equal(table[origin[known], follow.year[known]], values[known]):
            return np.concatenate([table[origin[positions], k] for k in years])
    return None


def empty_years(fitted: Fitted, follow: FollowUp) -> set[int]:
    """Years in which nobody leaves, whose level left the likelihood: their hazard is zero in both worlds."""
    found = set()
    factors = {v.name: v for v in fitted.rows.variables if isinstance(v, Factor)}
    for level in fitted.certain:
        factor = factors.get(level.variable)
        if level.events or factor is None or level.variable in fitted.rows.products:
            continue
        inside = factor.codes == factor.levels.index(level.level) if level.level else np.zeros(fitted.rows.n, bool)
        for k in range(follow.n_years):
            rows = fitted.group & (follow.year == k)
            if rows.any() and inside[rows].all():
                found.add(k)
    return found


def _by_year(values: Values, follow: FollowUp, origin: Positions, known: Positions) -> Values:
    """Value per origin and year; a year that an origin did not reach has that of its last one."""
    table = np.zeros((int(origin.max(initial=0)) + 1, follow.n_years), dtype=values.dtype)
    seen = np.zeros(table.shape, dtype=bool)
    table[origin[known], follow.year[known]] = values[known]
    seen[origin[known], follow.year[known]] = True
    for k in range(1, follow.n_years):
        table[:, k] = np.where(seen[:, k], table[:, k], table[:, k - 1])
    return table


def _distinct(unit: Clusters, stop: Values) -> bool:
    key = unit.codes.astype(np.int64) * (int(stop.max()) + 1) + stop.astype(np.int64)
    return len(np.unique(key)) == len(key)


def _switches(treated: Mask, unit: Clusters) -> bool:
    number, on = np.bincount(unit.codes), np.bincount(unit.codes, treated)
    return bool(((on > 0) & (on < number)).any())
