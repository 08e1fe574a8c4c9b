from collections import Counter

import numpy as np
import pytest

from missie_impact.simulation.markets import GROUPS, load_calendar, load_markets, popularity
from missie_impact.simulation.parameters import MarketParameters

MARKETS, CALENDAR = load_markets(), load_calendar()
PLACE = {code: i for i, code in enumerate(MARKETS.codes)}


def test_popularity_has_the_published_ranks():
    assert [PLACE["BE"], PLACE["DE"], PLACE["US"], PLACE["CN"]] == [0, 1, 12, 26]
    weight = popularity(MarketParameters(), len(MARKETS.codes))
    assert weight.sum() == pytest.approx(1) and (weight > 0).all()


@pytest.mark.parametrize(
    ("market", "year", "group"),
    [
        ("DE", 2008, "OECD"),
        ("SI", 2009, "other"),
        ("SI", 2010, "OECD"),
        ("LT", 2017, "other"),
        ("LT", 2018, "OECD"),
        ("CO", 2019, "developing"),
        ("CO", 2020, "OECD"),
        ("CN", 2008, "developing"),
        ("CN", 2009, "BRICS"),
        ("ZA", 2009, "developing"),
        ("ZA", 2010, "BRICS"),
        ("KE", 2015, "developing"),
        ("SA", 2007, "developing"),
        ("SA", 2008, "other"),
        ("AE", 2024, "other"),  # in BRICS by then, but not one of the five that the published table means
    ],
)
def test_country_group_follows_membership_in_the_year(market, year, group):
    assert GROUPS[MARKETS.group(year)[PLACE[market]]] == group


def test_neighbours_are_symmetric_and_never_the_market_itself():
    assert (MARKETS.neighbours == MARKETS.neighbours.T).all() and not MARKETS.neighbours.diagonal().any()
    assert MARKETS.neighbours[PLACE["BE"], PLACE["DE"]]


def test_calendar_holds_192_missions_over_2008_to_2022():
    listed = CALENDAR.year >= 2008
    assert listed.sum() == 192 and CALENDAR.year.max() == 2022 and CALENDAR.year.min() == 2005
    assert set(Counter(CALENDAR.year.tolist()).values()) == {12, 13}
    assert len(set(CALENDAR.mission)) == len(CALENDAR.mission)
    assert (np.diff(CALENDAR.date).astype(int) > 0).all()


def test_no_mission_falls_in_a_year_in_which_its_host_changes_group():
    for year, market in zip(CALENDAR.year, CALENDAR.market, strict=True):
        assert MARKETS.group(int(year))[market] == MARKETS.group(int(year) - 1)[market]


def test_no_host_is_visited_twice_in_a_year():
    assert len(set(zip(CALENDAR.year, CALENDAR.market, strict=True))) == len(CALENDAR.year)
