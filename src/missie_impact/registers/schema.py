"""The neutral columns of every table, declared once: what a file must hold, in which unit, and what may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import narwhals as nw

Kind: TypeAlias = Literal["id", "text", "year", "whole", "number", "money", "flag", "date"]

TYPES: Mapping[Kind, Any] = MappingProxyType(
    {
        "id": nw.String,  # or Int64: as the user has it, the same in all tables
        "text": nw.String,
        "year": nw.Int32,
        "whole": nw.Int64,
        "number": nw.Float64,
        "money": nw.Int64,
        "flag": nw.Boolean,
        "date": nw.Date,
    }
)


@dataclass(frozen=True, slots=True)
class Column:
    """One neutral column.

    Attributes
    ----------
    name : name in the checked table; money is called ``*_cents`` there and ``*_eur`` (units of currency) in files
    kind : id, text, year, whole, number, money, flag or date
    meaning : what it holds, for whom it is measured
    unit : unit of the checked column
    required : the table is refused without it
    nullable : a row may lack it
    allowed : the only values a text may have; empty: any
    default : value of all rows when a column that is not required is absent; None: null
    lowest : smallest number allowed, None: any
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    required: bool = False
    nullable: bool = True
    allowed: tuple[str, ...] = ()
    default: str | int | float | bool | None = None
    lowest: float | None = None

    @property
    def source(self) -> str:
        """Name of the column in a file or frame."""
        return self.name.removesuffix("_cents") + "_eur" if self.kind == "money" else self.name

    @property
    def type_name(self) -> str:
        """Type of the checked column, for a reader."""
        return "Int64 or String" if self.kind == "id" else str(TYPES[self.kind].__name__)


@dataclass(frozen=True, slots=True)
class Table:
    """One neutral table.

    Attributes
    ----------
    name : name in ``Registers`` and in study.toml
    level : what one row is
    key : columns that no two rows share; empty: any row counts
    columns : its columns, in order
    note : what to know before delivering it
    """

    name: str
    level: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    note: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the checked columns, in order."""
        return tuple(c.name for c in self.columns)

    def column(self, name: str) -> Column:
        """Return the column of that name."""
        return next(c for c in self.columns if c.name == name)

    def of_kind(self, *kinds: Kind) -> tuple[Column, ...]:
        """Return the columns of some kinds."""
        return tuple(c for c in self.columns if c.kind in kinds)


_FIRM = Column("firm", "id", "firm (business unit); the same type of id in all tables", required=True, nullable=False)
_YEAR = Column("year", "year", "calendar year", required=True, nullable=False)
_MARKET = Column("market", "text", "ISO 3166-1 alpha-2 code, or a code of extra_markets", required=True, nullable=False)

FIRMS = Table(
    "firms",
    "firm x year",
    ("firm", "year"),
    (
        _FIRM,
        _YEAR,
        Column("group", "id", "enterprise group the firm belongs to"),
        Column("workers", "number", "persons employed", "persons, yearly mean", lowest=0),
        Column("turnover_cents", "money", "net turnover", "cents of the currency, a year"),
        Column("balance_cents", "money", "balance sheet total", "cents of the currency, end of year"),
        Column("sector", "text", "SBI 2008 section letter or code"),
        Column("region", "text", "region of the seat, such as a province"),
        Column("foreign_controlled", "flag", "the ultimate controlling unit is abroad"),
        Column("founded", "year", "first year in the register"),
        Column("ended", "year", "first year no longer in the register; null while it lives"),
        Column("weight", "number", "sampling weight, 1 where all firms are in", nullable=False, default=1.0, lowest=0),
    ),
    "In the register in e: founded <= e and (ended is null or e < ended). A missing year is not a death.",
)
TRADE = Table(
    "trade",
    "firm x market x year x flow x kind",
    ("firm", "market", "year", "flow", "kind", "estimated"),
    (
        _FIRM,
        _MARKET,
        _YEAR,
        Column("flow", "text", "direction", nullable=False, allowed=("export", "import"), default="export"),
        Column("kind", "text", "what is traded", nullable=False, allowed=("goods", "services"), default="goods"),
        Column("value_cents", "money", "traded value", "cents of the currency", required=True, nullable=False),
        Column("estimated", "flag", "the value is imputed, not observed", nullable=False, default=False),
    ),
    "Corrections are further rows with a negative value. Two rows of one key that are not negative are an error, "
    'unless on_duplicate = "sum".',
)
AFFILIATES = Table(
    "affiliates",
    "firm x market x year with an affiliate (foreign direct investment)",
    ("firm", "market", "year"),
    (_FIRM, _MARKET, _YEAR),
)
PARTICIPATIONS = Table(
    "participations",
    "person on an activity",
    (),
    (
        Column("kvk", "text", "Chamber-of-Commerce number, or its pseudonym", required=True),
        Column("market", "text", "market the activity goes to; null where it has none"),
        Column("date", "date", "first day of the activity", required=True, nullable=False),
        Column(
            "instrument",
            "text",
            "mission, business_development_mission, startup_mission, trade_fair, knowledge_voucher, coaching, "
            "embassy, trade_innovate_nl, or a name of one's own",
            required=True,
            nullable=False,
        ),
        Column("mission", "text", "name of the activity, the same for all who went"),
        Column("minister_led", "flag", "led by a minister or state secretary", required=True, nullable=False),
        Column("person", "text", "pseudonym of the participant"),
        Column("organisation", "text", "firm, knowledge institute, sector body, financier, ...", default="firm"),
    ),
    "The listed treatment is instrument = mission with minister_led = true.",
)
LINKS = Table(
    "links",
    "Chamber-of-Commerce number x firm x period",
    (),
    (
        Column("kvk", "text", "Chamber-of-Commerce number, or its pseudonym", required=True, nullable=False),
        _FIRM,
        Column("valid_from", "date", "first day of the link", required=True, nullable=False),
        Column("valid_to", "date", "last day of the link; null while it holds"),
    ),
)
IDENTITY_CHANGES = Table(
    "identity_changes",
    "change of a firm's identity",
    (),
    (
        Column("old_firm", "id", "id before the change", required=True, nullable=False),
        Column("new_firm", "id", "id after the change; null where the identity is lost"),
        Column("date", "date", "day of the change", required=True, nullable=False),
        Column("event", "text", "renumbered, merger, takeover, demerger, restructuring, ...", required=True),
    ),
)
TABLES: Mapping[str, Table] = MappingProxyType(
    {t.name: t for t in (FIRMS, TRADE, AFFILIATES, PARTICIPATIONS, LINKS, IDENTITY_CHANGES)}
)


def schema_markdown() -> str:
    """Write the schema of all tables as Markdown, for the documentation."""
    return "\n".join(_table_markdown(table) for table in TABLES.values())


def _table_markdown(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key) or "none: every row counts"
    lines = [f"## {table.name}", "", f"One row per {table.level}. Key: {key}.", ""]
    lines += ["| column | in files | type | unit | missing | meaning |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{c.name}` | `{c.source}` | {c.type_name} | {c.unit} | {_missing(c)} | {_meaning(c)} |"
        for c in table.columns
    ]
    return "\n".join([*lines, "", *([table.note, ""] if table.note else [])])


def _missing(column: Column) -> str:
    where = "null allowed" if column.nullable else "no nulls"
    if column.required:
        return f"required, {where}"
    return f"optional ({'null' if column.default is None else column.default} if absent), {where}"


def _meaning(column: Column) -> str:
    return f"{column.meaning}; one of {', '.join(column.allowed)}" if column.allowed else column.meaning
