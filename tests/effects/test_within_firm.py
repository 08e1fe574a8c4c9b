"""Within the firm: by hand, against R's clogit, on simulated registers, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import within_firm
from missie_impact.errors import CollinearityError, NoEventError, NoParticipantError, SeparationError, SettingsError
from missie_impact.risksets.riskset import RiskSet


def pairs(only_treated=9, only_other=4, neither=5, both=0):
    """Two markets per firm and year, the mission's and another; firms by which of them has the event."""
    rows = []
    kinds = [(1, 0)] * only_treated + [(0, 1)] * only_other + [(0, 0)] * neither + [(1, 1)] * both
    for firm, outcomes in enumerate(kinds):
        for treated, outcome in zip((1, 0), outcomes, strict=True):
            rows.append({"firm": firm, "year": 2010, "market": treated, "treated": treated, "outcome": outcome})
    return pd.DataFrame(rows)


def risk_set(table, **roles):
    named = {"firm": "firm", "market": "market", "year": "year"} | roles
    return RiskSet.from_frame(table, outcome="outcome", treatment="treated", **named)


def test_two_markets_are_mcnemar():
    effect = within_firm(risk_set(pairs()), cluster=None, controls=None)
    found = effect.effect("odds_ratio_within_firm_year")
    assert found.estimate == pytest.approx(9 / 4, rel=1e-8)
    assert found.std_error == pytest.approx(np.sqrt(1 / 9 + 1 / 4), rel=1e-6)
    assert (found.n_rows, found.n_firms, found.n_treated, found.n_events) == (26, 13, 13, 13)
    assert found.conf_low == pytest.approx(9 / 4 * np.exp(-1.959963984540054 * found.std_error), rel=1e-6)
    assert set(effect.scales) == {"odds_ratio_within_firm_year", "log_odds_within_firm_year"}
    assert any("13 of 18 strata used of 13 firms" in note for note in effect.notes)
    assert effect.flow.steps[-1].rows == 26


def test_errors_clustered_by_firm():
    # scores of the 13 strata at the odds ratio 9/4: 1 - 9/13 for the 9, -9/13 for the 4; information 13 x 9/13 x 4/13
    found = within_firm(risk_set(pairs()), cluster="firm", controls=None).effect("log_odds_within_firm_year")
    meat, information = 9 * (4 / 13) ** 2 + 4 * (9 / 13) ** 2, 36 / 13
    assert found.std_error == pytest.approx(np.sqrt(13 / 12 * meat) / information, rel=1e-6)


def test_matched_sets_are_those_of_r(make):
    table, reference = make.load("infert_conditional_logit")
    table = table.assign(any_spontaneous=(table["spontaneous"] > 0).astype(int))
    risk = RiskSet.from_frame(table, outcome="case", treatment="any_spontaneous", firm="stratum")
    effect = within_firm(
        risk, cluster=None, also_cluster=["firm"], controls=["induced"], strata=["stratum"], exposure="spontaneous"
    )
    expected = reference["clogit_exact"]
    for name in ("spontaneous", "induced"):
        assert effect.coefficients.loc[name, "estimate"] == pytest.approx(expected["coef"][name], rel=1e-6)
        assert effect.coefficients.loc[name, "std_error"] == pytest.approx(expected["se"][name], rel=1e-6)
    assert effect.groups[0].log_likelihood == pytest.approx(expected["loglik"], rel=1e-9)
    assert effect.effect("odds_ratio_within_strata").estimate == pytest.approx(expected["or"]["spontaneous"], rel=1e-6)
    robust = effect.with_vcov("firm").coefficients["std_error"]  # R: no factor; here G / (G - 1)
    for name, error in reference["clogit_breslow_robust_se_by_stratum"].items():
        assert robust[name] == pytest.approx(error * np.sqrt(83 / 82), rel=1e-6)


def test_villages_are_those_of_r(make):
    table, reference = make.load("thornton_logit_clusters")
    table = table.dropna(subset=["got", "any", "age", "hiv2004", "distvct", "villnum"])
    risk = RiskSet.from_frame(table, outcome="got", treatment="any")
    effect = within_firm(risk, cluster=None, controls=["age", "hiv2004"], strata=["villnum"])
    expected = reference["village_conditional"]
    for name in ("any", "age", "hiv2004"):
        assert effect.coefficients.loc[name, "estimate"] == pytest.approx(expected["coef"][name], rel=1e-6)
        assert effect.coefficients.loc[name, "std_error"] == pytest.approx(expected["se"][name], rel=1e-6)
    assert effect.groups[0].counts.n_rows == reference["village_dummies"]["n_used"]


def test_what_is_the_same_within_strata_is_conditioned_away():
    table = pairs().assign(workers=lambda t: t["firm"] * 1.5, copy=lambda t: t["market"] * 2.0)
    effect = within_firm(risk_set(table), cluster="firm", controls=["workers"])
    assert effect.effect("odds_ratio_within_firm_year").estimate == pytest.approx(9 / 4, rel=1e-8)
    assert any("conditioned away: workers" in note for note in effect.notes)
    with pytest.raises(CollinearityError, match="combination of the controls"):
        within_firm(risk_set(table), cluster="firm", controls=["copy"])


def test_a_level_without_events_leaves_with_its_rows():
    # a third market per firm, of a kind in which nothing ever happens: it must not move the estimate
    third = pairs().query("treated == 0").assign(market=9, outcome=0, kind="c")
    table = pd.concat([pairs().assign(kind="a"), third], ignore_index=True)
    effect = within_firm(risk_set(table), cluster="firm", controls=["kind"])
    assert effect.effect("odds_ratio_within_firm_year").estimate == pytest.approx(9 / 4, rel=1e-8)
    assert effect.coefficients.loc["kind[c]", "reason"].startswith("no events")


def test_weight_two_is_the_row_twice_and_subgroups_stand_on_their_own():
    table = pairs().assign(size=lambda t: np.where(t["firm"] % 2, "sme", "large"), times=2.0)
    twice = pd.concat([table, table.assign(firm=table["firm"] + 100)])
    one = within_firm(risk_set(twice), cluster=None, controls=None, by="size").tidy()
    # doubled rows within a stratum are another likelihood: with two events of four the odds enter squared
    doubled = within_firm(risk_set(pd.concat([table, table])), cluster=None, controls=None).groups[0]
    weighted = within_firm(risk_set(table, frequency="times"), cluster=None, controls=None).groups[0]
    assert weighted.coef == pytest.approx(doubled.coef, rel=1e-9)
    sme = one.query("group == 'size=sme' and scale == 'odds_ratio_within_firm_year'")["estimate"].item()
    # odd firms 1, 3, 5, 7 of the nine and 9, 11 of the four
    assert sme == pytest.approx(4 / 2, rel=1e-8)


def test_what_has_no_answer():
    with pytest.raises(SettingsError, match="firm x market effects"):
        within_firm(risk_set(pairs()), cluster="firm", controls=None, strata=("firm", "market"))
    with pytest.raises(NoEventError, match="none of 5 strata"):
        within_firm(risk_set(pairs(0, 0, 5)), cluster="firm", controls=None)
    with pytest.raises(SeparationError, match="no finite odds ratio"):
        within_firm(risk_set(pairs(9, 0)), cluster="firm", controls=None)
    with pytest.raises(NoParticipantError, match="no stratum in which `treated` differs"):
        within_firm(risk_set(pairs().assign(treated=1)), cluster="firm", controls=None)
    with pytest.raises(SettingsError, match="in several"):
        within_firm(risk_set(pairs()), cluster="market", controls=None)
    weighted = pairs().assign(w=lambda t: 1.0 + t["firm"])
    with pytest.raises(SettingsError, match="no sampling or balancing weights"):
        within_firm(risk_set(weighted, probability="w"), cluster="firm", controls=None)
