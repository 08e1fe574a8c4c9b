"""Weighting and doubly robust comparison: R's numbers, second ways, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.design import match, weight
from missie_impact.effects import CrossFit, FitOptions, market_entry, structural_transition
from missie_impact.effects.becoming.doubly_robust import Arms, Predicted, folds_of, robust_means
from missie_impact.effects.fitting.rows import Request, read_rows
from missie_impact.errors import ConvergenceError, NoEventError, NoParticipantError, PositivityError, SettingsError
from missie_impact.risksets.riskset import RiskSet

KNOWN = FitOptions(vcov="fixed_weights")
ON = ["age", "hiv2004", "distvct"]


def plain(term):
    return term.replace("[", "").replace("]", "")


@pytest.fixture(scope="module")
def incentives(make):
    table, reference = make.load("thornton_logit_clusters")
    used = table.dropna(subset=["got", "any", *ON, "villnum"]).reset_index(drop=True)
    return make.risk_set(used, outcome="got", treatment="any", firm="villnum"), reference


def logit(y, x, weight=None):
    """Coefficients of a logit by Newton's method on written-out columns."""
    weight, beta = np.ones(len(y)) if weight is None else weight, np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ beta))
        beta = beta + np.linalg.solve((x * (weight * p * (1 - p))[:, None]).T @ x, x.T @ (weight * (y - p)))
    return beta


def chance(x, beta):
    return 1 / (1 + np.exp(-x @ beta))


def sampled(firms=300, n=1500, seed=3):
    """Rows of firms with a common part, participation by x and z."""
    r = np.random.default_rng(seed)
    firm = r.integers(0, firms, n)
    common = r.normal(0, 0.7, firms)[firm]
    x, z = r.normal(size=n) + 0.3 * common, (r.random(n) < 0.4).astype(int)
    treated = (r.random(n) < 1 / (1 + np.exp(0.8 - 0.6 * x - 0.4 * z))).astype(int)
    outcome = (r.random(n) < 1 / (1 + np.exp(0.5 - 0.7 * treated - 0.5 * x + 0.4 * z - 0.6 * common))).astype(int)
    return pd.DataFrame({"firm": firm, "x": x, "z": z, "treated": treated, "outcome": outcome})


# ---- R's numbers ---------------------------------------------------------------------------------------------------


def test_weighted_arms_and_errors_with_known_weights_are_those_of_r(incentives, matches):
    risk, reference = incentives
    expected = reference["ipw"]["fit"]
    own = structural_transition(
        risk, controls=ON, cluster="firm", estimator="weighting", standardise="all", also_cluster=[None], options=KNOWN
    )
    design = weight(risk, on=ON, estimand="ate")
    on_design = structural_transition(design, controls=None, cluster="firm", also_cluster=[None], options=KNOWN)
    for effect in (own, on_design):
        matches(effect.coefficients["estimate"], expected["coef"], plain)
        matches(effect.coefficients["std_error"], expected["se"]["g_over_gm1"], plain)
        matches(effect.with_vcov("hc0, fixed weights").coefficients["std_error"], expected["se"]["hc0"], plain)
        difference = effect.effect("risk_difference")
        assert difference.estimate == pytest.approx(expected["standardised"]["rd"], rel=1e-6)
        assert difference.std_error == pytest.approx(expected["standardised"]["rd_se_g_over_gm1"], rel=1e-6)
        ratio = effect.effect("risk_ratio")
        assert ratio.std_error == pytest.approx(expected["standardised"]["log_rr_se_g_over_gm1"], rel=1e-6)
        assert any("vcovCL" in note for note in effect.notes)
        assert effect.population == "all"
    pd.testing.assert_series_equal(
        own.with_vcov("firm").tidy()["std_error"], on_design.with_vcov("firm").tidy()["std_error"][:5], rtol=1e-7
    )


def test_leave_one_cluster_out_errors_are_reachable(incentives, matches):
    risk, reference = incentives
    effect = structural_transition(risk, controls=ON, cluster="firm", options=FitOptions(correction="cr3"))
    matches(effect.coefficients["std_error"], reference["logit_adjusted"]["se"]["cr3"], plain)
    usual = structural_transition(risk, controls=ON, cluster="firm")
    assert effect.effect("risk_difference").std_error > usual.effect("risk_difference").std_error
    with pytest.raises(SettingsError, match="cr3"):
        structural_transition(
            risk, controls=ON, cluster="firm", estimator="doubly_robust", options=FitOptions(correction="cr3")
        )


def lalonde(make):
    table, reference = make.load("lalonde_matching")
    return table.assign(zero78=(table["re78"] == 0).astype(int)), reference


LALONDE = ["age", "educ", "race", "married", "nodegree", "re74", "re75"]


def test_doubly_robust_and_weighted_means_of_earnings(make):
    table, reference = lalonde(make)
    risk = make.risk_set(table, outcome="zero78", treatment="treat", firm="id")
    design, table = weight(risk, on=LALONDE, estimand="att"), risk.collect()  # rows in the order of the risk set
    on = table["treat"].to_numpy() == 1
    x = np.column_stack(
        [np.ones(len(table)), *(table[c] for c in LALONDE if c != "race"), table["race"] == "hispan",
         table["race"] == "white"]
    ).astype(float)  # fmt: skip
    beta = np.linalg.lstsq(x[~on], table["re78"].to_numpy()[~on], rcond=None)[0]
    nothing = np.full(len(table), np.nan)
    arms = Arms(table["re78"].to_numpy(), on, on.astype(float), design.weight)
    robust = robust_means(arms, Predicted(nothing, nothing, x @ beta), "treated")
    assert robust.risks[0] - robust.risks[1] == pytest.approx(reference["aipw_att_hajek"], rel=1e-6)
    weighted = robust_means(arms, Predicted(nothing, nothing, np.zeros(len(table))), "treated")
    assert weighted.risks[0] - weighted.risks[1] == pytest.approx(reference["ipw_att"]["estimate"], rel=1e-6)


def test_matched_pairs_odds_ratio(make):
    table, reference = lalonde(make)
    expected = reference["logit_zero78_matched_pairs"]
    pairs = reference["nn_1to1_without_replacement_largest_first"]["match_matrix"]
    place = {name: i for i, name in enumerate(table["id"])}
    sets = np.full(len(table), -1)
    for number, (treated, control) in enumerate(pairs.items()):
        control = control[0] if isinstance(control, list) else control
        sets[[place[treated], place[control]]] = number
    risk = make.risk_set(table.assign(row=np.arange(len(table))), outcome="zero78", treatment="treat", firm="row")
    design = Stub(risk, (sets >= 0).astype(float), sets)
    for cluster in ("matched_set", "firm"):  # every person once: firm and matched set together are the sets alone
        effect = structural_transition(design, controls=None, cluster=cluster)
        odds = effect.coefficients.loc["treat"]
        assert odds["estimate"] == pytest.approx(expected["log_or"], rel=1e-6)
        assert odds["std_error"] == pytest.approx(expected["se_cluster_g_over_gm1"], rel=1e-6)
        assert effect.effect("risk_with").estimate == pytest.approx(expected["p_treated"], rel=1e-6)
        assert effect.effect("risk_without").estimate == pytest.approx(expected["p_control"], rel=1e-6)


class Stub:
    """Matched sets given by hand."""

    def __init__(self, risk, weight, sets, estimand="att"):
        self.risk, self.weight, self.sets, self.estimand, self.method = risk, weight, sets, estimand, "given sets"


# ---- a second way ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("population", ["treated", "all"])
@pytest.mark.parametrize("folds", [1, 4])
def test_doubly_robust_by_hand(make, population, folds):
    table = sampled()
    risk = make.risk_set(table, firm="firm")
    settings = CrossFit(folds=folds, seed=11)
    effect = structural_transition(
        risk, controls=["x", "z"], cluster="firm", estimator="doubly_robust", standardise=population,
        options=FitOptions(cross_fit=settings),
    )  # fmt: skip
    rows = read_rows(risk, Request(["x", "z"], cluster=("firm",)))
    table = risk.collect()  # sorted as the rows are
    fold, _ = folds_of(rows, np.arange(len(table)), settings)
    assert table.groupby("firm")["treated"].size().sum() == len(fold)
    assert (pd.Series(fold).groupby(table["firm"]).nunique() == 1).all()
    x = np.column_stack([np.ones(len(table)), table["x"], table["z"]])
    y, on = table["outcome"].to_numpy(float), table["treated"].to_numpy() == 1
    m1, m0, e = (np.zeros(len(table)) for _ in range(3))
    for k in range(folds):
        train = (fold != k) if folds > 1 else np.ones(len(table), dtype=bool)
        m1[fold == k] = chance(x, logit(y[train & on], x[train & on]))[fold == k]
        m0[fold == k] = chance(x, logit(y[train & ~on], x[train & ~on]))[fold == k]
        e[fold == k] = chance(x, logit(on[train].astype(float), x[train]))[fold == k]
    if population == "treated":
        w = e / (1 - e) * ~on
        left = (w * (y - m0)).sum() / w.sum()
        one, zero = y[on].mean(), m0[on].mean() + left
        part1 = on * (y - one) / on.sum()
        part0 = on * (m0 - m0[on].mean()) / on.sum() + w * (y - m0 - left) / w.sum()
    else:
        w1, w0, n = on / e, ~on / (1 - e), len(y)
        left1, left0 = (w1 * (y - m1)).sum() / w1.sum(), (w0 * (y - m0)).sum() / w0.sum()
        one, zero = m1.mean() + left1, m0.mean() + left0
        part1 = (m1 - m1.mean()) / n + w1 * (y - m1 - left1) / w1.sum()
        part0 = (m0 - m0.mean()) / n + w0 * (y - m0 - left0) / w0.sum()
    by_firm = pd.Series(part1 - part0).groupby(table["firm"]).sum()
    g = len(by_firm)
    difference = effect.effect("risk_difference")
    assert difference.estimate == pytest.approx(one - zero, rel=1e-7)
    assert difference.std_error == pytest.approx(np.sqrt(g / (g - 1) * (by_firm**2).sum()), rel=1e-6)
    log_ratio = pd.Series(part1 / one - part0 / zero).groupby(table["firm"]).sum()
    assert effect.effect("risk_ratio").std_error == pytest.approx(np.sqrt(g / (g - 1) * (log_ratio**2).sum()), rel=1e-6)
    assert effect.estimand("risk_ratio") == ("rr_att" if population == "treated" else "rr_ate")


def misspecified(kind, n=150_000, seed=8):
    """Truth where only one of the two logits in x is right, and the risks of the treated in both worlds."""
    r = np.random.default_rng(seed)
    x = r.normal(size=n)
    bent = np.where(np.abs(x) > 1, 1.2, -0.8) + 0.4 * x
    treated = r.random(n) < 1 / (1 + np.exp(-(bent if kind == "score" else 0.8 * x - 0.5)))
    base = -0.5 + 0.7 * x if kind == "score" else -0.8 + 1.4 * (np.abs(x) > 1) + 0.5 * x
    one, zero = 1 / (1 + np.exp(-base - 0.8)), 1 / (1 + np.exp(-base))
    table = pd.DataFrame({"firm": np.arange(n), "x": x, "treated": treated.astype(int)})
    table["outcome"] = (r.random(n) < np.where(treated, one, zero)).astype(int)
    return table, float((one - zero)[treated].mean())


@pytest.mark.parametrize(("wrong", "fails"), [("score", "weighting"), ("outcome", "regression")])
def test_right_with_either_model_wrong(make, wrong, fails):
    table, truth = misspecified(wrong)
    risk = make.risk_set(table, firm="firm")
    options = FitOptions(cross_fit=CrossFit(folds=2))
    found = {
        name: structural_transition(risk, controls=["x"], cluster=None, estimator=name, options=options).effect(
            "risk_difference"
        )
        for name in ("regression", "weighting", "doubly_robust")
    }
    robust, failing = found["doubly_robust"], found[fails]
    assert abs(robust.estimate - truth) < 3.3 * robust.std_error
    assert abs(failing.estimate - truth) > 4 * failing.std_error


def test_errors_stack_the_weights_by_hand(make):
    """Influence of every row on (score coefficients, arms' means), written out for weights of the treated."""
    risk = make.risk_set(sampled(), firm="firm")
    effect = structural_transition(risk, controls=["x", "z"], cluster="firm", estimator="weighting")
    table = risk.collect()
    x = np.column_stack([np.ones(len(table)), table["x"], table["z"]])
    y, on = table["outcome"].to_numpy(float), table["treated"].to_numpy(float)
    e = chance(x, logit(on, x))
    w = np.where(on == 1, 1, e / (1 - e))
    control = w * (1 - on)
    one, zero = y[on == 1].mean(), (control * y).sum() / control.sum()
    inverse = np.linalg.inv((x * (e * (1 - e))[:, None]).T @ x)
    derivative = x.T @ (control * (y - zero)) / control.sum()  # the weight e / (1 - e) is its own derivative
    part = on * (y - one) / on.sum() - control * (y - zero) / control.sum()
    part = part - (x * (on - e)[:, None]) @ inverse @ derivative
    by_firm = pd.Series(part).groupby(table["firm"]).sum()
    g = len(by_firm)
    expected = np.sqrt(g / (g - 1) * (by_firm**2).sum())
    assert effect.effect("risk_difference").std_error == pytest.approx(expected, rel=1e-6)
    known = effect.with_vcov("firm, fixed weights").effect("risk_difference").std_error
    assert known != pytest.approx(expected, rel=1e-3)


def test_regression_on_weighted_rows_stacks_the_weights(make):
    """The same coefficient's error from numerical derivatives of all equations together."""
    risk = make.risk_set(sampled(n=600, firms=120), firm="firm")
    effect = structural_transition(weight(risk, on=["x", "z"], estimand="ate"), controls=["x"], cluster="firm")
    table = risk.collect()
    z = np.column_stack([np.ones(len(table)), table["x"], table["z"]])
    x = np.column_stack([np.ones(len(table)), table["treated"], table["x"]])
    y, on = table["outcome"].to_numpy(float), table["treated"].to_numpy(float)

    def equations(theta):
        gamma, beta, risks = theta[:3], theta[3:6], theta[6:]
        e = chance(z, gamma)
        w = np.where(on == 1, 1 / e, 1 / (1 - e))
        worlds = [chance(np.column_stack([x[:, 0], np.full(len(y), arm), x[:, 2]]), beta) for arm in (1.0, 0.0)]
        means = [w * (world - risk) for world, risk in zip(worlds, risks, strict=True)]
        return np.column_stack([z * (on - e)[:, None], x * (w * (y - chance(x, beta)))[:, None], *means])

    gamma = logit(on, z)
    w = np.where(on == 1, 1 / chance(z, gamma), 1 / (1 - chance(z, gamma)))
    risks = [effect.effect("risk_with").estimate, effect.effect("risk_without").estimate]
    theta = np.concatenate([gamma, logit(y, x, w), risks])
    assert np.abs(equations(theta).sum(axis=0)).max() < 1e-6
    steps = 1e-5 * np.eye(8)
    slope = np.array([(equations(theta + h) - equations(theta - h)).sum(axis=0) / 2e-5 for h in steps]).T
    by_firm = pd.DataFrame(equations(theta)).groupby(table["firm"]).sum().to_numpy()
    influence = by_firm @ np.linalg.inv(slope).T
    g = len(by_firm)
    covariance = g / (g - 1) * influence.T @ influence
    assert effect.coefficients["std_error"]["treated"] == pytest.approx(np.sqrt(covariance[4, 4]), rel=1e-5)
    difference = covariance[6, 6] + covariance[7, 7] - 2 * covariance[6, 7]
    assert effect.effect("risk_difference").std_error == pytest.approx(np.sqrt(difference), rel=1e-5)


# ---- clusters of matched sets -------------------------------------------------------------------------------------


def in_sets(make, **roles):
    """Pairs of a treated row and an untreated one, the same firms in several pairs, three missions."""
    r = np.random.default_rng(4)
    n = 400
    table = pd.DataFrame({"firm": r.integers(0, 150, n), "treated": np.arange(n) % 2, "x": r.normal(size=n)})
    table["outcome"] = (r.random(n) < 0.3 + 0.2 * table["treated"]).astype(int)
    table["mission"] = np.where(table["treated"] == 1, "m" + pd.Series(np.arange(n) // 2 % 40).astype(str), None)
    table["set"] = np.arange(n) // 2
    table.loc[380:, "set"] = -1  # rows that nobody was matched with
    risk = make.risk_set(table, firm="firm", **roles)
    ordered = risk.collect()
    sets = ordered["set"].to_numpy(dtype=int)
    return Stub(risk, (sets >= 0).astype(float), sets), ordered[ordered["set"] >= 0].reset_index(drop=True)


def sandwich(parts, codes):
    sums = pd.DataFrame(parts).groupby(np.asarray(codes)).sum().to_numpy()
    return len(sums) / (len(sums) - 1) * sums.T @ sums


def test_firm_on_matched_rows_means_firm_and_matched_set(make):
    design, used = in_sets(make)
    effect = structural_transition(design, controls=None, cluster="firm", estimator="weighting")
    assert effect.vcov == "firm + matched set"
    on = used["treated"] == 1
    part = np.where(on, used["outcome"] - used["outcome"][on].mean(), 0) / on.sum()
    part -= np.where(~on, used["outcome"] - used["outcome"][~on].mean(), 0) / (~on).sum()
    both = used["firm"].astype(str) + "/" + used["set"].astype(str)
    variance = sandwich(part, used["firm"]) + sandwich(part, used["set"]) - sandwich(part, both)
    assert effect.effect("risk_difference").std_error == pytest.approx(np.sqrt(variance[0, 0]), rel=1e-6)


def test_the_mission_of_a_matched_row_is_that_of_its_set(make):
    design, used = in_sets(make, mission="mission")
    effect = structural_transition(design, controls=None, cluster=["firm", "mission"], estimator="weighting")
    lead = used[used["treated"] == 1].set_index("set")["mission"]
    mission = used["set"].map(lead)
    on = used["treated"] == 1
    part = np.where(on, used["outcome"] - used["outcome"][on].mean(), 0) / on.sum()
    part -= np.where(~on, used["outcome"] - used["outcome"][~on].mean(), 0) / (~on).sum()
    both = used["firm"].astype(str) + "/" + mission
    variance = sandwich(part, used["firm"]) + sandwich(part, mission) - sandwich(part, both)
    difference = effect.effect("risk_difference")
    assert difference.std_error == pytest.approx(np.sqrt(variance[0, 0]), rel=1e-6)
    assert (difference.conf_high - difference.estimate) / difference.std_error == pytest.approx(2.02269092)  # t, 39


def test_folds_keep_matched_sets_whole(make):
    design, _ = in_sets(make)
    table = design.risk.collect()
    alone = design.risk.collect().assign(firm=np.arange(len(table)))
    lone = Stub(make.risk_set(alone, firm="firm"), design.weight, design.sets)
    rows = read_rows(lone, Request(None, cluster=("firm",)))
    used = np.flatnonzero(design.weight > 0)
    fold, notes = folds_of(rows, used, CrossFit(folds=5))
    assert not notes
    assert (pd.Series(fold).groupby(design.sets[used]).nunique() == 1).all()
    assert np.bincount(fold).min() > 60
    linked = read_rows(design, Request(None, cluster=("firm",)))  # firms in many sets: nearly all rows hang together
    fold, notes = folds_of(linked, used, CrossFit(folds=5))
    assert "not sets" in notes[0]
    assert (pd.Series(fold).groupby(table["firm"].to_numpy()[used]).nunique() == 1).all()


def test_matched_sets_are_asked_for_on_a_design_only(make):
    with pytest.raises(SettingsError, match="matched sets"):
        structural_transition(make.risk_set(sampled(), firm="firm"), controls=None, cluster="matched_set")


# ---- who cannot be compared ---------------------------------------------------------------------------------------


def one_sided():
    table = sampled().assign(place="a")
    table.loc[table.index[:30], "place"] = "only_treated"
    table.loc[table.index[:30], "treated"] = 1
    table.loc[table.index[30:80], "place"] = "never"
    table.loc[table.index[30:80], "treated"] = 0
    return table


@pytest.mark.parametrize("estimator", ["weighting", "doubly_robust"])
def test_levels_without_the_other_arm_are_named(make, estimator):
    table = one_sided()
    ask = {"controls": ["x", "place"], "cluster": "firm", "estimator": estimator}
    risk = make.risk_set(table, firm="firm")
    rows = "30 rows" if estimator == "weighting" else "rows"  # the doubly robust one meets them fold by fold
    with pytest.raises(PositivityError, match=rf"{rows} at \['place\[only_treated\]'\] are treated"):
        structural_transition(risk, **ask)
    fewer = make.risk_set(table[table["place"] != "only_treated"], firm="firm")
    with pytest.raises(PositivityError, match=r"place\[never\]"):
        structural_transition(fewer, standardise="all", **ask)
    # an effect on the treated does without rows that never had a chance of treatment
    with_never = structural_transition(fewer, **ask).effect("risk_difference").estimate
    without = make.risk_set(table[table["place"] == "a"], firm="firm")
    assert with_never == pytest.approx(
        structural_transition(without, **ask).effect("risk_difference").estimate, abs=0.02
    )


def test_a_subgroup_without_overlap_is_nan_with_its_reason(make):
    table = one_sided()
    half = np.where(np.arange(len(table)) < 80, "bad", np.where(np.arange(len(table)) % 2 == 0, "even", "odd"))
    table = table.assign(half=half, place=np.where(half == "bad", table["place"], "a"))
    table["place"] = np.where((half != "bad") & (np.arange(len(table)) % 3 == 0), "only_treated", table["place"])
    table["place"] = np.where((half != "bad") & (np.arange(len(table)) % 3 == 1), "never", table["place"])
    risk = make.risk_set(table, firm="firm")
    effect = structural_transition(risk, controls=["x", "place"], cluster="firm", by="half", estimator="weighting")
    bad = effect.effect("risk_ratio", group="half=bad")
    assert np.isnan(bad.estimate) and bad.reason.startswith("positivity")
    assert np.isfinite(effect.effect("risk_ratio", group="half=odd").estimate)


def test_trimming_says_whom_it_leaves_out_and_renames_the_estimand(make):
    table = sampled()
    table["x"] *= 1.0
    risk = make.risk_set(table, firm="firm")
    ask = {"controls": ["x", "z"], "cluster": "firm", "estimator": "doubly_robust"}
    effect = structural_transition(risk, options=FitOptions(cross_fit=CrossFit(trim=0.4)), **ask)
    assert effect.estimand("risk_difference") == "rd_att_on_support"
    (note,) = [note for note in effect.notes if "trimmed" in note]
    kept = effect.effect("risk_difference").n_treated
    share = 1 - kept / table["treated"].sum()
    assert f"{share:.2%} of the treated rows" in note and 0 < share < 0.5
    gentle = structural_transition(risk, options=FitOptions(cross_fit=CrossFit(trim=0.01)), **ask)
    assert gentle.estimand("risk_difference") == "rd_att"  # nobody treated was left out


def test_settings_that_do_not_go_together(make):
    risk = make.risk_set(sampled(), firm="firm")
    ask = {"controls": ["x"], "cluster": "firm"}
    for wrong, named in (
        ({"estimator": "ols"}, "estimator"),
        ({"standardise": "overlap"}, "overlap"),
        ({"standardise": "overlap", "estimator": "doubly_robust"}, "doubly robust"),
        ({"keep_fit": True, "estimator": "doubly_robust"}, "keep_fit"),
    ):
        with pytest.raises(SettingsError, match=named):
            structural_transition(risk, **ask, **wrong)
    with pytest.raises(SettingsError, match="'att'"):
        structural_transition(weight(risk, on=["x"]), standardise="all", estimator="weighting", **ask)
    for wrong in ({"folds": 0}, {"trim": 0.7}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            CrossFit(**wrong)
    few = sampled(n=80, firms=3)
    with pytest.raises(NoParticipantError, match="fewer folds"):
        structural_transition(make.risk_set(few, firm="firm"), estimator="doubly_robust", **ask)


# ---- what must not matter, and what is handed on -----------------------------------------------------------------


def test_entry_takes_the_same_estimators_and_tables(make):
    polars = pytest.importorskip("polars")
    table = sampled()
    for estimator in ("weighting", "doubly_robust"):
        ask = {"controls": ["x", "z"], "cluster": "firm", "estimator": estimator}
        one = market_entry(make.risk_set(table, firm="firm"), **ask)
        other = structural_transition(make.risk_set(polars.from_pandas(table), firm="firm"), **ask)
        pd.testing.assert_frame_equal(one.tidy(), other.tidy(), rtol=1e-9)
        assert not one.tidy().drop(columns="reason").isna().drop(columns=["statistic", "p_value"]).any().any()


@pytest.mark.parametrize("estimator", ["weighting", "doubly_robust"])
def test_weight_two_is_a_row_twice(make, estimator):
    table = sampled().assign(n=np.arange(1500) % 2 + 1, p=1 + np.arange(1500) % 3 / 2)
    ask = {"controls": ["x", "z"], "cluster": "firm", "estimator": estimator, "also_cluster": [None]}
    short = structural_transition(make.risk_set(table, firm="firm", frequency="n", probability="p"), **ask)
    long = table.loc[table.index.repeat(table["n"])].reset_index(drop=True)
    long = long.sort_values("firm", kind="stable")
    written = structural_transition(make.risk_set(long, firm="firm", probability="p"), **ask)
    for name in ("firm", "hc0"):
        one, other = (e.with_vcov(name).tidy().select_dtypes("number") for e in (short, written))
        np.testing.assert_allclose(one.to_numpy(float), other.to_numpy(float), rtol=1e-6)


def test_matching_with_replacement_says_what_its_errors_leave_out(make):
    risk = make.risk_set(sampled(n=400, firms=200), firm="firm")
    design = match(risk, on=["x", "z"], replace=True, seed=1)
    effect = structural_transition(design, controls=["x", "z"], cluster="firm", estimator="doubly_robust")
    assert any("with replacement" in note for note in effect.notes)
    assert isinstance(design.risk, RiskSet)


@pytest.mark.parametrize("estimator", ["weighting", "doubly_robust"])
def test_a_score_without_a_maximum_and_arms_told_apart_are_errors(make, estimator, monkeypatch):
    table = sampled(n=400, firms=200)
    ask = {"cluster": "firm", "estimator": estimator}
    apart = table.assign(x=table["treated"] * 2 - 1 + np.linspace(0, 0.5, len(table)))
    with pytest.raises(PositivityError, match="positivity"):
        structural_transition(make.risk_set(apart, firm="firm"), controls=["x"], **ask)
    with pytest.raises(NoEventError, match="no events"):
        structural_transition(make.risk_set(table.assign(outcome=0), firm="firm"), controls=["x"], **ask)

    def stopped(*_, **__):
        raise ConvergenceError("no maximum after 50 steps")

    monkeypatch.setattr("missie_impact.effects.becoming.nuisance.fit_binomial", stopped)
    monkeypatch.setattr(
        "missie_impact.effects.becoming.doubly_robust.fits_without_each", lambda parts: (None,) * len(parts.slices)
    )
    with pytest.raises(ConvergenceError, match="no maximum"):
        structural_transition(make.risk_set(table, firm="firm"), controls=["x"], **ask)
