"""Yearly Poisson from sums over alike pairs, and who is counted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects.increase.increase import IncreaseOptions, export_increase
from missie_impact.errors import SettingsError
from missie_impact.numerics.poisson import fit_poisson
from missie_impact.risksets.riskset import RiskSet

BEFORE, AFTER = ("b3", "b2", "b1"), ("a1", "a2", "a3")


def table(seed=4, n=1500):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "firm": rng.integers(0, 600, n), "market": rng.choice(list("ABC"), n), "year": rng.integers(2012, 2015, n),
        "treated": (rng.random(n) < 0.15).astype(int), "weight": rng.choice([1.0, 2.0, 0.5], n),
    }).drop_duplicates(["firm", "market", "year"]).reset_index(drop=True)  # fmt: skip
    level = np.exp(rng.normal(0, 1.2, len(frame)))
    for name in (*BEFORE, *AFTER):
        lift = 1 + 0.5 * frame["treated"] * (name in AFTER)
        frame[name] = rng.poisson(level * lift) * 1000.0
    frame["outcome"] = frame[list(AFTER)].mean(axis=1) - frame["b1"]
    return frame


def riskset(frame):
    return RiskSet.from_frame(
        frame, outcome="outcome", treatment="treated", firm="firm", market="market", year="year", probability="weight"
    )


OPTIONS = IncreaseOptions(before=BEFORE, after=AFTER)
SANDWICH = IncreaseOptions(before=BEFORE, after=AFTER, yearly_errors="sandwich")


def test_sums_over_alike_pairs_are_the_fit_of_all_pair_years():
    """Six rows per pair with an effect for every pair give the same ratio and the same clustered error."""
    frame = table()
    found = export_increase(riskset(frame), cluster="firm", estimator="poisson", options=SANDWICH)
    some = frame[frame[list(BEFORE)].sum(axis=1) > 0].reset_index(drop=True)
    y = some[[*BEFORE, *AFTER]].to_numpy().reshape(-1)
    late = np.tile([0, 0, 0, 1, 1, 1], len(some))
    cell = some.groupby(["market", "year"]).ngroup().to_numpy()
    x = (np.repeat(some["treated"].to_numpy(), 6) * late).astype(float).reshape(-1, 1)
    weight = np.repeat(some["weight"].to_numpy(), 6)
    unit = np.repeat(np.arange(len(some)), 6)
    fit = fit_poisson(y, x, [unit, np.repeat(cell, 6) * 6 + np.tile(np.arange(6), len(some))], probability=weight)
    assert found.groups[0].values[0] == pytest.approx(np.exp(fit.coef[0]), rel=1e-9)
    firm = np.repeat(some["firm"].to_numpy(), 6)[fit.rows.kept]
    sums = np.bincount(firm, fit.bread[0, 0] * fit.within[:, 0] * fit.score)
    clusters = some["firm"].nunique()
    expected = (sums**2).sum() * clusters / (clusters - 1)
    (covariance,) = found.groups[0].covariances.values()
    assert covariance[0, 0] == pytest.approx(expected, rel=1e-6)


def test_pairs_without_exports_before_are_not_counted():
    """Thirty treated pairs new to the market are told in the flow and the notes, and are no rows of the estimate."""
    frame = table()
    bare = frame.index[frame["treated"] == 1][:30]
    frame.loc[bare, list(BEFORE)] = 0.0
    some = frame[list(BEFORE)].sum(axis=1) > 0
    for estimator in ("regression", "poisson"):
        found = export_increase(riskset(frame), cluster="firm", controls=None, estimator=estimator, options=OPTIONS)
        counts = found.groups[0].counts
        assert counts.n_rows == int(some.sum())
        assert counts.n_treated == int(frame.loc[some, "treated"].sum())
        assert counts.n_firms == frame.loc[some, "firm"].nunique()
        last = found.flow.steps[-1]
        assert (last.rows, last.participants) == (counts.n_rows, counts.n_treated)
        assert "no exports in t-4..t-1" in last.reason
        assert any("without exports" in note for note in found.notes)


def test_treated_where_nobody_is_comparable_are_not_counted():
    frame = table()
    frame["kind"] = "common"
    alone = frame.index[(frame["treated"] == 1) & (frame["b1"] > 0)][:5]
    frame.loc[alone, "kind"] = "alone"
    some = frame[list(BEFORE)].sum(axis=1) > 0
    found = export_increase(riskset(frame), cluster="firm", controls=["C(kind)"], options=OPTIONS)
    assert found.groups[0].counts.n_treated == int(frame.loc[some, "treated"].sum()) - 5


def test_some_measures_are_those_of_all():
    risk = riskset(table())
    whole = export_increase(risk, cluster="firm", controls=None, options=OPTIONS)
    some = replace(OPTIONS, measures=("yearly", "growers"))
    part = export_increase(risk, cluster="firm", controls=None, options=some)
    scales = ("grower_share_difference", "grower_share_with", "grower_share_without")
    assert part.groups[0].scales == (*scales, "mean_ratio_yearly", "mean_ratio_yearly_winsorised")
    for scale in part.groups[0].scales:
        assert part.effect(scale) == whole.effect(scale)


def test_an_unknown_measure_is_named():
    with pytest.raises(SettingsError, match=r"measures.*levels"):
        IncreaseOptions(measures=("growers", "levels"))
