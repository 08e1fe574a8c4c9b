import dataclasses

import numpy as np
import pandas as pd
import pytest

from missie_impact.simulation import SimulationSettings
from missie_impact.validity.stored import (
    COLUMNS,
    compute_truth,
    estimands,
    population_sums,
    stored_truth,
    truth_of,
    truth_table,
    write_truth,
)

TINY = SimulationSettings(firms=15_000)


def test_risk_scales_by_hand():
    found = estimands("transition|all", np.array([10.0, 10.0, 5.0, 8.0]))
    assert found["risk_without"] == 0.5 and found["risk_with"] == 0.8
    assert found["or_marginal_att"] == pytest.approx(4.0)
    assert found["rr_att"] == pytest.approx(1.6)
    assert found["rd_att"] == pytest.approx(0.3)


def test_exit_scales_by_hand():
    at = np.array([[100.0, 90, 81, 72.9, 65.61], [100, 95, 90.25, 85.7375, 81.450625]])
    gone = at * np.array([[0.1], [0.05]])
    found = estimands("exit|all", np.concatenate([[1, 1], at.ravel(), gone.ravel()]))
    assert found["hr_marginal_att"] == pytest.approx(np.log(0.95) / np.log(0.9), rel=1e-6)
    assert found["survival_difference_1"] == pytest.approx(0.05)
    assert found["survival_difference_5"] == pytest.approx(0.95**5 - 0.9**5)
    assert found["yearly_exit_probability_without"] == pytest.approx(0.1)
    assert found["yearly_exit_probability_with"] == pytest.approx(0.05)


def test_error_is_the_jackknife_over_worlds():
    worlds = [{"entry|all": np.array([10.0, 10.0, 1.0, y])} for y in (2.0, 3.0, 4.0)]
    table = truth_table("k", worlds).set_index("estimand")
    assert table.loc["rd_att", "value"] == pytest.approx(0.2)
    assert table.loc["rd_att", "mc_error"] == pytest.approx(np.std([0.1, 0.2, 0.3], ddof=1) / np.sqrt(3))
    assert table.loc["rd_att", "n_effective"] == pytest.approx(30.0)


def test_without_effects_the_truth_is_nothing():
    table = truth_table("k", [population_sums(dataclasses.replace(TINY, truth="none", seed=1))])
    table = table[table["value"].notna()]
    for estimand, value in {"or_marginal_att": 1, "rr_att": 1, "rd_att": 0, "hr_marginal_att": 1}.items():
        found = table.loc[table["estimand"] == estimand, "value"]
        np.testing.assert_allclose(found, value, atol=1e-9)


def test_a_stopped_run_is_taken_up_again(tmp_path):
    whole = compute_truth(TINY, 2, tmp_path / "a", progress=False)
    compute_truth(TINY, 1, tmp_path / "b", progress=False)
    journal = next((tmp_path / "b").iterdir())
    with journal.open("a") as handle:
        handle.write('{"world": 1, "su')  # cut off in the middle of a line
        handle.write("\n")
    pd.testing.assert_frame_equal(compute_truth(TINY, 2, tmp_path / "b", progress=False), whole)


def test_writing_replaces_the_same_settings_only(tmp_path):
    path = tmp_path / "truth.csv"
    row = dict(zip(COLUMNS, ("a", "rd_att", "risk_difference", "entry", "all", "none", 0.1, 0.01, 5.0), strict=True))
    write_truth(path, pd.DataFrame([row, row | {"settings": "b"}]))
    write_truth(path, pd.DataFrame([row | {"value": 0.2}]))
    stored = pd.read_csv(path).set_index("settings")["value"].to_dict()
    assert stored == {"a": 0.2, "b": 0.1}


def test_settings_without_stored_truth_give_an_empty_table():
    assert stored_truth("nothing").empty and list(stored_truth("nothing").columns) == list(COLUMNS)
    assert np.isnan(truth_of("nothing", "rd_att", "entry"))


def test_default_settings_have_the_wanted_truth():
    key = SimulationSettings().truth_key()
    transition = stored_truth(key).query("population == 'transition' and group == 'all'").set_index("estimand")
    ratio = transition.loc["or_marginal_att"]
    assert ratio["n_effective"] > 2e6
    assert abs(ratio["value"] - 1.6) < 3 * ratio["mc_error"] + 0.005
    assert truth_of(key, "hr_marginal_att", "exit") == pytest.approx(0.5, abs=0.01)
    published = {"sme": 0.089, "not_sme": 0.062, "OECD": 0.116, "BRICS": 0.154, "developing": 0.0}
    for group, value in published.items():
        assert truth_of(key, "rd_att", "entry", group) == pytest.approx(value, abs=0.003)
    published = {"sme": 0.022, "not_sme": 0.025, "OECD": 0.029, "BRICS": 0.047, "developing": 0.0}
    for group, value in published.items():
        assert truth_of(key, "rd_att", "fdi", group) == pytest.approx(value, abs=0.002)


def test_a_world_without_effects_has_its_truth_stored_too():
    key = SimulationSettings(truth="none").truth_key()
    assert truth_of(key, "or_marginal_att", "transition") == pytest.approx(1.0, abs=1e-9)
    assert truth_of(key, "hr_marginal_att", "exit") == pytest.approx(1.0, abs=1e-9)
