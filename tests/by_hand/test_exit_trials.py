"""Trials of market exit: one row per pair, trial and year of follow-up.

Data run over 2004-2016, so trials run over 2008-2014 and rows to 2015: what the last year would hold only decides
the year before. In trial t: pairs active in t-1 and structural then, active in t as well, the firm in the register
in t, the market host to a listed mission in t, no listed mission of the firm to it in t-3..t-1. Pairs of a firm that
goes elsewhere in t are not controls. Follow-up from t+1, at most five years; a row in year e if the pair was active
in e-1. Kenya is host every year here.
"""

import pytest

from missie_impact import CBS_2024, exit_risk_set

ROW = "year exit_year cause"
ALWAYS = " ".join("x" * 13)


def trials(panel_of, rows, histories, firm, columns=ROW, start_from="t+1", **settings):
    risk = exit_risk_set(panel_of(histories, **settings), kind="trials", start_from=start_from)
    return rows(risk.collect(), columns, firm)


def test_a_pair_that_never_leaves(panel_of, rows):
    found = trials(panel_of, rows, f"ann KE 2004: {ALWAYS}", "ann", "year exit_year cause outcome treated")
    wanted = [(t, e, "none", 0, 0) for t in range(2008, 2015) for e in range(t + 1, min(t + 5, 2015) + 1)]
    assert found == wanted
    assert len(wanted) == 25


def test_start_and_duration_count_from_the_mission_year(panel_of, rows):
    found = trials(panel_of, rows, f"ann KE 2004: {ALWAYS}", "ann", "year exit_year follow_up start duration")
    assert found[:5] == [(2008, 2008 + k, k, k - 1, k) for k in range(1, 6)]


def test_exit_is_dated_in_the_first_of_two_years_without_trade(panel_of, rows):
    found = trials(panel_of, rows, "ben KE 2004: x x x x x x", "ben", "year exit_year cause outcome")
    assert found == [(2008, 2009, "none", 0), (2008, 2010, "exit", 1), (2009, 2010, "exit", 1)]


def test_a_treated_pair_and_its_washout(panel_of, rows):
    # 2009-2011 would follow a mission within three years; from 2011 on the pair is gone.
    found = trials(
        panel_of,
        rows,
        "cas KE 2004: x x x x x x x",
        "cas",
        "year exit_year cause treated mission",
        missions="cas KE 2008-03-01",
    )
    assert [r[:4] for r in found] == [(2008, 2009, "none", 1), (2008, 2010, "none", 1), (2008, 2011, "exit", 1)]
    assert {r[4] for r in found} == {"KE-2008-03-01"}


def test_trade_that_stops_in_the_mission_year(panel_of, rows):
    # Not active in t: in neither arm of the headline; the variant from t sees the exit of 2008.
    mission = "dirk KE 2008-03-01"
    assert trials(panel_of, rows, "dirk KE 2004: x x x x", "dirk", missions=mission) == []
    early = trials(panel_of, rows, "dirk KE 2004: x x x x", "dirk", start_from="t", missions=mission)
    assert early == [(2008, 2008, "exit")]


def test_the_variant_from_two_years_after(panel_of, rows):
    # Active until t+1 in both arms, rows from t+2.
    late = trials(panel_of, rows, "dora KE 2004: x x x x x x x", "dora", start_from="t+2")
    assert late == [(2008, 2010, "none"), (2008, 2011, "exit"), (2009, 2011, "exit")]
    gone = trials(panel_of, rows, "dora KE 2004: x x x x x", "dora", start_from="t+2")
    assert gone == []


def test_a_gap_of_one_year_is_no_event_and_a_year_off_risk(panel_of, rows):
    # 2010 without trade: no event in 2010, not at risk in 2011, at risk again from 2012.
    found = trials(panel_of, rows, "eva KE 2004: x x x x x x . x x x x x x", "eva", "year exit_year")
    assert [e for t, e in found if t == 2008] == [2009, 2010, 2012, 2013]
    assert [e for t, e in found if t == 2009] == [2010, 2012, 2013, 2014]
    assert [e for t, e in found if t in (2010, 2011)] == []  # not active in 2010, which is t or t-1
    assert [e for t, e in found if t == 2012] == [2013, 2014, 2015]  # active in 2008, 2009, 2011: structural
    assert [e for t, e in found if t == 2013] == [2014, 2015]
    assert [e for t, e in found if t == 2014] == [2015]


@pytest.mark.parametrize(
    ("last_year_in_register", "cause"),
    [(2009, "death"), (2010, "death"), (2011, "exit")],
)
def test_death_in_the_exit_year_or_the_year_after(panel_of, rows, last_year_in_register, cause):
    found = trials(panel_of, rows, "fay KE 2004: x x x x x x", "fay", life=f"fay 1999-{last_year_in_register}")
    assert found == [(2008, 2009, "none"), (2008, 2010, cause), (2009, 2010, cause)]


def test_death_is_a_competing_event_with_outcome_zero(panel_of, rows):
    found = trials(panel_of, rows, "fay KE 2004: x x x x x x", "fay", "cause outcome", life="fay 1999-2009")
    assert set(found) == {("none", 0), ("death", 0)}


@pytest.mark.parametrize(
    ("year", "last"),
    [(2010, 2009), (2011, 2010)],
)
def test_lost_identity_is_its_own_cause(panel_of, rows, year, last):
    found = trials(
        panel_of,
        rows,
        "gil KE 2004: x x x x x x",
        "gil",
        life=f"gil 1999-{last}",
        identities=f"gil - {year}-01-01 restructuring",
    )
    assert found == [(2008, 2009, "none"), (2008, 2010, "lost"), (2009, 2010, "lost")]


def test_the_last_data_year_only_decides_the_year_before(panel_of, rows):
    undecided = trials(panel_of, rows, "gus KE 2010: x x x x x x .", "gus")
    assert undecided == [(2013, 2014, "none"), (2013, 2015, "none"), (2014, 2015, "none")]
    decided = trials(panel_of, rows, "hal KE 2010: x x x x x . .", "hal")
    assert decided == [(2013, 2014, "none"), (2013, 2015, "exit"), (2014, 2015, "exit")]


def test_pairs_of_a_firm_that_goes_elsewhere_are_not_controls(panel_of, rows):
    found = trials(panel_of, rows, f"ina KE 2004: {ALWAYS}", "ina", "year", missions="ina FR 2009-03-01")
    assert sorted(set(found)) == [2008, 2010, 2011, 2012, 2013, 2014]


def test_two_missions_to_one_market(panel_of, rows):
    # The second, three years on, is left as it falls: 2011 is washed out by 2008, 2012-2014 by 2011.
    found = trials(
        panel_of,
        rows,
        f"jos KE 2004: {ALWAYS}",
        "jos",
        "year exit_year treated",
        missions="jos KE 2008-03-01\njos KE 2011-03-01",
    )
    assert found == [(2008, e, 1) for e in range(2009, 2014)]
    # Four years on it is a treatment of its own.
    found = trials(
        panel_of, rows, f"jos KE 2004: {ALWAYS}", "jos", "year treated", missions="jos KE 2008-03-01\njos KE 2012-03-01"
    )
    assert sorted(set(found)) == [(2008, 1), (2012, 1)]


def test_a_control_that_is_treated_later(panel_of, rows):
    found = trials(panel_of, rows, f"kim KE 2004: {ALWAYS}", "kim", "year treated", missions="kim KE 2012-03-01")
    assert sorted(set(found)) == [(2008, 0), (2009, 0), (2010, 0), (2011, 0), (2012, 1)]


def test_imports_keep_a_pair_alive(panel_of, rows):
    found = trials(panel_of, rows, "lea KE 2004: x x x\nlea KE import 2007: x x x", "lea")
    assert found == [(2008, 2009, "none"), (2008, 2010, "exit"), (2009, 2010, "exit")]


def test_a_year_missing_from_the_firm_register_is_not_death(panel_of, rows):
    found = trials(panel_of, rows, "mo KE 2004: x x x x x x", "mo", absent="mo 2009\nmo 2010\nmo 2011")
    assert found == [(2008, 2009, "none"), (2008, 2010, "exit"), (2009, 2010, "exit")]


def test_only_hosts_of_the_year_are_in_its_trial(panel_of, rows):
    # France is host in 2010 alone, through another firm.
    found = trials(panel_of, rows, f"nel FR 2004: {ALWAYS}", "nel", "year treated", missions="ben FR 2010-03-01")
    assert sorted(set(found)) == [(2010, 0)]


def test_incidental_pairs_are_not_at_risk(panel_of, rows):
    # Every other year: never three of four.
    assert trials(panel_of, rows, "oda KE 2004: x . x . x . x . x . x . x", "oda") == []


def test_structural_as_a_firm_is_not_structural_in_the_market(panel_of, rows):
    history = "oda FR 2004: x x x x x x x x x x x x x\noda KE 2007: x x"
    assert trials(panel_of, rows, history, "oda") == []


def test_missions_around_the_usable_years(panel_of, rows):
    last = trials(
        panel_of, rows, f"pia KE 2004: {ALWAYS}", "pia", "year exit_year treated", missions="pia KE 2014-03-01"
    )
    assert [r for r in last if r[2] == 1] == [(2014, 2015, 1)]
    after = trials(panel_of, rows, f"pol KE 2004: {ALWAYS}", "pol", "year treated", missions="pol KE 2015-03-01")
    assert sorted(set(after)) == [(t, 0) for t in range(2008, 2015)]
    before = trials(panel_of, rows, f"pre KE 2004: {ALWAYS}", "pre", "year treated", missions="pre KE 2007-03-01")
    assert sorted(set(before)) == [(t, 0) for t in range(2011, 2015)]


def test_two_markets_of_one_firm_in_one_year(panel_of, rows):
    history = f"rob KE 2004: {ALWAYS}\nrob FR 2004: {ALWAYS}\nrob DE 2004: {ALWAYS}"
    found = trials(
        panel_of,
        rows,
        history,
        "rob",
        "market year treated",
        missions="rob KE 2010-03-01\nrob FR 2010-09-01\nben DE 2010-01-01",
    )
    in_2010 = sorted({r for r in found if r[1] == 2010})
    assert in_2010 == [("FR", 2010, 1), ("KE", 2010, 1)]  # Germany is host too, but is not its firm's control


def test_a_renumbered_firm_has_not_left(panel_of, rows):
    found = trials(
        panel_of,
        rows,
        "old KE 2004: x x x x x x\nnew KE 2010: x x x x x x x",
        None,
        "firm year exit_year cause",
        life="old 1999-2009\nnew 2010-",
        identities="old new 2010-01-01 renumbered",
    )
    assert {r[0] for r in found} == {"new"}
    assert {r[3] for r in found} == {"none"}
    assert len(found) == 25


def test_a_second_spell_is_at_risk_again(panel_of, rows):
    # Left in 2009; back in 2011-2013, structural at 2013: the trial of 2014.
    found = trials(panel_of, rows, "sam KE 2004: x x x x x . . x x x x x", "sam")
    assert found == [(2008, 2009, "exit"), (2014, 2015, "none")]


def test_age_of_the_spell_before_the_mission(panel_of, rows):
    seen = trials(panel_of, rows, "tim KE 2006: x x x x x x x", "tim", "year spell_age_class")
    assert (2010, "4") in seen  # 2006-2009: its fourth year
    unseen = trials(panel_of, rows, "ton KE 2004: x x x x x x", "ton", "year spell_age_class")
    assert set(unseen) == {(2008, "unseen"), (2009, "unseen")}


def test_death_as_exit_and_as_censoring_are_variants(panel_of, rows):
    history, life = "fay KE 2004: x x x x x x", "fay 1999-2009"
    counted = trials(
        panel_of, rows, history, "fay", "exit_year outcome", life=life, definitions=CBS_2024.replace(death="exit")
    )
    assert counted == [(2009, 0), (2010, 1), (2010, 1)]
    censored = trials(
        panel_of, rows, history, "fay", "exit_year outcome", life=life, definitions=CBS_2024.replace(death="censor")
    )
    assert [r for r in censored if r[1] == 1] == []
