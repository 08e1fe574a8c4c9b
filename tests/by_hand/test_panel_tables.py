"""Tables of a panel: uniform trade needs no summing and counts the same; totals of firms are made once, if asked."""

import itertools
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd
import pytest

from missie_impact.definitions import CBS_2024
from missie_impact.panel import build_panel
from missie_impact.registers import Registers

PLAIN = "ann FR 2006: 10 20 . 30\nann DE 2007: 5\nbob FR 2008: 7 7"
# the same trade, and a correction that takes one year away: its rows have to be summed
CORRECTED = PLAIN + "\ncas FR 2009: 4-4"


@pytest.mark.parametrize("flow", ["", " import"])
def test_trade_that_needs_no_summing_gives_the_same_tables(panel_of, rows, flow):
    plain, summed = (
        panel_of(text.replace(" FR", f" FR{flow}").replace(" DE", f" DE{flow}"), life="cas 2000-")
        for text in (PLAIN, CORRECTED)
    )
    key = "firm market year exports_cents imports_cents"
    assert rows(plain.pair_years, key) == rows(summed.pair_years, key) != []
    history = "firm market year spell begin spell_years last active_years pattern"
    assert rows(plain.history(), history) == rows(summed.history(), history)
    totals = "firm year exports_cents imports_cents export_markets goods"
    assert rows(plain.firm_trade, totals) == rows(summed.firm_trade, totals)
    steps = [[(s.rows, s.firms) for s in panel.flow.steps][-1] for panel in (plain, summed)]
    assert steps == [(6, 2), (6, 2)]


def test_history_is_that_of_the_years_themselves(panel_of, rows):
    panel = panel_of(PLAIN)
    assert rows(panel.history(), "market year spell begin spell_years last active_years", "ann") == [
        ("DE", 2007, 1, 2007, 1, 1, 1),
        ("FR", 2006, 1, 2006, 1, 0, 1),
        ("FR", 2007, 1, 2006, 2, 0, 2),
        ("FR", 2009, 1, 2006, 3, 1, 3),
    ]


def test_totals_of_firms_are_made_once_and_shared_by_copies(panel_of):
    panel = panel_of(PLAIN)
    before = len(panel.stored)
    copy = replace(panel, definitions=CBS_2024)
    assert panel.firm_trade is copy.firm_trade is panel.firm_trade
    assert len(panel.stored) == len(copy.stored) == before + 1


def test_letting_go_of_a_panel_keeps_the_registers(panel_of, rows):
    panel = panel_of(PLAIN)
    panel.engine.forget(*panel.stored)
    trade = panel.collect(panel.registers.trade, ["firm", "market", "year"])
    assert len(trade) == 6


def test_more_years_than_a_pattern_holds():
    years = [1950, 1951, 1955, *range(2000, 2005)]
    trade = pd.DataFrame([{"firm": "ann", "market": "FR", "year": y, "value_eur": 10.0} for y in years])
    trade = trade.assign(flow="export", kind="goods")
    with Registers.from_frames(trade=trade, first_year=1950, last_year=2004) as made:
        panel = build_panel(made)
        found = panel.collect(panel.history(), ["year"])
    starts = [y for y, b in zip(years, [True, *(b - a > 2 for a, b in itertools.pairwise(years))], strict=True) if b]
    assert sorted(set(found["begin"])) == starts == [1950, 1955, 2000]


def trade_of(*rows, **more):
    """Rows of firm, market, year, euro."""
    return pd.DataFrame(rows, columns=["firm", "market", "year", "value_eur"]).assign(**more)


@contextmanager
def panel_from(definitions=CBS_2024, **tables):
    with Registers.from_frames(first_year=2004, last_year=2016, **tables) as made:
        yield build_panel(made, definitions)


def active(panel, flow="export"):
    return panel.collect(panel.history("market", flow), ["firm", "market", "year"])["year"].tolist()


SIMPLE = trade_of(("ann", "FR", 2006, 10.0), ("bob", "DE", 2007, 20.0), ("ann", "FR", 2007, 30.0))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_rows_does_not_matter(order):
    with panel_from(trade=SIMPLE) as sorted_panel, panel_from(trade=SIMPLE.iloc[list(order)]) as panel:
        for name, key in (("firm_trade", ["firm", "year"]), ("pair_years", ["firm", "market", "year"])):
            found, expected = (p.collect(getattr(p, name), key) for p in (panel, sorted_panel))
            pd.testing.assert_frame_equal(found, expected)
        assert active(panel) == [2006, 2007, 2007]


def test_a_row_of_zero_is_no_trade():
    trade = pd.concat([SIMPLE, trade_of(("cas", "BE", 2008, 0.0))])
    with panel_from(trade=trade) as panel:
        assert [(s.rows, s.firms) for s in panel.flow.steps] == [(4, 3), (3, 2)]
        assert active(panel) == [2006, 2007, 2007]
        assert set(panel.collect(panel.firm_trade, ["firm", "year"])["firm"]) == {"ann", "bob"}


def test_values_at_the_minimum_are_looked_at():
    with panel_from(CBS_2024.replace(min_value_eur=10.0), trade=SIMPLE) as panel:
        assert active(panel) == [2007, 2007]
        totals = panel.collect(panel.firm_trade, ["firm", "year"])
        assert totals["export_markets"].tolist() == [0, 1, 1]
        assert totals["exports_cents"].tolist() == [1_000, 3_000, 2_000]


@pytest.mark.parametrize("exit_flow", ["export", "import", "either"])
@pytest.mark.parametrize("flow", ["export", "import"])
def test_trade_of_the_other_flow_is_not_active(flow, exit_flow):
    with panel_from(CBS_2024.replace(exit_flow=exit_flow), trade=SIMPLE.assign(flow=flow)) as panel:
        assert active(panel, exit_flow) == ([2006, 2007, 2007] if exit_flow in (flow, "either") else [])
        totals = panel.collect(panel.firm_trade, ["firm", "year"])
        assert totals["export_markets"].tolist() == [int(flow == "export")] * 3


@pytest.mark.parametrize("column, values", [("flow", ["export", "import"]), ("kind", ["goods", "services"])])
def test_one_row_of_another_flow_or_kind(column, values):
    trade = SIMPLE.assign(**{column: [values[0], values[0], values[1]]})
    with panel_from(trade=trade) as panel:
        totals = panel.collect(panel.firm_trade, ["firm", "year"])
        goods = totals["goods"].astype("Int64").tolist()
    other = column == "flow"
    assert totals["exports_cents"].tolist() == [1_000, 0 if other else 3_000, 2_000]
    assert totals["imports_cents"].tolist() == [0, 3_000 if other else 0, 0]
    assert goods == ([1, pd.NA, 1] if other else [1, 0, 1])


def test_a_kind_or_estimates_that_do_not_count():
    with panel_from(CBS_2024.replace(kinds=("goods",)), trade=SIMPLE.assign(kind="services")) as panel:
        assert active(panel) == []
    with panel_from(CBS_2024.replace(include_estimated=False), trade=SIMPLE.assign(estimated=True)) as panel:
        assert active(panel) == []


def test_firms_are_counted_after_their_identities_changed():
    changes = {"old_firm": ["ann"], "new_firm": ["bob"], "date": [pd.Timestamp("2007-01-01")], "event": ["merger"]}
    with panel_from(trade=SIMPLE, identity_changes=pd.DataFrame(changes)) as panel:
        assert [(s.rows, s.firms) for s in panel.flow.steps] == [(3, 2), (3, 1)]
        totals = panel.collect(panel.firm_trade, ["firm", "year"])
    assert totals["exports_cents"].tolist() == [1_000, 5_000]


def test_sums_beyond_what_doubles_hold_are_exact():
    odd = 2**53 + 1
    trade = pd.DataFrame({"firm": ["ann"] * 2, "market": ["FR", "DE"], "year": 2006, "value_cents": [odd, 2]})
    with panel_from(trade=trade) as panel:
        assert panel.collect(panel.firm_trade, ["firm", "year"])["exports_cents"].tolist() == [odd + 2]


def firms_of(**columns):
    years = {"firm": ["ann", "ann", "bob", "bob"], "year": [2007, 2006, 2006, 2007], "workers": [1.0, 2.0, 4.0, None]}
    return pd.DataFrame(years | columns)


def test_workers_of_a_group_are_added():
    groups = {"absent": {}, "some": {"group": [None, "g", "g", None]}, "all": {"group": ["g"] * 4}}
    found = {}
    for name, group in groups.items():
        with panel_from(trade=SIMPLE, firms=firms_of(**group)) as panel:
            table = panel.collect(panel.firm_years, ["firm", "year"])
            found[name] = [None if pd.isna(v) else v for v in table["group_workers"]]
    assert found == {"absent": [2, 1, 4, None], "some": [6, 1, 6, None], "all": [6, 1, 6, 1]}


def test_the_end_of_a_firm_is_that_of_its_last_row():
    firms = firms_of(
        ended=pd.array([None, 2007, 2009, 2008], dtype="Int64"), founded=pd.array([None, 1990, None, None])
    )
    with panel_from(trade=SIMPLE, firms=firms) as panel:
        life = panel.collect(panel.life, ["firm"]).astype(object)
    found = [[None if pd.isna(v) else v for v in row] for row in life.to_numpy()]
    assert found == [["ann", 1990, None, None], ["bob", None, 2008, None]]


def test_letting_go_of_a_panel_keeps_the_register_that_it_shares():
    with panel_from(trade=SIMPLE, firms=firms_of()) as panel:
        panel.engine.forget(*panel.stored)
        assert len(panel.collect(panel.registers.firms, ["firm", "year"])) == 4
        again = build_panel(panel.registers)
        assert len(again.collect(again.firm_years, ["firm", "year"])) == 4
