"""Do entrants through a mission last? A comparison of selected survivors, beside what is an effect, and bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.display import html_table
from missie_impact.effects.fitting.rows import ClusterChoice
from missie_impact.effects.leaving.exit import market_exit
from missie_impact.effects.result import Effect
from missie_impact.effects.survival.curves import Curve
from missie_impact.effects.survival.entrants_beside import (
    Stayed,
    always_entrant_bounds,
    entering,
    unconditional_effects,
)
from missie_impact.effects.survival.followed import Followed, follow
from missie_impact.effects.survival.points import DEFAULT_CURVE, CurveOptions, added, arm_of, joint_covariance
from missie_impact.effects.survival.survival import survival_curve
from missie_impact.errors import MissieError, NoParticipantError, SchemaError
from missie_impact.numerics.bands import interval_of
from missie_impact.panel import Panel
from missie_impact.risksets.entrants import entrant_risk_set
from missie_impact.risksets.entry import Outcome
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]

SELECTED = "comparison of selected survivors, not an effect"
STRATA = ("country_group", "year", "size")
YEARS = (1, 2, 3, 5)


@dataclass(frozen=True, slots=True, eq=False)
class Stratified:
    """Entrants with weights: controls stand in their stratum as the treated do.

    Attributes
    ----------
    risk : the entrants
    weight : (n,) per row: 1 for treated, treated over controls of the stratum for controls, 0 in strata with one arm
    strata : columns that make the strata
    n_treated, n_kept : treated units before, and those with a control in their stratum
    """

    risk: RiskSet
    weight: Floats
    strata: tuple[str, ...]
    n_treated: int
    n_kept: int


@dataclass(frozen=True, slots=True, eq=False)
class EntrantSurvival:
    """What is known about entrants through a mission. Aggregates only.

    Made by :func:`entrant_survival`.

    Attributes
    ----------
    curve : share of entrants still there, by arm and year since entry, controls weighted to the strata of the treated
    comparison : the same in numbers: ``survival_with``, ``survival_without`` and their ``difference`` by year
    hazard_ratio : of ending the spell, with the same weights
    unconditional : effects on all who could enter: entering at all, trading in t+3 whether or not they entered, and
        exports to the market in t+1..t+3 with zeros (``mean_ratio``; raw, and with sums cut at a fixed amount)
    bounds : survival difference of those who would enter either way, lowest and highest, by year; ``conf_low`` of the
        lowest and ``conf_high`` of the highest make an interval for the difference
    notes : what a reader must know; the first says what this is
    simulated : whether the registers are simulated ones
    """

    curve: Curve
    comparison: pd.DataFrame
    hazard_ratio: Effect | None
    unconditional: dict[str, Effect]
    bounds: pd.DataFrame
    notes: tuple[str, ...]
    simulated: bool = False

    def tidy(self) -> pd.DataFrame:
        """Return all numbers in one table: part (comparison, hazard_ratio, unconditional, bounds), scale, year."""
        parts = [self.comparison.assign(part=SELECTED), self.bounds.assign(part="bounds for always-entrants")]
        effects = {"hazard_ratio": self.hazard_ratio, **self.unconditional}
        for name, effect in effects.items():
            if effect is not None:
                kind = SELECTED if name == "hazard_ratio" else f"effect on all who could enter: {name}"
                parts.append(effect.tidy().assign(part=kind))
        columns = ["part", "group", "scale", "year", "estimate", "std_error", "conf_low", "conf_high", "reason"]
        return pd.concat(parts, ignore_index=True).reindex(columns=columns)

    def __repr__(self) -> str:
        source = ", simulated" if self.simulated else ""
        return f"EntrantSurvival({SELECTED}; {len(self.comparison)} numbers{source})"

    def _repr_html_(self) -> str:
        return html_table(self.tidy(), title="Survival after entry", notes=self.notes, simulated=self.simulated)


def entrant_survival(
    panel: Panel,
    *,
    cluster: ClusterChoice,
    outcome: Outcome = "trade",
    strata: Sequence[str] = STRATA,
    controls: Sequence[str] | None = None,
    options: CurveOptions = DEFAULT_CURVE,
) -> EntrantSurvival:
    """Compare how long entrants with and without a mission stay, matched at entry, beside the unconditional effects.

    Entrants are selected by having entered, and a mission changes who enters. The comparison is therefore no effect;
    beside it stand effects that need no such selection, and bounds for those who would enter either way.

    Parameters
    ----------
    panel : with trade, or affiliates, and missions
    cluster : of the errors, such as "firm"
    outcome : "trade" or "fdi"
    strata : columns at t-1 within which arms are compared: country group x mission year x size. Treated entrants
        without another entrant in their stratum are left out, and counted
    controls : of the unconditional effects; None compares within the sampling weights only
    options : of the curves

    Raises
    ------
    NoParticipantError
        If no entrant went on a mission, or none has another entrant in its stratum.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> found = mi.entrant_survival(panel, cluster="firm")
    >>> list(found.comparison.columns)
    ['group', 'scale', 'year', 'estimate', 'std_error', 'conf_low', 'conf_high', 'reason']
    """
    risk = entrant_risk_set(panel, outcome=outcome)
    design = stratify(risk, strata)
    curve = survival_curve(design, cluster=cluster, options=options)
    try:
        ratio: Effect | None = market_exit(design, cluster=cluster, controls=None)
        failed: tuple[str, ...] = ()
    except MissieError as error:
        ratio, failed = None, (f"no hazard ratio: {str(error).split('. ')[0]}",)
    made = entering(panel, outcome, cluster, controls)
    unconditional, absent = unconditional_effects(panel, made, outcome, cluster, controls)
    stayed = _stayed(follow(design, cluster=cluster), options)
    notes = (
        f"{SELECTED}: who enters after a mission need not be who would enter without one",
        f"{design.n_kept} of {design.n_treated} treated entrants have another entrant in their stratum "
        f"({', '.join(strata)}); controls are weighted to them, weights taken as known",
        "a spell ends with market exit or death of the firm; spells begin in t+1 or later",
        "bounds: if a mission keeps nobody from entering, and the share who would enter anyway is the same in all "
        "strata; the interval, from conf_low of the lowest to conf_high of the highest, holds the difference itself",
        *failed,
        *absent,
    )
    return EntrantSurvival(
        curve=replace(curve, design=f"{curve.design}; {SELECTED}", notes=(notes[0], *curve.notes)),
        comparison=_differences(stayed, options),
        hazard_ratio=None if ratio is None else replace(ratio, design=f"{ratio.design}; {SELECTED}"),
        unconditional=unconditional,
        bounds=always_entrant_bounds(stayed, made, cluster, options.conf_level),
        notes=notes,
        simulated=risk.simulated,
    )


def stratify(risk: RiskSet, strata: Sequence[str] = STRATA) -> Stratified:
    """Weight untreated units so that they are spread over strata as the treated are.

    Raises
    ------
    NoParticipantError
        If nobody is treated, or no stratum holds both arms.
    """
    absent = [column for column in strata if column not in risk.columns]
    if absent:
        raise SchemaError(f"strata {absent} are not in the risk set; it holds {risk.columns}.")
    keys = [c for c in (risk.roles.firm, risk.roles.market, risk.roles.year) if c is not None]
    frame = risk.collect(list(dict.fromkeys([*keys, risk.roles.treatment, *strata])))
    treated = frame[risk.roles.treatment].to_numpy(dtype=np.float64) == 1.0
    units = ~frame.duplicated(keys).to_numpy(dtype=bool)
    stratum = frame.groupby(list(strata), sort=False, dropna=False, observed=True).ngroup().to_numpy()
    n = int(stratum.max()) + 1
    one = np.bincount(stratum[units & treated], minlength=n)
    zero = np.bincount(stratum[units & ~treated], minlength=n)
    share = np.where((one > 0) & (zero > 0), one / np.maximum(zero, 1), 0.0)
    weight = np.where(treated, (zero > 0)[stratum], share[stratum]).astype(np.float64)
    if not weight.any():
        raise NoParticipantError(
            f"expected treated and other units within strata of {list(strata)}, found none: {int(one.sum())} treated "
            f"and {int(zero.sum())} others share no stratum."
        )
    return Stratified(risk, weight, tuple(strata), int(one.sum()), int(one[zero > 0].sum()))


def _stayed(followed: Followed, options: CurveOptions) -> Stayed:
    """Survival of both arms (Kaplan-Meier) after the years that are shown, and what each row adds to it."""
    arms = dict(followed.arms(followed.there))
    last = min(float(followed.stop[positions].max()) for positions in arms.values())
    years = tuple(year for year in YEARS if year <= last)
    happened = followed.rows.y.astype(np.intp)
    values, columns = [], []
    for name in ("treated", "untreated"):
        arm = arm_of(followed, arms[name], replace(options, times=tuple(float(y) for y in years)), cause=happened)
        place = np.searchsorted(arm.curves.time, arm.time, side="right")
        values.append(np.concatenate([[1.0], arm.curves.survival])[place])
        columns += [(arm.positions, added(followed, arm, 1, float(t))) for t in arm.time]
    return Stayed(years, np.concatenate(values), columns, followed)


def _differences(stayed: Stayed, options: CurveOptions) -> pd.DataFrame:
    """Survival of both arms and their difference, with joint errors."""
    covariance = joint_covariance(stayed.followed, stayed.columns)
    n = len(stayed.years)
    unit = np.eye(n)
    select = np.block([[unit, 0 * unit], [0 * unit, unit], [unit, -unit]])
    value = select @ stayed.value
    error = np.sqrt(np.maximum(np.diag(select @ covariance @ select.T), 0.0))
    error = np.where(error > 0, error, np.nan)
    low, high = interval_of(value, error, options.quantile, options.interval)
    low[2 * n :], high[2 * n :] = (value[2 * n :] + sign * options.quantile * error[2 * n :] for sign in (-1, 1))
    scales = np.repeat(["survival_with", "survival_without", "survival_difference"], n)
    return pd.DataFrame(
        {"group": "all", "scale": scales, "year": np.tile(stayed.years, 3), "estimate": value, "std_error": error,
         "conf_low": low, "conf_high": high, "reason": ""}
    )  # fmt: skip
