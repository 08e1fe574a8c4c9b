"""Weights: R's inverse probability weights, exact balance, and estimating equations against numerical derivatives."""

import json
from dataclasses import replace
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special

from missie_impact.design import balance, weight
from missie_impact.errors import CollinearityError, ConvergenceError, SettingsError
from missie_impact.risksets.riskset import RiskSet

DATA = Path(__file__).parents[1] / "data"
TARGETS = {"att": "ipw_att", "ate": "ipw_ate", "ato": "overlap_weights"}


@pytest.mark.parametrize("estimand", TARGETS)
def test_effects_and_effective_sizes_are_rs(lalonde, estimand):
    design, expected = weight(lalonde.risk, on=lalonde.on, estimand=estimand), lalonde.reference[TARGETS[estimand]]
    np.testing.assert_allclose(lalonde.att(design), expected["estimate"], rtol=1e-6)
    sizes = balance(design).sizes.iloc[0]
    np.testing.assert_allclose(sizes["effective_treated_after"], expected["ess_treated"], rtol=1e-6)
    np.testing.assert_allclose(sizes["effective_untreated_after"], expected["ess_control"], rtol=1e-6)
    assert design.estimand == estimand


def test_propensity_is_rs(lalonde):
    model, expected = weight(lalonde.risk, on=lalonde.on).model, lalonde.reference["propensity"]
    names = [term.name.replace("[", "").replace("]", "").removesuffix("1") for term in model.covariates.terms]
    found = dict(zip(names, model.coef, strict=True))
    errors = dict(zip(names, np.sqrt(np.diag(model.bread)), strict=True))
    for name in expected["coef"]:
        np.testing.assert_allclose(found[name], expected["coef"][name], rtol=1e-6)
        np.testing.assert_allclose(errors[name], expected["se"][name], rtol=1e-6)


def test_weights_of_an_experiment_are_rs():
    table = pd.read_csv(DATA / "thornton_logit_clusters" / "data.csv")
    used = table.dropna(subset=["got", "any", "age", "hiv2004", "distvct", "villnum"])
    expected = json.loads((DATA / "thornton_logit_clusters" / "reference.json").read_text(encoding="utf-8"))["ipw"]
    risk = RiskSet.from_frame(used, outcome="got", treatment="any")
    design = weight(risk, on=["age", "hiv2004", "distvct"], estimand="ate")
    found = dict(zip((t.variable for t in design.model.covariates.terms), design.model.coef, strict=True))
    np.testing.assert_allclose(
        [found[name] for name in expected["coef_ps"]], list(expected["coef_ps"].values()), rtol=1e-6
    )
    np.testing.assert_allclose(design.weight.sum(), expected["sum_w"], rtol=1e-9)
    np.testing.assert_allclose(design.weight.max(), expected["max_w"], rtol=1e-6)


def test_overlap_weights_balance_every_mean_exactly(lalonde):
    table = balance(weight(lalonde.risk, on=lalonde.on, estimand="ato")).table
    assert table.loc[table["kind"] != "score", "difference_after"].abs().max() < 1e-9


def test_entropy_balancing_gives_the_means_of_the_treated(lalonde):
    design = weight(lalonde.risk, on=[*lalonde.on, "age**2", "age:educ"], method="entropy")
    table = balance(design).table
    assert table["difference_after"].abs().max() < 1e-8
    assert (design.weight[lalonde.treated] == 1).all() and (design.weight > 0).all()
    np.testing.assert_allclose(design.weight[~lalonde.treated].sum(), 185)
    # Of all such weights theirs are log-linear in the terms: what is left of the logarithm after them is nothing.
    x = np.column_stack([design.model.covariates.written_out()])[~lalonde.treated]
    log = np.log(design.weight[~lalonde.treated])
    assert np.abs(log - x @ np.linalg.lstsq(x, log, rcond=None)[0]).max() < 1e-6


def test_entropy_balancing_of_both_arms_is_the_minimum_of_its_dual(lalonde):
    """As R's WeightIt does it: per arm the log of the mean of exp(z'g), z the terms less their means over all units."""
    design = weight(lalonde.risk, on=lalonde.on, estimand="ate", method="entropy")
    assert design.estimand == "ate"
    x = weight(lalonde.risk, on=lalonde.on).model.covariates.written_out()[:, 1:]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    for arm in (lalonde.treated, ~lalonde.treated):
        made = design.weight[arm]
        np.testing.assert_allclose(made @ x[arm], x.sum(axis=0), rtol=1e-7)
        np.testing.assert_allclose(made.sum(), len(x), rtol=1e-9)
        dual = optimize.minimize(
            lambda g, some=z[arm]: special.logsumexp(some @ g),
            np.zeros(z.shape[1]), jac=lambda g, some=z[arm]: special.softmax(some @ g) @ some,
            method="BFGS", options={"gtol": 1e-9, "maxiter": 5000},
        )  # fmt: skip
        np.testing.assert_allclose(made, len(x) * special.softmax(z[arm] @ dual.x), rtol=1e-5)


def test_estimating_equations_of_both_arms(make):
    risk = make.risk_set(make.trials())
    design = weight(risk, on=["log_workers", "sector", "here"], estimand="ate", method="entropy")
    model, treated = design.model, risk.collect()["treated"].to_numpy() == 1
    x, n = model.covariates.written_out(), len(treated)
    own = np.flatnonzero(model.rows == np.arange(2 * n) % n)[n:]  # the last time a row stands in them
    np.testing.assert_allclose(design.weight, np.exp(x[own] @ model.coef), rtol=1e-9)
    np.testing.assert_allclose(model.score, np.r_[np.ones(n), -design.weight], rtol=1e-9)
    np.testing.assert_allclose(x.T @ model.score, 0, atol=1e-6)
    np.testing.assert_allclose(design.weight, model.slope)
    of_treated = [term.levels[0] == "1" for term in model.covariates.terms]
    assert (x[own][treated][:, ~np.array(of_treated)] == 0).all() and (x[own][~treated][:, of_treated] == 0).all()
    step = 1e-6
    for j in range(len(model.coef)):
        move = np.eye(len(model.coef))[j] * step
        up, down = (np.exp(x[own] @ (model.coef + s * move)) for s in (1, -1))
        information = (x[own].T @ (up - down)) / (2 * step)
        np.testing.assert_allclose(np.linalg.inv(model.bread)[:, j], information, rtol=1e-5, atol=1e-4)


def rebuilt(design, estimand, method, treated, coef):
    """Weights and scores at other coefficients, written down from their definition."""
    eta = design.model.covariates.written_out() @ coef
    if method == "entropy":
        made = np.where(treated, 1.0, np.exp(eta))
        return made, np.where(treated, 1.0, -np.exp(eta))
    e = 1 / (1 + np.exp(-eta))
    made = {
        "att": np.where(treated, 1.0, e / (1 - e)),
        "ate": np.where(treated, 1 / e, 1 / (1 - e)),
        "ato": np.where(treated, 1 - e, e),
    }
    return made[estimand], treated - e


@pytest.mark.parametrize(("estimand", "method"), [*((t, "logit") for t in TARGETS), ("att", "entropy")])
def test_estimating_equations_against_numerical_derivatives(make, estimand, method):
    table = make.trials()
    risk = make.risk_set(table)
    design = weight(risk, on=["log_workers", "sector", "here"], estimand=estimand, method=method)
    model, treated = design.model, risk.collect()["treated"].to_numpy() == 1
    x = model.covariates.written_out()
    made, score = rebuilt(design, estimand, method, treated, model.coef)
    np.testing.assert_allclose(design.weight, made, rtol=1e-9)
    np.testing.assert_allclose(model.score, score, atol=1e-9)
    deviation = np.sqrt(np.diag(np.linalg.inv(model.bread)))
    assert np.abs(x.T @ model.score / deviation).max() < 1e-6
    step = 1e-6
    for j in range(len(model.coef)):
        move = np.zeros(len(model.coef))
        move[j] = step
        up, down = (rebuilt(design, estimand, method, treated, model.coef + s * move) for s in (1, -1))
        np.testing.assert_allclose((up[0] - down[0]) / (2 * step), model.slope * x[:, j], atol=1e-6)
        information = -(x.T @ (up[1] - down[1])) / (2 * step)
        np.testing.assert_allclose(np.linalg.inv(model.bread)[:, j], information, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("method", "estimand"), [("logit", "att"), ("entropy", "att"), ("entropy", "ate")])
def test_frequency_two_is_the_row_twice(make, method, estimand):
    table = make.trials()
    twice = table.assign(times=np.where(table.index % 2 == 0, 2, 1), row=table.index)
    written = twice.loc[twice.index.repeat(twice["times"])]
    short = weight(
        make.risk_set(twice, frequency="times"), on=["log_workers", "sector"], method=method, estimand=estimand
    )
    long = weight(make.risk_set(written), on=["log_workers", "sector"], method=method, estimand=estimand)
    expected = pd.Series(long.weight).groupby(long.risk.collect()["row"]).first()
    np.testing.assert_allclose(short.weight, expected, rtol=1e-7)
    np.testing.assert_allclose(short.model.bread, long.model.bread, rtol=1e-6)
    found, whole = (balance(d).table for d in (short, long))
    for column in ("sd", "difference_before", "difference_after", "variance_ratio_after", "ks_after"):
        np.testing.assert_allclose(found[column], whole[column], rtol=1e-6, atol=1e-9)


def test_year_of_trials_is_balanced_too(make):
    risk = make.as_trials(make.risk_set(make.trials(), firm="firm", year="year"))
    design = weight(risk, on=["log_workers"], method="entropy")
    assert {t.variable for t in design.model.covariates.terms} == {"(Intercept)", "log_workers", "year"}


def test_the_outcome_is_never_looked_at(lalonde):
    blind = replace(lalonde.risk, rows=lalonde.risk.rows.with_columns(re78=nw.lit(None)))
    for method in ("logit", "entropy"):
        seen, unseen = (weight(risk, on=lalonde.on, method=method) for risk in (lalonde.risk, blind))
        assert np.array_equal(seen.weight, unseen.weight)
        assert balance(unseen).table.equals(balance(seen).table)


def test_levels_without_a_counterpart(make):
    table = make.trials()
    table.loc[table.index[:3], ["sector", "treated"]] = ["X", 1]
    table.loc[table.index[3:9], ["sector", "treated"]] = ["Y", 0]
    risk = make.risk_set(table)
    sector = risk.collect()["sector"]
    names = {"att": "att_on_support", "ate": "ate_on_support", "ato": "ato"}
    rest = make.risk_set(table[~table["sector"].isin(["X", "Y"])])
    ways = [(estimand, "logit") for estimand in names] + [("ate", "entropy")]
    for estimand, method in ways:
        name = names[estimand]
        design = weight(risk, on=["log_workers", "sector"], estimand=estimand, method=method)
        assert design.estimand == name
        assert (design.weight[sector.isin(["X", "Y"])] == 0).all()
        without = weight(rest, on=["log_workers", "sector"], estimand=estimand, method=method)
        np.testing.assert_allclose(design.weight[~sector.isin(["X", "Y"])], without.weight, rtol=1e-6)
        model = design.model
        assert np.abs(model.covariates.sums(model.score)).max() < 1e-6


def test_what_cannot_be_balanced_is_named(make):
    table = make.trials()
    alone = table.assign(sector=np.where((table["treated"] == 1) & (table.index < 100), "X", table["sector"]))
    with pytest.raises(CollinearityError, match=r"sector\[X\]"):
        weight(make.risk_set(alone), on=["log_workers", "sector"], method="entropy")
    far = table.assign(far=np.where(table["treated"] == 1, 5.0, 0.0) + np.linspace(0, 1, 400))
    with pytest.raises(ConvergenceError, match="'far'"):
        weight(make.risk_set(far), on=["far", "here"], method="entropy")
    constant = table.assign(fixed=np.where(table["treated"] == 1, np.linspace(0, 1, 400), 0.5))
    with pytest.raises(CollinearityError, match="'fixed'"):
        weight(make.risk_set(constant), on=["log_workers", "fixed"], method="entropy")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"estimand": "atc"}, "estimand"),
        ({"method": "cbps"}, "method"),
        ({"method": "entropy", "estimand": "ato"}, "overlap weights balance the means"),
    ],
)
def test_settings_out_of_range(lalonde, settings, words):
    with pytest.raises(SettingsError, match=words):
        weight(lalonde.risk, on=lalonde.on, **settings)


def test_a_unit_that_carries_its_group_is_said(make):
    x = [3.0] * 8 + [0.0] + [3.0] + [0.0] * 11
    table = pd.DataFrame({"treated": [1] * 9 + [0] * 12, "x": x, "outcome": 0})
    design = weight(make.risk_set(table), on=["x"])
    # Saturated: odds of 8 for the one control at 3, 1/11 for each of the others.
    np.testing.assert_allclose(sorted(design.weight)[:11], 1 / 11, rtol=1e-6)
    assert design.notes == ("one untreated unit carries 89% of the weight of its group",)
