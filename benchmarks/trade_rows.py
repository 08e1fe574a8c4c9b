"""Register files for the benchmarks: 13 million sparse trade rows of 300 thousand firms over 15 years.

Not the calibrated simulation: only size, sparseness and the length of gaps matter here. Written once as Parquet
with a study.toml beside it, and reused while the settings agree.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FIRST_YEAR = 2004
LARGE_MARKETS = ("BE", "DE", "FR", "GB", "US", "IT", "ES", "PL", "SE", "CN", "DK", "AT", "CH", "TR", "NO", "CZ", "RU")


@dataclass(frozen=True, slots=True)
class Size:
    """How much to draw; the defaults give 3.0 million pairs and 13.3 million trade rows."""

    firms: int = 300_000
    years: int = 15
    pairs_per_firm: float = 18.5
    missions: int = 64_000
    seed: int = 1


def write_files(folder: Path, size: Size) -> Path:
    """Write the register files and return the path of their study.toml."""
    manifest = folder / "size.json"
    study = folder / "study.toml"
    if manifest.exists() and json.loads(manifest.read_text()) == asdict(size):
        return study
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(size.seed)
    founded, ended = lives(random, size)
    firm, market = pairs(random, size)
    trade = trade_rows(random, size, firm, market, founded, ended)
    trade.to_parquet(folder / "trade.parquet", index=False)
    firm_years(size, founded, ended).to_parquet(folder / "firms.parquet", index=False)
    participations, links = missions(random, size, trade)
    participations.to_csv(folder / "participations.csv", index=False)
    links.to_csv(folder / "links.csv", index=False)
    study.write_text(STUDY.format(first=FIRST_YEAR, last=FIRST_YEAR + size.years - 1), encoding="utf-8")
    manifest.write_text(json.dumps(asdict(size)))
    return study


def lives(random: np.random.Generator, size: Size) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First year in the register, and first year no longer in it (9999 while alive), per firm."""
    founded = random.integers(FIRST_YEAR - 40, FIRST_YEAR + size.years - 2, size.firms, dtype=np.int32)
    ended = np.maximum(founded, FIRST_YEAR) + random.geometric(0.03, size.firms).astype(np.int32) + 1
    return founded, np.where(ended < FIRST_YEAR + size.years, ended, 9999).astype(np.int32)


def pairs(random: np.random.Generator, size: Size) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """Firm and market (index) of each pair; few firms trade with many markets, nearby markets are drawn more."""
    codes = market_codes()
    wanted = np.minimum(random.lognormal(np.log(size.pairs_per_firm) - 0.98, 1.4, size.firms).astype(int) + 1, 120)
    popularity = 1 / np.arange(1, len(codes) + 1) ** 0.6
    firm = np.repeat(np.arange(size.firms), wanted)
    market = random.choice(len(codes), len(firm), p=popularity / popularity.sum())
    pair = np.unique(firm * len(codes) + market)
    return (pair // len(codes)).astype(np.int32), (pair % len(codes)).astype(np.int16)


def trade_rows(
    random: np.random.Generator,
    size: Size,
    firm: NDArray[np.int32],
    market: NDArray[np.int16],
    founded: NDArray[np.int32],
    ended: NDArray[np.int32],
) -> pd.DataFrame:
    """One row per pair and active year: activity lasts, comes back after gaps, and ends with the firm."""
    names = np.array(market_codes())
    active = random.random(len(firm)) < 0.25
    parts = []
    for year in range(FIRST_YEAR, FIRST_YEAR + size.years):
        active = random.random(len(firm)) < np.where(active, 0.72, 0.115)
        active &= (founded[firm] <= year) & (year < ended[firm])
        rows = np.flatnonzero(active)
        value = np.round(random.lognormal(10, 2, len(rows)), 2) + 0.01
        parts.append(pd.DataFrame({"firm": firm[rows], "market": market[rows], "year": year, "value_eur": value}))
    trade = pd.concat(parts, ignore_index=True)
    trade = trade.iloc[random.permutation(len(trade))].reset_index(drop=True)  # a register is not sorted for us
    return trade.assign(
        firm=trade["firm"].astype("int64"),
        market=pd.Categorical.from_codes(trade["market"], names).astype(str),
        year=trade["year"].astype("int32"),
    )


def firm_years(size: Size, founded: NDArray[np.int32], ended: NDArray[np.int32]) -> pd.DataFrame:
    """The firm register: one row per firm and year it lives."""
    parts = []
    for year in range(FIRST_YEAR, FIRST_YEAR + size.years):
        firm = np.flatnonzero((founded <= year) & (year < ended))
        parts.append(pd.DataFrame({"firm": firm, "year": np.int32(year), "workers": 1.0 + firm % 400}))
    table = pd.concat(parts, ignore_index=True)
    firm = table["firm"].to_numpy()
    left = pd.array(np.where(ended[firm] == 9999, 0, ended[firm]), dtype="Int32")
    left[ended[firm] == 9999] = pd.NA
    return table.assign(founded=founded[firm], ended=left)


def missions(random: np.random.Generator, size: Size, trade: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Participants go to markets they trade with; every firm is its own registration number."""
    taken = trade.iloc[random.choice(len(trade), size.missions, replace=False)]
    number = taken["firm"].astype(str).str.zfill(8)
    participations = pd.DataFrame(
        {
            "kvk": number,
            "market": taken["market"],
            "date": taken["year"].astype(str) + "-06-01",
            "instrument": "mission",
            "mission": taken["year"].astype(str) + "-" + taken["market"],
            "minister_led": True,
            "person": [f"p{i}" for i in range(len(taken))],
            "organisation": "firm",
        }
    )
    firm = np.sort(taken["firm"].unique())
    number = pd.Series(firm).astype(str).str.zfill(8)
    links = pd.DataFrame({"kvk": number, "firm": firm, "valid_from": "1980-01-01", "valid_to": None})
    return participations, links


def market_codes() -> list[str]:
    """Codes of the package's own list of markets, the large ones first."""
    listed = Path(__file__).parents[1] / "src/missie_impact/registers/data/markets.csv"
    codes = pd.read_csv(listed, keep_default_na=False)["market"]  # NA is Namibia
    return [*LARGE_MARKETS, *sorted(set(codes) - set(LARGE_MARKETS))]


STUDY = """[study]
name = "benchmark"
first_year = {first}
last_year = {last}

[files.trade]
path = "trade.parquet"
format = "parquet"
constants = {{ flow = "export", kind = "goods" }}

[files.firms]
path = "firms.parquet"
format = "parquet"

[files.participations]
path = "participations.csv"
format = "csv"

[files.links]
path = "links.csv"
format = "csv"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--firms", type=int, default=Size().firms)
    arguments = parser.parse_args()
    size = Size(firms=arguments.firms, missions=Size().missions * arguments.firms // Size().firms)
    sys.stdout.write(f"{write_files(arguments.folder, size)}\n")


if __name__ == "__main__":
    main()
