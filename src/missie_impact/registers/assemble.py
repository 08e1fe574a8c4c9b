"""From raw tables to checked ones: every breach is looked for before anything is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import narwhals as nw
import pandas as pd

from missie_impact.errors import EmptyTableError, MissieError, ParticipationDateError
from missie_impact.flow import Flow, FlowStep

from .breaches import (
    count_outside,
    key_breaches,
    market_breaches,
    name_breaches,
    raise_all,
    value_breaches,
    window_breaches,
)
from .catalogue import RegisterSettings
from .conform import Conformed, Reading, conform, id_types
from .engine import Engine, Lazy, distinct
from .markets import market_codes, market_names
from .schema import TABLES, TYPES, Table


@dataclass(frozen=True, slots=True)
class Raw:
    """A table as it was handed over.

    Attributes
    ----------
    frame : lazy table of the engine with the user's columns
    reading : how they are called and written
    """

    frame: Lazy
    reading: Reading


@dataclass(frozen=True, slots=True)
class Checked:
    """Checked tables and what was counted on the way.

    Attributes
    ----------
    tables : name -> lazy table in neutral columns, empty where it was not delivered
    rows : number of rows of each
    absent : columns of the schema that were not delivered, of each delivered table
    settings : with the window filled in
    flow : rows and firms of trade, as read and as kept
    """

    tables: Mapping[str, Lazy]
    rows: Mapping[str, int]
    absent: Mapping[str, frozenset[str]]
    settings: RegisterSettings
    flow: Flow


def assemble(engine: Engine, raws: Mapping[str, Raw], settings: RegisterSettings) -> Checked:
    """Check raw tables and bring them into the neutral schema.

    Raises
    ------
    MissieError
        One class per cause (see `missie_impact.errors`); if there are several, the class of the first, with all of
        them in the message.
    """
    ids = id_types({name: (TABLES[name], raw.frame, raw.reading) for name, raw in raws.items()}, engine.count)
    conformed = _conformed(engine, raws, ids)
    tables, errors = _coded(engine, raws, conformed, settings)
    rows = {name: engine.count(table) for name, table in tables.items()}
    if not rows.get("trade"):
        raise_all([EmptyTableError("Table trade: expected at least one row, found none."), *errors])
    settings = _window(engine, tables["trade"], settings)
    for name, table in tables.items():
        errors += _relational(engine, TABLES[name], table, settings, rows[name])
    raise_all(errors)
    steps = [FlowStep("trade rows read", rows["trade"], _firms(engine, tables["trade"]))]
    if settings.on_duplicate == "sum":
        tables["trade"] = _summed(engine, tables["trade"])
        rows["trade"] = engine.count(tables["trade"])
        why = "rows of one firm, market, year, flow and kind summed"
        steps.append(FlowStep("trade rows of distinct keys", rows["trade"], steps[0].firms, reason=why))
    for name in TABLES.keys() - tables.keys():
        tables[name], rows[name] = _empty(engine, TABLES[name], ids), 0
    _refuse_early(engine, tables, settings)
    absent = {name: table.absent for name, table in conformed.items()}
    return Checked(
        MappingProxyType(tables),
        MappingProxyType(rows),
        MappingProxyType(absent),
        settings,
        Flow(tuple(steps), settings.simulated is not None),
    )


def _conformed(engine: Engine, raws: Mapping[str, Raw], ids: Mapping[str, Any]) -> dict[str, Conformed]:
    errors: list[MissieError] = []
    conformed: dict[str, Conformed] = {}
    for name, raw in raws.items():
        try:
            conformed[name] = conform(TABLES[name], raw.frame, raw.reading, ids, engine.count)
            errors += value_breaches(engine, TABLES[name], conformed[name])
        except MissieError as error:
            errors.append(error)
    raise_all(errors)  # what follows needs values of the right type
    return conformed


def _coded(
    engine: Engine, raws: Mapping[str, Raw], conformed: Mapping[str, Conformed], settings: RegisterSettings
) -> tuple[dict[str, Lazy], list[MissieError]]:
    tables: dict[str, Lazy] = {}
    errors: list[MissieError] = []
    for name, table in conformed.items():
        tables[name], found = _recoded(engine, TABLES[name], table, raws[name].reading, settings)
        errors += found
    return tables, errors


def _recoded(
    engine: Engine, table: Table, conformed: Conformed, reading: Reading, settings: RegisterSettings
) -> tuple[Lazy, list[MissieError]]:
    """Names of markets to codes, untyped text stored with its types, codes compared with the list."""
    rows = conformed.rows
    if "market" not in table.names:
        return rows if conformed.cheap else engine.store(rows, table.name), []
    if reading.market_names:
        names = market_names(settings.extra_markets)
        codes = engine.take(pd.DataFrame({"name_upper": list(names), "code": list(names.values())}))
        rows = rows.with_columns(
            name=nw.col("market"), name_upper=nw.col("market").str.strip_chars().str.to_uppercase()
        )
        rows = rows.join(codes, on="name_upper", how="left").with_columns(market=nw.col("code"))
        stored = engine.store(rows.select(*table.names, "name"), table.name)
        return stored.select(*table.names), name_breaches(engine, table, stored)
    rows = rows if conformed.cheap else engine.store(rows, table.name)
    return rows, market_breaches(engine, table, rows, market_codes(settings.extra_markets))


def _window(engine: Engine, trade: Lazy, settings: RegisterSettings) -> RegisterSettings:
    if settings.first_year and settings.last_year:
        return settings
    found = engine.one(trade.select(first=nw.col("year").min(), last=nw.col("year").max()))
    return replace(
        settings,
        first_year=settings.first_year or int(found["first"]),
        last_year=settings.last_year or int(found["last"]),
    )


def _relational(engine: Engine, table: Table, rows: Lazy, settings: RegisterSettings, n_rows: int) -> list[MissieError]:
    found: list[MissieError] = []
    first, last = settings.first_year, settings.last_year
    if "year" in table.names:
        found += window_breaches(table, count_outside(engine, rows, first, last), first, last)
    if not (table.name == "trade" and settings.on_duplicate == "sum"):
        found += key_breaches(engine, table, rows, n_rows, range(first, last + 1))
    return found


def _firms(engine: Engine, rows: Lazy) -> int:
    return int(engine.one(rows.select(n=nw.col("firm").n_unique()))["n"])


def _summed(engine: Engine, trade: Lazy) -> Lazy:
    table = TABLES["trade"]
    summed = trade.group_by(*table.key).agg(nw.col("value_cents").sum().cast(nw.Int64))
    return engine.store(summed.select(*table.names), "trade")


def _empty(engine: Engine, table: Table, ids: Mapping[str, Any]) -> Lazy:
    one = engine.take({"nothing": [0]})
    types = {c.name: ids[c.name] if c.kind == "id" else TYPES[c.kind] for c in table.columns}
    filled = one.with_columns(**{name: nw.lit(None, dtype=kind) for name, kind in types.items()})
    return engine.store(filled.filter(nw.col("nothing") > 0).select(*table.names), table.name)


def early_participations(tables: Mapping[str, Lazy]) -> Lazy:
    """Plan of the participations that lie before the founding year of every firm their number is linked to."""
    links = distinct(tables["links"].select("kvk", "firm"))
    founded = tables["firms"].select("firm", "founded").filter(~nw.col("founded").is_null())
    first = links.join(founded, on="firm", how="inner").group_by("kvk").agg(founded=nw.col("founded").min())
    people = tables["participations"].join(first, on="kvk", how="inner")
    return people.filter(nw.col("date").dt.year().cast(nw.Int64) < nw.col("founded").cast(nw.Int64))


def _refuse_early(engine: Engine, tables: Mapping[str, Lazy], settings: RegisterSettings) -> None:
    if settings.on_early_participation == "count":
        return
    n = engine.count(early_participations(tables))
    if n:
        raise ParticipationDateError(
            f"Table participations: expected dates in or after the year the linked firm was founded, found {n:,d} rows "
            'before it. Correct the dates, the links or founded, or set on_early_participation = "count".'
        )
