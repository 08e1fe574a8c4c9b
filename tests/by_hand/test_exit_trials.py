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
ALWAYS = " ".join("x" * 13)  # 2004 to 2016


def every(*years: int) -> list[tuple[int, int, str]]:
    """Rows of a pair that never leaves, in the trials of some years."""
    return [(t, e, "none") for t in years for e in range(t + 1, min(t + 5, 2015) + 1)]


CASES = {
    "a pair that never leaves": {"history": f"ann KE 2004: {ALWAYS}", "rows": every(*range(2008, 2015))},
    "years of follow-up count from the mission year": {
        "history": "ann KE 2006: x x x x x x x x x x x",
        "columns": "year exit_year follow_up start duration outcome treated",
        "rows": [(t, t + k, k, k - 1, k, 0, 0) for t in range(2009, 2015) for k in range(1, min(5, 2015 - t) + 1)],
    },
    "exit is dated in the first of two years without trade": {
        "history": "ben KE 2004: x x x x x x",
        "columns": "year exit_year cause outcome",
        "rows": [(2008, 2009, "none", 0), (2008, 2010, "exit", 1), (2009, 2010, "exit", 1)],
    },
    # 2009-2011 would follow a mission within three years; from 2011 on the pair is gone.
    "a treated pair and its washout": {
        "history": "cas KE 2004: x x x x x x x",
        "missions": "cas KE 2008-03-01",
        "columns": "year exit_year cause treated mission",
        "rows": [
            (2008, 2009, "none", 1, "KE-2008-03-01"),
            (2008, 2010, "none", 1, "KE-2008-03-01"),
            (2008, 2011, "exit", 1, "KE-2008-03-01"),
        ],
    },
    # Not active in t: in neither arm of the headline.
    "trade that stops in the mission year": {
        "history": "dirk KE 2004: x x x x",
        "missions": "dirk KE 2008-03-01",
        "rows": [],
    },
    # 2010 without trade: no event in 2010, not at risk in 2011, at risk again from 2012. No trial in which 2010 is
    # t-1 or t; in 2012-2014 structural again, with 2008, 2009 and 2011 as its first three years.
    "a gap of one year is no event and a year off risk": {
        "history": "eva KE 2004: x x x x x x . x x x x x x",
        "columns": "year exit_year",
        "rows": [
            *((2008, e) for e in (2009, 2010, 2012, 2013)),
            *((2009, e) for e in (2010, 2012, 2013, 2014)),
            *((2012, e) for e in (2013, 2014, 2015)),
            *((2013, e) for e in (2014, 2015)),
            (2014, 2015),
        ],
    },
    "death in the exit year competes": {
        "history": "fay KE 2004: x x x x x x",
        "life": "fay 1999-2009",
        "columns": "year exit_year cause outcome",
        "rows": [(2008, 2009, "none", 0), (2008, 2010, "death", 0), (2009, 2010, "death", 0)],
    },
    "death in the year after the exit year competes too": {
        "history": "fay KE 2004: x x x x x x",
        "life": "fay 1999-2010",
        "rows": [(2008, 2009, "none"), (2008, 2010, "death"), (2009, 2010, "death")],
    },
    "death two years after leaves an exit": {
        "history": "fay KE 2004: x x x x x x",
        "life": "fay 1999-2011",
        "rows": [(2008, 2009, "none"), (2008, 2010, "exit"), (2009, 2010, "exit")],
    },
    "an identity lost in the exit year is its own cause": {
        "history": "gil KE 2004: x x x x x x",
        "life": "gil 1999-2009",
        "identities": "gil - 2010-01-01 restructuring",
        "rows": [(2008, 2009, "none"), (2008, 2010, "lost"), (2009, 2010, "lost")],
    },
    "an identity lost in the year after as well": {
        "history": "gil KE 2004: x x x x x x",
        "life": "gil 1999-2010",
        "identities": "gil - 2011-01-01 restructuring",
        "rows": [(2008, 2009, "none"), (2008, 2010, "lost"), (2009, 2010, "lost")],
    },
    "the last data year alone decides nothing": {
        "history": "gus KE 2010: x x x x x x .",
        "rows": [(2013, 2014, "none"), (2013, 2015, "none"), (2014, 2015, "none")],
    },
    "the last data year decides the year before": {
        "history": "hal KE 2010: x x x x x . .",
        "rows": [(2013, 2014, "none"), (2013, 2015, "exit"), (2014, 2015, "exit")],
    },
    "pairs of a firm that goes elsewhere are not controls": {
        "history": f"ina KE 2004: {ALWAYS}",
        "missions": "ina JP 2009-03-01",
        "rows": every(2008, 2010, 2011, 2012, 2013, 2014),
    },
    # The second, three years on, is left as it falls: 2011 is washed out by 2008, 2012-2014 by 2011.
    "two missions to one market three years apart": {
        "history": f"jos KE 2004: {ALWAYS}",
        "missions": "jos KE 2008-03-01\njos KE 2011-03-01",
        "columns": "year exit_year cause treated",
        "rows": [(*r, 1) for r in every(2008)],
    },
    "two missions to one market four years apart": {
        "history": f"jos KE 2004: {ALWAYS}",
        "missions": "jos KE 2008-03-01\njos KE 2012-03-01",
        "columns": "year exit_year cause treated",
        "rows": [(*r, 1) for r in every(2008, 2012)],
    },
    "a control that is treated later": {
        "history": f"kim KE 2004: {ALWAYS}",
        "missions": "kim KE 2012-03-01",
        "columns": "year exit_year cause treated",
        "rows": [(*r, int(r[0] == 2012)) for r in every(2008, 2009, 2010, 2011, 2012)],
    },
    "imports keep a pair alive": {
        "history": "lea KE 2004: x x x\nlea KE import 2007: x x x",
        "rows": [(2008, 2009, "none"), (2008, 2010, "exit"), (2009, 2010, "exit")],
    },
    "years missing from the firm register are not death": {
        "history": "mo KE 2004: x x x x x x",
        "absent": "mo 2009\nmo 2010\nmo 2011",
        "rows": [(2008, 2009, "none"), (2008, 2010, "exit"), (2009, 2010, "exit")],
    },
    # Italy is host in 2010 alone, through another firm.
    "only hosts of the year are in its trial": {
        "history": f"nel IT 2004: {ALWAYS}",
        "missions": "ned IT 2010-03-01",
        "rows": every(2010),
    },
    # Every other year: never three of four.
    "incidental pairs are not at risk": {"history": "oda KE 2004: x . x . x . x . x . x . x", "rows": []},
    "structural as a firm is not structural in the market": {
        "history": f"oda ES 2004: {ALWAYS}\noda KE 2007: x x",
        "rows": [],
    },
    "a mission in the last usable year": {
        "history": "pia KE 2010: x x x x x x x",
        "missions": "pia KE 2014-03-01",
        "columns": "year exit_year treated",
        "rows": [(2013, 2014, 0), (2013, 2015, 0), (2014, 2015, 1)],
    },
    "a mission after the usable years": {
        "history": "pol KE 2010: x x x x x x x",
        "missions": "pol KE 2015-03-01",
        "columns": "year exit_year treated",
        "rows": [(2013, 2014, 0), (2013, 2015, 0), (2014, 2015, 0)],
    },
    "a mission before the usable years washes out the first": {
        "history": f"pre KE 2004: {ALWAYS}",
        "missions": "pre KE 2007-03-01",
        "rows": every(2011, 2012, 2013, 2014),
    },
    # In 2010 treated in both its hosts; Poland is host too, but is not its own firm's control. Three years of washout.
    "two markets of one firm in one year": {
        "history": f"rob KE 2004: {ALWAYS}\nrob PT 2004: {ALWAYS}\nrob PL 2004: {ALWAYS}",
        "missions": "rob KE 2010-03-01\nrob PT 2010-09-01\nned PL 2010-01-01",
        "columns": "market year exit_year treated",
        "rows": [
            *(("KE", t, e, 0) for t, e, _ in every(2008, 2009)),
            *(("KE", t, e, 1) for t, e, _ in every(2010)),
            *(("KE", t, e, 0) for t, e, _ in every(2014)),
            *(("PT", t, e, 1) for t, e, _ in every(2010)),
        ],
    },
    "a renumbered firm has not left": {
        "history": "old KE 2004: x x x x x x\nnew KE 2010: x x x x x x x",
        "life": "old 1999-2009\nnew 2010-",
        "identities": "old new 2010-01-01 renumbered",
        "firm": None,
        "columns": "firm year exit_year cause",
        "rows": [("new", *r) for r in every(*range(2008, 2015))],
    },
    # Left in 2009; back in 2011-2013, structural at 2013: the trial of 2014.
    "a second spell is at risk again": {
        "history": "sam KE 2004: x x x x x . . x x x x x",
        "rows": [(2008, 2009, "exit"), (2014, 2015, "none")],
    },
    # At 2008 its third year, at 2009 its fourth.
    "the age of the spell before the mission year": {
        "history": "tim KE 2006: x x x x",
        "columns": "year exit_year spell_age_class",
        "rows": [(2009, 2010, "3")],
    },
    "a spell that began before the data has no age": {
        "history": "ton KE 2005: x x x x",
        "columns": "year exit_year spell_age_class",
        "rows": [(2008, 2009, "unseen")],
    },
}


@pytest.fixture(scope="module")
def table(panel_of_cases):
    with panel_of_cases(CASES) as panel:
        yield exit_risk_set(panel, kind="trials").collect()


@pytest.mark.parametrize("case", CASES)
def test_rows(table, rows_of_case, case):
    assert rows_of_case(table, CASES, case, CASES[case].get("columns", ROW)) == CASES[case]["rows"]


def test_follow_up_from_the_mission_year_and_from_two_years_after(panel_of, rows):
    # From t: the exit of 2008 is seen. From t+2: active until t+1 in both arms.
    panel = panel_of("dirk KE 2004: x x x x\ndora KE 2004: x x x x x x x", missions="dirk KE 2008-03-01")
    early = exit_risk_set(panel, start_from="t").collect()
    assert rows(early, ROW, "dirk") == [(2008, 2008, "exit")]
    assert [r[1:] for r in rows(early, ROW, "dora", year=2008)] == [
        (2008, "none"),
        (2009, "none"),
        (2010, "none"),
        (2011, "exit"),
    ]
    late = exit_risk_set(panel, start_from="t+2").collect()
    assert rows(late, ROW, "dora") == [(2008, 2010, "none"), (2008, 2011, "exit"), (2009, 2011, "exit")]
    assert rows(late, ROW, "dirk") == []


@pytest.mark.parametrize(("death", "wanted"), [("exit", [0, 1, 1]), ("censor", [0])])
def test_death_as_exit_and_as_censoring_are_variants(panel_of, rows, death, wanted):
    rule = CBS_2024.replace(death=death)
    panel = panel_of("fay KE 2004: x x x x x x", life="fay 1999-2009", definitions=rule)
    outcomes = rows(exit_risk_set(panel).collect(), "exit_year outcome", "fay")
    assert [y for _, y in outcomes if y == 1] == [y for y in wanted if y == 1]
    assert (2009, 0) in outcomes
