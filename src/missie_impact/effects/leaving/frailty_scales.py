"""From a fit with a random effect to its scales: effects given it, its variance, survival with it integrated out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from missie_impact.effects.fitting.groups import FIXED
from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import Clustering, Request
from missie_impact.effects.fitting.standardise import CONDITIONAL
from missie_impact.effects.leaving.exit_survival import survival_gradient
from missie_impact.effects.leaving.frailty_rows import EffectRows, Frailty
from missie_impact.errors import SettingsError
from missie_impact.numerics.contrasts import weight_share
from missie_impact.numerics.covariance import Clusters, clusters_of, correction_factor, dimensions, positive_part
from missie_impact.numerics.design import Factor
from missie_impact.numerics.frailty import FrailtyFit, frailty_by_cluster
from missie_impact.numerics.frailty_data import FrailtyData, frailty_data, pick_rows
from missie_impact.numerics.gamma_frailty import GammaFrailtyFit, gamma_by_cluster
from missie_impact.numerics.histories import history_contrasts
from missie_impact.numerics.links import LinkName

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

UNITS_AT_A_TIME = 4_000
NOBODY_LEAVES = 1e-14


@dataclass(frozen=True, slots=True)
class Integrated:
    """A fit with a random effect and what it was made on.

    Attributes
    ----------
    fit, data : the optimum and its rows
    fitted : the fit without an effect: columns, weights, worlds
    positions : (n,) rows of ``data`` in the risk set
    frailty, link : the model
    scores : (G, p) score of each unit in the coefficients and, unless it is zero, the variance's parameter
    """

    fit: FrailtyFit | GammaFrailtyFit
    data: FrailtyData
    fitted: Fitted
    positions: Positions
    frailty: Frailty
    link: LinkName
    scores: Floats

    @property
    def variance(self) -> float:
        """Variance of the effect."""
        return self.fit.sd**2 if isinstance(self.fit, FrailtyFit) else self.fit.variance

    def by_unit(self, data: FrailtyData) -> tuple[Floats, Floats]:
        """Log likelihood of each unit of other rows, and its derivative in the p parameters."""
        coef = self.fit.coef
        if isinstance(self.fit, GammaFrailtyFit) and self.variance > 0:
            return gamma_by_cluster(coef, self.variance, data)
        sd, points = float(np.sqrt(self.variance)), self.frailty.points
        value, slope = frailty_by_cluster(coef, sd, data, link=self.link, points=points)
        return value, slope if sd > 0 else slope[:, :-1]


@dataclass(frozen=True, slots=True)
class Made:
    """Numbers on their scales and how they move.

    Attributes
    ----------
    names, values : (s,)
    gradient : (s, p) derivative in the parameters, of logarithms for ratios
    moment : (m, s) what each averaged unit adds beyond the mean
    zero : (m,) rows of the risk set at which these units are at time zero
    notes : what a reader must know
    """

    names: tuple[str, ...]
    values: Floats
    gradient: Floats
    moment: Floats
    zero: Positions
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Covariances:
    """Covariances of the scales and the coefficients per error, degrees of freedom, and the scores they are made of."""

    scales: Mapping[str, Floats]
    coefficients: Mapping[str, Floats]
    degrees: Mapping[str, float]
    scores: Floats


def frailty_scales(
    integrated: Integrated, rows: EffectRows, maps: Mapping[str, Positions], request: Request, horizon: int
) -> Made:
    """Put a fit on its scales: survival over the treated, effects given the random effect, its variance."""
    survival = _survival(integrated, rows, maps, request, horizon)
    fit, variance, p = integrated.fit, integrated.variance, integrated.scores.shape[1]
    at, conditional = integrated.fitted.treatment, CONDITIONAL[integrated.link]
    b, unit, last = float(fit.coef[at]), np.eye(p)[at], np.eye(p)[-1]
    values, gradient, names = [np.exp(b), b], [unit, unit], [*conditional, "frailty_variance"]
    values.append(variance)
    if isinstance(fit, FrailtyFit):
        names.append("frailty_sd")
        values.append(fit.sd)
        gradient += [last * 2 / fit.sd, last / fit.sd] if fit.sd > 0 else [np.full(p, np.nan)] * 2
    else:
        gradient.append(last if variance > 0 else np.full(p, np.nan))
    padded = np.zeros((len(survival.moment), len(names)))
    return Made(
        (*survival.names, *names),
        np.concatenate([survival.values, values]),
        np.vstack([survival.gradient, gradient]),
        np.hstack([survival.moment, padded]),
        survival.zero,
        survival.notes,
    )


def _survival(
    integrated: Integrated, rows: EffectRows, maps: Mapping[str, Positions], request: Request, horizon: int
) -> Made:
    """Survival of the treated in both worlds from their first treated row on, given that they got there."""
    fitted = integrated.fitted
    zero = _time_zero(fitted, rows, request)
    clock, years = _clock(fitted, rows, maps, request, horizon, zero)
    share = weight_share(fitted.weights(zero))
    arms, slopes = [], []
    for arm in (1, 0):
        found = [
            _unit_survival(integrated, rows, zero[first : first + UNITS_AT_A_TIME], arm, [
                (name, codes[first : first + UNITS_AT_A_TIME]) for name, codes in clock
            ])
            for first in range(0, len(zero), UNITS_AT_A_TIME)
        ]  # fmt: skip
        arms.append(np.concatenate([s for s, _ in found], axis=1))
        parts = [np.einsum("u,ju,jup->jp", share[i * UNITS_AT_A_TIME :][: s.shape[1]], s, d)
                 for i, (s, d) in enumerate(found)]  # fmt: skip
        slopes.append(np.sum(parts, axis=0))
    units, gradient = [], []
    for survival, slope in zip(arms, slopes, strict=True):
        before = np.vstack([np.ones(len(zero)), survival[:-1]])
        before_slope = np.vstack([np.zeros(slope.shape[1]), slope[:-1]])
        units.append((before, before - survival))
        gradient.append((before_slope, before_slope - slope))
    exits = np.array([leaving @ share for _, leaving in units])
    followed = [j for j in range(years) if (exits[:, j] > NOBODY_LEAVES).all()]
    each = np.vstack([part[followed] for pair in units for part in pair])
    of_theta = np.vstack([part[followed] for pair in gradient for part in pair])
    mean = each @ share
    names, value, first = history_contrasts(mean, len(followed), ())
    scales, values, second = survival_gradient(names, value, followed, years)
    total = second @ first
    notes = () if years == 5 else (f"follow-up of {years} years, not of 5",)
    return Made(scales, values, total @ of_theta, (share * (each - mean[:, None])).T @ total.T, zero, notes)


def _time_zero(fitted: Fitted, rows: EffectRows, request: Request) -> Positions:
    """Row at which each treated unit is first treated: time zero of its trial, or the first such row of its spell."""
    if request.follow_up is not None and fitted.rows.first is not None:
        return np.flatnonzero(fitted.group & fitted.rows.treated & fitted.rows.first)
    treated = np.flatnonzero(fitted.group & fitted.rows.treated)
    order = np.lexsort((rows.order[treated], rows.spell.codes[treated]))
    spell = rows.spell.codes[treated][order]
    return np.sort(treated[order[np.concatenate([[True], np.diff(spell) != 0])]])


def _clock(
    fitted: Fitted,
    rows: EffectRows,
    maps: Mapping[str, Positions],
    request: Request,
    horizon: int,
    zero: Positions,
) -> tuple[list[tuple[str, Positions]], int]:
    """Level of the factor along time in each year from time zero on, (units, years), and the number of years."""
    if request.follow_up is not None:
        name = request.follow_up
        factor = next(v for v in fitted.rows.variables if isinstance(v, Factor) and v.name == name)
        codes = np.tile(np.arange(len(factor.levels)), (len(zero), 1))
    elif request.classes is not None:
        name, bounds = request.classes
        duration = rows.order[zero][:, None] + 1.0 + np.arange(horizon)
        codes = np.maximum(np.searchsorted(bounds, duration, side="right") - 1, 0)
    else:
        return [("", np.zeros((len(zero), 1), dtype=np.intp))], 1
    return [(name, maps[name][codes])], codes.shape[1]


def _unit_survival(
    integrated: Integrated, rows: EffectRows, zero: Positions, arm: int, clock: Sequence[tuple[str, Positions]]
) -> tuple[Floats, Floats]:
    """Survival of units to the end of each year (J, U), and the derivative of its logarithm (J, U, p).

    A unit's rows before time zero, as they were, are what it is known to have survived.
    """
    fitted, (name, codes) = integrated.fitted, clock[0]
    u, years = codes.shape
    early, of_unit = _earlier(rows, zero)
    n = len(early)
    positions = np.concatenate([early, np.tile(zero, years)])
    treated = np.concatenate([fitted.rows.treated[early], np.full(u * years, arm)]).astype(np.intp)
    replaced = {}
    if name:
        factor = next(v for v in fitted.rows.variables if isinstance(v, Factor) and v.name == name)
        replaced = {name: np.concatenate([factor.codes[early], codes.T.reshape(-1)])}
    design = fitted.world(positions, treated, replaced)
    if design.offset is not None:
        design = replace(design, offset=np.where(np.arange(len(positions)) < n, np.minimum(design.offset, 0.0),
                                                 design.offset))  # fmt: skip
    picked = [np.concatenate([np.arange(n), n + np.arange(j * u)]) for j in range(1, years + 1)]
    unit = [(j - 1) * u + np.concatenate([of_unit, np.tile(np.arange(u), j)]) for j in range(1, years + 1)]
    chosen = np.concatenate(picked)
    data = frailty_data(
        np.zeros(len(chosen)), pick_rows(design, chosen), np.concatenate(unit), before_entry=chosen < n
    )  # fmt: skip
    value, slope = integrated.by_unit(data)
    return np.exp(value).reshape(years, u), slope.reshape(years, u, -1)


def _earlier(rows: EffectRows, zero: Positions) -> tuple[Positions, Positions]:
    """Rows of the units' spells before time zero, and which of the units they belong to."""
    place = np.full(rows.spell.count, -1, dtype=np.intp)
    place[rows.spell.codes[zero]] = np.arange(len(zero))
    unit = place[rows.spell.codes]
    inside = np.flatnonzero(unit >= 0)
    early = inside[rows.order[inside] < rows.order[zero][unit[inside]]]
    return early, unit[early]


def frailty_covariances(integrated: Integrated, made: Made, rows: EffectRows) -> Covariances:
    """Covariance of scales and coefficients under each error: scores of units and averaged units, summed by cluster."""
    k, bread = len(integrated.fit.coef), integrated.fit.bread
    influence = integrated.scores @ bread
    units = np.hstack([influence @ made.gradient.T, influence[:, :k]])
    moment = np.hstack([made.moment, np.zeros((len(made.moment), k))])
    s = len(made.names)
    scales: dict[str, Floats] = {}
    coefficients: dict[str, Floats] = {}
    degrees: dict[str, float] = {}
    for clustering in integrated.fitted.rows.clusterings:
        for name, extra in ((clustering.name, moment), (clustering.name + FIXED, np.zeros_like(moment))):
            if clustering.name == "model":
                gradient = np.vstack([made.gradient, np.eye(bread.shape[0])[:k]])
                own = _sums(extra, clusters_of(rows.effect.codes[made.zero])) if len(extra) else extra
                matrix, df = gradient @ bread @ gradient.T + own.T @ own, np.inf
            else:
                matrix, df = _clustered(integrated, np.vstack([units, extra]), made.zero, clustering, rows)
            scales[name], coefficients[name], degrees[name] = matrix[:s, :s], matrix[s:, s:], df
    return Covariances(scales, coefficients, degrees, integrated.scores)


def _clustered(
    integrated: Integrated, parts: Floats, zero: Positions, clustering: Clustering, rows: EffectRows
) -> tuple[Floats, float]:
    if clustering.correction == "cr3":
        raise SettingsError("correction='cr3' leaves clusters out of a regression; with frailty choose another.")
    g, fit = len(integrated.data.starts), integrated.fit
    listed = []
    for dimension in clustering.dimensions or (rows.effect,):
        of_unit = _cluster_of_units(dimension, integrated, clustering.name)
        listed.append(clusters_of(np.concatenate([of_unit, dimension.codes[zero]])))
    correction = clustering.correction if clustering.dimensions else "cr0"
    total, counts = np.zeros((parts.shape[1],) * 2), [len(np.unique(c.codes[:g])) for c in listed]
    for clusters, sign in dimensions(listed):
        sums = _sums(parts, clusters)
        count = len(np.unique(clusters.codes[:g]))
        total += sign * correction_factor(correction, count, fit.n_rows, len(fit.coef)) * sums.T @ sums
    if len(listed) < 2:
        return total, np.inf
    known = np.isfinite(np.diag(total))
    total[np.ix_(known, known)] = positive_part(total[np.ix_(known, known)])[0]
    return total, min(counts) - 1.0


def _cluster_of_units(dimension: Clusters, integrated: Integrated, name: str) -> Positions:
    codes, unit = dimension.codes[integrated.positions], integrated.data.cluster
    of_unit = codes[integrated.data.starts]
    split = len(np.unique(unit[codes != of_unit[unit]]))
    if split:
        raise SettingsError(
            f"cluster={name!r}: {split} of {len(of_unit)} units that share an effect lie in several clusters. Errors "
            "must be clustered at the level of the effect or above it: choose another cluster, or a finer level."
        )
    return of_unit


def _sums(parts: Floats, clusters: Clusters) -> Floats:
    ones = sparse.csr_array(
        (np.ones(len(parts)), (clusters.codes, np.arange(len(parts)))), (clusters.count, len(parts))
    )  # fmt: skip
    return np.asarray(ones @ parts)
