"""Random effects through the estimator: R's values, brute-force integrals and sandwiches, late entry, bad input."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from missie_impact.effects.fitting.rows import Request
from missie_impact.effects.leaving.frailty import Frailty, frailty_effect
from missie_impact.errors import MicrodataError, SettingsError
from missie_impact.numerics.links import get_link
from missie_impact.risksets.riskset import RiskSet
from missie_impact.validity.frailty_recovery import late_entrants, recover_frailty

DATA = Path(__file__).parents[1] / "data" / "kidney_frailty"
ROLES = {"outcome": "outcome", "treatment": "treated", "firm": "unit", "duration": "duration"}


def fit(table, request=None, frailty=None, link="cloglog", roles=ROLES, **more):
    request = request or Request(["x"], cluster=("firm",))
    return frailty_effect(RiskSet.from_frame(table, **roles), request, frailty or Frailty("firm"), link, **more)


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_kidney_infections_as_in_lme4(link):
    table = pd.read_csv(DATA / "data.csv")
    reference = json.loads((DATA / "reference.json").read_text())["discrete"]
    bins = np.ceil(table["time"] / 30).astype(int)
    rows = table.assign(bins=bins).loc[table.index.repeat(bins)].reset_index()
    t = rows.groupby("index").cumcount() + 1
    event = ((t == rows["bins"]) & (rows["status"] == 1)).astype(int)
    rows = rows.assign(event=event, lt=np.log(t), female=(rows["sex"] == 2).astype(int))
    roles = {"outcome": "event", "treatment": "female", "firm": "id"}
    found = fit(rows, Request(["lt", "age"], cluster=("firm",)), Frailty("firm", points=25), link, roles)
    expected = reference[f"{link}_normal_adaptive_25"]
    coef = found.coefficients["estimate"]
    for name, value in expected["coef"].items():
        assert coef[name] == pytest.approx(value, rel=3e-4)  # where lme4's optimiser stops
    assert found.effect("frailty_sd").estimate == pytest.approx(expected["sd"], rel=3e-4)
    assert found.groups[0].log_likelihood == pytest.approx(expected["loglik"], abs=1e-4)


@pytest.fixture(scope="module")
def small():
    return late_entrants(260, 5)


@pytest.mark.parametrize(
    ("link", "distribution"), [("cloglog", "gaussian"), ("logit", "gaussian"), ("cloglog", "gamma")]
)
def test_survival_of_the_treated_is_the_integral_given_entry(small, link, distribution):
    request = Request(["x"], classes=("duration", (1, 5)), cluster=("firm",))
    made = fit(small, request, Frailty("firm", distribution, points=25), link, horizon=3)
    b, log_survival = made.coefficients["estimate"], get_link(link).log_survival
    variance = made.effect("frailty_variance").estimate
    assert variance > 0
    mixing = stats.gamma(1 / variance, scale=variance)

    def integral(eta):
        if distribution == "gamma":
            return integrate.quad(
                lambda w: np.exp(log_survival(eta + np.log(w)).sum()) * mixing.pdf(w), 0, np.inf, epsrel=1e-10
            )[0]
        sd = np.sqrt(variance)
        return integrate.quad(
            lambda u: np.exp(log_survival(eta + sd * u).sum()) * stats.norm.pdf(u), -9, 9, epsabs=0, epsrel=1e-10
        )[0]

    def eta(x, arm, duration):
        return b["(Intercept)"] + b["treated"] * arm + b["x"] * x + b["duration[5+]"] * (duration >= 5)

    treated = small[(small["treated"] == 1) & (small["duration"] == 3)]
    for arm, world in ((1, "with"), (0, "without")):
        expected = []
        for x in treated["x"]:
            early = eta(x, 1, np.array([1, 2]))
            ahead = eta(x, arm, np.array([3, 4, 5]))
            expected.append(integral(np.concatenate([early, ahead])) / integral(early))
        assert made.effect(f"survival_{world}_3").estimate == pytest.approx(np.mean(expected), rel=2e-6)


def test_errors_are_sandwiches_of_units_summed_by_cluster(small):
    table = small.assign(province=small["unit"] % 40)
    made = fit(table, Request(["x"], cluster=("province", None)), keep_fit=True)
    kept = made.fits["all"]
    codes = kept.keys["unit"].to_numpy() % 40
    sums = np.array([kept.scores[codes == c].sum(axis=0) for c in range(40)])
    bread = kept.model.bread
    expected = np.sqrt(np.diag(40 / 39 * bread @ sums.T @ sums @ bread))
    np.testing.assert_allclose(made.coefficients["std_error"], expected[:-1], rtol=1e-10)
    assert made.effect("log_hazard").std_error == pytest.approx(expected[1], rel=1e-10)
    sd = made.effect("frailty_sd").estimate
    assert made.effect("frailty_variance").std_error == pytest.approx(2 * expected[-1] / sd, rel=1e-10)
    model = made.with_vcov("model").coefficients["std_error"]
    np.testing.assert_allclose(model, np.sqrt(np.diag(bread))[:-1], rtol=1e-10)


def test_likelihood_and_predicted_effects_stay_in_the_session(small):
    made = fit(small, keep_fit=True)
    kept, variance = made.fits["all"], made.effect("frailty_variance").estimate
    best = kept.loglik_at(kept.model.coef, variance)
    assert best == pytest.approx(made.groups[0].log_likelihood, rel=1e-12)
    assert all(kept.loglik_at(kept.model.coef, variance * f) < best for f in (0.8, 1.2))
    effects = kept.predicted_effects()
    assert len(effects) == small["unit"].nunique() and (effects["std_dev"] ** 2 < variance).all()
    with pytest.raises(MicrodataError):
        pickle.dumps(made)
    pickle.dumps(made.without_fit())
    assert "unit" not in repr(made) and made.fits["all"].__repr__().endswith("cannot be saved)")


def test_quadrature_settles_with_points(small):
    asked = [Frailty("firm", points=q, most_points=q) for q in (3, 5, 9, 15, 31)]
    found = [fit(small, frailty=frailty).effect("log_hazard").estimate for frailty in asked]
    error = np.abs(np.array(found[:-1]) - found[-1])
    assert (np.diff(error) < 0).all() and error[-1] < 1e-5


def test_points_are_raised_until_the_likelihood_is_settled(small):
    raised, fixed = (fit(small, frailty=Frailty("firm", points=3, most_points=q), keep_fit=True) for q in (96, 3))
    exact = fit(small, frailty=Frailty("firm", points=48)).effect("log_hazard").estimate
    assert any("quadrature points raised from 3 to" in note for note in raised.notes)
    assert any("do not take it as settled" in note for note in fixed.notes)
    assert raised.effect("log_hazard").estimate == pytest.approx(exact, abs=1e-4)
    assert abs(fixed.effect("log_hazard").estimate - exact) > 1e-3
    # scores, survival and predicted effects go with the points that were used
    kept = raised.fits["all"]
    assert kept.frailty.points == kept.model.points > 3
    np.testing.assert_allclose(kept.scores.sum(axis=0), 0.0, atol=1e-4)


def test_conditioning_on_entry_recovers_effect_and_variance():
    summary = recover_frailty(12, seed=1, units=4_000).set_index(["likelihood", "parameter"])
    right, wrong = summary.loc["conditional on entry"], summary.loc["entry ignored"]
    assert (right["bias"].abs() < 3 * right["bias_error"]).all()
    # survivors look alike and less affected
    assert wrong.loc["log_hazard", "bias"] > 3 * wrong.loc["log_hazard", "bias_error"]
    assert wrong.loc["frailty_variance", "bias"] < -3 * wrong.loc["frailty_variance", "bias_error"]


def test_bad_input_is_named(small):
    late = small[small["before_entry"] == 0]
    with pytest.raises(SettingsError, match=f"{late['unit'].nunique()} of {late['unit'].nunique()} spells are first"):
        fit(late)
    half = small[small["duration"] > 1]
    with pytest.raises(SettingsError, match="not from the origin on"):
        fit(half)
    with pytest.raises(SettingsError, match="lie in several clusters"):
        fit(small.assign(row=np.arange(len(small))), Request(["x"], cluster=("row",)))
    weighted = small.assign(w=1.0 + small["duration"])
    with pytest.raises(SettingsError, match="probability weights differ"):
        fit(weighted, roles=ROLES | {"probability": "w"})
    with pytest.raises(SettingsError, match="gamma effect multiplies a hazard"):
        fit(small, frailty=Frailty("firm", "gamma"), link="logit")
    with pytest.raises(SettingsError, match="expected 'gaussian' or 'gamma'"):
        Frailty("firm", "normal")


def test_firm_means_look_back_only(small):
    table = small.assign(z=np.random.default_rng(0).normal(size=len(small)))
    first = fit(table, Request(["z"], cluster=("firm",)), Frailty("firm", mundlak=True), keep_fit=True)
    last = table["duration"] == table.groupby("unit")["duration"].transform("max")
    assert "firm_mean_z" in first.coefficients.index
    # the last row's value enters its own mean only: by hand
    rows = table.sort_values(["unit", "duration"])
    mean = rows.groupby("unit")["z"].expanding().mean().reset_index(level=0, drop=True)
    by_hand = fit(
        rows.assign(firm_mean_z=mean), Request(["z", "firm_mean_z"], cluster=("firm",)), Frailty("firm"), keep_fit=True
    )
    assert last.any()
    assert by_hand.effect("log_hazard").estimate == pytest.approx(first.effect("log_hazard").estimate, rel=1e-6)


def test_unit_weights_count_as_repeated_units(small):
    weight = 1.0 + small["unit"] % 2
    weighted = fit(small.assign(w=weight), roles=ROLES | {"probability": "w"})
    twice = pd.concat([small, small[small["unit"] % 2 == 1].assign(unit=lambda t: t["unit"] + 10_000)])
    repeated = fit(twice)
    assert weighted.effect("log_hazard").estimate == pytest.approx(repeated.effect("log_hazard").estimate, rel=1e-6)


def test_a_variance_of_zero_with_rows_before_entry_says_what_it_rests_on():
    # no effect at all, and a hazard before entry that is twice the one assumed
    rng, parts, alive = np.random.default_rng(12), [], np.ones(3_000, dtype=bool)
    treated = rng.integers(0, 2, 3_000)
    for year in range(1, 6):
        exits = alive & (rng.random(3_000) < (0.4 if year < 3 else 0.2))
        at = np.flatnonzero(alive)
        parts.append(pd.DataFrame({"unit": at, "duration": year, "outcome": exits[at].astype(int)}))
        alive &= ~exits
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[rows["unit"].isin(rows.loc[rows["duration"] == 3, "unit"])]
    rows = rows.assign(treated=treated[rows["unit"]], before_entry=(rows["duration"] < 3).astype(int))
    made = fit(rows, Request(None, cluster=("firm",)))
    assert made.effect("frailty_variance").estimate == 0.0
    assert any("rests on the hazard assumed for the years before entry" in note for note in made.notes)
    whole = fit(rows.assign(before_entry=0), Request(None, cluster=("firm",)))
    assert not any("rests on the hazard" in note for note in whole.notes)
