"""Fits that leave a part out, against the same rows fitted on their own; what needs more care is left to others."""

from itertools import pairwise

import numpy as np
import pytest

import missie_impact.numerics.left_out as left_out
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.design import Column, Factor, build_design, rows_of
from missie_impact.numerics.left_out import Parts, fits_without_each

PARTS = 4


def made(n=2000, seed=3, weighted=False):
    rng = np.random.default_rng(seed)
    sector, x = rng.integers(0, 3, n), rng.normal(size=(2, n))
    y = (rng.random(n) < 1 / (1 + np.exp(2 - 0.5 * x[0] - 0.4 * (sector == 1)))).astype(float)
    weight = rng.integers(1, 4, n).astype(float) if weighted else None
    columns = [Column("a", x[0]), Column("b", x[1])]
    return y, [Factor("sector", sector, ("p", "q", "r"))], columns, weight


def parts_of(y, factors, columns, weight):
    ends = np.linspace(0, len(y), PARTS + 1).astype(int)
    slices = tuple(slice(int(a), int(b)) for a, b in pairwise(ends))
    return Parts(y, build_design(factors, columns, n_rows=len(y)), weight, slices)


def alone(parts, j):
    keep = np.ones(len(parts.y), dtype=bool)
    keep[parts.slices[j]] = False
    weight = None if parts.weight is None else parts.weight[keep]
    return fit_binomial(parts.y[keep], rows_of(parts.design, keep), link="logit", frequency=weight, tolerance=1e-11)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("many", [10**9, 100])  # begun on all rows, or on a share of them
def test_each_is_the_fit_on_the_other_parts(monkeypatch, weighted, many):
    monkeypatch.setattr(left_out, "MANY_ROWS", many)
    monkeypatch.setattr(left_out, "SHARE", 5)
    parts = parts_of(*made(weighted=weighted))
    for j, coef in enumerate(fits_without_each(parts)):
        expected = alone(parts, j)
        np.testing.assert_allclose((coef - expected.coef) / expected.std_error, 0, atol=2e-7)


def test_rows_in_no_part_take_no_part():
    y, factors, columns, _ = made()
    parts = parts_of(y, factors, columns, None)
    gap = Parts(y, parts.design, None, (slice(0, 400), slice(500, 1000), slice(1200, 1900)))
    kept = np.r_[500:1000, 1200:1900]
    expected = fit_binomial(y[kept], rows_of(parts.design, kept), link="logit", tolerance=1e-11)
    np.testing.assert_allclose(fits_without_each(gap)[0], expected.coef, atol=1e-7)


def test_a_level_with_events_in_one_part_only_is_left_to_others():
    y, factors, columns, _ = made()
    there = (factors[0].codes == 2) & (np.arange(len(y)) >= 500)
    assert y[:500][factors[0].codes[:500] == 2].sum() > 0
    found = fits_without_each(parts_of(np.where(there, 0.0, y), factors, columns, None))
    assert found[0] is None
    assert all(coef is not None for coef in found[1:])


def test_a_column_that_repeats_another_outside_a_part_is_left_to_others():
    y, factors, columns, _ = made()
    b = columns[0].values * 2
    b[:500] += np.random.default_rng(1).normal(size=500)
    found = fits_without_each(parts_of(y, factors, [columns[0], Column("b", b)], None))
    assert [coef is None for coef in found] == [True, False, False, False]


def test_perfect_prediction_outside_a_part_is_left_to_others():
    y, factors, columns, _ = made()
    told = np.where(y == 1, 1.0, -1.0) * (1 + np.abs(columns[0].values))
    told[:500] = columns[0].values[:500]
    found = fits_without_each(parts_of(y, factors, [Column("a", told)], None))
    assert found[0] is None
    same = fits_without_each(parts_of(y, factors, [columns[0], Column("b", columns[0].values)], None))
    assert same == (None,) * PARTS
