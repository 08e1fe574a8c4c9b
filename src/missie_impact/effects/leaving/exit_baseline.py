"""The baseline of an exit model: years of follow-up, duration classes or splines, and the rows it can be read for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.effects.fitting.rows import (
    BEFORE_THE_DATA,
    ORIGIN_SEEN,
    Clustering,
    Group,
    Mask,
    Request,
    Rows,
    Source,
    duration_factor,
    parts,
    read_rows,
)
from missie_impact.effects.fitting.spans import row_starts
from missie_impact.effects.leaving.exit_options import ExitOptions, spline_of
from missie_impact.effects.leaving.exit_time import FollowUp, table_follow_up, trial_follow_up, with_follow_up
from missie_impact.errors import SettingsError
from missie_impact.numerics.covariance import clusters_of
from missie_impact.numerics.design import Column, Factor
from missie_impact.numerics.splines import spline_basis
from missie_impact.risksets.riskset import RiskSet

FOLLOW_UP = "follow_up"
FADING = ("log_exports",)  # default controls that, frozen at time zero, say less each year of follow-up
Positions = NDArray[np.intp]


def exit_request(risk: RiskSet, request: Request, options: ExitOptions, *, clock: bool = False) -> Request:
    """Add trial or calendar years and, unless the model has a clock of its own, years of follow-up."""
    year = () if risk.roles.year is None else (risk.roles.year,)
    if risk.design != "trials":
        return replace(request, always=year if risk.design == "spells" else ())
    if clock or spline_of(options.baseline) is not None:
        return replace(request, always=year, follow_up=FOLLOW_UP)
    fading = tuple(f"{name}:{FOLLOW_UP}" for name in FADING)
    return replace(request, always=(FOLLOW_UP, *year), products=fading, follow_up=FOLLOW_UP)


def frailty_request(risk: RiskSet, request: Request, options: ExitOptions) -> Request:
    """Return the request of a model with a random effect: the baseline as classes or among the controls."""
    made, spline = exit_request(risk, request, options), spline_of(options.baseline)
    clock = FOLLOW_UP if risk.design == "trials" else risk.roles.duration
    if clock is None:
        return made
    if spline is not None:
        return replace(made, controls=(*(made.controls or ()), f"{spline[0]}({clock}, {spline[1]})"))
    if risk.design == "trials" or options.duration_classes is None:
        return made
    return replace(made, classes=(clock, options.duration_classes))


def exit_rows(source: Source, request: Request, options: ExitOptions) -> tuple[Rows, FollowUp | None]:
    """Read rows with their baseline, and how they follow each other where survival can be standardised.

    Raises
    ------
    SettingsError
        If rows without a known origin are to be dropped from a weighted design.
    """
    risk, _ = parts(source)
    rows, roles = read_rows(source, request), risk.roles
    if risk.design == "trials":
        return _trials(risk, rows, options)
    if roles.duration is None:
        return rows, None
    frame = risk.collect([c for c in _time_columns(risk) if c is not None])
    stop = frame[roles.duration].to_numpy(dtype=np.float64, na_value=np.nan)
    unseen: Mask = np.isnan(stop)
    if ORIGIN_SEEN in frame:
        unseen = unseen | ~frame[ORIGIN_SEEN].to_numpy(dtype=bool)
    if options.duration_classes is not None:
        rows = replace(
            rows, variables=(*rows.variables, *_baseline(frame[roles.duration], roles.duration, unseen, options))
        )
    if unseen.any() and options.unseen_origin == "drop":
        return rows_at(rows, np.flatnonzero(~unseen)), None
    if risk.design == "spells":
        return rows, None
    start, _ = row_starts(frame, roles)
    follow = table_follow_up(risk, rows, start, stop, options.horizon)
    return (rows, None) if follow is None else (with_follow_up(rows, follow), follow)


def rows_at(rows: Rows, positions: Positions) -> Rows:
    """Rows of a risk set at some positions."""
    if rows.compared is not None or rows.weighting is not None:
        raise SettingsError("rows of a matched or weighted design cannot be dropped: make the design without them.")

    def taken(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else values[positions]

    return replace(
        rows,
        y=rows.y[positions],
        treated=rows.treated[positions],
        frequency=taken(rows.frequency),
        probability=taken(rows.probability),
        variables=tuple(
            Column(v.name, v.values[positions])
            if isinstance(v, Column)
            else Factor(v.name, v.codes[positions].astype(np.intp), v.levels)
            for v in rows.variables
        ),
        firm=taken(rows.firm),
        clusterings=tuple(
            Clustering(c.name, tuple(clusters_of(d.codes[positions]) for d in c.dimensions), c.correction)
            for c in rows.clusterings
        ),
        groups=tuple(Group(g.name, g.rows[positions]) for g in rows.groups),
        first=taken(rows.first),
        unit=None if rows.unit is None else clusters_of(rows.unit.codes[positions]),
        products={name: values[positions] for name, values in rows.products.items()},
        crossed={name: tuple(part[positions] for part in parts) for name, parts in rows.crossed.items()},
    )


def _trials(risk: RiskSet, rows: Rows, options: ExitOptions) -> tuple[Rows, FollowUp | None]:
    columns = [c for c in (FOLLOW_UP, risk.roles.year) if c is not None]
    frame = risk.collect(columns)
    codes, levels = pd.factorize(frame[FOLLOW_UP], sort=True)
    year = Factor(FOLLOW_UP, codes.astype(np.intp), tuple(str(level) for level in levels))
    origin = None if risk.roles.year is None else frame[risk.roles.year].to_numpy()
    follow = trial_follow_up(rows, year, origin)
    spline = spline_of(options.baseline)
    if spline is None:
        return rows, follow
    unseen = np.zeros(rows.n, dtype=bool)
    return replace(rows, variables=(*rows.variables, *_spline(frame[FOLLOW_UP], FOLLOW_UP, unseen, spline))), follow


def _time_columns(risk: RiskSet) -> list[str | None]:
    roles = risk.roles
    asked = [roles.duration, roles.start, roles.outcome, roles.firm, roles.market]
    asked += [ORIGIN_SEEN] if risk.design == "spells" and ORIGIN_SEEN in risk.columns else []
    return list(dict.fromkeys(asked))


def _baseline(values: pd.Series[Any], name: str, unseen: Mask, options: ExitOptions) -> tuple[Factor | Column, ...]:
    spline = spline_of(options.baseline)
    if spline is not None:
        return _spline(values, name, unseen, spline)
    return (duration_factor(values, name, options.duration_classes or (1,), unseen if unseen.any() else None),)


def _spline(values: pd.Series[Any], name: str, unseen: Mask, spline: tuple[str, int]) -> tuple[Factor | Column, ...]:
    """Columns of a spline in the duration; spells that began before the data have zeros and a mark of their own."""
    kind, df = spline
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    basis = np.zeros((len(numbers), df))
    basis[~unseen] = spline_basis(numbers[~unseen], df, natural=kind == "ns")
    made: list[Factor | Column] = [Column(f"{kind}({name}, {df})[{j + 1}]", basis[:, j].copy()) for j in range(df)]
    if unseen.any():
        made.append(Factor(name, unseen.astype(np.intp), ("known", BEFORE_THE_DATA)))
    return tuple(made)
