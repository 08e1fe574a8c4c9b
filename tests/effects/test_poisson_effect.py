"""Poisson with fixed effects against R's fixest, and its properties on any table."""

import math

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import PoissonOptions, poisson_effect
from missie_impact.errors import CollinearityError, NoEventError, SchemaError, SettingsError

GRAVITY = {
    "log(dist)": "ld",
    "cntg": "cntg",
    "lang": "lang",
    "clny": "clny",
    "rta": "rta",
    "(Intercept)": "(Intercept)",
}
CASES = [
    ("ppml_exporter_year_importer_year", False, ["exporter^year", ("importer", "year")]),
    ("ppml_with_rta", True, ["exporter^year", "importer^year"]),
    ("ppml_one_way_effects", True, ["exporter", "importer", "year"]),
    ("ppml_no_effects", True, []),
]


@pytest.fixture(scope="module")
def gravity(make):
    return make.load("agtpa_ppml")


@pytest.mark.parametrize(("case", "rta", "effects"), CASES)
@pytest.mark.parametrize(
    ("correction", "column"),
    [("g_over_gm1", "se_cluster_g_over_gm1"), ("cr0", "se_cluster_no_factor"), ("cr1", "se_cluster_fixest_default")],
)
def test_gravity_as_fixest(gravity, matches, case, rta, effects, correction, column):
    table, reference = gravity
    terms = ["log(dist)", "cntg", "lang", "clny", *(["rta"] if rta else [])]
    options = PoissonOptions(correction=correction)
    found = poisson_effect(table, "trade", terms, effects=effects, cluster="pair_id", options=options).coefficients
    expected = reference[case]
    matches(found["estimate"], expected["coef"], GRAVITY.get, rtol=1e-6)
    # without effects fixest's own errors carry 5e-6 of noise (its `glm` check differs from it by that much)
    matches(found["std_error"], expected[column], GRAVITY.get, rtol=1e-6 if effects else 1e-5)


def test_no_effects_as_glm(gravity, matches):
    table, reference = gravity
    terms = ["log(dist)", "cntg", "lang", "clny", "rta"]
    found = poisson_effect(table, "trade", terms, cluster="pair_id").coefficients
    expected = reference["check_glm_no_effects"]
    matches(found["std_error"], expected["se_cluster_g_over_gm1"], GRAVITY.get, rtol=1e-6)


def test_scrap_rates_as_fixest(make, matches):
    table, reference = make.load("jtrain_firm_grants")
    known = table.dropna(subset=["scrap"])
    found = poisson_effect(
        known, "scrap", ["grant", "grant_1"], controls=["d88", "d89"], effects=["fcode"], cluster="fcode"
    )
    expected = reference["ppml_scrap"]
    matches(found.coefficients["estimate"], expected["coef"], str)
    matches(found.coefficients["std_error"], expected["se_cluster_g_over_gm1"], str)
    assert found.effect("mean_ratio").estimate == pytest.approx(math.exp(expected["coef"]["grant"]))
    second = found.effect("mean_ratio:grant_1")
    assert second.conf_low < second.estimate < second.conf_high
    assert math.sqrt(second.conf_low * second.conf_high) == pytest.approx(second.estimate)  # made on the log scale


def panel(seed=1, units=60, years=6):
    """Yearly amounts with a known ratio of 1.3, exactly in the mean, and zeros."""
    rng = np.random.default_rng(seed)
    unit, year = np.repeat(np.arange(units), years), np.tile(np.arange(years), units)
    treated = ((unit % 3 == 0) & (year >= 3)).astype(int)
    mean = np.exp(rng.normal(0, 1, units)[unit] + 0.1 * year + math.log(1.3) * treated)
    return pd.DataFrame(
        {"unit": unit, "year": year, "treated": treated, "amount": rng.poisson(mean) * 1.0, "mean": mean}
    )


def test_exact_means_give_the_exact_ratio():
    table = panel()
    found = poisson_effect(table, "mean", "treated", effects=["unit", "year"], cluster="unit")
    assert found.effect("mean_ratio").estimate == pytest.approx(1.3, rel=1e-10)


def test_two_ways_of_clusters_by_hand():
    table = panel()
    fit = {c: poisson_effect(table, "amount", "treated", effects=["unit", "year"], cluster=c) for c in
           ("unit", "year", ("unit", "year"))}  # fmt: skip
    both = poisson_effect(table, "amount", "treated", effects=["unit", "year"], cluster=["unit", "year"])
    error = {c: e.effect("mean_ratio").std_error for c, e in fit.items()}
    expected = error["unit"] ** 2 + error["year"] ** 2 - error[("unit", "year")] ** 2
    assert both.effect("mean_ratio").std_error ** 2 == pytest.approx(max(expected, 0.0), abs=1e-12)


def test_row_order_names_and_weights_do_not_matter():
    table = panel()
    settings = {"effects": ["unit", "year"], "cluster": "unit"}
    first = poisson_effect(table, "amount", "treated", **settings).tidy()[["estimate", "std_error"]]
    renamed = table.assign(unit="f" + (997 - table["unit"]).astype(str)).sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(
        first, poisson_effect(renamed, "amount", "treated", **settings).tidy()[["estimate", "std_error"]], rtol=1e-9
    )
    twice = pd.concat([table, table[table["unit"] < 10]])
    weighted = table.assign(times=np.where(table["unit"] < 10, 2, 1))
    one = poisson_effect(twice, "amount", "treated", **settings)
    other = poisson_effect(weighted, "amount", "treated", weights={"frequency": "times"}, **settings)
    pd.testing.assert_frame_equal(one.tidy(), other.tidy(), rtol=1e-9)


def test_separated_and_all_zero_rows_are_found_and_counted():
    table = panel()
    empty = pd.DataFrame({"unit": 900, "year": range(6), "treated": 0, "amount": 0.0, "only_zero": 0})
    # a dummy that is one in three zero rows of units that trade in other years: no finite coefficient
    zero = table.index[(table["amount"] == 0)][:3]
    table["only_zero"] = table.index.isin(zero).astype(int)
    whole = pd.concat([table, empty])
    found = poisson_effect(whole, "amount", "treated", controls=["only_zero"], effects=["unit", "year"], cluster="unit")
    kept = table[table["only_zero"] == 0]
    gone = len(whole) - int(found.tidy()["n_rows"].iloc[0])
    alone = poisson_effect(kept, "amount", "treated", effects=["unit", "year"], cluster="unit")
    assert len(zero) == 3
    assert found.effect("mean_ratio").estimate == pytest.approx(alone.effect("mean_ratio").estimate, rel=1e-9)
    assert found.flow.frame()["rows"].tolist()[-1] == len(whole) - gone
    assert any("3 rows left out" in note and "separated" in note for note in found.notes)
    assert any("zero throughout" in note for note in found.notes)


def test_what_cannot_be_estimated_is_said():
    table = panel()
    with pytest.raises(CollinearityError, match=r"treatment \['group'\]: .*nothing of it"):
        poisson_effect(table.assign(group=table["unit"] % 3), "amount", "group", effects=["unit"], cluster="unit")
    with pytest.raises(SettingsError, match="expected at least one term that varies"):
        poisson_effect(table.assign(kind="a"), "amount", "kind", cluster="unit")
    with pytest.raises(NoEventError, match="above zero"):
        poisson_effect(table.assign(amount=0.0), "amount", "treated", effects=["unit"], cluster="unit")
    with pytest.raises(SchemaError, match="at least 0"):
        poisson_effect(table.assign(amount=-1.0), "amount", "treated", effects=["unit"], cluster="unit")
    with pytest.raises(SchemaError, match="not in the table"):
        poisson_effect(table, "amount", "treated", effects=["firm"], cluster="unit")
