"""Survival and incidence of several causes in two worlds, from discrete-time hazards of all causes.

Each unit is followed over years 1 .. Y by its predicted hazards: S(t) = prod(1 - sum h_k), F_k = sum S(t-1) h_k(t).
Averaged over the units they are the curves; their errors come from the stacked score equations of all causes and the
means, summed by cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import linalg

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Codes, Design, Floats
from missie_impact.numerics.contrasts import sum_by, weight_share
from missie_impact.numerics.covariance import (
    Clusters,
    Correction,
    Scores,
    correction_factor,
    dimensions,
    positive_part,
)
from missie_impact.numerics.links import LinkName, get_link
from missie_impact.numerics.multinomial import multinomial_probabilities


@dataclass(frozen=True, slots=True)
class Equation:
    """Linear predictor of one cause, and its score equations.

    Attributes
    ----------
    coef : (p,) its coefficients
    scores : of its rows; the bread is not used
    rows : positions of these rows among all rows that clusters are given for
    worlds : designs of Y * U rows with and without treatment, year by year: row t * U + u; columns as in ``coef``
    """

    coef: Floats
    scores: Scores
    rows: Codes
    worlds: tuple[Design, Design]


@dataclass(frozen=True, slots=True)
class CauseModels:
    """Hazards of K causes: one binary model each, or one multinomial logit.

    Attributes
    ----------
    equations : one per cause
    bread : (P, P) inverse information of all coefficients, causes one after the other
    link : of binary models; None for the multinomial logit
    """

    equations: tuple[Equation, ...]
    bread: Floats
    link: LinkName | None


@dataclass(frozen=True, slots=True)
class Worlds:
    """Curves of both worlds, standardised.

    Attributes
    ----------
    value : (2, K + 1, Y) with treatment first; incidence of each cause, and survival last
    covariance : (2 (K + 1) Y) squared, in the order of ``value``
    capped : unit-years whose predicted hazards sum to more than one, taken as one
    """

    value: Floats
    covariance: Floats
    capped: int


def stacked_bread(breads: Sequence[Floats]) -> Floats:
    """Return the bread of models fitted one by one."""
    return np.asarray(linalg.block_diag(*breads), dtype=np.float64)


def standardised_worlds(
    models: CauseModels,
    units: Codes,
    weight: Floats,
    clusters: Sequence[Clusters],
    *,
    correction: Correction = "g_over_gm1",
    also: Callable[[Floats, Floats], Callable[[Clusters], Floats]] | None = None,
) -> Worlds:
    """Average predicted curves over units in both worlds, with their joint covariance.

    Parameters
    ----------
    models : hazards of all causes
    units : (U,) positions of the units among all rows that clusters are given for
    weight : (U,) weight of each unit
    clusters : of all rows, one or two dimensions
    correction : small-sample factor of each dimension
    also : from the derivative of the curves in all coefficients (r, P) and what each unit adds (U, r), what a further
        step, such as estimated weights, adds to them per cluster, (G, r)

    Raises
    ------
    SettingsError
        If no cluster is given, or the designs do not hold the same number of years of every unit.
    """
    if not clusters:
        raise SettingsError("curves of units need clusters, at least the unit itself: its years hang together.")
    rows = {design.n_rows for equation in models.equations for design in equation.worlds}
    if len(rows) != 1 or rows.pop() % len(units):
        raise SettingsError("expected the same number of years of every unit in all designs, found other shapes.")
    share = weight_share(weight)
    values, gradients, moments, capped = [], [], [], 0
    for world in (0, 1):
        curves, slopes, above = _unit_curves(models, world, share)
        mean = curves @ share
        values.append(mean)
        moments.append((share * (curves - mean[..., None])).reshape(-1, len(units)))
        gradients.append(slopes)
        capped += above
    value, moment = np.array(values), np.vstack(moments).T
    gradient = np.vstack(gradients)
    further = None if also is None else also(gradient, moment)
    matrix = _sandwich(models, gradient, moment, units, clusters, correction, further)
    return Worlds(value, matrix, capped)


def _unit_curves(models: CauseModels, world: int, share: Floats) -> tuple[Floats, Floats, int]:
    """Curves of each unit (K + 1, Y, U), derivatives of their means ((K + 1) Y, P), hazards that had to be capped."""
    u = len(share)
    eta = np.array([e.worlds[world].predict(e.coef).reshape(-1, u) for e in models.equations])
    hazard, jacobian = _hazards(eta, models.link)
    total = hazard.sum(axis=0)
    above = total > 1.0
    if above.any():
        hazard = hazard / np.where(above, total, 1.0)
        jacobian = np.where(above, 0.0, jacobian)
    k, y, _ = hazard.shape
    staying = np.clip(1.0 - hazard.sum(axis=0), 1e-300, None)
    survival = np.cumprod(staying, axis=0)
    before = np.vstack([np.ones((1, u)), survival[:-1]])
    curves = np.concatenate([np.cumsum(before * hazard, axis=1), survival[None]])
    lines = []
    for c, t in product(range(k + 1), range(y)):
        # a hazard in year s adds its own exits and takes from all that follows
        in_hazard = np.zeros((k, y, u))
        follows = curves[c, t] - curves[c, : t + 1] if c < k else survival[t]
        in_hazard[:, : t + 1] -= follows / staying[: t + 1]
        if c < k:
            in_hazard[c, : t + 1] += before[: t + 1]
        in_eta = np.einsum("jsu,jmsu->msu", in_hazard, jacobian)
        parts = [e.worlds[world].sums((share * d).reshape(-1)) for e, d in zip(models.equations, in_eta, strict=True)]
        lines.append(np.concatenate(parts))
    return curves, np.array(lines), int(above.sum())


def _hazards(eta: Floats, link: LinkName | None) -> tuple[Floats, Floats]:
    """Hazards (K, Y, U) and their derivatives (K, K, Y, U): of cause j in the predictor of cause m."""
    k = len(eta)
    if link is not None:
        functions = get_link(link)
        hazard = np.array([functions.probability(row.reshape(-1)).reshape(row.shape) for row in eta])
        density = np.array([functions.density(row.reshape(-1)).reshape(row.shape) for row in eta])
        return hazard, np.eye(k)[:, :, None, None] * density[:, None]
    hazard = multinomial_probabilities(eta)
    return hazard, hazard[:, None] * (np.eye(k)[:, :, None, None] - hazard[None])


def _sandwich(
    models: CauseModels,
    gradient: Floats,
    moment: Floats,
    units: Codes,
    clusters: Sequence[Clusters],
    correction: Correction,
    further: Callable[[Clusters], Floats] | None,
) -> Floats:
    to_mean = models.bread @ gradient.T
    edges = np.cumsum([0, *(len(e.coef) for e in models.equations)])
    used = np.unique(np.concatenate([units, *(e.rows for e in models.equations)]))
    total = np.zeros((len(gradient), len(gradient)))
    for part, sign in dimensions(clusters):
        whole = sum_by(moment, Clusters(part.codes[units], part.count))
        for equation, first, last in zip(models.equations, edges[:-1], edges[1:], strict=True):
            own = Clusters(part.codes[equation.rows], part.count)
            whole = whole + equation.scores.by_cluster(own, to_mean[first:last])
        whole = whole if further is None else whole + further(part)
        count = len(np.unique(part.codes[used]))
        factor = correction_factor(correction, count, float(len(used)), int(edges[-1]))
        total += sign * factor * whole.T @ whole
    return positive_part(total)[0] if len(clusters) == 2 else total
