"""Default controls: everything known at the end of t-1, for firms and for pairs.

A row of a risk set carries the mission year t as ``year``; every table is moved forward by its lag and joined on t,
so no control can look beyond t-1.
"""

from __future__ import annotations

from collections.abc import Sequence

import narwhals as nw

from missie_impact.definitions import INSTRUMENTS, PRIOR_SUPPORT, SizeScheme
from missie_impact.definitions import Flow as TradeFlow
from missie_impact.panel import Panel
from missie_impact.panel.activity import is_active
from missie_impact.panel.size import size_class
from missie_impact.registers.engine import Lazy, distinct
from missie_impact.risksets import trials
from missie_impact.risksets.trials import TrialYears

SCHEMES: tuple[SizeScheme, ...] = ("cbs_independent", "letter", "eu", "cbs_size")
LOOK_BACK = 4  # years of history in the activity pattern
WORKERS_FROM = (2, 5, 10, 20, 50, 100, 250, 500)
EXPORTS_FROM_EUR = (1, 5_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000)
MARKETS_FROM = (1, 2, 3, 4, 6, 10, 20)
REGISTER_CONTROLS = {
    "log_workers": "workers",
    "workers_class": "workers",
    "log_productivity": "turnover_cents",
    "log_age": "founded",
    "foreign_controlled": "foreign_controlled",
    "independent": "foreign_controlled",
    "sector": "sector",
    "region": "region",
}


def complete_firm_rows(
    rows: Lazy, panel: Panel, scheme: SizeScheme, years: TrialYears | None
) -> tuple[Lazy, tuple[str, ...]]:
    """Add the firm's controls at t-1 and its size class to rows with firm and year (= t).

    ``size`` is the class under the scheme of the question; ``size_<scheme>`` holds each of the others too.

    Returns
    -------
    the rows, and the names of default controls that could not be made because a table or column is absent
    """
    absent = _absent_controls(panel)
    rows = _add_register(rows, panel, scheme, absent)
    rows = _add_support(_add_trade_history(rows, panel), panel)
    if years is not None and "market" not in rows.collect_schema().names():
        rows = _add_host_trade(rows, panel, years)
    return rows, absent


def add_pair_covariates(
    rows: Lazy, panel: Panel, years: TrialYears | None, flow: TradeFlow, *, everywhere: bool = False
) -> Lazy:
    """Add the pair's controls at t-1: exports, growth, pattern, trade with the host's neighbours, market and year.

    Without trial years there are no hosts, and trade with their neighbours is left out. ``everywhere`` looks at the
    neighbours of every market of the rows, whether or not it is a host.
    """
    rows = _add_popularity(_add_pair_history(rows, panel, flow), panel, flow)
    if years is None:
        return rows
    beside = traded_next_door(panel, rows) if everywhere else neighbours_traded(panel, years, rows)
    return trials.flag(rows, beside, ["firm", "market", "year"], "neighbour_trade")


def _add_popularity(rows: Lazy, panel: Panel, flow: TradeFlow) -> Lazy:
    """Add market_popularity: the logarithm of how many firms trade with the market at t-1, plus one."""
    counted = panel.activity("market", flow).group_by("market", "year").agg(nw.len().cast(nw.Int64).alias("traders"))
    lagged = counted.select("market", nw.col("year").cast(nw.Int64) + 1, "traders")
    joined = rows.join(lagged, on=["market", "year"], how="left")
    traders = nw.col("traders").fill_null(0).cast(nw.Float64)
    return joined.with_columns(market_popularity=(traders + 1.0).log()).drop("traders")


def _add_pair_history(rows: Lazy, panel: Panel, flow: TradeFlow) -> Lazy:
    """Add log_pair_exports, pair_growth, pair_pattern and market_year, from one join on the pair."""
    key = ["firm", "market", "year"]
    exports = nw.col("exports_cents")
    history = panel.pair_years.select(
        "firm",
        "market",
        traded=nw.col("year").cast(nw.Int64),
        value=nw.when(exports > 0).then(exports).otherwise(0),
        active=_zero_one(is_active(panel.definitions, flow)),
    )
    recent = rows.select(*key).join(history, on=["firm", "market"], how="inner")
    recent = recent.with_columns(back=nw.col("year") - nw.col("traded")).filter(nw.col("back").is_between(1, LOOK_BACK))
    years_back = range(1, LOOK_BACK + 1)
    summed = recent.group_by(*key).agg(
        *(nw.when(nw.col("back") == k).then(nw.col("value")).max().cast(nw.Int64).alias(f"v{k}") for k in (1, 3)),
        *(nw.when(nw.col("back") == k).then(nw.col("active")).max().cast(nw.Int8).alias(f"a{k}") for k in years_back),
    )
    digits = [
        nw.when((nw.col(f"a{k}") == 1).fill_null(False)).then(nw.lit("1")).otherwise(nw.lit("0"))
        for k in reversed(years_back)
    ]
    return (
        rows.join(summed, on=key, how="left")
        .with_columns(
            log_pair_exports=_log1p_eur("v1"),
            pair_growth=(_log1p_eur("v1") - _log1p_eur("v3")).clip(-3.0, 3.0),
            pair_pattern=nw.concat_str(digits),
            market_year=nw.concat_str([nw.col("market"), nw.lit(" "), nw.col("year").cast(nw.String)]),
        )
        .drop("v1", "v3", *(f"a{k}" for k in years_back))
    )


def add_country_group(rows: Lazy, panel: Panel) -> Lazy:
    """Add country_group of the market in t: OECD, BRICS, developing or other; OECD goes first, then BRICS."""
    lists = panel.registers.memberships
    keys = distinct(rows.select("market", "year"))
    member = keys.join(lists, on="market", how="left").filter(
        (nw.col("from_year") <= nw.col("year")) & (nw.col("to_year").is_null() | (nw.col("to_year") >= nw.col("year")))
    )

    def on_list(name: str) -> nw.Expr:
        return nw.when(nw.col("list") == name).then(1).otherwise(0).max().cast(nw.Int64)

    groups = member.group_by("market", "year").agg(on_list("OECD").alias("oecd"), on_list("DAC").alias("dac"))
    named = (
        nw.when(nw.col("oecd") == 1)
        .then(nw.lit("OECD"))
        .otherwise(
            nw.when(nw.col("market").is_in(list(panel.definitions.brics)))
            .then(nw.lit("BRICS"))
            .otherwise(nw.when(nw.col("dac") == 1).then(nw.lit("developing")).otherwise(nw.lit("other")))
        )
    )
    return rows.join(groups, on=["market", "year"], how="left").with_columns(country_group=named).drop("oecd", "dac")


def add_host_group(rows: Lazy, panel: Panel) -> Lazy:
    """Add country_group of the mission's host to firms, null where there was no mission; ``host`` goes."""
    named = add_country_group(rows.rename({"host": "market"}), panel)
    went = ~nw.col("market").is_null()
    return named.with_columns(country_group=nw.when(went).then(nw.col("country_group"))).drop("market")


def _class_of(number: nw.Expr, bounds: Sequence[int]) -> nw.Expr:
    """Return the class of a number as text, named by its lower bound; effects need not be linear in its logarithm."""
    named: nw.Expr = nw.lit("below")
    for bound in bounds:
        named = nw.when(number >= bound).then(nw.lit(f"from {bound}")).otherwise(named)
    return named


def _zero_one(condition: nw.Expr) -> nw.Expr:
    return nw.when(condition).then(1).otherwise(0).cast(nw.Int8)


def _log1p_eur(cents: str) -> nw.Expr:
    return (nw.col(cents).fill_null(0).cast(nw.Float64) / 100.0 + 1.0).log()


def _absent_controls(panel: Panel) -> tuple[str, ...]:
    """Name the register controls whose column has no value at all."""
    needed = sorted(set(REGISTER_CONTROLS.values()))
    counts = panel.engine.collect(
        panel.firm_years.select(*(nw.col(c).count().cast(nw.Int64).alias(c) for c in needed)), sort_by=[]
    )
    return tuple(name for name, column in REGISTER_CONTROLS.items() if counts[column].iloc[0] == 0)


def _add_register(rows: Lazy, panel: Panel, scheme: SizeScheme, absent: tuple[str, ...]) -> Lazy:
    register = panel.firm_years.drop("ended", "group", "weight").with_columns(year=nw.col("year").cast(nw.Int64) + 1)
    joined = (
        rows.join(register, on=["firm", "year"], how="left")
        .with_columns(
            *(size_class(name, panel.definitions).alias(f"size_{name}") for name in SCHEMES),
        )
        .with_columns(size=nw.col(f"size_{scheme}"))
    )
    persons = nw.when(nw.col("workers") > 1.0).then(nw.col("workers")).otherwise(1.0)
    unknown = nw.col("workers").is_null() & nw.col("founded").is_null()
    made = {
        "log_workers": persons.log(),
        "workers_class": _class_of(nw.col("workers").fill_null(0.0), WORKERS_FROM),
        "log_productivity": ((nw.col("turnover_cents").cast(nw.Float64) / 100.0).clip(1.0) / persons).log(),
        "log_age": ((nw.col("year") - nw.col("founded")).clip(1).cast(nw.Float64)).log(),
        "foreign_controlled": _zero_one(nw.col("foreign_controlled").fill_null(False)),
        "independent": _zero_one(nw.col("size_cbs_independent") == "sme"),
        "not_in_register": _zero_one(unknown),
    }
    numeric = {k: v for k, v in made.items() if k not in absent}
    joined = joined.with_columns(unknown=unknown).with_columns(**numeric)
    joined = joined.with_columns(
        *(nw.col(k).cast(nw.Float64).fill_null(0.0) for k in numeric if k.startswith("log_")),
        *(_level(panel, c) for c in ("sector", "region") if c not in absent),
    )
    spare = ["unknown", "workers", "group_workers", "turnover_cents", "balance_cents", "founded"]
    spare += [c for c in ("sector", "region", "foreign_controlled") if c in absent]
    return joined.drop(*spare)


def _level(panel: Panel, column: str) -> nw.Expr:
    """Text level of a register column. A firm without a row takes the first level: one term serves all columns."""
    first = panel.engine.collect(panel.firm_years.select(nw.col(column).min()), sort_by=[])[column].iloc[0]
    known = nw.col(column).fill_null("unknown")
    return nw.when(nw.col("unknown")).then(nw.lit(str(first))).otherwise(known).alias(column)


def _add_trade_history(rows: Lazy, panel: Panel) -> Lazy:
    """Exports, growth, four-year pattern, markets and imports of the firm up to t-1."""
    floor = round(panel.definitions.min_value_eur * 100)
    years_back = range(1, LOOK_BACK + 1)
    totals = panel.firm_trade.rename({"year": "traded"}).with_columns(nw.col("traded").cast(nw.Int64))
    recent = distinct(rows.select("firm", "year")).join(totals, on="firm", how="inner")
    recent = recent.with_columns(back=nw.col("year") - nw.col("traded")).filter(nw.col("back").is_between(1, LOOK_BACK))
    last = {"m1": "imports_cents", "n1": "export_markets", "goods": "goods", "services": "services"}
    wanted = {f"x{k}": (k, "exports_cents") for k in years_back} | {name: (1, of) for name, of in last.items()}
    summed = recent.group_by("firm", "year").agg(
        *(nw.when(nw.col("back") == k).then(nw.col(of)).max().alias(name) for name, (k, of) in wanted.items())
    )
    rows = rows.join(summed, on=["firm", "year"], how="left")
    active = [
        nw.when((nw.col(f"x{k}") > floor).fill_null(False)).then(nw.lit("1")).otherwise(nw.lit("0"))
        for k in range(LOOK_BACK, 0, -1)
    ]
    return rows.with_columns(
        log_exports=_log1p_eur("x1"),
        exports_class=_class_of(nw.col("x1").fill_null(0) / 100, EXPORTS_FROM_EUR),
        export_growth=(_log1p_eur("x1") - _log1p_eur("x3")).clip(-3.0, 3.0),
        activity_pattern=nw.concat_str(active),
        markets_class=_class_of(nw.col("n1").fill_null(0), MARKETS_FROM),
        log_markets=(nw.col("n1").fill_null(0).cast(nw.Float64) + 1.0).log(),
        log_imports=_log1p_eur("m1"),
        trade_kind=_trade_kind(),
    ).drop(*(f"x{k}" for k in range(1, LOOK_BACK + 1)), "m1", "n1", "goods", "services")


def _trade_kind() -> nw.Expr:
    """What the firm exported at t-1: goods, services, both or none."""
    goods, services = ((nw.col(name) == 1).fill_null(False) for name in ("goods", "services"))
    one = nw.when(goods).then(nw.lit("goods")).otherwise(nw.lit("none"))
    some = nw.when(services).then(nw.lit("services")).otherwise(one)
    return nw.when(goods & services).then(nw.lit("both")).otherwise(some)


def _add_support(rows: Lazy, panel: Panel) -> Lazy:
    """Add, for each instrument, whether the firm had it in any year up to t-1."""
    known = nw.col("instrument").is_in(list(INSTRUMENTS))
    which = {name: (nw.col("instrument") == name) for name in INSTRUMENTS}
    which["mission"] = nw.col("listed")
    columns = [*(which[name] for name in INSTRUMENTS), ~known & ~nw.col("listed")]
    year = nw.col("year").cast(nw.Int64)
    first = panel.supports.group_by("firm").agg(
        *(
            nw.when(has).then(year).min().cast(nw.Int64).alias(name)
            for name, has in zip(PRIOR_SUPPORT, columns, strict=True)
        )
    )
    joined = rows.join(first, on="firm", how="left")
    known_before = joined.with_columns(
        *(_zero_one((nw.col(name) < nw.col("year")).fill_null(False)).alias(name) for name in PRIOR_SUPPORT)
    )
    repeat = nw.when(nw.col("prior_mission") == 1).then(nw.lit("repeat")).otherwise(nw.lit("first"))
    return known_before.with_columns(participation=repeat)


def _add_host_trade(rows: Lazy, panel: Panel, years: TrialYears) -> Lazy:
    """Add host_trade and host_neighbour_trade: the firm exports at t-1 to a host of t, or to a neighbour of one."""
    floor = round(panel.definitions.min_value_eur * 100)
    calendar = trials.hosts(panel, years)
    exports = panel.pair_years.filter(nw.col("exports_cents") > floor).select(
        "firm", "market", nw.col("year").cast(nw.Int64) + 1
    )
    here = exports.join(calendar, on=["market", "year"], how="inner")
    rows = trials.flag(rows, here, ["firm", "year"], "host_trade")
    return trials.flag(rows, neighbours_traded(panel, years, rows), ["firm", "year"], "host_neighbour_trade")


def neighbours_traded(panel: Panel, years: TrialYears, rows: Lazy) -> Lazy:
    """Return firm, market, year: a firm of the rows exports at t-1 to a neighbour of a market that hosts in t."""
    floor = round(panel.definitions.min_value_eur * 100)
    around = trials.hosts(panel, years).join(panel.registers.neighbours, on="market", how="inner")
    exports = panel.pair_years.filter(nw.col("exports_cents") > floor).select(
        "firm", nw.col("market").alias("neighbour"), nw.col("year").cast(nw.Int64) + 1
    )
    wanted = exports.join(distinct(rows.select("firm", "year")), on=["firm", "year"], how="semi")
    return wanted.join(around, on=["neighbour", "year"], how="inner").select("firm", "market", "year")


def traded_next_door(panel: Panel, rows: Lazy) -> Lazy:
    """Return firm, market, year of the rows whose firm exports at t-1 to a neighbour of the market."""
    floor = round(panel.definitions.min_value_eur * 100)
    exports = panel.pair_years.filter(nw.col("exports_cents") > floor).select(
        "firm", nw.col("market").alias("neighbour"), nw.col("year").cast(nw.Int64) + 1
    )
    beside = rows.select("firm", "market", "year").join(panel.registers.neighbours, on="market", how="inner")
    return beside.join(exports, on=["firm", "neighbour", "year"], how="semi").select("firm", "market", "year")
