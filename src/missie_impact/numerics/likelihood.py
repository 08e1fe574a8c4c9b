"""Binomial log likelihood, score and information summed over rows that come in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from missie_impact.numerics.cells import Design, Floats
from missie_impact.numerics.links import LinkName, get_link


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that are passed over together. All blocks of a fit share their terms.

    Attributes
    ----------
    y : (n,) 0 or 1, or the share of events among the ``frequency`` equal rows it stands for
    design : covariates
    frequency : (n,) how many rows each row stands for; None is one
    probability : (n,) sampling, matching or balancing weight; None is one
    """

    y: Floats
    design: Design
    frequency: Floats | None = None
    probability: Floats | None = None

    @property
    def weight(self) -> Floats | None:
        """Product of both weights, or None where both are one."""
        if self.frequency is None or self.probability is None:
            return self.frequency if self.probability is None else self.probability
        return self.frequency * self.probability


Blocks = Callable[[], Iterable[Block]]


@dataclass(frozen=True, slots=True)
class Moments:
    """Log likelihood, score (k,) and information (k, k) at given coefficients."""

    log_likelihood: float
    score: Floats
    information: Floats


def moments_at(
    coef: Floats,
    y: Floats,
    design: Design,
    *,
    link: LinkName = "cloglog",
    weight: Floats | None = None,
    information: Literal["expected", "observed"] = "expected",
) -> Moments:
    """Log likelihood, score and information at given coefficients.

    Parameters
    ----------
    weight : (n,) product of frequency and probability weights
    information : "expected", or "observed" for minus the Hessian
    """
    terms = get_link(link).terms(y, design.predict(coef))
    weight = np.ones(design.n_rows) if weight is None else weight
    chosen = terms.observed if information == "observed" else terms.expected
    return Moments(
        float(weight @ terms.log_likelihood), design.sums(weight * terms.score), design.crossproduct(weight * chosen)
    )


def loglik_at(
    coef: Floats, y: Floats, design: Design, *, link: LinkName = "cloglog", weight: Floats | None = None
) -> float:
    """Log likelihood at given coefficients."""
    value = get_link(link).terms(y, design.predict(coef)).log_likelihood
    return float(value.sum() if weight is None else weight @ value)


def total_moments(blocks: Blocks, coef: Floats, link: LinkName) -> Moments:
    """Sum over blocks; one pass over all rows."""
    log_likelihood, score, information = 0.0, np.zeros(len(coef)), np.zeros((len(coef), len(coef)))
    for block in blocks():
        part = block_moments(block, coef, link)
        log_likelihood += part.log_likelihood
        score += part.score
        information += part.information
    return Moments(log_likelihood, score, information)


def block_moments(block: Block, coef: Floats, link: LinkName) -> Moments:
    """One pass over the rows of a block, slice by slice so that nothing of length n is made."""
    design, weight, quick = block.design, block.weight, get_link(link).quick
    q = len(design.continuous)
    total, cells_score, cells_weight = 0.0, np.zeros(design.n_cells), np.zeros(design.n_cells)
    mixed, other, slopes = np.zeros((q, design.n_cells)), np.zeros((q, q)), np.zeros(q)
    cells = design.predict_cells(coef)
    for rows in design.slices():
        log_likelihood, score, information = quick(block.y[rows], design.predict(coef, rows, cells))
        if weight is not None:
            log_likelihood, score, information = (weight[rows] * v for v in (log_likelihood, score, information))
        total += float(log_likelihood.sum())
        cells_score += design.per_cell(score, rows)
        cells_weight += design.per_cell(information, rows)
        x = design.continuous[:, rows]
        weighted = x * information
        slopes += x @ score
        other += weighted @ x.T
        for j in range(q):
            mixed[j] += design.per_cell(weighted[j], rows)
    score_vector = np.concatenate([design.dummies.T @ cells_score, slopes])
    return Moments(total, score_vector, design.assemble(cells_weight, mixed, other))
