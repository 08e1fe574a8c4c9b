"""Spline columns of a covariate, knots at its quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from missie_impact.errors import SettingsError

Floats = NDArray[np.float64]

DEGREE = 3


def spline_basis(x: Floats, df: int, *, natural: bool = False) -> Floats:
    """Return cubic spline columns without the constant.

    Parameters
    ----------
    x : (n,) finite values
    df : number of columns, at least 3 (cubic) or 1 (natural)
    natural : linear beyond the smallest and the largest value

    Returns
    -------
    (n, df) columns; those of ``bs`` equal the columns of R's ``splines::bs``, those of ``ns`` span the same space as
    the columns of R's ``splines::ns``.

    Raises
    ------
    SettingsError
        If there are fewer distinct values than columns and a constant need.

    References
    ----------
    de Boor (1978), A Practical Guide to Splines; Hastie, in Chambers and Hastie (1992), Statistical Models in S.
    """
    from scipy.interpolate import BSpline, PPoly  # slow to import, rarely needed

    interior = df - (1 if natural else DEGREE)
    if interior < 0:
        raise SettingsError(f"spline: expected at least {df - interior} columns, found {df}.")
    distinct = len(np.unique(x))
    if distinct < df + 1:
        raise SettingsError(f"spline: {df} columns need at least {df + 1} distinct values, found {distinct}.")
    low, high = float(x.min()), float(x.max())
    inner = _off_the_ends(np.quantile(x, np.linspace(0, 1, interior + 2)[1:-1]), low, high, x)
    knots = np.concatenate([[low] * (DEGREE + 1), inner, [high] * (DEGREE + 1)])
    basis = BSpline.design_matrix(x, knots, DEGREE).toarray()[:, 1:]
    if not natural:
        return np.asarray(basis, dtype=np.float64)
    # Second derivatives of each basis function at both ends; a natural spline combines them to zero.
    size = len(knots) - DEGREE - 1
    bent = np.array([[PPoly.from_spline((knots, np.eye(size)[j], DEGREE)).derivative(2)(end) for end in (low, high)]
                     for j in range(1, size)])  # fmt: skip
    whole, _ = np.linalg.qr(bent, mode="complete")
    return np.asarray(basis @ whole[:, 2:], dtype=np.float64)


def _off_the_ends(inner: Floats, low: float, high: float, x: Floats) -> Floats:
    """Move knots off the ends, where many rows share the smallest or largest value, an eighth of the way to the next.

    R does so from 4.3 on; before, its columns repeat each other and the fit diverges.
    """
    between = inner[(inner > low) & (inner < high)]
    least = float(np.min(between if len(between) else x[x > low]))
    most = float(np.max(between if len(between) else x[x < high]))
    moved = np.where(inner == low, low + (least - low) / 8, np.where(inner == high, high - (high - most) / 8, inner))
    return np.asarray(moved, dtype=np.float64)
