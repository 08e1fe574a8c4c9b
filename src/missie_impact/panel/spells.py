"""Spells: runs of active years that only gaps shorter than the gap rule interrupt."""

from __future__ import annotations

import narwhals as nw

from missie_impact.definitions import Definitions
from missie_impact.panel.history import origin_seen
from missie_impact.registers.engine import Lazy

PAIR = ["firm", "market"]


REASONS = ("exit", "death", "lost", "open")


def end_reason(definitions: Definitions, last_year: int) -> nw.Expr:
    """Return why a spell ends after its last active year ``year``: exit, death, lost or open.

    With ``gap_years`` = 2 the first year e without trade is an exit if the firm is in the register in e and e + 1;
    a firm that ceases, or loses its identity, in e or e + 1 did not leave the market: it died, or was lost, in e.
    Needs the columns year, ended, lost_year.
    """
    return _ended(definitions, last_year, *(nw.lit(reason) for reason in REASONS))


def end_code(definitions: Definitions, last_year: int) -> nw.Expr:
    """Return the place of the reason in ``REASONS``: a byte where millions of rows keep it."""
    return _ended(definitions, last_year, *(nw.lit(k).cast(nw.Int8) for k in range(len(REASONS))))


def _ended(definitions: Definitions, last_year: int, *values: nw.Expr) -> nw.Expr:
    """The value of the reason, given in the order of ``REASONS``."""
    left, ceased, vanished, undecided = values
    decided_until = nw.col("year") + definitions.gap_years
    died = (nw.col("ended") <= decided_until).fill_null(False)
    lost = (nw.col("lost_year") <= decided_until).fill_null(False)
    decided = nw.when(lost).then(vanished).otherwise(nw.when(died).then(ceased).otherwise(left))
    return nw.when(decided_until > last_year).then(undecided).otherwise(decided)


def spells(years: Lazy, life: Lazy, definitions: Definitions, first_year: int, last_year: int) -> Lazy:
    """Return one row per spell of a firm in a market.

    Parameters
    ----------
    years : active years with the columns of :func:`missie_impact.panel.history.with_history`
    life : firm, founded, ended, lost_year

    Returns
    -------
    firm, market, spell (1, 2, ...), begin, end (first and last active year), length (years from begin to end),
    active_years, origin_seen (enough years without trade were seen before it), end_reason: exit, death (the firm
    ceased), lost (its identity was lost) or open (the data end before it is decided)
    """
    return (
        years.filter(nw.col("last") == 1)
        .join(life, on="firm", how="left")
        .with_columns(
            end=nw.col("year"),
            length=nw.col("year") - nw.col("begin") + 1,
            active_years=nw.col("spell_years"),
            origin_seen=origin_seen(definitions, first_year),
            end_reason=end_reason(definitions, last_year),
        )
        .select(*PAIR, "spell", "begin", "end", "length", "active_years", "origin_seen", "end_reason")
    )
