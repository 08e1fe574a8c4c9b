"""Honest bounds against R's HonestDiD, by hand, and by brute force."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from missie_impact.effects import event_study
from missie_impact.errors import SettingsError
from missie_impact.numerics.honest import folded_quantile, smoothness_interval
from missie_impact.validity.honest import honest_bounds

DATA = Path(__file__).parents[1] / "data" / "bc_honest_did"
REFERENCE = json.loads((DATA / "reference.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def restaurants():
    table = pd.read_csv(DATA / "data.csv")
    return event_study(table["time"], table["betahat"], table.iloc[:, 2:].to_numpy(), base=2008)


@pytest.mark.parametrize("which", ["first_post", "average_post"])
def test_smoothness_as_honestdid(restaurants, which):
    """R draws the quantile of |N(b, 1)| (noise of a thousandth in the half length) and its solver gives four digits."""
    expected = REFERENCE[which]
    rows = expected["smoothness_flci"]
    found = honest_bounds(restaurants, bounds=[r["M"] for r in rows], effect=expected["l"])
    low, high = (np.array([r[end] for r in rows]) for end in ("low", "high"))
    half = (high - low) / 2
    np.testing.assert_allclose(found.table["low"] + found.table["high"], low + high, atol=2e-4)
    np.testing.assert_allclose((found.table["high"] - found.table["low"]) / 2, half, rtol=1.5e-3)
    original = expected["original"]
    np.testing.assert_allclose(found.original[1:], [original["low"], original["high"]], rtol=1e-6)


def test_identified_sets_as_by_hand(restaurants):
    expected = REFERENCE["relative_magnitudes_identified_set_first_post"]
    found = honest_bounds(restaurants, violation="relative_magnitudes", bounds=[r["Mbar"] for r in expected]).table
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
