"""Drawing a world: every firm, its trade, affiliates and missions, year by year."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from .keys import MARKET_CODES, Bools, Floats, Ints
from .markets import Calendar, Markets, load_calendar, load_markets
from .parameters import FIRST_SIMULATED_YEAR, SimulationSettings
from .population import Firms, draw_candidates, draw_firms
from .potential import Sampling, Trials, outcome_table
from .state import Intentions, Setting, State, YearRecord, advance, intend, renew, start_state


@dataclass(frozen=True, slots=True)
class World:
    """What was drawn: the substance of all register files. Firms and markets are positions (from 0).

    Attributes
    ----------
    settings, markets, calendar : what the world was drawn with
    firms : permanent traits, some of which no register shows (see :class:`Firms`)
    years : years of the register
    log_workers : (years, firms) log of persons employed; also for years in which the firm does not live
    trade_firm, trade_market, trade_year, value_eur : goods exports, one row per firm x market x year with trade,
        sorted by year, firm, market
    affiliate_firm, affiliate_market, affiliate_year : firm x market x year with an affiliate, sorted alike
    goes_firm, goes_mission : participations in the missions of the calendar (position), sorted by mission, firm
    potential : realised potential outcomes of the participants, see :mod:`missie_impact.simulation.potential`; empty
        where they were not followed
    """

    settings: SimulationSettings
    markets: Markets
    calendar: Calendar
    firms: Firms
    years: Ints
    log_workers: NDArray[np.float32]
    trade_firm: NDArray[np.int32]
    trade_market: NDArray[np.int16]
    trade_year: NDArray[np.int16]
    value_eur: Floats
    affiliate_firm: NDArray[np.int32]
    affiliate_market: NDArray[np.int16]
    affiliate_year: NDArray[np.int16]
    goes_firm: Ints
    goes_mission: Ints
    potential: pd.DataFrame

    def alive(self, year: int) -> Bools:
        """Whether each firm is in the register in a year."""
        return (self.firms.born <= year) & (self.firms.dead > year)

    def exports_eur(self, year: int) -> Floats:
        """Exports of each firm in a year, EUR."""
        rows = slice(*np.searchsorted(self.trade_year, [year, year + 1]))
        return np.bincount(self.trade_firm[rows], self.value_eur[rows], len(self.firms)).astype(np.float64)

    def participations(self) -> pd.DataFrame:
        """Return one row per participation: firm, market, year, month, date, mission (name), mission_index."""
        calendar, k = self.calendar, self.goes_mission
        codes = np.array(self.markets.codes)
        return pd.DataFrame(
            {
                "firm": self.goes_firm,
                "market": codes[calendar.market[k]],
                "year": calendar.year[k],
                "month": calendar.month[k],
                "date": calendar.date[k],
                "mission": np.array(calendar.mission)[k],
                "mission_index": k,
            }
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A world about to move on: its state at the end of ``year - 1`` and who intends to go on the missions of ``year``.

    ``record`` is filled in when the year is over and the state has moved on to its end.
    """

    year: int
    state: State
    intentions: Intentions | None


def run(
    setting: Setting,
    firms: Firms,
    *,
    before: Callable[[Step], None] | None = None,
    after: Callable[[Step, YearRecord], None] | None = None,
    progress: bool | None = None,
) -> None:
    """Run a world from the first simulated year on; ``before`` and ``after`` look at each year and change nothing."""
    settings, first = setting.settings, FIRST_SIMULATED_YEAR
    candidates = draw_candidates(settings, firms, setting.markets)
    state = start_state(setting, firms)
    hide = None if progress is None else not progress
    years = range(first, settings.last_year + 1)
    for year in tqdm(years, desc="drawing the simulated world", unit="year", disable=hide):
        renew(setting, state, candidates, year, first=year == first)
        step = Step(year, state, intend(setting, state, year))
        if before is not None:
            before(step)
        record = advance(setting, state, year, step.intentions)
        if after is not None:
            after(step, record)


def draw_world(settings: SimulationSettings, *, potential: bool = True, progress: bool | None = None) -> World:
    """Draw a world; the national scale takes well under a minute.

    Parameters
    ----------
    settings : what to draw; the same settings give the same world, and worlds of different effects share all draws
    potential : also follow participants in a world without their mission, which nothing else depends on
    progress : show a progress bar on standard error; None shows it on a terminal only

    Returns
    -------
    World : arrays at the level of the firm, of firm x market x year, and of the participation
    """
    setting = Setting(settings, load_markets(), load_calendar())
    firms = draw_firms(settings, np.arange(settings.firms))
    years, records, workers = [], [], []

    def keep(step: Step, record: YearRecord) -> None:
        if step.year >= settings.first_year:
            years.append(step.year)
            records.append(record)
            workers.append(step.state.log_workers.astype(np.float32))

    trials = Trials(setting, Sampling(realised=True))
    run(
        setting,
        firms,
        before=(lambda step: trials.step(step.state, step.intentions, step.year)) if potential else None,
        after=keep,
        progress=progress,
    )
    firm, market, when, value = _stack(years, [(r.trade_firm, r.trade_market, r.value_eur) for r in records])
    owner, abroad, since = _stack(years, [(r.affiliate_firm, r.affiliate_market) for r in records])
    goes_firm = np.concatenate([r.goes_firm for r in records])
    goes_mission = np.concatenate([r.goes_mission for r in records])
    order = np.lexsort((goes_firm, goes_mission))
    return World(
        settings=settings,
        markets=setting.markets,
        calendar=setting.calendar,
        firms=firms,
        years=np.array(years),
        log_workers=np.stack(workers),
        trade_firm=firm,
        trade_market=market,
        trade_year=when,
        value_eur=value,
        affiliate_firm=owner,
        affiliate_market=abroad,
        affiliate_year=since,
        goes_firm=goes_firm[order],
        goes_mission=goes_mission[order],
        potential=outcome_table(trials.done, setting.markets.codes, settings.last_year),
    )


def _stack(years: list[int], tables: list[tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
    """Put yearly columns (firm, market, ...) under each other, sorted by year, firm, market; the year comes third."""
    parts = []
    for year, (firm, market, *rest) in zip(years, tables, strict=True):
        order = np.argsort(firm.astype(np.int64) * MARKET_CODES + market)
        when = np.full(len(firm), year, np.int16)
        parts.append([firm[order], market[order], when, *(x[order] for x in rest)])
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
