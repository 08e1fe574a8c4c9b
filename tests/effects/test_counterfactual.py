"""The counterfactual indicator: by hand, in a simulated world without effects, and with an effect that was planted."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from missie_impact.definitions import CBS_2024
from missie_impact.effects import (
    CounterfactualIndicator,
    CounterfactualOptions,
    EuroEffect,
    counterfactual_indicator,
    effect_price,
)
from missie_impact.errors import NoParticipantError, SettingsError, YearRangeError
from missie_impact.indicator import budget_indicator
from missie_impact.panel import build_panel
from missie_impact.registers import Registers
from missie_impact.simulation.registers import simulate_registers

FIRST, LAST, SUPPORT = 2008, 2019, 2016
NO_PLACEBO = CounterfactualOptions(placebo=False)


def registers_of(exports, supported, market="DE", ended=None, sector="C"):
    """Registers of firms (rows) that export to one market in 2008-2019 (columns); some supported in 2016.

    ``ended``: the first year without the firm, 0 for one that lives on. ``sector``: of all firms, or of each.
    """
    n, years = exports.shape
    firm = np.arange(1, n + 1)
    firms = pd.DataFrame({"firm": np.repeat(firm, years), "year": np.tile(np.arange(FIRST, LAST + 1), n)})
    trade = firms.assign(market=market, flow="export", kind="goods", value_eur=np.round(exports.reshape(-1), 2))
    register = firms.assign(workers=10.0, turnover_eur=1e6, region="NL31", foreign_controlled=False, founded=1990)
    register = register.assign(sector=np.repeat(np.broadcast_to(sector, n), years))
    if ended is not None:
        gone = np.repeat(ended, years)
        register = register.assign(ended=pd.array(np.where(gone > 0, gone, 0), dtype="Int64"))
        register.loc[gone == 0, "ended"] = pd.NA
        register = register[(gone == 0) | (register["year"] < gone)]
    who = firm[supported]
    people = pd.DataFrame(
        {"kvk": who.astype(str), "market": market, "date": f"{SUPPORT}-05-01", "instrument": "mission"}
    )
    people = people.assign(mission="m", minister_led=True, person="p", organisation="firm")
    links = pd.DataFrame({"kvk": firm.astype(str), "firm": firm, "valid_from": "1990-01-01", "valid_to": None})
    return Registers.from_frames(
        trade=trade[trade["value_eur"] > 0],
        firms=register,
        participations=people,
        links=links,
        first_year=FIRST,
        last_year=LAST,
    )


def world(effect, n=4000, seed=3):
    """Exports that wander round a level of the firm; the larger firms are supported; support multiplies what follows.

    Returns the registers and the true difference in the share of growers among the supported.
    """
    random = np.random.default_rng(seed)
    level = random.normal(11, 1.5, n)
    chance = np.zeros((n, LAST - FIRST + 1))
    for k in range(chance.shape[1]):
        before = chance[:, k - 1] if k else np.zeros(n)
        chance[:, k] = 0.3 * before + random.normal(0, 0.5, n)
    at = SUPPORT - FIRST
    supported = random.random(n) < 1 / (1 + np.exp(-(level - 11) + 2.2))  # permanently larger
    without = np.exp(level[:, None] + chance)
    exports = without.copy()
    exports[supported, at + 1 :] *= effect
    grows = [(x[supported, at + 1 :].mean(axis=1) > x[supported, at]).mean() for x in (exports, without)]
    return registers_of(exports, supported), 100 * (grows[0] - grows[1])


def test_by_hand_the_matches_say_what_would_have_happened():
    # Supported: 100 every year, then 130. Firms on the same path go on at 100 (three of four), or rise to 110.
    path = np.full((60, 12), 100.0)
    supported = np.arange(60) < 12
    path[:12, 9:] = 130.0
    path[12::4, 9:] = 110.0
    with registers_of(path, supported) as registers:
        found = counterfactual_indicator(
            build_panel(registers), [SUPPORT], by=None, options=CounterfactualOptions(ratio=48, placebo=False)
        )
    share, net = found.row("share_growers"), found.row("net_eur")
    assert (share["observed"], share["expected"], share["difference"]) == pytest.approx((100, 25, 75))
    assert (net["observed"], net["expected"], net["difference"]) == pytest.approx((360, 30, 330))
    assert (share["n_firms"], share["n_pairs"], share["n_unmatched"]) == (12, 12, 0)
    assert net["top_1"] == pytest.approx(1 / 12)
    assert net["interval"] == "indicative, heavy tail"
    assert found.row("net_winsorised_eur")["interval"] == ""


def test_euro_of_a_match_are_put_on_the_level_of_the_supported_pair():
    # Both rise by a tenth; the match is four times as large: expected +10 on 100, not +40
    path = np.full((30, 12), 100.0)
    path[15:] = 400.0
    path[:, 9:] *= 1.1
    with registers_of(path, np.arange(30) < 15) as registers:
        net = counterfactual_indicator(build_panel(registers), [SUPPORT], by=None, options=NO_PLACEBO).row("net_eur")
    assert (net["observed"], net["expected"]) == pytest.approx((150.0, 150.0))


def test_a_firm_with_support_is_nobodys_match_and_earlier_support_leaves_out():
    path = np.full((40, 12), 100.0)
    registers = registers_of(path, np.arange(40) < 40)
    with registers, pytest.raises(NoParticipantError):
        counterfactual_indicator(build_panel(registers), [SUPPORT], by=None, options=NO_PLACEBO)


def test_a_firm_that_ceased_in_the_year_of_support_is_nobodys_match():
    # 24 of 48 firms without support cease in 2016, before they could go; of the other 24, 12 grow: 50% and not 25%.
    # A firm that ceases in 2017, after it could have gone, stays a match: its increase is below zero.
    path = np.full((60, 12), 100.0)
    supported = np.arange(60) < 12
    path[:12, 9:] = path[12:24, 9:] = 130.0
    ended = np.zeros(60, dtype=int)
    ended[36:], ended[30:36] = SUPPORT, SUPPORT + 1
    path[36:, 8:] = path[30:36, 9:] = 0.0
    with registers_of(path, supported, ended=ended) as registers:
        found = counterfactual_indicator(
            build_panel(registers), [SUPPORT], by=None, options=CounterfactualOptions(ratio=24, placebo=False)
        )
    share, net = found.row("share_growers"), found.row("net_eur")
    assert (share["observed"], share["expected"]) == pytest.approx((100, 50))
    assert net["expected"] == pytest.approx(12 * (12 * 30 - 6 * 100) / 24)


@pytest.mark.parametrize(("path_before", "others"), [(100.0, 0), (0.0, 5)])
def test_where_a_sector_holds_too_few_all_sectors_are_compared(path_before, others):
    # Two supported firms of sector F, one other firm of F (it rises) and 40 of sector C (half of them rise).
    # Five matches are asked for and F has one: all of C and F count. Without exports before, the same holds for the
    # firms drawn for the market, which export to another one.
    path = np.full((43, 12), path_before)
    path[:, 8:] = 100.0
    path[:2, 9:] = path[2, 9:] = path[3::2, 9:] = 130.0
    sector = np.array(["F"] * 3 + ["C"] * 40)
    with registers_of(path, np.arange(43) < 2, sector=sector) as registers:
        found = counterfactual_indicator(
            build_panel(registers), [SUPPORT], by=None, options=CounterfactualOptions(ratio=5 + others, placebo=False)
        )
    share = found.row("share_pairs")
    assert (share["n_pairs"], share["n_unmatched"], share["n_across_sectors"]) == (2, 0, 2)
    assert 0 < share["expected"] < 100  # matches of C, drawn by lot among equals
    with registers_of(path, np.arange(43) < 2) as registers:  # one sector: enough
        alike = counterfactual_indicator(build_panel(registers), [SUPPORT], by=None, options=NO_PLACEBO)
    assert alike.row("share_pairs")["n_across_sectors"] == 0


def test_matching_on_the_base_year_shows_a_gain_where_there_is_none():
    registers, truth = world(effect=1.0)
    assert truth == 0
    with registers:
        found = counterfactual_indicator(
            build_panel(registers),
            [SUPPORT],
            by=None,
            matchings=("with_last_year", "without_last_year", "base_year"),
        )
    base, path = found.row("share_growers", matching="base_year"), found.row("share_growers")
    assert base["difference"] > 5
    assert base["conf_low"] > 0  # a false gain
    assert path["conf_low"] < 0 < path["conf_high"]
    assert path["observed"] > 30  # the indicator itself is far from zero
    assert found.bracket("share_growers")[1] < base["difference"]
    # regression to the mean under the same matchings, before any support
    placebo = found.placebo.query("figure == 'share_growers' and cohort == 'all'").set_index("matching")["difference"]
    assert placebo["base_year"] > 5
    assert abs(placebo["with_last_year"]) < placebo["base_year"] / 2
    balance = found.balance.set_index(["matching", "covariate"])["difference_after_sd"]
    assert abs(balance["with_last_year", "variability"]) < 0.1


def test_a_planted_effect_is_recovered():
    registers, truth = world(effect=1.3)
    with registers:
        found = counterfactual_indicator(build_panel(registers), [SUPPORT], by=None, options=NO_PLACEBO)
    share = found.row("share_growers")
    assert truth > 10
    assert share["conf_low"] > 0
    assert share["conf_low"] < truth < share["conf_high"]
    assert found.row("net_winsorised_eur")["conf_low"] > 0


@pytest.fixture(scope="module")
def no_effect():
    with simulate_registers(
        5, firms=8000, truth="none", flows="goods_exports", progress=False, years=(2010, 2022)
    ) as registers:
        yield build_panel(registers)


def test_in_simulated_registers_without_effect_the_indicator_is_positive_and_the_difference_covers_zero(no_effect):
    cohorts = range(2014, 2020)
    found = counterfactual_indicator(
        no_effect, cohorts, by=None, matchings=("with_last_year", "base_year"), options=NO_PLACEBO
    )
    indicator = budget_indicator(no_effect, cohorts, by=None)
    assert all(row.gross_eur > 0 and row.share_growers > 0.1 for row in indicator.rows)
    for figure in ("share_growers", "share_growers_sum", "share_pairs", "net_winsorised_eur", "gross_winsorised_eur"):
        line = found.row(figure)
        assert line["conf_low"] < 0 < line["conf_high"], figure
    assert found.row("share_growers", matching="base_year")["conf_low"] > 0
    assert found.simulated


def test_observed_is_the_indicator_of_the_pairs_kept(no_effect):
    """The same sums: for pairs never supported before and all matched, observed equals the budget indicator."""
    found = counterfactual_indicator(no_effect, [2016], by=None, options=NO_PLACEBO)
    row = budget_indicator(no_effect, [2016], by=None).row(2016)
    line = found.row("share_growers")
    assert line["n_firms"] <= row.n_firms
    assert found.row("gross_eur")["observed"] <= row.gross_eur + 0.01
    assert line["n_pairs"] + line["n_unmatched"] <= row.n_pairs


def test_the_result_is_the_same_again_and_holds_no_rows_of_firms(no_effect):
    one, other = (
        counterfactual_indicator(no_effect, [2016], options=CounterfactualOptions(placebo=False, draws=50))
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(one.table, other.table)
    assert "firm" not in one.table.columns
    assert "firm" not in one.balance.columns
    bars = one.figure_data()
    assert set(bars["bar"]) == {"observed", "expected", "difference"}
    assert "p_value" not in {f.name for f in dataclasses.fields(CounterfactualIndicator)} | set(one.table.columns)


def test_what_cannot_be_asked_is_refused(no_effect):
    with pytest.raises(YearRangeError, match="missing: 2023"):
        counterfactual_indicator(no_effect, [2020])
    with pytest.raises(SettingsError, match="with_last_year"):
        counterfactual_indicator(no_effect, [2016], matchings=["last"])
    with pytest.raises(SettingsError, match="a list of some of"):
        counterfactual_indicator(no_effect, [2016], matchings="with_last_year")
    with pytest.raises(SettingsError, match=r"found \['misson'\]"):
        counterfactual_indicator(no_effect, [2016], instruments=["misson"])
    with pytest.raises(SettingsError, match="no such line"):
        counterfactual_indicator(no_effect, [2016], options=NO_PLACEBO).row("p")
    moved = dataclasses.replace(no_effect, definitions=CBS_2024.replace(indicator_base="mean_t-2_t-1"))
    with pytest.raises(SettingsError, match="indicator_base"):
        counterfactual_indicator(moved, [2016])


@pytest.mark.parametrize(
    "options", [{"ratio": 0}, {"draws": 1}, {"margin_pp": -1.0}, {"caliper_sd": 0.0}, {"conf_level": 1.0}]
)
def test_options_out_of_range(options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        CounterfactualOptions(**options)


def test_price_by_hand():
    # 5 million a year [2, 8] on 1,000 firms of two cohorts, 25 missions; budget 2 x 2.5 million
    price = effect_price(EuroEffect(5e6, 2e6, 8e6, 1000, n_cohorts=2), missions=25)
    table = price.table.set_index("quantity")
    ends = ["estimate", "conf_low", "conf_high"]
    assert table.loc["per supported firm", ends].tolist() == [5000.0, 2000.0, 8000.0]
    assert table.loc["per mission", ends].tolist() == [200_000.0, 80_000.0, 320_000.0]
    assert table.loc["per euro of the mission budget", ends].tolist() == [1.0, 0.4, 1.6]
    assert "letter" in price.sources[0]
    assert all(word in price.sentence() for word in ("displacement", "deadweight", "cost"))
    assert "verdringing" in price.sentence("nl")


def test_the_budget_of_missions_is_not_set_against_other_support(no_effect):
    found = counterfactual_indicator(no_effect, [2016], by=None, options=NO_PLACEBO)
    table = effect_price(found, missions=10).table.set_index("quantity")
    assert math.isnan(table.loc["per euro of the mission budget", "estimate"])
    assert "missions alone" in table.loc["per mission", "reason"]
    line = found.row("net_winsorised_eur")
    assert table.loc["per supported firm", "estimate"] == pytest.approx(line["difference"] / line["n_firms"])
    with pytest.raises(SettingsError, match="in euro"):
        effect_price(found, figure="share_growers")
    with pytest.raises(SettingsError, match="missions"):
        effect_price(EuroEffect(1.0, 0.0, 2.0, 10), missions=0)
    with pytest.raises(SettingsError, match="expected a counterfactual indicator or a EuroEffect, found DataFrame"):
        effect_price(found.table)
