"""What makes a table unusable, each cause with its own error; counts and column names only, never a value of a firm."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import narwhals as nw

from missie_impact.errors import (
    DuplicateKeyError,
    MissieError,
    MissingValueError,
    SchemaError,
    UnknownMarketError,
    YearRangeError,
)

from .conform import Conformed
from .engine import Engine, Lazy
from .schema import Table

SHOWN = 20
ROWS_AT_ONCE = 3_000_000
FIRMS_TO_SHOW = 10  # a word that this many firms share tells nothing about one of them


def raise_all(errors: Sequence[MissieError]) -> None:
    """Raise what was found: one error as it is, several as one of the first's class that lists them all."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise type(errors[0])("\n".join([f"{len(errors)} breaches:", *(f"- {error}" for error in errors)]))


def value_breaches(engine: Engine, table: Table, conformed: Conformed) -> list[MissieError]:
    """Count values that do not fit their column; one pass over the rows.

    Returns
    -------
    a `SchemaError` for wrong values, a `MissingValueError` for missing ones, or nothing
    """
    counts = {name: expr.cast(nw.Int64).sum() for name, (_, expr) in conformed.breaches.items()}
    found = engine.one(conformed.raw.select(**counts)) if counts else {}
    words = {name: f"{conformed.breaches[name][0]} in {n:,d} rows" for name, n in found.items() if n}
    missing = [text for name, text in words.items() if name.startswith("null_")]
    wrong = [text for name, text in words.items() if not name.startswith("null_")]
    errors: list[MissieError] = []
    if wrong:
        errors.append(
            SchemaError(f"Table {table.name}: {'; '.join(wrong)}. Correct the rows, or read them as missing.")
        )
    if missing:
        errors.append(MissingValueError(f"Table {table.name}: {'; '.join(missing)}. Fill or remove the rows."))
    return errors


def market_breaches(engine: Engine, table: Table, rows: Lazy, codes: Collection[str]) -> list[MissieError]:
    """Name the market codes that are not in the list, and how many rows hold them."""
    unknown = rows.filter(~nw.col("market").is_in(sorted(codes)))
    found = engine.collect(unknown.group_by("market").agg(n=nw.len()), sort_by=["market"])
    if not len(found):
        return []
    # Text that is no code may be a firm's name in the wrong column.
    shown = found.loc[found["market"].str.fullmatch("[A-Z]{2,3}"), "market"].tolist()
    message = (
        f"Table {table.name}: expected market codes of the list (ISO 3166-1 alpha-2) or of extra_markets, found "
        f"{len(found)} others in {int(found['n'].sum()):,d} rows: {_listed(shown, len(found))}. Correct them, "
        "declare them in extra_markets, or set market_names = true where the column holds names."
    )
    return [UnknownMarketError(message)]


def name_breaches(engine: Engine, table: Table, rows: Lazy) -> list[MissieError]:
    """Name the markets whose names stand for no code; `rows` holds ``market`` and the name it came from, ``name``."""
    unknown = rows.filter(nw.col("market").is_null() & ~nw.col("name").is_null())
    firms = nw.col("firm").n_unique() if "firm" in table.names else nw.lit(0).max()
    found = engine.collect(unknown.group_by("name").agg(n=nw.len(), firms=firms), sort_by=["name"])
    if not len(found):
        return []
    shown = found.loc[found["firms"] >= FIRMS_TO_SHOW, "name"].tolist()
    message = (
        f"Table {table.name}: expected names or codes of known markets, found {len(found)} other names in "
        f"{int(found['n'].sum()):,d} rows: {_listed(shown, len(found))}. Declare them in extra_markets as "
        'code = "name". Names used by fewer than 10 firms are not shown.'
    )
    return [UnknownMarketError(message)]


def _listed(shown: Sequence[str], n: int) -> str:
    some = ", ".join(shown[:SHOWN])
    rest = n - len(shown[:SHOWN])
    return some + (f"{' and ' if some else ''}{rest} not shown" if rest else "")


def window_breaches(table: Table, years: Mapping[str, int], first: int, last: int) -> list[MissieError]:
    """Say how many rows lie outside the window; `years` holds rows before and after it."""
    if not years["before"] + years["after"]:
        return []
    message = (
        f"Table {table.name}: expected years {first}-{last}, found {years['before']:,d} rows before and "
        f"{years['after']:,d} rows after them. Widen first_year and last_year, or deliver the window only."
    )
    return [YearRangeError(message)]


def count_outside(engine: Engine, rows: Lazy, first: int, last: int) -> dict[str, int]:
    """Count rows whose year lies before or after a window."""
    year = nw.col("year")
    found = engine.one(
        rows.select(before=(year < first).cast(nw.Int64).sum(), after=(year > last).cast(nw.Int64).sum())
    )
    return {name: int(n or 0) for name, n in found.items()}


def year_slices(rows: Lazy, n_rows: int, years: range) -> list[Lazy]:
    """Split a large table into spans of years: what is grouped by keys with the year needs the memory of one span."""
    spans = min(len(years), -(-n_rows // ROWS_AT_ONCE))
    if spans <= 1:
        return [rows]
    width = -(-len(years) // spans)
    firsts = range(years.start, years.stop, width)
    return [rows.filter(nw.col("year").is_between(first, first + width - 1)) for first in firsts]


def key_breaches(engine: Engine, table: Table, rows: Lazy, n_rows: int, years: range) -> list[MissieError]:
    """Count keys that two rows share; negative trade rows are corrections and may share theirs."""
    if not table.key:
        return []
    signed = table.name == "trade"
    counted = rows.filter(nw.col("value_cents") >= 0) if signed else rows
    keys = copies = 0
    for part in year_slices(counted, n_rows, years):
        repeated = part.group_by(*table.key).agg(n=nw.len()).filter(nw.col("n") > 1)
        found = engine.one(repeated.select(keys=nw.len(), rows=nw.col("n").cast(nw.Int64).sum()))
        keys, copies = keys + found["keys"], copies + int(found["rows"] or 0)
    if not keys:
        return []
    message = (
        f"Table {table.name}: expected one row per {', '.join(table.key)}, found {copies:,d} rows on "
        f"{keys:,d} keys. Remove the copies" + (', or set on_duplicate = "sum".' if signed else ".")
    )
    return [DuplicateKeyError(message)]
