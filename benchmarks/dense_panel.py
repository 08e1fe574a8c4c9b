"""The tuned pandas way: every firm x market x year written out, lags by group, spells by cumulated starts.

Written as an expert would who has memory in mind (`usual_panel` is the usual way): narrow types, one sort, groupby
shifts instead of merges with oneself, columns dropped when they have served. The rules are those of the library's
defaults: window of 4 years, structural from 3, a gap of 2 years ends a spell, exits of the last year undecided, a
firm's death is no exit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

WINDOW, MIN_YEARS, GAP = 4, 3, 2
PAIR = ["firm", "market"]


@dataclass(frozen=True, slots=True)
class DensePanel:
    """The same tables that the library makes."""

    firm_trade: pd.DataFrame
    spells: pd.DataFrame
    status: pd.DataFrame
    exits: pd.DataFrame


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the files into narrow frames."""
    trade = pd.read_parquet(folder / "trade.parquet")
    firms = pd.read_parquet(folder / "firms.parquet", columns=["firm", "year", "ended"])
    participations = pd.read_csv(
        folder / "participations.csv", usecols=["kvk", "market", "date"], dtype=str, keep_default_na=False
    )  # NA is Namibia
    links = pd.read_csv(folder / "links.csv", usecols=["kvk", "firm"], dtype={"kvk": str})
    missions = participations.merge(links, on="kvk").assign(year=lambda m: m["date"].str[:4].astype("int16"))
    return {
        "trade": trade.astype({"firm": "int32", "market": "category", "year": "int16"}),
        "life": firms.groupby("firm", as_index=False)["ended"].max().astype({"firm": "int32", "ended": "float32"}),
        "missions": missions[["firm", "market", "year"]].astype({"firm": "int32"}),
    }


def build(tables: dict[str, pd.DataFrame], first_year: int, last_year: int) -> DensePanel:
    """Make the grid, then spells, status and the exit risk set from it."""
    grid, keys = _grid(tables["trade"], first_year, last_year)
    _add_windows(grid, first_year)
    _add_spells(grid)
    firm_trade = _firm_trade(grid, keys)
    active = grid[grid["active"] == 1].drop(columns="active").reset_index(drop=True)
    del grid
    active = active.join(keys, on="pair").merge(tables["life"], on="firm", how="left")
    active["reason"] = _reason(active, last_year)
    return DensePanel(
        firm_trade=firm_trade,
        spells=_spell_table(active, first_year),
        status=_status(active),
        exits=_exits(active, tables, first_year, last_year),
    )


def _grid(trade: pd.DataFrame, first_year: int, last_year: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pair x year, every year written out; and the firm and market of each pair."""
    summed = trade.groupby([*PAIR, "year"], observed=True, as_index=False)["value_eur"].sum()
    summed = summed[summed["value_eur"] > 0]
    keys = summed[PAIR].drop_duplicates().sort_values(PAIR, ignore_index=True)
    keys["pair"] = np.arange(len(keys), dtype="int32")
    cells = summed.merge(keys, on=PAIR)[["pair", "year", "value_eur"]]
    years = np.arange(first_year, last_year + 1, dtype="int16")
    grid = pd.DataFrame({"pair": np.repeat(keys["pair"].to_numpy(), len(years)), "year": np.tile(years, len(keys))})
    grid = grid.merge(cells, on=["pair", "year"], how="left")
    grid["exports_eur"] = grid.pop("value_eur").fillna(0)
    grid["active"] = (grid["exports_eur"] > 0).astype("int8")
    return grid, keys.set_index("pair")


def _firm_trade(grid: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """Exports and number of markets per firm and year."""
    firm = keys["firm"].to_numpy()[grid["pair"].to_numpy()]
    totals = grid.groupby([pd.Series(firm, name="firm"), "year"], as_index=False, sort=False)
    table = totals.agg(exports_eur=("exports_eur", "sum"), export_markets=("active", "sum"))
    return table[table["export_markets"] > 0]


def _add_windows(grid: pd.DataFrame, first_year: int) -> None:
    """Years active in the window, the pattern of the window, and whether the window lies in the data."""
    by_pair = grid.groupby("pair", sort=False)["active"]
    grid["active_years"] = grid["active"]
    grid["pattern"] = grid["active"]
    for lag in range(1, WINDOW):
        lagged = by_pair.shift(lag, fill_value=0)
        grid["active_years"] += lagged
        grid["pattern"] += lagged * np.int8(2**lag)
    grid["window_seen"] = grid["year"] - first_year + 1 >= WINDOW


def _add_spells(grid: pd.DataFrame) -> None:
    """Number and first year of the spell, and whether this is its last active year."""
    by_pair = grid.groupby("pair", sort=False)["active"]
    idle_before = sum(by_pair.shift(lag, fill_value=0) for lag in range(1, GAP + 1)) == 0
    idle_after = sum(by_pair.shift(-lead, fill_value=0) for lead in range(1, GAP + 1)) == 0
    starts = (grid["active"] == 1) & idle_before
    grid["last"] = (grid["active"] == 1) & idle_after
    grid["spell"] = starts.astype("int8").groupby(grid["pair"], sort=False).cumsum().astype("int8")
    begin = grid["year"].where(starts, 0).astype("int16")
    grid["begin"] = begin.groupby(grid["pair"], sort=False).cummax()


def _reason(active: pd.DataFrame, last_year: int) -> pd.Categorical:
    """Why a spell would end after this year."""
    decided = active["year"] + GAP
    code = np.where(decided > last_year, 0, np.where(active["ended"] <= decided, 1, 2))
    return pd.Categorical.from_codes(code, ["open", "death", "exit"])


def _spell_table(active: pd.DataFrame, first_year: int) -> pd.DataFrame:
    runs = active.groupby([*PAIR, "spell"], observed=True, as_index=False).agg(
        begin=("year", "min"), end=("year", "max"), active_years=("year", "size")
    )
    ends = active.loc[active["last"], [*PAIR, "spell", "reason"]].rename(columns={"reason": "end_reason"})
    runs = runs.merge(ends, on=[*PAIR, "spell"], how="left")
    runs["length"] = runs["end"] - runs["begin"] + 1
    runs["origin_seen"] = runs["begin"] - first_year >= GAP
    return runs


def _status(active: pd.DataFrame) -> pd.DataFrame:
    table = active[[*PAIR, "year", "active_years", "window_seen"]].copy()
    table["structural"] = (table["active_years"] >= MIN_YEARS) & table["window_seen"]
    return table


def _exits(active: pd.DataFrame, tables: dict[str, pd.DataFrame], first_year: int, last_year: int) -> pd.DataFrame:
    """Structural pairs at risk in the year after each active year; no duration where the begin was not seen."""
    structural = (active["active_years"] >= MIN_YEARS) & active["window_seen"]
    rows = active[structural & (active["year"] + GAP <= last_year)]
    first = tables["missions"].groupby(PAIR, as_index=False)["year"].min().rename(columns={"year": "first_mission"})
    rows = rows.astype({"market": str}).merge(first, on=PAIR, how="left")
    return pd.DataFrame(
        {
            "firm": rows["firm"],
            "market": rows["market"],
            "year": rows["year"] + 1,
            "duration": (rows["year"] + 1 - rows["begin"]).astype("Int16").where(rows["begin"] - first_year >= GAP),
            "outcome": (rows["last"] & (rows["reason"] == "exit")).astype("int8"),
            "treated": (rows["first_mission"] <= rows["year"]).astype("int8"),
        }
    )
