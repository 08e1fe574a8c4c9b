"""Cox regression against R's coxph: ties, strata, delayed entry, switching treatment, clusters."""

import numpy as np
import pytest

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError, SettingsError
from missie_impact.numerics.covariance import clusters_of
from missie_impact.numerics.cox import cox_covariance, cox_data, cox_score_residuals, fit_cox


def fitted(table, columns, stop, event, *, ties="efron", start=None, strata=None):
    begin = None if start is None else table[start]
    data = cox_data(
        table[columns].to_numpy(float), table[stop], table[event], start=begin, ties=ties,
        strata=None if strata is None else table[strata],
    )  # fmt: skip
    return data, fit_cox(data, ties=ties)


def check(fit, columns, expected, rtol=1e-6):
    np.testing.assert_allclose(fit.coef, [expected["coef"][c] for c in columns], rtol=rtol)
    if "se" in expected:
        np.testing.assert_allclose(fit.std_error, [expected["se"][c] for c in columns], rtol=rtol)
    if "loglik" in expected:
        assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    if "loglik_null" in expected:
        assert fit.log_likelihood_null == pytest.approx(expected["loglik_null"], rel=1e-10)


def test_two_firms_by_hand():
    # exits at 1 (treated) and 2 (other), one more treated left: exp(b) maximises 1 / (2 r + 1) * 1 / (1 + r), times r
    data = cox_data(np.array([[1.0], [0.0], [1.0]]), [1, 2, 3], [1, 1, 0])
    fit = fit_cox(data)
    assert fit.coef[0] == pytest.approx(-0.5 * np.log(2), rel=1e-8)  # r / ((2 r + 1)(r + 1)) peaks at r = 1 / sqrt(2)
    assert fit.log_likelihood_null == pytest.approx(-np.log(6))


VETERAN = ["trt", "celltypesmallcell", "celltypeadeno", "celltypelarge", "karno", "diagtime", "age", "prior"]


@pytest.fixture(scope="module")
def veterans(cases):
    table, reference = cases.load("veteran_survival")
    for kind in ("smallcell", "adeno", "large"):
        table[f"celltype{kind}"] = (table["celltype"] == kind).astype(float)
    return table, reference


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_veterans(veterans, ties):
    table, reference = veterans
    _, fit = fitted(table, VETERAN, "time", "status", ties=ties)
    check(fit, VETERAN, reference[f"cox_{ties}"])


def test_veterans_by_stratum(veterans):
    table, reference = veterans
    columns = ["trt", "karno", "age"]
    _, fit = fitted(table, columns, "time", "status", strata="celltype")
    check(fit, columns, reference["cox_efron_strata_cell"])


def test_robust_errors(veterans):
    table, reference = veterans
    data, fit = fitted(table, VETERAN, "time", "status")
    expected = reference["cox_efron_robust"]
    rows = cox_covariance(data, fit).std_error
    np.testing.assert_allclose(rows, [expected["se_hc"][c] for c in VETERAN], rtol=1e-6)
    cells = cox_covariance(data, fit, clusters_of(table["celltype"])).std_error
    np.testing.assert_allclose(cells, [expected["se_cluster_celltype"][c] for c in VETERAN], rtol=1e-6)
    np.testing.assert_allclose(cox_score_residuals(data, fit.coef).sum(axis=0), 0, atol=1e-6)


@pytest.fixture(scope="module")
def hearts(cases):
    table, reference = cases.load("heart_time_varying")
    table["transplant"] = table["transplant"].astype(float)
    return table.assign(**{f"{v}:transplant": table[v] * table["transplant"] for v in ("age", "surgery")}), reference


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize(
    ("block", "columns"),
    [
        ("transplant_only", ["transplant"]),
        ("adjusted", ["age", "year", "surgery", "transplant"]),
        ("interaction", ["age", "surgery", "transplant", "age:transplant", "surgery:transplant"]),
    ],
)
def test_a_treatment_that_switches_on(hearts, ties, block, columns):
    # rows that end where another begins are counted once: (start, stop], unlike [start, stop] elsewhere in Python
    table, reference = hearts
    _, fit = fitted(table, columns, "stop", "event", start="start", ties=ties)
    check(fit, columns, reference[f"{block}_{ties}"])


def test_errors_by_patient(hearts):
    table, reference = hearts
    columns = ["age", "year", "surgery", "transplant"]
    data, fit = fitted(table, columns, "stop", "event", start="start")
    errors = cox_covariance(data, fit, clusters_of(table["id"])).std_error
    expected = reference["adjusted_efron_cluster_patient_se"]
    np.testing.assert_allclose(errors, [expected[c] for c in columns], rtol=1e-6)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_delayed_entry(cases, ties):
    table, reference = cases.load("channing_left_truncation")
    table = table[table["age"] > table["ageentry"]].assign(male=lambda t: (t["gender"] == 1).astype(float))
    _, fit = fitted(table, ["male"], "age", "death", start="ageentry", ties=ties)
    expected = reference["cox_male_delayed_entry"][ties]
    assert fit.coef[0] == pytest.approx(expected["coef"], rel=1e-6)
    assert fit.std_error[0] == pytest.approx(expected["se"], rel=1e-6)
    assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    _, wrong = fitted(table, ["male"], "age", "death", ties=ties)
    if ties == "efron":
        assert wrong.coef[0] == pytest.approx(reference["cox_male_ignoring_truncation"]["efron"]["coef"], rel=1e-6)


def test_many_ties_and_long_rows_cut_in_years(cases):
    table, reference = cases.load("unempdur_discrete_hazard")
    columns = ["ui", "age", "logwage", "reprate", "disrate", "tenure"]
    table = table.assign(ui=(table["ui"] == "yes").astype(float))
    _, fit = fitted(table, columns, "spell", "censor1")
    check(fit, columns, reference["full_job_cox_efron"])
    _, breslow = fitted(table, columns, "spell", "censor1", ties="breslow")
    check(breslow, columns, reference["full_job_cox_breslow"])
    years = table.loc[table.index.repeat(table["spell"])]
    k = years.groupby("id").cumcount() + 1
    years = years.assign(start=k - 1, stop=k, event=(k == years["spell"]) * years["censor1"])
    _, cut = fitted(years, columns, "stop", "event", start="start")
    np.testing.assert_allclose(cut.coef, fit.coef, rtol=1e-8)


def test_row_order_and_doubled_weights():
    rng = np.random.default_rng(0)
    x, stop, event = rng.normal(size=(200, 2)), rng.integers(1, 9, 200), rng.random(200) < 0.6
    one = fit_cox(cox_data(x, stop, event))
    order = rng.permutation(200)
    np.testing.assert_allclose(fit_cox(cox_data(x[order], stop[order], event[order])).coef, one.coef, rtol=1e-9)
    doubled = fit_cox(cox_data(x, stop, event, weight=np.full(200, 2.0), ties="breslow"), ties="breslow")
    twice = fit_cox(cox_data(np.vstack([x, x]), np.tile(stop, 2), np.tile(event, 2), ties="breslow"), ties="breslow")
    np.testing.assert_allclose(doubled.coef, twice.coef, rtol=1e-9)
    np.testing.assert_allclose(doubled.std_error, twice.std_error, rtol=1e-8)


def test_what_cannot_be_estimated():
    x = np.arange(6.0)[:, None]
    with pytest.raises(NoEventError, match="none in 6 rows"):
        cox_data(x, np.ones(6), np.zeros(6))
    with pytest.raises(SettingsError, match="1 of 6 rows do not end after they begin"):
        cox_data(x, np.arange(6), np.ones(6))
    with pytest.raises(CollinearityError):
        fit_cox(cox_data(np.hstack([x, 2 * x]), np.array([3, 1, 2, 5, 4, 6]), np.ones(6)))
    with pytest.raises(CollinearityError, match=r"\[0\] do not vary"):
        fit_cox(cox_data(np.zeros((6, 1)), np.arange(1, 7), np.ones(6)))
    with pytest.raises(ConvergenceError, match="no finite hazard ratio"):
        fit_cox(cox_data(x, 10 - np.arange(6), np.ones(6)))
