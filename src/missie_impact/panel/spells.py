"""Spells: runs of active years that only gaps shorter than the gap rule interrupt."""

from __future__ import annotations

import narwhals as nw

from missie_impact.definitions import Definitions
from missie_impact.registers.engine import Lazy

PAIR = ["firm", "market"]


def spell_years(activity: Lazy, definitions: Definitions) -> Lazy:
    """Add to each active year of a pair where it stands in its spell.

    Parameters
    ----------
    activity : firm, market, year; one row per active year

    Returns
    -------
    firm, market, year, previous, following (active years, null at the ends), spell (1, 2, ...), begin (first year of
    the spell), last (this is the last active year of the spell, as far as the data show)
    """
    gap, year = definitions.gap_years, nw.col("year")
    neighbours = activity.with_columns(
        previous=year.shift(1).over(*PAIR, order_by="year"), following=year.shift(-1).over(*PAIR, order_by="year")
    )
    new = nw.col("previous").is_null() | (year - nw.col("previous") > gap)
    last = nw.col("following").is_null() | (nw.col("following") - year > gap)
    flagged = neighbours.with_columns(
        new=nw.when(new).then(1).otherwise(0).cast(nw.Int64), started=nw.when(new).then(year).otherwise(0), last=last
    )
    return flagged.with_columns(
        spell=nw.col("new").cum_sum().over(*PAIR, order_by="year").cast(nw.Int64),
        begin=nw.col("started").cum_max().over(*PAIR, order_by="year").cast(nw.Int64),
    ).drop("new", "started")


def end_reason(definitions: Definitions, last_year: int) -> nw.Expr:
    """Return why a spell ends after its last active year ``year``: exit, death, lost or open.

    With ``gap_years`` = 2 the first year e without trade is an exit if the firm is in the register in e and e + 1;
    a firm that ceases, or loses its identity, in e or e + 1 did not leave the market: it died, or was lost, in e.
    Needs the columns last, year, ended, lost_year.
    """
    decided_until = nw.col("year") + definitions.gap_years
    ceased = nw.col("ended") <= decided_until
    lost = nw.col("lost_year") <= decided_until
    return (
        nw.when(decided_until > last_year)
        .then(nw.lit("open"))
        .otherwise(
            nw.when(lost.fill_null(False))
            .then(nw.lit("lost"))
            .otherwise(nw.when(ceased.fill_null(False)).then(nw.lit("death")).otherwise(nw.lit("exit")))
        )
    )


def spells(years: Lazy, life: Lazy, definitions: Definitions, first_year: int, last_year: int) -> Lazy:
    """Return one row per spell of a firm in a market.

    Returns
    -------
    firm, market, spell (1, 2, ...), begin, end (first and last active year), length (years from begin to end),
    active_years, origin_seen (enough years without trade were seen before it), end_reason: exit, death (the firm
    ceased), lost (its identity was lost) or open (the data end before it is decided)
    """
    runs = years.group_by(*PAIR, "spell").agg(
        nw.col("year").min().alias("begin"),
        nw.col("year").max().alias("end"),
        nw.len().cast(nw.Int64).alias("active_years"),
    )
    ended = runs.join(life, on="firm", how="left").with_columns(year=nw.col("end"))
    return ended.with_columns(
        length=nw.col("end") - nw.col("begin") + 1,
        origin_seen=origin_seen(definitions, first_year),
        end_reason=end_reason(definitions, last_year),
    ).select(*PAIR, "spell", "begin", "end", "length", "active_years", "origin_seen", "end_reason")


def origin_seen(definitions: Definitions, first_year: int) -> nw.Expr:
    """Return whether the years without trade before ``begin`` that make a spell new lie in the data."""
    return nw.col("begin") - first_year >= definitions.origin_zeros
