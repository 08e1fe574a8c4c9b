"""From the columns a user has to the neutral ones: right names, right types, and a count of what does not fit.

Text is turned into numbers only after its pattern has been checked, so that no engine ever meets a value it would
quote in an error. A value that does not fit becomes null and is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import narwhals as nw

from missie_impact.errors import SchemaError

from .engine import Lazy
from .schema import TYPES, Column, Table

FIRST_YEAR, LAST_YEAR = 1800, 2200
LARGEST = 90_000_000_000_000_000  # units of currency; a hundred times this still fits 64 bits
_INTEGER = r"^[+-]?[0-9]{1,17}$"
_PLAIN_ID = r"^(0|-?[1-9][0-9]{0,17})$"
_NUMBER = r"^[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?$"
_YEAR = r"^[0-9]{4}$"
_MONTHS = r"((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
_LEAP = r"([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29"
_DATE = rf"^([0-9]{{4}}-{_MONTHS}|{_LEAP})$"
_TRUE, _FALSE = ("true", "1", "yes", "ja", "j", "y", "t"), ("false", "0", "no", "nee", "n", "f")

Expr: TypeAlias = nw.Expr
Count: TypeAlias = Callable[[Lazy], int]


@dataclass(frozen=True, slots=True)
class Reading:
    """How the columns of one file or frame are to be read.

    Attributes
    ----------
    columns : neutral name in files -> name in this file
    constants : neutral name in files -> the value of every row
    decimal : decimal sign in text, "." or ","
    untyped : the columns are text because the format knows no types (CSV)
    market_names : markets are written as names, to be recoded
    """

    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    constants: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    decimal: str = "."
    untyped: bool = False
    market_names: bool = False


@dataclass(frozen=True, slots=True)
class Conformed:
    """A table in neutral columns.

    Attributes
    ----------
    rows : lazy table with the columns of the schema, in order; to be used when no breach was counted
    breaches : name of a count -> (what it counts, its expression over the raw columns)
    raw : the table the breaches are counted in
    absent : columns of the schema that were not delivered
    cheap : True if `rows` only casts, so that nothing is gained by storing it
    """

    rows: Lazy
    raw: Lazy
    breaches: Mapping[str, tuple[str, Expr]]
    absent: frozenset[str]
    cheap: bool


def conform(table: Table, frame: Lazy, reading: Reading, ids: Mapping[str, Any], count: Count) -> Conformed:
    """Bring a table into the neutral schema.

    Parameters
    ----------
    table : its schema
    frame : lazy table with the user's columns
    reading : how they are called and written
    ids : type of each id column (``nw.Int64`` or ``nw.String``), see `id_types`
    count : how the engine counts rows

    Raises
    ------
    SchemaError
        A required column is missing, or a column has a type that cannot hold what it should.
    """
    raw = _named(table, frame, reading)
    types = raw.collect_schema()
    values: list[Expr] = []
    breaches: dict[str, tuple[str, Expr]] = {}
    for column in table.columns:
        name = _delivered(column, types)
        if name is None:
            values.append(nw.lit(column.default, dtype=_type(column, ids)).alias(column.name))
            continue
        value = _value(raw, column, name, types[name], reading.decimal, _type(column, ids), count)
        simple = _once_checked(column, name, types[name], _type(column, ids))
        values.append((value if simple is None else simple).alias(column.name))
        breaches |= _breaches(column, name, value)
    absent = frozenset(c.name for c in table.columns if _delivered(c, types) is None)
    return Conformed(raw.select(*values), raw, breaches, absent, cheap=not reading.untyped)


def id_types(tables: Mapping[str, tuple[Table, Lazy, Reading]], count: Count) -> dict[str, Any]:
    """Settle whether ids are integers or text: all tables must agree.

    Ids in CSV files have no type of their own: they follow the typed tables, and where there are none they are
    integers if every one is written as a plain integer without leading zeros.

    Returns
    -------
    type of each of the columns firm, old_firm, new_firm and group
    """
    found: dict[str, dict[str, Any]] = {"firm": {}, "group": {}}
    untyped: list[tuple[str, Lazy, str]] = []
    for name, (table, frame, reading) in tables.items():
        try:
            raw = _named(table, frame, reading)
        except SchemaError:  # told with the other breaches when the table itself is read
            continue
        types = raw.collect_schema()
        for column in table.of_kind("id"):
            if column.name not in types:
                continue
            domain = "group" if column.name == "group" else "firm"
            if reading.untyped:
                untyped.append((domain, raw, column.name))
            elif count(raw.filter(~nw.col(column.name).is_null()).head(1)):
                whole = types[column.name].is_numeric()
                found[domain][f"{name}.{column.name}"] = nw.Int64 if whole else nw.String
    chosen = {domain: _one_type(kinds) for domain, kinds in found.items()}
    for domain, kind in chosen.items():
        if kind is None:
            texts = [
                count(raw.filter(~nw.col(c).str.strip_chars().str.contains(_PLAIN_ID)).head(1))
                for d, raw, c in untyped
                if d == domain
            ]
            chosen[domain] = nw.String if any(texts) else nw.Int64
    firm = chosen["firm"]
    return {"firm": firm, "old_firm": firm, "new_firm": firm, "group": chosen["group"]}


def _one_type(kinds: Mapping[str, Any]) -> Any:
    if len(set(kinds.values())) <= 1:
        return next(iter(kinds.values()), None)
    whole = sorted(name for name, kind in kinds.items() if kind == nw.Int64)
    text = sorted(set(kinds) - set(whole))
    raise SchemaError(
        f"Expected ids of one type in all tables, found integers in {', '.join(whole)} and text in {', '.join(text)}: "
        "convert one to the other (text keeps leading zeros)."
    )


def _type(column: Column, ids: Mapping[str, Any]) -> Any:
    return ids[column.name] if column.kind == "id" else TYPES[column.kind]


def _named(table: Table, frame: Lazy, reading: Reading) -> Lazy:
    """Select and rename the user's columns to the names of the schema in files."""
    have = frame.collect_schema().names()
    missing = sorted(set(reading.columns.values()) - set(have))
    if missing:
        found = _found(table, reading, have)
        raise SchemaError(f"Table {table.name}: expected the columns {missing} named in its settings, found {found}.")
    select: list[Expr] = []
    for column in table.columns:
        for name in dict.fromkeys((column.source, column.name)):
            if name in reading.columns:
                select.append(nw.col(reading.columns[name]).alias(name))
            elif name in reading.constants:
                select.append(nw.lit(reading.constants[name]).alias(name))
            elif name in have:
                select.append(nw.col(name))
    chosen = frame.select(*select) if select else frame
    named = set(chosen.collect_schema().names())
    lacking = [c.source for c in table.columns if c.required and not named & {c.source, c.name}]
    if lacking:
        raise SchemaError(
            f"Table {table.name}: expected the columns {lacking}, found {_found(table, reading, have)}. "
            "Rename them, or name them under columns or constants of the table."
        )
    return chosen


def _found(table: Table, reading: Reading, have: list[str]) -> str:
    """Names of the columns found, unless they may be the values of a file without a header."""
    wanted: set[str] = {*reading.columns.values(), *table.names, *(c.source for c in table.columns)}
    if wanted.intersection(have):
        return str(have)
    return f"{len(have)} columns of other names (is the first line a header?)"


def _delivered(column: Column, types: Mapping[str, Any]) -> str | None:
    return next((name for name in (column.source, column.name) if name in types), None)


def _value(raw: Lazy, column: Column, name: str, kind: Any, decimal: str, to: Any, count: Count) -> Expr:
    """Expression of the neutral value; null where the raw value does not fit."""
    value = nw.col(name)
    in_cents = column.kind == "money" and name == column.name
    fitting = (
        _from_text(column, value, decimal, to, in_cents)
        if kind == nw.String
        else _from_typed(column, value, kind, to, in_cents)
    )
    if fitting is not None:
        return fitting
    if count(raw.filter(~value.is_null()).head(1)) == 0:  # a column without any value has no type worth the name
        return nw.lit(None, dtype=to)
    raise SchemaError(f"Column {name}: expected {_expected(column)}, found the type {kind}.")


def _from_text(column: Column, value: Expr, decimal: str, to: Any, in_cents: bool) -> Expr:
    if column.kind == "text" or (column.kind == "id" and to == nw.String):
        return value
    text = value.str.strip_chars()
    if column.kind == "flag":
        lower = text.str.to_lowercase()
        return (
            nw.when(lower.is_in(_TRUE)).then(nw.lit(True)).otherwise(nw.when(lower.is_in(_FALSE)).then(nw.lit(False)))
        )
    if column.kind == "date":
        plain = nw.concat_str(text.str.slice(0, 4), text.str.slice(4, 2), text.str.slice(6, 2), separator="-")
        text = nw.when(text.str.contains(r"^[0-9]{8}$")).then(plain).otherwise(text)
        return nw.when(text.str.contains(_DATE)).then(text).cast(nw.Date)
    if column.kind in ("number", "money"):
        if decimal != ".":
            text = nw.when(~text.str.contains(r"\.")).then(text).str.replace_all(decimal, ".", literal=True)
        number = nw.when(text.str.contains(_NUMBER)).then(text).cast(nw.Float64)
        return _money(number, in_cents) if column.kind == "money" else number
    pattern = {"id": _PLAIN_ID, "year": _YEAR}.get(column.kind, _INTEGER)
    return _in_range(column, nw.when(text.str.contains(pattern)).then(text).cast(nw.Int64)).cast(to)


def _from_typed(column: Column, value: Expr, kind: Any, to: Any, in_cents: bool) -> Expr | None:
    wanted = column.kind
    if kind.is_float() or kind == nw.Decimal:
        number = value.cast(nw.Float64)
        number = nw.when(~number.is_nan()).then(number)
        if wanted in ("number", "money"):
            return _money(number, in_cents) if wanted == "money" else number
        if wanted in ("id", "year", "whole") and to != nw.String:
            whole = (number.round(0) == number) & (number.abs() < 2.0**53)
            return _in_range(column, nw.when(whole).then(number).cast(nw.Int64)).cast(to)
        return None
    if kind.is_integer():
        return _from_integer(column, value, to, in_cents)
    if wanted == "date" and kind in (nw.Date, nw.Datetime):
        return value.cast(nw.Date)
    if wanted == "flag" and kind == nw.Boolean:
        return value
    if wanted in ("text", "id") and to == nw.String and kind in (nw.Categorical, nw.Enum):
        return value.cast(nw.String)
    return None


def _from_integer(column: Column, value: Expr, to: Any, in_cents: bool) -> Expr | None:
    if to == nw.String:
        return value.cast(nw.String)
    whole = value.cast(nw.Int64)
    if column.kind == "flag":
        return nw.when(whole.is_in([0, 1])).then(whole == 1)
    if column.kind == "date":
        return _from_text(column, whole.cast(nw.String), ".", to, in_cents)
    if column.kind == "money" and not in_cents:
        return nw.when(whole.is_between(-LARGEST, LARGEST)).then(whole) * 100
    return _in_range(column, whole).cast(to)


def _once_checked(column: Column, name: str, kind: Any, to: Any) -> Expr | None:
    """Shorter expression of the same value where no breach was counted, so that filters reach the file; else None."""
    value, in_cents = nw.col(name), name == column.name
    if column.kind in ("id", "year", "whole") and kind.is_integer() and to != nw.String:
        return value if kind == to else value.cast(to)
    if column.kind == "money" and kind.is_integer():
        return value.cast(nw.Int64) if in_cents else value.cast(nw.Int64) * 100
    if column.kind == "money" and kind.is_float() and not column.nullable:
        return (value if in_cents else value * 100).round(0).cast(nw.Int64)
    return None


def _in_range(column: Column, value: Expr) -> Expr:
    return nw.when(value.is_between(FIRST_YEAR, LAST_YEAR)).then(value) if column.kind == "year" else value


def _money(number: Expr, in_cents: bool) -> Expr:
    """Amounts to whole cents; what lies between two cents goes to the nearest, halves away from zero."""
    fits = nw.when(number.abs() <= LARGEST).then(number)
    return (fits if in_cents else fits * 100).round(0).cast(nw.Int64)


def _expected(column: Column) -> str:
    return {
        "id": "an id (integer or text)",
        "text": "text",
        "year": f"a calendar year between {FIRST_YEAR} and {LAST_YEAR}",
        "whole": "a whole number",
        "number": "a number",
        "money": "an amount of money",
        "flag": "true or false",
        "date": "a date written as 2015-03-31",
    }[column.kind]


def _breaches(column: Column, name: str, value: Expr) -> dict[str, tuple[str, Expr]]:
    """Counts of values that do not fit, are missing, or lie outside what is allowed."""
    found = {
        f"type_{column.name}": (
            f"column {name}: expected {_expected(column)}, found something else",
            ~nw.col(name).is_null() & value.is_null(),
        )
    }
    if not column.nullable:
        found[f"null_{column.name}"] = (
            f"column {name}: expected a value in every row, found none",
            nw.col(name).is_null(),
        )
    if column.allowed:
        allowed = ", ".join(column.allowed)
        found[f"allowed_{column.name}"] = (
            f"column {name}: expected one of {allowed}, found other text",
            ~value.is_in(column.allowed),
        )
    if column.lowest is not None:
        words = f"column {name}: expected at least {column.lowest:g}, found less"
        found[f"lowest_{column.name}"] = (words, value < column.lowest)
    return found
