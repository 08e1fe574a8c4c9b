"""What a design sees of a risk set: units, treatment, covariates, strata, weights of their own. Never the outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.errors import MissingValueError, NoParticipantError, SchemaError, SettingsError
from missie_impact.numerics.covariance import clusters_of
from missie_impact.numerics.design import Column, Factor
from missie_impact.risksets.controls import Variable, resolve_controls, variables_of
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Mask = NDArray[np.bool_]

COUNTRY_GROUP = "country_group"


@dataclass(frozen=True, slots=True)
class Units:
    """Units of a risk set of n rows. In exit trials a unit has a row per year of follow-up; elsewhere rows are units.

    Attributes
    ----------
    risk : where they come from
    treated : (n,) whether treated
    variables : what they are compared on, as factors and columns of n rows
    left_out : default controls that the table does not hold
    constant : controls that do not vary, which cannot tell units apart
    frequency, probability : (n,) weights of the risk set, or None for one
    unit : (n,) number of the unit of each row
    first : positions of each unit's first row, in the order of unit numbers
    firm : (n,) number of the firm, or None
    exact : columns on which units of a stratum agree
    stratum : (n,) number of the stratum
    """

    risk: RiskSet
    treated: Mask
    variables: tuple[Factor | Column, ...]
    left_out: tuple[str, ...]
    constant: tuple[str, ...]
    frequency: Floats | None
    probability: Floats | None
    unit: Positions
    first: Positions
    firm: Positions | None
    exact: tuple[str, ...]
    stratum: Positions

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.treated)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was asked for and is not there."""
        notes = [f"not in the table, so left out: {list(self.left_out)}"] if self.left_out else []
        notes += [f"controls without variation left out: {', '.join(self.constant)}"] if self.constant else []
        return tuple(notes)

    def own_weight(self) -> Floats:
        """Weight of each row in the risk set itself, zero in all but a unit's first row."""
        weight = np.zeros(self.n)
        weight[self.first] = 1.0
        for factor in (self.frequency, self.probability):
            weight = weight if factor is None else weight * factor
        return weight

    def count(self, rows: Mask) -> tuple[int, int | None, int]:
        """Units, firms and treated units among some rows."""
        chosen = self.first[rows[self.first]]
        firms = None if self.firm is None else len(np.unique(self.firm[chosen]))
        return len(chosen), firms, int(self.treated[chosen].sum())


def read_units(risk: RiskSet, on: Sequence[str], exact: Sequence[str] = (), *, also: Sequence[str] = ()) -> Units:
    """Read what a design needs through `RiskSet.covariates`, which hides the outcome.

    Parameters
    ----------
    on : controls to compare on, in the language of `missie_impact.risksets.controls`
    exact : columns of the strata; the mission year is added, and the country group of built pairs
    also : further controls, wanted for their balance only

    Raises
    ------
    SettingsError
        If nothing is named, or the question has no units that could be compared.
    NoParticipantError
        If no unit is treated, or none is not.
    MissingValueError
        If a covariate or a stratum is missing in some rows.
    """
    if isinstance(on, str) or not on:
        raise SettingsError("on: expected a list of controls to compare on, such as ['log_workers', 'sector'].")
    if risk.design == "spells":
        raise SettingsError(
            "rows of whole spells switch their treatment and have no time zero to compare at. Make the design on "
            "exit_risk_set(panel, kind='trials')."
        )
    roles = risk.roles
    always = [roles.year] if risk.design == "trials" and roles.year is not None else []
    controls = resolve_controls(risk, on, always)
    if controls.with_treatment:
        raise SettingsError(f"on: the treatment has no place among {list(on)}; it is what units are compared by.")
    further = resolve_controls(risk, also).used
    used = tuple({control.name: control for control in (*further, *controls.used)}.values())
    strata = tuple(dict.fromkeys([*([exact] if isinstance(exact, str) else exact), *_always_exact(risk)]))
    unit_keys = _unit_keys(risk)
    needed = [column for control in used for column in control.columns]
    wanted = [roles.treatment, *needed, *strata, roles.frequency, roles.probability, roles.firm, *unit_keys]
    columns = list(dict.fromkeys(c for c in wanted if c is not None))
    absent = [c for c in columns if c not in risk.columns]
    if absent:
        raise SchemaError(f"columns {absent} are not in the risk set; it holds {risk.columns}.")
    frame = risk.covariates(columns)
    treated = frame[roles.treatment].to_numpy(dtype=np.float64) == 1.0
    if not treated.any() or treated.all():
        raise NoParticipantError(
            f"expected treated and untreated rows, found {int(treated.sum())} treated among {len(treated)}."
        )
    unit, first = _units(frame, unit_keys)
    made = variables_of(frame, used)
    variables = _distinct(made)
    return Units(
        risk=risk,
        treated=treated,
        left_out=controls.left_out,
        constant=tuple(v.values.name for v in made if v.values.name not in {kept.name for kept in variables}),
        variables=variables,
        frequency=_numbers(frame, roles.frequency),
        probability=_numbers(frame, roles.probability),
        unit=unit,
        first=first,
        firm=None if roles.firm is None else pd.factorize(frame[roles.firm])[0].astype(np.intp),
        exact=strata,
        stratum=strata_of(frame, strata),
    )


def strata_of(frame: pd.DataFrame, columns: Iterable[str]) -> Positions:
    """Number the combinations of some columns, shape (n,).

    Raises
    ------
    MissingValueError
        If a value is missing: rows without one agree with nobody.
    """
    codes = []
    for column in columns:
        missing = int(frame[column].isna().sum())
        if missing:
            raise MissingValueError(
                f"exact `{column}`: expected a value in every row, found {missing} rows without one. Fill them with a "
                "level of their own, or leave these rows out."
            )
        codes.append(pd.factorize(frame[column], sort=True)[0].astype(np.intp))
    return clusters_of(*codes).codes if codes else np.zeros(len(frame), dtype=np.intp)


def _always_exact(risk: RiskSet) -> list[str]:
    """Trials of different years are never compared with each other, nor pairs of different country groups."""
    year, pairs = risk.roles.year, risk.design == "trials" and risk.roles.market is not None
    group = [COUNTRY_GROUP] if pairs and COUNTRY_GROUP in risk.columns else []
    return ([] if year is None else [year]) + group


def _unit_keys(risk: RiskSet) -> list[str]:
    roles = risk.roles
    if risk.design != "trials" or roles.duration is None:
        return []
    return [c for c in (roles.firm, roles.market, roles.year) if c is not None]


def _units(frame: pd.DataFrame, keys: list[str]) -> tuple[Positions, Positions]:
    """Unit of each row and first row of each unit; rows come sorted by key, so the first is the earliest."""
    if not keys:
        return np.arange(len(frame)), np.arange(len(frame))
    unit = clusters_of(*(pd.factorize(frame[key])[0].astype(np.intp) for key in keys)).codes
    return unit, np.unique(unit, return_index=True)[1].astype(np.intp)


def _distinct(variables: Sequence[Variable]) -> tuple[Factor | Column, ...]:
    """Covariates that vary; one that does not cannot tell units apart."""
    values = [variable.values for variable in variables]
    return tuple(v for v in values if np.ptp(v.values if isinstance(v, Column) else v.codes) > 0)


def _numbers(frame: pd.DataFrame, column: str | None) -> Floats | None:
    values: Any = None if column is None else frame[column].to_numpy(dtype=np.float64)
    return None if values is None else np.asarray(values, dtype=np.float64)
