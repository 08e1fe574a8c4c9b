"""Rows without a start column: every estimator with a time at risk reads the same table alike."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import (
    CurveOptions,
    ExitOptions,
    cumulative_incidence,
    exit_diagnostics,
    life_table,
    market_exit,
    median_survival,
    restricted_mean,
    standardised_survival,
    subdistribution_hazard,
    survival_curve,
)
from missie_impact.errors import SettingsError

QUICK = CurveOptions(bands=False, interval="plain")
TYPES = ("smallcell", "adeno", "large")
CONTROLS = ("smallcell", "adeno", "large", "karno", "diagtime", "age", "prior")


@pytest.fixture(scope="module")
def table(make):
    found, _ = make.load("veteran_survival")
    found = found.assign(**{k: (found["celltype"] == k).astype(int) for k in TYPES})
    return found.assign(second=found["trt"] - 1, zero=0, person=np.arange(len(found)))


@pytest.fixture(scope="module")
def reference(make):
    return make.load_reference("veteran_survival")


@pytest.fixture(params=["a start", "no start", "no start, no unit"])
def veterans(make, table, request):
    roles = {"outcome": "status", "treatment": "second", "duration": "time"}
    roles |= {} if request.param == "no start, no unit" else {"firm": "person"}
    return make.risk_set(table, **roles, **({"start": "zero"} if request.param == "a start" else {}))


def at(curve, arm, times, column="estimate"):
    rows = curve.table[curve.table["arm"] == arm]
    return [float(rows[rows["time"] <= t].iloc[-1][column]) for t in times]


ARMS = (("untreated", "trt1"), ("treated", "trt2"))


def test_curves_and_incidence_of_subjects(veterans, reference):
    expected = reference["km_plain"]
    curve = survival_curve(veterans, cluster=None, options=QUICK)
    incidence = cumulative_incidence(veterans, cluster=None, options=QUICK)
    for arm, name in ARMS:
        survival = expected[name]["surv"]
        assert at(curve, arm, expected["times"]) == pytest.approx(survival, rel=1e-8)
        assert at(curve, arm, expected["times"], "std_error") == pytest.approx(expected[name]["se"], rel=1e-6)
        assert at(incidence, arm, expected["times"]) == pytest.approx(1 - np.array(survival), rel=1e-8)


def test_median_mean_and_life_table_of_subjects(veterans, reference):
    quartiles = median_survival(veterans, cluster=None, shares=(0.25, 0.5, 0.75), options=QUICK)
    table = life_table(veterans, cluster=None, breaks=(0, 10, 30, 60, 90, 180, 365))
    mean, months = restricted_mean(veterans, cluster=None, horizon=365), reference["rmst_365"]
    for arm, name in ARMS:
        found = quartiles.loc[quartiles["arm"] == arm, "estimate"].tolist()
        assert found == pytest.approx(reference["km_plain"]["quartiles"][name])
        survival = table.loc[table["arm"] == arm, "survival"].tolist()
        assert survival == pytest.approx(reference["km_plain"][name]["surv"], rel=1e-8)
        world = mean.effect(f"restricted_mean_with{'out' if arm == 'untreated' else ''}")
        assert world.estimate == pytest.approx(months[name], rel=1e-8)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_of_subjects(veterans, reference, ties):
    effect = market_exit(veterans, model="cox", controls=CONTROLS, cluster=None, options=ExitOptions(ties=ties))
    expected = reference[f"cox_{ties}"]["coef"]
    assert effect.effect("log_hazard").estimate == pytest.approx(expected["trt"], rel=1e-6)
    assert effect.effect("log_hazard").std_error == pytest.approx(reference[f"cox_{ties}"]["se"]["trt"], rel=1e-6)
    assert effect.groups[0].log_likelihood == pytest.approx(reference[f"cox_{ties}"]["loglik"], rel=1e-10)


def test_proportionality_of_subjects(veterans, reference):
    effect = exit_diagnostics(veterans, model="cox", controls=CONTROLS, cluster=None)
    table = effect.proportionality.set_index("term")
    assert table.loc["second", "statistic"] == pytest.approx(reference["ph_test"]["km"]["chisq"]["trt"], rel=1e-5)


def test_subdistribution_of_one_cause_is_the_cox_model(veterans, reference):
    effect = subdistribution_hazard(veterans, cluster=None, controls=CONTROLS)
    expected = reference["cox_breslow"]["coef"]["trt"]
    assert effect.effect("log_subdistribution_hazard").estimate == pytest.approx(expected, rel=1e-6)


def test_hazards_of_periods_refuse_whole_spells(veterans):
    with pytest.raises(SettingsError, match="equally long"):
        standardised_survival(veterans, cluster=None, controls=None)


@pytest.fixture(scope="module")
def years():
    """120 firms followed up to four years, one row a year, half of them with a mission."""
    rng = np.random.default_rng(4)
    last = rng.integers(1, 5, 120)
    table = pd.DataFrame({"firm": np.repeat(np.arange(120), last)})
    table["year"] = table.groupby("firm").cumcount() + 1
    gone = (rng.random(120) < 0.7)[table["firm"]] & (table["year"].to_numpy() == last[table["firm"]])
    return table.assign(treated=table["firm"] % 2, outcome=gone.astype(int), before=table["year"] - 1)


@pytest.mark.parametrize("named", [{"firm": "firm"}, {}], ids=["firm", "no unit"])
def test_rows_of_years_cover_one_year_each(make, years, named):
    plain = make.risk_set(years, duration="year", **named)
    told = make.risk_set(years, duration="year", start="before", **named)
    curves = [survival_curve(r, cluster=None, options=QUICK) for r in (plain, told)]
    pd.testing.assert_frame_equal(curves[0].table, curves[1].table)
    treated = years[years["treated"] == 1]
    by_year = treated.groupby("year")["outcome"].agg(["sum", "size"])  # by hand: exits over rows of the year
    assert at(curves[0], "treated", [1, 2, 3, 4]) == pytest.approx((1 - by_year["sum"] / by_year["size"]).cumprod())
    pairs = [market_exit(r, model="cox", controls=None, cluster=None) for r in (plain, told)]
    assert pairs[0].effect("log_hazard").estimate == pairs[1].effect("log_hazard").estimate
    assert any("one unit of time" in note for note in curves[0].notes)
    assert any("name firm= or start=" in note for note in curves[0].notes) == (not named)


def test_standardised_curves_of_years(make, years):
    plain, told = (
        standardised_survival(
            make.risk_set(years, duration="year", firm="firm", **roles), cluster="firm", controls=None, options=QUICK
        )
        for roles in ({}, {"start": "before"})
    )
    pd.testing.assert_frame_equal(plain.table, told.table)
    hazards = [
        market_exit(make.risk_set(years, duration="year", firm="firm", **roles), cluster="firm", controls=None)
        for roles in ({}, {"start": "before"})
    ]
    assert hazards[0].effect("survival_difference_3").estimate == hazards[1].effect("survival_difference_3").estimate
