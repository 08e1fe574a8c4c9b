"""The budget indicator of the letter: increases of exports to the target market of supported firms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import narwhals as nw
import pandas as pd

from missie_impact.definitions import SIZE_SCHEMES, Definitions, SizeScheme
from missie_impact.errors import NoParticipantError, SettingsError, YearRangeError
from missie_impact.flow import Flow, FlowStep
from missie_impact.indicator.paths import PAIR, exports_around
from missie_impact.indicator.prices import Deflator, in_prices_of_support, read_deflator
from missie_impact.indicator.result import BudgetIndicator
from missie_impact.indicator.sums import add_fate, add_increase, indicator_rows, measured_years, overlap
from missie_impact.panel import Panel
from missie_impact.panel.size import size_class
from missie_impact.registers.engine import Lazy, distinct

By = Literal["size", "sector", "region"]
SIZE_COLUMNS = ["workers", "group_workers", "foreign_controlled", "turnover_cents", "balance_cents"]
NEW_IN_2026 = ("embassy", "trade_innovate_nl")


def budget_indicator(
    panel: Panel,
    cohorts: Sequence[int] = (2020, 2021),
    *,
    by: str | None = "size",
    per: Literal["instrument"] | None = None,
    instruments: Sequence[str] | None = None,
    deflator: Deflator | None = None,
) -> BudgetIndicator:
    """Describe how the exports of supported firms to their target markets rose: goal attainment, not an effect.

    For each supported firm x market pair of a cohort t: the mean over t+1..t+3 of exports (goods and services) to
    that market, less the exports in the base year t. A firm is a grower if any of its supported pairs has a positive
    mean increase. Years without trade count as zero, also after the firm's death.

    Parameters
    ----------
    panel : panel of `build_panel`
    cohorts : support years t; each needs its base year and the years up to t+3 in the trade register
    by : None, "size" (scheme of the definition `size_indicator`), "size:eu" or another scheme by name, "sector" or
        "region"; as the register shows it in t, "unknown" without a row in t
    per : "instrument" adds rows per instrument; a firm with several counts in each, in the totals once
    instruments : the instruments counted; all by default
    deflator : year -> price index, or a frame with the columns ``year`` and ``index``, to express every year in the
        prices of the support year; None for nominal values

    Returns
    -------
    BudgetIndicator
        Counts of firms and pairs, shares, EUR per year. No interval: it covers the whole supported population.

    Raises
    ------
    YearRangeError
        If a year that a cohort needs is not in the trade register, or not in the deflator.
    NoParticipantError
        If no linked firm was supported in any of the cohorts.
    SettingsError
        If a grouping is not known, or an instrument occurs on no row of the list of participants.

    References
    ----------
    Letter to parliament on the missions of 2025 (2026), footnote 4. See ``docs/methods/budget_indicator.md`` for
    what the letter leaves open.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> indicator = mi.budget_indicator(panel, cohorts=(2020,))
    >>> [row.group for row in indicator.rows]
    ['all', 'sme', 'large']
    """
    if per not in (None, "instrument"):
        raise SettingsError(f"`per`: expected None or 'instrument', found {per!r}.")
    check_instruments(panel, instruments)
    definitions = panel.definitions
    scheme = grouping(by, definitions)
    years = tuple(sorted({int(cohort) for cohort in cohorts}))
    refuse_unseen_years(panel, years, measured_years(definitions))
    prices = read_deflator(deflator, years, measured_years(definitions))
    membership = panel.collect(supports_of(panel, years, instruments), sort_by=[*PAIR, "instrument"])
    if membership.empty:
        raise NoParticipantError(
            f"budget indicator: expected linked supported firms in the cohorts {list(years)}, found none in "
            f"{len(panel.linkage.report)} rows of the link report. See panel.linkage.report and panel.linkage.flow."
        )
    supported = panel.engine.take(membership[PAIR].drop_duplicates())
    pairs = supported_pairs(panel, supported, years, measured_years(definitions), by, scheme)
    pairs = add_increase(in_prices_of_support(pairs, prices, measured_years(definitions)), definitions)
    rows, tails = indicator_rows(
        add_fate(pairs, definitions), membership, years, definitions, per_instrument=per is not None, by=by is not None
    )
    name = by if scheme is None else f"size ({scheme})"
    shared = overlap(membership)
    return BudgetIndicator(
        rows=rows,
        tails=tails,
        coverage=_coverage(panel, years, instruments),
        overlap=shared,
        by=name,
        definitions=definitions,
        prices="nominal" if prices is None else "of the support year",
        notes=_notes(definitions, name, instruments, prices is not None, len(shared) > 0),
        flow=_flow(panel, membership, pairs),
        simulated=panel.registers.settings.simulated is not None,
    )


def grouping(by: str | None, definitions: Definitions) -> SizeScheme | None:
    """Return the size scheme of a grouping, None where it is not by size."""
    if by is None or by in ("sector", "region"):
        return None
    kind, _, scheme = by.partition(":")
    scheme = scheme or definitions.size_indicator
    if kind != "size" or scheme not in SIZE_SCHEMES:
        expected = [*get_args(By), *(f"size:{name}" for name in SIZE_SCHEMES)]
        raise SettingsError(f"`by`: expected None or one of {expected}, found {by!r}.")
    return cast(SizeScheme, scheme)


def refuse_unseen_years(panel: Panel, cohorts: tuple[int, ...], offsets: Sequence[int]) -> None:
    """Refuse cohorts that need a year outside the trade register, naming the missing years."""
    if not cohorts:
        raise SettingsError("budget indicator: expected at least one support year in `cohorts`, found none.")
    for cohort in cohorts:
        missing = [cohort + k for k in offsets if not panel.first_year <= cohort + k <= panel.last_year]
        wanted = f"{cohort + min(offsets)}-{cohort + max(offsets)}"
        if missing:
            raise YearRangeError(
                f"budget indicator, cohort {cohort}: expected exports of {wanted}, found "
                f"{panel.first_year}-{panel.last_year}; missing: {', '.join(map(str, missing))}. Leave this cohort "
                "out, or read the trade of the missing years."
            )


def check_instruments(panel: Panel, instruments: Sequence[str] | None) -> None:
    """Refuse a text instead of a list, and names that the list of participants does not hold."""
    if instruments is None:
        return
    known = sorted(panel.linkage.report["instrument"].unique())
    if isinstance(instruments, str) or not len(instruments):
        raise SettingsError(f"`instruments`: expected a list of some of {known}, or None, found {instruments!r}.")
    if unknown := sorted(set(instruments) - set(known)):
        raise SettingsError(f"`instruments`: expected some of {known}, found {unknown} on no row of the list.")


def supports_of(panel: Panel, cohorts: tuple[int, ...], instruments: Sequence[str] | None) -> Lazy:
    """Distinct firm, market, cohort, instrument."""
    supports = panel.supports.filter(nw.col("year").is_in(list(cohorts)))
    if instruments is not None:
        supports = supports.filter(nw.col("instrument").is_in(list(instruments)))
    cohort = nw.col("year").cast(nw.Int64).alias("cohort")
    return distinct(supports.select("firm", "market", cohort, "instrument"))


def supported_pairs(
    panel: Panel,
    pairs: Lazy,
    cohorts: tuple[int, ...],
    offsets: Sequence[int],
    by: str | None,
    scheme: SizeScheme | None,
) -> pd.DataFrame:
    """One row per pair and cohort: exports of the years asked for, group, ended, lost_year."""
    life = panel.life.select("firm", "ended", "lost_year")

    def complete(rows: Lazy) -> Lazy:
        return with_group(rows, panel, cohorts, by, scheme).join(life, on="firm", how="left")

    return exports_around(panel, pairs, offsets, complete)


def with_group(pairs: Lazy, panel: Panel, cohorts: tuple[int, ...], by: str | None, scheme: SizeScheme | None) -> Lazy:
    """Add the column ``group``: the firm's class in the support year."""
    if by is None:
        return pairs.with_columns(group=nw.lit("all"))
    at_support = panel.firm_years.filter(nw.col("year").is_in(list(cohorts)))
    named = nw.col(by) if scheme is None else size_class(scheme, panel.definitions)
    groups = at_support.select("firm", nw.col("year").cast(nw.Int64).alias("cohort"), named.alias("group"))
    return pairs.join(groups, on=["firm", "cohort"], how="left").with_columns(nw.col("group").fill_null("unknown"))


def _coverage(
    panel: Panel, cohorts: tuple[int, ...], instruments: Sequence[str] | None
) -> tuple[tuple[int, int, int], ...]:
    report = panel.linkage.report
    if instruments is not None:
        report = report[report["instrument"].isin(list(instruments))]
    rows = ((cohort, report[report["year"] == cohort]) for cohort in cohorts)
    return tuple((cohort, int(part["participations"].sum()), int(part["linked"].sum())) for cohort, part in rows)


def _notes(
    definitions: Definitions, by: str | None, instruments: Sequence[str] | None, deflated: bool, shared: bool
) -> tuple[str, ...]:
    base = "the support year t" if definitions.indicator_base == "t" else "the mean of t-2 and t-1"
    breaks = (
        "Series breaks: SME and large firms apart since 2025; embassies and Trade & Innovate NL included since 2026"
    )
    prices = "in prices of the support year" if deflated else "nominal"
    left_out = instruments is not None and not set(NEW_IN_2026) <= set(instruments)
    return (
        "Goal attainment (doelbereik): it describes supported firms and says nothing about what they would have "
        "exported without support. A sum of increases only is positive even where support does nothing.",
        f"Base: {base}; mean over the {definitions.indicator_horizon} years after t, {prices}, target market only; "
        f"headline sum: {definitions.indicator_aggregate}, growers: {definitions.indicator_grower}; years without "
        "trade, also after death, count as zero.",
        f"Groups: {by or 'none'}, as the register shows them in t; 'unknown' without a row in t. Workers stand for fte "
        "(assumed).",
        "A grower has a positive mean increase in any supported pair (assumed); `share_growers_sum` asks it of the sum "
        "over the firm's supported pairs.",
        "Per instrument a firm with several instruments counts in each row; totals count it once"
        + ("; `overlap_frame()` says how many had two." if shared else "."),
        breaks + ("; the latter are left out here." if left_out else "."),
        "Shares of the largest firms are shown only where at least 10 firms contribute to the sum.",
    )


def _flow(panel: Panel, membership: pd.DataFrame, pairs: pd.DataFrame) -> Flow:
    growers = pairs[pairs["increase"] > 0]
    return panel.linkage.flow.then(
        FlowStep(
            "supported pairs and instruments of the cohorts",
            len(membership),
            membership["firm"].nunique(),
            membership["firm"].nunique(),
            "support in other years, or by instruments that are not counted",
        ),
        FlowStep(
            "supported pairs of the cohorts",
            len(pairs),
            pairs["firm"].nunique(),
            pairs["firm"].nunique(),
            "several instruments for the same pair and year",
        ),
        FlowStep(
            "pairs with an increase",
            len(growers),
            growers["firm"].nunique(),
            growers["firm"].nunique(),
            "mean of the later years not above the base",
        ),
    )
