"""Matching: the pairs of the reference rule, what is never matched, weights, and blindness to the outcome."""

from dataclasses import replace

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from missie_impact.design import match
from missie_impact.errors import MissingValueError, NoParticipantError, SeparationError, SettingsError
from missie_impact.risksets.riskset import RiskSet

SETTINGS = {
    "largest_first": {},
    "caliper_0.2_sd_all": {"caliper_sd": 0.2},
    "exact_race": {"exact": ["race"]},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_same_pairs_as_the_reference_rule(lalonde, case):
    design = match(lalonde.risk, on=lalonde.on, **SETTINGS[case])
    expected = lalonde.reference["rule_based_greedy"][case]
    assert lalonde.pairs(design) == expected["pairs"]
    np.testing.assert_allclose(lalonde.att(design), expected["att"], rtol=1e-9)
    assert design.estimand == ("att" if expected["n_pairs"] == 185 else "att_on_support")
    assert (design.n_treated, design.n_treated_kept) == (185, expected["n_pairs"])


@pytest.mark.parametrize(
    ("matched", "settings"),
    [
        ("nn_1to1_without_replacement_largest_first", {}),
        ("nn_1to1_caliper_0.2_sd_ps_largest_first", {"caliper_sd": 0.2}),
        ("nn_1to1_exact_race_largest_first", {"exact": ["race"]}),
    ],
)
def test_matchit_takes_the_same_controls(lalonde, matched, settings):
    # MatchIt orders equal scores otherwise, so pairs differ; which men are used, and hence the effect, does not.
    design, expected = match(lalonde.risk, on=lalonde.on, **settings), lalonde.reference[matched]
    np.testing.assert_allclose(lalonde.att(design), expected["att"], rtol=1e-9)
    theirs = {c for c in expected["match_matrix"].values() if c is not None}
    assert set(lalonde.pairs(design).values()) == theirs


@pytest.mark.parametrize(("ratio", "matched"), [(1, "nn_1to1_with_replacement"), (2, "nn_1to2_with_replacement")])
def test_with_replacement_differs_from_matchit_in_equals_only(lalonde, ratio, matched):
    design = match(lalonde.risk, on=lalonde.on, ratio=ratio, replace=True)
    score = pd.Series(design.score, lalonde.rows["id"])
    ours = lalonde.rows["id"].to_numpy()[design.pairs]
    assert design.sets is None
    far = {one: sorted(abs(score[ours[ours[:, 0] == one, 1]] - score[one])) for one in set(ours[:, 0])}
    for treated, theirs in lalonde.reference[matched]["match_matrix"].items():
        theirs = theirs if isinstance(theirs, list) else [theirs]
        np.testing.assert_allclose(far[treated], sorted(abs(score[theirs] - score[treated])), atol=1e-12)


def test_propensity_is_rs(lalonde):
    score = pd.Series(match(lalonde.risk, on=lalonde.on).score, lalonde.rows["id"])[lalonde.table["id"][:5]]
    np.testing.assert_allclose(score, lalonde.reference["propensity"]["first_five"], rtol=1e-6)


def test_weights_by_matchits_rule(lalonde):
    design = match(lalonde.risk, on=lalonde.on, replace=True)
    times = np.bincount(design.pairs[:, 1], minlength=len(design.weight))
    used = times > 0
    assert (design.weight[lalonde.treated] == 1).all()
    np.testing.assert_allclose(design.weight[used], times[used] * used.sum() / 185)
    np.testing.assert_allclose(design.weight[~lalonde.treated].sum(), used.sum())


def test_two_controls_each_and_their_sets(lalonde):
    design = match(lalonde.risk, on=lalonde.on, ratio=2)
    number, size = np.unique(design.sets[design.sets >= 0], return_counts=True)
    assert len(number) == 185 and set(size) == {3}
    assert set(design.weight[~lalonde.treated]) == {0.0, 1.0}
    for treated, control in design.pairs:
        assert design.sets[treated] == design.sets[control]


def test_the_outcome_is_never_looked_at(lalonde):
    # Outcomes that are not even numbers: whatever reads them fails.
    blind = replace(lalonde.risk, rows=lalonde.risk.rows.with_columns(re78=nw.lit(None)))
    for settings in ({}, {"method": "mahalanobis", "seed": 4}, {"replace": True, "caliper_sd": 0.1, "seed": 4}):
        seen, unseen = (match(risk, on=lalonde.on, **settings) for risk in (lalonde.risk, blind))
        assert np.array_equal(seen.weight, unseen.weight) and np.array_equal(seen.pairs, unseen.pairs)
    with pytest.raises(SettingsError, match="outcome"):
        match(lalonde.risk, on=["age", "re78"])


def test_what_is_known_after_the_mission_year_is_refused(make):
    risk = make.risk_set(make.trials())
    late = make.as_trials(risk, after_columns=("here",))
    with pytest.raises(SettingsError, match="here"):
        match(late, on=["log_workers", "here"])


def test_years_are_never_mixed_and_no_firm_is_its_own_control(make):
    table = make.trials()
    risk = make.risk_set(table, firm="firm", year="year")
    rows = risk.collect()
    for settings in ({}, {"replace": True, "ratio": 3}, {"method": "mahalanobis"}):
        design = match(risk, on=["log_workers", "sector"], **settings)
        mine, theirs = rows.iloc[design.pairs[:, 0]], rows.iloc[design.pairs[:, 1]]
        assert (mine["year"].to_numpy() == theirs["year"].to_numpy()).all()
        assert (mine["firm"].to_numpy() != theirs["firm"].to_numpy()).all()
        assert design.exact == ("year",)


def test_firm_treated_and_not_in_one_stratum(make):
    table = pd.DataFrame({"firm": [1, 1, 2, 3], "treated": [1, 0, 0, 0], "x": [0.0, 0.0, 5.0, 9.0]})
    table["outcome"] = 0
    design = match(make.risk_set(table, firm="firm"), on=["x"], method="mahalanobis")
    assert design.pairs.tolist() == [[0, 2]]  # the firm's own row is nearer, and not taken
    assert any("no controls" in note for note in design.notes)


def test_pairs_stay_within_their_country_group(make):
    rng = np.random.default_rng(8)
    table = make.trials().assign(market="FR", country_group=rng.choice(["OECD", "BRICS"], 400))
    risk = make.as_trials(make.risk_set(table, firm="firm", market="market", year="year"))
    design = match(risk, on=["log_workers"], exact=["sector"])
    assert design.exact == ("sector", "year", "country_group")
    rows = risk.collect()
    for column in design.exact:
        assert (rows[column].to_numpy()[design.pairs[:, 0]] == rows[column].to_numpy()[design.pairs[:, 1]]).all()


def test_exit_trials_are_matched_by_trial_not_by_row(make):
    table = make.trials().assign(market="FR", country_group="OECD", firm=np.arange(400))
    years = np.random.default_rng(5).integers(1, 5, 400)
    long = table.loc[table.index.repeat(years)].assign(k=np.concatenate([np.arange(1, y + 1) for y in years]))
    roles = {"firm": "firm", "market": "market", "year": "year"}
    once = make.as_trials(make.risk_set(table, **roles), "exit")
    followed = make.as_trials(make.risk_set(long, duration="k", **roles), "exit")
    short, whole = (match(risk, on=["log_workers", "sector"], caliper_sd=0.2) for risk in (once, followed))
    rows = followed.collect().assign(weight=whole.weight, set=whole.sets)
    assert (rows.groupby("firm")[["weight", "set"]].nunique() == 1).all(axis=None)
    first = rows.groupby("firm").first()
    expected = pd.Series(short.weight, once.collect()["firm"])
    assert np.array_equal(first["weight"], expected[first.index])
    assert (whole.n_treated, whole.n_treated_kept) == (short.n_treated, short.n_treated_kept)


def test_seeded_rule_does_not_depend_on_the_order_of_rows(make):
    table = make.trials().assign(firm=np.arange(400), log_workers=lambda t: t["log_workers"].round(0))

    def chosen(frame, seed):
        risk = make.risk_set(frame, firm="firm")
        design, rows = match(risk, on=["log_workers", "sector"], seed=seed), risk.collect()["firm"].to_numpy()
        return set(map(tuple, rows[design.pairs]))

    shuffled = table.sample(frac=1.0, random_state=1)
    assert chosen(table, 1) == chosen(shuffled, 1)
    assert chosen(table, 1) != chosen(table, 2)  # there are equals to draw among
    assert chosen(table, None) != chosen(shuffled, None)  # by the order of the table


def test_sampled_controls_stand_for_their_treated_unit(make):
    table = make.trials().assign(drawn=lambda t: np.where(t["treated"] == 1, 2.0, 7.0))
    risk = make.risk_set(table, probability="drawn")
    design = match(risk, on=["log_workers", "sector"])
    total, treated = design.weight * risk.collect()["drawn"].to_numpy(), risk.collect()["treated"].to_numpy() == 1
    assert set(np.round(total[design.weight > 0], 12)) == {2.0}
    assert total[treated].sum() == pytest.approx(total[~treated].sum())


def test_levels_without_a_counterpart_leave_and_change_the_estimand(make):
    table = make.trials()
    table.loc[table.index[:3], ["sector", "treated"]] = ["X", 1]
    table.loc[table.index[3:9], ["sector", "treated"]] = ["Y", 0]
    risk = make.risk_set(table)
    design = match(risk, on=["log_workers", "sector"])
    sector = risk.collect()["sector"]
    assert design.weight[sector.isin(["X", "Y"])].sum() == 0
    assert (design.estimand, design.n_treated - design.n_treated_kept) == ("att_on_support", 3)
    assert "3 treated without a match" in design.flow.steps[-1].reason
    assert design.score[(sector == "X").to_numpy()].tolist() == [1.0] * 3


def test_caliper_counts_who_has_nobody_near(lalonde):
    design = match(lalonde.risk, on=lalonde.on, caliper_sd=0.2)
    score, width = design.score, 0.2 * lalonde.reference["propensity"]["sd_all"]
    gaps = np.abs(score[design.pairs[:, 0]] - score[design.pairs[:, 1]])
    assert gaps.max() <= width
    assert design.share_dropped == pytest.approx(72 / 185)
    assert design.flow.frame()["reason"].iloc[-1].startswith("72 treated without a match")


def test_linear_predictor_measures_the_caliper_in_logits(lalonde):
    design = match(lalonde.risk, on=lalonde.on, method="linear_propensity", caliper_sd=0.2)
    logit = np.log(design.score / (1 - design.score))
    gaps = np.abs(logit[design.pairs[:, 0]] - logit[design.pairs[:, 1]])
    assert gaps.max() <= 0.2 * lalonde.reference["propensity"]["sd_logit"]


@pytest.mark.parametrize("method", ["propensity", "linear_propensity", "mahalanobis"])
def test_what_does_not_vary_tells_nobody_apart(lalonde, method):
    risk = RiskSet.from_frame(lalonde.table.assign(same=1.0), outcome="re78", treatment="treat")
    design = match(risk, on=["same"], method=method)
    assert (design.n_treated, design.n_treated_kept) == (185, 185)


def test_support_shows_aggregates(lalonde):
    support = match(lalonde.risk, on=lalonde.on).support
    score = match(lalonde.risk, on=lalonde.on).score
    treated, others = score[lalonde.treated], score[~lalonde.treated]
    ranges = support.ranges.set_index("group")
    assert ranges.loc["treated", "n_outside"] == ((treated > others.max()) | (treated < others.min())).sum()
    assert ranges.loc["untreated", "n_outside"] == ((others > treated.max()) | (others < treated.min())).sum()
    assert ranges.loc["treated", "lowest"] <= treated.min() and ranges.loc["treated", "highest"] >= treated.max()
    sums = support.figure.groupby(["group", "stage"])[["share", "n_units"]].sum()
    np.testing.assert_allclose(sums["share"], 1.0)
    assert sums.loc[("untreated", "after"), "n_units"] == 185
    assert support.notes == ("8 treated units score outside the range of all untreated ones",)
    assert (treated > others.max()).sum() + (treated < others.min()).sum() == 8


def test_terms_of_the_language_of_controls(lalonde):
    design = match(lalonde.risk, on=["age", "age**2", "C(educ)", "log1p(re74)", "race"], caliper_sd=0.1)
    assert 0 < design.n_treated_kept <= 185


def test_own_table_of_polars(lalonde):
    polars = pytest.importorskip("polars")
    risk = RiskSet.from_frame(polars.DataFrame(lalonde.table.to_dict("list")), outcome="re78", treatment="treat")
    design, names = match(risk, on=lalonde.on), risk.collect()["id"]
    assert {names[a]: names[b] for a, b in design.pairs} == lalonde.pairs(match(lalonde.risk, on=lalonde.on))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "nearest"}, "method"),
        ({"ratio": 0}, "ratio"),
        ({"caliper_sd": -1.0}, "caliper_sd"),
        ({"on": []}, "on: expected"),
        ({"on": "age"}, "on: expected"),
        ({"on": ["age", "treat:age"]}, "treatment"),
    ],
)
def test_settings_out_of_range(lalonde, settings, words):
    with pytest.raises(SettingsError, match=words):
        match(lalonde.risk, **{"on": lalonde.on, **settings})


def test_errors_say_what_to_do_and_show_nobody(make):
    table = make.trials()
    with pytest.raises(NoParticipantError, match="treated"):
        match(make.risk_set(table.assign(treated=0)), on=["log_workers"])
    with pytest.raises(SeparationError, match="log_workers"):
        match(make.risk_set(table.assign(treated=(table["log_workers"] > 0).astype(int))), on=["log_workers"])
    with pytest.raises(MissingValueError, match="exact `area`"):
        match(make.risk_set(table.assign(area=[None] + ["A"] * 399)), on=["log_workers"], exact=["area"])
    with pytest.raises(SettingsError, match="frequency"):
        match(make.risk_set(table.assign(times=2), frequency="times"), on=["log_workers"])
    alone = table.assign(cell=np.where(table["treated"] == 1, "a", "b"))
    with pytest.raises(NoParticipantError, match="strata"):
        match(make.risk_set(alone), on=["log_workers"], exact=["cell"])
    with pytest.raises(SettingsError, match="trials"):
        match(replace(make.risk_set(table), design="spells"), on=["log_workers"])


def test_shows_itself_by_counts(lalonde):
    design = match(lalonde.risk, on=lalonde.on, caliper_sd=0.2, seed=1)
    assert repr(design).startswith("Design(nearest neighbour on the propensity score, 1:1, without replacement")
    page = design._repr_html_()
    assert "att_on_support" in page and "Common support" in page and "NSW" not in page
