"""Multinomial logit by Newton's method with the exact Hessian: hazards of competing causes in one model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError
from missie_impact.numerics.cells import Design, Floats
from missie_impact.numerics.covariance import Clusters, Covariance, Scores, correction_factor

HALVINGS = 30


@dataclass(frozen=True, slots=True)
class MultinomialFit:
    """Maximum likelihood of K outcomes against none. It holds no microdata.

    Attributes
    ----------
    coef : (K, p) one line per outcome
    bread : (K p, K p) inverse information, outcomes one after the other
    log_likelihood : at the optimum
    n_rows : frequency counted
    steps : Newton steps
    """

    coef: Floats
    bread: Floats
    log_likelihood: float
    n_rows: float
    steps: int

    @property
    def std_error(self) -> Floats:
        """Model-based standard errors (K, p)."""
        errors: Floats = np.sqrt(np.diag(self.bread)).reshape(self.coef.shape)
        return errors


def multinomial_probabilities(eta: Floats) -> Floats:
    """Probabilities (K, n) of the outcomes from their predictors (K, n); what is left is none of them."""
    top = np.maximum(eta.max(axis=0), 0.0)
    raised = np.exp(eta - top)
    chance: Floats = raised / (np.exp(-top) + raised.sum(axis=0))
    return chance


def fit_multinomial(
    outcome: ArrayLike,
    design: Design,
    n_outcomes: int,
    *,
    weight: Floats | None = None,
    tolerance: float = 1e-8,
    max_steps: int = 50,
) -> MultinomialFit:
    """Maximise the likelihood of a multinomial logit.

    Parameters
    ----------
    outcome : (n,) 0 for none, else 1 .. K
    design : covariates, the same for every outcome
    n_outcomes : K
    weight : (n,) frequency times probability
    tolerance : largest score at the optimum, in units of its own standard deviation

    Raises
    ------
    NoEventError
        If an outcome does not occur.
    CollinearityError
        If the covariates are not independent.
    ConvergenceError
        If the likelihood has no maximum within reach, as when a covariate separates an outcome from the rest.
    """
    kind = np.asarray(outcome).astype(np.intp)
    w = np.ones(len(kind)) if weight is None else weight
    chosen = np.array([(kind == k + 1).astype(np.float64) for k in range(n_outcomes)])
    empty = [k + 1 for k in range(n_outcomes) if not float(chosen[k] @ w) > 0]
    if empty:
        raise NoEventError(f"no events of outcomes {empty} among {len(kind)} rows.")
    coef = np.zeros((n_outcomes, design.n_columns))
    value, chance = _likelihood(coef, design, chosen, w)
    for step in range(1, max_steps + 1):
        score = np.concatenate([design.sums(w * (y - p)) for y, p in zip(chosen, chance, strict=True)])
        information = _information(design, chance, w)
        scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
        try:
            lower = linalg.cholesky(information / np.outer(scale, scale), lower=True)
        except np.linalg.LinAlgError as error:
            raise CollinearityError(
                "the information of the multinomial logit is singular: covariates hang together, or separate an "
                "outcome from the rest. Leave some out, or merge levels."
            ) from error
        if float(np.abs(score / scale).max()) <= tolerance:
            return MultinomialFit(coef, linalg.inv(information), value, float(w.sum()), step)
        direction = (linalg.cho_solve((lower, True), score / scale) / scale).reshape(coef.shape)
        coef, value, chance = _ascend(coef, direction, value, design, chosen, w)
    raise ConvergenceError(f"no maximum of the multinomial likelihood after {max_steps} steps.")


def multinomial_scores(
    fit: MultinomialFit, outcome: ArrayLike, design: Design, *, weight: Floats | None = None
) -> tuple[Scores, ...]:
    """Return the score equations of each outcome; their bread is its own block."""
    kind = np.asarray(outcome).astype(np.intp)
    w = np.ones(len(kind)) if weight is None else weight
    chance = multinomial_probabilities(np.array([design.predict(row) for row in fit.coef]))
    p = design.n_columns
    blocks = [fit.bread[k * p : (k + 1) * p, k * p : (k + 1) * p] for k in range(len(fit.coef))]
    return tuple(Scores(design, w * ((kind == k + 1) - chance[k]), blocks[k], fit.n_rows) for k in range(len(fit.coef)))


def multinomial_covariance(fit: MultinomialFit, scores: tuple[Scores, ...], clusters: Clusters) -> Covariance:
    """Sandwich (K p, K p) by cluster with the factor G / (G - 1)."""
    sums = np.hstack([one.by_cluster(clusters) for one in scores]) @ fit.bread
    factor = correction_factor("g_over_gm1", clusters.count, fit.n_rows, len(fit.bread))
    return Covariance(factor * sums.T @ sums, (clusters.count,), "g_over_gm1", clusters.count - 1.0)


def _likelihood(coef: Floats, design: Design, chosen: Floats, w: Floats) -> tuple[float, Floats]:
    eta = np.array([design.predict(row) for row in coef])
    top = np.maximum(eta.max(axis=0), 0.0)
    log_sum = top + np.log(np.exp(-top) + np.exp(eta - top).sum(axis=0))
    return float(w @ ((chosen * eta).sum(axis=0) - log_sum)), multinomial_probabilities(eta)


def _information(design: Design, chance: Floats, w: Floats) -> Floats:
    k, p = len(chance), design.n_columns
    whole = np.zeros((k * p, k * p))
    for a in range(k):
        for b in range(a + 1):
            block = design.crossproduct(w * chance[a] * ((a == b) - chance[b]))
            whole[a * p : (a + 1) * p, b * p : (b + 1) * p] = block
            whole[b * p : (b + 1) * p, a * p : (a + 1) * p] = block.T
    return whole


def _ascend(
    coef: Floats, direction: Floats, value: float, design: Design, chosen: Floats, w: Floats
) -> tuple[Floats, float, Floats]:
    slack = 1e-11 * (1 + abs(value))
    for halving in range(HALVINGS):
        trial = coef + direction * 0.5**halving
        there, chance = _likelihood(trial, design, chosen, w)
        if np.isfinite(there) and there >= value - slack:
            return trial, there, chance
    raise ConvergenceError("no step along the score raises the multinomial likelihood; rescale the covariates.")
