"""Marking pairs as treated: effects are fixed at the end of the year before the mission and start after it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .keys import Bools, Ints
from .markets import Markets
from .parameters import EffectParameters, SimulationSettings
from .population import Firms
from .trade import NEVER, YEARS_ACTIVE, Pairs, make_pairs


def find_pairs(
    settings: SimulationSettings, firms: Firms, markets: Markets, pairs: Pairs, wanted: tuple[Ints, Ints], year: int
) -> tuple[Pairs, Ints]:
    """Rows of the wanted (firm, market) pairs; those that are no candidates are added behind the others."""
    n = len(markets.codes)
    want, back = np.unique(wanted[0].astype(np.int64) * n + wanted[1], return_inverse=True)
    asked = np.zeros(n, np.bool_)
    asked[wanted[1]] = True
    rows = np.flatnonzero(asked[pairs.market])
    code = pairs.firm[rows].astype(np.int64) * n + pairs.market[rows]
    order = np.argsort(code)
    code, rows = np.append(code[order], np.iinfo(np.int64).max), np.append(rows[order], -1)
    place = np.searchsorted(code, want)
    found = np.where(code[place] == want, rows[place], -1)
    new = np.flatnonzero(found < 0)
    if len(new):
        firm, market = np.divmod(want[new], n)
        found[new] = len(pairs) + np.arange(len(new))
        fresh = make_pairs(settings, firms, markets, firm.astype(np.int32), market.astype(np.int16), None, year)
        pairs = pairs.join(fresh)
    return pairs, found[back]


def treat(effects: EffectParameters, pairs: Pairs, rows: Ints, year: int, traits: tuple[Bools, Bools, Ints]) -> None:
    """Start the effects of a mission in ``year`` on these pairs.

    ``traits`` are, by row: the firm was incidental at t-1, it was an independent SME, the country group of the host.
    To be called when the pairs' clocks have moved on to ``year``, so that bit 1 of the history is t-1.
    """
    incidental, sme, group = traits
    past = pairs.history[rows] >> 1
    structural = (YEARS_ACTIVE[past & 15] >= 3) & ((past & 1) == 1)
    stays, enters = year + effects.stay_years, year + effects.entry_years
    _extend(pairs.stay_until, rows, np.where(incidental, stays, NEVER))
    _extend(pairs.exit_until, rows, np.where(structural, stays, NEVER))
    _extend(pairs.growth_until, rows, np.full(len(rows), year + effects.growth_years))
    running = pairs.entry_until[rows] > year  # an earlier mission's hazards never fall by a later one
    size = np.where(sme, 0, 1)
    entry = np.where((past & 3) == 0, np.array(effects.entry)[size, group], 0.0)
    invest = np.where((pairs.affiliate_history[rows] >> 1) == 0, np.array(effects.affiliate)[size, group], 0.0)
    pairs.entry_hazard[rows] = np.maximum(entry, np.where(running, pairs.entry_hazard[rows], 0.0))
    pairs.affiliate_hazard[rows] = np.maximum(invest, np.where(running, pairs.affiliate_hazard[rows], 0.0))
    _extend(pairs.entry_until, rows, np.full(len(rows), enters))
    pairs.mission[rows] = year


def spill(effects: EffectParameters, pairs: Pairs, rows: Ints, year: int, incidental: Bools) -> None:
    """Start the spill-over of a firm's mission on its pairs in other markets; ``incidental`` is by row."""
    past = pairs.history[rows] >> 1
    structural = (YEARS_ACTIVE[past & 15] >= 3) & ((past & 1) == 1)
    _extend(pairs.stay_spill_until, rows, np.where(incidental, year + effects.stay_years, NEVER))
    _extend(pairs.exit_spill_until, rows, np.where(structural, year + effects.stay_years, NEVER))
    _extend(pairs.growth_spill_until, rows, np.full(len(rows), year + effects.growth_years))


def _extend(until: NDArray[np.int16], rows: Ints, to: NDArray[np.generic]) -> None:
    until[rows] = np.maximum(until[rows], to.astype(np.int16))
