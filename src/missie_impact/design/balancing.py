"""Entropy balancing: the weights nearest to equal ones under which an arm has the means of the treated, or of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

from missie_impact.design.design import WeightModel
from missie_impact.design.propensity import all_terms, on_all_rows, separated_notes, settle_units
from missie_impact.design.units import Floats, Mask, Units
from missie_impact.errors import CollinearityError, ConvergenceError
from missie_impact.numerics.design import Design, Term, aliased

EXACT = 1e-9  # largest difference of means at the end, in standard deviations among the treated and untreated
MAX_STEPS = 200
HALVINGS = 60
LARGE_PART = 0.05  # of the direction in which the weights run away


@dataclass(frozen=True, slots=True)
class Balanced:
    """Weights of n rows (treated 1), how they were estimated, and what a reader must know."""

    weight: Floats
    model: WeightModel
    notes: tuple[str, ...]


def balance_means(units: Units) -> Balanced:
    """Weight untreated units by exp(x'g), x with a constant, so that every column of x sums to that of the treated.

    Minimises the dual sum_controls exp(x'g) - (sum_treated x)'g, which is convex, by Newton steps; its minimum exists
    if and only if the means of the treated lie inside what untreated units span.

    Raises
    ------
    CollinearityError
        If a level or combination of terms occurs among the treated only; the terms are named.
    ConvergenceError
        If the means of the treated lie outside what untreated units span; the terms are named.
    """
    settled = settle_units(units, all_terms(units))
    alone = [level.term.name for level in settled.separated if level.n_events > 0]
    if alone:
        raise CollinearityError(
            f"terms {alone} occur among the treated only, so no weights of untreated units give their means. Merge "
            "these levels with others, or leave their rows out."
        )
    full = on_all_rows(units, settled)
    own = np.where(settled.rows, units.own_weight(), 0.0)
    control = np.where(units.treated, 0.0, own)
    found = _one_arm(full, control, np.where(units.treated, own, 0.0), own, "the treated")
    weight = np.where(settled.rows[units.first][units.unit], np.where(units.treated, 1.0, found.made), 0.0)
    slope = np.where(units.treated, 0.0, weight)
    score = np.where(units.treated, own, -control * found.made)
    model = WeightModel(found.design, score, slope, found.bread, found.coef)
    return Balanced(weight, model, separated_notes(settled.separated))


def balance_both_arms(units: Units) -> Balanced:
    """Weight each arm by exp(x'g) of its own g, so that every column of x sums to that of all units.

    Levels that hold treated or untreated units only leave with them.

    Raises
    ------
    CollinearityError, ConvergenceError
        As in `balance_means`, for either arm.
    """
    settled = settle_units(units, all_terms(units))
    full = on_all_rows(units, settled)
    own = np.where(settled.rows, units.own_weight(), 0.0)
    masks = (units.treated, ~units.treated)
    one, zero = (_one_arm(full, np.where(arm, own, 0.0), own, own, "all units") for arm in masks)
    made = np.where(units.treated, one.made, zero.made)
    weight = np.where(settled.rows[units.first][units.unit], made, 0.0)
    design, of_one = _both(one.design, zero.design, units.treated)
    bread, coef = np.zeros((design.n_columns, design.n_columns)), np.zeros(design.n_columns)
    for arm, columns in ((one, of_one), (zero, ~of_one)):
        coef[columns] = arm.coef
        bread[np.ix_(columns, columns)] = arm.bread
    rows = np.tile(np.arange(units.n), 2)  # each row as one of all, then as one of its arm
    model = WeightModel(design, np.concatenate([own, -own * made]), weight, bread, coef, rows)
    return Balanced(weight, model, separated_notes(settled.separated))


@dataclass(frozen=True, slots=True)
class _Arm:
    """One balanced arm: its columns, coefficients, exp(x'g) of all rows, and the inverse second derivative."""

    design: Design
    coef: Floats
    made: Floats
    bread: Floats


def _one_arm(full: Design, source: Floats, aim: Floats, own: Floats, whose: str) -> _Arm:
    """Weight rows by ``source`` times exp(x'g), so that they have the sums of rows weighted by ``aim``."""
    sums = full.sums(aim)
    dropped = aliased(full, source)
    kept = [j for j in range(full.n_columns) if j not in set(dropped)]
    design = full.without(dropped) if dropped else full
    scale = _spread(full, own)
    coef, made = _minimise(design, source, sums[kept], scale[kept], whose)
    _require_all_balanced(full, (full.sums(source * made) - sums) / sums[0], scale, whose)
    bread = linalg.inv(design.crossproduct(source * made))
    return _Arm(design, coef, made, (bread + bread.T) / 2)


def _both(one: Design, zero: Design, treated: Mask) -> tuple[Design, Mask]:
    """Columns of both arms side by side, and which are those of the treated.

    The first n rows have the columns of both, the n rows behind them those of their own arm.
    """
    n, cells = one.n_rows, one.n_cells
    none = [sparse.csr_array(d.dummies.shape) for d in (one, zero)]
    dummies = sparse.csr_array(
        sparse.bmat([[one.dummies, zero.dummies], [one.dummies, none[1]], [none[0], zero.dummies]])
    )
    own = [x * arm for d, arm in ((one, treated), (zero, ~treated)) for x in d.continuous]
    continuous = np.array(
        [np.concatenate([x, y]) for x, y in zip([*one.continuous, *zero.continuous], own, strict=True)]
    )
    p, q = (one.n_dummies, zero.n_dummies), (len(one.continuous), len(zero.continuous))
    terms = [_of_arm(d, a, slice(None, d.n_dummies)) for d, a in ((one, "1"), (zero, "0"))]
    terms += [_of_arm(d, a, slice(d.n_dummies, None)) for d, a in ((one, "1"), (zero, "0"))]
    design = Design(
        np.concatenate([one.cell, np.where(treated, cells, 2 * cells) + one.cell]),
        np.tile(one.codes, (3, 1)),
        sparse.csr_array(dummies),
        continuous.reshape(sum(q), 2 * n),
        tuple(term for some in terms for term in some),
        one.layout,
        tuple(range(sum(p) + sum(q))),
    )
    return design, np.repeat([True, False, True, False], [*p, *q])


def _of_arm(design: Design, arm: str, some: slice) -> list[Term]:
    return [Term(("arm", *term.variables), (arm, *term.levels)) for term in design.terms[some]]


def _minimise(design: Design, control: Floats, target: Floats, scale: Floats, whose: str) -> tuple[Floats, Floats]:
    """Newton steps on the dual; coefficients and exp(x'g) of all rows."""
    coef = np.zeros(design.n_columns)
    coef[0] = np.log(target[0] / control.sum())
    value, made = _dual(design, control, target, coef)
    for _ in range(MAX_STEPS):
        gradient = design.sums(control * made) - target
        if float(np.abs(gradient / scale).max()) < EXACT * target[0]:
            return coef, made
        try:
            step = _newton(design.crossproduct(control * made), gradient)
        except np.linalg.LinAlgError:
            break
        slack = 1e-12 * (1.0 + abs(value))
        for halving in range(HALVINGS):
            trial = coef - step * 0.5**halving
            there, again = _dual(design, control, target, trial)
            if np.isfinite(there) and there <= value + slack:
                coef, value, made = trial, there, again
                break
        else:
            break
    left = design.sums(control * made) - target
    raise ConvergenceError(_unreachable(design, coef, left, scale, target[0], whose))


def _newton(hessian: Floats, gradient: Floats) -> Floats:
    root = np.sqrt(np.diag(hessian))
    lower = linalg.cholesky(hessian / np.outer(root, root), lower=True)
    return np.asarray(linalg.cho_solve((lower, True), gradient / root) / root)


def _dual(design: Design, control: Floats, target: Floats, coef: Floats) -> tuple[float, Floats]:
    """Value of the dual and exp(x'g), which is one for rows that do not count."""
    with np.errstate(over="ignore"):
        made = np.exp(np.where(control > 0, design.predict(coef), 0.0))
        return float(control @ made - target @ coef), made


def _spread(design: Design, own: Floats) -> Floats:
    """Standard deviation of each column over all rows; one for the constant."""
    total = float(own.sum())
    mean = design.sums(own) / total
    square = np.diag(design.crossproduct(own)) / total
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    spread[spread <= 1e-12 * np.sqrt(square)] = 1.0
    return np.asarray(spread)


def _require_all_balanced(design: Design, difference: Floats, scale: Floats, whose: str) -> None:
    """Columns that are combinations of others among the weighted units must be so among those they are to be like."""
    off = np.abs(difference / scale) > 1e3 * EXACT
    if off.any():
        raise CollinearityError(
            f"terms {_names(design, np.flatnonzero(off))} do not vary freely among the units to be weighted as "
            f"they do among {whose}, so no weights give their means. Leave them out, or merge levels."
        )


def _unreachable(design: Design, coef: Floats, gradient: Floats, scale: Floats, total: float, whose: str) -> str:
    part = np.abs(coef * scale)
    part[0] = 0.0
    far = np.flatnonzero((part > LARGE_PART * part.max()) | (np.abs(gradient / scale) > 1e-3 * total))
    return (
        f"terms {_names(design, far)} cannot be balanced: the means of {whose} lie outside what weights of the units "
        "compared with them can reach. Use coarser terms, leave out units without comparable ones, or weight by "
        "method='logit'."
    )


def _names(design: Design, columns: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.intp]]) -> list[str]:
    return [design.terms[j].name for j in columns if design.terms[j].variables != ("(Intercept)",)]
