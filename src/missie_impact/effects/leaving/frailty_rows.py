"""What a random effect needs beside the rows of a hazard: whose effect it is, spells with their origin, firm means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.effects.fitting.rows import Mask, Request, Rows, Source, parts, read_rows
from missie_impact.errors import MissingValueError, SchemaError, SettingsError
from missie_impact.numerics.covariance import Clusters, clusters_of
from missie_impact.numerics.design import Column, Factor
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
Distribution = Literal["gaussian", "gamma"]
BEFORE_ENTRY = "before_entry"


@dataclass(frozen=True, slots=True)
class Frailty:
    """A random effect that the spell-years of a unit share.

    Attributes
    ----------
    level : "firm", "market", "pair" (firm x market), a column, or a tuple of columns. In trials the effect is that of
        the level within a trial, since the same year of a pair stands in several trials
    distribution : "gaussian" on the linear predictor, or "gamma" on the hazard (cloglog only, closed form)
    points : quadrature points per unit to begin with (gaussian)
    most_points : points are doubled up to this number while twice as many move the log likelihood by more than 0.001; a
        note says so. Equal to ``points``: as asked
    mundlak : whether means of the continuous controls per firm, up to the row's own time, join the controls: what past
        trade tells about the effect. None: yes on registers, no on own tables
    before_entry : 0/1 column that marks rows survived before a spell was first followed; not needed where all spells
        are followed from their origin

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> risk = mi.exit_risk_set(panel)
    >>> found = mi.market_exit(risk, cluster="firm", controls=["log_exports"], frailty=mi.Frailty("firm", points=5))
    >>> "hazard_ratio" in found.scales
    True
    """

    level: str | tuple[str, ...]
    distribution: Distribution = "gaussian"
    points: int = 12
    most_points: int = 96
    mundlak: bool | None = None
    before_entry: str = BEFORE_ENTRY

    def __post_init__(self) -> None:
        if not self.level or not all(isinstance(c, str) for c in self.level):
            raise SettingsError(f"level: expected a column or a tuple of columns, found {self.level!r}.")
        if self.distribution not in get_args(Distribution):
            raise SettingsError(f"distribution: expected 'gaussian' or 'gamma', found {self.distribution!r}.")
        if self.points < 3:
            raise SettingsError(f"points: expected at least 3 quadrature points, found {self.points}.")


@dataclass(frozen=True, slots=True)
class EffectRows:
    """Rows of a hazard with whose effect they share.

    Attributes
    ----------
    rows : as the fit without an effect takes them, firm means added; groups hold followed rows only
    everyone : (n,) followed rows
    effect : the unit whose effect a row shares
    keys : the columns that name these units, one row per unit in the order of the codes
    spell : the spell of each row
    order : (n,) time of each row within its spell
    ordered : factors along time; levels without a followed row take the nearest one's hazard
    notes : what a reader must know
    """

    rows: Rows
    everyone: Mask
    effect: Clusters
    keys: pd.DataFrame
    spell: Clusters
    order: Floats
    ordered: tuple[str, ...]
    notes: tuple[str, ...]


def read_effect_rows(source: Source, request: Request, frailty: Frailty) -> EffectRows:
    """Read rows, check that every spell is known from its origin, and add firm means.

    Raises
    ------
    SettingsError
        If spells enter late and their rows before entry are not there, or began before the data.
    """
    risk, _ = parts(source)
    rows, roles = read_rows(source, request), risk.roles
    levels = _level_columns(frailty.level, risk)
    extra = [c for c in ("spell", frailty.before_entry) if c in risk.columns]
    named = [roles.firm, roles.market, roles.year, roles.start, roles.duration]
    frame = risk.collect(list(dict.fromkeys([*levels, *extra, *(c for c in named if c is not None)])))
    before = np.zeros(rows.n, dtype=bool)
    if frailty.before_entry in frame:
        before = frame[frailty.before_entry].to_numpy(dtype=np.float64) == 1.0
    codes = _codes(frame, levels)
    first = np.zeros(codes.count, dtype=np.intp)
    first[codes.codes[::-1]] = np.arange(rows.n)[::-1]
    spell, order, notes = _spells(risk, frame, levels)
    _check_origin(risk, frailty, spell, order, before)
    year = roles.year if roles.year is not None and risk.design != "frame" else None
    ordered = tuple(c for c in (roles.duration, year, request.follow_up) if c is not None)
    mundlak = frailty.mundlak if frailty.mundlak is not None else risk.design != "frame"
    if mundlak:
        means, said = _firm_means(rows, risk, frame, levels)
        rows, notes = replace(rows, variables=(*rows.variables, *means)), [*notes, said]
    if before.any():
        notes.append(f"{int(before.sum())} rows before entry: the likelihood conditions on having survived them")
    groups = tuple(replace(group, rows=group.rows & ~before) for group in rows.groups)
    keys = frame.loc[first, levels].reset_index(drop=True)
    return EffectRows(
        replace(rows, groups=groups), ~before, codes, keys, spell, order, ordered, tuple(notes)
    )  # fmt: skip


def _level_columns(level: str | tuple[str, ...], risk: RiskSet) -> list[str]:
    roles = risk.roles
    asked = {"pair": ("firm", "market")}.get(level, (level,)) if isinstance(level, str) else level
    found = [getattr(roles, name) if name in ("firm", "market") and getattr(roles, name) else name for name in asked]
    absent = [name for name in found if name not in risk.columns]
    if absent:
        raise SchemaError(
            f"frailty level {level!r}: {absent} are no columns of the risk set; it holds {risk.columns}. Name firm= "
            "and market= when you make it, or give the level as columns."
        )
    if risk.design == "trials" and roles.year is not None:
        found.append(roles.year)
    return list(dict.fromkeys(found))


def _codes(frame: pd.DataFrame, columns: list[str]) -> Clusters:
    missing = int(frame[columns].isna().any(axis=1).sum())
    if missing:
        raise MissingValueError(
            f"frailty level {columns}: expected a value in every row, found {missing} rows without one. Leave these "
            "rows out, or choose another level."
        )
    return clusters_of(*(pd.factorize(frame[column])[0] for column in columns))


def _spells(risk: RiskSet, frame: pd.DataFrame, levels: list[str]) -> tuple[Clusters, Floats, list[str]]:
    """Spell of each row and its time in it. A spell of the same unit begins anew where its clock does."""
    roles, n = risk.roles, len(frame)
    if risk.design == "trials":
        columns = [c for c in (roles.firm, roles.market, roles.year) if c is not None]
    else:
        columns = [c for c in (roles.firm, roles.market) if c is not None] + levels
        columns += ["spell"] if risk.design == "spells" and "spell" in frame else []
    unit = _codes(frame, list(dict.fromkeys(columns)))
    if roles.duration is None and roles.start is None:
        return unit, np.arange(n, dtype=np.float64), ["no duration: every unit is taken as followed from its origin"]
    begin = _numbers(frame[roles.start]) if roles.start else _numbers(frame[str(roles.duration)]) - 1.0
    unknown = int(np.isnan(begin).sum())
    if unknown:
        raise SettingsError(
            f"{unknown} rows belong to spells that began before the data, so their duration is not known, and an "
            "effect at the origin cannot be told from it. Leave them out; on registers exit_risk_set(panel, "
            "kind='spells', before_entry=True) does so and adds the rows before entry of the others."
        )
    dated = roles.year is not None and risk.design != "trials"
    order = np.lexsort((begin, _numbers(frame[str(roles.year)]) if dated else begin, unit.codes))
    anew = np.diff(unit.codes[order]) != 0
    if dated:
        anew |= np.diff(begin[order]) <= 0
    number = np.empty(n, dtype=np.intp)
    number[order] = np.concatenate([[0], np.cumsum(anew)])
    return Clusters(number, int(number.max(initial=-1)) + 1), begin, []


def _check_origin(risk: RiskSet, frailty: Frailty, spell: Clusters, order: Floats, before: Mask) -> None:
    if risk.roles.duration is None and risk.roles.start is None:
        return
    origin = np.full(spell.count, np.inf)
    np.minimum.at(origin, spell.codes, order)
    late = int((origin > 0).sum())
    if late:
        there = " (some rows before entry are there, but not from the origin on)" if before.any() else ""
        raise SettingsError(
            f"{late} of {spell.count} spells are first seen after their origin{there}: those who left before are not "
            "in the data, and the likelihood must condition on having survived. Add one row per period from the origin "
            f"to entry with outcome 0 and `{frailty.before_entry}` = 1; on registers exit_risk_set(panel, "
            "kind='spells', before_entry=True) adds them. Or measure durations from the time of eligibility."
        )


def _firm_means(rows: Rows, risk: RiskSet, frame: pd.DataFrame, levels: list[str]) -> tuple[list[Column], str]:
    """Mean of each continuous control over the firm's rows up to the row's own time."""
    roles = risk.roles
    time = roles.year if roles.year is not None else roles.duration
    if time is None:
        raise SettingsError("mundlak=True needs a year or a duration: means may only look back. Name one of them.")
    firm = [roles.firm] if roles.firm is not None else levels
    columns = [v for v in rows.variables if isinstance(v, Column) and v.name not in rows.products]
    table = pd.DataFrame({"firm": _codes(frame, list(firm)).codes, "time": _numbers(frame[time])})
    once = table.assign(**{str(j): v.values for j, v in enumerate(columns)})
    if rows.first is not None:
        once = once[rows.first]  # later years of follow-up would weigh survivors more
    by_time = once.groupby(["firm", "time"], sort=True).agg(["sum", "size"]) if columns else None
    if by_time is None:
        return [], "no continuous controls: no firm means to add"
    running = by_time.groupby(level="firm").cumsum()
    at = running.index.get_indexer(pd.MultiIndex.from_frame(table))
    made = []
    for j, column in enumerate(columns):
        mean = (running[(str(j), "sum")] / running[(str(j), "size")]).to_numpy()[at]
        made.append(Column(f"firm_mean_{column.name}", mean))
    return made, f"firm means up to the row's own time of {len(made)} controls (Mundlak)"


def nearest_followed(rows: EffectRows, followed: Codes) -> tuple[Rows, Mapping[str, Codes], list[str]]:
    """Give levels along time without a followed row the hazard of the nearest one: the next, or the last.

    Returns
    -------
    rows, for each factor along time the level that each of its levels stands for, and notes
    """
    variables, maps, notes = list(rows.rows.variables), {}, []
    for position, variable in enumerate(variables):
        if not isinstance(variable, Factor) or variable.name not in rows.ordered:
            continue
        there = np.flatnonzero(np.bincount(variable.codes[followed], minlength=len(variable.levels)))
        after = np.searchsorted(there, np.arange(len(variable.levels)))
        number = there[np.minimum(after, len(there) - 1)]
        maps[variable.name] = number.astype(np.intp)
        moved = int((number[variable.codes] != variable.codes)[~rows.everyone].sum())
        if moved:
            notes.append(
                f"{moved} rows before entry lie at levels of {variable.name} where nobody was followed: taken to have "
                "the hazard of the nearest level"
            )
        variables[position] = replace(variable, codes=number[variable.codes])
    return replace(rows.rows, variables=tuple(variables)), maps, notes


def _numbers(values: pd.Series[Any]) -> Floats:
    return values.to_numpy(dtype=np.float64, na_value=np.nan)
