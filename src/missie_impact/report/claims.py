"""Sentences about effects, made from numbers: the verb goes no further than the design carries.

Levels follow the Maryland Scientific Methods Scale as the What Works centre uses it: 1 a raw comparison, 2 with
controls, 3 treated against comparable others before and after, 4 an instrument or a discontinuity, 5 a lottery.
"""

from __future__ import annotations

import math
from typing import Literal

from missie_impact.effects.result import is_level
from missie_impact.report.labels import Language, label

Level = Literal[1, 2, 3, 4, 5]

CAUSAL_FROM = 3
"""Below this level no sentence says that something is due to the support."""

LEVEL_OF_DESIGN: dict[str, Level] = {"trials": 3, "variant": 3, "naive": 1, "description": 1}
VERBS = {
    "en": {True: "leads to", False: "goes together with"},
    "nl": {True: "leidt tot", False: "gaat samen met"},
}
NO_EFFECT = {"odds_ratio": 1.0, "risk_ratio": 1.0, "hazard_ratio": 1.0}


def level_of(design: str) -> Level:
    """Return the level of a design of the study on the Maryland scale; the lowest for one that is not known."""
    return LEVEL_OF_DESIGN.get(design, 1)


def claim(
    what: str,
    scale: str,
    estimate: float,
    interval: tuple[float, float],
    *,
    level: Level,
    n_treated: int | None,
    language: Language = "en",
) -> str:
    """Write one sentence: what, number, interval, how many treated, level of the design.

    Where the interval holds the value of no effect, the sentence says that no effect was shown; a description or a
    design below level 3 never gets a causal verb.

    Parameters
    ----------
    what : the outcome in words
    estimate, interval : on ``scale``; an estimate without an interval is a description
    n_treated : treated units behind it
    """
    english = language == "en"
    if math.isnan(estimate):
        return f"{what}: {'no estimate' if english else 'geen schatting'}."
    low, high = interval
    number = f"{label(scale, language)} {_shown(estimate, language)}"
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{what}: {number} ({'a description' if english else 'een beschrijving'})."
    between = f"95%: {_shown(low, language)} {'to' if english else 'tot'} {_shown(high, language)}"
    treated = "" if n_treated is None else f"; {n_treated:,d} {label('treated', language)}"
    treated = treated if english else treated.replace(",", ".")
    if is_level(scale):
        return f"{what}: {number} ({between}{treated})."
    none = NO_EFFECT.get(scale, 0.0)
    about = f"({between}{treated}; {'level' if english else 'niveau'} {level})"
    if low <= none <= high:
        found = "no effect was shown" if english else "een effect is niet aangetoond"
        return f"{what}: {found}; {number} {about}."
    verb = VERBS[language][level >= CAUSAL_FROM]
    subject = "support" if english else "ondersteuning"
    article = "een" if not english else "an" if number[0] in "aeiou" else "a"
    return f"{what}: {subject} {verb} {article} {number} {about}."


def _shown(value: float, language: Language) -> str:
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text if language == "en" else text.translate(str.maketrans(".,", ",."))
