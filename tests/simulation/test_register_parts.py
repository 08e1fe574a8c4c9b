"""Parts of the register files by hand: identities, links, corrections, the published indicator."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from missie_impact.errors import SettingsError
from missie_impact.simulation.accounts import FirmBase
from missie_impact.simulation.companions import (
    GOODS_EXPORT,
    GOODS_IMPORT,
    SERVICES_EXPORT,
    TradeYear,
    eu_members,
    trade_rows,
    trade_year,
)
from missie_impact.simulation.identities import (
    LOST,
    MERGER,
    NO_EVENT,
    OPEN,
    RENUMBERED,
    TAKEOVER,
    Identities,
    IdentityRates,
    draw_identities,
)
from missie_impact.simulation.indicator_target import (
    CohortTarget,
    Supported,
    cohort_target,
    mean_increase,
    meet_indicator,
)
from missie_impact.simulation.keys import firm_keys, pair_keys
from missie_impact.simulation.links import ChamberNumbers, chamber_number, link_table

CODES = ("BE", "US", "CN")


def identities_of(events: list[tuple[int, int, str]], second: dict[int, int] | None = None) -> Identities:
    """Identities from (event, year, date) per firm; ``second`` gives years of a second renumbering."""
    second_year = np.zeros(len(events), dtype=np.int64)
    for firm, year in (second or {}).items():
        second_year[firm] = year
    return Identities(
        event=np.array([e for e, _, _ in events], dtype=np.int8),
        year=np.array([y for _, y, _ in events], dtype=np.int64),
        date=np.array([d for _, _, d in events], dtype="datetime64[D]"),
        second_year=second_year,
        second_date=np.array([f"{max(y, 2004)}-07-01" for y in second_year], dtype="datetime64[D]"),
    )


def base_of(n: int) -> FirmBase:
    return FirmBase(
        keys=firm_keys(1, np.arange(n)),
        born=np.full(n, 2000),
        dead=np.full(n, OPEN),
        workers=np.full((21, n), np.log(40.0), dtype=np.float32),
        productivity=np.zeros(n),
        independent=np.ones(n, dtype=bool),
        first_year=2004,
        last_year=2024,
    )


def test_changes_by_hand() -> None:
    firms = identities_of(
        [
            (NO_EVENT, 0, "2004-01-01"),
            (RENUMBERED, 2010, "2010-03-05"),
            (TAKEOVER, 2011, "2011-01-02"),
            (MERGER, 2012, "2012-12-31"),
            (LOST, 2013, "2013-06-06"),
            (RENUMBERED, 2006, "2006-02-02"),
        ],
        second={5: 2009},
    )
    got = firms.changes(np.arange(6))
    rows = [
        (10000050, 10000051, "2006-02-02", "renumbered"),
        (10000051, 10000052, "2009-07-01", "renumbered"),
        (10000010, 10000011, "2010-03-05", "renumbered"),
        (10000025, 10000020, "2011-01-02", "takeover"),
        (10000030, 10000031, "2012-12-31", "merger"),
        (10000035, 10000031, "2012-12-31", "merger"),
        (10000040, None, "2013-06-06", "restructuring"),
    ]
    assert [(a, None if pd.isna(b) else b, str(c)[:10], d) for a, b, c, d in got.itertuples(index=False)] == rows
    everyone = np.arange(6)
    assert firms.number(everyone, 2009).tolist() == [10000000, 10000010, 10000020, 10000030, 10000040, 10000052]
    assert firms.last_number(everyone).tolist() == [10000000, 10000011, 10000020, 10000031, 10000040, 10000052]
    assert firms.split(everyone, 2011).tolist() == [False, False, False, True, False, False]
    assert firms.delivered(everyone, 2013).tolist() == [True, True, True, True, False, True]
    born, dead = np.full(6, 1999), np.full(6, 2020)
    assert firms.number_founded(everyone, 2012, born).tolist() == [1999, 2010, 1999, 2012, 1999, 2009]
    assert firms.number_ended(everyone, 2005, dead).tolist() == [2020, 2010, 2020, 2012, 2013, 2006]
    assert firms.number_ended(everyone, 2008, dead).tolist()[5] == 2009
    assert firms.number_ended(everyone, 2014, dead).tolist()[:4] == [2020, 2020, 2020, 2020]


def test_links_by_hand() -> None:
    firms = identities_of(
        [(RENUMBERED, 2010, "2010-03-05"), (TAKEOVER, 2011, "2011-01-02"), (LOST, 2013, "2013-06-06")]
    )
    numbers = ChamberNumbers(linked=np.array([True, True, True]), two=np.array([False, True, False]))
    born, dead = np.array([1999, 2001, 2002]), np.array([2020, OPEN, OPEN])
    table = link_table(np.arange(3), numbers, firms, born, dead).sort_values(["firm", "valid_from"])
    shown = [(f, str(a)[:10], str(b)[:10]) for _, f, a, b in table.itertuples(index=False)]
    assert shown == [
        (10000000, "1999-01-01", "2010-03-04"),
        (10000001, "2010-03-05", "2019-12-31"),
        (10000010, "2001-01-01", "NaT"),
        (10000010, "2011-01-02", "NaT"),
        (10000015, "2001-01-01", "2011-01-01"),
        (10000020, "2002-01-01", "2013-06-05"),
    ]
    assert table["kvk"].nunique() == 4
    assert table["kvk"].str.fullmatch("[0-9]{8}").all()


def test_chamber_numbers_never_coincide() -> None:
    sources = np.concatenate([np.arange(200_000), 80_000_000 + np.arange(300)])
    assert len(set(chamber_number(sources))) == len(sources)


def test_identities_do_not_depend_on_who_else_is_drawn() -> None:
    rates = IdentityRates(renumbered=0.01, takeover=0.01, merger=0.01, lost=0.01)
    small, large = base_of(300), base_of(500)
    a = draw_identities(small.keys, small.born, small.dead, small.workers, 2004, rates)
    b = draw_identities(large.keys, large.born, large.dead, large.workers, 2004, rates)
    for name in ("event", "year", "date", "second_year"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name)[:300])
    assert {RENUMBERED, TAKEOVER, MERGER, LOST} <= set(a.event)


def test_companions_do_not_depend_on_other_pairs_or_their_order_of_markets() -> None:
    base = base_of(400)
    firm, market = np.repeat(np.arange(400), 2), np.tile([0, 2], 400)
    ids = np.array([30, 538, 65])
    goods = np.full(800, 1e6)
    every = trade_year(base, 1, ids, 2010, (firm, market, goods), True)
    some = trade_year(base, 1, ids, 2010, (firm[1::2], market[1::2], goods[1::2]), True)
    np.testing.assert_array_equal(every.value_eur[:, 1::2], some.value_eur)
    moved = trade_year(base, 1, ids[::-1], 2010, (firm[1::2], np.zeros(400, dtype=int), goods[1::2]), True)
    np.testing.assert_array_equal(some.value_eur, moved.value_eur)
    assert 0.2 < (every.value_eur[GOODS_IMPORT] > 0).mean() < 0.8
    assert not trade_year(base, 1, ids, 2010, (firm, market, goods), False).value_eur[1:].any()


def test_corrections_sum_to_the_values_of_the_worlds_and_small_eu_flows_are_estimated() -> None:
    n = 5000
    firm, market = np.arange(n), np.where(np.arange(n) % 2, 0, 1)
    value = np.zeros((4, n), dtype=np.int64)
    value[GOODS_EXPORT] = np.where(firm % 4 < 2, 400_000, 2_000_000)
    keys = pair_keys(1, firm, market)
    trade = TradeYear(2010, firm, market, keys, value)
    none = identities_of([(NO_EVENT, 0, "2004-01-01")] * n)
    rows = trade_rows(trade, none, CODES)
    assert 1 <= (rows["value_eur"] < 0).sum() <= 30
    assert (rows.groupby("firm")["value_eur"].sum().to_numpy() == value[GOODS_EXPORT]).all()
    estimated = rows.groupby("firm")["estimated"].all().to_numpy()
    np.testing.assert_array_equal(estimated, (market == 0) & (firm % 4 < 2))
    assert eu_members(("GB", "HR", "US"), 2012).tolist() == [True, False, False]
    assert eu_members(("GB", "HR", "US"), 2021).tolist() == [False, True, False]


def history(values: dict[tuple[int, int], list[int]]) -> dict[int, TradeYear]:
    """Trade of 2020-2024 from goods exports by (firm, market)."""
    trades = {}
    for k, year in enumerate(range(2020, 2025)):
        pairs = sorted(p for p, v in values.items() if v[k] > 0)
        firm, market = (np.array([p[i] for p in pairs], dtype=np.int64) for i in (0, 1))
        value = np.zeros((4, len(pairs)), dtype=np.int64)
        value[GOODS_EXPORT] = [values[p][k] for p in pairs]
        value[SERVICES_EXPORT] = np.where(firm == 2, 1000, 0)
        trades[year] = TradeYear(year, firm, market, pair_keys(1, firm, market), value)
    return trades


VALUES = {
    (0, 0): [10_000, 9_000, 9_500, 10_300, 1],  # SME, mean increase -400: nearest to zero
    (1, 0): [10_000, 2_000, 2_000, 2_000, 1],  # SME, -8,000
    (2, 0): [50_000, 90_000, 90_000, 0, 1],  # SME, grows; with services
    (3, 0): [0, 0, 6_000, 0, 1],  # SME, new to the market
    (4, 1): [1_000_000, 3_000_000, 1_000_000, 5_000_000, 1],  # large, grows
    (5, 0): [10_000, 9_999, 9_999, 9_999, 1],  # SME, in both cohorts: never moved
    (6, 0): [0, 1_000, 5_000, 5_000, 5_000],  # SME of the second cohort
    (4, 2): [0, 100, 1_000_000, 1_000_000, 1_000_000],  # large, second cohort
}


def supported(year: int, pairs: list[tuple[int, int]]) -> Supported:
    firm, market = (np.array([p[i] for p in pairs], dtype=np.int64) for i in (0, 1))
    return Supported(year, firm, market, firm == 4)


def test_indicator_by_hand() -> None:
    trades = history(VALUES)
    none = identities_of([(NO_EVENT, 0, "2004-01-01")] * 7)
    first = supported(2020, [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 0)])
    second = supported(2021, [(5, 0), (6, 0), (4, 2)])
    np.testing.assert_allclose(mean_increase(trades, first, none)[[0, 3, 5]], [-400, 2_000, -1])
    active = {year: (t.value_eur > 0).copy() for year, t in trades.items()}
    targets = {
        2020: CohortTarget(firms=5, growers=3, sme_eur=6_000.0, large_eur=4_000_000.0),
        2021: CohortTarget(firms=2, growers=1, sme_eur=8_000.0, large_eur=1_500_000.0),
    }
    edits = meet_indicator(trades, (first, second), targets, none)
    assert [(e.sme, e.growers_before, e.growers, e.pairs_moved) for e in edits] == [(5, 2, 3, 1), (2, 1, 1, 0)]
    assert edits[0].largest_move_eur == pytest.approx(400)
    assert edits[1].sme_factor == pytest.approx(2)
    increase = mean_increase(trades, first, none)
    assert (increase > 0).tolist() == [True, False, True, True, True, False]
    assert increase[[0, 2, 3]].sum() == pytest.approx(6_000, abs=5)
    assert increase[4] == pytest.approx(4_000_000, abs=5)
    assert increase[5] == pytest.approx(-1)
    assert mean_increase(trades, second, none).tolist() == pytest.approx([9_999 * 2 / 3 + 1 / 3 - 9_999, 8_000, 1.5e6])
    for year, trade in trades.items():
        np.testing.assert_array_equal(trade.value_eur > 0, active[year])
    with pytest.raises(SettingsError, match="expected 7 linked SME"):
        meet_indicator(trades, (first,), {2020: CohortTarget(7, 3, 1.0, 1.0)}, none)


def test_fewer_growers_by_hand() -> None:
    trades = history(VALUES)
    none = identities_of([(NO_EVENT, 0, "2004-01-01")] * 6)
    first = supported(2020, [(2, 0), (3, 0), (0, 0), (4, 1)])
    target = CohortTarget(firms=3, growers=2, sme_eur=5_000.0, large_eur=2_000_000.0)
    edits = meet_indicator(trades, (first,), {2020: target}, none)[0]
    assert (edits.growers_before, edits.growers, edits.pairs_moved) == (2, 2, 0)
    with pytest.raises(SettingsError, match="found 1"):
        # the firm that is new to the market has no exports in 2020 that its later ones could be scaled to
        meet_indicator(trades, (first,), {2020: CohortTarget(3, 0, 1.0, 1.0)}, none)


def test_published_targets() -> None:
    assert cohort_target(2020) == CohortTarget(9545, 2167, 932e6, 8.3e9)
    assert cohort_target(2021).firms == 10265
