"""Binomial fits by hand, against numerical derivatives, and what must not matter."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError, SeparationError, SettingsError
from missie_impact.numerics.binomial import Block, fit_binomial, fit_blocks, loglik_at, moments_at, score_rows
from missie_impact.numerics.covariance import clusters_of, covariance, fit_scores
from missie_impact.numerics.design import Column, Factor, build_design, take_rows
from missie_impact.numerics.separation import find_separation, settle

LINKS = ["logit", "cloglog", "probit"]


def sample(n=3_000, seed=7, link_shift=-1.0):
    rng = np.random.default_rng(seed)
    factors = [
        Factor("treated", rng.integers(0, 2, n), ("0", "1")),
        Factor("size", rng.integers(0, 3, n), ("a", "b", "c")),
        Factor("year", rng.integers(0, 4, n), ("1", "2", "3", "4")),
    ]
    columns = [Column("x", rng.normal(size=n)), Column("z", rng.normal(3, 2, size=n))]
    design = build_design(factors, columns)
    truth = np.array([link_shift, -0.5, 0.2, 0.4, -0.1, -0.3, -0.2, 0.4, 0.1])
    y = (rng.random(n) < -np.expm1(-np.exp(design.predict(truth)))).astype(float)
    return y, design, rng.integers(0, 200, n), truth, (factors, columns)


def test_one_group_is_the_log_of_its_integrated_hazard():
    # 3 exits among 10 traders: 1 - exp(-exp(b)) = 0.3
    y = np.repeat([1.0, 0.0], [3, 7])
    design = build_design([], [], n_rows=10)
    fit = fit_binomial(y, design)
    assert fit.coef[0] == pytest.approx(np.log(-np.log(0.7)), rel=1e-10)
    assert fit.log_likelihood == pytest.approx(3 * np.log(0.3) + 7 * np.log(0.7), rel=1e-12)
    # delta method of sqrt(0.3 * 0.7 / 10), times 10 / 9 with every trader its own cluster
    error = np.sqrt(0.3 * 0.7 / 10) / (0.7 * -np.log(0.7))
    assert fit.std_error[0] == pytest.approx(error, rel=1e-9)
    cov = covariance(fit_scores(fit, y, design), [clusters_of(np.arange(10))])
    assert cov.std_error[0] == pytest.approx(error * np.sqrt(10 / 9), rel=1e-9)


@pytest.mark.parametrize("link", LINKS)
def test_score_and_hessian_against_numerical_derivatives(link):
    y, design, _, truth, _ = sample(400)
    weight = np.random.default_rng(1).integers(0, 4, 400).astype(float)
    here = moments_at(truth, y, design, link=link, weight=weight, information="observed")
    step = 1e-5
    for j in range(design.n_columns):
        up, down = truth.copy(), truth.copy()
        up[j], down[j] = truth[j] + step, truth[j] - step
        values = [loglik_at(b, y, design, link=link, weight=weight) for b in (up, down)]
        assert here.score[j] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-5)
        scores = [moments_at(b, y, design, link=link, weight=weight).score for b in (up, down)]
        np.testing.assert_allclose(-here.information[j], (scores[0] - scores[1]) / (2 * step), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("link", LINKS)
def test_score_is_zero_at_the_optimum_and_sums_over_rows(link):
    y, design, _, _, _ = sample()
    fit = fit_binomial(y, design, link=link)
    here = moments_at(fit.coef, y, design, link=link)
    assert fit.gradient <= 1e-8
    np.testing.assert_allclose(design.sums(score_rows(fit, y, design)), here.score, atol=1e-9)
    np.testing.assert_allclose(fit.bread @ here.information, np.eye(9), atol=1e-8)
    assert fit.log_likelihood == pytest.approx(loglik_at(fit.coef, y, design, link=link), rel=1e-12)


def test_cells_and_columns_written_out_are_the_same_model():
    y, design, cluster, _, _ = sample()
    x = design.written_out()
    plain = build_design([], [Column(f"c{j}", x[:, j]) for j in range(1, x.shape[1])])
    one, other = fit_binomial(y, design), fit_binomial(y, plain)
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-7)
    errors = [
        covariance(fit_scores(f, y, d), [clusters_of(cluster)]).std_error for f, d in ((one, design), (other, plain))
    ]
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-7)


def test_factors_alone_are_fitted_on_cells():
    y, _, cluster, _, (factors, _) = sample()
    design = build_design(factors, [])
    fit = fit_binomial(y, design)
    written = build_design([], [Column(f"c{j}", c) for j, c in enumerate(design.written_out().T[1:])])
    np.testing.assert_allclose(fit.coef, fit_binomial(y, written).coef, rtol=1e-7, atol=1e-9)
    assert (fit.n_rows, fit.n_events) == (len(y), y.sum())
    clustered = covariance(fit_scores(fit, y, design), [clusters_of(cluster)])
    assert np.isfinite(clustered.std_error).all()


def test_blocks_are_the_whole():
    y, design, _, _, (factors, columns) = sample()
    edges = [0, 700, 1900, 3000]

    def blocks():
        for low, high in pairwise(edges):
            part_factors = [Factor(f.name, f.codes[low:high], f.levels) for f in factors]
            part_columns = [Column(c.name, c.values[low:high]) for c in columns]
            yield Block(y[low:high], build_design(part_factors, part_columns))

    whole, parts = fit_binomial(y, design), fit_blocks(blocks)
    np.testing.assert_allclose(parts.coef, whole.coef, rtol=1e-7)
    np.testing.assert_allclose(parts.bread, whole.bread, rtol=1e-6)
    assert parts.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-11)


def test_an_offset_shifts_the_intercept():
    y, design, _, _, (factors, columns) = sample()
    shifted = build_design(factors, columns, offset=np.full(len(y), 0.7))
    one, other = fit_binomial(y, design), fit_binomial(y, shifted)
    np.testing.assert_allclose(other.coef, one.coef - 0.7 * (np.arange(9) == 0), rtol=1e-6, atol=1e-8)


def test_frequency_two_is_the_row_twice():
    y, design, cluster, _, _ = sample(600)
    frequency = np.random.default_rng(0).integers(0, 4, 600)
    repeated = np.repeat(np.arange(600), frequency)
    one = fit_binomial(y, design, frequency=frequency.astype(float))
    other = fit_binomial(y[repeated], take_rows(design, repeated))
    assert (one.n_rows, one.n_events) == (other.n_rows, other.n_events)
    assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-10)
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-7)
    np.testing.assert_allclose(one.bread, other.bread, rtol=1e-6)
    scores = fit_scores(one, y, design, frequency=frequency.astype(float))
    again = fit_scores(other, y[repeated], take_rows(design, repeated))
    for a, b in (([clusters_of(cluster)], [clusters_of(cluster[repeated])]), ([], [])):
        for name in ("g_over_gm1", "cr1"):
            first, second = covariance(scores, a, correction=name), covariance(again, b, correction=name)
            np.testing.assert_allclose(first.matrix, second.matrix, rtol=1e-6, atol=1e-12)


def test_probability_weights_leave_the_number_of_rows_alone():
    y, design, cluster, _, _ = sample(800)
    weight = np.random.default_rng(0).uniform(0.5, 4, 800)
    one, other = (fit_binomial(y, design, probability=w) for w in (weight, 10 * weight))
    assert one.n_rows == 800 and one.n_events == y.sum()
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-7)
    errors = [
        covariance(fit_scores(f, y, design, probability=w), [clusters_of(cluster)], correction="cr1").std_error
        for f, w in ((one, weight), (other, 10 * weight))
    ]
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-7)  # their scale does not matter
    both = fit_binomial(y, design, frequency=np.full(800, 2.0), probability=weight)
    assert both.n_rows == 1600


def test_counts_with_weights_on_cells():
    y, _, _, _, (factors, _) = sample(500)
    weight = np.random.default_rng(0).uniform(0.5, 4, 500)
    fit = fit_binomial(y, build_design(factors, []), probability=weight)
    assert (fit.n_rows, fit.n_events) == (500, y.sum())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_row_order_cluster_names_and_unused_levels_do_not_matter(seed):
    y, design, cluster, _, (factors, columns) = sample(300, seed=3)
    order = np.random.default_rng(seed).permutation(300)
    more = [Factor(f.name, f.codes[order], (*f.levels, "never")) for f in factors]
    other = build_design(more, [Column(c.name, c.values[order]) for c in columns])
    settled = settle(y[order], other)
    assert {term.level for term in settled.aliased} == {"never"}
    one, two = fit_binomial(y, design), fit_binomial(y[order], settled.design)
    np.testing.assert_allclose(two.coef, one.coef, rtol=1e-6, atol=1e-9)
    a = covariance(fit_scores(one, y, design), [clusters_of(cluster)])
    labels = np.array([f"firm {900 - c}" for c in cluster])[order]
    b = covariance(fit_scores(two, y[order], settled.design), [clusters_of(labels)])
    np.testing.assert_allclose(b.matrix, a.matrix, rtol=1e-6, atol=1e-12)


def test_planted_coefficients_lie_within_four_standard_errors():
    y, design, _, truth, _ = sample(40_000)
    fit = fit_binomial(y, design)
    assert (np.abs(fit.coef - truth) < 4 * fit.std_error).all()


# ---- what cannot be estimated -----------------------------------------------------------------------------------


def test_levels_without_events_leave_with_their_rows_until_nothing_changes():
    # year 3 has no event; without it, region b has none either
    year = np.array([0, 0, 1, 1, 2, 2, 0, 1, 0, 1, 2, 0])
    region = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1])
    y = np.array([1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0], dtype=float)
    design = build_design([Factor("year", year, ("1", "2", "3")), Factor("region", region, ("a", "b"))], [])
    settled = settle(y, design)
    assert {level.term.name for level in settled.separated} == {"year[3]", "region[b]"}
    assert [level.n_events for level in settled.separated] == [0, 0]
    assert settled.rows.sum() == 6
    fit = fit_binomial(y[settled.rows], settled.design, link="logit")
    assert [term.name for term in settled.design.terms] == ["(Intercept)", "year[2]"]
    # years 1 and 2 in region a: 1 event of 3, then 2 of 3
    np.testing.assert_allclose(fit.coef, [np.log(1 / 2), np.log(2) - np.log(1 / 2)], rtol=1e-7)


def test_a_separated_reference_hands_over():
    size = np.repeat([0, 1, 2], 8)
    y = np.concatenate([np.zeros(8), np.tile([1.0, 0.0], 4), np.tile([1.0, 0, 0, 0], 2)])
    settled = settle(y, build_design([Factor("size", size, ("a", "b", "c"))], []))
    assert [level.term.name for level in settled.separated] == ["size[a]"]
    assert [term.name for term in settled.design.terms] == ["(Intercept)", "size[c]"]


def test_a_separated_treatment_is_an_error():
    treated, size = np.tile([0, 1], 12), np.repeat([0, 1, 2], 8)
    y = np.where((treated == 1) & (size == 2), 0.0, np.tile([1.0, 0.0, 0.0, 1.0], 6))
    factors = [Factor("treated", treated, ("0", "1")), Factor("size", size, ("a", "b", "c"))]
    design = build_design(factors, [], interactions=[("treated", "size")])
    with pytest.raises(SeparationError, match=r"treated\[1\]:size\[c\].* 4 rows"):
        settle(y, design, essential=["treated"])
    assert settle(y, build_design(factors, []), essential=["treated"]).rows.all()


def test_a_treatment_that_repeats_a_control_is_an_error():
    y, treated = np.tile([1.0, 0.0, 0.0], 4), np.tile([0, 1], 6)
    design = build_design([Factor("treated", treated, ("0", "1"))], [Column("dose", 2.0 * treated)])
    with pytest.raises(CollinearityError, match=r"treated\[1\]"):
        settle(y, design, essential=["treated"])


@pytest.mark.parametrize("link", LINKS)
def test_a_continuous_column_that_separates_is_refused_and_found(link):
    x = np.arange(60.0)
    design = build_design([Factor("g", np.tile([0, 1], 30), ("a", "b"))], [Column("x", x), Column("u", np.sin(x))])
    y = (x > 31).astype(float)
    with pytest.raises(SeparationError, match=r"'x'.*separate events from other rows perfectly"):
        fit_binomial(y, design, link=link)
    found = find_separation(y, design)
    assert found is not None and found.rows.all() and 2 in found.columns


def test_nothing_to_separate_and_large_effects_are_no_separation():
    y, design, _, _, _ = sample(500)
    assert find_separation(y, design) is None
    x = np.concatenate([np.linspace(-40, 40, 400), [5.0, -5.0]])
    outcome = np.concatenate([(np.linspace(-40, 40, 400) > 0).astype(float), [0.0, 1.0]])
    steep = build_design([], [Column("x", x)])
    assert find_separation(outcome, steep) is None
    assert fit_binomial(outcome, steep, link="logit").gradient <= 1e-8


def test_errors_say_what_and_how_many():
    y, design, _, _, (factors, columns) = sample(100)
    with pytest.raises(NoEventError, match="0 events in 100 rows"):
        fit_binomial(np.zeros(100), design)
    with pytest.raises(NoEventError, match="100 events in 100 rows"):
        settle(np.ones(100), design)
    with pytest.raises(CollinearityError, match="columns are not independent"):
        fit_binomial(y, build_design(factors, [*columns, Column("again", columns[0].values + columns[1].values)]))
    with pytest.raises(CollinearityError, match=r"size\[never\]"):
        fit_binomial(y, build_design([Factor("size", factors[1].codes, ("a", "b", "c", "never"))], []))
    with pytest.raises(ConvergenceError, match="after 1 steps over 100 rows"):
        fit_binomial(y, design, max_steps=1)
    with pytest.raises(SettingsError, match="y has 99 rows, the design has 100"):
        fit_binomial(y[1:], design)
    with pytest.raises(SettingsError, match="frequency must be finite and not negative; 100 of 100"):
        fit_binomial(y, design, frequency=np.full(100, -1.0))
    with pytest.raises(SettingsError, match="1 of 100 rows exceed 1"):
        fit_binomial(np.concatenate([[2.0], y[1:]]), design)
