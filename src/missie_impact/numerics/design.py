"""Designs from arrays, in the world of another level, on fewer rows; and which columns say nothing new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import (
    INTERCEPT,
    Codes,
    Column,
    Design,
    Factor,
    Floats,
    Layout,
    Term,
)

__all__ = [
    "Column",
    "Design",
    "Factor",
    "Layout",
    "Term",
    "aliased",
    "build_design",
    "factor_of",
    "rows_of",
    "take_rows",
    "with_level",
    "with_value",
]

PIVOT_TOLERANCE = 1e-9  # share of a column's own variation left by the columns before it


def build_design(
    factors: Sequence[Factor],
    continuous: Sequence[Column],
    intercept: bool = True,
    *,
    interactions: Sequence[tuple[str, ...]] = (),
    offset: Floats | None = None,
    n_rows: int | None = None,
) -> Design:
    """Build a design from factors and continuous columns, treatment contrasts throughout.

    Parameters
    ----------
    factors : their first level is the reference; without an intercept the first factor shows all its levels
    continuous : columns of finite values
    intercept : whether a constant comes first
    interactions : tuples of names (factors, columns or both) whose columns are multiplied, beside the main effects
    offset : (n,) added to the linear predictor with coefficient one
    n_rows : needed only when there is neither a factor nor a column

    Raises
    ------
    SettingsError
        If lengths differ, a code lies outside its levels, a value is not finite, or a name is unknown or repeated.
    """
    n = _length(factors, continuous, offset, n_rows)
    names = [f.name for f in factors] + [c.name for c in continuous]
    if len(set(names)) < len(names):
        raise SettingsError(f"expected distinct names of covariates, found repeated ones among {names}.")
    unknown = sorted({name for group in interactions for name in group} - set(names))
    if unknown:
        raise SettingsError(f"interactions name {unknown}, which are neither factors nor columns of this design.")
    for column in continuous:
        bad = n - int(np.isfinite(column.values).sum())
        if bad:
            raise SettingsError(f"column {column.name!r} is not finite in {bad} rows; drop or fill them first.")
    codes, cell = _cells(factors, n)
    layout = Layout(
        tuple((f.name, tuple(f.levels)) for f in factors),
        tuple(c.name for c in continuous),
        tuple(tuple(group) for group in interactions),
        intercept,
    )
    base = np.empty((len(continuous), n))
    for j, column in enumerate(continuous):
        base[j] = column.values
    return _made(layout, cell, codes, base, None if offset is None else np.asarray(offset, dtype=np.float64), None)


def with_level(design: Design, name: str, level: str) -> Design:
    """Return the same rows with a factor set to one level everywhere: the world of that level."""
    names = [factor for factor, _ in design.layout.factors]
    if name not in names or level not in dict(design.layout.factors)[name]:
        raise SettingsError(f"expected a factor and one of its levels, found {name!r} and {level!r}.")
    position = names.index(name)
    codes = design.codes.copy()
    codes[:, position] = design.layout.factors[position][1].index(level)
    base = _base(design)
    return _made(design.layout, design.cell, codes, base, design.offset, design.kept)


def with_value(design: Design, name: str, value: ArrayLike) -> Design:
    """Return the same rows with a continuous column set to a value, or to (n,) values."""
    if name not in design.layout.columns:
        raise SettingsError(f"expected a continuous column, found {name!r}.")
    base = _base(design).copy()
    base[design.layout.columns.index(name)] = np.asarray(value, dtype=np.float64)
    return _made(design.layout, design.cell, design.codes, base, design.offset, design.kept)


def take_rows(design: Design, rows: NDArray[Any]) -> Design:
    """Return a design of some rows (a mask or positions). Levels left without a row go; dropped columns return."""
    cell, codes = design.cell[rows], design.codes
    codes, cell = _occupied(codes, cell)
    factors, used = [], []
    for (name, levels), column in zip(design.layout.factors, codes.T, strict=True):
        present = np.zeros(len(levels), dtype=bool)
        present[column] = True
        factors.append((name, tuple(x for x, there in zip(levels, present, strict=True) if there)))
        used.append((np.cumsum(present) - 1)[column])
    layout = replace(design.layout, factors=tuple(factors))
    codes = np.array(used, dtype=np.intp).reshape(len(factors), -1).T if factors else codes
    offset = None if design.offset is None else design.offset[rows]
    return _made(layout, cell, codes, _base(design)[:, rows], offset, None)


def rows_of(design: Design, rows: NDArray[Any] | slice) -> Design:
    """Return some rows (a mask, positions or a slice) with all columns, those that are zero there among them."""
    offset = None if design.offset is None else design.offset[rows]
    if isinstance(rows, slice):
        some = design.continuous[:, rows]
    else:
        some = np.take(design.continuous, np.flatnonzero(rows) if rows.dtype == np.bool_ else rows, axis=1)
    return replace(design, cell=design.cell[rows], continuous=some, offset=offset)


def factor_of(name: str, values: ArrayLike, reference: object = None) -> Factor:
    """Make a factor from (n,) values, levels sorted, the reference first.

    Raises
    ------
    SettingsError
        If the reference does not occur.
    """
    found, codes = np.unique(np.asarray(values), return_inverse=True)
    codes = codes.reshape(-1)
    levels = [str(x) for x in found.tolist()]
    if reference is not None:
        if str(reference) not in levels:
            raise SettingsError(f"factor {name!r} has no level {str(reference)!r}; it has {len(levels)} others.")
        first = levels.index(str(reference))
        order = [first, *(i for i in range(len(levels)) if i != first)]
        rank = np.empty(len(levels), dtype=np.intp)
        rank[order] = np.arange(len(levels))
        codes, levels = rank[codes], [levels[i] for i in order]
    return Factor(name, codes.astype(np.intp, copy=False), tuple(levels))


def aliased(design: Design, weight: Floats | None = None, last: Sequence[int] = ()) -> tuple[int, ...]:
    """Find the columns that are combinations of the columns before them, as R's ``glm`` marks them NA.

    Parameters
    ----------
    design : columns in their order
    weight : (n,) weights, one if left out; a column without a weighted row is aliased
    last : columns to be judged after all others; put the treatment here to learn whether it is identified

    Returns
    -------
    tuple of int
        Positions of the aliased columns, sorted. The caller drops them (``Design.without``) or raises.
    """
    weight = np.ones(design.n_rows) if weight is None else weight
    constant = design.layout.intercept or bool(design.layout.factors)
    total = float(weight.sum())
    # Centring keeps a year of 2004..2024 from looking like the constant; it leaves the span unchanged.
    centre = design.continuous @ weight / total if constant and total > 0 else np.zeros(len(design.continuous))
    cross = design.crossproduct(weight, centre)
    scale = np.sqrt(np.diag(cross))
    raw = np.sqrt(np.maximum((design.continuous**2) @ weight, 0.0))
    floor = np.concatenate([np.zeros(design.n_dummies), 1e-7 * raw])
    empty = scale <= floor
    scale[empty] = 1.0
    left = cross / np.outer(scale, scale)
    dropped = np.flatnonzero(empty).tolist()
    for j in [j for j in range(len(cross)) if j not in set(last)] + list(last):
        if empty[j]:
            continue
        if left[j, j] < PIVOT_TOLERANCE:
            dropped.append(j)
            continue
        left = left - np.outer(left[:, j], left[j]) / left[j, j]
    return tuple(sorted(dropped))


def _length(factors: Sequence[Factor], continuous: Sequence[Column], offset: Floats | None, n_rows: int | None) -> int:
    lengths = {len(f.codes) for f in factors} | {len(c.values) for c in continuous}
    lengths |= ({len(offset)} if offset is not None else set()) | ({n_rows} if n_rows is not None else set())
    if len(lengths) != 1:
        raise SettingsError(f"expected covariates of one length, found lengths {sorted(lengths)}.")
    return lengths.pop()


def _cells(factors: Sequence[Factor], n: int) -> tuple[Codes, Codes]:
    """Level of each factor per occupied cell, and the cell of each row."""
    key = np.zeros(n, dtype=np.int64)
    sizes: list[int] = []
    for factor in factors:
        if n and (int(factor.codes.min()) < 0 or int(factor.codes.max()) >= len(factor.levels)):
            raise SettingsError(f"factor {factor.name!r} has codes outside its {len(factor.levels)} levels.")
        sizes.append(len(factor.levels))
    if float(np.prod([float(s) for s in sizes])) < 2.0**62:
        for factor, size in zip(factors, sizes, strict=True):
            key *= size
            key += factor.codes
        occupied, cell = _compact(key, int(np.prod(sizes, dtype=np.int64)) if sizes else 1)
        if not sizes:
            return np.zeros((len(occupied), 0), dtype=np.intp), cell
        return np.array(np.unravel_index(occupied, sizes), dtype=np.intp).T, cell
    levels = np.array([f.codes for f in factors], dtype=np.intp).T  # absurdly many levels: sort the rows themselves
    codes, cell = np.unique(levels, axis=0, return_inverse=True)
    return codes, cell.reshape(-1).astype(np.intp)


def _compact(key: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], Codes]:
    if size <= max(1 << 20, 4 * len(key)):  # a look-up table beats sorting
        seen = np.zeros(size, dtype=bool)
        seen[key] = True
        return np.flatnonzero(seen).astype(np.int64), (np.cumsum(seen) - 1)[key].astype(np.intp, copy=False)
    occupied, cell = np.unique(key, return_inverse=True)
    return occupied, cell.reshape(-1).astype(np.intp)


def _occupied(codes: Codes, cell: Codes) -> tuple[Codes, Codes]:
    kept, compact = _compact(cell.astype(np.int64, copy=False), len(codes))
    return codes[kept], compact


def _n_dummies(layout: Layout) -> int:
    sizes = {name: len(levels) for name, levels in layout.factors}
    count = int(layout.intercept) + sum(len(levels) - 1 for _, levels in layout.factors)
    count += int(not layout.intercept and bool(layout.factors))
    for group in layout.interactions:
        if all(name in sizes for name in group):
            count += int(np.prod([sizes[name] - 1 for name in group]))
    return count


def _made(
    layout: Layout, cell: Codes, codes: Codes, base: Floats, offset: Floats | None, kept: tuple[int, ...] | None
) -> Design:
    """Make the columns that a layout asks for."""
    dummies, terms = _dummy_columns(layout, codes)
    products, product_terms = _mixed_columns(layout, cell, codes, base)
    terms += [Term((name,), (None,)) for name in layout.columns] + product_terms
    continuous = np.concatenate([base, products]) if len(products) else base
    everything = tuple(range(len(terms)))
    design = Design(cell, codes, dummies, continuous, tuple(terms), layout, everything, offset)
    if kept is None or kept == everything:
        return design
    return design.without([j for j in everything if j not in set(kept)])


def _combinations(layout: Layout, codes: Codes, group: tuple[str, ...], full: bool = False) -> tuple[list[Term], Codes]:
    """Terms of the non-reference combinations of some factors, and which of them each cell is in (-1: none)."""
    levels = dict(layout.factors)
    positions = [[name for name, _ in layout.factors].index(name) for name in group]
    first = 0 if full else 1
    chosen = [levels[name][first:] for name in group]
    index = np.zeros(len(codes), dtype=np.intp)
    outside = np.zeros(len(codes), dtype=bool)
    for position, names in zip(positions, chosen, strict=True):
        index = index * len(names) + codes[:, position] - first
        outside |= codes[:, position] < first
    index[outside] = -1
    return [Term(group, combination) for combination in product(*chosen)], index


def _dummy_columns(layout: Layout, codes: Codes) -> tuple[sparse.csr_array[np.float64], list[Term]]:
    terms: list[Term] = [INTERCEPT] if layout.intercept else []
    row_parts, column_parts = [np.arange(len(codes))] * len(terms), [np.zeros(len(codes), dtype=np.intp)] * len(terms)
    names = {name for name, _ in layout.factors}
    groups: list[tuple[str, ...]] = [(name,) for name, _ in layout.factors]
    groups += [group for group in layout.interactions if names.issuperset(group)]
    for i, group in enumerate(groups):
        more, index = _combinations(layout, codes, group, full=i == 0 and not layout.intercept)
        inside = np.flatnonzero(index >= 0)
        row_parts.append(inside)
        column_parts.append(index[inside] + len(terms))
        terms += more
    rows = np.concatenate([np.empty(0, dtype=np.intp), *row_parts])
    columns = np.concatenate([np.empty(0, dtype=np.intp), *column_parts])
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(codes), len(terms))), terms


def _mixed_columns(layout: Layout, cell: Codes, codes: Codes, base: Floats) -> tuple[Floats, list[Term]]:
    terms: list[Term] = []
    columns: list[Floats] = []
    for group in layout.interactions:
        numbers = tuple(name for name in group if name in layout.columns)
        if not numbers:
            continue
        factors = tuple(name for name in group if name not in layout.columns)
        values = np.prod([base[layout.columns.index(name)] for name in numbers], axis=0)
        combinations, index = _combinations(layout, codes, factors)
        for k, term in enumerate(combinations):
            columns.append(np.where((index == k)[cell], values, 0.0) if factors else values)
            terms.append(Term((*term.variables, *numbers), (*term.levels, *(None for _ in numbers))))
    return np.array(columns).reshape(len(columns), len(cell)), terms


def _base(design: Design) -> Floats:
    # The columns of the layout itdesign come first among the continuous ones; a dropped one is zero from here on.
    width = len(design.layout.columns)
    first = _n_dummies(design.layout)
    have = [position - first for position in design.kept if first <= position < first + width]
    if have == list(range(width)):
        return design.continuous[:width]
    base = np.zeros((width, design.n_rows))
    base[have] = design.continuous[: len(have)]
    return base
