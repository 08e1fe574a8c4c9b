"""Checked tables: what every further step starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from missie_impact.display import html_table
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow
from missie_impact.provenance import InputFile

from .assemble import Raw, assemble
from .catalogue import OnDuplicate, RegisterSettings
from .check import CheckReport, check_tables
from .conform import Reading
from .engine import Engine, Lazy
from .markets import market_tables
from .schema import TABLES


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Registers:
    """Checked registers in neutral columns, lazy, in one engine.

    Attributes
    ----------
    engine : holds the tables; closed by `close` or at the end of ``with``
    firms, trade, affiliates, participations, links, identity_changes : lazy tables (columns: ``docs/registers.md``);
        a table that was not delivered is empty
    markets, memberships, neighbours : lists of markets
    settings : window, currency and how the files were read
    flow : rows and firms of trade, as read and as kept
    rows : number of rows of each table
    absent : columns that were not delivered, of each delivered table; they hold their default or null
    inputs : the files read, by name and size; empty for frames

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> trade = pd.DataFrame({"firm": [1, 1], "market": ["DE", "DE"], "year": [2010, 2011], "value_eur": [100, 50]})
    >>> with mi.Registers.from_frames(trade=trade) as registers:
    ...     registers.rows["trade"], registers.settings.first_year
    (2, 2010)
    """

    engine: Engine
    firms: Lazy
    trade: Lazy
    affiliates: Lazy
    participations: Lazy
    links: Lazy
    identity_changes: Lazy
    markets: Lazy
    memberships: Lazy
    neighbours: Lazy
    settings: RegisterSettings
    flow: Flow
    rows: Mapping[str, int]
    absent: Mapping[str, frozenset[str]]
    inputs: tuple[InputFile, ...] = ()

    @classmethod
    def from_frames(
        cls,
        *,
        trade: object,
        firms: object = None,
        affiliates: object = None,
        participations: object = None,
        links: object = None,
        identity_changes: object = None,
        first_year: int | None = None,
        last_year: int | None = None,
        currency: str | None = None,
        extra_markets: Mapping[str, str] | Iterable[str] | None = None,
        on_duplicate: OnDuplicate | None = None,
        settings: RegisterSettings | None = None,
        engine: Engine | None = None,
    ) -> Self:
        """Check frames and hold them as registers. The frames are copied in and never changed.

        Parameters
        ----------
        trade, firms, affiliates, participations, links, identity_changes : pandas, polars, Arrow, DuckDB or narwhals
            frames, or mappings of columns, with the neutral names; money as ``value_eur``, ``turnover_eur``,
            ``balance_eur`` in units of the currency (to whole cents, what lies between two to the nearest, halves
            away from zero) or as ``*_cents``. Firm ids are integers or text, the same in all tables. Only `trade` is
            always needed; without flow and kind its rows are exports of goods.
        first_year, last_year : window of the data; None takes the first and last year of trade
        currency : of all amounts, "EUR" unless said
        extra_markets : codes, or code -> name, of markets that are not in the shipped list
        on_duplicate : "error" (as long as nothing is said) or "sum", for trade rows of one key that are not negative
        settings : all settings in one object, instead of the five above
        engine : where the tables are to live; None makes one that writes nowhere. Plans of this engine stay plans.

        Raises
        ------
        MissieError
            One class per cause, see `missie_impact.errors`.
        """
        chosen = {
            "first_year": first_year,
            "last_year": last_year,
            "currency": currency,
            "extra_markets": extra_markets,
            "on_duplicate": on_duplicate,
        }
        frames = {
            "trade": trade,
            "firms": firms,
            "affiliates": affiliates,
            "participations": participations,
            "links": links,
            "identity_changes": identity_changes,
        }
        own = Engine() if engine is None else engine
        try:
            agreed = _settings({k: v for k, v in chosen.items() if v is not None}, settings)
            raws = {name: Raw(own.take(frame), Reading()) for name, frame in frames.items() if frame is not None}
            return cls.of_raw(own, raws, agreed)
        except BaseException:
            if engine is None:
                own.close()
            raise

    @classmethod
    def of_raw(
        cls, engine: Engine, raws: Mapping[str, Raw], settings: RegisterSettings, inputs: tuple[InputFile, ...] = ()
    ) -> Self:
        """Check raw tables that live in an engine and hold them as registers."""
        checked = assemble(engine, raws, settings)
        markets, memberships, neighbours = market_tables(engine, settings.extra_markets)
        lists = {"markets": markets, "memberships": memberships, "neighbours": neighbours}
        return cls(
            engine=engine,
            **checked.tables,
            **lists,
            settings=checked.settings,
            flow=checked.flow,
            rows=checked.rows,
            absent=checked.absent,
            inputs=inputs,
        )

    def has(self, name: str) -> bool:
        """Whether a table was delivered with at least one row."""
        if name not in TABLES:
            raise SettingsError(f"Unknown table {name!r}: expected one of {', '.join(TABLES)}.")
        return self.rows[name] > 0

    def check(self) -> CheckReport:
        """Look for everything that is odd but no error, in one report of counts."""
        self.engine.require_open("checking the registers")
        tables = {name: getattr(self, name) for name in TABLES}
        delivered = frozenset(name for name in TABLES if self.has(name))
        return check_tables(self.engine, tables, delivered, self.absent, self.settings)

    def frame(self) -> pd.DataFrame:
        """Return one row per table: rows, and columns that were not delivered."""
        rows = [
            {"table": name, "rows": self.rows[name], "columns_absent": ", ".join(sorted(self.absent.get(name, ())))}
            for name in TABLES
        ]
        return pd.DataFrame(rows)

    def close(self) -> None:
        """Close the engine; nothing that was made from these registers can be computed further."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        settings, trade = self.settings, self.rows["trade"]
        kind = "simulated registers" if settings.simulated is not None else "registers"
        return f"<{kind} {settings.first_year}-{settings.last_year}, {trade:,d} trade rows, {self.engine!r}>"

    def _repr_html_(self) -> str:
        settings = self.settings
        title = f"Registers {settings.first_year}-{settings.last_year}, amounts in {settings.currency}"
        return html_table(self.frame(), title=title, simulated=settings.simulated is not None)


def _settings(chosen: Mapping[str, Any], settings: RegisterSettings | None) -> RegisterSettings:
    if settings is None:
        return RegisterSettings(**chosen)
    if chosen:
        raise SettingsError(f"Expected settings, or {sorted(chosen)} by name, found both: say each thing once.")
    return settings
