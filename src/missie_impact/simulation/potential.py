"""Trials in two arms: the same units with and without the mission, all else by the same mechanism and the same draws.

A trial starts from the state at the end of t-1. In arm 1 the unit takes part in year t, in arm 0 it does not; other
missions, later missions and all trade then follow in each arm from the arm's own history.

- Firm trials: firms incidental at t-1 without a mission in t-3..t-1; the treatment is going on any mission in t. On
  request a third arm goes on none in t..t+3, the untreated world of the per-protocol effect.
- Pair trials: firm x host pairs without a mission of the firm to the host in t-3..t-1; the treatment is going to the
  host in t; the firm's missions to other hosts in t stay as drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from . import keys
from .keys import Bools, Floats, Ints, Purpose
from .missions import WASHOUT, mission_number
from .state import Intentions, Setting, State, YearRecord, advance, intend
from .trade import NEVER, YEARS_ACTIVE

FIRM_YEARS = 4  # outcome years t+1..t+4 of becoming structural
PROTOCOL_YEARS = 3  # years t+1..t+3 without a mission in the third arm
TREATED, NEVER_LATER = 1, 2  # numbers of arms; 0 has no mission in t
EXIT_YEARS = 5  # follow-up years t+1..t+5 of leaving a market
POTENTIAL_COLUMNS = ("firm", "market", "year", "outcome", "y0", "y1")
ENTRY_YEARS = 2  # outcome years t+1..t+2 of entering one


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Which units the trials follow.

    Attributes
    ----------
    realised : follow those who took part, with weight 1; else a unit enters with probability
        ``min(1, factor x participation probability)``, and its weight makes up for that
    firm_factor, pair_factor : that factor for firms and for pairs
    firm_trials, pair_trials : first and last trial year
    never_later : give firm trials a third arm
    """

    realised: bool = True
    firm_factor: float = 100.0
    pair_factor: float = 2.0
    firm_trials: tuple[int, int] = (2008, 2020)
    pair_trials: tuple[int, int] = (2008, 2022)
    never_later: bool = False


@dataclass(frozen=True, slots=True)
class Units:
    """Units of a trial, one entry each.

    Attributes
    ----------
    firm : number of the firm
    market : host; -1 for firm trials
    weight : participation probability over inclusion probability
    sme : independent SME at t-1
    group : country group of the host in t; -1 for firm trials
    dead : first year the firm is not in the register
    structural, outside, without_affiliate : the pair at t-1: structural and active; no trade in t-2 and t-1; no
        affiliate up to then. All false for firm trials.
    path : years t-4..t-1 with trade of the pair, bit 0 the last. 0 for firm trials.
    """

    firm: Ints
    market: Ints
    weight: Floats
    sme: Bools
    group: Ints
    dead: Ints
    structural: Bools
    outside: Bools
    without_affiliate: Bools
    path: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.firm)


@dataclass(slots=True)
class Trial:
    """Two arms, or three, and what happened in them.

    Attributes
    ----------
    year, units : trial year and its units
    arms : states of the arms; emptied when the trial is over
    active, affiliate : by year from t on, (arms, units): trade (of the firm anywhere in firm trials), affiliate
    exports : the same of the pair's exports, EUR; 0 in firm trials
    missions : missions in t that took place in arm 1 (pairs: to the host)
    """

    year: int
    units: Units
    arms: tuple[State, ...]
    active: list[Bools] = field(default_factory=list)
    affiliate: list[Bools] = field(default_factory=list)
    exports: list[Floats] = field(default_factory=list)
    missions: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def attended(self) -> Bools:
        """Whether the mission took place in arm 1."""
        return self.missions > 0

    @property
    def of_firms(self) -> bool:
        """Whether the units are firms rather than pairs."""
        return bool((self.units.market < 0).all())

    def invests(self, year: int) -> bool:
        """Whether the affiliates of ``year`` matter to this trial."""
        return not self.of_firms and year <= self.year + ENTRY_YEARS

    def structural(self) -> Bools:
        """Firm active in at least three of t+1..t+4 and not dead by t+4, by arm, shape (arms, units)."""
        often = np.stack(self.active[1 : FIRM_YEARS + 1]).sum(0) >= 3
        return np.asarray(often & (self.units.dead > self.year + FIRM_YEARS))

    def entered(self) -> Bools:
        """Pair traded in t+1 or t+2, by arm."""
        return np.asarray(np.stack(self.active[1 : ENTRY_YEARS + 1]).any(0))

    def invested(self) -> Bools:
        """Pair had an affiliate in t+1 or t+2, by arm."""
        return np.asarray(np.stack(self.affiliate[1 : ENTRY_YEARS + 1]).any(0))

    def exits(self, last_year: int) -> tuple[Bools, Bools]:
        """Rows at risk of leaving the market and exits, both of shape (arms, t+1..t+5, units).

        At risk in e: active in t, active in e-1, not left before. Exit: no trade in e and e+1, firm in the register in
        both. Rows run to e = last_year - 1.
        """
        at = np.zeros((2, EXIT_YEARS, len(self.units)), np.bool_)
        gone, risk = at.copy(), self.active[0].copy()
        for k in range(1, EXIT_YEARS + 1):
            if self.year + k > last_year - 1:
                break
            at[:, k - 1] = risk & self.active[k - 1]
            stays = self.active[k] | self.active[k + 1] | (self.units.dead <= self.year + k + 1)
            gone[:, k - 1] = at[:, k - 1] & ~stays
            risk &= ~gone[:, k - 1]
        return at, gone


@dataclass(slots=True)
class Trials:
    """All trials of one world; call :meth:`step` each year before the world moves on."""

    setting: Setting
    sampling: Sampling
    running: list[Trial] = field(default_factory=list)
    done: list[Trial] = field(default_factory=list)

    def step(self, state: State, intentions: Intentions | None, year: int) -> None:
        """Open the trials of ``year`` from the state at the end of the year before; move all through ``year``."""
        s = self.sampling
        intercepts = None if intentions is None else intentions.plan.intercepts
        for trial in self.running:
            for number, arm in enumerate(trial.arms):
                own = None if intercepts is None else intend(self.setting, arm, year, intercepts)
                if own is not None and number == NEVER_LATER and year <= trial.year + PROTOCOL_YEARS:
                    own = replace(own, goes=np.zeros_like(own.goes))
                record = advance(self.setting, arm, year, own, affiliates=trial.invests(year))
                _observe(trial, arm, record)
            _pair_up(trial)
        if intentions is not None and s.firm_trials[0] <= year <= s.firm_trials[1]:
            self._open(firm_units(self.setting, state, intentions, s, year), state, year, intentions)
        if intentions is not None and s.pair_trials[0] <= year <= s.pair_trials[1]:
            self._open(pair_units(self.setting, state, intentions, s, year), state, year, intentions)
        self._close(year)

    def _open(self, units: Units, state: State, year: int, world: Intentions) -> None:
        if not len(units):
            return
        arm_0 = state.take(units.firm)
        further = 1 + (self.sampling.never_later and bool((units.market < 0).all()))
        trial = Trial(year, units, (arm_0, *(arm_0.take(np.arange(len(units))) for _ in range(further))))
        for number, arm in enumerate(trial.arms):
            own = intend(self.setting, arm, year, world.plan.intercepts)
            if own is None:
                continue
            going = _toggle(self.setting, trial, arm, own, number, self.sampling.realised)
            record = advance(self.setting, arm, year, going, affiliates=trial.invests(year))
            _observe(trial, arm, record)
            if number == TREATED:
                trial.missions = _missions(self.setting, units, record)
        _pair_up(trial)
        self.running.append(trial)

    def _close(self, year: int) -> None:
        last = self.setting.settings.last_year
        for trial in self.running:
            length = FIRM_YEARS if trial.of_firms else EXIT_YEARS + 1
            if year >= min(last, trial.year + length):
                trial.arms = ()
                self.done.append(trial)
        self.running = [trial for trial in self.running if trial.arms]


def _observe(trial: Trial, arm: State, record: YearRecord) -> None:
    """Note this year's trade and affiliates of the units in one arm."""
    n, market = len(trial.units), trial.units.market
    if trial.of_firms:
        trial.active.append(arm.n_markets > 0)
        trial.affiliate.append(np.zeros(n, np.bool_))
        trial.exports.append(np.zeros(n))
        return
    for into, firm, abroad in (
        (trial.active, record.trade_firm, record.trade_market),
        (trial.affiliate, record.affiliate_firm, record.affiliate_market),
    ):
        own = firm[abroad == market[firm]]
        into.append(np.bincount(own, minlength=n) > 0)
    here = record.trade_market == market[record.trade_firm]
    trial.exports.append(np.bincount(record.trade_firm[here], record.value_eur[here], n).astype(np.float64))


def _pair_up(trial: Trial) -> None:
    """Join the arms' observations of a year."""
    n = len(trial.arms)
    both: tuple[list[Any], ...] = (trial.active, trial.affiliate, trial.exports)
    for series in both:
        series[-n:] = [np.stack(series[-n:])]


def _missions(setting: Setting, units: Units, record: YearRecord) -> Ints:
    host = setting.calendar.market[record.goes_mission]
    own = (units.market[record.goes_firm] < 0) | (host == units.market[record.goes_firm])
    return np.bincount(record.goes_firm[own], minlength=len(units)).astype(np.int64)


def _toggle(setting: Setting, trial: Trial, arm: State, own: Intentions, number: int, realised: bool) -> Intentions:
    """Let the units go, or not, in the trial year."""
    goes, hosts, units = own.goes.copy(), setting.calendar.market[own.plan.missions], trial.units
    mine = (units.market[own.history.firm] < 0) | (hosts[:, None] == units.market[own.history.firm])
    if number != TREATED:
        goes &= ~mine
    elif not realised:
        goes = np.where(mine, _conditional_draw(setting, arm, own, mine), goes)
    return Intentions(own.plan, own.history, goes)


def _conditional_draw(setting: Setting, arm: State, own: Intentions, mine: Bools) -> Bools:
    """Draw which of its own missions each unit goes on, given that it goes on at least one."""
    chance = np.where(mine, own.plan.chance, 0.0)
    none_before = np.vstack([np.ones(chance.shape[1]), np.cumprod(1 - chance, axis=0)[:-1]])
    first_at = np.cumsum(chance * none_before, axis=0)
    key = arm.firms.key[own.history.firm]
    draw = keys.uniform(key, Purpose.TRIAL_MISSION, trial_year(setting, own)) * first_at[-1]
    first = (first_at <= draw).sum(axis=0).clip(max=len(chance) - 1)
    goes = np.zeros(chance.shape, np.bool_)
    for i, mission in enumerate(own.plan.missions):
        number = mission_number(setting.calendar, setting.markets, int(mission))
        also = keys.uniform(key, Purpose.TRIAL_OTHERS, number) < chance[i]
        goes[i] = (first == i) | (also & (first < i))
    return goes


def trial_year(setting: Setting, intentions: Intentions) -> int:
    """Year of the missions at hand."""
    return int(setting.calendar.year[intentions.plan.missions[0]])


def _any_chance(chance: Floats) -> Floats:
    return np.asarray(1 - np.prod(1 - chance, axis=0))


def _include(sampling: Sampling, draw: Floats, chance: Floats, went: Bools, factor: float) -> tuple[Bools, Floats]:
    """Which units to follow, and the weight of every unit."""
    if sampling.realised:
        return went, np.ones(len(chance))
    inclusion = np.minimum(1.0, factor * chance)
    return draw < inclusion, chance / np.where(inclusion > 0, inclusion, 1.0)


def firm_units(setting: Setting, state: State, world: Intentions, sampling: Sampling, year: int) -> Units:
    """Firms of the transition trial of ``year``."""
    history = world.history
    eligible = np.flatnonzero(history.incidental & history.clean)
    chance = _any_chance(world.plan.chance[:, eligible])
    firm = history.firm[eligible]
    draw = keys.uniform(state.firms.key[firm], Purpose.TRIAL_SAMPLE, year)
    went = np.asarray(world.goes[:, eligible].any(axis=0))
    take, weight = _include(sampling, draw, chance, went, sampling.firm_factor)
    rows, firm = eligible[take], firm[take]
    nothing = np.zeros(len(rows), np.bool_)
    nowhere = np.full(len(rows), -1)
    dead = state.firms.dead[firm].astype(np.int64)
    path = nothing.astype(np.uint8)
    return Units(firm, nowhere, weight[take], history.sme[rows], nowhere, dead, nothing, nothing, nothing, path)


def pair_units(setting: Setting, state: State, world: Intentions, sampling: Sampling, year: int) -> Units:
    """Pairs of the exit, entry and affiliate trials of ``year``, all hosts of the year under each other."""
    hosts = setting.calendar.market[world.plan.missions]
    parts = [_host_units(setting, state, world, sampling, year, int(host)) for host in np.unique(hosts)]
    columns = Units.__dataclass_fields__
    return Units(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def _host_units(setting: Setting, state: State, world: Intentions, sampling: Sampling, year: int, host: int) -> Units:
    history = world.history
    its = np.flatnonzero(setting.calendar.market[world.plan.missions] == host)
    chance, went = _any_chance(world.plan.chance[its]), np.asarray(world.goes[its].any(axis=0))
    number = mission_number(setting.calendar, setting.markets, int(world.plan.missions[its[0]]))
    draw = keys.uniform(state.firms.key[history.firm], Purpose.TRIAL_SAMPLE, number)
    take, weight = _include(sampling, draw, chance, went, sampling.pair_factor)
    past, invested, mission = _pair_past(state, host)
    firm = history.firm[take]
    clean = year - mission[firm] > WASHOUT
    firm, rows = firm[clean], np.flatnonzero(take)[clean]
    recent = past[firm]
    return Units(
        firm=firm,
        market=np.full(len(firm), host),
        weight=weight[rows],
        sme=history.sme[rows],
        group=np.full(len(firm), int(setting.markets.group(year)[host])),
        dead=state.firms.dead[firm].astype(np.int64),
        structural=(YEARS_ACTIVE[recent & 15] >= 3) & ((recent & 1) == 1),
        outside=(recent & 3) == 0,
        without_affiliate=invested[firm] == 0,
        path=np.asarray(recent & 15, dtype=np.uint8),
    )


def _pair_past(state: State, host: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int16]]:
    """Trade and affiliate histories and last mission of every firm in one market."""
    n = len(state.firms)
    past, invested, mission = np.zeros(n, np.uint8), np.zeros(n, np.uint8), np.full(n, NEVER, np.int16)
    rows = np.flatnonzero(state.pairs.market == host)
    firm = state.pairs.firm[rows]
    past[firm] = state.pairs.history[rows]
    invested[firm] = state.pairs.affiliate_history[rows]
    mission[firm] = state.pairs.mission[rows]
    return past, invested, mission


def outcome_table(trials: Sequence[Trial], codes: Sequence[str], last_year: int) -> pd.DataFrame:
    """Return the potential outcomes of participants: firm, market, year, outcome, y0, y1.

    One row per participant, mission year and outcome; ``market`` is missing at firm level. Outcomes are 0 or 1:
    ``structural`` (active in three of t+1..t+4), ``entered`` and ``invested`` (in t+1 or t+2, pairs without trade
    in t-2 and t-1, without an affiliate before t), ``left_within_1``, ``_3``, ``_5`` (structural pairs that trade in
    t). Outcomes that the register's last year cuts off are left out.
    """
    code, parts = np.array(codes), []
    for trial in trials:
        ok, units = trial.attended, trial.units
        found: list[tuple[str, Bools, Bools]] = []
        if trial.of_firms and trial.year + FIRM_YEARS <= last_year:
            found.append(("structural", ok, trial.structural()))
        if not trial.of_firms and trial.year + ENTRY_YEARS <= last_year:
            found.append(("entered", ok & units.outside, trial.entered()))
            found.append(("invested", ok & units.without_affiliate, trial.invested()))
        if not trial.of_firms:
            _, gone = trial.exits(last_year)
            at_start = ok & units.structural & trial.active[0].all(0)
            for k in (1, 3, 5):
                if trial.year + k <= last_year - 1:
                    found.append((f"left_within_{k}", at_start, np.asarray(gone[:, :k].any(1))))
        for name, rows, y in found:
            market = code[units.market[rows]].astype(object)
            market[units.market[rows] < 0] = None
            columns = {"firm": units.firm[rows], "market": market, "year": trial.year, "outcome": name}
            parts.append(pd.DataFrame(columns | {"y0": y[0, rows].astype("int8"), "y1": y[1, rows].astype("int8")}))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(POTENTIAL_COLUMNS))
    return table.sort_values(["outcome", "year", "market", "firm"], ignore_index=True)
