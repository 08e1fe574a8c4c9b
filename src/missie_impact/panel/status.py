"""Incidental or structural: activity in a moving window."""

from __future__ import annotations

import narwhals as nw

from missie_impact.definitions import Definitions
from missie_impact.panel.history import pattern_text, window_seen
from missie_impact.registers.engine import Lazy


def status(years: Lazy, definitions: Definitions, first_year: int) -> Lazy:
    """Return the status of a firm, or of a firm in a market, in each of its active years.

    Parameters
    ----------
    years : active years with active_years and pattern of :func:`missie_impact.panel.history.with_history`

    Returns
    -------
    the input with pattern as text, status ("structural": at least ``min_years`` of the last ``window`` years active;
    else "incidental"; null where the window is longer than the data) and window_seen

    References
    ----------
    CBS, Internationalisation Monitor 2020-III (structural: 3 of the last 4 years; services).
    """
    enough = nw.col("active_years") >= definitions.min_years
    named = nw.when(enough).then(nw.lit("structural")).otherwise(nw.lit("incidental"))
    seen = window_seen(definitions, first_year)
    return years.with_columns(window_seen=seen, status=nw.when(seen).then(named), pattern=pattern_text(definitions))
