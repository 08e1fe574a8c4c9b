"""The same panel and risk sets from any kind of input, row order and firm ids, and from run to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from missie_impact import build_panel, entry_risk_set, exit_risk_set, read_registers, transition_risk_set
from missie_impact.registers import Registers

FIRST, LAST = 2004, 2016
FIRMS = 80
TABLES = ("trade", "firms", "participations", "links", "identity_changes", "affiliates")


@pytest.fixture(scope="module")
def tables(random_tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return random_tables


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
