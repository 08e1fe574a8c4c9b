"""Firms, and the markets each of them can trade with untreated."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from . import keys
from .keys import Bools, Floats, Ints, Keys, Purpose
from .markets import Markets, popularity
from .parameters import FIRST_SIMULATED_YEAR, FirmParameters, SimulationSettings, ValueParameters

PROJECT = 3
FIRMS_A_BLOCK = 20_000  # rows of the firm x market block in which candidates are drawn: 32 MB


@dataclass(frozen=True, slots=True)
class Firms:
    """Permanent traits, one entry per firm.

    Attributes
    ----------
    id : number of the firm, 0 to firms - 1
    key : key of its random numbers
    size : size draw `z`
    commitment : commitment to exporting `k`, which no register shows
    hidden : the part of commitment that size does not explain (standard normal)
    kind : 0 sporadic, 1 engaged, 2 committed, 3 project exporter
    born : founding year; dead : the first year the firm is no longer in the register
    independent : Dutch-controlled and not part of a larger group
    trader : trading house
    productivity : log turnover per worker, up to a constant
    growth : permanent yearly growth of log workers
    log_workers_start : log workers before the first simulated year
    export_level : the firm's permanent part of log EUR exports per market
    """

    id: Ints
    key: Keys
    size: Floats
    commitment: Floats
    hidden: Floats
    kind: NDArray[np.int8]
    born: NDArray[np.int16]
    dead: NDArray[np.int16]
    independent: Bools
    trader: Bools
    productivity: Floats
    growth: Floats
    log_workers_start: Floats
    export_level: Floats

    def take(self, rows: Ints) -> Firms:
        """Return some of the firms, in the order asked; one may be asked twice."""
        return Firms(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Firm x market pairs that can trade untreated, sorted by firm.

    Attributes
    ----------
    start : (firms + 1,) rows of firm i are ``start[i]`` to ``start[i + 1]``
    firm, market : positions
    core : whether it is the firm's core market
    """

    start: Ints
    firm: NDArray[np.int32]
    market: NDArray[np.int16]
    core: Bools

    def rows_of(self, firms: Ints) -> Ints:
        """Rows of some firms, in the order of the firms."""
        return ranges(self.start[firms], self.start[firms + 1])


def ranges(start: Ints, stop: Ints) -> Ints:
    """Concatenate the ranges start[i] .. stop[i] - 1."""
    length = stop - start
    total = int(length.sum())
    offset = np.repeat(start - np.concatenate([[0], np.cumsum(length)[:-1]]), length)
    return np.asarray(np.arange(total) + offset, dtype=np.int64)


def draw_firms(settings: SimulationSettings, ids: Ints) -> Firms:
    """Draw the permanent traits of the firms with these numbers."""
    p, key = settings.firm, keys.firm_keys(settings.seed, ids)
    z = keys.normal(key, Purpose.SIZE)
    z = z + p.size_stretch * (z * z - 1) * (z > 0)
    hidden = keys.normal(key, Purpose.COMMITMENT)
    commitment = p.commitment_size * z + hidden
    kind = (commitment > p.engaged_from).astype(np.int8) + (commitment > p.committed_from)
    kind[keys.uniform(key, Purpose.PROJECT) < p.project_share] = PROJECT
    born, dead = _lives(settings, key, z)
    log_workers = p.size_mean + p.size_sd * z
    productivity = p.productivity_sd * keys.normal(key, Purpose.PRODUCTIVITY) + p.productivity_size * z
    growth = p.growth_sd * keys.normal(key, Purpose.GROWTH)
    trader = keys.uniform(key, Purpose.TRADER) < p.trader_share
    spread = keys.normal(key, Purpose.EXPORT_LEVEL)
    level = _export_level(settings.value, log_workers, commitment, productivity, spread)
    level += settings.value.project * (kind == PROJECT) + settings.value.growth * growth
    level += settings.value.trader * trader * expit(2.5 - log_workers)
    return Firms(
        id=ids,
        key=key,
        size=z,
        commitment=commitment,
        hidden=hidden,
        kind=kind,
        born=born,
        dead=dead,
        independent=_independent(p, key, log_workers),
        trader=trader,
        productivity=productivity,
        growth=growth,
        log_workers_start=log_workers,
        export_level=level,
    )


def _independent(p: FirmParameters, key: Keys, log_workers: Floats) -> Bools:
    chance = expit(p.independent + p.independent_size * log_workers)
    return np.asarray(keys.uniform(key, Purpose.INDEPENDENT) < chance)


def _lives(settings: SimulationSettings, key: Keys, z: Floats) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Birth and death years that keep the stock of firms constant over the simulated years."""
    p, first = settings.firm, FIRST_SIMULATED_YEAR
    span = settings.last_year - first + 1
    death = np.clip(p.death * np.exp(p.death_size * z), 0.005, 0.3)
    in_stock = keys.uniform(key, Purpose.IN_STOCK) < 1 / (1 + span * death)
    draw = keys.uniform(key, Purpose.BIRTH)
    born = np.where(in_stock, first - 1 - np.floor(20 * draw), first + np.floor(span * draw)).astype(np.int16)
    life = np.floor(np.log(keys.uniform(key, Purpose.DEATH)) / np.log1p(-death)).astype(np.int16) + 1
    return born, (np.maximum(born, first) + life).astype(np.int16)


def _export_level(
    p: ValueParameters, log_workers: Floats, commitment: Floats, productivity: Floats, spread: Floats
) -> Floats:
    level = p.constant + p.size * log_workers + p.size_squared * np.maximum(log_workers, 0) ** 2
    level += p.commitment * np.clip(commitment, -2.5, 3.5) + p.productivity * productivity
    level += p.firm * spread * np.exp(p.firm_size * (np.clip(log_workers, 0, 6) - 2))
    return np.asarray(level)


def draw_candidates(settings: SimulationSettings, firms: Firms, markets: Markets) -> Candidates:
    """Draw each firm's candidate markets: one, or several by a weighted sample without replacement (Gumbel keys)."""
    p, n = settings.market, len(markets.codes)
    weight = popularity(p, n)
    several = keys.uniform(firms.key, Purpose.MANY_MARKETS) < expit(
        p.many + p.many_commitment * firms.commitment + p.many_size * firms.size
    )
    log_count = p.n_mean + p.n_commitment * firms.commitment + p.n_sd * keys.normal(firms.key, Purpose.N_MARKETS)
    count = np.where(several, np.clip(np.rint(np.exp(log_count)), 2, min(p.n_max, n)), 1).astype(np.int64)
    one = np.searchsorted(np.cumsum(weight), keys.uniform(firms.key, Purpose.ONE_MARKET)).clip(max=n - 1)
    start = np.concatenate([[0], np.cumsum(count)])
    market, core = np.empty(start[-1], np.int16), np.zeros(start[-1], np.bool_)
    core[start[:-1]] = True  # the candidate with the highest key stands first
    market[start[:-1]] = one
    many = np.flatnonzero(several)
    for begin in range(0, len(many), FIRMS_A_BLOCK):
        rows = many[begin : begin + FIRMS_A_BLOCK]
        draw = keys.uniform(keys.pair_keys(settings.seed, firms.id[rows, None], markets.ids), Purpose.CANDIDATE)
        order = np.argsort(np.log(-np.log(draw)) - np.log(weight), axis=1)
        market[ranges(start[rows], start[rows + 1])] = order[np.arange(n) < count[rows, None]]
    firm = np.repeat(np.arange(len(firms), dtype=np.int32), count)
    return Candidates(start, firm, market, core)
