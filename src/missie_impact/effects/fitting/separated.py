"""Rows that a combination of terms predicts perfectly, found exactly in tables of millions of rows.

The linear programme of Konis (2007) has one constraint per row. Nearly all of them never bind, so it is solved on a
part of the rows, and rows that its solution violates are added until there are none: the same answer as on all rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from missie_impact.errors import ConvergenceError
from missie_impact.numerics.cells import Design
from missie_impact.numerics.separation import Separation

Floats = NDArray[np.float64]

FIRST_ROWS = 20_000
MORE_ROWS = 20_000
ROUNDS = 40
TOLERANCE = 1e-6


def separated_rows(y: Floats, design: Design) -> Separation | None:
    """Find rows that some direction d predicts perfectly: x'd >= 0 for events, <= 0 for others, not all zero.

    Maximises the sum of s x'd over all rows, s = 1 for events and -1 for others, with every entry of d between -1 and
    1. One direction need not move every row that can be moved: ask again without the rows it found.

    Parameters
    ----------
    y : (n,) 0 or 1
    design : covariates; its offset plays no part

    Returns
    -------
    Separation or None
        None where the likelihood has a finite maximum.

    Raises
    ------
    ConvergenceError
        If the programme does not settle.

    References
    ----------
    Konis (2007), DPhil thesis, Oxford; Kelley (1960), SIAM 8, 703-712, for adding violated constraints.
    """
    sign = np.where(y > 0, 1.0, -1.0)
    p = design.n_dummies
    scale = np.ones(design.n_columns)
    scale[p:] = [max(float(np.abs(x).max(initial=0.0)), 1e-300) for x in design.continuous]
    objective = -design.sums(sign) / scale
    chosen = _first_rows(y)
    for _ in range(ROUNDS):
        direction = _widest_direction(objective, design, sign, chosen, scale)
        along = sign * (_predict(design, direction))
        wrong = np.flatnonzero(along < -TOLERANCE)
        if not len(wrong):
            moved = along > TOLERANCE
            columns = np.flatnonzero(np.abs(direction * scale) > TOLERANCE)
            return Separation(moved, tuple(int(j) for j in columns)) if moved.any() else None
        worst = wrong[np.argsort(along[wrong], kind="stable")[:MORE_ROWS]]
        chosen = np.union1d(chosen, worst)
    raise ConvergenceError(
        f"the search for separated rows did not settle after {ROUNDS} rounds over {len(y)} rows; leave out controls "
        "with many levels, or merge levels."
    )


def _first_rows(y: Floats) -> NDArray[np.intp]:
    """Rows to begin with: events and others, evenly spread and as many of each as there are up to a limit."""
    parts = []
    for kind in (y > 0, y <= 0):
        rows = np.flatnonzero(kind)
        parts.append(rows[:: max(len(rows) // FIRST_ROWS, 1)])
    return np.concatenate(parts)


def _widest_direction(
    objective: Floats, design: Design, sign: Floats, chosen: NDArray[np.intp], scale: Floats
) -> Floats:
    continuous = sparse.csr_array(design.continuous[:, chosen].T / scale[design.n_dummies :])
    rows = sparse.hstack([design.dummies[design.cell[chosen]], continuous], format="csr")
    constraint = rows.multiply(-sign[chosen][:, None]).tocsr()
    result = optimize.linprog(objective, A_ub=constraint, b_ub=np.zeros(len(chosen)), bounds=(-1, 1), method="highs")
    if not result.success:
        raise ConvergenceError("the linear programme that looks for separation did not settle; rescale the columns.")
    return np.asarray(result.x, dtype=np.float64) / scale


def _predict(design: Design, direction: Floats) -> Floats:
    along = np.asarray(design.dummies @ direction[: design.n_dummies])[design.cell]
    for slope, values in zip(direction[design.n_dummies :], design.continuous, strict=True):
        along += slope * values
    return along
