"""The study's table: one record per published row, variant and naive comparison."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from missie_impact.flow import Flow
from missie_impact.provenance import Provenance
from missie_impact.report import Table, expected_misses, register_line, write_table

COUNTS = ("n_rows", "n_firms", "n_treated", "n_events")
SHOWN = [
    "id", "label", "group", "scale", "published", "estimate", "conf_low", "conf_high", "truth", "holds_truth",
    "realised_truth", "n_rows", "n_firms", "n_treated", "n_events", "definition", "status", "reason",
]  # fmt: skip
NARROW = [name for name in SHOWN if name not in ("n_rows", "definition", "status")]
NAME = "replication"
CONF_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationRow:
    """One row of the study's table.

    Made by :func:`replicate`.

    Attributes
    ----------
    id : row of the published list ("R1", "R2", "R3", "R6"), with a suffix for variants ("R3.from_t") and naive
        comparisons ("R2.naive"); other names describe the registers ("spells", "survival")
    label : the question in words
    group : "all", "sme", "not_sme", "large", "OECD", "BRICS", "developing"
    scale : scale of published, estimate, interval and truth; "_pp" is percentage points, "_percent" percent,
        "eur_million" EUR million per year
    published : published value on this scale; NaN where nothing is published
    estimate, conf_low, conf_high : estimate and its 95% interval; no interval for descriptions
    truth : parameter of the generator on the same scale and model; NaN for a user's registers and descriptions
    realised_truth : the same for the sample drawn, never used to judge an interval
    n_rows, n_firms, n_treated, n_events : what stands behind it; None where a count has no meaning
    definition : rules used, in words
    status : whether these rules are documented, carried over or assumed
    design : how it was estimated: "trials", "description", "naive", "variant"
    simulated : the registers were simulated
    reason : why a number is missing, or what a reader must know
    """

    id: str
    label: str
    group: str
    scale: str
    published: float = math.nan
    estimate: float = math.nan
    conf_low: float = math.nan
    conf_high: float = math.nan
    truth: float = math.nan
    realised_truth: float = math.nan
    n_rows: int | None = None
    n_firms: int | None = None
    n_treated: int | None = None
    n_events: int | None = None
    definition: str = ""
    status: str = ""
    design: str = ""
    simulated: bool = False
    reason: str = ""

    @property
    def holds_truth(self) -> bool | None:
        """Whether the interval holds the truth; None without an interval or a truth."""
        if any(math.isnan(x) for x in (self.conf_low, self.conf_high, self.truth)):
            return None
        return self.conf_low <= self.truth <= self.conf_high


FIELDS = tuple(field.name for field in dataclasses.fields(ReplicationRow))


@dataclass(frozen=True, slots=True)
class Replication:
    """The study on one set of registers: published, estimate, interval and truth, row by row.

    Made by :func:`replicate`.

    Attributes
    ----------
    rows : the records, headline rows first
    simulated : the registers were simulated; every rendering says so first
    notes : what a reader must know beside the table
    provenance : what it was made from
    flows : per question, who was left out and why
    """

    rows: tuple[ReplicationRow, ...]
    simulated: bool
    notes: tuple[str, ...]
    provenance: Provenance
    flows: tuple[tuple[str, Flow], ...] = ()

    @property
    def first_line(self) -> str:
        """Whether the registers are simulated."""
        return register_line(self.simulated)

    @property
    def table(self) -> pd.DataFrame:
        """One row per record; columns as `ReplicationRow`, with ``holds_truth`` behind ``truth``."""
        columns = [*FIELDS]
        columns.insert(columns.index("realised_truth"), "holds_truth")
        table = pd.DataFrame([[getattr(row, name) for name in columns] for row in self.rows], columns=columns)
        types = dict.fromkeys(COUNTS, "Int64") | {"holds_truth": "boolean"}
        return table.astype(types)

    def records(self) -> list[dict[str, object]]:
        """Return one dict per row for JSON; a number that is missing is None."""
        return Table(self.table).to_records()

    @property
    def misses(self) -> tuple[int, int]:
        """Number of headline intervals that miss their truth, and number of intervals that have one."""
        judged = [row.holds_truth for row in self.rows if row.design == "trials" and row.holds_truth is not None]
        return judged.count(False), len(judged)

    def text(self) -> str:
        """Return the table for a terminal; the first line says whether the registers are simulated.

        The definition of each row and its status stand below the table, once per row of the published list.
        """
        shown = Table(self._shown()[NARROW], notes=(*self._definitions(), "", *self._all_notes())).to_text()
        return f"{self.first_line}\n\n{shown}"

    def _definitions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f"{row.id}: {row.definition} ({row.status})" for row in self.rows))

    def write(self, folder: str | Path) -> tuple[Path, ...]:
        """Write replication.json, .csv and .html, and provenance.json, into a folder; return the paths.

        The JSON is a list of records and the CSV the same table; the HTML page is for reading.
        """
        folder = Path(folder)
        full = Table(self.table, simulated=self.simulated)
        paths = write_table(full, folder, NAME, formats=("json", "csv"))
        page = folder / f"{NAME}.html"
        page.write_text(self._reading_table().to_html(page=True), encoding="utf-8", newline="\n")
        provenance = folder / "provenance.json"
        provenance.write_text(self.provenance.to_json() + "\n", encoding="utf-8", newline="\n")
        return (*paths, page, provenance)

    def __repr__(self) -> str:
        missing = sum(math.isnan(row.estimate) for row in self.rows)
        return f"Replication({self.first_line} {len(self.rows)} rows, {missing} without an estimate)"

    def _repr_html_(self) -> str:
        return self._reading_table().to_html()

    def _reading_table(self) -> Table:
        title = "The published figures and their replication"
        notes = (() if self.simulated else (self.first_line,)) + self._all_notes() + self._definitions()
        return Table(self._shown()[NARROW], title=title, notes=notes, simulated=self.simulated)

    def _shown(self) -> pd.DataFrame:
        shown = self.table[SHOWN]
        judged = shown["holds_truth"].map({True: "yes", False: "no"}).astype(object)
        return shown.assign(holds_truth=judged.where(judged.notna(), ""))

    def _all_notes(self) -> tuple[str, ...]:
        missed, judged = self.misses
        found = (f"{expected_misses(judged, CONF_LEVEL)} Missed here: {missed}.",) if judged else ()
        return (*found, *self._without_estimate(), *self.notes)

    def _without_estimate(self) -> tuple[str, ...]:
        """Say of rows that could not be estimated what stood in the way, once per row of the list and reason."""
        found: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            if math.isnan(row.estimate) and row.reason:
                found.setdefault((row.id, row.reason), []).append(f"{row.label}, {row.group}")
        return tuple(
            f"{id_}: no estimate ({rows[0] if len(rows) == 1 else f'{len(rows)} rows'}): {reason.rstrip('.')}."
            for (id_, reason), rows in found.items()
        )
