"""Imports and services that go with the goods exports of the worlds, and the rows a trade register would hold.

A firm x market pair has imports and services only in years in which it exports goods, so that "active" means the same
for goods exports, for exports of both kinds and for trade in either direction: statuses that the worlds were tuned on,
and the truth, hold for all of them. Shares and sizes are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.simulation.accounts import FirmBase
from missie_impact.simulation.draws import FilePurpose, draw, draw_normal
from missie_impact.simulation.identities import PART, Identities, firm_number
from missie_impact.simulation.keys import Bools, Floats, Ints, Keys, pair_keys

GOODS_EXPORT, GOODS_IMPORT, SERVICES_EXPORT, SERVICES_IMPORT = range(4)
N_STREAMS = 4
FLOW_NAMES, KIND_NAMES = ("export", "import"), ("goods", "services")
EXPORT_STREAMS = (GOODS_EXPORT, SERVICES_EXPORT)
LARGEST_EUR = 3.5e9
SPLIT_SHARE = 0.35  # of a firm's pairs that stood under the number of its part
CORRECTED_SHARE = 0.002
ESTIMATED_BELOW_EUR = 1_000_000  # a firm's goods flow with the EU in a year; below it the statistical office estimates
EU_SINCE_2004 = (
    *("AT", "BE", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GR", "HU"),
    *("IE", "IT", "LT", "LU", "LV", "MT", "PL", "PT", "SE", "SI", "SK"),
)
EU_SINCE = {**dict.fromkeys(EU_SINCE_2004, 2004), "BG": 2007, "RO": 2007, "HR": 2013}
EU_UNTIL = {"GB": 2020}


@dataclass(frozen=True, slots=True)
class CompanionShape:
    """When a companion stream flows, and how much (all assumed).

    Attributes
    ----------
    constant, workers, group : index per pair: constant, per log worker above 2, for firms that are not independent
    firm_sd, pair_sd, year_sd : spread of the index between firms, pairs and years; the stream flows above zero
    level, level_sd, noise_sd : log value against the pair's goods exports: mean, spread between pairs and between years
    """

    constant: float
    workers: float
    group: float
    level: float
    firm_sd: float = 0.6
    pair_sd: float = 1.0
    year_sd: float = 0.4
    level_sd: float = 0.8
    noise_sd: float = 0.3


_Purposes = tuple[FilePurpose, FilePurpose, FilePurpose, FilePurpose]
SHAPES: dict[int, tuple[CompanionShape, _Purposes]] = {
    GOODS_IMPORT: (
        CompanionShape(-0.6, 0.35, 0.5, -0.6),
        (FilePurpose.IMPORT_FIRM, FilePurpose.IMPORT_PAIR, FilePurpose.IMPORT_YEAR, FilePurpose.IMPORT_VALUE),
    ),
    SERVICES_EXPORT: (
        CompanionShape(-1.4, 0.2, 0.3, -1.2),
        (FilePurpose.SERVICE_FIRM, FilePurpose.SERVICE_PAIR, FilePurpose.SERVICE_YEAR, FilePurpose.SERVICE_VALUE),
    ),
    SERVICES_IMPORT: (
        CompanionShape(-1.8, 0.3, 0.4, -1.5),
        (
            FilePurpose.SERVICE_FIRM,
            FilePurpose.SERVICE_IMPORT_PAIR,
            FilePurpose.SERVICE_IMPORT_YEAR,
            FilePurpose.SERVICE_IMPORT_VALUE,
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class TradeYear:
    """Trade of one year, one row per pair that exports goods, sorted by firm and market.

    Attributes
    ----------
    year : the year
    firm, market : (m,) firm of the worlds and position of the market
    keys : (m,) pair keys
    value_eur : (4, m) whole EUR by stream, 0 where nothing flows
    """

    year: int
    firm: Ints
    market: Ints
    keys: Keys
    value_eur: Ints

    def exports_eur(self) -> Ints:
        """Return exports of goods and services, shape (m,)."""
        return np.asarray(self.value_eur[GOODS_EXPORT] + self.value_eur[SERVICES_EXPORT])


def trade_year(
    base: FirmBase, seed: int, market_ids: Ints, year: int, pairs: tuple[Ints, Ints, Floats], companions: bool
) -> TradeYear:
    """Draw the companions of one year's goods exports.

    Parameters
    ----------
    market_ids : number of each market's code, which keys follow
    pairs : firm, market and goods exports in EUR of the pairs that trade, sorted by firm and market
    companions : draw imports and services; otherwise goods exports only
    """
    firm, market, goods = pairs
    keys = pair_keys(seed, firm, market_ids[market])
    value = np.zeros((N_STREAMS, len(firm)), dtype=np.int64)
    value[GOODS_EXPORT] = np.maximum(np.rint(goods), 1)
    if companions:
        workers = base.workers[year - base.first_year][firm].astype(np.float64)
        group = ~base.independent[firm]
        for stream, (shape, purposes) in SHAPES.items():
            for_firm, for_pair, for_year, for_value = purposes
            index = shape.constant + shape.workers * (workers - 2) + shape.group * group
            index += shape.firm_sd * draw_normal(base.keys, for_firm)[firm]
            index += shape.pair_sd * draw_normal(keys, for_pair) + shape.year_sd * draw_normal(keys, for_year, year)
            on = np.flatnonzero(index > 0)
            log_ratio = shape.level + shape.level_sd * draw_normal(keys[on], for_value)
            log_ratio += shape.noise_sd * draw_normal(keys[on], for_value, year)
            amount = np.minimum(goods[on] * np.exp(log_ratio), LARGEST_EUR)
            value[stream, on] = np.maximum(np.rint(amount), 1)
    return TradeYear(year, firm, market, keys, value)


def trade_rows(trade: TradeYear, identities: Identities, codes: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows of the register in one year: firm, market, flow, kind (codes), year, value_eur, estimated.

    Corrections are rows of their own with a negative value; with their first entry they sum to the value of the worlds.
    """
    known = identities.delivered(trade.firm, trade.year)
    part = identities.split(trade.firm, trade.year)
    number = identities.number(trade.firm, trade.year)
    if part.any():
        part &= draw(trade.keys, FilePurpose.SPLIT_PAIR) < SPLIT_SHARE
        number = np.where(part, firm_number(trade.firm, PART), number)
    in_eu = eu_members(codes, trade.year)[trade.market]
    pieces = []
    for stream in range(N_STREAMS):
        rows = np.flatnonzero((trade.value_eur[stream] > 0) & known)
        value = trade.value_eur[stream, rows]
        estimated = np.zeros(len(rows), dtype=bool)
        if stream in (GOODS_EXPORT, GOODS_IMPORT):
            estimated = _estimated(trade.firm[rows], value, in_eu[rows])
        piece = _stream_rows(trade, rows, stream, value)
        piece["firm"], piece["estimated"] = number[rows], estimated
        pieces.append(piece)
        if stream == GOODS_EXPORT:
            pieces.append(_correct(piece, trade.keys[rows], trade.year))
    return pd.concat(pieces, ignore_index=True).sort_values(
        ["firm", "market", "flow", "kind", "value_eur"], ignore_index=True
    )


def eu_members(codes: tuple[str, ...], year: int) -> Bools:
    """Tell which markets are in the European Union in a year."""
    return np.array([EU_SINCE.get(c, 9999) <= year <= EU_UNTIL.get(c, 9999) for c in codes], dtype=bool)


def _stream_rows(trade: TradeYear, rows: Ints, stream: int, value: Ints) -> pd.DataFrame:
    flow, kind = (np.int8(stream in (GOODS_IMPORT, SERVICES_IMPORT)), np.int8(stream >= SERVICES_EXPORT))
    return pd.DataFrame(
        {
            "firm": trade.firm[rows],
            "market": trade.market[rows].astype(np.int16),
            "year": np.full(len(rows), trade.year, dtype=np.int32),
            "flow": np.full(len(rows), flow),
            "kind": np.full(len(rows), kind),
            "value_eur": value,
        }
    )


def _estimated(firm: Ints, value: Ints, in_eu: Bools) -> Bools:
    """Tell which rows are estimated: trade with the EU of firms below the threshold for their own report."""
    total = np.bincount(firm, value * in_eu, minlength=int(firm.max(initial=0)) + 1)
    return np.asarray(in_eu & (total[firm] < ESTIMATED_BELOW_EUR))


def _correct(piece: pd.DataFrame, keys: Keys, year: int) -> pd.DataFrame:
    """Raise some rows of ``piece`` and return the negative rows that take the excess back."""
    chosen = np.flatnonzero(draw(keys, FilePurpose.CORRECTION, year) < CORRECTED_SHARE)
    rows = piece.iloc[chosen].copy()
    share = 0.01 + 0.3 * draw(keys[chosen], FilePurpose.CORRECTION_SIZE, year)
    excess: NDArray[np.int64] = np.maximum(np.rint(share * rows["value_eur"].to_numpy()), 1).astype(np.int64)
    values = piece["value_eur"].to_numpy().copy()
    values[chosen] += excess
    piece["value_eur"] = values
    rows["value_eur"] = -excess
    return rows
