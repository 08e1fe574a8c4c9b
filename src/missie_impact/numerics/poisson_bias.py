"""Bias of Poisson estimates with sender x year, receiver x year and pair effects, from few years per pair.

With two sets of effects Poisson estimates are free of the bias of incidental parameters, with three they are not: the
bias falls with the number of senders and receivers as fast as the standard error does (Weidner and Zylkin 2021,
Journal of International Economics 132, 103513). The analytical correction below is theirs, written with sums instead
of means so that it holds for tables of any shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Codes, Floats
from missie_impact.numerics.covariance import Clusters
from missie_impact.numerics.poisson import PoissonFit


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows spread over (pairs, periods), zero where a pair has no row.

    Attributes
    ----------
    pair, period : (m,) of the rows; of_pair : (2, pairs) its sender and its receiver
    mean, score : (pairs, periods)
    hessian : (pairs, T, T) of the linear predictor, the pair's own effect taken out
    """

    pair: Codes
    period: Codes
    of_pair: Codes
    mean: Floats
    score: Floats
    hessian: Floats


def _pairs(fit: PoissonFit, sender: Codes, receiver: Codes, period: Codes) -> _Pairs:
    pair = np.unique(sender.astype(np.int64) * (int(receiver.max()) + 1) + receiver, return_inverse=True)[1].reshape(-1)
    n_pairs, n_periods = int(pair.max()) + 1, int(period.max()) + 1
    if len(np.unique(pair * n_periods + period)) < len(pair):
        raise SettingsError("three-way correction: expected one row per sender, receiver and year, found several.")
    mean, score = np.zeros((n_pairs, n_periods)), np.zeros((n_pairs, n_periods))
    mean[pair, period], score[pair, period] = fit.weight * fit.mean, fit.score
    of_pair = np.zeros((2, n_pairs), dtype=np.intp)
    of_pair[0, pair], of_pair[1, pair] = sender, receiver
    share = mean / mean.sum(axis=1)[:, None]
    hessian = mean[:, :, None] * np.eye(n_periods) - mean[:, :, None] * share[:, None, :]
    return _Pairs(pair.astype(np.intp), period, of_pair, mean, score, hessian)


def three_way_bias(fit: PoissonFit, sender: Codes, receiver: Codes, period: Codes) -> Floats:
    """Estimate the bias (k,) of the coefficients of a fit with sender x period, receiver x period and pair effects.

    Parameters
    ----------
    fit : with these three sets of effects
    sender, receiver, period : (m,) whole numbers of the kept rows

    Raises
    ------
    SettingsError
        If a pair has two rows in a period.
    """
    p = _pairs(fit, sender, receiver, period)
    share = p.mean / p.mean.sum(axis=1)[:, None]
    moments = np.zeros(fit.within.shape[1])
    squares = p.score[:, :, None] * p.score[:, None, :]
    for k in range(len(moments)):
        column = np.zeros(p.mean.shape)
        column[p.pair, p.period] = fit.within[:, k]
        centred = column - (share * column).sum(axis=1)[:, None]
        moved = p.mean * centred
        mixed = moved[:, :, None] * p.score[:, None, :]
        third = moved[:, :, None] * share[:, None, :]
        third = -(moved[:, :, None] * np.eye(p.mean.shape[1]) - third - third.transpose(0, 2, 1))
        for side in p.of_pair:
            inverse = _inverse(_by(p.hessian, side))
            first = np.einsum("gts,gst->", inverse, _by(mixed, side))
            spread = inverse @ _by(squares, side) @ inverse
            moments[k] += 0.5 * np.einsum("gts,gst->", _by(third, side), spread) - first
    bias: Floats = fit.bread @ moments
    return bias


def three_way_covariance(fit: PoissonFit, sender: Codes, receiver: Codes, period: Codes, clusters: Clusters) -> Floats:
    """Covariance (k, k) by clusters that hold whole pairs, for scores that the many effects have made too small.

    A pair's scores are what the effects of its sender and receiver leave of them; the share they took, known from the
    Hessians, is put back on one side of the product, so that its mean is right when the scores of pairs are
    independent (the one-sided form of the leverage correction, as in Weidner and Zylkin's section on errors).

    Parameters
    ----------
    fit, sender, receiver, period : as in `three_way_bias`
    clusters : of the kept rows

    Raises
    ------
    SettingsError
        If a pair lies in several clusters, or has two rows in a period.
    """
    p = _pairs(fit, sender, receiver, period)
    if len(np.unique(p.pair * clusters.count + clusters.codes)) > len(p.mean):
        raise SettingsError("three-way correction of the errors: expected clusters that hold whole pairs.")
    taken: Floats = sum((_inverse(_by(p.hessian, side))[side] for side in p.of_pair), start=np.zeros_like(p.hessian))
    within = np.zeros((*p.mean.shape, fit.within.shape[1]))
    within[p.pair, p.period] = fit.within
    taken = taken + within @ fit.bread @ within.transpose(0, 2, 1)
    whole = np.linalg.solve(np.eye(p.mean.shape[1]) - p.hessian @ taken, p.score[:, :, None])[:, :, 0]
    one, other = (fit.within * values[p.pair, p.period][:, None] for values in (p.score, whole))
    sums = [
        np.stack([np.bincount(clusters.codes, v[:, j], clusters.count) for j in range(v.shape[1])])
        for v in (one, other)
    ]
    meat = sums[1] @ sums[0].T
    return np.asarray(fit.bread @ (meat + meat.T) @ fit.bread / 2, dtype=np.float64)


def _inverse(hessian: Floats) -> Floats:
    """Inverse (groups, T, T) in the directions that the pairs' own effects leave."""
    return np.asarray(np.linalg.pinv(hessian, rcond=1e-10, hermitian=True), dtype=np.float64)


def _by(values: Floats, group: Codes) -> Floats:
    """Sum (pairs, T, T) over the pairs of each group."""
    n, size = len(values), values.shape[1]
    sums = sparse.csr_array((np.ones(n), (group, np.arange(n))), shape=(int(group.max()) + 1, n))
    total: Floats = np.asarray(sums @ values.reshape(n, -1)).reshape(-1, size, size)
    return total
