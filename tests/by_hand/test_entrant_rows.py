"""Years after entry, written out: spells that begin in t+1 or t+2 in a market that is host in t. Data 2004-2016."""

import numpy as np
import pandas as pd
import pytest

from missie_impact import CBS_2024
from missie_impact.effects import cumulative_incidence, entrant_survival, median_survival, survival_curve
from missie_impact.effects.survival.entrants import _stayed, stratify
from missie_impact.effects.survival.entrants_beside import (
    EXPORTS,
    WINSORISED,
    _joint_covariance,
    entering,
    unconditional_effects,
)
from missie_impact.effects.survival.followed import follow
from missie_impact.effects.survival.points import DEFAULT_CURVE
from missie_impact.errors import NoParticipantError
from missie_impact.numerics.covariance import Clusters
from missie_impact.risksets import RiskSet, entrant_risk_set, exit_risk_set, spell_length_set

MISSION = "ann FR 2010-05-01"

# history of ann in France, and her years since entry: (duration, outcome, cause)
CASES = {
    "leaves after one year": ("ann FR 2011: x", [(1, 1, "exit")]),
    "leaves after three years": ("ann FR 2012: x x x", [(1, 0, "none"), (2, 0, "none"), (3, 1, "exit")]),
    "a gap of one year is no exit": ("ann FR 2011: x . x", [(1, 0, "none"), (2, 0, "none"), (3, 1, "exit")]),
    "five years and more": ("ann FR 2011: x x x x x x", [(k, 0, "none") for k in range(1, 6)]),
    "began in the mission year": ("ann FR 2010: x x", []),
    "too late": ("ann FR 2013: x", []),
    "traded in t-1": ("ann FR 2009: x . . x", []),
    "elsewhere": ("ann DE 2011: x", []),
}


@pytest.fixture(scope="module")
def panel(panel_of_cases):
    with panel_of_cases({name: {"history": h, "missions": MISSION} for name, (h, _) in CASES.items()}) as made:
        yield made


@pytest.mark.parametrize("case", CASES)
def test_years_after_entry(panel, rows_of_case, case):
    found = entrant_risk_set(panel).collect()
    found = found[found["market"] == "FR"]
    cases = {name: {"history": h, "missions": MISSION} for name, (h, _) in CASES.items()}
    rows = rows_of_case(found, cases, case, "year treated duration outcome cause")
    assert rows == [(2010, 1, *row) for row in CASES[case][1]]


def test_open_spells_stop_before_the_year_that_is_not_decided(panel_of, rows):
    # Mission in 2012; the spell of 2013 still runs in 2016, its fourth year, whose end the data do not show.
    panel = panel_of("ann FR 2013: x x x x\nbob FR 2013: x x", missions="ann FR 2012-05-01", life="bob 1990-2014")
    found = entrant_risk_set(panel).collect()
    columns = "treated start duration outcome cause"
    assert rows(found, columns, "ann") == [(1, k, k + 1, 0, "none") for k in range(3)]
    # bob ceases after 2014: his spell ends with the firm
    assert rows(found, columns, "bob") == [(0, 0, 1, 0, "none"), (0, 1, 2, 1, "death")]


def test_affiliates(panel_of, rows):
    panel = panel_of("ann JP 2016: x", missions=MISSION, affiliates="ann FR 2011 2012\nbob FR 2012 2016")
    found = entrant_risk_set(panel, outcome="fdi").collect()
    assert rows(found, "duration outcome", "ann") == [(1, 0), (2, 1)]
    assert rows(found, "duration outcome", "bob") == [(1, 0), (2, 0), (3, 0), (4, 0)]


def test_strata_by_hand(panel_of):
    # group A: one treated, two others; group B: one treated and nobody else; group C: one other
    table = pd.DataFrame({"firm": [1, 2, 3, 4, 5], "treated": [1, 0, 0, 1, 0], "outcome": [1, 0, 1, 0, 1],
                          "group": list("AAABC"), "t": 1})  # fmt: skip
    risk = RiskSet.from_frame(table, outcome="outcome", treatment="treated", firm="firm", duration="t")
    made = stratify(risk, ["group"])
    assert made.weight.tolist() == [1.0, 0.5, 0.5, 0.0, 0.0]
    assert (made.n_treated, made.n_kept) == (2, 1)
    with pytest.raises(NoParticipantError, match="share no stratum"):
        stratify(risk, ["firm"])


def test_the_whole_comparison_says_what_it_is(panel_of):
    history = "\n".join(
        [f"go{i} FR 2011: x" + " x" * (i % 4) for i in range(8)]
        + [f"st{i} FR 2011: x" + " x" * (i % 3) for i in range(12)]
        + [f"no{i} DE 2009: x x x x x x" for i in range(12)] + [f"g2{i} DE 2009: x x x x" for i in range(4)]
    )  # fmt: skip
    missions = "\n".join([f"go{i} FR 2010-05-01" for i in range(8)] + [f"g2{i} FR 2010-05-01" for i in range(4)])
    made = entrant_survival(panel_of(history, missions=missions), cluster="firm")
    shown = made.comparison.set_index(["scale", "year"])["estimate"]
    # with: of 8 firms 2 leave after each of 1, 2, 3 and 4 years; without: of 12, 4 after each of 1, 2, 3 years
    assert [shown["survival_with", k] for k in (1, 2, 3)] == pytest.approx([6 / 8, 4 / 8, 2 / 8])
    assert [shown["survival_without", k] for k in (1, 2)] == pytest.approx([8 / 12, 4 / 12])
    assert shown["survival_difference", 2] == pytest.approx(1 / 2 - 1 / 3)
    assert "not an effect" in made.notes[0] and "not an effect" in made.curve.design
    assert set(made.unconditional) == {"entering", "trading in t+3", EXPORTS, WINSORISED}
    assert made.unconditional["entering"].effect("risk_with").estimate == pytest.approx(8 / 12)
    assert CBS_2024.exit_horizon == 5


def test_exports_with_zeros_whether_or_not_a_firm_entered(panel_of):
    # of four firms on the mission one exports 6 million after it, one 100 in the mission year only; of six others
    # two export 1,000 a year. Others may enter Kenya too, which nobody does.
    history = (
        "go0 FR 2011: 4000000 1999000 1000\ngo1 FR 2010: 100\ngo2 DE 2009: x x x x x\ngo3 DE 2009: x\n"
        "st0 FR 2011: x x x x\nst1 FR 2012: x x\n" + "\n".join(f"no{i} DE 2008: x x x x" for i in range(4))
    )
    panel = panel_of(history, missions="\n".join(f"go{i} FR 2010-05-01" for i in range(4)))
    made = entering(panel, "trade", "firm", None)
    found, _ = unconditional_effects(panel, made, "trade", "firm", None)
    rows = made.risk.collect()
    others = rows[(rows["treated"] == 0) & (rows["year"] == 2010)]
    assert len(others) == 12 and (others["probability"] == 1).all()
    # means of 2010: with (6,000,000 + 0 + 0 + 0) / 4; without (3,000 + 2,000) / 12
    assert found[EXPORTS].effect("mean_ratio").estimate == pytest.approx(1_500_000 / (5_000 / 12), rel=1e-8)
    assert found[WINSORISED].effect("mean_ratio").estimate == pytest.approx(750_000 / (5_000 / 12), rel=1e-8)
    assert any("heavy tail" in note for note in found[EXPORTS].notes)
    assert any("EUR 3,000,000" in note for note in found[WINSORISED].notes)


def test_bounds_know_that_firms_stand_on_both_sides(panel_of):
    # mission years 2010 and 2013: the same firms may enter after either
    rng = np.random.default_rng(4)
    lines, missions = [], []
    for i in range(60):
        for market, year in (("FR", 2011), ("DE", 2013)):
            if rng.random() < (0.8 if i < 25 else 0.4):
                lines.append(f"f{i} {market} {year}:" + " x" * int(rng.integers(1, 5)))
            missions += [f"f{i} {market} {year - 1}-05-01"] if i < 25 else []
    lines += [f"f{i} JP 2004: x" for i in range(60)]
    panel = panel_of("\n".join(lines), missions="\n".join(missions))
    found = entrant_survival(panel, cluster="firm", strata=["year"])
    bounds = found.bounds.set_index(["scale", "year"])
    low, high = (bounds.loc[f"always_entrant_difference_{end}"] for end in ("lowest", "highest"))
    wide = found.comparison.set_index(["scale", "year"])["estimate"]
    risks = [found.unconditional["entering"].effect(s).estimate for s in ("risk_with", "risk_without")]
    q = risks[1] / risks[0]
    for year in low.index:
        s1, s0 = wide["survival_with", year], wide["survival_without", year]
        assert low["estimate"][year] == pytest.approx(max(0, (s1 - 1 + q) / q) - s0)
        assert high["estimate"][year] == pytest.approx(min(1, s1 / q) - s0)
        assert low["conf_low"][year] < low["estimate"][year] <= high["estimate"][year] < high["conf_high"][year]
    # the joint covariance: its blocks are those of either side, and firms link them
    design = stratify(entrant_risk_set(panel), ["year"])
    stayed, made = _stayed(follow(design, cluster="firm"), DEFAULT_CURVE), entering(panel, "trade", "firm", None)
    joint, units = _joint_covariance(stayed, made, "firm")
    t = len(stayed.years)
    shown = found.comparison.set_index("scale")["std_error"]
    np.testing.assert_allclose(np.sqrt(np.diag(joint))[:t], shown["survival_with"].fillna(0), rtol=1e-10)
    own = [made.effect.effect(s).std_error for s in ("risk_with", "risk_without")]
    np.testing.assert_allclose(np.sqrt(np.diag(joint))[-2:], own, rtol=1e-10)
    # across, by labels: sums per firm of what rows add on either side
    positions, added = stayed.columns[0]
    one = pd.Series(added).groupby(design.risk.collect()["firm"].to_numpy()[positions]).sum()
    firm = made.risk.collect()["firm"].to_numpy()
    codes, labels = pd.factorize(firm)
    other = pd.Series(made.sums(made.clustering)(Clusters(codes, len(labels)))[:, 3], index=labels)
    factor = units / (units - 1)
    expected = (one * other.reindex(one.index).fillna(0)).sum() * np.sqrt(factor)
    assert joint[0, -2] == pytest.approx(expected, rel=1e-10) and abs(expected) > 0


def test_how_long_spells_last(panel_of, rows):
    history = "ann FR 2007: x x . x\nbob FR 2008: x x\ncay FR 2013: x x x x\nold FR 2004: x x x\nnew FR 2016: x"
    risk = spell_length_set(panel_of(history, missions="bob FR 2007-05-01"))
    found = risk.collect()
    assert rows(found, "year duration outcome treated", "ann") == [(2007, 4, 1, 0)]
    assert rows(found, "year duration outcome treated", "bob") == [(2008, 2, 1, 1)]
    assert rows(found, "year duration outcome treated", "cay") == [(2013, 3, 0, 0)]  # its fourth year is undecided
    assert rows(found, "year duration outcome treated", "old") == []  # origin not seen
    assert rows(found, "year duration outcome treated", "new") == []
    medians = median_survival(risk, cluster="firm").set_index("arm")["estimate"]
    assert medians["treated"] == 2
    assert medians["untreated"] == 4


def test_observed_curves_of_trials_and_of_whole_spells(panel_of):
    # structural from 2009; go0 .. go3 on the mission of 2010. Two of them leave after 2011, one dies after 2012.
    history = "\n".join(
        [f"go{i} FR 2006: x x x x x x" for i in (0, 1)] + ["go2 FR 2006: x x x x x x x"]
        + ["go3 FR 2006: x x x x x x x x x x x"] + [f"st{i} FR 2006: x x x x x" + " x" * i for i in range(6)]
    )  # fmt: skip
    panel = panel_of(history, missions="\n".join(f"go{i} FR 2010-05-01" for i in range(4)), life="go2 1990-2012")
    trials = exit_risk_set(panel)
    incidence = cumulative_incidence(trials, cluster="firm").table.query("arm == 'treated' and time == 3")
    assert incidence.set_index("group")["estimate"].to_dict() == pytest.approx({"exit": 2 / 4, "death": 1 / 4})
    curve = survival_curve(trials, cluster="firm")
    assert curve.design.startswith("trials from time zero")
    assert survival_curve(exit_risk_set(panel, kind="spells"), cluster="firm").design.startswith("display only")
