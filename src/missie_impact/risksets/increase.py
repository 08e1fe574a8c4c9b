"""How much more firms export to a market after the support year: pairs with exports before it, or support."""

from __future__ import annotations

from typing import Literal

import narwhals as nw

from missie_impact.definitions import PAIR_CONTROLS
from missie_impact.errors import SettingsError
from missie_impact.panel import Panel
from missie_impact.registers.engine import Lazy, distinct
from missie_impact.risksets import trials
from missie_impact.risksets.covariates import add_country_group, add_pair_covariates, complete_firm_rows
from missie_impact.risksets.riskset import RiskSet, Roles
from missie_impact.risksets.trials import Rule, TrialYears

LOOK_BACK = 4
AGE_CLASS = (
    "age_class"  # of the firm in t, as `log_age`: exports of young firms grow, those of settled ones do not drift
)
AGES_FROM = (5, 10)
KEY = ["firm", "market", "year"]


def increase_risk_set(panel: Panel, *, treatment: Literal["mission", "support"] = "mission") -> RiskSet:
    """Make the pairs whose exports after year t are compared with those in t.

    One row per firm, market and year t: exports in any of t-4..t-1, or treated in t; firm in the register in t; no
    listed mission (or support) to the market in t-3..t-1. Outcome: mean exports of t+1..t+3 minus exports of t, in
    EUR a year; years without trade, also after a firm's death, are zero.

    Parameters
    ----------
    treatment : "mission": listed missions, in the years and markets that had one; "support": any instrument

    Returns
    -------
    RiskSet
        Columns: firm, market, year, treated, outcome, exports_eur_before_4 .. exports_eur_after_3, controls, and
        age_class of the firm in t where the register holds the year of founding.

    Raises
    ------
    NoParticipantError
        If no firm of the register is on any listed mission.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> risk = mi.increase_risk_set(panel)
    >>> risk.collect()["treated"].isin([0, 1]).all().item()
    True
    """
    if treatment not in ("mission", "support"):
        raise SettingsError(f"treatment: expected 'mission' or 'support', found {treatment!r}.")
    trials.require_participants(panel)
    definitions = panel.definitions
    years = trials.usable_years(panel, before=LOOK_BACK, after=definitions.indicator_horizon)
    pairs = panel.engine.store(_pairs(panel, years, treatment), f"increase_pairs_{treatment}")
    rules = _rules(panel)
    steps = trials.attrition(
        panel, pairs, f"pairs with exports before t, or treated, {years.first}-{years.last}", rules
    )
    kept = trials.keep(pairs, rules).drop("washed", "in_register", "elsewhere", "founded", "ended", "lost_year")
    # stored on the way: each look-up reads the rows twice, and plans within plans double with every one
    kept = panel.engine.store(kept, "increase_kept")
    firms, absent = complete_firm_rows(_with_path(kept, panel), panel, definitions.size_indicator, years)
    firms = panel.engine.store(firms, "increase_firms")
    rows = add_country_group(add_pair_covariates(firms, panel, years, "export"), panel)
    rows = _with_age_class(rows, absent)
    stored = panel.engine.store(rows, f"increase_{treatment}")
    panel.engine.forget(pairs, kept, firms)
    return RiskSet(
        rows=stored,
        engine=panel.engine,
        roles=Roles("outcome", "treated", "firm", "market", "year", "mission"),
        question="increase",
        design="trials",
        n_rows=panel.engine.count(stored),
        controls=tuple(c for c in PAIR_CONTROLS if c not in absent),
        absent_controls=absent,
        after_columns=tuple(_name(k) for k in range(definitions.indicator_horizon + 1)),
        definitions=definitions,
        flow=trials.whole_flow(panel, years, steps),
        simulated=panel.registers.settings.simulated is not None,
    )


def _supported(panel: Panel, treatment: str) -> Lazy:
    if treatment == "mission":
        return trials.went(panel, trials.PAIR).select(*KEY, "mission")
    supports = panel.supports.with_columns(year=nw.col("year").cast(nw.Int64))
    return supports.group_by(*KEY).agg(nw.col("mission").min())


def _pairs(panel: Panel, years: TrialYears, treatment: str) -> Lazy:
    supported = _supported(panel, treatment)
    active = panel.activity("market", "export").with_columns(year=nw.col("year").cast(nw.Int64))
    path = nw.concat([active.with_columns(year=nw.col("year") + k) for k in range(1, LOOK_BACK + 1)])
    path = path.filter(nw.col("year").is_between(years.first, years.last))
    if treatment == "mission":
        path = path.join(trials.hosts(panel, years), on=["market", "year"], how="inner")
    usable = supported.filter(nw.col("year").is_between(years.first, years.last)).select(*KEY)
    joined = distinct(nw.concat([path.select(*KEY), usable])).join(supported, on=KEY, how="left")
    treated = nw.when(nw.col("mission").is_null()).then(0).otherwise(1).cast(nw.Int64)
    recent = [supported.select("firm", "market", nw.col("year") + k) for k in range(1, panel.definitions.washout + 1)]
    flagged = trials.flag(joined.with_columns(treated=treated), nw.concat(recent), KEY, "washed")
    return trials.elsewhere(trials.with_life(flagged, panel), panel)


def _rules(panel: Panel) -> list[Rule]:
    return [
        Rule("in the register in t", nw.col("in_register") == 1, "firm ceased, or was not yet there, in t"),
        Rule("no treatment of the pair in t-3..t-1", nw.col("washed") == 0, "recent mission or support"),
        Rule("not a control of its own", nw.col("elsewhere") == 0, "firm goes to another market in t"),
    ]


def _with_path(rows: Lazy, panel: Panel) -> Lazy:
    """Add yearly exports from t-4 to t+3 in EUR, and the outcome."""
    horizon = panel.definitions.indicator_horizon
    names = {k: _name(k) for k in range(-LOOK_BACK, horizon + 1)}
    exports = panel.pair_years.select("firm", "market", "exports_cents", traded=nw.col("year").cast(nw.Int64))
    near = rows.select(*KEY).join(exports, on=["firm", "market"], how="inner")
    near = near.with_columns(offset=nw.col("traded") - nw.col("year"))
    near = near.filter(nw.col("offset").is_between(-LOOK_BACK, horizon))
    eur = nw.col("exports_cents").cast(nw.Float64).clip(0.0) / 100.0
    years = near.group_by(*KEY).agg(
        *(nw.when(nw.col("offset") == k).then(eur).max().alias(name) for k, name in names.items())
    )
    rows = rows.join(years, on=KEY, how="left").with_columns(nw.col(*names.values()).fill_null(0.0))
    after = sum((nw.col(names[k]) for k in range(1, horizon + 1)), start=nw.lit(0.0))
    return rows.with_columns(outcome=after / float(horizon) - nw.col(names[0]))


def _with_age_class(rows: Lazy, absent: tuple[str, ...]) -> Lazy:
    if "log_age" in absent:
        return rows
    # log_age holds whole years of at least one; halves keep clear of rounding
    age, (young, settled) = nw.col("log_age").exp(), AGES_FROM
    named = nw.when(age < young - 0.5).then(nw.lit(f"under {young}")).otherwise(nw.lit(f"{young}-{settled - 1}"))
    named = nw.when(age >= settled - 0.5).then(nw.lit(f"{settled} or more")).otherwise(named)
    return rows.with_columns(
        nw.when(nw.col("not_in_register") == 1).then(nw.lit("unknown")).otherwise(named).alias(AGE_CLASS)
    )


def _name(k: int) -> str:
    if k == 0:
        return "exports_eur_in_t"
    return f"exports_eur_before_{-k}" if k < 0 else f"exports_eur_after_{k}"
