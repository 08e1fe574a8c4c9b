"""Tables a researcher brings along: R's numbers on further data, and what the door says to tables it cannot read."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from missie_impact import (
    CurveOptions,
    ExitOptions,
    FitOptions,
    RiskSet,
    cumulative_incidence,
    market_exit,
    match,
    poisson_effect,
    structural_transition,
    subdistribution_hazard,
    survival_curve,
    weight,
    within_firm,
)
from missie_impact.errors import SchemaError, SeparationError, SettingsError

ON = ["age", "bili", "albumin", "edema", "C(stage)"]
MATCHED = {
    "nearest": {},
    "nearest_3": {"ratio": 3},
    "replace_3": {"ratio": 3, "replace": True},
    "caliper_3": {"ratio": 3, "caliper_sd": 0.1},
    "caliper_replace_2": {"ratio": 2, "caliper_sd": 0.05, "replace": True},
    "caliper_exact_2": {"ratio": 2, "caliper_sd": 0.2, "exact": ["hepato"]},
    "linear_caliper_2": {"ratio": 2, "caliper_sd": 0.05, "method": "linear_propensity"},
}


def agrees(found, expected, rel=1e-8):
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=rel), name


@pytest.fixture(scope="module")
def patients(make):
    table, reference = make.load("pbc_matching")
    return RiskSet.from_frame(table, outcome="dead", treatment="male", firm="id"), reference


@pytest.fixture(scope="module")
def births():
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"x": rng.normal(size=80), "treated": rng.integers(0, 2, 80), "place": np.arange(80) % 8})
    return table.assign(outcome=(rng.random(80) < 0.4).astype(int))


@pytest.mark.parametrize("name", MATCHED)
def test_matching_by_the_written_rule(patients, name):
    risk, reference = patients
    found = match(risk, on=ON, **MATCHED[name]).weight
    np.testing.assert_allclose(found, reference["weights"][name], atol=1e-12)


@pytest.mark.parametrize("estimand", ["att", "ate", "ato"])
def test_weighted_means_and_their_stacked_errors(patients, estimand):
    risk, reference = patients
    design = weight(risk, on=["age", "bili", "albumin"], estimand=estimand)
    effect = structural_transition(design, cluster=None, controls=None, estimator="weighting")
    expected = dict(reference[estimand])
    errors = {"risk_difference": expected.pop("se_difference"), "risk_without": expected.pop("se_without")}
    agrees({name: effect.effect(name).estimate for name in expected}, expected)
    agrees({name: effect.effect(name).std_error for name in errors}, errors, rel=1e-6)


@pytest.mark.parametrize("door", [pd.DataFrame, pl.DataFrame, pa.Table.from_pandas])
def test_recurrences_in_rows_from_start_to_stop(make, door):
    table, reference = make.load("bladder2_recurrences")
    if door is pl.DataFrame:
        table = table.to_dict("list")
    roles = {"treatment": "trt", "outcome": "event", "firm": "id", "start": "start", "duration": "stop"}
    risk = RiskSet.from_frame(door(table), **roles)
    by_number = ExitOptions(strata=("enum",))
    effect = market_exit(risk, model="cox", cluster="firm", controls=["size", "number"], options=by_number)
    agrees(effect.coefficients["estimate"], reference["prentice_williams_peterson"]["coef"])
    agrees(effect.coefficients["std_error"], reference["prentice_williams_peterson"]["se"])
    breslow = ExitOptions(ties="breslow")
    plain = market_exit(risk, model="cox", cluster=None, controls=["size", "number"], options=breslow)
    agrees(plain.coefficients["std_error"], reference["breslow"]["se"])
    assert plain.groups[0].log_likelihood == pytest.approx(reference["breslow"]["loglik"], rel=1e-10)


def test_survival_of_recurrences_with_late_entry(make):
    table, reference = make.load("bladder2_recurrences")
    roles = {"treatment": "trt", "outcome": "event", "firm": "id", "start": "start", "duration": "stop"}
    curve = survival_curve(RiskSet.from_frame(table, **roles), cluster=None, options=CurveOptions(bands=False))
    expected = pd.DataFrame(reference["survival"])
    for line in expected.itertuples():
        found = curve.at(line.time).set_index("arm").loc[line.arm]
        agrees(found, {"estimate": line.estimate, "std_error": line.se, "conf_low": line.low, "conf_high": line.high})


@pytest.fixture(scope="module")
def waiting(make):
    table, reference = make.load("transplant_waiting_list")
    roles = {"outcome": "death", "treatment": "male", "duration": "futime", "start": "zero", "cause": "event"}
    return RiskSet.from_frame(table.assign(zero=0.0), **roles), reference


def test_incidence_on_the_waiting_list(waiting):
    risk, reference = waiting
    curve = cumulative_incidence(risk, cluster=None, options=CurveOptions(bands=False))
    states = reference["states"]
    for k, (arm, time) in enumerate(zip(states["arm"], states["time"], strict=True)):
        found = curve.at(time).set_index(["group", "arm"])
        for cause in ("death", "ltx", "withdraw"):
            expected = {"estimate": states[cause]["estimate"][k], "std_error": states[cause]["se"][k]}
            if expected["estimate"] > 0:
                agrees(found.loc[(cause, arm)], expected)


def test_subdistribution_hazards_on_the_waiting_list(waiting):
    risk, reference = waiting
    for cause, expected in reference["crr"].items():
        effect = subdistribution_hazard(risk, cluster=None, controls=["age"], cause=cause)
        agrees(effect.coefficients["estimate"], expected["coef"])
        agrees(effect.coefficients["std_error"], expected["se"])
    effect = subdistribution_hazard(risk, cluster=None, controls=["age"], weights="geskus")
    agrees(effect.coefficients["std_error"], reference["finegray"]["se"])


@pytest.mark.parametrize(("case", "copies"), [("knot_on_the_end", 0), ("equal_knots", 3)])
def test_splines_of_few_periods(make, case, copies):
    # With yearly data many rows share a duration, and quantiles fall on each other or on the smallest value.
    table, reference = make.load("lung_periods")
    table = pd.concat([table, *[table[table["period"] == 3]] * copies], ignore_index=True)
    risk = RiskSet.from_frame(table, outcome="dead", treatment="female", duration="period")
    options = ExitOptions(baseline="spline:4")
    effect = market_exit(risk, model="cloglog", cluster=None, controls=["age"], options=options)
    agrees(effect.coefficients["estimate"], reference[case]["coef"], rel=1e-7)
    agrees(effect.coefficients["std_error"], reference[case]["se"], rel=1e-6)
    assert effect.groups[0].log_likelihood == pytest.approx(reference[case]["loglik"], rel=1e-9)


def test_a_control_that_predicts_everything_is_separation(births):
    table = births.assign(z=2 * births["outcome"] + np.arange(80) % 2)
    risk = RiskSet.from_frame(table, outcome="outcome", treatment="treated")
    with pytest.raises(SeparationError, match="combination of controls predicts"):
        structural_transition(risk, cluster=None, controls=["z"])


def test_rows_without_a_cluster_or_firm_stand_alone(births):
    # Left out of one cluster, rows without a value must not fall into another.
    gone = births["place"] == 7
    alone = births["place"].where(~gone, pd.Series(100 + births.index, index=births.index))
    table = births.assign(place=births["place"].where(~gone), alone=alone)
    risk = RiskSet.from_frame(table, outcome="outcome", treatment="treated")
    effect = structural_transition(risk, cluster="place", controls=["x"], also_cluster=["alone"])
    expected = effect.with_vcov("alone").coefficients["std_error"]
    np.testing.assert_allclose(effect.coefficients["std_error"], expected, rtol=1e-12)
    with pytest.raises(SchemaError, match="10 rows without one"):
        RiskSet.from_frame(table, outcome="outcome", treatment="treated", firm="place")


def test_one_control_as_text_is_told_apart_from_a_list(births):
    table = births.assign(time=1.0 + births.index)
    risk = RiskSet.from_frame(table, outcome="outcome", treatment="treated", duration="time")
    for call in (structural_transition, subdistribution_hazard):
        with pytest.raises(SettingsError, match=r"list of names such as \['x'\]"):
            call(risk, cluster=None, controls="x")


def test_one_effect_as_text(births):
    for settings in ({"controls": "place"}, {"effects": "place"}):
        with pytest.raises(SettingsError, match=r"list of names such as \['place'\]"):
            poisson_effect(births, "outcome", "treated", cluster=None, **settings)
    with pytest.raises(SchemaError, match="rename"):
        poisson_effect(births.assign(X=births["x"]), "outcome", "treated", cluster=None)


def test_no_cross_fitting_has_a_name():
    with pytest.raises(SettingsError, match=r"CrossFit\(folds=1\)"):
        FitOptions(cross_fit=None)


def test_conditional_model_within_strata_of_ones_own(make):
    # The infertility study; numbers of R's clogit(case ~ I(spontaneous > 0) + induced + strata(stratum), "exact").
    table = make.load("infert_conditional_logit")[0]
    table = table.assign(treated=(table["spontaneous"] > 0).astype(int))
    risk = RiskSet.from_frame(table, outcome="case", treatment="treated")
    settings = {"cluster": None, "controls": ["induced"]}
    found = market_exit(risk, model="conditional", options=ExitOptions(strata=("stratum",)), **settings)
    agrees(found.coefficients["estimate"], {"treated": 2.2660665988370, "induced": 0.8961874407607})
    agrees(found.coefficients["std_error"], {"treated": 0.41634347488311, "induced": 0.28926508733316})
    same = within_firm(risk, strata=["stratum"], **settings)
    assert found.effect("log_odds_within_strata").estimate == same.effect("log_odds_within_strata").estimate
    with pytest.raises(SettingsError, match="strata="):
        market_exit(risk, model="conditional", **settings)


@pytest.mark.parametrize("names", [["x", "x"], ["x", "X"], ["x", "row_number_"]])
def test_names_an_engine_cannot_hold_apart(births, names):
    table = births[["outcome", "treated", "x", "place"]].set_axis(["outcome", "treated", *names], axis=1)
    with pytest.raises(SchemaError, match="rename"):
        RiskSet.from_frame(table, outcome="outcome", treatment="treated")


@pytest.mark.parametrize("role", ["outcome", "treated"])
def test_words_for_yes_and_no(births, role):
    table = births.assign(**{role: births[role].map({0: "no", 1: "yes"})})
    with pytest.raises(SchemaError, match="Recode it as 0 and 1"):
        RiskSet.from_frame(table, outcome="outcome", treatment="treated")
