"""Cells and the dummies written out are the same model matrix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missie_impact.errors import SettingsError
from missie_impact.numerics.design import (
    Column,
    Factor,
    aliased,
    build_design,
    factor_of,
    take_rows,
    with_level,
    with_value,
)

TREATED = Factor("treated", np.array([0, 1, 0, 1, 0, 1]), ("0", "1"))
SIZE = Factor("size", np.array([0, 0, 1, 1, 2, 2]), ("small", "medium", "large"))
AGE = Column("age", np.array([3.0, 5.0, 2.0, 8.0, 1.0, 4.0]))


def names(design):
    return [term.name for term in design.terms]


def test_columns_by_hand():
    design = build_design([TREATED, SIZE], [AGE])
    assert names(design) == ["(Intercept)", "treated[1]", "size[medium]", "size[large]", "age"]
    expected = [[1, 0, 0, 0, 3], [1, 1, 0, 0, 5], [1, 0, 1, 0, 2], [1, 1, 1, 0, 8], [1, 0, 0, 1, 1], [1, 1, 0, 1, 4]]
    np.testing.assert_array_equal(design.written_out(), expected)
    assert design.n_cells == 6 and design.n_columns == 5
    assert design.terms[3].variable == "size" and design.terms[3].level == "large"


def test_interactions_of_factors_and_columns():
    design = build_design([TREATED, SIZE], [AGE], interactions=[("treated", "size"), ("treated", "age")])
    assert names(design)[4:6] == ["treated[1]:size[medium]", "treated[1]:size[large]"]
    assert names(design)[6:] == ["age", "treated[1]:age"]
    x = design.written_out()
    np.testing.assert_array_equal(x[:, 4], [0, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(x[:, 7], TREATED.codes * AGE.values)
    assert design.positions("treated") == (1, 4, 5, 7)
    # in the world in which everybody is treated the products follow
    everyone = with_level(design, "treated", "1").written_out()
    np.testing.assert_array_equal(everyone[:, 7], AGE.values)
    np.testing.assert_array_equal(everyone[:, 5], [0, 0, 0, 0, 1, 1])
    older = with_value(design, "age", AGE.values + 1).written_out()
    np.testing.assert_array_equal(older[:, 7], TREATED.codes * (AGE.values + 1))


def test_no_intercept_shows_all_levels_of_the_first_factor():
    design = build_design([SIZE, TREATED], [], intercept=False)
    assert names(design) == ["size[small]", "size[medium]", "size[large]", "treated[1]"]
    np.testing.assert_array_equal(design.written_out()[:, :3].sum(axis=1), 1)


def test_dropped_columns_stay_dropped_in_the_other_world():
    design = build_design([TREATED, SIZE], [AGE], interactions=[("treated", "age")]).without([2, 4])
    assert names(design) == ["(Intercept)", "treated[1]", "size[large]", "treated[1]:age"]
    assert names(with_level(design, "treated", "1")) == names(design)
    assert with_level(design, "treated", "1").written_out()[:, 1].tolist() == [1.0] * 6


def test_fewer_rows_lose_their_empty_levels_and_the_reference_moves_on():
    design = take_rows(build_design([TREATED, SIZE], [AGE]), SIZE.codes > 0)
    assert names(design) == ["(Intercept)", "treated[1]", "size[large]", "age"]
    np.testing.assert_array_equal(design.written_out()[:, 2], [0, 0, 1, 1])
    assert take_rows(design, np.array([3, 0])).written_out()[:, 3].tolist() == [4.0, 2.0]


def test_factor_of_labels():
    factor = factor_of("region", ["b", "a", "c", "b"], reference="b")
    assert factor.levels == ("b", "a", "c")
    np.testing.assert_array_equal(factor.codes, [0, 1, 2, 0])
    with pytest.raises(SettingsError, match="has no level 'x'"):
        factor_of("region", ["a"], reference="x")


def test_collinear_columns_are_found_in_order():
    year = np.array([2004.0, 2005, 2006, 2007, 2008, 2009])
    columns = [AGE, Column("year", year), Column("squared", year**2), Column("both", AGE.values + 2 * year)]
    design = build_design([TREATED], columns)
    assert [design.terms[j].name for j in aliased(design)] == ["both"]
    # judged last, the treatment is the one that repeats the others
    repeat = build_design([TREATED], [Column("again", TREATED.codes.astype(float))])
    assert aliased(repeat) == (2,)
    assert aliased(repeat, last=[1]) == (1,)
    # a level whose rows do not count, and a constant column
    weight = (SIZE.codes < 2).astype(float)
    empty = build_design([SIZE], [Column("one", np.full(6, 0.1))])
    assert [empty.terms[j].name for j in aliased(empty, weight)] == ["size[large]", "one"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_design([TREATED, Factor("size", np.array([0, 1]), ("a", "b"))], []), "of one length"),
        (lambda: build_design([Factor("size", np.array([0, 3]), ("a", "b"))], []), "outside its 2 levels"),
        (lambda: build_design([], [Column("x", np.array([1.0, np.nan]))]), "'x' is not finite in 1 rows"),
        (lambda: build_design([TREATED], [], interactions=[("treated", "age")]), r"name \['age'\]"),
        (lambda: build_design([TREATED, TREATED], []), "distinct names"),
        (lambda: with_level(build_design([TREATED], []), "treated", "2"), "one of its levels"),
        (lambda: with_value(build_design([TREATED], []), "age", 1), "continuous column"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(SettingsError, match=message):
        call()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 3), st.integers(0, 3))
def test_sums_products_and_predictions_are_those_of_the_matrix(seed, n, n_factors, n_columns):
    rng = np.random.default_rng(seed)
    factors = [Factor(f"f{j}", rng.integers(0, 3, n), ("a", "b", "c")) for j in range(n_factors)]
    columns = [Column(f"x{j}", rng.normal(size=n)) for j in range(n_columns)]
    offset = rng.normal(size=n)
    design = build_design(factors, columns, offset=offset)
    x, w, coef = design.written_out(), rng.normal(size=n), rng.normal(size=design.n_columns)
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(design.predict(coef), x @ coef + offset, **close)
    np.testing.assert_allclose(design.sums(w), x.T @ w, **close)
    np.testing.assert_allclose(design.crossproduct(w), x.T @ (x * w[:, None]), **close)
    other = build_design(factors[:1], columns[:1], offset=offset)
    np.testing.assert_allclose(design.crossproduct_with(other, w), x.T @ (other.written_out() * w[:, None]), **close)
