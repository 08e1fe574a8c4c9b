"""Matching in rounds gives what choosing one after the other gives, ties, strata, calipers and ratios included."""

import numpy as np
import pytest

from missie_impact.design.mahalanobis import Points, greedy_points, nearest_points, whitened
from missie_impact.design.nearest import Side, greedy, nearest

SCORES = {
    "distinct": lambda rng, n: rng.random(n),
    "many equal": lambda rng, n: rng.integers(0, 8, n) / 8,
    "nearly all equal": lambda rng, n: rng.integers(0, 3, n) / 4,
}


def one_after_the_other(treated, controls, caliper, ratio, replace=False):
    order = np.lexsort((treated.rank, -treated.score))
    free = np.ones(len(controls.score), dtype=bool)
    chosen = np.full((len(treated.score), ratio), -1)
    for turn in range(ratio):
        for i in order:
            distance = np.abs(controls.score - treated.score[i])
            fits = (controls.stratum == treated.stratum[i]) & (distance <= caliper)
            fits &= ~np.isin(np.arange(len(free)), chosen[i]) if replace else free
            candidates = np.flatnonzero(fits)
            if len(candidates):
                best = candidates[np.lexsort((controls.rank[candidates], distance[candidates]))[0]]
                chosen[i, turn], free[best] = best, False
    return chosen


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("replace", [False, True])
def test_score_against_one_after_the_other(kind, replace):
    rng = np.random.default_rng(11)
    for _ in range(250):
        m, n, strata = rng.integers(1, 25), rng.integers(1, 40), rng.integers(1, 4)
        treated = Side(SCORES[kind](rng, m), rng.integers(0, strata, m), rng.permutation(m))
        controls = Side(SCORES[kind](rng, n), rng.integers(0, strata, n), rng.permutation(n))
        caliper, ratio = rng.choice([np.inf, 0.25, 0.1, 0.0]), int(rng.integers(1, 4))
        found = (nearest if replace else greedy)(treated, controls, caliper=caliper, ratio=ratio)
        assert np.array_equal(found, one_after_the_other(treated, controls, caliper, ratio, replace))


@pytest.mark.parametrize(
    ("treated", "controls"),
    [
        (np.full(60, 0.5), np.r_[np.full(20, 0.5), np.linspace(0, 1, 90)]),  # everybody wants the same clump
        (np.linspace(2, 3, 60), np.linspace(0, 1, 80)),  # no overlap: a queue
        (np.arange(80) / 80, (np.arange(80) + 0.5) / 80),  # every choice hangs on the one before
        (np.linspace(0.5, 1, 70), np.linspace(0, 0.9, 50)),  # fewer controls than treated
    ],
)
def test_crowded_scores(treated, controls):
    mine = Side(treated, np.zeros(len(treated), int), np.arange(len(treated)))
    theirs = Side(controls, np.zeros(len(controls), int), np.arange(len(controls)))
    assert np.array_equal(greedy(mine, theirs), one_after_the_other(mine, theirs, np.inf, 1))


def points_one_after_the_other(treated, controls, caliper, ratio, replace=False):
    """The same on points; of equally far points the one whose first free control ranks first."""
    n = len(controls.rank)
    alike = (controls.coordinates[:, None] == controls.coordinates).all(axis=2)
    alike &= controls.stratum[:, None] == controls.stratum
    free = np.ones(n, dtype=bool)
    chosen = np.full((len(treated.rank), ratio), -1)
    for turn in range(ratio):
        head = np.array([min(controls.rank[free & alike[i]], default=n) for i in range(n)])
        for i in np.argsort(treated.rank):
            distance = np.round(np.sqrt(((controls.coordinates - treated.coordinates[i]) ** 2).sum(axis=1)), 9)
            fits = (controls.stratum == treated.stratum[i]) & (distance <= caliper)
            fits &= ~np.isin(np.arange(n), chosen[i]) if replace else free
            k = np.flatnonzero(fits)
            if len(k):
                best = k[np.lexsort((controls.rank[k], head[k], distance[k]))[0]]
                chosen[i, turn] = best
                free[best] = replace
    return chosen


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("cells", [False, True])
def test_points_against_one_after_the_other(cells, replace):
    rng = np.random.default_rng(12)

    def side(n, strata):
        coordinates = rng.integers(0, 3, (n, 2)).astype(float) if cells else rng.normal(size=(n, 2))
        return Points(coordinates, rng.integers(0, strata, n), rng.permutation(n))

    for _ in range(150):
        strata = rng.integers(1, 3)
        treated, controls = side(rng.integers(1, 20), strata), side(rng.integers(1, 30), strata)
        caliper, ratio = rng.choice([np.inf, 1.0, 0.5]), int(rng.integers(1, 4))
        found = (nearest_points if replace else greedy_points)(treated, controls, caliper=caliper, ratio=ratio)
        assert np.array_equal(found, points_one_after_the_other(treated, controls, caliper, ratio, replace))


def test_points_that_all_want_the_same_neighbours():
    rng = np.random.default_rng(13)
    treated = Points(np.zeros((60, 2)), np.zeros(60, int), np.arange(60))
    controls = Points(rng.normal(size=(75, 2)), np.zeros(75, int), np.arange(75))
    found = greedy_points(treated, controls)[:, 0]
    assert np.array_equal(found, np.argsort(np.linalg.norm(controls.coordinates, axis=1))[:60])


def test_plain_distance_of_coordinates_is_the_mahalanobis_distance():
    rng = np.random.default_rng(14)
    x = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3))
    treated = np.arange(50) < 20
    pooled = (19 * np.cov(x[treated].T) + 29 * np.cov(x[~treated].T)) / 48
    gap = x[0] - x[30]
    expected = np.sqrt(gap @ np.linalg.inv(pooled) @ gap)
    with_copy = np.column_stack([x, x[:, 0] + x[:, 1]])  # a combination of others adds nothing
    for columns in (x, with_copy):
        made = whitened(columns, treated, np.ones(50))
        np.testing.assert_allclose(np.linalg.norm(made[0] - made[30]), expected, rtol=1e-7)
