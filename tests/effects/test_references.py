"""R's numbers through the public functions, on tables a researcher would bring along.

Tolerance 1e-6 relative: both sides converge to about 1e-9, R prints 15 digits.
"""

import numpy as np
import pandas as pd
import pytest

from missie_impact.effects import FitOptions, market_exit, structural_transition

FIXED = FitOptions(vcov="fixed_covariates")


def plain(term):
    """``tg[2]`` is R's ``tg2``."""
    return term.replace("[", "").replace("]", "")


# ---- incentives and HIV results: 119 villages --------------------------------------------------------------------


@pytest.fixture(scope="module")
def incentives(make):
    table, reference = make.load("thornton_logit_clusters")
    used = table.dropna(subset=["got", "any", "age", "hiv2004", "distvct", "villnum"])
    assert len(used) == reference["n_used"]
    return used.reset_index(drop=True), reference


@pytest.mark.parametrize(
    ("block", "controls"), [("logit_any_only", None), ("logit_adjusted", ["age", "hiv2004", "distvct"])]
)
def test_incentives_coefficients_errors_and_standardised_risks(make, matches, incentives, block, controls):
    table, reference = incentives
    expected = reference[block]
    risk = make.risk_set(table, outcome="got", treatment="any", firm="villnum")
    effect = structural_transition(
        risk, controls=controls, cluster="firm", also_cluster=[None], standardise="all", options=FIXED
    )
    matches(effect.coefficients["estimate"], expected["coef"], plain)
    matches(effect.with_vcov("firm").coefficients["std_error"], expected["se"]["g_over_gm1"], plain)
    matches(effect.with_vcov("model").coefficients["std_error"], expected["se"]["model_based"], plain)
    assert effect.groups[0].log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)

    standardised = expected["standardised"]
    difference, ratio = effect.effect("risk_difference"), effect.effect("risk_ratio")
    assert difference.estimate == pytest.approx(standardised["rd"], rel=1e-6)
    assert difference.std_error == pytest.approx(standardised["rd_se_g_over_gm1"], rel=1e-6)
    assert ratio.estimate == pytest.approx(standardised["rr"], rel=1e-6)
    assert ratio.std_error == pytest.approx(standardised["log_rr_se_g_over_gm1"], rel=1e-6)
    assert effect.effect("risk_with").estimate == pytest.approx(standardised["risk_1"], rel=1e-6)
    assert effect.effect("risk_without").estimate == pytest.approx(standardised["risk_0"], rel=1e-6)
    marginal = effect.effect("odds_ratio").estimate
    assert marginal == pytest.approx(standardised["odds_ratio_of_standardised_risks"], rel=1e-6)

    conditional = effect.effect("odds_ratio_conditional")
    assert conditional.estimate == pytest.approx(expected["any_or"], rel=1e-6)
    assert [conditional.conf_low, conditional.conf_high] == pytest.approx(expected["any_or_ci_normal"], rel=1e-6)
    assert conditional.statistic == pytest.approx(expected["any_z"], rel=1e-6)
    assert conditional.p_value == pytest.approx(expected["any_p_normal"], rel=1e-4)  # in the far tail of the normal


@pytest.mark.parametrize("correction", ["cr0", "g_over_gm1", "cr1"])
def test_incentives_small_sample_factors(make, matches, incentives, correction):
    table, reference = incentives
    risk = make.risk_set(table, outcome="got", treatment="any", firm="villnum")
    effect = structural_transition(
        risk, controls=["age", "hiv2004", "distvct"], cluster="firm", options=FitOptions(correction=correction)
    )
    matches(effect.coefficients["std_error"], reference["logit_adjusted"]["se"][correction], plain)


def test_incentives_two_way_clusters(make, incentives):
    table, reference = incentives
    risk = make.risk_set(table.assign(band=table["age"] // 10), outcome="got", treatment="any", firm="villnum")
    effect = structural_transition(
        risk, controls=["age", "hiv2004", "distvct"], cluster=["firm", "band"], options=FitOptions(correction="cr0")
    )
    # With 8 bands V_village + V_band - V_both has negative eigenvalues. They are set to zero, which can only raise a
    # variance; R's vcovCL leaves them in.
    assert any("negative eigenvalues" in note for note in effect.notes)
    expected = pd.Series(reference["two_way_village_ageband"]["se"])
    ratio = effect.coefficients["std_error"] / expected
    assert ratio.between(1.0, 1.02).all()
    assert effect.vcov == "firm + band"
    # t with the smaller number of clusters, 8 bands, less one
    log_odds = effect.effect("log_odds")
    assert (log_odds.conf_high - log_odds.estimate) / log_odds.std_error == pytest.approx(2.364624251592784)


def test_incentives_inverse_probability_weights(make, matches, incentives):
    table, reference = incentives
    chance = pd.Series(reference["ipw"]["coef_ps"])
    p = 1 / (1 + np.exp(-chance["(Intercept)"] - table[chance.index[1:]] @ chance.iloc[1:]))
    weighted = table.assign(w=np.where(table["any"] == 1, 1 / p, 1 / (1 - p)))
    assert weighted["w"].sum() == pytest.approx(reference["ipw"]["sum_w"])
    risk = make.risk_set(weighted, outcome="got", treatment="any", firm="villnum", probability="w")
    effect = structural_transition(
        risk, controls=None, cluster="firm", also_cluster=[None], standardise="all", options=FIXED
    )
    fit = reference["ipw"]["fit"]
    matches(effect.coefficients["estimate"], fit["coef"], plain)
    matches(effect.coefficients["std_error"], fit["se"]["g_over_gm1"], plain)
    matches(effect.with_vcov("hc0").coefficients["std_error"], fit["se"]["hc0"], plain)
    difference = effect.effect("risk_difference")
    assert difference.std_error == pytest.approx(fit["standardised"]["rd_se_g_over_gm1"], rel=1e-6)
    assert difference.n_rows == reference["n_used"]  # probability weights do not count rows


def test_incentives_subgroups_by_distance(make, incentives):
    table, reference = incentives
    # On its own each side of the distance has its own slopes, so R's interaction model differs in the third digit only.
    risk = make.risk_set(
        table.assign(far=(table["distvct"] > 1.5).astype(int)), outcome="got", treatment="any", firm="villnum"
    )
    effect = structural_transition(risk, controls=["age", "hiv2004"], cluster="firm", by="far")
    near, far = (effect.effect("odds_ratio_conditional", group=f"far={k}") for k in (0, 1))
    assert near.estimate == pytest.approx(reference["subgroups_far"]["or_near"], rel=0.01)
    assert far.estimate == pytest.approx(reference["subgroups_far"]["or_far"], rel=0.01)
    assert near.n_rows + far.n_rows == reference["n_used"]


# ---- country pairs: becoming structural ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair_years(make):
    table, reference = make.load("country_pair_spells")
    table["pair"] = table["exporter"] + " " + table["importer"]
    return table.sort_values(["pair", "year"], ignore_index=True), reference


def test_pairs_becoming_structural(make, matches, pair_years):
    table, reference = pair_years
    active = table.assign(active=table["trade"] >= 0.1).pivot(index="pair", columns="year", values="active")
    window = active.T.rolling(4).sum().T
    first, last = active.columns.min(), active.columns.max()
    trials = [
        pd.DataFrame({"pair": active.index, "t": t, "n": window[t].values, "now": active[t].values,
                      "later": (window[t + 3].values >= 3).astype(int)})
        for t in range(first + 3, last - 2)
    ]  # fmt: skip
    rows = pd.concat(trials).merge(table, left_on=["pair", "t"], right_on=["pair", "year"])
    rows = rows[rows["now"].astype(bool) & (rows["n"] <= 2)].assign(ld=lambda x: np.log(x["dist"]))
    expected = reference["transition"]["reading_A_active_in_t_and_at_most_2_of_4"]
    assert (len(rows), rows["pair"].nunique()) == (expected["n"], expected["pairs"])

    risk = make.risk_set(rows, outcome="later", treatment="rta", firm="pair")
    crude = structural_transition(risk, controls=None, cluster=None)
    assert crude.effect("odds_ratio").estimate == pytest.approx(expected["odds_ratio"], rel=1e-8)
    assert crude.effect("odds_ratio").std_error == pytest.approx(expected["log_or_se_woolf"], rel=1e-8)
    assert crude.effect("risk_ratio").estimate == pytest.approx(expected["risk_ratio"], rel=1e-8)
    assert crude.effect("risk_difference").estimate == pytest.approx(expected["risk_difference"], rel=1e-8)

    logit = expected["logit"]
    effect = structural_transition(
        risk, controls=["ld", "lang", "C(t)"], cluster="firm", also_cluster=[None], standardise="all", options=FIXED
    )
    matches(effect.coefficients["estimate"], logit["coef"], plain)
    matches(effect.coefficients["std_error"], logit["se_cluster_pair_g_over_gm1"], plain)
    matches(effect.with_vcov("model").coefficients["std_error"], logit["se_model"], plain)
    difference = effect.effect("risk_difference")
    assert difference.estimate == pytest.approx(logit["rd"], rel=1e-6)
    assert difference.std_error == pytest.approx(logit["rd_se"], rel=1e-6)
    assert effect.effect("risk_ratio").estimate == pytest.approx(logit["rr"], rel=1e-6)
    assert effect.effect("odds_ratio_conditional").estimate == pytest.approx(logit["or"], rel=1e-6)


# ---- country pairs: leaving ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spell_years(pair_years):
    table, reference = pair_years
    first_year, last_year = table["year"].min(), table["year"].max()
    active = table["trade"] >= 0.1
    begins = active & ~(active.shift(fill_value=False) & (table["pair"] == table["pair"].shift()))
    rows = table.assign(spell=begins.cumsum())[active]
    by_spell = rows.groupby("spell")
    rows = rows.assign(
        t=by_spell.cumcount() + 1,
        length=by_spell["year"].transform("size"),
        begin=by_spell["year"].transform("first"),
        lf=np.log(by_spell["trade"].transform("first")),
        ld=np.log(rows["dist"]),
        rep=(rows.groupby("pair")["spell"].rank(method="dense") > 1).astype(int),
    )
    seen_end = rows["begin"] + rows["length"] - 1 < last_year
    rows["y"] = ((rows["t"] == rows["length"]) & seen_end).astype(int)
    return rows[(rows["begin"] > first_year) & (rows["year"] < last_year)], reference


def pair_name(term):
    return plain(f"tg{term[1:]}" if term.startswith("t[") else term)


@pytest.mark.parametrize("model", ["cloglog", "logit", "probit"])
def test_pairs_leaving(make, matches, spell_years, model):
    rows, reference = spell_years
    assert (len(rows), rows["y"].sum()) == (reference["hazard_rows"]["spell_years"], reference["hazard_rows"]["exits"])
    risk = make.risk_set(rows, outcome="y", treatment="rta", firm="pair", duration="t")
    effect = market_exit(
        risk, model=model, controls=["ld", "lang", "lf", "rep"], cluster="firm", also_cluster=[None],
        options=FitOptions(duration_classes=(1, 2, 3, 4, 5, 6, 10)),
    )  # fmt: skip
    expected = reference["discrete_hazard"][model]
    matches(effect.coefficients["estimate"], expected["coef"], pair_name)
    matches(effect.coefficients["std_error"], expected["se_cluster_pair_g_over_gm1"], pair_name)
    matches(effect.with_vcov("model").coefficients["std_error"], expected["se"], pair_name)
    assert effect.groups[0].log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)


def test_a_control_without_events_leaves_with_its_rows(make, spell_years):
    rows, reference = spell_years
    check = next(c for c in reference["separation_check"] if c["variable"] == "clny")
    risk = make.risk_set(rows, outcome="y", treatment="rta", firm="pair", duration="t")
    with_colony = market_exit(risk, controls=["ld", "clny"], cluster="firm")
    without = market_exit(
        make.risk_set(rows[rows["clny"] == 0], outcome="y", treatment="rta", firm="pair", duration="t"),
        controls=["ld"], cluster="firm",
    )  # fmt: skip
    assert with_colony.effect("log_hazard").n_rows == reference["hazard_rows"]["spell_years"] - check["rows_1"]
    assert with_colony.effect("log_hazard").estimate == pytest.approx(without.effect("log_hazard").estimate, rel=1e-9)
    term = with_colony.coefficients.loc["clny"]
    assert np.isnan(term["estimate"])
    assert term["reason"] == "no events at clny=1: 19 rows left the likelihood"
    assert with_colony.flow.steps[-1].reason == term["reason"]


# ---- unemployment spells -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def periods(make):
    table, reference = make.load("unempdur_discrete_hazard")
    kind = np.select([table["censor1"] == 1, table["censor2"] == 1, table["censor3"] == 1], [1, 2, 3], 0)
    table = table.assign(ui=(table["ui"] == "yes").astype(int), kind=kind)
    rows = table.loc[table.index.repeat(table["spell"])].reset_index(drop=True)
    rows["t"] = rows.groupby("id").cumcount() + 1
    last = rows["t"] == rows["spell"]
    outcomes = {
        "full": last & (rows["kind"] == 1),
        "part": last & (rows["kind"] == 2),
        "any": last & (rows["kind"] > 0),
    }
    cause = np.where(last, rows["kind"], 0)
    return rows.assign(cause=cause, **{name: value.astype(int) for name, value in outcomes.items()}), reference


def period_name(term):
    return pair_name(term).replace("+", "")


@pytest.mark.parametrize(
    ("outcome", "model", "block"),
    [
        ("full", "cloglog", "full_job_cloglog"),
        ("full", "logit", "full_job_logit"),
        ("full", "probit", "full_job_probit"),
        ("any", "cloglog", "any_exit_cloglog"),
        ("part", "cloglog", "part_job_cloglog"),
    ],
)
def test_unemployment_hazards_with_competing_exits(make, matches, periods, outcome, model, block):
    rows, reference = periods
    # A row that ends with another event stays in the risk set of its period with outcome 0.
    risk = make.risk_set(rows, outcome=outcome, treatment="ui", firm="id", duration="t", cause="cause")
    effect = market_exit(
        risk, model=model, controls=["age", "logwage", "reprate", "disrate", "tenure"], cluster="firm",
        also_cluster=[None], options=FitOptions(correction="cr0", duration_classes=tuple(range(1, 16))),
    )  # fmt: skip
    expected = reference[block]
    matches(effect.coefficients["estimate"], expected["coef"], period_name)
    matches(effect.coefficients["std_error"], expected["se_cluster_person_cr0"], period_name)
    matches(effect.with_vcov("model").coefficients["std_error"], expected["se"], period_name)
    assert effect.effect(effect.scales[-1]).n_firms == reference["n"]


# ---- real firm x destination exports -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["cloglog", "logit", "probit"])
def test_sugar_exporters_leaving(make, matches, model):
    table, reference = make.load("trase_sugar_exporters")
    unit = ["exporter_group", "country_of_destination"]
    cells = table.groupby([*unit, "year"], as_index=False)["fob"].sum()
    cells["lnd"] = np.log(cells.groupby(["exporter_group", "year"])["fob"].transform("size"))
    cells["lf"] = np.log(cells["fob"])
    seen = set(map(tuple, cells[[*unit, "year"]].to_numpy()))
    rows = cells[cells["year"] < 2017].copy()
    rows["exit"] = [int((f, d, y + 1) not in seen) for f, d, y in rows[[*unit, "year"]].to_numpy()]
    rows["new"] = [int(y == 2016 and (f, d, 2015) not in seen) for f, d, y in rows[[*unit, "year"]].to_numpy()]
    rows["y16"] = (rows["year"] == 2016).astype(int)
    assert (len(rows), rows["exit"].sum()) == (reference["exit"]["at_risk"], reference["exit"]["exits"])

    risk = make.risk_set(rows, outcome="exit", treatment="new", firm=unit[0], market=unit[1], year="year")
    controls = ["y16", "lf", "lnd"]
    effect = market_exit(risk, model=model, controls=controls, cluster="firm", also_cluster=["market", None])
    expected = reference["exit_models"][model]
    matches(effect.coefficients["estimate"], expected["coef"], plain)
    matches(effect.coefficients["std_error"], expected["se_cluster_firm_g_over_gm1"], plain)
    matches(effect.with_vcov("market").coefficients["std_error"], expected["se_cluster_destination_g_over_gm1"], plain)
    matches(effect.with_vcov("model").coefficients["std_error"], expected["se"], plain)
    assert effect.groups[0].log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    two_way = market_exit(
        risk, model=model, controls=controls, cluster=["firm", "market"], options=FitOptions(correction="cr0")
    )
    matches(two_way.coefficients["std_error"], expected["se_two_way_no_factor"], plain)
