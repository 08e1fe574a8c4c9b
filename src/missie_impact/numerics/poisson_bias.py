"""Bias of Poisson estimates with sender x year, receiver x year and pair effects, from few years per pair.

With two sets of effects Poisson estimates are free of the bias of incidental parameters, with three they are not: the
bias falls with the number of senders and receivers as fast as the standard error does (Weidner and Zylkin 2021,
Journal of International Economics 132, 103513). The analytical correction below is theirs, written with sums instead
of means so that it holds for tables of any shape.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Codes, Floats
from missie_impact.numerics.poisson import PoissonFit


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
    pair = np.unique(sender.astype(np.int64) * (int(receiver.max()) + 1) + receiver, return_inverse=True)[1].reshape(-1)
    n_pairs, n_periods = int(pair.max()) + 1, int(period.max()) + 1
    if len(np.unique(pair * n_periods + period)) < len(pair):
        raise SettingsError("three-way correction: expected one row per sender, receiver and year, found several.")
    mean, score = np.zeros((n_pairs, n_periods)), np.zeros((n_pairs, n_periods))
    mean[pair, period], score[pair, period] = fit.weight * fit.mean, fit.score
    of_pair = np.zeros((2, n_pairs), dtype=np.intp)
    of_pair[0, pair], of_pair[1, pair] = sender, receiver
    total = mean.sum(axis=1)
    share = mean / total[:, None]
    moments = np.zeros(fit.within.shape[1])
    hessian = mean[:, :, None] * np.eye(n_periods) - mean[:, :, None] * share[:, None, :]
    squares = score[:, :, None] * score[:, None, :]
    for k in range(len(moments)):
        column = np.zeros((n_pairs, n_periods))
        column[pair, period] = fit.within[:, k]
        centred = column - (share * column).sum(axis=1)[:, None]
        moved = mean * centred
        mixed = moved[:, :, None] * score[:, None, :]
        third = moved[:, :, None] * share[:, None, :]
        third = -(moved[:, :, None] * np.eye(n_periods) - third - third.transpose(0, 2, 1))
        for side in of_pair:
            inverse = np.linalg.pinv(_by(hessian, side), rcond=1e-10, hermitian=True)
            first = np.einsum("gts,gst->", inverse, _by(mixed, side))
            spread = inverse @ _by(squares, side) @ inverse
            moments[k] += 0.5 * np.einsum("gts,gst->", _by(third, side), spread) - first
    bias: Floats = fit.bread @ moments
    return bias


def _by(values: Floats, group: Codes) -> Floats:
    """Sum (pairs, T, T) over the pairs of each group."""
    n, size = len(values), values.shape[1]
    sums = sparse.csr_array((np.ones(n), (group, np.arange(n))), shape=(int(group.max()) + 1, n))
    total: Floats = np.asarray(sums @ values.reshape(n, -1)).reshape(-1, size, size)
    return total
