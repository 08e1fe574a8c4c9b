"""Rows of units and periods spread over a grid: who can be compared, and who is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from missie_impact.effects.increase.poisson import codes_of, numbers_of
from missie_impact.errors import DuplicateKeyError, SettingsError
from missie_impact.flow import FlowStep
from missie_impact.numerics.cells import Column, Floats
from missie_impact.numerics.covariance import Clusters, clusters_of
from missie_impact.numerics.group_time import NEVER, UnitPanel
from missie_impact.risksets.controls import variables_of

Unbalanced = Literal["drop", "pairs", "rows"]
_UNSEEN = {"drop": "not observed in every period", "pairs": "never observed", "rows": "never observed"}


@dataclass(frozen=True, slots=True)
class RowColumns:
    """Names of the columns: outcome, unit (one or more), period, first treated period, weight or None."""

    outcome: str
    unit: Sequence[str]
    time: str
    first: str
    weight: str | None


def unit_panel(
    table: pd.DataFrame,
    names: RowColumns,
    terms: Sequence[Any],
    dims: Sequence[tuple[str, ...]],
    *,
    unbalanced: Unbalanced,
    anticipation: int,
) -> tuple[UnitPanel, list[FlowStep]]:
    """Spread rows over units and periods; leave out who cannot be used, and count them."""
    units = clusters_of(*(codes_of(table, c) for c in names.unit))
    times, period = np.unique(numbers_of(table, names.time), return_inverse=True)
    if len(times) < 2:
        raise SettingsError(f"`{names.time}`: expected at least two periods, found {len(times)}.")
    place = units.codes * len(times) + period.reshape(-1)
    if len(np.unique(place)) < len(place):
        raise DuplicateKeyError(
            f"`{names.outcome}`: expected one row per unit and period, found {len(place) - len(np.unique(place))} rows "
            "more. Sum or choose among them before the call."
        )
    shape = (units.count, len(times))
    outcome = np.full(shape, np.nan)
    outcome.reshape(-1)[place] = numbers_of(table, names.outcome)
    cohort = _per_unit(_first_treated(table, names.first), units, names.first)
    weight = np.ones(units.count)
    if names.weight:
        weight = _per_unit(numbers_of(table, names.weight, 0.0), units, names.weight)
    clusters = np.arange(units.count)
    if dims:
        clusters = _per_unit(clusters_of(*(codes_of(table, c) for c in dims[0])).codes, units, "cluster").astype(int)
    covariates = None
    columns = _columns(table, terms)
    if columns.shape[1]:
        covariates = np.full((*shape, columns.shape[1]), np.nan)
        covariates.reshape(-1, columns.shape[1])[place] = columns
    complete = np.isfinite(outcome).all(axis=1)
    always = cohort <= times[0]
    keep = ~always & (complete if unbalanced == "drop" else np.isfinite(outcome).any(axis=1))
    steps = [
        FlowStep("units in the table", units.count),
        FlowStep("not treated from the first period on", int((~always).sum()), reason="no period before treatment"),
        FlowStep("units compared", int(keep.sum()), reason=_UNSEEN[unbalanced]),
    ]
    if not keep.any():
        raise SettingsError(
            'group-time effects: no unit is observed in every period. Use GroupTimeOptions(unbalanced="pairs").'
        )
    cohort = np.where(cohort > times[-1], _late(cohort, times, anticipation), cohort)
    panel = UnitPanel(
        outcome[keep], times, cohort[keep], weight[keep], None if covariates is None else covariates[keep],
        clusters_of(clusters[keep]),
    )  # fmt: skip
    return panel, steps


def _late(cohort: Floats, times: Floats, anticipation: int) -> Floats:
    """Units first treated after the last period: never treated as far as the data go, unless they anticipate."""
    return np.where(cohort > times[-1] + anticipation, NEVER, cohort)


def _first_treated(table: pd.DataFrame, name: str) -> Floats:
    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    text = int((np.isnan(numbers) & table[name].notna().to_numpy()).sum())
    if text:
        raise SettingsError(f"`{name}`: expected periods, 0 or nothing, found {text} rows with something else.")
    return np.where(np.isfinite(numbers) & (numbers != 0), numbers, NEVER)


def _per_unit(values: Any, units: Clusters, name: str) -> Floats:
    """One value per unit; more than one is an error."""
    numbers = np.asarray(values, dtype=np.float64)
    first = np.full(units.count, np.nan)
    first[units.codes[::-1]] = numbers[::-1]
    wrong = len(np.unique(units.codes[first[units.codes] != numbers]))
    if wrong:
        raise SettingsError(f"`{name}`: expected one value per unit in all periods, found more in {wrong} units.")
    return first


def _columns(table: pd.DataFrame, terms: Sequence[Any]) -> Floats:
    columns = []
    for variable in variables_of(table, terms):
        values = variable.values
        if isinstance(values, Column):
            columns.append(values.values)
        else:
            columns += [(values.codes == code).astype(np.float64) for code in range(1, len(values.levels))]
    return np.column_stack(columns) if columns else np.empty((len(table), 0))
