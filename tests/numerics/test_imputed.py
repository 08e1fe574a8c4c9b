"""Predictions of the treated from a model of the untreated, against the same model in statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from missie_impact.numerics.cells import Column, Factor
from missie_impact.numerics.imputed import Family, impute

N = 4_000


def _rows() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    x, sector = random.normal(size=N), random.integers(0, 3, N)
    eta = -1 + 1.5 * x + 0.4 * sector
    treated = random.random(N) < 1 / (1 + np.exp(3 - x))
    amount = np.exp(eta + random.normal(size=N)) * (random.random(N) < 0.8)
    return x, sector, treated, amount


@pytest.mark.parametrize("family", ["poisson", "share"])
def test_prediction_is_that_of_a_glm_of_the_untreated(family: Family) -> None:
    """An amount cut at 1 is a share of it: many zeros and many ones."""
    x, sector, treated, amount = _rows()
    y = np.minimum(amount, 1.0) if family == "share" else amount
    weight = np.random.default_rng(6).uniform(0.5, 2.0, N)
    factor = Factor("sector", sector.astype(np.intp), ("a", "b", "c"))
    found = impute(y, treated, (factor, Column("x", x)), weight, np.ones(N, dtype=bool), family)
    written = np.column_stack([np.ones(N), sector == 1, sector == 2, x])
    kind = sm.families.Binomial() if family == "share" else sm.families.Poisson()
    others = sm.GLM(y[~treated], written[~treated], family=kind, freq_weights=weight[~treated]).fit(tol=1e-12)
    expected = np.average(others.predict(written[treated]), weights=weight[treated])
    assert found.predicted == pytest.approx(expected, rel=1e-8)
    assert found.observed == pytest.approx(np.average(y[treated], weights=weight[treated]), rel=1e-12)


def test_error_of_a_share_is_the_sandwich_of_the_model_carried_to_the_treated() -> None:
    x, _, treated, amount = _rows()
    y = np.minimum(amount, 1.0)
    found = impute(y, treated, (Column("x", x),), np.ones(N), np.ones(N, dtype=bool), "share")
    written = np.column_stack([np.ones(N), x])
    fit = sm.GLM(y[~treated], written[~treated], family=sm.families.Binomial()).fit(tol=1e-12, cov_type="HC0")
    mean = fit.predict(written[treated])
    gradient = ((mean * (1 - mean))[:, None] * written[treated]).mean(axis=0)
    expected = np.sqrt(gradient @ fit.cov_params() @ gradient)
    assert np.linalg.norm(found.influence_predicted[~treated]) == pytest.approx(expected, rel=1e-6)


def test_levels_without_any_or_all_at_the_amount_are_certain() -> None:
    sector = np.repeat([0, 1, 2], 4)
    y = np.array([0, 0, 0, 0.5, 1, 1, 1, 0.2, 0.25, 0.5, 0.75, 0.5])
    treated = np.tile([False, False, False, True], 3)
    factor = Factor("sector", sector.astype(np.intp), ("none", "all", "some"))
    found = impute(y, treated, (factor,), np.ones(12), np.ones(12, dtype=bool), "share")
    assert found.predicted == pytest.approx((0 + 1 + 0.5) / 3, rel=1e-8)


def test_no_prediction_exceeds_the_amount() -> None:
    """A Poisson model of the same rows predicts above it."""
    x = np.concatenate([np.linspace(-2, 2, 200), [4.0, 5.0]])
    y = 1 / (1 + np.exp(-2 * x))
    treated = np.arange(202) >= 200
    share, poisson = (
        impute(y, treated, (Column("x", x),), np.ones(202), np.ones(202, dtype=bool), family).predicted
        for family in ("share", "poisson")
    )
    assert share == pytest.approx(y[200:].mean(), rel=1e-8)
    assert poisson > 1.5
