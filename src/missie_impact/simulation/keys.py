"""Random numbers keyed by firm, market, year and purpose.

The same (seed, firm, market, year, purpose) gives the same number in every world, whatever else is drawn, so that
two worlds differ by their mechanism only, and a firm or a mission that is added leaves all other draws alone.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
MARKET_CODES = 1024  # above 26 x 26, the number of two-letter codes


class Purpose(IntEnum):
    """What a number is drawn for; never reuse one for another use."""

    SIZE = 1
    PRODUCTIVITY = 2
    GROWTH = 3
    COMMITMENT = 4
    IN_STOCK = 5
    BIRTH = 6
    DEATH = 8
    MANY_MARKETS = 9
    N_MARKETS = 10
    ONE_MARKET = 11
    CANDIDATE = 12
    PAIR_QUALITY = 13
    EXPORT_LEVEL = 14
    PROJECT = 15
    INDEPENDENT = 16
    TRADER = 17
    WORKERS = 20
    ACTIVITY = 21
    VALUE_WALK = 22
    VALUE_NOISE = 23
    WALK_START = 24
    AFFILIATE = 25
    ATTEND = 40
    TRIAL_MISSION = 60
    TRIAL_OTHERS = 61
    TRIAL_SAMPLE = 62


def _mix_int(x: int) -> int:
    x &= MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def _mix(x: Keys) -> Keys:
    """Finaliser of splitmix64: every bit of the input moves every bit of the output."""
    with np.errstate(over="ignore"):
        y = x >> np.uint64(30)
        y ^= x
        y *= np.uint64(0xBF58476D1CE4E5B9)
        y ^= y >> np.uint64(27)
        y *= np.uint64(0x94D049BB133111EB)
        y ^= y >> np.uint64(31)
    return y


def _keys(seed: int, ids: NDArray[np.generic], kind: int) -> Keys:
    offset = np.uint64(_mix_int(seed * GOLDEN + kind))
    with np.errstate(over="ignore"):
        return _mix(np.asarray(ids).astype(np.uint64) * np.uint64(0xD1342543DE82EF95) + offset)


def firm_keys(seed: int, firm: ArrayLike) -> Keys:
    """Keys of firms, shape of ``firm`` (whole numbers from 0)."""
    return _keys(seed, np.asarray(firm), 1)


def pair_keys(seed: int, firm: ArrayLike, market_id: ArrayLike) -> Keys:
    """Keys of firm x market pairs; ``market_id`` follows from the code of the market, not from its rank."""
    return _keys(seed, np.asarray(firm) * MARKET_CODES + np.asarray(market_id), 2)


def market_ids(codes: tuple[str, ...]) -> Ints:
    """Return the number 26 a + b of each two-letter code."""
    return np.array([26 * (ord(c[0]) - 65) + ord(c[1]) - 65 for c in codes], dtype=np.int64)


def uniform(keys: Keys, purpose: Purpose, when: int = 0) -> Floats:
    """Draw a number in (0, 1) per key; ``when`` is the year, or the number of a mission."""
    counter = np.uint64(_mix_int((int(purpose) << 40) + when + 1))
    with np.errstate(over="ignore"):
        bits = _mix(keys + counter)
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(keys: Keys, purpose: Purpose, when: int = 0) -> Floats:
    """Draw a standard normal number per key."""
    return np.asarray(ndtri(uniform(keys, purpose, when)), dtype=np.float64)
