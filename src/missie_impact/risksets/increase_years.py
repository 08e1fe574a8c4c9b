"""Yearly exports of pairs with the year of their first support: rows for group-time effects."""

from __future__ import annotations

from typing import Literal

import narwhals as nw

from missie_impact.errors import SettingsError
from missie_impact.flow import Flow, FlowStep
from missie_impact.panel import Panel
from missie_impact.registers.engine import Lazy, distinct
from missie_impact.risksets import trials
from missie_impact.risksets.riskset import RiskSet, Roles

LOOK_BACK = 3
PAIR, KEY = ["firm", "market"], ["firm", "market", "year"]
LAGS = (1, 2)


def increase_years(panel: Panel, *, treatment: Literal["mission", "support"] = "mission") -> RiskSet:
    """Make firm x market x year rows of exports with the year of the first support.

    Pairs with exports in any of the first three years of the data, in a market that had a listed mission ("mission"),
    so that nobody is chosen by what came after; a pair first supported before there were three years to look back on
    is left out. Support is absorbing: the first counts, later support is part of the effect. Years without trade,
    also after a firm's death, are zero.

    Parameters
    ----------
    treatment : "mission": listed missions to the market; "support": any instrument

    Returns
    -------
    RiskSet
        From the third year of the data on: firm, market, year, exports_eur (the outcome), first_supported (null if
        never), treated (1 from that year on), supported (1 in years with support), exports_eur_lag1, exports_eur_lag2.

    Examples
    --------
    ``group_time_effects(rows, outcome="exports_eur", unit=("firm", "market"), time="year",
    first_treated="first_supported", covariates=("log1p(exports_eur)", "log1p(exports_eur_lag1)"), cluster="firm")``
    """
    if treatment not in ("mission", "support"):
        raise SettingsError(f"treatment: expected 'mission' or 'support', found {treatment!r}.")
    trials.require_participants(panel)
    earliest = trials.usable_years(panel, before=LOOK_BACK, after=0).first
    support = _support(panel, treatment)
    pairs = _pairs(panel, treatment, support.group_by(*PAIR).agg(nw.col("year").min().alias("first_supported")))
    stored = panel.engine.store(pairs, f"increase_years_pairs_{treatment}")
    early = (nw.col("first_supported") < earliest).fill_null(False)
    kept = stored.filter(~early)
    steps = [
        _step(panel, "pairs ever exporting or supported", stored, ""),
        _step(panel, "three years to look back on before the first support", kept, f"supported before {earliest}"),
    ]
    kept = kept.filter(nw.col("based") == 1)
    steps.append(_step(panel, "exports in the first three years", kept, "new to the market: see market_entry"))
    rows = panel.engine.store(_years(kept.drop("based"), panel, support), f"increase_years_{treatment}")
    panel.engine.forget(stored)
    return RiskSet(
        rows=rows, engine=panel.engine, roles=Roles("exports_eur", "treated", "firm", "market", "year"),
        question="increase", design="trials", n_rows=panel.engine.count(rows), after_columns=("supported",),
        definitions=panel.definitions, flow=_flow(panel, steps),
        simulated=panel.registers.settings.simulated is not None,
    )  # fmt: skip


def _support(panel: Panel, treatment: str) -> Lazy:
    if treatment == "mission":
        return trials.went(panel, trials.PAIR).select(*KEY)
    return distinct(panel.supports.select("firm", "market", nw.col("year").cast(nw.Int64)))


def _pairs(panel: Panel, treatment: str, first: Lazy) -> Lazy:
    """Pairs with based (1: exports in the first years) and first_supported."""
    active = panel.activity("market", "export").with_columns(year=nw.col("year").cast(nw.Int64))
    if treatment == "mission":
        active = active.join(distinct(panel.linkage.hosts.select("market")), on="market", how="inner")
    early = nw.col("year") < panel.first_year + LOOK_BACK
    exporting = active.select(*PAIR, based=nw.when(early).then(1).otherwise(0).cast(nw.Int64))
    supported = first.select(*PAIR, based=nw.lit(0).cast(nw.Int64))
    found = nw.concat([exporting, supported]).group_by(*PAIR).agg(nw.col("based").max())
    return found.join(first, on=PAIR, how="left")


def _step(panel: Panel, name: str, pairs: Lazy, reason: str) -> FlowStep:
    treated = pairs.filter(~nw.col("first_supported").is_null())
    firms = panel.engine.count(distinct(pairs.select("firm")))
    return FlowStep(name, panel.engine.count(pairs), firms, panel.engine.count(treated), reason)


def _years(pairs: Lazy, panel: Panel, support: Lazy) -> Lazy:
    first, last = panel.first_year + LOOK_BACK - 1, panel.last_year
    spread = [pairs.with_columns(year=nw.lit(year).cast(nw.Int64)) for year in range(first, last + 1)]
    rows = nw.concat(spread)
    exports = panel.pair_years.select(
        "firm", "market", nw.col("year").cast(nw.Int64), eur=nw.col("exports_cents").cast(nw.Float64) / 100.0
    )
    for lag in (0, *LAGS):
        name = f"exports_eur_lag{lag}" if lag else "exports_eur"
        shifted = exports.select("firm", "market", nw.col("year") + lag, nw.col("eur").clip(0.0).alias(name))
        rows = rows.join(shifted, on=KEY, how="left").with_columns(nw.col(name).fill_null(0.0))
    on = (nw.col("year") >= nw.col("first_supported")).fill_null(False)
    return trials.flag(rows.with_columns(treated=nw.when(on).then(1).otherwise(0).cast(nw.Int64)), support, KEY,
                       "supported")  # fmt: skip


def _flow(panel: Panel, steps: list[FlowStep]) -> Flow:
    return panel.linkage.flow.of("participations").then(
        *panel.flow.of("trade").steps, *Flow(tuple(steps)).of("risk set").steps
    )
