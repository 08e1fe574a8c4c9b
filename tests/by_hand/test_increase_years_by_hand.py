"""Rows of group-time effects from histories: who is in, which year counts, what is zero."""

import pytest

from missie_impact.effects import group_time_effects
from missie_impact.errors import SettingsError
from missie_impact.risksets import increase_years

HISTORIES = """
ann FR 2004: 10 20 30 40 50 60 70-90 80
bob FR 2005: 5
cas FR 2008: 7 7
dan FR 2004: 9 9 9 9
eve FR 2006: 8 8 8 8
kim BE 2004: 9 9 9 9
"""
MISSIONS = """
ann FR 2009-02-01
ann FR 2011-02-01
cas FR 2009-02-01
dan FR 2005-02-01
eve FR 2009-02-01 trade_fair
"""


@pytest.fixture
def panel(panel_of):
    return panel_of(HISTORIES, missions=MISSIONS, life="eve 1999-2008", guide=False)


def test_pairs_and_years(panel):
    """Data from 2004: exports in 2004-2006 choose the pairs, rows begin in 2006."""
    rows = increase_years(panel)
    table = rows.collect().set_index(["firm", "year"])
    assert sorted(table.index.get_level_values("firm").unique()) == ["ann", "bob", "eve"]  # a trade fair is no mission
    assert sorted(table.loc["ann"].index) == list(range(2006, 2017))
    assert table.loc["ann", "exports_eur"].tolist() == [30, 40, 50, 60, 0, 80, 0, 0, 0, 0, 0]
    assert table.loc[("ann", 2006), ["exports_eur_lag1", "exports_eur_lag2"]].tolist() == [20, 10]
    assert table.loc["ann", "first_supported"].unique().tolist() == [2009]  # absorbing: 2011 is part of the effect
    assert table.loc["ann", "treated"].tolist() == [0, 0, 0] + [1] * 8
    assert table.loc["ann", "supported"].tolist() == [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]
    assert table.loc[["bob", "eve"], "first_supported"].isna().all()
    assert table.loc[("bob", 2006), "exports_eur_lag1"] == 5


def test_zero_after_death_and_other_support(panel):
    rows = increase_years(panel, treatment="support")
    table = rows.collect().set_index(["firm", "market", "year"]).loc[("eve", "FR")]
    assert table["first_supported"].unique().tolist() == [2009]
    assert table["exports_eur"].tolist()[:3] == [8, 8, 8]
    assert table["exports_eur"].tolist()[4:] == [0] * 7
    # without a mission in it a market is no reason to leave pairs out: any instrument may be given there
    assert ("kim", "BE", 2006) in rows.collect().set_index(["firm", "market", "year"]).index


def test_flow_says_who_is_left_out(panel):
    flow = increase_years(panel).flow.frame()
    steps = flow[flow["table"] == "risk set"]
    assert steps["rows"].tolist() == [5, 4, 3]  # dan had no three years to look back on, cas is new to the market
    assert steps["participants"].tolist() == [3, 2, 1]
    assert "market_entry" in steps["reason"].iloc[-1]


def test_group_time_effects_take_the_rows(panel):
    """One cohort, compared with bob and eve: (60 - 50) less the mean change of the others, in the first year."""
    found = group_time_effects(
        increase_years(panel), outcome="exports_eur", unit=("firm", "market"), time="year",
        first_treated="first_supported", cluster=None,
    )  # fmt: skip
    effect = found.table.set_index(["cohort", "time"]).loc[(2009, 2009)]
    table = increase_years(panel).collect().pivot(index="firm", columns="year", values="exports_eur")
    others = (table.loc[["bob", "eve"], 2009] - table.loc[["bob", "eve"], 2008]).mean()
    assert effect["estimate"] == pytest.approx(10 - others)
    assert effect["n_treated"] == 1


def test_unknown_treatment_is_an_error(panel):
    with pytest.raises(SettingsError, match="treatment"):
        increase_years(panel, treatment="trade_fair")
