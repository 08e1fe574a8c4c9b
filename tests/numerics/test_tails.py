"""Totals with heavy tails: values by hand, and bootstraps against what they must be."""

import numpy as np
import pytest

from missie_impact.errors import SettingsError
from missie_impact.numerics import tails

TEN = np.array([46.0, 6, 6, 6, 6, 6, 6, 6, 6, 6])  # sum 100


def test_shares_of_the_largest_by_hand():
    assert tails.top_shares(TEN) == pytest.approx((0.46, 0.70, 1.0))


def test_shares_of_a_sum_with_signs_are_of_absolute_amounts():
    signed = TEN * np.array([-1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    assert tails.top_shares(signed)[0] == pytest.approx(0.46)


def test_fewer_than_ten_contributors_are_not_shown():
    assert np.isnan(tails.top_shares(np.append(TEN[:9], 0.0))).all()
    assert np.isnan(tails.leave_one_out(TEN[:9])).all()


def test_leaving_one_out_by_hand():
    # without 46: 54 of 100; without a 6: 94 of 100
    assert tails.leave_one_out(TEN) == pytest.approx((0.54, 0.94))
    # total 100 - 2 * 20 = 60 with one of -20: without it 80 of 60, without 46 14 of 60
    mixed = np.array([46.0, -20, 6, 6, 6, 6, 4, 2, 2, 2])
    assert tails.leave_one_out(mixed) == pytest.approx((14 / 60, 80 / 60))


def test_trimming_and_winsorising_by_hand():
    assert tails.trimmed_total(TEN) == 54.0  # at least one is left out
    assert tails.trimmed_total(TEN, 0.2) == 48.0
    assert tails.trimmed_total(TEN, 0.0) == 100.0
    assert tails.winsorised([-9.0, 3.0, 12.0], 10.0).tolist() == [-9.0, 3.0, 10.0]
    with pytest.raises(SettingsError, match="above zero"):
        tails.winsorised(TEN, 0.0)


def test_hill_recovers_a_pareto_tail():
    n = 20_000
    exact = (np.arange(1, n + 1) - 0.5) / n
    assert tails.hill(exact ** (-1 / 1.5)) == pytest.approx(1.5, rel=0.02)


def test_resampling_two_units_has_its_exact_distribution():
    # totals of two units drawn twice from {0, 2}: 0, 2, 4 with 1/4, 1/2, 1/4
    drawn = tails.resample([0.0, 2.0], draws=20_000, seed=3)
    found = [np.mean(drawn.totals[:, 0] == value) for value in (0, 2, 4)]
    assert found == pytest.approx([0.25, 0.5, 0.25], abs=0.015)
    assert drawn.error[0] == pytest.approx(np.sqrt(2) * 1.0)


def test_smaller_draws_keep_the_total_and_spread_more():
    values = np.random.default_rng(1).normal(1, 1, 1000)
    whole, part = tails.resample(values, seed=2), tails.resample(values, seed=2, size=tails.smaller_size(1000))
    assert part.size == 251  # 1000 ** 0.8
    assert part.totals.mean() == pytest.approx(values.sum(), rel=0.02)
    assert part.totals.std() / whole.totals.std() == pytest.approx(np.sqrt(1000 / 251), rel=0.1)


@pytest.mark.parametrize("method", ["percentile", "m_out_of_n", "studentised"])
def test_with_light_tails_every_bootstrap_is_the_normal_interval(method):
    values = np.random.default_rng(4).normal(1, 1, 2000)
    drawn = tails.resample(values, draws=4000, size=tails.smaller_size(2000) if method == "m_out_of_n" else None)
    low, high = tails.bootstrap_interval(drawn, method)
    half = 1.96 * drawn.error[0]
    assert (low[0], high[0]) == pytest.approx((values.sum() - half, values.sum() + half), abs=0.12 * half)


def test_the_studentised_interval_reaches_further_into_the_tail():
    values = np.random.default_rng(5).lognormal(0, 2, 500)
    drawn = tails.resample(values)
    (p_low, p_high), (s_low, s_high) = (tails.bootstrap_interval(drawn, m) for m in ("percentile", "studentised"))
    assert s_high[0] > p_high[0]
    assert s_low[0] > p_low[0]


def test_columns_share_the_draws_and_the_seed_decides():
    values = np.random.default_rng(6).normal(size=(50, 1))
    both = tails.resample(np.hstack([values, 2 * values]), seed=9)
    assert np.allclose(both.totals[:, 1], 2 * both.totals[:, 0])
    assert np.allclose(tails.resample(values, seed=9).totals[:, 0], both.totals[:, 0])
    assert not np.allclose(tails.resample(values, seed=8).totals[:, 0], both.totals[:, 0])


def test_bad_settings_are_refused():
    with pytest.raises(SettingsError, match="at least 2"):
        tails.resample([1.0])
    with pytest.raises(SettingsError, match="percentile"):
        tails.bootstrap_interval(tails.resample([1.0, 2.0]), "bca")
