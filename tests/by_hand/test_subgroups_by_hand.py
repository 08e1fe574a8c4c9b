"""What makes subgroups, and a firm's other markets as its controls, by hand. Data run over 2004-2016."""

import pytest

from missie_impact import CBS_2024, exit_risk_set, structural_transition, transition_risk_set
from missie_impact.errors import SettingsError

HISTORY = """
ann FR 2009: x
ann FR services 2009: x
ben DE 2009: x
cas BE services 2009: x
dan FR 2009: x
eva FR 2009: x
"""
MISSIONS = """
ann FR 2010-05-01
ben CN 2010-05-01 no-minister
dan FR 2005-05-01
dan FR 2010-05-01
"""
WIDER = CBS_2024.replace(minister_led_only=False)


@pytest.fixture
def rows(panel_of):
    table = transition_risk_set(panel_of(HISTORY, missions=MISSIONS, definitions=WIDER)).collect()
    return table[table["year"] == 2010].set_index("firm")


def test_columns_of_subgroups(rows):
    assert rows["trade_kind"].to_dict() == {
        "ann": "both", "ben": "goods", "cas": "services", "dan": "goods", "eva": "goods",
    }  # fmt: skip
    assert rows["participation"].to_dict() == {
        "ann": "first", "ben": "first", "cas": "first", "dan": "repeat", "eva": "first",
    }  # fmt: skip
    led = rows["minister_led"].dropna().to_dict()
    assert led == {"ann": "minister-led", "ben": "not minister-led", "dan": "minister-led"}
    assert rows["country_group"].dropna().to_dict() == {"ann": "OECD", "ben": "BRICS", "dan": "OECD"}


def test_a_column_of_the_treatment_compares_with_all_untreated(make_own):
    risk = make_own([("a", 1, 1), ("a", 1, 0), ("b", 1, 1), ("b", 1, 1), ("b", 1, 0), (None, 0, 1), (None, 0, 0)])
    effect = structural_transition(risk, cluster=None, controls=None, by="kind")
    counts = {g.group: (g.counts.n_rows, g.counts.n_treated) for g in effect.groups}
    assert counts == {"all": (7, 5), "kind=a": (4, 2), "kind=b": (5, 3)}
    assert effect.effect("risk_difference", group="kind=b").estimate == pytest.approx(2 / 3 - 1 / 2)


@pytest.fixture
def make_own():
    import pandas as pd

    from missie_impact import RiskSet

    def make(rows):
        table = pd.DataFrame(rows, columns=["kind", "treated", "outcome"])
        return RiskSet.from_frame(table, outcome="outcome", treatment="treated")

    return make


def test_other_size_schemes_by_name(panel_of):
    # 300 workers and 60 million euro are large by every scheme but the first, where they are not_sme
    panel = panel_of("ann FR 2007: x\nben FR 2007: x", missions="ann FR 2008-05-01", large="ben")
    risk = transition_risk_set(panel)
    table = risk.collect(["firm", "size", "size_eu", "size_letter", "size_cbs_size"]).drop_duplicates("firm")
    assert table.set_index("firm").loc["ben"].tolist() == ["not_sme", "large", "large", "large"]
    assert table.set_index("firm").loc["ann"].tolist() == ["sme", "sme", "sme", "sme"]


def test_all_markets_of_a_firm_compare_within_it(panel_of):
    # 2010: ann goes to France and exported to Spain, which hosts nothing, and to Japan, where she is structural
    history = "ann FR 2009: x . x x x x\nann ES 2009: x\nann JP 2006: x x x x\nben ES 2009: x\nben PT 2009: x"
    panel = panel_of(history, missions="ann FR 2010-05-01")
    between = transition_risk_set(panel, level="market").collect()
    within = transition_risk_set(panel, level="market", comparison="within_firm").collect()
    key = ["firm", "market", "treated", "outcome", "neighbour_trade", "market_popularity"]
    at = within[within["year"] == 2010].sort_values(["firm", "market"])[key].round(6).values.tolist()
    # exporters in 2009: two in Spain, one in France, one in Portugal; Spain has France and Portugal beside it
    assert at == [
        ["ann", "ES", 0, 0, 1, 1.098612],
        ["ann", "FR", 1, 1, 1, 0.693147],
        ["ben", "ES", 0, 0, 1, 1.098612],
        ["ben", "PT", 0, 0, 1, 0.693147],
    ]
    assert between[between["year"] == 2010][["firm", "market"]].values.tolist() == [["ann", "FR"]]
    exits = exit_risk_set(panel, comparison="within_firm").collect(["firm", "market", "year"])
    assert ["ann", "JP", 2010] not in exits.values.tolist()  # no trade in 2010
    with pytest.raises(SettingsError, match="needs level"):
        transition_risk_set(panel, level="firm", comparison="within_firm")
