"""Bounds for always-entrants by hand, their errors by differences, and how often the interval holds the truth."""

import numpy as np
import pytest
from scipy import special

from missie_impact.numerics.selection_bounds import always_selected_bounds


def test_ends_by_hand():
    # half of the treated entrants would have entered anyway; 70% of all of them stay, 60% of the others do
    found = always_selected_bounds(np.array([0.7, 0.6, 0.2, 0.1]), np.zeros((4, 4)))
    assert (found.lowest, found.highest) == pytest.approx((0.4 - 0.6, 1.0 - 0.6))
    # nine of ten would have: neither end is cut off
    found = always_selected_bounds(np.array([0.7, 0.6, 0.2, 0.18]), np.zeros((4, 4)))
    assert (found.lowest, found.highest) == pytest.approx((0.6 / 0.9 - 0.6, 0.7 / 0.9 - 0.6))
    # nobody more enters: the comparison itself
    found = always_selected_bounds(np.array([0.7, 0.6, 0.2, 0.2]), np.zeros((4, 4)))
    assert (found.lowest, found.highest) == pytest.approx((0.1, 0.1))


def test_errors_are_those_of_small_changes():
    value = np.array([0.7, 0.6, 0.2, 0.18])
    root = np.random.default_rng(1).normal(size=(4, 4)) / 2_000
    covariance = root @ root.T

    def ends(at):
        s1, s0, p1, p0 = at
        q = p0 / p1
        return np.array([(s1 - 1 + q) / q - s0, s1 / q - s0])

    step = 1e-6
    slope = np.array([(ends(value + step * e) - ends(value - step * e)) / (2 * step) for e in np.eye(4)]).T
    expected = np.sqrt(np.diag(slope @ covariance @ slope.T))
    found = always_selected_bounds(value, covariance)
    assert (found.error_lowest, found.error_highest) == pytest.approx(tuple(expected), rel=1e-6)
    # a set far wider than its errors: one-sided at either end
    quantile = special.ndtri(0.95)
    assert found.conf_low == pytest.approx(found.lowest - quantile * expected[0], rel=1e-6)
    assert found.conf_high == pytest.approx(found.highest + quantile * expected[1], rel=1e-6)


def test_a_set_that_is_a_point_has_a_two_sided_interval():
    covariance = np.diag([0.03, 0.04, 0.0, 0.0]) ** 2
    found = always_selected_bounds(np.array([0.7, 0.6, 0.2, 0.2]), covariance)
    assert found.lowest == found.highest
    assert (found.conf_low, found.conf_high) == pytest.approx((0.1 - 1.959964 * 0.05, 0.1 + 1.959964 * 0.05), rel=1e-5)


def test_fewer_enter_with_the_treatment():
    clear = always_selected_bounds(np.array([0.7, 0.6, 0.2, 0.3]), np.diag([1e-4] * 4))
    assert np.isnan(clear.lowest) and "monotonicity does not hold" in clear.reason
    # as few as could be chance: taken as equal, which the interval says by its width
    unclear = always_selected_bounds(np.array([0.7, 0.6, 0.2, 0.21]), np.diag([1e-4, 1e-4, 4e-4, 4e-4]))
    assert unclear.reason == "" and unclear.lowest == pytest.approx(unclear.highest) == pytest.approx(0.1)
    assert unclear.conf_high - unclear.conf_low > 2 * 1.96 * np.sqrt(2e-4)
    assert always_selected_bounds(np.array([0.7, 0.6, 0.0, 0.0]), np.zeros((4, 4))).reason != ""


@pytest.mark.parametrize(
    ("truth", "end"),
    [
        ((0.7, 0.6, 0.2, 0.1), "lowest"),
        ((0.7, 0.6, 0.2, 0.1), "highest"),  # cut off at one
        ((0.8, 0.6, 0.2, 0.17), "lowest"),
        ((0.85, 0.6, 0.2, 0.17), "highest"),  # where both functions are equal
        ((0.8, 0.6, 0.2, 0.2), "lowest"),  # nobody more enters
    ],
)
def test_the_interval_holds_either_end_of_the_set(truth, end):
    rng, n, draws = np.random.default_rng(3), 3_000, 600
    s1, s0, p1, p0 = truth
    at = getattr(always_selected_bounds(np.array(truth), np.zeros((4, 4))), end)
    held = 0
    for _ in range(draws):
        entered = rng.binomial(n, p1), rng.binomial(n, p0)
        stayed = [rng.binomial(m, s) / m for m, s in zip(entered, (s1, s0), strict=True)]
        value = np.array([*stayed, entered[0] / n, entered[1] / n])
        covariance = np.diag(value * (1 - value) / np.array([*entered, n, n]))
        found = always_selected_bounds(value, covariance, n=n)
        held += found.conf_low <= at <= found.conf_high
    assert held / draws > 0.925  # 0.95 less nearly three Monte-Carlo errors
