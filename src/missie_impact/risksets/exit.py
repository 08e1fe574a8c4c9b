"""Whether structural traders leave a market: the years in which they can."""

from __future__ import annotations

from typing import Literal

import narwhals as nw

from missie_impact.definitions import PAIR_CONTROLS, Definitions
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow, FlowStep
from missie_impact.panel import Panel
from missie_impact.panel.history import origin_seen, window_seen
from missie_impact.panel.spells import PAIR, REASONS, end_code, end_reason
from missie_impact.registers.engine import Lazy
from missie_impact.risksets import trials
from missie_impact.risksets.covariates import add_country_group, add_pair_covariates, complete_firm_rows
from missie_impact.risksets.riskset import RiskSet, Roles
from missie_impact.risksets.sampling import keyed_uniform, with_code
from missie_impact.risksets.trials import Comparison, Rule, TrialYears

StartFrom = Literal["t", "t+1", "t+2"]
START = {"t": 0, "t+1": 1, "t+2": 2}
AGE_CAP = 10
OWN_PAIRS = "not a control of its own"


def exit_risk_set(
    panel: Panel,
    kind: Literal["trials", "spells"] = "trials",
    *,
    start_from: StartFrom = "t+1",
    controls_per_treated: int | None = None,
    seed: int = 1,
    comparison: Comparison = "between_firms",
    before_entry: bool = False,
) -> RiskSet:
    """Make the rows of structural pairs that may leave their market.

    A pair is at risk in year e if it traded in e-1. It leaves in e if it does not trade in e and the years of the gap
    rule while its firm stays in the register; a firm that ceases then died, which is another event. Rows of the last
    years that cannot be decided are not there.

    Parameters
    ----------
    kind : "trials" (headline): one trial per mission year t and host market; pairs structural and active at t-1 and
        active in t, both arms without a listed mission of the firm to the market in t-3..t-1; follow-up from t+1.
        "spells": every year at risk of a structural pair, treated from the year after its first mission on; what it
        shows is an association, since the missions depend on what happened in the spell.
    start_from : first year of follow-up in trials; "t" and "t+2" are the variants shown beside the headline
    controls_per_treated : None keeps all controls of the trials; a number draws, within each market and mission year,
        about so many for each treated pair, with known probability (``probability`` holds its inverse)
    seed : of the draw
    comparison : of trials: "between_firms" (headline), or "within_firm": all markets of a firm, for
        :func:`missie_impact.effects.becoming.within.within_firm`; spells hold all markets anyway

    before_entry : of spells: only those whose origin was seen, with their years before the pair was structural (and any
        between), marked 1 in ``before_entry``; a random effect at the origin needs them

    Returns
    -------
    RiskSet
        trials: firm, market, year (t), follow_up, exit_year, start, duration, outcome, cause, treated, controls at
        t-1. spells: firm, market, year (e), start, duration (null: origin not seen), outcome, cause,
        treated, missions_before, years_since (the first mission), repeated (two missions or more), controls.

    Raises
    ------
    NoParticipantError
        If no firm of the register is on any listed mission (trials only).

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> risk = mi.exit_risk_set(panel)
    >>> risk.roles.duration, risk.roles.cause
    ('duration', 'cause')
    """
    if kind == "spells":
        return _spells(panel, before_entry)
    if before_entry:
        raise SettingsError("before_entry: trials start their clock at eligibility and have no rows before entry.")
    if start_from not in START:
        raise SettingsError(f"start_from: expected one of {list(START)}, found {start_from!r}.")
    if trials.is_within_firm(comparison, "market"):
        if controls_per_treated is not None:
            raise SettingsError("a firm's own markets are all its controls: leave controls_per_treated out.")
        return _trials(panel, start_from, None, seed, within=True)
    if controls_per_treated is not None:
        trials.check_per_treated(controls_per_treated)
    return _trials(panel, start_from, controls_per_treated, seed)


def exit_rows(panel: Panel) -> Lazy:
    """Return one row per pair and decided year at risk: year (last active, e-1), exit_year, cause, spell state."""
    return _at_risk(panel.history(), panel)


def _at_risk(history: Lazy, panel: Panel) -> Lazy:
    definitions = panel.definitions
    decided = history.filter(nw.col("year") + definitions.gap_years <= panel.last_year)
    alive = decided.join(panel.life, on="firm", how="left")
    ended = nw.col("last") == 1
    code = nw.when(ended).then(end_code(definitions, panel.last_year)).otherwise(nw.lit(-1).cast(nw.Int8))
    return alive.with_columns(
        exit_year=nw.col("year") + _row_year(definitions),
        cause=nw.when(ended).then(end_reason(definitions, panel.last_year)).otherwise(nw.lit("none")),
        cause_code=code,
        origin_seen=origin_seen(definitions, panel.first_year),
        window_seen=window_seen(definitions, panel.first_year),
        structural=nw.col("active_years") >= definitions.min_years,
    )


def _row_year(definitions: Definitions) -> int:
    """Years from the last active year to the year of the row."""
    return 1 if definitions.row_year == "first_inactive" else 0


def _cause() -> nw.Expr:
    """The cause of ``cause_code``."""
    named: nw.Expr = nw.lit("none")
    for code, reason in enumerate(REASONS):
        named = nw.when(nw.col("cause_code") == code).then(nw.lit(reason)).otherwise(named)
    return named


def _outcome(panel: Panel) -> nw.Expr:
    events = ["exit", "death"] if panel.definitions.death == "exit" else ["exit"]
    return nw.when(nw.col("cause").is_in(events)).then(1).otherwise(0).cast(nw.Int64)


def _trials(panel: Panel, start_from: StartFrom, per_treated: int | None, seed: int, within: bool = False) -> RiskSet:
    trials.require_participants(panel)
    definitions, start = panel.definitions, START[start_from]
    years = trials.usable_years(panel, before=definitions.window, after=start - 1 + definitions.gap_years)
    rows = exit_rows(panel)
    base = panel.engine.store(_candidates(panel, rows, years, start, within), f"exit_candidates_{start}")
    rules = [rule for rule in _rules(panel) if not (within and rule.name == OWN_PAIRS)]
    where = "all markets" if within else "host markets"
    steps = trials.attrition(panel, base, f"structural at t-1, {where}, {years.first}-{years.last}", rules)
    kept = trials.keep(base, rules).drop("washed", "in_register", "elsewhere", "treated_ever", "active_at_start")
    if per_treated is not None:
        kept = panel.engine.store(_draw_controls(kept, per_treated, seed), f"exit_drawn_{start}")
    complete, absent = complete_firm_rows(kept, panel, definitions.size_exit, years)
    paired = add_pair_covariates(complete, panel, years, definitions.exit_flow, everywhere=within)
    complete = add_country_group(paired, panel)
    complete = panel.engine.store(complete, f"exit_pairs_{start}")
    panel.engine.forget(base)
    followed = panel.engine.store(_follow(panel, complete, rows, start), f"exit_trials_{start}")
    n_rows = panel.engine.count(followed)
    last = FlowStep(f"years at risk from {start_from} to t+{definitions.exit_horizon}", n_rows, steps[-1].firms, None)
    return RiskSet(
        rows=followed.join(complete.drop("spell"), on=[*PAIR, "year"], how="inner"),  # controls once per trial
        engine=panel.engine,
        roles=Roles(
            "outcome",
            "treated",
            "firm",
            "market",
            "year",
            "mission",
            duration="duration",
            start="start",
            cause="cause",
            probability=None if per_treated is None else "probability",
        ),
        question="exit",
        design="trials",
        n_rows=n_rows,
        controls=tuple(c for c in PAIR_CONTROLS if c not in absent),
        absent_controls=absent,
        after_columns=("exit_year", "follow_up", "start", "duration"),
        definitions=definitions,
        flow=trials.whole_flow(panel, years, [*steps, last]),
        simulated=panel.registers.settings.simulated is not None,
    )


def _candidates(panel: Panel, rows: Lazy, years: TrialYears, start: int, within: bool) -> Lazy:
    """Pairs structural and active at t-1 in markets that a listed mission visits in t; within firms in all markets."""
    age = (nw.col("year") - nw.col("begin") + 1).clip(1, AGE_CAP).cast(nw.String)
    pairs = rows.filter(nw.col("structural") & nw.col("window_seen")).select(
        *PAIR,
        "spell",
        year=nw.col("year") + 1,
        spell_age_class=nw.when(nw.col("origin_seen")).then(age).otherwise(nw.lit("unseen")),
    )
    if within:
        at_host = pairs.filter(nw.col("year").is_between(years.first, years.last))
    else:
        at_host = pairs.join(trials.hosts(panel, years), on=["market", "year"], how="inner")
    reached = rows.select(*PAIR, "spell", year=nw.col("year") + 1 - start)
    active = trials.flag(at_host, reached, [*PAIR, "spell", "year"], "active_at_start")
    flagged = trials.with_life(trials.with_treatment(active, panel, trials.PAIR), panel)
    flagged = trials.never_pool(trials.elsewhere(flagged, panel), panel, trials.PAIR)
    return flagged.drop("founded", "ended", "lost_year")


def _rules(panel: Panel) -> list[Rule]:
    rules = [
        Rule("in the register in t", nw.col("in_register") == 1, "firm ceased in t"),
        Rule("no listed mission to the market in t-3..t-1", nw.col("washed") == 0, "recent mission"),
        Rule(OWN_PAIRS, nw.col("elsewhere") == 0, "firm goes to another market in t"),
        Rule("active when follow-up starts", nw.col("active_at_start") == 1, "no trade in the year before follow-up"),
    ]
    if panel.definitions.pool == "never":
        rules.append(Rule("never treated", nw.col("treated_ever") == 0, "control with a mission at another time"))
    return rules


def _draw_controls(pairs: Lazy, per_treated: int, seed: int) -> Lazy:
    """Keep all treated pairs and a share of the controls of their market and mission year."""
    stratum = ["market", "year"]
    sizes = pairs.group_by(*stratum).agg(
        nw.col("treated").sum().cast(nw.Int64).alias("n_treated"), nw.len().cast(nw.Int64).alias("n_pairs")
    )
    wanted = nw.col("n_treated").clip(1).cast(nw.Float64) * float(per_treated)
    share = (wanted / (nw.col("n_pairs") - nw.col("n_treated")).clip(1).cast(nw.Float64)).clip(0.0, 1.0)
    coded = with_code(with_code(pairs, "firm", "firm_code"), "market", "market_code")
    known = coded.join(sizes, on=stratum, how="inner").with_columns(share=share)
    u = keyed_uniform(nw.col("firm_code"), nw.col("market_code") * 4_096 + nw.col("year"), seed)
    drawn = known.filter((nw.col("treated") == 1) | (u < nw.col("share")))
    inverse = nw.when(nw.col("treated") == 1).then(1.0).otherwise(1.0 / nw.col("share"))
    return drawn.with_columns(probability=inverse).drop("n_treated", "n_pairs", "share", "firm_code", "market_code")


def _follow(panel: Panel, pairs: Lazy, rows: Lazy, start: int) -> Lazy:
    """Join each trial to the years at risk of the same spell: keys, year of follow-up and what happened."""
    at_risk = rows.select(*PAIR, "spell", last_active=nw.col("year"), exit_year="exit_year", cause="cause")
    joined = (
        pairs.select(*PAIR, "year", "spell")
        .join(at_risk, on=[*PAIR, "spell"], how="inner")
        .with_columns(follow_up=nw.col("last_active") + 1 - nw.col("year"))
    )
    horizon = panel.definitions.exit_horizon
    followed = joined.filter(nw.col("follow_up").is_between(start, horizon)).drop("last_active", "spell")
    counted = followed.with_columns(
        outcome=_outcome(panel), duration=nw.col("follow_up") - start + 1, start=nw.col("follow_up") - start
    )
    return counted.filter(nw.col("cause") != "death") if panel.definitions.death == "censor" else counted


SPELL_COLUMNS = (
    "spell", "begin", "origin_seen", "start", "duration", "outcome", "cause", "years_since", "repeated",
)  # fmt: skip
# as short as they can be, because millions of rows hold them
STORED = {
    "last_active": nw.Int16, "first_mission": nw.Int16, "missions_before": nw.Int16, "spell": nw.Int16,
    "begin": nw.Int16, "cause_code": nw.Int8,
}  # fmt: skip
SPELL_CONTROLS = tuple(c for c in PAIR_CONTROLS if c not in ("neighbour_trade", "market_year"))


def _spells(panel: Panel, before_entry: bool) -> RiskSet:
    definitions = panel.definitions
    at_risk = nw.col("structural") & nw.col("window_seen")
    exposed = _exposed(panel)
    structural = _from_origin(exposed, at_risk) if before_entry else exposed.filter(at_risk)
    more = ("before_entry",) if before_entry else ()
    rows = structural.rename({"year": "last_active"})
    if definitions.death == "censor":
        rows = rows.filter(nw.col("cause") != "death")
    short = (nw.col(name).cast(kind) for name, kind in STORED.items())
    kept = rows.select(*PAIR, *short, *more)
    kept = panel.engine.store(kept, "exit_spells_from_origin" if before_entry else "exit_spells")
    stored = _spell_columns(kept, panel).select(
        *PAIR, "year", "control_year", "treated", "missions_before", *SPELL_COLUMNS, *more
    )
    complete, absent = _frozen_controls(stored, panel)
    n_rows = panel.engine.count(kept)
    what = (
        "years from the origin of spells whose origin was seen" if before_entry else "years at risk of structural pairs"
    )
    step = FlowStep(what, n_rows)
    return RiskSet(
        rows=complete,
        engine=panel.engine,
        roles=Roles("outcome", "treated", "firm", "market", "year", duration="duration", start="start", cause="cause"),
        question="exit",
        design="spells",
        n_rows=n_rows,
        controls=tuple(c for c in SPELL_CONTROLS if c not in absent),
        absent_controls=(*absent, *(c for c in PAIR_CONTROLS if c not in SPELL_CONTROLS)),
        definitions=definitions,
        flow=panel.flow.of("trade").then(*Flow((step,)).of("risk set").steps),
        simulated=panel.registers.settings.simulated is not None,
    )


def _spell_columns(rows: Lazy, panel: Panel) -> Lazy:
    """Add what follows from the stored columns of a row; computed at use, so that it takes no memory."""
    wide = [name for name, kind in STORED.items() if name != "cause_code"]
    known = rows.with_columns(nw.col(name).cast(nw.Int32) for name in wide).with_columns(
        exit_year=nw.col("last_active") + _row_year(panel.definitions),
        origin_seen=origin_seen(panel.definitions, panel.first_year),
        cause=_cause(),
    )
    after, seen, before = nw.col("last_active") + 1, nw.col("origin_seen"), nw.col("missions_before")
    since = nw.col("exit_year") - nw.col("first_mission")
    return known.with_columns(
        outcome=_outcome(panel),
        duration=nw.when(seen).then(after - nw.col("begin")),
        start=nw.when(seen).then(nw.col("last_active") - nw.col("begin")),
        control_year=nw.min_horizontal(after, nw.col("first_mission")).cast(nw.Int64),
        treated=nw.when(before > 0).then(1).otherwise(0).cast(nw.Int64),
        years_since=nw.when(before > 0).then(since).otherwise(0).cast(nw.Int64),
        repeated=nw.when(before > 1).then(1).otherwise(0).cast(nw.Int64),
        missions_before=before.cast(nw.Int64),
        year=nw.col("exit_year"),
    )


def _from_origin(rows: Lazy, at_risk: nw.Expr) -> Lazy:
    """Years of spells whose origin was seen up to their last year at risk, those not at risk marked."""
    seen = rows.filter(nw.col("origin_seen"))
    followed = seen.filter(at_risk).group_by(*PAIR, "spell").agg(nw.col("year").max().alias("last_followed"))
    known = seen.join(followed, on=[*PAIR, "spell"], how="inner").filter(nw.col("year") <= nw.col("last_followed"))
    return known.with_columns(before_entry=nw.when(at_risk).then(0).otherwise(1).cast(nw.Int64)).drop("last_followed")


def _frozen_controls(rows: Lazy, panel: Panel) -> tuple[Lazy, tuple[str, ...]]:
    """Add controls of the year before, frozen at the first mission; joined when they are used, not stored."""
    dated = rows.rename({"year": "row_year", "control_year": "year"})
    complete, absent = complete_firm_rows(dated, panel, panel.definitions.size_exit, None)
    complete = add_pair_covariates(complete, panel, None, panel.definitions.exit_flow).drop("market_year", "year")
    return complete.rename({"row_year": "year"}), absent


def _exposed(panel: Panel) -> Lazy:
    """Years at risk with first_mission of the pair and missions_before (its listed missions up to e-1).

    The mission years of a pair stand beside each other, one column for its first, second, ...: joined to pairs, not to
    their years, and counted by comparing.
    """
    taken = trials.went(panel, trials.PAIR).select(*PAIR, mission_year=nw.col("year").cast(nw.Int32), one=nw.lit(1))
    numbered = taken.with_columns(number=nw.col("one").cum_sum().over(*PAIR, order_by="mission_year").cast(nw.Int64))
    most = panel.engine.one(numbered.select(most=nw.col("number").max()))["most"] or 1
    names = {f"mission_{k}": k for k in range(1, most + 1)}
    year_of = (nw.when(nw.col("number") == k).then(nw.col("mission_year")).max().alias(c) for c, k in names.items())
    rows = _at_risk(panel.history_with(numbered.group_by(*PAIR).agg(*year_of)), panel)
    before = [nw.when(nw.col(name) <= nw.col("year")).then(1).otherwise(0) for name in names]
    return rows.with_columns(first_mission=nw.col("mission_1"), missions_before=nw.sum_horizontal(*before)).drop(*names)
