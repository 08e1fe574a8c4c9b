"""Pictures of panels, multiverses and indicators, and the counts behind them."""

from __future__ import annotations

import pandas as pd
import pytest

import missie_impact as mi
from missie_impact.panel.describe import SpellLengths, StatusTransitions, spell_lengths, status_transitions
from missie_impact.report import plot
from missie_impact.validity.multiverse import Multiverse


@pytest.fixture(scope="module")
def panel() -> mi.Panel:
    """Three firms in one market, 2010-2019, each year's exports written out; c ceases in 2016."""
    active = {"a": range(2010, 2020), "b": [2013, 2016], "c": [2012, 2013, 2014, 2015]}
    rows = [(firm, "DE", year, "export", "goods", 100.0) for firm, years in active.items() for year in years]
    trade = pd.DataFrame(rows, columns=["firm", "market", "year", "flow", "kind", "value_eur"])
    lives = {"a": None, "b": None, "c": 2016}
    firms = pd.DataFrame(
        [(f, y, 2005, end) for f, end in lives.items() for y in range(2010, 2020) if end is None or y < end],
        columns=["firm", "year", "founded", "ended"],
    ).astype({"ended": "Int64"})
    registers = mi.Registers.from_frames(trade=trade, firms=firms)
    return mi.build_panel(registers)


def test_transitions_counted_by_hand(panel: mi.Panel) -> None:
    # Whole windows are seen from 2013. a: structural 2013-2018, six moves to structural. b: incidental in 2013 and
    # 2016, without exports a year later. c: active 2012-2015, incidental in 2013 (two years), structural in 2014 and
    # 2015; it ceases in 2016.
    found = status_transitions(panel).table.set_index(["from_status", "to_status"])["n"].to_dict()
    assert found == {
        ("incidental", "structural"): 1,
        ("incidental", "no exports"): 2,
        ("structural", "structural"): 7,
        ("structural", "firm ceased"): 1,
    }


def test_shares_add_to_one(panel: mi.Panel) -> None:
    table = status_transitions(panel, "market").table
    assert table.groupby("from_status")["share"].sum().tolist() == pytest.approx([1.0, 1.0])


def test_spells_counted_by_hand(panel: mi.Panel) -> None:
    # a began before the data. b: one year from 2013, one from 2016, both ended by two years without trade. c: four
    # years from 2012, ended by its death.
    lengths = spell_lengths(panel)
    assert lengths.n_unseen == 1
    assert lengths.table.to_numpy().tolist() == [
        [2012, 4, "death", 1], [2013, 1, "exit", 1], [2016, 1, "exit", 1],
    ]  # fmt: skip


READINGS = pd.DataFrame(
    {
        "window": [3, 4, 4], "controls": ["default", "default", "none"], "estimate": [1.4, 1.6, 7.2],
        "conf_low": [1.2, 1.4, 6.5], "conf_high": [1.6, 1.8, 8.0], "headline": [False, True, False], "reason": "",
    }
)  # fmt: skip


@pytest.mark.parametrize("language", ["en", "nl"])
def test_figures_hold_their_tables_and_cut_nothing_off(panel: mi.Panel, language: str) -> None:
    curve = Multiverse("transition", "odds_ratio", ("window", "controls"), READINGS, (), simulated=True)
    for result in (status_transitions(panel), spell_lengths(panel), curve):
        ax = plot(result, language=language)  # type: ignore[arg-type]
        ax.figure.draw_without_rendering()
        box, whole = ax.get_tightbbox(), ax.figure.bbox
        assert box is not None and box.x0 >= -1 and box.x1 <= whole.x1 + 1 and box.y0 >= -1 and box.y1 <= whole.y1 + 1
        pd.testing.assert_frame_equal(ax.data, result.table)


def test_the_headline_stands_out_of_the_specification_curve() -> None:
    ax = plot(Multiverse("transition", "odds_ratio", ("window", "controls"), READINGS, ()))
    (diamond,) = [line for line in ax.lines if line.get_marker() == "D"]
    assert diamond.get_xydata().tolist() == [[1.0, 1.6]]


def test_types_show_themselves(panel: mi.Panel) -> None:
    for kind, made in ((StatusTransitions, status_transitions(panel)), (SpellLengths, spell_lengths(panel))):
        assert isinstance(made, kind)
        assert "<table" in made._repr_html_()
