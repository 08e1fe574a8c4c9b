"""Ways to go wrong that must show: immortal time, death taken for exit."""

import pytest

from missie_impact import build_panel, simulate_registers
from missie_impact.effects import market_exit
from missie_impact.effects.exit_codings import EVER, exit_codings
from missie_impact.errors import SettingsError

CONTROLS = ["log_workers", "log_pair_exports", "log_exports", "activity_pattern"]


@pytest.mark.slow
def test_without_any_effect_the_headline_holds_one_and_ever_participants_do_not():
    with simulate_registers(1, firms=30_000, truth="none", calibrate_r6=False, progress=False) as registers:
        panel = build_panel(registers)
        found = exit_codings(panel, controls=CONTROLS, codings=[EVER, "trials from t+1"]).set_index("coding")
        with pytest.raises(SettingsError, match="codings: expected some of"):
            exit_codings(panel, codings=["never"])
    headline, ever = found.loc["trials from t+1"], found.loc[EVER]
    assert headline["conf_low"] < 1 < headline["conf_high"]
    assert 0.8 < headline["hazard_ratio"] < 1.25
    assert ever["hazard_ratio"] < 0.75
    assert ever["conf_high"] < 1


def test_death_is_not_exit(make):
    # One year, 100 firms each: 20 leave in both arms; 10 participants and 30 others die.
    counts = [(1, 1, 0, 20), (1, 0, 1, 10), (1, 0, 0, 70), (0, 1, 0, 20), (0, 0, 1, 30), (0, 0, 0, 50)]
    table = make.repeated(counts, ["treated", "left", "died"]).assign(t=1)
    table["cause"] = table["left"] + 2 * table["died"]
    table["either"] = table["left"] + table["died"]
    right = market_exit(make.risk_set(table, outcome="left", duration="t", cause="cause"), controls=None, cluster=None)
    wrong = market_exit(make.risk_set(table, outcome="either", duration="t"), controls=None, cluster=None)
    assert right.effect("hazard_ratio_conditional").estimate == pytest.approx(1.0)
    assert wrong.effect("hazard_ratio_conditional").estimate == pytest.approx(0.5146, abs=1e-4)  # log 0.7 / log 0.5
