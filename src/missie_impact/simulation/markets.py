"""The markets of the simulation and the fixed calendar of missions."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from .keys import Bools, Floats, Ints, market_ids
from .parameters import MarketParameters

GROUPS = ("OECD", "BRICS", "developing", "other")
BRICS = ("BR", "RU", "IN", "CN", "ZA")  # the five that the published figures are assumed to mean


@dataclass(frozen=True, slots=True)
class Markets:
    """Markets in order of popularity among Dutch exporters.

    Attributes
    ----------
    codes : ISO 3166-1 alpha-2, most popular first; everywhere else a market is its position here
    ids : number of each code, the one the random numbers are keyed by
    neighbours : (markets, markets) land or sea neighbours
    groups : (years, markets) position in ``GROUPS`` by year from ``groups_from``
    """

    codes: tuple[str, ...]
    ids: Ints
    neighbours: Bools
    groups: NDArray[np.int8]
    groups_from: int

    def group(self, year: int) -> NDArray[np.int8]:
        """Country group of each market in a year."""
        return np.asarray(self.groups[year - self.groups_from], dtype=np.int8)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Missions led by a minister or state secretary, by date; a setting, the same for every seed.

    Attributes
    ----------
    mission : names, ``year-number``
    date : dates
    year, month, market : (missions,) market as position in ``Markets.codes``
    expected_size : expected number of firms at national scale
    """

    mission: tuple[str, ...]
    date: NDArray[np.datetime64]
    year: Ints
    month: Ints
    market: Ints
    expected_size: Floats

    def of(self, year: int) -> Ints:
        """Positions of the missions of a year, in order of date."""
        return np.flatnonzero(self.year == year)

    def only(self, years: tuple[int, ...]) -> Calendar:
        """Return the missions of some years only."""
        keep = np.flatnonzero(np.isin(self.year, years))
        names = tuple(self.mission[i] for i in keep)
        return Calendar(
            names, self.date[keep], self.year[keep], self.month[keep], self.market[keep], self.expected_size[keep]
        )


def _rows(*path: str) -> list[dict[str, str]]:
    place = files("missie_impact")
    for part in path:
        place = place / part
    return list(csv.DictReader(place.read_text(encoding="utf-8").splitlines()))


@cache
def load_markets() -> Markets:
    """Read the popularity order and the lists of the registers.

    The country group of a market in a year is OECD (member that year), else BRICS, else developing (on the OECD-DAC
    list that year), else other.
    """
    codes = tuple(row["market"] for row in _rows("simulation", "data", "popularity.csv"))
    position = {code: i for i, code in enumerate(codes)}
    neighbours = np.zeros((len(codes), len(codes)), dtype=np.bool_)
    for row in _rows("registers", "data", "neighbours.csv"):
        if row["market"] in position and row["neighbour"] in position:
            neighbours[position[row["market"]], position[row["neighbour"]]] = True
    first, last = 1990, 2040
    member = np.zeros((3, last - first + 1, len(codes)), dtype=np.bool_)
    for row in _rows("registers", "data", "memberships.csv"):
        kind = {"OECD": 0, "BRICS": 1, "DAC": 2}.get(row["list"])
        code = row["market"]
        if kind is None or code not in position or (kind == 1 and code not in BRICS):
            continue
        start, stop = int(row["from_year"]) - first, int(row["to_year"] or last) - first
        member[kind, max(start, 0) : stop + 1, position[code]] = True
    groups = np.select([member[0], member[1], member[2]], [0, 1, 2], 3).astype(np.int8)
    return Markets(codes, market_ids(codes), neighbours, groups, first)


@cache
def load_calendar() -> Calendar:
    """Read the calendar: 192 missions over 2008-2022, and 12 a year over 2005-2007 (dates and hosts assumed)."""
    rows = _rows("simulation", "data", "calendar.csv")
    position = {code: i for i, code in enumerate(load_markets().codes)}
    date = np.array([row["date"] for row in rows], dtype="datetime64[D]")
    return Calendar(
        mission=tuple(row["mission"] for row in rows),
        date=date,
        year=date.astype("datetime64[Y]").astype(np.int64) + 1970,
        month=date.astype("datetime64[M]").astype(np.int64) % 12 + 1,
        market=np.array([position[row["market"]] for row in rows], dtype=np.int64),
        expected_size=np.array([float(row["expected_size"]) for row in rows]),
    )


def popularity(p: MarketParameters, n_markets: int) -> Floats:
    """Weight of each market by rank, adding up to one."""
    rank = np.arange(1, n_markets + 1)
    weight = (rank > 2) * (rank + p.shift) ** -p.power * np.exp(-rank / p.scale)
    weight[12] *= p.rank_13
    weight *= p.rest / weight.sum()
    weight[:2] = p.first, p.second
    return np.asarray(weight / weight.sum(), dtype=np.float64)
