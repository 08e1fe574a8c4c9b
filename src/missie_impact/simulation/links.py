"""Chamber-of-Commerce numbers and their links to firm numbers, with validity dates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.simulation.draws import FilePurpose, draw
from missie_impact.simulation.identities import (
    LOST,
    MERGER,
    NO_EVENT,
    OPEN,
    PART,
    TAKEOVER,
    Dates,
    Identities,
    firm_number,
)
from missie_impact.simulation.keys import Bools, Ints, Keys

UNLINKED_SHARE = 0.07
SECOND_NUMBER_SHARE = 0.03
NUMBER_SPACE = 89_999_999  # eight-digit numbers from 10,000,000
SCRAMBLE = 48_271_003  # shares no factor with NUMBER_SPACE, so no two sources get the same number


@dataclass(frozen=True, slots=True)
class ChamberNumbers:
    """Which firms can be found by their Chamber-of-Commerce number, and which have two.

    Attributes
    ----------
    linked : (n,) the link table holds the firm's numbers
    two : (n,) the firm has a second number
    """

    linked: Bools
    two: Bools

    def used(self, keys: Keys, firm: Ints, when: int) -> Ints:
        """Return which of its numbers (0 or 1) each firm gives at an occasion."""
        return np.asarray(self.two[firm] & (draw(keys[firm], FilePurpose.WHICH_NUMBER, when) < 0.3), dtype=np.int64)


def chamber_number(source: Ints) -> NDArray[np.object_]:
    """Return eight-digit numbers as text; ``source`` is 2 x firm + which, or beyond all firms for other bodies."""
    return np.asarray((10_000_000 + source * SCRAMBLE % NUMBER_SPACE).astype(str), dtype=object)


def draw_numbers(keys: Keys, identities: Identities) -> ChamberNumbers:
    """Draw who is linked (93%, at random) and who has two numbers (3%, and every firm that was once in two parts)."""
    linked = draw(keys, FilePurpose.UNLINKED) >= UNLINKED_SHARE
    parts = (identities.event == TAKEOVER) | (identities.event == MERGER)
    return ChamberNumbers(linked, parts | (draw(keys, FilePurpose.SECOND_NUMBER) < SECOND_NUMBER_SHARE))


def link_table(firms: Ints, numbers: ChamberNumbers, identities: Identities, born: Ints, dead: Ints) -> pd.DataFrame:
    """Return one row per number, firm number and period of validity: kvk, firm, valid_from, valid_to (null: open)."""
    firms = firms[numbers.linked[firms]]
    pieces = [_periods(firms, 0, identities, born, dead)]
    pieces.append(_periods(firms[numbers.two[firms]], 1, identities, born, dead))
    frame = pd.concat(pieces, ignore_index=True)
    frame.insert(0, "kvk", chamber_number(frame.pop("source").to_numpy()))
    return frame.sort_values(["kvk", "valid_from"], ignore_index=True)


def link_valid(firm: Ints, date: Dates, numbers: ChamberNumbers, identities: Identities) -> Bools:
    """Tell whether a living firm's number leads to a firm number on a day."""
    lost = (identities.event[firm] == LOST) & (date >= identities.date[firm])
    return np.asarray(numbers.linked[firm] & ~lost)


def _periods(firms: Ints, which: int, identities: Identities, born: Ints, dead: Ints) -> pd.DataFrame:
    """Return the periods of one number of each firm, cut at its events."""
    event, date, second = identities.event[firms], identities.date[firms], identities.second_year[firms] > 0
    start, end = _first_day(born[firms]), _first_day(dead[firms]) - np.timedelta64(1, "D")
    end[dead[firms] == OPEN] = np.datetime64("NaT")
    part = (which == 1) & ((event == TAKEOVER) | (event == MERGER))
    cut = (event != NO_EVENT) & ((event != TAKEOVER) | part)
    before = np.where(part, firm_number(firms, PART), firm_number(firms))
    first_end = np.where(cut, date - np.timedelta64(1, "D"), end)
    pieces = [(firms, before, start, first_end)]
    on = cut & (event != LOST)
    after = identities.number(firms, identities.year[firms])
    second_date = identities.second_date[firms]
    middle_end = np.where(second, second_date - np.timedelta64(1, "D"), end)
    pieces.append((firms[on], after[on], date[on], middle_end[on]))
    pieces.append((firms[second], firm_number(firms[second], 2), second_date[second], end[second]))
    f, number, valid_from, valid_to = (np.concatenate([p[i] for p in pieces]) for i in range(4))
    frame = pd.DataFrame({"source": 2 * f + which, "firm": number, "valid_from": valid_from, "valid_to": valid_to})
    return frame.reset_index(drop=True)


def _first_day(year: Ints) -> Dates:
    return np.asarray((year - 1970).astype("datetime64[Y]").astype("datetime64[D]"))
