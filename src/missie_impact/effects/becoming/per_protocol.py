"""Per protocol: a mission in t against none in t..t+3. Untreated units that go later are censored then, and weighted.

The headline leaves later missions as they fall. Here the untreated world is one without any: a control counts until its
later mission, and those who stay without one stand for the censored through the inverse probability of staying so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.becoming.nuisance import Logit, fit_logit
from missie_impact.effects.fitting.censoring import (
    Censoring,
    Weighted,
    staying_weights,
    unit_years,
    with_estimated_weights,
)
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, AlsoCluster, FitOptions, Task, put_together
from missie_impact.effects.fitting.groups import estimate_group, flow_of
from missie_impact.effects.fitting.model import variable_on
from missie_impact.effects.fitting.rows import ClusterChoice, Group, Request, Rows, read_rows
from missie_impact.effects.fitting.standardise import risk_scales
from missie_impact.effects.result import Effect
from missie_impact.errors import NoEventError, SchemaError, SettingsError
from missie_impact.numerics.design import Column, Design, Factor, build_design
from missie_impact.panel import Panel
from missie_impact.risksets.later import NEXT_MISSION, with_later_missions
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How later missions are censored.

    Attributes
    ----------
    years : t+1 .. t+years are watched
    later : column with the years from t to the next mission, missing or beyond ``years`` where there is none
    history : name -> one column per year watched, known at the end of the year before; None takes activity from the
        panel, and nothing from an own table
    stabilised : divide by the probability given the controls alone, so that weights correct for the history only
    truncate : None keeps all weights; a share such as 0.99 cuts them at that quantile, which trades bias for variance

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 20 + [1] * 20, "structural": [1, 0, 0, 0, 0] * 4 + [1, 0] * 10})
    >>> table["later"] = [2 if row in (0, 1, 2, 6, 12) else None for row in range(40)]
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> found = mi.per_protocol(risk, cluster=None, controls=None, protocol=mi.Protocol(years=1, later="later"))
    >>> round(found.effect("risk_without").estimate, 2)
    0.2
    """

    years: int = 3
    later: str = NEXT_MISSION
    history: Mapping[str, Sequence[str]] | None = None
    stabilised: bool = False
    truncate: float | None = None

    def __post_init__(self) -> None:
        if self.years < 1 or (self.truncate is not None and not 0.5 < self.truncate < 1):
            raise SettingsError("protocol: expected at least one year, and a quantile to truncate at above 0.5.")
        wrong = [name for name, columns in (self.history or {}).items() if len(columns) != self.years]
        if wrong:
            raise SettingsError(f"history {wrong}: expected one column for each of {self.years} years.")


DEFAULT_PROTOCOL = Protocol()
METHOD = "inverse probability of staying without a later mission"


def per_protocol(
    risk: RiskSet,
    *,
    cluster: ClusterChoice,
    panel: Panel | None = None,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    protocol: Protocol = DEFAULT_PROTOCOL,
    also_cluster: AlsoCluster = (),
    options: FitOptions = DEFAULT_OPTIONS,
) -> Effect:
    """Estimate a mission in t against no mission in t..t+3, by weights for later missions of the untreated.

    Parameters
    ----------
    risk : transition risk set, or an own table with the column ``protocol.later``
    panel : the panel of the risk set, for later missions and the activity between; not for an own table
    controls : of the outcome and of the probability to go later, beside year after t and history
    protocol : years watched, history, stabilising, truncation
    cluster, also_cluster, options : as in :func:`structural_transition`

    Returns
    -------
    Effect
        Scales of :func:`structural_transition` over the treated. Errors include the estimation of the weights;
        ``with_vcov("firm, fixed weights")`` takes these as known.

    Raises
    ------
    SchemaError
        If the later missions are not known.
    NoEventError
        If everybody untreated goes later.

    References
    ----------
    Robins and Finkelstein (2000), Biometrics 56, 779-788; Hernan and Robins (2020), chapters 12 and 22.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 20 + [1] * 20, "structural": [1, 0, 0, 0, 0] * 4 + [1, 0] * 10})
    >>> table["next_mission"] = [2 if row in (0, 1, 2, 6, 12) else None for row in range(40)]
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> found = mi.per_protocol(risk, cluster=None, controls=None)
    >>> round(found.effect("risk_with").estimate, 2)
    0.5
    """
    if panel is not None:
        risk = with_later_missions(risk, panel, years=protocol.years)
        if protocol.history is None:
            protocol = replace(protocol, history={"active": tuple(f"active_{k}" for k in range(protocol.years))})
    if protocol.later not in risk.columns:
        raise SchemaError(f"column `{protocol.later}`: expected years to the next mission; give panel=, or name it.")
    always = tuple(c for c in (risk.roles.year,) if c is not None and risk.design == "trials")
    request = Request(controls, always, None, None, (cluster, *also_cluster), None, options.correction)
    plain = read_rows(risk, request)
    censoring, weight, notes = _weights(risk, plain, protocol)
    rows = read_rows(Weighted(risk, weight, METHOD), request)
    everything = Group("all", np.ones(rows.n, dtype=bool))
    result, fitted, _ = estimate_group(rows, everything, "logit", partial(risk_scales, population="treated"))
    result = with_estimated_weights(result, fitted, censoring)
    task = Task(
        "becoming structural, no later mission", "logit", "logit, weighted for censoring", "treated",
        partial(risk_scales, population="treated"),
    )  # fmt: skip
    effect = put_together(Weighted(risk, weight, METHOD), rows, (result,), task, options, flow_of(risk.flow, fitted))
    return replace(effect, notes=(*notes, *effect.notes))


def _weights(risk: RiskSet, rows: Rows, protocol: Protocol) -> tuple[Censoring, Floats, tuple[str, ...]]:
    """Fit who goes later, year by year, and weigh those who do not."""
    history = dict(protocol.history or {})
    frame = risk.collect([protocol.later, *(c for columns in history.values() for c in columns)])
    ahead = pd.to_numeric(frame[protocol.later], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    ahead = np.where((ahead >= 1) & (ahead <= protocol.years), ahead, np.inf)
    unit, year = unit_years(ahead, ~rows.treated, protocol.years)
    goes = (ahead[unit] == year).astype(np.float64)
    stays = ~rows.treated & np.isinf(ahead)
    if not stays.any():
        raise NoEventError("every untreated unit has a later mission: nobody is left to compare with.")
    moved = tuple(None if w is None else w[unit] for w in (rows.frequency, rows.probability))
    weighting: tuple[Floats | None, Floats | None] = (moved[0], moved[1])
    models: list[tuple[Logit, Design, float]] = []
    if goes.any():
        known = _unit_year_design(rows, unit, year, frame, history)
        models.append((fit_logit(goes, known, weighting), known, 1.0))
        if protocol.stabilised:
            if not history:
                raise SettingsError("stabilised weights without a history are all one: name history=, or give panel=.")
            plain = _unit_year_design(rows, unit, year, frame, {})
            models.append((fit_logit(goes, plain, weighting), plain, -1.0))
    weight = np.where(rows.treated, 1.0, np.where(stays, staying_weights(models, unit, stays), 0.0))
    free = stays.copy()
    if protocol.truncate is not None:
        most = float(np.quantile(weight[stays], protocol.truncate))
        free &= weight <= most
        weight = np.where(stays, np.minimum(weight, most), weight)
    return Censoring(unit, goes, tuple(models), free, weighting), weight, _notes(rows, stays, weight, protocol)


def _unit_year_design(
    rows: Rows, unit: Positions, year: Positions, frame: pd.DataFrame, history: Mapping[str, Sequence[str]]
) -> Design:
    """Year after t, controls, and the history known at the end of the year before."""
    levels = tuple(str(k) for k in range(1, int(year.max()) + 1))
    made: list[Factor | Column | None] = [variable_on(v, unit) for v in rows.variables]
    for name, columns in history.items():
        table = frame[list(columns)]
        missing = int(table.isna().any(axis=1).sum())
        if missing:
            raise SchemaError(f"history `{name}`: expected numbers in every row, found {missing} rows without one.")
        values = table.to_numpy(dtype=np.float64)[unit, year - 1]
        made.append(None if values.min() == values.max() else Column(f"{name}, year before", values))
    factors = [v for v in made if isinstance(v, Factor)]
    after = [Factor("year after t", (year - 1).astype(np.intp), levels)] if len(levels) > 1 else []
    return build_design([*after, *factors], [v for v in made if isinstance(v, Column)], n_rows=len(unit))


def _notes(rows: Rows, stays: NDArray[np.bool_], weight: Floats, protocol: Protocol) -> tuple[str, ...]:
    untreated = int((~rows.treated).sum())
    gone, kept = untreated - int(stays.sum()), weight[stays]
    how = "stabilised" if protocol.stabilised else "not stabilised"
    cut = "" if protocol.truncate is None else f", cut at their {protocol.truncate:.1%} quantile"
    return (
        f"a mission in t against none in t..t+{protocol.years}: {gone:,} of {untreated:,} untreated rows censored at a "
        "later mission",
        f"weights {how}{cut}: mean {kept.mean():.3f}, largest {kept.max():.2f}",
    )
