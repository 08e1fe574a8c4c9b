"""A logit on the controls alone: the propensity score, or the risk within one arm, predicted for any rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.model import CERTAIN, variable_on
from missie_impact.effects.fitting.rows import Rows
from missie_impact.effects.fitting.separated import separated_rows
from missie_impact.errors import ConvergenceError, SeparationError
from missie_impact.numerics.binomial import BinomialFit, Block, fit_binomial, fit_blocks
from missie_impact.numerics.design import Column, Design, Factor, build_design, rows_of
from missie_impact.numerics.links import get_link
from missie_impact.numerics.separation import SeparatedLevel, Settled, settle

NEAR = 1e-6  # scaled gradient of a fit begun near its end: steps are quadratic, and predictions need no more

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Logit:
    """A logit fitted on some rows of a design, to be predicted for others.

    Attributes
    ----------
    coef : (k,) on all columns of the design it came from, zero for columns left out
    certain : levels whose outcome is certain among its rows
    lost : rows that a combination of terms predicts perfectly, which left the likelihood
    used : positions of the rows in the likelihood
    settled : their design
    fit : the optimum
    """

    coef: Floats
    certain: tuple[SeparatedLevel, ...]
    lost: int
    used: Positions
    settled: Settled
    fit: BinomialFit

    def predict(self, design: Design, rows: Positions | slice | None = None) -> Floats:
        """Probability of some rows of the design, shape (n,); certain levels have probability 0 or 1."""
        some = design if rows is None else rows_of(design, rows)
        shift = np.zeros(some.n_cells)
        names = [name for name, _ in some.layout.factors]
        for found in self.certain:
            position = names.index(found.term.variable)
            inside = some.codes[:, position] == some.layout.factors[position][1].index(found.term.level)
            shift[inside & (shift == 0.0)] = CERTAIN if found.n_events else -CERTAIN
        eta = some.predict(self.coef) + shift[some.cell]
        return get_link("logit").probability(eta)


def covariates_of(rows: Rows, positions: Positions) -> tuple[Design, tuple[str, ...]]:
    """Controls of some rows without the treatment, and the names of those that do not vary there."""
    factors: list[Factor] = []
    columns: list[Column] = []
    constant = []
    for variable in (v for v in rows.variables if v.name not in rows.products):
        kept = variable_on(variable, positions)
        if kept is None:
            constant.append(variable.name)
        elif isinstance(kept, Factor):
            factors.append(kept)
        else:
            columns.append(kept)
    return build_design(factors, columns, n_rows=len(positions)), tuple(constant)


def fit_logit(
    y: Floats, design: Design, weight: tuple[Floats | None, Floats | None], start: Logit | None = None
) -> Logit:
    """Fit a logit; levels that say nothing leave with their rows, columns that say nothing new are left out.

    Parameters
    ----------
    y : (n,) 0 or 1
    design : (n rows) from `covariates_of`
    weight : frequency and probability weights, (n,) each or None; rows of weight zero are out
    start : a fit on nearly the same rows, to begin from

    Raises
    ------
    NoEventError
        If the rows have no event, or only events.
    ConvergenceError
        If the likelihood has no maximum within reach.
    """
    rows: Positions = np.arange(design.n_rows)
    lost = 0
    while True:
        here, some = rows_of(design, rows) if lost else design, y[rows]
        frequency, probability = (None if w is None else w[rows] for w in weight)
        settled = settle(some, here, frequency=frequency, probability=probability)
        used = rows[settled.rows]
        parts = [None if w is None else w[used] for w in weight]
        try:
            fit = _fit(y[used], settled.design, parts, start)
            break
        except SeparationError:
            found = separated_rows(y[used], settled.design)
            if found is None:
                raise ConvergenceError(
                    f"the likelihood over {len(used)} rows diverges, although no combination of terms predicts rows "
                    "perfectly. Rescale controls of very different size, or leave some out."
                ) from None
            lost += int(found.rows.sum())
            rows = np.setdiff1d(rows, used[found.rows])
    place = {term: j for j, term in enumerate(design.terms)}
    coef = np.zeros(design.n_columns)
    coef[[place[term] for term in fit.terms]] = fit.coef
    return Logit(coef, settled.separated, lost, used, settled, fit)


def _fit(y: Floats, design: Design, weight: Sequence[Floats | None], start: Logit | None) -> BinomialFit:
    frequency, probability = weight
    if start is None or design.terms != start.fit.terms:
        return fit_binomial(y, design, link="logit", frequency=frequency, probability=probability)
    block = Block(y, design, frequency, probability)
    return fit_blocks(lambda: (block,), link="logit", start=start.fit.coef, tolerance=NEAR)
