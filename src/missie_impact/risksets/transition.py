"""Whether incidental exporters become structural: one trial per mission year."""

from __future__ import annotations

from typing import Literal

import narwhals as nw

from missie_impact.definitions import TRANSITION_CONTROLS
from missie_impact.panel import Panel
from missie_impact.panel.history import HISTORY, with_history
from missie_impact.registers.engine import Lazy
from missie_impact.risksets import trials
from missie_impact.risksets.covariates import (
    add_country_group,
    add_host_group,
    add_pair_covariates,
    complete_firm_rows,
)
from missie_impact.risksets.riskset import RiskSet, Roles
from missie_impact.risksets.trials import Comparison, Rule, TrialYears

Lost = Literal["leave_out", "keep"]
IDENTITY_LOST = "identity_lost"


def transition_risk_set(
    panel: Panel,
    *,
    level: Literal["firm", "market"] | None = None,
    comparison: Comparison = "between_firms",
    lost: Lost = "leave_out",
) -> RiskSet:
    """Make the stacked trials of incidental exporters that may become structural.

    One row per unit and mission year t: active at the end of t-1, incidental on the window t-4..t-1, in the register
    in t, without a listed mission in t-3..t-1. Treated: a listed mission in t. Outcome: active in at least
    ``min_years`` of t+1..t+4 (``count_from="t"``: t..t+3). A firm that dies by then is not structural; one
    whose identity is lost before the outcome is seen is left out and counted, or kept for :func:`lost_identities`.
    Nobody is left out for a later mission.

    Parameters
    ----------
    level : "firm" or "market" (firm x market); the definitions' ``transition_level`` unless told otherwise
    comparison : "between_firms" (headline): pairs in host markets, a firm's other pairs are not its own controls;
        "within_firm" (firm x market only): all markets of a firm, for
        :func:`missie_impact.within_firm`
    lost : "leave_out" firms whose identity is lost before the outcome is seen, or "keep" them, with a column
        identity_lost: years from t to the loss, null where there is none

    Returns
    -------
    RiskSet
        Columns: firm, (market,) year, treated, mission, minister_led and (firms) country_group of the host (null for
        controls), outcome, later_years (active years of the outcome window),
        died (by t+4), young (younger than the window), size, the default controls.

    Raises
    ------
    NoParticipantError
        If no firm of the register is on any listed mission.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> risk = mi.transition_risk_set(panel, level="market")
    >>> risk.collect(["market", "year", "treated", "outcome"]).shape == (risk.n_rows, 4)
    True
    """
    trials.require_participants(panel)
    level = level or panel.definitions.transition_level
    within = trials.is_within_firm(comparison, level)
    unit = trials.FIRM if level == "firm" else trials.PAIR
    years = _trial_years(panel)
    candidates = panel.engine.store(_candidates(panel, unit, years, within), f"transition_candidates_{level}")
    rules = _rules(panel, unit, within, lost)
    steps = trials.attrition(panel, candidates, f"incidental in the year before, {years.first}-{years.last}", rules)
    spare = ["washed", "in_register", "lost_year", "elsewhere", "treated_ever"]
    kept = trials.keep(candidates, rules).drop(*spare, *([IDENTITY_LOST] if lost == "leave_out" else []))
    rows, absent = complete_firm_rows(kept, panel, panel.definitions.size_transition, years)
    if level == "market":
        rows = add_country_group(add_pair_covariates(rows, panel, years, "export", everywhere=within), panel)
    else:
        rows = add_host_group(rows, panel)
    stored = panel.engine.store(rows, f"transition_{level}")
    panel.engine.forget(candidates)
    return RiskSet(
        rows=stored,
        engine=panel.engine,
        roles=Roles("outcome", "treated", "firm", "market" if level == "market" else None, "year", "mission"),
        question="transition",
        design="trials",
        n_rows=panel.engine.count(stored),
        controls=tuple(c for c in TRANSITION_CONTROLS if c not in absent),
        absent_controls=absent,
        after_columns=("died", "later_years", *([IDENTITY_LOST] if lost == "keep" else [])),
        definitions=panel.definitions,
        flow=trials.whole_flow(panel, years, steps),
        simulated=panel.registers.settings.simulated is not None,
    )


def _trial_years(panel: Panel) -> TrialYears:
    definitions = panel.definitions
    behind = definitions.outcome_years if definitions.count_from == "t+1" else definitions.outcome_years - 1
    return trials.usable_years(panel, before=definitions.window, after=behind)


def _candidates(panel: Panel, unit: list[str], years: TrialYears, within: bool) -> Lazy:
    """Units incidental and active at t-1, with treatment, outcome and everything the rules look at."""
    definitions = panel.definitions
    level: Literal["firm", "market"] = "firm" if unit == trials.FIRM else "market"
    years_active = panel.activity(level, definitions.transition_flow)
    seen = _with_later_years(with_history(years_active, unit, definitions), unit, panel)
    incidental = seen.filter(nw.col("active_years") < definitions.min_years).drop(*HISTORY)
    at_risk = incidental.with_columns(year=nw.col("year") + 1).filter(
        nw.col("year").is_between(years.first, years.last)
    )
    if level == "market" and not within:
        at_risk = at_risk.join(trials.hosts(panel, years), on=["market", "year"], how="inner")
    flagged = trials.with_life(trials.with_treatment(at_risk, panel, unit), panel)
    flagged = trials.never_pool(trials.elsewhere(flagged, panel), panel, unit)
    last = nw.col("year") + definitions.outcome_years - (1 if definitions.count_from == "t" else 0)
    died = (nw.col("ended") <= last).fill_null(False)
    return flagged.with_columns(
        outcome=nw.when((nw.col("later_years") >= definitions.min_years) & ~died).then(1).otherwise(0).cast(nw.Int64),
        died=nw.when(died).then(1).otherwise(0).cast(nw.Int64),
        identity_lost=nw.when(nw.col("lost_year") <= last).then(nw.col("lost_year") - nw.col("year")).cast(nw.Int64),
        young=nw.when((nw.col("founded") > nw.col("year") - definitions.window).fill_null(False)).then(1).otherwise(0),
    ).drop("founded", "ended")


def _with_later_years(active: Lazy, unit: list[str], panel: Panel) -> Lazy:
    """Count the active years of the outcome window from the next active years; year is still t-1."""
    definitions, year = panel.definitions, nw.col("year")
    first = 2 if definitions.count_from == "t+1" else 1
    last = first + definitions.outcome_years - 1
    leads = [f"lead_{k}" for k in range(1, last + 1)]
    ahead = active.with_columns(
        *(year.shift(-k).over(*unit, order_by="year").alias(name) for k, name in enumerate(leads, start=1))
    )
    counted = sum(
        (
            nw.when((nw.col(name) - year).is_between(first, last).fill_null(False)).then(1).otherwise(0)
            for name in leads
        ),
        start=nw.lit(0),
    )
    return ahead.with_columns(later_years=counted.cast(nw.Int64)).drop(*leads)


def _rules(panel: Panel, unit: list[str], within: bool, lost: Lost) -> list[Rule]:
    rules = [
        Rule("in the register in t", nw.col("in_register") == 1, "firm ceased, or was not yet there, in t"),
        Rule("no listed mission in t-3..t-1", nw.col("washed") == 0, "recent mission"),
    ]
    if lost == "leave_out":
        rules.append(
            Rule("identity known", nw.col(IDENTITY_LOST).is_null(), "identity lost before the outcome is seen")
        )
    if unit == trials.PAIR and not within:
        rules.append(Rule("not a control of its own", nw.col("elsewhere") == 0, "firm goes to another market in t"))
    if panel.definitions.pool == "never":
        rules.append(Rule("never treated", nw.col("treated_ever") == 0, "control with a mission at another time"))
    return rules
