"""What a placebo says of a design."""

import numpy as np
import pandas as pd
import pytest

from missie_impact import RiskSet, build_panel, market_entry, simulate_registers, structural_transition
from missie_impact.errors import SettingsError
from missie_impact.risksets.placebo import placebo_market_risk_set
from missie_impact.validity.placebo import FAILURE, PASSES, UNDECIDED, judge, placebo, placebo_markets


def effect(treated_yes, treated_no, control_yes, control_no):
    counts = [treated_yes, treated_no, control_yes, control_no]
    table = pd.DataFrame(
        {
            "treated": np.repeat([1, 1, 0, 0], counts),
            "outcome": np.repeat([1, 0, 1, 0], counts),
            "firm": range(sum(counts)),
        }
    )
    risk = RiskSet.from_frame(table, outcome="outcome", treatment="treated", firm="firm")
    return structural_transition(risk, cluster=None, controls=None)


def test_verdicts():
    # odds ratio 1 with errors 0.02, 0.4 and an odds ratio of 2 with error 0.1
    assert judge(effect(10_000, 10_000, 10_000, 10_000), "transition", 5).verdict == PASSES
    assert judge(effect(25, 25, 25, 25), "transition", 5).verdict == UNDECIDED
    failed = judge(effect(400, 200, 400, 400), "transition", 5)
    assert failed.verdict == FAILURE
    assert failed.failed
    assert judge(effect(400, 200, 400, 400), "transition", 5, margin=3.0).verdict == PASSES
    # 90 per cent interval of the log odds ratio: 1.6449 errors
    error = np.sqrt(1 / 400 + 1 / 200 + 2 / 400)
    assert failed.equivalence_high == pytest.approx(2 * np.exp(1.6448536 * error), rel=1e-6)
    with pytest.raises(SettingsError, match="more than 1"):
        judge(effect(9, 9, 9, 9), "transition", 5, margin=0.9)


def test_a_placebo_on_a_simulated_register(panel):
    found = placebo(panel, "entry", cluster="firm", controls=["log_workers", "log_exports"])
    assert found.lag == 3
    assert found.effect.simulated
    assert found.verdict in (PASSES, UNDECIDED, FAILURE)
    later = placebo(panel, "entry", cluster="firm", controls=["log_workers", "log_exports"], lag=4)
    assert later.lag == 4


def test_placebo_markets_on_a_simulated_register(panel):
    found = placebo_markets(panel, "entry", cluster="firm", controls=["log_workers", "log_exports"])
    assert (found.kind, found.lag) == ("market", 0) and "markets not visited" in repr(found)
    whole = market_entry(
        placebo_market_risk_set(panel, "entry"), cluster="firm", controls=["log_workers", "log_exports"]
    )
    assert found.estimate == whole.effect("risk_difference").estimate


def test_effects_that_spill_over_show_in_placebo_markets():
    """Registers where a mission changes a firm's other markets as much as its own: fewer of these are left."""
    with simulate_registers(4, firms=14_000, spillover=1.0, progress=False) as registers:
        found = placebo_markets(build_panel(registers), "exit", cluster="firm")
    assert found.estimate < 0.8 and found.failed
