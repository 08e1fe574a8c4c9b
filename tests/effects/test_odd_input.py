"""Odd input to designs and to weighted and doubly robust estimates: what is said, and whose effect it then is."""

import numpy as np
import pandas as pd
import pytest

from missie_impact import RiskSet
from missie_impact.design import match, weight
from missie_impact.effects import structural_transition
from missie_impact.errors import NoParticipantError, PositivityError, SeparationError

ESTIMATORS = ("regression", "weighting", "doubly_robust")


@pytest.fixture(scope="module")
def table():
    r = np.random.default_rng(3)
    firm = r.integers(0, 150, 600)
    x = r.normal(size=600)
    treated = (r.random(600) < 1 / (1 + np.exp(0.8 - 0.6 * x))).astype(int)
    outcome = (r.random(600) < 1 / (1 + np.exp(0.5 - 0.7 * treated - 0.5 * x))).astype(int)
    return pd.DataFrame({"firm": firm, "x": x, "treated": treated, "outcome": outcome})


def risk_set(table, **roles):
    return RiskSet.from_frame(table, outcome="outcome", treatment="treated", firm="firm", **roles)


def effect(source, estimator, controls=("x",), **options):
    return structural_transition(source, controls=list(controls), cluster="firm", estimator=estimator, **options)


def numbers(made):
    return np.array([[e.estimate, e.std_error] for e in map(made.effect, ("odds_ratio", "risk_difference"))])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_control_that_does_not_vary_is_left_out_and_said(table, estimator):
    without = effect(risk_set(table), estimator)
    made = effect(risk_set(table.assign(same=1.0)), estimator, ["x", "same"])
    np.testing.assert_array_equal(numbers(made), numbers(without))
    assert "controls without variation left out: same" in made.notes


@pytest.mark.parametrize("make", [weight, match])
def test_designs_say_that_a_control_does_not_vary(table, make):
    plain, more = make(risk_set(table), on=["x"]), make(risk_set(table.assign(same=1.0)), on=["x", "same"])
    np.testing.assert_array_equal(plain.weight, more.weight)
    assert "controls without variation left out: same" in more.notes


def test_a_control_that_tells_the_arms_apart_is_named(table):
    told = table.assign(apart=np.where(table["treated"] == 1, "a", "b"), above=3 * table["treated"] + table["x"] / 10)
    for estimator in ("weighting", "doubly_robust"):
        with pytest.raises(PositivityError, match=r"\['apart', 'above'\]"):
            effect(risk_set(told), estimator, ["x", "apart", "above"])
        with pytest.raises(PositivityError, match=r"\['above'\]"):
            effect(risk_set(told), estimator, ["x", "above"])
    for make in (weight, match):
        with pytest.raises(SeparationError, match=r"\['apart'\]"):
            make(risk_set(told), on=["x", "apart"])
        with pytest.raises(SeparationError, match="'above'"):
            make(risk_set(told), on=["x", "above"])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_arm_only(table, estimator):
    for arm, missing in ((1, "untreated"), (0, "treated")):
        with pytest.raises(NoParticipantError, match=f"no {missing} rows"):
            effect(risk_set(table.assign(treated=arm)), estimator)


def test_one_treated_row(table):
    one = risk_set(table.assign(treated=(table.index == 7).astype(int)))
    with pytest.raises(NoParticipantError, match="found 1"):
        effect(one, "doubly_robust")
    for estimator in ("regression", "weighting"):
        with pytest.raises(SeparationError, match="1 treated rows"):
            effect(one, estimator)
    assert match(one, on=["x"]).n_treated_kept == 1


@pytest.mark.parametrize("method", ["logit", "entropy"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_levels_of_one_arm_leave_and_the_effect_on_all_is_renamed(table, estimator, method):
    first = table.index < 100
    level = np.where(first, np.where(table["treated"] == 1, "t", "u"), "both")
    whole = weight(risk_set(table.assign(level=level)), on=["x", "level"], estimand="ate", method=method)
    rest = weight(risk_set(table[~first]), on=["x"], estimand="ate", method=method)
    made = effect(whole, estimator)
    np.testing.assert_allclose(numbers(made), numbers(effect(rest, estimator)), rtol=1e-6)
    assert (made.population, effect(rest, estimator).population) == ("all on support", "all")
    assert made.estimand("risk_difference") == "rd_ate_on_support"


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_caliper_renames_the_effect(table, estimator):
    design = match(risk_set(table), on=["x"], caliper_sd=0.01, seed=1)
    assert 0 < design.share_dropped < 1
    made = effect(design, estimator)
    assert made.population == "treated on support"
    assert made.estimand("risk_difference") == "rd_att_on_support"


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_weights_that_count_and_weights_that_sample(table, estimator):
    times = np.random.default_rng(1).integers(0, 4, len(table))
    counted = effect(risk_set(table.assign(times=times), frequency="times"), estimator)
    written = effect(risk_set(table.loc[table.index.repeat(times)]), estimator)
    np.testing.assert_allclose(numbers(counted), numbers(written), rtol=1e-6)
    assert counted.groups[0].counts == written.groups[0].counts
    sampled = effect(risk_set(table.assign(times=times), probability="times"), estimator)
    hundred = effect(risk_set(table.assign(times=100.0 * times), probability="times"), estimator)
    np.testing.assert_allclose(numbers(sampled)[:, 0], numbers(counted)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(numbers(hundred), numbers(sampled), rtol=1e-6)  # only their ratios matter
    assert sampled.groups[0].counts.n_rows == np.count_nonzero(times)
