"""Honest bounds against R's HonestDiD, by hand, and by brute force."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

from missie_impact.effects import event_study
from missie_impact.errors import SettingsError
from missie_impact.numerics.honest import folded_quantile, smoothness_interval
from missie_impact.numerics.honest_relative import accepts, corners_of, least_favourable, relative_interval
from missie_impact.validity.honest import honest_bounds

DATA = Path(__file__).parents[1] / "data" / "bc_honest_did"
REFERENCE = json.loads((DATA / "reference.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def restaurants():
    table = pd.read_csv(DATA / "data.csv")
    return event_study(table["time"], table["betahat"], table.iloc[:, 2:].to_numpy(), base=2008)


def draws_of_r(n):
    """R's rnorm after set.seed(0): Mersenne Twister and inversion, from their published descriptions."""
    x, words = 0, []
    for _ in range(50 + 625):
        x = (69069 * x + 1) & 0xFFFFFFFF
        words.append(x)
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": np.array(words[51:], dtype=np.uint32), "pos": 624}}
    u = (twister.random_raw(2 * n) * 2.3283064365386963e-10).reshape(n, 2)
    return special.ndtri((np.floor(2.0**27 * u[:, 0]) + u[:, 1]) / 2.0**27)


def test_draws_are_those_of_r():
    np.testing.assert_allclose(draws_of_r(3), [1.262954285, -0.3262333607, 1.329799263], rtol=1e-9)


@pytest.mark.parametrize("which", ["first_post", "average_post"])
def test_smoothness_as_honestdid(restaurants, which):
    """R takes the quantile of |N(b, 1)| from a million draws; with its draws the lengths are its own."""
    expected = REFERENCE[which]
    draws = draws_of_r(10**6)
    for row in expected["smoothness_flci"]:
        found = smoothness_interval(restaurants.estimate, restaurants.covariance, 4, np.array(expected["l"]), row["M"])
        half = (row["high"] - row["low"]) / 2
        assert found.centre == pytest.approx((row["low"] + row["high"]) / 2, abs=1e-4)
        assert found.half == pytest.approx(half, rel=1.2e-3)
        sigma = np.sqrt(found.weights @ restaurants.covariance @ found.weights)
        drawn = np.quantile(np.abs(draws + found.worst_bias / sigma), 0.95)
        assert sigma * drawn == pytest.approx(half, rel=1e-7)
    table = honest_bounds(restaurants, bounds=[0.01], effect=expected["l"])
    original = expected["original"]
    np.testing.assert_allclose(table.original[1:], [original["low"], original["high"]], rtol=1e-6)


@pytest.mark.parametrize("which", ["first_post", "average_post"])
def test_relative_magnitudes_as_honestdid(restaurants, which):
    """R reports the outermost points of its grid, with a first-stage quantile from 1,000 draws."""
    expected = REFERENCE[which]
    rows = expected["relative_magnitudes_conditional_lf"]
    found = honest_bounds(
        restaurants, violation="relative_magnitudes", bounds=[r["M"] for r in rows], effect=expected["l"]
    )
    step = expected["grid"]["step"]
    np.testing.assert_allclose(found.table["low"], [r["low"] for r in rows], atol=1.3 * step)
    np.testing.assert_allclose(found.table["high"], [r["high"] for r in rows], atol=1.3 * step)
    assert found.table["with_sampling"].all()
    # parallel trends: the usual interval, since the two stages together have the size asked
    np.testing.assert_allclose(found.table.loc[0, ["low", "high"]].tolist(), found.original[1:], rtol=1e-9)


@pytest.mark.parametrize("which", ["first_post", "average_post"])
def test_relative_magnitudes_with_the_draws_of_r(restaurants, which):
    """With the first-stage quantile from R's draws every end is the very grid point that R reports."""
    expected = REFERENCE[which]
    b, v, contrast = restaurants.estimate, restaurants.covariance, np.array(expected["l"], dtype=float)
    grid = np.linspace(expected["grid"]["low"], expected["grid"]["high"], 1001)
    for row in expected["relative_magnitudes_conditional_lf"]:
        good = np.zeros(len(grid), dtype=bool)
        for largest in [(s, sign) for s in range(4) for sign in (1.0, -1.0)]:
            corners = corners_of(b, v, 4, contrast, row["M"], largest)
            moments = _moments(row["M"], largest)
            values, vectors = np.linalg.eigh(moments @ v @ moments.T)
            root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
            drawn = draws_of_r(8000).reshape(1000, 8) @ root
            dual = _dual(moments, v, contrast)
            cut = np.quantile((drawn @ dual.T).max(axis=1), 0.995)
            good |= accepts(corners, cut, 0.045 / 0.995, grid)
        assert grid[good][[0, -1]] == pytest.approx([row["low"], row["high"]], abs=1e-9)


def _moments(bound, largest):
    """Rows of moments: each move after treatment, up then down, less ``bound`` times the largest before."""
    moves = np.delete(np.diff(np.eye(9), axis=0), 4, axis=1)
    v = largest[1] * moves[largest[0]]
    return np.vstack([moves[4:] - bound * v, -moves[4:] - bound * v])


def _dual(moments, covariance, contrast):
    """All corners of {g >= 0, g's = 1, no nuisance effect in g}, by trying every basis of the constraints."""
    from itertools import combinations

    error = np.sqrt(np.einsum("ij,jk,ik->i", moments, covariance, moments))
    nuisance = np.linalg.svd(contrast[None, :])[2][1:]  # effects after treatment that leave the contrast as it is
    matrix = np.vstack([nuisance @ moments[:, 4:].T, error])
    right = np.append(np.zeros(3), 1.0)
    found = []
    for size in range(1, 5):
        for basis in combinations(range(8), size):
            part = matrix[:, basis]
            g = np.linalg.lstsq(part, right)[0]
            if np.linalg.matrix_rank(part) == size and np.allclose(part @ g, right) and (g > -1e-9).all():
                corner = np.zeros(8)
                corner[list(basis)] = g
                found.append(corner)
    return np.unique(np.round(found, 12), axis=0)


@pytest.mark.parametrize("contrast", [[0.25, 0.25, 0.25, 0.25], [0.0, 1.0, -0.5, 0.0]])
def test_statistic_is_the_value_of_the_linear_program(restaurants, contrast):
    """The largest corner equals min eta: moments <= eta errors + nuisance, at any value tested."""
    b, v, effect = restaurants.estimate, restaurants.covariance, np.array(contrast)
    nuisance = np.linalg.svd(effect[None, :])[2][1:]
    one = effect / (effect @ effect)
    for largest in [(0, 1.0), (3, -1.0)]:
        moments = _moments(0.7, largest)
        error = np.sqrt(np.einsum("ij,jk,ik->i", moments, v, moments))
        corners = corners_of(b, v, 4, effect, 0.7, largest)
        for value in (-0.3, 0.1, 0.2, 0.6):
            y = moments @ b - moments[:, 4:] @ one * value
            columns = np.column_stack([-error, -moments[:, 4:] @ nuisance.T])
            solved = optimize.linprog([1, 0, 0, 0], A_ub=columns, b_ub=-y, bounds=(None, None), method="highs")
            stat = corners.weight @ np.append(corners.moment, value)
            assert stat.max() == pytest.approx(solved.fun, abs=1e-9)


def test_first_stage_quantile_by_simulation(restaurants):
    rng = np.random.default_rng(3)
    for largest in [(0, 1.0), (3, -1.0)]:
        contrast = np.full(4, 0.25)
        corners = corners_of(restaurants.estimate, restaurants.covariance, 4, contrast, 1.0, largest)
        drawn = rng.multivariate_normal([0, 0], corners.covariance, 400_000) @ corners.weight[:, :2].T
        assert (drawn.max(axis=1) > least_favourable(corners, 0.995)).mean() == pytest.approx(0.005, abs=4.5e-4)


def test_values_at_the_edge_of_the_identified_set_are_kept_often_enough(restaurants):
    """Drawn estimates around a truth whose moves after treatment are the largest before: 95% or more keep it."""
    truth = np.array([0.0, 0.06, 0.06, 0.0, 0.06, 0.06, 0.06, 0.06])  # moves before: 0.06, 0, -0.06, 0
    rng = np.random.default_rng(8)
    kept = 0
    for _ in range(60):
        drawn = rng.multivariate_normal(truth, restaurants.covariance / 4)
        # effect zero: all of the first estimate is the move allowed
        low, high = relative_interval(drawn, restaurants.covariance / 4, 4, np.eye(4)[0], 1.0)
        kept += low <= 0 <= high
    assert kept >= 52  # 1 in 200 at a coverage of 95%


def test_one_period_after_treatment(restaurants):
    """One period before and after: accepted values lie around the estimate, at least the identified set."""
    study = event_study([-2, 0], [0.3, 1.0], np.array([[0.04, 0.01], [0.01, 0.09]]))
    table = honest_bounds(study, violation="relative_magnitudes", bounds=[0.0, 1.0]).table
    assert table.loc[0, "low"] == pytest.approx(1 - 1.959963985 * 0.3)
    assert table.loc[0, "high"] == pytest.approx(1 + 1.959963985 * 0.3)
    assert table.loc[1, "low"] < 0.7 and table.loc[1, "high"] > 1.3


def test_identified_sets_as_by_hand(restaurants):
    expected = REFERENCE["relative_magnitudes_identified_set_first_post"]
    found = honest_bounds(
        restaurants, violation="relative_magnitudes", bounds=[r["Mbar"] for r in expected], sampling=False
    ).table
    np.testing.assert_allclose(found["low"], [r["low"] for r in expected], rtol=1e-6)
    np.testing.assert_allclose(found["high"], [r["high"] for r in expected], rtol=1e-6)


def test_one_period_before_and_after_by_hand():
    """The centre must take out a line: b1 + b_1 with weights one; its bias is M for the one kink at the base."""
    study = event_study([-2, 0], [0.3, 1.0], np.array([[0.04, 0.01], [0.01, 0.09]]))
    sigma = np.sqrt(0.04 + 0.09 + 2 * 0.01)
    found = honest_bounds(study, bounds=[0.0, 0.5]).table
    for row, bias in zip(found.itertuples(), (0.0, 0.5), strict=True):
        # |N(bias / sigma, 1)| is below c with 95%
        c = (row.high - row.low) / 2 / sigma
        assert (row.high + row.low) / 2 == pytest.approx(1.3)
        assert stats.norm.cdf(c - bias / sigma) - stats.norm.cdf(-c - bias / sigma) == pytest.approx(0.95)


def test_no_other_weights_give_a_shorter_interval(restaurants):
    """Brute force over thousands of weights that take out a line."""
    b, v = restaurants.estimate, restaurants.covariance
    contrast = np.array([1.0, 0, 0, 0])
    best = smoothness_interval(b, v, 4, contrast, 0.01)
    rng = np.random.default_rng(5)
    trend = np.arange(-4, 0)
    kinks = np.array([np.concatenate([np.maximum(k - trend, 0), [0.0]]) if k < 0 else
                      np.concatenate([np.maximum(-trend, 0), [0.0]]) for k in (-3, -2, -1, 0)])  # fmt: skip
    for scale in (0.3, 0.03, 0.003):
        for _ in range(300):
            w = best.weights[:4] + scale * rng.normal(size=4)
            w -= trend * (trend @ w + 1) / (trend @ trend)  # a line of slope one has the value 1 in the first period
            whole = np.concatenate([w, contrast])
            sigma = np.sqrt(whole @ v @ whole)
            bias = 0.01 * np.abs(kinks[:, :4] @ w).sum()
            assert sigma * folded_quantile(0.95, bias / sigma) >= best.half * (1 - 1e-6)


def test_what_it_needs(restaurants):
    with pytest.raises(SettingsError, match="weights"):
        honest_bounds(restaurants, bounds=[0.1], effect=[1, 0])
    with pytest.raises(SettingsError, match="gaps"):
        honest_bounds(event_study([-3, 0], [0.0, 1.0], np.eye(2)), bounds=[0.1])
    with pytest.raises(SettingsError, match="before and after"):
        honest_bounds(event_study([0, 1], [0.0, 1.0], np.eye(2)), bounds=[0.1])
