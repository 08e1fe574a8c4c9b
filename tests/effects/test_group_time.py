"""Group-time effects against R's did, and its properties."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from missie_impact.effects import GroupTimeOptions, event_study, group_time_effects
from missie_impact.errors import DuplicateKeyError, SettingsError
from missie_impact.numerics.two_periods import did_cross_sections
from missie_impact.validity import honest_bounds

NAMES = {"outcome": "lemp", "unit": "countyreal", "time": "year", "first_treated": "first.treat"}
CASES = {
    "cs_never_no_covariates": {"comparison": "never"},
    "cs_notyet_no_covariates": {"comparison": "not_yet"},
    "cs_never_lpop_dr": {"comparison": "never", "covariates": ["lpop"]},
    "cs_never_lpop_ipw": {"comparison": "never", "covariates": ["lpop"], "estimator": "weighting"},
    "cs_never_lpop_reg": {"comparison": "never", "covariates": ["lpop"], "estimator": "regression"},
    "cs_notyet_lpop_dr": {"comparison": "not_yet", "covariates": ["lpop"]},
    "cs_never_universal_base": {"comparison": "never", "options": GroupTimeOptions(base_period="universal")},
    "cs_never_anticipation_1": {"comparison": "never", "options": GroupTimeOptions(anticipation=1)},
}


@pytest.fixture(scope="module")
def counties(make):
    return make.load("mpdta_staggered_did")


def numbers(values):
    return np.array([np.nan if v is None else v for v in values], dtype=float)


@pytest.mark.parametrize("case", CASES)
def test_counties_as_did(counties, case):
    table, reference = counties
    expected = reference[case]
    found = group_time_effects(table, **NAMES, cluster="countyreal", **CASES[case])
    # R's glm stops at 1e-8 and takes its covariance one step earlier, which shows in errors of weighted estimates
    loose = 5e-6 if "lpop" in case and case != "cs_never_lpop_reg" else 1e-6
    cells = pd.DataFrame(expected["att_gt"])
    assert found.table["cohort"].tolist() == cells["g"].tolist() and found.table["time"].tolist() == cells["t"].tolist()
    np.testing.assert_allclose(found.table["estimate"], cells["att"].astype(float), rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(found.table["std_error"], cells["se"].astype(float), rtol=loose)
    for kind, name in (("event", "dynamic"), ("group", "group"), ("calendar", "calendar")):
        curve, wanted = found.aggregate(kind).table, expected[name]
        assert curve["time"].tolist() == wanted["at"]
        np.testing.assert_allclose(curve["estimate"], wanted["att"], rtol=1e-6, atol=1e-15)
        np.testing.assert_allclose(curve["std_error"], numbers(wanted["se"]), rtol=loose)
        assert found.overall(kind).estimate == pytest.approx(wanted["overall"], rel=1e-6)
        if kind != "group":
            assert found.overall(kind).std_error == pytest.approx(wanted["overall_se"], rel=loose)
    simple = found.overall("simple")
    assert simple.estimate == pytest.approx(expected["simple"]["overall"], rel=1e-6)
    assert simple.std_error == pytest.approx(expected["simple"]["overall_se"], rel=loose)


def test_pretest_as_did(counties):
    table, reference = counties
    found = group_time_effects(table, **NAMES, comparison="never", cluster="countyreal").pretrend_test()
    expected = reference["cs_never_no_covariates"]
    assert found.statistic == pytest.approx(expected["pretest_wald"][0][0], rel=1e-6)
    assert found.p_value == pytest.approx(expected["pretest_p"][0][0], abs=1e-5)


def test_error_of_the_average_over_cohorts_by_resampling_shares(counties):
    """R's did 2.1.2 takes the shares of the wrong cohorts here (0.0124153); the delta method by hand says 0.0124461."""
    table, reference = counties
    found = group_time_effects(table, **NAMES, comparison="never", cluster="countyreal")
    by_cohort = found.aggregate("group").table
    first = table.drop_duplicates("countyreal")["first.treat"].to_numpy()
    member = (first[:, None] == np.array([2004, 2006, 2007])).astype(float)
    share = member.mean(axis=0)
    average = by_cohort["estimate"] @ share / share.sum()
    # influence of the shares: each treated county moves the average towards its own cohort
    moved = member @ (by_cohort["estimate"].to_numpy() - average) / share.sum() / len(member)
    cells = found.found.covariance
    post = found.table["time"] >= found.table["cohort"]
    weights = np.zeros(len(cells))
    for j, cohort in enumerate((2004, 2006, 2007)):
        inside = np.flatnonzero(post & (found.table["cohort"] == cohort))
        weights[inside] = share[j] / share.sum() / len(inside)
    variance = weights @ cells @ weights + moved @ moved  # no covariance: effects are means within cohorts
    assert found.overall("group").std_error == pytest.approx(np.sqrt(variance), rel=1e-9)
    theirs = reference["cs_never_no_covariates"]["group"]["overall_se"]
    assert found.overall("group").std_error == pytest.approx(theirs, rel=5e-3)


def test_training_hours_as_did(make):
    table, reference = make.load("jtrain_firm_grants")
    table["first"] = table["fcode"].map(table[table["grant"] == 1].groupby("fcode")["year"].min())
    known = table.dropna(subset=["hrsemp"])
    found = group_time_effects(
        known, outcome="hrsemp", unit="fcode", time="year", first_treated="first", comparison="never", cluster="fcode"
    )
    expected = reference["cs_training_hours_balanced"]
    assert found.found.n_units == expected["firms"]
    cells = pd.DataFrame(expected["att_gt"])
    np.testing.assert_allclose(found.table[["estimate", "std_error"]], cells[["att", "se"]], rtol=1e-6)
    assert found.overall().std_error == pytest.approx(expected["simple_se"], rel=1e-6)


def test_bootstrap_agrees_with_the_analytic_errors(counties):
    table, _ = counties
    plain = group_time_effects(table, **NAMES, comparison="never", cluster="countyreal")
    drawn = group_time_effects(
        table, **NAMES, comparison="never", cluster="countyreal", options=GroupTimeOptions(bootstrap=4000)
    )
    one, other = plain.aggregate().table, drawn.aggregate().table
    np.testing.assert_allclose(other["std_error"], one["std_error"], rtol=0.1)
    np.testing.assert_allclose(other["band_high"] - other["estimate"], one["band_high"] - one["estimate"], rtol=0.15)
    assert (one["band_low"] < one["conf_low"]).all()


def staggered(seed=3, n=90, cohorts=(4, 6, np.inf)):
    rng = np.random.default_rng(seed)
    unit, time = np.repeat(np.arange(n), 8), np.tile(np.arange(1, 9), n)
    first = np.array(cohorts)[np.arange(n) % len(cohorts)][unit]
    effect = np.where(time >= first, 1.0 + 0.5 * (time - np.where(np.isfinite(first), first, 0)), 0.0)
    y = rng.normal(size=n)[unit] + 0.3 * time + effect + rng.normal(0, 0.01, len(unit))
    return pd.DataFrame({"unit": unit, "time": time, "first": first, "y": y, "area": unit // 3 % 15})


def test_known_effects_by_event_time_are_found():
    found = group_time_effects(
        staggered(), outcome="y", unit="unit", time="time", first_treated="first", cluster="unit"
    ).aggregate("event", balance=2)
    after = found.table[found.table["time"] >= 0]
    assert after["time"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(after["estimate"], [1.0, 1.5, 2.0], atol=0.02)


def test_properties():
    table = staggered()
    settings = {"outcome": "y", "time": "time", "first_treated": "first"}
    first = group_time_effects(table, unit="unit", cluster="unit", **settings).table
    shuffled = table.assign(unit="u" + (500 - table["unit"]).astype(str)).sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(first, group_time_effects(shuffled, unit="unit", cluster="unit", **settings).table)
    # every unit with a twin in its cluster: estimates and clustered errors of pairs stay
    twins = pd.concat([table.assign(twin=0), table.assign(twin=1)])
    double = group_time_effects(twins, unit=["unit", "twin"], cluster="unit", **settings).table
    np.testing.assert_allclose(double[["estimate", "std_error"]], first[["estimate", "std_error"]], rtol=1e-9)
    weighted = group_time_effects(table.assign(w=2.0), unit="unit", cluster="unit", weights="w", **settings).table
    np.testing.assert_allclose(weighted["std_error"], first["std_error"], rtol=1e-12)


@pytest.mark.parametrize("covariates", [[], ["x"]])
def test_weights_of_populations_are_those_of_their_shares(covariates):
    table = staggered()
    random = np.random.default_rng(5)
    table["w"] = table["unit"].map(dict(enumerate(random.lognormal(0.0, 1.5, table["unit"].max() + 1))))
    table["x"] = table["unit"].map(dict(enumerate(random.normal(size=table["unit"].max() + 1))))
    settings = {"outcome": "y", "unit": "unit", "time": "time", "first_treated": "first", "cluster": "unit"}
    shares = group_time_effects(table, **settings, covariates=covariates, weights="w").table
    many = group_time_effects(table.assign(w=3e8 * table["w"]), **settings, covariates=covariates, weights="w").table
    assert not shares["estimate"].isna().any()
    for name in ("estimate", "std_error"):
        np.testing.assert_allclose(many[name], shares[name], rtol=1e-9)


def test_without_never_treated_the_last_cohort_serves_until_it_is_treated():
    table = staggered(cohorts=(4, 6, 8))
    settings = {"outcome": "y", "unit": "unit", "time": "time", "first_treated": "first", "cluster": "unit"}
    found = group_time_effects(table, **settings)
    late = found.table[found.table["time"] >= 8]
    assert (late["reason"] == "no comparison").all() and len(late) == 3
    with pytest.raises(SettingsError, match="never treated"):
        group_time_effects(table, comparison="never", **settings)


def test_one_cohort_is_two_by_two_by_hand():
    table = staggered(cohorts=(4, np.inf))
    found = group_time_effects(
        table, outcome="y", unit="unit", time="time", first_treated="first", cluster="unit"
    ).table
    wide = table.pivot(index="unit", columns="time", values="y")
    treated = table.drop_duplicates("unit").set_index("unit")["first"] == 4
    change = wide[6] - wide[3]
    row = found[(found["time"] == 6)].iloc[0]
    assert row["estimate"] == pytest.approx(change[treated].mean() - change[~treated].mean())
    variance = change[treated].var(ddof=0) / treated.sum() + change[~treated].var(ddof=0) / (~treated).sum()
    assert row["std_error"] == pytest.approx(np.sqrt(variance))


def test_unbalanced_panels():
    table = staggered().drop(index=[5, 6, 90])
    settings = {"outcome": "y", "unit": "unit", "time": "time", "first_treated": "first", "cluster": "unit"}
    dropped = group_time_effects(table, **settings)
    assert dropped.found.n_units == 88
    pairs = group_time_effects(table, options=GroupTimeOptions(unbalanced="pairs"), **settings)
    assert pairs.found.n_units == 90
    np.testing.assert_allclose(pairs.table["estimate"], dropped.table["estimate"], atol=0.02)


# csdid 0.4.3 (the Python port of R's did), allow_unbalanced_panel=True, not yet treated, training hours: effects of
# 1988 and 1989 on both cohorts, their errors, the average in the year of treatment and its error (its average over all
# cells is not compared: diff-diff 3.13 gives ours there)
ROWS_AS_DID = {
    ("doubly_robust", ()): (
        [27.97431117, 0.7342608592, 4.07646511, 38.79941894],
        [4.798787973, 2.869475168, 1.901654927, 5.460570366],
        (32.785470181841376, 3.60304335),
    ),
    ("doubly_robust", ("union",)): (
        [27.69477696, 0.5025336704, 4.169257495, 38.57824886],
        [4.680735302, 2.72932372, 1.865469171, 5.512798321],
        (32.53187557992717, 3.58308257),
    ),
    ("regression", ("union",)): (
        [28.09836157, 0.5025336704, 4.169257495, 38.57824886],
        [4.767094467, 2.72932372, 1.865469171, 5.512798321],
        (32.75608925093185, 3.61384643),
    ),
    ("weighting", ("union",)): (
        [28.05706608, 0.5250703016, 4.117076384, 38.64469085],
        [4.768641108, 2.710357478, 1.865798915, 5.497421143],
        (32.7626770896846, 3.61082084),
    ),
}


@pytest.mark.parametrize("estimator, covariates", ROWS_AS_DID)
def test_rows_of_an_unbalanced_panel_as_did(make, estimator, covariates):
    table, _ = make.load("jtrain_firm_grants")
    table["first"] = table["fcode"].map(table[table["grant"] == 1].groupby("fcode")["year"].min())
    found = group_time_effects(
        table.dropna(subset=["hrsemp"]), outcome="hrsemp", unit="fcode", time="year", first_treated="first",
        covariates=covariates, estimator=estimator, cluster="fcode", options=GroupTimeOptions(unbalanced="rows"),
    )  # fmt: skip
    estimates, errors, (average, error) = ROWS_AS_DID[estimator, covariates]
    np.testing.assert_allclose(found.table["estimate"], estimates, rtol=1e-8)
    np.testing.assert_allclose(found.table["std_error"], errors, rtol=1e-8)
    first = found.aggregate("event").table.set_index("time").loc[0]
    assert first["estimate"] == pytest.approx(average, rel=1e-8)
    assert first["std_error"] == pytest.approx(error, rel=1e-6)


def test_rows_of_a_balanced_panel_give_the_estimates_of_pairs():
    table = staggered()
    settings = {"outcome": "y", "unit": "unit", "time": "time", "first_treated": "first", "cluster": "unit"}
    rows = group_time_effects(table, options=GroupTimeOptions(unbalanced="rows"), **settings)
    pairs = group_time_effects(table, options=GroupTimeOptions(unbalanced="pairs"), **settings)
    # without covariates both are differences of the same four means, and a unit adds the same to them
    np.testing.assert_allclose(rows.table["estimate"], pairs.table["estimate"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(rows.table["std_error"], pairs.table["std_error"], rtol=1e-9)
    assert rows.table["n_treated"].tolist() == pairs.table["n_treated"].tolist()


@pytest.mark.parametrize("estimator", ["doubly_robust", "regression", "weighting"])
def test_influence_of_rows_by_leaving_each_out(estimator):
    random = np.random.default_rng(8)
    n = 400
    x = np.column_stack([np.ones(n), random.normal(size=n)])
    treated, later = random.random(n) < 0.4, random.random(n) < 0.5
    weight = random.uniform(0.5, 2.0, n)
    y = x[:, 1] + treated + later * (0.5 + x[:, 1]) + 2.0 * (treated & later) + random.normal(size=n)
    whole, influence = did_cross_sections(y, later, treated, x, weight, estimator)
    assert influence.sum() == pytest.approx(0.0, abs=1e-9)
    for row in range(0, n, 37):
        less = weight.copy()
        less[row] *= 1 - 1e-5
        moved, _ = did_cross_sections(y, later, treated, x, less, estimator)
        assert (whole - moved) / 1e-5 == pytest.approx(influence[row], rel=1e-3, abs=1e-7)


def test_few_treated_rows_for_a_model_of_their_outcomes_are_said():
    table = staggered()
    table["x"] = np.random.default_rng(3).normal(size=len(table))
    first = table.drop_duplicates("unit")
    gone = first.loc[first["first"] == first["first"].min(), "unit"].iloc[1:]
    settings = {"outcome": "y", "unit": "unit", "time": "time", "first_treated": "first", "cluster": "unit"}
    options = GroupTimeOptions(unbalanced="rows")
    found = group_time_effects(table[~table["unit"].isin(gone)], **settings, covariates=["x"], options=options)
    alone = found.table[found.table["cohort"] == first["first"].min()]
    assert alone["reason"].str.contains("too few treated").all() and alone["estimate"].isna().all()


def test_bad_tables():
    table = staggered()
    settings = {"outcome": "y", "unit": "unit", "time": "time", "first_treated": "first", "cluster": "unit"}
    with pytest.raises(DuplicateKeyError, match="one row per unit and period"):
        group_time_effects(pd.concat([table, table.head(2)]), **settings)
    with pytest.raises(SettingsError, match="one value per unit"):
        group_time_effects(table.assign(first=table["time"]), **settings)
    with pytest.raises(SettingsError, match="first treated after"):
        group_time_effects(table.assign(first=np.inf), **settings)
    with pytest.raises(SettingsError, match="nothing is left with balance=None and min_time=50"):
        group_time_effects(table, **settings).aggregate("event", min_time=50)
    # a factor of one level is no covariate
    same = group_time_effects(table.assign(one="a"), **settings, covariates=["C(one)"])
    pd.testing.assert_frame_equal(same.table, group_time_effects(table, **settings).table)


def test_bad_event_studies():
    with pytest.raises(SettingsError, match="expected numbers"):
        event_study(["a"], [1.0], [[1.0]])
    with pytest.raises(SettingsError, match="variances"):
        event_study([-2, 0], [1.0, 2.0], [[1.0, 0.0], [0.0, -1.0]])
    with pytest.raises(SettingsError, match="found DataFrame"):
        honest_bounds(staggered(), bounds=[1.0])


def test_power_of_pretrends_by_hand():
    """With one estimate before, both tests are the two-sided z test."""
    study = event_study([-2, 0], [0.1, 0.5], np.diag([0.04, 0.09]))
    power = study.pretrend_power().set_index("power")
    for wanted in (0.5, 0.8):
        for column, tolerance in (("slope_joint", 1e-6), ("slope_any", 0.02)):
            z = power.loc[wanted, column] / 0.2
            assert stats.norm.sf(1.959964 - z) + stats.norm.cdf(-1.959964 - z) == pytest.approx(wanted, abs=tolerance)
    varying = group_time_effects(
        staggered(), outcome="y", unit="unit", time="time", first_treated="first", cluster="unit"
    ).event_study()
    with pytest.raises(SettingsError, match="universal"):
        varying.pretrend_power()
