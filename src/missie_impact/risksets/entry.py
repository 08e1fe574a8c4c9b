"""Whether firms enter a market that a mission visits: pairs without trade, or without an affiliate."""

from __future__ import annotations

from typing import Literal

import narwhals as nw
import pandas as pd

from missie_impact.definitions import PAIR_CONTROLS
from missie_impact.errors import SettingsError
from missie_impact.panel import Panel
from missie_impact.panel.size import size_class
from missie_impact.registers.engine import Lazy, distinct
from missie_impact.risksets import trials
from missie_impact.risksets.covariates import add_country_group, add_pair_covariates, complete_firm_rows
from missie_impact.risksets.riskset import RiskSet, Roles
from missie_impact.risksets.sampling import keyed_uniform, with_code
from missie_impact.risksets.trials import Rule, TrialYears

Outcome = Literal["trade", "fdi"]
KEY = ["firm", "market", "year"]


def entry_risk_set(
    panel: Panel, *, outcome: Outcome = "trade", controls_per_treated: int = 50, seed: int = 1
) -> RiskSet:
    """Make the trials of pairs that do not trade with a host market, or have no affiliate there.

    One row per firm, host market and mission year t: no trade in t-2 and t-1 (fdi: no affiliate up to t-1), firm in
    the register at t-1 (controls are drawn from its rows) and in t, no listed mission of the firm to the market in
    t-3..t-1. Outcome: trade (an affiliate) in t+1 or t+2, whatever happened in t. Pairs without trade are not written
    out: all treated pairs are kept, and of the others a sample is drawn with known probability within market x year x
    size, so that about ``controls_per_treated`` stand beside each treated pair. ``probability`` holds the inverse of
    that probability times the firm's own sampling weight in the register.

    Parameters
    ----------
    outcome : "trade" (either flow, unless the definitions say otherwise) or "fdi"
    controls_per_treated : expected number of controls per treated pair in each market x year x size cell
    seed : of the draw; the same firms are drawn whatever the order of rows

    Raises
    ------
    NoParticipantError
        If no firm of the register is on any listed mission.
    SettingsError
        If the outcome is another, or ``controls_per_treated`` is no number of at least one.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> risk = mi.entry_risk_set(panel, controls_per_treated=5)
    >>> risk.roles.probability
    'probability'
    """
    if outcome not in ("trade", "fdi"):
        raise SettingsError(f"outcome: expected 'trade' or 'fdi', found {outcome!r}.")
    trials.check_per_treated(controls_per_treated)
    trials.require_participants(panel)
    definitions = panel.definitions
    years = trials.usable_years(panel, before=max(definitions.entry_lookback, 4), after=definitions.entry_horizon)
    drawn = panel.engine.store(_pairs(panel, years, controls_per_treated, seed), f"entry_drawn_{outcome}")
    candidates = panel.engine.store(_candidates(panel, drawn, outcome), f"entry_candidates_{outcome}")
    rules = _rules(panel, outcome)
    steps = trials.attrition(panel, candidates, f"treated and drawn pairs, {years.first}-{years.last}", rules)
    spare = ["washed", "in_register", "elsewhere", "treated_ever", "founded", "ended", "lost_year", "before", "known"]
    kept = trials.keep(candidates, rules).drop(*spare)
    rows, absent = complete_firm_rows(kept, panel, definitions.size_entry, years)
    rows = add_country_group(add_pair_covariates(rows, panel, years, definitions.entry_flow), panel)
    stored = panel.engine.store(rows, f"entry_{outcome}")
    panel.engine.forget(drawn, candidates)
    return RiskSet(
        rows=stored,
        engine=panel.engine,
        roles=Roles("outcome", "treated", "firm", "market", "year", "mission", probability="probability"),
        question="entry",
        design="trials",
        n_rows=panel.engine.count(stored),
        controls=tuple(c for c in PAIR_CONTROLS if c not in absent),
        absent_controls=absent,
        after_columns=("active_in_t",),
        definitions=definitions,
        flow=trials.whole_flow(panel, years, steps),
        simulated=panel.registers.settings.simulated is not None,
    )


def _pairs(panel: Panel, years: TrialYears, per_treated: int, seed: int) -> Lazy:
    """All treated pairs, and drawn controls, with the inverse probability of each."""
    universe = _universe(panel)
    treated = trials.went(panel, trials.PAIR).filter(nw.col("year").is_between(years.first, years.last))
    treated = treated.select(*KEY).join(universe.drop("size", "code"), on=["firm", "year"], how="left")
    known = nw.when(nw.col("weight").is_null()).then(0).otherwise(1).cast(nw.Int64)
    treated = treated.select(*KEY, known=known, probability=nw.col("weight").fill_null(1.0))
    strata = panel.engine.take(_strata(panel, universe, years, per_treated))
    u = keyed_uniform(nw.col("code"), nw.col("host"), seed)
    drawn = universe.join(strata, on=["year", "size"], how="inner").filter(u < nw.col("share"))
    drawn = drawn.join(treated.select(*KEY), on=KEY, how="anti")
    controls = drawn.select(*KEY, known=nw.lit(1).cast(nw.Int64), probability=nw.col("weight") / nw.col("share"))
    return nw.concat([treated, controls])


def _universe(panel: Panel) -> Lazy:
    """Firms that may enter in t: those in the register at t-1 (without a register: those that trade at t-1)."""
    if panel.registers.has("firms"):
        scheme = size_class(panel.definitions.size_entry, panel.definitions)
        firms = panel.firm_years.with_columns(size=scheme).select(
            "firm", nw.col("year").cast(nw.Int64) + 1, nw.col("weight").cast(nw.Float64), "size"
        )
    else:
        firms = panel.firm_trade.select(
            "firm", nw.col("year").cast(nw.Int64) + 1, weight=nw.lit(1.0), size=nw.lit("unknown")
        )
    return panel.engine.store(with_code(firms, "firm", "code"), "entry_universe")


def _strata(panel: Panel, universe: Lazy, years: TrialYears, per_treated: int) -> pd.DataFrame:
    """Sampling share of each host market x year x size cell; a small table."""
    number = nw.len().cast(nw.Int64)
    firms = panel.collect(universe.group_by("year", "size").agg(number.alias("firms")), ["year", "size"])
    calendar = panel.collect(trials.hosts(panel, years), ["year", "market"])
    calendar["host"] = range(len(calendar))
    sized = trials.went(panel, trials.PAIR).join(universe, on=["firm", "year"], how="inner")
    went = panel.collect(
        sized.group_by("market", "year", "size").agg(number.alias("treated")), ["market", "year", "size"]
    )
    cells = calendar.merge(firms, on="year").merge(went, on=["market", "year", "size"], how="left")
    wanted = per_treated * cells["treated"].fillna(0).clip(lower=1)
    return cells.assign(share=(wanted / cells["firms"]).clip(upper=1.0))[["market", "year", "size", "host", "share"]]


def _candidates(panel: Panel, drawn: Lazy, outcome: Outcome) -> Lazy:
    definitions = panel.definitions
    flagged = trials.with_life(trials.with_treatment(drawn, panel, trials.PAIR), panel)
    flagged = trials.never_pool(trials.elsewhere(flagged, panel), panel, trials.PAIR)
    active = _active(panel, outcome)
    first = 0 if definitions.entry_count_mission_year else 1
    later = [active.with_columns(year=nw.col("year") - k) for k in range(first, definitions.entry_horizon + 1)]
    flagged = trials.flag(flagged, nw.concat(later), KEY, "outcome")
    flagged = trials.flag(flagged, active, KEY, "active_in_t")
    if outcome == "fdi":
        since = active.group_by("firm", "market").agg(nw.col("year").min().alias("since"))
        earlier = flagged.join(since, on=["firm", "market"], how="left")
        return earlier.with_columns(
            before=nw.when((nw.col("since") < nw.col("year")).fill_null(False)).then(1).otherwise(0)
        ).drop("since")
    recent = [active.with_columns(year=nw.col("year") + k) for k in range(1, definitions.entry_lookback + 1)]
    return trials.flag(flagged, nw.concat(recent), KEY, "before")


def _active(panel: Panel, outcome: Outcome) -> Lazy:
    if outcome == "trade":
        return panel.activity("market", panel.definitions.entry_flow)
    affiliates = panel.successors.follow(panel.registers.affiliates)
    return distinct(affiliates.select("firm", "market", nw.col("year").cast(nw.Int64)))


def _rules(panel: Panel, outcome: Outcome) -> list[Rule]:
    what = "trade in t-2..t-1" if outcome == "trade" else "an affiliate before t"
    rules = [
        Rule("in the register at t-1", nw.col("known") == 1, "no row of the firm in the year before"),
        Rule("in the register in t", nw.col("in_register") == 1, "firm ceased, or was not yet there, in t"),
        Rule(f"without {what}", nw.col("before") == 0, f"already {what}"),
        Rule("no listed mission to the market in t-3..t-1", nw.col("washed") == 0, "recent mission"),
        Rule("not a control of its own", nw.col("elsewhere") == 0, "firm goes to another market in t"),
    ]
    if panel.definitions.pool == "never":
        rules.append(Rule("never treated", nw.col("treated_ever") == 0, "control with a mission at another time"))
    return rules
