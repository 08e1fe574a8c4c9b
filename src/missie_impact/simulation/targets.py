"""Published aggregates the simulated registers are tuned to: wanted, attained, tolerance, rank.

Tolerances and ranks are this project's own. Rank 1 must hold in any draw of forty thousand firms or more; lower ranks
give way to higher ones where the published figures cannot all be met. What is not met is shown as not met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .keys import MARKET_CODES, Bools, Ints
from .parameters import FIRMS_NATIONAL
from .worlds import World

SIZES = ("0-10", "10-50", "50-250", "250+")
PATTERNS = ("every year", "consecutive", "on-off", "once")


@dataclass(frozen=True, slots=True)
class Target:
    """A figure the registers should show.

    Attributes
    ----------
    name : what is measured
    low, high : bounds within which it counts as met
    wanted : published value, None where only bounds exist
    rank : 1 (must hold) to 4
    source : where the figure comes from; "assumed" where no Dutch figure exists
    """

    name: str
    low: float
    high: float
    wanted: float | None
    rank: int
    source: str


def _near(name: str, wanted: float, tolerance: float, rank: int, source: str) -> Target:
    return Target(name, wanted - tolerance, wanted + tolerance, wanted, rank, source)


def _rows(
    names: tuple[str, ...], label: str, values: tuple[tuple[float, float], ...], rank: int, source: str
) -> list[Target]:
    return [_near(label.format(n), v, tolerance, rank, source) for n, (v, tolerance) in zip(names, values, strict=True)]


_BY_SIZE, _NINE = "CBS StatLine 2009, goods exporters by size", "CBS, exporters over 2010-2018"
_MISSIONS = "CBS 2024/17"
TARGETS: tuple[Target, ...] = (
    Target("exporters a year", 67_000, 85_000, None, 1, "CBS 2009, 2017, 2018"),
    *_rows(SIZES, "exporters, {} workers", ((0.715, 0.015), (0.21, 0.015), (0.06, 0.008), (0.015, 0.004)), 1, _BY_SIZE),
    *_rows(PATTERNS, "firms exporting {}", ((0.157, 0.015), (0.359, 0.015), (0.226, 0.015), (0.258, 0.015)), 1, _NINE),
    _near("incidental to structural in three years", 1 / 3, 0.025, 1, "CBS 2020-III, services"),
    _near("exporters to one market", 0.75, 0.015, 2, "CBS 2017"),
    _near("exporters to more than 20 markets", 0.04, 0.006, 2, "CBS 2017"),
    _near("Belgium, above EUR 5k", 0.62, 0.03, 2, "CBS 2018"),
    _near("Germany, above EUR 5k", 0.56, 0.035, 2, "CBS 2018"),
    _near("United States, above EUR 5k", 0.13, 0.015, 2, "CBS 2018"),
    Target("rank of China", 24, 30, 27, 2, "CBS 2018"),
    _near("new pairs that trade one more year", 0.52, 0.05, 2, "assumed"),
    Target("new pairs that trade two more years", 0.30, 0.45, None, 2, "assumed"),
    Target("yearly exit of structural pairs", 0.05, 0.10, None, 2, "assumed"),
    _near("starters, share of exporters", 0.21, 0.02, 2, "CBS 2014, starters over exporters"),
    _near("exporters, last five years over first five", 1.0, 0.05, 2, "assumed"),
    _near("mission pairs 2008-2022", 9_100, 700, 1, "192 missions of about 47 firms"),
    Target("mission firms 2008-2022", 4_000, 4_900, None, 1, _MISSIONS),
    _near("independent SME in missions, 2009-2011", 0.63, 0.05, 2, _MISSIONS),
    _near("independent SME in missions, 2020-2022", 0.75, 0.05, 2, _MISSIONS),
    Target("incidental exporters, 50-250 workers", 0.0, 0.20, None, 2, "CBS, largest SME class"),
    _near("value share of the top 1%", 0.72, 0.03, 3, "CBS 2017"),
    _near("mean exports, EUR m", 6.24, 1.0, 3, "CBS 2017"),
    *_rows(
        PATTERNS,
        "value of firms exporting {}",
        ((0.778, 0.04), (0.194, 0.04), (0.024, 0.015), (0.004, 0.004)),
        3,
        _NINE,
    ),
    *_rows(SIZES, "value, {} workers", ((0.133, 0.04), (0.162, 0.04), (0.327, 0.06), (0.379, 0.06)), 3, _BY_SIZE),
    Target("incidental exporters, 0-10 workers", 0.50, 1.0, None, 4, "CBS, smallest class"),
    _near("exporters below EUR 5k", 0.24, 0.06, 4, "derived"),
    _near("incidental exporters below EUR 5k", 0.60, 0.08, 4, "CBS, starters"),
)


@dataclass(frozen=True, slots=True)
class _Sums:
    """The register by firm and by pair; bit j of a history is year j of the register."""

    value: NDArray[np.float32]  # (years, firms) EUR
    markets: NDArray[np.int16]  # (years, firms)
    size: NDArray[np.int8]  # (years, firms) position in SIZES
    pair_firm: Ints
    pair_bits: NDArray[np.uint32]


def _sums(world: World) -> _Sums:
    n, first = len(world.firms), int(world.years[0])
    value = np.zeros((len(world.years), n), np.float32)
    markets = np.zeros((len(world.years), n), np.int16)
    edges = np.searchsorted(world.trade_year, [*world.years, world.years[-1] + 1])
    for j, (start, stop) in enumerate(pairwise(edges)):
        firm = world.trade_firm[start:stop]
        value[j] = np.bincount(firm, world.value_eur[start:stop], n)
        markets[j] = np.bincount(firm, minlength=n)
    code = world.trade_firm.astype(np.int64) * MARKET_CODES + world.trade_market
    pair, back = np.unique(code, return_inverse=True)
    bits = np.bincount(back, 2.0 ** (world.trade_year - first), len(pair)).astype(np.uint32)
    size = np.digitize(world.log_workers, np.log([10, 50, 250])).astype(np.int8)
    return _Sums(value, markets, size, pair // MARKET_CODES, bits)


def attained(world: World) -> dict[str, float]:
    """Measure every target on a world, goods exports; counts are scaled to the national number of firms."""
    s = _sums(world)
    parts = (_sizes(s), _patterns(world, s), _destinations(world, s), _status(s), _pairs(world, s), _missions(world))
    out = {name: value for part in parts for name, value in part.items()}
    scale = FIRMS_NATIONAL / len(world.firms)
    active = (s.value > 0).sum(1)
    out["exporters a year"] = float(active.mean()) * scale
    out["exporters, last five years over first five"] = float(active[-5:].sum() / active[:5].sum())
    return out


def _sizes(s: _Sums) -> dict[str, float]:
    active = s.value[1:] > 0
    size, value, markets = s.size[1:][active], s.value[1:][active].astype(np.float64), s.markets[1:][active]
    tops = [np.sort(v[v > 0])[::-1].astype(np.float64) for v in s.value[1:]]
    out = {
        "exporters to one market": float((markets == 1).mean()),
        "exporters to more than 20 markets": float((markets > 20).mean()),
        "mean exports, EUR m": float(value.mean()) / 1e6,
        "exporters below EUR 5k": float((value < 5000).mean()),
        "value share of the top 1%": float(np.mean([v[: max(1, len(v) // 100)].sum() / v.sum() for v in tops])),
    }
    for i, name in enumerate(SIZES):
        out[f"exporters, {name} workers"] = float((size == i).mean())
        out[f"value, {name} workers"] = float(value[size == i].sum() / value.sum())
    return out


def _patterns(world: World, s: _Sums) -> dict[str, float]:
    """Patterns over 2010-2018 of all firms that exported in one of those years."""
    window = np.flatnonzero((world.years >= 2010) & (world.years <= 2018))
    active, value = s.value[window] > 0, s.value[window].astype(np.float64).sum(0)
    years = active.sum(0)
    starts = active[0] + (active[1:] & ~active[:-1]).sum(0)
    kind = np.select([years == len(window), years == 1, starts == 1], [0, 3, 1], 2)
    some, out = years > 0, {}
    for i, name in enumerate(PATTERNS):
        out[f"firms exporting {name}"] = float((kind[some] == i).mean())
        out[f"value of firms exporting {name}"] = float(value[some & (kind == i)].sum() / value[some].sum())
    return out


def _destinations(world: World, s: _Sums) -> dict[str, float]:
    """Destinations in 2018 of exporters with pairs above EUR 5 thousand."""
    rows = (world.trade_year == 2018) & (world.value_eur > 5000)
    exporters = len(np.unique(world.trade_firm[rows]))
    firms = np.bincount(world.trade_market[rows], minlength=len(world.markets.codes))
    position = {code: i for i, code in enumerate(world.markets.codes)}
    names = {"Belgium": "BE", "Germany": "DE", "United States": "US"}
    out = {f"{name}, above EUR 5k": firms[position[code]] / exporters for name, code in names.items()}
    return {k: float(v) for k, v in out.items()} | {"rank of China": float((firms > firms[position["CN"]]).sum() + 1)}


def _status(s: _Sums) -> dict[str, float]:
    """Incidental exporters: active in a year, and in fewer than three of the four years that end with it."""
    active = s.value > 0
    last = len(active)
    share: dict[str, list[float]] = {name: [] for name in ("0-10", "50-250", "small", "next", "starters")}
    for j in range(4, last - 4):
        incidental = active[j] & (active[j - 3 : j + 1].sum(0) < 3)
        for name, i in (("0-10", 0), ("50-250", 2)):
            share[name].append(float(incidental[active[j] & (s.size[j] == i)].mean()))
        share["small"].append(float((s.value[j][incidental] < 5000).mean()))
        share["next"].append(float((active[j : j + 4].sum(0) >= 3)[incidental].mean()))
    for j in range(2, last):
        share["starters"].append(float((active[j] & ~active[j - 1] & ~active[j - 2]).sum() / active[j].sum()))
    return {
        "incidental exporters, 0-10 workers": float(np.mean(share["0-10"])),
        "incidental exporters, 50-250 workers": float(np.mean(share["50-250"])),
        "incidental exporters below EUR 5k": float(np.mean(share["small"])),
        "incidental to structural in three years": float(np.mean(share["next"])),
        "starters, share of exporters": float(np.mean(share["starters"])),
    }


def _pairs(world: World, s: _Sums) -> dict[str, float]:
    def on(j: int) -> Bools:
        return np.asarray((s.pair_bits >> np.uint32(j)) & np.uint32(1), dtype=np.bool_)

    last = len(world.years)
    once, twice, at_risk, exits = [], [], 0, 0
    for j in range(2, last - 2):
        new = on(j) & ~on(j - 1) & ~on(j - 2)
        once.append(on(j + 1)[new].mean())
        twice.append((on(j + 1) & on(j + 2))[new].mean())
    for j in range(4, last - 1):
        years = sum(on(j - k).astype(np.int8) for k in range(1, 5))
        alive = world.alive(int(world.years[j])) & world.alive(int(world.years[j + 1]))
        risk = on(j - 1) & (years >= 3) & alive[s.pair_firm]
        at_risk += int(risk.sum())
        exits += int((risk & ~on(j) & ~on(j + 1)).sum())
    return {
        "new pairs that trade one more year": float(np.mean(once)),
        "new pairs that trade two more years": float(np.mean(twice)),
        "yearly exit of structural pairs": exits / at_risk,
    }


def _missions(world: World) -> dict[str, float]:
    scale = FIRMS_NATIONAL / len(world.firms)
    year = world.calendar.year[world.goes_mission]
    host = world.calendar.market[world.goes_mission]
    listed = (year >= 2008) & (year <= 2022)
    code = (world.goes_firm * MARKET_CODES + host) * 10_000 + year
    before = world.log_workers[np.maximum(year - 1 - world.years[0], 0), world.goes_firm]
    sme = world.firms.independent[world.goes_firm] & (before < np.log(250))
    share: dict[str, float] = {}
    for a, b in ((2009, 2011), (2020, 2022)):
        rows = (year >= a) & (year <= b)
        share[f"independent SME in missions, {a}-{b}"] = float(sme[rows].mean())
    return share | {
        "mission pairs 2008-2022": len(np.unique(code[listed])) * scale,
        "mission firms 2008-2022": len(np.unique(world.goes_firm[listed])) * scale,
    }


def target_table(world: World) -> pd.DataFrame:
    """Show how far a world meets the published aggregates.

    Returns
    -------
    DataFrame : one row per target: target, wanted, low, high, attained, rank, met, source; firms, goods exports, counts
        scaled to the national number of firms
    """
    found: Mapping[str, float] = attained(world)
    rows = [
        {
            "target": t.name,
            "wanted": np.nan if t.wanted is None else t.wanted,
            "low": t.low,
            "high": t.high,
            "attained": found[t.name],
            "rank": t.rank,
            "met": bool(t.low <= found[t.name] <= t.high),
            "source": t.source,
        }
        for t in TARGETS
    ]
    return pd.DataFrame(rows).sort_values("rank", kind="stable", ignore_index=True)
