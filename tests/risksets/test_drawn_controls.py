"""Controls drawn with known probability stand for all controls."""

import numpy as np
import pandas as pd
import pytest

from missie_impact import build_panel, entry_risk_set, exit_risk_set, simulate_registers
from missie_impact.errors import SettingsError

KEY = ["firm", "market", "year", "follow_up"]


@pytest.fixture(scope="module")
def panel():
    with simulate_registers(11, firms=8_000, progress=False) as registers:
        yield build_panel(registers)


def test_enough_controls_are_all_controls(panel):
    everything = exit_risk_set(panel).collect()
    drawn = exit_risk_set(panel, controls_per_treated=np.int64(1_000_000)).collect()
    assert (drawn["probability"] == 1.0).all()
    pd.testing.assert_frame_equal(drawn.drop(columns="probability"), everything)


def test_weights_stand_for_the_controls_left_out(panel):
    everything = exit_risk_set(panel).collect().query("follow_up == 1")
    drawn = exit_risk_set(panel, controls_per_treated=10).collect().query("follow_up == 1")
    assert drawn["treated"].sum() == everything["treated"].sum()
    assert (drawn.query("treated == 1")["probability"] == 1.0).all()
    controls = drawn.query("treated == 0")["probability"]
    assert len(controls) < 0.5 * (everything["treated"] == 0).sum()
    # The sum of inverse probabilities has the number of controls as its mean; its variance is sum of w (w - 1).
    spread = np.sqrt((controls * (controls - 1)).sum())
    assert abs(controls.sum() - (everything["treated"] == 0).sum()) < 4 * spread


def test_the_draw_depends_on_its_seed_alone(panel):
    one, same, other = (exit_risk_set(panel, controls_per_treated=10, seed=s).collect(KEY) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)


@pytest.mark.parametrize("number", [0, -1, True, "all", None])
def test_a_number_of_controls_below_one_is_refused(panel, number):
    with pytest.raises(SettingsError, match="controls_per_treated: expected a number of at least 1"):
        entry_risk_set(panel, controls_per_treated=number)
    if number is not None:  # which keeps all controls here
        with pytest.raises(SettingsError, match="controls_per_treated: expected a number of at least 1"):
            exit_risk_set(panel, controls_per_treated=number)
