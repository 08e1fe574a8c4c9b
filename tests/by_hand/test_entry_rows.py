"""Entry into a market: pairs without trade in t-2 and t-1, in the years in which the market is host.

Outcome: trade, in either flow, in t+1 or t+2, whatever happened in t. Data run over 2004-2016: the last usable
mission year is 2014. Controls are drawn with a known probability; here all of them fit.
"""

import pytest

from missie_impact import CBS_2024, entry_risk_set

ROW = "market year treated outcome"
MISSION = "ann FR 2010-05-01"


def pairs(panel_of, rows, histories, firm, columns=ROW, outcome="trade", **settings):
    panel = panel_of(histories, **settings)
    found = rows(entry_risk_set(panel, outcome=outcome).collect(), columns, firm)
    return [r for r in found if not (isinstance(r, tuple) and r[0] == "KE")]


@pytest.mark.parametrize(
    ("history", "outcome"),
    [
        ("ann FR 2011: x", 1),  # t+1
        ("ann FR 2012: x", 1),  # t+2
        ("ann FR import 2012: x", 1),  # either flow
        ("ann FR 2010: x", 0),  # the mission year itself does not count ...
        ("ann FR 2010: x x", 1),  # ... and does no harm
        ("ann FR 2013: x", 0),  # too late
        ("ann DE 2011: x", 0),  # elsewhere
        ("ann FR 2011: 100-100", 0),  # corrected to nothing
        ("ann FR 2007: x", 0),  # t-3 is outside the look-back
    ],
)
def test_outcome_of_a_participant(panel_of, rows, history, outcome):
    assert pairs(panel_of, rows, history, "ann", missions=MISSION) == [("FR", 2010, 1, outcome)]


@pytest.mark.parametrize("history", ["ann FR 2009: x", "ann FR 2008: x", "ann FR import 2009: x"])
def test_a_mission_to_a_market_already_traded(panel_of, rows, history):
    assert pairs(panel_of, rows, history, "ann", missions=MISSION) == []


def test_controls_trade_nothing_with_the_host_and_may_trade_nothing_at_all(panel_of, rows):
    history = "idle DE 2016: x\nlater FR 2012: x\nbusy FR 2009: x"
    found = pairs(panel_of, rows, history, None, "market firm year treated outcome", missions=MISSION)
    # The guide goes to Kenya in 2010, so it is no control elsewhere in that year; busy trades with France already.
    wanted = [("FR", "ann", 2010, 1, 0), ("FR", "idle", 2010, 0, 0), ("FR", "later", 2010, 0, 1)]
    assert found == wanted


def test_all_controls_taken_have_probability_one(panel_of, rows):
    history = "idle DE 2016: x\nlater FR 2012: x"
    assert {r[1] for r in pairs(panel_of, rows, history, None, "market probability", missions=MISSION)} == {1.0}


def test_a_firm_that_goes_elsewhere_is_no_control(panel_of, rows):
    found = pairs(panel_of, rows, "", "bob", missions=f"{MISSION}\nbob DE 2010-02-01")
    assert found == [("DE", 2010, 1, 0)]


def test_a_firm_on_two_missions_is_treated_in_both_markets(panel_of, rows):
    found = pairs(panel_of, rows, "bob DE 2011: x", "bob", missions="bob FR 2010-05-01\nbob DE 2010-02-01")
    assert found == [("DE", 2010, 1, 1), ("FR", 2010, 1, 0)]


def test_washout_concerns_the_same_market(panel_of, rows):
    found = pairs(panel_of, rows, "", "bob", missions="bob FR 2009-05-01\nbob FR 2010-05-01\nbob DE 2011-05-01")
    assert ("FR", 2009, 1, 0) in found and ("DE", 2011, 1, 0) in found
    assert all((market, year) != ("FR", 2010) for market, year, *_ in found)


@pytest.mark.parametrize(("last", "found"), [(2009, []), (2010, [("FR", 2010, 0, 0)]), (2011, [("FR", 2010, 0, 0)])])
def test_a_control_is_in_the_register_in_the_mission_year(panel_of, rows, last, found):
    assert pairs(panel_of, rows, "", "cas", missions=MISSION, life=f"cas 1999-{last}") == found


@pytest.mark.parametrize(
    "settings",
    [
        {"life": "new 2010-\nold 1999-"},  # founded in the mission year
        {"absent": "new 2009"},  # the register lacks its row of the year before
    ],
)
def test_both_arms_are_eligible_by_the_same_rule(panel_of, rows, settings):
    control = pairs(panel_of, rows, "new DE 2016: x", "new", missions=MISSION, **settings)
    treated = pairs(panel_of, rows, "new DE 2016: x", "new", missions="new FR 2010-05-01", **settings)
    assert [r[:2] for r in control] == [r[:2] for r in treated]


def test_first_and_last_usable_year(panel_of, rows):
    missions = "ann FR 2008-05-01\nbob FR 2014-05-01\ncas FR 2015-05-01"
    found = pairs(
        panel_of, rows, "bob FR 2016: x\ncas FR 2016: x", None, "market firm year treated outcome", missions=missions
    )
    treated = [r[1:] for r in found if r[3] == 1]
    assert treated == [("ann", 2008, 1, 0), ("bob", 2014, 1, 1)]
    assert {r[2] for r in found} == {2008, 2014}


def test_the_mission_year_can_be_made_to_count(panel_of, rows):
    rule = CBS_2024.replace(entry_count_mission_year=True)
    assert pairs(panel_of, rows, "ann FR 2010: x", "ann", missions=MISSION, definitions=rule) == [("FR", 2010, 1, 1)]


def test_country_groups_are_those_of_the_mission_year(panel_of, rows):
    # Estonia joined the OECD in 2010, South Africa is one of the five BRICS, Bangladesh receives aid.
    missions = "ann EE 2009-05-01\nbob EE 2011-05-01\ncas ZA 2011-05-01\ndon BD 2011-05-01\nida SG 2011-05-01"
    found = pairs(panel_of, rows, "", None, "market year treated country_group", missions=missions)
    assert sorted({r for r in found if r[2] == 1}) == [
        ("BD", 2011, 1, "developing"),
        ("EE", 2009, 1, "other"),
        ("EE", 2011, 1, "OECD"),
        ("SG", 2011, 1, "other"),
        ("ZA", 2011, 1, "BRICS"),
    ]


@pytest.mark.parametrize(
    ("seat", "expected"),
    [
        ("ann FR 2011 2014", [("FR", 2010, 1, 1)]),
        ("ann FR 2012 2014", [("FR", 2010, 1, 1)]),
        ("ann FR 2013 2014", [("FR", 2010, 1, 0)]),
        ("ann FR 2008 2014", []),  # an affiliate there already
        ("ann DE 2011 2014", [("FR", 2010, 1, 0)]),
    ],
)
def test_an_affiliate_within_two_years(panel_of, rows, seat, expected):
    found = pairs(panel_of, rows, "", "ann", outcome="fdi", missions=MISSION, affiliates=seat)
    assert found == expected
