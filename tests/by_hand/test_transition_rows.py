"""Who is in the transition risk set, in which trial, in which arm and with which outcome.

Data run over 2004-2016, so trials run over the mission years 2008-2012: the window t-4..t-1 and the outcome years
t+1..t+4 both lie in the data. In a trial: firms that export in t-1 and are not structural then, without a listed
mission in t-3..t-1, in the register in t. Treated: a mission in t. Outcome: exports in at least three of t+1..t+4.
"""

import pytest

from missie_impact import CBS_2024, transition_risk_set

ARM = "year treated outcome"


def trials(panel_of, rows, histories, firm, columns=ARM, level=None, **settings):
    return rows(transition_risk_set(panel_of(histories, **settings), level=level).collect(), columns, firm)


def test_first_mission_of_an_incidental_exporter(panel_of, rows):
    # 2008 without trade: time zero is the end of 2007, what happens in the mission year does not matter.
    # 2010: active in 2009, but the mission lies in 2007-2009. 2011: active in 2007, 2009, 2010, so structural.
    found = trials(panel_of, rows, "ann FR 2007: x . x x x .", "ann", missions="ann FR 2008-04-01")
    assert found == [(2008, 1, 1)]


def test_a_control_stands_in_every_trial_it_is_eligible_for(panel_of, rows):
    # 2008: active in 2007 only; 2009: active in 2007 and 2008; 2010: not active in 2009.
    assert trials(panel_of, rows, "ben FR 2007: x x", "ben") == [(2008, 0, 0), (2009, 0, 0)]


def test_a_structural_exporter_cannot_become_one(panel_of, rows):
    assert trials(panel_of, rows, "cas FR 2005: x x x x x x x x x x x x", "cas", missions="cas FR 2010-01-01") == []


def test_incidental_again_after_having_been_structural(panel_of, rows):
    # 2004-2006 structural; at 2010 the window 2007-2010 holds one year: a trial in 2011.
    assert trials(panel_of, rows, "cor FR 2004: x x x . . . x", "cor") == [(2011, 0, 0)]


def test_not_active_in_the_year_before_is_not_incidental(panel_of, rows):
    # Active in 2006 only: the one year in which it would be incidental belongs to the trial of 2007, outside.
    assert trials(panel_of, rows, "dan FR 2006: x", "dan") == []


def test_missions_in_the_first_and_in_the_last_usable_year(panel_of, rows):
    # 2012: at 2011 the window 2008-2011 holds 2011 only; no mission in 2009-2011, that of 2008 is four years back.
    found = trials(
        panel_of,
        rows,
        "dirk FR 2007: x . . . x . x x . x",
        "dirk",
        missions="dirk FR 2008-01-01\ndirk FR 2012-12-31",
    )
    assert found == [(2008, 1, 0), (2012, 1, 1)]


def test_missions_outside_the_usable_years_make_no_trial_and_are_counted(panel_of, rows):
    panel = panel_of(
        "ed FR 2006: x . . . . . x\nann FR 2007: x", missions="ed FR 2007-05-01\ned DE 2013-05-01\nann FR 2008-05-01"
    )
    risk = transition_risk_set(panel)
    assert rows(risk.collect(), ARM, "ed") == []
    reasons = " ".join(risk.flow.frame()["reason"].astype(str)) + " ".join(risk.flow.frame()["step"].astype(str))
    assert "2008" in reasons and "2012" in reasons


@pytest.mark.parametrize(("founded", "young"), [(2003, 0), (2004, 0), (2005, 1), (2006, 1)])
def test_a_firm_younger_than_the_window_is_its_own_stratum(panel_of, rows, founded, young):
    # Trial 2008, window 2004-2007: a firm founded in 2005 or later cannot have been active in all of it.
    found = trials(panel_of, rows, "fay FR 2006: x x", "fay", "year young", life=f"fay {founded}-")
    assert found == [(2008, young)]


@pytest.mark.parametrize(
    ("last_year_in_register", "expected"),
    [
        (2007, []),  # not there in the mission year: it cannot go, nor be the control of one that goes
        (2008, [(2008, 0, 0, 1)]),
        (2009, [(2008, 0, 0, 1)]),
        (2011, [(2008, 0, 0, 1)]),  # gone in 2012, the last outcome year
        (2012, [(2008, 0, 0, 0)]),  # gone in 2013, after the outcome years
    ],
)
def test_a_firm_that_dies_is_not_structural_and_stays_in_the_count(panel_of, rows, last_year_in_register, expected):
    found = trials(
        panel_of, rows, "gus FR 2007: x", "gus", "year treated outcome died", life=f"gus 1999-{last_year_in_register}"
    )
    assert found == expected


def test_a_treated_firm_that_dies_in_the_year_after_the_mission(panel_of, rows):
    found = trials(
        panel_of,
        rows,
        "guy FR 2007: x",
        "guy",
        "year treated outcome died",
        missions="guy FR 2008-02-01",
        life="guy 1999-2008",
    )
    assert found == [(2008, 1, 0, 1)]


def test_three_active_years_before_death_do_not_make_a_dead_firm_structural(panel_of, rows):
    # 2009, 2010 and 2011 active, gone in 2012: the outcome is composite, a firm that dies is not structural.
    found = trials(panel_of, rows, "ger FR 2007: x . x x x", "ger", "year treated outcome died", life="ger 1999-2011")
    assert (2008, 0, 0, 1) in found


def test_treated_after_having_been_a_control(panel_of, rows):
    # 2008: control, the mission of 2010 is left as it falls. 2010: treated (active 2007, 2009).
    # 2012: active in 2011 with 2009, but the mission lies in 2009-2011.
    found = trials(panel_of, rows, "hans FR 2007: x . x . x x x", "hans", missions="hans FR 2010-06-01")
    assert found == [(2008, 0, 1), (2010, 1, 1)]


def test_pool_never_keeps_no_control_that_is_treated_later(panel_of, rows):
    found = trials(
        panel_of,
        rows,
        "hans FR 2007: x . x . x x x\nben FR 2007: x",
        None,
        "firm year treated",
        missions="hans FR 2010-06-01",
        definitions=CBS_2024.replace(pool="never"),
    )
    assert found == [("ben", 2008, 0), ("hans", 2010, 1)]


def test_two_missions_in_one_year_are_one_treatment_of_the_earliest(panel_of, rows):
    found = trials(
        panel_of,
        rows,
        "iris FR 2009: x",
        "iris",
        "year treated mission",
        missions="iris BR 2010-09-01\niris CN 2010-03-01",
    )
    assert found == [(2010, 1, "CN-2010-03-01")]


def test_two_persons_of_one_firm_are_one_treatment(panel_of, rows):
    found = trials(
        panel_of, rows, "iris FR 2009: x", "iris", "year treated", missions="iris BR 2010-09-01\niris BR 2010-09-01"
    )
    assert found == [(2010, 1)]


def test_a_mission_three_years_back_washes_out_and_four_years_back_does_not(panel_of, rows):
    history = "jet FR 2009: x . x"
    assert trials(panel_of, rows, history, "jet", missions="jet DE 2009-05-01") == []  # trials 2010 and 2012
    assert trials(panel_of, rows, history, "jet", missions="jet DE 2008-05-01") == [(2012, 0, 0)]


def test_other_support_and_missions_without_a_minister_are_no_treatment(panel_of, rows):
    found = trials(
        panel_of,
        rows,
        "rosa FR 2007: x",
        "rosa",
        missions="rosa FR 2008-05-01 trade_fair\nrosa FR 2008-06-01 no-minister",
    )
    assert found == [(2008, 0, 0)]


def test_imports_make_no_exporter(panel_of, rows):
    assert trials(panel_of, rows, "kai FR import 2007: x", "kai") == []
    # Three years of imports after the mission year are no structural exports.
    found = trials(panel_of, rows, "kai FR 2007: x\nkai FR import 2009: x x x", "kai")
    assert found == [(2008, 0, 0)]


def test_corrected_years_are_not_active(panel_of, rows):
    # 2009 corrected to zero, 2011 to less: 2010 and 2012 remain. At 2010: 2007 and 2010 active, incidental.
    found = trials(panel_of, rows, "mia FR 2007: x . 100-100 x 100-150 x", "mia")
    assert found[:2] == [(2008, 0, 0), (2011, 0, 0)]


def test_a_firm_year_missing_from_the_register_keeps_its_row(panel_of, rows):
    # Founded 1990 and never ended: it exists, though the register lacks its rows of 2007 and 2008.
    found = trials(panel_of, rows, "nico FR 2007: x", "nico", "year not_in_register", absent="nico 2007\nnico 2008")
    assert found == [(2008, 1)]
    assert trials(panel_of, rows, "nina FR 2007: x", "nina", "year not_in_register") == [(2008, 0)]


def test_a_renumbered_firm_is_followed_to_its_successor(panel_of, rows):
    # 2009 under the old number, 2010 and 2011 under the new one: structural. Nobody died.
    found = trials(
        panel_of,
        rows,
        "old FR 2007: x . x\nnew FR 2010: x x",
        None,
        "firm year outcome died young",
        life="old 1999-2009\nnew 2010-",
        identities="old new 2010-01-01 renumbered",
    )
    assert found[0] == ("new", 2008, 1, 0, 0)
    assert all(firm != "old" for firm, *_ in found)


def test_a_mission_of_the_old_number_treats_the_successor(panel_of, rows):
    found = trials(
        panel_of,
        rows,
        "old FR 2007: x\nnew FR 2010: x",
        None,
        "firm year treated",
        life="old 1999-2009\nnew 2010-",
        identities="old new 2010-01-01 renumbered",
        missions="old FR 2008-05-01",
    )
    assert found == [("new", 2008, 1)]


def test_a_lost_identity_is_not_counted_as_not_structural(panel_of, rows):
    # Censored: its outcome after 2010 is not known.
    found = trials(
        panel_of,
        rows,
        "lot FR 2007: x",
        "lot",
        "year outcome died",
        life="lot 1999-2009",
        identities="lot - 2010-01-01 restructuring",
    )
    assert (2008, 0, 0) not in found and (2008, 0, 1) not in found


def test_firm_level_against_firm_by_market(panel_of, rows):
    # At 2007 active in three of four years over its markets: structural as a firm, incidental in Kenya.
    history = "olga FR 2005: x\nolga DE 2006: x\nolga KE 2007: x . x x x"
    assert [r for r in trials(panel_of, rows, history, "olga") if r[0] == 2008] == []
    by_market = trials(panel_of, rows, history, "olga", "market year treated outcome", level="market")
    assert ("KE", 2008, 0, 1) in by_market


def test_a_mission_elsewhere_is_no_treatment_of_the_pair(panel_of, rows):
    history = "otto KE 2007: x\notto DE 2007: x"
    found = trials(
        panel_of, rows, history, "otto", "market year treated", level="market", missions="otto DE 2008-05-01"
    )
    assert ("DE", 2008, 1) in found
    assert ("KE", 2008, 0) not in found  # nor is it its own firm's control


def test_counting_from_the_mission_year_is_a_variant(panel_of, rows):
    # Active in 2008, 2009 and 2010: three of t..t+3, two of t+1..t+4.
    history = "pim FR 2007: x x x x"
    assert (2008, 0, 0) in trials(panel_of, rows, history, "pim")
    assert (2008, 0, 1) in trials(panel_of, rows, history, "pim", definitions=CBS_2024.replace(count_from="t"))
    late = trials(
        panel_of,
        rows,
        "pam FR 2012: x x x x",
        "pam",
        definitions=CBS_2024.replace(count_from="t"),
        missions="pam FR 2013-01-01",
    )
    assert late == [(2013, 1, 1)]  # t..t+3 = 2013..2016: one more usable year
