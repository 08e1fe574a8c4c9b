"""R1, R2 and R3: the headline effects of the CBS study, with naive comparisons beside them."""

from __future__ import annotations

from collections.abc import Callable

import narwhals as nw

from missie_impact.definitions import Definitions
from missie_impact.design import match, weight
from missie_impact.effects import Effect, market_entry, market_exit, structural_transition
from missie_impact.errors import MissieError
from missie_impact.registers.engine import distinct
from missie_impact.risksets import RiskSet, entry_risk_set, exit_risk_set, transition_risk_set
from missie_impact.risksets.exit import StartFrom, exit_rows
from missie_impact.study.context import SIZES, Asked, Context, StepResult, blank, fill, published_value
from missie_impact.study.records import ReplicationRow

TRANSITION = "incidental exporter becomes structural"
EXIT = "structural trader leaves the market"
ENTRY = {
    "trade": "starts trading with the host within two years",
    "fdi": "starts investing in the host within two years",
}
NAIVE = "naive: shown because it is wrong"
SURVIVAL_YEARS = (1, 3, 5)

EXIT_CONTROLS = 40  # per treated pair: costs about one per cent of the precision of all controls
ENTRY_CONTROLS = 30

MATCHES, CALIPER_SD = 3, 0.2
DESIGNS = (
    (
        "matched",
        "matched",
        "three matches on the propensity score within the year, caliper 0.2; logit on the matched rows",
    ),
    ("weighted", "weighted", "odds of the propensity score as weights; errors include their estimation"),
    ("doubly_robust", "doubly robust", "propensity score and outcome logit, cross-fitted by firm"),
)


def asked_transition(context: Context) -> list[Asked]:
    """Return the rows of R2: odds ratio, risk ratio and risk difference for all, SME and others."""
    definition, status = _transition_words(context.definitions)
    asked = []
    for scale, of_row, estimand in (
        ("odds_ratio", "odds_ratio", "or_marginal_att"),
        ("risk_ratio", "risk_ratio", "rr_att"),
        ("risk_difference", "risk_difference_pp", "rd_att"),
    ):
        for group in ("all", *SIZES):
            published = published_value("R2") if (scale, group) == ("odds_ratio", "all") else float("nan")
            row = ReplicationRow(
                id="R2",
                label=TRANSITION,
                group=group,
                scale=of_row,
                published=published,
                definition=definition,
                status=status,
                design="trials",
            )
            asked.append(Asked(row, scale, _size_group(group), estimand, "transition"))
    naive = ReplicationRow(
        id="R2.naive",
        label=f"{TRANSITION}; no controls",
        group="all",
        scale="odds_ratio",
        published=published_value("R2"),
        definition="participants against all other incidental exporters of the same year",
        status="naive",
        design="naive",
        reason=NAIVE,
    )
    return [*asked, Asked(naive, "odds_ratio", "all", "or_marginal_att", "transition")]


def asked_designs(context: Context) -> list[Asked]:
    """Return the variants of R2 by design: matched, weighted, doubly robust."""
    _, status = _transition_words(context.definitions)
    return [
        Asked(
            ReplicationRow(
                id=f"R2.{name}",
                label=f"{TRANSITION}; {words}",
                group="all",
                scale="odds_ratio",
                published=published_value("R2"),
                definition=definition,
                status=status,
                design="variant",
                reason="the stored truth is for all treated; a matching with a caliper keeps those with a match"
                if name == "matched"
                else "",
            ),
            "odds_ratio",
            "all",
            "or_marginal_att",
            "transition",
        )
        for name, words, definition in DESIGNS
    ]


def transition_step(context: Context) -> StepResult:
    """Estimate R2 on the stacked trials of incidental exporters."""
    risk = transition_risk_set(context.panel)
    asked = asked_transition(context)
    effect = structural_transition(risk, controls=risk.controls, by="size", cluster="firm")
    naive = structural_transition(risk, controls=(), cluster="firm")
    return StepResult((*fill(context, asked[:-1], effect), *fill(context, asked[-1:], naive)), risk.flow)


def designs_step(context: Context) -> StepResult:
    """Estimate R2 by matching, by weighting and doubly robust, each with its reason where it has no estimate."""
    risk = transition_risk_set(context.panel)
    estimates: tuple[Callable[[], Effect], ...] = (
        lambda: structural_transition(
            match(risk, on=risk.controls, exact=["year"], ratio=MATCHES, caliper_sd=CALIPER_SD, seed=1),
            controls=risk.controls,
            cluster="firm",
        ),
        lambda: structural_transition(
            weight(risk, on=risk.controls), controls=None, cluster="firm", estimator="weighting"
        ),
        lambda: structural_transition(risk, controls=risk.controls, cluster="firm", estimator="doubly_robust"),
    )
    rows: list[ReplicationRow] = []
    for one, estimate in zip(asked_designs(context), estimates, strict=True):
        try:
            rows += fill(context, [one], estimate())
        except MissieError as error:
            rows.append(blank(context, one, str(error)))
    return StepResult(tuple(rows))


def asked_exit(context: Context) -> list[Asked]:
    """Return the rows of R3 from t+1: hazard ratio by size, survival differences and yearly exit probabilities."""
    definition, status = _exit_words(context.definitions, "t+1")

    def ask(group: str, scale: str, of_row: str, estimand: str) -> Asked:
        published = published_value("R3") if (scale, group) == ("hazard_ratio", "all") else float("nan")
        row = ReplicationRow(
            id="R3",
            label=EXIT,
            group=group,
            scale=of_row,
            published=published,
            definition=definition,
            status=status,
            design="trials",
        )
        return Asked(row, scale, _size_group(group), estimand, "exit")

    ratios = [ask(group, "hazard_ratio", "hazard_ratio", "hr_marginal_att") for group in ("all", *SIZES)]
    differences = [f"survival_difference_{k}" for k in SURVIVAL_YEARS]
    yearly = ["yearly_exit_probability_without", "yearly_exit_probability_with"]
    return [
        *ratios,
        *(ask("all", scale, f"{scale}_pp", scale) for scale in differences),
        *(ask("all", scale, f"{scale}_percent", scale) for scale in yearly),
    ]


def asked_exit_variants(context: Context) -> list[Asked]:
    """Return the variants of R3 from t and t+2, and the naive coding."""
    asked = []
    for start in ("t", "t+2"):
        definition, status = _exit_words(context.definitions, start)
        row = ReplicationRow(
            id=f"R3.from_{start}",
            label=f"{EXIT}; follow-up from {start}",
            group="all",
            scale="hazard_ratio",
            published=published_value("R3"),
            definition=definition,
            status=status,
            design="variant",
            reason="the stored truth is for follow-up from t+1",
        )
        asked.append(Asked(row, "hazard_ratio", "all"))
    naive = ReplicationRow(
        id="R3.naive",
        label=f"{EXIT}; ever-participants, no controls",
        group="all",
        scale="hazard_ratio",
        published=published_value("R3"),
        definition="pairs with a mission at any time, before or after the year at risk, against all other pairs",
        status="naive",
        design="naive",
        reason=NAIVE,
    )
    return [*asked, Asked(naive, "hazard_ratio_conditional", "all", "hr_marginal_att", "exit")]


def exit_step(context: Context) -> StepResult:
    """Estimate R3 on stacked trials with follow-up from t+1."""
    risk = exit_risk_set(context.panel, "trials", controls_per_treated=EXIT_CONTROLS)
    effect = market_exit(risk, controls=risk.controls, by="size", cluster="firm")
    return StepResult(tuple(fill(context, asked_exit(context), effect)), risk.flow)


def exit_variants_step(context: Context) -> StepResult:
    """Estimate the variants of R3 from t and t+2, and the naive ever-participant coding."""
    asked = asked_exit_variants(context)
    rows: list[ReplicationRow] = []
    starts: tuple[StartFrom, ...] = ("t", "t+2")
    for start, one in zip(starts, asked, strict=False):
        risk = exit_risk_set(context.panel, "trials", start_from=start, controls_per_treated=EXIT_CONTROLS)
        rows += fill(context, [one], market_exit(risk, controls=risk.controls, cluster="firm"))
    naive = market_exit(_ever_participants(context), controls=(), cluster="firm")
    return StepResult((*rows, *fill(context, asked[-1:], naive)))


def asked_entry(context: Context, outcome: str) -> list[Asked]:
    """Return the rows of R1 for trade or investment: total, two sizes, three country groups."""
    definition, status = _entry_words(context.definitions)
    asked = []
    for group in ("all", *SIZES, "OECD", "BRICS", "developing"):
        name = _size_group(group) if group in ("all", *SIZES) else f"country_group={group}"
        row = ReplicationRow(
            id="R1",
            label=ENTRY[outcome],
            group=group,
            scale="risk_difference_pp",
            published=published_value(f"R1.{outcome}.{group}"),
            definition=definition,
            status=status,
            design="trials",
        )
        asked.append(Asked(row, "risk_difference", name, "rd_att", "entry" if outcome == "trade" else "fdi"))
    return asked


def trade_entry_step(context: Context) -> StepResult:
    """Estimate R1 for trade."""
    risk = entry_risk_set(context.panel, outcome="trade", controls_per_treated=ENTRY_CONTROLS)
    return _entry(context, risk, "trade")


def fdi_entry_step(context: Context) -> StepResult:
    """Estimate R1 for investment."""
    risk = entry_risk_set(context.panel, outcome="fdi", controls_per_treated=ENTRY_CONTROLS)
    return _entry(context, risk, "fdi")


def _entry(context: Context, risk: RiskSet, outcome: str) -> StepResult:
    effect = market_entry(risk, controls=risk.controls, by=["size", "country_group"], cluster="firm")
    return StepResult(tuple(fill(context, asked_entry(context, outcome), effect)), risk.flow)


def _ever_participants(context: Context) -> RiskSet:
    """Years at risk of structural pairs, coded by whether the pair ever had a mission: rows counted per firm."""
    panel = context.panel
    ever = distinct(panel.supports.filter(nw.col("listed")).select("firm", "market")).with_columns(ever=nw.lit(1))
    at_risk = exit_rows(panel).filter(nw.col("structural") & nw.col("window_seen"))
    coded = at_risk.join(ever, on=["firm", "market"], how="left").with_columns(
        ever=nw.col("ever").fill_null(0).cast(nw.Int64),
        outcome=nw.when(nw.col("cause") == "exit").then(1).otherwise(0).cast(nw.Int64),
    )
    counted = coded.group_by("firm", "ever", "outcome").agg(nw.len().cast(nw.Int64).alias("years_at_risk"))
    cells = panel.collect(counted, sort_by=["firm", "ever", "outcome"])
    return RiskSet.from_frame(cells, outcome="outcome", treatment="ever", firm="firm", frequency="years_at_risk")


def _size_group(group: str) -> str:
    return group if group == "all" else f"size={group}"


def _transition_words(rules: Definitions) -> tuple[str, str]:
    first, last = (
        ("t", f"t+{rules.outcome_years - 1}") if rules.count_from == "t" else ("t+1", f"t+{rules.outcome_years}")
    )
    return (
        f"{rules.transition_flow}; incidental on t-{rules.window}..t-1 and active in t-1; structural: active in at "
        f"least {rules.min_years} of {first}..{last}; {rules.transition_level} level; size {rules.size_transition}; "
        "logit with the default controls, standardised over the treated",
        "window and threshold carried over; scale and model assumed",
    )


def _exit_words(rules: Definitions, start: str) -> tuple[str, str]:
    return (
        f"{rules.exit_flow} flow; pairs structural and active in t-1 and trading when follow-up starts; no trade for "
        f"{rules.gap_years} years while the firm lives; follow-up {start}..t+{rules.exit_horizon}; size "
        f"{rules.size_exit}; discrete-time complementary log-log with the default controls, standardised over the "
        f"treated; about {EXIT_CONTROLS} controls drawn per treated pair in each market and year",
        "exit rule carried over; scale and model assumed",
    )


def _entry_words(rules: Definitions) -> tuple[str, str]:
    return (
        f"{rules.entry_flow} flow; none in t-{rules.entry_lookback}..t-1, any in t+1..t+{rules.entry_horizon}; size "
        f"{rules.size_entry}; logit with the default controls, standardised over the treated; about "
        f"{ENTRY_CONTROLS} controls drawn per treated pair in each market, year and size",
        "two years and size documented; look-back, unit and model assumed",
    )
