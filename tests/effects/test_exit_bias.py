"""Ways to go wrong that must show: immortal time, death taken for exit."""

import numpy as np
import pandas as pd
import pytest

from missie_impact import build_panel, simulate_registers
from missie_impact.effects import CurveOptions, market_exit, survival_curve
from missie_impact.effects.leaving.exit_codings import EVER, exit_codings
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


def test_ignoring_late_entry_overstates_survival_and_flattens_the_hazard(make):
    # everybody leaves with chance 0.2 a year for three years, 0.05 thereafter; many are first seen after years 1 to 4
    rng, n = np.random.default_rng(9), 20_000
    hazard, last = np.array([0.2] * 3 + [0.05] * 5), 8
    stop, left = np.full(n, last), np.zeros(n, dtype=int)
    for year in range(last, 0, -1):
        out = rng.random(n) < hazard[year - 1]
        stop, left = np.where(out, year, stop), np.where(out, 1, left)
    entry = rng.integers(0, 5, n)
    table = pd.DataFrame({"entry": entry, "stop": stop, "left": left, "one": 1, "zero": 0})[stop > entry]
    roles = {"outcome": "left", "treatment": "one", "duration": "stop"}
    options = CurveOptions(times=(3.0, 8.0), bands=False)
    right, wrong = (
        survival_curve(make.risk_set(table, **roles, start=start), cluster=None, options=options).table
        for start in ("entry", "zero")
    )
    truth = np.cumprod(1 - hazard)[[2, 7]]
    assert (np.abs(right["estimate"] - truth) < 3 * right["std_error"]).all()
    assert (wrong["estimate"] > truth + 10 * wrong["std_error"]).all()
