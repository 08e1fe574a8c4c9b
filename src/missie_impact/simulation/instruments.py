"""Other instruments of trade promotion, and the participation list as RVO would deliver it.

Support through other instruments has no effect in the simulated worlds. Who gets it depends on size and on the firm's
exports in the year before; all rates are assumed, tuned to the published number of supported SME and to the published
share of them whose exports to the target market rose (see :mod:`missie_impact.simulation.indicator_target`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from missie_impact.simulation.accounts import FirmBase
from missie_impact.simulation.companions import TradeYear
from missie_impact.simulation.draws import FilePurpose, draw, draw_dates
from missie_impact.simulation.identities import LOST, Dates, Identities
from missie_impact.simulation.keys import Bools, Floats, Ints, firm_keys
from missie_impact.simulation.links import ChamberNumbers, chamber_number
from missie_impact.simulation.parameters import FIRMS_NATIONAL

FIRST_SUPPORT_YEAR, LAST_SUPPORT_YEAR = 2005, 2023
YOUNG = 5  # years up to which a firm counts as a start-up
SLOTS = 12  # most target markets of a firm in a year
BUSINESS_MISSION, STARTUP_MISSION, FAIR, VOUCHER, COACHING, EMBASSY, INNOVATE = range(7)
INSTRUMENTS = (
    "business_development_mission",
    "startup_mission",
    "trade_fair",
    "knowledge_voucher",
    "coaching",
    "embassy",
    "trade_innovate_nl",
)
INSTRUMENT_WEIGHTS = (0.08, 0.02, 0.22, 0.20, 0.18, 0.22, 0.08)
INSTRUMENT_SINCE = (2005, 2012, 2005, 2005, 2005, 2018, 2020)
OTHER_BODIES = ("knowledge institute", "sector body", "financier")
OTHER_BODIES_A_MISSION = 6  # persons of bodies that are not firms, per mission at national scale
OTHER_BODIES_POOL = 300
OTHER_BODIES_FROM = 80_000_000  # source of their numbers, beyond all firms
PEOPLE_A_FIRM = 4


@dataclass(frozen=True, slots=True)
class SupportRates:
    """Chance that a firm gets support in a year, on the logit scale, and where (all assumed).

    Attributes
    ----------
    constant, workers, big, exporting, markets : constant, per log worker (cut at 0 and 6), 250 persons or more,
        exported last year, per log(1 + markets last year)
    trend : per year before 2020 (nothing after)
    known : share of target markets that the firm exported to last year, for firms that exported
    popularity : power of a market's share of all exporters in choosing another target market
    more, more_workers : logit of each further target market, and its change per log worker
    """

    constant: float = -3.97
    workers: float = 0.25
    big: float = 1.5
    exporting: float = 1.2
    markets: float = 0.15
    trend: float = 0.04
    known: float = 0.44
    popularity: float = 0.5
    more: float = -2.6
    more_workers: float = 0.6


@dataclass(frozen=True, slots=True)
class SupportDraw:
    """Support of one year that would be given if every chance were multiplied by ``threshold``.

    Attributes
    ----------
    firm, market, instrument : one row per firm and target market
    date : day of the support
    threshold : multiple of the firm's chance at which its draw gives support; below 1 it is supported
    """

    firm: Ints
    market: Ints
    instrument: Ints
    date: Dates
    threshold: Floats

    def take(self, rows: Ints | Bools) -> SupportDraw:
        """Return some of the rows."""
        return SupportDraw(
            self.firm[rows], self.market[rows], self.instrument[rows], self.date[rows], self.threshold[rows]
        )


def draw_support(
    base: FirmBase,
    identities: Identities,
    before: TradeYear,
    counts: tuple[int, int],
    year: int,
    rates: SupportRates,
) -> SupportDraw:
    """Draw the support of one year, for firms up to three times as likely as they are.

    Parameters
    ----------
    before : trade of the year before
    counts : number of firms of the worlds, which alone are supported, and of markets
    """
    (n_worlds, n_markets), n, keys = counts, len(base.born), base.keys
    exported = np.bincount(before.firm, minlength=n)
    start = np.searchsorted(before.firm, np.arange(n))
    living = base.alive(year) & base.alive(year - 1) & (identities.event != LOST) & (np.arange(n) < n_worlds)
    workers = np.clip(base.workers[year - 1 - base.first_year].astype(np.float64), 0, 6)
    eta = rates.constant + rates.workers * workers + rates.exporting * (exported > 0)
    eta += rates.big * (base.workers[year - 1 - base.first_year] >= np.log(250.0))
    eta += rates.markets * np.log1p(exported) + rates.trend * min(year - 2020, 0)
    threshold = draw(keys, FilePurpose.SUPPORT, year) / expit(eta)
    firm = np.flatnonzero(living & (threshold < 3))
    slots = _slots(base, firm, workers[firm], year, rates)
    firm, slot = np.repeat(firm, slots), _within(slots)
    when = year * SLOTS + slot
    known = (exported[firm] > 0) & (_by_slot(base, firm, when, FilePurpose.SUPPORT_KNOWN) < rates.known)
    u = _by_slot(base, firm, when, FilePurpose.SUPPORT_MARKET)
    weight = np.bincount(before.market, minlength=n_markets).astype(np.float64) ** rates.popularity
    market = np.searchsorted(np.cumsum(weight) / weight.sum(), u)
    row = start[firm[known]] + np.floor(u[known] * exported[firm[known]]).astype(np.int64)
    market[known] = before.market[row]
    instrument = _instrument(base, firm, when, year)
    date = _dates(base, firm, market, instrument, when, year)
    drawn = pd.DataFrame({"firm": firm, "market": market, "instrument": instrument})
    return SupportDraw(firm, market, instrument, date, threshold[firm]).take(~drawn.duplicated().to_numpy())


def mission_list(base: FirmBase, numbers: ChamberNumbers, participations: pd.DataFrame, n_worlds: int) -> pd.DataFrame:
    """Return the rows of minister-led missions: one per person, firms and bodies that are no firms.

    Parameters
    ----------
    participations : firm (position), market (code), date, mission, one row per firm and mission
    n_worlds : number of firms of the worlds, to which the number of other bodies is scaled
    """
    firm = participations["firm"].to_numpy()
    mission = "M" + participations["mission"].to_numpy().astype(object)
    when = _mission_numbers(participations["date"].to_numpy(), participations["market"].to_numpy())
    people = 1 + (_by_slot(base, firm, when, FilePurpose.PERSONS) < 0.4)
    people += _by_slot(base, firm, when, FilePurpose.PERSONS) < 0.1
    rows = np.repeat(np.arange(len(firm)), people)
    person = _within(people) + np.floor(2 * _by_slot(base, firm, when, FilePurpose.PERSON)).astype(np.int64)[rows]
    which = np.zeros(len(firm), dtype=np.int64)
    for value in np.unique(when):
        at = when == value
        which[at] = numbers.used(base.keys, firm[at], int(value))
    listed = pd.DataFrame(
        {
            "kvk": chamber_number(2 * firm + which)[rows],
            "market": participations["market"].to_numpy().astype(object)[rows],
            "date": participations["date"].to_numpy()[rows],
            "instrument": "mission",
            "mission": mission[rows],
            "minister_led": True,
            "person": _person(firm[rows], person),
            "organisation": "firm",
        }
    )
    bodies = max(1, round(OTHER_BODIES_A_MISSION * n_worlds / FIRMS_NATIONAL))
    return pd.concat([listed, _other_bodies(participations, bodies)], ignore_index=True)


def support_list(
    base: FirmBase, numbers: ChamberNumbers, support: SupportDraw, codes: tuple[str, ...], year: int
) -> pd.DataFrame:
    """Return the rows of the other instruments of one year, one per firm, target market and instrument."""
    market = np.array(codes, dtype=object)[support.market]
    together = np.isin(support.instrument, (BUSINESS_MISSION, STARTUP_MISSION))
    letter = np.where(support.instrument == BUSINESS_MISSION, "B", "S").astype(object)
    mission = np.where(together, letter + f"{year}-" + market, None)
    which = numbers.used(base.keys, support.firm, year)
    person = np.floor(2 * draw(base.keys[support.firm], FilePurpose.PERSON, year)).astype(np.int64)
    return pd.DataFrame(
        {
            "kvk": chamber_number(2 * support.firm + which),
            "market": market,
            "date": support.date,
            "instrument": np.array(INSTRUMENTS, dtype=object)[support.instrument],
            "mission": mission,
            "minister_led": False,
            "person": _person(support.firm, person),
            "organisation": "firm",
        }
    )


def _slots(base: FirmBase, firm: Ints, workers: Floats, year: int, rates: SupportRates) -> Ints:
    more = expit(rates.more + rates.more_workers * workers)
    u = draw(base.keys[firm], FilePurpose.SUPPORT_SLOTS, year)
    return np.asarray(1 + np.minimum(np.floor(np.log(u) / np.log(more)), SLOTS - 1), dtype=np.int64)


def _within(counts: Ints) -> Ints:
    """Return 0, 1, ... within each repeated row."""
    ends = np.cumsum(counts)
    return np.asarray(np.arange(int(counts.sum())) - np.repeat(ends - counts, counts), dtype=np.int64)


def _by_slot(base: FirmBase, firm: Ints, when: Ints, purpose: FilePurpose) -> Floats:
    """Draw one number per row, keyed by its firm and its occasion."""
    u = np.empty(len(firm))
    for value in np.unique(when):
        rows = when == value
        u[rows] = draw(base.keys[firm[rows]], purpose, int(value))
    return u


def _instrument(base: FirmBase, firm: Ints, when: Ints, year: int) -> Ints:
    weight = np.array(INSTRUMENT_WEIGHTS) * (np.array(INSTRUMENT_SINCE) <= year)
    chosen = np.searchsorted(
        np.cumsum(weight) / weight.sum(), _by_slot(base, firm, when, FilePurpose.SUPPORT_INSTRUMENT)
    )
    old = year - base.born[firm] > YOUNG
    return np.where((chosen == STARTUP_MISSION) & old, BUSINESS_MISSION, chosen)


def _dates(base: FirmBase, firm: Ints, market: Ints, instrument: Ints, when: Ints, year: int) -> Dates:
    """Return the day of each support; those who travel together have the day of their mission."""
    dates = draw_dates(_by_slot(base, firm, when, FilePurpose.SUPPORT_DAY), year)
    together = np.isin(instrument, (BUSINESS_MISSION, STARTUP_MISSION))
    shared = draw(firm_keys(year, market[together] * len(INSTRUMENTS) + instrument[together]), FilePurpose.EVENT_DATE)
    dates[together] = draw_dates(shared, year)
    return dates


def _mission_numbers(date: Dates, market: NDArray[np.object_]) -> Ints:
    """Number occasions by day and market, so that draws do not depend on what else is on the calendar."""
    code = np.array([26 * (ord(c[0]) - 65) + ord(c[1]) - 65 for c in market], dtype=np.int64)
    return np.asarray(date.astype("datetime64[D]").astype(np.int64) * 1024 + code)


def _person(firm: Ints, number: Ints) -> NDArray[np.object_]:
    return np.asarray("P" + pd.Series(PEOPLE_A_FIRM * firm + number % PEOPLE_A_FIRM).astype(str), dtype=object)


def _other_bodies(participations: pd.DataFrame, m: int) -> pd.DataFrame:
    """Return participants that are no firms: their numbers are in no link."""
    missions = participations.drop_duplicates("mission")
    n = len(missions)
    when = np.repeat(_mission_numbers(missions["date"].to_numpy(), missions["market"].to_numpy()), m)
    keys = firm_keys(0, np.tile(np.arange(m), n) + OTHER_BODIES_A_MISSION * when)
    body = np.floor(OTHER_BODIES_POOL * draw(keys, FilePurpose.OTHER_ORGANISATION)).astype(np.int64)
    rows = np.repeat(np.arange(n), m)
    frame = pd.DataFrame(
        {
            "kvk": chamber_number(OTHER_BODIES_FROM + body),
            "market": missions["market"].to_numpy().astype(object)[rows],
            "date": missions["date"].to_numpy()[rows],
            "instrument": "mission",
            "mission": "M" + missions["mission"].to_numpy().astype(object)[rows],
            "minister_led": True,
            "person": np.asarray("Q" + pd.Series(body).astype(str), dtype=object),
            "organisation": np.array(OTHER_BODIES, dtype=object)[body % len(OTHER_BODIES)],
        }
    )
    return frame.drop_duplicates(["kvk", "mission"], ignore_index=True)
