"""The truth over the units a design kept: potential outcomes averaged by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import missie_impact as mi
from missie_impact.errors import SettingsError
from missie_impact.validity import truth


@pytest.fixture(scope="module")
def study(tmp_path_factory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("registers")
    registers = mi.simulate_registers(seed=11, firms=12_000, out=folder, progress=False)
    outcomes = pd.read_parquet(folder / "simulated" / "potential_outcomes.parquet")
    return registers, mi.transition_risk_set(mi.build_panel(registers)), outcomes


def test_realised_truth_is_the_mean_over_the_treated_kept(study) -> None:  # type: ignore[no-untyped-def]
    registers, risk, outcomes = study
    frame = risk.collect(["firm", "year", "treated"])
    # Half of the treated dropped by hand, as a caliper would: the truth is that of the others.
    treated = frame[frame["treated"] == 1].reset_index()
    design = mi.match(risk, on=["log_exports", "log_workers"], exact=["year"], caliper_sd=0.01, seed=1)
    kept = treated[np.asarray(design.weight)[treated["index"]] > 0]
    assert 0 < len(kept) < len(treated)
    mine = kept.merge(outcomes[outcomes["outcome"] == "structural"], on=["firm", "year"])
    found = truth(registers, design).set_index("estimand")
    assert found.loc["rd_att", "realised"] == pytest.approx((mine["y1"] - mine["y0"]).mean())
    assert found.loc["rd_att", "n_treated"] == len(mine)
    assert found.loc["or_marginal_att", "stored"] == pytest.approx(1.597, abs=0.01)


def test_a_risk_set_has_the_truth_of_all_its_treated(study) -> None:  # type: ignore[no-untyped-def]
    registers, risk, outcomes = study
    frame = risk.collect(["firm", "year", "treated"])
    mine = frame[frame["treated"] == 1].merge(outcomes[outcomes["outcome"] == "structural"], on=["firm", "year"])
    found = truth(registers, risk).set_index("estimand")
    assert found.loc["rd_att", "realised"] == pytest.approx((mine["y1"] - mine["y0"]).mean())
    assert found["population"].unique().tolist() == ["transition"]


def test_an_own_table_has_no_truth(study) -> None:  # type: ignore[no-untyped-def]
    own = mi.RiskSet.from_frame(pd.DataFrame({"y": [0, 1], "d": [0, 1]}), outcome="y", treatment="d")
    with pytest.raises(SettingsError, match="own table"):
        truth(study[0], own)
