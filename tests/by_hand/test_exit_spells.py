"""Whole spells: one row per year in which a pair may leave, from the year after it became structural.

Duration counts from the first year of the spell (its origin), so a row covers (duration - 1, duration] and a pair
enters late: status takes three years. The treatment of row e counts missions to the market up to e-1.
"""

import pytest

from missie_impact import CBS_2024, exit_risk_set

ROW = "year start duration cause"
CASES = {
    # 2006-2010 active; three of four years at 2008, so rows from 2009; exit in 2011.
    "entry is delayed until the pair is structural": {
        "history": "ann KE 2006: x x x x x",
        "rows": [(2009, 2, 3, "none"), (2010, 3, 4, "none"), (2011, 4, 5, "exit")],
    },
    "the mission counts from the year after": {
        "history": "ann KE 2006: x x x x x",
        "missions": "ann KE 2009-05-01",
        "columns": "year treated missions_before",
        "rows": [(2009, 0, 0), (2010, 1, 1), (2011, 1, 1)],
    },
    "a mission elsewhere does not treat the pair": {
        "history": "ann KE 2006: x x x x x",
        "missions": "ann FR 2009-05-01",
        "columns": "year treated",
        "rows": [(2009, 0), (2010, 0), (2011, 0)],
    },
    "a mission before the risk set": {
        "history": "ann KE 2006: x x x x x",
        "missions": "ann KE 2007-05-01",
        "columns": "year missions_before",
        "rows": [(2009, 1), (2010, 1), (2011, 1)],
    },
    # Two in 2009 are one; that of 2003 precedes the data.
    "several missions of a pair": {
        "history": "ann KE 2006: x x x x x x x",
        "missions": "ann KE 2010-05-01\nann KE 2009-05-01\nann KE 2009-09-01\nann KE 2003-05-01\nann KE 2012-05-01",
        "columns": "year treated missions_before years_since repeated",
        "rows": [(2009, 1, 1, 6, 0), (2010, 1, 2, 7, 1), (2011, 1, 3, 8, 1), (2012, 1, 3, 9, 1), (2013, 1, 4, 10, 1)],
    },
    "a gap of one year": {
        "history": "eva KE 2006: x x x x . x x",
        "rows": [(2009, 2, 3, "none"), (2010, 3, 4, "none"), (2012, 5, 6, "none"), (2013, 6, 7, "exit")],
    },
    # 2006, 2007, 2009: three of four at 2009.
    "a gap before the pair is structural": {
        "history": "eva KE 2006: x x . x x",
        "rows": [(2010, 3, 4, "none"), (2011, 4, 5, "exit")],
    },
    "death in the exit year": {
        "history": "fay KE 2006: x x x x",
        "life": "fay 1999-2009",
        "columns": "year cause outcome",
        "rows": [(2009, "none", 0), (2010, "death", 0)],
    },
    "death in the year after": {
        "history": "fay KE 2006: x x x x",
        "life": "fay 1999-2010",
        "columns": "year cause outcome",
        "rows": [(2009, "none", 0), (2010, "death", 0)],
    },
    "death two years after": {
        "history": "fay KE 2006: x x x x",
        "life": "fay 1999-2011",
        "columns": "year cause outcome",
        "rows": [(2009, "none", 0), (2010, "exit", 1)],
    },
    "identity lost": {
        "history": "fay KE 2006: x x x x",
        "life": "fay 1999-2009",
        "identities": "fay - 2010-01-01 restructuring",
        "columns": "year cause outcome",
        "rows": [(2009, "none", 0), (2010, "lost", 0)],
    },
    "re-entry starts a new spell with a clock of its own": {
        "history": "ger KE 2006: x x x x . . x x x x",
        "rows": [(2009, 2, 3, "none"), (2010, 3, 4, "exit"), (2015, 2, 3, "none")],
    },
    "no row of the last year": {"history": "hal KE 2012: x x x x x", "rows": [(2015, 2, 3, "none")]},
    "the last year without trade decides nothing": {
        "history": "hal KE 2012: x x x x .",
        "rows": [(2015, 2, 3, "none")],
    },
    "structural too late for a row": {"history": "hal KE 2013: x x x x", "rows": []},
    "markets need no mission": {
        "history": "ina ES 2006: x x x x x",
        "columns": "market year",
        "rows": [("ES", 2009), ("ES", 2010), ("ES", 2011)],
    },
}


@pytest.fixture(scope="module")
def table(panel_of_cases):
    with panel_of_cases(CASES) as panel:
        yield exit_risk_set(panel, kind="spells").collect()


@pytest.mark.parametrize("case", CASES)
def test_rows(table, rows_of_case, case):
    assert rows_of_case(table, CASES, case, CASES[case].get("columns", ROW)) == CASES[case]["rows"]


def test_an_unseen_origin_has_no_known_duration(panel_of, rows):
    # Dropped or a class of its own, never given a duration as if it began with the data.
    panel = panel_of("jan KE 2004: x x x x x x")
    found = rows(exit_risk_set(panel, kind="spells").collect(), "year duration origin_seen", "jan")
    assert [duration for _, duration, seen in found if not seen and duration is not None] == []


def test_the_other_common_rule_dates_the_last_active_year(panel_of, rows):
    # gap_years=1, row_year="last_active": active in the row's year, exit if not active in the next. In 2011 the pair
    # has traded in three of four years once more.
    rule = CBS_2024.replace(gap_years=1, row_year="last_active", origin_zeros=1)
    panel = panel_of("kim KE 2006: x x x x . x", definitions=rule)
    found = rows(exit_risk_set(panel, kind="spells").collect(), "year cause outcome", "kim")
    assert found == [(2008, "none", 0), (2009, "exit", 1), (2011, "exit", 1)]
