"""From two-world draws to the tables of the registers, still as arrays: who is supported, linked, split and held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from missie_impact.errors import SettingsError
from missie_impact.simulation.accounts import (
    REGIONS,
    SECTORS,
    FirmBase,
    choose_firms,
    firm_traits,
    firm_year,
)
from missie_impact.simulation.companions import FLOW_NAMES, KIND_NAMES, TradeYear, trade_rows, trade_year
from missie_impact.simulation.identities import OPEN, Identities, IdentityRates, draw_identities
from missie_impact.simulation.indicator_target import CohortEdits, Supported, cohort_target, meet_indicator
from missie_impact.simulation.instruments import (
    FIRST_SUPPORT_YEAR,
    LAST_SUPPORT_YEAR,
    SupportDraw,
    SupportRates,
    draw_support,
    mission_list,
    support_list,
)
from missie_impact.simulation.keys import Bools, Floats, Ints
from missie_impact.simulation.links import ChamberNumbers, draw_numbers, link_table, link_valid
from missie_impact.simulation.markets import popularity
from missie_impact.simulation.other_traders import add_other_trade, other_firms
from missie_impact.simulation.worlds import World

COHORTS = (2020, 2021)
Flows: TypeAlias = Literal["goods_exports", "exporters", "all"]
FLOWS: tuple[Flows, ...] = ("goods_exports", "exporters", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterOptions:
    """Choices that are seldom made when registers are simulated.

    Attributes
    ----------
    identity : rates of identity changes
    support : rates of the other instruments

    Examples
    --------
    >>> import missie_impact as mi
    >>> from missie_impact.simulation.identities import IdentityRates
    >>> options = mi.RegisterOptions(identity=IdentityRates(renumbered=0.0, takeover=0.0, merger=0.0, lost=0.0))
    >>> with mi.simulate_registers(seed=1, firms=1_000, options=options, progress=False) as registers:
    ...     registers.rows["identity_changes"]
    0
    """

    identity: IdentityRates = field(default_factory=IdentityRates)
    support: SupportRates = field(default_factory=SupportRates)


@dataclass(frozen=True, slots=True)
class RegisterDraw:
    """All that the register files hold, firms as positions in the worlds.

    Attributes
    ----------
    world, base : the worlds' draw, and its firms as the register sees them
    identities, numbers : firm numbers over time, Chamber-of-Commerce numbers
    trades : trade by year
    support : support through other instruments by year
    held, weight : firms in the register, and sampling weight of every firm
    edits : what was done to meet the published indicator; empty without
    """

    world: World
    base: FirmBase
    identities: Identities
    numbers: ChamberNumbers
    trades: Mapping[int, TradeYear]
    support: Mapping[int, SupportDraw]
    held: Ints
    weight: Floats
    edits: tuple[CohortEdits, ...]

    def trade_frames(self) -> Iterator[pd.DataFrame]:
        """Yield the trade rows year by year (codes for market, flow and kind)."""
        for year in sorted(self.trades):
            yield trade_rows(self.trades[year], self.identities, self.world.markets.codes)

    def firm_frames(self) -> Iterator[pd.DataFrame]:
        """Yield the firm rows year by year (codes for sector and region)."""
        traits = firm_traits(self.base)
        for year in range(self.base.first_year, self.base.last_year + 1):
            yield firm_year(self.base, self.identities, self.held, self.weight, traits, year)

    def affiliates(self) -> pd.DataFrame:
        """Return firm, market, year of every affiliate."""
        w = self.world
        firm, year = w.affiliate_firm.astype(np.int64), w.affiliate_year.astype(np.int64)
        known = self.identities.delivered(firm, year)
        number = self.identities.number(firm, year)
        market = np.array(w.markets.codes, dtype=object)[w.affiliate_market]
        frame = pd.DataFrame({"firm": number[known], "market": market[known], "year": year[known]})
        return frame.sort_values(["firm", "market", "year"], ignore_index=True)

    def participations(self) -> pd.DataFrame:
        """Return the participation list: one row per person, instrument and market."""
        codes = self.world.markets.codes
        pieces = [mission_list(self.base, self.numbers, self.world.participations(), len(self.world.firms))]
        pieces += [support_list(self.base, self.numbers, s, codes, year) for year, s in self.support.items()]
        frame = pd.concat(pieces, ignore_index=True)
        frame["date"] = frame["date"].astype("datetime64[s]")
        order = ["date", "instrument", "market", "kvk", "person"]
        return frame.sort_values(order, ignore_index=True)

    def links(self) -> pd.DataFrame:
        """Return the links of all firms in the register."""
        return link_table(self.held, self.numbers, self.identities, self.base.born, self.base.dead)

    def identity_changes(self) -> pd.DataFrame:
        """Return the identity changes of the firms in the register."""
        return self.identities.changes(self.held)

    def potential_outcomes(self) -> pd.DataFrame:
        """Return the realised potential outcomes of the participants, firms by the number that changes lead to."""
        frame = self.world.potential.copy()
        frame["firm"] = self.identities.last_number(frame["firm"].to_numpy().astype(np.int64))
        return frame


def draw_registers(world: World, options: RegisterOptions, *, flows: Flows, calibrate: bool) -> RegisterDraw:
    """Draw everything around a world.

    Parameters
    ----------
    flows : ``goods_exports`` only, ``exporters`` with their imports and services, or ``all`` traders
    calibrate : meet the published indicator
    """
    base = firm_base(world)
    companions = flows != "goods_exports"
    trades = {year: _trade_of(world, base, year, companions) for year in range(base.first_year, base.last_year + 1)}
    n, seed = len(base.born), world.settings.seed
    if flows == "all":
        base = other_firms(base, seed, n, world.settings.firm)
    identities = draw_identities(base.keys, base.born, base.dead, base.workers, base.first_year, options.identity)
    numbers = draw_numbers(base.keys, identities)
    support = _support(world, base, identities, trades, options.support)
    if flows == "all":
        weight = popularity(world.settings.market, len(world.markets.codes))
        trades = {y: add_other_trade(t, base, n, weight, world.markets.ids, seed) for y, t in trades.items()}
    supported: list[Supported] = []
    for year in COHORTS if calibrate else ():
        missions = _mission_pairs(world, identities, numbers, year)
        support[year] = exact_support(support[year], missions[0], base, numbers, year, cohort_target(year).firms)
        supported.append(_supported(missions, support[year], base, numbers, identities, year))
    targets = {year: cohort_target(year) for year in COHORTS}
    edits = meet_indicator(trades, tuple(supported), targets, identities) if calibrate else ()
    exact = COHORTS if calibrate else ()
    support = {year: s if year in exact else s.take(s.threshold < 1) for year, s in support.items()}
    certain = _certain(world, support, len(base.born))
    if flows == "all":
        for trade in trades.values():
            certain[trade.firm] = True
    held, weight = choose_firms(base, certain)
    return RegisterDraw(world, base, identities, numbers, trades, support, held, weight, edits)


def firm_base(world: World) -> FirmBase:
    """Return the firms of a world as the register sees them; who outlives the register has no year of death."""
    first, last = int(world.years[0]), int(world.years[-1])
    dead = world.firms.dead.astype(np.int64)
    return FirmBase(
        keys=world.firms.key,
        born=world.firms.born.astype(np.int64),
        dead=np.where(dead > last, OPEN, dead),
        workers=world.log_workers,
        productivity=world.firms.productivity,
        independent=world.firms.independent,
        first_year=first,
        last_year=last,
    )


def exact_support(
    drawn: SupportDraw, mission_firms: Ints, base: FirmBase, numbers: ChamberNumbers, year: int, wanted: int
) -> SupportDraw:
    """Choose support so that exactly ``wanted`` linked SME have some, those on missions included.

    The firms with the lowest draw relative to their chance come first (sequential Poisson sampling). Size is that of
    the year of support; firms that pass the letter's thresholds between the year before and that year get none, so
    that taking the size a year earlier moves the count by a few firms on missions only.
    """
    large, changes = base.large(year), base.large(year - 1) != base.large(year)
    on_mission = np.unique(mission_firms[~large[mission_firms]])
    linked_sme = numbers.linked & ~large & ~changes
    free = linked_sme[drawn.firm] & ~np.isin(drawn.firm, on_mission)
    firms, first = np.unique(drawn.firm[free], return_index=True)
    threshold = drawn.threshold[free][first]
    missing = wanted - len(on_mission)
    if not 0 <= missing <= len(firms):
        raise SettingsError(f"expected up to {missing} further linked SME with support in {year}, found {len(firms)}.")
    order = np.argsort(threshold, kind="stable")
    chosen, limit = firms[order[:missing]], threshold[order[max(missing - 1, 0)]]
    uncounted = ~free & ~changes[drawn.firm] & (drawn.threshold <= limit)  # on a mission already, large, or unlinked
    return drawn.take(np.isin(drawn.firm, chosen) | uncounted)


def text_of_codes() -> dict[str, pd.DataFrame]:
    """Return the texts behind the codes of trade and firm rows: flow, kind, sector, region."""
    texts = {"flow": FLOW_NAMES, "kind": KIND_NAMES, "sector": SECTORS, "region": REGIONS}
    return {name: pd.DataFrame({name: range(len(t)), f"{name}_text": list(t)}) for name, t in texts.items()}


def _trade_of(world: World, base: FirmBase, year: int, companions: bool) -> TradeYear:
    rows = slice(*np.searchsorted(world.trade_year, [year, year + 1]))
    firm, market = world.trade_firm[rows].astype(np.int64), world.trade_market[rows].astype(np.int64)
    pairs = (firm, market, world.value_eur[rows])
    return trade_year(base, world.settings.seed, world.markets.ids, year, pairs, companions)


def _support(
    world: World, base: FirmBase, identities: Identities, trades: Mapping[int, TradeYear], rates: SupportRates
) -> dict[int, SupportDraw]:
    first = max(FIRST_SUPPORT_YEAR, base.first_year + 1)
    years = range(first, min(LAST_SUPPORT_YEAR, base.last_year) + 1)
    n_markets = len(world.markets.codes)
    n_worlds = len(world.firms)
    return {y: draw_support(base, identities, trades[y - 1], (n_worlds, n_markets), y, rates) for y in years}


def _mission_pairs(world: World, identities: Identities, numbers: ChamberNumbers, year: int) -> tuple[Ints, Ints]:
    """Return firm and market of the linked participations of one year."""
    calendar = world.calendar
    rows = calendar.year[world.goes_mission] == year
    firm, mission = world.goes_firm[rows].astype(np.int64), world.goes_mission[rows]
    linked = link_valid(firm, calendar.date[mission], numbers, identities)
    linked &= identities.delivered(firm, year)  # otherwise the register of the year shows no size
    return firm[linked], calendar.market[mission][linked].astype(np.int64)


def _supported(
    missions: tuple[Ints, Ints],
    support: SupportDraw,
    base: FirmBase,
    numbers: ChamberNumbers,
    identities: Identities,
    year: int,
) -> Supported:
    linked = link_valid(support.firm, support.date, numbers, identities)
    firm = np.concatenate([missions[0], support.firm[linked]])
    market = np.concatenate([missions[1], support.market[linked]])
    pairs = pd.DataFrame({"firm": firm, "market": market}).drop_duplicates().sort_values(["firm", "market"])
    firms = pairs["firm"].to_numpy()
    return Supported(year, firms, pairs["market"].to_numpy(), base.large(year)[firms])


def _certain(world: World, support: Mapping[int, SupportDraw], n: int) -> Bools:
    """Tell which firms the register holds for sure: with trade, affiliates or support."""
    certain = np.zeros(n, dtype=bool)
    seen = [world.trade_firm, world.affiliate_firm, world.goes_firm, *(s.firm for s in support.values())]
    for firms in seen:
        certain[np.asarray(firms, dtype=np.int64)] = True
    return certain
