import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from missie_impact.simulation.keys import (
    MARKET_CODES,
    Purpose,
    firm_keys,
    market_ids,
    normal,
    pair_keys,
    uniform,
)


def test_draws_do_not_depend_on_order_or_number_of_rows():
    firms = np.arange(1000)
    some = np.array([7, 3, 999, 3])
    whole = uniform(firm_keys(5, firms), Purpose.SIZE)
    np.testing.assert_array_equal(uniform(firm_keys(5, some), Purpose.SIZE), whole[some])
    np.testing.assert_array_equal(uniform(firm_keys(5, np.arange(2000)), Purpose.SIZE)[:1000], whole)


@given(st.integers(0, 2**50), st.integers(0, 10**6), st.integers(1990, 2030))
@settings(max_examples=30, deadline=None)
def test_uniform_lies_strictly_inside_the_unit_interval(seed, firm, year):
    draw = uniform(firm_keys(seed, [firm]), Purpose.ACTIVITY, year)
    assert 0 < draw[0] < 1


def test_seed_year_purpose_and_market_all_move_the_draw():
    key = firm_keys(1, np.arange(500))
    draws = [
        uniform(key, Purpose.ACTIVITY, 2010),
        uniform(key, Purpose.ACTIVITY, 2011),
        uniform(key, Purpose.VALUE_NOISE, 2010),
        uniform(firm_keys(2, np.arange(500)), Purpose.ACTIVITY, 2010),
        uniform(pair_keys(1, np.arange(500), 83), Purpose.ACTIVITY, 2010),
        uniform(pair_keys(1, np.arange(500), 84), Purpose.ACTIVITY, 2010),
    ]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 0.2  # 4.5 standard errors of an uncorrelated pair of 500


def test_draws_look_uniform_and_normal():
    key = firm_keys(11, np.arange(200_000))
    u = uniform(key, Purpose.DEATH)
    assert abs(u.mean() - 0.5) < 0.003 and abs(u.var() - 1 / 12) < 0.001
    assert abs(np.histogram(u, 20, (0, 1))[0] / 10_000 - 1).max() < 0.05
    z = normal(key, Purpose.DEATH)
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01


def test_market_numbers_follow_from_the_code_and_are_distinct():
    codes = tuple(a + b for a in "ABCXYZ" for b in "ABCXYZ")
    ids = market_ids(codes)
    assert len(set(ids.tolist())) == len(codes) and ids.max() < MARKET_CODES
    assert market_ids(("AA", "BA", "ZZ")).tolist() == [0, 26, 675]
