"""Registers to panel: identities followed, corrections summed, firm-years completed."""

from __future__ import annotations

from dataclasses import dataclass

import narwhals as nw
import pandas as pd

from missie_impact.definitions import CBS_2024, Definitions, Flow
from missie_impact.flow import FlowStep
from missie_impact.linkage import Linkage, Successors, link_participants, resolve_successors
from missie_impact.linkage.counting import count_units
from missie_impact.panel.activity import floor_cents, is_active
from missie_impact.panel.history import with_history
from missie_impact.panel.once import Once
from missie_impact.panel.panel import Panel
from missie_impact.panel.patterns import MOST_YEARS, PairHistory, pattern_history, patterns_of, year_bits
from missie_impact.registers import Registers
from missie_impact.registers.engine import Engine, Lazy, distinct

PAIR = ["firm", "market", "year"]
UNIT = ["firm", "market"]
KINDS = ("goods", "services")
ROWS_AT_ONCE = 2_000_000  # trade rows that are summed together
CENTURIES = 10_000  # above any year of the schema
LARGEST_EXACT = 2**52  # half of what doubles hold: the sum itself may be rounded


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
    pair_history, patterns = _pair_history(registers, definitions, pair_years, uniform)
    if uniform:
        firm_trade = _uniform_firm_trade(engine, pair_years, definitions, uniform)
    else:
        firm_trade = _firm_trade(engine, pair_years, definitions, _kinds(registers, successors))
    firm_years, kept = _firm_years(registers, successors)
    life = engine.store(_life(firm_years, successors), "life")
    supported = engine.store(_supported_years(pair_years, linkage), "supported_years")
    return Panel(
        registers=registers,
        definitions=definitions,
        linkage=linkage,
        successors=successors,
        pair_years=pair_years,
        pair_history=pair_history,
        supported_years=supported,
        firm_totals=firm_trade,
        firm_years=firm_years,
        life=life,
        tables=(*summed, *patterns, *kept, life, supported),
        flow=registers.flow.then(_flow_step(*_units(registers, pair_years, uniform))),
    )


@dataclass(frozen=True, slots=True)
class _Uniform:
    """Trade of one flow and kind, each row a pair and year, so that nothing needs summing.

    Checked trade has one row per firm, market, year, flow, kind and estimated, but for corrections below zero.

    Attributes
    ----------
    flow, kind : of all rows
    lowest_cents : the lowest value, zero or more
    exact : the sum of all values is a whole number that doubles hold, so that any part of it may be summed in them
    """

    flow: str
    kind: str
    lowest_cents: int
    exact: bool

    def all_active(self, definitions: Definitions, flow: Flow) -> bool:
        """Whether every row is trade above the minimum in a flow, so that no value need be looked at."""
        return flow in (self.flow, "either") and self.lowest_cents > max(0, floor_cents(definitions))


def _uniform(registers: Registers, definitions: Definitions, successors: Successors) -> _Uniform | None:
    if successors.final is not None:
        return None
    marked = registers.trade.with_columns(estimated=nw.col("estimated").fill_null(False))
    first = registers.engine.one(marked.select("flow", "kind", "estimated").head(1))
    if first["kind"] not in definitions.kinds or (first["estimated"] and not definitions.include_estimated):
        return None
    others = [nw.col(name) != value for name, value in first.items()]
    facts = marked.select(
        other=nw.any_horizontal(*others, ignore_nulls=True).cast(nw.Int8).max(),
        lowest=nw.col("value_cents").min(),
        total=nw.col("value_cents").cast(nw.Float64).sum(),
    )
    found = registers.engine.one(facts)
    if found["other"] or found["lowest"] < 0:
        return None
    exact = found["total"] < LARGEST_EXACT
    return _Uniform(str(first["flow"]), str(first["kind"]), int(found["lowest"]), exact)


def _pair_years(
    registers: Registers, definitions: Definitions, successors: Successors, uniform: _Uniform | None
) -> tuple[Lazy, tuple[Lazy, ...]]:
    """Trade per pair and year, and the tables stored for it.

    The checked rows themselves where nothing needs summing, else sums of some markets at a time to keep memory low.
    """
    if uniform:
        return _split(registers.trade, uniform), ()
    sums = [_summed(part) for part in _parts(registers, definitions, successors)]
    stored = registers.engine.store_parts(sums, "pair_years")
    return stored, (stored,)


def _pair_history(
    registers: Registers, definitions: Definitions, pair_years: Lazy, uniform: _Uniform | None
) -> tuple[PairHistory, tuple[Lazy, ...]]:
    """Spell and window of each active year of a pair in the flow of the exit question, and the tables stored for it.

    Only the pattern of each pair is stored: its years are written out where they are asked for.
    """
    engine, settings = registers.engine, registers.settings
    active = pair_years
    if not (uniform and uniform.all_active(definitions, definitions.exit_flow)):
        active = active.filter(is_active(definitions, definitions.exit_flow))
    active = active.select(*PAIR)
    years = range(settings.first_year, settings.last_year + 1)
    if len(years) > MOST_YEARS:
        stored = engine.store(with_history(active, UNIT, definitions), "pair_history")
        return PairHistory(stored), (stored,)
    bits, codes = year_bits(engine, years), _market_codes(registers)
    pairs = engine.store(patterns_of(active, bits, codes), "pair_patterns")
    history = engine.store(pattern_history(pairs, bits, definitions), "pattern_history")
    engine.forget(bits, codes)
    return PairHistory(pairs, history), (pairs, history)


def _market_codes(registers: Registers) -> Lazy:
    """A number for each market that the check lets through."""
    markets = registers.engine.collect(registers.markets.select("market"), sort_by=["market"])
    return registers.engine.take(markets.assign(code=range(len(markets))))


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


def _split(trade: Lazy, uniform: _Uniform) -> Lazy:
    """Exports and imports beside each other, of rows that all have one flow; only rows with trade."""
    value, nothing = nw.col("value_cents"), nw.lit(0).cast(nw.Int64)
    exports, imports = (value, nothing) if uniform.flow == "export" else (nothing, value)
    traded = trade if uniform.lowest_cents > 0 else trade.filter(value > 0)
    return traded.select(*PAIR, exports_cents=exports, imports_cents=imports)


def _summed(trade: Lazy) -> Lazy:
    """Exports and imports per pair and year, corrections included; only sums above zero."""
    value, exported = nw.col("value_cents"), nw.col("flow") == "export"
    summed = trade.group_by(*PAIR).agg(
        nw.when(exported).then(value).otherwise(0).sum().cast(nw.Int64).alias("exports_cents"),
        nw.when(exported).then(0).otherwise(value).sum().cast(nw.Int64).alias("imports_cents"),
    )
    return summed.filter((nw.col("exports_cents") > 0) | (nw.col("imports_cents") > 0))


def _supported_years(pair_years: Lazy, linkage: Linkage) -> Lazy:
    """Exports of the pairs that were ever supported: few rows, which the indicator asks for time and again."""
    exports = pair_years.select(*PAIR, "exports_cents")
    return exports.join(distinct(linkage.supports.select(*UNIT)), on=UNIT, how="semi")


def _firm_trade(engine: Engine, pair_years: Lazy, definitions: Definitions, kinds: Lazy) -> Once:
    """Firm x year: exports, imports, number of export markets (over markets with a positive flow), goods, services."""
    exports, imports = nw.col("exports_cents"), nw.col("imports_cents")
    totals = pair_years.group_by("firm", "year").agg(
        nw.when(exports > 0).then(exports).otherwise(0).sum().cast(nw.Int64).alias("exports_cents"),
        nw.when(imports > 0).then(imports).otherwise(0).sum().cast(nw.Int64).alias("imports_cents"),
        _above(exports, definitions).alias("export_markets"),
    )
    return Once(engine, totals.join(kinds, on=["firm", "year"], how="left"), "firm_trade")


def _above(exports: nw.Expr, definitions: Definitions) -> nw.Expr:
    return (exports > floor_cents(definitions)).cast(nw.Int64).sum().cast(nw.Int64)


def _uniform_firm_trade(engine: Engine, pair_years: Lazy, definitions: Definitions, uniform: _Uniform) -> Once:
    """The same of trade of one flow and kind: the other flow is zero, and whether the kind is exported follows."""
    known, absent = ("exports_cents", "imports_cents")[:: 1 if uniform.flow == "export" else -1]
    every = uniform.all_active(definitions, "export")
    value = nw.col(known).cast(nw.Float64) if uniform.exact else nw.col(known)  # sums of 64 bits take 128
    totals = pair_years.group_by("firm", "year").agg(
        value.sum().cast(nw.Int64).alias(known),
        (nw.len().cast(nw.Int64) if every else _above(nw.col("exports_cents"), definitions)).alias("export_markets"),
    )

    def finish(stored: Lazy) -> Lazy:
        whole = stored.with_columns(nw.lit(0).cast(nw.Int64).alias(absent))
        exported = nw.col("exports_cents") > 0
        marks = {kind: nw.when(exported).then(int(kind == uniform.kind)).cast(nw.Int8) for kind in KINDS}
        return whole.select("firm", "year", "exports_cents", "imports_cents", "export_markets", **marks)

    return Once(engine, totals, "firm_trade", finish)


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
    changed = distinct(successors.final.select(firm="successor"))
    ranked = followed.join(changed, on="firm", how="semi").with_columns(
        rank=nw.col("workers").fill_null(0.0) + nw.when(nw.col("old") == nw.col("firm")).then(1e12).otherwise(0.0)
    )
    best = ranked.with_columns(best=nw.col("rank").max().over("firm", "year"))
    best = best.filter(nw.col("rank") == nw.col("best")).with_columns(first=nw.col("old").min().over("firm", "year"))
    best = best.filter(nw.col("old") == nw.col("first")).drop("rank", "best", "first")
    return nw.concat([followed.join(changed, on="firm", how="anti"), best]).drop("old")


def _firm_years(registers: Registers, successors: Successors) -> tuple[Lazy, tuple[Lazy, ...]]:
    """The firm register after identity changes, with ``group_workers``, and what is stored for it.

    Without groups and changes it is the checked table itself, to which nothing is gained by a copy.
    """
    firms = _one_row_per_firm_year(registers.firms, successors)
    if "group" in registers.absent.get("firms", ()):
        firms = firms.with_columns(group_workers=nw.col("workers"))
        if successors.final is None:
            return firms, ()
    else:
        firms = _with_group_workers(firms)
    stored = registers.engine.store(firms, "firm_years")
    return stored, (stored,)


def _with_group_workers(firms: Lazy) -> Lazy:
    grouped = firms.filter(~nw.col("group").is_null())
    together = grouped.group_by("group", "year").agg(nw.col("workers").sum().alias("together"))
    joined = firms.join(together, on=["group", "year"], how="left")
    alone = nw.col("group").is_null()
    return joined.with_columns(group_workers=nw.when(alone).then(nw.col("workers")).otherwise(nw.col("together"))).drop(
        "together"
    )


def _life(firms: Lazy, successors: Successors) -> Lazy:
    """One row per firm: founded, ended and the year its identity was lost, each null where not known.

    ``ended`` is read from the firm's last row: an old identity that ended lives on in its successor. Year and end are
    one number, so that the highest holds the end of the last row.
    """
    dated = nw.col("year").cast(nw.Int64) * CENTURIES + nw.col("ended").fill_null(0).cast(nw.Int64)
    life = firms.group_by("firm").agg(nw.col("founded").min().cast(nw.Int64), dated.max().alias("dated"))
    ended = nw.col("dated") % CENTURIES
    life = life.with_columns(ended=nw.when(ended > 0).then(ended)).drop("dated")
    if successors.lost is None:
        return life.with_columns(lost_year=nw.lit(None).cast(nw.Int64))
    return life.join(successors.lost, on="firm", how="left")


def _units(registers: Registers, pair_years: Lazy, uniform: _Uniform | None) -> tuple[int, int]:
    """Rows and firms with trade: those of the checked table where every row of it is trade."""
    checked = registers.flow.steps[-1] if uniform and uniform.lowest_cents > 0 else None
    if checked is None or checked.firms is None:
        return count_units(registers.engine, pair_years)
    return checked.rows, checked.firms


def _flow_step(rows: int, firms: int) -> FlowStep:
    reason = "flows, kinds and corrections of a firm, market and year summed; sums at or below zero are no trade"
    return FlowStep("firm x market x years with trade", rows, firms, None, reason)
