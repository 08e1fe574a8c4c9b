"""What happens to a unit of a trial after t: its next listed mission and its activity, year by year."""

from __future__ import annotations

from dataclasses import replace

import narwhals as nw

from missie_impact.errors import SettingsError
from missie_impact.panel import Panel
from missie_impact.risksets import trials
from missie_impact.risksets.riskset import RiskSet

NEXT_MISSION = "next_mission"


def with_later_missions(risk: RiskSet, panel: Panel, *, years: int = 3) -> RiskSet:
    """Add the years from t to the unit's next listed mission, and whether it exports in t, t+1, ...

    Parameters
    ----------
    risk : transition risk set made from the panel
    years : how far to look

    Returns
    -------
    RiskSet
        With next_mission (1 .. years, null if none) and active_0 .. active_<years - 1> (0 or 1). None of them may be
        looked at by a design: they lie after t.
    """
    if risk.question != "transition":
        raise SettingsError(f"expected a transition risk set, found one of {risk.question!r}.")
    unit = trials.FIRM if risk.roles.market is None else trials.PAIR
    missions = trials.went(panel, unit).select(*unit, mission_year="year")
    ahead = risk.rows.select(*unit, "year").join(missions, on=unit, how="inner")
    ahead = ahead.with_columns(next_mission=nw.col("mission_year") - nw.col("year"))
    first = ahead.filter(nw.col(NEXT_MISSION).is_between(1, years)).group_by(*unit, "year").agg(
        nw.col(NEXT_MISSION).min()
    )  # fmt: skip
    rows = risk.rows.join(first, on=[*unit, "year"], how="left")
    active = panel.activity("firm" if unit == trials.FIRM else "market", panel.definitions.transition_flow)
    names = [f"active_{k}" for k in range(years)]
    for k, name in enumerate(names):
        then = active.select(*unit, nw.col("year").cast(nw.Int64) - k)
        rows = trials.flag(rows, then, [*unit, "year"], name)
    stored = panel.engine.store(rows, "transition_later")
    return replace(risk, rows=stored, after_columns=(*risk.after_columns, NEXT_MISSION, *names))
