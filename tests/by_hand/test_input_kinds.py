"""The same panel and risk sets from any kind of input, row order and firm ids, and from run to run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from missie_impact import build_panel, entry_risk_set, exit_risk_set, read_registers, transition_risk_set
from missie_impact.registers import Registers

FIRST, LAST = 2004, 2016
FIRMS, MARKETS = 80, ["BE", "DE", "FR", "US", "CN", "KE", "BR", "IN"]
TABLES = ("trade", "firms", "participations", "links", "identity_changes", "affiliates")


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Make a small register with everything in it: gaps, corrections, deaths, renumbered and lost firms."""
    draw = np.random.default_rng(20240617)
    grid = pd.MultiIndex.from_product([range(1, FIRMS + 1), MARKETS, range(FIRST, LAST + 1)]).to_frame(index=False)
    grid.columns = pd.Index(["firm", "market", "year"])
    founded = pd.Series(draw.integers(1995, 2009, FIRMS), index=range(1, FIRMS + 1))
    ended = pd.Series(draw.integers(2009, 2030, FIRMS), index=range(1, FIRMS + 1))
    taste = pd.Series(draw.normal(size=FIRMS), index=range(1, FIRMS + 1))
    inside = (grid["year"] >= grid["firm"].map(founded)) & (grid["year"] < grid["firm"].map(ended))
    likes = grid["firm"].map(taste) + draw.normal(size=len(grid)) + (grid["market"].isin(["BE", "KE"]))
    goods = grid[inside & (likes > 0.4)].assign(flow="export", kind="goods")
    services = grid[inside & (likes > 1.6)].assign(flow="export", kind="services")
    imports = grid[inside & (likes > 1.2)].assign(flow="import", kind="goods")
    trade = pd.concat([goods, services, imports])
    trade = trade.assign(value_eur=np.round(np.exp(draw.normal(8, 2, len(trade))), 2), estimated=False)
    undone = goods.sample(25, random_state=3).assign(value_eur=-1e9, estimated=False)
    years = pd.MultiIndex.from_product([range(1, FIRMS + 1), range(FIRST, LAST + 1)]).to_frame(index=False)
    years.columns = pd.Index(["firm", "year"])
    firms = years[(years["year"] >= years["firm"].map(founded)) & (years["year"] < years["firm"].map(ended))]
    firms = firms.assign(
        group=["g" + str(f) for f in firms["firm"]],
        workers=np.round(np.exp(draw.normal(3, 1.5, len(firms))), 1),
        turnover_eur=np.round(np.exp(draw.normal(14, 1, len(firms))), 2),
        balance_eur=None,
        sector=draw.choice(list("CGHM"), len(firms)),
        region="NL31",
        foreign_controlled=draw.random(len(firms)) < 0.2,
        founded=firms["firm"].map(founded),
        ended=firms["firm"].map(ended.where(ended <= LAST)).astype("Int64"),
        weight=1.0,
    ).sample(frac=0.97, random_state=4)
    seats = pd.DataFrame({"firm": draw.integers(1, FIRMS + 1, 220), "market": draw.choice(MARKETS, 220)})
    went = draw.integers(2005, LAST + 1, 220)
    went = np.minimum(np.maximum(went, seats["firm"].map(founded)), seats["firm"].map(ended) - 1)
    participations = pd.DataFrame(
        {
            "kvk": [f"kvk-{f:03d}" for f in seats["firm"]],
            "market": seats["market"],
            "date": [date(int(y), 5, 1 + i % 28) for i, y in enumerate(went)],
            "instrument": np.where(draw.random(220) < 0.6, "mission", "trade_fair"),
            "mission": [f"{m}-{y}" for m, y in zip(seats["market"], went, strict=True)],
            "minister_led": True,
            "person": [f"p{i}" for i in range(220)],
            "organisation": "firm",
        }
    )
    known = np.arange(1, FIRMS - 2)
    links = pd.DataFrame({"kvk": [f"kvk-{f:03d}" for f in known], "firm": known})
    links = links.assign(valid_from=date(1980, 1, 1), valid_to=date(2050, 1, 1))
    gone = int(ended[ended <= 2014].index[0])
    heir = int(founded.index[-1])
    changes = pd.DataFrame({"old_firm": [gone], "new_firm": [heir], "date": [date(int(ended[gone]), 1, 1)]})
    lost = int(ended[ended <= 2014].index[1])
    more = pd.DataFrame({"old_firm": [lost], "new_firm": [None], "date": [date(int(ended[lost]), 1, 1)]})
    changes = pd.concat([changes.astype({"new_firm": "Int64"}), more.astype({"new_firm": "Int64"})])
    houses = pd.DataFrame({"firm": [1, 1, 2, 5], "market": ["KE", "KE", "US", "DE"], "year": [2011, 2012, 2009, 2013]})
    return {
        "trade": pd.concat([trade, undone]).reset_index(drop=True),
        "firms": firms.drop(columns="balance_eur").reset_index(drop=True),
        "participations": participations,
        "links": links,
        "identity_changes": changes.assign(event="restructuring").reset_index(drop=True),
        "affiliates": houses,
    }


def panel_tables(registers: Registers) -> dict[str, pd.DataFrame]:
    """Bring out the panel: all a risk set is made from."""
    panel = build_panel(registers)
    return {
        "pair_years": panel.collect(panel.pair_years, ["firm", "market", "year"]),
        "firm_years": panel.collect(panel.firm_years, ["firm", "year"]),
        "life": panel.collect(panel.life, ["firm"]),
        "supports": panel.collect(panel.supports, ["firm", "market", "date", "instrument", "mission"]),
        "spells": panel.collect(panel.spells(), ["firm", "market", "begin"]),
        "firm_status": panel.collect(panel.status(level="firm"), ["firm", "year"]),
        "market_status": panel.collect(panel.status(level="market", flow="either"), ["firm", "market", "year"]),
    }


def risk_tables(registers: Registers) -> dict[str, pd.DataFrame]:
    """Bring out the risk sets, all controls of entry with them."""
    panel = build_panel(registers)
    return {
        "transition": transition_risk_set(panel).collect(),
        "trials": exit_risk_set(panel, kind="trials").collect(),
        "exit_spells": exit_risk_set(panel, kind="spells").collect(),
        "entry": entry_risk_set(panel, controls_per_treated=10_000).collect(),
    }


def results(registers: Registers) -> dict[str, pd.DataFrame]:
    """Bring out everything a row of which might depend on the input."""
    found = {**panel_tables(registers), **risk_tables(registers)}
    assert all(len(table) for table in found.values())
    return found


def same(found: dict[str, pd.DataFrame], wanted: dict[str, pd.DataFrame]) -> None:
    assert found
    for name, table in ((k, wanted[k]) for k in found):
        # Logarithms of sums may differ in the last digit (order of summation); everything else is equal.
        pd.testing.assert_frame_equal(found[name], table, check_exact=False, rtol=1e-12, obj=name)


@pytest.fixture(scope="module")
def wanted(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    before = {name: table.copy(deep=True) for name, table in tables.items()}
    with Registers.from_frames(**tables, first_year=FIRST, last_year=LAST) as registers:
        found = results(registers)
    for name, table in before.items():
        pd.testing.assert_frame_equal(tables[name], table)  # input frames are left as they were
    return found


def as_polars(table: pd.DataFrame) -> Any:
    return pytest.importorskip("polars").from_pandas(table)


def as_arrow(table: pd.DataFrame) -> Any:
    return pytest.importorskip("pyarrow").Table.from_pandas(table, preserve_index=False)


def as_narwhals(table: pd.DataFrame) -> Any:
    return pytest.importorskip("narwhals").from_native(table)


def shuffled(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=1.0, random_state=11)


def backwards(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[::-1].reset_index(drop=True)


@pytest.mark.parametrize("turn", [as_polars, as_arrow, as_narwhals, backwards])
def test_kind_and_order_of_frames_do_not_matter(
    tables: dict[str, pd.DataFrame], wanted: dict[str, pd.DataFrame], turn: Callable[[pd.DataFrame], Any]
) -> None:
    turned = {name: turn(table) for name, table in tables.items()}
    with Registers.from_frames(**turned, first_year=FIRST, last_year=LAST) as registers:
        same(panel_tables(registers), wanted)


def test_risk_sets_from_shuffled_rows_and_from_run_to_run(
    tables: dict[str, pd.DataFrame], wanted: dict[str, pd.DataFrame]
) -> None:
    turned = {name: shuffled(table) for name, table in tables.items()}
    with Registers.from_frames(**turned, first_year=FIRST, last_year=LAST) as registers:
        same(results(registers), wanted)


def test_duckdb_relations(tables: dict[str, pd.DataFrame], wanted: dict[str, pd.DataFrame]) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        relations = {name: connection.from_df(table) for name, table in tables.items()}
        with Registers.from_frames(**relations, first_year=FIRST, last_year=LAST) as registers:
            same(panel_tables(registers), wanted)


def study(folder: Path, form: str) -> Path:
    lines = ["[study]", 'name = "files"', 'currency = "EUR"', f"first_year = {FIRST}", f"last_year = {LAST}"]
    for name in TABLES:
        lines += [f"[files.{name}]", f'path = "{name}.{form}"', f'format = "{form}"']
    path = folder / "study.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_files(tables: dict[str, pd.DataFrame], wanted: dict[str, pd.DataFrame], tmp_path: Path, form: str) -> None:
    for name, table in tables.items():
        if form == "csv":
            table.to_csv(tmp_path / f"{name}.csv", index=False)
        else:
            pytest.importorskip("pyarrow")
            table.to_parquet(tmp_path / f"{name}.parquet", index=False)
    with read_registers(study(tmp_path, form)) as registers:
        same(panel_tables(registers), wanted)


def renamed(tables: dict[str, pd.DataFrame], name: Callable[[int], Any]) -> dict[str, pd.DataFrame]:
    def turn(column: pd.Series) -> pd.Series:
        new = [None if pd.isna(f) else name(int(f)) for f in column]
        return pd.Series(new, index=column.index, dtype="Int64" if isinstance(name(1), int) else "object")

    ids = ("firm", "old_firm", "new_firm")
    return {k: t.assign(**{c: turn(t[c]) for c in ids if c in t}) for k, t in tables.items()}


@pytest.mark.parametrize(
    "name",
    [
        lambda f: f"firm {f}",
        lambda f: (f * 37) % 1009 + 5_000_000_000,
    ],
    ids=["text", "other integers"],
)
def test_firm_ids_do_not_matter(
    tables: dict[str, pd.DataFrame], wanted: dict[str, pd.DataFrame], name: Callable[[int], Any]
) -> None:
    original = {name(f): f for f in range(1, FIRMS + 1)}
    with Registers.from_frames(**renamed(tables, name), first_year=FIRST, last_year=LAST) as registers:
        found = results(registers)
    for label, table in found.items():
        keys = [c for c in ("firm", "market", "year", "begin", "start", "duration", "exit_year") if c in table]
        restored = table.assign(firm=table["firm"].map(original).astype("int64")).sort_values(keys)
        target = wanted[label].sort_values(keys).reset_index(drop=True)
        restored = restored.reset_index(drop=True)
        pd.testing.assert_frame_equal(restored, target.astype({"firm": "int64"}), rtol=1e-12, check_dtype=False)


def test_a_lost_or_edited_frame_does_not_change_the_panel(tables: dict[str, pd.DataFrame], wanted: Any) -> None:
    mine = {name: table.copy(deep=True) for name, table in tables.items()}
    with Registers.from_frames(**mine, first_year=FIRST, last_year=LAST) as registers:
        mine["trade"].loc[:, "value_eur"] = 0.0
        mine["trade"].loc[:, "year"] = 1900
        same(panel_tables(registers), wanted)
