"""The factor by which the treated of every cell rise more than the others, whatever each cell's own rise.

Poisson with an effect for every unit, and for every cell and period, in closed form per cell. Given its total a unit is
multinomial over the periods; how it divides among the early ones, and among the late ones, is common to both arms of a
cell and says nothing of the treatment. What is left is one two-by-two table per cell, arm by early and late, with an
odds ratio that all cells share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from missie_impact.errors import ConvergenceError, NoParticipantError
from missie_impact.numerics.cells import Codes, Floats

STEPS = 100
CLOSE = 1e-10  # of a Newton step, whose error is its square; sums of large amounts round at about this
LARGEST_STEP = 1.0
FARTHEST = 30.0  # of the logarithm: by then one arm has all its sums on one side


@dataclass(frozen=True, slots=True)
class Tables:
    """Two-by-two tables (m,): sums of the treated and of the others, early and late."""

    treated_early: Floats
    treated_late: Floats
    other_early: Floats
    other_late: Floats

    def without(self, cell: Codes, treated: NDArray[np.bool_], early: Floats, late: Floats) -> Tables:
        """For each of n units the table of its cell once the unit has left it."""

        def left(total: Floats, own: Floats, mine: NDArray[np.bool_]) -> Floats:
            rest = total[cell] - np.where(mine, own, 0.0)
            return np.where(rest > 1e-12 * total[cell], rest, 0.0)

        return Tables(
            left(self.treated_early, early, treated), left(self.treated_late, late, treated),
            left(self.other_early, early, ~treated), left(self.other_late, late, ~treated),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profile:
    """What tables say of a log ratio, their own odds fitted: score, information, expected late shares of the arms."""

    score: Floats
    information: Floats
    share_treated: Floats
    share_other: Floats
    weight_treated: Floats
    weight_other: Floats


@dataclass(frozen=True, slots=True)
class CommonRatio:
    """A ratio that cells have in common.

    Attributes
    ----------
    log_ratio : its logarithm
    influence : (n,) what each unit adds to it
    informative : (n,) whether the unit's cell says anything
    """

    log_ratio: float
    influence: Floats
    informative: NDArray[np.bool_]


def common_ratio(
    early: Floats,
    late: Floats,
    treated: NDArray[np.bool_],
    cell: Codes,
    copies: Floats | None = None,
    *,
    leave_one_out: bool = True,
) -> CommonRatio:
    """Fit the ratio, and say what each unit adds to it.

    Parameters
    ----------
    early, late : (n,) weighted sums of each unit
    treated, cell : (n,)
    copies : (n,) times that each unit counts, for frequency weights; its sums hold all of them
    leave_one_out : influences are what the estimate loses when a unit goes, its cell fitted anew (one Newton step for
        the ratio); otherwise scores times inverse information, which are too small where few units carry a cell

    Raises
    ------
    NoParticipantError
        If no cell holds both arms with sums early and late.
    ConvergenceError
        If the ratio runs away: one arm has all its sums on one side.

    References
    ----------
    Pregibon (1981), Annals of Statistics 9, 705-724 (one step); MacKinnon, Nielsen and Webb (2023), Journal of Applied
    Econometrics 38, 671-694.
    """

    def summed(arm: NDArray[np.bool_], values: Floats) -> Floats:
        return np.bincount(cell, np.where(arm, values, 0.0)).astype(np.float64, copy=False)

    tables = Tables(summed(treated, early), summed(treated, late), summed(~treated, early), summed(~treated, late))
    ratio = _solved(tables)
    found = _profile(tables, ratio)
    times = np.ones(len(cell)) if copies is None else np.where(copies > 0, copies, 1.0)
    if leave_one_out:
        rest = _profile(tables.without(cell, treated, early / times, late / times), ratio)
        information = found.information.sum() - found.information[cell] + rest.information
        gone = found.score[cell] - rest.score
        influence = times * np.divide(gone, information, out=np.zeros(len(cell)), where=information > 0)
    else:
        expected = np.where(treated, found.share_treated[cell], found.share_other[cell])
        weight = np.where(treated, found.weight_treated[cell], -found.weight_other[cell])
        influence = weight * (late - (early + late) * expected) / found.information.sum()
    return CommonRatio(ratio, influence, found.information[cell] > 0)


def _solved(tables: Tables) -> float:
    ratio = 0.0
    for _ in range(STEPS):
        found = _profile(tables, ratio)
        total = float(found.information.sum())
        if not total > 0:
            raise NoParticipantError("no treated rows that vary within the effects")
        step = float(np.clip(found.score.sum() / total, -LARGEST_STEP, LARGEST_STEP))
        ratio += step
        if abs(step) < CLOSE * max(1.0, abs(ratio)):
            return ratio
        if abs(ratio) > FARTHEST:
            break
    raise ConvergenceError("the ratio has no optimum: one arm has all its exports before t, or all of them after it.")


def _profile(tables: Tables, ratio: float) -> Profile:
    """Score and information at a log ratio, with the odds of each table at their optimum: the root of a quadratic."""
    treated, other = tables.treated_early + tables.treated_late, tables.other_early + tables.other_late
    late, early = tables.treated_late + tables.other_late, tables.treated_early + tables.other_early
    says = (treated > 0) & (other > 0) & (late > 0) & (early > 0)
    lift = np.exp(ratio)
    linear = treated * lift + other - late * (1 + lift)
    root = np.sqrt(linear**2 + 4 * lift * early * late)
    # the form that does not subtract near-equal numbers
    above, below = linear > 0, np.where(says, 2 * lift * early, 1.0)
    odds = np.where(above, 2 * late / np.where(above, linear + root, 1.0), (root - linear) / below)
    odds = np.where(says, odds, 1.0)
    share_treated, share_other = lift * odds / (1 + lift * odds), odds / (1 + odds)
    spread_treated, spread_other = (n * p * (1 - p) for n, p in ((treated, share_treated), (other, share_other)))
    both = np.where(says, spread_treated + spread_other, 1.0)
    weight_treated, weight_other = (np.where(says, v / both, 0.0) for v in (spread_other, spread_treated))
    return Profile(
        np.where(says, tables.treated_late - treated * share_treated, 0.0), weight_treated * spread_treated,
        share_treated, share_other, weight_treated, weight_other,
    )  # fmt: skip
