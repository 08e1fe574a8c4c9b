"""Register files of a small simulated country: written, read back, linked, and followed over identity changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from missie_impact.errors import SettingsError
from missie_impact.registers import Registers
from missie_impact.simulation.assembly import RegisterDraw, RegisterOptions, draw_registers
from missie_impact.simulation.delivery import TABLE_FILES
from missie_impact.simulation.identities import IdentityRates
from missie_impact.simulation.parameters import SimulationSettings
from missie_impact.simulation.registers import simulate_registers
from missie_impact.simulation.worlds import draw_world

FIRMS = 4000
MANY_CHANGES = RegisterOptions(identity=IdentityRates(renumbered=0.01, takeover=0.01, merger=0.01, lost=0.002))
SORT = {
    "trade": ["firm", "market", "year", "flow", "kind", "value_cents"],
    "firms": ["firm", "year"],
    "affiliates": ["firm", "market", "year"],
    "participations": ["date", "instrument", "market", "kvk", "person"],
    "links": ["kvk", "valid_from"],
    "identity_changes": ["date", "old_firm"],
}


@pytest.fixture(scope="module")
def drawn() -> RegisterDraw:
    world = draw_world(SimulationSettings(seed=7, firms=FIRMS), progress=False)
    return draw_registers(world, MANY_CHANGES, flows="exporters", calibrate=False)


@pytest.fixture(scope="module")
def registers() -> Iterator[Registers]:
    with simulate_registers(7, firms=FIRMS, options=MANY_CHANGES, progress=False) as r:
        yield r


@pytest.fixture(scope="module")
def tables(registers: Registers) -> dict[str, pd.DataFrame]:
    return {name: registers.engine.collect(getattr(registers, name), sort_by=by) for name, by in SORT.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("delivery") / "registers"
    simulate_registers(7, out=out, firms=FIRMS, options=MANY_CHANGES, progress=False).close()
    return out


def followed(tables: dict[str, pd.DataFrame], frame: pd.DataFrame) -> pd.DataFrame:
    """Replace firm numbers by those that the identity changes lead to."""
    known = tables["identity_changes"].dropna(subset=["new_firm"])
    step = dict(zip(known["old_firm"], known["new_firm"].astype(int), strict=True))
    firm = frame["firm"]
    for _ in range(3):
        firm = firm.map(lambda f: step.get(f, f))
    return frame.assign(firm=firm)


def test_files_hold_the_same_tables_as_memory(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    with simulate_registers(7, out=folder, firms=FIRMS, options=MANY_CHANGES, progress=False) as read:
        for name, by in SORT.items():
            pd.testing.assert_frame_equal(read.engine.collect(getattr(read, name), sort_by=by), tables[name])
        assert read.settings.simulated is not None
        assert read.settings.cohorts == (2020, 2021)


def test_same_arguments_same_bytes_and_another_seed_other_bytes(folder: Path, tmp_path: Path) -> None:
    simulate_registers(7, out=tmp_path / "a", firms=FIRMS, options=MANY_CHANGES, progress=False).close()
    simulate_registers(8, out=tmp_path / "b", firms=FIRMS, options=MANY_CHANGES, progress=False).close()
    for name in (*TABLE_FILES.values(), "study.toml", "manifest.json", "simulated/potential_outcomes.parquet"):
        assert (folder / name).read_bytes() == (tmp_path / "a" / name).read_bytes(), name
    for name in TABLE_FILES.values():
        assert (folder / name).read_bytes() != (tmp_path / "b" / name).read_bytes(), name


def test_nothing_but_the_delivery_is_written(folder: Path) -> None:
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    simulated = {"simulated/settings.json", "simulated/potential_outcomes.parquet"}
    assert found == {*TABLE_FILES.values(), "study.toml", "manifest.json"} | simulated


def test_agreeing_manifest_is_reused_and_a_broken_delivery_is_drawn_again(tmp_path: Path) -> None:
    arguments = {"out": tmp_path / "r", "firms": 1500, "progress": False}
    simulate_registers(3, **arguments).close()
    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "r").iterdir()}
    simulate_registers(3, **arguments).close()
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "r").iterdir()} == times
    (tmp_path / "r" / "links.csv").write_text("kvk\n")
    with simulate_registers(3, **arguments) as again:
        assert again.rows["links"] > 0
    with simulate_registers(4, **arguments) as other:
        assert other.settings.seed == 4
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest["simulated"] is True
    assert manifest["settings"]["world"]["seed"] == 4
    assert all((tmp_path / "r" / n).stat().st_size == f["bytes"] for n, f in manifest["files"].items())


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("[study]\n")
    with pytest.raises(SettingsError, match="choose another folder"):
        simulate_registers(3, out=tmp_path, firms=1500, progress=False)
    assert (tmp_path / "study.toml").read_text() == "[study]\n"


def test_following_changes_gives_the_histories_of_the_worlds(
    drawn: RegisterDraw, tables: dict[str, pd.DataFrame]
) -> None:
    events = tables["identity_changes"]["event"].value_counts()
    assert set(events.index) == {"renumbered", "takeover", "merger", "restructuring"}
    goods = tables["trade"].query("flow == 'export' and kind == 'goods'")
    got = followed(tables, goods).groupby(["firm", "market", "year"])["value_cents"].sum().sort_index()
    w = drawn.world
    firm, year = w.trade_firm.astype(int), w.trade_year.astype(int)
    known = drawn.identities.delivered(firm, year)
    wanted = pd.DataFrame(
        {
            "firm": drawn.identities.last_number(firm)[known],
            "market": np.array(w.markets.codes)[w.trade_market][known],
            "year": year[known],
            "value_cents": 100 * np.maximum(np.rint(w.value_eur), 1).astype(int)[known],
        }
    )
    wanted = wanted.groupby(["firm", "market", "year"])["value_cents"].sum().sort_index()
    assert len(got) == len(wanted)
    assert (got.to_numpy() == wanted.to_numpy()).all()
    assert got.index.get_level_values("firm").equals(wanted.index.get_level_values("firm"))
    assert (~known).sum() > 0


def test_following_changes_gives_the_accounts_of_the_worlds(
    drawn: RegisterDraw, tables: dict[str, pd.DataFrame]
) -> None:
    firms = followed(tables, tables["firms"])
    by = firms.groupby(["firm", "year"]).agg(
        workers=("workers", "sum"),
        turnover=("turnover_cents", "sum"),
        founded=("founded", "min"),
        ended=("ended", "max"),
        alive=("ended", lambda e: e.isna().any()),
    )
    base, held = drawn.base, drawn.held
    for year in (2004, 2012, 2024):
        known = held[base.alive(year)[held] & drawn.identities.delivered(held, year)]
        one = by.xs(year, level="year").loc[drawn.identities.last_number(known)]
        np.testing.assert_array_equal(one["workers"], base.persons(year)[known])
        np.testing.assert_array_equal(one["turnover"], 100 * base.turnover_eur(year)[known])
        np.testing.assert_array_equal(one["founded"] <= year, True)
    whole = firms.groupby("firm").agg(founded=("founded", "min"))
    np.testing.assert_array_equal(whole.loc[drawn.identities.last_number(held), "founded"].to_numpy(), base.born[held])


def test_size_scheme_of_cbs_gives_the_independent_sme_of_the_worlds(
    drawn: RegisterDraw, tables: dict[str, pd.DataFrame]
) -> None:
    firms = tables["firms"].copy()
    firms["group_workers"] = firms.groupby(["group", "year"])["workers"].transform("sum")
    firms["sme"] = ~firms["foreign_controlled"] & (firms["group_workers"] < 250)
    position = (firms["firm"] - 10_000_000) // 10
    own = np.exp(drawn.base.workers[firms["year"] - 2004, position].astype(float))
    wanted = drawn.base.independent[position] & (own < 250)
    assert (firms["sme"].to_numpy() == wanted).all()
    assert wanted.sum() > 0 and (~wanted).sum() > 0
    assert (firms.groupby(["group", "year"]).size() > 1).any()


def test_weights_stand_for_the_firms_left_out(drawn: RegisterDraw, tables: dict[str, pd.DataFrame]) -> None:
    weight = tables["firms"].drop_duplicates("firm").set_index("firm")["weight"]
    assert set(weight.unique()) == {1.0, 4.0}
    seen = [tables["trade"]["firm"], tables["affiliates"]["firm"]]
    assert (weight.loc[np.unique(np.concatenate(seen))] == 1.0).all()
    base, n = drawn.base, FIRMS
    alive = np.any([base.alive(y) for y in range(2004, 2025)], axis=0)
    others = np.isin(np.arange(n), drawn.held) & (drawn.weight > 1)
    left_out = alive.sum() - (np.isin(np.arange(n), drawn.held) & (drawn.weight == 1)).sum()
    assert 4 * others.sum() == pytest.approx(left_out, abs=4 * 4 * np.sqrt(left_out * 0.25 * 0.75))


def test_links_lead_each_participant_to_one_firm_of_the_register(tables: dict[str, pd.DataFrame]) -> None:
    people, links = tables["participations"], tables["links"]
    firms = people[people["organisation"] == "firm"].reset_index(names="row")
    joined = firms.merge(links, on="kvk")
    valid = (joined["valid_from"] <= joined["date"]) & ~(joined["valid_to"] < joined["date"])
    joined = joined[valid]
    assert joined["row"].is_unique
    assert 0.88 < len(joined) / len(firms) < 0.98
    bodies = people[people["organisation"] != "firm"]
    assert len(bodies) and not bodies["kvk"].isin(links["kvk"]).any()
    assert (links.groupby("kvk")["firm"].nunique() > 1).any()
    assert (links.groupby("firm")["kvk"].nunique() > 1).any()
    founded = tables["firms"].drop_duplicates("firm").set_index("firm")["founded"]
    known = joined[joined["firm"].isin(founded.index)]
    assert (known["date"].dt.year >= founded.loc[known["firm"]].to_numpy()).all()


def test_participations_are_those_of_the_worlds_and_other_instruments(
    drawn: RegisterDraw, tables: dict[str, pd.DataFrame]
) -> None:
    people = tables["participations"]
    listed = people[(people["instrument"] == "mission") & (people["organisation"] == "firm")]
    assert len(listed.drop_duplicates(["kvk", "mission"])) == len(drawn.world.goes_firm)
    assert 1.3 < len(listed) / len(drawn.world.goes_firm) < 1.7
    assert listed["minister_led"].all()
    assert not people.loc[people["instrument"] != "mission", "minister_led"].any()
    first = people.groupby("instrument")["date"].min().dt.year
    assert first["embassy"] == 2018
    assert first["trade_innovate_nl"] >= 2020
    assert people["date"].dt.year.max() == 2023


def test_registers_have_no_breach(registers: Registers) -> None:
    text = str(registers.check())
    breaches = [line for line in text.splitlines() if line.startswith("breach")]
    assert breaches
    assert all(line.split(":")[-1].strip().startswith("0") for line in breaches)


def test_goods_exports_are_the_same_whatever_else_flows() -> None:
    goods = {}
    for flows in ("goods_exports", "exporters", "all"):
        with simulate_registers(5, firms=1500, flows=flows, progress=False) as r:
            trade = r.engine.collect(r.trade, sort_by=SORT["trade"])
            firms = r.engine.collect(r.firms, sort_by=SORT["firms"])
        goods[flows] = trade.query("flow == 'export' and kind == 'goods'").reset_index(drop=True)
        if flows == "goods_exports":
            assert len(trade) == len(goods[flows])
        if flows == "exporters":
            exporting = set(zip(goods[flows]["firm"], goods[flows]["market"], goods[flows]["year"], strict=True))
            assert set(zip(trade["firm"], trade["market"], trade["year"], strict=True)) == exporting
            assert set(trade["flow"]) == {"export", "import"}
        if flows == "all":
            others = trade[~trade["firm"].isin(goods[flows]["firm"])]
            assert len(others) > len(goods[flows]) / 2
            assert others["firm"].isin(firms["firm"]).all()
    pd.testing.assert_frame_equal(goods["goods_exports"], goods["exporters"])
    pd.testing.assert_frame_equal(goods["goods_exports"], goods["all"])


def test_published_indicator_is_refused_below_national_scale() -> None:
    with pytest.raises(SettingsError, match="published counts are national"):
        simulate_registers(firms=1500, calibrate_r6=True)
    with pytest.raises(SettingsError, match="flows"):
        simulate_registers(firms=1500, flows="goods")  # type: ignore[arg-type]


def test_potential_outcomes_name_firms_as_followed(drawn: RegisterDraw, tables: dict[str, pd.DataFrame]) -> None:
    potential = drawn.potential_outcomes()
    assert list(potential.columns) == ["firm", "market", "year", "outcome", "y0", "y1"]
    known = set(followed(tables, tables["firms"])["firm"])
    assert set(potential["firm"]) <= known
