"""Size schemes: what counts as small and medium-sized."""

from __future__ import annotations

import narwhals as nw

from missie_impact.definitions import SIZE_LEVELS, Definitions, SizeScheme

SMALL_PERSONS = 250
LETTER_TURNOVER_CENTS = 50_000_000_00
EU_BALANCE_CENTS = 43_000_000_00


def size_class(scheme: SizeScheme, definitions: Definitions) -> nw.Expr:
    """Return the size class of a firm-year under a named scheme, "unknown" where the register has no row.

    Needs the columns workers, group_workers, foreign_controlled, turnover_cents, balance_cents. A missing turnover
    or balance counts as below the threshold.
    """
    small, large = SIZE_LEVELS[scheme]
    named = nw.when(_is_small(scheme, definitions)).then(nw.lit(small)).otherwise(nw.lit(large))
    return nw.when(nw.col("workers").is_null()).then(nw.lit("unknown")).otherwise(named)


def _is_small(scheme: SizeScheme, definitions: Definitions) -> nw.Expr:
    turnover = nw.col("turnover_cents").fill_null(0)
    if scheme == "cbs_independent":
        dutch = ~nw.col("foreign_controlled").fill_null(False)
        return dutch & (nw.col("group_workers") < SMALL_PERSONS)
    if scheme == "letter":
        many, rich = nw.col("workers") > SMALL_PERSONS, turnover > LETTER_TURNOVER_CENTS
        return ~(many & rich) if definitions.letter_connective == "and" else ~(many | rich)
    few = nw.col("workers") < SMALL_PERSONS
    if scheme == "eu":
        modest = (turnover <= LETTER_TURNOVER_CENTS) | (nw.col("balance_cents").fill_null(0) <= EU_BALANCE_CENTS)
        return few & modest
    return few
