"""Survival along time through the public functions: by hand, against R, and a second way."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import (
    CurveOptions,
    life_table,
    median_survival,
    restricted_mean,
    survival_curve,
)
from missie_impact.errors import MissingValueError, SettingsError

QUICK = CurveOptions(bands=False)


def values(curve, arm, times, column="estimate", group="all"):
    table = curve.table[(curve.table["arm"] == arm) & (curve.table["group"] == group)]
    return [float(table[table["time"] <= t].iloc[-1][column]) for t in times]


# ---- by hand -------------------------------------------------------------------------------------------------------
# Six pairs with a mission: two leave in year 1, one is lost from sight in year 2, one leaves in year 3, two stay to 4.
# Four without, one of them from year 2 on: one leaves in year 2, three stay to 4.


@pytest.fixture(scope="module")
def ten(make):
    rows = [(1, 0, 1, 1), (1, 0, 1, 1), (1, 0, 2, 0), (1, 0, 3, 1), (1, 0, 4, 0), (1, 0, 4, 0),
            (0, 0, 2, 1), (0, 0, 4, 0), (0, 0, 4, 0), (0, 1, 4, 0)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["treated", "start", "stop", "outcome"])
    return make.risk_set(table.assign(firm=np.arange(10)), firm="firm", start="start", duration="stop")


def test_curve_by_hand(ten):
    curve = survival_curve(ten, cluster=None)
    assert curve.kind == "survival"
    assert values(curve, "treated", [0, 1, 2, 3, 4]) == pytest.approx([1, 4 / 6, 4 / 6, 4 / 6 * 2 / 3, 4 / 6 * 2 / 3])
    assert values(curve, "untreated", [1, 2, 4]) == pytest.approx([1, 3 / 4, 3 / 4])  # four at risk in year 2
    assert values(curve, "treated", [1, 2, 3, 4], "n_at_risk") == [6, 4, 3, 2]
    assert values(curve, "untreated", [0, 2, 4], "n_at_risk") == [3, 4, 3]
    assert values(curve, "treated", [1, 2, 3, 4], "n_events") == [2, 0, 1, 0]
    greenwood = 4 / 9 * np.sqrt(2 / (6 * 4) + 1 / (3 * 2))
    assert values(curve, "treated", [3], "std_error")[0] == pytest.approx(greenwood)


def test_life_table_by_hand(ten):
    table = life_table(ten, cluster=None).query("arm == 'treated'")
    assert table["time_to"].tolist() == [1, 2, 3, 4]
    assert table["n_at_risk"].tolist() == [6, 4, 3, 2]
    assert table["n_events"].tolist() == [2, 0, 1, 0]
    assert table["exposure"].tolist() == [6, 4, 3, 2]
    assert table["exit_probability"].tolist() == pytest.approx([2 / 6, 0, 1 / 3, 0])
    others = life_table(ten, cluster=None, breaks=[0, 2, 4]).query("arm == 'untreated'")
    assert others["n_at_risk"].tolist() == [3, 3]
    assert others["n_entered"].tolist() == [1, 0]
    assert others["exposure"].tolist() == [7, 6]
    assert others["survival"].tolist() == pytest.approx([3 / 4, 3 / 4])


def test_restricted_mean_by_hand(ten):
    effect = restricted_mean(ten, cluster=None, horizon=4)
    one, zero = 1 + 4 / 6 + 4 / 6 + 4 / 9, 1 + 1 + 3 / 4 + 3 / 4
    assert effect.effect("restricted_mean_with").estimate == pytest.approx(one)
    assert effect.effect("restricted_mean_without").estimate == pytest.approx(zero)
    assert effect.effect("restricted_mean_difference").estimate == pytest.approx(one - zero)
    assert effect.effect("restricted_mean_ratio").estimate == pytest.approx(one / zero)
    assert np.isnan(effect.effect("restricted_mean_with").p_value)  # a level has no null of zero
    with pytest.raises(SettingsError, match="nobody is followed up to the horizon"):
        restricted_mean(ten, cluster=None, horizon=5)


# ---- R -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def veterans(make):
    table, reference = make.load("veteran_survival")
    table = table.assign(zero=0, new=table["trt"] - 1, firm=np.arange(len(table)))
    return table, make.risk_set(table, outcome="status", treatment="new", duration="time", start="zero"), reference


@pytest.mark.parametrize("interval", ["plain", "log", "log-log"])
def test_veterans(veterans, interval):
    _, risk, reference = veterans
    expected = reference[f"km_{interval.replace('-', '')}"]
    options = CurveOptions(interval=interval, bands=False)
    curve = survival_curve(risk, cluster=None, options=options)
    quartiles = median_survival(risk, cluster=None, shares=(0.25, 0.5, 0.75), options=options)
    for arm, name in (("untreated", "trt1"), ("treated", "trt2")):
        for column, key in (("estimate", "surv"), ("std_error", "se"), ("conf_low", "low"), ("conf_high", "high")):
            assert values(curve, arm, expected["times"], column) == pytest.approx(expected[name][key], rel=1e-6)
        found = quartiles[quartiles["arm"] == arm]
        for column, key in (("estimate", ""), ("conf_low", "_low"), ("conf_high", "_high")):
            assert found[column].tolist() == pytest.approx(expected["quartiles"][name + key])


def test_veterans_restricted_mean(veterans):
    _, risk, reference = veterans
    effect, expected = restricted_mean(risk, cluster=None, horizon=365), reference["rmst_365"]
    one, zero = effect.effect("restricted_mean_with"), effect.effect("restricted_mean_without")
    assert [one.estimate, zero.estimate] == pytest.approx([expected["trt2"], expected["trt1"]], rel=1e-8)
    assert [one.std_error, zero.std_error] == pytest.approx([expected["trt2_se"], expected["trt1_se"]], rel=1e-6)
    difference = effect.effect("restricted_mean_difference")
    assert difference.std_error == pytest.approx(np.hypot(expected["trt1_se"], expected["trt2_se"]), rel=1e-6)


def test_one_row_per_person_without_a_start_begins_at_zero(make, veterans):
    table, risk, _ = veterans
    plain = make.risk_set(table, outcome="status", treatment="new", duration="time")
    one, other = (survival_curve(r, cluster=None, options=QUICK) for r in (plain, risk))
    pd.testing.assert_frame_equal(one.table, other.table)
    assert any("from zero" in note for note in one.notes)


def test_channing_house(make):
    table, reference = make.load("channing_left_truncation")
    table = table.assign(male=(table["gender"] == 1).astype(int))
    with pytest.raises(SettingsError, match="4 of 462 rows do not end after they begin"):
        survival_curve(make.risk_set(table, outcome="death", treatment="male", duration="age", start="ageentry"),
                       cluster=None)  # fmt: skip
    used = table[table["age"] > table["ageentry"]]
    risk = make.risk_set(used, outcome="death", treatment="male", duration="age", start="ageentry")
    whole, expected = survival_curve(risk, cluster=None, options=QUICK), reference["km_delayed_entry"]
    late = survival_curve(risk, cluster=None, start=816, options=QUICK)
    given = reference["km_given_alive_at_816"]
    for arm, name in (("treated", "male"), ("untreated", "female")):
        found = values(whole, arm, expected["age_months"])
        assert found == pytest.approx(expected[name]["surv"], rel=1e-8, abs=1e-12)
        assert values(late, arm, given["age_months"]) == pytest.approx(given[name], rel=1e-8)
        assert values(late, arm, given["age_months"], "std_error") == pytest.approx(given[f"{name}_se"], rel=1e-6)
    assert any("falls to zero" in note for note in whole.notes)
    # who counts everyone from birth, as if nobody could have died before moving in, sees too much survival
    ignored = make.risk_set(used.assign(zero=0), outcome="death", treatment="male", duration="age", start="zero")
    naive = values(survival_curve(ignored, cluster=None, options=QUICK), "untreated", [950, 1000])
    assert (np.array(naive) > values(whole, "untreated", [950, 1000])).all()


def test_a_switching_treatment_is_for_display(make):
    table, reference = make.load("heart_time_varying")
    risk = make.risk_set(table, outcome="event", treatment="transplant", firm="id", duration="stop", start="start")
    curve, expected = survival_curve(risk, cluster=None, options=QUICK), reference["simon_makuch_km"]
    for arm, name in (("treated", "with"), ("untreated", "without")):
        assert values(curve, arm, expected["times"]) == pytest.approx(expected[name]["surv"], rel=1e-8)
        assert values(curve, arm, expected["times"], "std_error") == pytest.approx(expected[name]["se"], rel=1e-6)
    assert curve.design.startswith("display only")


def test_errors_by_cluster(make):
    table, reference = make.load("mgus2_competing_risks")[0], make.load_reference("mgus2_delayed_entry")
    risk = make.aged(table, "any")
    for cluster, name in ((None, "greenwood"), ("dxyr", "cluster_dxyr")):
        curve = survival_curve(risk, cluster=cluster, options=QUICK)
        for arm, sex in (("treated", "male"), ("untreated", "female")):
            expected = reference["kaplan_meier_any"][sex][name]
            assert values(curve, arm, reference["months"]) == pytest.approx(expected["surv"], rel=1e-8)
            assert values(curve, arm, reference["months"], "std_error") == pytest.approx(expected["se"], rel=1e-6)


# ---- bands, weights, subgroups, bad input ----------------------------------------------------------------------------


def test_bands_are_the_interval_with_one_larger_quantile(veterans):
    _, risk, _ = veterans
    options = CurveOptions(interval="plain")
    table = survival_curve(risk, cluster=None, options=options).table.query("arm == 'untreated' and std_error > 0")
    inside = table[(table["band_low"] > 0) & (table["band_high"] < 1)]
    critical = ((inside["band_high"] - inside["estimate"]) / inside["std_error"]).to_numpy()
    np.testing.assert_allclose(critical, critical[0], rtol=1e-9)
    assert 1.96 < critical[0] < 3.3


def test_a_band_of_one_time_is_the_interval(ten):
    table = survival_curve(ten, cluster=None, options=CurveOptions(times=(3.0,))).table.query("arm == 'treated'")
    assert table["band_low"].iloc[0] == pytest.approx(table["conf_low"].iloc[0])


def test_weights_count_rows_or_do_not(make):
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"treated": rng.integers(0, 2, 80), "stop": rng.integers(1, 6, 80), "zero": 0})
    table = table.assign(outcome=rng.integers(0, 2, 80), firm=np.arange(80) // 2, two=2, firms=np.arange(80))
    roles = {"duration": "stop", "start": "zero", "firm": "firm"}
    twice = make.risk_set(pd.concat([table, table], ignore_index=True), **roles)
    counted = make.risk_set(table, frequency="two", **roles)
    sampled = make.risk_set(table, probability="two", **roles)
    for cluster in ("firm", None):
        one, other = (survival_curve(r, cluster=cluster, options=QUICK).table for r in (twice, counted))
        columns = ["estimate", "std_error", "n_at_risk", "n_events"]
        np.testing.assert_allclose(one[columns], other[columns], rtol=1e-9)
    plain = survival_curve(make.risk_set(table, **roles), cluster="firm", options=QUICK).table
    known = survival_curve(sampled, cluster="firm", options=QUICK).table
    np.testing.assert_allclose(known[["estimate", "std_error"]], plain[["estimate", "std_error"]], rtol=1e-9)
    assert known["n_at_risk"].tolist() == plain["n_at_risk"].tolist()


def test_clustered_difference_is_that_of_a_jackknife(make):
    rng = np.random.default_rng(5)
    firm = np.repeat(np.arange(40), 6)
    stop = np.minimum(rng.geometric(0.15 + 0.2 * rng.random(40)[firm]), 6)
    table = pd.DataFrame({"firm": firm, "treated": rng.integers(0, 2, 240), "zero": 0, "stop": stop})
    table["outcome"] = (stop < 6).astype(int)

    def fit(rows):
        risk = make.risk_set(rows, duration="stop", start="zero", firm="firm")
        return restricted_mean(risk, cluster="firm", horizon=5)

    found = fit(table).effect("restricted_mean_difference")
    left = [fit(table[table["firm"] != g]).effect("restricted_mean_difference").estimate for g in range(40)]
    jackknife = np.sqrt(39 / 40 * ((np.array(left) - np.mean(left)) ** 2).sum())
    assert found.std_error == pytest.approx(jackknife, rel=0.05)  # second-order terms of 40 firms


def test_subgroups_are_the_curves_of_their_own_rows(make, veterans):
    table, risk, _ = veterans
    by = survival_curve(risk, cluster=None, by="prior", options=QUICK)
    own = make.risk_set(table[table["prior"] == 10], outcome="status", treatment="new", duration="time", start="zero")
    alone = survival_curve(own, cluster=None, options=QUICK).table.drop(columns="group")
    part = by.table[by.table["group"] == "prior=10"].drop(columns="group").reset_index(drop=True)
    pd.testing.assert_frame_equal(part, alone)


def test_what_a_curve_needs(make):
    table = make.two_by_two()
    with pytest.raises(SettingsError, match="needs a duration"):
        survival_curve(make.risk_set(table), cluster=None)
    with pytest.raises(MissingValueError, match="expected a time in every row, found 1 of 120"):
        survival_curve(make.risk_set(table.assign(t=np.r_[np.nan, np.ones(119)]), duration="t"), cluster=None)
    with pytest.raises(SettingsError, match="expected numbers between 0 and 1"):
        median_survival(make.risk_set(table.assign(t=1), duration="t"), cluster=None, shares=(50,))
