"""Estimates a person can check with a pencil."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import market_entry, market_exit, structural_transition


def test_two_by_two_table(make):
    # 10 of 40 treated and 12 of 80 others become structural.
    effect = structural_transition(make.risk_set(make.two_by_two()), controls=None, cluster=None)
    assert effect.effect("odds_ratio").estimate == pytest.approx((10 * 68) / (30 * 12))
    assert effect.effect("odds_ratio").std_error == pytest.approx(np.sqrt(1 / 10 + 1 / 30 + 1 / 12 + 1 / 68))  # Woolf
    assert effect.effect("risk_ratio").estimate == pytest.approx(0.25 / 0.15)
    difference = effect.effect("risk_difference")
    assert difference.estimate == pytest.approx(0.10)
    error = np.sqrt(0.25 * 0.75 / 40 + 0.15 * 0.85 / 80)
    assert difference.std_error == pytest.approx(error)
    assert (difference.conf_low, difference.conf_high) == pytest.approx(
        (0.1 - 1.959964 * error, 0.1 + 1.959964 * error)
    )
    assert (difference.n_rows, difference.n_treated, difference.n_events, difference.n_firms) == (120, 40, 22, None)
    assert effect.effect("risk_with").estimate == pytest.approx(0.25)
    assert effect.effect("risk_without").estimate == pytest.approx(0.15)
    assert np.isnan(effect.effect("risk_with").p_value)  # a risk of zero is no hypothesis
    ratio = effect.effect("odds_ratio")
    assert np.log(ratio.conf_high * ratio.conf_low) / 2 == pytest.approx(np.log(ratio.estimate))


def test_standardised_over_the_treated_differs_from_all_and_from_the_coefficient(make):
    # Odds ratio 6 in both sectors: A 3/7 -> 18/25, B 1/9 -> 6/14; the treated are mostly in B.
    counts = [
        ("A", 1, 1, 18), ("A", 1, 0, 7), ("A", 0, 1, 60), ("A", 0, 0, 140),
        ("B", 1, 1, 30), ("B", 1, 0, 45), ("B", 0, 1, 10), ("B", 0, 0, 90),
    ]  # fmt: skip
    table = make.repeated(counts, ["sector", "treated", "outcome"])
    risk = make.risk_set(table)
    treated = structural_transition(risk, controls=["sector"], cluster=None)
    # Same odds ratio in both sectors, so the model fits the table exactly: with 0.72, 0.4; without 0.3, 0.1.
    assert treated.effect("odds_ratio_conditional").estimate == pytest.approx(6.0)
    one, zero = (25 * 0.72 + 75 * 0.4) / 100, (25 * 0.3 + 75 * 0.1) / 100
    assert treated.effect("risk_difference").estimate == pytest.approx(one - zero)
    assert treated.effect("odds_ratio").estimate == pytest.approx(one / (1 - one) / (zero / (1 - zero)))
    everyone = structural_transition(risk, controls=["sector"], cluster=None, standardise="all")
    one, zero = (225 * 0.72 + 175 * 0.4) / 400, (225 * 0.3 + 175 * 0.1) / 400
    assert everyone.effect("risk_difference").estimate == pytest.approx(one - zero)
    assert treated.estimand("odds_ratio") == "or_marginal_att"
    assert everyone.estimand("odds_ratio") == "or_marginal_ate"
    assert treated.estimand("odds_ratio_conditional") == "or_conditional"


def test_clusters_of_two_equal_rows_double_the_variance(make):
    table = make.two_by_two()
    twice = pd.concat([table, table])
    alone = structural_transition(make.risk_set(table), controls=None, cluster=None)
    paired = structural_transition(make.risk_set(twice, firm="firm"), controls=None, cluster="firm")
    # The same rows twice carry no more information once clustered: the error of 120 firms, times G / (G - 1).
    expected = alone.effect("log_odds").std_error * np.sqrt(120 / 119)
    assert paired.effect("log_odds").std_error == pytest.approx(expected)
    assert paired.effect("log_odds").n_firms == 120
    assert paired.effect("log_odds").n_rows == 240


def test_rows_with_a_certain_outcome_keep_their_risk(make):
    # Sector B has no event: it leaves the likelihood, and its 60 treated have risk 0 in both worlds.
    counts = [
        ("A", 1, 1, 10), ("A", 1, 0, 30), ("A", 0, 1, 12), ("A", 0, 0, 68), ("B", 1, 0, 60), ("B", 0, 0, 20),
    ]  # fmt: skip
    risk = make.risk_set(make.repeated(counts, ["sector", "treated", "outcome"]))
    effect = structural_transition(risk, controls=["sector"], cluster=None)
    assert effect.effect("odds_ratio_conditional").estimate == pytest.approx((10 * 68) / (30 * 12))
    assert effect.effect("risk_difference").estimate == pytest.approx(0.10 * 40 / 100)
    assert effect.effect("risk_ratio").estimate == pytest.approx(0.25 / 0.15)
    assert effect.effect("risk_with").estimate == pytest.approx(0.10)
    # var(mean risk) = 0.4^2 var(risk in A) + (0.25 - 0)^2 times 0.4 * 0.6 / 100 for drawing the sectors
    error = np.sqrt(0.16 * 0.25 * 0.75 / 40 + 0.25**2 * 0.24 / 100)
    assert effect.effect("risk_with").std_error == pytest.approx(error)
    assert (effect.effect("risk_with").n_rows, effect.effect("risk_with").n_treated) == (120, 100)
    assert any("no events at sector=B: 80 rows" in note for note in effect.notes)


def trials(make, counts):
    """Rows of exit trials from (treated, year of exit or 0, number) with two years of follow-up."""
    units = make.repeated(counts, ["treated", "left"])
    units = units.assign(firm=np.arange(len(units)), market="DE", year=2010)
    first = units.assign(follow_up=1, outcome=(units["left"] == 1).astype(int))
    second = units[units["left"] != 1].assign(follow_up=2, outcome=lambda x: (x["left"] == 2).astype(int))
    return make.exit_trials(pd.concat([first, second]).drop(columns="left"))


def test_exit_trials_of_two_years(make):
    # Staying: 0.5 then 0.6 with a mission, the squares 0.25 and 0.36 without. So the hazard ratio is one half.
    risk = trials(make, [(1, 1, 50), (1, 2, 20), (1, 0, 30), (0, 1, 75), (0, 2, 16), (0, 0, 9)])
    effect = market_exit(risk, controls=None, cluster="firm")
    assert effect.effect("hazard_ratio").estimate == pytest.approx(0.5)
    assert effect.effect("hazard_ratio_conditional").estimate == pytest.approx(0.5)
    assert effect.effect("survival_difference_1").estimate == pytest.approx(0.50 - 0.25)
    assert effect.effect("survival_with_1").estimate == pytest.approx(0.50)
    # exits per year at risk: 70 of 100 + 50; 91 of 100 + 25
    assert effect.effect("yearly_exit_probability_with").estimate == pytest.approx(70 / 150)
    assert effect.effect("yearly_exit_probability_without").estimate == pytest.approx(91 / 125)
    hazard = effect.effect("hazard_ratio")
    assert (hazard.n_rows, hazard.n_treated, hazard.n_firms, hazard.n_events) == (275, 100, 200, 161)
    assert effect.estimand("hazard_ratio") == "hr_marginal_att"
    # nothing to average over: marginal and conditional agree, and so do their errors
    assert hazard.std_error == pytest.approx(effect.effect("hazard_ratio_conditional").std_error, rel=1e-6)


def test_marginal_hazard_ratio_is_nearer_to_one_than_the_conditional(make):
    # Hazard ratio one half in two sectors of different level: those who stay differ more and more.
    with_a, with_b = [(50, 25, 25)], [(10, 9, 81)]
    rows = []
    for sector, treated, (one, two, none) in [
        ("A", 1, with_a[0]), ("B", 1, with_b[0]), ("A", 0, (75, 18.75, 6.25)), ("B", 0, (19, 15.39, 65.61)),
    ]:  # fmt: skip
        rows += [(sector, treated, left, 100 * n) for left, n in ((1, one), (2, two), (0, none))]
    units = pd.DataFrame(rows, columns=["sector", "treated", "left", "n"]).assign(market="DE", year=2010)
    units["firm"] = np.arange(len(units))
    first = units.assign(follow_up=1, outcome=(units["left"] == 1).astype(int))
    second = units[units["left"] != 1].assign(follow_up=2, outcome=lambda x: (x["left"] == 2).astype(int))
    risk = make.exit_trials(pd.concat([first, second]).drop(columns="left"), frequency="n")
    effect = market_exit(risk, controls=["sector"], cluster="firm")
    assert effect.effect("hazard_ratio_conditional").estimate == pytest.approx(0.5, rel=1e-6)
    # In the first year alone it is log 0.7 / log 0.53 = 0.56; in the second those at risk differ more.
    assert 0.56 < effect.effect("hazard_ratio").estimate < 0.65
    survival = (0.25 + 0.81) / 2
    assert effect.effect("hazard_ratio").n_treated == 20_000
    # year 1 and the horizon of two years, by hand
    assert effect.effect("survival_with_1").estimate == pytest.approx((0.5 + 0.9) / 2, rel=1e-6)
    at_risk = 1 + (0.5 + 0.9) / 2
    expected = (1 - survival) / at_risk
    assert effect.effect("yearly_exit_probability_with").estimate == pytest.approx(expected, rel=1e-6)


def test_entry_with_sampled_controls(make):
    # 20 of 200 treated enter; of 10,000 other pairs, of which 300 enter, every hundredth is drawn.
    table = make.repeated([(1, 1, 20), (1, 0, 180), (0, 1, 3), (0, 0, 97)], ["treated", "outcome"])
    table = table.assign(firm=np.arange(len(table)), weight=np.where(table["treated"] == 1, 1.0, 100.0))
    effect = market_entry(make.risk_set(table, firm="firm", probability="weight"), controls=None, cluster="firm")
    difference = effect.effect("risk_difference")
    assert difference.estimate == pytest.approx(0.10 - 0.03)
    error = np.sqrt(0.1 * 0.9 / 200 + 0.03 * 0.97 / 100) * np.sqrt(300 / 299)
    assert difference.std_error == pytest.approx(error)
    assert difference.n_rows == 300
    assert "weighted" in difference.design


def test_groups_are_fitted_on_their_own(make):
    counts = [
        ("OECD", 1, 1, 30), ("OECD", 1, 0, 70), ("OECD", 0, 1, 10), ("OECD", 0, 0, 90),
        ("BRICS", 1, 1, 20), ("BRICS", 1, 0, 80), ("BRICS", 0, 1, 5), ("BRICS", 0, 0, 95),
    ]  # fmt: skip
    table = make.repeated(counts, ["country_group", "treated", "outcome"])
    table["size"] = np.where(np.arange(len(table)) % 2, "sme", "not_sme")
    effect = market_entry(make.risk_set(table), controls=None, cluster=None, by=["size", "country_group"])
    names = [result.group for result in effect.groups]
    assert names == ["all", "size=not_sme", "size=sme", "country_group=OECD", "country_group=BRICS"]
    assert effect.effect("risk_difference", group="country_group=OECD").estimate == pytest.approx(0.20)
    assert effect.effect("risk_difference", group="country_group=BRICS").estimate == pytest.approx(0.15)
    assert effect.effect("risk_difference").estimate == pytest.approx(0.175)
    assert list(effect.coefficients.index.names) == ["group", "term"]


def test_a_year_of_follow_up_without_an_exit_keeps_everyone(make):
    risk = trials(make, [(1, 1, 50), (1, 0, 50), (0, 1, 75), (0, 0, 25)])  # nobody leaves in the second year
    effect = market_exit(risk, controls=None, cluster="firm")
    assert effect.effect("survival_with_1").estimate == pytest.approx(0.50)
    assert effect.effect("hazard_ratio_conditional").estimate == pytest.approx(np.log(0.5) / np.log(0.25))
    assert effect.effect("yearly_exit_probability_with").estimate == pytest.approx(50 / 150)
    assert effect.effect("yearly_exit_probability_without").estimate == pytest.approx(75 / 125)
    assert effect.effect("hazard_ratio").estimate == pytest.approx(0.5)
