"""Cluster sandwiches by hand, and what is said about few clusters."""

import numpy as np
import pytest

from missie_impact.errors import SettingsError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.covariance import (
    cluster_covariance,
    clusters_of,
    covariance,
    fit_scores,
    interval,
    positive_part,
)
from missie_impact.numerics.design import Factor, build_design


def test_two_clusters_of_a_mean_by_hand():
    # 3 exits among 10; firm A holds 2 of 4, firm B 1 of 6. Logit: score sums 2 - 1.2 and 1 - 1.8, information 2.1
    y = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0], dtype=float)
    firm = ["A"] * 4 + ["B"] * 6
    design = build_design([], [], n_rows=10)
    fit = fit_binomial(y, design, link="logit")
    cov = covariance(fit_scores(fit, y, design), [clusters_of(firm)], correction="cr0")
    assert cov.matrix[0, 0] == pytest.approx((0.8**2 + 0.8**2) / 2.1**2, rel=1e-8)
    assert covariance(fit_scores(fit, y, design), [clusters_of(firm)]).matrix[0, 0] == pytest.approx(
        2 * cov.matrix[0, 0], rel=1e-10
    )
    assert cov.df == 1
    assert cov.notes == (
        "only 2 clusters: clustered errors are likely too small",
        "the largest cluster holds 60% of the rows",
    )


def test_any_estimator_from_its_score_sums():
    rng = np.random.default_rng(0)
    scores, bread = rng.normal(size=(8, 3)), np.diag([1.0, 2.0, 0.5])
    cov = cluster_covariance(bread, scores, "cr1", n_rows=50)
    expected = 8 / 7 * 49 / 47 * bread @ scores.T @ scores @ bread
    np.testing.assert_allclose(cov.matrix, expected)


def test_negative_eigenvalues_are_set_to_zero_and_counted():
    matrix, count = positive_part(np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert count == 1
    np.testing.assert_allclose(matrix, [[1.5, 1.5], [1.5, 1.5]])  # eigenvalue 3 along (1, 1) is what is left
    kept, none = positive_part(np.array([[2.0, 1.0], [1.0, 2.0]]))
    assert none == 0
    np.testing.assert_allclose(kept, [[2, 1], [1, 2]])


def test_two_way_covariance_that_is_negative_is_mended_and_said():
    # rows paired so that each cluster's scores cancel in both dimensions
    y = np.tile([1.0, 0.0, 0.0, 1.0], 20)
    firm, year = np.repeat(np.arange(40), 2), np.repeat(np.arange(20), 4) * 2 + np.tile([0, 1, 0, 1], 20)
    design = build_design([Factor("g", np.tile([0, 0, 1, 1], 20), ("a", "b"))], [])
    fit = fit_binomial(y, design, link="logit")
    scores = fit_scores(fit, y, design)
    both = [clusters_of(firm), clusters_of(year)]
    assert np.linalg.eigvalsh(covariance(scores, both, truncate=False).matrix).min() < 0
    mended = covariance(scores, both)
    assert mended.truncated > 0 and np.linalg.eigvalsh(mended.matrix).min() > -1e-15
    assert any("set to zero" in note for note in mended.notes)


def test_bad_requests_are_named():
    y, design = np.array([1.0, 0.0, 1.0, 0.0]), build_design([], [], n_rows=4)
    scores = fit_scores(fit_binomial(y, design), y, design)
    with pytest.raises(SettingsError, match="at least two clusters, found 1"):
        covariance(scores, [clusters_of([0, 0, 0, 0])])
    with pytest.raises(SettingsError, match="expected a correction among"):
        covariance(scores, [clusters_of([0, 1, 0, 1])], correction="hc3")
    with pytest.raises(SettingsError, match="at most two dimensions"):
        covariance(scores, [clusters_of([0, 1, 0, 1])] * 3)


def test_intervals_are_normal_or_t():
    low, high = interval(1.0, 2.0)
    assert (low, high) == (pytest.approx(1 - 3.919927969080108), pytest.approx(1 + 3.919927969080108))
    assert interval(0.0, 1.0, df=4)[1] == pytest.approx(2.7764451051977987)
