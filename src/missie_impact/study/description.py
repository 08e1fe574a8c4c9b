"""What registers say of themselves: spells, exits, survival. All that can be had without missions or firms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import narwhals as nw
import pandas as pd

from missie_impact.numerics.survival import kaplan_meier
from missie_impact.risksets.exit import exit_rows
from missie_impact.study.context import Asked, Context, StepResult
from missie_impact.study.records import ReplicationRow

SURVIVAL_YEARS = (1, 2, 3, 4, 5)
DESIGN = "description"


def asked_description() -> list[Asked]:
    """Return the one row that stands where nothing could be counted."""
    return [Asked(_row("spells", "spells of trade of a firm in a market", "count", ""), "count", "all")]


def description_step(context: Context) -> StepResult:
    """Describe spells, yearly exits and survival of firm x market pairs, and say what the registers cannot tell."""
    cells = _cells(context)
    rows = [*_spells(context), *_exits(context, cells), *_survival(context, cells), *_unknowns(context)]
    return StepResult(tuple(rows), context.panel.flow)


def _cells(context: Context) -> pd.DataFrame:
    """Years at risk by exit year, duration and how they end: exit_year, duration, seen, cause, n."""
    rows = exit_rows(context.panel)
    counted = (
        rows.with_columns(duration=nw.col("year") - nw.col("begin") + 1, seen=nw.col("origin_seen").cast(nw.Int64))
        .group_by("exit_year", "duration", "seen", "cause")
        .agg(nw.len().cast(nw.Int64).alias("n"))
    )
    return context.panel.collect(counted, sort_by=["exit_year", "duration", "seen", "cause"])


def _spells(context: Context) -> Iterator[ReplicationRow]:
    summary = context.panel.spells().select(
        nw.len().cast(nw.Int64).alias("spells"),
        nw.col("firm").n_unique().cast(nw.Int64).alias("firms"),
        nw.col("length").cast(nw.Float64).mean().alias("mean_length"),
        nw.col("origin_seen").cast(nw.Int64).sum().cast(nw.Int64).alias("seen"),
        (nw.col("end_reason") == "open").cast(nw.Int64).sum().cast(nw.Int64).alias("open"),
    )
    found = context.panel.collect(summary, sort_by=[]).iloc[0]
    rule = f"a spell ends after {context.definitions.gap_years} years without trade"
    for label, scale, value in (
        ("spells of trade of a firm in a market", "count", float(found["spells"])),
        ("spells whose begin was seen", "share_percent", 100 * found["seen"] / found["spells"]),
        ("spells open at the end of the data", "share_percent", 100 * found["open"] / found["spells"]),
        ("observed length of spells, mean", "years", float(found["mean_length"])),
    ):
        row = _row("spells", label, scale, rule)
        yield replace(row, estimate=float(value), n_rows=int(found["spells"]), n_firms=int(found["firms"]))


def _exits(context: Context, cells: pd.DataFrame) -> Iterator[ReplicationRow]:
    """Yearly exit probability of all pairs at risk, per year and together."""
    rule = f"no trade for {context.definitions.gap_years} years; dated {context.definitions.row_year}"
    note = "" if _knows_death(context) else "firm death is not known: exits are exits or deaths"
    every = [("all years", cells), *((str(year), part) for year, part in cells.groupby("exit_year"))]
    for name, part in every:
        at_risk, exits = int(part["n"].sum()), int(part.loc[part["cause"] == "exit", "n"].sum())
        yield replace(
            _row("exit_hazard", f"exit from a market, share of the pairs at risk, {name}", "share_percent", rule),
            estimate=100 * exits / at_risk if at_risk else math.nan,
            n_rows=at_risk,
            n_events=exits,
            reason=note,
        )


def _survival(context: Context, cells: pd.DataFrame) -> Iterator[ReplicationRow]:
    """Kaplan-Meier survival in the market after the first, second, ... year; spells with a seen begin only."""
    seen = cells[cells["seen"] == 1]
    exit_ = seen["cause"] == "exit"
    start, rows = seen["duration"] - 1, seen["n"]
    curve = kaplan_meier(seen["duration"], exit_, start=start, frequency=rows) if len(seen) else None
    rule = f"Kaplan-Meier; spells with {context.definitions.origin_zeros} years without trade seen before them"
    for years in SURVIVAL_YEARS:
        row = _row("survival", f"new pairs still in the market after their year {years}", "share_percent", rule)
        at_risk = seen["duration"] == years
        if curve is None or not at_risk.any():
            yield replace(row, n_rows=0, reason=f"no spell with a seen begin is at risk in year {years}")
            continue
        low, high = curve.interval_at([years])
        yield replace(
            row,
            estimate=100 * float(curve.survival_at([years])[0]),
            conf_low=100 * float(low[0]),
            conf_high=100 * float(high[0]),
            n_rows=int(rows[at_risk].sum()),
            n_events=int(rows[at_risk & exit_].sum()),
        )


def _unknowns(context: Context) -> Iterator[ReplicationRow]:
    """Say what these registers cannot tell; nothing where they can."""
    panel, rules = context.panel, context.definitions
    if not _knows_death(context):
        death = _row("firm_death", "firms that cease", "count", "firm register")
        yield replace(death, reason="not known: no firm register")
    rule = f"active in at least {rules.min_years} of the last {rules.window} years"
    row = _row("structural", "active pair-years that are structural", "share_percent", rule)
    years = panel.last_year - panel.first_year + 1
    if years < rules.window:
        reason = f"window longer than data: {rules.window} years asked, {years} in the data"
        yield replace(row, reason=reason)
        return
    status = panel.status("market", rules.exit_flow).filter(nw.col("window_seen"))
    counted = status.group_by("status").agg(nw.len().cast(nw.Int64).alias("n"))
    found = panel.collect(counted, sort_by=["status"]).set_index("status")["n"]
    total, structural = int(found.sum()), int(found.get("structural", 0))
    share = 100 * structural / total if total else math.nan
    yield replace(row, estimate=share, n_rows=total, n_events=structural)


def _knows_death(context: Context) -> bool:
    return bool(context.panel.registers.has("firms"))


def _row(name: str, label: str, scale: str, definition: str) -> ReplicationRow:
    """Return a row without numbers."""
    return ReplicationRow(
        id=name, label=label, group="all", scale=scale, definition=definition, status="assumed", design=DESIGN
    )
