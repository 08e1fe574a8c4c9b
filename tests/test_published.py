from pathlib import Path

import pandas as pd
import pytest

from missie_impact.errors import SettingsError
from missie_impact.published import published, published_figure, published_figures


def test_the_entry_table_is_as_printed():
    table = published()
    r1 = table[table["table"] == "R1"].set_index("id")["value"]
    assert r1.filter(like="trade").tolist() == [7.2, 8.9, 6.2, 11.6, 15.4, 0.0]
    assert r1.filter(like="fdi").tolist() == [2.3, 2.2, 2.5, 2.9, 4.7, 0.0]


def test_the_headlines_and_the_indicator_are_as_printed():
    values = published().set_index("id")["value"]
    assert values[["R2", "R3"]].tolist() == [1.6, 0.5]
    assert values[["R6.2020.sme.firms", "R6.2020.sme.share", "R6.2020.sme.eur", "R6.2020.large.eur"]].tolist() == [
        9545, 22.7, 932, 8300,
    ]  # fmt: skip
    assert values[["R6.2021.sme.firms", "R6.2021.sme.share", "R6.2021.sme.eur", "R6.2021.large.eur"]].tolist() == [
        10265, 23.6, 1100, 10300,
    ]  # fmt: skip


def test_patterns_add_up_to_the_whole():
    table = published()
    r8 = table[table["table"] == "R8"].set_index("id")["read_as"]
    assert r8.filter(like=".firms").sum() == pytest.approx(1.0)
    assert r8.filter(like=".value").sum() == pytest.approx(1.0)


def test_own_arithmetic_is_never_called_published():
    growers = published_figure("R6.2020.sme.growers")
    assert (growers.status, growers.value) == ("inferred", 2167)


def test_ids_are_unique_and_every_row_has_a_source_and_a_status():
    table = published()
    assert table["id"].is_unique
    assert (table[["source", "status", "label", "unit"]] != "").all(axis=None)
    without = table[table["value"].isna()]
    assert set(without["status"]) == {"published as text", "layout only"}


def test_scales_that_cbs_does_not_state_are_called_assumed():
    open_scale = [f for f in published_figures() if f.table in ("R1", "R2", "R3")]
    assert all("assumed" in f.unit + f.note for f in open_scale)


def test_percentages_are_read_as_fractions():
    table = published()
    percent = table[table["unit"].str.startswith("percent")].dropna(subset="value")
    pd.testing.assert_series_equal(percent["read_as"], percent["value"] / 100, check_names=False)


def test_the_table_handed_out_may_be_changed_without_harm():
    first = published()
    first.loc[:, "value"] = 0.0
    assert published_figure("R2").value == 1.6


def test_an_unknown_id_is_an_error_that_says_where_to_look():
    with pytest.raises(SettingsError, match=r"R99.*published\(\)"):
        published_figure("R99")


def test_the_documentation_page_lists_every_figure():
    page = (Path(__file__).parents[1] / "docs" / "published.md").read_text("utf-8")
    assert [f.id for f in published_figures() if f"| {f.id} |" not in page] == []
