"""Controls drawn with known probability, the same on every engine, in every row order and run."""

from __future__ import annotations

import narwhals as nw

from missie_impact.registers.engine import Lazy, distinct

PRIME = 2_147_483_647  # 2^31 - 1: products of two numbers below it fit in 64 bits


def with_code(frame: Lazy, column: str, name: str) -> Lazy:
    """Add the rank of each distinct value of a column, from 1: a whole number to draw by, also for text."""
    each = distinct(frame.select(column)).with_columns(one=nw.lit(1).cast(nw.Int64))
    ranked = each.with_columns(nw.col("one").cum_sum().over(order_by=column).cast(nw.Int64).alias(name)).drop("one")
    return frame.join(ranked, on=column, how="inner")


def keyed_uniform(code: nw.Expr, stratum: nw.Expr, seed: int) -> nw.Expr:
    """Return a uniform number in [0, 1) that depends on two whole numbers and the seed alone.

    Three rounds of multiplication and squaring modulo the prime 2^31 - 1, in whole numbers, so that every engine
    draws the same.
    """
    x = (code * 48_271 + stratum * 69_621 + seed * 40_692 + 1) % PRIME
    for add in (code, stratum * 16_807, code + stratum):
        x = (x * x + add * 630_360_016 % PRIME) % PRIME
    return x.cast(nw.Float64) / float(PRIME)
