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


CASES = {
    "trade in t+1": ("ann FR 2011: x", [1]),
    "trade in t+2": ("ann FR 2012: x", [1]),
    "imports in t+2": ("ann FR import 2012: x", [1]),
    "the mission year itself does not count": ("ann FR 2010: x", [0]),
    "and does no harm": ("ann FR 2010: x x", [1]),
    "too late": ("ann FR 2013: x", [0]),
    "elsewhere": ("ann DE 2011: x", [0]),
    "corrected to nothing": ("ann FR 2011: 100-100", [0]),
    "t-3 is outside the look-back": ("ann FR 2007: x", [0]),
    "traded already in t-1": ("ann FR 2009: x", []),
    "traded already in t-2": ("ann FR 2008: x", []),
    "imported already in t-1": ("ann FR import 2009: x", []),
}
SEATS = {
    "an affiliate in t+1": ("ann FR 2011 2014", [1]),
    "an affiliate in t+2": ("ann FR 2012 2014", [1]),
    "an affiliate too late": ("ann FR 2013 2014", [0]),
    "an affiliate there already": ("ann FR 2008 2014", []),
    "an affiliate elsewhere": ("ann DE 2011 2014", [0]),
}
ALL = {k: {"history": h, "missions": MISSION} for k, (h, _) in CASES.items()}
ALL |= {k: {"history": "ann JP 2016: x", "missions": MISSION, "affiliates": a} for k, (a, _) in SEATS.items()}


@pytest.fixture(scope="module")
def panel(panel_of_cases):
    with panel_of_cases(ALL) as made:
        yield made


@pytest.fixture(scope="module")
def entries(panel):
    return entry_risk_set(panel).collect()


@pytest.fixture(scope="module")
def settlements(panel):
    return entry_risk_set(panel, outcome="fdi").collect()


@pytest.mark.parametrize("case", CASES)
def test_entry_of_a_participant(entries, rows_of_case, case):
    found = rows_of_case(entries[entries["market"] == "FR"], ALL, case, "year treated outcome")
    assert found == [(2010, 1, outcome) for outcome in CASES[case][1]]


@pytest.mark.parametrize("case", SEATS)
def test_an_affiliate_within_two_years(settlements, rows_of_case, case):
    found = rows_of_case(settlements[settlements["market"] == "FR"], ALL, case, "year treated outcome")
    assert found == [(2010, 1, outcome) for outcome in SEATS[case][1]]


def test_controls_trade_nothing_with_the_host_and_may_trade_nothing_at_all(panel_of, rows):
    # The guide goes to Kenya in 2010, so it is no control elsewhere in that year; busy trades with France already;
    # gone left the register before 2010, ends in it, last after it; bob goes to Germany and comes back with nothing.
    history = "idle DE 2016: x\nlater FR 2012: x\nbusy FR 2009: x"
    life = "gone 1999-2009\nends 1999-2010\nlast 1999-2011"
    found = pairs(
        panel_of,
        rows,
        history,
        None,
        "market firm year treated outcome probability",
        missions=f"{MISSION}\nbob DE 2010-02-01",
        life=life,
    )
    assert [r[1:] for r in found if r[0] == "FR"] == [
        ("ann", 2010, 1, 0, 1.0),
        ("ends", 2010, 0, 0, 1.0),
        ("idle", 2010, 0, 0, 1.0),
        ("last", 2010, 0, 0, 1.0),
        ("later", 2010, 0, 1, 1.0),
    ]
    assert ("DE", "bob", 2010, 1, 0, 1.0) in found
    assert all(r[1] != "ann" for r in found if r[0] == "DE")


def test_several_missions_of_one_firm(panel_of, rows):
    # 2010: two markets, treated in both. 2009 and 2010 to France: the second is washed out; Germany is not.
    missions = "bob FR 2010-05-01\nbob DE 2010-02-01\ncas FR 2009-05-01\ncas FR 2010-05-01\ncas DE 2011-05-01"
    panel = panel_of("bob DE 2011: x", missions=missions)
    table = entry_risk_set(panel).collect()
    assert [r for r in rows(table, ROW, "bob") if r[1] == 2010] == [("DE", 2010, 1, 1), ("FR", 2010, 1, 0)]
    cas = rows(table, ROW, "cas")
    assert ("FR", 2009, 1, 0) in cas and ("DE", 2011, 1, 0) in cas
    assert all(r[:2] != ("FR", 2010) for r in cas)


@pytest.mark.parametrize(
    "settings",
    [
        {"life": "new 2010-\ntwin 2010-"},  # founded in the mission year
        {"absent": "new 2009\ntwin 2009"},  # the register lacks its row of the year before
    ],
)
def test_both_arms_are_eligible_by_the_same_rule(panel_of, rows, settings):
    missions = f"{MISSION}\ntwin FR 2010-05-01"
    found = pairs(
        panel_of, rows, "new DE 2016: x\ntwin DE 2016: x", None, "market year firm", missions=missions, **settings
    )
    control, treated = ([r for r in found if r[2] == firm] for firm in ("new", "twin"))
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
