"""One catalogue of words, English and Dutch, for the heads of columns and the names of groups and scales."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pandas as pd

Language = Literal["en", "nl"]

CATALOGUE: dict[str, tuple[str, str]] = {
    # columns of the study's table
    "id": ("row", "rij"),
    "label": ("question", "vraag"),
    "group": ("group", "groep"),
    "scale": ("scale", "schaal"),
    "published": ("published", "gepubliceerd"),
    "estimate": ("estimate", "schatting"),
    "conf_low": ("95% from", "95% van"),
    "conf_high": ("95% to", "95% tot"),
    "truth": ("truth", "waarheid"),
    "realised_truth": ("realised truth", "gerealiseerde waarheid"),
    "holds_truth": ("holds truth", "bevat waarheid"),
    "design": ("design", "ontwerp"),
    "n_rows": ("rows", "rijen"),
    "n_firms": ("firms", "bedrijven"),
    "n_treated": ("treated", "deelnemers"),
    "n_events": ("events", "gebeurtenissen"),
    "definition": ("definition", "definitie"),
    "status": ("status", "status"),
    "simulated": ("simulated", "gesimuleerd"),
    "reason": ("remark", "opmerking"),
    "outcome": ("outcome", "uitkomst"),
    "year": ("year", "jaar"),
    "cohort": ("cohort", "cohort"),
    "p_value": ("p value", "p-waarde"),
    "time": ("time", "tijd"),
    "arm": ("arm", "arm"),
    "std_error": ("standard error", "standaardfout"),
    "statistic": ("statistic", "toetsgrootheid"),
    "band_low": ("band from", "band van"),
    "band_high": ("band to", "band tot"),
    "n_at_risk": ("at risk", "in risico"),
    "term": ("term", "term"),
    "difference_before": ("difference before", "verschil vooraf"),
    "difference_after": ("difference after", "verschil achteraf"),
    "balanced": ("balanced", "in balans"),
    "variable": ("variable", "variabele"),
    "sd": ("standard deviation", "standaardafwijking"),
    "mean_treated_before": ("mean of treated before", "gemiddelde deelnemers vooraf"),
    "mean_untreated_before": ("mean of others before", "gemiddelde anderen vooraf"),
    "mean_treated_after": ("mean of treated after", "gemiddelde deelnemers achteraf"),
    "mean_untreated_after": ("mean of others after", "gemiddelde anderen achteraf"),
    "variance_ratio_before": ("ratio of variances before", "verhouding varianties vooraf"),
    "variance_ratio_after": ("ratio of variances after", "verhouding varianties achteraf"),
    "ks_before": ("Kolmogorov-Smirnov before", "Kolmogorov-Smirnov vooraf"),
    "ks_after": ("Kolmogorov-Smirnov after", "Kolmogorov-Smirnov achteraf"),
    "within": ("within the threshold", "binnen de grens"),
    "instrument": ("instrument", "instrument"),
    "kind": ("kind", "soort"),
    "share": ("share", "aandeel"),
    "share_growers": ("share with an increase", "aandeel met een toename"),
    "n_pairs": ("pairs", "paren"),
    "n_supports": ("supports", "ondersteuningen"),
    "n_growers": ("firms with an increase", "bedrijven met een toename"),
    "n_growers_sum": ("firms with an increase of the sum", "bedrijven met een toename van de som"),
    "share_growers_sum": ("share with an increase of the sum", "aandeel met een toename van de som"),
    "n_growers_any_year": ("firms with an increase in any year", "bedrijven met een toename in enig jaar"),
    "share_growers_any_year": ("share with an increase in any year", "aandeel met een toename in enig jaar"),
    "gross_eur": ("sum of increases, EUR per year", "som van de toenames, euro per jaar"),
    "net_eur": ("increases less decreases, EUR per year", "toenames min afnames, euro per jaar"),
    "gross_firm_eur": ("sum of increases per firm, EUR per year", "som van de toenames per bedrijf, euro per jaar"),
    "base_eur": ("exports in the base year, EUR", "uitvoer in het basisjaar, euro"),
    "gross_top_1": ("increases: share of the largest firm", "toenames: aandeel grootste bedrijf"),
    "gross_top_5": ("increases: share of the 5 largest firms", "toenames: aandeel 5 grootste bedrijven"),
    "gross_top_10": ("increases: share of the 10 largest firms", "toenames: aandeel 10 grootste bedrijven"),
    "net_top_1": ("net: share of the largest firm", "saldo: aandeel grootste bedrijf"),
    "net_top_5": ("net: share of the 5 largest firms", "saldo: aandeel 5 grootste bedrijven"),
    "net_top_10": ("net: share of the 10 largest firms", "saldo: aandeel 10 grootste bedrijven"),
    "n_several": ("firms with several instruments", "bedrijven met meer dan een instrument"),
    "n_ended": ("firms that ceased", "opgeheven bedrijven"),
    "n_lost": ("firms whose identity was lost", "bedrijven met verloren identiteit"),
    # groups
    "all": ("all", "totaal"),
    "sme": ("SME", "zelfstandig mkb"),
    "not_sme": ("not SME", "geen zelfstandig mkb"),
    "large": ("large", "grootbedrijf"),
    "size": ("size", "grootte"),
    "country_group": ("country group", "landengroep"),
    "cbs_independent": ("CBS", "CBS"),
    "cbs_size": ("CBS, persons", "CBS, personen"),
    "eu": ("EU", "EU"),
    "letter": ("letter", "brief"),
    "OECD": ("OECD", "OESO"),
    "BRICS": ("BRICS", "BRICS"),
    "developing": ("developing", "ontwikkelingslanden"),
    "other": ("other", "overig"),
    # scales
    "odds_ratio": ("odds ratio", "odds ratio"),
    "risk_ratio": ("risk ratio", "risicoratio"),
    "risk_difference": ("risk difference", "risicoverschil"),
    "hazard_ratio": ("hazard ratio", "hazardratio"),
    "odds_ratio_conditional": ("odds ratio, conditional", "odds ratio, conditioneel"),
    "hazard_ratio_conditional": ("hazard ratio, conditional", "hazardratio, conditioneel"),
    "subdistribution_hazard_ratio": ("subdistribution hazard ratio", "subdistributie-hazardratio"),
    "log_odds": ("log odds", "log-odds"),
    "log_hazard": ("log hazard", "log-hazard"),
    "risk_with": ("risk with support", "risico met ondersteuning"),
    "risk_without": ("risk without support", "risico zonder ondersteuning"),
    "yearly_exit_probability_with": ("yearly exit with support", "jaarlijkse uittreding met ondersteuning"),
    "yearly_exit_probability_without": ("yearly exit without support", "jaarlijkse uittreding zonder ondersteuning"),
    "survival_difference_1": ("difference in survival after 1 year", "verschil in overleving na 1 jaar"),
    "survival_difference_3": ("difference in survival after 3 years", "verschil in overleving na 3 jaar"),
    "survival_difference_5": ("difference in survival after 5 years", "verschil in overleving na 5 jaar"),
    "mean_ratio": ("ratio of means", "verhouding van gemiddelden"),
    "restricted_mean_difference": ("difference in years", "verschil in jaren"),
    "restricted_mean_ratio": ("ratio of years", "verhouding van jaren"),
    "risk_difference_pp": ("risk difference, pp", "risicoverschil, %-punt"),
    "survival_difference_1_pp": ("difference in survival after 1 year, pp", "verschil in overleving na 1 jaar, %-punt"),
    "survival_difference_3_pp": (
        "difference in survival after 3 years, pp",
        "verschil in overleving na 3 jaar, %-punt",
    ),
    "survival_difference_5_pp": (
        "difference in survival after 5 years, pp",
        "verschil in overleving na 5 jaar, %-punt",
    ),
    "yearly_exit_probability_with_percent": ("yearly exit with mission, %", "jaarlijkse uittreding met missie, %"),
    "yearly_exit_probability_without_percent": (
        "yearly exit without mission, %",
        "jaarlijkse uittreding zonder missie, %",
    ),
    "share_percent": ("share, %", "aandeel, %"),
    "eur_million": ("EUR million", "mln euro"),
    "count": ("number", "aantal"),
    # steps of a flow
    "step": ("step", "stap"),
    "rows": ("rows", "rijen"),
    "firms": ("firms", "bedrijven"),
    "participants": ("participants", "deelnemers"),
    "lost_rows": ("rows lost", "rijen afgevallen"),
    # figures
    "treated": ("treated", "deelnemers"),
    "events": ("events", "gebeurtenissen"),
    "share of the first step of its table": ("share of the first step of its table", "aandeel van de eerste stap"),
    "at risk": ("at risk", "in risico"),
    "years": ("years", "jaren"),
    "years since the mission": ("years since the mission", "jaren sinds de missie"),
    "survival": ("survival", "overleving"),
    "cumulative_incidence": ("cumulative incidence", "cumulatieve incidentie"),
    "with": ("with support", "met ondersteuning"),
    "without": ("without support", "zonder ondersteuning"),
    "untreated": ("not treated", "niet-deelnemers"),
    "exit": ("leaving the market", "vertrek uit de markt"),
    "death": ("firm ceased", "bedrijf opgeheven"),
    "lost": ("identity lost", "identiteit verloren"),
    "still there": ("still there", "nog aanwezig"),
    "entry": ("entering the market", "de markt betreden"),
    "transition": ("becoming structural", "structureel worden"),
    "leaving, by cause": ("leaving, by cause", "vertrek, naar oorzaak"),
    "status from year to year": ("Status from year to year", "Status van jaar op jaar"),
    "spells by begin and length": ("Spells by begin and length", "Perioden naar begin en lengte"),
    "percent": ("percent", "procent"),
    "EUR per year": ("EUR per year", "euro per jaar"),
    "cohort; above the bars: number of firms": (
        "cohort; above the bars: number of firms",
        "cohort; boven de staven: aantal bedrijven",
    ),
    "trials": ("stacked trials", "gestapelde proeven"),
    "variant": ("stacked trials, variant", "gestapelde proeven, variant"),
    "naive": ("naive comparison", "naïeve vergelijking"),
    "description": ("description", "beschrijving"),
    # subgroups
    "minister_led": ("kind of mission", "soort missie"),
    "minister-led": ("minister-led", "onder leiding van een bewindspersoon"),
    "not minister-led": ("not minister-led", "zonder bewindspersoon"),
    "participation": ("participation", "deelname"),
    "first": ("first", "eerste"),
    "repeat": ("repeat", "herhaald"),
    "trade_kind": ("kind of trade", "soort handel"),
    "goods": ("goods", "goederen"),
    "services": ("services", "diensten"),
    "sector": ("sector", "bedrijfstak"),
    "region": ("region", "regio"),
    # readings of the specification curve
    "window": ("window, years", "venster, jaren"),
    "min_years": ("years with exports, at least", "jaren met uitvoer, minstens"),
    "threshold": ("years with exports, at least", "jaren met uitvoer, minstens"),
    "count_from": ("counted from", "geteld vanaf"),
    "level": ("level", "niveau"),
    "controls": ("controls", "controlevariabelen"),
    "start_from": ("follow-up from", "gevolgd vanaf"),
    "gap_years": ("years without trade", "jaren zonder handel"),
    "default": ("default", "standaard"),
    "none": ("none", "geen"),
    "firm": ("firm", "bedrijf"),
    "market": ("firm x market", "bedrijf x markt"),
    "before": ("before", "vooraf"),
    "after": ("after", "achteraf"),
    "absolute standardised difference": ("absolute standardised difference", "absoluut gestandaardiseerd verschil"),
    "table": ("table", "tabel"),
    "incidental": ("incidental", "incidenteel"),
    "structural": ("structural", "structureel"),
    "no exports": ("no exports", "geen uitvoer"),
    "firm ceased": ("firm ceased", "bedrijf opgeheven"),
    "in a year": ("in a year", "in een jaar"),
    "in the next year": ("in the next year", "in het jaar erna"),
    "spells that ended": ("spells that ended", "beëindigde perioden"),
    "year in which the spell began": ("year in which the spell began", "jaar waarin de periode begon"),
    "length, years": ("length, years", "lengte, jaren"),
    "headline": ("headline", "hoofduitkomst"),
    "observed": ("observed", "waargenomen"),
    "expected": ("expected without support", "verwacht zonder ondersteuning"),
    "difference": ("difference", "verschil"),
    "observed, and expected without support": (
        "observed, and expected without support",
        "waargenomen, en verwacht zonder ondersteuning",
    ),
    "firms with an increase": ("firms with an increase", "bedrijven met een toename"),
    "with_last_year": ("matched on t-4..t-1", "gematcht op t-4..t-1"),
    "without_last_year": ("matched on t-4..t-2", "gematcht op t-4..t-2"),
    # questions of the study
    "incidental exporter becomes structural": (
        "incidental exporter becomes structural",
        "incidentele exporteur wordt structureel",
    ),
    "incidental exporter becomes structural; no controls": (
        "incidental exporter becomes structural; no controls",
        "incidentele exporteur wordt structureel; zonder controles",
    ),
    "incidental exporter becomes structural; matched": (
        "incidental exporter becomes structural; matched",
        "incidentele exporteur wordt structureel; gematcht",
    ),
    "incidental exporter becomes structural; weighted": (
        "incidental exporter becomes structural; weighted",
        "incidentele exporteur wordt structureel; gewogen",
    ),
    "incidental exporter becomes structural; doubly robust": (
        "incidental exporter becomes structural; doubly robust",
        "incidentele exporteur wordt structureel; dubbel robuust",
    ),
    "structural trader leaves the market": (
        "structural trader leaves the market",
        "structurele handelaar verlaat de markt",
    ),
    "structural trader leaves the market; follow-up from t": (
        "structural trader leaves the market; follow-up from t",
        "structurele handelaar verlaat de markt; gevolgd vanaf t",
    ),
    "structural trader leaves the market; follow-up from t+2": (
        "structural trader leaves the market; follow-up from t+2",
        "structurele handelaar verlaat de markt; gevolgd vanaf t+2",
    ),
    "structural trader leaves the market; ever-participants, no controls": (
        "structural trader leaves the market; ever-participants, no controls",
        "structurele handelaar verlaat de markt; ooit deelnemer, zonder controles",
    ),
    "starts trading with the host within two years": (
        "starts trading with the host within two years",
        "begint binnen twee jaar te handelen met het gastland",
    ),
    "starts investing in the host within two years": (
        "starts investing in the host within two years",
        "begint binnen twee jaar te investeren in het gastland",
    ),
    "supported SME": ("supported SME", "ondersteund mkb"),
    "supported SME with an increase": ("supported SME with an increase", "ondersteund mkb met een toename"),
    "SME with an increase over their markets together": (
        "SME with an increase over their markets together",
        "mkb met een toename over de markten samen",
    ),
    "increase, SME": ("increase, SME", "toename, mkb"),
    "increase, large firms": ("increase, large firms", "toename, grootbedrijf"),
    "net increase, SME": ("net increase, SME", "netto toename, mkb"),
    "net increase, large firms": ("net increase, large firms", "netto toename, grootbedrijf"),
    # titles
    "effects": ("Effects", "Effecten"),
    "flow": ("Who is lost at each step", "Wie er bij elke stap afvalt"),
    "balance": ("Balance", "Balans"),
    "budget indicator": ("Budget indicator", "Begrotingsindicator"),
    # outcomes
    "becoming structural": ("becoming structural", "structureel worden"),
    "leaving the market": ("leaving the market", "de markt verlaten"),
    "entering the market": ("entering the market", "de markt betreden"),
}

CODED = ("group", "scale", "label", "outcome")  # columns whose texts are terms themselves


def terms_of(frames: Iterable[pd.DataFrame]) -> dict[str, tuple[str, str]]:
    """Return the terms of the catalogue that tables use, as heads or in coded columns: English and Dutch by code."""
    used: dict[str, None] = {}
    for frame in frames:
        used |= dict.fromkeys(map(str, frame.columns))
        for column in CODED:
            if column in frame:
                used |= dict.fromkeys(map(str, frame[column]))
    return {term: CATALOGUE[term] for term in used if term in CATALOGUE}


def label(term: str, language: Language = "en") -> str:
    """Return the words for a term; a term outside the catalogue stands for itself.

    Terms made of others are put into words part by part: ``size=sme (eu)``, ``2020: increase, SME``, ``exit, death``.
    """
    if term in CATALOGUE:
        return CATALOGUE[term][language == "nl"]
    head, colon, tail = term.partition(": ")
    if colon and (head.isdigit() or "=" in head):
        return f"{label(head, language)}: {label(tail, language)}"
    name, equals, level = term.partition("=")
    if equals:
        level, bracket, scheme = level.partition(" (")
        return f"{label(level, language)} ({label(scheme.rstrip(')') if bracket else name, language)})"
    parts = term.split(", ")
    return ", ".join(label(part, language) for part in parts) if CATALOGUE.keys() >= set(parts) else term
