"""Gamma frailty in closed form: against R's direct maximisation, dense integration and numerical derivatives."""

import numpy as np
import pytest
from scipy import integrate, stats

from missie_impact.errors import SettingsError
from missie_impact.numerics.design import Column, Factor, build_design
from missie_impact.numerics.frailty_data import frailty_data
from missie_impact.numerics.gamma_frailty import fit_gamma_frailty, gamma_loglik_at, gamma_scores
from missie_impact.validity.frailty_recovery import late_entrants


def number(labels):
    return np.unique(labels, return_inverse=True)[1]


def sample(n_clusters=25, seed=0, entry=False):
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(n_clusters), rng.integers(1, 7, n_clusters))
    y = (rng.random(len(cluster)) < 0.35).astype(float)
    before = (rng.random(len(y)) < 0.4) & (y == 0) if entry else np.zeros(len(y), dtype=bool)
    return y, build_design([], [Column("x", rng.normal(size=len(y)))]), cluster, before


@pytest.mark.parametrize("entry", [False, True])
def test_likelihood_is_the_integral(entry):
    y, design, cluster, before = sample(entry=entry)
    coef, variance = np.array([-0.8, 0.3]), 0.7
    rate = np.exp(design.predict(coef))

    def integral(rows):
        def integrand(w):
            p = -np.expm1(-w * rate[rows])
            return np.prod(np.where(y[rows] > 0, p, 1 - p)) * stats.gamma.pdf(w, 1 / variance, scale=variance)

        return integrate.quad(integrand, 0, np.inf, epsabs=0, epsrel=1e-10)[0]

    expected = 0.0
    for g in range(cluster.max() + 1):
        rows, seen = np.flatnonzero(cluster == g), np.flatnonzero((cluster == g) & before)
        expected += np.log(integral(rows)) - (np.log(integral(seen)) if len(seen) else 0.0)
    found = gamma_loglik_at(coef, variance, frailty_data(y, design, cluster, before_entry=before))
    assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("entry", [False, True])
def test_scores_are_derivatives(entry):
    y, design, cluster, before = sample(60, entry=entry)
    data = frailty_data(y, design, cluster, before_entry=before, cluster_weight=np.linspace(0.5, 2, 60))
    theta, step = np.array([-0.8, 0.3, np.log(0.7)]), 1e-5
    score = gamma_scores(theta[:2], np.exp(theta[2]), data).sum(axis=0)
    for j in range(3):
        up, down = theta + step * (np.arange(3) == j), theta - step * (np.arange(3) == j)
        values = [gamma_loglik_at(t[:2], np.exp(t[2]), data) for t in (up, down)]
        assert score[j] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-6)


def test_unemployment_spells(cases):
    table, reference = cases.load("unempdur_discrete_hazard")
    rows = table.loc[table.index.repeat(table["spell"])].reset_index(drop=True)
    t = rows.groupby("id").cumcount() + 1
    exits = (rows[["censor1", "censor2", "censor3"]].sum(axis=1) > 0) & (t == rows["spell"])
    rows = rows.assign(lt=np.log(t), ui=(rows["ui"] == "yes").astype(float))
    design = cases.design_of(rows, ["lt", "ui", "age", "logwage"])
    fit = fit_gamma_frailty(frailty_data(exits.to_numpy(float), design, number(rows["id"])))
    expected = reference["any_cloglog_gamma_frailty"]
    assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    cases.assert_matches(fit.coef, design, expected["coef"], rtol=1e-6)
    cases.assert_matches(fit.std_error, design, expected["se"], rtol=1e-5)  # both Hessians are numerical
    assert fit.variance == pytest.approx(expected["sd_or_var"], rel=1e-6)
    assert np.sqrt(fit.bread[-1, -1]) == pytest.approx(expected["se_log_sd_or_var"], rel=1e-5)
    assert 2 * (fit.log_likelihood - fit.log_likelihood_pooled) == pytest.approx(expected["lr_vs_none"], rel=1e-8)
    assert fit.p_value == pytest.approx(expected["lr_p_half_chi2"], rel=1e-6)


def test_entry_recovers_the_effect_at_the_origin():
    rng = np.random.default_rng(3)
    n, variance = 3_000, 0.8
    w, treated = rng.gamma(1 / variance, variance, n), rng.integers(0, 2, n)
    alive, parts = np.ones(n, dtype=bool), []
    for year in range(12):
        exits = alive & (rng.random(n) < -np.expm1(-w * np.exp(-1.6 - 0.8 * treated)))
        parts.append((np.flatnonzero(alive), np.full(alive.sum(), year), exits[alive].astype(float)))
        alive &= ~exits
    unit, year, y = (np.concatenate(v) for v in zip(*parts, strict=True))
    seen = np.isin(unit, unit[year == 2])
    unit, year, y = unit[seen], year[seen], y[seen]
    design = build_design([Factor("treated", treated[unit], ("0", "1"))], [])
    fit = fit_gamma_frailty(frailty_data(y, design, number(unit), before_entry=year < 2))
    truth = np.array([-1.6, -0.8, np.log(variance)])
    z = (np.append(fit.coef, np.log(fit.variance)) - truth) / np.sqrt(np.diag(fit.bread))
    assert (np.abs(z) < 3).all()
    late = year >= 2
    other = build_design([Factor("treated", treated[unit[late]], ("0", "1"))], [])
    naive = fit_gamma_frailty(frailty_data(y[late], other, number(unit[late])))
    assert naive.variance < fit.variance and abs(naive.coef[1]) < abs(fit.coef[1])


def test_boundary_and_too_many_events():
    y = np.tile([1.0, 0.0, 0.0, 1.0], 200)
    design = build_design([], [Column("x", np.random.default_rng(0).normal(size=800))])
    fit = fit_gamma_frailty(frailty_data(y, design, np.repeat(np.arange(200), 4)))
    assert fit.variance == 0.0 and fit.p_value == 1.0 and "boundary" in fit.notes[0]
    with pytest.raises(SettingsError, match="found 400 in one cluster"):
        fit_gamma_frailty(frailty_data(y, design, np.zeros(800, dtype=int)))


def test_a_step_far_beyond_the_maximum_is_not_taken():
    # a draw in which Newton's first step from the best start leads to a log variance of 649
    rows = late_entrants(4_000, 700_292, "gamma")
    treated = Factor("treated", rows["treated"].to_numpy(), ("0", "1"))
    design = build_design([treated], [Column("x", rows["x"].to_numpy())])
    outcome, before = rows["outcome"].to_numpy(float), rows["before_entry"].to_numpy() == 1
    data = frailty_data(outcome, design, number(rows["unit"]), before_entry=before)
    fit = fit_gamma_frailty(data)
    assert fit.gradient < 1e-7
    at = [gamma_loglik_at(fit.coef, fit.variance * f, data) for f in (0.8, 1.25)]
    assert max(at) < fit.log_likelihood
