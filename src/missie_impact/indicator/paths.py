"""Exports of given pairs in the years around their support year, one column a year."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import narwhals as nw
import pandas as pd

from missie_impact.panel import Panel
from missie_impact.registers.engine import Lazy

PAIR = ["firm", "market", "cohort"]


def year_column(offset: int) -> str:
    """Name of the column with the exports of the year t + offset, in cents."""
    return f"cents_{offset}" if offset >= 0 else f"cents_before_{-offset}"


def exports_around(
    panel: Panel,
    pairs: Lazy,
    offsets: Iterable[int],
    complete: Callable[[Lazy], Lazy] = lambda rows: rows,
) -> pd.DataFrame:
    """Collect the exports of firm, market and cohort (= t) in t + offset, zero where there were none.

    Parameters
    ----------
    pairs : supported pairs: stored table with firm, market and cohort, each once per cohort; further columns are kept
    offsets : years before or after t
    complete : adds columns to the lazy table before it is collected

    Returns
    -------
    The pairs, sorted, with a column :func:`year_column` per offset, whole cents. Corrections may exceed the exports of
    a pair that also imports: then it did not export, and the year is zero.
    """
    wanted = sorted(offsets)
    offset = nw.col("year").cast(nw.Int64) - nw.col("cohort")
    exported = panel.supported_years.filter(nw.col("exports_cents") > 0)
    trade = exported.join(pairs.select(*PAIR), on=["firm", "market"], how="inner")
    summed = trade.group_by(*PAIR).agg(*_spread(offset, wanted))
    names = [year_column(k) for k in wanted]
    rows = pairs.join(summed, on=PAIR, how="left").with_columns(nw.col(*names).fill_null(0))
    return panel.collect(complete(rows), sort_by=PAIR)


def all_paths(panel: Panel, base: int, offsets: Iterable[int]) -> Lazy:
    """Store the exports of every pair around one year: firm, market, a column :func:`year_column` per offset.

    Pairs with exports in at least one of the years; a correction that exceeds them is zero. To be forgotten by the
    caller.
    """
    wanted = sorted(offsets)
    year, exports = nw.col("year"), nw.col("exports_cents")
    trade = panel.pair_years.select("firm", "market", "year", "exports_cents").filter(
        (year >= base + wanted[0]) & (year <= base + wanted[-1]) & (exports > 0)
    )
    return panel.engine.store(trade.group_by("firm", "market").agg(*_spread(year - base, wanted)), "paths")


def _spread(offset: nw.Expr, wanted: Sequence[int]) -> list[nw.Expr]:
    """One sum of exports per offset."""
    exports = nw.col("exports_cents")
    return [nw.when(offset == k).then(exports).otherwise(0).sum().cast(nw.Int64).alias(year_column(k)) for k in wanted]
