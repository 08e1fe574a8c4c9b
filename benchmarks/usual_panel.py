"""The panel as it is usually written in pandas: unstacked to every year, lags by group, spells numbered by starts.

What the pandas documentation teaches: `groupby().sum()`, `unstack` and `stack`, `groupby().shift`, `cumsum` of starts,
`ffill`, `merge` (lags are summed, since `groupby().rolling()` is slower). All of it vectorised, with the types pandas
gives of itself. `dense_panel` is the same work tuned by hand; both give the same tables.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dense_panel import GAP, MIN_YEARS, PAIR, WINDOW, DensePanel


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the files as they are."""
    firms = pd.read_parquet(folder / "firms.parquet", columns=["firm", "year", "ended"])
    participations = pd.read_csv(folder / "participations.csv", dtype={"kvk": str}, keep_default_na=False)
    links = pd.read_csv(folder / "links.csv", dtype={"kvk": str})
    missions = participations.merge(links, on="kvk")
    missions["year"] = pd.to_datetime(missions["date"]).dt.year
    return {
        "trade": pd.read_parquet(folder / "trade.parquet"),
        "life": firms.groupby("firm", as_index=False)["ended"].max(),
        "missions": missions[[*PAIR, "year"]],
    }


def build(tables: dict[str, pd.DataFrame], first_year: int, last_year: int) -> DensePanel:
    """Make the grid, then spells, status and the exit risk set from it."""
    grid = _grid(tables["trade"], first_year, last_year)
    grid = _with_windows(grid, first_year)
    grid = _with_spells(grid)
    traded = grid[grid["active"]]
    firm_trade = traded.groupby(["firm", "year"], as_index=False).agg(
        exports_eur=("exports_eur", "sum"), export_markets=("market", "count")
    )
    active = traded.merge(tables["life"], on="firm", how="left")
    del grid, traded
    decided = active["year"] + GAP
    died = active["ended"] <= decided
    active["reason"] = np.select([decided > last_year, died.fillna(False).astype(bool)], ["open", "death"], "exit")
    structural = (active["active_years"] >= MIN_YEARS) & active["window_seen"]
    return DensePanel(
        firm_trade=firm_trade,
        spells=_spell_table(active, first_year),
        status=active[[*PAIR, "year", "active_years", "window_seen"]].assign(structural=structural),
        exits=_exits(active[structural & (decided <= last_year)], tables["missions"], first_year),
    )


def _grid(trade: pd.DataFrame, first_year: int, last_year: int) -> pd.DataFrame:
    """Every pair in every year, zero where it did not trade."""
    summed = trade.groupby([*PAIR, "year"])["value_eur"].sum()
    wide = summed[summed > 0].unstack("year", fill_value=0.0)
    wide = wide.reindex(columns=pd.RangeIndex(first_year, last_year + 1, name="year"), fill_value=0.0)
    grid = wide.stack().rename("exports_eur").reset_index()
    grid["active"] = grid["exports_eur"] > 0
    return grid


def _with_windows(grid: pd.DataFrame, first_year: int) -> pd.DataFrame:
    """Years active in the window that ends in the year, and whether the window lies in the data."""
    number = grid["active"].astype(int)
    pairs = number.groupby([grid["firm"], grid["market"]])
    grid["active_years"] = number + sum(pairs.shift(lag, fill_value=0) for lag in range(1, WINDOW))
    grid["window_seen"] = grid["year"] - first_year + 1 >= WINDOW
    return grid


def _with_spells(grid: pd.DataFrame) -> pd.DataFrame:
    """Number and first year of the spell, and whether this is its last active year."""
    pairs = grid.groupby(PAIR)["active"]
    before = sum(pairs.shift(lag, fill_value=False).astype(int) for lag in range(1, GAP + 1))
    after = sum(pairs.shift(-lead, fill_value=False).astype(int) for lead in range(1, GAP + 1))
    starts = grid["active"] & (before == 0)
    grid["last"] = grid["active"] & (after == 0)
    grid["spell"] = starts.groupby([grid["firm"], grid["market"]]).cumsum()
    grid["begin"] = grid["year"].where(starts).groupby([grid["firm"], grid["market"]]).ffill()
    return grid


def _spell_table(active: pd.DataFrame, first_year: int) -> pd.DataFrame:
    runs = active.groupby([*PAIR, "spell"], as_index=False).agg(
        begin=("year", "min"), end=("year", "max"), active_years=("year", "count")
    )
    ends = active.loc[active["last"], [*PAIR, "spell", "reason"]].rename(columns={"reason": "end_reason"})
    runs = runs.merge(ends, on=[*PAIR, "spell"], how="left")
    runs["length"] = runs["end"] - runs["begin"] + 1
    runs["origin_seen"] = runs["begin"] - first_year >= GAP
    return runs


def _exits(rows: pd.DataFrame, missions: pd.DataFrame, first_year: int) -> pd.DataFrame:
    """Structural pairs at risk in the year after each active year; no duration where the begin was not seen."""
    first = missions.groupby(PAIR, as_index=False)["year"].min().rename(columns={"year": "first_mission"})
    rows = rows.merge(first, on=PAIR, how="left")
    begin = rows["begin"].astype(int)
    return pd.DataFrame(
        {
            "firm": rows["firm"],
            "market": rows["market"],
            "year": rows["year"] + 1,
            "duration": (rows["year"] + 1 - begin).astype("Int64").where(begin - first_year >= GAP),
            "outcome": (rows["last"] & (rows["reason"] == "exit")).astype(int),
            "treated": (rows["first_mission"] <= rows["year"]).astype(int),
        }
    )
