"""Price and scale of an effect in euro: per supported firm, per mission, per euro of the mission budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from missie_impact.display import html_table
from missie_impact.effects.increase.counterfactual_result import HEAVY, CounterfactualIndicator
from missie_impact.errors import SettingsError
from missie_impact.published import published_figure

BUDGET_ID = "R5.2025.budget"
COLUMNS = ["quantity", "estimate", "conf_low", "conf_high", "unit", "divided_by", "interval", "reason"]
NOT_NET = {
    "en": "This is export value, not profit, value added or welfare. It does not subtract what displaced other Dutch "
    "firms (displacement), what these firms would have done anyway beyond what the comparison takes out (deadweight), "
    "or what taking part cost the firms themselves, and it counts no cost of government outside this budget.",
    "nl": "Dit is exportwaarde, geen winst, toegevoegde waarde of welvaart. Niet afgetrokken is wat andere Nederlandse "
    "bedrijven daardoor minder exporteerden (verdringing), wat deze bedrijven ook zonder steun hadden gedaan voor "
    "zover de vergelijking dat niet al wegneemt, en wat deelname de bedrijven zelf kostte; kosten van de overheid "
    "buiten dit budget tellen niet mee.",
}


@dataclass(frozen=True, slots=True)
class EuroEffect:
    """An effect in euro a year on all supported firms together.

    Attributes
    ----------
    eur_per_year, conf_low, conf_high : the total and the ends of its interval
    n_firms : supported firms that the total is of
    n_cohorts : support years that the firms come from
    interval : "" or "indicative, heavy tail"
    missions_only : the support consists of missions, so that their budget is the one to divide by

    Examples
    --------
    >>> import missie_impact as mi
    >>> effect = mi.EuroEffect(10e6, 4e6, 16e6, n_firms=50)
    >>> mi.effect_price(effect).table["quantity"].tolist()
    ['per supported firm', 'per mission', 'per euro of the mission budget']
    """

    eur_per_year: float
    conf_low: float
    conf_high: float
    n_firms: int
    n_cohorts: int = 1
    interval: str = ""
    missions_only: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class EffectPrice:
    """What a euro effect means per firm, per mission and per euro of budget.

    Made by :func:`effect_price`.

    Attributes
    ----------
    table : quantity, estimate, conf_low, conf_high, unit, divided_by, interval, reason
    sources : where the numbers divided by come from
    simulated : the effect comes from simulated registers
    """

    table: pd.DataFrame
    sources: tuple[str, ...]
    simulated: bool = False

    def sentence(self, language: Literal["en", "nl"] = "en") -> str:
        """Say what this price is not."""
        if language not in NOT_NET:
            raise SettingsError(f"`language`: expected one of {sorted(NOT_NET)}, found {language!r}.")
        return NOT_NET[language]

    def _repr_html_(self) -> str:
        notes = (*self.sources, self.sentence("en"))
        return html_table(self.table, title="Price and scale of the effect", notes=notes, simulated=self.simulated)


def effect_price(
    effect: CounterfactualIndicator | EuroEffect,
    *,
    figure: str = "net_winsorised_eur",
    cohort: str = "all",
    group: str = "all",
    matching: str = "with_last_year",
    missions: int | None = None,
    budget_eur: float | None = None,
) -> EffectPrice:
    """Divide an effect in euro a year by supported firms, missions and the mission budget.

    Numbers of firms, missions and the budget are taken as known: the interval is that of the effect, divided.

    Parameters
    ----------
    effect : a counterfactual indicator, or the total of another estimate as `EuroEffect`
    figure, cohort, group, matching : which line of the counterfactual indicator
    missions : missions of the cohorts together; without it there is no price per mission
    budget_eur : mission budget a year; the one of the letter (EUR 2.5 million) unless said. It is multiplied by the
        number of cohorts, and only set against support that consists of missions

    Returns
    -------
    EffectPrice
        EUR of exports a year per firm, per mission, and per euro of budget, with intervals.

    Raises
    ------
    SettingsError
        If ``effect`` is neither, the figure is not in euro, or missions or budget are not above zero.

    Examples
    --------
    >>> import missie_impact as mi
    >>> effect = mi.EuroEffect(10e6, 4e6, 16e6, n_firms=50, n_cohorts=2)
    >>> mi.effect_price(effect, missions=20).table[["quantity", "estimate"]].values.tolist()
    [['per supported firm', 200000.0], ['per mission', 500000.0], ['per euro of the mission budget', 2.0]]
    """
    if not isinstance(effect, (CounterfactualIndicator, EuroEffect)):
        raise SettingsError(
            f"effect: expected a counterfactual indicator or a EuroEffect, found {type(effect).__name__}. An effect "
            "per treated pair, such as `att_eur_winsorised` of export_increase, makes a EuroEffect when multiplied by "
            "the treated pairs: EuroEffect(eur_per_year, conf_low, conf_high, n_firms=...)."
        )
    found = effect if isinstance(effect, EuroEffect) else _line(effect, figure, cohort, group, matching)
    letter = published_figure(BUDGET_ID)
    budget = float(letter.read_as or math.nan) if budget_eur is None else float(budget_eur)
    for name, value in (("missions", missions), ("budget_eur", budget)):
        if value is not None and not value > 0:
            raise SettingsError(f"`{name}`: expected a number above zero, found {value!r}.")
    other = "" if found.missions_only else "support by other instruments: compute the effect of missions alone"
    rows = [
        _divided("per supported firm", found, found.n_firms, "EUR of exports a year", "supported firms", ""),
        _divided(
            "per mission", found, missions, "EUR of exports a year", "missions",
            other if missions is not None else "number of missions not given",
        ),
        _divided(
            "per euro of the mission budget", found, budget * found.n_cohorts,
            "EUR of exports a year, in each of the years measured", "EUR of budget", other,
        ),
    ]  # fmt: skip
    source = f"Budget: {letter.label}, EUR {budget:,.0f} a year" + (
        f" ({letter.source}; {letter.note})." if budget_eur is None else " (as given)."
    )
    return EffectPrice(
        pd.DataFrame(rows, columns=COLUMNS), (source,), isinstance(effect, CounterfactualIndicator) and effect.simulated
    )


def _line(effect: CounterfactualIndicator, figure: str, cohort: str, group: str, matching: str) -> EuroEffect:
    line = effect.row(figure, cohort=cohort, group=group, matching=matching)
    if not str(line["unit"]).startswith("EUR"):
        raise SettingsError(f"`figure`: expected one in euro, such as 'net_winsorised_eur', found {figure!r}.")
    cohorts = set(effect.table["cohort"]) - {"all"}
    return EuroEffect(
        float(line["difference"]),
        float(line["conf_low"]),
        float(line["conf_high"]),
        int(line["n_firms"]),
        len(cohorts) if cohort == "all" else 1,
        HEAVY if line["interval"] == HEAVY else "",
        effect.instruments == ("mission",),
    )


def _divided(
    quantity: str, effect: EuroEffect, by: float | None, unit: str, words: str, reason: str
) -> tuple[str, float, float, float, str, str, str, str]:
    if by is None or reason or by == 0:
        return (quantity, math.nan, math.nan, math.nan, unit, words, "", reason or f"no {words}")
    ends = (effect.eur_per_year / by, effect.conf_low / by, effect.conf_high / by)
    return (quantity, *ends, unit, f"{by:,.0f} {words}", effect.interval, "")
