"""Properties of drawn worlds; all figures here are simulated."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from missie_impact.errors import SettingsError
from missie_impact.simulation import SimulationSettings, draw_world
from missie_impact.simulation.markets import load_calendar, load_markets
from missie_impact.simulation.population import draw_candidates, draw_firms
from missie_impact.simulation.potential import Sampling, Trials
from missie_impact.simulation.state import Setting
from missie_impact.simulation.worlds import run

SMALL = SimulationSettings(seed=3, firms=20_000)


@pytest.fixture(scope="module")
def world():
    return draw_world(SMALL, progress=False)


@pytest.fixture(scope="module")
def untreated():
    return draw_world(dataclasses.replace(SMALL, truth="none"), progress=False)


def pair_years(world, rows=slice(None)):
    return (world.trade_firm[rows].astype(np.int64) * 1000 + world.trade_market[rows]) * 10_000 + world.trade_year[rows]


def test_rows_are_unique_sorted_positive_and_of_living_firms(world):
    keys = world.trade_year.astype(np.int64) * 10**9 + world.trade_firm.astype(np.int64) * 1000 + world.trade_market
    assert (np.diff(keys) > 0).all()
    assert (world.value_eur > 0).all() and np.isfinite(world.value_eur).all()
    firms = world.firms
    assert (firms.born[world.trade_firm] <= world.trade_year).all()
    assert (firms.dead[world.trade_firm] > world.trade_year).all()
    assert set(np.unique(world.trade_year)) == set(range(2004, 2025))


def test_the_same_settings_give_the_same_world(world):
    again = draw_world(SMALL, progress=False)
    np.testing.assert_array_equal(world.value_eur, again.value_eur)
    np.testing.assert_array_equal(world.goes_firm, again.goes_firm)
    pd.testing.assert_frame_equal(world.potential, again.potential)


def test_a_firm_that_is_added_leaves_all_other_draws_alone(untreated):
    more = draw_world(dataclasses.replace(SMALL, truth="none", firms=SMALL.firms + 1000), progress=False)
    rows = more.trade_firm < SMALL.firms
    np.testing.assert_array_equal(pair_years(more, rows), pair_years(untreated))
    np.testing.assert_array_equal(more.value_eur[rows], untreated.value_eur)
    np.testing.assert_array_equal(more.log_workers[:, : SMALL.firms], untreated.log_workers)


def test_traits_do_not_depend_on_the_order_of_firms():
    order = np.random.default_rng(1).permutation(300)
    straight, shuffled = draw_firms(SMALL, np.arange(300)), draw_firms(SMALL, order)
    np.testing.assert_array_equal(shuffled.export_level, straight.export_level[order])
    markets = load_markets()
    one, other = draw_candidates(SMALL, straight, markets), draw_candidates(SMALL, shuffled, markets)
    place = {int(f): i for i, f in enumerate(order)}
    for firm in (0, 17, 299):
        mine = one.market[one.start[firm] : one.start[firm + 1]]
        theirs = other.market[other.start[place[firm]] : other.start[place[firm] + 1]]
        np.testing.assert_array_equal(mine, theirs)


def test_missions_touch_only_trade_of_participants_after_their_first_mission(world, untreated):
    changed = np.setxor1d(pair_years(world), pair_years(untreated))
    firm, year = changed // 10**7, changed % 10_000
    assert len(changed) > 20
    first = pd.Series(world.calendar.year[world.goes_mission]).groupby(world.goes_firm).min()
    assert np.isin(firm, first.index).all()
    assert (year > first.reindex(firm).to_numpy()).all()


def world_of(settings, calendar):
    """Trade rows and participations of a world with this calendar."""
    setting, rows, goes = Setting(settings, load_markets(), calendar), [], []

    def after(step, record):
        rows.append((record.trade_firm.astype(np.int64) * 1000 + record.trade_market) * 10_000 + step.year)
        names = np.array(calendar.mission)[record.goes_mission] if len(record.goes_mission) else []
        goes.extend(zip(record.goes_firm.tolist(), names, strict=True))

    run(setting, draw_firms(settings, np.arange(settings.firms)), after=after, progress=False)
    return set(np.concatenate(rows).tolist()), set(goes)


def test_a_mission_that_is_added_leaves_those_of_its_year_alone():
    calendar = load_calendar()
    settings = dataclasses.replace(SMALL, truth="none")
    every = calendar.only((2010,))
    fewer = dataclasses.replace(
        every,
        mission=every.mission[1:],
        date=every.date[1:],
        year=every.year[1:],
        month=every.month[1:],
        market=every.market[1:],
        expected_size=every.expected_size[1:],
    )
    trade_all, goes_all = world_of(settings, every)
    trade_fewer, goes_fewer = world_of(settings, fewer)
    assert trade_all == trade_fewer
    assert {g for g in goes_all if g[1] != every.mission[0]} == goes_fewer
    assert len(goes_all) > len(goes_fewer)


def test_the_mission_never_ends_trade_that_would_have_gone_on():
    """Y(1) >= Y(0) pair by pair: next year's trade and entry; later missions and re-entry come after that."""
    settings = dataclasses.replace(SMALL, firms=60_000, last_year=2017)
    setting = Setting(settings, load_markets(), load_calendar().only((2009, 2010, 2011)))
    trials = Trials(setting, Sampling(realised=False, firm_factor=3000.0, pair_factor=60.0))
    firms = draw_firms(setting.settings, np.arange(60_000))
    run(setting, firms, before=lambda s: trials.step(s.state, s.intentions, s.year), progress=False)
    gained = 0
    for trial in trials.done:
        np.testing.assert_array_equal(trial.active[0][0], trial.active[0][1])  # nothing differs in t itself
        next_year = trial.active[1]
        assert (next_year[1] >= next_year[0]).all()
        gained += int((next_year[1] & ~next_year[0]).sum())
        if not trial.of_firms:
            entered = trial.entered()[:, trial.units.outside]
            assert (entered[1] >= entered[0]).all()
    assert gained > 50


def test_arm_one_of_a_realised_trial_is_the_register_itself(world):
    """The arms use no formula of their own: with the mission they give the rows of the register."""
    active = {year: set() for year in range(2004, 2025)}
    for f, year in {(int(f), int(y)) for f, y in zip(world.trade_firm, world.trade_year, strict=True)}:
        active[year].add(f)
    structural = world.potential[world.potential["outcome"] == "structural"]
    assert len(structural) > 10
    for row in structural.itertuples():
        years = sum(row.firm in active[row.year + k] for k in range(1, 5))
        assert row.y1 == (years >= 3)
    pairs = set(pair_years(world).tolist())
    entered = world.potential[world.potential["outcome"] == "entered"]
    place = {code: i for i, code in enumerate(world.markets.codes)}
    for row in entered.itertuples():
        code = (row.firm * 1000 + place[row.market]) * 10_000 + row.year
        assert row.y1 == (code + 1 in pairs or code + 2 in pairs)
        assert code - 1 not in pairs and code - 2 not in pairs


def test_without_effects_both_arms_are_the_same(untreated):
    firm_level = untreated.potential["y0"] == untreated.potential["y1"]
    assert firm_level.all()


def test_exits_by_hand(world):
    """One pair, written out: active in t..t+2, off in t+3, back in t+4, gone from t+5."""
    from missie_impact.simulation.potential import Trial, Units

    no, past = np.zeros(1, bool), np.array([15], dtype=np.uint8)
    units = Units(
        np.zeros(1, int), np.zeros(1, int), np.ones(1), no, np.zeros(1, int), np.array([2100]), ~no, no, no, past
    )
    path = [1, 1, 1, 0, 1, 0, 0]
    trial = Trial(2010, units, (), [np.array([[bool(a)], [bool(a)]]) for a in path])
    at, gone = trial.exits(2024)
    assert at[0, :, 0].tolist() == [True, True, True, False, True]
    assert gone[0, :, 0].tolist() == [False, False, False, False, True]
    dies = dataclasses.replace(units, dead=np.array([2016]))  # in the register in t+5, not in t+6: a death, no exit
    at, gone = Trial(2010, dies, (), trial.active).exits(2024)
    assert at[0, 4, 0] and not gone.any()
    at, _ = trial.exits(2015)  # rows run to e = 2014
    assert at[0, :, 0].tolist() == [True, True, True, False, False]


def test_only_firms_still_trading_attend_under_that_regime():
    still = draw_world(dataclasses.replace(SMALL, firms=40_000, attendance="still_trading"), progress=False)
    pairs = set(pair_years(still).tolist())
    calendar = still.calendar
    for f, m in zip(still.goes_firm, still.goes_mission, strict=True):
        year = int(calendar.year[m])
        code = (int(f) * 1000 + int(calendar.market[m])) * 10_000 + year
        if year > 2004 and code - 1 in pairs:
            assert code in pairs


@pytest.mark.parametrize("selection", ["fixed_level", "unobserved"])
def test_other_regimes_draw_as_many_participants(selection):
    other = draw_world(dataclasses.replace(SMALL, firms=40_000, selection=selection), progress=False)
    year = other.calendar.year[other.goes_mission]
    assert 600 < (year >= 2008).sum() < 900  # about 9,150 nationally


def test_hidden_commitment_drives_participation_only_where_asked():
    seen = draw_world(dataclasses.replace(SMALL, firms=60_000), progress=False)
    hidden = draw_world(dataclasses.replace(SMALL, firms=60_000, selection="unobserved"), progress=False)
    assert hidden.firms.hidden[hidden.goes_firm].mean() > seen.firms.hidden[seen.goes_firm].mean() + 0.1


def test_spillover_reaches_other_markets():
    plain = dataclasses.replace(SMALL, firms=40_000)
    with_, without = (draw_world(dataclasses.replace(plain, spillover=s), progress=False) for s in (0.5, 0.0))
    gained = np.setdiff1d(pair_years(with_), pair_years(without))
    visited = set(zip(with_.goes_firm.tolist(), with_.calendar.market[with_.goes_mission].tolist(), strict=True))
    elsewhere = [c for c in (gained // 10_000).tolist() if (c // 1000, c % 1000) not in visited]
    assert len(elsewhere) > 20


def test_participation_table_names_missions(world):
    table = world.participations()
    assert list(table.columns) == ["firm", "market", "year", "month", "date", "mission", "mission_index"]
    assert (pd.to_datetime(table["date"]).dt.year == table["year"]).all()
    assert (world.firms.born[table["firm"]] < table["year"]).all()


@pytest.mark.parametrize(
    "bad", [{"truth": "all"}, {"selection": "x"}, {"attendance": "x"}, {"seed": -1}, {"firms": 0}, {"spillover": 2.0}]
)
def test_wrong_settings_are_refused(bad):
    with pytest.raises(SettingsError):
        SimulationSettings(**bad)


def test_truth_key_ignores_seed_and_scale_but_nothing_else():
    key = SimulationSettings(seed=1).truth_key()
    assert SimulationSettings(seed=2, firms=10).truth_key() == key
    assert SimulationSettings(spillover=0.1).truth_key() != key
    assert SimulationSettings(truth="none").truth_key() != key
    p = SimulationSettings()
    assert dataclasses.replace(p, mission=dataclasses.replace(p.mission, before=2.0)).truth_key() != key
