"""Conditional logit by hand, against R's exact clogit, and its derivatives."""

from itertools import combinations

import numpy as np
import pytest

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError
from missie_impact.numerics.conditional import conditional_loglik_at, conditional_scores, fit_conditional, strata_data
from missie_impact.numerics.covariance import cluster_covariance


def test_pairs_are_mcnemar():
    # 9 pairs in which only the treated row has the event, 4 in which only the other has it, 5 that say nothing
    x = np.tile([[1.0], [0.0]], (18, 1))
    y = np.concatenate([np.tile([1, 0], 9), np.tile([0, 1], 4), np.tile([1, 1], 5)])
    fit = fit_conditional(strata_data(x, y, np.repeat(np.arange(18), 2)))
    assert fit.coef[0] == pytest.approx(np.log(9 / 4), rel=1e-9)
    assert fit.std_error[0] == pytest.approx(np.sqrt(1 / 9 + 1 / 4), rel=1e-7)
    assert (fit.n_strata, fit.n_strata_dropped, fit.n_rows_dropped, fit.n_events) == (13, 5, 10, 13)


def test_likelihood_sums_over_all_placings():
    rng = np.random.default_rng(0)
    x, strata = rng.normal(size=(23, 2)), np.repeat([0, 1, 2, 3], [7, 5, 3, 8])
    y = np.concatenate([[1, 1, 1, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0], [1] * 4 + [0] * 4])
    coef, expected = np.array([0.4, -0.7]), 0.0
    for g in range(4):
        eta, happened = (x @ coef)[strata == g], y[strata == g]
        placings = [sum(eta[list(c)]) for c in combinations(range(len(eta)), int(happened.sum()))]
        expected += eta @ happened - np.log(np.exp(placings).sum())
    data = strata_data(x, y, strata)
    assert conditional_loglik_at(data, coef) == pytest.approx(expected, rel=1e-12)
    scores, labels = conditional_scores(data, coef)
    assert sorted(labels) == [0, 1, 2, 3]
    for j in range(2):
        e = 1e-5 * (np.arange(2) == j)
        slope = (conditional_loglik_at(data, coef + e) - conditional_loglik_at(data, coef - e)) / 2e-5
        assert scores.sum(axis=0)[j] == pytest.approx(slope, rel=1e-7)
    fit = fit_conditional(data)
    for j in range(2):
        e = 1e-5 * (np.arange(2) == j)
        change = [conditional_scores(data, fit.coef + s * e)[0].sum(axis=0) for s in (1, -1)]
        np.testing.assert_allclose(np.linalg.inv(fit.bread)[j], (change[1] - change[0]) / 2e-5, rtol=1e-6)


def test_matched_sets(cases):
    table, reference = cases.load("infert_conditional_logit")
    columns = ["spontaneous", "induced"]
    data = strata_data(table[columns].to_numpy(float), table["case"], table["stratum"])
    fit, expected = fit_conditional(data), reference["clogit_exact"]
    np.testing.assert_allclose(fit.coef, [expected["coef"][c] for c in columns], rtol=1e-6)
    np.testing.assert_allclose(fit.std_error, [expected["se"][c] for c in columns], rtol=1e-6)
    assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    assert fit.log_likelihood_null == pytest.approx(expected["loglik_null"], rel=1e-10)
    robust = cluster_covariance(fit.bread, conditional_scores(data, fit.coef)[0], "cr0").std_error
    expected = reference["clogit_breslow_robust_se_by_stratum"]
    np.testing.assert_allclose(robust, [expected[c] for c in columns], rtol=1e-6)


def test_villages(cases):
    table, reference = cases.load("thornton_logit_clusters")
    columns = ["any", "age", "hiv2004"]
    table = table.dropna(subset=["got", *columns, "distvct", "villnum"])
    fit = fit_conditional(strata_data(table[columns].to_numpy(float), table["got"], table["villnum"]))
    expected = reference["village_conditional"]
    np.testing.assert_allclose(fit.coef, [expected["coef"][c] for c in columns], rtol=1e-6)
    np.testing.assert_allclose(fit.std_error, [expected["se"][c] for c in columns], rtol=1e-6)
    assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-9)
    assert fit.n_rows == reference["village_dummies"]["n_used"]


def test_large_strata_of_real_exporters(cases):
    table, reference = cases.load("trase_sugar_exporters", keep_default_na=False)
    table = table.rename(columns={"exporter_group": "firm", "country_of_destination": "market"})
    cells = table.groupby(["firm", "market", "year"], as_index=False)["fob"].sum()
    have = set(zip(cells["firm"], cells["market"], cells["year"], strict=True))
    rows = cells[cells["year"] < 2017]
    keys = list(zip(rows["firm"], rows["market"], rows["year"], strict=True))
    y = np.array([(f, m, t + 1) not in have for f, m, t in keys])
    new = np.array([t == 2016 and (f, m, 2015) not in have for f, m, t in keys])
    x = np.column_stack([np.log(rows["fob"]), new, rows["year"] == 2016]).astype(float)
    fit, expected = fit_conditional(strata_data(x, y, rows["firm"])), reference["exit_within_firm_clogit_exact"]
    np.testing.assert_allclose(fit.coef, [expected["coef"][c] for c in ("lf", "new", "y16")], rtol=1e-6)
    np.testing.assert_allclose(fit.std_error, [expected["se"][c] for c in ("lf", "new", "y16")], rtol=1e-6)
    assert fit.n_strata_dropped == expected["firms_without_variation"]


def test_row_order_and_names_do_not_matter():
    rng = np.random.default_rng(1)
    x, y, strata = rng.normal(size=(300, 2)), rng.integers(0, 2, 300), rng.integers(0, 60, 300)
    one, order = fit_conditional(strata_data(x, y, strata)), rng.permutation(300)
    other = fit_conditional(strata_data(x[order], y[order], [f"firm {90 - s}" for s in strata[order]]))
    np.testing.assert_allclose(other.coef, one.coef, rtol=1e-9)
    np.testing.assert_allclose(other.bread, one.bread, rtol=1e-8)


def test_what_cannot_be_estimated():
    strata, y = np.repeat(np.arange(6), 2), np.tile([1, 0], 6)
    with pytest.raises(NoEventError, match="none of 6 strata"):
        strata_data(np.ones((12, 1)), np.zeros(12), strata)
    with pytest.raises(CollinearityError, match=r"\[0\] do not vary within strata"):
        fit_conditional(strata_data(strata[:, None].astype(float), y, strata))
    with pytest.raises(ConvergenceError, match="no finite odds ratio"):
        fit_conditional(strata_data(y[:, None].astype(float), y, strata))
