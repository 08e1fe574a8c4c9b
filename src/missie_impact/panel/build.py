"""Registers to panel: identities followed, corrections summed, firm-years completed."""

from __future__ import annotations

from dataclasses import dataclass

import narwhals as nw
import pandas as pd

from missie_impact.definitions import CBS_2024, Definitions
from missie_impact.flow import FlowStep
from missie_impact.linkage import Successors, link_participants, resolve_successors
from missie_impact.linkage.counting import count_units
from missie_impact.panel.activity import is_active
from missie_impact.panel.history import with_history
from missie_impact.panel.once import Once
from missie_impact.panel.panel import Panel
from missie_impact.panel.patterns import MOST_YEARS, pattern_history, patterns_of
from missie_impact.registers import Registers
from missie_impact.registers.engine import Lazy

PAIR = ["firm", "market", "year"]
UNIT = ["firm", "market"]
KINDS = ("goods", "services")
ROWS_AT_ONCE = 2_000_000  # trade rows that are summed together


def build_panel(registers: Registers, definitions: Definitions | None = None) -> Panel:
    """Bring checked registers into the sparse firm x market x year panel.

    Firms are followed to their last identity; trade is summed per firm, market, year and flow over corrections and
    the kinds of trade that the definitions count. Only firm x market x years with a positive flow are kept: a year
    that is not there is a year without trade. Nothing is densified.

    Parameters
    ----------
    registers : checked tables of :func:`read_registers`, :func:`simulate_registers` or ``Registers.from_frames``
    definitions : the rules; None is ``CBS_2024`` with the changes that ``study.toml`` asks for

    Returns
    -------
    Panel
        Its ``flow`` counts what each step left out, and why.

    Raises
    ------
    SchemaError
        If identities succeed each other in a circle.

    Examples
    --------
    >>> import missie_impact as mi
    >>> with mi.simulate_registers(seed=1, firms=2_000, progress=False) as registers:
    ...     panel = mi.build_panel(registers)
    ...     panel.firm_years.collect_schema().names()[:3]
    ['firm', 'year', 'group']
    """
    definitions = definitions or CBS_2024.with_changes(registers.settings.definitions)
    engine = registers.engine
    successors = resolve_successors(registers, definitions)
    linkage = link_participants(registers, definitions, successors)
    uniform = _uniform(registers, definitions, successors)
    pair_years, summed = _pair_years(registers, definitions, successors, uniform)
    pair_history, patterns = _pair_history(registers, definitions, pair_years)
    firm_trade = _firm_trade(pair_years, definitions, uniform)
    if uniform is None:
        firm_trade = firm_trade.join(_kinds(registers, successors), on=["firm", "year"], how="left")
    firms = _with_group_workers(_one_row_per_firm_year(registers.firms, successors))
    firm_years = engine.store(firms, "firm_years")
    life = engine.store(_life(firm_years, successors), "life")
    units = uniform.counted if uniform else None
    return Panel(
        registers=registers,
        definitions=definitions,
        linkage=linkage,
        successors=successors,
        pair_years=pair_years,
        pair_history=pair_history,
        firm_totals=Once(engine, firm_trade, "firm_trade"),
        firm_years=firm_years,
        life=life,
        tables=(*summed, *patterns, firm_years, life),
        flow=registers.flow.then(_flow_step(*(units or count_units(engine, pair_years)))),
    )


@dataclass(frozen=True, slots=True)
class _Uniform:
    """Trade of one flow and kind, each row a pair and year, so that nothing needs summing.

    Checked trade has one row per firm, market, year, flow, kind and estimated, but for corrections below zero.

    Attributes
    ----------
    flow, kind : of all rows
    counted : rows and firms, where all rows are trade
    """

    flow: str
    kind: str
    counted: tuple[int, int] | None


def _uniform(registers: Registers, definitions: Definitions, successors: Successors) -> _Uniform | None:
    trade, constant = registers.trade, ("flow", "kind", "estimated")
    marks = {"estimated": nw.col("estimated").fill_null(False).cast(nw.Int8)}
    bounds = trade.with_columns(**marks).select(
        *(nw.col(name).min().alias(f"{name}_min") for name in constant),
        *(nw.col(name).max().alias(f"{name}_max") for name in constant),
        lowest=nw.col("value_cents").min(),
        rows=nw.len(),
        firms=nw.col("firm").n_unique(),
    )
    found = registers.engine.one(bounds)
    alike = all(found[f"{name}_min"] == found[f"{name}_max"] for name in constant)
    counted = found["kind_min"] in definitions.kinds and (definitions.include_estimated or not found["estimated_min"])
    if not (alike and counted and found["lowest"] >= 0 and successors.final is None):
        return None
    units = (int(found["rows"]), int(found["firms"])) if found["lowest"] > 0 else None
    return _Uniform(str(found["flow_min"]), str(found["kind_min"]), units)


def _pair_years(
    registers: Registers, definitions: Definitions, successors: Successors, uniform: _Uniform | None
) -> tuple[Lazy, tuple[Lazy, ...]]:
    """Trade per pair and year, and the tables stored for it.

    The checked rows themselves where nothing needs summing, else sums of some markets at a time to keep memory low.
    """
    if uniform:
        return _split(_counted(registers.trade, definitions), uniform.flow), ()
    sums = [_summed(part) for part in _parts(registers, definitions, successors)]
    stored = registers.engine.store_parts(sums, "pair_years")
    return stored, (stored,)


def _pair_history(registers: Registers, definitions: Definitions, pair_years: Lazy) -> tuple[Lazy, tuple[Lazy, ...]]:
    """Spell and window of each active year of a pair in the flow of the exit question, and the tables stored for it.

    Only the pattern of each pair is stored: its years are written out where they are asked for.
    """
    engine, settings = registers.engine, registers.settings
    active = pair_years.filter(is_active(definitions, definitions.exit_flow)).select(*PAIR)
    years = range(settings.first_year, settings.last_year + 1)
    if len(years) > MOST_YEARS:
        stored = engine.store(with_history(active, UNIT, definitions), "pair_history")
        return stored, (stored,)
    pairs = engine.store(patterns_of(active, UNIT, settings.first_year), "pair_patterns")
    history = engine.store(pattern_history(engine, pairs, years, definitions), "pattern_history")
    return pairs.join(history, on="mask", how="inner").drop("mask"), (pairs, history)


def _counted(trade: Lazy, definitions: Definitions) -> Lazy:
    """Rows of the kinds of trade that the definitions count."""
    kept = trade.filter(nw.col("kind").is_in(list(definitions.kinds)))
    return kept if definitions.include_estimated else kept.filter(~nw.col("estimated").fill_null(False))


def _parts(registers: Registers, definitions: Definitions, successors: Successors) -> list[Lazy]:
    """Trade of some markets at a time, firms followed to their last identity."""
    trade = _counted(registers.trade, definitions)
    rows = trade.group_by("market").agg(nw.len().cast(nw.Int64).alias("rows"))
    groups = _market_groups(registers.engine.collect(rows, sort_by=["market"]))
    parts = [trade.filter(nw.col("market").is_in(markets)) for markets in groups] or [trade]
    return [successors.follow(part) for part in parts]


def _market_groups(sizes: pd.DataFrame) -> list[list[str]]:
    """Split markets into groups of about as many rows each, none much above ``ROWS_AT_ONCE``."""
    n_groups = -(-int(sizes["rows"].sum()) // ROWS_AT_ONCE)
    largest_first = sizes.sort_values(["rows", "market"], ascending=[False, True])["market"].tolist()
    return [largest_first[k::n_groups] for k in range(n_groups)] if n_groups else []


def _split(trade: Lazy, flow: str) -> Lazy:
    """Exports and imports beside each other, of rows that all have one flow; only rows with trade."""
    value, nothing = nw.col("value_cents"), nw.lit(0).cast(nw.Int64)
    exports, imports = (value, nothing) if flow == "export" else (nothing, value)
    return trade.filter(value > 0).select(*PAIR, exports_cents=exports, imports_cents=imports)


def _summed(trade: Lazy) -> Lazy:
    """Exports and imports per pair and year, corrections included; only sums above zero."""
    value, exported = nw.col("value_cents"), nw.col("flow") == "export"
    summed = trade.group_by(*PAIR).agg(
        nw.when(exported).then(value).otherwise(0).sum().cast(nw.Int64).alias("exports_cents"),
        nw.when(exported).then(0).otherwise(value).sum().cast(nw.Int64).alias("imports_cents"),
    )
    return summed.filter((nw.col("exports_cents") > 0) | (nw.col("imports_cents") > 0))


def _firm_trade(pair_years: Lazy, definitions: Definitions, uniform: _Uniform | None) -> Lazy:
    """Firm x year: exports, imports and number of export markets, over markets with a positive flow.

    With trade of one flow the other need not be summed, and whether the one kind is exported follows from the exports.
    """
    exports, imports = nw.col("exports_cents"), nw.col("imports_cents")
    markets = (exports > round(definitions.min_value_eur * 100)).cast(nw.Int64).sum().cast(nw.Int64)
    of_firms, counted = pair_years.group_by("firm", "year"), markets.alias("export_markets")
    if uniform is None:
        return of_firms.agg(
            nw.when(exports > 0).then(exports).otherwise(0).sum().cast(nw.Int64).alias("exports_cents"),
            nw.when(imports > 0).then(imports).otherwise(0).sum().cast(nw.Int64).alias("imports_cents"),
            counted,
        )
    known, absent = ("exports_cents", "imports_cents")[:: 1 if uniform.flow == "export" else -1]
    totals = of_firms.agg(nw.col(known).sum().cast(nw.Int64), counted)
    totals = totals.with_columns(nw.lit(0).cast(nw.Int64).alias(absent))
    marks = {kind: nw.when(exports > 0).then(int(kind == uniform.kind)).cast(nw.Int8) for kind in KINDS}
    return totals.select("firm", "year", "exports_cents", "imports_cents", "export_markets", **marks)


def _kinds(registers: Registers, successors: Successors) -> Lazy:
    """Firm x year: whether it exports goods and services (1, else 0), whatever kinds the definitions count."""
    exported = registers.trade.filter((nw.col("flow") == "export") & (nw.col("value_cents") > 0))
    marks = {name: nw.when(nw.col("kind") == name).then(1).otherwise(0).cast(nw.Int8) for name in KINDS}
    own = exported.group_by("firm", "year").agg(*(mark.max().alias(name) for name, mark in marks.items()))
    return successors.follow(own).group_by("firm", "year").agg(nw.col("goods").max(), nw.col("services").max())


def _one_row_per_firm_year(firms: Lazy, successors: Successors) -> Lazy:
    """Follow identities; where two identities share a year, the lasting one stands, else the larger."""
    if successors.final is None:
        return firms
    own = firms.with_columns(old=nw.col("firm"))
    followed = successors.follow(own)
    changed = successors.final.select(firm="successor").unique()
    ranked = followed.join(changed, on="firm", how="semi").with_columns(
        rank=nw.col("workers").fill_null(0.0) + nw.when(nw.col("old") == nw.col("firm")).then(1e12).otherwise(0.0)
    )
    best = ranked.with_columns(best=nw.col("rank").max().over("firm", "year"))
    best = best.filter(nw.col("rank") == nw.col("best")).with_columns(first=nw.col("old").min().over("firm", "year"))
    best = best.filter(nw.col("old") == nw.col("first")).drop("rank", "best", "first")
    return nw.concat([followed.join(changed, on="firm", how="anti"), best]).drop("old")


def _with_group_workers(firms: Lazy) -> Lazy:
    together = nw.col("workers").sum().over("group", "year")
    return firms.with_columns(
        group_workers=nw.when(nw.col("group").is_null()).then(nw.col("workers")).otherwise(together)
    )


def _life(firms: Lazy, successors: Successors) -> Lazy:
    """One row per firm: founded, ended and the year its identity was lost, each null where not known.

    ``ended`` is read from the firm's last row: an old identity that ended lives on in its successor.
    """
    last = firms.with_columns(last_row=nw.col("year").max().over("firm"))
    life = last.group_by("firm").agg(
        nw.col("founded").min().cast(nw.Int64),
        nw.when(nw.col("year") == nw.col("last_row")).then(nw.col("ended")).max().cast(nw.Int64).alias("ended"),
    )
    if successors.lost is None:
        return life.with_columns(lost_year=nw.lit(None).cast(nw.Int64))
    return life.join(successors.lost, on="firm", how="left")


def _flow_step(rows: int, firms: int) -> FlowStep:
    reason = "flows, kinds and corrections of a firm, market and year summed; sums at or below zero are no trade"
    return FlowStep("firm x market x years with trade", rows, firms, None, reason)
