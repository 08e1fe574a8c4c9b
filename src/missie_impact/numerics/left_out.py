"""Logits that each leave out one part of the rows, as cross-fitting needs them, from what they have in common.

All begin at the fit on every row. There the sums of the rows that stay are the sums of all rows less those of the part,
so one pass gives the first Newton step of every fit; each needs about one more pass of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError, SeparationError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.cells import Design, Floats
from missie_impact.numerics.design import rows_of
from missie_impact.numerics.likelihood import Block, Moments, block_moments

MANY_ROWS = 200_000  # from here on a fit on a share of the rows finds where to begin
SHARE = 20
ALMOST = 0.1  # scaled gradient of all rows at which the parts can begin
EXACT = 1e-7  # scaled gradient that the last step leaves
MAX_STEPS = 8
PIVOT = 1e-8  # smallest pivot, squared, of a scaled information that is no near collinearity


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows of which each part lies together.

    Attributes
    ----------
    y : (n,) 0 or 1
    design : covariates of the rows, the constant first
    weight : (n,) product of frequency and probability weights, or None
    slices : rows of each part; rows in none of them take no part
    """

    y: Floats
    design: Design
    weight: Floats | None
    slices: tuple[slice, ...]

    def blocks(self, without: int | None = None) -> list[Block]:
        """Rows of every part, or of all but one; nothing is copied."""
        return [self.block(rows) for j, rows in enumerate(self.slices) if j != without]

    def block(self, rows: slice) -> Block:
        """Some rows; nothing is copied."""
        weight = None if self.weight is None else self.weight[rows]
        return Block(self.y[rows], rows_of(self.design, rows), None, weight)


def fits_without_each(parts: Parts) -> tuple[Floats | None, ...]:
    """Coefficients of the logits that leave out one part each, (k,) per part.

    Returns
    -------
    tuple
        None for a part whose fit needs more care: a level or a combination that predicts perfectly in the rows that
        stay, columns that say nothing new there, or steps that do not shrink as they should.
    """
    clean = _without_separated_levels(parts)
    start = _start(parts) if any(clean) else None
    if start is None:
        return (None,) * len(parts.slices)
    own = [block_moments(block, start, "logit") for block in parts.blocks()]
    total = _sum(own)
    return tuple(
        _finish(parts, j, start, _less(total, own[j])) if fine else None for j, fine in enumerate(clean)
    )  # fmt: skip


def _without_separated_levels(parts: Parts) -> list[bool]:
    """Whether every level has events and other rows once a part is left out."""
    design = parts.design
    counts = []
    for block in parts.blocks():
        weight = np.ones(len(block.y)) if block.weight is None else block.weight
        counts.append([block.design.per_cell(w) for w in (weight, weight * block.y)])
    each = np.array(counts)  # (parts, 2, cells)
    left = each.sum(axis=0) - each
    fine = np.ones(len(each), dtype=bool)
    for position, (_, levels) in enumerate(design.layout.factors):
        level = np.zeros((design.n_cells, len(levels)))
        level[np.arange(design.n_cells), design.codes[:, position]] = 1.0
        rows, events = (left[:, k] @ level for k in (0, 1))
        fine &= ((events > 0) & (events < rows * (1 - 1e-12))).all(axis=1)
    return [bool(f) for f in fine]


def _start(parts: Parts) -> Floats | None:
    """Fit on all rows, near enough; None where it has no maximum or repeats itself."""
    try:
        coef = _begin(parts)
        for _ in range(MAX_STEPS):
            here = _sum([block_moments(block, coef, "logit") for block in parts.blocks()])
            step, gradient, pivot = _newton(here)
            if pivot < PIVOT:
                return None
            coef = coef + step
            if gradient * _reach(here, step) < ALMOST:
                return coef
    except (NoEventError, SeparationError, CollinearityError, ConvergenceError, np.linalg.LinAlgError):
        return None
    return None


def _begin(parts: Parts) -> Floats:
    """Fit on a share of the rows of each part, or on all of few."""
    many = sum(rows.stop - rows.start for rows in parts.slices) >= MANY_ROWS
    chosen = np.concatenate([np.arange(rows.start, rows.stop, SHARE if many else 1) for rows in parts.slices])
    weight = None if parts.weight is None else parts.weight[chosen]
    some = rows_of(parts.design, chosen)
    return fit_binomial(parts.y[chosen], some, link="logit", probability=weight, tolerance=1e-4).coef


def _finish(parts: Parts, j: int, start: Floats, here: Moments) -> Floats | None:
    """Newton steps on all rows but those of part j; the last one is taken without looking back."""
    coef, before = start, np.inf
    try:
        for _ in range(MAX_STEPS):
            step, gradient, pivot = _newton(here)
            if pivot < PIVOT or gradient > before / 4:
                return None
            coef, before = coef + step, gradient
            # what a step leaves of the gradient is about the relative change of the information along it
            if gradient * _reach(here, step) < EXACT:
                return coef
            here = _sum([block_moments(block, coef, "logit") for block in parts.blocks(without=j)])
    except np.linalg.LinAlgError:
        return None
    return None


def _newton(here: Moments) -> tuple[Floats, float, float]:
    """Step, largest score in its own standard deviations, smallest squared pivot of the scaled information."""
    scale = np.sqrt(np.diag(here.information))
    if not (scale > 0).all():
        raise np.linalg.LinAlgError
    lower = linalg.cholesky(here.information / np.outer(scale, scale), lower=True)
    step = linalg.cho_solve((lower, True), here.score / scale) / scale
    return step, float(np.abs(here.score / scale).max()), float(np.diag(lower).min()) ** 2


def _reach(here: Moments, step: Floats) -> float:
    """How far a step moves rows, root mean square by their information, which the constant sums up."""
    return float(np.sqrt(step @ here.information @ step / here.information[0, 0]))


def _sum(moments: list[Moments]) -> Moments:
    return Moments(
        sum(m.log_likelihood for m in moments),
        np.sum([m.score for m in moments], axis=0),
        np.sum([m.information for m in moments], axis=0),
    )


def _less(all_rows: Moments, part: Moments) -> Moments:
    return Moments(
        all_rows.log_likelihood - part.log_likelihood,
        all_rows.score - part.score,
        all_rows.information - part.information,
    )
