"""Everything that is odd in registers but no error, in one report: counts and column names, never a firm's value."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import narwhals as nw
import pandas as pd

from missie_impact.display import html_table

from .assemble import early_participations
from .breaches import year_slices
from .catalogue import RegisterSettings
from .engine import Engine, Lazy, distinct
from .schema import TABLES

Level: TypeAlias = Literal["fact", "notice", "breach"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was counted.

    Attributes
    ----------
    table : table it was counted in
    level : "breach" (wrong in itself), "notice" (odd, or bearing on what can be said) or "fact"
    finding : what was counted
    rows : how many; 0 where nothing was found
    note : what the library does about it
    """

    table: str
    level: Level
    finding: str
    rows: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All findings of `Registers.check`.

    Attributes
    ----------
    findings : in the order of the tables
    simulated : the registers were simulated
    """

    findings: tuple[Finding, ...]
    simulated: bool = False

    @property
    def ok(self) -> bool:
        """True if nothing is wrong in itself; notices and facts may remain."""
        return not any(f.rows for f in self.findings if f.level == "breach")

    def frame(self) -> pd.DataFrame:
        """Return one row per finding: table, level, finding, rows, note."""
        columns = ["table", "level", "finding", "rows", "note"]
        return pd.DataFrame([[getattr(f, c) for c in columns] for f in self.findings], columns=columns)

    def __str__(self) -> str:
        first = "Simulated registers.\n" if self.simulated else ""
        lines = [
            f"{f.level:<7} {f.table}: {f.finding}: {f.rows:,d}" + (f" ({f.note})" if f.note and f.rows else "")
            for f in self.findings
        ]
        return first + "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_table(self.frame(), title="Check of the registers", simulated=self.simulated)


@dataclass(frozen=True, slots=True)
class _Checker:
    """The tables under check; each method counts in one table."""

    engine: Engine
    tables: Mapping[str, Lazy]
    delivered: Collection[str]
    absent: Mapping[str, frozenset[str]]
    settings: RegisterSettings

    def count(self, rows: Lazy) -> int:
        return self.engine.count(rows)

    def sums(self, table: str, flags: Mapping[str, nw.Expr]) -> dict[str, int]:
        counts = {name: flag.cast(nw.Int64).sum() for name, flag in flags.items()}
        return {k: int(v or 0) for k, v in self.engine.one(self.tables[table].select(**counts)).items()}

    def has(self, *names: str) -> bool:
        return all(name in self.delivered for name in names)

    def unknown_firms(self, table: str) -> Finding:
        known = distinct(self.tables["firms"].select("firm"))
        rows = self.tables[table].join(known, on="firm", how="anti")
        return Finding(table, "notice", "rows of firms that the firm register never holds", self.count(rows))

    def trade(self) -> list[Finding]:
        key = ("firm", "market", "year", "flow", "kind")
        trade = self.tables["trade"]
        found = self.sums("trade", dict(negative=nw.col("value_cents") < 0, estimated=nw.col("estimated")))
        rows, void, zero = self.count(trade), 0, 0
        for part in year_slices(trade, rows, range(self.settings.first_year, self.settings.last_year + 1)):
            net = part.group_by(*key).agg(value=nw.col("value_cents").sum(), lowest=nw.col("value_cents").min())
            value, lowest = nw.col("value").cast(nw.Int64), nw.col("lowest")
            flags = {"void": (value <= 0) & (lowest < 0), "zero": (value == 0) & (lowest == 0)}
            sums = self.engine.one(net.select(**{name: flag.cast(nw.Int64).sum() for name, flag in flags.items()}))
            void, zero = void + int(sums["void"] or 0), zero + int(sums["zero"] or 0)
        findings = [
            Finding("trade", "fact", "rows", rows),
            Finding("trade", "fact", "estimated rows", found["estimated"], "imputed, not observed"),
            Finding("trade", "fact", "corrections (negative rows)", found["negative"], "summed with their key"),
            Finding("trade", "notice", "keys whose corrections reach or exceed the trade", void, "not active"),
            Finding("trade", "fact", "keys with value zero", zero, "observed zero: not active"),
        ]
        if self.has("firms"):
            findings.append(self.unknown_firms("trade"))
            years = self.tables["firms"].select("firm", "year")
            gap = distinct(trade.select("firm", "year")).join(years, on=["firm", "year"], how="anti")
            note = "not a death; their controls of that year are unknown"
            findings.append(
                Finding("trade", "notice", "firm-years that trade without a firm row", self.count(gap), note)
            )
        return findings

    def firms(self) -> list[Finding]:
        ended, founded, year = nw.col("ended"), nw.col("founded"), nw.col("year")
        found = self.sums(
            "firms",
            dict(
                before=(year < founded),
                after=(year >= ended),
                order=(ended <= founded),
                workers=nw.col("workers").is_null(),
                weight=nw.col("weight") <= 0,
            ),
        )
        life = (
            self.tables["firms"]
            .group_by("firm")
            .agg(a=founded.n_unique(), b=ended.n_unique(), rows=nw.len(), first=year.min(), last=year.max())
        )
        several = self.count(life.filter((nw.col("a") > 1) | (nw.col("b") > 1)))
        span = (nw.col("last").cast(nw.Int64) - nw.col("first").cast(nw.Int64)) + 1
        holes = self.count(life.filter(nw.col("rows") < span))
        return [
            Finding("firms", "fact", "firm-years", self.count(self.tables["firms"])),
            Finding("firms", "fact", "firms", self.count(life)),
            Finding("firms", "notice", "firms with a year missing in between", holes, "not a death"),
            Finding("firms", "notice", "firms with several founding or ending years", several, "the first is used"),
            Finding("firms", "breach", "rows before the founding year", found["before"]),
            Finding("firms", "breach", "rows in or after the ending year", found["after"]),
            Finding("firms", "breach", "rows that end before they begin", found["order"]),
            Finding("firms", "breach", "rows whose weight is zero or less", found["weight"]),
            Finding("firms", "notice", "rows without workers", found["workers"], "size unknown"),
        ]

    def participations(self) -> list[Finding]:
        people, first, last = self.tables["participations"], self.settings.first_year, self.settings.last_year
        year, led = nw.col("date").dt.year().cast(nw.Int64), nw.col("minister_led")
        listed = (nw.col("instrument") == "mission") & led
        found = self.sums(
            "participations",
            dict(
                listed=listed,
                no_number=nw.col("kvk").is_null(),
                nowhere=listed & nw.col("market").is_null(),
                unnamed=listed & nw.col("mission").is_null(),
                outside=(year < first) | (year > last),
                other=nw.col("organisation") != "firm",
            ),
        )
        window = f"before {first} or after {last}"
        return [
            Finding("participations", "fact", "rows", self.count(people)),
            Finding("participations", "fact", "rows of listed missions", found["listed"]),
            Finding("participations", "fact", "rows of participants that are no firms", found["other"]),
            Finding("participations", "notice", f"rows {window}", found["outside"], "outside the window of trade"),
            Finding("participations", "notice", "rows without a Chamber-of-Commerce number", found["no_number"]),
            Finding(
                "participations", "notice", "listed missions without a market", found["nowhere"], "firm level only"
            ),
            Finding("participations", "notice", "listed missions without a name", found["unnamed"]),
            *self.linkage(),
        ]

    def linkage(self) -> list[Finding]:
        people = self.tables["participations"].filter(~nw.col("kvk").is_null()).select("kvk", "date", "organisation")
        firms = people.filter((nw.col("organisation") == "firm") | nw.col("organisation").is_null())
        numbers = distinct(firms.select("kvk"))
        links = self.tables["links"]
        ever = self.count(numbers.join(distinct(links.select("kvk")), on="kvk", how="anti"))
        open_end = nw.col("valid_to").is_null() | (nw.col("date") <= nw.col("valid_to"))
        day = distinct(firms.select("kvk", "date")).join(links, on="kvk", how="inner")
        valid = day.filter((nw.col("valid_from") <= nw.col("date")) & open_end)
        hits = valid.group_by("kvk", "date").agg(firms=nw.col("firm").n_unique())
        at_date = self.count(firms.join(hits, on=["kvk", "date"], how="anti"))
        several = self.count(firms.join(hits.filter(nw.col("firms") > 1), on=["kvk", "date"], how="semi"))
        early = self.count(early_participations(self.tables))
        return [
            Finding("participations", "notice", "unlinked numbers of firms", ever, "in no link at any date"),
            Finding("participations", "notice", "unlinked rows of firms", at_date, "no link on the date; left out"),
            Finding("participations", "notice", "rows linked to several firms", several, "each firm took part"),
            Finding("participations", "breach", "rows before the founding year of the firm", early),
        ]

    def links(self) -> list[Finding]:
        found = self.sums("links", dict(order=nw.col("valid_to") < nw.col("valid_from")))
        findings = [
            Finding("links", "fact", "rows", self.count(self.tables["links"])),
            Finding("links", "breach", "links that end before they begin", found["order"]),
        ]
        return [*findings, self.unknown_firms("links")] if self.has("firms") else findings

    def affiliates(self) -> list[Finding]:
        findings = [Finding("affiliates", "fact", "rows", self.count(self.tables["affiliates"]))]
        return [*findings, self.unknown_firms("affiliates")] if self.has("firms") else findings

    def identity_changes(self) -> list[Finding]:
        found = self.sums(
            "identity_changes", dict(lost=nw.col("new_firm").is_null(), itself=nw.col("new_firm") == nw.col("old_firm"))
        )
        n = self.count(self.tables["identity_changes"])
        note = "a competing event"
        return [
            Finding("identity_changes", "fact", "rows", n),
            Finding("identity_changes", "fact", "lost identities", found["lost"], note),
            Finding("identity_changes", "breach", "firms that change into themselves", found["itself"]),
        ]


def check_tables(
    engine: Engine,
    tables: Mapping[str, Lazy],
    delivered: Collection[str],
    absent: Mapping[str, frozenset[str]],
    settings: RegisterSettings,
) -> CheckReport:
    """Count everything odd in checked tables; see `Registers.check`."""
    checker = _Checker(engine, tables, delivered, absent, settings)
    findings: list[Finding] = []
    for name in TABLES:
        if name not in delivered:
            findings.append(Finding(name, "notice", "table not delivered or empty", 0))
            continue
        findings += getattr(checker, name)()
        for column in sorted(absent.get(name, ())):
            default = TABLES[name].column(column).default
            note = "null everywhere" if default is None else f"{default} everywhere"
            findings.append(Finding(name, "notice", f"column {column} not delivered", 0, note))
    return CheckReport(tuple(findings), settings.simulated is not None)
