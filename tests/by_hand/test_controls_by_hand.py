"""Controls of a trial, each with the number a person would write down, and nothing of them from the mission year on."""

from math import log, log1p

import pytest

from missie_impact import entry_risk_set, exit_risk_set, increase_risk_set, transition_risk_set

HISTORY = """
ann FR 2007: 500 . 300
ann DE 2009: 100
ann FR import 2009: 50
ben BE 2009: 100
cas JP 2006: 1 . . 900
dan FR 2010: x
"""
MISSIONS = """
ann FR 2010-05-01
ann FR 2009-05-01 trade_fair
cas JP 2006-05-01
cas JP 2010-05-01 coaching
"""


@pytest.fixture(scope="module")
def at_risk(panel_of_cases):
    with panel_of_cases({"only": {"history": HISTORY, "missions": MISSIONS}}) as panel:
        table = transition_risk_set(panel).collect()
    return table.assign(firm=table["firm"].str.removeprefix("00.")).set_index(["firm", "year"])


def test_firm_controls_are_those_of_the_year_before(at_risk):
    row = at_risk.loc[("ann", 2010)]
    assert row["log_workers"] == pytest.approx(log(10))
    assert row["log_productivity"] == pytest.approx(log(1_000_000 / 10))
    assert row["log_age"] == pytest.approx(log1p(2009 - 1990))
    assert row["log_exports"] == pytest.approx(log1p(400))
    assert row["export_growth"] == pytest.approx(log1p(400) - log1p(500))
    assert row["activity_pattern"] == "0101"
    assert row["log_markets"] == pytest.approx(log1p(2))
    assert row["log_imports"] == pytest.approx(log1p(50))
    assert (row["sector"], row["region"]) == ("G", "NL31")
    assert (int(row["independent"]), int(row["foreign_controlled"])) == (1, 0)
    assert row["size"] == "sme"


def test_growth_is_cut_at_three(at_risk):
    assert at_risk.loc[("cas", 2010), "export_growth"] == 3  # log 901 - log 1


def test_earlier_support_counts_up_to_the_year_before(at_risk):
    ann, cas = at_risk.loc[("ann", 2010)], at_risk.loc[("cas", 2010)]
    assert (int(ann["prior_mission"]), int(ann["prior_trade_fair"])) == (0, 1)
    assert (int(cas["prior_mission"]), int(cas["prior_coaching"])) == (1, 0)


def test_trade_with_a_host_and_with_a_neighbour_of_one(at_risk):
    # Hosts of 2010: France and Kenya. Belgium is a neighbour of France.
    assert int(at_risk.loc[("ann", 2010), "host_trade"]) == 1
    assert int(at_risk.loc[("ben", 2010), "host_trade"]) == 0
    assert int(at_risk.loc[("ben", 2010), "host_neighbour_trade"]) == 1
    assert int(at_risk.loc[("cas", 2010), "host_trade"]) == 0
    assert int(at_risk.loc[("cas", 2010), "host_neighbour_trade"]) == 0


def test_pair_controls(panel_of):
    history = "ann FR 2006: 500 500 500 300 200\nann BE 2009: 70\neve FR 2006: 1 1 1 1 1"
    panel = panel_of(history, missions="ann FR 2010-05-01")
    rows = exit_risk_set(panel).collect().drop_duplicates(["firm", "market", "year"]).set_index(["firm", "year"])
    row = rows.loc[("ann", 2010)]
    assert row["log_pair_exports"] == pytest.approx(log1p(300))
    assert row["pair_growth"] == pytest.approx(log1p(300) - log1p(500))
    assert row["pair_pattern"] == "1111"
    assert (int(row["neighbour_trade"]), int(rows.loc[("eve", 2010), "neighbour_trade"])) == (1, 0)
    assert row["log_exports"] == pytest.approx(log1p(370))
    assert row["country_group"] == "OECD"


BEFORE = "ann FR 2006: 5 6 7 8\nann DE 2007: 3 . 4\nben BE 2009: 9\ncas FR 2005: 5 5 5 5 5\ncas DE import 2008: 2 2"
LATER = "ann FR 2010: {a} {a} {a}\nben BE 2010: {b} {b}\ncas FR 2010: {a}\nben FR 2011: {b}\ncas US 2010: {b}"


MAKERS = [transition_risk_set, exit_risk_set, entry_risk_set, increase_risk_set]
WENT = "ann FR 2010-05-01\nben DE 2010-05-01"
SUPPORTED_LATER = "ann FR 2010-06-01 coaching\ncas DE 2012-02-01\nben BE 2011-02-01"


@pytest.fixture(scope="module")
def worlds(panel_of_cases):
    """Two registers that agree up to 2009 and differ in trade, support and survival from 2010 on."""
    one = {"history": f"{BEFORE}\n{LATER.format(a=5, b=1)}", "missions": WENT}
    two = {"history": f"{BEFORE}\n{LATER.format(a=9000, b=700)}", "missions": f"{WENT}\n{SUPPORTED_LATER}"}
    with panel_of_cases({"only": one}) as first, panel_of_cases({"only": {**two, "life": "ben 1990-2011"}}) as second:
        yield first, second


@pytest.mark.parametrize("make", MAKERS)
def test_no_control_looks_at_the_mission_year_or_beyond(worlds, make):
    found = []
    for panel in worlds:
        risk = make(panel)
        rows = risk.collect()
        keys = [c for c in ("firm", "market", "year") if c in rows]
        rows = rows[rows["year"] == 2010].drop_duplicates(keys).set_index(keys)
        found.append(rows[[c for c in (*risk.controls, "size", "treated") if c in rows]].sort_index())
    one, other = found
    shared = one.index.intersection(other.index)
    assert len(shared)
    for column in one:
        assert one.loc[shared, column].tolist() == other.loc[shared, column].tolist(), column
