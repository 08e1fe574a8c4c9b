"""Fixed effects taken out of columns by weighted least squares, whatever their number of levels.

The largest set of effects is eliminated exactly, by weighted means; the others by conjugate gradients on what is left,
whose products need level pairs only, not rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from missie_impact.errors import ConvergenceError
from missie_impact.numerics.cells import Codes, Floats

STEPS = 20_000
TOLERANCE = 1e-13
FLOOR = 1e-9
PATIENCE = 50


@dataclass(frozen=True, slots=True)
class Absorber:
    """Sets of effects over n rows.

    Attributes
    ----------
    first : (n,) levels of the largest set
    sums : (levels of the largest set, n) sparse indicators
    other : (n, levels of the other sets) sparse indicators, or None
    """

    first: Codes
    sums: Any
    other: Any

    def within(self, values: Floats, weight: Floats, tolerance: float = TOLERANCE) -> Floats:
        """Return what the effects leave of the columns of ``values`` (n, k) under (n,) positive weights."""
        total = self.sums @ weight
        if self.other is None:
            return self._first_out(values, weight, total)
        weighted = sparse.csr_array(sparse.diags(weight))
        cross = (self.other.T @ weighted @ self.sums.T).tocsr()
        square = (self.other.T @ weighted @ self.other).tocsr()
        once = self._first_out(values, weight, total)
        right = self.other.T @ (weight[:, None] * once)
        effects = _solve(square, cross, total, right, tolerance)
        return self._first_out(values - self.other @ effects, weight, total)

    def _first_out(self, values: Floats, weight: Floats, total: Floats) -> Floats:
        means = (self.sums @ (weight[:, None] * values)) / total[:, None]
        left: Floats = values - means[self.first]
        return left


def absorber(effects: Sequence[NDArray[Any]]) -> Absorber:
    """Make the absorber of one or more sets of effects, each (n,) whole numbers from 0 without gaps."""
    sizes = [int(codes.max()) + 1 for codes in effects]
    order = sorted(range(len(effects)), key=lambda j: -sizes[j])
    largest = effects[order[0]].astype(np.intp, copy=False)
    sums = sparse.csr_array(_indicators(largest, sizes[order[0]]).T)
    rest = [_indicators(effects[j], sizes[j]) for j in order[1:]]
    return Absorber(largest, sums, sparse.csr_array(sparse.hstack(rest)) if rest else None)


def _indicators(codes: NDArray[Any], size: int) -> Any:
    n = len(codes)
    return sparse.csr_array((np.ones(n), codes, np.arange(n + 1)), shape=(n, size))


def _solve(
    square: Any,
    cross: Any,
    total: Floats,
    right: Floats,
    tolerance: float,
) -> Floats:
    """Solve (square - cross diag(1/total) cross') x = right, column by column, by preconditioned gradients."""
    diagonal = np.where(square.diagonal() > 0, square.diagonal(), 1.0)[:, None]
    transposed = cross.T.tocsr()
    x = np.zeros_like(right)
    residual = right.copy()
    direction = step = residual / diagonal
    power = (residual * step).sum(axis=0)
    first = np.maximum(power, 1e-300)
    best, waited = power.copy(), 0
    for _ in range(STEPS):
        # Rounding sets a floor: columns that no longer improve near it are as exact as they get.
        if (power <= tolerance**2 * first).all() or (waited > PATIENCE and (best <= FLOOR**2 * first).all()):
            return x
        image = square @ direction - cross @ ((transposed @ direction) / total[:, None])
        curvature = (direction * image).sum(axis=0)
        going = (curvature > 0) & (power > tolerance**2 * first)
        length = np.divide(power, curvature, out=np.zeros_like(power), where=going)
        x = x + length * direction
        residual = residual - length * image
        step = residual / diagonal
        new = (residual * step).sum(axis=0)
        ratio = np.divide(new, power, out=np.zeros_like(new), where=going)
        direction, power = step + ratio * direction, np.where(going, new, power)
        waited = 0 if (power < best).any() else waited + 1
        best = np.minimum(best, power)
    raise ConvergenceError(
        f"fixed effects: not taken out within {STEPS:,} steps; expected sets of effects that are linked by more rows."
    )
