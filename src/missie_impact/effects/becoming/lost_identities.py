"""Firms whose identity is lost before the outcome is seen: left out, weighted for, and bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.display import html_table
from missie_impact.effects.becoming.nuisance import Logit, fit_logit
from missie_impact.effects.becoming.transition import structural_transition
from missie_impact.effects.fitting.censoring import (
    Censoring,
    Weighted,
    staying_weights,
    unit_years,
    with_estimated_weights,
)
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, FitOptions, Task, put_together
from missie_impact.effects.fitting.groups import estimate_group, flow_of
from missie_impact.effects.fitting.model import variable_on
from missie_impact.effects.fitting.rows import ClusterChoice, Group, Request, Rows, read_rows
from missie_impact.effects.fitting.standardise import risk_scales
from missie_impact.effects.result import Effect
from missie_impact.errors import NoEventError, SchemaError
from missie_impact.numerics.design import Column, Design, Factor, build_design
from missie_impact.risksets.riskset import RiskSet
from missie_impact.risksets.transition import IDENTITY_LOST

Positions = NDArray[np.intp]

METHOD = "inverse probability of keeping the identity"


@dataclass(frozen=True, slots=True)
class LostIdentities:
    """An effect under four readings of the firms whose identity is lost.

    Attributes
    ----------
    left_out : the headline: rows with a lost identity left out
    weighted : those who keep their identity stand for those who do not, given the controls
    lowest : no treated row that is lost has the outcome, and every other lost row has it
    highest : the reverse
    n_lost_treated, n_lost_untreated : rows with a lost identity

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 20 + [1] * 20, "structural": [1, 0, 0, 0, 0] * 4 + [1, 0] * 10})
    >>> table["identity_lost"] = [2 if row in (1, 21) else None for row in range(40)]
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> mi.lost_identities(risk, cluster=None, controls=None).n_lost_treated
    1
    """

    left_out: Effect
    weighted: Effect
    lowest: Effect
    highest: Effect
    n_lost_treated: int
    n_lost_untreated: int

    def tidy(self) -> pd.DataFrame:
        """Return the rows of the four effects under each other, ``reading`` first."""
        named = {"left_out": self.left_out, "weighted": self.weighted, "lowest": self.lowest, "highest": self.highest}
        tables = [effect.tidy().assign(reading=name) for name, effect in named.items()]
        table = pd.concat(tables, ignore_index=True)
        table.insert(0, "reading", table.pop("reading"))
        return table

    def _repr_html_(self) -> str:
        shown = self.tidy()[["reading", "scale", "estimate", "conf_low", "conf_high", "n_rows", "n_treated", "reason"]]
        notes = [f"identity lost: {self.n_lost_treated:,} treated rows, {self.n_lost_untreated:,} others"]
        return html_table(shown, title="Lost identities", notes=notes)


def lost_identities(
    risk: RiskSet,
    *,
    cluster: ClusterChoice,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    lost: str = IDENTITY_LOST,
    options: FitOptions = DEFAULT_OPTIONS,
) -> LostIdentities:
    """Estimate becoming structural with lost identities left out, weighted for, and at both extremes.

    Parameters
    ----------
    risk : from ``transition_risk_set(panel, lost="keep")``, or an own table with the column ``lost``
    cluster, controls, options : as in :func:`structural_transition`; the controls, the treatment and the year after t
        are also in the model of losing an identity
    lost : column with the years from t to the loss, missing where the identity is kept

    Returns
    -------
    LostIdentities
        Scales of :func:`structural_transition` over the treated. Errors of ``weighted`` include the estimation of the
        weights. ``lowest`` and ``highest`` are sharp without any assumption about who is lost.

    Raises
    ------
    SchemaError
        If the column is absent.
    NoEventError
        If no treated row, or no other, keeps its identity.

    References
    ----------
    Horowitz and Manski (2000), Journal of the American Statistical Association 95, 77-84 (bounds); Robins and
    Finkelstein (2000), Biometrics 56, 779-788 (weights).

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 20 + [1] * 20, "structural": [1, 0, 0, 0, 0] * 4 + [1, 0] * 10})
    >>> table["identity_lost"] = [2 if row in (1, 21) else None for row in range(40)]
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> found = mi.lost_identities(risk, cluster=None, controls=None)
    >>> found.tidy().query("scale == 'risk_difference'")["estimate"].round(2).tolist()
    [0.32, 0.32, 0.25, 0.35]
    """
    if lost not in risk.columns:
        raise SchemaError(
            f"column `{lost}`: expected years to the loss of identity; "
            'make the risk set by transition_risk_set(panel, lost="keep"), or name the column.'
        )
    always = tuple(c for c in (risk.roles.year,) if c is not None and risk.design == "trials")
    request = Request(controls, always, None, None, (cluster,), None, options.correction)
    rows = read_rows(risk, request)
    ahead = pd.to_numeric(risk.collect([lost])[lost], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    gone = np.isfinite(ahead)
    if any(gone[arm].all() for arm in (rows.treated, ~rows.treated)):
        raise NoEventError("every identity of one arm is lost: nobody is left to stand for them.")
    seen = replace(risk, rows=risk.rows.filter(nw.col(lost).is_null()), n_rows=int((~gone).sum()))
    plain = partial(structural_transition, cluster=cluster, controls=controls, options=options)
    left_out = plain(seen)
    return LostIdentities(
        left_out,
        _weighted(risk, rows, np.where(gone, ahead, np.inf), request, options) if gone.any() else left_out,
        plain(_outcome_of_lost(risk, lost, treated=0)),
        plain(_outcome_of_lost(risk, lost, treated=1)),
        int((gone & rows.treated).sum()),
        int((gone & ~rows.treated).sum()),
    )


def _outcome_of_lost(risk: RiskSet, lost: str, *, treated: int) -> RiskSet:
    """Give lost rows of the treated one outcome, and those of the others the other."""
    roles = risk.roles
    extreme = nw.when(nw.col(roles.treatment) == 1).then(nw.lit(treated)).otherwise(nw.lit(1 - treated))
    outcome = nw.when(nw.col(lost).is_null()).then(nw.col(roles.outcome)).otherwise(extreme).cast(nw.Int64)
    return replace(risk, rows=risk.rows.with_columns(outcome.alias(roles.outcome)))


def _weighted(risk: RiskSet, rows: Rows, ahead: NDArray[np.float64], request: Request, options: FitOptions) -> Effect:
    everybody = np.ones(rows.n, dtype=bool)
    unit, year = unit_years(ahead, everybody, int(ahead[np.isfinite(ahead)].max()))
    goes = (ahead[unit] == year).astype(np.float64)
    stays = np.isinf(ahead)
    known = _design(rows, unit, year)
    moved = tuple(None if w is None else w[unit] for w in (rows.frequency, rows.probability))
    weights = (moved[0], moved[1])
    models: tuple[tuple[Logit, Design, float], ...] = ((fit_logit(goes, known, weights), known, 1.0),)
    weight = np.where(stays, staying_weights(models, unit, stays), 0.0)
    source = Weighted(risk, weight, METHOD)
    weighed = read_rows(source, request)
    shown = partial(risk_scales, population="treated")
    result, fitted, _ = estimate_group(weighed, Group("all", everybody), "logit", shown)
    result = with_estimated_weights(result, fitted, Censoring(unit, goes, models, stays, weights))
    task = Task("becoming structural", "logit", "logit, weighted for lost identities", "treated", shown)
    effect = put_together(source, weighed, (result,), task, options, flow_of(risk.flow, fitted))
    kept = weight[stays]
    note = f"weights for lost identities: mean {kept.mean():.3f}, largest {kept.max():.2f}"
    return replace(effect, notes=(note, *effect.notes))


def _design(rows: Rows, unit: Positions, year: Positions) -> Design:
    """Year after t, treatment and controls of each unit-year; what does not vary there is left out."""
    made = [variable_on(v, unit) for v in rows.variables]
    factors = [v for v in made if isinstance(v, Factor)]
    if len(np.unique(year)) > 1:
        factors.insert(0, Factor("year after t", year - 1, tuple(str(k) for k in range(1, int(year.max()) + 1))))
    columns = [v for v in made if isinstance(v, Column)]
    columns.append(Column(rows.treatment, rows.treated[unit].astype(np.float64)))
    return build_design(factors, columns, n_rows=len(unit))
