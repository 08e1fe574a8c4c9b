"""Bias and coverage: the acceptance rule by hand, and a short run of the long validation."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from missie_impact.validity.coverage import (
    ESTIMATORS,
    FIRST_SEED,
    LEVELS,
    REGIMES,
    coverage_table,
    run,
    true_values,
)
from missie_impact.validity.journal import drawn, read_journal
from missie_impact.validity.judged import exact_interval, judged


def truths(value):
    return pd.DataFrame(
        [
            {"estimand": estimand, "population": question, "group": "all", "value": value, "mc_error": 0.0}
            for estimand, question in sorted({(s, e.question) for e in ESTIMATORS for s in e.scales.values()})
        ]
    )


def draws(estimate, low, high, n):
    return [{f"{e.name}; {scale}": [estimate, low, high] for e in ESTIMATORS for scale in e.scales} for _ in range(n)]


def by_name(table):
    return table.set_index(["estimator", "estimand"]).sort_index()


REGRESSION = ("transition, regression", "or_marginal_att")
ROWS = sum(len(e.scales) for e in ESTIMATORS)


def test_every_interval_holds_the_truth():
    table = by_name(coverage_table("x", truths(2.0), draws(2.0, 1.5, 2.5, 100)))
    row = table.loc[REGRESSION]
    assert (row["coverage"], row["bias"], row["draws"]) == (1.0, 0.0, 100)
    assert row["unbiased"]
    # 100 of 100 is not too many: the lower end is 0.0005 ** (1 / 100) = 0.927
    assert row["coverage_low"] == pytest.approx(0.0005**0.01)
    assert row["covers"]


def test_bias_of_a_ratio_is_on_the_log_scale():
    table = by_name(coverage_table("x", truths(2.0), draws(3.0, 2.5, 3.5, 50)))
    assert table.loc[REGRESSION, "bias"] == pytest.approx(math.log(1.5))
    assert table.loc[("entry, regression", "rd_att"), "bias"] == pytest.approx(1.0)
    assert not table["unbiased"].any()
    assert not table["covers"].any()


def test_draws_without_an_estimate_are_counted():
    mixed = draws(2.0, 1.5, 2.5, 3) + draws(math.nan, math.nan, math.nan, 2)
    assert coverage_table("x", truths(2.0), mixed)["failed"].tolist() == [2] * ROWS


def test_without_an_effect_ratios_are_one_and_differences_zero():
    for regime in REGIMES:
        if regime.truth == "none":
            table = coverage_table(regime.name, true_values(regime), draws(1.0, 0.5, 1.5, 4))
            ratios = table["estimand"].str.startswith(("or_", "rr_", "hr_"))
            levels = table["estimand"].isin(LEVELS)  # probabilities, equal in both worlds
            assert table["truth"][~levels].eq(ratios[~levels].astype(float)).all()
            assert table["truth"][levels].nunique() <= 1


def test_the_error_of_the_truth_counts():
    values = np.column_stack([[0.1, 0.3], [0.05, 0.2], [0.2, 0.4]])
    found = judged(values, 0.25, ratio=False, truth_error=0.3)
    assert found["bias_error"] == pytest.approx(math.hypot(0.1, 0.3))
    assert judged(values, 2.0, ratio=True, truth_error=0.3)["bias_error"] == pytest.approx(
        math.hypot(math.log(3) / 2, 0.15)
    )


def test_exact_interval():
    # by the definition: P(X >= 45 | low) = P(X <= 45 | high) = 0.025
    low, high = exact_interval(45, 50, 0.95)
    assert binom.sf(44, 50, low) == pytest.approx(0.025)
    assert binom.cdf(45, 50, high) == pytest.approx(0.025)
    assert exact_interval(0, 10)[0] == 0.0 and exact_interval(10, 10)[1] == 1.0


def test_a_run_goes_on_where_it_stopped(tmp_path):
    regime = REGIMES[0]
    first = run(tmp_path, regime, [FIRST_SEED], 4_000, ["transition"], progress=False)
    journal = next(tmp_path.glob("*.jsonl"))
    before = journal.read_text()
    again = run(tmp_path, regime, [FIRST_SEED], 4_000, ["transition"], progress=False)
    assert journal.read_text() == before
    pd.testing.assert_frame_equal(first, again)
    assert first["truth"].notna().all()
    # another question is asked of the same register, and the answers stand together
    both = run(tmp_path, regime, [FIRST_SEED], 4_000, ["transition", "exit"], progress=False)
    assert journal.read_text().startswith(before) and len(read_journal(journal)) == 1
    asked = (both["draws"] + both["failed"]).groupby(both["estimator"]).max()
    assert asked["exit, cloglog"] == asked["transition, naive"] == 1 and asked["entry, regression"] == 0
    same = both["estimator"].str.startswith("transition")
    pd.testing.assert_frame_equal(both[same], first[first["estimator"].str.startswith("transition")])


def test_journals_skip_a_line_that_was_cut_off_and_ask_each_seed_once(tmp_path):
    journal, asked = tmp_path / "new" / "j.jsonl", []

    def once(seed):
        asked.append(seed)
        return [seed / 2]

    drawn(journal, [1, 2], once, "x", progress=False)
    journal.write_text(journal.read_text() + '{"seed": 3, "fou')
    assert drawn(journal, [3, 1], once, "x", progress=False) == {3: [1.5], 1: [0.5]}
    assert asked == [1, 2, 3]
    assert read_journal(journal) == {1: [0.5], 2: [1.0], 3: [1.5]}
