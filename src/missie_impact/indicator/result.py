"""What the budget indicator hands over: counts, shares and sums. It has no interval and no p-value."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from missie_impact.definitions import Definitions
from missie_impact.display import html_table
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow
from missie_impact.indicator.letter import LABEL, Language, headline, instrument_table, letter_table, letter_text

SHORT = ["cohort", "instrument", "group", "n_firms", "n_pairs", "n_growers", "share_growers", "share_growers_sum"]
MONEY = ["gross_eur", "net_eur", "gross_top_1", "gross_top_5", "gross_top_10"]


@dataclass(frozen=True, slots=True)
class IndicatorRow:
    """One cohort, instrument and group of the budget indicator. Firms count once, pairs are firm x market.

    Attributes
    ----------
    cohort : support year t
    instrument : name of the instrument; "all" counts every firm and pair once
    group : level of the grouping at t; "all" for everybody, "unknown" without a register row in t
    n_firms, n_pairs : linked supported firms, and their supported pairs
    n_growers, share_growers : firms with a positive mean increase in at least one supported pair
    n_growers_sum, share_growers_sum : firms with a positive mean increase summed over their supported pairs
    n_growers_any_year, share_growers_any_year : firms with a pair that is above its base in at least one year
    gross_eur : sum of the positive mean increases of pairs, EUR per year
    net_eur : sum of all mean increases of pairs, EUR per year
    gross_firm_eur : sum over firms of their increase where it is positive, EUR per year
    base_eur : exports of the pairs in the base year, EUR
    gross_top_1, gross_top_5, gross_top_10 : share of the largest 1, 5, 10 firms in ``gross_eur``
    net_top_1, net_top_5, net_top_10 : the same for ``net_eur``, of the sum of absolute amounts per firm
    n_several : firms of the row that had more than one instrument in the cohort
    n_ended, n_lost : firms that ceased, or lost their identity, up to the last year measured
    reason : why a number is missing
    """

    cohort: int
    instrument: str
    group: str
    n_firms: int
    n_pairs: int
    n_growers: int
    share_growers: float
    n_growers_sum: int
    share_growers_sum: float
    n_growers_any_year: int
    share_growers_any_year: float
    gross_eur: float
    net_eur: float
    gross_firm_eur: float
    base_eur: float
    gross_top_1: float
    gross_top_5: float
    gross_top_10: float
    net_top_1: float
    net_top_5: float
    net_top_10: float
    n_several: int
    n_ended: int
    n_lost: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TailRow:
    """Who carries one euro figure of a cell of the indicator. Shares only, never an amount of a single firm.

    Made by :func:`budget_indicator`.

    Attributes
    ----------
    cohort, instrument, group : the cell
    figure : "gross_eur", "net_eur", "gross_firm_eur" or "base_eur"
    eur : the figure
    n_contributing : firms whose amount is not zero; below ten the shares are NaN
    top_1, top_5, top_10 : shares of the largest firms in the sum of absolute amounts
    without_one_low, without_one_high : range of the figure when any one firm is left out, as a share of it
    trimmed_share : the figure without the largest hundredth of the contributing firms, as a share of it
    winsorised_eur : sum with each firm's yearly amount cut at the definition ``indicator_winsor_eur``
    tail_index : Hill's index of the amounts; 2 or below means that no normal approximation holds
    """

    cohort: int
    instrument: str
    group: str
    figure: str
    eur: float
    n_contributing: int
    top_1: float
    top_5: float
    top_10: float
    without_one_low: float
    without_one_high: float
    trimmed_share: float
    winsorised_eur: float
    tail_index: float


@dataclass(frozen=True, slots=True)
class BudgetIndicator:
    """The budget indicator "bevorderen internationaal ondernemerschap": goal attainment of supported firms.

    A description of the whole supported population: increases of exports to the target market after the support,
    whatever brought them about. A sum of increases only is positive even where support does nothing. It therefore
    has no interval and no test, and must not be read as an effect.

    Made by :func:`budget_indicator`.

    Attributes
    ----------
    rows : one record per cohort, instrument and group
    tails : one record per row and euro figure: who carries it
    coverage : one row per cohort: participations of firms, linked ones, share linked
    overlap : cohort, two instruments, firms that had both
    by : grouping, with its size scheme
    definitions : the rules in force
    prices : "nominal", or "of the support year" (deflated)
    notes : series breaks, assumptions and what is suppressed
    flow : firms and pairs from the list to the sums
    simulated : the registers were simulated
    """

    rows: tuple[IndicatorRow, ...]
    tails: tuple[TailRow, ...]
    coverage: tuple[tuple[int, int, int], ...]
    overlap: tuple[tuple[int, str, str, int], ...]
    by: str | None
    definitions: Definitions
    prices: str
    notes: tuple[str, ...]
    flow: Flow
    simulated: bool

    def frame(self) -> pd.DataFrame:
        """Return one row per cohort, instrument and group; columns as the attributes of `IndicatorRow`."""
        return _frame(IndicatorRow, self.rows)

    def tails_frame(self) -> pd.DataFrame:
        """Return one row per cell and euro figure; columns as the attributes of `TailRow`."""
        return _frame(TailRow, self.tails)

    def headline(self) -> pd.DataFrame:
        """Return cohort, instrument, group, n_firms, n_growers, share and eur by the rules of the definitions.

        ``indicator_grower`` says which firms count as growers, ``indicator_aggregate`` which sum is shown.
        """
        rows = [(r.cohort, r.instrument, r.group, r.n_firms, *headline(r, self.definitions)) for r in self.rows]
        columns = ["cohort", "instrument", "group", "n_firms", "n_growers", "share", "eur"]
        return pd.DataFrame(rows, columns=columns)

    def coverage_frame(self) -> pd.DataFrame:
        """Return per cohort how many participations of firms could be linked to the register."""
        table = pd.DataFrame(self.coverage, columns=["cohort", "participations", "linked"])
        return table.assign(share_linked=table["linked"] / table["participations"].where(table["participations"] > 0))

    def overlap_frame(self) -> pd.DataFrame:
        """Return per cohort and pair of instruments the firms that had both: each counts in either row."""
        return pd.DataFrame(self.overlap, columns=["cohort", "instrument", "other_instrument", "n_firms"])

    def row(self, cohort: int, group: str = "all", instrument: str = "all") -> IndicatorRow:
        """Return the record of one cohort, group and instrument.

        Raises
        ------
        SettingsError
            If there is none, with those there are.
        """
        for row in self.rows:
            if (row.cohort, row.group, row.instrument) == (cohort, group, instrument):
                return row
        there = sorted({(row.cohort, row.group, row.instrument) for row in self.rows})
        raise SettingsError(f"no indicator row for {(cohort, group, instrument)}: expected one of {there}.")

    def letter(self, language: Language = "nl") -> str:
        """Return the indicator in the words of the letter to parliament, labelled as goal attainment."""
        return letter_text(self, language)

    def letter_table(self, language: Language = "nl") -> pd.DataFrame:
        """Return the figures of the letter, one row per cohort: SME, their share with an increase, both sums."""
        return letter_table(self, language)

    def instrument_table(self, language: Language = "nl") -> pd.DataFrame:
        """Return the table of the letter's footnote: per instrument the firms with export growth and its size.

        Raises
        ------
        SettingsError
            If the indicator was not computed with ``per="instrument"``.
        """
        return instrument_table(self, language)

    def __repr__(self) -> str:
        cohorts = sorted({row.cohort for row in self.rows})
        firms = sum(row.n_firms for row in self.rows if (row.instrument, row.group) == ("all", "all"))
        return f"BudgetIndicator({LABEL['en']}: cohorts {cohorts}, by {self.by}, {firms} supported firms)"

    def _repr_html_(self) -> str:
        shown = self.frame()[[*SHORT, *MONEY]]
        title = f"Budget indicator: {LABEL['en']}; EUR per year, prices: {self.prices}"
        return html_table(shown, title=title, notes=self.notes, simulated=self.simulated)


def _frame(record: type[Any], rows: Sequence[object]) -> pd.DataFrame:
    names = [field.name for field in dataclasses.fields(record)]
    return pd.DataFrame([[getattr(row, name) for name in names] for row in rows], columns=names)
