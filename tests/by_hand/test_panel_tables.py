"""Tables of a panel: uniform trade needs no summing and counts the same; totals of firms are made once, if asked."""

import itertools
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
