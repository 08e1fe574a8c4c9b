"""Missions as a dose: classes by hand, their trend by hand, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from missie_impact import RiskSet
from missie_impact.effects.becoming.dose import dose_effect
from missie_impact.effects.compare import wald
from missie_impact.errors import MissingValueError, SchemaError, SettingsError


def table():
    # outcome in 20 of 100 untreated, 30 of 90 that went once, 24 of 60 twice, 25 of 50 three or four times
    counts = [(0, 20, 80), (1, 30, 60), (2, 24, 36), (3, 15, 15), (4, 10, 10)]
    rows = [(m, y) for m, yes, no in counts for y in [1] * yes + [0] * no]
    made = pd.DataFrame(rows, columns=["missions", "outcome"])
    return made.assign(treated=(made["missions"] > 0).astype(int), firm=np.arange(len(made)))


def risk_set(rows):
    return RiskSet.from_frame(rows, outcome="outcome", treatment="treated", firm="firm")


def test_each_class_against_none():
    found = dose_effect(risk_set(table()), cluster="firm", controls=None)
    classes = found.tidy().set_index("group")
    assert classes["estimate"].tolist() == pytest.approx([0.5 / 0.25, (24 / 36) / 0.25, 1 / 0.25])
    assert classes.index.tolist() == ["dose=1", "dose=2", "dose=3+"]
    assert classes["n_treated"].tolist() == [90, 60, 50]
    assert classes["n_rows"].tolist() == [190, 160, 150]
    assert (classes["adjusted_p_value"] >= classes["p_value"]).all()


def test_trend_by_hand():
    found = dose_effect(risk_set(table()), cluster="firm", controls=None, scale="risk_difference")
    # risks of four independent groups; the three differences share the variance of the untreated, so the trend over
    # the classes is that of the three risks, weighted by their inverse variances
    risk, n = np.array([1 / 3, 0.4, 0.5]), np.array([90, 60, 50])
    variance, dose = risk * (1 - risk) / n, np.array([1.0, 2.0, 3.0])
    w = 1 / variance
    centre = (w * dose).sum() / w.sum()
    slope = (w * (dose - centre) * risk).sum() / (w * (dose - centre) ** 2).sum()
    assert found.slope == pytest.approx(slope, rel=0.01)  # G / (G - 1) differs a little by class
    assert found.std_error == pytest.approx(1 / np.sqrt((w * (dose - centre) ** 2).sum()), rel=0.01)
    _, _, equal = wald(risk, np.diag(variance))
    assert found.p_heterogeneity == pytest.approx(equal, rel=0.05)


def test_what_is_refused():
    with pytest.raises(SchemaError, match="number of missions"):
        dose_effect(risk_set(table().drop(columns="missions")), cluster="firm", controls=None)
    with pytest.raises(MissingValueError, match="20 rows that differ"):
        dose_effect(risk_set(table().assign(missions=lambda t: t["missions"].replace(4, 0))), cluster="firm")
    with pytest.raises(SettingsError, match="two classes"):
        dose_effect(risk_set(table().assign(missions=lambda t: t["missions"].clip(upper=1))), cluster="firm")
