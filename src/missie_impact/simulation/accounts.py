"""The firm register: one row per firm number and year, with what the firm's accounts show.

All shapes are assumed, but the size schemes come out as the worlds mean them: a firm that the worlds call independent
is Dutch-controlled and alone in its group; any other one is foreign-controlled, or in a Dutch group of at least 250
persons. Turnover per worker shows the productivity that participation depends on; it is not tied to exports.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.simulation.draws import FilePurpose, draw, draw_normal
from missie_impact.simulation.identities import (
    GROUP,
    OPEN,
    PART,
    Identities,
    firm_number,
)
from missie_impact.simulation.keys import Bools, Floats, Ints, Keys

TURNOVER_PER_WORKER_EUR = 150_000.0
BALANCE_PER_TURNOVER = 0.6
FOREIGN_SHARE = 0.45  # of the firms that are not independent
GROUP_WORKERS = 250.0
SAMPLED_SHARE = 0.25  # of the firms that never trade and never get support
SECTORS = ("B", "C", "D", "E", "F", "G", "H", "I", "J", "L", "M", "N", "S")
SMALL_FIRMS = (0.002, 0.11, 0.002, 0.004, 0.10, 0.37, 0.05, 0.05, 0.09, 0.012, 0.15, 0.05, 0.01)
LARGER_FIRMS = (0.004, 0.25, 0.004, 0.010, 0.08, 0.34, 0.08, 0.02, 0.06, 0.006, 0.08, 0.064, 0.002)
REGIONS = ("NL11", "NL12", "NL13", "NL21", "NL22", "NL23", "NL31", "NL32", "NL33", "NL34", "NL41", "NL42")
REGION_SHARES = (0.028, 0.034, 0.024, 0.062, 0.115, 0.025, 0.085, 0.187, 0.192, 0.022, 0.162, 0.064)


@dataclass(frozen=True, slots=True)
class FirmBase:
    """What the worlds fix about each firm, as the register files need it.

    Attributes
    ----------
    keys : (n,) firm keys
    born, dead : (n,) first year, and first year no longer in the register (``OPEN`` beyond its last year)
    workers : (years, n) log workers
    productivity : (n,) log turnover per worker, less a constant
    independent : (n,) Dutch-controlled and in no larger group
    first_year, last_year : years of the register
    """

    keys: Keys
    born: Ints
    dead: Ints
    workers: NDArray[np.float32]
    productivity: Floats
    independent: Bools
    first_year: int
    last_year: int

    def alive(self, year: int) -> Bools:
        """Tell who is in the register in a year, shape (n,)."""
        return np.asarray((self.born <= year) & (year < self.dead))

    def persons(self, year: int) -> Floats:
        """Return persons employed in hundredths rounded down, so that no threshold is passed by rounding."""
        workers = self.workers[year - self.first_year].astype(np.float64)
        return np.asarray(np.maximum(np.floor(np.exp(workers) * 100), 1.0) / 100)

    def turnover_eur(self, year: int) -> Ints:
        """Return turnover in whole EUR, shape (n,)."""
        return np.rint(self.persons(year) * TURNOVER_PER_WORKER_EUR * np.exp(self.productivity)).astype(np.int64)

    def large(self, year: int) -> Bools:
        """Tell who is large in the sense of the letter: over 250 persons and over EUR 50m turnover."""
        return np.asarray((self.persons(year) > 250) & (self.turnover_eur(year) > 50_000_000))


def choose_firms(base: FirmBase, certain: Bools) -> tuple[Ints, Floats]:
    """Return the firms the register holds, and their sampling weights (n,).

    Held with weight 1: firms with trade, affiliates or support (``certain``), and firms that reach 250 persons. Of all
    others one in four, with weight 4. Firms outside the window, or lost before it could show them, are not held.
    """
    seen = np.zeros(len(base.born), dtype=bool)
    for year in range(base.first_year, base.last_year + 1):
        seen |= base.alive(year)
    certain = certain | (base.workers.max(axis=0) >= np.log(GROUP_WORKERS))
    sampled = draw(base.keys, FilePurpose.SAMPLED) < SAMPLED_SHARE
    return np.flatnonzero(seen & (certain | sampled)), np.where(certain, 1.0, 1 / SAMPLED_SHARE)


def firm_traits(base: FirmBase) -> tuple[Ints, Ints, Floats]:
    """Return each firm's sector and region (positions in ``SECTORS`` and ``REGIONS``) and log balance per turnover."""
    small, larger = (np.cumsum(p) / np.sum(p) for p in (SMALL_FIRMS, LARGER_FIRMS))
    u = draw(base.keys, FilePurpose.SECTOR)
    start = base.workers[0] >= np.log(10.0)
    sector = np.where(start, np.searchsorted(larger, u), np.searchsorted(small, u))
    shares = np.cumsum(REGION_SHARES) / np.sum(REGION_SHARES)
    region = np.searchsorted(shares, draw(base.keys, FilePurpose.REGION))
    balance = np.log(BALANCE_PER_TURNOVER) + 0.5 * draw_normal(base.keys, FilePurpose.BALANCE)
    return sector.astype(np.int64), region.astype(np.int64), balance


def firm_year(
    base: FirmBase, identities: Identities, held: Ints, weight: Floats, traits: tuple[Ints, Ints, Floats], year: int
) -> pd.DataFrame:
    """Return the register of one year, codes for sector and region: one row per firm number, sorted by it."""
    known = held[base.alive(year)[held] & identities.delivered(held, year)]
    persons, turnover = base.persons(year)[known], base.turnover_eur(year)[known]
    group, foreign = _control(base, known, persons, year)
    sector, region, balance_ratio = (t[known] for t in traits)
    spread = 0.1 * draw_normal(base.keys[known], FilePurpose.BALANCE_YEAR, year)
    rows = pd.DataFrame(
        {
            "firm": identities.number(known, year),
            "year": np.full(len(known), year),
            "group": group,
            "workers": persons,
            "turnover_eur": turnover,
            "balance_eur": np.rint(turnover * np.exp(balance_ratio + spread)).astype(np.int64),
            "sector": sector,
            "region": region,
            "foreign_controlled": foreign,
            "founded": identities.number_founded(known, year, base.born[known]),
            "ended": identities.number_ended(known, year, base.dead[known]),
            "weight": weight[known],
        }
    )
    rows = _split_rows(rows, known, identities, year, base.born)
    rows["ended"] = rows["ended"].astype("Int64").mask(rows["ended"] >= OPEN)
    return rows.sort_values("firm", ignore_index=True)


def _control(base: FirmBase, known: Ints, persons: Floats, year: int) -> tuple[Ints, Bools]:
    """Return group numbers and foreign control.

    A Dutch firm that is not independent heads a group once it has 250 persons; a smaller one belongs to the head that
    follows it on a ring of keys, so that another firm or year disturbs few groups. Without any head it is foreign.
    """
    keys = base.keys[known]
    other = ~base.independent[known]
    foreign = other & (draw(keys, FilePurpose.FOREIGN) < FOREIGN_SHARE)
    ring = draw(keys, FilePurpose.GROUP_RING)
    head = other & ~foreign & (persons >= GROUP_WORKERS)
    member = other & ~foreign & ~head
    owner = known.copy()
    if head.any():
        order = np.flatnonzero(head)[np.argsort(ring[head])]
        position = np.searchsorted(ring[order], ring[member]) % len(order)
        owner[member] = known[order[position]]
    else:
        foreign = foreign | member
    return firm_number(owner, GROUP), foreign


def _split_rows(rows: pd.DataFrame, known: Ints, identities: Identities, year: int, born: Ints) -> pd.DataFrame:
    """Add the parts that still have a number of their own: trading units without staff or accounts of their own.

    So the firm's accounts are the same whether a reader sums the rows that changes bring together or keeps the largest.
    """
    parted = identities.split(known, year)
    if not parted.any():
        return rows
    part = rows[parted].copy()
    part["workers"] = 0.0
    part["turnover_eur"] = 0
    part["balance_eur"] = 0
    part["firm"] = firm_number(known[parted], PART)
    part["founded"] = born[known[parted]]
    part["ended"] = identities.year[known[parted]]
    return pd.concat([rows, part], ignore_index=True)
