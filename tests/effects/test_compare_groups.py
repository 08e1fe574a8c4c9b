"""Differences between groups: against one interacted model, by hand, and what multiplicity costs."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.design import weight
from missie_impact.effects import FitOptions, market_exit, structural_transition
from missie_impact.effects.compare import compare_groups, wald
from missie_impact.errors import SettingsError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.covariance import clusters_of, covariance, fit_scores
from missie_impact.numerics.design import Column, build_design
from missie_impact.numerics.multiple import step_down
from missie_impact.validity.multiplicity import adjust_p_values

CR0 = FitOptions(correction="cr0")


def villages(make):
    table, _ = make.load("thornton_logit_clusters")
    table = table.dropna(subset=["got", "any", "age", "hiv2004", "distvct", "villnum"])
    # halves of every village, so that each cluster stands in both groups
    return table.assign(half=np.where(table.groupby("villnum").cumcount() % 2 == 0, "one", "two"))


def test_apart_is_as_one_interacted_model(make):
    table = villages(make)
    risk = make.risk_set(table, outcome="got", treatment="any")
    effect = structural_transition(risk, cluster="villnum", controls=["age"], by="half", options=CR0)
    found = compare_groups(effect, "odds_ratio_conditional")
    two = (table["half"] == "two").to_numpy(dtype=float)
    plain = {"any": table["any"].to_numpy(float), "age": table["age"].to_numpy(float)}
    columns = [Column(n, v) for n, v in plain.items()] + [Column("two", two)]
    columns += [Column(f"{n}:two", v * two) for n, v in plain.items()]
    design, y = build_design([], columns), table["got"].to_numpy(float)
    fit = fit_binomial(y, design, link="logit")
    errors = covariance(fit_scores(fit, y, design), [clusters_of(table["villnum"])], correction="cr0").std_error
    k = [t.name for t in design.terms].index("any:two")
    assert found.statistic == pytest.approx((fit.coef[k] / errors[k]) ** 2, rel=1e-6)
    pair = found.pairs.iloc[0]
    assert pair["difference"] == pytest.approx(np.exp(-fit.coef[k]), rel=1e-6)
    assert pair["std_error"] == pytest.approx(errors[k], rel=1e-6)
    assert pair["p_value"] == pytest.approx(found.p_value, rel=1e-6)
    # without what the villages share the error is another one
    apart = [effect.effect("odds_ratio_conditional", group=f"half={h}").std_error for h in ("one", "two")]
    assert abs(np.hypot(*apart) / errors[k] - 1) > 0.02


def test_overlapping_groups_count_a_frequency_as_rows_on_their_own(make):
    """Groups that share rows: the same joint covariance from frequencies as from rows written out."""
    table = villages(make).assign(times=lambda t: 1 + np.arange(len(t)) % 3)
    table = table.assign(again=table["half"])
    written_out = table.loc[table.index.repeat(table["times"])]
    joint = {}
    for name, frame, frequency in (("times", table, "times"), ("rows", written_out, None)):
        risk = make.risk_set(frame, outcome="got", treatment="any", frequency=frequency)
        effect = structural_transition(risk, cluster=None, controls=["age"], by=["half", "again"])
        joint[name] = effect.across[effect.vcov]
    assert np.isfinite(joint["rows"]).all()
    np.testing.assert_allclose(joint["times"], joint["rows"], rtol=1e-7, atol=1e-14)


def test_marginal_scales_hang_together_as_a_jackknife_over_villages_says(make):
    table = villages(make)
    effect = structural_transition(
        make.risk_set(table, outcome="got", treatment="any"), cluster="villnum", controls=["age"], by="half"
    )
    width, j = len(effect.scales), effect.scales.index("risk_difference")
    cross = effect.across["villnum"][width + j, 2 * width + j]
    gone = []
    for village in table["villnum"].unique():
        risk = make.risk_set(table[table["villnum"] != village], outcome="got", treatment="any")
        less = structural_transition(risk, cluster=None, controls=["age"], by="half")
        gone.append([less.effect("risk_difference", group=f"half={h}").estimate for h in ("one", "two")])
    gone = np.array(gone)
    jackknife = (len(gone) - 1) / len(gone) * np.cov(gone.T, ddof=0) * len(gone)
    assert cross == pytest.approx(jackknife[0, 1], rel=0.05)


def test_groups_without_shared_clusters_are_independent(make):
    table = make.firms().assign(half=lambda t: np.where(t["firm"] % 2, "odd", "even"))
    effect = structural_transition(
        make.risk_set(table, firm="firm"), cluster="firm", controls=["log_workers"], by="half"
    )
    test = compare_groups(effect, "risk_difference")
    one, two = (effect.effect("risk_difference", group=f"half={h}") for h in ("odd", "even"))
    z = (one.estimate - two.estimate) / np.hypot(one.std_error, two.std_error)
    assert test.statistic == pytest.approx(z**2, rel=1e-9)
    assert test.df == 1
    with pytest.raises(SettingsError, match="expected one of"):
        compare_groups(effect, "hazard_ratio")
    with pytest.raises(SettingsError, match="expected one of \\['half'\\]"):
        compare_groups(effect, "risk_ratio", by="sector")
    alone = structural_transition(make.risk_set(table, firm="firm"), cluster="firm", controls=None)
    with pytest.raises(SettingsError, match="no covariance between groups"):
        compare_groups(alone, "risk_ratio")


def test_hazards_by_group(make):
    rng = np.random.default_rng(5)
    rows = pd.DataFrame({"firm": np.repeat(np.arange(300), 3), "follow_up": np.tile([1, 2, 3], 300), "market": "FR"})
    rows = rows.assign(year=2010, treated=rows["firm"] % 2, size=np.where(rows["firm"] % 3, "sme", "large"))
    rows = rows.assign(outcome=(rng.random(len(rows)) < 0.3 - 0.1 * rows["treated"]).astype(int))
    before = rows.groupby("firm")["outcome"].cumsum() - rows["outcome"]
    effect = market_exit(make.exit_trials(rows[before == 0]), cluster="firm", controls=None, by="size")
    test = compare_groups(effect, "hazard_ratio")
    one, two = (effect.effect("hazard_ratio", group=f"size={s}") for s in ("sme", "large"))
    expected = (np.log(one.estimate / two.estimate)) ** 2 / (one.std_error**2 + two.std_error**2)
    assert test.statistic == pytest.approx(expected, rel=1e-6)  # no firm in both groups


def test_equality_of_three_by_hand():
    # independent with variance 1: the sum of squares around the mean, two degrees of freedom, exp(-x / 2)
    statistic, df, p = wald(np.array([0.0, 1.0, 2.0]), np.eye(3))
    assert (statistic, df) == (pytest.approx(2.0), 2)
    assert p == pytest.approx(np.exp(-1.0))


def test_families_are_adjusted_each_on_its_own(make):
    table = make.firms()
    effect = structural_transition(
        make.risk_set(table, firm="firm"), cluster="firm", controls=["log_workers"], by=["sector", "size"]
    )
    sectors = [effect.effect("risk_ratio", group=f"sector={s}") for s in "CGJ"]
    sizes = [effect.effect("risk_ratio", group=f"size={s}") for s in ("sme", "not_sme")]
    found = adjust_p_values({"by sector": sectors, "by size": sizes})
    p = sorted(e.p_value for e in sectors)
    expected = [3 * p[0], max(3 * p[0], 2 * p[1]), max(3 * p[0], 2 * p[1], p[2])]
    got = sorted(found.query("family == 'by sector'")["adjusted_p_value"])
    assert got == pytest.approx([min(x, 1) for x in expected])
    assert found.query("family == 'by size'")["n_tests"].tolist() == [2, 2]
    assert len(adjust_p_values(effect, scale="risk_ratio", method="step_down", draws=500)) == 5
    with pytest.raises(SettingsError, match="expected one of"):
        adjust_p_values(effect, scale="risk_ratio", method="best")


def test_step_down_by_hand():
    # four draws of two statistics: 3.0 is exceeded by the largest of both once, 1.0 by the second alone twice
    draws = np.array([[0.5, 0.2], [3.5, 0.1], [0.1, 2.0], [1.0, 1.5]])
    assert step_down([3.0, 1.0], draws).tolist() == pytest.approx([2 / 5, 3 / 5])
    # the same statistic twice costs nothing
    same = np.repeat(np.random.default_rng(1).normal(size=(4000, 1)), 2, axis=1)
    one, two = step_down([1.96, 1.96], same)
    assert one == two
    assert one == pytest.approx((1 + (np.abs(same[:, 0]) >= 1.96).sum()) / 4001)


@pytest.mark.parametrize("estimator", ["weighting", "doubly_robust"])
@pytest.mark.parametrize("designed", [False, True], ids=["own score", "design"])
def test_other_estimators_know_how_groups_hang_together(make, estimator, designed):
    """A group that comes twice under two names is one: its covariance with itself is its own."""
    table = villages(make)
    table = table.assign(again=table["half"], region=np.arange(len(table)) % 40)
    risk = make.risk_set(table, outcome="got", treatment="any", firm="villnum")
    source = weight(risk, on=["age", "distvct"]) if designed else risk
    effect = structural_transition(
        source, cluster=["villnum", "region"], controls=["age", "distvct"], by=["half", "again"], estimator=estimator,
        options=CR0,
    )  # fmt: skip
    n, joint, names = len(effect.scales), effect.across[effect.vcov], [g.group for g in effect.groups]
    one, again = names.index("half=one"), names.index("again=one")
    cross = joint[one * n : (one + 1) * n, again * n : (again + 1) * n]
    own = effect.groups[one].covariances[effect.vcov]
    np.testing.assert_allclose(cross, own, rtol=1e-7, atol=1e-12)
    test = compare_groups(effect, "risk_ratio", by="half")
    two = names.index("half=two")
    place = [one * n + 1, two * n + 1]
    gap = np.log(effect.groups[one].values[1] / effect.groups[two].values[1])
    variance = np.array([1, -1]) @ joint[np.ix_(place, place)] @ np.array([1, -1])
    assert test.pairs.iloc[0]["std_error"] == pytest.approx(np.sqrt(variance), rel=1e-10)
    assert test.statistic == pytest.approx(gap**2 / variance, rel=1e-8)
