"""Bootstraps by cluster against analytic errors, and a wild bootstrap against all its sign patterns."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from missie_impact.design import match, weight
from missie_impact.effects import Bootstrap, CrossFit, FitOptions, WildBootstrap, structural_transition
from missie_impact.effects.fitting.bootstrap import redrawn
from missie_impact.effects.fitting.rows import Request, read_rows
from missie_impact.errors import SettingsError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.design import Column, build_design
from missie_impact.numerics.resampled import fit_many

DRAWS = 1000
WITHIN = 0.05 + 2 * np.sqrt(1 / (2 * DRAWS))  # 5% and two Monte-Carlo errors of a standard deviation
OPTIONS = FitOptions(bootstrap=Bootstrap(draws=DRAWS, seed=5, progress=False))
ASK = {"controls": ["x", "z"], "cluster": "firm"}


def table(seed=3, firms=300, n=1500):
    r = np.random.default_rng(seed)
    firm = r.integers(0, firms, n)
    common = r.normal(0, 0.7, firms)[firm]
    x, z = r.normal(size=n) + 0.3 * common, (r.random(n) < 0.4).astype(int)
    treated = (r.random(n) < 1 / (1 + np.exp(0.8 - 0.6 * x - 0.4 * z))).astype(int)
    outcome = (r.random(n) < 1 / (1 + np.exp(0.5 - 0.7 * treated - 0.5 * x + 0.4 * z - 0.6 * common))).astype(int)
    return pd.DataFrame({"firm": firm, "x": x, "z": z, "treated": treated, "outcome": outcome})


@pytest.fixture(scope="module")
def risk(make):
    return make.risk_set(table(), firm="firm")


def sources(risk):
    return {
        "risk": risk,
        "att": weight(risk, on=["x", "z"]),
        "ate": weight(risk, on=["x", "z"], estimand="ate"),
        "entropy": weight(risk, on=["x", "z"], method="entropy"),
        "entropy of both arms": weight(risk, on=["x", "z"], estimand="ate", method="entropy"),
    }


@pytest.mark.parametrize(
    ("source", "estimator", "standardise"),
    [
        ("risk", "regression", "treated"),
        ("risk", "weighting", "treated"),
        ("risk", "weighting", "all"),
        ("risk", "weighting", "overlap"),
        ("risk", "doubly_robust", "treated"),
        ("risk", "doubly_robust", "all"),
        ("att", "regression", None),
        ("ate", "weighting", None),
        ("entropy", "regression", None),
        ("entropy of both arms", "weighting", None),
        ("ate", "doubly_robust", None),
    ],
)
def test_errors_agree_with_a_bootstrap_of_firms(risk, source, estimator, standardise):
    effect = structural_transition(
        sources(risk)[source], estimator=estimator, standardise=standardise, options=OPTIONS, **ASK
    )
    drawn = effect.bootstrap.set_index("scale")
    analytic = effect.tidy().set_index("scale")["std_error"]
    assert (np.abs(analytic / drawn["std_error"] - 1) < WITHIN).all()
    assert (drawn["failed"] == 0).all() and (drawn["draws"] == DRAWS).all()
    assert ((drawn["conf_low"] < drawn["estimate"]) & (drawn["estimate"] < drawn["conf_high"])).all()
    second = effect.with_vcov("firm, bootstrap").tidy().set_index("scale")["std_error"]
    np.testing.assert_allclose(second, drawn["std_error"], rtol=1e-10)


def test_a_draw_is_a_fit_on_the_rows_it_names(risk):
    """Every step estimated again on the drawn rows written out, by the public function itself."""
    for estimator, cross_fit in (("regression", CrossFit()), ("weighting", CrossFit()),
                                 ("doubly_robust", CrossFit(folds=1))):  # fmt: skip
        effect = structural_transition(
            risk, estimator=estimator, options=FitOptions(bootstrap=Bootstrap(draws=50, seed=2), cross_fit=cross_fit),
            **ASK,
        )  # fmt: skip
        rows = risk.collect()
        firms = pd.factorize(rows["firm"], sort=True)[0]
        random = np.random.default_rng(2)
        count = firms.max() + 1
        times = np.bincount(random.integers(0, count, count), minlength=count)[firms]
        long = rows.loc[rows.index.repeat(times)]
        again = structural_transition(
            type(risk).from_frame(long, outcome="outcome", treatment="treated", firm="firm"),
            estimator=estimator, options=FitOptions(cross_fit=cross_fit), **ASK,
        )  # fmt: skip
        np.testing.assert_allclose(effect.groups[0].draws[0], again.groups[0].values, rtol=1e-6)


def test_matched_sets_are_drawn_and_never_matched_again(risk):
    design = match(risk, on=["x", "z"], caliper_sd=0.2, seed=1)
    effect = structural_transition(design, estimator="weighting", options=OPTIONS, **ASK)
    assert any("draws of matched sets, never matched again" in note for note in effect.notes)
    sets, used = design.sets, design.sets >= 0
    rows = risk.collect()
    on = rows["treated"].to_numpy()[used] == 1
    # a draw of pairs: the difference of the arms' means is a mean over pairs
    pairs = pd.Series(np.where(on, 1, -1) * rows["outcome"].to_numpy()[used]).groupby(sets[used]).sum()
    expected = pairs.std(ddof=1) / np.sqrt(len(pairs))
    found = effect.bootstrap.set_index("scale").loc["risk_difference", "std_error"]
    assert abs(found / expected - 1) < 2 * np.sqrt(1 / (2 * DRAWS)) + 0.01


def test_subgroups_share_the_draws_and_a_seed_gives_the_same(risk):
    options = FitOptions(bootstrap=Bootstrap(draws=60, seed=9))
    one, other = (structural_transition(risk, by="z", options=options, **ASK) for _ in range(2))
    pd.testing.assert_frame_equal(one.bootstrap, other.bootstrap)
    assert list(one.bootstrap["group"].unique()) == ["all", "z=0", "z=1"]
    plain = structural_transition(risk, by="z", **ASK)
    pd.testing.assert_frame_equal(one.tidy(), plain.tidy())
    assert plain.bootstrap.empty


def test_what_cannot_be_drawn_is_refused(risk):
    options = FitOptions(bootstrap=Bootstrap(draws=50))
    with pytest.raises(SettingsError, match="with replacement"):
        structural_transition(match(risk, on=["x"], replace=True, seed=1), options=options, **ASK)
    with pytest.raises(SettingsError, match="one dimension"):
        structural_transition(risk, controls=["x"], cluster=["firm", "z"], options=options)
    with pytest.raises(SettingsError, match="at least 50"):
        Bootstrap(draws=3)


def test_an_interrupted_bootstrap_keeps_what_it_has(risk, monkeypatch):
    rows = read_rows(risk, Request(None, cluster=("firm",)))
    monkeypatch.setattr("missie_impact.effects.fitting.bootstrap.NUMBERS_AT_A_TIME", 30 * rows.n)
    calls = []

    def slow(times):
        calls.append(len(times))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return np.zeros((len(times), 2))

    assert len(redrawn(rows, slow, Bootstrap(draws=500, progress=False), "all")) == 90
    calls[:] = [0, 0]
    with pytest.raises(KeyboardInterrupt):
        redrawn(rows, slow, Bootstrap(draws=500, progress=False), "all")


def test_many_fits_are_the_fits_one_by_one():
    r = np.random.default_rng(0)
    x = r.normal(size=400)
    y = (r.random(400) < 1 / (1 + np.exp(-x))).astype(float)
    weights = r.integers(0, 3, (4, 400)).astype(float)
    design = build_design([], [Column("x", x)])
    found = fit_many(y, design.written_out(), weights, np.zeros(2))
    for weight_of, coef in zip(weights, found, strict=True):
        np.testing.assert_allclose(coef, fit_binomial(y, design, link="logit", frequency=weight_of).coef, atol=1e-6)
    balanced = fit_many(y, design.written_out(), weights, np.zeros(2), balancing=True)
    made = np.exp(balanced @ design.written_out().T)
    for column in design.written_out().T:  # each draw's untreated have the sums of its treated
        np.testing.assert_allclose((weights * (1 - y) * made) @ column, (weights * y) @ column, atol=1e-4)


def test_wild_bootstrap_is_the_share_of_sign_patterns(make):
    r = np.random.default_rng(6)
    n, g = 300, 9
    firm = r.integers(0, g, n)
    x = r.normal(size=n)
    treated = (r.random(n) < 0.2 + 0.6 * (firm < 4)).astype(int)
    outcome = (r.random(n) < 1 / (1 + np.exp(0.4 - 0.5 * treated - 0.5 * x - r.normal(0, 0.5, g)[firm]))).astype(int)
    rows = pd.DataFrame({"firm": firm, "x": x, "treated": treated, "outcome": outcome})
    risk = make.risk_set(rows, firm="firm")
    draws = 20_000
    effect = structural_transition(
        risk, controls=["x"], cluster="firm", options=FitOptions(wild=WildBootstrap(draws=draws, seed=1))
    )
    (p,) = effect.groups[0].tests.values()
    # by hand: scores of the treatment at the fit without it, net of the controls, with every pattern of signs
    columns, beta = np.column_stack([np.ones(n), x]), np.zeros(2)
    for _ in range(20):
        chance = 1 / (1 + np.exp(-columns @ beta))
        information = (columns * (chance * (1 - chance))[:, None]).T @ columns
        beta = beta + np.linalg.solve(information, columns.T @ (outcome - chance))
    h = chance * (1 - chance)
    net = treated - columns @ np.linalg.solve(information, columns.T @ (h * treated))
    sums = np.bincount(firm, (outcome - chance) * net)
    patterns = np.array(list(product([-1, 1], repeat=g))) * sums
    statistic = patterns.sum(axis=1) ** 2 / ((patterns - patterns.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    seen = sums.sum() ** 2 / ((sums - sums.mean()) ** 2).sum()
    exact = (statistic >= seen * (1 - 1e-12)).mean()
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / draws) + 1e-4
    assert 0.01 < exact < 0.9
    assert any("wild bootstrap" in note for note in effect.notes)
