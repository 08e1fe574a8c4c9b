"""Trials at a placebo date, by hand. Data run over 2004-2016.

Five years before a mission in t the outcome years p+1..p+4 end at t-1. Placebo dates: the window p-4..p-1 lies in the
data from 2008 on, and missions are listed up to 2016, so p runs over 2008-2011.
"""

import pytest

from missie_impact.errors import NoParticipantError, SettingsError
from missie_impact.risksets.placebo import placebo_market_risk_set, placebo_risk_set
from missie_impact.validity.placebo import placebo

HISTORY = """
ann FR 2007: x . x x x .
ben FR 2007: x
cas FR 2007: x
dan FR 2007: x
eva FR 2007: x x x x x x
fay FR 2010: x . x
"""
# cas goes in 2010, between the placebo date 2008 and its mission year 2013; dan is gone at t-1 = 2012; eva goes in
# 2012, and at its placebo date 2007 the window is not in the data: in 2008 she has a mission before t-1
MISSIONS = "ann FR 2013-05-01\ncas FR 2010-05-01\neva FR 2012-05-01\nfay FR 2016-05-01"
LIFE = "dan 1990-2011"


def test_who_is_in_a_placebo_trial(panel_of):
    table = placebo_risk_set(panel_of(HISTORY, missions=MISSIONS, life=LIFE)).collect()
    rows = sorted(table[["firm", "year", "treated", "outcome"]].itertuples(index=False, name=None))
    # fay: active in 2010, window 2007-2010, p = 2011, of 2012-2015 active in 2012 only
    assert rows == [("ann", 2008, 1, 1), ("ben", 2008, 0, 0), ("fay", 2011, 1, 0)]


def test_controls_are_those_of_the_placebo_date(panel_of):
    history = "ann FR 2007: 300 . 900 900 900 .\nben FR 2007: 500"
    table = placebo_risk_set(panel_of(history, missions="ann FR 2013-05-01")).collect().set_index("firm")
    assert table["log_exports"].round(6).to_dict() == {"ann": 5.70711, "ben": 6.216606}  # log 301, log 501
    assert table["prior_mission"].tolist() == [0, 0]


def test_outcomes_may_not_reach_the_mission(panel_of):
    panel = panel_of(HISTORY, missions=MISSIONS, life=LIFE)
    with pytest.raises(SettingsError, match="at least 5 years"):
        placebo_risk_set(panel, lag=4)
    with pytest.raises(SettingsError, match="at least 3 years"):
        placebo_risk_set(panel, "entry", lag=2)
    with pytest.raises((NoParticipantError, SettingsError)):
        placebo_risk_set(panel, lag=9)
    with pytest.raises(SettingsError, match="expected one of"):
        placebo(panel, "increase", cluster="firm")


def test_placebo_markets_are_hosts_the_firm_does_not_visit(panel_of):
    """ann goes to FR in 2010, when DE hosts a mission of others; dan goes to both, ben to none, cas to DE in 2008."""
    history = """
    ann DE 2009: x . x x x .
    ann FR 2009: x
    ben DE 2009: x
    ben FR 2009: x . x . .
    cas DE 2009: x . . x
    cas FR 2009: x
    dan DE 2009: x
    dan FR 2009: x
    """
    missions = "ann FR 2010-05-01\ndan FR 2010-05-01\ndan DE 2010-06-01\ncas DE 2008-04-01"
    table = placebo_market_risk_set(panel_of(history, missions=missions)).collect()
    rows = sorted(table[["firm", "market", "year", "treated", "outcome"]].itertuples(index=False, name=None))
    # ann in DE is treated, ann in FR is the mission itself; both of dan's markets were visited; cas was in DE in 2008
    assert rows == [
        ("ann", "DE", 2010, 1, 1),
        ("ben", "DE", 2010, 0, 0),
        ("ben", "FR", 2010, 0, 0),
        ("cas", "FR", 2010, 0, 0),
    ]


def test_placebo_markets_need_a_second_host(panel_of):
    with pytest.raises(NoParticipantError, match="second host"):
        placebo_market_risk_set(panel_of("ann FR 2009: x\nben FR 2009: x", missions="ann FR 2010-05-01"))
    with pytest.raises(SettingsError, match="expected one of"):
        placebo_market_risk_set(panel_of("ann FR 2009: x", missions="ann FR 2010-05-01"), "increase")
