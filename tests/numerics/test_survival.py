"""Kaplan-Meier by hand and against R, with delayed entry."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missie_impact.errors import EmptyTableError, SettingsError
from missie_impact.numerics.survival import kaplan_meier


def test_five_spells_by_hand():
    # exits after 1, 3 and 3 years; one censored after 2, one after 4
    curve = kaplan_meier([1, 2, 3, 3, 4], [1, 0, 1, 1, 0])
    np.testing.assert_allclose(curve.time, [1, 3])
    np.testing.assert_allclose(curve.at_risk, [5, 3])
    np.testing.assert_allclose(curve.survival, [4 / 5, 4 / 5 * 1 / 3])
    greenwood = np.sqrt([1 / (5 * 4), 1 / (5 * 4) + 2 / (3 * 1)])
    np.testing.assert_allclose(curve.std_error, curve.survival * greenwood)
    np.testing.assert_allclose(curve.survival_at([0, 1, 2.5, 3, 9]), [1, 0.8, 0.8, 4 / 15, 4 / 15])
    assert curve.quantile(0.5)[0] == 3
    assert np.isnan(curve.quantile(0.9)[0])
    # area: one year at 1, two at 0.8, one at 4/15
    assert curve.restricted_mean(4)[0] == pytest.approx(1 + 1.6 + 4 / 15)


def test_delayed_entry_by_hand():
    # the third is seen from year 2 on: at risk at 3, not at 1
    curve = kaplan_meier([1, 3, 3], [1, 0, 1], start=[0, 0, 2])
    np.testing.assert_allclose(curve.at_risk, [2, 2])
    np.testing.assert_allclose(curve.survival, [0.5, 0.25])
    # one firm alone at risk leaves first: the curve is zero for ever, and says why
    alone = kaplan_meier([1, 3, 3, 3], [1, 0, 1, 0], start=[0, 2, 2, 2])
    np.testing.assert_allclose(alone.survival, [0, 0])
    assert len(alone.notes) == 2


def test_median_on_a_flat_half_is_the_middle():
    assert kaplan_meier([1, 2, 5, 6], [1, 1, 1, 1]).quantile(0.5)[0] == 3.5


@pytest.mark.parametrize("interval", ["plain", "log", "log-log"])
def test_veterans(cases, interval):
    table, reference = cases.load("veteran_survival")
    expected = reference["km_" + interval.replace("-", "")]
    for arm in (1, 2):
        rows = table[table["trt"] == arm]
        curve, block = kaplan_meier(rows["time"], rows["status"], interval=interval), expected[f"trt{arm}"]
        np.testing.assert_allclose(curve.survival_at(expected["times"]), block["surv"], rtol=1e-10)
        np.testing.assert_allclose(curve.std_error_at(expected["times"]), block["se"], rtol=1e-8)
        low, high = curve.interval_at(expected["times"])
        np.testing.assert_allclose(low, block["low"], rtol=1e-8)
        np.testing.assert_allclose(high, block["high"], rtol=1e-8)
        for i, share in enumerate((0.25, 0.5, 0.75)):
            found = curve.quantile(share)
            quartiles = expected["quartiles"]
            wanted = [quartiles[f"trt{arm}"][i], quartiles[f"trt{arm}_low"][i], quartiles[f"trt{arm}_high"][i]]
            np.testing.assert_allclose(found, [np.nan if w in (None, "NA") else w for w in wanted])


def test_nelson_aalen_and_restricted_mean(cases):
    table, reference = cases.load("veteran_survival")
    expected = reference["nelson_aalen"]
    curve = kaplan_meier(table["time"], table["status"])
    np.testing.assert_allclose(curve.cumulative_hazard_at(expected["times"]), expected["cumhaz"], rtol=1e-10)
    for arm in (1, 2):
        rows = table[table["trt"] == arm]
        mean, error = kaplan_meier(rows["time"], rows["status"]).restricted_mean(365)
        assert mean == pytest.approx(reference["rmst_365"][f"trt{arm}"], rel=1e-9)
        assert error == pytest.approx(reference["rmst_365"][f"trt{arm}_se"], rel=1e-6)


def test_retirement_centre_enters_late(cases):
    table, reference = cases.load("channing_left_truncation")
    used = table[table["age"] > table["ageentry"]]
    assert len(used) == reference["n_used"]
    with pytest.raises(SettingsError, match="4 of 462 rows do not end after they begin"):
        kaplan_meier(table["age"], table["death"], start=table["ageentry"])
    expected, late = reference["km_delayed_entry"], reference["km_given_alive_at_816"]
    for gender, name in ((2, "female"), (1, "male")):
        rows = used[used["gender"] == gender]
        curve = kaplan_meier(rows["age"], rows["death"], start=rows["ageentry"])
        np.testing.assert_allclose(curve.survival_at(expected["age_months"]), expected[name]["surv"], rtol=1e-10)
        assert curve.at_risk.min() == reference["smallest_early_risk_set"][name]
        rows = rows[rows["age"] > 816]
        curve = kaplan_meier(rows["age"], rows["death"], start=rows["ageentry"].clip(lower=816))
        np.testing.assert_allclose(curve.survival_at(late["age_months"]), late[name], rtol=1e-10)
        np.testing.assert_allclose(curve.std_error_at(late["age_months"]), late[f"{name}_se"], rtol=1e-8)


def test_early_risk_sets_of_one_are_said(cases):
    table, _ = cases.load("channing_left_truncation")
    men = table[(table["age"] > table["ageentry"]) & (table["gender"] == 1)]
    curve = kaplan_meier(men["age"], men["death"], start=men["ageentry"])
    assert any("early risk sets" in note for note in curve.notes)
    assert any("falls to zero" in note for note in curve.notes)


def spells(table, threshold, gap):
    """Runs of active years per pair; inactive stretches of at most ``gap`` years inside a spell are bridged."""
    active = table[table["trade"] > 0 if threshold == 0 else table["trade"] >= threshold]
    new = (active["pair"] != active["pair"].shift()) | (active["year"] - active["year"].shift() > gap + 1)
    runs = active.assign(spell=new.cumsum()).groupby("spell")
    found = runs.agg(pair=("pair", "first"), begin=("year", "first"), end=("year", "last"))
    first, last = table["year"].min(), table["year"].max()
    length = found["end"] - found["begin"] + 1
    order = found.groupby("pair").cumcount() + 1
    return found.assign(length=length, exit=found["end"] < last, seen=found["begin"] > first, order=order)


@pytest.mark.parametrize(
    ("block", "threshold", "gap"),
    [
        ("spells_any_trade", 0, 0),
        ("spells_any_trade_one_year_gap_bridged", 0, 1),
        ("spells_at_least_0.1_million", 0.1, 0),
    ],
)
def test_spells_of_country_pairs(cases, block, threshold, gap):
    table, reference = cases.load("country_pair_spells")
    table["pair"] = table["exporter"] + " " + table["importer"]
    found, expected = spells(table.sort_values(["pair", "year"]), threshold, gap), reference[block]
    assert len(found) == expected["spells"]
    chosen = {
        "km_start_seen": found["seen"],
        "km_start_seen_first_spell_only": found["seen"] & (found["order"] == 1),
        "km_all_treating_unseen_starts_as_year_1": pd.Series(True, index=found.index),
    }
    for name, rows in chosen.items():
        part, wanted = found[rows], expected[name]
        curve = kaplan_meier(part["length"], part["exit"])
        assert (len(part), part["exit"].sum(), part["length"].sum()) == (
            wanted["spells"], wanted["exits"], wanted["years_at_risk"],
        )  # fmt: skip
        np.testing.assert_allclose(curve.survival_at(wanted["times"]), wanted["survival"], rtol=1e-10)
        np.testing.assert_allclose(curve.std_error_at(wanted["times"]), wanted["se"], rtol=1e-8)
        median = wanted["median"] if wanted["median"] not in (None, "NA") else np.nan
        np.testing.assert_allclose(curve.quantile(0.5)[0], median)
        assert curve.hazard[0] == pytest.approx(wanted["hazard_first_year"])


rows = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), st.booleans()), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_rows_cut_in_years_shuffled_or_weighted_give_the_same_curve(spell_rows, random):
    start, length, event = (np.array(v) for v in zip(*spell_rows, strict=True))
    one = kaplan_meier(start + length, event, start=start)
    years = [(s + k, s + k + 1, e and k == n - 1) for s, n, e in spell_rows for k in range(n)]
    random.shuffle(years)
    cut = kaplan_meier([r[1] for r in years], [r[2] for r in years], start=[r[0] for r in years])
    np.testing.assert_allclose(cut.survival, one.survival)
    np.testing.assert_allclose(cut.at_risk, one.at_risk)
    twice = kaplan_meier(start + length, event, start=start, frequency=np.full(len(start), 2.0))
    np.testing.assert_allclose(twice.survival, one.survival)
    np.testing.assert_allclose(twice.std_error * np.sqrt(2), one.std_error)


def test_no_rows_and_unknown_interval():
    with pytest.raises(EmptyTableError, match="at least one row"):
        kaplan_meier([], [])
    with pytest.raises(SettingsError, match="log-log"):
        kaplan_meier([1], [1], interval="arcsine")
