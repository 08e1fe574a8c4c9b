"""Covariance between the estimates of different groups: fitted apart, but firms may stand in several of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import Clustering, Rows
from missie_impact.effects.fitting.stacked import Sums, coefficient_steps, mean_steps
from missie_impact.effects.result import GroupResult
from missie_impact.numerics.contrasts import Means
from missie_impact.numerics.covariance import Clusters, correction_factor, dimensions

Floats = NDArray[np.float64]
Part = tuple[Clusters, float]


def side_by_side(
    one: Callable[[Clustering], Sums], other: Callable[[Clustering], Sums]
) -> Callable[[Clustering], Sums]:
    """Scales of two sources beside one another."""

    def of(clustering: Clustering) -> Sums:
        first, second = one(clustering), other(clustering)
        return lambda clusters: np.hstack([first(clusters), second(clusters)])

    return of


def added_up(steps: Callable[[Clustering], Sequence[Sums]], to_scales: Floats) -> Callable[[Clustering], Sums]:
    """Return, for a choice of errors, what each cluster adds to a group's scales: the steps summed and moved."""

    def of(clustering: Clustering) -> Sums:
        return partial(_moved, steps(clustering), to_scales)

    return of


def sums_of_means(
    fitted: Fitted, means: Means, positions: NDArray[np.intp], to_scales: Floats
) -> Callable[[Clustering], Sums]:
    """What each cluster adds to functions of standardised means; ``to_scales`` is their derivative in the means."""
    return added_up(lambda c: mean_steps(fitted, means, positions, c.correction, fitted.rows.weighting)[0], to_scales)


def sums_of_coefficient(fitted: Fitted, place: int, repeats: int) -> Callable[[Clustering], Sums]:
    """What each cluster adds to a coefficient, shown on several scales."""
    to_scales = np.zeros((repeats, len(fitted.fit.coef)))
    to_scales[:, place] = 1.0
    return added_up(lambda c: coefficient_steps(fitted, fitted.rows.weighting, c.correction), to_scales)


def across_groups(
    rows: Rows, results: Sequence[GroupResult], sums: Mapping[str, Callable[[Clustering], Sums]]
) -> dict[str, Floats]:
    """Joint covariance of all groups and scales per error, groups outermost; NaN where it is not known.

    The blocks of the groups themselves are those that the results hold. Between groups it is the sum over clusters of
    the products of what a cluster adds to each, with the geometric mean of their small-sample factors.
    """
    scales = max((r.scales for r in results), key=len)
    width = len(scales)
    joint: dict[str, Floats] = {}
    for clustering in rows.clusterings:
        whole = np.full((len(results) * width,) * 2, np.nan)
        parts = _parts(rows, clustering)
        known = [i for i, r in enumerate(results) if r.group in sums and r.scales == scales]
        added = {
            i: [_scaled(sums[results[i].group](clustering), part, clustering, rows) for part in parts] for i in known
        }
        for i in known:
            for j in known:
                block = sum(
                    (sign * one.T @ other for (_, sign), one, other in zip(parts, added[i], added[j], strict=True)),
                    start=np.zeros((width, width)),
                )
                own = results[i].covariances[clustering.name]
                whole[_place(i, width), _place(j, width)] = own if i == j else block
        joint[clustering.name] = whole
    return joint


def _parts(rows: Rows, clustering: Clustering) -> list[Part]:
    if not clustering.dimensions:
        return [(Clusters(np.arange(rows.n), rows.n), 1.0)]
    return dimensions(clustering.dimensions)


def _scaled(sums: Sums, part: Part, clustering: Clustering, rows: Rows) -> Floats:
    """Sums per cluster times the root of the group's small-sample factor."""
    found: Floats = sums(part[0])
    if not clustering.dimensions and rows.frequency is not None:
        # A row of frequency f stands for f rows on their own: f products of an f-th part each.
        return found / np.sqrt(np.where(rows.frequency > 0, rows.frequency, 1.0))[:, None]
    if not clustering.dimensions or clustering.correction != "g_over_gm1":
        return found
    there = int(np.count_nonzero(found.any(axis=1)))
    return found * math.sqrt(correction_factor("g_over_gm1", there, np.nan, 0))


def _place(group: int, width: int) -> slice:
    return slice(group * width, (group + 1) * width)


def _moved(steps: Sequence[Sums], to_scales: Floats, clusters: Clusters) -> Floats:
    total: Floats = np.sum([step(clusters) for step in steps], axis=0)
    moved: Floats = total @ to_scales.T
    return moved
