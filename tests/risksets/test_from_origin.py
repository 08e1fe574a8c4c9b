"""Whole spells with their years before entry, for effects at the origin."""

import pandas as pd
import pytest

from missie_impact import build_panel, exit_risk_set, simulate_registers
from missie_impact.effects.leaving.exit import market_exit
from missie_impact.effects.leaving.frailty import Frailty
from missie_impact.errors import SettingsError

PAIR = ["firm", "market", "spell"]


@pytest.fixture(scope="module")
def panel():
    with simulate_registers(11, firms=6_000, progress=False) as registers:
        yield build_panel(registers)


def test_spells_reach_back_to_their_origin(panel):
    usual = exit_risk_set(panel, "spells").collect()
    whole = exit_risk_set(panel, "spells", before_entry=True).collect()
    followed = whole[whole["before_entry"] == 0].drop(columns="before_entry").reset_index(drop=True)
    seen = usual[usual["origin_seen"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(followed[seen.columns], seen, check_dtype=False)
    early = whole[whole["before_entry"] == 1]
    assert len(early) and (early["outcome"] == 0).all()
    assert (whole.groupby(PAIR)["start"].min() == 0).all()
    with pytest.raises(SettingsError, match="no rows before entry"):
        exit_risk_set(panel, "trials", before_entry=True)


def test_frailty_on_registers_needs_the_origin(panel):
    settings = {"cluster": "firm", "controls": ["log_pair_exports"], "frailty": Frailty("pair", points=15)}
    with pytest.raises(SettingsError, match="began before the data"):
        market_exit(exit_risk_set(panel, "spells"), **settings)
    made = market_exit(exit_risk_set(panel, "spells", before_entry=True), **settings)
    assert made.effect("frailty_variance").estimate >= 0
    assert "firm_mean_log_pair_exports" in made.coefficients.index
    trials = market_exit(exit_risk_set(panel), **settings)
    assert any("time since eligibility" in note for note in trials.notes)
