"""Levels and directions along which the outcome is perfectly predicted, found before they spoil a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError, SeparationError
from missie_impact.numerics.cells import Design, Floats, Term
from missie_impact.numerics.design import aliased, take_rows

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SeparatedLevel:
    """A level without an event, or with only events.

    Attributes
    ----------
    term : the factor and its level, or a combination of levels of an interaction
    n_rows, n_events : in it, frequency counted, when it was found
    """

    term: Term
    n_rows: float
    n_events: float


@dataclass(frozen=True, slots=True)
class Settled:
    """Rows and columns on which a likelihood has a finite maximum, as far as levels can tell.

    Attributes
    ----------
    rows : (n,) rows that stay
    design : their design, aliased columns dropped
    separated : levels that left with their rows, in the order in which they were found
    aliased : columns dropped because they say nothing new
    """

    rows: Mask
    design: Design
    separated: tuple[SeparatedLevel, ...]
    aliased: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Separation:
    """A direction along which the likelihood rises for ever.

    Attributes
    ----------
    rows : (n,) rows it predicts perfectly
    columns : columns with a part in it
    """

    rows: Mask
    columns: tuple[int, ...]


def settle(
    y: Floats,
    design: Design,
    *,
    frequency: Floats | None = None,
    probability: Floats | None = None,
    essential: Sequence[str] = (),
) -> Settled:
    """Leave out levels without an event (or with only events), with their rows, then columns that say nothing new.

    Leaving out rows may empty or separate further levels, so this repeats until nothing changes. A reference level
    that leaves hands its part to the next level.

    Parameters
    ----------
    y : (n,) 0 or 1, or shares
    design : all rows
    frequency, probability : (n,) weights; rows of weight zero do not count
    essential : variables, such as the treatment, that must stay

    Raises
    ------
    NoEventError
        If there are no events, or only events.
    SeparationError
        If a level of an essential variable, alone or in an interaction, is separated.
    CollinearityError
        If an essential variable is a combination of the others.
    """
    weight = np.ones(design.n_rows) if frequency is None else np.asarray(frequency, dtype=np.float64)
    counted = weight > 0 if probability is None else (weight > 0) & (probability > 0)
    alive, separated = _settle_cells(y, design, np.where(counted, weight, 0.0), frozenset(essential))
    rows: Mask = alive[design.cell] & counted
    kept = design if rows.all() else take_rows(design, rows)
    w = weight[rows] if probability is None else weight[rows] * probability[rows]
    last = sorted({j for name in essential for j in kept.positions(name)})
    dropped = aliased(kept, w, last=last)
    lost = [kept.terms[j].name for j in dropped if j in last]
    if lost or any(not kept.positions(name) for name in essential):
        raise CollinearityError(
            f"terms {lost or sorted(essential)} are combinations of the other columns in the {int(rows.sum())} rows "
            "that can be used, so their effect is not identified. Leave out the column that repeats them."
        )
    terms = tuple(kept.terms[j] for j in dropped)
    return Settled(rows, kept.without(dropped) if dropped else kept, separated, terms)


def _settle_cells(
    y: Floats, design: Design, weight: Floats, essential: frozenset[str]
) -> tuple[Mask, tuple[SeparatedLevel, ...]]:
    n, events = design.per_cell(weight), design.per_cell(weight * y)
    alive: Mask = n > 0
    found: list[SeparatedLevel] = []
    groups = [(name,) for name, _ in design.layout.factors] + [
        g for g in design.layout.interactions if all(name in dict(design.layout.factors) for name in g)
    ]
    while True:
        total, total_events = float(n[alive].sum()), float(events[alive].sum())
        if not 0 < total_events < total:
            raise NoEventError(
                f"expected events and other rows, found {total_events:g} events in {total:g} rows"
                + (f" once {len(found)} separated levels had left." if found else ".")
            )
        more = [level for group in groups for level in _separated(design, group, n, events, alive)]
        fatal = [level for level, _ in more if essential.intersection(level.term.variables)]
        if fatal:
            raise SeparationError(
                f"terms {[level.term.name for level in fatal]} have no event, or only events, in their "
                f"{sum(level.n_rows for level in fatal):g} rows: no finite estimate. Merge the level with another, or "
                "ask for fewer groups."
            )
        if not more:
            return alive, tuple(found)
        for level, cells in more:
            alive &= ~cells
            found.append(level)


def _separated(
    design: Design, group: tuple[str, ...], n: Floats, events: Floats, alive: Mask
) -> list[tuple[SeparatedLevel, Mask]]:
    names = [name for name, _ in design.layout.factors]
    positions = [names.index(name) for name in group]
    levels = [design.layout.factors[p][1] for p in positions]
    sizes = tuple(len(x) for x in levels)
    key = np.ravel_multi_index(tuple(design.codes[:, p] for p in positions), sizes)
    rows = np.bincount(key[alive], n[alive], int(np.prod(sizes)))
    inside = np.bincount(key[alive], events[alive], int(np.prod(sizes)))
    found = []
    for code in np.flatnonzero((rows > 0) & ((inside <= 0) | (inside >= rows * (1 - 1e-15)))):
        at = np.unravel_index(code, sizes)
        term = Term(group, tuple(level[int(i)] for level, i in zip(levels, at, strict=True)))
        found.append((SeparatedLevel(term, float(rows[code]), float(inside[code])), alive & (key == code)))
    return found


def telling(y: Floats, design: Design, weights: Sequence[Floats | None] = ()) -> list[str]:
    """Name the variables each of which tells events from other rows for certain, on its own.

    Parameters
    ----------
    y : (n,) 0 or 1
    weights : (n,) each; a row that weighs nothing does not count
    """
    there: Mask = np.ones(len(y), dtype=bool)
    for weight in weights:
        there &= True if weight is None else weight > 0
    events, others = there & (y > 0), there & (y <= 0)
    if not (events.any() and others.any()):
        return []
    names = []
    for position, (name, levels) in enumerate(design.layout.factors):
        level = design.codes[design.cell, position]
        seen = [np.bincount(level[rows], minlength=len(levels)) > 0 for rows in (events, others)]
        names += [] if (seen[0] & seen[1]).any() else [name]
    for term, values in zip(design.terms[design.n_dummies :], design.continuous, strict=True):
        apart = values[events].min() > values[others].max() or values[events].max() < values[others].min()
        names += [term.name] if apart else []
    return names


def find_separation(
    y: Floats, design: Design, weight: Floats | None = None, *, tolerance: float = 1e-6
) -> Separation | None:
    """Find every row that some direction predicts perfectly, exactly, by linear programming.

    Maximises the sum of s x'd over all rows subject to 0 <= s x'd and -1 <= d <= 1, with s = 1 for events and -1 for
    others (Konis 2007). For some hundred thousand rows at most: it is meant for a fit that diverged, or for small data.

    Returns
    -------
    Separation or None
        None where the likelihood has a finite maximum.

    References
    ----------
    Konis (2007), DPhil thesis, Oxford; Correia, Guimaraes and Zylkin (2019), arXiv:1903.01633.
    """
    left: Mask = np.ones(design.n_rows, dtype=bool) if weight is None else weight > 0
    largest = np.abs(design.continuous).max(axis=1, keepdims=True, initial=0.0)
    columns = design.continuous / np.where(largest > 0, largest, 1.0)
    matrix = sparse.hstack([design.dummies[design.cell], sparse.csr_array(columns.T)], format="csr")
    rows, part = np.zeros(design.n_rows, dtype=bool), np.zeros(design.n_columns, dtype=bool)
    while left.any():
        # One direction need not move every row that can be moved, so what it leaves is asked again.
        direction = _widest_direction(matrix, y, left)
        moved = left & (np.abs(np.asarray(matrix @ direction)) > tolerance)
        if not moved.any():
            break
        rows, part, left = rows | moved, part | (np.abs(direction) > tolerance), left & ~moved
    return Separation(rows, tuple(int(j) for j in np.flatnonzero(part))) if rows.any() else None


def _widest_direction(matrix: sparse.csr_array[np.float64], y: Floats, rows: Mask) -> Floats:
    # a share of events stands for rows of both kinds
    constraint: Any = sparse.vstack([matrix[rows & (y > 0)], -matrix[rows & (y < 1)]], format="csr")
    result = optimize.linprog(
        -np.asarray(constraint.sum(axis=0)).reshape(-1),
        A_ub=-constraint,
        b_ub=np.zeros(constraint.shape[0]),
        bounds=(-1, 1),
        method="highs",
    )
    if not result.success:
        raise ConvergenceError("the linear programme that looks for separation did not settle; rescale the columns.")
    return np.asarray(result.x, dtype=np.float64)
