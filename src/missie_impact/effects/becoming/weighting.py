"""Inverse-probability weighting: the risks of the two worlds as weighted means of the two arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.becoming.nuisance import Logit, covariates_of, fit_logit
from missie_impact.effects.fitting.compared import WeightScores
from missie_impact.effects.fitting.groups import Scales, SumsOf, estimate_group
from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import Clustering, Group, Rows
from missie_impact.effects.fitting.stacked import Sums
from missie_impact.effects.fitting.standardise import RISK_SCALES, Population, risk_scales
from missie_impact.effects.result import GroupResult
from missie_impact.errors import NoEventError, NoParticipantError, PositivityError, SettingsError
from missie_impact.numerics.cells import Design
from missie_impact.numerics.covariance import fit_scores
from missie_impact.numerics.separation import SeparatedLevel, telling

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

MARGINAL_SCALES = RISK_SCALES[:5]
LARGE_WEIGHT = 0.05  # share of one row in the weights of its arm that is worth a note
CERTAIN_SCORE = 1e-10  # a score this near to 0 or 1 is a chance of 0 or 1


def weigh_group(rows: Rows, group: Group, population: Population) -> tuple[GroupResult, Fitted, SumsOf | None]:
    """Compare the weighted arms of one group: with the weights of its design, or with its own propensity score.

    Parameters
    ----------
    population : "treated" (att), "all" (ate) or "overlap" (ato); plays no part where a design gives the weights

    Raises
    ------
    PositivityError
        If rows that the population needs have no chance of the other arm.
    """
    prepared, notes = (rows, ()) if rows.compared is not None else own_weights(rows, group, population)
    bare = replace(prepared, variables=(), products={})
    result, fitted, sums = estimate_group(bare, group, "logit", _marginal)
    return replace(result, notes=(*result.notes, *notes, *weight_notes(fitted))), fitted, sums


def _marginal(fitted: Fitted) -> Scales:
    """Weighted arms have one odds ratio: nothing is conditioned on."""
    made = risk_scales(fitted, "all")
    n = len(MARGINAL_SCALES)
    covariances = {name: matrix[:n, :n] for name, matrix in made.covariances.items()}
    sums = None if made.sums is None else partial(_first_columns, made.sums, n)
    return Scales(MARGINAL_SCALES, made.values[:n], covariances, made.notes, sums)


def _first_columns(of: SumsOf, n: int, clustering: Clustering) -> Sums:
    whole = of(clustering)
    return lambda clusters: whole(clusters)[:, :n]


def own_weights(rows: Rows, group: Group, population: Population) -> tuple[Rows, tuple[str, ...]]:
    """Fit the propensity score of a group on the controls and weight its rows by it.

    Returns
    -------
    Rows
        The rows with weights times sampling weights, and the score equations they came from.
    notes
        What left because it had no chance of the other arm.
    """
    positions, treated = treated_rows(rows, group)
    design, constant = covariates_of(rows, positions)
    parts = (_at(rows.frequency, positions), _at(rows.probability, positions))
    logit = fit_propensity(treated, design, parts)
    score = logit.predict(design)
    notes = check_overlap(logit.certain, score, treated, population)
    weight, slope = propensity_weights(score, treated, population)
    sampling = np.ones(len(positions)) if parts[1] is None else parts[1]
    wide, slopes = np.zeros(rows.n), np.zeros(rows.n)
    wide[positions], slopes[positions] = weight * sampling, slope * sampling
    used = logit.used
    scores = fit_scores(
        logit.fit,
        treated[used],
        logit.settled.design,
        frequency=_at(parts[0], used),
        probability=_at(parts[1], used),
    )
    if constant:
        notes = (*notes, f"controls without variation left out: {', '.join(constant)}")
    weighting = WeightScores(positions[used], scores, slopes)
    robust = tuple(replace(c, name="hc0") if c.name == "model" else c for c in rows.clusterings)
    return replace(rows, probability=wide, weighting=weighting, clusterings=robust), notes


def treated_rows(rows: Rows, group: Group) -> tuple[Positions, Floats]:
    """Positions of the rows of a group that count, and whether they are treated, 0 or 1."""
    there = group.rows.copy()
    for weight in (rows.frequency, rows.probability):
        there &= True if weight is None else weight > 0
    positions: Positions = np.flatnonzero(there)
    treated = rows.treated[positions].astype(np.float64)
    if not treated.any() or treated.all():
        kind = "untreated" if treated.any() else "treated"
        raise NoParticipantError(f"no {kind} rows: expected some among {len(positions)} rows, found none.")
    return positions, treated


def fit_propensity(
    treated: Floats, design: Design, weight: tuple[Floats | None, Floats | None], start: Logit | None = None
) -> Logit:
    """Fit the propensity score; rows that are in one arm for certain by a combination of terms are an error."""
    try:
        logit = fit_logit(treated, design, weight, start)
    except NoEventError as error:
        named = telling(treated, design, weight)
        raise PositivityError(
            f"positivity: by the controls {named or ''} every row is treated for certain, or untreated for certain. "
            "Leave out the control that tells the arms apart."
        ) from error
    if logit.lost:
        raise PositivityError(
            f"positivity: a combination of {[v for v, _ in design.layout.factors] + list(design.layout.columns)} "
            f"tells for certain which arm {logit.lost} rows are in, so there is nobody to compare them with. Leave out "
            "one of these terms, or merge levels."
        )
    return logit


def check_overlap(
    certain: Sequence[SeparatedLevel], score: Floats, treated: Floats, population: Population
) -> tuple[str, ...]:
    """Raise where rows that the population needs have no chance of the other arm; say which others leave.

    Rows of levels without any treated row have a score of 0: an effect on the treated does without them.
    """
    always = [found for found in certain if found.n_events]
    never = [found for found in certain if not found.n_events]
    wrong = {"treated": always, "all": [*always, *never], "overlap": []}[population]
    if wrong:
        kinds = "treated" if wrong[0].n_events else "untreated"
        raise PositivityError(
            f"positivity: all {sum(f.n_rows for f in wrong):g} rows at {[found.term.name for found in wrong]} are "
            f"{kinds}, so there is nobody to compare them with. Merge these levels with others, leave out their rows, "
            "or ask for the overlap."
        )
    bad = (treated == 0) & (score > 1 - CERTAIN_SCORE)
    if population == "all":
        bad |= (treated == 1) & (score < CERTAIN_SCORE)
    if population != "overlap" and bad.any():
        raise PositivityError(
            f"positivity: {int(bad.sum())} rows have a propensity score of 0 or 1 for the arm they are not in, so "
            "their weights have no bound. Leave out the control that predicts the treatment, or ask for the overlap."
        )
    gone = [found.term.name for found in (*never, *always)]
    rows = sum(found.n_rows for found in (*never, *always))
    return (f"no overlap at {gone}: {rows:g} rows have weight zero",) if gone else ()


def propensity_weights(score: Floats, treated: Floats, population: Population) -> tuple[Floats, Floats]:
    """Weights of rows by their propensity score and their derivative in its logit, both (n,)."""
    inside = (score > 0) & (score < 1)
    p = np.where(inside, score, 0.5)
    on = treated == 1
    if population == "overlap":
        weight = np.where(inside, np.where(on, 1 - p, p), 0.0)
        return weight, np.where(inside, np.where(on, -1.0, 1.0) * p * (1 - p), 0.0)
    odds = np.where(inside, p / (1 - p), 0.0)
    if population == "treated":
        return np.where(on, 1.0, odds), np.where(on, 0.0, odds)
    return np.where(on, 1 / p, 1 + odds), np.where(on, -(1 - p) / p, odds)


def weight_notes(fitted: Fitted) -> Sequence[str]:
    """Effective number of rows of each arm, and a weight that carries much of its arm."""
    weight, on = fitted.weights(fitted.used), fitted.rows.treated[fitted.used]
    notes = []
    for arm, name in ((on, "treated"), (~on, "untreated")):
        w = weight[arm]
        effective = float(w.sum() ** 2 / (w @ w))
        if effective < 0.99 * len(w):
            notes.append(f"weights: {len(w)} {name} rows count as {effective:.0f}")
        if w.max() > LARGE_WEIGHT * w.sum() and len(w) > 2 / LARGE_WEIGHT:
            notes.append(f"weights: one {name} row carries {w.max() / w.sum():.0%} of its arm; look at the overlap")
    return notes


def population_of(rows: Rows, asked: Population | None) -> Population:
    """Population that the weights stand for, from the design where there is one."""
    if rows.compared is None:
        return asked or "treated"
    names: dict[str, Population] = {"ate": "all", "ate_on_support": "all", "ato": "overlap"}
    own = names.get(rows.compared.estimand, "treated")
    if asked is not None and asked != own:
        raise SettingsError(
            f"standardise={asked!r}: the design was made for {rows.compared.estimand!r}; expected {own!r} or nothing."
        )
    return own


def _at(values: Floats | None, positions: Positions) -> Floats | None:
    return None if values is None else values[positions]
