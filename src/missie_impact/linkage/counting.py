"""Rows and distinct units of a lazy table, for flow tables."""

from __future__ import annotations

import narwhals as nw

from missie_impact.registers.engine import Engine, Lazy


def count_units(engine: Engine, frame: Lazy, unit: str = "firm") -> tuple[int, int]:
    """Return the number of rows, and of distinct values of a column (nulls not counted)."""
    known = frame.select(unit).with_columns(known=nw.when(~nw.col(unit).is_null()).then(1).otherwise(0))
    found = engine.one(
        known.select(
            nw.len().cast(nw.Int64).alias("rows"),
            nw.col(unit).n_unique().cast(nw.Int64).alias("units"),
            nw.col("known").sum().cast(nw.Int64).alias("known"),
        )
    )
    rows, units, n_known = (int(found[name] or 0) for name in ("rows", "units", "known"))
    return rows, units - (1 if n_known < rows else 0)  # n_unique counts null as one
