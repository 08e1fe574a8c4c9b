"""Survival of the treated in both worlds, and what follows from it: hazard ratio, differences, yearly exits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.across import side_by_side, sums_of_means
from missie_impact.effects.fitting.groups import FIXED, Scales, covariance_with
from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import Clustering
from missie_impact.effects.fitting.stacked import Sums, stacked_means
from missie_impact.effects.fitting.standardise import conditional_scales
from missie_impact.effects.leaving.exit_time import FollowUp, empty_years, in_years
from missie_impact.numerics.contrasts import Estimates
from missie_impact.numerics.covariance import correction_factor, dimensions
from missie_impact.numerics.histories import Histories, standardised_survival

Floats = NDArray[np.float64]

DIFFERENCE_YEARS = (1, 3, 5)
SumsOf = Callable[[Clustering], Sums]


def survival_scales(fitted: Fitted, follow: FollowUp) -> Scales:
    """Standardise survival over the treated: marginal hazard ratio, survival differences, yearly exit probabilities.

    Each treated unit is followed from time zero through every year of follow-up in both worlds, covariates as they were
    at time zero, those of the calendar and of the duration moving on. Without a cluster the years of a unit form one.
    """
    positions: NDArray[np.intp] = np.flatnonzero(fitted.group & fitted.rows.treated & follow.first)
    conditional = conditional_scales(fitted)
    if not len(positions):
        return conditional
    n_years = _years_of_group(fitted, follow)
    empty = empty_years(fitted, follow)
    followed = [k for k in range(n_years) if k not in empty]
    moved, held = in_years(fitted.rows, follow, positions, followed)
    tiled = np.tile(positions, len(followed))
    worlds = [fitted.world(tiled, arm, moved) for arm in (1, 0)]
    histories = Histories(worlds[0], worlds[1], len(followed), fitted.weights(positions))
    names: tuple[str, ...] = ()
    values, covariances, sums = np.empty(0), {}, None
    for clustering in fitted.rows.clusterings:
        pairs = fitted.together(positions, clustering.dimensions or (follow.unit,))
        estimates = standardised_survival(
            fitted.fit,
            fitted.scores,
            replace(histories, clusters=tuple(own for _, own in pairs)),
            [of for of, _ in pairs],
            correction=clustering.correction if clustering.dimensions else "cr0",
            difference_years=(),
        )
        names, values, gradient = survival_gradient(estimates.names, estimates.value, followed, n_years)
        estimates = _weights_estimated(fitted, follow, estimates, positions, clustering)
        if estimates.means is not None and estimates.slope is not None and conditional.sums is not None:
            whole = sums_of_means(fitted, estimates.means, positions, gradient @ estimates.slope)
            sums = side_by_side(whole, conditional.sums)
        links = _links(fitted, follow, clustering, (estimates, gradient, sums))
        for label, cov, link in zip(
            (clustering.name, clustering.name + FIXED), (estimates.stacked, estimates.fixed), links, strict=True
        ):
            marginal = gradient @ cov.matrix @ gradient.T
            covariances[label] = _joined(marginal, conditional.covariances[label], link)
    notes = (*follow.notes, *([f"held as at time zero: {', '.join(held)}"] if held else []))
    return Scales((*names, *conditional.names), np.concatenate([values, conditional.values]), covariances, notes, sums)


def _weights_estimated(
    fitted: Fitted, follow: FollowUp, estimates: Estimates, positions: NDArray[np.intp], clustering: Clustering
) -> Estimates:
    """Put the estimation of the weights into the covariances, where the design estimated them."""
    weighting = fitted.rows.weighting
    if weighting is None or estimates.means is None or estimates.slope is None:
        return estimates
    if not clustering.dimensions:
        clustering = replace(clustering, dimensions=(follow.unit,), correction="cr0")
    slope = estimates.slope
    stacked, fixed = (
        slope @ matrix @ slope.T for matrix in stacked_means(fitted, weighting, estimates.means, positions, clustering)
    )
    return replace(
        estimates, stacked=replace(estimates.stacked, matrix=stacked), fixed=replace(estimates.fixed, matrix=fixed)
    )


def _years_of_group(fitted: Fitted, follow: FollowUp) -> int:
    """Years of follow-up, up to the first in which nobody of the group is at risk."""
    year = follow.year[fitted.group & (follow.year >= 0)]
    there = np.bincount(year, minlength=follow.n_years) > 0
    return follow.n_years if there.all() else int(np.argmin(there))


def _links(
    fitted: Fitted, follow: FollowUp, clustering: Clustering, made: tuple[Estimates, Floats, SumsOf | None]
) -> tuple[Floats, Floats]:
    """Covariance of each marginal scale with the coefficient, with the averaged units sampled and held fixed.

    Without a cluster the variance of the coefficient is that of the model: the link keeps the correlation that the
    years of a unit, taken as one cluster, show.
    """
    estimates, gradient, sums = made
    k, size = fitted.treatment, len(gradient)
    unknown = np.full(size, np.nan)
    if estimates.means is None or estimates.slope is None or sums is None:
        return unknown, unknown
    model = covariance_with(fitted, clustering, k)
    fixed = gradient @ estimates.slope @ estimates.means.gradient @ model
    parts = dimensions(clustering.dimensions or (follow.unit,))
    link, variance = np.zeros(size), 0.0
    for part, sign in parts:
        added = sums(clustering)(part)
        there = int(np.count_nonzero(added.any(axis=1)))
        usual = clustering.dimensions and clustering.correction == "g_over_gm1"
        factor = sign * (correction_factor("g_over_gm1", there, np.nan, 0) if usual else 1.0)
        link += factor * added[:, :size].T @ added[:, size]
        variance += factor * float(added[:, size] @ added[:, size])
    if not clustering.dimensions and variance > 0:
        link *= np.sqrt(model[k] / variance)
    return link, fixed


def _joined(marginal: Floats, conditional: Floats, link: Floats) -> Floats:
    wide = np.repeat(link[:, None], len(conditional), axis=1)  # scales of one coefficient move together
    return np.block([[marginal, wide], [wide.T, conditional]])


def survival_gradient(
    estimated: Sequence[str], value: Floats, followed: Sequence[int], n_years: int
) -> tuple[tuple[str, ...], Floats, Floats]:
    """Scales of an exit question as functions of contrasts of histories: names, values and derivative (ratios in logs).

    ``followed`` are the years, from zero, in which anybody leaves; in the others survival stays as it was.
    """
    place = {name: j for j, name in enumerate(estimated)}
    curves = [[(1.0, np.zeros(len(place)))], [(1.0, np.zeros(len(place)))]]
    for k in range(n_years):
        for arm in (0, 1):
            name = f"survival_{arm}_year_{followed.index(k) + 1}" if k in followed else ""
            step = (float(value[place[name]]), _unit(place[name], len(place))) if name else curves[arm][-1]
            curves[arm].append(step)
    ratio = place["log_hazard_ratio"]
    scales = {"hazard_ratio": (float(np.exp(value[ratio])), _unit(ratio, len(place)))}
    years = [j for j in DIFFERENCE_YEARS if j <= n_years]
    for j in years:
        (without, slope_0), (with_, slope_1) = curves[0][j], curves[1][j]
        scales[f"survival_difference_{j}"] = (with_ - without, slope_1 - slope_0)
    for arm, world in ((1, "with"), (0, "without")):
        at_risk = sum(there for there, _ in curves[arm][:-1])  # expected years at risk; exits per year is the hazard
        slope = sum((slope for _, slope in curves[arm][:-1]), np.zeros(len(place)))
        last, last_slope = curves[arm][-1]
        hazard = (1.0 - last) / at_risk
        scales[f"yearly_exit_probability_{world}"] = (hazard, -(last_slope + hazard * slope) / at_risk)
        scales |= {f"survival_{world}_{j}": curves[arm][j] for j in years}
    return tuple(scales), np.array([v for v, _ in scales.values()]), np.array([g for _, g in scales.values()])


def _unit(position: int, size: int) -> Floats:
    row = np.zeros(size)
    row[position] = 1.0
    return row
