"""R's numbers for a logit with village clusters: every error type, standardised risks, two-way, weights, subgroups."""

import numpy as np
import pytest

from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.contrasts import Prediction, standardise_binomial
from missie_impact.numerics.covariance import clusters_of, covariance, fit_scores, interval, p_value, with_information
from missie_impact.numerics.design import with_value

CONTROLS = ["age", "hiv2004", "distvct"]


@pytest.fixture(scope="module")
def case(cases):
    table, reference = cases.load("thornton_logit_clusters")
    return table.dropna(subset=["got", "any", *CONTROLS, "villnum"]), reference, cases


def fitted(cases, table, columns, y="got", probability=None):
    design = cases.design_of(table, columns)
    outcome = table[y].to_numpy(dtype=float)
    fit = fit_binomial(outcome, design, link="logit", probability=probability)
    return design, fit, fit_scores(fit, outcome, design, probability=probability)


@pytest.mark.parametrize(("block", "columns"), [("logit_any_only", ["any"]), ("logit_adjusted", ["any", *CONTROLS])])
def test_coefficients_and_every_error(case, block, columns):
    table, reference, cases = case
    design, fit, scores = fitted(cases, table, columns)
    village, expected = clusters_of(table["villnum"]), reference[block]
    assert fit.n_rows == reference["n_used"] and village.count == reference["clusters"]
    assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    cases.assert_matches(fit.coef, design, expected["coef"])
    cases.assert_matches(fit.std_error, design, expected["se"]["model_based"])
    cases.assert_matches(covariance(scores).std_error, design, expected["se"]["hc0"])
    with_own = with_information(scores, fit)
    for name in ("cr0", "g_over_gm1", "cr1", "cr3"):
        cases.assert_matches(covariance(with_own, [village], correction=name).std_error, design, expected["se"][name])


def test_intervals_normal_and_t(case):
    table, reference, cases = case
    _, fit, scores = fitted(cases, table, ["any", *CONTROLS])
    cov, expected = covariance(scores, [clusters_of(table["villnum"])]), reference["logit_adjusted"]
    assert cov.df == reference["clusters"] - 1
    b, se = fit.coef[1], cov.std_error[1]
    np.testing.assert_allclose(np.exp(interval(b, se)), expected["any_or_ci_normal"], rtol=1e-8)
    np.testing.assert_allclose(np.exp(interval(b, se, df=cov.df)), expected["any_or_ci_t_g_minus_1"], rtol=1e-8)
    assert p_value(b, se) == pytest.approx(expected["any_p_normal"], rel=1e-5)  # far tail
    assert p_value(b, se, df=cov.df) == pytest.approx(expected["any_p_t_g_minus_1"], rel=1e-6)


def standardised(cases, table, columns, probability=None):
    design, fit, scores = fitted(cases, table, columns, probability=probability)
    weight = np.ones(len(table)) if probability is None else probability
    worlds = Prediction(with_value(design, "any", 1.0), with_value(design, "any", 0.0), weight)
    return standardise_binomial(fit, scores, worlds, [clusters_of(table["villnum"])])


def check_standardised(found, expected):
    assert found.contrast("risk_1").estimate == pytest.approx(expected["risk_1"], rel=1e-9)
    assert found.contrast("risk_0").estimate == pytest.approx(expected["risk_0"], rel=1e-9)
    difference = found.contrast("risk_difference", fixed=True)
    assert difference.estimate == pytest.approx(expected["rd"], rel=1e-8)
    assert difference.std_error == pytest.approx(expected["rd_se_g_over_gm1"], rel=1e-6)
    ratio = found.contrast("log_risk_ratio", fixed=True)
    assert ratio.estimate == pytest.approx(expected["rr"], rel=1e-8)
    assert ratio.std_error == pytest.approx(expected["log_rr_se_g_over_gm1"], rel=1e-6)
    odds = found.contrast("log_odds_ratio")
    assert odds.estimate == pytest.approx(expected["odds_ratio_of_standardised_risks"], rel=1e-8)


@pytest.mark.parametrize("block", ["logit_any_only", "logit_adjusted"])
def test_standardised_risks_and_contrasts(case, block):
    table, reference, cases = case
    columns = ["any"] if block == "logit_any_only" else ["any", *CONTROLS]
    check_standardised(standardised(cases, table, columns), reference[block]["standardised"])


def test_without_controls_the_averaged_rows_add_nothing(case):
    # every row predicts the same, so holding the rows fixed or not is one and the same
    found = standardised(case[2], case[0], ["any"])
    np.testing.assert_allclose(found.stacked.matrix, found.fixed.matrix, rtol=1e-9)


def test_inverse_probability_weights(case):
    table, reference, cases = case
    expected = reference["ipw"]
    design, score_model, _ = fitted(cases, table, CONTROLS, y="any")
    cases.assert_matches(score_model.coef, design, expected["coef_ps"])
    p = 1 / (1 + np.exp(-design.predict(score_model.coef)))
    weight = np.where(table["any"] == 1, 1 / p, 1 / (1 - p))
    assert weight.sum() == pytest.approx(expected["sum_w"], rel=1e-9)
    design, fit, scores = fitted(cases, table, ["any"], probability=weight)
    assert fit.n_rows == len(table)  # rows, not weights
    # R's logLik rounds the weights to whole trials, so it is no reference here
    eta = design.predict(fit.coef)
    assert fit.log_likelihood == pytest.approx(weight @ (table["got"] * eta - np.logaddexp(0, eta)), rel=1e-10)
    cases.assert_matches(fit.coef, design, expected["fit"]["coef"])
    cases.assert_matches(fit.std_error, design, expected["fit"]["se"]["model_based"])
    cases.assert_matches(covariance(scores).std_error, design, expected["fit"]["se"]["hc0"])
    village = clusters_of(table["villnum"])
    for name in ("cr0", "g_over_gm1", "cr1"):
        errors = covariance(scores, [village], correction=name).std_error
        cases.assert_matches(errors, design, expected["fit"]["se"][name])
    check_standardised(standardised(cases, table, ["any"], weight), expected["fit"]["standardised"])


def test_two_way_clusters_without_factor(case):
    table, reference, cases = case
    design, _, scores = fitted(cases, table, ["any", *CONTROLS])
    both = [clusters_of(table["villnum"]), clusters_of(table["age"] // 10)]
    cov = covariance(scores, both, correction="cr0", truncate=False)
    assert both[1].count == reference["two_way_village_ageband"]["bands"]
    cases.assert_matches(cov.std_error, design, reference["two_way_village_ageband"]["se"])
    assert cov.df == 7
    assert any("only 8 clusters" in note for note in cov.notes)


def test_subgroups_by_interaction(case):
    table, reference, cases = case
    expected = reference["subgroups_far"]
    table = table.assign(far=(table["distvct"] > 1.5).astype(int))
    design = cases.design_of(table, ["any", "far", "age", "hiv2004"], interactions=[("any", "far")])
    y = table["got"].to_numpy(dtype=float)
    fit = fit_binomial(y, design, link="logit")
    cov = covariance(fit_scores(fit, y, design), [clusters_of(table["villnum"])])
    cases.assert_matches(fit.coef, design, expected["coef"])
    cases.assert_matches(cov.std_error, design, expected["se_g_over_gm1"])
    pick = np.array([term.name in ("any", "any:far") for term in design.terms], dtype=float)
    assert np.sqrt(pick @ cov.matrix @ pick) == pytest.approx(expected["log_or_far_se"], rel=1e-6)
