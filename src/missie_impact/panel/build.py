"""Registers to panel: identities followed, corrections summed, firm-years completed."""

from __future__ import annotations

import narwhals as nw

from missie_impact.definitions import CBS_2024, Definitions
from missie_impact.flow import Flow, FlowStep
from missie_impact.linkage import Successors, link_participants, resolve_successors
from missie_impact.panel.panel import Panel
from missie_impact.registers import Registers
from missie_impact.registers.engine import Lazy

PAIR = ["firm", "market", "year"]


def build_panel(registers: Registers, definitions: Definitions = CBS_2024) -> Panel:
    """Bring checked registers into the sparse firm x market x year panel.

    Firms are followed to their last identity; trade is summed per firm, market, year and flow over corrections and
    the kinds of trade that the definitions count. Only firm x market x years with a positive flow are kept: a year
    that is not there is a year without trade. Nothing is densified.

    Parameters
    ----------
    registers : checked tables of :func:`read_registers`, :func:`simulate_registers` or ``Registers.from_frames``
    definitions : the rules; ``CBS_2024`` unless told otherwise

    Returns
    -------
    Panel
        Its ``flow`` counts what each step left out, and why.
    """
    engine = registers.engine
    successors = resolve_successors(registers, definitions)
    linkage = link_participants(registers, definitions, successors)
    pair_years = engine.store(_pair_years(registers, definitions, successors), "pair_years")
    firm_trade = engine.store(_firm_trade(pair_years, definitions), "firm_trade")
    firms = _one_row_per_firm_year(registers.firms, successors)
    return Panel(
        registers=registers,
        definitions=definitions,
        linkage=linkage,
        successors=successors,
        pair_years=pair_years,
        firm_trade=firm_trade,
        firm_years=engine.store(_with_group_workers(firms), "firm_years"),
        life=engine.store(_life(firms, successors), "life"),
        flow=registers.flow.then(*_flow(registers, pair_years).steps),
    )


def _pair_years(registers: Registers, definitions: Definitions, successors: Successors) -> Lazy:
    trade = registers.trade.filter(nw.col("kind").is_in(list(definitions.kinds)))
    if not definitions.include_estimated:
        trade = trade.filter(~nw.col("estimated").fill_null(False))
    value = nw.col("value_cents")

    def total(flow: str, kind: str | None = None) -> nw.Expr:
        counted = nw.col("flow") == flow
        if kind is not None:
            counted = counted & (nw.col("kind") == kind)
        return nw.when(counted).then(value).otherwise(0).sum().cast(nw.Int64)

    summed = (
        successors.follow(trade)
        .group_by(*PAIR)
        .agg(
            total("export").alias("exports_cents"),
            total("import").alias("imports_cents"),
            total("export", "services").alias("exports_services_cents"),
        )
    )
    return summed.filter((nw.col("exports_cents") > 0) | (nw.col("imports_cents") > 0))


def _firm_trade(pair_years: Lazy, definitions: Definitions) -> Lazy:
    """Firm x year: exports, imports and number of export markets, over markets with a positive flow."""
    floor = round(definitions.min_value_eur * 100)
    exports, imports = nw.col("exports_cents"), nw.col("imports_cents")
    return pair_years.group_by("firm", "year").agg(
        nw.when(exports > 0).then(exports).otherwise(0).sum().cast(nw.Int64).alias("exports_cents"),
        nw.when(imports > 0).then(imports).otherwise(0).sum().cast(nw.Int64).alias("imports_cents"),
        (exports > floor).cast(nw.Int64).sum().cast(nw.Int64).alias("export_markets"),
    )


def _one_row_per_firm_year(firms: Lazy, successors: Successors) -> Lazy:
    """Follow identities; where two identities share a year, the lasting one stands, else the larger."""
    if successors.final is None:
        return firms
    own = firms.with_columns(old=nw.col("firm"))
    ranked = successors.follow(own).with_columns(
        rank=nw.col("workers").fill_null(0.0) + nw.when(nw.col("old") == nw.col("firm")).then(1e12).otherwise(0.0)
    )
    best = ranked.with_columns(best=nw.col("rank").max().over("firm", "year"))
    best = best.filter(nw.col("rank") == nw.col("best")).with_columns(first=nw.col("old").min().over("firm", "year"))
    return best.filter(nw.col("old") == nw.col("first")).drop("old", "rank", "best", "first")


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


def _flow(registers: Registers, pair_years: Lazy) -> Flow:
    def counts(frame: Lazy) -> tuple[int, int]:
        row = frame.select(
            nw.len().cast(nw.Int64).alias("rows"), nw.col("firm").n_unique().cast(nw.Int64).alias("firms")
        )
        found = registers.engine.collect(row, sort_by=[]).iloc[0]
        return int(found["rows"]), int(found["firms"])

    return Flow(
        (
            FlowStep("trade rows", *counts(registers.trade)),
            FlowStep(
                "firm x market x years with trade",
                *counts(pair_years),
                None,
                "flows, kinds and corrections of a firm, market and year summed; sums at or below zero are no trade",
            ),
        )
    )
