import dataclasses

import numpy as np
import pandas as pd
import pytest

from missie_impact.simulation import SimulationSettings
from missie_impact.simulation.markets import load_calendar, load_markets
from missie_impact.simulation.population import draw_firms
from missie_impact.simulation.potential import NEVER_LATER, PROTOCOL_YEARS, Sampling, Trials
from missie_impact.simulation.state import Setting
from missie_impact.simulation.worlds import run
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


def test_writing_replaces_the_same_settings_and_population_only(tmp_path):
    path = tmp_path / "truth.csv"
    row = dict(zip(COLUMNS, ("a", "rd_att", "risk_difference", "entry", "all", "none", 0.1, 0.01, 5.0), strict=True))
    write_truth(path, pd.DataFrame([row, row | {"settings": "b"}]))
    write_truth(path, pd.DataFrame([row | {"population": "exit"}]))
    write_truth(path, pd.DataFrame([row | {"value": 0.2}]))
    stored = pd.read_csv(path).set_index(["settings", "population"])["value"].to_dict()
    assert stored == {("a", "entry"): 0.2, ("b", "entry"): 0.1, ("a", "exit"): 0.1}


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


def test_the_third_arm_never_goes_later():
    """Nobody goes in t..t+3; who would not have gone anyway lives the same life as in the arm without the mission."""
    settings = dataclasses.replace(TINY, firms=60_000)
    setting = Setting(settings, load_markets(), load_calendar())
    trials = Trials(setting, Sampling(realised=False, pair_trials=(1, 0), never_later=True))
    later = {}

    def look(step):
        trials.step(step.state, step.intentions, step.year)
        for trial in trials.running:
            without, _, never = trial.arms
            if step.year <= trial.year + PROTOCOL_YEARS:
                assert (never.last_mission < trial.year).all()
                later[trial.year] = without.last_mission >= trial.year

    run(setting, draw_firms(settings, np.arange(settings.firms)), before=look, progress=False)
    assert sum(goes.sum() for goes in later.values()) > 20
    for trial in trials.done:
        same = ~later[trial.year]
        for year in trial.active:
            np.testing.assert_array_equal(year[0, same], year[NEVER_LATER, same])


def test_doses_add_up_to_the_treated():
    sums = population_sums(dataclasses.replace(TINY, seed=2, firms=60_000), pairs=False)
    doses = np.sum([values for name, values in sums.items() if name.startswith("transition_dose|")], axis=0)
    np.testing.assert_allclose(doses, sums["transition|all"])
    with_later, never = sums["transition|all"], sums["transition_no_later_mission|all"]
    assert never[3] == with_later[3] and never[2] != with_later[2]  # the treated world is the same, the other is not


def test_populations_of_firms_alone(tmp_path):
    names = ["transition_no_later_mission", "transition_dose"]
    some = compute_truth(TINY, 2, tmp_path, only=names, progress=False)
    whole = compute_truth(TINY, 2, tmp_path, progress=False)
    expected = whole[whole["population"].isin(names)].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, expected)
