"""A mission against none in the years that follow: by hand, against what was put in, errors against a jackknife."""

import numpy as np
import pandas as pd
import pytest

from missie_impact import RiskSet, structural_transition
from missie_impact.effects.becoming.per_protocol import Protocol, per_protocol
from missie_impact.errors import NoEventError, SchemaError, SettingsError

ONE_YEAR = Protocol(years=1, later="later")


def trials(n, seed=1):
    """Untreated units go later where they did well in t (active), and what is done well in t makes structural."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, n)
    treated = rng.random(n) < 0.2 + 0.2 * x
    active = rng.random((n, 2)) < 0.3 + 0.3 * x[:, None]
    go = rng.random((n, 2)) < 0.05 + 0.35 * active
    later = np.where(go[:, 0], 1.0, np.where(go[:, 1], 2.0, np.nan))
    without = 0.1 + 0.25 * active.mean(axis=1) + 0.2 * x  # without any later mission
    risk = without + 0.15 * treated + 0.25 * np.isfinite(later)
    table = {
        "firm": np.arange(n) // 2,
        "x": x,
        "treated": treated.astype(int),
        "later": later,
        "a0": active[:, 0].astype(int),
    }
    table |= {"a1": active[:, 1].astype(int), "outcome": (rng.random(n) < risk).astype(int), "without": without}
    return pd.DataFrame(table)


def risk_set(table):
    return RiskSet.from_frame(table, outcome="outcome", treatment="treated", firm="firm")


PROTOCOL = Protocol(years=2, later="later", history={"active": ("a0", "a1")})


def test_by_hand():
    # untreated with x = 0: 10, of whom 5 go later; of the other 5 one has the outcome and weighs 2. x = 1: 4 stay of
    # 5, 3 with the outcome, each weighing 5/4. Treated: all x = 1, but for one.
    rows = [(0, 0, 1, 1)] * 5 + [(0, 0, None, 1)] + [(0, 0, None, 0)] * 4
    rows += [(0, 1, 1, 0)] + [(0, 1, None, 1)] * 3 + [(0, 1, None, 0)]
    rows += [(1, 1, None, 1)] * 3 + [(1, 1, None, 0)] * 2 + [(1, 0, None, 1), (1, 0, None, 0)]
    table = pd.DataFrame(rows, columns=["treated", "x", "later", "outcome"]).assign(firm=lambda t: t.index)
    effect = per_protocol(risk_set(table), cluster="firm", controls=["x"], protocol=ONE_YEAR)
    # the outcome model: weighted logit of the outcome on treated and x; its score equations hold at these margins
    weights = np.where(table["treated"] == 1, 1.0, np.where(table["x"] == 0, 2.0, 1.25)) * table["later"].isna()
    kept = table.assign(w=weights)[weights > 0]
    plain = structural_transition(
        RiskSet.from_frame(kept, outcome="outcome", treatment="treated", firm="firm", probability="w"),
        cluster="firm", controls=["x"],
    )  # fmt: skip
    for scale in ("odds_ratio", "risk_ratio", "risk_difference"):
        assert effect.effect(scale).estimate == pytest.approx(plain.effect(scale).estimate, rel=1e-6)
        fixed = effect.with_vcov("firm, fixed weights").effect(scale)
        assert fixed.std_error == pytest.approx(
            plain.with_vcov("firm, fixed weights").effect(scale).std_error, rel=1e-6
        )
    assert any("6 of 15 untreated rows censored" in note for note in effect.notes)
    assert any("largest 2.00" in note for note in effect.notes)


@pytest.mark.parametrize("stabilised", [False, True])
def test_it_recovers_what_was_put_in(stabilised):
    table = trials(120_000)
    treated = table["treated"] == 1
    # the treated go later too and keep what that brings; the untreated world is one without any later mission
    truth = table.loc[treated, "outcome"].mean() - table.loc[treated, "without"].mean()
    protocol = Protocol(years=2, later="later", history=PROTOCOL.history, stabilised=stabilised)
    found = per_protocol(risk_set(table), cluster="firm", controls=["x"], protocol=protocol).effect("risk_difference")
    assert abs(found.estimate - truth) < 3.5 * found.std_error
    censored_only = table[treated | table["later"].isna()]
    left = structural_transition(risk_set(censored_only), cluster="firm", controls=["x"]).effect("risk_difference")
    kept_all = structural_transition(risk_set(table), cluster="firm", controls=["x"]).effect("risk_difference")
    assert abs(left.estimate - truth) > 4 * left.std_error
    assert abs(kept_all.estimate - truth) > 4 * kept_all.std_error


def test_errors_include_the_weights():
    table = trials(200, seed=3)
    effect = per_protocol(risk_set(table), cluster="firm", controls=["x"], protocol=PROTOCOL)
    gone = []
    for firm in table["firm"].unique():
        less = per_protocol(risk_set(table[table["firm"] != firm]), cluster=None, controls=["x"], protocol=PROTOCOL)
        gone.append([less.effect("risk_difference").estimate, np.log(less.effect("odds_ratio").estimate)])
    jackknife = np.sqrt((len(gone) - 1) * np.var(gone, axis=0))
    stacked = [effect.effect(s).std_error for s in ("risk_difference", "odds_ratio")]
    np.testing.assert_allclose(stacked, jackknife, rtol=0.06)


def test_what_is_refused():
    table = trials(400)
    with pytest.raises(SchemaError, match="give panel="):
        per_protocol(risk_set(table), cluster="firm", controls=["x"])
    with pytest.raises(SettingsError, match="one column for each of 3 years"):
        Protocol(history={"active": ("a0", "a1")})
    with pytest.raises(SettingsError, match="without a history"):
        per_protocol(risk_set(table), cluster="firm", protocol=Protocol(years=2, later="later", stabilised=True))
    with pytest.raises(NoEventError, match="every untreated unit"):
        per_protocol(risk_set(table.assign(later=1)), cluster="firm", controls=["x"], protocol=PROTOCOL)
