"""New spells in a market that a mission visited: who stays after having entered, year by year."""

from __future__ import annotations

import narwhals as nw
import pandas as pd

from missie_impact.definitions import PAIR_CONTROLS
from missie_impact.errors import SettingsError
from missie_impact.flow import FlowStep
from missie_impact.panel import Panel
from missie_impact.panel.history import with_history
from missie_impact.panel.spells import spells
from missie_impact.registers.engine import Lazy, distinct
from missie_impact.risksets import trials
from missie_impact.risksets.covariates import add_country_group, add_pair_covariates, complete_firm_rows
from missie_impact.risksets.entry import Outcome
from missie_impact.risksets.riskset import RiskSet, Roles
from missie_impact.risksets.trials import Rule, TrialYears

KEY = ["firm", "market", "year"]
ENTERED_IN_T = "entered_in_t"


def entrant_risk_set(panel: Panel, *, outcome: Outcome = "trade") -> RiskSet:
    """Make the years after entry of firms that entered a host market in t+1 .. t+2, with and without a mission in t.

    A unit is a firm, host market and mission year t with a spell of trade (fdi: of affiliates) that begins within the
    entry horizon of the definitions, its origin seen, without trade in t-2 .. t-1 and without a listed mission of the
    firm to the market in t-3 .. t-1. Spells that begin in t itself are counted and left out: they may have begun
    before the mission. A row is a year since entry, (k-1, k], up to the horizon of the exit question; the spell ends at
    k if k was its last year with trade. Years that the data cannot decide are not there.

    Both arms are selected: those who entered after a mission need not be those who would have entered without one. What
    this risk set shows is a comparison of selected survivors, not an effect.

    Parameters
    ----------
    outcome : "trade" (either flow, unless the definitions say otherwise) or "fdi"

    Returns
    -------
    RiskSet
        firm, market, year (t), follow_up, start, duration, outcome (1: the spell ended by exit or by death of the
        firm), cause ("none", "exit", "death", "lost"), treated, entry_year, country_group, size, controls at t-1.

    Raises
    ------
    NoParticipantError
        If no firm of the register is on any listed mission.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> risk = mi.entrant_risk_set(panel)
    >>> sorted(risk.collect()["cause"].unique())
    ['death', 'exit', 'lost', 'none']
    """
    if outcome not in ("trade", "fdi"):
        raise SettingsError(f"outcome: expected 'trade' or 'fdi', found {outcome!r}.")
    trials.require_participants(panel)
    definitions = panel.definitions
    years = trials.usable_years(panel, before=max(definitions.entry_lookback, 4), after=definitions.entry_horizon)
    begun = panel.engine.store(_candidates(panel, years, outcome), f"entrants_candidates_{outcome}")
    rules = _rules(panel, outcome)
    what = f"new spells within {definitions.entry_horizon} years after a mission year {years.first}-{years.last}"
    steps = trials.attrition(panel, begun, what, rules)
    spare = ["washed", "in_register", "elsewhere", "treated_ever", "founded", "ended", "lost_year", "before"]
    kept = trials.keep(begun, rules).drop(*spare, ENTERED_IN_T)
    rows, absent = complete_firm_rows(kept, panel, definitions.size_entry, years)
    rows = add_country_group(add_pair_covariates(rows, panel, years, definitions.entry_flow), panel)
    units = panel.engine.store(rows, f"entrants_units_{outcome}")
    followed = panel.engine.store(_follow(panel, units), f"entrants_{outcome}")
    panel.engine.forget(begun)
    n_rows = panel.engine.count(followed)
    last = FlowStep(f"years since entry, up to {definitions.exit_horizon}", n_rows, None, None)
    return RiskSet(
        rows=followed,
        engine=panel.engine,
        roles=Roles(
            "outcome", "treated", "firm", "market", "year", "mission", duration="duration", start="start", cause="cause"
        ),
        question="exit",
        design="trials",
        n_rows=n_rows,
        controls=tuple(c for c in PAIR_CONTROLS if c not in absent and c != "spell_age_class"),
        absent_controls=(*absent, "spell_age_class"),
        after_columns=("follow_up", "start", "duration", "entry_year"),
        definitions=definitions,
        flow=trials.whole_flow(panel, years, [*steps, last]),
        simulated=panel.registers.settings.simulated is not None,
    )


def activity_years(panel: Panel, outcome: Outcome) -> Lazy:
    """Return firm, market, year of trade in the flow of the entry question, or of affiliates."""
    if outcome == "trade":
        return panel.activity("market", panel.definitions.entry_flow)
    affiliates = panel.successors.follow(panel.registers.affiliates)
    return distinct(affiliates.select("firm", "market", nw.col("year").cast(nw.Int64)))


def new_spells(panel: Panel, outcome: Outcome) -> Lazy:
    """Return firm, market, begin, length and end_reason of spells whose origin was seen."""
    definitions = panel.definitions
    years = with_history(activity_years(panel, outcome), trials.PAIR, definitions)
    found = spells(years, panel.life, definitions, panel.first_year, panel.last_year).filter(nw.col("origin_seen"))
    return found.select(*trials.PAIR, nw.col("begin").cast(nw.Int64), nw.col("length").cast(nw.Int64), "end_reason")


def spell_length_set(panel: Panel, *, outcome: Outcome = "trade") -> RiskSet:
    """Make one row per spell of trade (fdi: of affiliates) whose origin was seen: how long spells last.

    A spell is followed from its beginning, (0, length]; it ends (outcome 1) with market exit or death of the firm. One
    that still runs, or whose last year cannot be decided, is seen up to the year before. ``treated`` is 1 where the
    firm had been on a listed mission to the market by the year in which the spell began: a description, no comparison.
    ``median_survival(spell_length_set(panel), cluster="firm")`` is the median spell length.

    Returns
    -------
    RiskSet
        firm, market, year (in which the spell begins), start (0), duration, outcome, cause, treated

    Raises
    ------
    SettingsError
        If ``outcome`` is unknown.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> lengths = mi.spell_length_set(panel)
    >>> mi.median_survival(lengths, cluster="firm")["arm"].tolist()
    ['treated', 'untreated']
    """
    begun = new_spells(panel, outcome).rename({"begin": "year"})
    listed = panel.supports.filter(nw.col("listed")).group_by("firm", "market")
    first = listed.agg(nw.col("year").cast(nw.Int64).min().alias("first_mission"))
    joined = begun.join(first, on=["firm", "market"], how="left")
    is_open = nw.col("end_reason") == "open"
    before = (nw.col("first_mission") <= nw.col("year")).fill_null(False)
    made = joined.with_columns(
        start=nw.lit(0).cast(nw.Int64),
        duration=nw.when(is_open).then(nw.col("length") - 1).otherwise(nw.col("length")),
        cause=nw.when(is_open).then(nw.lit("none")).otherwise(nw.col("end_reason")),
        outcome=nw.when(nw.col("end_reason").is_in(["exit", "death"])).then(1).otherwise(0).cast(nw.Int64),
        treated=nw.when(before).then(1).otherwise(0).cast(nw.Int64),
    )
    seen = made.filter(nw.col("duration") > 0).drop("length", "end_reason", "first_mission")
    rows = panel.engine.store(seen, f"spell_lengths_{outcome}")
    n_rows = panel.engine.count(rows)
    return RiskSet(
        rows=rows,
        engine=panel.engine,
        roles=Roles("outcome", "treated", "firm", "market", "year", duration="duration", start="start", cause="cause"),
        question="exit",
        design="trials",
        n_rows=n_rows,
        after_columns=("start", "duration"),
        definitions=panel.definitions,
        flow=panel.flow.of("trade").then(FlowStep("spells whose origin was seen", n_rows)),
        simulated=panel.registers.settings.simulated is not None,
    )


def _candidates(panel: Panel, years: TrialYears, outcome: Outcome) -> Lazy:
    definitions = panel.definitions
    begun = panel.engine.store(new_spells(panel, outcome), f"entrants_spells_{outcome}")
    horizon = range(definitions.entry_horizon + 1)
    shifted = nw.concat([begun.with_columns(year=nw.col("begin") - k) for k in horizon])
    at_host = shifted.join(trials.hosts(panel, years), on=["market", "year"], how="inner")
    flagged = trials.with_life(trials.with_treatment(at_host, panel, trials.PAIR), panel)
    flagged = trials.never_pool(trials.elsewhere(flagged, panel), panel, trials.PAIR)
    in_t = nw.when(nw.col("begin") == nw.col("year")).then(1).otherwise(0).cast(nw.Int64)
    flagged = flagged.with_columns(in_t.alias(ENTERED_IN_T))
    active = activity_years(panel, outcome).with_columns(year=nw.col("year").cast(nw.Int64))
    back = range(1, definitions.entry_lookback + 1)
    recent = nw.concat([active.with_columns(year=nw.col("year") + k) for k in back])
    return trials.flag(flagged, recent, KEY, "before")


def _rules(panel: Panel, outcome: Outcome) -> list[Rule]:
    what = "trade" if outcome == "trade" else "an affiliate"
    back = panel.definitions.entry_lookback
    rules = [
        Rule("begins after t", nw.col(ENTERED_IN_T) == 0, "began in the mission year itself"),
        Rule("in the register in t", nw.col("in_register") == 1, "firm ceased, or was not yet there, in t"),
        Rule(f"without {what} in t-{back}..t-1", nw.col("before") == 0, f"{what} shortly before t"),
        Rule("no listed mission to the market in t-3..t-1", nw.col("washed") == 0, "recent mission"),
        Rule("not a control of its own", nw.col("elsewhere") == 0, "firm goes to another market in t"),
    ]
    if panel.definitions.pool == "never":
        rules.append(Rule("never treated", nw.col("treated_ever") == 0, "control with a mission at another time"))
    return rules


def _follow(panel: Panel, units: Lazy) -> Lazy:
    """Write out the years since entry; the last year of an open spell is undecided and has no row."""
    horizon = panel.definitions.exit_horizon
    numbers = pd.DataFrame({"follow_up": range(1, horizon + 1), "one_": 1})
    counted = panel.engine.take(numbers)
    known = nw.when(nw.col("end_reason") == "open").then(nw.col("length") - 1).otherwise(nw.col("length"))
    long = units.with_columns(one_=nw.lit(1).cast(nw.Int64), known_years=known).join(counted, on="one_", how="inner")
    long = long.filter(nw.col("follow_up") <= nw.col("known_years"))
    last = (nw.col("follow_up") == nw.col("length")) & (nw.col("end_reason") != "open")
    cause = nw.when(last).then(nw.col("end_reason")).otherwise(nw.lit("none"))
    ended = ["exit", "death"] if panel.definitions.death != "censor" else ["exit"]
    return long.with_columns(
        cause=cause,
        outcome=nw.when(cause.is_in(ended)).then(1).otherwise(0).cast(nw.Int64),
        duration=nw.col("follow_up"),
        start=nw.col("follow_up") - 1,
        entry_year=nw.col("begin"),
    ).drop("one_", "known_years", "length", "end_reason", "begin")
