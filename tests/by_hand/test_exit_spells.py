"""Whole spells: one row per year in which a pair may leave, from the year after it became structural.

Duration counts from the first year of the spell (its origin), so a row covers (duration - 1, duration] and a pair
enters late: status takes three years. The treatment of row e counts missions to the market up to e-1.
"""

from missie_impact import CBS_2024, exit_risk_set

ROW = "year start duration cause"


def spells(panel_of, rows, histories, firm, columns=ROW, **settings):
    return rows(exit_risk_set(panel_of(histories, **settings), kind="spells").collect(), columns, firm)


def test_entry_is_delayed_until_the_pair_is_structural(panel_of, rows):
    # 2006-2010 active; three of four years at 2008, so rows from 2009; exit in 2011.
    found = spells(panel_of, rows, "ann KE 2006: x x x x x", "ann")
    assert found == [(2009, 2, 3, "none"), (2010, 3, 4, "none"), (2011, 4, 5, "exit")]


def test_the_mission_counts_from_the_year_after(panel_of, rows):
    found = spells(panel_of, rows, "ann KE 2006: x x x x x", "ann", "year treated", missions="ann KE 2009-05-01")
    assert found == [(2009, 0), (2010, 1), (2011, 1)]


def test_a_mission_elsewhere_does_not_treat_the_pair(panel_of, rows):
    found = spells(panel_of, rows, "ann KE 2006: x x x x x", "ann", "year treated", missions="ann FR 2009-05-01")
    assert found == [(2009, 0), (2010, 0), (2011, 0)]


def test_a_mission_before_the_risk_set_is_told_apart(panel_of, rows):
    early = spells(
        panel_of, rows, "ann KE 2006: x x x x x", "ann", "year missions_before", missions="ann KE 2007-05-01"
    )
    assert {bool(m) for _, m in early} == {True}
    late = spells(panel_of, rows, "ann KE 2006: x x x x x", "ann", "year missions_before", missions="ann KE 2009-05-01")
    assert bool(late[0][1]) is False


def test_a_gap_of_one_year(panel_of, rows):
    found = spells(panel_of, rows, "eva KE 2006: x x x x . x x", "eva")
    assert found == [(2009, 2, 3, "none"), (2010, 3, 4, "none"), (2012, 5, 6, "none"), (2013, 6, 7, "exit")]


def test_a_gap_before_the_pair_is_structural(panel_of, rows):
    # 2006, 2007, 2009: three of four at 2009.
    found = spells(panel_of, rows, "eva KE 2006: x x . x x", "eva")
    assert found == [(2010, 3, 4, "none"), (2011, 4, 5, "exit")]


def test_causes(panel_of, rows):
    history = "fay KE 2006: x x x x"
    assert spells(panel_of, rows, history, "fay", "year cause", life="fay 1999-2009")[-1] == (2010, "death")
    assert spells(panel_of, rows, history, "fay", "year cause", life="fay 1999-2010")[-1] == (2010, "death")
    assert spells(panel_of, rows, history, "fay", "year cause", life="fay 1999-2011")[-1] == (2010, "exit")
    lost = spells(
        panel_of, rows, history, "fay", "year cause", life="fay 1999-2009", identities="fay - 2010-01-01 restructuring"
    )
    assert lost[-1] == (2010, "lost")


def test_re_entry_starts_a_new_spell_with_a_clock_of_its_own(panel_of, rows):
    found = spells(panel_of, rows, "ger KE 2006: x x x x . . x x x x", "ger")
    assert found == [(2009, 2, 3, "none"), (2010, 3, 4, "exit"), (2015, 2, 3, "none")]


def test_no_row_of_the_last_year(panel_of, rows):
    found = spells(panel_of, rows, "hal KE 2012: x x x x x", "hal")
    assert found == [(2015, 2, 3, "none")]
    found = spells(panel_of, rows, "hal KE 2012: x x x x .", "hal")
    assert found == [(2015, 2, 3, "none")]  # 2016 without trade decides nothing
    assert spells(panel_of, rows, "hal KE 2013: x x x x", "hal") == []


def test_markets_need_no_mission(panel_of, rows):
    found = spells(panel_of, rows, "ina FR 2006: x x x x x", "ina", "market year")
    assert found == [("FR", 2009), ("FR", 2010), ("FR", 2011)]


def test_an_unseen_origin_has_no_known_duration(panel_of, rows):
    # Dropped or a class of its own, never given a duration as if it began with the data.
    found = spells(panel_of, rows, "jan KE 2004: x x x x x x", "jan", "year duration origin_seen")
    assert [duration for _, duration, seen in found if not seen and duration is not None] == []


def test_the_other_common_rule_dates_the_last_active_year(panel_of, rows):
    # gap_years=1, row_year="last_active": active in the row's year, exit if not active in the next. In 2011 the pair
    # has traded in three of four years once more.
    rule = CBS_2024.replace(gap_years=1, row_year="last_active", origin_zeros=1)
    found = spells(panel_of, rows, "kim KE 2006: x x x x . x", "kim", "year cause outcome", definitions=rule)
    assert found == [(2008, "none", 0), (2009, "exit", 1), (2011, "exit", 1)]
