"""Standardised risks and survival: by hand, by numerical derivatives, and their errors against resampling."""

import numpy as np
import pytest

from missie_impact.errors import NoParticipantError, SettingsError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.contrasts import Prediction, standardise_binomial
from missie_impact.numerics.covariance import Clusters, clusters_of, fit_scores
from missie_impact.numerics.design import Column, Factor, build_design, with_level
from missie_impact.numerics.histories import Histories, expected_histories, standardised_survival


def rows_of(table):
    """Rows of (treated, y, count)."""
    treated, y, count = np.array(table).T
    return np.repeat(treated, count), np.repeat(y, count).astype(float)


def saturated(treated):
    return build_design([Factor("treated", treated, ("0", "1"))], [])


def worlds(design, weight, **options):
    return Prediction(with_level(design, "treated", "1"), with_level(design, "treated", "0"), weight, **options)


def test_two_by_two_table_by_hand():
    # 10 of 40 treated and 12 of 80 others become structural
    treated, y = rows_of([(1, 1, 10), (1, 0, 30), (0, 1, 12), (0, 0, 68)])
    design = saturated(treated)
    fit = fit_binomial(y, design, link="logit")
    found = standardise_binomial(fit, fit_scores(fit, y, design), worlds(design, treated.astype(float)))
    assert found.contrast("log_odds_ratio").estimate == pytest.approx((10 * 68) / (30 * 12), rel=1e-9)
    assert found.contrast("log_risk_ratio").estimate == pytest.approx(0.25 / 0.15, rel=1e-9)
    assert found.contrast("risk_difference").estimate == pytest.approx(0.10, rel=1e-9)
    # the textbook errors of a two by two table: Woolf, Katz and the difference of proportions
    assert found.contrast("log_odds_ratio").std_error == pytest.approx(
        np.sqrt(1 / 10 + 1 / 30 + 1 / 12 + 1 / 68), rel=1e-8
    )
    assert found.contrast("log_risk_ratio").std_error == pytest.approx(
        np.sqrt(1 / 10 - 1 / 40 + 1 / 12 - 1 / 80), rel=1e-8
    )
    difference = np.sqrt(0.25 * 0.75 / 40 + 0.15 * 0.85 / 80)
    assert found.contrast("risk_difference").std_error == pytest.approx(difference, rel=1e-8)
    low, high = 0.10 - 1.959963984540054 * difference, 0.10 + 1.959963984540054 * difference
    assert found.contrast("risk_difference").conf_low == pytest.approx(low, rel=1e-8)
    assert found.contrast("risk_difference").conf_high == pytest.approx(high, rel=1e-8)


def test_averaging_over_nobody_is_an_error():
    treated, y = rows_of([(1, 1, 3), (1, 0, 3), (0, 1, 2), (0, 0, 5)])
    design = saturated(treated)
    fit = fit_binomial(y, design, link="logit")
    with pytest.raises(NoParticipantError, match="positive weight"):
        standardise_binomial(fit, fit_scores(fit, y, design), worlds(design, np.zeros(len(y))))


def sample(seed, n_firms=300):
    rng = np.random.default_rng(seed)
    firm = np.repeat(np.arange(n_firms), rng.integers(1, 5, n_firms))
    trait = rng.normal(size=n_firms)[firm]
    x = 0.7 * trait + rng.normal(size=len(firm))
    treated = (rng.random(len(firm)) < 1 / (1 + np.exp(1 - x))).astype(int)
    eta = -0.6 + 0.7 * treated + 0.8 * x + 0.5 * trait
    return firm, x, treated, (rng.random(len(firm)) < 1 / (1 + np.exp(-eta))).astype(float)


def att(firm, x, treated, y, **options):
    design = build_design([Factor("treated", treated, ("0", "1"))], [Column("x", x)])
    fit = fit_binomial(y, design, link="logit")
    clusters = [clusters_of(firm)]
    return standardise_binomial(
        fit, fit_scores(fit, y, design), worlds(design, treated.astype(float)), clusters, **options
    )


def test_stacked_errors_are_those_of_a_cluster_jackknife():
    # Leaving one firm out at a time is first-order the same influence, for each scale
    firm, x, treated, y = sample(5)
    found = att(firm, x, treated, y, correction="cr0")
    left_out = np.array([att(*(v[firm != g] for v in (firm, x, treated, y))).value for g in range(300)])
    jackknife = np.sqrt(299 / 300 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(found.stacked.std_error, jackknife, rtol=0.02)  # second-order terms of 300 firms
    # holding the treated rows fixed misses part of the variation of the risks themselves
    assert found.fixed.std_error[0] < found.stacked.std_error[0]


def test_row_order_cluster_names_and_doubled_rows():
    firm, x, treated, y = sample(6)
    one = att(firm, x, treated, y)
    order = np.random.default_rng(0).permutation(len(y))
    other = att(np.array([f"f{f}" for f in 1000 - firm])[order], x[order], treated[order], y[order])
    np.testing.assert_allclose(other.value, one.value, rtol=1e-9)
    np.testing.assert_allclose(other.stacked.matrix, one.stacked.matrix, rtol=1e-7)
    twice = att(*(np.concatenate([v, v]) for v in (firm, x, treated, y)))
    np.testing.assert_allclose(twice.stacked.matrix, one.stacked.matrix, rtol=1e-7)


def test_two_way_uses_both_dimensions():
    firm, x, treated, y = sample(7)
    design = build_design([Factor("treated", treated, ("0", "1"))], [Column("x", x)])
    fit = fit_binomial(y, design, link="logit")
    scores, prediction = fit_scores(fit, y, design), worlds(design, treated.astype(float))
    year = np.random.default_rng(1).integers(0, 40, len(y))
    a, b, both = clusters_of(firm), clusters_of(year), clusters_of(firm, year)
    one, other, cross = (
        standardise_binomial(fit, scores, prediction, [c], correction="cr0").stacked.matrix for c in (a, b, both)
    )
    two_way = standardise_binomial(fit, scores, prediction, [a, b], correction="cr0").stacked
    np.testing.assert_allclose(two_way.matrix, one + other - cross, rtol=1e-9)
    assert two_way.df == 39


# ---- survival ---------------------------------------------------------------------------------------------------

YEARS = 3


def hazard_rows(seed=3, n=400, effect=-0.7, x_effect=0.4):
    """Rows at risk of n units over three years, and the units."""
    rng = np.random.default_rng(seed)
    treated, x = rng.integers(0, 2, n), rng.normal(size=n)
    unit, year, y = [], [], []
    alive = np.ones(n, dtype=bool)
    for k in range(YEARS):
        exits = rng.random(n) < -np.expm1(-np.exp(-1.2 - 0.2 * k + effect * treated + x_effect * x))
        unit.append(np.flatnonzero(alive))
        year.append(np.full(alive.sum(), k))
        y.append(exits[alive])
        alive = alive & ~exits
    return treated, x, np.concatenate(unit), np.concatenate(year), np.concatenate(y).astype(float)


def hazard_design(treated, year, x=None):
    factors = [Factor("treated", treated, ("0", "1")), Factor("year", year, ("1", "2", "3"))]
    return build_design(factors, [] if x is None else [Column("x", x)])


def survival_of(treated, x, unit, year, y, *, use_x=True, **options):
    design = hazard_design(treated[unit], year, x[unit] if use_x else None)
    fit = fit_binomial(y, design, link="cloglog")
    chosen = np.flatnonzero(treated == 1)
    future = hazard_design(np.tile(treated[chosen], YEARS), np.repeat(np.arange(YEARS), len(chosen)),
                           np.tile(x[chosen], YEARS) if use_x else None)  # fmt: skip
    # only treated rows: the reference level would be missing, so build it with both levels
    clusters, own = Clusters(unit, len(treated)), Clusters(chosen, len(treated))
    histories = Histories(
        with_level(future, "treated", "1"), with_level(future, "treated", "0"), YEARS, np.ones(len(chosen)), (own,),
        options.pop("followed", None),
    )  # fmt: skip
    return fit, histories, standardised_survival(fit, fit_scores(fit, y, design), histories, [clusters], **options)


def value_of(found, name):
    return found.value[found.names.index(name)]


def test_without_covariates_survival_is_the_product_of_the_hazards():
    fit, _, found = survival_of(*hazard_rows(), use_x=False)
    for arm in (0, 1):
        hazard = -np.expm1(-np.exp(fit.coef[0] + arm * fit.coef[1] + np.array([0, fit.coef[2], fit.coef[3]])))
        for k in range(1, YEARS + 1):
            assert value_of(found, f"hazard_{arm}_year_{k}") == pytest.approx(hazard[k - 1], rel=1e-9)
            assert value_of(found, f"survival_{arm}_year_{k}") == pytest.approx(np.prod(1 - hazard[:k]), rel=1e-9)
    # no covariates: conditional and marginal hazard ratio are the same, and so are their errors
    assert value_of(found, "log_hazard_ratio") == pytest.approx(fit.coef[1], abs=1e-9)
    assert value_of(found, "survival_difference_3") == pytest.approx(
        value_of(found, "survival_1_year_3") - value_of(found, "survival_0_year_3"), rel=1e-12
    )
    assert "survival_difference_5" not in found.names


def test_the_marginal_hazard_ratio_is_nearer_to_one_than_the_conditional_one():
    fit, _, found = survival_of(*hazard_rows(n=4_000, effect=-1.0, x_effect=1.2))
    assert fit.coef[1] < value_of(found, "log_hazard_ratio") < 0


def test_gradients_are_derivatives_of_the_whole_chain():
    rows = hazard_rows()
    fit, histories, _ = survival_of(*rows)
    means = expected_histories(fit.coef, "cloglog", histories)
    for j in range(len(fit.coef)):
        step = np.zeros(len(fit.coef))
        step[j] = 1e-5
        up = expected_histories(fit.coef + step, "cloglog", histories).value
        down = expected_histories(fit.coef - step, "cloglog", histories).value
        np.testing.assert_allclose(means.gradient[:, j], (up - down) / 2e-5, rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(means.moment.sum(axis=0), 0, atol=1e-12)


def test_stacked_errors_of_survival_are_those_of_a_jackknife():
    treated, x, unit, year, y = hazard_rows(n=250)
    _, _, found = survival_of(treated, x, unit, year, y, correction="cr0")
    left_out = []
    for g in range(250):
        stay = np.arange(250) != g
        rows = unit != g
        renumbered = (np.cumsum(stay) - 1)[unit[rows]]
        left_out.append(survival_of(treated[stay], x[stay], renumbered, year[rows], y[rows])[2].value)
    left_out = np.array(left_out)
    jackknife = np.sqrt(249 / 250 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(found.stacked.std_error, jackknife, rtol=0.05)  # second-order terms of 250 units


def test_years_outside_the_window_do_not_count():
    treated, x, unit, year, y = hazard_rows()
    n = int(treated.sum())
    followed = np.ones((YEARS, n), dtype=bool)
    followed[2, : n // 2] = False
    _, histories, found = survival_of(treated, x, unit, year, y, use_x=False, followed=followed)
    assert expected_histories(np.zeros(4), "cloglog", histories).value[2] < np.exp(-2)  # fewer at risk in year 3
    _, _, everyone = survival_of(treated, x, unit, year, y, use_x=False)
    np.testing.assert_allclose(found.value, everyone.value, rtol=1e-9)  # hazards do not depend on who is followed
    with pytest.raises(SettingsError, match="nobody is followed"):
        survival_of(treated, x, unit, year, y, followed=np.zeros((YEARS, n), dtype=bool))
