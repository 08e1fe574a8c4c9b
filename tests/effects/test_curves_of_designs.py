"""Curves of weighted designs: errors count that the weights were estimated, as leaving firms out one by one shows."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.design import weight
from missie_impact.effects import market_exit, restricted_mean, standardised_survival, survival_curve
from missie_impact.effects.survival.points import CurveOptions
from missie_impact.numerics.cox import cox_data, cox_score_residuals, fit_cox
from missie_impact.risksets.riskset import RiskSet

FIRMS = 50


@pytest.fixture(scope="module")
def years():
    """Yearly rows of firms whose x drives both who is treated and who leaves: weights that know x take much away."""
    rng = np.random.default_rng(8)
    units, rows = FIRMS * 8, []
    firm, x = np.repeat(np.arange(FIRMS), 8), rng.normal(size=FIRMS)[np.repeat(np.arange(FIRMS), 8)]
    x = x + 0.5 * rng.normal(size=units)
    treated = (rng.random(units) < 1 / (1 + np.exp(0.6 - 1.1 * x))).astype(int)
    alive = np.ones(units, dtype=bool)
    for year in range(1, 4):
        exits = alive & (rng.random(units) < -np.expm1(-np.exp(-1.0 - 0.9 * x - 0.3 * treated)))
        at = np.flatnonzero(alive)
        rows.append(pd.DataFrame({"unit": at, "year": year, "left": exits[at].astype(int)}))
        alive &= ~exits
    table = pd.concat(rows, ignore_index=True)
    unit = table["unit"].to_numpy()
    return table.assign(firm=firm[unit], x=x[unit], treated=treated[unit], start=table["year"] - 1)


def designed(table):
    risk = RiskSet.from_frame(
        table, outcome="left", treatment="treated", firm="firm", market="unit", duration="year", start="start"
    )
    return weight(risk, on=["x"])


def of_curve(made):
    return made.table[(made.table["arm"].isin(["untreated", "without"])) & (made.table["time"] == 3)]


CASES = {
    "Kaplan-Meier": lambda design: of_curve(survival_curve(design, cluster="firm", options=CurveOptions(bands=False))),
    "standardised": lambda design: of_curve(
        standardised_survival(design, cluster="firm", controls=None, options=CurveOptions(bands=False))
    ),
}


def of_case(case, design):
    if case in CASES:
        line = CASES[case](design).iloc[0]
        return float(line["estimate"]), float(line["std_error"])
    if case == "restricted mean":
        found = restricted_mean(design, cluster="firm", horizon=3).effect("restricted_mean_without")
    elif case == "Cox":
        found = market_exit(design, cluster="firm", controls=None, model="cox").effect("log_hazard")
    else:
        found = market_exit(design, cluster="firm", controls=None).effect("survival_without_3")
    return found.estimate, found.std_error


@pytest.mark.parametrize("case", [*CASES, "restricted mean", "market exit", "Cox"])
def test_errors_are_those_of_leaving_firms_out_weights_and_all(years, case):
    design = designed(years)
    estimate, error = of_case(case, design)
    left = np.array([of_case(case, designed(years[years["firm"] != g]))[0] for g in range(FIRMS)])
    jackknife = np.sqrt((FIRMS - 1) / FIRMS * ((left - left.mean()) ** 2).sum())
    assert error == pytest.approx(jackknife, rel=0.08)  # second-order terms of 50 firms
    # the same weights as numbers that came with the table: another error, further from the jackknife
    known = design.risk.collect().assign(w=np.asarray(design.weight))
    roles = {"outcome": "left", "treatment": "treated", "firm": "firm", "market": "unit", "duration": "year"}
    given = RiskSet.from_frame(known[known["w"] > 0], start="start", probability="w", **roles)
    same, other = of_case(case, given)
    assert same == pytest.approx(estimate, rel=1e-8)
    assert abs(other - jackknife) > 1.5 * abs(error - jackknife)


def test_the_notes_say_which_errors_these_are(years):
    design = designed(years)
    counted, known = "errors count the estimation of the weights", "weights are taken as known in the errors"
    options = CurveOptions(bands=False)
    assert counted in survival_curve(design, cluster="firm", options=options).notes
    assert counted in standardised_survival(design, cluster="firm", controls=None, options=options).notes
    table = years.assign(w=1.0 + years["unit"] % 2)
    risk = RiskSet.from_frame(
        table, outcome="left", treatment="treated", firm="firm", market="unit", duration="year", start="start",
        probability="w",
    )  # fmt: skip
    assert known in survival_curve(risk, cluster="firm", options=options).notes


def test_a_cox_coefficient_moves_with_the_weights_as_its_influences_say(years):
    rng = np.random.default_rng(4)
    x, time = years["x"].to_numpy(), rng.exponential(size=len(years))
    columns = np.column_stack([years["treated"], rng.normal(size=len(years))]).astype(float)
    event = years["left"].to_numpy() == 1

    def fitted(move):
        data = cox_data(columns, time, event, weight=np.exp((0.4 + move) * x))
        return data, fit_cox(data)

    data, fit = fitted(0.0)
    influence = cox_score_residuals(data, fit.coef) @ fit.bread
    step = 1e-5
    expected = (fitted(step)[1].coef - fitted(-step)[1].coef) / (2 * step)
    np.testing.assert_allclose(influence.T @ x, expected, rtol=1e-5)  # d log weight / d parameter is x
