"""History by pattern of active years: what many pairs share is worked out once.

Spells and windows of a pair depend on its active years alone. Millions of pairs share some ten thousand patterns of
active years, so the windows of :mod:`missie_impact.panel.history` run over the patterns and are joined to the pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import narwhals as nw
import pandas as pd

from missie_impact.definitions import Definitions
from missie_impact.panel.history import with_history
from missie_impact.registers.engine import Engine, Lazy, distinct

MOST_YEARS = 50  # one bit a year; sums of powers of two are exact in doubles up to 53


@dataclass(frozen=True, slots=True)
class PairHistory:
    """Active years of each pair with their spell and window, written out where they are asked for.

    Attributes
    ----------
    pairs : one row per pair with the ``mask`` of its active years; without patterns, the history of each active year
    patterns : history of each mask
    """

    pairs: Lazy
    patterns: Lazy | None = None

    def years(self, more: Lazy | None = None) -> Lazy:
        """Return firm, market, year and the columns of ``with_history``.

        Parameters
        ----------
        more : further columns, at most one row per firm and market; joined before the years are written out
        """
        pairs = self.pairs if more is None else self.pairs.join(more, on=["firm", "market"], how="left")
        return pairs if self.patterns is None else pairs.join(self.patterns, on="mask", how="inner").drop("mask")


def patterns_of(years: Lazy, bits: Lazy, codes: Lazy) -> Lazy:
    """Return one row per firm and market with ``mask``: its active years as bits.

    Markets are numbers while millions of rows are grouped, which takes a sixth off the time.

    Parameters
    ----------
    years : one row per active year: firm, market, year
    bits : of :func:`year_bits`
    codes : ``market`` and a number for each, ``code``
    """
    numbered = years.join(codes, on="market", how="inner").join(bits, on="year", how="inner")
    masks = numbered.group_by("firm", "code").agg(nw.col("weight").sum().cast(nw.Int64).alias("mask"))
    return masks.join(codes, on="code", how="inner").select("firm", "market", "mask")


def year_bits(engine: Engine, years: range) -> Lazy:
    """Return year, ``bit`` (1 for the first year, then 2, 4, ...) and ``weight`` (the same in doubles)."""
    bit = [2**k for k in range(len(years))]
    table = {"year": pd.array(years, dtype="int32"), "bit": bit, "weight": [float(b) for b in bit]}
    return engine.take(pd.DataFrame(table))


def pattern_history(patterns: Lazy, bits: Lazy, definitions: Definitions) -> Lazy:
    """Return the history of each pattern of active years: mask, year and the columns of ``with_history``.

    Numbers are as short as ``MOST_YEARS`` allows, because millions of rows hold them.

    Parameters
    ----------
    patterns : table with the column ``mask`` of :func:`patterns_of`
    bits : of :func:`year_bits`
    """
    each = distinct(patterns.select("mask")).join(bits, how="cross")
    active = each.filter((nw.col("mask") // nw.col("bit")) % 2 == 1).select("mask", "year")
    short = {"spell": nw.Int8, "spell_years": nw.Int8, "active_years": nw.Int8, "begin": nw.Int16}
    return with_history(active, ["mask"], definitions).with_columns(nw.col(c).cast(kind) for c, kind in short.items())
