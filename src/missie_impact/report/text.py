"""Sentences made from numbers."""

from __future__ import annotations

from missie_impact.display import SIMULATED_IN
from missie_impact.report.labels import Language


def register_line(simulated: bool, source: str = "", language: Language = "en") -> str:
    """Return the first line of every study: whether its registers are simulated, and where they come from."""
    if simulated:
        line = SIMULATED_IN[language]
    else:
        line = "Registers of the user; nothing simulated." if language == "en" else "Registers van de gebruiker."
    return f"{line} {source}".strip()


def expected_misses(n_intervals: int, level: float = 0.95) -> str:
    """Say how many of some intervals are expected to miss their truth by chance alone.

    The count takes each interval by itself; intervals from the same registers move together, so that the number
    of misses varies more than the binomial distribution says while its expectation stays the same.
    """
    expected = n_intervals * (1 - level)
    return (
        f"Of {n_intervals} intervals at {level:.0%}, {expected:.1f} are expected to miss the truth by chance; "
        "one miss is no sign of a fault."
    )
