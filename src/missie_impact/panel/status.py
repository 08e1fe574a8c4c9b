"""Incidental or structural: activity in a moving window, from the active years alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import narwhals as nw

from missie_impact.definitions import Definitions
from missie_impact.registers.engine import Lazy


def with_window(active: Lazy, unit: Sequence[str], definitions: Definitions) -> Lazy:
    """Add the number of active years in the window that ends in each active year, and their pattern.

    A window of w years needs the w - 1 active years before, so no idle year is ever written out.

    Returns
    -------
    the input with active_years (1 .. window) and pattern (text, oldest year first, such as "0101")
    """
    year, window = nw.col("year"), definitions.window
    lags = [f"lag_{k}" for k in range(1, window)]
    lagged = active.with_columns(
        *(year.shift(k).over(*unit, order_by="year").alias(name) for k, name in enumerate(lags, start=1))
    )
    back = range(window - 1, -1, -1)
    return lagged.with_columns(
        active_years=sum((_flag(year - nw.col(name) < window) for name in lags), start=nw.lit(1)).cast(nw.Int64),
        pattern=nw.concat_str([_digit(_active_back(lags, k)) for k in back]),
    ).drop(*lags)


def _flag(condition: nw.Expr) -> nw.Expr:
    return nw.when(condition.fill_null(False)).then(1).otherwise(0).cast(nw.Int64)


def _digit(condition: nw.Expr) -> nw.Expr:
    return nw.when(condition).then(nw.lit("1")).otherwise(nw.lit("0"))


def _active_back(lags: Sequence[str], k: int) -> nw.Expr:
    """Return whether the unit was active k years before; k = 0 is the active year itself."""
    if k == 0:
        return nw.col("year") == nw.col("year")
    return reduce(or_, ((nw.col(name) == nw.col("year") - k).fill_null(False) for name in lags[:k]))


def status(active: Lazy, unit: Sequence[str], definitions: Definitions, first_year: int) -> Lazy:
    """Return the status of a firm, or of a firm in a market, in each of its active years.

    Returns
    -------
    unit, year, active_years, pattern, status ("structural": at least ``min_years`` of the last ``window`` years
    active; else "incidental"; null where the window is longer than the data), window_seen

    References
    ----------
    CBS, Internationalisation Monitor 2020-III (structural: 3 of the last 4 years; services).
    """
    seen = nw.col("year") - first_year + 1 >= definitions.window
    named = (
        nw.when(nw.col("active_years") >= definitions.min_years)
        .then(nw.lit("structural"))
        .otherwise(nw.lit("incidental"))
    )
    return with_window(active, unit, definitions).with_columns(window_seen=seen, status=nw.when(seen).then(named))
