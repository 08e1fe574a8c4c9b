"""Two worlds of competing hazards and the multinomial logit: by numerical derivatives and against statsmodels."""

import numpy as np
import pytest

from missie_impact.errors import NoEventError
from missie_impact.numerics.competing import CauseModels, Equation, stacked_bread, standardised_worlds
from missie_impact.numerics.covariance import Clusters, Scores, clusters_of
from missie_impact.numerics.design import Column, Factor, build_design
from missie_impact.numerics.multinomial import (
    fit_multinomial,
    multinomial_covariance,
    multinomial_scores,
)


def outcomes(seed=1, n=900):
    rng = np.random.default_rng(seed)
    treated, x, firm = rng.integers(0, 2, n), rng.normal(size=n), rng.integers(0, 150, n)
    eta = np.column_stack([np.zeros(n), -1.5 - 0.6 * treated + 0.4 * x, -1.8 + 0.3 * x])
    chance = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    kind = (rng.random(n)[:, None] > np.cumsum(chance, axis=1)).sum(axis=1)
    return treated, x, firm, kind


def test_multinomial_logit_is_that_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    treated, x, firm, kind = outcomes()
    design = build_design([Factor("treated", treated, ("0", "1"))], [Column("x", x)])
    fit = fit_multinomial(kind, design, 2)
    exog = np.column_stack([np.ones(len(x)), treated, x])
    other = sm.MNLogit(kind, exog).fit(disp=False, method="newton", tol=1e-12)
    np.testing.assert_allclose(fit.coef, np.asarray(other.params).T, rtol=1e-6)
    np.testing.assert_allclose(fit.std_error, np.asarray(other.bse).T, rtol=1e-6)
    assert fit.log_likelihood == pytest.approx(other.llf, rel=1e-10)
    # sandwich by hand from the residuals
    chance = other.predict(exog)[:, 1:]
    rows = np.hstack([((kind == k + 1) - chance[:, k])[:, None] * exog for k in (0, 1)])
    sums = np.array([rows[firm == g].sum(axis=0) for g in np.unique(firm)])
    g = len(sums)
    bread = np.linalg.inv(-other.model.hessian(other.params))
    expected = g / (g - 1) * bread @ sums.T @ sums @ bread
    found = multinomial_covariance(fit, multinomial_scores(fit, kind, design), clusters_of(firm))
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-5, atol=1e-10)


def test_weights_and_missing_outcomes():
    treated, x, _, kind = outcomes(n=300)
    design = build_design([Factor("treated", treated, ("0", "1"))], [Column("x", x)])
    twice = build_design([Factor("treated", np.tile(treated, 2), ("0", "1"))], [Column("x", np.tile(x, 2))])
    one, other = fit_multinomial(kind, design, 2, weight=np.full(300, 2.0)), fit_multinomial(np.tile(kind, 2), twice, 2)
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-7)
    np.testing.assert_allclose(one.bread, other.bread, rtol=1e-6)
    with pytest.raises(NoEventError, match=r"outcomes \[3\]"):
        fit_multinomial(kind, design, 3)


YEARS, UNITS = 3, 40


def models_at(coefs, link, x):
    year = np.repeat(np.arange(YEARS), UNITS)
    worlds = tuple(
        build_design(
            [Factor("treated", np.full(len(year), arm), ("0", "1")), Factor("year", year, ("1", "2", "3"))],
            [Column("x", np.tile(x, YEARS))],
        )
        for arm in (1, 0)
    )
    none = Scores(worlds[0], np.zeros(len(year)), np.eye(5), float(len(year)))
    rows = np.arange(len(year), dtype=np.intp)
    equations = tuple(Equation(c, none, rows, worlds) for c in coefs)
    return CauseModels(equations, stacked_bread([np.eye(5)] * len(coefs)), link)


@pytest.mark.parametrize("link", ["cloglog", "logit", None])
def test_curves_by_plain_loops_and_their_derivatives(link):
    rng = np.random.default_rng(2)
    x, coefs = rng.normal(size=UNITS), [np.array([-1.6, -0.5, 0.1, 0.2, 0.4]), np.array([-2.0, 0.3, 0.0, -0.2, 0.3])]
    weight, units = rng.random(UNITS) + 0.5, np.arange(UNITS, dtype=np.intp)
    clusters = [Clusters(np.arange(YEARS * UNITS, dtype=np.intp), YEARS * UNITS)]

    def value(moved):
        return standardised_worlds(models_at(moved, link, x), units, weight, clusters, correction="cr0")

    found = value(coefs)
    share = weight / weight.sum()
    for arm in (1, 0):
        curves = np.zeros((3, YEARS))
        for u in range(UNITS):
            there, gone = 1.0, np.zeros(2)
            for k in range(YEARS):
                eta = [c[0] + arm * c[1] + (c[1 + k] if k else 0) + c[4] * x[u] for c in coefs]
                raised = np.exp(eta)
                hazard = {
                    "cloglog": 1 - np.exp(-raised),
                    "logit": raised / (1 + raised),
                    None: raised / (1 + raised.sum()),
                }
                gone = gone + there * hazard[link]
                there = there * (1 - hazard[link].sum())
                curves[:, k] += share[u] * np.array([*gone, there])
        np.testing.assert_allclose(found.value[1 - arm], curves, rtol=1e-10)
    np.testing.assert_allclose(found.value.sum(axis=1), 1)
    # With an identity bread and one unit of score per coefficient the covariance shows the gradient: compare it with
    # differences, the sampling of units taken out
    steps = []
    for m in range(2):
        for j in range(5):
            moved = [[c.copy() for c in coefs] for _ in (0, 1)]
            moved[0][m][j] += 1e-5
            moved[1][m][j] -= 1e-5
            steps.append((value(moved[0]).value - value(moved[1]).value).reshape(-1) / 2e-5)
    numeric = np.array(steps)  # (P, r)
    models = models_at(coefs, link, x)
    noisy = []
    for m, equation in enumerate(models.equations):
        row = rng.normal(size=YEARS * UNITS)
        noisy.append(row)
        scores = Scores(equation.scores.design, row, np.eye(5), float(len(row)))
        object.__setattr__(models.equations[m], "scores", scores)
    big = standardised_worlds(models, units, weight, clusters, correction="cr0").covariance
    written = [
        np.column_stack([e.scores.design.written_out() * row[:, None]])
        for e, row in zip(models.equations, noisy, strict=True)
    ]
    influence = np.hstack(written) @ numeric
    moment = np.zeros_like(influence)
    moment[:UNITS] = unit_moments(coefs, link, x, share)
    whole = influence + moment
    np.testing.assert_allclose(big, whole.T @ whole, rtol=1e-5, atol=1e-8)


def unit_moments(coefs, link, x, share):
    """What each unit adds beyond the mean, one unit at a time."""
    alone = [
        standardised_worlds(models_at_units(coefs, link, x[[u]]), np.zeros(1, dtype=np.intp), np.ones(1),
                            [Clusters(np.arange(YEARS, dtype=np.intp), YEARS)], correction="cr0").value.reshape(-1)
        for u in range(UNITS)
    ]  # fmt: skip
    curves = np.array(alone)
    return share[:, None] * (curves - share @ curves)


def models_at_units(coefs, link, x):
    year = np.arange(YEARS)
    worlds = tuple(
        build_design(
            [Factor("treated", np.full(YEARS, arm), ("0", "1")), Factor("year", year, ("1", "2", "3"))],
            [Column("x", np.repeat(x, YEARS))],
        )
        for arm in (1, 0)
    )
    none = Scores(worlds[0], np.zeros(YEARS), np.eye(5), float(YEARS))
    equations = tuple(Equation(c, none, np.arange(YEARS, dtype=np.intp), worlds) for c in coefs)
    return CauseModels(equations, stacked_bread([np.eye(5)] * 2), link)
