"""Blocks of R's numbers that other files leave: exact ties, tests along delayed entry, other clocks, counted tables."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import CurveOptions, market_exit, survival_curve, within_firm
from missie_impact.effects.leaving.exit_diagnostics import exit_diagnostics
from missie_impact.effects.leaving.exit_options import ExitOptions
from missie_impact.errors import SettingsError

EXACT = ExitOptions(ties="exact")
VETERAN = ["celltypesmallcell", "celltypeadeno", "celltypelarge", "karno", "diagtime", "age", "prior"]


def same(term):
    return term


def test_exact_ties_of_veterans(make, matches):
    table, reference = make.load("veteran_survival")
    cells = {f"celltype{k}": (table["celltype"] == k).astype(int) for k in ("smallcell", "adeno", "large")}
    table = table.assign(**cells, trt=(table["trt"] == 2).astype(int))
    risk = make.risk_set(table, outcome="status", treatment="trt", duration="time")
    effect = market_exit(risk, model="cox", controls=VETERAN, cluster=None, options=EXACT)
    expected = reference["cox_exact"]
    matches(effect.coefficients["estimate"], expected["coef"], same)
    matches(effect.coefficients["std_error"], expected["se"], same)
    assert effect.groups[0].log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    assert effect.effect("hazard_ratio_conditional").conf_high == pytest.approx(expected["hr_high"]["trt"], rel=1e-6)
    assert any("log odds ratio of the discrete hazard" in note for note in effect.notes)


def test_exact_ties_are_a_conditional_logit_within_years(make):
    # rows of single years: the risk set of a year is the rows of that year
    rng = np.random.default_rng(2)
    rows = pd.DataFrame(
        {"year": rng.integers(1, 5, 200), "treated": rng.integers(0, 2, 200), "x": rng.normal(size=200)}
    )
    rows["outcome"] = (rng.random(200) < 0.3).astype(int)
    risk = make.risk_set(rows.assign(start=rows["year"] - 1), duration="year", start="start")
    cox = market_exit(risk, model="cox", controls=["x"], cluster=None, options=EXACT)
    logit = within_firm(make.risk_set(rows), cluster=None, controls=["x"], strata=("year",))
    assert cox.effect("log_hazard").estimate == pytest.approx(logit.coefficients["estimate"]["treated"], rel=1e-8)
    assert cox.groups[0].log_likelihood == pytest.approx(logit.groups[0].log_likelihood, rel=1e-10)


def test_what_exact_ties_cannot_do(make):
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"firm": np.arange(400) % 50, "treated": rng.integers(0, 2, 400), "t": rng.integers(1, 4, 400)})
    rows = rows.assign(outcome=rng.integers(0, 2, 400), w=1.0 + rows["firm"] % 2)
    risk = make.risk_set(rows, duration="t", firm="firm")
    with pytest.raises(SettingsError, match="errors 'firm' are not known"):
        market_exit(risk, model="cox", controls=None, cluster="firm", options=EXACT)
    with pytest.raises(SettingsError, match="keeps no fit"):
        market_exit(risk, model="cox", controls=None, cluster=None, options=EXACT, keep_fit=True)
    with pytest.raises(SettingsError, match="ties='exact' has no diagnostics"):
        exit_diagnostics(risk, model="cox", controls=None, cluster=None, options=EXACT)
    with pytest.raises(SettingsError, match="expected no weights"):
        weighted = make.risk_set(rows, duration="t", firm="firm", probability="w")
        market_exit(weighted, model="cox", controls=None, cluster=None, options=EXACT)
    many = pd.DataFrame({"treated": rng.integers(0, 2, 90_000), "t": 1, "outcome": rng.integers(0, 2, 90_000)})
    with pytest.raises(SettingsError, match="too many placings"):
        market_exit(make.risk_set(many, duration="t"), model="cox", controls=None, cluster=None, options=EXACT)


def test_proportionality_with_rows_that_begin_late(make):
    # start-stop rows, where lifelines has no test
    table, reference = make.load("heart_time_varying")
    risk = make.risk_set(
        table, outcome="event", treatment="transplant", duration="stop", start="start", firm="id"
    )  # fmt: skip
    controls = ["age", "year", "surgery"]
    found = exit_diagnostics(risk, model="cox", controls=controls, cluster=None, clock="km").proportionality
    found = found.set_index("term").rename(index={"all together": "GLOBAL"})
    expected = reference["ph_test_km"]
    for term in (*controls, "transplant", "GLOBAL"):
        assert found.loc[term, "statistic"] == pytest.approx(expected["chisq"][term], rel=1e-6)
        assert found.loc[term, "p_value"] == pytest.approx(expected["p"][term], rel=1e-5)


def test_ever_treated_without_covariates(make):
    table, reference = make.load("heart_time_varying")
    ever = table.groupby("id", as_index=False).agg(
        time=("stop", "max"), event=("event", "max"), ever=("transplant", "max")
    )  # fmt: skip
    risk = make.risk_set(ever, outcome="event", treatment="ever", duration="time", firm="id")
    found = market_exit(risk, model="cox", controls=None, cluster=None).effect("log_hazard")
    expected = reference["immortal_time_bias"]
    assert found.estimate == pytest.approx(expected["naive_ever_treated_coef"], rel=1e-6)
    assert found.std_error == pytest.approx(expected["naive_se"], rel=1e-6)


def test_a_clock_that_starts_at_entry(make):
    table, reference = make.load("channing_left_truncation")
    table = table[table["age"] > table["ageentry"]].assign(
        male=lambda t: (t["gender"] == 1).astype(int), since=lambda t: t["age"] - t["ageentry"]
    )  # fmt: skip
    risk = make.risk_set(table, outcome="death", treatment="male", duration="since")
    found = market_exit(risk, model="cox", controls=None, cluster=None)
    expected = reference["cox_male_time_since_entry"]["efron"]
    assert found.effect("log_hazard").estimate == pytest.approx(expected["coef"], rel=1e-6)
    assert found.effect("log_hazard").std_error == pytest.approx(expected["se"], rel=1e-6)
    assert found.groups[0].log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)


def test_errors_of_a_curve_given_survival(make):
    table, reference = make.load("channing_left_truncation")
    table = table[table["age"] > table["ageentry"]].assign(male=lambda t: (t["gender"] == 1).astype(int))
    risk = make.risk_set(table, outcome="death", treatment="male", duration="age", start="ageentry")
    expected = reference["km_given_alive_at_816"]
    options = CurveOptions(times=tuple(expected["age_months"]), bands=False)
    found = survival_curve(risk, cluster=None, start=816, options=options).table
    for arm, sex in (("treated", "male"), ("untreated", "female")):
        line = found[found["arm"] == arm]
        np.testing.assert_allclose(line["estimate"], expected[sex], rtol=1e-6)
        known = np.array(expected[f"{sex}_se"]) > 0
        np.testing.assert_allclose(line["std_error"][known], np.array(expected[f"{sex}_se"])[known], rtol=1e-6)


def test_unemployment_spells_without_a_random_effect(make, matches):
    table, reference = make.load("unempdur_discrete_hazard")
    table = table.assign(ui=(table["ui"] == "yes").astype(int))
    curve = survival_curve(
        make.risk_set(table.assign(one=1), outcome="censor1", treatment="one", duration="spell", firm="id"),
        cluster=None,
        options=CurveOptions(bands=False),
    ).table.set_index("time")["estimate"]
    expected = reference["km_full_job"]
    np.testing.assert_allclose([curve[t] for t in expected["period"]], expected["surv"], rtol=1e-8)
    assert curve[curve <= 0.5].index[0] == expected["median"]
    rows = table.loc[table.index.repeat(table["spell"])].reset_index(drop=True)
    t = rows.groupby("id").cumcount() + 1
    left = (rows[["censor1", "censor2", "censor3"]].sum(axis=1) > 0) & (t == rows["spell"])
    risk = make.risk_set(rows.assign(lt=np.log(t), y=left.astype(int)), outcome="y", treatment="ui", firm="id")
    effect = market_exit(risk, controls=["lt", "age", "logwage"], cluster=None)
    expected = reference["any_cloglog_logduration_no_frailty"]
    matches(effect.coefficients["estimate"], expected["coef"], same)
    matches(effect.coefficients["std_error"], expected["se"], same)
    assert effect.groups[0].log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)


def test_new_against_old_exporters_of_a_whole_country(make):
    _, reference = make.load("mexico_exporter_exit_grouped")
    counts = [reference[k] for k in ("entrants", "entrant_exits", "incumbents", "incumbent_exits")]
    table = pd.DataFrame({"new": [1, 1, 0, 0], "left": [1, 0, 1, 0]})
    table["n"] = [counts[1], counts[0] - counts[1], counts[3], counts[2] - counts[3]]
    risk = make.risk_set(table, outcome="left", treatment="new", frequency="n")
    expected = reference["entrant_against_incumbent_2x2"]
    hazard = market_exit(risk, controls=None, cluster=None).effect("hazard_ratio_conditional")
    assert hazard.estimate == pytest.approx(expected["hazard_ratio_cloglog"], rel=1e-9)
    odds = market_exit(risk, model="logit", controls=None, cluster=None).effect("odds_ratio_conditional")
    assert odds.estimate == pytest.approx(expected["odds_ratio"], rel=1e-9)
    assert odds.n_rows == sum(counts[::2])


def test_breslow_pulls_yearly_effects_towards_zero(make):
    # a large sample of yearly exits, heavy ties; log hazard ratio 0.8 as planted
    rng = np.random.default_rng(6)
    n, planted = 40_000, 0.8
    treated, stop, event = rng.integers(0, 2, n), np.full(n, 5), np.zeros(n, dtype=int)
    for year in range(5, 0, -1):
        out = rng.random(n) < -np.expm1(-np.exp(-1.2 + planted * treated))
        stop, event = np.where(out, year, stop), np.where(out, 1, event)
    table = pd.DataFrame({"treated": treated, "stop": stop, "event": event, "id": np.arange(n)})
    risk = make.risk_set(table, outcome="event", duration="stop", firm="id")
    found = {
        ties: market_exit(risk, model="cox", controls=None, cluster=None, options=ExitOptions(ties=ties))
        for ties in ("efron", "breslow")
    }
    log = {ties: effect.effect("log_hazard") for ties, effect in found.items()}
    assert log["breslow"].estimate < planted - 10 * log["breslow"].std_error
    assert planted - log["efron"].estimate < 0.2 * (planted - log["breslow"].estimate)
    rows = table.loc[table.index.repeat(table["stop"])].reset_index(drop=True)
    rows["t"] = rows.groupby("id").cumcount() + 1
    rows["event"] = rows["event"] * (rows["t"] == rows["stop"])
    yearly = make.risk_set(rows, outcome="event", duration="t", firm="id")
    exact = market_exit(yearly, controls=None, cluster=None).effect("log_hazard")
    assert exact.estimate == pytest.approx(planted, abs=3 * exact.std_error)
