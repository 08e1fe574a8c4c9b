"""The rules of the budget indicator, worked by hand. Exports are in euro per year, 2020 first."""

import dataclasses
import math
from datetime import date

import pandas as pd
import pytest

from missie_impact.definitions import CBS_2024
from missie_impact.effects import Effect
from missie_impact.errors import NoParticipantError, SchemaError, SettingsError, YearRangeError
from missie_impact.indicator import BudgetIndicator, IndicatorRow, TailRow, budget_indicator

COHORT = (2020,)


def row(indicator, group="all", instrument="all", cohort=2020):
    return indicator.row(cohort, group, instrument)


def test_increase_is_the_mean_of_three_years_less_the_support_year(make_panel):
    # (200 + 100 + 300) / 3 - 100 = 100
    found = row(budget_indicator(make_panel("alfa DE 2020: 100 200 100 300", "alfa DE 2020"), COHORT))
    assert (found.n_firms, found.n_pairs, found.n_growers) == (1, 1, 1)
    assert (found.gross_eur, found.net_eur, found.base_eur) == (100.0, 100.0, 100.0)


def test_goods_and_services_count_and_imports_do_not(make_panel):
    panel = make_panel(
        """
        alfa DE 2020: 100 100 100 100
        alfa DE services 2021: 30 30 30
        alfa DE import 2021: 900 900 900
        """,
        "alfa DE 2020",
    )
    assert row(budget_indicator(panel, COHORT)).gross_eur == 30.0


def test_only_the_target_market_counts(make_panel):
    panel = make_panel("alfa DE 2020: 10 10 10 10\nalfa FR 2021: 900 900 900", "alfa DE 2020")
    assert row(budget_indicator(panel, COHORT)).gross_eur == 0.0


def test_a_firm_new_to_the_market_grows_from_zero(make_panel):
    found = row(budget_indicator(make_panel("alfa DE 2022: 90", "alfa DE 2020"), COHORT))
    assert (found.base_eur, found.gross_eur, found.share_growers) == (0.0, 30.0, 1.0)


def test_a_firm_that_never_trades_is_supported_and_does_not_grow(make_panel):
    panel = make_panel("alfa DE 2020: 100 400 100 100", "alfa DE 2020\nbeta DE 2020")
    found = row(budget_indicator(panel, COHORT))
    assert (found.n_firms, found.n_growers, found.share_growers, found.gross_eur) == (2, 1, 0.5, 100.0)


def test_a_firm_that_stops_exporting_lowers_the_net_sum_only(make_panel):
    panel = make_panel("alfa DE 2020: 300\nbeta DE 2020: 0 60 60 60", "alfa DE 2020\nbeta DE 2020")
    found = row(budget_indicator(panel, COHORT))
    assert (found.gross_eur, found.net_eur, found.n_growers) == (60.0, -240.0, 1)


def test_years_after_the_death_of_a_firm_are_zero(make_panel):
    # alive in 2021, gone from 2022 on: (600 + 0 + 0) / 3 - 100 = 100
    panel = make_panel("alfa DE 2020: 100 600", "alfa DE 2020", ended={"alfa": 2022})
    found = row(budget_indicator(panel, COHORT))
    assert (found.gross_eur, found.n_ended, found.n_lost) == (100.0, 1, 0)


def test_a_death_after_the_years_measured_is_no_death_here(make_panel):
    panel = make_panel("alfa DE 2020: 100 600", "alfa DE 2020", ended={"alfa": 2024})
    assert row(budget_indicator(panel, COHORT)).n_ended == 0


def test_a_lost_identity_is_counted_apart(make_panel):
    panel = make_panel(
        "alfa DE 2020: 100 600", "alfa DE 2020", ended={"alfa": 2022}, identities=[("alfa", None, date(2022, 1, 1))]
    )
    found = row(budget_indicator(panel, COHORT))
    assert (found.n_ended, found.n_lost) == (0, 1)


def test_two_supports_in_one_cohort_are_one_pair(make_panel):
    panel = make_panel("alfa DE 2020: 100 130 130 130", "alfa DE 2020\nalfa DE 2020")
    found = row(budget_indicator(panel, COHORT))
    assert (found.n_firms, found.n_pairs, found.gross_eur, found.n_several) == (1, 1, 30.0, 0)


def test_each_instrument_counts_the_firm_and_the_total_counts_it_once(make_panel):
    panel = make_panel(
        "alfa DE 2020: 100 130 130 130\nbeta DE 2020: 100 90 90 90",
        "alfa DE 2020\nalfa DE 2020 trade_fair\nbeta DE 2020 trade_fair",
    )
    indicator = budget_indicator(panel, COHORT, per="instrument")
    total = row(indicator)
    fair, mission = row(indicator, instrument="trade_fair"), row(indicator, instrument="mission")
    assert (total.n_firms, total.gross_eur, total.n_several) == (2, 30.0, 1)
    assert (fair.n_firms, fair.gross_eur, fair.net_eur, fair.n_several) == (2, 30.0, 20.0, 1)
    assert (mission.n_firms, mission.gross_eur, mission.n_several) == (1, 30.0, 1)


def test_two_markets_are_two_pairs_of_one_firm(make_panel):
    # DE: +10; FR: -300; the firm grows in a market, and not over both
    panel = make_panel("alfa DE 2020: 100 100 100 130\nalfa FR 2020: 500 200 200 200", "alfa DE 2020\nalfa FR 2020")
    found = row(budget_indicator(panel, COHORT))
    assert (found.n_firms, found.n_pairs) == (1, 2)
    assert (found.share_growers, found.share_growers_sum) == (1.0, 0.0)
    assert (found.gross_eur, found.net_eur, found.gross_firm_eur) == (10.0, -290.0, 0.0)


def test_any_year_above_the_base_is_a_variant(make_panel):
    # mean (150 + 0 + 0) / 3 is below 100, one year is above it
    found = row(budget_indicator(make_panel("alfa DE 2020: 100 150", "alfa DE 2020"), COHORT))
    assert (found.n_growers, found.n_growers_any_year) == (0, 1)


def test_no_change_is_no_increase(make_panel):
    found = row(budget_indicator(make_panel("alfa DE 2020: 100 100 100 100", "alfa DE 2020"), COHORT))
    assert (found.n_growers, found.n_growers_any_year, found.net_eur) == (0, 0, 0.0)


def test_corrections_that_exceed_the_exports_make_a_zero_base(make_panel):
    panel = make_panel("alfa DE 2020: 100-150 30 30 30\nalfa DE import 2020: 5", "alfa DE 2020")
    found = row(budget_indicator(panel, COHORT))
    assert (found.base_eur, found.gross_eur) == (0.0, 30.0)


def test_corrections_that_exceed_a_later_year_make_it_zero_and_not_negative(make_panel):
    # (90 + 0 + 240) / 3 - 100 = 10
    panel = make_panel("alfa DE 2020: 100 90 10-400 240\nalfa DE import 2022: 5", "alfa DE 2020")
    assert row(budget_indicator(panel, COHORT)).gross_eur == 10.0


def test_a_partial_correction_lowers_the_year(make_panel):
    panel = make_panel("alfa DE 2020: 100-40 90 90 90", "alfa DE 2020")
    assert row(budget_indicator(panel, COHORT)).gross_eur == 30.0


def test_a_merged_firm_is_followed_and_its_past_is_added(make_panel):
    # supported as old; base old 100 + new 50; later years under the new identity: 400 - 150 = 250
    panel = make_panel(
        "old DE 2020: 100\nnew DE 2020: 50 400 400 400",
        "old DE 2020",
        ended={"old": 2021},
        identities=[("old", "new", date(2021, 1, 1))],
    )
    found = row(budget_indicator(panel, COHORT))
    assert (found.n_firms, found.gross_eur, found.n_ended) == (1, 250.0, 0)


def test_both_identities_of_a_merged_firm_are_one_supported_firm(make_panel):
    panel = make_panel(
        "old DE 2020: 100\nnew DE 2020: 50 400 400 400",
        "old DE 2020\nnew DE 2020",
        ended={"old": 2021},
        identities=[("old", "new", date(2021, 1, 1))],
    )
    found = row(budget_indicator(panel, COHORT))
    assert (found.n_firms, found.n_pairs, found.gross_eur) == (1, 1, 250.0)


def test_size_is_taken_in_the_support_year(make_panel):
    panel = make_panel(
        "alfa DE 2020: 0 30 30 30\nbig DE 2020: 0 900 900 900\nghost DE 2020: 0 6 6 6",
        "alfa DE 2020\nbig DE 2020\nghost DE 2020",
        large="big",
        unseen="ghost",
    )
    indicator = budget_indicator(panel, COHORT)
    assert [(r.group, r.n_firms, r.gross_eur) for r in indicator.rows] == [
        ("all", 3, 936.0),
        ("sme", 1, 30.0),
        ("large", 1, 900.0),
        ("unknown", 1, 6.0),
    ]
    assert indicator.by == "size (letter)"


def test_another_size_scheme_is_named(make_panel):
    panel = make_panel("big DE 2020: 0 3 3 3", "big DE 2020", large="big")
    indicator = budget_indicator(panel, COHORT, by="size:cbs_independent")
    assert indicator.by == "size (cbs_independent)"
    assert {r.group for r in indicator.rows} == {"all", "not_sme"}


def test_other_groupings_and_none(make_panel):
    panel = make_panel("big DE 2020: 0 3 3 3", "big DE 2020", large="big")
    assert {r.group for r in budget_indicator(panel, COHORT, by="sector").rows} == {"all", "C"}
    assert {r.group for r in budget_indicator(panel, COHORT, by=None).rows} == {"all"}


def test_cohorts_are_apart_and_a_firm_may_be_in_both(make_panel):
    panel = make_panel("alfa DE 2020: 100 160 100 100 400", "alfa DE 2020\nalfa DE 2021")
    indicator = budget_indicator(panel)
    assert row(indicator, cohort=2020).gross_eur == 20.0  # 360 / 3 - 100
    assert row(indicator, cohort=2021).gross_eur == 40.0  # 600 / 3 - 160


def test_a_cohort_with_years_not_yet_observed_is_an_error_that_names_them(make_panel):
    panel = make_panel("alfa DE 2020: 100 100 100 100", "alfa DE 2021", last=2023)
    with pytest.raises(YearRangeError, match=r"cohort 2021.*2021-2024.*missing: 2024\."):
        budget_indicator(panel, (2020, 2021))


def test_the_mean_of_two_years_before_as_base(make_panel):
    # 2018 and 2019: 60 and 0, mean 30; later mean 50; the support year itself does not count
    panel = make_panel(
        "alfa DE 2018: 60 0 999 50 50 50",
        "alfa DE 2020",
        definitions=CBS_2024.replace(indicator_base="mean_t-2_t-1"),
    )
    found = row(budget_indicator(panel, COHORT))
    assert (found.base_eur, found.gross_eur) == (30.0, 20.0)


def test_coverage_of_the_link_is_told_per_cohort(make_panel):
    panel = make_panel("alfa DE 2020: 1 1 1 1", "alfa DE 2020\nstranger DE 2020\nalfa DE 2021")
    coverage = budget_indicator(panel).coverage_frame().set_index("cohort")
    assert coverage.loc[2020, ["participations", "linked", "share_linked"]].tolist() == [2, 1, 0.5]
    assert coverage.loc[2021, "share_linked"] == 1.0


def test_nobody_supported_is_an_error(make_panel):
    panel = make_panel("alfa DE 2020: 1 1 1 1", "alfa DE 2018")
    with pytest.raises(NoParticipantError, match="2020"):
        budget_indicator(panel, COHORT)


def test_a_cohort_without_support_has_a_reason(make_panel):
    panel = make_panel("alfa DE 2020: 1 1 1 1", "alfa DE 2020")
    found = row(budget_indicator(panel), cohort=2021)
    assert found.n_firms == 0
    assert math.isnan(found.share_growers)
    assert found.reason != ""


def test_instruments_can_be_left_out_as_before_the_break_of_2026(make_panel):
    panel = make_panel("alfa DE 2020: 0 3 3 3\nbeta DE 2020: 0 9 9 9", "alfa DE 2020\nbeta DE 2020 embassy")
    indicator = budget_indicator(panel, COHORT, instruments=["mission"])
    assert row(indicator).gross_eur == 3.0
    assert any("left out here" in note for note in indicator.notes)


@pytest.mark.parametrize("instruments", ["mission", [], ["mission", "misson"]])
def test_instruments_that_do_not_occur_are_named(make_panel, instruments):
    panel = make_panel("alfa DE 2020: 0 3 3 3", "alfa DE 2020")
    with pytest.raises(SettingsError, match=r"`instruments`: expected .*some of \['mission'\]"):
        budget_indicator(panel, COHORT, instruments=instruments)


def test_shares_of_the_largest_firms_need_ten_contributors(make_panel):
    nine = [f"f{i:02d}" for i in range(9)]
    history = "\n".join(f"{f} DE 2020: 0 30 30 30" for f in nine)
    supports = "\n".join(f"{f} DE 2020" for f in nine)
    few = row(budget_indicator(make_panel(history, supports), COHORT))
    assert math.isnan(few.gross_top_1)
    # nine firms of 30 and one of 230 are 500: the largest has 46%, five have 70%
    many = row(budget_indicator(make_panel(history + "\nx DE 2020: 0 230 230 230", supports + "\nx DE 2020"), COHORT))
    assert (many.gross_top_1, many.gross_top_5, many.gross_top_10) == pytest.approx((0.46, 0.70, 1.0))


def test_top_shares_are_of_firms_not_of_pairs(make_panel):
    firms = [f"f{i:02d}" for i in range(10)]
    markets = ("DE", "FR")
    history = "\n".join(f"{f} {m} 2020: 0 30 30 30" for f in firms for m in markets)
    supports = "\n".join(f"{f} {m} 2020" for f in firms for m in markets)
    assert row(budget_indicator(make_panel(history, supports), COHORT)).gross_top_1 == pytest.approx(0.1)


def test_the_type_cannot_be_mistaken_for_an_effect(make_panel):
    indicator = budget_indicator(make_panel("alfa DE 2020: 0 30 30 30", "alfa DE 2020"), COHORT)
    types = (IndicatorRow, BudgetIndicator, TailRow)
    names = {f.name for kind in types for f in dataclasses.fields(kind)}
    assert not isinstance(indicator, Effect)
    assert not [n for n in names if "p_value" in n or "conf" in n or "std_error" in n]
    assert not hasattr(indicator, "tidy")
    assert "not an effect" in repr(indicator)
    assert "not an effect" in indicator._repr_html_()


def test_the_letter_speaks_dutch_and_english(make_panel):
    panel = make_panel("alfa DE 2020: 0 6e6 6e6 6e6\nbeta DE 2020: 5", "alfa DE 2020\nbeta DE 2020")
    indicator = budget_indicator(panel, COHORT)
    assert "2 mkb-bedrijven" in indicator.letter("nl")
    assert "50,0%" in indicator.letter("nl")
    assert "EUR 6 miljoen" in indicator.letter("nl")
    assert indicator.letter("nl").startswith("Doelbereik")
    assert "2 SME" in indicator.letter("en")
    assert "EUR 6 million" in indicator.letter("en")


def test_row_order_and_a_firm_without_support_change_nothing(make_panel):
    history = "alfa DE 2020: 100 200 100 300\nbeta FR 2020: 0 7 7 7"
    supports = "alfa DE 2020\nbeta FR 2020"
    one = budget_indicator(make_panel(history, supports), COHORT)
    turned = "\n".join(reversed(history.splitlines())) + "\nother DE 2020: 5 900 900 900"
    other = budget_indicator(make_panel(turned, "\n".join(reversed(supports.splitlines()))), COHORT)
    pd.testing.assert_frame_equal(one.frame(), other.frame())


@pytest.mark.parametrize("by", ["colour", "size:none", "size "])
def test_an_unknown_grouping_lists_the_known_ones(make_panel, by):
    panel = make_panel("alfa DE 2020: 1 1 1 1", "alfa DE 2020")
    with pytest.raises(SettingsError, match="sector"):
        budget_indicator(panel, COHORT, by=by)


def test_an_unknown_row_lists_those_there_are(make_panel):
    indicator = budget_indicator(make_panel("alfa DE 2020: 1 1 1 1", "alfa DE 2020"), COHORT)
    with pytest.raises(SettingsError, match="2020"):
        indicator.row(1999)


def test_deflated_values_are_in_prices_of_the_support_year(make_panel):
    # prices 100, 110, 125, 200: 110/1.10 = 100, 125/1.25 = 100, 400/2 = 200; mean 133.33, less 100
    panel = make_panel("alfa DE 2020: 100 110 125 400", "alfa DE 2020")
    prices = {2020: 100.0, 2021: 110.0, 2022: 125.0, 2023: 200.0}
    indicator = budget_indicator(panel, COHORT, deflator=prices)
    assert row(indicator).gross_eur == pytest.approx(100 / 3, abs=0.01)
    assert indicator.prices == "of the support year"
    frame = pd.DataFrame({"year": list(prices), "index": [v / 3 for v in prices.values()]})
    assert row(budget_indicator(panel, COHORT, deflator=frame)).gross_eur == pytest.approx(100 / 3, abs=0.01)


def test_a_deflator_must_hold_every_year_once_and_above_zero(make_panel):
    panel = make_panel("alfa DE 2020: 100 110 125 400", "alfa DE 2020")
    with pytest.raises(YearRangeError, match=r"missing: 2022, 2023\."):
        budget_indicator(panel, COHORT, deflator={2020: 1.0, 2021: 1.1})
    with pytest.raises(SettingsError, match="2021"):
        budget_indicator(panel, COHORT, deflator={2020: 1.0, 2021: 0.0, 2022: 1.0, 2023: 1.0})
    with pytest.raises(SettingsError, match="found float"):
        budget_indicator(panel, COHORT, deflator=1.02)
    with pytest.raises(SchemaError, match="index"):
        budget_indicator(panel, COHORT, deflator=pd.DataFrame({"year": [2020]}))
    with pytest.raises(SchemaError, match="2020"):
        budget_indicator(panel, COHORT, deflator=pd.DataFrame({"year": [2020, 2020], "index": [1.0, 1.0]}))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        # alfa: DE +10, FR -300; beta: IT mean 50 against 100, one year above it: -50; gamma: -1
        ({}, (1, 10.0)),
        ({"indicator_grower": "firm_sum", "indicator_aggregate": "gross_firm"}, (0, 0.0)),
        ({"indicator_grower": "any_year", "indicator_aggregate": "net"}, (2, -341.0)),
    ],
)
def test_variants_are_named_definitions(make_panel, rules, expected):
    panel = make_panel(
        "alfa DE 2020: 100 100 100 130\nalfa FR 2020: 500 200 200 200\nbeta IT 2020: 100 150\ngamma DE 2020: 5 4 4 4",
        "alfa DE 2020\nalfa FR 2020\nbeta IT 2020\ngamma DE 2020",
        definitions=CBS_2024.replace(**rules),
    )
    line = budget_indicator(panel, COHORT, by=None).headline().iloc[0]
    assert (line["n_firms"], line["n_growers"]) == (3, expected[0])
    assert line["eur"] == pytest.approx(expected[1], abs=0.03)


def test_overlap_of_instruments_is_stated(make_panel):
    panel = make_panel(
        "alfa DE 2020: 100 130 130 130\nbeta DE 2020: 100 90 90 90",
        "alfa DE 2020\nalfa DE 2020 trade_fair\nbeta DE 2020 trade_fair\nbeta FR 2020 coaching\nalfa FR 2020 coaching",
    )
    indicator = budget_indicator(panel, COHORT, per="instrument")
    found = indicator.overlap_frame().set_index(["instrument", "other_instrument"])["n_firms"].to_dict()
    assert found == {("coaching", "mission"): 1, ("coaching", "trade_fair"): 2, ("mission", "trade_fair"): 1}
    table = indicator.instrument_table("nl")
    assert table["ondersteunde bedrijven"].tolist() == [2, 1, 2, 2]
    assert table["instrument"].iloc[-1] == "totaal (ieder bedrijf eenmaal)"
    assert table["omvang exportgroei, mln euro per jaar"].iloc[-1] == pytest.approx(30e-6)
    with pytest.raises(SettingsError, match="per="):
        budget_indicator(panel, COHORT).instrument_table()


def test_the_letters_table_in_two_languages(make_panel):
    panel = make_panel(
        "alfa DE 2020: 0 6e6 6e6 6e6\nbeta DE 2020: 5\nbig DE 2020: 0 9e6 9e6 9e6",
        "alfa DE 2020\nbeta DE 2020\nbig DE 2020",
        large="big",
    )
    indicator = budget_indicator(panel, COHORT)
    dutch, english = indicator.letter_table("nl"), indicator.letter_table("en")
    assert dutch.iloc[0].tolist()[:5] == [2020, 2, 50.0, 6.0, 9.0]
    assert dutch.columns[1] == "ondersteund mkb"
    assert english.columns[1] == "supported SME"
    assert english.iloc[0].tolist()[5] == "not shown (too few firms)"
    assert "doelbereik" in indicator.letter("nl").lower()


def test_each_euro_figure_says_who_carries_it(make_panel):
    firms = [f"f{i:02d}" for i in range(9)]
    history = "\n".join(f"{f} DE 2020: 0 30 30 30" for f in firms) + "\nx DE 2020: 0 230 230 230\ny DE 2020: 60"
    supports = "\n".join(f"{f} DE 2020" for f in [*firms, "x", "y"])
    panel = make_panel(history, supports, definitions=CBS_2024.replace(indicator_winsor_eur=50.0))
    tails = budget_indicator(panel, COHORT, by=None).tails_frame().set_index("figure")
    # gross: nine of 30 and one of 230; cut at 50: 9 * 30 + 50; without the largest: 270 of 500
    gross = tails.loc["gross_eur"]
    assert (gross["eur"], gross["top_1"], gross["winsorised_eur"], gross["trimmed_share"]) == (500.0, 0.46, 320.0, 0.54)
    assert (gross["without_one_low"], gross["without_one_high"]) == pytest.approx((0.54, 0.94))
    # net: one of -60 more: 440; without it 500; without the largest 210; cut at 50: 320 - 50
    net = tails.loc["net_eur"]
    assert (net["eur"], net["winsorised_eur"]) == (440.0, 270.0)
    assert (net["without_one_low"], net["without_one_high"]) == pytest.approx((210 / 440, 500 / 440))
    assert math.isnan(tails.loc["base_eur", "top_1"])  # one contributor
    assert {"gross_eur", "net_eur", "gross_firm_eur", "base_eur"} == set(tails.index)
