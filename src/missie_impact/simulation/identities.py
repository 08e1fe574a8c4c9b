"""Firm numbers over time: renumbering, mergers, takeovers and lost identities.

A firm of the simulated worlds has one history. The register cuts some of these histories over several firm numbers,
as registers do; following the identity changes gives the histories back exactly. All rates are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.simulation.draws import FilePurpose, draw, draw_dates
from missie_impact.simulation.keys import Bools, Ints, Keys

Dates = NDArray[np.datetime64]

FIRST_FIRM_NUMBER = 10_000_000
NUMBERS_PER_FIRM = 10
OPEN = 9999  # year of death of a firm that outlives the register
PART = 5  # last digit of the number that a part of a firm had before a merger or takeover
GROUP = 9  # last digit of the number of a group
NO_EVENT, RENUMBERED, TAKEOVER, MERGER, LOST = range(5)
EVENT_NAMES = {RENUMBERED: "renumbered", TAKEOVER: "takeover", MERGER: "merger", LOST: "restructuring"}
SMALLEST_SPLIT_WORKERS = 10.0


@dataclass(frozen=True, slots=True)
class IdentityRates:
    """Yearly chance that a living firm has an event; all assumed and independent of trade and missions.

    Attributes
    ----------
    renumbered : the firm goes on under a new number; a tenth of these are renumbered once more
    takeover : a part that had a number of its own is taken over by the firm (firms of ten workers or more)
    merger : two numbers become one new number (firms of ten workers or more)
    lost : the number ends, and what becomes of the firm is not known
    """

    renumbered: float = 0.00125
    takeover: float = 0.0016
    merger: float = 0.0012
    lost: float = 0.00006


@dataclass(frozen=True, slots=True)
class Identities:
    """Which number a firm of the worlds has in a year of the register.

    All rows of the year of an event already stand under the new number, so an old number's ``ended`` and a new
    number's ``founded`` are the year of the event, while dates of links change on the day itself.

    Attributes
    ----------
    event : (n,) kind of event, ``NO_EVENT`` for most
    year, date : (n,) year and day of the event; year 0 without one
    second_year, second_date : (n,) the same for a second renumbering
    """

    event: NDArray[np.int8]
    year: Ints
    date: Dates
    second_year: Ints
    second_date: Dates

    def number(self, firm: Ints, year: Ints | int) -> Ints:
        """Return the firm's main number in a year, shape of ``firm``."""
        event, switch = self.event[firm], self.year[firm]
        renewed = ((event == RENUMBERED) | (event == MERGER)) & (switch <= year)
        again = (self.second_year[firm] > 0) & (self.second_year[firm] <= year)
        return firm_number(firm, renewed.astype(np.int64) + again)

    def split(self, firm: Ints, year: Ints | int) -> Bools:
        """Tell whether a part of the firm still has a number of its own in a year."""
        event = self.event[firm]
        return np.asarray(((event == TAKEOVER) | (event == MERGER)) & (year < self.year[firm]))

    def delivered(self, firm: Ints, year: Ints | int) -> Bools:
        """Tell whether the register still knows the firm in a year: false from the year its identity is lost."""
        return np.asarray((self.event[firm] != LOST) | (year < self.year[firm]))

    def last_number(self, firm: Ints) -> Ints:
        """Return the number that following all changes leads to."""
        return self.number(firm, np.iinfo(np.int32).max)

    def number_founded(self, firm: Ints, year: Ints | int, born: Ints) -> Ints:
        """Return the first year of the main number that holds in ``year``."""
        generation = self.number(firm, year) % NUMBERS_PER_FIRM
        return np.where(generation == 0, born, np.where(generation == 1, self.year[firm], self.second_year[firm]))

    def number_ended(self, firm: Ints, year: Ints | int, dead: Ints) -> Ints:
        """Return the first year in which the main number that holds in ``year`` is gone."""
        event, switch, second = self.event[firm], self.year[firm], self.second_year[firm]
        ended = np.where((second > year) & (second > 0), second, dead)
        ends = (event != NO_EVENT) & (event != TAKEOVER) & (switch > year)
        return np.where(ends, switch, ended)

    def changes(self, firms: Ints) -> pd.DataFrame:
        """Return the identity changes of some firms: old_firm, new_firm (null: lost), date, event; by date."""
        pieces = []
        for kind, name in EVENT_NAMES.items():
            f = firms[self.event[firms] == kind]
            before = self.number(f, self.year[f] - 1)
            after = self.number(f, self.year[f]) if kind != LOST else np.full(len(f), -1)
            pieces.append((before, after, self.date[f], np.full(len(f), name, dtype=object)))
            if kind in (TAKEOVER, MERGER):
                pieces.append((firm_number(f, PART), after, self.date[f], np.full(len(f), name, dtype=object)))
        f = firms[self.second_year[firms] > 0]
        second = np.full(len(f), "renumbered", dtype=object)
        pieces.append((firm_number(f, 1), firm_number(f, 2), self.second_date[f], second))
        # A takeover changes nothing for the firm that takes over: only the part has a row.
        columns = [np.concatenate([p[i] for p in pieces]) for i in range(4)]
        frame = pd.DataFrame(dict(zip(("old_firm", "new_firm", "date", "event"), columns, strict=True)))
        frame = frame[frame["old_firm"] != frame["new_firm"]]
        frame["new_firm"] = frame["new_firm"].astype("Int64").mask(frame["new_firm"] < 0)
        return frame.sort_values(["date", "old_firm"], ignore_index=True)


def firm_number(firm: Ints, digit: Ints | int = 0) -> Ints:
    """Return the number of a firm of the worlds (0, 1, ...) with its last digit."""
    return np.asarray(FIRST_FIRM_NUMBER + NUMBERS_PER_FIRM * firm + digit, dtype=np.int64)


def draw_identities(
    keys: Keys, born: Ints, dead: Ints, workers: NDArray[np.float32], first_year: int, rates: IdentityRates
) -> Identities:
    """Draw at most one event per firm, and a second renumbering for some.

    Parameters
    ----------
    keys : (n,) firm keys
    born, dead : (n,) first year, and first year no longer in the register
    workers : (years, n) log workers from ``first_year``
    """
    n_years, n = workers.shape
    chance = np.cumsum([rates.renumbered, rates.takeover, rates.merger, rates.lost]) * (n_years - 1)
    event = (1 + np.searchsorted(chance, draw(keys, FilePurpose.EVENT), side="right")).astype(np.int8)
    event[event > LOST] = NO_EVENT
    year = first_year + 1 + np.floor(draw(keys, FilePurpose.EVENT_YEAR) * (n_years - 1)).astype(np.int64)
    alive = (np.maximum(born, first_year) < year) & (year < dead)
    small = workers[year - first_year - 1, np.arange(n)] < np.log(SMALLEST_SPLIT_WORKERS)
    event[~alive | (small & ((event == TAKEOVER) | (event == MERGER)))] = NO_EVENT
    year = np.where(event == NO_EVENT, 0, year)
    date = draw_dates(draw(keys, FilePurpose.EVENT_DAY), np.maximum(year, first_year))
    later = first_year + 1 + np.floor(draw(keys, FilePurpose.SECOND_EVENT_YEAR) * (n_years - 1)).astype(np.int64)
    again = (event == RENUMBERED) & (draw(keys, FilePurpose.SECOND_EVENT) < 0.1) & (later > year) & (later < dead)
    second_year = np.where(again, later, 0)
    second_date = draw_dates(draw(keys, FilePurpose.EVENT_DAY, 1), np.maximum(second_year, first_year))
    return Identities(event, year, date, second_year, second_date)
