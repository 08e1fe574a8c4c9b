"""What the treated would have had, predicted by a model of the untreated alone; errors from stacked equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from missie_impact.errors import ConvergenceError, NoEventError, NoParticipantError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.cells import Column, Design, Factor, Floats
from missie_impact.numerics.design import aliased, build_design

Mask = NDArray[np.bool_]
Family = Literal["poisson", "logit", "share"]

STEPS = 100
CLOSE = 1e-8  # step of the linear predictor, weighted by the mean; the next one is its square
FLAT = 1e-12


@dataclass(frozen=True, slots=True)
class Imputed:
    """Means of the treated as observed and as predicted without treatment.

    Attributes
    ----------
    observed, predicted : weighted means over the treated who have comparable untreated rows
    influence_observed, influence_predicted : (n,) what each row adds to them
    n_treated : treated rows averaged over
    dropped : treated rows at a level of a control where nobody is untreated
    """

    observed: float
    predicted: float
    influence_observed: Floats
    influence_predicted: Floats
    n_treated: int
    dropped: int


def impute(
    y: Floats,
    treated: Mask,
    variables: Sequence[Factor | Column],
    weight: Floats,
    rows: Mask,
    family: Family,
) -> Imputed:
    """Compare the treated with a prediction from the untreated.

    Parameters
    ----------
    y : (n,) outcome: at least zero ("poisson"), 0 and 1 ("logit"), or from 0 to 1 ("share": fractional logit)
    variables : (n,) controls
    weight : (n,); rows : (n,) rows that take part

    Raises
    ------
    NoParticipantError, NoEventError
        If nobody is treated or untreated among the rows, or no untreated row has an outcome above zero.
    """
    use = rows & (weight > 0)
    supported = comparable(treated, variables, use)
    mean = np.flatnonzero(use & treated & supported)
    others = np.flatnonzero(use & ~treated)
    if not len(mean) or not len(others):
        raise NoParticipantError("no treated rows" if not len(mean) else "no untreated rows")
    certain = _certain(y, treated, variables, use, family)
    fitted = others[np.isnan(certain[others])]
    if not y[others].any():
        raise NoEventError("no events among the untreated")
    share = weight[mean] / weight[mean].sum()
    prediction = np.nan_to_num(certain[mean])
    zero = np.zeros(len(y))
    if len(fitted):
        open_rows = np.flatnonzero(use & (treated & supported | ~treated) & np.isnan(certain))
        inside = ~treated[open_rows]
        place = np.searchsorted(mean, open_rows[~inside])
        value, added = _predicted(y, variables, weight, open_rows, inside, share[place], family)
        prediction[place], zero[fitted] = value, added
    observed, predicted = float(share @ y[mean]), float(share @ prediction)
    one = np.zeros(len(y))
    one[mean] = share * (y[mean] - observed)
    zero[mean] = share * (prediction - predicted)
    return Imputed(observed, predicted, one, zero, len(mean), int((use & treated & ~supported).sum()))


def _predicted(
    y: Floats,
    variables: Sequence[Factor | Column],
    weight: Floats,
    rows: NDArray[np.intp],
    inside: Mask,
    share: Floats,
    family: Family,
) -> tuple[Floats, Floats]:
    """Predictions of the treated among ``rows``, and what each untreated one (``inside``) adds to their mean."""
    fitted = rows[inside]
    kept = [v for v in variables if _varies(v, fitted)]
    design = build_design(
        [_compact(v, rows) for v in kept if isinstance(v, Factor)],
        [Column(v.name, v.values[rows]) for v in kept if isinstance(v, Column)],
        n_rows=len(rows),
    )
    of_others, of_treated = _part(design, inside), _part(design, ~inside)
    drop = aliased(of_others, weight[fitted])
    if drop:
        of_others, of_treated = of_others.without(drop), of_treated.without(drop)
    coef, bread, residual = _fit(y[fitted], of_others, weight[fitted], family)
    eta = of_treated.predict(coef)
    value = _mean(eta, family)
    gradient = of_treated.sums(share * _slope(value, family))
    return value, residual * of_others.predict(bread @ gradient)


def _part(design: Design, rows: Mask) -> Design:
    """Some rows with the very same columns, so that the treated are predicted from the coefficients of the others."""
    return replace(design, cell=design.cell[rows], continuous=np.ascontiguousarray(design.continuous[:, rows]))


def _fit(y: Floats, design: Design, weight: Floats, family: Family) -> tuple[Floats, Floats, Floats]:
    """Coefficients, inverse information, and residual times weight of each row."""
    if family == "logit":
        fit = fit_binomial(y, design, link="logit", probability=weight)
        return fit.coef, fit.bread, weight * (y - special.expit(design.predict(fit.coef)))
    middle = (y + weight @ y / weight.sum()) / 2
    eta = np.log(middle) if family == "poisson" else special.logit(middle)
    coef, value = np.zeros(design.n_columns), -np.inf
    for step in range(STEPS):
        mean = _mean(eta, family)
        slope = _slope(mean, family)
        inverse = _inverse(design.crossproduct(weight * slope))
        if step:
            new = coef + inverse @ design.sums(weight * (y - mean))
        else:
            new = inverse @ design.sums(weight * (slope * eta + y - mean))
        moved = design.predict(new)
        tried = float(weight @ _log_likelihood(y, moved, family))
        half = 0
        while step and tried < value - 1e-9 * abs(value) and half < 40:
            new = (coef + new) / 2
            moved = design.predict(new)
            tried = float(weight @ _log_likelihood(y, moved, family))
            half += 1
        change = float(np.sqrt((weight * slope) @ (moved - eta) ** 2 / (weight @ slope)))
        coef, eta, value = new, moved, tried
        if change < CLOSE:
            return coef, inverse, weight * (y - _mean(eta, family))
    raise ConvergenceError(f"{family}: no optimum within {STEPS} steps; look for controls that separate zeros.")


def _mean(eta: Floats, family: Family) -> Floats:
    mean: Floats = np.exp(eta) if family == "poisson" else special.expit(eta)
    return mean


def _slope(mean: Floats, family: Family) -> Floats:
    """Change of the mean with the linear predictor; also the information of a row."""
    return mean if family == "poisson" else mean * (1 - mean)


def _log_likelihood(y: Floats, eta: Floats, family: Family) -> Floats:
    normal: Floats = np.exp(np.minimum(eta, 600.0)) if family == "poisson" else np.logaddexp(0.0, eta)
    return y * eta - normal


def _inverse(information: Floats) -> Floats:
    """Inverse that leaves out directions without information: combinations of controls that separate zeros."""
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    kept = values > FLAT * values[-1]
    inverse: Floats = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T / np.outer(scale, scale)
    return inverse


def comparable(treated: Mask, variables: Sequence[Factor | Column], use: Mask) -> Mask:
    """Return the rows (n,) whose level of every factor has untreated rows among those in ``use``."""
    found = np.ones(len(treated), dtype=bool)
    for variable in variables:
        if isinstance(variable, Factor):
            there = np.bincount(variable.codes[use & ~treated], minlength=len(variable.levels)) > 0
            found &= there[variable.codes]
    return found


def _certain(y: Floats, treated: Mask, variables: Sequence[Factor | Column], use: Mask, family: Family) -> Floats:
    """Outcome (n,) of rows at a level where the untreated all have none, or all have it; NaN elsewhere."""
    value = np.full(len(y), np.nan)
    changed = True
    everybody = Factor("everybody", np.zeros(len(y), dtype=np.intp), ("all",))
    while changed:
        changed = False
        for variable in (everybody, *variables):
            if not isinstance(variable, Factor):
                continue
            open_rows = use & ~treated & np.isnan(value)
            size = len(variable.levels)
            count = np.bincount(variable.codes[open_rows], minlength=size)
            total = np.bincount(variable.codes[open_rows], y[open_rows], minlength=size)
            for level in np.flatnonzero((count > 0) & ((total == 0) | ((family != "poisson") & (total == count)))):
                here = (variable.codes == level) & np.isnan(value)
                value[here] = float(total[level] > 0)
                changed = True
    return value


def _varies(variable: Factor | Column, rows: NDArray[np.intp]) -> bool:
    values = variable.codes[rows] if isinstance(variable, Factor) else variable.values[rows]
    return bool((values != values[0]).any())


def _compact(factor: Factor, rows: NDArray[np.intp]) -> Factor:
    """The factor on some rows, with the levels found there."""
    found, codes = np.unique(factor.codes[rows], return_inverse=True)
    return Factor(factor.name, codes.reshape(-1).astype(np.intp), tuple(factor.levels[j] for j in found))
