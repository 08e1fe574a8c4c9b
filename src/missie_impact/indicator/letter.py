"""The indicator in the layout of the letter to parliament, in Dutch and English."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import pandas as pd

from missie_impact.definitions import Definitions
from missie_impact.errors import SettingsError

if TYPE_CHECKING:
    from missie_impact.indicator.result import BudgetIndicator, IndicatorRow

Language = Literal["nl", "en"]

LABEL = {"nl": "doelbereik (geen effect)", "en": "goal attainment (not an effect)"}
SIMULATED = {"nl": "Gesimuleerde registers.", "en": "Simulated registers."}
FIRMS = {
    ("nl", "sme"): "mkb-bedrijven",
    ("nl", "large"): "grootbedrijven",
    ("en", "sme"): "SME",
    ("en", "large"): "large firms",
}
LETTER_HEADS = {
    "nl": ("interventiejaar", "ondersteund mkb", "aandeel met exporttoename, %", "exporttoename mkb, mln euro per jaar",
           "exporttoename grootbedrijf, mln euro per jaar", "aandeel grootste 1, 5, 10 grootbedrijven, %"),
    "en": ("intervention year", "supported SME", "share with an increase, %", "increase SME, EUR million per year",
           "increase large firms, EUR million per year", "share of the largest 1, 5, 10 large firms, %"),
}  # fmt: skip
INSTRUMENT_HEADS = {
    "nl": ("interventiejaar", "instrument", "ondersteunde bedrijven", "bedrijven met exportgroei",
           "omvang exportgroei, mln euro per jaar", "waarvan ook met ander instrument"),
    "en": ("intervention year", "instrument", "supported firms", "firms with export growth",
           "export growth, EUR million per year", "of which also with another instrument"),
}  # fmt: skip


def headline(row: IndicatorRow, definitions: Definitions) -> tuple[int, float, float]:
    """Return growers, their share and the sum in EUR per year by the rules of the definitions."""
    growers = {
        "any_pair": (row.n_growers, row.share_growers),
        "firm_sum": (row.n_growers_sum, row.share_growers_sum),
        "any_year": (row.n_growers_any_year, row.share_growers_any_year),
    }[definitions.indicator_grower]
    sums = {"gross": row.gross_eur, "net": row.net_eur, "gross_firm": row.gross_firm_eur}
    return *growers, sums[definitions.indicator_aggregate]


def letter_text(indicator: BudgetIndicator, language: Language) -> str:
    """Write sentences as in the letter: what was attained, by SME and by large firms, and who carries the sums."""
    _known(language)
    first = LABEL[language][0].upper() + LABEL[language][1:] + "."
    lines = [SIMULATED[language]] if indicator.simulated else []
    lines.append(first)
    for row in indicator.rows:
        if row.instrument == "all" and row.group in ("sme", "large") and row.n_firms:
            lines.append(_sentence(row, indicator, language))
    if indicator.prices != "nominal":
        lines.append("In prijzen van het interventiejaar." if language == "nl" else "In prices of the support year.")
    return "\n".join(lines)


def letter_table(indicator: BudgetIndicator, language: Language) -> pd.DataFrame:
    """One row per cohort with the figures that the letter prints; NaN where a size class has no firm."""
    _known(language)
    lines = []
    for cohort in sorted({row.cohort for row in indicator.rows}):
        of_cohort = {row.group: row for row in indicator.rows if row.cohort == cohort and row.instrument == "all"}
        if not {"sme", "large"} & set(of_cohort):
            raise SettingsError('the letter\'s table needs SME and large firms apart: compute it with by="size".')
        sme, large = of_cohort.get("sme"), of_cohort.get("large")
        _, share, sme_eur = headline(sme, indicator.definitions) if sme else (0, math.nan, math.nan)
        large_eur = headline(large, indicator.definitions)[2] if large else math.nan
        tops = _tops(indicator, large, language) if large else ""
        lines.append((cohort, sme.n_firms if sme else 0, 100 * share, sme_eur / 1e6, large_eur / 1e6, tops))
    return pd.DataFrame(lines, columns=list(LETTER_HEADS[language]))


def instrument_table(indicator: BudgetIndicator, language: Language) -> pd.DataFrame:
    """One row per cohort and instrument, the total last: firms, growers, size of the growth, overlap."""
    _known(language)
    rows = [row for row in indicator.rows if row.group == "all"]
    if len({row.instrument for row in rows}) == 1:
        raise SettingsError('no rows per instrument: compute the indicator with per="instrument".')
    total = "totaal (ieder bedrijf eenmaal)" if language == "nl" else "total (each firm once)"
    lines = []
    for row in sorted(rows, key=lambda r: (r.cohort, r.instrument == "all", r.instrument)):
        growers, _, eur = headline(row, indicator.definitions)
        name = total if row.instrument == "all" else row.instrument
        lines.append((row.cohort, name, row.n_firms, growers, eur / 1e6, row.n_several))
    return pd.DataFrame(lines, columns=list(INSTRUMENT_HEADS[language]))


def _known(language: str) -> None:
    if language not in LABEL:
        raise SettingsError(f"`language`: expected one of {sorted(LABEL)}, found {language!r}.")


def _sentence(row: IndicatorRow, indicator: BudgetIndicator, language: Language) -> str:
    _, part, eur = headline(row, indicator.definitions)
    horizon, kind = indicator.definitions.indicator_horizon, FIRMS[language, row.group]
    share, money, tops = f"{100 * part:.1f}", _money(eur, language), _tops(indicator, row, language)
    if language == "nl":
        number = f"{row.n_firms:,d}".replace(",", ".")
        return (
            f"In interventiejaar {row.cohort} zijn {number} {kind} ondersteund op een doelmarkt; bij "
            f"{share.replace('.', ',')}% nam de export naar de doelmarkt in de {horizon} jaren daarna toe, samen met "
            f"gemiddeld {money} per jaar. Aandeel van de grootste 1, 5 en 10 bedrijven in dit bedrag: {tops}."
        )
    return (
        f"In intervention year {row.cohort}, {row.n_firms:,d} {kind} were supported on a target market; exports to it "
        f"rose for {share}% of them in the {horizon} years after, together by {money} per year on average. Share of "
        f"the largest 1, 5 and 10 firms in this sum: {tops}."
    )


def _tops(indicator: BudgetIndicator, row: IndicatorRow, language: Language) -> str:
    """Shares of the largest firms in the sum that is shown, in whole percent."""
    wanted = (row.cohort, row.instrument, row.group, f"{indicator.definitions.indicator_aggregate}_eur")
    for tail in indicator.tails:
        if (tail.cohort, tail.instrument, tail.group, tail.figure) == wanted and not math.isnan(tail.top_1):
            return ", ".join(f"{100 * share:.0f}%" for share in (tail.top_1, tail.top_5, tail.top_10))
    return "niet getoond (te weinig bedrijven)" if language == "nl" else "not shown (too few firms)"


def _money(eur: float, language: Language) -> str:
    billion, million = ("miljard", "miljoen") if language == "nl" else ("billion", "million")
    text = f"EUR {eur / 1e9:.1f} {billion}" if abs(eur) >= 1e9 else f"EUR {eur / 1e6:.0f} {million}"
    return text.replace(".", ",") if language == "nl" else text
