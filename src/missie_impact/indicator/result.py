"""What the budget indicator hands over: counts, shares and sums. It has no interval and no p-value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from missie_impact.definitions import Definitions
from missie_impact.display import html_table
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow

Language = Literal["nl", "en"]

LABEL = {"nl": "doelrealisatie (geen effect)", "en": "goal attainment (not an effect)"}
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
class BudgetIndicator:
    """The budget indicator "bevorderen internationaal ondernemerschap": goal attainment of supported firms.

    A description of the whole supported population: increases of exports to the target market after the support,
    whatever brought them about. A sum of increases only is positive even where support does nothing. It therefore
    has no interval and no test, and must not be read as an effect.

    Attributes
    ----------
    rows : one record per cohort, instrument and group
    coverage : one row per cohort: participations of firms, linked ones, share linked
    by : grouping, with its size scheme
    definitions : the rules in force
    notes : series breaks, assumptions and what is suppressed
    flow : firms and pairs from the list to the sums
    simulated : the registers were simulated
    """

    rows: tuple[IndicatorRow, ...]
    coverage: tuple[tuple[int, int, int], ...]
    by: str | None
    definitions: Definitions
    notes: tuple[str, ...]
    flow: Flow
    simulated: bool

    def frame(self) -> pd.DataFrame:
        """Return one row per cohort, instrument and group; columns as the attributes of `IndicatorRow`."""
        names = [field.name for field in dataclasses.fields(IndicatorRow)]
        return pd.DataFrame([[getattr(row, name) for name in names] for row in self.rows], columns=names)

    def coverage_frame(self) -> pd.DataFrame:
        """Return per cohort how many participations of firms could be linked to the register."""
        table = pd.DataFrame(self.coverage, columns=["cohort", "participations", "linked"])
        return table.assign(share_linked=table["linked"] / table["participations"].where(table["participations"] > 0))

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
        lines = [LABEL[language][0].upper() + LABEL[language][1:] + "."]
        for row in self.rows:
            if row.instrument == "all" and row.group in ("sme", "large") and row.n_firms:
                lines.append(_sentence(row, self.definitions.indicator_horizon, language))
        if self.simulated:
            lines.insert(0, "Gesimuleerde registers." if language == "nl" else "Simulated registers.")
        return "\n".join(lines)

    def __repr__(self) -> str:
        cohorts = sorted({row.cohort for row in self.rows})
        firms = sum(row.n_firms for row in self.rows if (row.instrument, row.group) == ("all", "all"))
        return f"BudgetIndicator({LABEL['en']}: cohorts {cohorts}, by {self.by}, {firms} supported firms)"

    def _repr_html_(self) -> str:
        shown = self.frame()[[*SHORT, *MONEY]]
        title = f"Budget indicator: {LABEL['en']}; EUR per year"
        return html_table(shown, title=title, notes=self.notes, simulated=self.simulated)


def _sentence(row: IndicatorRow, horizon: int, language: Language) -> str:
    share = f"{100 * row.share_growers:.1f}"
    money = _money(row.gross_eur, language)
    if language == "nl":
        kind = {"sme": "mkb-bedrijven", "large": "grootbedrijven"}[row.group]
        return (
            f"In interventiejaar {row.cohort} zijn {row.n_firms:,d}".replace(",", ".")
            + f" {kind} ondersteund op een doelmarkt; bij {share.replace('.', ',')}% nam de export naar de doelmarkt "
            f"in de {horizon} jaren daarna toe, samen met gemiddeld {money} per jaar."
        )
    kind = {"sme": "SME", "large": "large firms"}[row.group]
    return (
        f"In intervention year {row.cohort}, {row.n_firms:,d} {kind} were supported on a target market; exports to it "
        f"rose for {share}% of them in the {horizon} years after, together by {money} per year on average."
    )


def _money(eur: float, language: Language) -> str:
    billion, million = ("miljard", "miljoen") if language == "nl" else ("billion", "million")
    text = f"EUR {eur / 1e9:.1f} {billion}" if abs(eur) >= 1e9 else f"EUR {eur / 1e6:.0f} {million}"
    return text.replace(".", ",") if language == "nl" else text
