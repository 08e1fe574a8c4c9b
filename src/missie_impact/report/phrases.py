"""Dutch for the fixed sentences inside tables: steps of a flow, why rows left, definitions, remarks of the study.

English is what the library writes; a sentence is looked up with each number in it written as ``#``, and the numbers
return in the same order. A sentence that is not here, such as an error, stays as it is.
"""

from __future__ import annotations

import re

from missie_impact.report.labels import Language, label

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
PHRASED = ("table", "step", "reason", "definition", "status", "design")  # columns whose texts are phrases

PHRASES = {
    # tables of a flow
    "participations": "deelnames",
    "listed missions": "missies op de lijst",
    "trade": "handel",
    "risk set": "risicoset",
    "design": "ontwerp",
    "panel": "panel",
    # participations and missions
    "participations in the list": "deelnames op de lijst",
    "participations of firms": "deelnames van bedrijven",
    "organisations that are not firms": "organisaties die geen bedrijf zijn",
    "linked to the register": "gekoppeld aan het register",
    "number without a link on the day": "nummer zonder koppeling op die dag",
    "supports (firm, market, year, instrument)": "ondersteuningen (bedrijf, markt, jaar, instrument)",
    "several persons of a firm": "meer personen van een bedrijf",
    "participations in listed missions": "deelnames aan missies op de lijst",
    "... before #: not usable": "... voor #: niet bruikbaar",
    "... after #: not usable": "... na #: niet bruikbaar",
    "... in usable years #-#": "... in bruikbare jaren #-#",
    "window, or list, begins too late": "venster of lijst begint te laat",
    "data end before the outcome is seen": "gegevens eindigen voor de uitkomst te zien is",
    # trade
    "trade rows read": "gelezen handelsregels",
    "trade rows of distinct keys": "handelsregels met een eigen sleutel",
    "rows of one firm, market, year, flow and kind summed": (
        "regels van een bedrijf, markt, jaar, stroom en soort opgeteld"
    ),
    "firm x market x years with trade": "bedrijf x markt x jaar met handel",
    "flows, kinds and corrections of a firm, market and year summed; sums at or below zero are no trade": (
        "stromen, soorten en correcties van een bedrijf, markt en jaar opgeteld; een som van nul of minder is geen "
        "handel"
    ),
    # risk sets
    "incidental in the year before, #-#": "incidenteel in het jaar ervoor, #-#",
    "structural at t-#, host markets, #-#": "structureel op t-#, gastmarkten, #-#",
    "treated and drawn pairs, #-#": "deelnemende en getrokken paren, #-#",
    "pairs with exports before t, or treated, #-#": "paren met uitvoer voor t, of deelnemend, #-#",
    "in the register in t": "in het register in t",
    "in the register at t-#": "in het register op t-#",
    "no row of the firm in the year before": "geen regel van het bedrijf in het jaar ervoor",
    "firm ceased in t": "bedrijf opgeheven in t",
    "firm ceased, or was not yet there, in t": "bedrijf opgeheven, of nog niet opgericht, in t",
    "no listed mission in t-#..t-#": "geen missie van de lijst in t-#..t-#",
    "no listed mission to the market in t-#..t-#": "geen missie van de lijst naar de markt in t-#..t-#",
    "no treatment of the pair in t-#..t-#": "geen deelname of ondersteuning van het paar in t-#..t-#",
    "recent mission": "recente missie",
    "recent mission or support": "recente missie of ondersteuning",
    "identity known": "identiteit bekend",
    "identity lost before the outcome is seen": "identiteit verloren voor de uitkomst te zien is",
    "not a control of its own": "geen vergelijking met zichzelf",
    "firm goes to another market in t": "bedrijf gaat in t naar een andere markt",
    "never treated": "nooit deelnemer",
    "control with a mission at another time": "vergeleken bedrijf met een missie op een ander moment",
    "active when follow-up starts": "actief bij het begin van het volgen",
    "no trade in the year before follow-up": "geen handel in het jaar voor het volgen",
    "years at risk from t+# to t+#": "jaren in risico van t+# tot en met t+#",
    "years at risk from t to t+#": "jaren in risico van t tot en met t+#",
    "years at risk of structural pairs": "jaren in risico van structurele paren",
    "without trade in t-#..t-#": "zonder handel in t-#..t-#",
    "already trade in t-#..t-#": "al handel in t-#..t-#",
    "without an affiliate in t-#..t-#": "zonder dochter in t-#..t-#",
    "already an affiliate in t-#..t-#": "al een dochter in t-#..t-#",
    "rows of the own table": "regels van de eigen tabel",
    "units of the risk set": "eenheden van de risicoset",
    "compared": "vergeleken",
    "pairs compared": "vergeleken paren",
    "in the likelihood": "in de aannemelijkheid",
    "in the comparison": "in de vergelijking",
    # designs
    "regression on stacked trials": "regressie op gestapelde proeven",
    # the indicator
    "supported pairs and instruments of the cohorts": "ondersteunde paren en instrumenten van de cohorten",
    "support in other years, or by instruments that are not counted": (
        "ondersteuning in andere jaren, of door instrumenten die niet meetellen"
    ),
    "supported pairs of the cohorts": "ondersteunde paren van de cohorten",
    "several instruments for the same pair and year": "meer instrumenten voor hetzelfde paar en jaar",
    "pairs with an increase": "paren met een toename",
    "mean of the later years not above the base": "gemiddelde van de latere jaren niet boven de basis",
    # questions of the study
    "leaving a market": "een markt verlaten",
    "starting to trade": "beginnen te handelen",
    "starting to invest": "beginnen te investeren",
    # definitions, part by part
    "export": "uitvoer",
    "import": "invoer",
    "export flow": "stroom: uitvoer",
    "import flow": "stroom: invoer",
    "either flow": "stroom: uitvoer of invoer",
    "incidental on t-#..t-# and active in t-#": "incidenteel over t-#..t-# en actief in t-#",
    "structural: active in at least # of t+#..t+#": "structureel: actief in ten minste # van t+#..t+#",
    "structural: active in at least # of t..t+#": "structureel: actief in ten minste # van t..t+#",
    "firm level": "niveau: bedrijf",
    "market level": "niveau: bedrijf x markt",
    "size cbs_independent": "grootte: zelfstandig mkb volgens het CBS",
    "size cbs_size": "grootte: personen volgens het CBS",
    "size eu": "grootte: EU",
    "size letter": "grootte: brief",
    "logit with the default controls, standardised over the treated": (
        "logit met de standaard controlevariabelen, gestandaardiseerd over de deelnemers"
    ),
    "discrete-time complementary log-log with the default controls, standardised over the treated": (
        "complementaire log-log in discrete tijd met de standaard controlevariabelen, gestandaardiseerd over de "
        "deelnemers"
    ),
    "pairs structural and active in t-# and trading when follow-up starts": (
        "paren structureel en actief in t-# en met handel bij het begin van het volgen"
    ),
    "no trade for # years while the firm lives": "# jaar geen handel terwijl het bedrijf bestaat",
    "follow-up t+#..t+#": "gevolgd over t+#..t+#",
    "follow-up t..t+#": "gevolgd over t..t+#",
    "about # controls drawn per treated pair in each market and year": (
        "ongeveer # vergeleken paren getrokken per deelnemend paar in elke markt en elk jaar"
    ),
    "about # controls drawn per treated pair in each market, year and size": (
        "ongeveer # vergeleken paren getrokken per deelnemend paar in elke markt, elk jaar en elke grootte"
    ),
    "none in t-#..t-#, any in t+#..t+#": "geen in t-#..t-#, wel in t+#..t+#",
    "window and threshold carried over": "venster en drempel overgenomen",
    "exit rule carried over": "regel voor vertrek overgenomen",
    "two years and size documented": "twee jaar en grootte gedocumenteerd",
    "scale and model assumed": "schaal en model aangenomen",
    "look-back, unit and model assumed": "terugblik, eenheid en model aangenomen",
    # remarks of the study
    "naive: shown because it is wrong": "naïef: getoond omdat het fout is",
    "the stored truth is for follow-up from t+#": "de opgeslagen waarheid is die bij volgen vanaf t+#",
    "the stored truth is for all treated": "de opgeslagen waarheid is die over alle deelnemers",
    "a matching with a caliper keeps those with a match": "een matching met een grens houdt wie een match heeft",
    "largest #, #, # firms: #%, #%, #% of the sum": "grootste #, #, # bedrijven: #%, #%, #% van de som",
    "shares of the largest firms not shown: fewer than # firms contribute": (
        "aandelen van de grootste bedrijven niet getoond: minder dan # bedrijven dragen bij"
    ),
    "no linked supported firm in this group": "geen gekoppeld ondersteund bedrijf in deze groep",
    "separation: the # treated rows have no events": "separatie: de # regels van deelnemers hebben geen gebeurtenissen",
    "separation: # of # rows are predicted perfectly by `treated` together with # controls": (
        "separatie: # van # regels worden volledig voorspeld door deelname samen met # controlevariabelen"
    ),
    "Scales of R# to R# are assumed: CBS does not state them. Ratios are marginal, standardised over the treated.": (
        "De schalen van R# tot en met R# zijn aangenomen: het CBS vermeldt ze niet. Verhoudingen zijn marginaal, "
        "gestandaardiseerd over de deelnemers."
    ),
    "Naive rows stand beside the estimates to show what comparisons without design give; they are not estimates.": (
        "Naïeve regels staan naast de schattingen om te tonen wat een vergelijking zonder ontwerp geeft; het zijn geen "
        "schattingen."
    ),
    "R# is goal attainment, a description: it has no interval and says nothing about what support brought about.": (
        "R# is doelbereik, een beschrijving: zonder interval, en zonder uitspraak over wat ondersteuning teweegbracht."
    ),
    "The published total of R# for trade (#) does not follow from its own subgroups: # for independent SME and # for "
    "others give # only with # to #% SME among the treated, while CBS reports # to #%, which gives # to #. The total "
    "is not tuned": (
        "Het gepubliceerde totaal van R# voor handel (#) volgt niet uit de eigen deelgroepen: # voor zelfstandig mkb "
        "en # voor de rest geven # alleen bij # tot #% mkb onder de deelnemers, terwijl het CBS # tot #% meldt, wat "
        "# tot # geeft. Het totaal is niet afgestemd"
    ),
    "the total that follows here: truth #, estimate #.": "het totaal dat hier volgt: waarheid #, schatting #.",
    "the total that follows here: estimate #.": "het totaal dat hier volgt: schatting #.",
    "No truth: registers of the user have no known truth.": (
        "Geen waarheid: registers van de gebruiker hebben geen bekende waarheid."
    ),
}


def phrase(text: str, language: Language) -> str:
    """Return a fixed sentence in a language: whole, or part by part where "; " divides it.

    Numbers get a decimal comma and points for thousands in Dutch. What the catalogue does not hold stays as it is.
    """
    if language == "en" or not text:
        return text
    found = _whole(text)
    if found is not None:
        return found
    parts = [_whole(part) for part in text.split("; ")]
    known = [part or given for part, given in zip(parts, text.split("; "), strict=True)]
    return "; ".join(known) if any(parts) else label(text, language)


def _whole(text: str) -> str | None:
    dutch = PHRASES.get(NUMBER.sub("#", text))
    if dutch is None:
        return None
    numbers = iter(number.translate(_MARKS) for number in NUMBER.findall(text))
    return re.sub("#", lambda _: next(numbers), dutch)


_MARKS = str.maketrans(".,", ",.")
