"""Counts that describe a panel: from status to status, and how long spells last. No firm is recognisable in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import narwhals as nw
import pandas as pd

from missie_impact.display import html_table
from missie_impact.panel.panel import Panel

STATES = ("incidental", "structural", "no exports", "firm ceased")
LONGEST = 15


@dataclass(frozen=True, slots=True, eq=False)
class StatusTransitions:
    """Where exporters of one year are in the next.

    Made by :func:`status_transitions`.

    Attributes
    ----------
    table : from_status, to_status, n (unit-years), share (of those with the same from_status)
    level : "firm", or "market" for firm x market
    simulated : whether the registers are simulated ones
    """

    table: pd.DataFrame
    level: str
    simulated: bool = False

    def _repr_html_(self) -> str:
        return html_table(self.table, title=f"From year to year ({self.level} level)", simulated=self.simulated)


@dataclass(frozen=True, slots=True, eq=False)
class SpellLengths:
    """How many spells began in each year, and how long they lasted.

    Made by :func:`spell_lengths`.

    Attributes
    ----------
    table : begin, length (years; 15 stands for 15 and more), end_reason, n; only spells whose begin was seen
    n_unseen : spells left out because they began before the data
    simulated : whether the registers are simulated ones
    """

    table: pd.DataFrame
    n_unseen: int
    simulated: bool = False

    def _repr_html_(self) -> str:
        notes = (f"{self.n_unseen:,d} spells began before the data and are left out",)
        return html_table(self.table, title="Spells by begin and length", notes=notes, simulated=self.simulated)


def status_transitions(panel: Panel, level: Literal["firm", "market"] = "firm") -> StatusTransitions:
    """Count exporters by status, and by what they are a year later.

    Only years whose whole window was seen count; the last year has no next one. A unit without exports in the next year
    is "no exports", or "firm ceased" where the firm is no longer in the register.

    Parameters
    ----------
    level : status of the firm, or of the firm in the market

    Returns
    -------
    StatusTransitions
        Aggregate counts of unit-years.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> moves = mi.status_transitions(panel).table
    >>> moves.groupby("from_status")["share"].sum().round(6).to_dict()
    {'incidental': 1.0, 'structural': 1.0}
    """
    unit = ["firm"] if level == "firm" else ["firm", "market"]
    now = panel.status(level).filter(nw.col("window_seen") & (nw.col("year") < panel.last_year))
    now = now.select(*unit, "year", from_status="status")
    later = panel.status(level).select(*unit, year=nw.col("year") - 1, next_status="status")
    alive = panel.life.select("firm", "ended")
    joined = now.join(later, on=[*unit, "year"], how="left").join(alive, on="firm", how="left")
    ceased = (nw.col("ended") <= nw.col("year") + 1).fill_null(False)
    gone = nw.when(ceased).then(nw.lit("firm ceased")).otherwise(nw.lit("no exports"))
    named = nw.when(~nw.col("next_status").is_null()).then(nw.col("next_status")).otherwise(gone)
    counted = joined.with_columns(to_status=named).group_by("from_status", "to_status")
    rows = panel.engine.collect(counted.agg(nw.len().cast(nw.Int64).alias("n")), sort_by=["from_status", "to_status"])
    order = {state: i for i, state in enumerate(STATES)}
    rows = rows.sort_values(["from_status", "to_status"], key=lambda s: s.map(order), ignore_index=True)
    share = rows["n"] / rows.groupby("from_status")["n"].transform("sum")
    return StatusTransitions(rows.assign(share=share), level, panel.registers.settings.simulated is not None)


def spell_lengths(panel: Panel) -> SpellLengths:
    """Count spells of firms in markets by the year they began, their length and how they ended.

    Returns
    -------
    SpellLengths
        Aggregate counts; spells that began before the data are counted apart.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> mi.spell_lengths(panel).table.columns.tolist()
    ['begin', 'length', 'end_reason', 'n']
    """
    spells = panel.spells()
    seen = spells.filter(nw.col("origin_seen")).with_columns(length=nw.col("length").clip(1, LONGEST))
    counted = seen.group_by("begin", "length", "end_reason").agg(nw.len().cast(nw.Int64).alias("n"))
    rows = panel.engine.collect(counted, sort_by=["begin", "length", "end_reason"])
    unseen = panel.engine.count(spells.filter(~nw.col("origin_seen")))
    return SpellLengths(rows, unseen, panel.registers.settings.simulated is not None)
