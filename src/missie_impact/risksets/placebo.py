"""Placebo trials: missions some years before they took place, or in markets they did not visit.

At the placebo date a mission could do nothing yet; in another market it could do something only by spilling over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import narwhals as nw

from missie_impact.errors import NoParticipantError, SettingsError
from missie_impact.flow import FlowStep
from missie_impact.panel import Panel
from missie_impact.registers.engine import Lazy, distinct
from missie_impact.risksets import trials
from missie_impact.risksets.entry import entry_risk_set
from missie_impact.risksets.exit import exit_risk_set
from missie_impact.risksets.riskset import RiskSet
from missie_impact.risksets.transition import transition_risk_set

PlaceboQuestion = Literal["transition", "exit", "entry"]


def placebo_risk_set(panel: Panel, question: PlaceboQuestion = "transition", *, lag: int | None = None) -> RiskSet:
    """Make the trials of a question at the placebo date p = t - lag of missions in t.

    Status, controls and eligibility are those at the end of p-1; outcomes end at t-1, before the mission. In both arms
    the firm is in the register at t-1, and has no listed mission from p-3 to t-1.

    Parameters
    ----------
    lag : years from the placebo date to the mission; None: the fewest whose outcomes end at t-1

    Returns
    -------
    RiskSet
        As that of the question, ``year`` being the placebo date.

    Raises
    ------
    SettingsError
        If the outcome would reach into t.
    NoParticipantError
        If no mission leaves a placebo date within the data.
    """
    if question not in get_args(PlaceboQuestion):
        raise SettingsError(f"question: expected one of {list(get_args(PlaceboQuestion))}, found {question!r}.")
    fewest = _fewest(panel, question)
    lag = fewest if lag is None else lag
    if lag < fewest:
        raise SettingsError(f"lag: expected at least {fewest} years, so that outcomes end before t, found {lag}.")
    moved = _moved(panel, question, lag)
    if question == "transition":
        made = transition_risk_set(moved)
    else:
        made = exit_risk_set(moved) if question == "exit" else entry_risk_set(moved)
    existing = _existing(made, panel, lag)
    stored = panel.engine.store(existing, f"placebo_{question}")
    n_rows = panel.engine.count(stored)
    if panel.engine.count(stored.filter(nw.col("treated") == 1)) == 0:
        raise NoParticipantError(f"no mission leaves a placebo date {lag} years before it in the data.")
    step = FlowStep(f"placebo {lag} years before t; firm in the register at t-1", n_rows)
    return replace(made, rows=stored, n_rows=n_rows, flow=made.flow.then(step))


def placebo_market_risk_set(
    panel: Panel, question: PlaceboQuestion = "transition", *, controls_per_treated: int = 10
) -> RiskSet:
    """Make the trials of pairs whose firm goes on a mission in t, but to another market.

    The rows are those of the question at the level of the pair, in markets that host some mission in t. Treated: the
    firm goes on a listed mission in t and not to this market. Pairs of the mission itself are left out. In both arms
    the firm had no listed mission to this market in t-3..t-1, nor to another in a year in which this one was a host.

    Parameters
    ----------
    question : "transition" (firm x market), "exit" or "entry"
    controls_per_treated : of entry, as in `entry_risk_set`

    Raises
    ------
    NoParticipantError
        If in no mission year there is a host that the participants do not visit.
    """
    if question not in get_args(PlaceboQuestion):
        raise SettingsError(f"question: expected one of {list(get_args(PlaceboQuestion))}, found {question!r}.")
    listed = panel.supports.filter(nw.col("listed"))
    shifted = replace(panel, linkage=replace(panel.linkage, supports=_everywhere(panel, listed)))
    if question == "transition":
        made = transition_risk_set(shifted, level="market")
    elif question == "exit":
        made = exit_risk_set(shifted)
    else:
        made = entry_risk_set(shifted, controls_per_treated=controls_per_treated)
    visited = distinct(listed.select(*trials.PAIR, nw.col("year").cast(nw.Int64)))
    rest = made.rows.join(visited, on=[*trials.PAIR, "year"], how="anti")
    stored = panel.engine.store(rest, f"placebo_markets_{question}")
    n_rows = panel.engine.count(stored)
    n_treated = panel.engine.count(stored.filter(nw.col("treated") == 1))
    if n_treated == 0:
        raise NoParticipantError("expected mission years with a second host, found none whose pairs are in a trial.")
    step = FlowStep("markets that the firm's missions of t do not visit", n_rows, None, n_treated, "pair of a mission")
    before = replace(
        made.flow, steps=tuple(s for s in made.flow.steps if s.table != "listed missions")
    )  # they count hosts, not missions
    return replace(made, rows=stored, n_rows=n_rows, flow=before.then(step))


def _everywhere(panel: Panel, listed: Lazy) -> Lazy:
    """Return the supports, and every listed one again for each other host of its year."""
    elsewhere = listed.drop("market").join(panel.linkage.hosts, on="year", how="inner")
    names = panel.supports.collect_schema().names()
    both = nw.concat([panel.supports, elsewhere.select(*names)])
    return panel.engine.store(both, "placebo_supports")


def _fewest(panel: Panel, question: str) -> int:
    definitions = panel.definitions
    if question == "transition":
        return definitions.outcome_years + (1 if definitions.count_from == "t+1" else 0)
    if question == "entry":
        return definitions.entry_horizon + 1
    return definitions.gap_years + 1  # one year of follow-up, decided by t-1


def _moved(panel: Panel, question: str, lag: int) -> Panel:
    """Return the panel with its listed missions ``lag`` years earlier, and a washout that reaches back as far."""
    definitions = panel.definitions
    changed = definitions.replace(washout=definitions.washout + lag)
    if question == "exit":
        changed = changed.replace(exit_horizon=min(definitions.exit_horizon, lag - definitions.gap_years))
    linkage, year = panel.linkage, nw.col("year")
    earlier = nw.when(nw.col("listed")).then(year - lag).otherwise(year)
    first = None if linkage.first_year is None else linkage.first_year - lag
    moved = replace(
        linkage,
        supports=linkage.supports.with_columns(year=earlier),
        hosts=linkage.hosts.with_columns(year=year - lag),
        first_year=first,
    )
    return replace(panel, definitions=changed, linkage=moved)


def _existing(risk: RiskSet, panel: Panel, lag: int) -> Lazy:
    """Rows whose firm is in the register at t-1, of placebo dates whose missions the list still covers."""
    last = panel.collect(panel.linkage.hosts.select(nw.col("year").max()), [])["year"].iloc[0]
    before = nw.col("year") + lag - 1
    life = panel.life.select("firm", "ended", gone="lost_year")
    joined = risk.rows.join(life, on="firm", how="left")
    alive = ~((nw.col("ended") <= before).fill_null(False) | (nw.col("gone") <= before).fill_null(False))
    kept = joined.filter(alive & (nw.col("year") + lag <= int(last)))
    return kept.drop("ended", "gone")
