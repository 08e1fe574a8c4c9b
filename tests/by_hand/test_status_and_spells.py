"""Status and spells of histories that a person can read off.

Structural in a year: active in at least three of the four years that end with it. Incidental: active in that year
but not structural. A spell ends after two years without trade; one year without trade is a gap inside it. Its origin
is seen when the data show two years without trade before it. It ends by exit only if the firm is in the register
in both years without trade; if the firm ceases in one of them it ends by death; what the last data year alone would
decide stays open.
"""

import pytest

from missie_impact import CBS_2024

STATUS = "year status pattern"
SPELLS = "market spell begin end length active_years origin_seen end_reason"


def spells(panel, rows, firm, columns="begin end end_reason", flow="either"):
    return rows(panel.spells(flow=flow), columns, firm)


def status(panel, rows, firm, level="firm", flow="export", columns=STATUS):
    return rows(panel.status(level=level, flow=flow), columns, firm, window_seen=True)


def test_gap_of_one_year_stays_inside_the_spell(panel_of, rows):
    panel = panel_of("anna FR 2006: x x . x x x")
    assert spells(panel, rows, "anna", SPELLS) == [("FR", 1, 2006, 2011, 6, 5, True, "exit")]
    assert status(panel, rows, "anna") == [
        (2007, "incidental", "0011"),
        (2009, "structural", "1101"),
        (2010, "structural", "1011"),
        (2011, "structural", "0111"),
    ]


def test_the_window_of_2006_starts_before_the_data(panel_of, rows):
    panel = panel_of("anna FR 2006: x x")
    table = panel.status(level="firm", flow="export")
    assert rows(table, "year window_seen", "anna") == [(2006, False), (2007, True)]


def test_gap_of_two_years_ends_the_spell(panel_of, rows):
    panel = panel_of("bert FR 2006: x x . . x x")
    assert spells(panel, rows, "bert", SPELLS) == [
        ("FR", 1, 2006, 2007, 2, 2, True, "exit"),
        ("FR", 2, 2010, 2011, 2, 2, True, "exit"),
    ]
    assert status(panel, rows, "bert") == [
        (2007, "incidental", "0011"),
        (2010, "incidental", "1001"),
        (2011, "incidental", "0011"),
    ]


def test_re_entry_after_years_is_a_new_spell(panel_of, rows):
    panel = panel_of("cora FR 2006: x . . . . x x x x x")
    assert spells(panel, rows, "cora") == [(2006, 2006, "exit"), (2011, 2015, "open")]
    assert (2013, "structural", "0111") in status(panel, rows, "cora")


@pytest.mark.parametrize(("begin", "seen"), [(2004, False), (2005, False), (2006, True)])
def test_origin_is_seen_after_two_years_without_trade(panel_of, rows, begin, seen):
    panel = panel_of(f"dora FR {begin}: x x x")
    assert rows(panel.spells(flow="either"), "begin origin_seen", "dora") == [(begin, seen)]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (2016, "open"),  # still trading when the data end
        (2015, "open"),  # one year without trade: 2017 would decide
        (2014, "exit"),  # 2015 and 2016 without trade
    ],
)
def test_spell_open_at_the_right(panel_of, rows, last, reason):
    years = " ".join("x" * (last - 2008 + 1))
    assert spells(panel_of(f"ed FR 2008: {years}"), rows, "ed") == [(2008, last, reason)]


@pytest.mark.parametrize(
    ("in_register_until", "reason"),
    [
        (2010, "death"),  # ceases in 2011, the first year without trade
        (2011, "death"),  # ceases in 2012, the second
        (2012, "exit"),  # in the register in both
    ],
)
def test_firm_that_dies_in_the_exit_year_or_the_year_after(panel_of, rows, in_register_until, reason):
    panel = panel_of("fay FR 2007: x x x x", life=f"fay 1999-{in_register_until}")
    assert spells(panel, rows, "fay") == [(2007, 2010, reason)]


def test_death_in_the_last_data_year_still_decides_the_year_before(panel_of, rows):
    panel = panel_of("gus FR 2010: x x x x x", life="gus 1999-2015")
    assert spells(panel, rows, "gus") == [(2010, 2014, "death")]


@pytest.mark.parametrize("year", [2011, 2012])
def test_lost_identity_is_neither_exit_nor_death(panel_of, rows, year):
    panel = panel_of(
        "hub FR 2007: x x x x", life=f"hub 1999-{year - 1}", identities=f"hub - {year}-01-01 restructuring"
    )
    assert spells(panel, rows, "hub") == [(2007, 2010, "lost")]


def test_a_year_missing_from_the_firm_register_is_not_death(panel_of, rows):
    panel = panel_of("ida FR 2007: x x x x", absent="ida 2011\nida 2012")
    assert spells(panel, rows, "ida") == [(2007, 2010, "exit")]
    assert (2010, "structural", "1111") in status(panel, rows, "ida")


def test_corrections_are_summed_before_activity_is_judged(panel_of, rows):
    panel = panel_of(
        """
        jan FR 2006: x 100-100 x
        jan DE 2006: x 100-150 0 x
        jan BE 2006: x 500-200 -50 x
        """
    )
    assert rows(panel.spells(flow="either"), "market begin end active_years", "jan") == [
        ("BE", 2006, 2009, 3),  # 2007 is active at 300, 2008 holds a correction only
        ("DE", 2006, 2006, 1),  # 2007 corrected below zero, 2008 a row of zero
        ("DE", 2009, 2009, 1),
        ("FR", 2006, 2008, 2),
    ]
    assert rows(panel.pair_years, "year exports_cents", "jan", market="BE") == [
        (2006, 100_000),
        (2007, 30_000),
        (2009, 100_000),
    ]


def test_a_correction_of_exports_does_not_touch_imports(panel_of, rows):
    panel = panel_of("kim FR 2007: x -50 .\nkim FR import 2008: 40")
    assert rows(panel.spells(flow="either"), "begin end", "kim") == [(2007, 2008)]
    assert rows(panel.spells(flow="export"), "begin end", "kim") == [(2007, 2007)]
    assert rows(panel.spells(flow="import"), "begin end", "kim") == [(2008, 2008)]


def test_import_only_years_count_for_the_trader_and_not_for_the_exporter(panel_of, rows):
    panel = panel_of("lea FR 2006: x x . .\nlea FR import 2008: x x")
    assert spells(panel, rows, "lea", flow="either") == [(2006, 2009, "exit")]
    assert spells(panel, rows, "lea", flow="export") == [(2006, 2007, "exit")]
    assert (2009, "structural", "1111") in status(panel, rows, "lea", flow="either")
    assert status(panel, rows, "lea", flow="export") == [(2007, "incidental", "0011")]


def test_goods_and_services_count_together(panel_of, rows):
    panel = panel_of("mia FR 2007: x . x\nmia FR services 2008: x x")
    assert spells(panel, rows, "mia") == [(2007, 2009, "exit")]
    assert rows(panel.pair_years, "year exports_cents", "mia") == [
        (2007, 100_000),
        (2008, 100_000),
        (2009, 200_000),
    ]
    goods = panel_of("mia FR 2007: x . x\nmia FR services 2008: x x", definitions=CBS_2024.replace(kinds=("goods",)))
    assert rows(goods.spells(flow="export"), "begin end active_years", "mia") == [(2007, 2009, 2)]


def test_a_firm_is_structural_over_markets_in_which_it_is_incidental(panel_of, rows):
    panel = panel_of("noa FR 2007: x . x\nnoa DE 2008: x")
    assert status(panel, rows, "noa")[-1] == (2009, "structural", "0111")
    by_market = status(panel, rows, "noa", level="market", columns="market year status")
    assert by_market == [("DE", 2008, "incidental"), ("FR", 2007, "incidental"), ("FR", 2009, "incidental")]


def test_firms_and_markets_do_not_run_into_each_other(panel_of, rows):
    panel = panel_of("a1 FR 2006: x x\na1 DE 2008: x x\na2 DE 2010: x x\na2 FR 2012: x x")
    assert rows(panel.spells(flow="either"), "firm market spell begin end") == [
        ("a1", "DE", 1, 2008, 2009),
        ("a1", "FR", 1, 2006, 2007),
        ("a2", "DE", 1, 2010, 2011),
        ("a2", "FR", 1, 2012, 2013),
    ]


def test_a_firm_younger_than_the_window(panel_of, rows):
    panel = panel_of("odo FR 2009: x x x", life="odo 2009-")
    assert status(panel, rows, "odo") == [
        (2009, "incidental", "0001"),
        (2010, "incidental", "0011"),
        (2011, "structural", "0111"),
    ]
    assert rows(panel.life, "founded ended", "odo") == [(2009, None)]


def test_a_renumbered_firm_keeps_one_history(panel_of, rows):
    panel = panel_of(
        "old FR 2006: x x x .\nnew FR 2010: x x",
        life="old 1999-2009\nnew 2010-",
        identities="old new 2010-01-01 renumbered",
    )
    assert spells(panel, rows, "old") == []
    assert spells(panel, rows, "new") == [(2006, 2011, "exit")]
    assert rows(panel.life, "founded ended", "new") == [(1999, None)]


def test_two_renumberings_in_a_row_are_followed_to_the_end(panel_of, rows):
    panel = panel_of(
        "one FR 2006: x x\ntwo FR 2008: x x\nthree FR 2010: x",
        life="one 1999-2007\ntwo 2008-2009\nthree 2010-",
        identities="one two 2008-01-01 renumbered\ntwo three 2010-01-01 renumbered",
    )
    assert rows(panel.spells(flow="either"), "firm begin end") == [("three", 2006, 2010)]


def test_the_trade_of_merged_firms_is_added(panel_of, rows):
    panel = panel_of(
        "left FR 2008: x x\nright FR 2009: 200 200 200\nright DE 2009: 50",
        life="left 1999-2009",
        identities="left right 2010-03-01 merger",
    )
    assert rows(panel.pair_years, "market year exports_cents", "right") == [
        ("DE", 2009, 5_000),
        ("FR", 2008, 100_000),
        ("FR", 2009, 120_000),
        ("FR", 2010, 20_000),
        ("FR", 2011, 20_000),
    ]


def test_without_following_identities_the_old_firm_ends(panel_of, rows):
    panel = panel_of(
        "old FR 2006: x x x .\nnew FR 2010: x x",
        life="old 1999-2009\nnew 2010-",
        identities="old new 2010-01-01 renumbered",
        definitions=CBS_2024.replace(identity="none"),
    )
    assert [(b, e) for b, e, _ in spells(panel, rows, "old")] == [(2006, 2008)]
    assert [(b, e) for b, e, _ in spells(panel, rows, "new")] == [(2010, 2011)]


def test_active_means_above_the_minimum_value(panel_of, rows):
    history = "pia FR 2007: 5000 5001 4999 6000"
    panel = panel_of(history, definitions=CBS_2024.replace(min_value_eur=5000.0))
    assert rows(panel.spells(flow="export"), "begin end active_years", "pia") == [(2008, 2010, 2)]


def test_one_year_without_trade_can_be_made_to_end_a_spell(panel_of, rows):
    panel = panel_of("rik FR 2006: x x . x x", definitions=CBS_2024.replace(gap_years=1, origin_zeros=1))
    assert spells(panel, rows, "rik") == [(2006, 2007, "exit"), (2009, 2010, "exit")]
