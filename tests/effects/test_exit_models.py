"""Exit models through the public functions, on R's numbers and by hand: Cox, baselines, products, years since."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import FitOptions, market_exit, structural_transition
from missie_impact.effects.leaving.exit_diagnostics import exit_diagnostics
from missie_impact.effects.leaving.exit_options import ExitOptions
from missie_impact.effects.leaving.exit_years import effect_by_year
from missie_impact.errors import CollinearityError, MissingValueError, SeparationError, SettingsError

VETERAN = ["celltypesmallcell", "celltypeadeno", "celltypelarge", "karno", "diagtime", "age", "prior"]


def same(term):
    return term


@pytest.fixture(scope="module")
def veterans(make):
    table, reference = make.load("veteran_survival")
    table = table.assign(
        **{f"celltype{k}": (table["celltype"] == k).astype(int) for k in ("smallcell", "adeno", "large")}
    )
    table = table.assign(trt=(table["trt"] == 2).astype(int), person=np.arange(len(table)))
    return make.risk_set(table, outcome="status", treatment="trt", duration="time", firm="person"), reference


@pytest.fixture(scope="module")
def hearts(make):
    table, reference = make.load("heart_time_varying")
    roles = {"outcome": "event", "treatment": "transplant", "duration": "stop", "start": "start", "firm": "id"}
    return table, roles, reference


# ---- Cox regression, R's coxph --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_veterans(matches, veterans, ties):
    risk, reference = veterans
    expected = reference[f"cox_{ties}"]
    effect = market_exit(risk, model="cox", controls=VETERAN, cluster=None, options=ExitOptions(ties=ties))
    matches(effect.coefficients["estimate"], expected["coef"], same)
    matches(effect.coefficients["std_error"], expected["se"], same)
    ratio = effect.effect("hazard_ratio_conditional")
    assert ratio.estimate == pytest.approx(expected["hr"]["trt"], rel=1e-6)
    assert ratio.conf_low == pytest.approx(expected["hr_low"]["trt"], rel=1e-6)
    assert ratio.conf_high == pytest.approx(expected["hr_high"]["trt"], rel=1e-6)
    assert effect.groups[0].log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)


def test_veterans_robust_errors_and_strata(matches, veterans):
    risk, reference = veterans
    effect = market_exit(risk, model="cox", controls=VETERAN, cluster="celltype", also_cluster=["firm"])
    robust = reference["cox_efron_robust"]
    matches(effect.coefficients["std_error"], robust["se_cluster_celltype"], same)
    matches(effect.with_vcov("firm").coefficients["std_error"], robust["se_hc"], same)
    by_cell = market_exit(
        risk, model="cox", controls=["karno", "age"], cluster=None, options=ExitOptions(strata=("celltype",))
    )
    matches(by_cell.coefficients["estimate"], reference["cox_efron_strata_cell"]["coef"], same)
    matches(by_cell.coefficients["std_error"], reference["cox_efron_strata_cell"]["se"], same)
    constant = market_exit(
        risk,
        model="cox",
        controls=["karno", "age", "celltype"],
        cluster=None,
        options=ExitOptions(strata=("celltype",)),
    )
    assert constant.coefficients.loc["celltype[large]", "reason"] == "collinear with others"
    assert constant.effect("log_hazard").estimate == pytest.approx(by_cell.effect("log_hazard").estimate, rel=1e-9)


@pytest.mark.parametrize("clock", ["km", "identity", "log", "rank"])
def test_proportionality_as_cox_zph(veterans, clock):
    risk, reference = veterans
    controls = ["celltype", *VETERAN[3:]]
    found = exit_diagnostics(risk, model="cox", controls=controls, cluster=None, clock=clock).proportionality
    found, expected = found.set_index("term"), reference["ph_test"][clock]
    for term in ("trt", "celltype", "karno", "diagtime", "age", "prior", "GLOBAL"):
        name = "all together" if term == "GLOBAL" else term
        assert found.loc[name, "statistic"] == pytest.approx(expected["chisq"][term], rel=1e-6)
        assert found.loc[name, "df"] == expected["df"][term]
        assert found.loc[name, "p_value"] == pytest.approx(expected["p"][term], rel=1e-5)


def test_hearts_with_a_treatment_that_switches_on(make, matches, hearts):
    table, roles, reference = hearts
    risk = make.risk_set(table, **roles)
    # rows that end where another begins are counted once: risk sets are (start, stop]
    effect = market_exit(risk, model="cox", controls=["age", "year", "surgery"], cluster=None, also_cluster=["firm"])
    matches(effect.coefficients["estimate"], reference["adjusted_efron"]["coef"], same)
    matches(effect.coefficients["std_error"], reference["adjusted_efron"]["se"], same)
    clustered = effect.with_vcov("firm").coefficients["std_error"]
    matches(clustered, reference["adjusted_efron_cluster_patient_se"], same)
    products = ["age", "surgery", "age:transplant", "surgery:transplant"]
    crossed = market_exit(risk, model="cox", controls=products, cluster=None)

    def as_r(term):
        return ":".join(reversed(term.split(":")))

    matches(crossed.coefficients["estimate"], reference["interaction_efron"]["coef"], as_r)
    matches(crossed.coefficients["std_error"], reference["interaction_efron"]["se"], as_r)


def test_immortal_time_of_hearts(make, hearts):
    # Known from the future who will be treated: the hazard ratio falls far below one, as R's numbers of the wrong way.
    table, _, reference = hearts
    ever = table.groupby("id", as_index=False).agg(
        time=("stop", "max"), event=("event", "max"), ever=("transplant", "max"), age=("age", "first"),
        year=("year", "first"), surgery=("surgery", "first"),
    )  # fmt: skip
    risk = make.risk_set(ever, outcome="event", treatment="ever", duration="time", firm="id")
    wrong = market_exit(risk, model="cox", controls=["age", "year", "surgery"], cluster=None).effect("log_hazard")
    expected = reference["immortal_time_bias"]
    assert wrong.estimate == pytest.approx(expected["naive_adjusted_coef"], rel=1e-6)
    assert wrong.estimate < reference["adjusted_efron"]["coef"]["transplant"] - 1


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_delayed_entry_of_channing_house(make, ties):
    table, reference = make.load("channing_left_truncation")
    table = table[table["age"] > table["ageentry"]].assign(male=lambda t: (t["gender"] == 1).astype(int))
    roles = {"outcome": "death", "treatment": "male", "duration": "age"}
    options = ExitOptions(ties=ties)
    late = make.risk_set(table, **roles, start="ageentry")
    found = market_exit(late, model="cox", controls=None, cluster=None, options=options)
    expected = reference["cox_male_delayed_entry"][ties]
    assert found.effect("log_hazard").estimate == pytest.approx(expected["coef"], rel=1e-6)
    assert found.effect("log_hazard").std_error == pytest.approx(expected["se"], rel=1e-6)
    if ties == "efron":  # everyone at risk from birth: the bias of ignoring left truncation, towards zero here
        wrong = market_exit(make.risk_set(table, **roles), model="cox", controls=None, cluster=None)
        ignored = reference["cox_male_ignoring_truncation"]["efron"]["coef"]
        assert wrong.effect("log_hazard").estimate == pytest.approx(ignored, rel=1e-6)
        assert any("from zero to its duration" in note for note in wrong.notes)


@pytest.mark.parametrize(("outcome", "block"), [("pstat", "progression"), ("died", "death")])
def test_cause_specific_hazards(make, matches, outcome, block):
    table, reference = make.load("mgus2_competing_risks")
    table = table.dropna(subset=["mspike"]).assign(male=lambda t: (t["sex"] == "M").astype(int))
    table["time"] = np.where(table["pstat"] == 1, table["ptime"], table["futime"])
    table["died"] = ((table["pstat"] == 0) & (table["death"] == 1)).astype(int)
    risk = make.risk_set(table, outcome=outcome, treatment="male", duration="time", firm="id")
    effect = market_exit(risk, model="cox", controls=["age", "mspike"], cluster=None)
    expected = reference["cause_specific_cox"][block]
    matches(effect.coefficients["estimate"], expected["coef"], same)
    matches(effect.coefficients["std_error"], expected["se"], same)
    assert effect.effect("log_hazard").n_events == expected["events"]


def test_kidneys_two_spells_of_a_patient(make, matches):
    table, reference = make.load("kidney_frailty")
    risk = make.risk_set(
        table.assign(female=(table["sex"] == 2).astype(int)),
        outcome="status",
        treatment="female",
        duration="time",
        firm="id",
    )
    effect = market_exit(risk, model="cox", controls=["age"], cluster="firm", also_cluster=[None])
    expected = reference["cox_no_frailty"]
    matches(effect.coefficients["estimate"], expected["coef"], same)
    matches(effect.coefficients["std_error"], expected["se_cluster_patient"], same)
    matches(effect.with_vcov("model").coefficients["std_error"], expected["se"], same)


@pytest.fixture(scope="module")
def spells(make):
    table, reference = make.load("unempdur_discrete_hazard")
    table = table.assign(ui=(table["ui"] == "yes").astype(int))
    rows = table.loc[table.index.repeat(table["spell"])].reset_index(drop=True)
    rows["t"] = rows.groupby("id").cumcount() + 1
    rows["y"] = ((rows["t"] == rows["spell"]) & (rows["censor1"] == 1)).astype(int)
    return table, rows, reference


def test_spells_whole_and_cut_into_years(make, matches, spells):
    # Heavy ties, where Breslow is far from Efron; whole spells and their single years are the same risk sets.
    table, rows, reference = spells
    controls = ["age", "logwage", "reprate", "disrate", "tenure"]
    whole = make.risk_set(table, outcome="censor1", treatment="ui", duration="spell", firm="id")
    cut = make.risk_set(rows, outcome="y", treatment="ui", duration="t", firm="id")
    for risk in (whole, cut):
        effect = market_exit(risk, model="cox", controls=controls, cluster=None)
        matches(effect.coefficients["estimate"], reference["full_job_cox_efron"]["coef"], same)
        matches(effect.coefficients["std_error"], reference["full_job_cox_efron"]["se"], same)
    breslow = market_exit(whole, model="cox", controls=controls, cluster=None, options=ExitOptions(ties="breslow"))
    matches(breslow.coefficients["estimate"], reference["full_job_cox_breslow"]["coef"], same)


def test_frequency_weights_are_rows(make):
    table = make.firms().assign(t=1 + np.arange(600) % 4)
    table["n"] = 1 + np.arange(600) % 3
    roles = {"firm": "firm", "duration": "t"}
    counted = market_exit(
        make.risk_set(table, **roles, frequency="n"), model="cox", controls=["log_workers"], cluster="firm"
    )
    written = table.loc[table.index.repeat(table["n"])]
    rows = market_exit(make.risk_set(written, **roles), model="cox", controls=["log_workers"], cluster="firm")
    for name in ("estimate", "std_error"):
        np.testing.assert_allclose(counted.coefficients[name], rows.coefficients[name], rtol=1e-8)
    assert counted.effect("log_hazard").n_rows == len(written)


def test_cox_without_a_finite_answer(make):
    table = pd.DataFrame({"treated": [1, 1, 0, 0, 0], "outcome": [0, 0, 1, 1, 0], "t": [3, 4, 1, 2, 5]})
    with pytest.raises(SeparationError, match="2 treated rows have no events"):
        market_exit(make.risk_set(table, duration="t"), model="cox", controls=None, cluster=None)
    table = make.firms().assign(t=1, twin=lambda x: 1 - x["treated"])
    with pytest.raises(CollinearityError, match="combination of the other columns"):
        market_exit(make.risk_set(table, duration="t"), model="cox", controls=["twin"], cluster=None)
    with pytest.raises(SettingsError, match="needs a time scale"):
        market_exit(make.risk_set(table), model="cox", controls=None, cluster=None)
    with pytest.raises(SettingsError, match="only model='cox' and 'conditional'"):
        market_exit(make.risk_set(table), controls=None, cluster=None, options=ExitOptions(strata=("sector",)))


# ---- products with the treatment -------------------------------------------------------------------------------------


def test_incentives_by_distance_in_one_model(make, matches):
    table, reference = make.load("thornton_logit_clusters")
    table = table.dropna(subset=["got", "any", "age", "hiv2004", "distvct", "villnum"])
    risk = make.risk_set(
        table.assign(far=(table["distvct"] > 1.5).astype(int)), outcome="got", treatment="any", firm="villnum"
    )
    effect = structural_transition(risk, controls=["far", "age", "hiv2004", "any:far"], cluster="firm")
    expected = reference["subgroups_far"]
    matches(effect.coefficients["estimate"], expected["coef"], same)
    matches(effect.coefficients["std_error"], expected["se_g_over_gm1"], same)
    assert effect.effect("odds_ratio_conditional").estimate == pytest.approx(expected["or_near"], rel=1e-6)


def test_both_worlds_switch_the_products(make):
    # saturated in treatment and sector: standardised risks are the shares of each cell
    counts = [("A", 1, 1, 30), ("A", 1, 0, 70), ("A", 0, 1, 10), ("A", 0, 0, 90),
              ("B", 1, 1, 20), ("B", 1, 0, 180), ("B", 0, 1, 50), ("B", 0, 0, 50)]  # fmt: skip
    table = make.repeated(counts, ["sector", "treated", "outcome"])
    effect = structural_transition(make.risk_set(table), controls=["sector", "treated:sector"], cluster=None)
    assert effect.effect("risk_with").estimate == pytest.approx(50 / 300)
    assert effect.effect("risk_without").estimate == pytest.approx((100 * 0.10 + 200 * 0.50) / 300)
    assert effect.coefficients.loc["treated:sector[B]", "estimate"] == pytest.approx(
        np.log(20 / 180) - np.log(50 / 50) - np.log(30 / 70) + np.log(10 / 90)
    )


# ---- time zero, years since, baselines -----------------------------------------------------------------------------


def years_at_risk(units, **more):
    """Rows of two years from (treated, year of exit or 0, number)."""
    first = units.assign(t=1, outcome=(units["left"] == 1).astype(int), **more)
    second = units[units["left"] != 1].assign(t=2, outcome=lambda x: (x["left"] == 2).astype(int), **more)
    return pd.concat([first, second]).drop(columns="left")


COUNTS = [(1, 1, 50), (1, 2, 20), (1, 0, 30), (0, 1, 75), (0, 2, 16), (0, 0, 9)]


def test_an_own_table_is_followed_from_its_time_zero(make):
    units = make.repeated(COUNTS, ["treated", "left"]).assign(firm=np.arange(200))
    risk = make.risk_set(years_at_risk(units), firm="firm", duration="t")
    effect = market_exit(risk, controls=None, cluster="firm")
    trials = make.exit_trials(years_at_risk(units, market="DE", year=2010).rename(columns={"t": "follow_up"}))
    same_rows = market_exit(trials, controls=None, cluster="firm")
    for scale in ("hazard_ratio", "survival_difference_1", "yearly_exit_probability_with"):
        for what in ("estimate", "std_error"):
            one, other = (getattr(e.effect(scale), what) for e in (effect, same_rows))
            assert one == pytest.approx(other, rel=1e-9)
    assert effect.effect("hazard_ratio").estimate == pytest.approx(0.5)
    assert effect.effect("survival_with_1").estimate == pytest.approx(0.50)
    assert effect.effect("hazard_ratio").n_treated == 100


def test_late_entry_and_switching_treatments_have_no_time_zero(make):
    units = make.repeated(COUNTS, ["treated", "left"]).assign(firm=np.arange(200))
    rows = years_at_risk(units)
    late = rows[~((rows["firm"] < 60) & (rows["t"] == 1))]  # treated firms seen from their second year only
    effect = market_exit(make.risk_set(late, firm="firm", duration="t"), controls=None, cluster="firm")
    assert any("enter late" in note for note in effect.notes)
    assert effect.effect("hazard_ratio").n_treated == 40
    switching = rows.assign(treated=((rows["treated"] == 1) & (rows["t"] == 2)).astype(int))
    effect = market_exit(make.risk_set(switching, firm="firm", duration="t"), controls=None, cluster="firm")
    assert effect.scales == ("hazard_ratio_conditional", "log_hazard")


def test_covariance_of_marginal_and_conditional_scales(make):
    # without controls both hazard ratios are one number, so they must move as one
    units = make.repeated(COUNTS, ["treated", "left"]).assign(firm=np.arange(200))
    risk = make.risk_set(years_at_risk(units), firm="firm", duration="t")
    joint = market_exit(risk, controls=None, cluster="firm", also_cluster=[None])
    for name in ("firm", "model"):
        found = joint.with_vcov(name).covariance()
        assert not found.isna().any().any()
        correlation = found.loc["hazard_ratio", "log_hazard"] / np.sqrt(
            found.loc["hazard_ratio", "hazard_ratio"] * found.loc["log_hazard", "log_hazard"]
        )
        assert correlation == pytest.approx(1.0, abs=1e-6)
        assert np.linalg.eigvalsh(found.to_numpy()).min() > -1e-10


def test_effects_by_year_since_the_mission(make):
    # year 1: staying 0.5 against 0.25; year 2: 0.6 against 0.36. Saturated, so each year is its own log ratio.
    counts = [(1, 1, 60), (1, 2, 10), (1, 0, 30), (0, 1, 75), (0, 2, 16), (0, 0, 9)]
    units = make.repeated(counts, ["treated", "left"]).assign(firm=np.arange(200))
    rows = years_at_risk(units, market="DE", year=2010)
    trials = make.exit_trials(rows.rename(columns={"t": "follow_up"}))
    expected = [np.log(0.4) / np.log(0.25), np.log(0.75) / np.log(9 / 25)]
    curve = effect_by_year(trials, controls=None, cluster=None)
    assert (curve.kind, curve.scale) == ("event_time", "hazard_ratio_conditional")
    assert list(curve.table["time"]) == [1.0, 2.0]
    np.testing.assert_allclose(curve.table["estimate"], expected, rtol=1e-6)
    assert list(curve.table["n_at_risk"]) == [100, 40]
    assert list(curve.table["n_events"]) == [60, 10]
    # var log(-log S) = (1 - S) / (n S log(S)^2), treated and others apart
    one = [(1 - s) / (n * s * np.log(s) ** 2) for s, n in ((0.4, 100), (0.25, 100))]
    assert curve.table["std_error"][0] == pytest.approx(np.sqrt(sum(one)), rel=1e-6)
    assert (curve.table["band_low"] < curve.table["conf_low"]).all()
    own = effect_by_year(make.risk_set(rows, firm="firm", duration="t"), controls=None, cluster=None)
    np.testing.assert_allclose(own.table["estimate"], expected, rtol=1e-6)
    crossed = market_exit(trials, controls=["treated:follow_up"], cluster=None)
    assert crossed.coefficients.loc["treated:follow_up[2]", "estimate"] == pytest.approx(
        np.log(expected[1] / expected[0])
    )
    # the two worlds follow the years: with the products every year is its own, so curves are the shares who stay
    assert crossed.effect("survival_with_1").estimate == pytest.approx(0.4)
    assert crossed.effect("yearly_exit_probability_with").estimate == pytest.approx(70 / 140)
    assert crossed.effect("yearly_exit_probability_without").estimate == pytest.approx(91 / 125)


def test_what_a_control_says_may_change_by_year_of_follow_up(make):
    # The arms are alike. Of size 0 half stays, then 4 in 5; of size 2 nine in ten, then 4 in 10: with the product every
    # size and year is its own, and the expected histories of the treated are the shares who stay.
    counts = [(x, arm, left, n) for arm in (0, 1) for x, left, n in (
        (0, 1, 50), (0, 2, 10), (0, 0, 40), (2, 1, 10), (2, 2, 54), (2, 0, 36),
    )]  # fmt: skip
    units = make.repeated(counts, ["x", "treated", "left"]).assign(firm=np.arange(400))
    rows = years_at_risk(units, market="DE", year=2010).rename(columns={"t": "follow_up"})
    found = market_exit(make.exit_trials(rows), controls=["x", "x:follow_up"], cluster=None)
    assert "x:follow_up[2]" in found.coefficients.index
    assert not [note for note in found.groups[0].notes if "held as at time zero" in note]
    for world in ("with", "without"):
        assert found.effect(f"survival_{world}_1").estimate == pytest.approx((0.5 + 0.9) / 2)
        assert found.effect(f"yearly_exit_probability_{world}").estimate == pytest.approx((1 - 0.38) / (1 + 0.7))
    yes_or_no = market_exit(
        make.exit_trials(rows.assign(x=rows["x"] // 2)), controls=["x", "x:follow_up"], cluster=None
    )
    assert yes_or_no.effect("yearly_exit_probability_with").estimate == pytest.approx((1 - 0.38) / (1 + 0.7))
    whole = market_exit(make.exit_trials(rows), controls=["x", "treated:x", "treated:follow_up"], cluster=None)
    assert whole.effect("survival_with_1").estimate != pytest.approx((0.5 + 0.9) / 2, abs=1e-3)


def test_default_controls_of_trials_hold_what_fades(make):
    counts = [(1, 1, 50), (1, 2, 10), (1, 0, 40), (0, 1, 75), (0, 2, 16), (0, 0, 9)]
    units = make.repeated(counts, ["treated", "left"]).assign(firm=np.arange(200))
    units = units.assign(log_exports=np.random.default_rng(1).normal(size=200))
    rows = years_at_risk(units, market="DE", year=2010).rename(columns={"t": "follow_up"})
    trials = make.exit_trials(rows)
    named = ["log_exports", "log_exports:follow_up"]
    default, spelled = market_exit(trials, cluster=None), market_exit(trials, controls=named, cluster=None)
    pd.testing.assert_frame_equal(default.coefficients, spelled.coefficients)
    plain = market_exit(trials, controls=["log_exports"], cluster=None)  # a list of one's own is taken as it stands
    assert not [term for term in plain.coefficients.index if term.startswith("log_exports:")]
    spline = market_exit(trials, cluster=None, options=ExitOptions(baseline="spline:1"))
    assert not [term for term in spline.coefficients.index if term.startswith("log_exports:")]


def test_a_year_without_an_exit_of_the_treated_says_so(make):
    units = make.repeated([(1, 1, 50), (1, 0, 50), (0, 1, 75), (0, 2, 16), (0, 0, 9)], ["treated", "left"])
    rows = years_at_risk(units.assign(firm=np.arange(200)))
    curve = effect_by_year(make.risk_set(rows, firm="firm", duration="t"), controls=None, cluster="firm")
    assert curve.table["estimate"][0] == pytest.approx(0.5)
    assert np.isnan(curve.table["estimate"][1])
    assert curve.table["reason"][1].startswith("no events at treated:year 2")


def test_splines_with_a_knot_per_year_are_dummies(make, spells):
    _, rows, _ = spells
    short = rows[rows["t"] <= 4]  # four years: a cubic spline of three columns and the constant is saturated
    risk = make.risk_set(short, outcome="y", treatment="ui", firm="id", duration="t")
    dummies = market_exit(risk, controls=["age"], cluster="firm")
    for baseline in ("bs:3", "spline:3"):
        spline = market_exit(risk, controls=["age"], cluster="firm", options=ExitOptions(baseline=baseline))
        for scale in ("hazard_ratio", "survival_difference_3", "log_hazard"):
            assert spline.effect(scale).estimate == pytest.approx(dummies.effect(scale).estimate, rel=1e-7)
            assert spline.effect(scale).std_error == pytest.approx(dummies.effect(scale).std_error, rel=1e-6)
    term = market_exit(risk, controls=["age", "bs(t, 3)"], cluster="firm", options=FitOptions(duration_classes=None))
    assert term.effect("hazard_ratio").estimate == pytest.approx(dummies.effect("hazard_ratio").estimate, rel=1e-7)
    with pytest.raises(SettingsError, match="baseline: expected"):
        ExitOptions(baseline="wiggly")


def test_spells_that_began_before_the_data(make, spells):
    _, rows, _ = spells
    rows = rows[rows["t"] <= 6].assign(t=lambda x: x["t"].astype(float))
    rows.loc[rows["id"] % 3 == 0, "t"] = np.nan
    unseen = int(rows["t"].isna().sum())
    risk = make.risk_set(rows, outcome="y", treatment="ui", firm="id", duration="t")
    effect = market_exit(risk, controls=["age"], cluster="firm")
    assert np.isfinite(effect.coefficients.loc["t[began before the data]", "estimate"])
    assert effect.effect("log_hazard").n_rows == len(rows)
    with pytest.raises(
        SettingsError, match=f"{unseen} of {len(rows)} rows belong to spells that began before the data"
    ):
        market_exit(risk, model="cox", controls=["age"], cluster="firm")
    known = make.risk_set(rows.dropna(subset=["t"]), outcome="y", treatment="ui", firm="id", duration="t")
    for model in ("cloglog", "cox"):
        dropped = market_exit(
            risk, model=model, controls=["age"], cluster="firm", options=ExitOptions(unseen_origin="drop")
        )
        without = market_exit(known, model=model, controls=["age"], cluster="firm")
        for name in ("estimate", "std_error"):
            assert getattr(dropped.effect("log_hazard"), name) == pytest.approx(
                getattr(without.effect("log_hazard"), name), rel=1e-9
            )
    with pytest.raises(MissingValueError, match="below it or without one"):
        market_exit(make.risk_set(rows.assign(t=0), outcome="y", treatment="ui", firm="id", duration="t"),
                    controls=["age"], cluster="firm")  # fmt: skip


# ---- diagnostics ----------------------------------------------------------------------------------------------------


def test_diagnostics_of_a_hazard(make, spells):
    _, rows, _ = spells
    risk = make.risk_set(rows[rows["t"] <= 8], outcome="y", treatment="ui", firm="id", duration="t")
    found = exit_diagnostics(risk, controls=["age", "logwage"], cluster="firm", by=["disrate"])
    assert list(found.link["term"]) == ["hat", "hat squared"]
    cells = found.residuals[found.residuals["by"] == "t"]
    # duration dummies are in the model: their score equations balance every year, up to the weights of the link
    assert cells["ratio"].between(0.9, 1.1).all()
    assert found.proportionality["df"].tolist()[0] == 1
    assert found.influence["change"].is_monotonic_increasing
    assert (found.influence["n_firms"] >= 10).all()
    hidden = found.residuals[found.residuals["reason"] != ""]
    assert hidden["observed"].isna().all()
    shown = found.residuals[found.residuals["reason"] == ""]
    assert (shown["n_firms"] >= 10).all()
    assert "Is the effect the same" in found._repr_html_()


def test_link_test_finds_a_missing_square():
    from missie_impact.risksets.riskset import RiskSet

    rng = np.random.default_rng(5)
    x, treated = rng.normal(size=8000), rng.integers(0, 2, 8000)
    p = 1 - np.exp(-np.exp(-1.5 + 0.3 * treated + 0.5 * x + 0.5 * x**2))
    table = pd.DataFrame({"x": x, "treated": treated, "y": (rng.random(8000) < p).astype(int), "firm": np.arange(8000)})
    risk = RiskSet.from_frame(table, outcome="y", treatment="treated", firm="firm")
    wrong = exit_diagnostics(risk, controls=["x"], cluster="firm").link.set_index("term")
    right = exit_diagnostics(risk, controls=["x", "x**2"], cluster="firm").link.set_index("term")
    assert wrong.loc["hat squared", "p_value"] < 1e-6
    assert right.loc["hat squared", "p_value"] > 0.01
    assert right.loc["hat", "estimate"] == pytest.approx(1.0, abs=0.3)


def test_influence_is_what_leaving_ten_firms_out_does(make):
    table = make.firms(n=90)
    risk = make.risk_set(table, firm="firm")
    found = exit_diagnostics(risk, controls=["log_workers"], cluster="firm").influence
    effect = market_exit(risk, controls=["log_workers"], cluster="firm").effect("log_hazard").estimate
    changes = []
    for firm in table["firm"].unique():
        rest = make.risk_set(table[table["firm"] != firm], firm="firm")
        changes.append(
            market_exit(rest, controls=["log_workers"], cluster="firm").effect("log_hazard").estimate - effect
        )
    exact = np.sort(changes)
    np.testing.assert_allclose(found["change"].iloc[[0, -1]], [exact[:10].mean(), exact[-10:].mean()], rtol=0.15)
