"""A real panel of 545 men over eight years: group-time effects and Poisson against formulas written out here.

Joining a union is the treatment; those who are members in the first year have no year before it. The data come with the
package linearmodels (Vella and Verbeek 1998, Journal of Applied Econometrics 13, 163-183).
"""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import GroupTimeOptions, group_time_effects, poisson_effect

wage_panel = pytest.importorskip("linearmodels.datasets.wage_panel")
sm = pytest.importorskip("statsmodels.api")

ROLES = {"outcome": "lwage", "unit": "nr", "time": "year", "first_treated": "joined"}


@pytest.fixture(scope="module")
def men():
    table = wage_panel.load()
    joined = table[table["union"] == 1].groupby("nr")["year"].min()
    return table.assign(joined=table["nr"].map(joined))


def change(men, base, year):
    """Change of log wages between two years, with what was known in the earlier one; one row per man."""
    known = men[men["year"] == min(base, year)].set_index("nr")[["joined", "educ", "exper"]]
    wage = men.pivot(index="nr", columns="year", values="lwage")
    return known.assign(change=wage[year] - wage[base])


def test_without_covariates_every_estimate_is_two_by_two(men):
    found = group_time_effects(men, **ROLES, comparison="never", cluster="nr").table
    assert sorted(found["cohort"].unique()) == list(range(1981, 1988))
    for cell in found.itertuples():
        base = cell.cohort - 1 if cell.time >= cell.cohort else cell.time - 1
        rows = change(men, base, cell.time)
        own, other = (rows.loc[keep, "change"] for keep in (rows["joined"] == cell.cohort, rows["joined"].isna()))
        assert cell.estimate == pytest.approx(own.mean() - other.mean(), abs=1e-12)
        error = np.sqrt(own.var(ddof=0) / len(own) + other.var(ddof=0) / len(other))
        assert cell.std_error == pytest.approx(error, rel=1e-10)
        assert (cell.n_treated, cell.n_comparison) == (len(own), len(other))


def test_doubly_robust_by_regression_and_odds(men):
    found = group_time_effects(men, **ROLES, covariates=["educ", "exper"], comparison="never", cluster="nr")
    cells = found.table.set_index(["cohort", "time"])
    for cohort, year in ((1981, 1984), (1982, 1982), (1987, 1987), (1983, 1981)):
        rows = change(men, cohort - 1 if year >= cohort else year - 1, year)
        rows = rows[(rows["joined"] == cohort) | rows["joined"].isna()]
        treated, x = (
            (rows["joined"] == cohort).to_numpy(),
            sm.add_constant(rows[["educ", "exper"]]).to_numpy(dtype=float),
        )
        odds = np.exp(x @ sm.Logit(treated.astype(float), x).fit(disp=0, tol=1e-12).params)
        expected = x @ sm.OLS(rows["change"].to_numpy()[~treated], x[~treated]).fit().params
        left = rows["change"].to_numpy() - expected
        by_hand = left[treated].mean() - np.average(left[~treated], weights=odds[~treated])
        assert cells.loc[(cohort, year), "estimate"] == pytest.approx(by_hand, abs=1e-8)


def test_averages_by_event_time_weigh_cohorts_by_their_size(men):
    found = group_time_effects(men, **ROLES, comparison="never", cluster="nr")
    at_join = found.table.query("event_time == 0")
    points = found.aggregate("event").table.set_index("time")
    assert points.loc[0, "estimate"] == pytest.approx(np.average(at_join["estimate"], weights=at_join["n_treated"]))
    assert not any("too small" in note for note in found.notes)


def test_small_cohorts_and_missing_overlap_are_said(men):
    few = men[~(men["joined"] == 1985) | men["nr"].isin(men.loc[men["joined"] == 1985, "nr"].unique()[:3])]
    assert any("1985 have fewer than 5" in n for n in group_time_effects(few, **ROLES, cluster="nr").notes)
    apart = men.assign(marked=((men["joined"] == 1985) | (men["nr"] % 2 == 0)).astype(int))  # none of the treated is 0
    found = group_time_effects(apart, **ROLES, covariates=["marked"], comparison="never", cluster="nr").table
    reasons = found.loc[found["cohort"] == 1985, "reason"]
    assert reasons.str.contains("no overlap").all()


@pytest.mark.parametrize("base", ["varying", "universal"])
def test_after_treatment_the_base_period_is_the_same(men, base):
    options = GroupTimeOptions(base_period=base)
    found = group_time_effects(men, **ROLES, cluster="nr", options=options).table
    late = found[found["time"] >= found["cohort"]]
    plain = group_time_effects(men, **ROLES, cluster="nr").table
    pd.testing.assert_frame_equal(
        late.reset_index(drop=True), plain[plain["time"] >= plain["cohort"]].reset_index(drop=True)
    )


def test_poisson_of_hours_is_the_model_with_dummies(men):
    some = men[men["nr"].isin(men["nr"].unique()[:80])]
    found = poisson_effect(some, "hours", "union", controls=["married"], effects=["nr", "year"], cluster="nr")
    dummies = [pd.get_dummies(some[c], prefix=c, drop_first=k > 0, dtype=float) for k, c in enumerate(("nr", "year"))]
    x = pd.concat([some[["union", "married"]].astype(float), *dummies], axis=1)
    fit = sm.GLM(some["hours"].astype(float), x, family=sm.families.Poisson()).fit(tol=1e-13, maxiter=100)
    assert found.coefficients["estimate"].tolist() == pytest.approx(fit.params[["union", "married"]].tolist(), rel=1e-9)
    mean, values = np.asarray(fit.mu), x.to_numpy()
    sums = pd.DataFrame(values * (some["hours"].to_numpy() - mean)[:, None]).groupby(some["nr"].to_numpy()).sum()
    bread = np.linalg.inv((values * mean[:, None]).T @ values)
    errors = np.sqrt(np.diag(bread @ sums.T @ sums @ bread) * 80 / 79)[:2]
    assert found.coefficients["std_error"].tolist() == pytest.approx(errors.tolist(), rel=1e-8)
