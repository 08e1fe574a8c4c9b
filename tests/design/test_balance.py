"""Balance: R's differences, and measures by hand."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.design import balance, match, weight
from missie_impact.errors import SettingsError

CASES = {
    "nn_1to1_without_replacement_largest_first": lambda case: match(case.risk, on=case.on),
    "nn_1to1_caliper_0.2_sd_ps_largest_first": lambda case: match(case.risk, on=case.on, caliper_sd=0.2),
    "nn_1to1_exact_race_largest_first": lambda case: match(case.risk, on=case.on, exact="race"),
    "ipw_att": lambda case: weight(case.risk, on=case.on),
}
NAMES = {"ps": "propensity score", "black": "race[black]", "hispan": "race[hispan]", "white": "race[white]"}


@pytest.mark.parametrize("case", CASES)
def test_means_and_differences_are_rs(lalonde, case):
    table = balance(CASES[case](lalonde)).table.set_index("term")
    for stage, expected in (("before", "balance_unmatched"), ("after", None)):
        numbers = lalonde.reference[expected] if expected else lalonde.reference[case]["balance"]
        for name, values in numbers.items():
            row = table.loc[NAMES.get(name, name)]
            np.testing.assert_allclose(row[f"mean_treated_{stage}"], values["mean_treated"], rtol=1e-6)
            np.testing.assert_allclose(row[f"mean_untreated_{stage}"], values["mean_control"], rtol=1e-6)
            np.testing.assert_allclose(row[f"difference_{stage}"], values["smd"], rtol=1e-6)


def small(make):
    """Three treated and four untreated firms; one untreated weighs nothing after matching."""
    table = pd.DataFrame(
        {
            "treated": [1, 1, 1, 0, 0, 0, 0],
            "outcome": 0,
            "x": [2.0, 4.0, 9.0, 1.0, 4.0, 5.0, 20.0],
            "size": ["a", "a", "b", "a", "a", "b", "b"],
        }
    )
    return match(make.risk_set(table), on=["x"], method="mahalanobis")


def test_by_hand(make):
    design = small(make)
    assert design.weight.tolist() == [1, 1, 1, 1, 1, 1, 0]  # 2-1, 4-4, 9-5: nearest first come, first served
    row = balance(design).table.set_index("term").loc["x"]
    sd = np.std([2, 4, 9], ddof=1)
    assert row["sd"] == pytest.approx(sd)
    assert row["difference_before"] == pytest.approx((5 - 7.5) / sd)
    assert row["difference_after"] == pytest.approx((5 - 10 / 3) / sd)
    assert row["variance_ratio_before"] == pytest.approx(13 / np.var([1, 4, 5, 20], ddof=1))
    assert row["variance_ratio_after"] == pytest.approx(13 / np.var([1, 4, 5], ddof=1))
    assert row["ks_before"] == pytest.approx(1 / 4)  # at 1, where no treated firm is yet, and at 9
    assert row["ks_after"] == pytest.approx(1 / 3)
    assert not row["within"]


def test_pooled_denominator_for_everybody(make):
    table = make.trials()
    row = balance(weight(make.risk_set(table), on=["log_workers"], estimand="ate")).table.set_index("term")
    arms = [table.loc[table["treated"] == arm, "log_workers"].var() for arm in (1, 0)]
    assert row.loc["log_workers", "sd"] == pytest.approx(np.sqrt(sum(arms) / 2))


def test_weighted_distance_of_distributions(make):
    table = make.trials()
    design = weight(make.risk_set(table), on=["log_workers"])
    rows = design.risk.collect()
    treated, x, w = rows["treated"].to_numpy() == 1, rows["log_workers"].to_numpy(), design.weight

    def share_below(at, arm):
        return w[arm & (x <= at)].sum() / w[arm].sum()

    expected = max(abs(share_below(at, treated) - share_below(at, ~treated)) for at in x)
    found = balance(design).table.set_index("term").loc["log_workers", "ks_after"]
    assert found == pytest.approx(expected)


def test_effective_sizes(lalonde):
    sizes = balance(match(lalonde.risk, on=lalonde.on, replace=True)).sizes.iloc[0]
    design = match(lalonde.risk, on=lalonde.on, replace=True)
    w = design.weight[~lalonde.treated]
    assert sizes["effective_untreated_after"] == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert sizes["effective_untreated_before"] == 429 and sizes["n_untreated_after"] == (w > 0).sum()


def test_subgroups_are_judged_on_their_own(make):
    found = balance(small(make), by="size")
    assert list(found.sizes["group"]) == ["all", "size=a", "size=b"]
    table = found.table.set_index(["group", "term"])
    assert table.loc[("size=a", "x"), "difference_after"] == pytest.approx((3 - 2.5) / np.std([2, 4], ddof=1))
    assert table.loc[("size=b", "x"), "reason"] != ""  # one treated firm: no standard deviation
    assert any("size=a" in name for name in found.beyond)


def test_verdict_follows_the_threshold(lalonde):
    design = weight(lalonde.risk, on=lalonde.on)
    strict, lenient = balance(design, threshold=0.1), balance(design, threshold=0.2)
    assert strict.beyond == ("age",) and not strict.balanced
    assert "1 of 9" in strict.verdict and "age" in strict.verdict
    assert lenient.balanced and "0.2" in lenient.verdict
    with pytest.raises(SettingsError, match="threshold"):
        balance(design, threshold=0.0)


def test_further_controls_can_be_looked_at(lalonde):
    design = match(lalonde.risk, on=["age"])
    terms = balance(design, also=["re74", "race"]).table["term"].tolist()
    assert set(terms) == {"propensity score", "age", "re74", "race[black]", "race[hispan]", "race[white]"}
    with pytest.raises(SettingsError, match="re78"):
        balance(design, also=["re78"])


def test_shows_itself(lalonde):
    found = balance(weight(lalonde.risk, on=lalonde.on))
    assert repr(found).startswith("Balance(Not balanced: 1 of 9 terms")
    assert "standard deviation of the treated" in found._repr_html_()
