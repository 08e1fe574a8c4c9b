"""Traders that export no goods: importers and exporters of services, for registers that are to hold every trader.

They are firms of their own, never invited to missions and never given support, so that the goods exporters of the
worlds, their statuses and the truth stay as they are. Exporters among them are exporters of services: they count
as further exporters where both kinds of trade count. Numbers are assumed, tuned to about 406 thousand traders a year.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from missie_impact.simulation.accounts import FirmBase
from missie_impact.simulation.companions import (
    GOODS_IMPORT,
    N_STREAMS,
    SERVICES_EXPORT,
    SERVICES_IMPORT,
    TradeYear,
)
from missie_impact.simulation.draws import FilePurpose, draw, draw_normal
from missie_impact.simulation.identities import OPEN
from missie_impact.simulation.keys import Floats, Ints, firm_keys, pair_keys
from missie_impact.simulation.parameters import FIRST_SIMULATED_YEAR, FirmParameters

OTHERS_A_FIRM = 2.2  # firms of this kind over 1992-2024 per firm of the worlds
FIRST_OTHER = 1_000_000_000  # where their random numbers start, beyond all firms of the worlds
SERVICES_SHARE = 0.19
FURTHER_MARKET = 0.33  # chance of each further market
MARKETS = 4
ACTIVE = 0.7
PERSISTENCE = 0.9  # correlation of a pair's activity over the years
LOG_EUR = 8.5


def other_firms(base: FirmBase, seed: int, n_worlds: int, p: FirmParameters) -> FirmBase:
    """Return the firms of the worlds with other traders behind them."""
    n = round(OTHERS_A_FIRM * n_worlds)
    keys = firm_keys(seed, FIRST_OTHER + np.arange(n))
    span = base.last_year - FIRST_SIMULATED_YEAR + 1
    stock = draw(keys, FilePurpose.OTHER_BIRTH) < 1 / (1 + span * p.death)
    u = draw(keys, FilePurpose.OTHER_BIRTH, 1)
    early, later = FIRST_SIMULATED_YEAR - 1 - np.floor(20 * u), FIRST_SIMULATED_YEAR + np.floor(span * u)
    born = np.where(stock, early, later).astype(np.int64)
    life = np.floor(np.log(draw(keys, FilePurpose.OTHER_DEATH)) / np.log1p(-p.death)).astype(np.int64)
    dead = np.maximum(born, FIRST_SIMULATED_YEAR) + life + 1
    z = draw_normal(keys, FilePurpose.OTHER_SIZE)
    start = p.size_mean + p.size_sd * z
    workers = np.empty((len(base.workers), n), dtype=np.float32)
    for row, year in enumerate(range(base.first_year, base.last_year + 1)):
        workers[row] = start + 0.1 * draw_normal(keys, FilePurpose.OTHER_SIZE, year)
    independent = draw(keys, FilePurpose.OTHER_KIND, 1) < 1 / (1 + np.exp(-p.independent - p.independent_size * start))
    productivity = p.productivity_sd * draw_normal(keys, FilePurpose.OTHER_KIND, 2)
    return replace(
        base,
        keys=np.concatenate([base.keys, keys]),
        born=np.concatenate([base.born, born]),
        dead=np.concatenate([base.dead, np.where(dead > base.last_year, OPEN, dead)]),
        workers=np.concatenate([base.workers, workers], axis=1),
        productivity=np.concatenate([base.productivity, productivity]),
        independent=np.concatenate([base.independent, independent]),
    )


def add_other_trade(
    trade: TradeYear, base: FirmBase, n_worlds: int, weight: Floats, market_ids: Ints, seed: int
) -> TradeYear:
    """Append one year's trade of the other traders.

    Parameters
    ----------
    n_worlds : number of firms of the worlds; the others lie behind them in ``base``
    weight : popularity of the markets, positive
    """
    firm, market = _pairs(base, n_worlds, trade.year, weight)
    keys = pair_keys(seed, FIRST_OTHER + firm - n_worlds, market_ids[market])
    index = np.sqrt(PERSISTENCE) * draw_normal(keys, FilePurpose.OTHER_ACTIVE)
    index += np.sqrt(1 - PERSISTENCE) * draw_normal(keys, FilePurpose.OTHER_ACTIVE, trade.year)
    on = index < 0.5244  # the normal quantile of ACTIVE
    firm, market, keys = firm[on], market[on], keys[on]
    level = LOG_EUR + 1.5 * draw_normal(keys, FilePurpose.OTHER_LEVEL)
    level += 0.5 * draw_normal(keys, FilePurpose.OTHER_NOISE, trade.year)
    amount = np.maximum(np.rint(np.exp(level)), 1).astype(np.int64)
    services = draw(base.keys, FilePurpose.OTHER_KIND)[firm] < SERVICES_SHARE
    u = draw(keys, FilePurpose.OTHER_NOISE, -trade.year)
    value = np.zeros((N_STREAMS, len(firm)), dtype=np.int64)
    value[SERVICES_EXPORT] = np.where(services, amount, 0)
    value[GOODS_IMPORT] = np.where(~services & (u < 0.8), amount, 0)
    value[SERVICES_IMPORT] = np.where((~services & (u >= 0.8)) | (services & (u < 0.2)), amount, 0)
    return TradeYear(
        trade.year,
        np.concatenate([trade.firm, firm]),
        np.concatenate([trade.market, market]),
        np.concatenate([trade.keys, keys]),
        np.concatenate([trade.value_eur, value], axis=1),
    )


def _pairs(base: FirmBase, n_worlds: int, year: int, weight: Floats) -> tuple[Ints, Ints]:
    """Return the markets of the living other traders: the same in every year, sorted by firm and market."""
    firm = n_worlds + np.flatnonzero(base.alive(year)[n_worlds:])
    u = draw(base.keys[firm], FilePurpose.OTHER_MARKETS)
    count = 1 + np.minimum(np.floor(np.log(u) / np.log(FURTHER_MARKET)), MARKETS - 1).astype(np.int64)
    share = np.cumsum(weight) / weight.sum()
    codes = []
    for slot in range(MARKETS):
        some = firm[count > slot]
        market = np.searchsorted(share, draw(base.keys[some], FilePurpose.OTHER_MARKET, slot))
        codes.append(some * len(weight) + market)
    firm, market = np.divmod(np.unique(np.concatenate(codes)), len(weight))
    return firm.astype(np.int64), market.astype(np.int64)
