"""Firm x market pairs and their year: who trades, for how much, with an affiliate or not.

The pairs of living firms only are kept, as parallel arrays; no firm x market x year block is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from . import keys
from .keys import Bools, Floats, Ints, Keys, Purpose
from .markets import Markets, popularity
from .parameters import FIRST_SIMULATED_YEAR, EffectParameters, SimulationSettings
from .population import Firms

NEVER = -99  # a year before all others
EVER = np.uint8(128)  # bit of the affiliate history that stays once set
YEARS_ACTIVE = np.array([bin(i).count("1") for i in range(16)], dtype=np.int8)  # of a four-year bit pattern


@dataclass(slots=True)
class Pairs:
    """State of the pairs at the end of a year.

    Attributes
    ----------
    firm, market : positions
    key : key of the pair's random numbers
    outside : no candidate: can only be opened by a mission
    core : core market of the firm
    stay, enter, value : time-constant parts of the logits and of log EUR
    active : trades this year
    age, gap : years since the spell began, years without trade (0 while active; 99 never traded)
    walk : random walk in log EUR
    history, affiliate_history : years with trade, with an affiliate; bit 0 is the last simulated
        year, bit 7 of the affiliates says whether there ever was one seven years ago or longer
    mission : year of the last mission to the market
    stay_until, exit_until, entry_until, growth_until : last year of each effect
    stay_spill_until, exit_spill_until, growth_spill_until : the same for effects of the firm's missions elsewhere
    entry_hazard, affiliate_hazard : extra yearly probabilities while ``entry_until`` lasts
    by_mission : the affiliate was opened in the years after a mission
    """

    firm: NDArray[np.int32]
    market: NDArray[np.int16]
    key: Keys
    outside: Bools
    core: Bools
    stay: Floats
    enter: Floats
    value: Floats
    active: Bools
    age: NDArray[np.int16]
    gap: NDArray[np.int16]
    walk: Floats
    history: NDArray[np.uint8]
    affiliate_history: NDArray[np.uint8]
    mission: NDArray[np.int16]
    stay_until: NDArray[np.int16]
    exit_until: NDArray[np.int16]
    entry_until: NDArray[np.int16]
    growth_until: NDArray[np.int16]
    stay_spill_until: NDArray[np.int16]
    exit_spill_until: NDArray[np.int16]
    growth_spill_until: NDArray[np.int16]
    entry_hazard: Floats
    affiliate_hazard: Floats
    by_mission: Bools

    def take(self, rows: Ints | Bools) -> Pairs:
        """Return some of the pairs."""
        return Pairs(*(getattr(self, f.name)[rows] for f in fields(self)))

    def join(self, other: Pairs) -> Pairs:
        """Return these pairs and others behind them."""
        return Pairs(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def __len__(self) -> int:
        return len(self.firm)


def make_pairs(
    settings: SimulationSettings,
    firms: Firms,
    markets: Markets,
    firm: NDArray[np.int32],
    market: NDArray[np.int16],
    core: Bools | None,
    year: int,
) -> Pairs:
    """Start pairs that have never traded, at the beginning of ``year``; without ``core`` they are no candidates."""
    p, v, n = settings.activity, settings.value, len(firm)
    key = keys.pair_keys(settings.seed, firms.id[firm], markets.ids[market])
    quality = keys.normal(key, Purpose.PAIR_QUALITY)
    outside = np.full(n, core is None)
    core = np.zeros(n, np.bool_) if core is None else core
    kind = firms.kind[firm]
    stay = np.array(p.stay)[kind] + p.stay_quality * quality + p.stay_size * firms.size[firm] + p.stay_side * ~core
    enter = np.array(p.enter)[kind] + p.enter_quality * quality + p.enter_side * ~core
    weight = popularity(settings.market, len(markets.codes))[market]
    value = firms.export_level[firm] + v.quality * quality + v.popularity * np.log(weight / 0.3)
    steps = year - FIRST_SIMULATED_YEAR  # as if the walk had run since the first simulated year
    spread = v.walk_sd * np.sqrt((1 - v.walk_memory ** (2 * steps)) / (1 - v.walk_memory**2))
    never, zero, false = np.full(n, NEVER, np.int16), np.zeros(n), np.zeros(n, np.bool_)
    return Pairs(
        firm=firm,
        market=market,
        key=key,
        outside=outside,
        core=core,
        stay=stay,
        enter=enter,
        value=value,
        active=false,
        age=np.zeros(n, np.int16),
        gap=np.full(n, 99, np.int16),
        walk=spread * keys.normal(key, Purpose.WALK_START),
        history=np.zeros(n, np.uint8),
        affiliate_history=np.zeros(n, np.uint8),
        mission=never,
        stay_until=never.copy(),
        exit_until=never.copy(),
        entry_until=never.copy(),
        growth_until=never.copy(),
        stay_spill_until=never.copy(),
        exit_spill_until=never.copy(),
        growth_spill_until=never.copy(),
        entry_hazard=zero,
        affiliate_hazard=zero.copy(),
        by_mission=false.copy(),
    )


def never_traded_outside(pairs: Pairs) -> Bools:
    """Pairs that nothing but a mission opens: no candidates, and never opened so far."""
    return np.asarray(pairs.outside & (pairs.gap > 50))


def trade_chance(
    settings: SimulationSettings, effects: EffectParameters, pairs: Pairs, young: Bools, n_markets: Ints, year: int
) -> Floats:
    """Probability that each pair trades in ``year``, given its firm lives; effects of earlier missions included.

    ``young`` and ``n_markets`` (markets last year) are by firm.
    """
    p = settings.activity
    boost = effects.stay * (year <= pairs.stay_until)
    hold = effects.exit * (year <= pairs.exit_until)
    if settings.spillover:
        boost = np.maximum(boost, settings.spillover * effects.stay * (year <= pairs.stay_spill_until))
        hold = np.maximum(hold, settings.spillover * effects.exit * (year <= pairs.exit_spill_until))
    stay = pairs.stay + p.stay_age * np.minimum(pairs.age - 1, p.stay_age_max) + boost + hold
    enter = pairs.enter + p.enter_young * young[pairs.firm] + boost
    enter += p.enter_markets * np.where(pairs.core, 0.0, np.log1p(n_markets)[pairs.firm])
    enter[never_traded_outside(pairs)] = -np.inf
    chance = np.asarray(expit(np.where(pairs.active, stay, enter)))
    opened = np.flatnonzero(~pairs.active & (year <= pairs.entry_until))
    chance[opened] = 1 - (1 - chance[opened]) * (1 - pairs.entry_hazard[opened])
    return chance


def trade_year(pairs: Pairs, chance: Floats, alive: Bools, year: int) -> None:
    """Draw who trades in ``year`` and move the pairs' clocks on; ``alive`` is by firm."""
    new = (keys.uniform(pairs.key, Purpose.ACTIVITY, year) < chance) & alive[pairs.firm]
    pairs.age = np.where(new, pairs.age + 1, 0).astype(np.int16)
    pairs.gap = np.where(new, 0, np.minimum(pairs.gap + 1, 99)).astype(np.int16)
    pairs.history = np.asarray((pairs.history << 1) | new, dtype=np.uint8)
    pairs.active = new


def value_year(settings: SimulationSettings, effects: EffectParameters, pairs: Pairs, year: int) -> tuple[Ints, Floats]:
    """Draw the exports of the pairs that trade in ``year``: their rows and EUR."""
    v = settings.value
    pairs.walk = v.walk_memory * pairs.walk + v.walk_sd * keys.normal(pairs.key, Purpose.VALUE_WALK, year)
    rows = np.flatnonzero(pairs.active)
    noise = keys.normal(pairs.key[rows], Purpose.VALUE_NOISE, year)
    x = pairs.value[rows] + pairs.walk[rows] + v.age * np.minimum(pairs.age[rows] - 3, v.age_max)
    x += v.noise * noise * (1 + v.noise_tail * np.abs(noise))
    direct = (year <= pairs.growth_until[rows]).astype(np.float64)
    x += effects.growth * np.maximum(direct, settings.spillover * (year <= pairs.growth_spill_until[rows]))
    return rows, np.exp(np.minimum(x, v.cap))


def affiliate_year(
    settings: SimulationSettings, pairs: Pairs, alive: Bools, log_workers: Floats, year: int
) -> NDArray[np.bool_]:
    """Draw the affiliates of ``year``; trade of the same year makes opening one more likely."""
    p = settings.affiliate
    had = (pairs.affiliate_history & 1).astype(np.bool_)
    missioned = year <= pairs.entry_until
    chance = np.asarray(expit(p.constant + p.workers * log_workers[pairs.firm] + p.trading * pairs.active))
    chance[never_traded_outside(pairs)] = 0.0
    chance[missioned] = 1 - (1 - chance[missioned]) * (1 - pairs.affiliate_hazard[missioned])
    lasts = 1 - p.closing * np.where(pairs.by_mission, p.closing_mission, 1.0)
    has = keys.uniform(pairs.key, Purpose.AFFILIATE, year) < np.where(had, lasts, chance)
    has &= alive[pairs.firm]
    pairs.by_mission = np.where(had, pairs.by_mission & has, has & missioned)
    past = pairs.affiliate_history
    pairs.affiliate_history = np.asarray((past & EVER) | (past << 1) | has, dtype=np.uint8)
    return has
