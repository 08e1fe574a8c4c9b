"""Poisson pseudo-maximum likelihood with any number of sets of fixed effects.

Iteratively reweighted least squares in which the effects are taken out of the working outcome and the covariates at
every step (Correia, Guimaraes and Zylkin 2020, Stata Journal 20, 95-115). Zeros stay; the outcome need not be a count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from missie_impact.errors import ConvergenceError, NoEventError, SettingsError
from missie_impact.numerics.cells import Codes, Column, Floats
from missie_impact.numerics.covariance import Scores
from missie_impact.numerics.design import build_design
from missie_impact.numerics.poisson_absorb import Absorber, absorber
from missie_impact.numerics.poisson_separation import PoissonRows, find_separated

STEPS = 200
CLOSE = 1e-9  # step of the linear predictor, weighted mean; Newton squares it once more
ALIASED = 1e-7  # share of a column's variation that the effects and the columns before it leave


@dataclass(frozen=True, slots=True)
class PoissonFit:
    """A fitted Poisson model with fixed effects. Rows are those kept.

    Attributes
    ----------
    coef : (k,) coefficients of the columns that stay
    columns : their positions among those given
    aliased : positions of columns that effects and earlier columns explain
    bread : (k, k) inverse of the information left by the effects
    mean : (m,) fitted means
    predictor : (m,) logarithm of the mean, offset included
    within : (m, k) what the effects leave of the columns
    weight : (m,) frequency times probability
    frequency : (m,) rows each row stands for, or None
    y : (m,) outcomes
    effects : (m,) levels of each set, without gaps
    rows : which rows were kept, and how many left for which cause
    deviance, log_likelihood : at the optimum, weights included; the constant of the Poisson law kept
    steps : of the iteration
    """

    coef: Floats
    columns: tuple[int, ...]
    aliased: tuple[int, ...]
    bread: Floats
    mean: Floats
    predictor: Floats
    within: Floats
    weight: Floats
    frequency: Floats | None
    y: Floats
    effects: tuple[Codes, ...]
    rows: PoissonRows
    deviance: float
    log_likelihood: float
    steps: int

    @property
    def n_rows(self) -> float:
        """Rows in the likelihood, frequency counted."""
        return float(len(self.y) if self.frequency is None else self.frequency.sum())

    @property
    def score(self) -> Floats:
        """(m,) score of each row in its linear predictor, weights included."""
        return self.weight * (self.y - self.mean)


def fit_poisson(
    y: Floats,
    x: Floats,
    effects: Sequence[NDArray[Any]] = (),
    *,
    frequency: Floats | None = None,
    probability: Floats | None = None,
    offset: Floats | None = None,
) -> PoissonFit:
    """Fit log E[y] = offset + x b + effects.

    Parameters
    ----------
    y : (n,) outcomes of at least zero
    x : (n, k) covariates; a constant only where there are no effects
    effects : (n,) whole numbers of at least zero, one array per set
    frequency, probability : (n,) weights; rows of weight zero are left out
    offset : (n,) added to the linear predictor

    Raises
    ------
    NoEventError
        If every outcome is zero.
    SettingsError
        If an outcome is negative or missing, or no column is left to estimate.
    ConvergenceError
        If the iteration does not end.
    """
    wrong = int(np.count_nonzero(~(np.isfinite(y) & (y >= 0))))
    if wrong:
        raise SettingsError(f"Poisson: expected outcomes of at least zero, found {wrong} rows that are not.")
    weight = np.ones(len(y))
    for part in (frequency, probability):
        weight = weight if part is None else weight * part
    if not (y * weight).any():
        raise NoEventError("Poisson: expected some outcomes above zero, found none.")
    rows = _usable(y, x, effects, weight)
    k = np.flatnonzero(rows.kept)
    levels = tuple(np.unique(codes[k], return_inverse=True)[1].reshape(-1).astype(np.intp) for codes in effects)
    taken = absorber(levels) if levels else None
    y, x, weight = y[k], x[k], weight[k]
    shift = np.zeros(len(y)) if offset is None else offset[k]
    columns = independent_columns(_within(x, taken, weight), weight, x)
    aliased = [j for j in range(x.shape[1]) if j not in columns]
    if taken is None and not columns:
        raise SettingsError("Poisson: expected a column or a set of effects, found none.")
    coef, predictor, steps = _iterate(y, x[:, columns], taken, weight, shift)
    mean = np.exp(predictor)
    within = _within(x[:, columns], taken, weight * mean)
    bread = linalg.inv((within * (weight * mean)[:, None]).T @ within) if columns else np.zeros((0, 0))
    deviance = 2 * float(weight @ (special.xlogy(y, y) - y * predictor - (y - mean)))
    return PoissonFit(
        coef, tuple(columns), tuple(aliased), bread, mean, predictor, within, weight,
        None if frequency is None else frequency[k], y, levels, rows, deviance,
        float(weight @ (y * predictor - mean - special.gammaln(y + 1))), steps,
    )  # fmt: skip


def poisson_scores(fit: PoissonFit) -> Scores:
    """Return the score equations of a fit, for every kind of clustered error.

    The effects are concentrated out: the covariates are those the effects leave, at the weights of the optimum.
    """
    design = build_design([], [Column(str(j), fit.within[:, j]) for j in range(fit.within.shape[1])], intercept=False)
    return Scores(design, fit.score, fit.bread, fit.n_rows, fit.frequency)


def _usable(y: Floats, x: Floats, effects: Sequence[NDArray[Any]], weight: Floats) -> PoissonRows:
    there = weight > 0
    if there.all():
        return find_separated(y, x, effects)
    k = np.flatnonzero(there)
    found = find_separated(y[k], x[k], [codes[k] for codes in effects])
    kept = there.copy()
    kept[k] = found.kept
    return PoissonRows(kept, found.all_zero, found.separated)


def _within(values: Floats, taken: Absorber | None, weight: Floats) -> Floats:
    return values if taken is None or not values.shape[1] else taken.within(values, weight)


def independent_columns(x: Floats, weight: Floats, scale: Floats | None = None) -> list[int]:
    """Columns of (n, k) that say something beyond those before them.

    Parameters
    ----------
    scale : (n, k) columns whose size says what counts as nothing left; ``x`` itself if left out
    """
    left = x * np.sqrt(weight)[:, None]
    size = np.sqrt(weight @ (x if scale is None else scale) ** 2)
    columns: list[int] = []
    basis = np.zeros((len(x), 0))
    for j in range(x.shape[1]):
        new = left[:, j] - basis @ (basis.T @ left[:, j])
        new -= basis @ (basis.T @ new)
        norm = float(np.linalg.norm(new))
        if size[j] > 0 and norm > ALIASED * size[j]:
            basis = np.column_stack([basis, new / norm])
            columns.append(j)
    return columns


def _iterate(y: Floats, x: Floats, taken: Absorber | None, weight: Floats, shift: Floats) -> tuple[Floats, Floats, int]:
    middle = float(weight @ y / weight.sum())
    eta = np.log((y + middle) / 2)
    value = -np.inf  # the start fits too well: the first step, which enters the model, may only fall
    coef = np.zeros(x.shape[1])
    for step in range(1, STEPS + 1):
        mean = np.exp(eta)
        working = weight * mean
        target = eta - shift + (y - mean) / mean
        both = _within(np.column_stack([target, x]), taken, working)
        root = np.sqrt(working)
        coef = linalg.lstsq(both[:, 1:] * root[:, None], both[:, 0] * root)[0] if x.shape[1] else coef
        move = target - (both[:, 0] - both[:, 1:] @ coef) + shift - eta
        eta, new, size = _damped(y, eta, move, weight, value)
        change = float(np.sqrt((working @ (size * move) ** 2) / working.sum()))
        if size == 1.0 and change < CLOSE:
            return coef, eta, step
        value = new
    raise ConvergenceError(f"Poisson: no optimum within {STEPS} steps; look for covariates that separate zeros.")


def _damped(y: Floats, eta: Floats, move: Floats, weight: Floats, value: float) -> tuple[Floats, float, float]:
    """Take the step, or half of it until the likelihood does not fall."""
    size = 1.0
    while True:
        tried = np.clip(eta + size * move, -600.0, 600.0)
        new = _objective(y, tried, weight)
        if new >= value - 1e-9 * (1 + abs(new)) or size < 1e-4:
            return tried, new, size
        size /= 2


def _objective(y: Floats, eta: Floats, weight: Floats) -> float:
    return float(weight @ (y * eta - np.exp(np.minimum(eta, 600.0))))
