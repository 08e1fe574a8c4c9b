"""The example on real data, as its README tells it."""

import json
from pathlib import Path

import pytest

from missie_impact import CBS_2024, build_panel, read_registers

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "sugar_exporters" / "study.toml"


@pytest.fixture(scope="module")
def pair_years():
    with read_registers(EXAMPLE) as registers:
        assert registers.settings.currency == "USD"
        assert registers.settings.simulated is None
        panel = build_panel(registers, definitions=CBS_2024.with_changes(registers.settings.definitions))
        yield panel.collect(panel.pair_years, ["firm", "market", "year"])


def test_exits_are_those_that_r_counts(pair_years):
    reference = json.loads((ROOT / "tests/data/trase_sugar_exporters/reference.json").read_text())
    following = pair_years[["firm", "market", "year"]].assign(year=lambda rows: rows["year"] - 1, stays=1)
    rows = pair_years.merge(following, on=["firm", "market", "year"], how="left")
    for year in (2015, 2016):
        at_risk = rows[rows["year"] == year]
        wanted = reference["exit"]["by_year"][str(year)]
        assert (len(at_risk), int(at_risk["stays"].isna().sum())) == (wanted["at_risk"], wanted["exits"])


def test_nothing_is_lost_on_the_way(pair_years):
    reference = json.loads((ROOT / "tests/data/trase_sugar_exporters/reference.json").read_text())
    assert pair_years["exports_cents"].sum() == 100 * reference["fob_total"]
    assert pair_years["market"].nunique() == reference["destinations"]
