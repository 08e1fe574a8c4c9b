"""One year of a world, the same code for the register, for its untreated twin and for every trial arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import keys
from .effects import find_pairs, spill, treat
from .keys import Bools, Floats, Ints, Purpose
from .markets import Calendar, Markets
from .missions import Attendance, FirmHistory, attendance, draw_attendance, firm_history
from .parameters import FIRST_SIMULATED_YEAR, SimulationSettings
from .population import Candidates, Firms, ranges
from .trade import NEVER, Pairs, affiliate_year, make_pairs, trade_chance, trade_year, value_year


@dataclass(frozen=True, slots=True)
class Intentions:
    """Who would go on the missions of a year: probabilities, the history they rest on, and the draw.

    ``goes`` has shape (missions, firms of the history).
    """

    plan: Attendance
    history: FirmHistory
    goes: Bools


@dataclass(frozen=True, slots=True)
class Setting:
    """What a world does not change: settings, markets, missions."""

    settings: SimulationSettings
    markets: Markets
    calendar: Calendar


@dataclass(slots=True)
class State:
    """Firms and pairs at the end of a year.

    Attributes
    ----------
    firms, pairs : firms by position, pairs of the living ones
    log_workers : of the last year
    exports : (4, firms) EUR of the last four years, the last one first
    pattern : years with exports, bit 0 the last year
    n_markets : markets traded with in the last year
    last_mission : year of the firm's last mission
    """

    firms: Firms
    pairs: Pairs
    log_workers: Floats
    exports: Floats
    pattern: NDArray[np.uint8]
    n_markets: Ints
    last_mission: NDArray[np.int16]

    def take(self, firms: Ints) -> State:
        """Return a world of some firms with all their pairs; a firm taken twice becomes two firms that share draws."""
        wanted = np.zeros(len(self.firms), np.bool_)
        wanted[firms] = True
        rows = np.flatnonzero(wanted[self.pairs.firm])
        rows = rows[np.argsort(self.pairs.firm[rows], kind="stable")]
        first = np.searchsorted(self.pairs.firm[rows], np.arange(len(self.firms) + 1))
        start, stop = first[firms], first[firms + 1]
        pairs = self.pairs.take(rows[ranges(start, stop)])
        pairs.firm = np.repeat(np.arange(len(firms), dtype=np.int32), stop - start)
        return State(
            self.firms.take(firms),
            pairs,
            self.log_workers[firms],
            self.exports[:, firms],
            self.pattern[firms],
            self.n_markets[firms],
            self.last_mission[firms],
        )


@dataclass(frozen=True, slots=True)
class YearRecord:
    """What a year adds to the register; firms and missions as positions.

    Attributes
    ----------
    trade_firm, trade_market, value_eur : pairs that trade, their exports
    affiliate_firm, affiliate_market : pairs with an affiliate
    goes_firm, goes_mission : participations that took place
    """

    trade_firm: NDArray[np.int32]
    trade_market: NDArray[np.int16]
    value_eur: Floats
    affiliate_firm: NDArray[np.int32]
    affiliate_market: NDArray[np.int16]
    goes_firm: Ints
    goes_mission: Ints


def start_state(setting: Setting, firms: Firms) -> State:
    """State before the first simulated year: no pair yet."""
    n, none = len(firms), np.zeros(0, np.int32)
    pairs = make_pairs(
        setting.settings, firms, setting.markets, none, none.astype(np.int16), None, FIRST_SIMULATED_YEAR
    )
    return State(
        firms,
        pairs,
        firms.log_workers_start.copy(),
        np.zeros((4, n)),
        np.zeros(n, np.uint8),
        np.zeros(n, np.int64),
        np.full(n, NEVER, np.int16),
    )


def renew(setting: Setting, state: State, candidates: Candidates, year: int, first: bool) -> None:
    """Drop the pairs of firms that are gone in ``year`` and add those of firms that are new."""
    firms, pairs = state.firms, state.pairs
    born = np.flatnonzero((firms.born <= year) if first else (firms.born == year))
    rows = candidates.rows_of(born)
    rows = rows[firms.dead[candidates.firm[rows]] > year]
    fresh = make_pairs(
        setting.settings,
        firms,
        setting.markets,
        candidates.firm[rows],
        candidates.market[rows],
        candidates.core[rows],
        year,
    )
    state.pairs = pairs.take(firms.dead[pairs.firm] > year).join(fresh)


def intend(setting: Setting, state: State, year: int, intercepts: Floats | None = None) -> Intentions | None:
    """Draw who intends to go on the missions of ``year``; None in a year without missions.

    ``intercepts`` are those of a larger world, of which this one is a part.
    """
    if not len(setting.calendar.of(year)):
        return None
    firms = state.firms
    history = firm_history(
        firms, state.log_workers, state.exports, state.pattern, state.n_markets, state.last_mission, year
    )
    plan = attendance(
        setting.settings, firms, history, state.pairs, setting.markets, setting.calendar, year, intercepts
    )
    return Intentions(plan, history, draw_attendance(firms, history, plan, setting.calendar, setting.markets))


def advance(
    setting: Setting, state: State, year: int, intentions: Intentions | None, *, affiliates: bool = True
) -> YearRecord:
    """Move a world from the end of ``year - 1`` to the end of ``year``.

    Nothing else depends on affiliates, so they can be left out where nobody looks at them.
    """
    settings, firms = setting.settings, state.firms
    effects = settings.effects
    state.log_workers = (
        state.log_workers + firms.growth + settings.firm.walk_sd * keys.normal(firms.key, Purpose.WORKERS, year)
    )
    alive = (firms.born <= year) & (firms.dead > year)
    chance = trade_chance(settings, effects, state.pairs, year - firms.born <= 2, state.n_markets, year)
    trade_year(state.pairs, chance, alive, year)
    rows, value = value_year(settings, effects, state.pairs, year)
    has = np.zeros(len(state.pairs), np.bool_)
    if affiliates:
        has = affiliate_year(settings, state.pairs, alive, state.log_workers, year)
    traded, market = state.pairs.firm[rows], state.pairs.market[rows]
    owner, abroad = state.pairs.firm[has], state.pairs.market[has]
    goers = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if intentions is not None:
        goers = _settle(setting, state, intentions, year)
    state.exports = np.vstack([np.bincount(traded, value, len(firms))[None], state.exports[:3]])
    count: Ints = np.bincount(traded, minlength=len(firms)).astype(np.int64)
    state.n_markets = count
    state.pattern = np.asarray((state.pattern << 1) | (state.n_markets > 0), dtype=np.uint8)
    return YearRecord(traded, market, value, owner, abroad, *goers)


def _settle(setting: Setting, state: State, intentions: Intentions, year: int) -> tuple[Ints, Ints]:
    """Let those who go take part: add their pairs, start the effects, return the participations that took place."""
    settings, calendar, history = setting.settings, setting.calendar, intentions.history
    row, place = np.nonzero(intentions.goes)
    firm, mission = history.firm[place], intentions.plan.missions[row]
    before = len(state.pairs)
    state.pairs, rows = find_pairs(
        settings, state.firms, setting.markets, state.pairs, (firm, calendar.market[mission]), year
    )
    pairs = state.pairs
    if settings.attendance == "still_trading":
        stopped = ((pairs.history[rows] >> 1 & 1) == 1) & ~pairs.active[rows] & (rows < before)
        keep = np.flatnonzero(~stopped)
        firm, mission, rows = firm[keep], mission[keep], rows[keep]
    unique, index = np.unique(rows, return_index=True)
    place = history.place[firm[index]].astype(np.int64)
    group = setting.markets.group(year)[pairs.market[unique]].astype(np.int64)
    treat(settings.effects, pairs, unique, year, (history.incidental[place], history.sme[place], group))
    if settings.spillover:
        went = np.zeros(len(state.firms), np.bool_)
        went[firm] = True
        others = np.setdiff1d(np.flatnonzero(went[pairs.firm]), unique)
        spill(settings.effects, pairs, others, year, history.incidental[history.place[pairs.firm[others]]])
    state.last_mission[firm] = year
    return firm, mission
