"""Truth and coverage of the increase: sums by hand, arms that do not differ without an effect, journals that resume."""

import json
import math

import pytest

from missie_impact.validity.increase_coverage import (
    FIGURES,
    FIRST_SEED,
    REGIMES,
    SCALES,
    Regime,
    run_regime,
    truths,
    world_sums,
)


def test_truths_by_hand():
    # 4 pairs: EUR 40 without and 50 with; 2 of 4 grow without, 3 with; 1 and 2 of 4 firms
    found = truths(
        {"mean_eur": (4, 40.0, 50.0), "grower_share": (4, 2, 3), "share_growers": (4, 1, 2), "share_pairs": (4, 2, 3)}
    )
    assert found["mean_ratio"] == 1.25
    assert found["att_eur"] == 2.5
    assert found["grower_share_difference"] == 0.25
    assert (found["share_growers_pp"], found["share_pairs_pp"]) == (25.0, 25.0)


def test_without_an_effect_the_arms_are_the_same_and_with_one_they_are_not():
    none, planted = (world_sums(Regime(truth, "observed_history").settings(3, 4_000)) for truth in ("none", "cbs_2024"))
    assert none["mean_eur"][0] > 5
    for _, without, with_ in none.values():
        assert without == with_
    assert planted["mean_eur"][2] > planted["mean_eur"][1]
    assert planted["mean_eur_winsorised"][1] <= planted["mean_eur"][1]


def test_journals_are_read_and_judged(tmp_path):
    regime = REGIMES[0]
    sums = {"mean_eur": [10, 100.0, 110.0], "share_growers": [8, 2, 3]}
    for j in range(2):
        line = json.dumps({"seed": 2**41 + j, "found": sums | {"share_pairs": [10, 2, 3]}})
        with (tmp_path / f"truth-{regime.name}.jsonl").open("a") as journal:
            journal.write(line + "\n")
    estimates = {0: [1.1, 1.0, 1.2], 1: [1.3, 1.2, 1.4], 2: [math.nan] * 3}
    for j, values in estimates.items():
        line = json.dumps({"seed": FIRST_SEED + j, "found": {"mean_ratio; regression": values}})
        with (tmp_path / f"{regime.name}-100.jsonl").open("a") as journal:
            journal.write(line + "\n")
    table = run_regime(tmp_path, regime, range(FIRST_SEED, FIRST_SEED + 3), 100, 2, [], progress=False)
    row = table.iloc[0]
    assert (row["draws"], row["failed"], row["coverage"]) == (2, 1, 0.5)
    assert row["truth"] == pytest.approx(1.1)
    assert row["bias"] == pytest.approx((math.log(1.1) + math.log(1.3)) / 2 - math.log(1.1))
    assert row["truth_error"] == pytest.approx(0.0)


def test_every_scale_and_figure_has_a_truth():
    amounts = ("mean_eur", "mean_eur_winsorised", "mean_eur_winsorised_yearly")
    sums = {name: (2, 1.0, 2.0) for name in (*amounts, "grower_share", "export_share", "share_growers", "share_pairs")}
    estimands = {estimand for scales in SCALES.values() for estimand in scales.values()}
    assert {*estimands, *FIGURES.values()} <= set(truths(sums))
