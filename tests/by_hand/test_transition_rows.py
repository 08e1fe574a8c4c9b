"""Who is in the transition risk set, in which trial, in which arm and with which outcome.

Data run over 2004-2016, so trials run over the mission years 2008-2012: the window t-4..t-1 and the outcome years
t+1..t+4 both lie in the data. In a trial: firms that export in t-1 and are not structural then, without a listed
mission in t-3..t-1, in the register in t. Treated: a mission in t. Outcome: exports in at least three of t+1..t+4.
"""

import pytest

from missie_impact import CBS_2024, transition_risk_set

ARM = "year treated outcome"
DEATH = "year treated outcome died"
CASES = {
    # 2008 without trade: time zero is the end of 2007, what happens in the mission year does not matter.
    # 2010: active in 2009, but the mission lies in 2007-2009. 2011: active in 2007, 2009, 2010, so structural.
    "the first mission of an incidental exporter, idle in the mission year": {
        "history": "ann FR 2007: x . x x x .",
        "missions": "ann FR 2008-04-01",
        "rows": [(2008, 1, 1)],
    },
    # 2008: active in 2007 only; 2009: active in 2007 and 2008; 2010: not active in 2009.
    "a control stands in every trial it is eligible for": {
        "history": "ben FR 2007: x x",
        "rows": [(2008, 0, 0), (2009, 0, 0)],
    },
    "a structural exporter cannot become one": {
        "history": "cas FR 2005: x x x x x x x x x x x x",
        "missions": "cas FR 2010-01-01",
        "rows": [],
    },
    # 2004-2006 structural; at 2010 the window 2007-2010 holds one year: a trial in 2011.
    "incidental again after having been structural": {
        "history": "cor FR 2004: x x x . . . x",
        "rows": [(2011, 0, 0)],
    },
    # Active in 2006 only: the one year in which it would be incidental belongs to the trial of 2007, outside.
    "not active in the year before is not incidental": {"history": "dan FR 2006: x", "rows": []},
    # 2012: at 2011 the window 2008-2011 holds 2011 only; no mission in 2009-2011, that of 2008 is four years back.
    "missions in the first and in the last usable year": {
        "history": "dirk FR 2007: x . . . x . x x . x",
        "missions": "dirk FR 2008-01-01\ndirk FR 2012-12-31",
        "rows": [(2008, 1, 0), (2012, 1, 1)],
    },
    "missions outside the usable years": {
        "history": "ed FR 2006: x . . . . . x",
        "missions": "ed FR 2007-05-01\ned DE 2013-05-01",
        "rows": [],
    },
    # Trial 2008, window 2004-2007: a firm founded in 2005 or later cannot have been active in all of it.
    "founded as the window begins": {
        "history": "fay FR 2006: x x",
        "life": "fay 2004-",
        "columns": "year young",
        "rows": [(2008, 0)],
    },
    "younger than the window by a year": {
        "history": "fay FR 2006: x x",
        "life": "fay 2005-",
        "columns": "year young",
        "rows": [(2008, 1)],
    },
    "younger than the window by two years": {
        "history": "fay FR 2006: x x",
        "life": "fay 2006-",
        "columns": "year young",
        "rows": [(2008, 1)],
    },
    # It cannot go, nor be the control of one that goes.
    "gone before the mission year": {"history": "gus FR 2007: x", "life": "gus 1999-2007", "rows": []},
    "dies in the year after the mission year": {
        "history": "gus FR 2007: x",
        "life": "gus 1999-2008",
        "columns": DEATH,
        "rows": [(2008, 0, 0, 1)],
    },
    "dies in the last outcome year": {
        "history": "gus FR 2007: x",
        "life": "gus 1999-2011",
        "columns": DEATH,
        "rows": [(2008, 0, 0, 1)],
    },
    "dies after the outcome years": {
        "history": "gus FR 2007: x",
        "life": "gus 1999-2012",
        "columns": DEATH,
        "rows": [(2008, 0, 0, 0)],
    },
    "a participant that dies stays in the count": {
        "history": "guy FR 2007: x",
        "missions": "guy FR 2008-02-01",
        "life": "guy 1999-2008",
        "columns": DEATH,
        "rows": [(2008, 1, 0, 1)],
    },
    # 2009, 2010 and 2011 active, gone in 2012: the outcome is composite, a firm that dies is not structural.
    # 2010: active in 2007 and 2009, incidental.
    "three active years before death do not make a dead firm structural": {
        "history": "ger FR 2007: x . x x x",
        "life": "ger 1999-2011",
        "columns": DEATH,
        "rows": [(2008, 0, 0, 1), (2010, 0, 0, 1)],
    },
    # 2008: control, the mission of 2010 is left as it falls. 2010: treated (active 2007, 2009).
    # 2012: active in 2011 with 2009, but the mission lies in 2009-2011.
    "treated after having been a control": {
        "history": "hans FR 2007: x . x . x x x",
        "missions": "hans FR 2010-06-01",
        "rows": [(2008, 0, 1), (2010, 1, 1)],
    },
    "two missions in one year are one treatment, of the earliest": {
        "history": "iris FR 2009: x",
        "missions": "iris BR 2010-09-01\niris CN 2010-03-01",
        "columns": "year treated mission",
        "rows": [(2010, 1, "CN-2010-03-01")],
    },
    "two persons of one firm are one treatment": {
        "history": "iris FR 2009: x",
        "missions": "iris BR 2010-09-01\niris BR 2010-09-01",
        "rows": [(2010, 1, 0)],
    },
    # Trials 2010 and 2012 would be open: active in 2009 and in 2011.
    "a mission three years back washes out": {
        "history": "jet FR 2009: x . x",
        "missions": "jet DE 2009-05-01",
        "rows": [],
    },
    "a mission four years back does not": {
        "history": "jet FR 2009: x . x",
        "missions": "jet DE 2008-05-01",
        "rows": [(2012, 0, 0)],
    },
    "other support and missions without a minister are no treatment": {
        "history": "rosa FR 2007: x",
        "missions": "rosa FR 2008-05-01 trade_fair\nrosa FR 2008-06-01 no-minister",
        "rows": [(2008, 0, 0)],
    },
    "imports make no exporter": {"history": "kai FR import 2007: x", "rows": []},
    "imports after the mission year are no structural exports": {
        "history": "kai FR 2007: x\nkai FR import 2009: x x x",
        "rows": [(2008, 0, 0)],
    },
    # 2009 corrected to nothing, 2011 to less: 2010 and 2012 remain. At 2010: 2007 and 2010 active, incidental.
    "corrected years are not active": {
        "history": "mia FR 2007: x . 100-100 x 100-150 x",
        "rows": [(2008, 0, 0), (2011, 0, 0)],
    },
    # Founded 1990 and never ended: it exists, though the register lacks its rows of 2007 and 2008.
    "a firm with years missing from the register keeps its row": {
        "history": "nico FR 2007: x",
        "absent": "nico 2007\nnico 2008",
        "columns": "year not_in_register",
        "rows": [(2008, 1)],
    },
    "a firm with all its years in the register": {
        "history": "nina FR 2007: x",
        "columns": "year not_in_register",
        "rows": [(2008, 0)],
    },
    # 2009 under the old number, 2010 and 2011 under the new one: structural. Nobody died, nobody is young.
    "a renumbered firm is followed to its successor": {
        "history": "old FR 2007: x . x\nnew FR 2010: x x",
        "life": "old 1999-2009\nnew 2010-",
        "identities": "old new 2010-01-01 renumbered",
        "firm": None,
        "columns": "firm year outcome died young",
        "rows": [("new", 2008, 1, 0, 0), ("new", 2010, 0, 0, 0)],
    },
    "a mission of the old number treats the successor": {
        "history": "old FR 2007: x\nnew FR 2010: x",
        "life": "old 1999-2009\nnew 2010-",
        "identities": "old new 2010-01-01 renumbered",
        "missions": "old FR 2008-05-01",
        "firm": None,
        "columns": "firm year treated",
        "rows": [("new", 2008, 1)],
    },
    # At 2007 active in three of four years over its markets.
    "structural as a firm, though in no market": {
        "history": "olga FR 2005: x\nolga DE 2006: x\nolga US 2007: x",
        "rows": [],
    },
}


@pytest.fixture(scope="module")
def table(panel_of_cases):
    with panel_of_cases(CASES) as panel:
        yield transition_risk_set(panel).collect()


@pytest.mark.parametrize("case", CASES)
def test_rows(table, rows_of_case, case):
    assert rows_of_case(table, CASES, case, CASES[case].get("columns", ARM)) == CASES[case]["rows"]


def trials(panel_of, rows, histories, firm, columns=ARM, level=None, **settings):
    return rows(transition_risk_set(panel_of(histories, **settings), level=level).collect(), columns, firm)


def test_missions_outside_the_usable_years_are_counted(panel_of):
    missions = "ann FR 2007-05-01\nann DE 2013-05-01\nann JP 2014-05-01\nben FR 2008-05-01"
    flow = transition_risk_set(panel_of("ben FR 2007: x", missions=missions)).flow.frame()
    outside = flow[flow["step"].str.contains("not usable")]
    # The guide goes every year from 2005: three missions before 2008 and four after 2012; ann one and two.
    assert outside["rows"].astype(int).tolist() == [4, 6]
    assert any("2008-2012" in step for step in flow["step"])


def test_pool_never_keeps_no_control_that_is_treated_later(panel_of, rows):
    history, rule = "hans FR 2007: x . x . x x x\nben FR 2007: x", CBS_2024.replace(pool="never")
    found = trials(panel_of, rows, history, None, "firm year treated", missions="hans FR 2010-06-01", definitions=rule)
    assert found == [("ben", 2008, 0), ("hans", 2010, 1)]


def test_a_lost_identity_is_not_counted_as_not_structural(panel_of, rows):
    # Censored: its outcome after 2010 is not known. It is left out, and counted.
    risk = transition_risk_set(
        panel_of("lot FR 2007: x", life="lot 1999-2009", identities="lot - 2010-01-01 restructuring")
    )
    assert rows(risk.collect(), ARM, "lot") == []
    assert risk.flow.frame()["reason"].str.contains("identity lost").any()


def test_firm_by_market(panel_of, rows):
    # Incidental in Kenya at 2007, structural there in 2009-2011; as a firm it has been structural since 2007.
    history = "olga FR 2005: x\nolga DE 2006: x\nolga KE 2007: x . x x x\notto KE 2007: x\notto DE 2007: x"
    panel = panel_of(history, missions="otto DE 2008-05-01")
    found = rows(transition_risk_set(panel, level="market").collect(), "firm market year treated outcome")
    # Otto goes to Germany: its pair with Kenya is not its own control.
    assert found == [("olga", "KE", 2008, 0, 1), ("olga", "KE", 2010, 0, 0), ("otto", "DE", 2008, 1, 0)]


def test_counting_from_the_mission_year_is_a_variant(panel_of, rows):
    # pim is active in 2008, 2009 and 2010: three of t..t+3, two of t+1..t+4. pam: 2013 is one more usable year.
    history, missions = "pim FR 2007: x x x x\npam FR 2012: x x x x", "pam FR 2013-01-01"
    found = trials(panel_of, rows, history, None, f"firm {ARM}", missions=missions)
    assert ("pim", 2008, 0, 0) in found and all(r[:2] != ("pam", 2013) for r in found)
    rule = CBS_2024.replace(count_from="t")
    found = trials(panel_of, rows, history, None, f"firm {ARM}", missions=missions, definitions=rule)
    assert ("pim", 2008, 0, 1) in found and ("pam", 2013, 1, 1) in found
