"""One logit fitted to the same rows under many weights at once, as a bootstrap needs it."""

from __future__ import annotations

import numpy as np
from scipy import special

from missie_impact.numerics.cells import Floats

MAX_STEPS = 40
SETTLED = 1e-6  # largest score in units of its own standard deviation
RIDGE = 1e-11  # of the diagonal: keeps a draw without a level's rows from stopping the others
ALL_PRODUCTS = 20_000_000  # numbers held to make every information matrix in one product


def fit_many(
    y: Floats, x: Floats, weight: Floats, start: Floats, *, balancing: bool = False, offset: Floats | None = None
) -> Floats:
    """Coefficients of a weighted logit for each of B sets of weights, from a common start.

    Parameters
    ----------
    y : (n,) 0 or 1
    x : (n, k) covariates
    weight : (B, n) weights, zero leaves a row out
    start : (k,) near the optimum, such as the fit under the weights as they are
    balancing : solve sum w (y - (1 - y) exp(x'b)) x = 0 instead: exponential weights that balance x
    offset : (n,) added to the linear predictor

    Returns
    -------
    (B, k) coefficients; a line of NaN where the steps did not settle
    """
    n, k = x.shape
    products = (x[:, :, None] * x[:, None, :]).reshape(n, k * k) if n * k * k <= ALL_PRODUCTS else None
    coef = np.tile(start, (len(weight), 1))
    settled = np.zeros(len(weight), dtype=bool)
    for _ in range(MAX_STEPS):
        moving = np.flatnonzero(~settled)
        if not len(moving):
            break
        eta = coef[moving] @ x.T + (0.0 if offset is None else offset)
        residual, slope = _terms(y, eta, balancing)
        w = weight[moving]
        score = (w * residual) @ x
        information = _information(w * slope, x, products)
        scale = np.sqrt(np.maximum(np.einsum("bjj->bj", information), np.finfo(float).tiny))
        done = np.abs(score / scale).max(axis=1) <= SETTLED
        settled[moving[done]] = True
        unit = information / (scale[:, :, None] * scale[:, None, :]) + RIDGE * np.eye(k)
        step = _solved(unit, score / scale) / scale
        coef[moving[~done]] += step[~done]
    coef[~settled] = np.nan
    return coef


def _terms(y: Floats, eta: Floats, balancing: bool) -> tuple[Floats, Floats]:
    if balancing:
        rate = (1.0 - y) * np.exp(np.clip(eta, -700.0, 700.0))
        return y - rate, rate
    p = special.expit(eta)
    return y - p, p * (1.0 - p)


def _information(weight: Floats, x: Floats, products: Floats | None) -> Floats:
    k = x.shape[1]
    if products is not None:
        return (weight @ products).reshape(len(weight), k, k)
    return np.array([(x * w[:, None]).T @ x for w in weight])


def _solved(matrices: Floats, right: Floats) -> Floats:
    try:
        return np.asarray(np.linalg.solve(matrices, right[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:  # one draw that cannot be solved: the least-squares step for all of them
        return np.array([np.linalg.lstsq(m, r, rcond=None)[0] for m, r in zip(matrices, right, strict=True)])
