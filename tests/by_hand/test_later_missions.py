"""What happens after t, by hand, and why controls that are never treated are no controls. Data run over 2004-2016."""

import pandas as pd

from missie_impact import CBS_2024, structural_transition, transition_risk_set
from missie_impact.effects.becoming.dose import count_missions
from missie_impact.risksets.later import with_later_missions

HISTORY = """
ann FR 2007: x x . x
ben FR 2007: x . x x
cas FR 2007: x
dan FR 2007: x . . . x x x
"""
MISSIONS = "ann FR 2008-05-01\nann FR 2010-05-01\nben FR 2011-05-01\ndan FR 2012-05-01"


def test_next_mission_and_activity_up_to_it(panel_of):
    panel = panel_of(HISTORY, missions=MISSIONS)
    risk = with_later_missions(transition_risk_set(panel), panel)
    table = risk.collect().query("year == 2008").set_index("firm")
    # dan goes four years on, beyond the three that are watched
    assert table["next_mission"].dropna().to_dict() == {"ann": 2, "ben": 3}
    activity = table[["active_0", "active_1", "active_2"]].astype(int)
    assert activity.apply(tuple, axis=1).to_dict() == {
        "ann": (1, 0, 1), "ben": (0, 1, 1), "cas": (0, 0, 0), "dan": (0, 0, 0),
    }  # fmt: skip
    assert not {"next_mission", "active_0"} & set(risk.covariates().columns)


def test_never_treated_controls_are_called_biased(panel_of):
    # firms that trade on go in the end: without them only those who stopped are left to compare with
    firms = range(20)
    history = "\n".join(f"f{i} FR 2007: x . x x x x" if i % 4 < 2 else f"f{i} FR 2007: x" for i in firms)
    missions = "\n".join(f"f{i} FR {2008 if i < 8 else 2012}-05-01" for i in firms if i < 8 or i % 4 == 0)
    found = {}
    for pool in ("not_yet", "never"):
        panel = panel_of(history, missions=missions, definitions=CBS_2024.replace(pool=pool))
        risk = transition_risk_set(panel)
        effect = structural_transition(risk, cluster="firm", controls=None)
        found[pool] = effect.effect("odds_ratio").estimate
        said = any("Biased upwards" in note for note in effect.notes)
        assert said == (pool == "never")
        if pool == "never":
            assert "control with a mission at another time" in set(risk.flow.frame()["reason"])
        else:
            table = risk.collect(["year", "treated", "outcome"]).query("year == 2008")
            share = table.groupby("treated")["outcome"].mean()
            assert isinstance(share, pd.Series)
            assert share[0] == share[1] == 0.5  # nothing happens through missions here
    assert found["never"] > 1.3 * found["not_yet"]


def test_missions_are_counted_in_t_and_up_to_t(panel_of):
    missions = "ann FR 2012-03-01\nann DE 2012-09-01\nann BE 2006-05-01\nben FR 2012-05-01\ncas FR 2010-05-01"
    history = "ann FR 2011: x\nben FR 2011: x\ncas FR 2011: x\ndan FR 2011: x"
    panel = panel_of(history, missions=missions)
    risk = transition_risk_set(panel)
    for counted, expected in (("in_t", 2), ("up_to_t", 3)):
        table = count_missions(risk, panel, counted).collect().query("year == 2012").set_index("firm")
        assert table["missions"].to_dict() == {"ann": expected, "ben": 1, "dan": 0}  # cas: a recent mission
