"""Lost identities: by hand, loss that depends on what makes structural, bounds, and the risk set that keeps them."""

import numpy as np
import pandas as pd
import pytest

from missie_impact import (
    RiskSet,
    build_panel,
    lost_identities,
    simulate_registers,
    structural_transition,
    transition_risk_set,
)
from missie_impact.errors import NoEventError, SchemaError
from missie_impact.risksets.transition import IDENTITY_LOST


def risk_set(table):
    return RiskSet.from_frame(table, outcome="structural", treatment="went", firm="firm")


def mergers(n, seed=1):
    """Firms with z are lost more often and become structural more often; the effect is larger for them."""
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 2, n)
    went = rng.random(n) < 0.3
    risk = 0.1 + 0.3 * z + went * (0.05 + 0.3 * z)
    lost = np.where(rng.random(n) < 0.02 + 0.5 * z, rng.integers(1, 5, n), 0)
    return pd.DataFrame(
        {
            "firm": np.arange(n) // 2,
            "z": z,
            "went": went.astype(int),
            "structural": (rng.random(n) < risk).astype(int),
            "identity_lost": pd.array(np.where(lost > 0, lost, 0), dtype="Int64"),
        }
    ).assign(identity_lost=lambda t: t["identity_lost"].where(t["identity_lost"] > 0))


def test_by_hand():
    # z = 0: 8 treated, 2 lost, 3 of 6 seen structural; 12 untreated, none lost, 3 structural.
    # z = 1: 4 treated, none lost, 2 structural; 10 untreated, 5 lost, 2 of 5 seen structural
    rows = [(0, 1, 1, None)] * 3 + [(0, 1, 0, None)] * 3 + [(0, 1, 0, 1), (0, 1, 1, 1)]
    rows += [(0, 0, 1, None)] * 3 + [(0, 0, 0, None)] * 9
    rows += [(1, 1, 1, None)] * 2 + [(1, 1, 0, None)] * 2
    rows += [(1, 0, 1, None)] * 2 + [(1, 0, 0, None)] * 3 + [(1, 0, 1, 1)] * 2 + [(1, 0, 0, 1)] * 3
    table = pd.DataFrame(rows, columns=["z", "went", "structural", "identity_lost"]).assign(firm=range(len(rows)))
    found = lost_identities(risk_set(table), cluster="firm", controls=None)
    difference = {name: found.tidy().query("reading == @name and scale == 'risk_difference'") for name in NAMES}
    seen = {name: float(frame["estimate"].iloc[0]) for name, frame in difference.items()}
    assert (found.n_lost_treated, found.n_lost_untreated) == (2, 5)
    assert seen["left_out"] == pytest.approx(5 / 10 - 5 / 17)
    assert seen["weighted"] == pytest.approx(seen["left_out"])  # without controls all of an arm weigh the same
    assert seen["lowest"] == pytest.approx(5 / 12 - 10 / 22)
    assert seen["highest"] == pytest.approx(7 / 12 - 5 / 22)


NAMES = ("left_out", "weighted", "lowest", "highest")


def test_weights_stand_for_those_who_are_lost():
    table = mergers(60_000)
    risk = risk_set(table)
    found = lost_identities(risk, cluster="firm", controls=["z"])
    truth = structural_transition(risk, cluster="firm", controls=["z"])  # outcomes of the lost are known here
    for scale in ("risk_difference", "odds_ratio"):
        seen, at_hand = found.weighted.effect(scale), truth.effect(scale)
        assert abs(np.log(seen.estimate / at_hand.estimate)) < 0.05
        low, high = found.lowest.effect(scale).estimate, found.highest.effect(scale).estimate
        assert low < at_hand.estimate < high
    # those left behind are mostly z = 0, for whom the effect is small
    left = found.left_out.effect("risk_difference")
    assert left.estimate < truth.effect("risk_difference").estimate - 3 * left.std_error


def test_errors_include_the_weights():
    table = mergers(300, seed=4)
    effect = lost_identities(risk_set(table), cluster="firm", controls=["z"]).weighted
    gone = [
        lost_identities(risk_set(table[table["firm"] != firm]), cluster=None, controls=["z"])
        .weighted.effect("risk_difference")
        .estimate
        for firm in table["firm"].unique()
    ]
    jackknife = np.sqrt((len(gone) - 1) * np.var(gone))
    assert effect.effect("risk_difference").std_error == pytest.approx(jackknife, rel=0.06)


def test_nobody_lost_is_the_headline():
    table = mergers(2_000).assign(identity_lost=None)
    found = lost_identities(risk_set(table), cluster="firm", controls=["z"])
    assert found.tidy().groupby("scale")["estimate"].nunique(dropna=False).eq(1).all()


def test_what_is_refused():
    table = mergers(400)
    with pytest.raises(SchemaError, match='lost="keep"'):
        lost_identities(risk_set(table.drop(columns="identity_lost")), cluster="firm", controls=["z"])
    gone = table.assign(identity_lost=table["identity_lost"].mask(table["went"] == 1, 2))
    with pytest.raises(NoEventError, match="every identity of one arm"):
        lost_identities(risk_set(gone), cluster="firm", controls=["z"])


def test_registers_keep_who_is_lost():
    registers = simulate_registers(3, firms=6_000, years=(2008, 2020))
    panel = build_panel(registers)
    kept, left = (transition_risk_set(panel, lost=lost) for lost in ("keep", "leave_out"))
    years = kept.collect([IDENTITY_LOST])[IDENTITY_LOST]
    assert kept.n_rows - int(years.notna().sum()) == left.n_rows
    assert years.notna().sum() > 0
    assert years.dropna().between(1, 4).all()
    assert IDENTITY_LOST not in left.columns
    assert IDENTITY_LOST not in kept.controls
    found = lost_identities(kept, cluster="firm", controls=["log_workers"])
    assert found.tidy().query("reading == 'left_out'")["n_rows"].iloc[0] <= left.n_rows
    assert found.n_lost_treated + found.n_lost_untreated == years.notna().sum()
