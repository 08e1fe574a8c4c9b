"""Three years of real firm x destination exports, read through a ``study.toml`` as a user's own register.

No firm register and no missions: whether a firm died is not known, so exits are exits or deaths. The expected values
come from R. Exit in t: active in t, not in t+1, in the same market.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from missie_impact import CBS_2024, RiskSet, build_panel, read_registers
from missie_impact.effects import market_exit

FIRST, LAST = 2015, 2017
IDENTITIES = {"by_raw_name": "exporter", "by_normalised_name": "norm", "by_group": "exporter_group"}


def normalised(name: str) -> str:
    """Return a firm's name by the rule the reference states: upper case, no punctuation, no legal form."""
    name = re.sub(r"[!-/:-@\[-`{-~]", " ", name.upper())
    return re.sub(" +", " ", re.sub(r"\b(LTDA|EIRELI|EPP|ME|SA|S A|CIA|S)\b", " ", name)).strip()


STUDY = """
[study]
name = "Brazilian sugar exporters"
currency = "USD"
first_year = 2015
last_year = 2017
on_duplicate = "sum"
extra_markets = {markets}

[files.trade]
path = "sugar.csv"
format = "csv"
columns = {{ firm = "{firm}", market = "country_of_destination", year = "year", value_eur = "fob" }}
constants = {{ flow = "export", kind = "goods", estimated = false }}

[definitions]
gap_years = 1
row_year = "last_active"
origin_zeros = 1
"""


@pytest.fixture(scope="module")
def panel_by(sugar, tmp_path_factory):
    """Panels through a study.toml, one per idea of what a firm is."""
    opened = {}

    def panel(identity: str):
        if identity not in opened:
            folder: Path = tmp_path_factory.mktemp(identity)
            sugar.assign(norm=sugar["exporter"].map(normalised)).to_csv(folder / "sugar.csv", index=False)
            markets = sorted(sugar["country_of_destination"].unique())
            (folder / "study.toml").write_text(STUDY.format(firm=IDENTITIES[identity], markets=markets))
            registers = read_registers(folder / "study.toml")
            definitions = CBS_2024.with_changes(registers.settings.study.definitions)
            opened[identity] = build_panel(registers, definitions=definitions)
        return opened[identity]

    yield panel
    for made in opened.values():
        made.registers.close()


def patterns(active: pd.DataFrame, unit: list[str]) -> dict[str, int]:
    """Count units by their activity in the three years, "101" for the first and the last."""
    table = active.assign(on=1).pivot_table(index=unit, columns="year", values="on", aggfunc="max", fill_value=0)
    return {str(k): int(n) for k, n in table.astype(str).agg("".join, axis=1).value_counts().items()}


@pytest.mark.parametrize("identity", IDENTITIES)
def test_dynamics(panel_by, sugar_reference, identity):
    panel, wanted = panel_by(identity), sugar_reference["dynamics"][identity]
    pairs = panel.collect(panel.pair_years, ["firm", "market", "year"])
    assert pairs["firm"].nunique() == wanted["units"]
    assert len(pairs) == wanted["market_cells"]
    assert len(pairs[["firm", "market"]].drop_duplicates()) == wanted["market_relations"]
    firms = panel.collect(panel.activity("firm", "export"), ["firm", "year"])
    assert patterns(firms, ["firm"]) == wanted["firm_patterns"]
    markets = panel.collect(panel.activity("market", "export"), ["firm", "market", "year"])
    assert patterns(markets, ["firm", "market"]) == wanted["relation_patterns"]


def test_values_are_whole(panel_by, sugar_reference):
    panel = panel_by("by_group")
    pairs = panel.collect(panel.pair_years, ["firm", "market", "year"])
    by_year = pairs.groupby("year")["exports_cents"].sum()
    assert {str(y): int(v) // 100 for y, v in by_year.items()} == sugar_reference["fob_by_year"]
    assert int(by_year.sum()) == 100 * sugar_reference["fob_total"]


def test_spells_and_their_ends(panel_by, sugar_reference):
    panel, wanted = panel_by("by_group"), sugar_reference["exit"]
    spells = panel.collect(panel.spells(flow="export"), ["firm", "market", "begin"])
    ended = spells[spells["end_reason"] == "exit"]
    assert len(ended) == wanted["exits"]
    assert set(spells["end_reason"]) == {"exit", "open"}  # death is not known without a firm register
    assert set(spells.loc[spells["end"] == LAST, "end_reason"]) == {"open"}
    assert ended.groupby("end").size().to_dict() == {int(y): v["exits"] for y, v in wanted["by_year"].items()}
    at_risk = spells.loc[spells.index.repeat(spells["length"])]
    years = at_risk["begin"] + at_risk.groupby(level=0).cumcount()
    assert (years < LAST).sum() == wanted["at_risk"]
    new = spells["begin"] == 2016
    assert (new.sum(), (ended["begin"] == 2016).sum()) == (wanted["new_2016"]["at_risk"], wanted["new_2016"]["exits"])
    assert not spells.loc[spells["begin"] == FIRST, "origin_seen"].any()
    assert spells.loc[spells["begin"] > FIRST, "origin_seen"].all()


def test_structural_status_needs_a_window_within_the_data(panel_by):
    panel = panel_by("by_group")
    status = panel.collect(panel.status(level="firm", flow="export"), ["firm", "year"])
    assert not status["window_seen"].any()


@pytest.fixture(scope="module")
def rows_at_risk(panel_by):
    """Relations active in a year, and whether they are not in the next."""
    panel = panel_by("by_group")
    active = panel.collect(panel.pair_years, ["firm", "market", "year"])
    seen = set(zip(active["firm"], active["market"], active["year"], strict=True))
    trade = panel.collect(panel.firm_trade, ["firm", "year"])
    rows = active.merge(trade[["firm", "year", "export_markets"]], on=["firm", "year"])
    rows = rows[rows["year"] < LAST]
    keys = list(zip(rows["firm"], rows["market"], rows["year"], strict=True))
    return rows.assign(
        exit=[int((f, m, y + 1) not in seen) for f, m, y in keys],
        new=[int(y == 2016 and (f, m, 2015) not in seen) for f, m, y in keys],
        y16=(rows["year"] == 2016).astype(int),
        lf=np.log(rows["exports_cents"] / 100),
        lnd=np.log(rows["export_markets"].astype(float)),
    )


def test_firms_that_vanish_altogether(rows_at_risk, panel_by, sugar_reference):
    panel = panel_by("by_group")
    firms = panel.collect(panel.activity("firm", "export"), ["firm", "year"])
    alive = set(zip(firms["firm"], firms["year"] - 1, strict=True))
    ended = rows_at_risk[rows_at_risk["exit"] == 1]
    gone = [key not in alive for key in zip(ended["firm"], ended["year"], strict=True)]
    assert sum(gone) == sugar_reference["exit"]["firm_gone_too"]


@pytest.mark.parametrize("link", ["logit", "cloglog", "probit"])
@pytest.mark.parametrize(
    ("cluster", "error"),
    [("firm", "se_cluster_firm_g_over_gm1"), ("market", "se_cluster_destination_g_over_gm1")],
)
def test_exit_models(rows_at_risk, sugar_reference, link, cluster, error):
    wanted = sugar_reference["exit_models"][link]
    risk = RiskSet.from_frame(rows_at_risk, outcome="exit", treatment="new", firm="firm", market="market")
    effect = market_exit(risk, model=link, controls=["y16", "lf", "lnd"], cluster=cluster)
    for term in ("new", "y16", "lf", "lnd"):
        assert effect.coefficients.loc[term, "estimate"] == pytest.approx(wanted["coef"][term], rel=1e-6)
        assert effect.coefficients.loc[term, "std_error"] == pytest.approx(wanted[error][term], rel=1e-6)
