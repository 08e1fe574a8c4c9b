"""Rows of a Poisson model that are predicted to be zero exactly, so that no finite estimate fits them.

A zero row is separated when some combination of covariates and effects is zero in every row with a positive outcome,
never negative in a zero row, and positive in this one (Correia, Guimaraes and Zylkin 2019, Verifying the existence of
maximum likelihood estimates for generalized linear models). Such rows say nothing about the other parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.sparse import csgraph
from scipy.sparse import linalg as sparse_linalg

from missie_impact.errors import ConvergenceError
from missie_impact.numerics.cells import Codes, Floats

Mask = NDArray[np.bool_]

NONZERO = 1e-6  # share of the largest predicted value below which a direction counts as zero


@dataclass(frozen=True, slots=True)
class PoissonRows:
    """Rows on which a Poisson likelihood has a finite maximum.

    Attributes
    ----------
    kept : (n,) rows that stay
    all_zero : rows left out because a whole level of an effect is zero
    separated : rows left out because covariates and effects together predict zero
    """

    kept: Mask
    all_zero: int
    separated: int


def find_separated(y: Floats, x: Floats, effects: Sequence[NDArray[Any]]) -> PoissonRows:
    """Find rows without information in a Poisson model.

    Parameters
    ----------
    y : (n,) outcomes of at least zero
    x : (n, k) covariates
    effects : (n,) levels of each set of effects; with none, ``x`` should hold a constant
    """
    kept = np.ones(len(y), dtype=bool)
    while True:  # a level that empties may empty a level of another set
        before = int(kept.sum())
        for codes in effects:
            totals = np.bincount(codes[kept], y[kept], minlength=int(codes.max()) + 1)
            kept &= totals[codes] > 0
        if int(kept.sum()) == before:
            break
    all_zero = len(y) - before
    rows = np.flatnonzero(kept)
    if len(rows):
        kept[rows[_separated(y[rows] > 0, x[rows], [_compact(c[rows]) for c in effects])]] = False
    return PoissonRows(kept, all_zero, before - int(kept.sum()))


def _compact(codes: NDArray[Any]) -> Codes:
    return np.unique(codes, return_inverse=True)[1].reshape(-1).astype(np.intp)


def _separated(positive: Mask, x: Floats, effects: Sequence[Codes]) -> Mask:
    """Return which rows are separated: a quick look whether any can be, then a linear program on those linked."""
    none = np.zeros(len(positive), dtype=bool)
    if positive.all():
        return none
    spread = np.sqrt((x**2).mean(axis=0))
    scaled = x / np.where(spread > 0, spread, 1.0)
    matrix = _matrix(scaled, effects)
    free = _free_direction(matrix, positive)
    size = np.abs(matrix @ free)
    affected = ~positive & (size > NONZERO * max(float(np.abs(free).max()), 1e-300))
    if not affected.any():
        return none
    moved = x.shape[1] > 0 and float(np.abs(free[: x.shape[1]]).max()) > NONZERO * float(np.abs(free).max())
    linked = np.ones(len(positive), dtype=bool) if moved or not effects else _linked(effects, affected)
    rows = np.flatnonzero(linked)
    found = _program(matrix[rows], positive[rows])
    none[rows[found]] = True
    return none


def _matrix(x: Floats, effects: Sequence[Codes]) -> Any:
    n = len(x)
    blocks = [sparse.csr_array(x)]
    for codes in effects:
        blocks.append(sparse.csr_array((np.ones(n), codes, np.arange(n + 1)), shape=(n, int(codes.max()) + 1)))
    return sparse.csr_array(sparse.hstack(blocks))


def _free_direction(matrix: Any, positive: Mask) -> Floats:
    """A random combination of columns that is zero in every positive row: none of its zeros elsewhere is chance."""
    start = np.random.default_rng(1).normal(size=matrix.shape[1])
    fixed = matrix[np.flatnonzero(positive)]
    part = sparse_linalg.lsmr(fixed, fixed @ start, atol=1e-13, btol=1e-13, maxiter=20_000)[0]
    free: Floats = start - part
    return free


def _linked(effects: Sequence[Codes], affected: Mask) -> Mask:
    """Rows linked to the affected ones through shared levels."""
    offsets = np.cumsum([0, *(int(c.max()) + 1 for c in effects)])
    ends = [codes + offset for codes, offset in zip(effects, offsets, strict=False)]
    size = int(offsets[-1])
    pairs = [(ends[0], other) for other in ends[1:]] or [(ends[0], ends[0])]
    one, other = (np.concatenate([p[j] for p in pairs]) for j in range(2))
    graph = sparse.csr_array((np.ones(len(one)), (one, other)), shape=(size, size))
    label = csgraph.connected_components(graph, directed=False)[1][ends[0]]
    return np.asarray(np.isin(label, np.unique(label[affected])))


def _program(matrix: Any, positive: Mask) -> NDArray[np.intp]:
    """Rows that some direction makes positive while none becomes negative, all of them in one linear program."""
    zero = np.flatnonzero(~positive)
    moving = matrix[zero]
    solve: Any = optimize.linprog  # its types know no sparse matrices
    result = solve(
        -np.asarray(moving.sum(axis=0)).reshape(-1),
        A_ub=sparse.csr_array(sparse.vstack([moving, -moving])),
        b_ub=np.concatenate([np.ones(len(zero)), np.zeros(len(zero))]),
        A_eq=matrix[np.flatnonzero(positive)],
        b_eq=np.zeros(int(positive.sum())),
        bounds=(None, None),
        method="highs",
    )
    if result.status != 0:
        raise ConvergenceError("separation: the linear program that looks for predicted zeros found no answer.")
    found: NDArray[np.intp] = zero[np.asarray(moving @ result.x) > NONZERO]
    return found
