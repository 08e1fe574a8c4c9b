"""A ratio that cells have in common: by hand, against the fit with an effect for every unit, and left-out units."""

import numpy as np
import pytest

from missie_impact.errors import ConvergenceError, NoParticipantError
from missie_impact.numerics.common_ratio import common_ratio
from missie_impact.numerics.poisson import fit_poisson


def units(seed=2, n=60, cells=5):
    rng = np.random.default_rng(seed)
    treated, cell = rng.random(n) < 0.3, rng.integers(0, cells, n)
    level = np.exp(rng.normal(3, 1, n))
    early = rng.gamma(3, level)
    late = rng.gamma(3, level * np.exp(0.4 * treated + 0.3 * cell))
    return early, late, treated, cell


def test_one_cell_is_the_odds_ratio_of_its_table():
    early, late = np.array([10.0, 20.0, 10.0, 40.0]), np.array([30.0, 60.0, 15.0, 60.0])
    treated = np.array([True, True, False, False])
    found = common_ratio(early, late, treated, np.zeros(4, dtype=int))
    assert np.exp(found.log_ratio) == pytest.approx((90 / 30) / (75 / 50))
    # every pair of an arm rises alike: none of them moves the ratio
    assert found.influence == pytest.approx(np.zeros(4), abs=1e-12)


def test_it_is_poisson_with_an_effect_for_every_unit():
    early, late, treated, cell = units()
    found = common_ratio(early, late, treated, cell, leave_one_out=False)
    y, after = np.column_stack([early, late]).reshape(-1), np.tile([0, 1], len(early))
    x = (np.repeat(treated, 2) * after).astype(float).reshape(-1, 1)
    fit = fit_poisson(y, x, [np.repeat(np.arange(len(early)), 2), np.repeat(cell, 2) * 2 + after])
    assert found.log_ratio == pytest.approx(fit.coef[0], rel=1e-8)
    scores = np.bincount(np.repeat(np.arange(len(early)), 2)[fit.rows.kept], fit.within[:, 0] * fit.score)
    assert found.influence == pytest.approx(fit.bread[0, 0] * scores, rel=1e-6, abs=1e-9)


def test_left_out_units_are_those_of_fits_without_them():
    early, late, treated, cell = units(n=150)
    found = common_ratio(early, late, treated, cell)
    exact = []
    for gone in range(len(cell)):
        stay = np.arange(len(cell)) != gone
        exact.append(found.log_ratio - common_ratio(early[stay], late[stay], treated[stay], cell[stay]).log_ratio)
    # one Newton step for the ratio, where the fits take all they need
    assert found.influence == pytest.approx(np.array(exact), rel=0.02, abs=2e-4)
    plain = common_ratio(early, late, treated, cell, leave_one_out=False).influence
    assert (found.influence**2).sum() > 1.02 * (plain**2).sum()


def test_a_copy_counts_as_a_unit_of_its_own():
    early, late, treated, cell = units(n=40)
    twice = np.where(np.arange(40) < 10, 2.0, 1.0)
    one = common_ratio(early * twice, late * twice, treated, cell, twice)
    index = np.concatenate([np.arange(40), np.arange(10)])
    other = common_ratio(early[index], late[index], treated[index], cell[index])
    assert one.log_ratio == pytest.approx(other.log_ratio)
    assert one.influence == pytest.approx(np.bincount(index, other.influence))


def test_a_cell_that_one_unit_carries_goes_with_it():
    """Without its only treated unit the second cell says nothing, and the ratio is that of the first."""
    early, late = np.array([10.0, 12.0, 20.0, 5.0, 30.0]), np.array([30.0, 20.0, 25.0, 20.0, 40.0])
    treated, cell = np.array([True, False, False, True, False]), np.array([0, 0, 0, 1, 1])
    found = common_ratio(early, late, treated, cell)
    assert found.influence[3] != 0
    assert found.informative.all()
    alone = common_ratio(early[[0, 1, 2, 4]], late[[0, 1, 2, 4]], treated[[0, 1, 2, 4]], cell[[0, 1, 2, 4]])
    assert alone.informative.tolist() == [True, True, True, False]
    assert alone.log_ratio == pytest.approx(np.log((30 / 10) / (45 / 32)))


def test_no_answer_is_an_error():
    nothing = np.zeros(2, dtype=int)
    with pytest.raises(NoParticipantError):
        common_ratio(np.ones(2), np.ones(2), np.array([True, False]), np.array([0, 1]))
    with pytest.raises(ConvergenceError, match="before t"):
        common_ratio(np.ones(2), np.array([0.0, 1.0]), np.array([True, False]), nothing)
