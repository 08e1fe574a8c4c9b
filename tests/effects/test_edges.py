"""What cannot be estimated, what is refused, and what must not matter."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from missie_impact.effects import Effect, FitOptions, market_exit, structural_transition
from missie_impact.effects.result import TIDY_COLUMNS, inference
from missie_impact.errors import (
    CollinearityError,
    ConvergenceError,
    MicrodataError,
    MissieError,
    MissingValueError,
    NoEventError,
    NoParticipantError,
    SchemaError,
    SeparationError,
    SettingsError,
)
from missie_impact.numerics.binomial import fit_binomial

CONTROLS = ["log_workers", "here", "sector"]


def crude(make, table, **options):
    return structural_transition(make.risk_set(table), controls=None, cluster=None, **options)


# ---- what empties the call, and what empties a subgroup -----------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        ((0, 0, 12, 68), NoParticipantError, "no treated rows"),
        ((10, 30, 0, 0), NoParticipantError, "no untreated rows"),
        ((0, 40, 0, 80), NoEventError, "no events"),
        ((40, 0, 80, 0), NoEventError, "only events"),
        ((0, 40, 12, 68), SeparationError, "the 40 treated rows have no events"),
        ((40, 0, 12, 68), SeparationError, "the 40 treated rows have only events"),
        ((10, 30, 0, 80), SeparationError, "the 80 untreated rows have no events"),
    ],
)
def test_a_call_without_an_estimate_raises(make, cells, error, message):
    with pytest.raises(error, match=message):
        crude(make, make.two_by_two(*cells))


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ((0, 0, 12, 68), "no treated rows"),
        ((10, 30, 0, 0), "no untreated rows"),
        ((0, 40, 0, 80), "no events"),
        ((0, 40, 12, 68), "separation: the 40 treated rows have no events"),
    ],
)
def test_a_subgroup_without_an_estimate_says_why(make, cells, reason):
    table = pd.concat([make.two_by_two().assign(part="whole"), make.two_by_two(*cells).assign(part="empty")])
    effect = crude(make, table, by="part")
    empty = effect.effect("odds_ratio", group="part=empty")
    assert np.isnan([empty.estimate, empty.std_error, empty.conf_low, empty.p_value]).all()
    assert empty.reason == reason
    assert empty.n_rows == sum(cells)
    assert np.isfinite(effect.effect("odds_ratio", group="part=whole").estimate)
    assert list(effect.tidy().columns) == list(TIDY_COLUMNS)


def test_collinear_controls_are_nan_with_a_reason(make):
    table = make.firms()
    table["twice"] = 2 * table["log_workers"] + 1
    effect = structural_transition(
        make.risk_set(table, firm="firm"), controls=["log_workers", "twice", "sector"], cluster="firm"
    )
    alone = structural_transition(make.risk_set(table, firm="firm"), controls=["log_workers", "sector"], cluster="firm")
    assert np.isnan(effect.coefficients.loc["twice", "estimate"])
    assert effect.coefficients.loc["twice", "reason"] == "collinear with others"
    assert effect.effect("odds_ratio").estimate == pytest.approx(alone.effect("odds_ratio").estimate, rel=1e-8)


def test_a_treatment_that_is_a_combination_of_controls_raises(make):
    table = make.firms()
    table["copy"] = table["treated"]
    with pytest.raises(CollinearityError, match="treated"):
        structural_transition(make.risk_set(table), controls=["copy"], cluster=None)


def test_a_combination_of_controls_that_separates_leaves_with_its_rows(make):
    # Neither sector nor here predicts perfectly, but above 100 every firm becomes structural, below nobody does.
    table = make.firms()
    far = table.assign(special=(np.arange(len(table)) % 10 == 0).astype(float))
    far["outcome"] = np.where(far["special"] == 1, (far["log_workers"] > 0).astype(int), far["outcome"])
    far["slope"] = far["special"] * far["log_workers"]
    effect = structural_transition(make.risk_set(far), controls=["log_workers", "special", "slope"], cluster=None)
    rest = structural_transition(make.risk_set(far[far["special"] == 0]), controls=["log_workers"], cluster=None)
    assert effect.effect("log_odds").estimate == pytest.approx(rest.effect("log_odds").estimate, rel=1e-6)
    assert any("a combination of terms" in note for note in effect.notes)
    # the rows that left are averaged over with the outcome they had, in both worlds
    inside = far["treated"] == 1
    share = (inside & (far["special"] == 0)).sum() / inside.sum()
    expected = share * rest.effect("risk_difference").estimate
    assert effect.effect("risk_difference").estimate == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seen_as", [CollinearityError, ConvergenceError])
def test_separation_that_looks_like_something_else_is_searched_for(make, monkeypatch, seen_as):
    # with weights that differ a thousandfold the information of separated rows vanishes before the steps show it
    table = make.firms().assign(special=(np.arange(600) % 10 == 0).astype(float))
    table["outcome"] = np.where(table["special"] == 1, (table["log_workers"] > 0).astype(int), table["outcome"])
    table["slope"] = table["special"] * table["log_workers"]
    controls = ["log_workers", "special", "slope"]
    expected = structural_transition(make.risk_set(table), controls=controls, cluster=None)

    def fit(*arguments, **options):
        try:
            return fit_binomial(*arguments, **options)
        except SeparationError as error:
            raise seen_as("the steps end otherwise") from error

    monkeypatch.setattr("missie_impact.effects.fitting.model.fit_binomial", fit)
    found = structural_transition(make.risk_set(table), controls=controls, cluster=None)
    pd.testing.assert_frame_equal(found.tidy(), expected.tidy())

    def failing(*arguments, **options):
        raise seen_as("the steps end otherwise")

    monkeypatch.setattr("missie_impact.effects.fitting.model.fit_binomial", failing)
    with pytest.raises(seen_as, match="the steps end otherwise"):  # nothing is separated here
        structural_transition(make.risk_set(make.firms()), controls=["log_workers"], cluster=None)


def test_a_treatment_that_separates_with_a_control_raises(make):
    table = make.two_by_two()
    table["x"] = np.linspace(0, 1, len(table)) + 5 * (2 * table["outcome"] - 1) * table["treated"]
    table["outcome"] = np.where(table["treated"] == 1, table["outcome"], (table["x"] > 0.5).astype(int))
    with pytest.raises(SeparationError, match="separat"):
        structural_transition(make.risk_set(table), controls=["x"], cluster=None)


def test_constant_controls_are_named(make):
    effect = crude(make, make.two_by_two())
    with_constant = structural_transition(
        make.risk_set(make.two_by_two().assign(same=1.5, text="x")), controls=["same", "text"], cluster=None
    )
    assert with_constant.effect("odds_ratio").estimate == effect.effect("odds_ratio").estimate
    assert "controls without variation left out: same, text" in with_constant.notes


# ---- refused input -------------------------------------------------------------------------------------------------


def test_missing_values_name_column_and_rows_and_no_value(make):
    table = make.firms()
    table.loc[[3, 7, 9], "log_workers"] = np.nan
    table.loc[4, "log_workers"] = 987654.25
    with pytest.raises(MissingValueError, match=r"`log_workers`.* 3 of 600 rows") as caught:
        structural_transition(make.risk_set(table), controls=["log_workers"], cluster=None)
    assert "987654" not in str(caught.value)
    table["sector"] = table["sector"].where(table.index > 1)
    with pytest.raises(MissingValueError, match=r"`sector`.* 2 of 600 rows"):
        structural_transition(make.risk_set(table), controls=["sector"], cluster=None)


def test_unknown_columns(make):
    risk = make.risk_set(make.firms())
    with pytest.raises(SchemaError, match="nonsense"):
        structural_transition(risk, controls=["nonsense"], cluster=None)
    with pytest.raises(SchemaError, match="nonsense"):
        structural_transition(risk, controls=None, cluster=None, by="nonsense")
    with pytest.raises(SettingsError, match="no firm"):
        structural_transition(make.risk_set(make.two_by_two().drop(columns="firm")), controls=None, cluster="firm")
    with pytest.raises(SettingsError, match="one or two"):
        structural_transition(risk, controls=None, cluster=["firm", "sector", "here"])
    with pytest.raises(SettingsError, match="outcome or treatment"):
        structural_transition(risk, controls=["treated"], cluster=None)


def test_default_controls_that_are_absent_are_left_out_by_name(make):
    effect = structural_transition(make.risk_set(make.firms(), firm="firm"), cluster="firm")
    assert {"(Intercept)", "treated", "log_workers", "sector[G]", "sector[J]"} == set(effect.coefficients.index)
    (note,) = [note for note in effect.notes if note.startswith("controls left out")]
    assert "log_productivity" in note


def test_settings_are_checked():
    for wrong in ({"conf_level": 95}, {"vcov": "robust"}, {"correction": "cr9"}, {"duration_classes": (3, 1)}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            FitOptions(**wrong)


# ---- clusters ------------------------------------------------------------------------------------------------------


def test_several_errors_from_one_fit(make):
    risk = make.risk_set(make.firms(), firm="firm")
    effect = structural_transition(
        risk, controls=CONTROLS, cluster="firm", also_cluster=[None, ["firm", "sector"], [("sector", "here")]]
    )
    assert effect.vcov == "firm"
    names = ["firm", "model", "firm + sector", "sector x here"]
    assert [name for name in effect.vcovs if "fixed" not in name] == names
    for name, choice in zip(names, ["firm", None, ["firm", "sector"], [("sector", "here")]], strict=True):
        alone = structural_transition(risk, controls=CONTROLS, cluster=choice)
        pd.testing.assert_frame_equal(effect.with_vcov(name).tidy(), alone.tidy())
        pd.testing.assert_frame_equal(effect.with_vcov(name).coefficients, alone.coefficients)
    assert effect.vcov == "firm"  # unchanged
    with pytest.raises(SettingsError, match="also_cluster"):
        effect.with_vcov("village")


def test_few_clusters_are_said(make):
    effect = structural_transition(make.risk_set(make.firms(), firm="firm"), controls=CONTROLS, cluster="sector")
    assert any("only 3 clusters" in note for note in effect.notes)


def test_rows_without_a_mission_are_clusters_by_firm(make):
    table = make.firms()
    table["mission"] = np.where(table["treated"] == 1, "m" + (table["firm"] % 7).astype(str), None)
    by_hand = np.where(table["treated"] == 1, table["mission"], "f" + table["firm"].astype(str))
    named = structural_transition(
        make.risk_set(table, firm="firm", mission="mission"), controls=CONTROLS, cluster="mission"
    )
    spelt = structural_transition(
        make.risk_set(table.assign(own=by_hand), firm="firm"), controls=CONTROLS, cluster="own"
    )
    assert named.effect("odds_ratio").std_error == pytest.approx(spelt.effect("odds_ratio").std_error, rel=1e-10)


def test_model_errors_and_one_cluster_per_row_agree_roughly(make):
    table = make.firms(n=3000).assign(row=np.arange(3000))
    effect = structural_transition(make.risk_set(table), controls=CONTROLS, cluster=None, also_cluster=["row"])
    own = effect.tidy().set_index("scale")["std_error"]
    row = effect.with_vcov("row").tidy().set_index("scale")["std_error"]
    np.testing.assert_allclose(own, row, rtol=0.06)


# ---- what must not matter ------------------------------------------------------------------------------------------


def numbers(effect):
    return effect.tidy().drop(columns=["n_rows", "n_treated", "n_events"]).select_dtypes("number").to_numpy(float)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_row_order_and_names_of_firms_do_not_matter(make, seed):
    table = make.firms()
    rng = np.random.default_rng(seed)
    renamed = table.assign(firm="f" + pd.Series(rng.permutation(10_000)[table["firm"]], dtype=str))
    shuffled = renamed.sample(frac=1, random_state=seed)
    first = structural_transition(make.risk_set(table, firm="firm"), controls=CONTROLS, cluster="firm", by="size")
    other = structural_transition(make.risk_set(shuffled, firm="firm"), controls=CONTROLS, cluster="firm", by="size")
    np.testing.assert_allclose(numbers(first), numbers(other), rtol=1e-8)


@pytest.mark.parametrize("cluster", ["firm", None])
def test_weight_two_is_a_row_twice(make, cluster):
    table = make.firms().assign(n=np.arange(600) % 2 + 1)
    long = table.loc[table.index.repeat(table["n"])]
    short = make.risk_set(table, firm="firm", frequency="n")
    options = {"controls": CONTROLS, "cluster": cluster, "by": "size"}
    weighted = structural_transition(short, **options)
    written = structural_transition(make.risk_set(long, firm="firm"), **options)
    np.testing.assert_allclose(numbers(weighted), numbers(written), rtol=1e-7)
    pd.testing.assert_frame_equal(
        weighted.tidy()[["n_rows", "n_treated", "n_events"]], written.tidy()[["n_rows", "n_treated", "n_events"]]
    )


def test_frequency_weights_without_clusters_and_with_probability_weights(make):
    table = make.firms().assign(n=np.arange(600) % 2 + 1, p=1 + np.arange(600) % 3 / 2)
    long = table.loc[table.index.repeat(table["n"])]
    one = structural_transition(
        make.risk_set(table, frequency="n", probability="p"), controls=CONTROLS, cluster=None, by="size"
    )
    other = structural_transition(make.risk_set(long, probability="p"), controls=CONTROLS, cluster=None, by="size")
    assert one.vcov == "hc0"
    np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-7)


def test_probability_weights_are_relative(make):
    table = make.firms().assign(p=1 + np.arange(600) % 3 / 2)
    one = structural_transition(make.risk_set(table, firm="firm", probability="p"), controls=CONTROLS, cluster="firm")
    scaled = table.assign(p=10 * table["p"])
    ten = structural_transition(make.risk_set(scaled, firm="firm", probability="p"), controls=CONTROLS, cluster="firm")
    pd.testing.assert_frame_equal(one.tidy(), ten.tidy(), rtol=1e-7)


def test_a_firm_of_weight_zero_and_an_unused_column_do_not_matter(make):
    table = make.firms().assign(p=1.0)
    more = pd.concat([table, table.head(5).assign(firm=99_999, sector="Z", p=0.0)])
    one = structural_transition(make.risk_set(table, firm="firm", probability="p"), controls=CONTROLS, cluster="firm")
    other = structural_transition(
        make.risk_set(more.assign(unused=1), firm="firm", probability="p"), controls=CONTROLS, cluster="firm"
    )
    pd.testing.assert_frame_equal(one.tidy(), other.tidy())


def test_the_table_is_left_as_it_was(make):
    table = make.firms()
    before = table.copy()
    structural_transition(make.risk_set(table, firm="firm"), controls=CONTROLS, cluster="firm")
    pd.testing.assert_frame_equal(table, before)


def test_text_numbers_and_polars_tables_give_the_same(make):
    polars = pytest.importorskip("polars")
    table = make.firms()
    one = structural_transition(make.risk_set(table, firm="firm"), controls=CONTROLS, cluster="firm")
    other = structural_transition(
        make.risk_set(polars.from_pandas(table), firm="firm"), controls=CONTROLS, cluster="firm"
    )
    pd.testing.assert_frame_equal(one.tidy(), other.tidy(), rtol=1e-9)


# ---- the result ----------------------------------------------------------------------------------------------------


def test_a_result_can_be_saved_and_a_fit_cannot(make):
    risk = make.risk_set(make.firms(), firm="firm")
    effect = structural_transition(risk, controls=CONTROLS, cluster="firm", by="size")
    again = pickle.loads(pickle.dumps(effect))
    pd.testing.assert_frame_equal(effect.tidy(), again.tidy())
    kept = structural_transition(risk, controls=CONTROLS, cluster="firm", keep_fit=True)
    assert len(kept.fits["all"].scores) == 600
    with pytest.raises(MicrodataError, match="without_fit"):
        pickle.dumps(kept)
    assert isinstance(pickle.loads(pickle.dumps(kept.without_fit())), Effect)


def test_a_result_is_small_and_shows_counts_only(make):
    table = make.firms(n=3000)
    effect = structural_transition(make.risk_set(table, firm="firm"), controls=CONTROLS, cluster="firm")
    assert len(pickle.dumps(effect)) < 20_000  # 3,000 rows of 8 bytes would be more
    assert "3000 rows" in repr(effect)
    html = effect._repr_html_()
    assert "odds_ratio" in html and "standardised over the treated" in html


def test_scales_and_groups_are_named_in_errors(make):
    effect = crude(make, make.two_by_two())
    with pytest.raises(SettingsError, match="risk_difference"):
        effect.effect("odds")
    with pytest.raises(SettingsError, match=r"\['all'\]"):
        effect.effect("odds_ratio", group="sme")


def test_joint_covariance_gives_the_errors(make):
    effect = structural_transition(make.risk_set(make.firms(), firm="firm"), controls=CONTROLS, cluster="firm")
    covariance = effect.covariance()
    table = effect.tidy().set_index("scale")
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), table["std_error"], rtol=1e-12)
    # risk difference = risk with - risk without
    v = covariance
    difference = v.loc["risk_with", "risk_with"] + v.loc["risk_without", "risk_without"]
    difference -= 2 * v.loc["risk_with", "risk_without"]
    assert difference == pytest.approx(v.loc["risk_difference", "risk_difference"])


def test_conf_level_changes_the_interval_only(make):
    risk = make.risk_set(make.two_by_two())
    wide = structural_transition(risk, controls=None, cluster=None, options=FitOptions(conf_level=0.99))
    usual = structural_transition(risk, controls=None, cluster=None)
    assert wide.effect("odds_ratio").conf_low < usual.effect("odds_ratio").conf_low
    assert wide.effect("odds_ratio").std_error == usual.effect("odds_ratio").std_error


# ---- hazards of own tables -----------------------------------------------------------------------------------------


def test_duration_below_the_first_class_is_an_error(make):
    table = make.firms().assign(t=np.arange(600) % 4)
    with pytest.raises(MissingValueError, match="`t`: expected numbers of at least 1, found 150 rows"):
        market_exit(make.risk_set(table, duration="t"), controls=None, cluster=None)
    with pytest.raises(SettingsError, match="model"):
        market_exit(make.risk_set(table), model="cox", controls=None, cluster=None)


@pytest.mark.parametrize("source", [pd.DataFrame({"y": [0, 1]}), 5, None])
def test_what_is_no_risk_set_is_refused(source):
    for estimator in (structural_transition, market_exit):
        with pytest.raises(SettingsError, match=r"expected a risk set or a design.*RiskSet.from_frame"):
            estimator(source, controls=None, cluster=None)


def test_a_cluster_that_is_no_name_is_refused(make):
    table = make.two_by_two()
    for choice, kind in ((5, "int"), (table["outcome"], "Series")):  # its values are not shown
        with pytest.raises(SettingsError, match=f"a column, a list of two, or None, found {kind}\\.$"):
            structural_transition(make.risk_set(table), controls=None, cluster=choice)


def test_every_error_is_one_of_ours(make):
    with pytest.raises(MissieError):
        crude(make, make.two_by_two(0, 0, 12, 68))


def test_separated_rows_are_found_among_many(make):
    # 60,000 rows, 3 of them separated by two dummies together: more rows than the programme begins with.
    rng = np.random.default_rng(7)
    n = 60_000
    table = pd.DataFrame({"treated": rng.integers(0, 2, n), "x": rng.normal(size=n), "a": 0, "b": 0})
    table.loc[:99, "a"] = 1
    table.loc[3:99, "b"] = 1
    table["outcome"] = (rng.random(n) < 0.4).astype(int)
    table.loc[:2, "outcome"] = 0  # a without b never becomes structural; b alone does not occur
    effect = structural_transition(make.risk_set(table), controls=["x", "a", "b"], cluster=None)
    without = structural_transition(make.risk_set(table.loc[3:]), controls=["x", "a"], cluster=None)
    assert effect.effect("log_odds").n_rows == n - 3
    assert effect.effect("log_odds").estimate == pytest.approx(without.effect("log_odds").estimate, rel=1e-8)
    assert "outcome certain for a combination of terms: 3 rows left the likelihood" in effect.notes


def test_an_interval_too_wide_for_a_number_ends_at_infinity():

    error, _, p_value, low, high = inference(2.0, 400.0, float("inf"), 0.95, scale="odds_ratio")
    assert (error, high) == (400.0, float("inf"))
    assert low == pytest.approx(0.0) and p_value > 0.99


def test_probabilities_have_their_interval_on_the_logit_scale():
    # 0.02 with an error of 0.005: logit -3.8918, error 0.005 / (0.02 x 0.98) = 0.25510
    error, statistic, p_value, low, high = inference(
        0.02, 0.005, float("inf"), 0.95, scale="yearly_exit_probability_with"
    )
    assert error == 0.005
    assert np.isnan([statistic, p_value]).all()
    ends = 1 / (1 + np.exp(3.8918203 + 1.95996398 * 0.25510204 * np.array([1, -1])))
    np.testing.assert_allclose([low, high], ends, rtol=1e-7)
    assert inference(0.001, 0.01, float("inf"), 0.95, scale="risk_without")[3] > 0
    outside = inference(1.2, 0.1, float("inf"), 0.95, scale="risk_with")  # a corrected risk can lie outside
    np.testing.assert_allclose(outside[3:], [1.2 - 0.195996398, 1.2 + 0.195996398], rtol=1e-7)
