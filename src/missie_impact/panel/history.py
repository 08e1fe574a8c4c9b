"""Where each active year stands: in its spell, and in the window of the status rule."""

from __future__ import annotations

from collections.abc import Sequence

import narwhals as nw

from missie_impact.definitions import Definitions
from missie_impact.registers.engine import Lazy

HISTORY = ("spell", "begin", "spell_years", "last", "active_years", "pattern")


def with_history(years: Lazy, unit: Sequence[str], definitions: Definitions) -> Lazy:
    """Add to each active year of a unit its spell and the activity of the window that ends in it.

    A window of w years needs the w - 1 active years before, so no idle year is ever written out; all look backward
    and forward in one pass over the sorted years.

    Parameters
    ----------
    years : one row per active year, with the columns of the unit and ``year``
    unit : columns that make a unit; the windows run over its years in order

    Returns
    -------
    the input with spell (1, 2, ...), begin (first year of the spell), spell_years (active years of the spell up to
    this one, from 1), last (1: no later active year belongs to the spell, as far as the data show), active_years
    (1 .. window) and pattern (whole number, one bit a year, the lowest being the year itself; :func:`pattern_text`
    writes it out)
    """
    year, lags = nw.col("year"), [f"lag_{k}" for k in range(1, definitions.window)]
    shifted = {name: year.shift(k) for k, name in enumerate(lags or ["lag_1"], start=1)} | {"following": year.shift(-1)}
    near = years.with_columns(one=nw.lit(1).cast(nw.Int32)).with_columns(
        *(value.over(*unit, order_by="year").alias(name) for name, value in shifted.items()),
        place=nw.col("one").cum_sum().over(*unit, order_by="year").cast(nw.Int32),
    )
    gap = definitions.gap_years
    new = nw.col("lag_1").is_null() | (year - nw.col("lag_1") > gap)
    last = nw.col("following").is_null() | (nw.col("following") - year > gap)
    flagged = near.with_columns(
        active_years=_window_count(lags, definitions.window),
        pattern=_window_bits(lags, definitions.window),
        last=nw.when(last).then(1).otherwise(0).cast(nw.Int8),
        new=nw.when(new).then(1).otherwise(0).cast(nw.Int32),
        started=nw.when(new).then(year).otherwise(0),
        first_place=nw.when(new).then(nw.col("place")).otherwise(0),
    )
    numbered = flagged.with_columns(
        spell=nw.col("new").cum_sum().over(*unit, order_by="year").cast(nw.Int32),
        begin=nw.col("started").cum_max().over(*unit, order_by="year").cast(nw.Int32),
        first_place=nw.col("first_place").cum_max().over(*unit, order_by="year").cast(nw.Int32),
    )
    counted = numbered.with_columns(spell_years=(nw.col("place") - nw.col("first_place") + 1).cast(nw.Int32))
    return counted.drop(*shifted, "new", "started", "one", "place", "first_place")


def _window_count(lags: Sequence[str], window: int) -> nw.Expr:
    count = nw.lit(1)
    for name in lags:
        inside = (nw.col("year") - nw.col(name) < window).fill_null(False)
        count = count + nw.when(inside).then(1).otherwise(0)
    return count.cast(nw.Int32)


def _window_bits(lags: Sequence[str], window: int) -> nw.Expr:
    bits = nw.lit(1)
    for name in lags:
        for k in range(1, window):
            hit = (nw.col("year") - nw.col(name) == k).fill_null(False)
            bits = bits + nw.when(hit).then(2**k).otherwise(0)
    return bits.cast(nw.Int32)


def pattern_text(definitions: Definitions) -> nw.Expr:
    """Return the pattern as text, oldest year first: "0101" is active two years ago and in the year itself."""
    digits = [
        nw.when(nw.col("pattern") % 2 ** (k + 1) >= 2**k).then(nw.lit("1")).otherwise(nw.lit("0"))
        for k in range(definitions.window - 1, -1, -1)
    ]
    return nw.concat_str(digits)


def window_seen(definitions: Definitions, first_year: int) -> nw.Expr:
    """Return whether the window that ends in ``year`` lies in the data."""
    return nw.col("year") - first_year + 1 >= definitions.window


def origin_seen(definitions: Definitions, first_year: int) -> nw.Expr:
    """Return whether the years without trade before ``begin`` that make a spell new lie in the data."""
    return nw.col("begin") - first_year >= definitions.origin_zeros
