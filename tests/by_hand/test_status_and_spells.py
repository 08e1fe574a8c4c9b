"""Status and spells of histories that a person can read off.

Structural in a year: active in at least three of the four years that end with it. Incidental: active in that year
but not structural. A spell ends after two years without trade; one year without trade is a gap inside it. Its origin
is seen when the data show two years without trade before it. It ends by exit only if the firm is in the register
in both years without trade; if the firm ceases in one of them it ends by death; what the last data year alone would
decide stays open.
"""

import pytest

from missie_impact import CBS_2024

SPELLS = "market begin end end_reason"
WHOLE = "market spell begin end length active_years origin_seen end_reason"
TRADER = {  # spells of a trader, in either flow
    "a gap of one year stays inside the spell": {
        "history": "anna FR 2006: x x . x x x",
        "columns": WHOLE,
        "rows": [("FR", 1, 2006, 2011, 6, 5, True, "exit")],
    },
    "a gap of two years ends it": {
        "history": "bert FR 2006: x x . . x x",
        "columns": WHOLE,
        "rows": [("FR", 1, 2006, 2007, 2, 2, True, "exit"), ("FR", 2, 2010, 2011, 2, 2, True, "exit")],
    },
    "re-entry after years is a new spell": {
        "history": "cora FR 2006: x . . . . x x x x x",
        "rows": [("FR", 2006, 2006, "exit"), ("FR", 2011, 2015, "open")],
    },
    # The origin is seen after two years without trade.
    "trading when the data begin": {
        "history": "dora FR 2004: x x x",
        "columns": "begin origin_seen",
        "rows": [(2004, False)],
    },
    "one year without trade seen before": {
        "history": "dora FR 2005: x x x",
        "columns": "begin origin_seen",
        "rows": [(2005, False)],
    },
    "two years without trade seen before": {
        "history": "dora FR 2006: x x x",
        "columns": "begin origin_seen",
        "rows": [(2006, True)],
    },
    "still trading when the data end": {
        "history": "ed FR 2008: x x x x x x x x x",
        "rows": [("FR", 2008, 2016, "open")],
    },
    # 2017 would decide.
    "one year without trade at the end": {
        "history": "ed FR 2008: x x x x x x x x",
        "rows": [("FR", 2008, 2015, "open")],
    },
    "two years without trade at the end": {
        "history": "ed FR 2008: x x x x x x x",
        "rows": [("FR", 2008, 2014, "exit")],
    },
    # Last in the register in 2010, 2011 and 2012: ceases in the first year without trade, in the second, after it.
    "firm that dies in the exit year": {
        "history": "fay FR 2007: x x x x",
        "life": "fay 1999-2010",
        "rows": [("FR", 2007, 2010, "death")],
    },
    "firm that dies in the year after": {
        "history": "fay FR 2007: x x x x",
        "life": "fay 1999-2011",
        "rows": [("FR", 2007, 2010, "death")],
    },
    "firm that dies two years after": {
        "history": "fay FR 2007: x x x x",
        "life": "fay 1999-2012",
        "rows": [("FR", 2007, 2010, "exit")],
    },
    "a death in the last data year decides the year before": {
        "history": "gus FR 2010: x x x x x",
        "life": "gus 1999-2015",
        "rows": [("FR", 2010, 2014, "death")],
    },
    "an identity lost in the exit year": {
        "history": "hub FR 2007: x x x x",
        "life": "hub 1999-2010",
        "identities": "hub - 2011-01-01 restructuring",
        "rows": [("FR", 2007, 2010, "lost")],
    },
    "an identity lost in the year after": {
        "history": "hub FR 2007: x x x x",
        "life": "hub 1999-2011",
        "identities": "hub - 2012-01-01 restructuring",
        "rows": [("FR", 2007, 2010, "lost")],
    },
    "years missing from the firm register are not death": {
        "history": "ida FR 2007: x x x x",
        "absent": "ida 2011\nida 2012",
        "rows": [("FR", 2007, 2010, "exit")],
    },
    # Belgium: 2007 is active at 300, 2008 holds a correction only. Germany: 2007 corrected below nothing, 2008 a row
    # of zero. France: 2007 corrected to nothing.
    "corrections are summed before activity is judged": {
        "history": "jan FR 2006: x 100-100 x\njan DE 2006: x 100-150 0 x\njan BE 2006: x 500-200 -50 x",
        "columns": "market begin end active_years",
        "rows": [("BE", 2006, 2009, 3), ("DE", 2006, 2006, 1), ("DE", 2009, 2009, 1), ("FR", 2006, 2008, 2)],
    },
    "a correction of exports does not touch imports": {
        "history": "kim FR 2007: x -50 .\nkim FR import 2008: 40",
        "rows": [("FR", 2007, 2008, "exit")],
    },
    "import-only years count for the trader": {
        "history": "lea FR 2006: x x . .\nlea FR import 2008: x x",
        "rows": [("FR", 2006, 2009, "exit")],
    },
    "goods and services count together": {
        "history": "mia FR 2007: x . x\nmia FR services 2008: x x",
        "columns": "begin end active_years",
        "rows": [(2007, 2009, 3)],
    },
    "firms and markets do not run into each other": {
        "history": "a1 FR 2006: x x\na1 DE 2008: x x\na2 DE 2010: x x\na2 FR 2012: x x",
        "firm": None,
        "columns": "firm market spell begin end",
        "rows": [
            ("a1", "DE", 1, 2008, 2009),
            ("a1", "FR", 1, 2006, 2007),
            ("a2", "DE", 1, 2010, 2011),
            ("a2", "FR", 1, 2012, 2013),
        ],
    },
    "a renumbered firm keeps one history": {
        "history": "old FR 2006: x x x .\nnew FR 2010: x x",
        "life": "old 1999-2009\nnew 2010-",
        "identities": "old new 2010-01-01 renumbered",
        "firm": None,
        "columns": "firm begin end end_reason",
        "rows": [("new", 2006, 2011, "exit")],
    },
    "two renumberings in a row are followed to the end": {
        "history": "one FR 2006: x x\ntwo FR 2008: x x\nthree FR 2010: x",
        "life": "one 1999-2007\ntwo 2008-2009\nthree 2010-",
        "identities": "one two 2008-01-01 renumbered\ntwo three 2010-01-01 renumbered",
        "firm": None,
        "columns": "firm begin end",
        "rows": [("three", 2006, 2010)],
    },
}
STATUS = {  # status of an exporter over all its markets, in years whose window lies in the data
    "a gap of one year": {
        "history": "anna FR 2006: x x . x x x",
        "rows": [
            (2007, "incidental", "0011"),
            (2009, "structural", "1101"),
            (2010, "structural", "1011"),
            (2011, "structural", "0111"),
        ],
    },
    "a gap of two years": {
        "history": "bert FR 2006: x x . . x x",
        "rows": [(2007, "incidental", "0011"), (2010, "incidental", "1001"), (2011, "incidental", "0011")],
    },
    "import-only years do not count for the exporter": {
        "history": "lea FR 2006: x x . .\nlea FR import 2008: x x",
        "rows": [(2007, "incidental", "0011")],
    },
    "structural over markets in which it is incidental": {
        "history": "noa FR 2007: x . x\nnoa DE 2008: x",
        "rows": [(2007, "incidental", "0001"), (2008, "incidental", "0011"), (2009, "structural", "0111")],
    },
    "a firm younger than the window": {
        "history": "odo FR 2009: x x x",
        "life": "odo 2009-",
        "rows": [(2009, "incidental", "0001"), (2010, "incidental", "0011"), (2011, "structural", "0111")],
    },
    "a firm with a year missing from the register": {
        "history": "ida FR 2008: x x x",
        "absent": "ida 2009\nida 2010",
        "rows": [(2008, "incidental", "0001"), (2009, "incidental", "0011"), (2010, "structural", "0111")],
    },
}
ALL = {**{f"spells, {k}": v for k, v in TRADER.items()}, **{f"status, {k}": v for k, v in STATUS.items()}}


@pytest.fixture(scope="module")
def panel(panel_of_cases):
    with panel_of_cases(ALL) as made:
        yield made


@pytest.fixture(scope="module")
def spells(panel):
    return panel.collect(panel.spells(flow="either"), ["firm", "market", "begin"])


@pytest.fixture(scope="module")
def export_spells(panel):
    return panel.collect(panel.spells(flow="export"), ["firm", "market", "begin"])


@pytest.fixture(scope="module")
def status(panel):
    return panel.collect(panel.status(level="firm", flow="export"), ["firm", "year"])


@pytest.mark.parametrize("case", TRADER)
def test_spells(spells, rows_of_case, case):
    assert rows_of_case(spells, ALL, f"spells, {case}", TRADER[case].get("columns", SPELLS)) == TRADER[case]["rows"]


@pytest.mark.parametrize("case", STATUS)
def test_status(status, rows_of_case, case):
    seen = status[status["window_seen"]]
    assert rows_of_case(seen, ALL, f"status, {case}", "year status pattern") == STATUS[case]["rows"]


def test_the_window_of_2006_starts_before_the_data(status, rows_of_case):
    found = rows_of_case(status, ALL, "status, a gap of two years", "year window_seen status")
    assert found[:2] == [(2006, False, None), (2007, True, "incidental")]


def test_flows_apart(export_spells, rows_of_case):
    case = "spells, import-only years count for the trader"
    assert rows_of_case(export_spells, ALL, case, SPELLS) == [("FR", 2006, 2007, "exit")]
    case = "spells, a correction of exports does not touch imports"
    assert rows_of_case(export_spells, ALL, case, SPELLS) == [("FR", 2007, 2007, "exit")]


def test_status_by_market(panel, rows_of_case):
    table = panel.collect(panel.status(level="market", flow="export"), ["firm", "market", "year"])
    case = "status, structural over markets in which it is incidental"
    assert rows_of_case(table, ALL, case, "market year status") == [
        ("DE", 2008, "incidental"),
        ("FR", 2007, "incidental"),
        ("FR", 2009, "incidental"),
    ]


def test_life_of_a_renumbered_firm(panel, rows_of_case):
    life = panel.collect(panel.life, ["firm"])
    found = rows_of_case(life, ALL, "spells, a renumbered firm keeps one history", "firm founded ended")
    assert ("new", 1999, None) in found


def test_amounts_are_cents_after_corrections(panel_of, rows):
    panel = panel_of("jan BE 2006: x 500-200 -50 x 0.01\njan FR import 2007: 12.34")
    assert rows(panel.pair_years, "market year exports_cents imports_cents", "jan") == [
        ("BE", 2006, 100_000, 0),
        ("BE", 2007, 30_000, 0),
        ("BE", 2009, 100_000, 0),
        ("BE", 2010, 1, 0),
        ("FR", 2007, 0, 1_234),
    ]


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
    assert rows(panel.spells(flow="either"), "firm begin end") == [("new", 2010, 2011), ("old", 2006, 2008)]


def test_active_means_above_the_minimum_value(panel_of, rows):
    panel = panel_of("pia FR 2007: 5000 5001 4999 6000", definitions=CBS_2024.replace(min_value_eur=5000.0))
    assert rows(panel.spells(flow="export"), "begin end active_years", "pia") == [(2008, 2010, 2)]


def test_one_year_without_trade_can_be_made_to_end_a_spell(panel_of, rows):
    panel = panel_of("rik FR 2006: x x . x x", definitions=CBS_2024.replace(gap_years=1, origin_zeros=1))
    found = rows(panel.spells(flow="either"), "begin end end_reason", "rik")
    assert found == [(2006, 2007, "exit"), (2009, 2010, "exit")]


def test_goods_alone(panel_of, rows):
    history = "mia FR 2007: x . x\nmia FR services 2008: x x"
    panel = panel_of(history, definitions=CBS_2024.replace(kinds=("goods",)))
    assert rows(panel.spells(flow="export"), "begin end active_years", "mia") == [(2007, 2009, 2)]
    assert rows(panel.pair_years, "year exports_cents", "mia") == [(2007, 100_000), (2009, 100_000)]
