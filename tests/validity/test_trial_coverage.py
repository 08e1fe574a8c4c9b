"""Variants of the trials over registers: judged by the right truth, and taken up again where a run stopped."""

import numpy as np
import pandas as pd
import pytest

from missie_impact import build_panel, simulate_registers
from missie_impact.effects.becoming.dose import count_missions
from missie_impact.risksets import transition_risk_set
from missie_impact.simulation import SimulationSettings
from missie_impact.validity import trial_coverage
from missie_impact.validity.stored import truth_of
from missie_impact.validity.trial_coverage import VARIANTS, main, summary


def drawn(shift):
    """Every variant ``shift`` beside one (ratios) or nothing (differences), with an interval of 0.5 around it."""
    found = {}
    for variant in VARIANTS:
        for scale in variant.scales:
            value = (1.0 if scale == "odds_ratio" else 0.0) + shift
            found[f"{variant.name}; {scale}"] = [value, value - 0.5, value + 0.5]
    return found


def test_each_variant_is_judged_by_its_own_truth():
    table = summary([drawn(0.1), drawn(0.3)]).set_index(["estimator", "scale"])
    key = SimulationSettings().truth_key()
    expected = truth_of(key, "or_marginal_att", "transition_no_later_mission")
    assert expected == pytest.approx(1.6, abs=0.01)
    per_protocol = table.loc[("per protocol", "odds_ratio")]
    assert per_protocol["truth"] == expected
    assert per_protocol["bias"] == pytest.approx(np.log([1.1, 1.3]).mean() - np.log(expected))
    assert per_protocol["coverage"] == pytest.approx(np.mean([expected <= 1.6, expected <= 1.8]))
    assert table.loc[("one mission in t", "risk_difference"), "truth"] == truth_of(
        key, "rd_att", "transition_dose", "dose=1"
    )
    placebo = table.loc[("placebo markets, entry", "risk_difference")]
    assert placebo["truth"] == 0.0 and placebo["bias"] == pytest.approx(0.2) and placebo["coverage"] == 1.0


def test_a_run_goes_on_where_it_stopped(monkeypatch, tmp_path):
    asked = []

    def once(seed, firms):
        asked.append(seed)
        return drawn(0.1)

    monkeypatch.setattr(trial_coverage, "estimate_once", once)
    assert main(["--out", str(tmp_path), "--draws", "2"]) == 0
    assert main(["--out", str(tmp_path), "--draws", "3"]) == 0
    assert asked == [trial_coverage.FIRST_SEED + k for k in range(3)]
    assert (pd.read_csv(tmp_path / "trial_coverage.csv")["draws"] == 3).all()


def test_one_mission_leaves_out_who_goes_more_often():
    with simulate_registers(11, firms=12_000, progress=False) as registers:
        panel = build_panel(registers)
        risk = transition_risk_set(panel)
        (one,) = (v for v in VARIANTS if v.name == "one mission in t")
        effect = one.estimate(panel, risk)
        number = count_missions(risk, panel).collect(["missions"])["missions"]
    assert effect.groups[0].counts.n_treated == (number == 1).sum()
    assert effect.groups[0].counts.n_rows <= (number <= 1).sum()
