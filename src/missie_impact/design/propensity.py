"""The probability of treatment given what is known before it: a logit on terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from missie_impact.design.design import WeightModel
from missie_impact.design.units import Floats, Mask, Units
from missie_impact.errors import NoEventError, SeparationError
from missie_impact.numerics.binomial import BinomialFit, fit_binomial
from missie_impact.numerics.design import Column, Design, Factor, build_design
from missie_impact.numerics.separation import SeparatedLevel, Settled, settle, telling

FEW_NAMES = 6


@dataclass(frozen=True, slots=True)
class Propensity:
    """Fitted probabilities of treatment.

    Attributes
    ----------
    fit : coefficients and their inverse information
    covariates : columns of the fit, for all n rows
    score : (n,) probability; 0 or 1 where a level holds controls or treated only
    linear : (n,) its logit; infinite there
    comparable : (n,) rows of levels that hold both
    notes : what a reader must know
    """

    fit: BinomialFit
    covariates: Design
    score: Floats
    linear: Floats
    comparable: Mask
    notes: tuple[str, ...]


def fit_propensity(units: Units) -> Propensity:
    """Fit the logit of treatment on the terms of the design, one row per unit.

    Levels that hold treated units or controls only have a fitted probability of one or zero: their rows leave the
    likelihood, as R's estimates go to infinity, and have nobody to be compared with.

    Raises
    ------
    SeparationError
        If a combination of terms separates the treated from the others.
    """
    y = units.treated.astype(np.float64)
    settled = settle_units(units, all_terms(units))
    used = settled.rows
    try:
        fit = fit_binomial(
            y[used],
            settled.design,
            link="logit",
            frequency=None if units.frequency is None else units.frequency[used],
            probability=None if units.probability is None else units.probability[used],
        )
    except SeparationError as error:
        raise SeparationError(
            f"the propensity of treatment: {error} With such terms nobody is comparable; ask for coarser ones."
        ) from error
    covariates = on_all_rows(units, settled)
    comparable = used[units.first][units.unit]
    linear = np.where(comparable, covariates.predict(fit.coef), np.where(units.treated, np.inf, -np.inf))
    return Propensity(fit, covariates, special.expit(linear), linear, comparable, separated_notes(settled.separated))


def score_model(fitted: Propensity, units: Units, slope: Floats) -> WeightModel:
    """Return the estimating equations of the propensity, with the derivative of each weight in its logit."""
    score = units.own_weight() * np.where(fitted.comparable, units.treated - fitted.score, 0.0)
    return WeightModel(fitted.covariates, score, slope, fitted.fit.bread, fitted.fit.coef)


def settle_units(units: Units, design: Design) -> Settled:
    """Leave out levels without treated units or without controls, and columns that say nothing new."""
    treated, weight = units.treated.astype(np.float64), units.own_weight() > 0
    frequency = np.where(weight, 1.0 if units.frequency is None else units.frequency, 0.0)
    try:
        return settle(treated, design, frequency=frequency, probability=units.probability)
    except NoEventError as error:
        raise SeparationError(
            f"by the controls {telling(treated, design, (frequency,)) or ''} every unit is treated for certain, or "
            "untreated for certain, so nobody is comparable. Leave out the control that tells the arms apart."
        ) from error


def on_all_rows(units: Units, settled: Settled) -> Design:
    """The settled columns for all n rows; rows of levels that left stand at the reference."""
    layout = settled.design.layout
    known = {v.name: v for v in units.variables}
    factors, columns = [], []
    for name, levels in layout.factors:
        variable = known[name]
        if isinstance(variable, Factor):
            place = {level: i for i, level in enumerate(levels)}
            number = np.array([place.get(level, 0) for level in variable.levels], dtype=np.intp)
            factors.append(Factor(name, number[variable.codes], levels))
    for name in layout.columns:
        variable = known[name]
        if isinstance(variable, Column):
            columns.append(variable)
    design = build_design(factors, columns, n_rows=units.n)
    kept = set(settled.design.kept)
    return design.without([j for j in range(design.n_columns) if j not in kept])


def separated_notes(separated: Sequence[SeparatedLevel]) -> tuple[str, ...]:
    """Say which levels have nobody to be compared with."""
    alone = [level.term.name for level in separated if level.n_events > 0]
    without = [level.term.name for level in separated if level.n_events <= 0]
    notes = [f"no control in {_few(alone)}: their treated units are left out"] if alone else []
    return tuple(notes + ([f"no treated unit in {_few(without)}: their controls are left out"] if without else []))


def all_terms(units: Units) -> Design:
    """Every covariate of all n rows, with an intercept."""
    factors = [v for v in units.variables if isinstance(v, Factor)]
    return build_design(factors, [v for v in units.variables if isinstance(v, Column)], n_rows=units.n)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW_NAMES} more" if len(names) > FEW_NAMES else ""
    return ", ".join(names[:FEW_NAMES]) + more
