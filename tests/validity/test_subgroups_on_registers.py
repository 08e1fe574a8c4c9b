"""Subgroups by name on a simulated register, and what lies between the groups."""

import numpy as np
import pytest

from missie_impact import entry_risk_set, market_entry
from missie_impact.effects import compare_groups, within_firm
from missie_impact.risksets import transition_risk_set

BY = ["size", "size:eu", "country_group", "participation", "trade_kind", "sector"]


@pytest.fixture(scope="module")
def entry(panel):
    return market_entry(entry_risk_set(panel), cluster="firm", controls=["log_workers", "log_exports"], by=BY)


def test_groups_are_named_with_their_scheme_and_add_up(entry):
    table = entry.tidy().query("scale == 'risk_difference'").set_index("group")
    whole = table.loc["all", "n_treated"]
    for groups in (
        ["size=sme (cbs_independent)", "size=not_sme (cbs_independent)"], ["size=sme (eu)", "size=large (eu)"],
        ["participation=first", "participation=repeat"],
    ):  # fmt: skip
        assert table.loc[groups, "n_treated"].sum() == whole
    assert table.loc["size=sme (eu)", "n_treated"] != table.loc["size=sme (cbs_independent)", "n_treated"]
    assert {"country_group=OECD", "trade_kind=goods"} <= set(table.index)


def test_groups_that_share_firms_hang_together(entry):
    test = compare_groups(entry, "risk_difference", by="participation")
    assert test.groups == ("participation=first", "participation=repeat")
    assert test.df == 1
    one, two = (entry.effect("risk_difference", group=g) for g in test.groups)
    pair = test.pairs.iloc[0]
    assert pair["difference"] == pytest.approx(one.estimate - two.estimate, rel=1e-9)
    width, j = len(entry.scales), entry.scales.index("risk_difference")
    joint = entry.across["firm"]
    for i, group in enumerate(entry.groups):
        own = joint[i * width + j, i * width + j]
        assert np.isnan(own) or own == pytest.approx(entry.effect("risk_difference", group=group.group).std_error ** 2)
    # "all" and its groups share their firms: the covariance with a part is about the variance of the whole
    first = [g.group for g in entry.groups].index("participation=first")
    assert joint[j, first * width + j] > 0.5 * joint[j, j]


def test_within_the_firm_on_registers(panel):
    risk = transition_risk_set(panel, level="market", comparison="within_firm")
    effect = within_firm(risk, cluster="firm", controls=["log_pair_exports", "market_popularity"])
    assert effect.simulated
    assert effect.scales == ("odds_ratio_within_firm_year", "log_odds_within_firm_year")
    frame = risk.collect(["firm", "year", "outcome"])
    mean = frame.groupby(["firm", "year"])["outcome"].mean()
    said = int(((mean > 0) & (mean < 1)).sum())
    assert any(note.startswith(f"{said:,} of {len(mean):,} strata used") for note in effect.notes)
