"""Normal frailty against dense integration, lme4 with as many points and numerical derivatives; entry, boundary."""

import numpy as np
import pytest
from scipy import integrate, stats

from missie_impact.errors import SettingsError
from missie_impact.numerics.design import Column, Factor, build_design
from missie_impact.numerics.frailty import (
    boundary_p_value,
    fit_gaussian_frailty,
    frailty_loglik_at,
    frailty_scores,
    predicted_effects,
)
from missie_impact.numerics.frailty_data import frailty_data
from missie_impact.numerics.links import get_link


def number(labels):
    return np.unique(labels, return_inverse=True)[1]


def sample(n_clusters=60, seed=2, sd=0.9, entry=False):
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(n_clusters), rng.integers(1, 7, n_clusters))
    x = rng.normal(size=len(cluster))
    eta = -1.0 + 0.5 * x + sd * rng.normal(size=n_clusters)[cluster]
    y = (rng.random(len(cluster)) < -np.expm1(-np.exp(eta))).astype(float)
    before = np.zeros(len(y), dtype=bool)
    if entry:
        before = (rng.random(len(y)) < 0.3) & (y == 0)
    return y, build_design([], [Column("x", x)]), cluster, before


@pytest.mark.parametrize("link", ["cloglog", "logit", "probit"])
@pytest.mark.parametrize("entry", [False, True])
def test_likelihood_is_the_integral(link, entry):
    y, design, cluster, before = sample(n_clusters=25, entry=entry)
    coef, sd, functions = np.array([-0.8, 0.3]), 1.1, get_link(link)
    eta = design.predict(coef)

    def integral(rows):
        def integrand(u):
            return np.exp(functions.terms(y[rows], eta[rows] + sd * u).log_likelihood.sum()) * stats.norm.pdf(u)

        return integrate.quad(integrand, -9, 9, epsabs=0, epsrel=1e-11)[0]

    expected = 0.0
    for g in range(cluster.max() + 1):
        rows, seen = np.flatnonzero(cluster == g), np.flatnonzero((cluster == g) & before)
        expected += np.log(integral(rows)) - (np.log(integral(seen)) if len(seen) else 0.0)
    data = frailty_data(y, design, cluster, before_entry=before)
    assert frailty_loglik_at(coef, sd, data, link=link, points=25) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("entry", [False, True])
@pytest.mark.parametrize("link", ["cloglog", "logit", "probit"])
def test_scores_and_information_are_derivatives(link, entry):
    y, design, cluster, before = sample(entry=entry)
    weight = np.random.default_rng(1).uniform(0.5, 2, cluster.max() + 1)
    data = frailty_data(y, design, cluster, before_entry=before, cluster_weight=weight)
    theta, step = np.array([-0.8, 0.3, 0.9]), 1e-4

    def at(change):
        moved = theta + change
        return frailty_loglik_at(moved[:2], moved[2], data, link=link, points=30)

    score = frailty_scores(theta[:2], theta[2], data, link=link, points=30).sum(axis=0)
    for j in range(3):
        e = step * (np.arange(3) == j)
        assert score[j] == pytest.approx((at(e) - at(-e)) / (2 * step), rel=1e-6, abs=1e-6)
    fit = fit_gaussian_frailty(data, link=link, points=30)
    information = np.linalg.inv(fit.bread)
    best = np.append(fit.coef, fit.sd)
    for j in range(3):
        e = step * (np.arange(3) == j)
        up, down = best + e, best - e
        high, low = (frailty_scores(t[:2], t[2], data, link=link, points=30).sum(axis=0) for t in (up, down))
        np.testing.assert_allclose(information[j], -(high - low) / (2 * step), rtol=1e-4, atol=1e-3)


def check(fit, design, expected, rename=str, rtol=1e-4):
    ours = {rename(t.name): v for t, v in zip(design.terms, fit.coef, strict=True)}
    np.testing.assert_allclose([ours[k] for k in expected["coef"]], list(expected["coef"].values()), rtol=rtol)
    assert fit.sd == pytest.approx(expected["sd"], rel=rtol)
    assert fit.log_likelihood == pytest.approx(expected["loglik"], abs=1e-4)


@pytest.fixture(scope="module")
def kidney(cases):
    table, reference = cases.load("kidney_frailty")
    bins = np.ceil(table["time"] / 30).astype(int)
    rows = table.assign(bins=bins).loc[table.index.repeat(bins)].reset_index()
    t = rows.groupby("index").cumcount() + 1
    rows = rows.assign(
        y=((t == rows["bins"]) & (rows["status"] == 1)).astype(float), lt=np.log(t), female=rows["sex"] == 2
    )
    return rows, reference["discrete"]


@pytest.mark.parametrize(
    ("link", "block"), [("cloglog", "cloglog_normal_adaptive_25"), ("logit", "logit_normal_adaptive_25")]
)
def test_kidney_infections(cases, kidney, link, block):
    rows, reference = kidney
    assert len(rows) == reference["rows"]
    design = cases.design_of(rows, ["lt", "age", "female"])
    data = frailty_data(rows["y"].to_numpy(), design, number(rows["id"]))
    fit = fit_gaussian_frailty(data, link=link, points=25)
    check(fit, design, reference[block], rtol=3e-4)  # lme4's own optimiser stops within this
    if "se" in reference[block]:
        np.testing.assert_allclose(
            fit.std_error, list(reference[block]["se"].values()), rtol=1e-2
        )  # lme4 holds sd fixed
    if link == "cloglog":
        assert fit.log_likelihood_pooled == pytest.approx(reference["cloglog"]["loglik"], rel=1e-10)


def test_points_settle_the_likelihood(kidney, cases):
    rows, _ = kidney
    design = cases.design_of(rows, ["lt", "age", "female"])
    data = frailty_data(rows["y"].to_numpy(), design, number(rows["id"]))
    best = frailty_loglik_at([-0.25, 0.0, 0.0, -1.45], 0.65, data, points=60)
    errors = [abs(frailty_loglik_at([-0.25, 0.0, 0.0, -1.45], 0.65, data, points=q) - best) for q in (3, 7, 15, 25)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-8


def test_real_exporters_with_a_firm_effect(cases):
    table, reference = cases.load("trase_sugar_exporters", keep_default_na=False)
    table = table.rename(columns={"exporter_group": "firm", "country_of_destination": "market"})
    cells = table.groupby(["firm", "market", "year"], as_index=False)["fob"].sum()
    cells["lnd"] = np.log(cells.groupby(["firm", "year"])["market"].transform("size"))
    have = set(zip(cells["firm"], cells["market"], cells["year"], strict=True))
    rows = cells[cells["year"] < 2017]
    keys = list(zip(rows["firm"], rows["market"], rows["year"], strict=True))
    y = np.array([float((f, m, t + 1) not in have) for f, m, t in keys])
    new = np.array([float(t == 2016 and (f, m, 2015) not in have) for f, m, t in keys])
    rows = rows.assign(y16=(rows["year"] == 2016).astype(float), lf=np.log(rows["fob"]), new=new)
    design = cases.design_of(rows, ["y16", "lf", "lnd", "new"])
    data = frailty_data(y, design, number(rows["firm"]))
    for link, points in (("logit", 25), ("cloglog", 25), ("cloglog", 9)):
        expected = reference["exit_firm_frailty"][f"{link}_{points}"]
        fit = fit_gaussian_frailty(data, link=link, points=points)
        check(fit, design, expected, rtol=1e-3 if points == 9 else 2e-4)
        np.testing.assert_allclose(fit.std_error, list(expected["se"].values()), rtol=5e-3)  # lme4 holds sd fixed
        assert fit.p_value < 1e-10 and fit.notes == ()


def test_likelihood_at_given_parameters_of_unemployment_spells(cases):
    table, reference = cases.load("unempdur_discrete_hazard")
    rows = table.loc[table.index.repeat(table["spell"])].reset_index(drop=True)
    t = rows.groupby("id").cumcount() + 1
    exits = (rows[["censor1", "censor2", "censor3"]].sum(axis=1) > 0) & (t == rows["spell"])
    rows = rows.assign(lt=np.log(t), ui=(rows["ui"] == "yes").astype(float))
    design = cases.design_of(rows, ["lt", "ui", "age", "logwage"])
    data = frailty_data(exits.to_numpy(float), design, number(rows["id"]))
    expected = reference["normal_frailty_loglik_at"]
    coef = np.array(expected["coef"])
    for link in ("cloglog", "logit"):
        for name, value in expected[link].items():
            found = frailty_loglik_at(coef, float(name[3:]), data, link=link, points=100)
            assert found == pytest.approx(value, rel=2e-8)  # at sd 2 the rule still moves in the ninth digit


def test_no_frailty_is_the_boundary_and_says_so():
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(300), 4)
    # events spread more evenly over clusters than chance would: the variance wants to be negative
    y = np.tile([1.0, 0.0, 0.0, 1.0], 300)
    design = build_design([], [Column("x", rng.normal(size=1200))])
    fit = fit_gaussian_frailty(frailty_data(y, design, cluster))
    assert fit.sd == 0.0 and fit.p_value == 1.0 and "boundary" in fit.notes[0]
    assert fit.log_likelihood == fit.log_likelihood_pooled


def test_boundary_p_value_is_half_a_chi_squared():
    assert boundary_p_value(2.705543454095404) == pytest.approx(0.05)
    assert boundary_p_value(0.0) == 1.0


def late_entrants(n=2_500, sd=1.0, seed=1):
    """Clusters with yearly exits whose first two years are lost to view: only those who survived them are seen."""
    rng = np.random.default_rng(seed)
    u, treated = rng.normal(size=n), rng.integers(0, 2, n)
    alive, rows = np.ones(n, dtype=bool), []
    for year in range(12):
        exits = alive & (rng.random(n) < -np.expm1(-np.exp(-2.0 - 0.8 * treated + sd * u)))
        rows.append((np.flatnonzero(alive), np.full(alive.sum(), year), exits[alive].astype(float)))
        alive &= ~exits
    unit, year, y = (np.concatenate(v) for v in zip(*rows, strict=True))
    seen = np.isin(unit, unit[year == 2])
    return number(unit[seen]), year[seen], y[seen], treated[unit[seen]]


def test_conditioning_on_entry_recovers_what_survivors_hide():
    unit, year, y, treated = late_entrants()
    design = build_design([Factor("treated", treated, ("0", "1"))], [])
    fit = fit_gaussian_frailty(frailty_data(y, design, unit, before_entry=year < 2), points=9)
    z = (np.append(fit.coef, fit.sd) - [-2.0, -0.8, 1.0]) / np.sqrt(np.diag(fit.bread))
    assert (np.abs(z) < 3).all()
    late = year >= 2
    other = build_design([Factor("treated", treated[late], ("0", "1"))], [])
    naive = fit_gaussian_frailty(frailty_data(y[late], other, number(unit[late])), points=9)
    assert naive.sd < fit.sd and abs(naive.coef[1]) < abs(fit.coef[1])  # survivors look alike and less affected


def test_frequency_order_and_names_do_not_matter():
    y, design, cluster, _ = sample(n_clusters=150)
    one = fit_gaussian_frailty(frailty_data(y, design, cluster), points=9)
    order = np.random.default_rng(0).permutation(len(y))
    x = design.continuous[0][order]
    other = fit_gaussian_frailty(
        frailty_data(y[order], build_design([], [Column("x", x)]), 149 - cluster[order]), points=9
    )
    np.testing.assert_allclose(other.coef, one.coef, rtol=1e-5)
    twice_rows = np.concatenate([np.arange(len(y))] * 2)
    doubled = frailty_data(y, design, cluster, frequency=np.full(len(y), 2.0))
    twice = frailty_data(
        y[twice_rows], build_design([], [Column("x", design.continuous[0][twice_rows])]), cluster[twice_rows]
    )
    assert frailty_loglik_at(one.coef, one.sd, doubled) == pytest.approx(frailty_loglik_at(one.coef, one.sd, twice))
    weighted = fit_gaussian_frailty(frailty_data(y, design, cluster, cluster_weight=np.full(150, 3.0)), points=9)
    np.testing.assert_allclose(weighted.coef, one.coef, rtol=1e-5)


def test_predicted_effects_shrink_towards_zero():
    y, design, cluster, _ = sample(n_clusters=400)
    fit = fit_gaussian_frailty(frailty_data(y, design, cluster))
    mean, spread = predicted_effects(fit.coef, fit.sd, frailty_data(y, design, cluster))
    assert abs(mean.mean()) < 0.02 and mean.std() < fit.sd and (spread < fit.sd + 1e-9).all()
    # law of total variance
    assert np.sqrt(mean.var() + (spread**2).mean()) == pytest.approx(fit.sd, rel=0.03)


def test_bad_rows_are_named():
    y, design, cluster, _ = sample()
    with pytest.raises(SettingsError, match="cluster numbers have no row"):
        frailty_data(y, design, cluster + 1)
    with pytest.raises(SettingsError, match=f"{int(y.sum())} rows before entry have an event"):
        frailty_data(y, design, cluster, before_entry=np.ones(len(y), dtype=bool))
    with pytest.raises(SettingsError, match="at least 3 quadrature points"):
        fit_gaussian_frailty(frailty_data(y, design, cluster), points=1)
