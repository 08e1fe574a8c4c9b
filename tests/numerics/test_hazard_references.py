"""R's discrete-time hazards: three links, duration dummies, one-way and two-way clusters, frequency weights."""

import numpy as np
import pandas as pd
import pytest

from missie_impact.errors import SeparationError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.covariance import clusters_of, covariance, fit_scores
from missie_impact.numerics.cox import cox_covariance, cox_data, fit_cox
from missie_impact.numerics.frailty import fit_gaussian_frailty
from missie_impact.numerics.frailty_data import frailty_data
from missie_impact.numerics.separation import find_separation, settle

LINKS = ["cloglog", "logit", "probit"]


# ---- unemployment spells: one row per person and period ---------------------------------------------------------


@pytest.fixture(scope="module")
def periods(cases):
    table, reference = cases.load("unempdur_discrete_hazard")
    exit_kind = np.select([table["censor1"] == 1, table["censor2"] == 1, table["censor3"] == 1], [1, 2, 3], 0)
    table = table.assign(ui=(table["ui"] == "yes").astype(int), kind=exit_kind)
    rows = table.loc[table.index.repeat(table["spell"])].reset_index(drop=True)
    rows["t"] = rows.groupby("id").cumcount() + 1
    last = rows["t"] == rows["spell"]
    rows = rows.assign(
        full=(last & (rows["kind"] == 1)).astype(float),
        part=(last & (rows["kind"] == 2)).astype(float),
        any=(last & (rows["kind"] > 0)).astype(float),
        tg=rows["t"].clip(upper=15),
    )
    assert len(rows) == reference["person_periods"]
    return rows, reference


def as_in_r(name):
    return name.replace("[", "").replace("]", "")


@pytest.mark.parametrize(
    ("outcome", "link", "block"),
    [
        ("full", "cloglog", "full_job_cloglog"),
        ("full", "logit", "full_job_logit"),
        ("full", "probit", "full_job_probit"),
        ("any", "cloglog", "any_exit_cloglog"),
        ("part", "cloglog", "part_job_cloglog"),
    ],
)
def test_unemployment_exit_hazards(cases, periods, outcome, link, block):
    rows, reference = periods
    design = cases.design_of(rows, ["ui", "age", "logwage", "reprate", "disrate", "tenure"], ["tg"])
    y = rows[outcome].to_numpy()
    fit = fit_binomial(y, design, link=link)
    expected = reference[block]
    assert fit.gradient <= 1e-8
    assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    cases.assert_matches(fit.coef, design, expected["coef"], as_in_r)
    cases.assert_matches(fit.std_error, design, expected["se"], as_in_r)
    cov = covariance(fit_scores(fit, y, design), [clusters_of(rows["id"])], correction="cr0")
    cases.assert_matches(cov.std_error, design, expected["se_cluster_person_cr0"], as_in_r)


# ---- country pairs: spells with a seen start, trade of 0.1 million or more -------------------------------------


@pytest.fixture(scope="module")
def spell_years(cases):
    table, reference = cases.load("country_pair_spells")
    table = table.sort_values(["exporter", "importer", "year"], ignore_index=True)
    table["pair"] = table["exporter"] + " " + table["importer"]
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
    )
    order = rows.groupby("pair")["spell"].rank(method="dense")
    end = rows["begin"] + rows["length"] - 1
    rows = rows.assign(
        rep=(order > 1).astype(float), y=((rows["t"] == rows["length"]) & (end < last_year)).astype(float)
    )
    rows = rows[(rows["begin"] > first_year) & (rows["year"] < last_year)]
    group = np.where(rows["t"] <= 5, rows["t"].astype(str), np.where(rows["t"] <= 9, "6-9", "10+"))
    # R's order of levels: 1..5, then 6-9, then 10+
    return rows.assign(tg=pd.Series(group, index=rows.index).replace({"6-9": "60", "10+": "70"}).astype(int)), reference


def pair_terms(name):
    return as_in_r(name).replace("tg60", "tg6-9").replace("tg70", "tg10+")


def test_pair_spells_are_the_rows_of_r(spell_years):
    rows, reference = spell_years
    expected = reference["hazard_rows"]
    assert (rows["spell"].nunique(), rows["pair"].nunique()) == (expected["spells"], expected["pairs"])
    assert (len(rows), rows["y"].sum()) == (expected["spell_years"], expected["exits"])


@pytest.mark.parametrize("link", LINKS)
def test_pair_exit_hazards(cases, spell_years, link):
    rows, reference = spell_years
    expected = reference["discrete_hazard"][link]
    design = cases.design_of(rows, ["ld", "lang", "lf", "rep", "rta"], ["tg"])
    y = rows["y"].to_numpy()
    fit = fit_binomial(y, design, link=link)
    scores, pair = fit_scores(fit, y, design), clusters_of(rows["exporter"], rows["importer"])
    assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    cases.assert_matches(fit.coef, design, expected["coef"], pair_terms)
    cases.assert_matches(fit.std_error, design, expected["se"], pair_terms)
    for name in ("cr0", "g_over_gm1"):
        errors = covariance(scores, [pair], correction=name).std_error
        cases.assert_matches(errors, design, expected[f"se_cluster_pair_{name}"], pair_terms)


def test_colonies_never_exit(cases, spell_years):
    rows, reference = spell_years
    y = rows["y"].to_numpy()
    for check in reference["separation_check"]:
        inside = rows[check["variable"]] == 1
        assert (inside.sum(), y[inside].sum()) == (check["rows_1"], check["exits_1"])
    design = cases.design_of(rows, ["ld", "lang", "lf", "rep", "rta"], ["tg", "clny"])
    settled = settle(y, design)
    assert [level.term.name for level in settled.separated] == ["clny[1]"]
    assert (settled.separated[0].n_rows, settled.rows.sum()) == (19, len(rows) - 19)
    assert [term.name for term in settled.aliased] == []
    with pytest.raises(SeparationError, match=r"clny\[1\]"):
        settle(y, design, essential=["clny"])
    with pytest.raises(SeparationError, match=r"\['clny\[1\]'\] separate .* 19 rows"):
        fit_binomial(y, design)  # nobody settled it: the fit itself refuses
    as_column = cases.design_of(rows, ["ld", "clny"], ["tg"])
    found = find_separation(y, as_column)
    assert found is not None and found.rows.sum() == 19
    assert [as_column.terms[j].name for j in found.columns] == ["clny"]
    assert find_separation(y, cases.design_of(rows, ["ld", "lang"], ["tg"])) is None


@pytest.mark.parametrize("block", ["cloglog_15", "cloglog_25", "logit_15"])
def test_pairs_with_an_effect_of_their_own(cases, spell_years, block):
    rows, reference = spell_years
    expected, (link, points) = reference["discrete_hazard_normal_pair_frailty"][block], block.split("_")
    design = cases.design_of(rows, ["ld", "lang", "lf", "rep", "rta"], ["tg"])
    data = frailty_data(rows["y"].to_numpy(), design, pd.factorize(rows["pair"])[0])
    fit = fit_gaussian_frailty(data, link=link, points=int(points))
    for term, value in zip(fit.terms, fit.coef, strict=True):  # where lme4's optimiser stops
        assert value == pytest.approx(expected["coef"][pair_terms(term.name)], rel=1e-3, abs=1e-4)
    assert fit.sd == pytest.approx(expected["sd"], rel=1e-3)
    assert fit.log_likelihood == pytest.approx(expected["loglik"], abs=1e-3)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_pairs_by_cox(spell_years, ties):
    rows, reference = spell_years
    columns, expected = ["ld", "lang", "lf", "rep", "rta"], reference["cox_time_varying"][ties]
    data = cox_data(rows[columns].to_numpy(float), rows["t"], rows["y"], start=rows["t"] - 1, ties=ties)
    fit = fit_cox(data, ties=ties)
    np.testing.assert_allclose(fit.coef, [expected["coef"][c] for c in columns], rtol=1e-6)
    if ties == "efron":
        errors = cox_covariance(data, fit, clusters_of(rows["pair"])).std_error
        np.testing.assert_allclose(errors, [expected["se_cluster_pair"][c] for c in columns], rtol=1e-6)
        assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    else:
        np.testing.assert_allclose(fit.std_error, [expected["se"][c] for c in columns], rtol=1e-6)


# ---- real exporters: exits by firm group and destination --------------------------------------------------------


@pytest.fixture(scope="module")
def exits(cases):
    table, reference = cases.load("trase_sugar_exporters", keep_default_na=False)
    table = table.rename(columns={"exporter_group": "firm", "country_of_destination": "market"})
    cells = table.groupby(["firm", "market", "year"], as_index=False)["fob"].sum()
    cells["nd"] = cells.groupby(["firm", "year"])["market"].transform("size")
    have = pd.MultiIndex.from_frame(cells[["firm", "market", "year"]])

    def traded(year):
        return pd.MultiIndex.from_arrays([rows["firm"], rows["market"], year]).isin(have)

    rows = cells[cells["year"] < 2017]
    rows = rows.assign(
        exit=(~traded(rows["year"] + 1)).astype(float),
        new=((rows["year"] == 2016) & ~traded(rows["year"] * 0 + 2015)).astype(float),
        lf=np.log(rows["fob"]),
        lnd=np.log(rows["nd"]),
        y16=(rows["year"] == 2016).astype(float),
    )
    return rows, reference


@pytest.mark.parametrize("link", LINKS)
def test_exits_of_real_exporters(cases, exits, link):
    rows, reference = exits
    expected = reference["exit_models"][link]
    assert (len(rows), rows["exit"].sum()) == (reference["exit"]["at_risk"], reference["exit"]["exits"])
    design = cases.design_of(rows, ["y16", "lf", "lnd", "new"])
    y = rows["exit"].to_numpy()
    fit = fit_binomial(y, design, link=link)
    scores, firm, market = fit_scores(fit, y, design), clusters_of(rows["firm"]), clusters_of(rows["market"])
    assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-10)
    cases.assert_matches(fit.coef, design, expected["coef"])
    cases.assert_matches(fit.std_error, design, expected["se"])
    cases.assert_matches(covariance(scores, [firm]).std_error, design, expected["se_cluster_firm_g_over_gm1"])
    cases.assert_matches(covariance(scores, [market]).std_error, design, expected["se_cluster_destination_g_over_gm1"])
    two_way = covariance(scores, [firm, market], correction="cr0", truncate=False)
    cases.assert_matches(two_way.std_error, design, expected["se_two_way_no_factor"])


# ---- Mexico: counts of firms, so frequency weights --------------------------------------------------------------


@pytest.fixture(scope="module")
def counts(cases):
    table, reference = cases.load("mexico_exporter_exit_grouped")
    parts = []
    for kind, entrant in (("entrant", 1.0), ("incumbent", 0.0)):
        part = table.assign(entrant=entrant, n=table[f"nf_{kind}"], x=table[f"num_exits_{kind}"])
        parts.append(part[["d", "y", "gdppc", "popt", "tau", "entrant", "n", "x"]])
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[rows["n"] > 0].dropna()
    assert len(rows) == reference["cells_used"]
    return rows.assign(
        lg=np.log(rows["gdppc"]), lp=np.log(rows["popt"]), lt=np.log(rows["tau"]), yf=rows["y"]
    ), reference


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_frequency_weighted_exits(cases, counts, link):
    cells, reference = counts
    expected = reference["grouped"][link]
    # one row for the exits of a cell and one for its stayers, each counted as often as there are firms
    rows = pd.concat([cells.assign(event=1.0, f=cells["x"]), cells.assign(event=0.0, f=cells["n"] - cells["x"])])
    design = cases.design_of(rows, ["entrant", "lg", "lp", "lt"], ["yf"])
    y, f = rows["event"].to_numpy(), rows["f"].to_numpy(dtype=float)
    fit = fit_binomial(y, design, link=link, frequency=f)
    assert (fit.n_rows, fit.n_events) == (reference["entrants"] + reference["incumbents"], reference["exits"])
    cases.assert_matches(fit.coef, design, expected["coef"], as_in_r)
    cases.assert_matches(fit.std_error, design, expected["se"], as_in_r)
    cov = covariance(fit_scores(fit, y, design, frequency=f), [clusters_of(rows["d"])])
    cases.assert_matches(cov.std_error, design, expected["se_cluster_destination_g_over_gm1"], as_in_r)
    # the same as shares of events among n equal rows
    shares = cases.design_of(cells, ["entrant", "lg", "lp", "lt"], ["yf"])
    grouped = fit_binomial(
        (cells["x"] / cells["n"]).to_numpy(), shares, link=link, frequency=cells["n"].to_numpy(float)
    )
    np.testing.assert_allclose(grouped.coef, fit.coef, rtol=1e-7)


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_destinations_with_an_effect_of_their_own(cases, counts, link):
    # counted rows in a random-effect model: frequency weights within a destination
    cells, reference = counts
    expected = reference["grouped_destination_frailty"][f"{link}_25"]
    rows = pd.concat([cells.assign(event=1.0, f=cells["x"]), cells.assign(event=0.0, f=cells["n"] - cells["x"])])
    rows = rows[rows["f"] > 0]
    design = cases.design_of(rows, ["entrant", "lg", "lp", "lt"], ["yf"])
    frequency = rows["f"].to_numpy(dtype=float)
    data = frailty_data(rows["event"].to_numpy(), design, pd.factorize(rows["d"])[0], frequency=frequency)
    fit = fit_gaussian_frailty(data, link=link, points=25)
    for term, value in zip(fit.terms, fit.coef, strict=True):
        assert value == pytest.approx(expected["coef"][as_in_r(term.name)], rel=2e-3, abs=1e-4)
    assert fit.sd == pytest.approx(expected["sd"], rel=2e-3)
