"""E-values and Rosenbaum bounds against printed results and R, and by hand."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects.result import Estimate
from missie_impact.errors import SettingsError
from missie_impact.risksets.riskset import RiskSet
from missie_impact.validity.rosenbaum import rosenbaum_binary, rosenbaum_bounds, rosenbaum_effect, rosenbaum_signed_rank
from missie_impact.validity.sensitivity import (
    bias_factor,
    confounding_table,
    e_value,
    e_value_of,
    e_value_of_counts,
    e_value_of_difference,
)

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "data" / "sensitivity_published" / "reference.json").read_text(encoding="utf-8")
)

CASES = [
    ("rr_10.73_8.02_14.36", (10.73, 8.02, 14.36), {}),
    ("rr_3.9_1.8_8.7", (3.9, 1.8, 8.7), {}),
    ("rr_0.80_0.71_0.91", (0.80, 0.71, 0.91), {}),
    ("rr_1.2_0.9_1.6_interval_holds_1", (1.2, 0.9, 1.6), {}),
    ("rr_1_exactly", (1.0, 0.8, 1.25), {}),
    ("rr_1.6_against_true_1.2", (1.6, 1.3, 1.97), {"true": 1.2}),
    ("or_1.6_1.2_2.1_common", (1.6, 1.2, 2.1), {"scale": "odds_ratio"}),
    ("or_1.6_1.2_2.1_rare", (1.6, 1.2, 2.1), {"scale": "odds_ratio", "common": False}),
    ("hr_0.5_0.4_0.63_common", (0.5, 0.4, 0.63), {"scale": "hazard_ratio"}),
    ("hr_0.5_0.4_0.63_rare", (0.5, 0.4, 0.63), {"scale": "hazard_ratio", "common": False}),
]


@pytest.mark.parametrize(("name", "numbers", "options"), CASES)
def test_e_values_are_those_of_r(name, numbers, options):
    expected, found = REFERENCE["e_value"][name], e_value_of(*numbers, **options)
    assert (found.point, found.limit) == pytest.approx((expected["point"], expected["ci"]), rel=1e-6)
    ratios = (found.risk_ratio, found.risk_ratio_low, found.risk_ratio_high)
    assert ratios == pytest.approx(expected["rr_scale"], rel=1e-6)
    if "printed_point" in expected:
        # the source prints 7.2 for 7.26: it cuts
        printed = (expected["printed_point"], expected["printed_ci"])
        assert (found.point, found.limit) == pytest.approx(printed, abs=0.1)


def test_e_value_of_differences_is_that_of_r():
    expected, found = REFERENCE["e_value"]["md_d_0.3_se_0.1"], e_value_of_difference(0.3, 0.1)
    assert (found.point, found.limit) == pytest.approx((expected["point"], expected["ci"]), rel=1e-6)
    expected = REFERENCE["e_value"]["rd_counts_80_of_200_vs_40_of_200"]
    assert e_value_of_counts(80, 120, 40, 160) == pytest.approx(
        (expected["est_evalue"], expected["lower_evalue"]), rel=1e-6
    )
    assert e_value_of_counts(42, 158, 40, 160)[1] == 1.0


def estimate(scale, value, low, high):
    return Estimate(
        "becoming structural", "all", "treated", scale, value, 0.1, 1.0, 0.1, low, high, 9, 9, 9, 9, "x", ""
    )


def test_an_estimate_brings_its_scale():
    # sqrt(1.44) = 1.2; 1.2 + sqrt(1.2 x 0.2)
    found = e_value(estimate("odds_ratio_conditional", 1.44, 1.1, 1.9))
    assert found.point == pytest.approx(1.2 + np.sqrt(0.24))
    assert found.scale == "odds_ratio_conditional"
    assert "square root" in found.conversion
    with pytest.raises(SettingsError, match="needs a ratio"):
        e_value(estimate("risk_difference", 0.1, 0.0, 0.2))
    with pytest.raises(SettingsError, match="has no estimate"):
        e_value(estimate("risk_ratio", float("nan"), float("nan"), float("nan")))


def test_a_cause_of_the_strength_of_the_e_value_leaves_nothing():
    value = e_value_of(1.6, 1.3, 1.97)
    assert 1.6 / bias_factor(value.point, value.point) == pytest.approx(1.0)
    table = confounding_table(value, (1.5, 4.0)).set_index(["with_treatment", "with_outcome"])
    assert table.loc[(1.5, 4.0), "bias_factor"] == pytest.approx(1.5 * 4 / 4.5)
    assert table.loc[(1.5, 4.0), "risk_ratio"] == pytest.approx(1.6 / (6 / 4.5))
    assert not table.loc[(1.5, 1.5), "explained_away"]
    assert table.loc[(4.0, 4.0), "explained_away"]
    below = confounding_table(e_value_of(0.5, 0.4, 0.63), (1.5, 4.0)).iloc[1]
    assert below["risk_ratio"] == pytest.approx(0.5 * 6 / 4.5)


def test_bounds_on_pairs_that_differ():
    expected = REFERENCE["rosenbaum_binary_hammond"]
    found = rosenbaum_binary(110, 12, expected["gamma"])
    np.testing.assert_allclose(found["p_upper"], expected["p_upper"], rtol=1e-6)
    # R computes 1 - pnorm(), exact to 1e-16 only
    np.testing.assert_allclose(found["p_upper_normal"], expected["p_upper_normal_continuity"], rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize(
    ("zeros", "block"),
    [("ranked", "zero_difference_ranked_then_ignored"), ("dropped", "zero_difference_dropped_first")],
)
def test_bounds_on_signed_ranks(zeros, block):
    case = REFERENCE["rosenbaum_lead_signed_rank"]
    difference = np.array(case["exposed"]) - np.array(case["control"])
    found = rosenbaum_signed_rank(difference, [row["gamma"] for row in case[block]], zeros=zeros)
    for name, ours in (("n", "n"), ("T", "statistic"), ("expected", "expected"), ("variance", "variance"), ("z", "z")):
        np.testing.assert_allclose(found[ours], [row[name] for row in case[block]], rtol=1e-6)
    np.testing.assert_allclose(found["p_upper"], [row["p_upper"] for row in case[block]], rtol=1e-6)
    if zeros == "dropped":
        steps = rosenbaum_signed_rank(difference, np.arange(1, 5.01, 0.25), zeros=zeros)
        np.testing.assert_allclose(steps["p_upper"], case["psens_4_digits"], atol=5.1e-5)


def test_bounds_on_an_additive_effect():
    case = REFERENCE["rosenbaum_lead_signed_rank"]
    difference = np.array(case["exposed"]) - np.array(case["control"])
    expected = REFERENCE["rosenbaum_lead_hodges_lehmann"]
    stepped = rosenbaum_effect(difference, [row["gamma"] for row in expected], step=0.1)
    np.testing.assert_allclose(stepped["low"], [row["low"] for row in expected], rtol=1e-6)
    np.testing.assert_allclose(stepped["high"], [row["high"] for row in expected], rtol=1e-6)
    # brute force: all means of two differences; the statistic at a shift is how many of them exceed it
    i, j = np.triu_indices(len(difference))
    means = np.sort((difference[i] + difference[j]) / 2)[::-1]
    exact = rosenbaum_effect(difference, [1.0, 2.0, 3.0])
    assert exact["low"].tolist() == pytest.approx([15.0, (means[373] + means[374]) / 2, means[420]])
    assert exact["high"].tolist() == pytest.approx([15.0, (means[186] + means[187]) / 2, means[140]])


def test_what_cannot_be_bounded():
    with pytest.raises(SettingsError, match="at least 1"):
        rosenbaum_signed_rank([1.0, 2.0], [0.5])
    with pytest.raises(SettingsError, match="not all zero"):
        rosenbaum_signed_rank([0.0, 0.0])
    with pytest.raises(SettingsError, match="one pair that differs"):
        rosenbaum_binary(0, 0)
    with pytest.raises(SettingsError, match="above zero"):
        e_value_of(-0.5, -0.6, 0.2)


def test_bounds_on_a_design_of_pairs():
    # 9 pairs in which only the treated has the outcome, 3 in which only the other has it, 4 alike; one row in no pair
    outcomes = [(1, 0)] * 9 + [(0, 1)] * 3 + [(1, 1)] * 2 + [(0, 0)] * 2
    rows = [(i, arm, y) for i, both in enumerate(outcomes) for arm, y in zip((1, 0), both, strict=True)] + [(-1, 0, 1)]
    table = pd.DataFrame(rows, columns=["set", "treated", "outcome"])
    risk = RiskSet.from_frame(table, outcome="outcome", treatment="treated")
    design = SimpleNamespace(risk=risk, sets=table["set"].to_numpy())
    found = rosenbaum_bounds(design, [1.0, 2.0])
    assert found["treated_only"].tolist() == [9, 9]
    # twelve throws of a fair coin, nine or more: (220 + 66 + 12 + 1) / 4096
    assert found["p_upper"].iloc[0] == pytest.approx(299 / 4096)
    with pytest.raises(SettingsError, match="found 1 sets"):
        rosenbaum_bounds(SimpleNamespace(risk=risk, sets=table["set"].clip(lower=0).to_numpy()))
    with pytest.raises(SettingsError, match="without replacement"):
        rosenbaum_bounds(SimpleNamespace(risk=risk, sets=None))
