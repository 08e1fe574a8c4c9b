"""Who goes on a mission. By default it depends on nothing but what the registers show at the end of the year before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import keys
from .keys import Bools, Floats, Ints, Purpose
from .markets import Calendar, Markets
from .parameters import FIRMS_NATIONAL, SME_WORKERS, SimulationSettings
from .population import Firms
from .trade import YEARS_ACTIVE, Pairs

WASHOUT = 3  # years before t without a mission that make a firm, or a pair, eligible in trial t


@dataclass(frozen=True, slots=True)
class FirmHistory:
    """What the registers show of the firms at the end of t-1, of those alive at t-1 and t.

    Attributes
    ----------
    firm : positions of these firms; ``place`` gives the row here of every firm, -1 for the others
    log_workers, log_exports, growth : at t-1, log(1 + EUR), growth of log(1 + EUR) from t-3 to t-1
    years, log_markets : active years of t-4..t-1, log(1 + markets at t-1)
    before : been on a mission before t
    sme : independent SME (Dutch control, no larger group, below 250 workers)
    incidental : active at t-1 and in fewer than three of t-4..t-1
    clean : no mission in t-3..t-1
    """

    firm: Ints
    place: NDArray[np.int32]
    log_workers: Floats
    log_exports: Floats
    growth: Floats
    years: Ints
    log_markets: Floats
    before: Bools
    sme: Bools
    incidental: Bools
    clean: Bools


@dataclass(frozen=True, slots=True)
class Attendance:
    """Participation probabilities of a year's missions.

    Attributes
    ----------
    missions : (m,) positions in the calendar, in order of date
    intercepts : (m,) logit intercepts that give the expected numbers
    chance : (m, firms of the history) probabilities
    """

    missions: Ints
    intercepts: Floats
    chance: Floats


def mission_number(calendar: Calendar, markets: Markets, mission: int) -> int:
    """Number that keys a mission's draws: its year, month and market, not its place in the list."""
    when = int(calendar.year[mission]) * 13 + int(calendar.month[mission])
    return when * keys.MARKET_CODES + int(markets.ids[calendar.market[mission]])


def firm_history(
    firms: Firms,
    log_workers: Floats,
    exports: Floats,
    pattern: NDArray[np.uint8],
    n_markets: Ints,
    last_mission: NDArray[np.int16],
    year: int,
) -> FirmHistory:
    """Collect what the registers show before ``year``.

    ``exports`` has shape (4, firms), the last year first; bit 0 of ``pattern`` is the last year.
    """
    firm = np.flatnonzero((firms.born < year) & (firms.dead > year))
    place = np.full(len(firms), -1, np.int32)
    place[firm] = np.arange(len(firm))
    log_exports, seen = np.log1p(exports[0, firm]), pattern[firm] & 15
    years = YEARS_ACTIVE[seen].astype(np.int64)
    return FirmHistory(
        firm=firm,
        place=place,
        log_workers=log_workers[firm],
        log_exports=log_exports,
        growth=np.clip(log_exports - np.log1p(exports[2, firm]), -3, 3),
        years=years,
        log_markets=np.log1p(n_markets[firm]),
        before=last_mission[firm] > 0,
        sme=firms.independent[firm] & (log_workers[firm] < np.log(SME_WORKERS)),
        incidental=((seen & 1) == 1) & (years < 3),
        clean=year - last_mission[firm] > WASHOUT,
    )


def _common_odds(settings: SimulationSettings, firms: Firms, history: FirmHistory, year: int) -> Floats:
    """Odds of going on any mission, before what ties the firm to the host."""
    p, firm = settings.mission, history.firm
    trend = p.independent + p.independent_trend * (year - 2010)
    if settings.selection == "fixed_level":
        eta = p.workers * np.clip(firms.log_workers_start[firm], 0, 7) + p.productivity * firms.productivity[firm]
        eta += p.level * firms.export_level[firm] + trend * firms.independent[firm]
        return np.asarray(np.exp(eta) * (firms.born[firm] <= year - p.settled_years))
    eta = p.workers * np.clip(history.log_workers, 0, 7) + p.productivity * firms.productivity[firm]
    eta += p.exports * history.log_exports + p.growth * history.growth + p.years * history.years
    eta += p.markets * history.log_markets + p.before * history.before + trend * history.sme
    if settings.selection == "unobserved":
        eta += p.hidden * firms.hidden[firm]
    return np.asarray(np.exp(eta))


@dataclass(frozen=True, slots=True)
class _Ties:
    """Firms tied to each market, as rows of the history: ``row[start[m] : start[m + 1]]`` for market m."""

    row: NDArray[np.int32]
    start: Ints

    def of(self, market: int) -> NDArray[np.int32]:
        return self.row[self.start[market] : self.start[market + 1]]


def _ties(settings: SimulationSettings, history: FirmHistory, pairs: Pairs, n_markets: int) -> _Ties:
    """Collect the pairs that tie firms to markets: those that trade at t-1; the candidates in regime `fixed_level`."""
    tied = np.flatnonzero(~pairs.outside if settings.selection == "fixed_level" else pairs.active)
    row = history.place[pairs.firm[tied]]
    tied, row = tied[row >= 0], row[row >= 0]
    market = pairs.market[tied]
    start = np.concatenate([[0], np.cumsum(np.bincount(market, minlength=n_markets))])
    return _Ties(row[np.argsort(market, kind="stable")], start)


def _host_odds(
    settings: SimulationSettings, history: FirmHistory, ties: _Ties, markets: Markets, host: int
) -> tuple[NDArray[np.int32], Floats]:
    """Firms tied to the host, as rows of the history, and the factor on their odds."""
    p, here = settings.mission, ties.of(host)
    if settings.selection == "fixed_level":
        return here, np.full(len(here), np.exp(p.candidate))
    bonus = np.zeros(len(history.firm))
    for neighbour in np.flatnonzero(markets.neighbours[host]):
        bonus[ties.of(int(neighbour))] = p.near
    bonus[here] += p.here + p.here_incidental * history.incidental[here]
    tied = np.flatnonzero(bonus).astype(np.int32)
    return tied, np.exp(bonus[tied])


def _intercept(odds: Floats, size: float) -> float:
    """Solve for the intercept at which the expected number of participants is ``size``."""
    some = odds[odds > 0]
    b = float(np.log(size / some.sum()))
    for _ in range(12):
        q = some * np.exp(b)
        q /= 1 + q
        expected = float(q.sum())
        step = (size - expected) / float((q * (1 - q)).sum())
        b += min(max(step, -1.0), 1.0)
        if abs(step) < 1e-10:
            break
    return b


def attendance(
    settings: SimulationSettings,
    firms: Firms,
    history: FirmHistory,
    pairs: Pairs,
    markets: Markets,
    calendar: Calendar,
    year: int,
    intercepts: Floats | None,
) -> Attendance:
    """Participation probabilities of the year's missions.

    Without ``intercepts`` they are solved so that each mission has its expected size, scaled to the number of firms.
    """
    missions = calendar.of(year)
    common = _common_odds(settings, firms, history, year)
    ties = _ties(settings, history, pairs, len(markets.codes))
    used, chance = np.empty(len(missions)), np.empty((len(missions), len(history.firm)))
    for i, mission in enumerate(missions):
        odds = common.copy()
        tied, factor = _host_odds(settings, history, ties, markets, int(calendar.market[mission]))
        odds[tied] *= factor
        size = float(calendar.expected_size[mission]) * settings.firms / FIRMS_NATIONAL
        used[i] = _intercept(odds, size) if intercepts is None else intercepts[i]
        odds *= np.exp(used[i])
        chance[i] = odds / (1 + odds)
    return Attendance(missions, used, chance)


def draw_attendance(
    firms: Firms, history: FirmHistory, plan: Attendance, calendar: Calendar, markets: Markets
) -> Bools:
    """Draw who intends to go, shape (missions of the year, firms of the history)."""
    key = firms.key[history.firm]
    goes = np.empty(plan.chance.shape, np.bool_)
    for i, mission in enumerate(plan.missions):
        number = mission_number(calendar, markets, int(mission))
        goes[i] = keys.uniform(key, Purpose.ATTEND, number) < plan.chance[i]
    return goes
