"""R6: the budget indicator beside its published figures. A description: no interval, no truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from missie_impact.definitions import Definitions
from missie_impact.indicator import IndicatorRow, budget_indicator
from missie_impact.study.context import Asked, Context, StepResult, published_value
from missie_impact.study.records import ReplicationRow

MILLION = 1e6


@dataclass(frozen=True, slots=True)
class _Cell:
    """One number of the indicator: where it stands in the table, and how it is read from a row."""

    id: str
    label: str
    group: str
    scale: str
    published: str
    read: Callable[[IndicatorRow], float]


CELLS = (
    _Cell("R6", "supported SME", "sme", "firms", "sme.firms", lambda row: float(row.n_firms)),
    _Cell(
        "R6", "supported SME with an increase", "sme", "share_percent", "sme.share", lambda row: 100 * row.share_growers
    ),
    _Cell("R6", "increase, SME", "sme", "eur_million", "sme.eur", lambda row: row.gross_eur / MILLION),
    _Cell("R6", "increase, large firms", "large", "eur_million", "large.eur", lambda row: row.gross_eur / MILLION),
    _Cell("R6.net", "net increase, SME", "sme", "eur_million", "", lambda row: row.net_eur / MILLION),
    _Cell(
        "R6.net",
        "net increase, large firms",
        "large",
        "eur_million",
        "",
        lambda row: row.net_eur / MILLION,
    ),
    _Cell(
        "R6.firm_sum",
        "SME with an increase over their markets together",
        "sme",
        "share_percent",
        "",
        lambda row: 100 * row.share_growers_sum,
    ),
)


def asked_indicator(context: Context, cohorts: Sequence[int]) -> list[Asked]:
    """Return the rows of R6 for each cohort."""
    return [
        Asked(_row(context.definitions, cohort, cell), cell.scale, cell.group) for cohort in cohorts for cell in CELLS
    ]


def indicator_step(context: Context, cohorts: Sequence[int]) -> StepResult:
    """Compute the budget indicator of the cohorts."""
    indicator = budget_indicator(context.panel, cohorts, by=f"size:{context.definitions.size_indicator}")
    rows = []
    for cohort in cohorts:
        found = {row.group: row for row in indicator.rows if row.cohort == cohort}
        for cell in CELLS:
            asked = _row(context.definitions, cohort, cell)
            rows.append(_filled(context, asked, cell, found.get(cell.group)))
    return StepResult(tuple(rows), indicator.flow)


def _filled(context: Context, asked: ReplicationRow, cell: _Cell, found: IndicatorRow | None) -> ReplicationRow:
    if found is None or not found.n_firms:
        return replace(asked, simulated=context.simulated, reason="no linked supported firm in this group")
    return replace(
        asked,
        estimate=cell.read(found),
        n_rows=found.n_pairs,
        n_firms=found.n_firms,
        n_treated=found.n_firms,
        n_events=found.n_growers,
        simulated=context.simulated,
        reason=_tops(found) if cell.scale == "eur_million" and cell.id == "R6" else "",
    )


def _tops(row: IndicatorRow) -> str:
    if math.isnan(row.gross_top_1):
        return "shares of the largest firms not shown: fewer than 10 firms contribute"
    shares = (row.gross_top_1, row.gross_top_5, row.gross_top_10)
    return "largest 1, 5, 10 firms: " + ", ".join(f"{100 * share:.0f}%" for share in shares) + " of the sum"


def _row(rules: Definitions, cohort: int, cell: _Cell) -> ReplicationRow:
    base = "t" if rules.indicator_base == "t" else "the mean of t-2 and t-1"
    return ReplicationRow(
        id=cell.id,
        label=f"{cohort}: {cell.label}",
        group=cell.group,
        scale=cell.scale,
        published=published_value(f"R6.{cohort}.{cell.published}") if cell.published else float("nan"),
        definition=f"goal attainment; exports to the target market, mean of t+1..t+{rules.indicator_horizon} less "
        f"{base}; size {rules.size_indicator} in t",
        status="documented; unit, gross sum and grower rule assumed",
        design="description",
    )
