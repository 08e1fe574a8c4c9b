"""The panel: what every risk set is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import narwhals as nw
import pandas as pd

from missie_impact.definitions import Definitions
from missie_impact.definitions import Flow as TradeFlow
from missie_impact.flow import Flow
from missie_impact.linkage import Linkage, Successors
from missie_impact.panel.activity import is_active
from missie_impact.panel.history import HISTORY, with_history
from missie_impact.panel.once import Once
from missie_impact.panel.patterns import PairHistory
from missie_impact.panel.spells import spells
from missie_impact.panel.status import status
from missie_impact.registers import Engine, Registers
from missie_impact.registers.engine import Lazy, distinct

Level = Literal["firm", "market"]


@dataclass(frozen=True)
class Panel:
    """Sparse firm x market x year panel. Tables are lazy; ``engine.collect`` or the methods bring them out.

    Made by :func:`build_panel`.

    Attributes
    ----------
    pair_years : firm, market, year, exports_cents, imports_cents: years with trade
    pair_history : firm, market, year and the columns of :meth:`history`: years active in the flow of the exit question;
        see :class:`missie_impact.panel.patterns.PairHistory`
    supported_years : firm, market, year, exports_cents of the pairs that were ever supported
    firm_totals : what :attr:`firm_trade` is made of at its first use
    firm_years : the firm register after identity changes, with ``group_workers``
    life : firm, founded, ended, lost_year (null = not known, or still alive)
    linkage : supports, hosts of listed missions, report of the link
    successors : identities that changed, and where they end
    tables : of the engine that were made with this panel
    flow : rows and firms from the first file on
    """

    registers: Registers
    definitions: Definitions
    linkage: Linkage
    successors: Successors
    pair_years: Lazy
    pair_history: PairHistory
    supported_years: Lazy
    firm_totals: Once
    firm_years: Lazy
    life: Lazy
    tables: tuple[Lazy, ...]
    flow: Flow

    @property
    def engine(self) -> Engine:
        """The engine that holds the tables."""
        return self.registers.engine

    @property
    def firm_trade(self) -> Lazy:
        """Trade of firms: firm, year, exports_cents, imports_cents, export_markets, goods, services (1: yes)."""
        return self.firm_totals.table()

    @property
    def stored(self) -> tuple[Lazy, ...]:
        """Tables of the engine that this panel holds, for ``engine.forget``."""
        return (*self.tables, *self.firm_totals.made())

    @property
    def supports(self) -> Lazy:
        """Linked support: firm, market, year, instrument, mission, date, minister_led, listed."""
        return self.linkage.supports

    @property
    def first_year(self) -> int:
        """First year of trade data."""
        return self.registers.settings.first_year

    @property
    def last_year(self) -> int:
        """Last year of trade data."""
        return self.registers.settings.last_year

    def activity(self, level: Level = "market", flow: TradeFlow | None = None) -> Lazy:
        """Years in which a pair (firm, market) or a firm trades more than ``min_value_eur`` in a flow."""
        active = self.pair_years.filter(is_active(self.definitions, flow or self.definitions.exit_flow))
        return active.select("firm", "market", "year") if level == "market" else distinct(active.select("firm", "year"))

    def history(self, level: Level = "market", flow: TradeFlow | None = None) -> Lazy:
        """Active years with their spell and window: see :mod:`missie_impact.panel.history`."""
        flow = flow or self.definitions.exit_flow
        if level == "market" and flow == self.definitions.exit_flow:
            return _widened(self.pair_history.years())
        unit = ["firm"] if level == "firm" else ["firm", "market"]
        years = self.activity(level, flow)
        return with_history(years, unit, self.definitions)

    def history_with(self, more: Lazy) -> Lazy:
        """Active years in the flow of the exit question, with further columns of the pair (null where it has none).

        Parameters
        ----------
        more : at most one row per firm and market
        """
        return _widened(self.pair_history.years(more))

    def spells(self, flow: TradeFlow | None = None) -> Lazy:
        """Spells of trade per firm and market; see :func:`missie_impact.panel.spells.spells`."""
        return spells(self.history("market", flow), self.life, self.definitions, self.first_year, self.last_year)

    def status(self, level: Level = "firm", flow: TradeFlow | None = None) -> Lazy:
        """Status in each active year; see :func:`missie_impact.panel.status.status`."""
        years = self.history(level, flow or self.definitions.transition_flow)
        return status(years.drop("spell", "begin", "spell_years", "last"), self.definitions, self.first_year)

    def collect(self, frame: Lazy, sort_by: list[str]) -> pd.DataFrame:
        """Bring a lazy table of this panel out as pandas, sorted by key."""
        return self.engine.collect(frame, sort_by=sort_by)

    def __repr__(self) -> str:
        settings = self.registers.settings
        return f"Panel({settings.first_year}-{settings.last_year}, {len(self.flow.steps)} flow steps)"

    def _repr_html_(self) -> str:
        return f"<p><b>Panel {self.first_year}-{self.last_year}</b></p>{self.flow._repr_html_()}"


def _widened(history: Lazy) -> Lazy:
    """The numbers that are stored short, as wide as those of ``with_history``."""
    return history.with_columns(nw.col(name).cast(nw.Int32) for name in HISTORY if name != "last")
