"""Covariates of many rows, kept small: the factors of a row name one cell, and the rows of a cell share its dummies.

A row of the model matrix is ``[dummies of its cell | its own continuous columns]``. A pass over the data therefore
needs only sums per cell besides the few continuous columns, however many levels the factors have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

ROWS_PER_SLICE = 1 << 16  # a slice of every working array stays in the cache of one core


@dataclass(frozen=True, slots=True)
class Factor:
    """A categorical covariate. The first level is the reference.

    Attributes
    ----------
    name : the variable
    codes : (n,) level of each row, 0 .. len(levels) - 1
    levels : names of the levels
    """

    name: str
    codes: NDArray[np.integer[Any]]
    levels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A continuous covariate: its name and its (n,) values, finite."""

    name: str
    values: Floats


@dataclass(frozen=True, slots=True)
class Term:
    """One column of the model: its variables and, for factors, their levels. Never parsed back from text."""

    variables: tuple[str, ...]
    levels: tuple[str | None, ...]

    @property
    def variable(self) -> str:
        """Variables of the term, joined with a colon."""
        return ":".join(self.variables)

    @property
    def level(self) -> str:
        """Levels of its factors, joined with a colon; empty for continuous columns."""
        return ":".join(level for level in self.levels if level is not None)

    @property
    def name(self) -> str:
        """Name for tables: ``size[large]``, ``treated[1]:size[large]``, ``log_workers``."""
        return ":".join(v if x is None else f"{v}[{x}]" for v, x in zip(self.variables, self.levels, strict=True))


INTERCEPT = Term(("(Intercept)",), (None,))


@dataclass(frozen=True, slots=True)
class Layout:
    """What a design is made of, so that it can be made again with other rows or another level.

    Attributes
    ----------
    factors : name and levels of each factor
    columns : names of the continuous columns
    interactions : names that multiply each other
    intercept : whether a constant stands in front
    """

    factors: tuple[tuple[str, tuple[str, ...]], ...]
    columns: tuple[str, ...]
    interactions: tuple[tuple[str, ...], ...]
    intercept: bool


@dataclass(frozen=True, slots=True)
class Design:
    """Covariates of n rows: p dummy columns shared by the rows of a cell, q continuous columns of their own.

    Attributes
    ----------
    cell : (n,) cell of each row, 0 .. C-1
    codes : (C, number of factors) level of each factor in each cell
    dummies : (C, p) sparse dummy columns of each cell, the intercept first
    continuous : (q, n) other columns, one contiguous row each
    terms : the p + q columns, dummies first
    layout : what it was made of
    kept : columns kept of all that the layout gives
    offset : (n,) added to the linear predictor, or None
    """

    cell: Codes
    codes: Codes
    dummies: sparse.csr_array[np.float64]
    continuous: Floats
    terms: tuple[Term, ...]
    layout: Layout
    kept: tuple[int, ...]
    offset: Floats | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return len(self.cell)

    @property
    def n_cells(self) -> int:
        """Number of occupied cells C."""
        return int(self.dummies.shape[0])

    @property
    def n_dummies(self) -> int:
        """Number of dummy columns p."""
        return int(self.dummies.shape[1])

    @property
    def n_columns(self) -> int:
        """Number of columns p + q."""
        return len(self.terms)

    def slices(self) -> Iterator[slice]:
        """Slices that cover all rows, each small enough for the cache and large against the number of cells."""
        size = max(ROWS_PER_SLICE, 2 * self.n_cells)
        return (slice(first, first + size) for first in range(0, self.n_rows, size))

    def predict(self, coef: Floats, rows: slice = slice(None), cells: Floats | None = None) -> Floats:
        """Linear predictor of the rows, offset included, shape (n,); ``cells`` is `predict_cells` of the same coef."""
        eta: Floats = (self.predict_cells(coef) if cells is None else cells)[self.cell[rows]]
        for slope, values in zip(coef[self.n_dummies :], self.continuous, strict=True):
            eta += slope * values[rows]
        if self.offset is not None:
            eta += self.offset[rows]
        return eta

    def predict_cells(self, coef: Floats) -> Floats:
        """Return the part of the linear predictor that rows of a cell share, shape (C,)."""
        return np.asarray(self.dummies @ coef[: self.n_dummies])

    def cluster_sums(self, row: Floats, cluster: Codes, count: int) -> Floats:
        """Sum ``row * covariate`` per cluster, shape (count, p + q), without an n x (p + q) matrix."""
        p, width = self.n_dummies, self.n_columns + 1
        # Every cell has few dummies that are one. Its s-th such column is one number per row: one count per s.
        present = np.diff(self.dummies.indptr)
        total = np.zeros(count * width)
        base = cluster * width
        for s in range(int(present.max(initial=0))):
            column = np.full(self.n_cells, self.n_columns)  # cells with fewer ones add to a last column, cut off below
            has = np.flatnonzero(present > s)
            column[has] = self.dummies.indices[self.dummies.indptr[has] + s]
            total += np.bincount(base + column[self.cell], row, minlength=len(total))
        sums = total.reshape(count, width)[:, :-1]
        for j, values in enumerate(self.continuous):
            sums[:, p + j] = np.bincount(cluster, row * values, minlength=count)
        return sums

    def per_cell(self, row: Floats, rows: slice = slice(None)) -> Floats:
        """Sum of ``row`` per cell, shape (C,); ``row`` holds the values of ``rows`` only."""
        return np.bincount(self.cell[rows], row, minlength=self.n_cells).astype(np.float64, copy=False)

    def sums(self, row: Floats) -> Floats:
        """Sum ``row * covariate`` over all rows, shape (p + q,)."""
        return np.concatenate([self.dummies.T @ self.per_cell(row), self.continuous @ row])

    def crossproduct(self, weight: Floats, centre: Floats | None = None) -> Floats:
        """X' diag(weight) X, shape (p + q, p + q); continuous columns less ``centre`` (q,) if given."""
        q = len(self.continuous)
        cells, mixed, other = np.zeros(self.n_cells), np.zeros((q, self.n_cells)), np.zeros((q, q))
        for rows in self.slices():
            w, x = weight[rows], self.continuous[:, rows]
            x = x if centre is None else x - centre[:, None]
            weighted = x * w
            cells += self.per_cell(w, rows)
            other += weighted @ x.T
            for j in range(q):
                mixed[j] += self.per_cell(weighted[j], rows)
        return self.assemble(cells, mixed, other)

    def assemble(self, cells: Floats, mixed: Floats, other: Floats) -> Floats:
        """Join the pieces of a crossproduct: weight per cell (C,), columns per cell (q, C), among columns (q, q)."""
        of_ones = np.repeat(cells, np.diff(self.dummies.indptr))
        weighted = sparse.csr_array(
            (self.dummies.data * of_ones, self.dummies.indices, self.dummies.indptr), self.dummies.shape
        )
        dummies = (self.dummies.T @ weighted).toarray()
        across = np.asarray(self.dummies.T @ mixed.T)
        return np.block([[dummies, across], [across.T, other]])

    def crossproduct_with(self, other: Design, weight: Floats) -> Floats:
        """X' diag(weight) Z for another design of the same rows, shape (p + q, columns of the other)."""
        pairs = sparse.csr_array((weight, (self.cell, other.cell)), shape=(self.n_cells, other.n_cells))
        return np.block(
            [
                [
                    (self.dummies.T @ pairs @ other.dummies).toarray(),
                    self.dummies.T @ _columns(self.n_cells, [self.per_cell(weight * z) for z in other.continuous]),
                ],
                [
                    (
                        other.dummies.T @ _columns(other.n_cells, [other.per_cell(weight * x) for x in self.continuous])
                    ).T,
                    (self.continuous * weight) @ other.continuous.T,
                ],
            ]
        )

    def without(self, columns: Sequence[int]) -> Design:
        """Return the same rows without these columns."""
        stay = [j for j in range(self.n_columns) if j not in set(columns)]
        p = self.n_dummies
        return replace(
            self,
            dummies=sparse.csr_array(self.dummies[:, [j for j in stay if j < p]]),
            continuous=self.continuous[[j - p for j in stay if j >= p]],
            terms=tuple(self.terms[j] for j in stay),
            kept=tuple(self.kept[j] for j in stay),
        )

    def written_out(self, rows: Codes | slice = slice(None)) -> Floats:
        """Return the (n, p + q) model matrix of some rows. For tests and small data."""
        return np.column_stack([self.dummies[self.cell[rows]].toarray(), self.continuous[:, rows].T])

    def positions(self, variable: str) -> tuple[int, ...]:
        """Positions of all columns in which a variable takes part, interactions included."""
        return tuple(j for j, term in enumerate(self.terms) if variable in term.variables)


def _columns(length: int, columns: list[Floats]) -> Floats:
    return np.array(columns).reshape(-1, length).T  # also without any column
