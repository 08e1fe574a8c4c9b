"""Entropy balancing: the weights nearest to equal ones under which untreated units have the means of the treated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from missie_impact.design.design import WeightModel
from missie_impact.design.propensity import all_terms, on_all_rows, separated_notes, settle_units
from missie_impact.design.units import Floats, Units
from missie_impact.errors import CollinearityError, ConvergenceError
from missie_impact.numerics.design import Design, aliased

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
    target = full.sums(np.where(units.treated, own, 0.0))
    dropped = aliased(full, control)
    kept = [j for j in range(full.n_columns) if j not in set(dropped)]
    design = full.without(dropped) if dropped else full
    scale = _spread(full, own)
    coef, made = _minimise(design, control, target[kept], scale[kept])
    _require_all_balanced(full, (full.sums(control * made) - target) / target[0], scale)
    weight = np.where(settled.rows[units.first][units.unit], np.where(units.treated, 1.0, made), 0.0)
    slope = np.where(units.treated, 0.0, weight)
    score = np.where(units.treated, own, -control * made)
    bread = linalg.inv(design.crossproduct(control * made))
    model = WeightModel(design, score, slope, (bread + bread.T) / 2, coef)
    return Balanced(weight, model, separated_notes(settled.separated))


def _minimise(design: Design, control: Floats, target: Floats, scale: Floats) -> tuple[Floats, Floats]:
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
    raise ConvergenceError(_unreachable(design, coef, design.sums(control * made) - target, scale, target[0]))


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


def _require_all_balanced(design: Design, difference: Floats, scale: Floats) -> None:
    """Columns that are combinations of others among untreated units must be so among the treated."""
    off = np.abs(difference / scale) > 1e3 * EXACT
    if off.any():
        raise CollinearityError(
            f"terms {_names(design, np.flatnonzero(off))} do not vary freely among untreated units as they do among "
            "the treated, so no weights give their means. Leave them out, or merge levels."
        )


def _unreachable(design: Design, coef: Floats, gradient: Floats, scale: Floats, total: float) -> str:
    part = np.abs(coef * scale)
    part[0] = 0.0
    far = np.flatnonzero((part > LARGE_PART * part.max()) | (np.abs(gradient / scale) > 1e-3 * total))
    return (
        f"terms {_names(design, far)} cannot be balanced: the means of the treated lie outside what weights of "
        "untreated units can reach. Use coarser terms, leave out treated units without comparable ones, or weight by "
        "method='logit'."
    )


def _names(design: Design, columns: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.intp]]) -> list[str]:
    return [design.terms[j].name for j in columns if design.terms[j].variables != ("(Intercept)",)]
