"""Competing exits through the public functions: incidence, hazards by cause, standardised curves, subdistribution."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import (
    CurveOptions,
    cause_specific_hazards,
    cumulative_incidence,
    market_exit,
    standardised_incidence,
    standardised_survival,
    subdistribution_hazard,
)
from missie_impact.errors import SchemaError, SettingsError

QUICK = CurveOptions(bands=False)


def values(curve, group, arm, times, column="estimate"):
    table = curve.table[(curve.table["arm"] == arm) & (curve.table["group"] == group)]
    return [float(table[table["time"] <= t].iloc[-1][column]) for t in times]


@pytest.fixture(scope="module")
def patients(make):
    table, reference = make.load("mgus2_competing_risks")
    progressed = table["pstat"] == 1
    table = table.assign(
        time=np.where(progressed, table["ptime"], table["futime"]),
        event=np.select([progressed, table["death"] == 1], ["progression", "death"], "censored"),
        male=(table["sex"] == "M").astype(int),
        zero=0,
    )
    return table.assign(y=progressed.astype(int), died=(table["event"] == "death").astype(int)), reference


def patients_risk(make, table, outcome="y"):
    return make.risk_set(
        table, outcome=outcome, treatment="male", firm="id", duration="time", start="zero", cause="event"
    )


# ---- incidence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", [None, "firm"])
def test_progression_and_death(make, patients, cluster):
    table, reference = patients
    curve = cumulative_incidence(patients_risk(make, table), cluster=cluster, options=QUICK)
    assert list(dict.fromkeys(curve.table["group"])) == ["progression", "death"]  # the outcome first
    expected = reference["aalen_johansen"]
    for arm, sex in (("treated", "male"), ("untreated", "female")):
        for cause in ("progression", "death"):
            assert values(curve, cause, arm, expected["months"]) == pytest.approx(expected[sex][cause], rel=1e-8)
        errors = values(curve, "progression", arm, expected["months"], "std_error")
        assert errors == pytest.approx(expected[sex]["se_progression"], rel=1e-6)


def test_delayed_entry(make):
    table, reference = make.load("mgus2_competing_risks")[0], make.load_reference("mgus2_delayed_entry")
    risk = make.aged(table, "cause")
    curve = cumulative_incidence(
        risk, cluster=None, start=720, options=CurveOptions(bands=False, times=(*reference["months"],))
    )
    for arm, sex in (("treated", "male"), ("untreated", "female")):
        expected = reference["aalen_johansen"][sex]
        for label, cause in (("1", "progression"), ("2", "death")):
            found = values(curve, label, arm, reference["months"])
            assert found == pytest.approx(expected[cause], rel=1e-8)
            errors = values(curve, label, arm, reference["months"], "std_error")
            assert errors == pytest.approx(expected[f"se_{cause}"], rel=1e-6)


def test_years_cut_from_spells_and_ties(make):
    table, reference = make.load("unempdur_discrete_hazard")
    cause = np.select([table["censor1"] == 1, table["censor2"] == 1, table["censor3"] == 1], [1, 2, 3], 0)
    table = table.assign(firm=np.arange(len(table)), claim=(table["ui"] == "yes").astype(int), cause=cause)
    years = table.loc[np.repeat(table.index, table["spell"])].reset_index(drop=True)
    years["t"] = years.groupby("firm").cumcount() + 1
    years["cause"] = years["cause"].where(years["t"] == years["spell"], 0)
    years["y"] = (years["cause"] == 1).astype(int)
    risk = make.risk_set(years, outcome="y", treatment="claim", firm="firm", duration="t", cause="cause")
    curve = cumulative_incidence(risk, cluster="firm", options=QUICK)
    expected = reference["cumulative_incidence"]
    for label, numbers in zip(expected["rows"], expected["values"], strict=True):
        claim, kind = label.split()
        arm = "treated" if claim == "1" else "untreated"
        assert values(curve, kind, arm, expected["periods"]) == pytest.approx(numbers, rel=1e-8)


def test_an_event_without_a_cause_is_an_error(make, patients):
    table, _ = patients
    wrong = table.assign(event=table["event"].where(table.index > 2, "none"), y=1)
    with pytest.raises(SchemaError, match="expected a cause in every row with an event"):
        cumulative_incidence(patients_risk(make, wrong), cluster=None)


# ---- two worlds ------------------------------------------------------------------------------------------------------


def years_of_pairs(make, seed=2, n=500, effect=-0.7, x_effect=0.5):
    """Pairs followed for four years from a trial, leaving by exit or by death of the firm."""
    rng = np.random.default_rng(seed)
    firm, treated, x = rng.integers(0, n // 2, n), rng.integers(0, 2, n), rng.normal(size=n)
    alive, rows = np.ones(n, dtype=bool), []
    for k in range(1, 5):
        exits = 0.16 * np.exp(effect * treated + x_effect * x)
        u = rng.random(n)
        cause = np.where(u < np.minimum(exits, 0.5), "exit", np.where(u > 0.92, "death", "none"))
        rows.append(pd.DataFrame({"firm": firm, "market": np.arange(n), "year": 2010, "treated": treated, "x": x,
                                  "follow_up": k, "start": k - 1, "duration": k, "cause": cause})[alive])  # fmt: skip
        alive &= cause == "none"
    table = pd.concat(rows, ignore_index=True)
    table["outcome"] = (table["cause"] == "exit").astype(int)
    return table


@pytest.fixture(scope="module")
def trial_table(make):
    return years_of_pairs(make)


def trials(make, table):
    return make.exit_trials(table, duration="duration", start="start", cause="cause")


def test_without_controls_curves_are_products_of_the_shares_that_leave(make, trial_table):
    # Every year x arm has its own hazard in a saturated model: split the treated, and standardise over all of them.
    treated = trial_table[trial_table["treated"] == 1]
    at_risk = treated.groupby("follow_up").size()
    hazards = {c: (treated["cause"] == c).groupby(treated["follow_up"]).sum() / at_risk for c in ("exit", "death")}
    survival = (1 - hazards["exit"] - hazards["death"]).cumprod()
    expected = {c: (survival.shift(fill_value=1) * h).cumsum() for c, h in hazards.items()}
    observed = cumulative_incidence(trials(make, trial_table), cluster="firm", options=QUICK)
    for cause in ("exit", "death"):
        assert values(observed, cause, "treated", [1, 2, 3, 4]) == pytest.approx(expected[cause].tolist())
    # The multinomial logit reproduces exits per arm and year-dummy totals, so its curve lies near the observed one.
    model = standardised_incidence(trials(make, trial_table), cluster="firm", controls=None, options=QUICK)
    for cause in ("exit", "death"):
        assert values(model, cause, "with", [4])[0] == pytest.approx(expected[cause].iloc[-1], abs=0.02)
    total = sum(values(model, g, "with", [4])[0] for g in ("exit", "death", "still there"))
    assert total == pytest.approx(1, abs=1e-12)


def test_survival_is_that_of_market_exit(make, trial_table):
    risk = trials(make, trial_table)
    curve = standardised_survival(risk, cluster="firm", controls=["x"])
    effect = market_exit(risk, cluster="firm", controls=["x"])
    for k in (1, 3):
        for arm, scale in (("with", f"survival_with_{k}"), ("without", f"survival_without_{k}"),
                           ("difference", f"survival_difference_{k}")):  # fmt: skip
            expected = effect.effect(scale)
            assert values(curve, "all", arm, [k])[0] == pytest.approx(expected.estimate, rel=1e-9)
            assert values(curve, "all", arm, [k], "std_error")[0] == pytest.approx(expected.std_error, rel=1e-7)
    shown = curve.table.query("arm == 'with'")
    assert (shown["band_low"] <= shown["conf_low"]).all() and (shown["band_high"] >= shown["conf_high"]).all()


@pytest.mark.parametrize("model", ["logit", "multinomial"])
def test_errors_of_incidence_are_those_of_a_jackknife(make, model):
    table = years_of_pairs(make, seed=3, n=160)
    firms = table["firm"].unique()

    def ends(rows):
        made = standardised_incidence(trials(make, rows), cluster="firm", controls=["x"], model=model, options=QUICK)
        return made.table.query("time == 4")

    found = ends(table)
    left = np.array([ends(table[table["firm"] != g])["estimate"].to_numpy() for g in firms[::3]])
    # a third of the firms left out one at a time: their share of the sum stands for the whole
    jackknife = np.sqrt(len(firms) / len(left) * ((left - found["estimate"].to_numpy()) ** 2).sum(axis=0))
    ratio = found["std_error"].to_numpy() / jackknife
    assert np.all((ratio > 0.75) & (ratio < 1.33))


def test_multinomial_and_single_hazards_agree_where_exits_are_rare(make, trial_table):
    risk = trials(make, trial_table)
    one, other = (standardised_incidence(risk, cluster="firm", controls=["x"], model=m, options=QUICK)
                  for m in ("logit", "multinomial"))  # fmt: skip
    np.testing.assert_allclose(one.table["estimate"], other.table["estimate"], atol=0.01)


def test_treating_death_as_exit_overstates_leaving(make, trial_table):
    exits = standardised_incidence(trials(make, trial_table), cluster="firm", controls=None, options=QUICK)
    both = trial_table.assign(outcome=(trial_table["cause"] != "none").astype(int))
    merged = standardised_survival(trials(make, both), cluster="firm", controls=None, options=QUICK)
    one_less = 1 - values(merged, "all", "without", [4])[0]
    assert one_less > values(exits, "exit", "without", [4])[0] + 0.1


def test_hazards_of_every_cause(make, trial_table):
    risk = trials(make, trial_table)
    both = cause_specific_hazards(risk, cluster="firm", controls=["x"])
    assert [g.group for g in both.groups] == ["exit", "death"]
    alone = market_exit(risk, cluster="firm", controls=["x"]).effect("hazard_ratio_conditional")
    assert both.effect("hazard_ratio_conditional", group="exit").estimate == pytest.approx(alone.estimate)
    died = trial_table.assign(outcome=(trial_table["cause"] == "death").astype(int))
    other = market_exit(trials(make, died), cluster="firm", controls=["x"]).effect("hazard_ratio_conditional")
    found = both.effect("hazard_ratio_conditional", group="death")
    assert [found.estimate, found.std_error] == pytest.approx([other.estimate, other.std_error])


def test_a_switching_treatment_has_no_two_worlds(make):
    table, _ = make.load("heart_time_varying")
    risk = make.risk_set(table, outcome="event", treatment="transplant", firm="id", duration="stop", start="start")
    with pytest.raises(SettingsError, match="switches within units"):
        standardised_survival(risk, cluster="firm", controls=["age"])
    with pytest.raises(SettingsError, match=r"cause_specific_hazards.* and compare standardised_incidence"):
        subdistribution_hazard(risk, cluster="firm", controls=["age"])


# ---- subdistribution -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "cause"), [("y", "progression"), ("died", "death")])
def test_fine_and_gray(make, matches, patients, outcome, cause):
    table, reference = patients
    used = table.dropna(subset="mspike")
    effect = subdistribution_hazard(patients_risk(make, used, outcome), cluster=None, controls=["age", "mspike"])
    expected = reference["fine_gray"][cause]
    matches(effect.coefficients["estimate"], expected["coef"], str)
    matches(effect.coefficients["std_error"], expected["se"], str)
    assert effect.groups[0].log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    ratio = effect.effect("subdistribution_hazard_ratio")
    assert ratio.estimate == pytest.approx(np.exp(expected["coef"]["male"]), rel=1e-6)
    if cause == "progression":
        geskus = subdistribution_hazard(
            patients_risk(make, used), cluster=None, controls=["age", "mspike"], weights="geskus"
        )
        matches(geskus.coefficients["estimate"], reference["fine_gray_weighted_cox_breslow"]["coef"], str)


@pytest.mark.parametrize(("number", "cause"), [(1, "progression"), (2, "death")])
def test_geskus_under_delayed_entry(make, matches, number, cause):
    table, reference = make.load("mgus2_competing_risks")[0], make.load_reference("mgus2_delayed_entry")
    risk = make.aged(table.dropna(subset="mspike"), "cause", interest=number)
    assert risk.n_rows == reference["n_fine_gray"]
    effect = subdistribution_hazard(risk, cluster=None, controls=["mspike"])
    expected = reference["fine_gray_geskus_breslow"][cause]
    matches(effect.coefficients["estimate"], expected["coef"], str)
    matches(effect.coefficients["std_error"], expected["se_by_person"], str)
    with pytest.raises(SettingsError, match="knows no delayed entry"):
        subdistribution_hazard(risk, cluster=None, controls=["mspike"], weights="fine_gray")


def test_yearly_rows_make_the_same_units(make, matches, patients):
    table, _ = patients
    used = table.dropna(subset="mspike").assign(time=lambda d: np.ceil((d["time"] + 0.5) / 24))
    whole = subdistribution_hazard(patients_risk(make, used), cluster=None, controls=["age", "mspike"])
    rows = used.loc[np.repeat(used.index, used["time"].astype(int))].reset_index(drop=True)
    rows["t"] = rows.groupby("id").cumcount() + 1
    last = rows["t"] == rows["time"]
    rows = rows.assign(event=rows["event"].where(last, "none"), y=rows["y"].where(last, 0))
    risk = make.risk_set(rows, outcome="y", treatment="male", firm="id", duration="t", cause="event")
    cut = subdistribution_hazard(risk, cluster=None, controls=["age", "mspike"])
    pd.testing.assert_frame_equal(whole.coefficients, cut.coefficients)
    changing = make.risk_set(rows.assign(age=rows["age"] + rows["t"]), outcome="y", treatment="male", firm="id",
                             duration="t", cause="event")  # fmt: skip
    with pytest.raises(SettingsError, match="control `age` changes within units"):
        subdistribution_hazard(changing, cluster=None, controls=["age"])


def test_without_censoring_the_discrete_model_is_that_of_its_definition(make):
    # Nobody is censored before year 4: whoever dies stays in the risk set with weight one to the end.
    rng = np.random.default_rng(8)
    n = 400
    table = pd.DataFrame(
        {"treated": rng.integers(0, 2, n), "t": rng.integers(1, 5, n), "zero": 0, "firm": np.arange(n)}
    )
    table["cause"] = np.where(rng.random(n) < 0.4 + 0.2 * table["treated"], "exit", "death")
    table["outcome"] = (table["cause"] == "exit").astype(int)
    risk = make.risk_set(table, firm="firm", duration="t", start="zero", cause="cause")
    found = subdistribution_hazard(risk, cluster=None, controls=None, model="cloglog")
    stay = np.where(table["outcome"] == 1, table["t"], 4)
    years = table.loc[np.repeat(table.index, stay)].reset_index(drop=True)
    years["k"] = years.groupby("firm").cumcount() + 1
    years["outcome"] = ((years["outcome"] == 1) & (years["k"] == years["t"])).astype(int)
    direct = market_exit(make.risk_set(years, firm="firm"), controls=["C(k)"], cluster="firm")
    one, other = found.effect("log_subdistribution_hazard"), direct.effect("log_hazard")
    assert [one.estimate, one.std_error] == pytest.approx([other.estimate, other.std_error], rel=1e-7)
