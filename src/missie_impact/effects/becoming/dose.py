"""Repeated participation as a dose: one, two, three or more listed missions against none, and a trend.

Missions in one year are one decision and part of the treatment in t; earlier ones are history. The doses are compared
with the same untreated units, each on its own, so a firm that goes often is not assumed to gain in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.display import html_table
from missie_impact.effects.becoming.transition import structural_transition
from missie_impact.effects.compare import adjusted, wald
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, FitOptions
from missie_impact.effects.fitting.rows import ClusterChoice
from missie_impact.effects.result import Effect, inference, is_ratio
from missie_impact.errors import MissingValueError, SchemaError, SettingsError
from missie_impact.panel import Panel
from missie_impact.registers.engine import distinct
from missie_impact.risksets import trials
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
DOSE, CLASS = "missions", "dose"
Counted = Literal["in_t", "up_to_t"]


@dataclass(frozen=True, slots=True, eq=False)
class DoseEffect:
    """Effects of each dose against none, and their trend.

    Made by :func:`dose_effect`.

    Attributes
    ----------
    effect : groups ``dose=1``, ``dose=2``, ... each against all untreated rows; all scales
    scale : on which the trend is tested; ratios in logs
    slope, std_error, conf_low, conf_high : change per further mission over the classes, by generalised least squares
        on the estimates of the classes with their joint covariance
    p_value : of no change per further mission
    p_heterogeneity : of equal effects of all classes
    notes : what a reader must know
    """

    effect: Effect
    scale: str
    slope: float
    std_error: float
    conf_low: float
    conf_high: float
    p_value: float
    p_heterogeneity: float
    notes: tuple[str, ...] = ()

    def tidy(self) -> pd.DataFrame:
        """Return the effect of each class on the scale, with p values adjusted for their number (Holm)."""
        table = self.effect.tidy()
        table = table[(table["scale"] == self.scale) & (table["group"] != "all")].reset_index(drop=True)
        return table.assign(adjusted_p_value=adjusted(table["p_value"].to_numpy(dtype=np.float64)))

    def __repr__(self) -> str:
        return f"DoseEffect({len(self.tidy())} classes, trend on {self.scale}: p = {self.p_value:.3g})"

    def _repr_html_(self) -> str:
        trend = f"trend per further mission {self.slope:.4g} ({self.conf_low:.4g} to {self.conf_high:.4g}), p "
        notes = (f"{trend}{self.p_value:.4g}; ratios in logs", *self.notes)
        return html_table(self.tidy(), title="Effect by dose", notes=notes, simulated=self.effect.simulated)


def dose_effect(
    risk: RiskSet,
    *,
    cluster: ClusterChoice,
    panel: Panel | None = None,
    counted: Counted = "in_t",
    column: str = DOSE,
    scale: str = "odds_ratio",
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    options: FitOptions = DEFAULT_OPTIONS,
) -> DoseEffect:
    """Estimate the effect of one, two, three or more missions against none, and test a trend.

    Parameters
    ----------
    risk : transition risk set, or an own table with the number of missions in ``column``
    panel : the panel of the risk set, to count missions; not for an own table
    counted : "in_t": listed missions in t, to whatever market; "up_to_t": with those before t, which are history and
        make repeat participants of the treated only: an association
    scale : on which the trend is tested
    cluster, controls, options : as in :func:`structural_transition`

    Raises
    ------
    SchemaError
        If the number of missions is not known.
    SettingsError
        If fewer than two classes have an estimate: there is no trend then.

    References
    ----------
    Greenland and Longnecker (1992), American Journal of Epidemiology 135, 1301-1309: trend from correlated classes.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"missions": [0, 1, 2] * 20})
    >>> table["structural"] = [0] * 24 + [0, 0, 1] * 4 + [0, 1, 1] * 4 + [1] * 12
    >>> table["went"] = (table["missions"] > 0).astype(int)
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> found = mi.dose_effect(risk, cluster=None, controls=None)
    >>> [round(found.effect.effect("odds_ratio", group=dose).estimate, 2) for dose in ("dose=1", "dose=2")]
    [2.67, 6.0]
    """
    if counted not in ("in_t", "up_to_t"):
        raise SettingsError(f"counted: expected 'in_t' or 'up_to_t', found {counted!r}.")
    risk = _with_classes(risk if panel is None else count_missions(risk, panel, counted), column)
    effect = structural_transition(risk, cluster=cluster, controls=controls, by=CLASS, options=options)
    classes = [g for g in effect.groups if g.group.startswith(f"{CLASS}=")]
    position, width = effect.scales.index(scale) if scale in effect.scales else -1, len(effect.scales)
    if position < 0:
        raise SettingsError(f"no scale {scale!r}: expected one of {list(effect.scales)}.")
    kept = [g for g in classes if np.isfinite(g.values[position])]
    if len(kept) < 2:
        raise SettingsError(f"a trend needs two classes with an estimate, found {len(kept)} of {len(classes)}.")
    index = [effect.groups.index(g) * width + position for g in kept]
    matrix = effect.across[effect.vcov][np.ix_(index, index)]
    values = np.array([g.values[position] for g in kept])
    theta = np.log(values) if is_ratio(scale) else values
    dose = np.array([float(g.group.partition("=")[2].rstrip("+")) for g in kept])
    slope, error, heterogeneity = _trend(theta, matrix, dose)
    _, _, p, low, high = inference(slope, error, np.inf, options.conf_level)
    note = {"in_t": "missions in t", "up_to_t": "missions up to t: those before t are history, an association"}[counted]
    return DoseEffect(effect, scale, slope, error, low, high, p, heterogeneity, (note, *effect.notes))


def count_missions(risk: RiskSet, panel: Panel, counted: Counted = "in_t") -> RiskSet:
    """Add ``missions``: listed missions of the unit in t (or up to t); 0 for the untreated of a trial in t."""
    unit = trials.FIRM if risk.roles.market is None else trials.PAIR
    listed = panel.supports.filter(nw.col("listed")).with_columns(mission_year=nw.col("year").cast(nw.Int64))
    listed = distinct(listed.select(*unit, "mission_year", "mission", place="market"))
    joined = risk.rows.select(*unit, "year").join(listed, on=unit, how="inner")
    when = nw.col("mission_year") == nw.col("year") if counted == "in_t" else nw.col("mission_year") <= nw.col("year")
    number = joined.filter(when).group_by(*unit, "year").agg(nw.len().cast(nw.Int64).alias(DOSE))
    rows = risk.rows.join(number, on=[*unit, "year"], how="left").with_columns(
        nw.when(nw.col("treated") == 1).then(nw.col(DOSE).fill_null(1)).otherwise(0).cast(nw.Int64).alias(DOSE)
    )
    return replace(risk, rows=panel.engine.store(rows, "doses"))


def _with_classes(risk: RiskSet, column: str) -> RiskSet:
    """Add the class of the dose: 1, 2, 3+ for the treated, missing for the others, who are compared with all."""
    if column not in risk.columns:
        raise SchemaError(f"column `{column}`: expected the number of missions; give panel=, or name the column.")
    frame = risk.collect([column, risk.roles.treatment])
    treated = frame[risk.roles.treatment].to_numpy(dtype=np.float64) == 1.0
    number = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = int(np.count_nonzero(treated & ~(number >= 1))) + int(np.count_nonzero(~treated & (number > 0)))
    if wrong:
        raise MissingValueError(
            f"column `{column}`: expected at least one mission for the treated and none for the others, found {wrong} "
            "rows that differ."
        )
    count = nw.col(column)
    more = nw.when(count == 2).then(nw.lit("2")).otherwise(nw.when(count > 2).then(nw.lit("3+")))
    named = nw.when(count == 1).then(nw.lit("1")).otherwise(more)
    return replace(risk, rows=risk.rows.with_columns(named.alias(CLASS)))


def _trend(theta: Floats, matrix: Floats, dose: Floats) -> tuple[float, float, float]:
    """Slope over the classes, its error, and the p value of equal effects."""
    x = np.column_stack([np.ones(len(dose)), dose])
    inverse = np.linalg.pinv(matrix)
    spread = np.linalg.inv(x.T @ inverse @ x)
    coef = spread @ x.T @ inverse @ theta
    return float(coef[1]), float(np.sqrt(spread[1, 1])), wald(theta, matrix)[2]
