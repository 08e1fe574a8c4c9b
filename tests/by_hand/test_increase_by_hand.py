"""The budget indicator and the increase risk set on amounts small enough to add up in one's head.

Per supported pair: the mean of exports in t+1..t+3 less exports in t, in euro a year. A firm is a grower if any of its
supported pairs has a positive mean increase. Gross: positive increases only; net: all of them. Years without trade
are zero, also after the firm's death. Exports of goods and services; imports and other markets do not count.
"""

import pytest

from missie_impact import CBS_2024, increase_risk_set
from missie_impact.errors import YearRangeError
from missie_impact.indicator import budget_indicator

HISTORIES = """
ann FR 2010: 100 200 150 250      # mean 200, + 100
bob FR 2010: 100 50 50 50         # mean 50, - 50
cas FR 2010: . . 300 .            # from nothing to a mean of 100, + 100
dan FR 2010: 100 400 . .          # mean 133.33, + 33.33
dan DE 2010: 500 100 100 100      # mean 100, - 400
eve FR 2010: 300 600              # dead in 2012: 600, 0, 0, mean 200, - 100
gus FR import 2010: 100 900 900   # imports do not count: 0
gus BE 2010: 100 900 900          # nor does a market without support
hal FR services 2011: 90          # services count: mean 30, + 30
kim FR 2010: 100-100 60 60 60     # corrected to nothing in t, mean 60, + 60
lin FR 2010: 1000 4000 4000 4000  # large: + 3000
"""
MISSIONS = """
ann FR 2010-02-01 trade_fair
ann FR 2010-09-01 knowledge_voucher
bob FR 2010-02-01
cas FR 2010-02-01
dan FR 2010-02-01 coaching
dan DE 2010-03-01 coaching
eve FR 2010-02-01
gus FR 2010-02-01
hal FR 2010-02-01
kim FR 2010-02-01 no-minister
lin FR 2010-02-01
"""
SETTINGS = {"missions": MISSIONS, "life": "eve 1999-2011", "large": "lin", "guide": False}


def histories():
    return "\n".join(line.split("#")[0] for line in HISTORIES.splitlines())


@pytest.fixture
def indicator(panel_of):
    return budget_indicator(panel_of(histories(), **SETTINGS), cohorts=(2010,))


def test_small_firms(indicator):
    row = indicator.row(2010, "sme")
    assert (row.n_firms, row.n_pairs) == (8, 9)
    assert row.n_growers == 5  # ann, cas, dan (in France), hal, kim
    assert row.share_growers == pytest.approx(5 / 8)
    assert row.n_growers_sum == 4  # over its two markets dan lost 366.67
    assert row.gross_eur == pytest.approx(100 + 100 + 100 / 3 + 30 + 60)
    assert row.net_eur == pytest.approx(100 - 50 + 100 + 100 / 3 - 400 - 100 + 0 + 30 + 60)
    assert row.base_eur == pytest.approx(100 + 100 + 0 + 100 + 500 + 300 + 0 + 0 + 0)


def test_large_firms_and_all(indicator):
    large = indicator.row(2010, "large")
    assert (large.n_firms, large.n_growers, large.gross_eur) == (1, 1, pytest.approx(3000))
    everybody = indicator.row(2010, "all")
    assert (everybody.n_firms, everybody.n_growers) == (9, 6)


def test_two_instruments_count_a_pair_once_in_the_total_and_once_in_each(panel_of):
    panel = panel_of(histories(), **SETTINGS)
    result = budget_indicator(panel, cohorts=(2010,), by=None, per="instrument")
    assert result.row(2010, "all", "trade_fair").gross_eur == pytest.approx(100)
    assert result.row(2010, "all", "knowledge_voucher").gross_eur == pytest.approx(100)
    assert result.row(2010, "all", "coaching").gross_eur == pytest.approx(100 / 3)
    assert result.row(2010, "all").gross_eur == pytest.approx(3000 + 970 / 3)


def test_a_cohort_needs_three_years_after(panel_of):
    panel = panel_of("ann FR 2013: 10 20 20 20", missions="ann FR 2013-02-01\nann FR 2014-02-01")
    assert budget_indicator(panel, cohorts=(2013,), by=None).row(2013).gross_eur == pytest.approx(10)
    with pytest.raises(YearRangeError, match="2017"):
        budget_indicator(panel, cohorts=(2014,), by=None)


def test_without_trade_before_or_support_a_pair_is_not_compared(panel_of, rows):
    # France is host in 2010 through ann; ben trades with it in 2008, cor only in 2012, dik trades elsewhere.
    histories = "ann FR 2009: 10 20 50 80 110\nben FR 2008: 30 . 60\ncor FR 2012: 40\ndik DE 2009: 10 20 50"
    found = rows(
        increase_risk_set(panel_of(histories, missions="ann FR 2010-05-01")).collect(),
        "firm market year treated outcome",
    )
    assert [r for r in found if r[1] == "FR"] == [
        ("ann", "FR", 2010, 1, pytest.approx((50 + 80 + 110) / 3 - 20)),
        ("ben", "FR", 2010, 0, pytest.approx(-60)),
    ]
    assert [r for r in found if r[1] == "DE"] == []


def test_years_after_death_are_zero(panel_of, rows):
    settings = {"missions": "ann FR 2010-05-01", "life": "ann 1999-2011"}
    found = rows(increase_risk_set(panel_of("ann FR 2009: 10 30 60", **settings)).collect(), "outcome", "ann")
    assert found == [pytest.approx(20 - 30)]


@pytest.mark.parametrize(
    ("founded", "expected"), [(2000, "10 or more"), (2001, "5-9"), (2005, "5-9"), (2006, "under 5")]
)
def test_age_class_is_of_the_year_of_the_mission(panel_of, rows, founded, expected):
    # in 2010: 10, 9, 5 and 4 years old
    settings = {"missions": "ann FR 2010-05-01", "life": f"ann {founded}-2014"}
    panel = panel_of("ann FR 2009: 10 30 60", **settings)
    assert rows(increase_risk_set(panel).collect(), "age_class", "ann") == [expected]


def test_net_is_a_definition(panel_of):
    panel = panel_of(histories(), definitions=CBS_2024.replace(indicator_aggregate="net"), **SETTINGS)
    row = budget_indicator(panel, cohorts=(2010,)).row(2010, "sme")
    assert row.net_eur == pytest.approx(-680 / 3)
