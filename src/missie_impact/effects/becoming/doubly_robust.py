"""Doubly robust comparison: outcome models corrected by weighted residuals, cross-fitted so that no firm judges itself.

Either the outcome models or the propensity score may be wrong and the means are still right; the errors, from influence
functions summed by cluster, take both as right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from missie_impact.effects.becoming.nuisance import Logit, covariates_of, fit_logit
from missie_impact.effects.becoming.weighting import (
    MARGINAL_SCALES,
    check_overlap,
    fit_propensity,
    propensity_weights,
    treated_rows,
)
from missie_impact.effects.fitting.across import added_up
from missie_impact.effects.fitting.groups import FIXED_WEIGHTS, SumsOf, cluster_notes
from missie_impact.effects.fitting.model import counted
from missie_impact.effects.fitting.rows import Clustering, Group, Rows
from missie_impact.effects.fitting.stacked import Counted, Sums, of_weights, summed_covariance, weight_derivative
from missie_impact.effects.fitting.standardise import Population
from missie_impact.effects.result import GroupResult
from missie_impact.errors import NoEventError, NoParticipantError, SettingsError
from missie_impact.numerics.cells import Design
from missie_impact.numerics.contrasts import sum_by
from missie_impact.numerics.covariance import Clusters, Covariance, clusters_of
from missie_impact.numerics.design import rows_of
from missie_impact.numerics.left_out import Parts, fits_without_each
from missie_impact.numerics.links import get_link
from missie_impact.numerics.separation import SeparatedLevel

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Mask = NDArray[np.bool_]

LARGEST_BLOCK = 0.5  # share of rows that firms and matched sets may link before sets are let go


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFit:
    """Settings of the doubly robust estimator.

    Attributes
    ----------
    folds : parts of the firms; each part is predicted by models fitted on the others. 1 fits and predicts on all rows
    seed : of the draw of the parts
    trim : leave out rows whose propensity score is above ``1 - trim`` (and, for effects on all, below ``trim``). This
        changes the estimand, whose name then says so; None leaves nobody out

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> options = mi.FitOptions(cross_fit=mi.CrossFit(folds=2))
    >>> roles = {"cluster": "firm", "controls": ["log_exports"], "estimator": "doubly_robust"}
    >>> found = mi.structural_transition(mi.transition_risk_set(panel), **roles, options=options)
    >>> found.population
    'treated'
    """

    folds: int = 5
    seed: int = 1
    trim: float | None = None

    def __post_init__(self) -> None:
        if self.folds < 1:
            raise SettingsError(f"folds: expected a whole number of at least 1, found {self.folds}.")
        if self.trim is not None and not 0 < self.trim < 0.5:
            raise SettingsError(f"trim: expected a number between 0 and 0.5, found {self.trim}.")


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the cross-fitted models say about m rows.

    Attributes
    ----------
    score : propensity score, NaN where a design gives the weights
    with_, without : risk of the outcome in the two arms; NaN where an effect on the treated does without it
    """

    score: Floats
    with_: Floats
    without: Floats


@dataclass(frozen=True, slots=True)
class Arms:
    """Rows of a doubly robust comparison, all (m,).

    Attributes
    ----------
    y, treated : outcome and arm
    base : weight of each row in the population, zero outside it
    correction : weight of each row's residual, within its arm
    slope : derivative of ``correction`` in the linear predictor of a design's score, or None
    """

    y: Floats
    treated: Mask
    base: Floats
    correction: Floats
    slope: Floats | None = None


@dataclass(frozen=True, slots=True)
class Robust:
    """Risks of the two worlds: values (2,), what each row adds (m, 2), their derivative per row in a design's score."""

    risks: Floats
    influence: Floats
    derivative: Floats


def robust_group(
    rows: Rows, group: Group, population: Population, settings: CrossFit
) -> tuple[GroupResult, bool, SumsOf]:
    """Estimate one group; also say whether treated rows were trimmed, and what each cluster adds to the scales.

    Raises
    ------
    PositivityError
        If rows that the population needs have no chance of the other arm.
    NoEventError
        If an arm that must be predicted has no outcome, or only outcomes, outside some fold.
    """
    if population == "overlap":
        raise SettingsError("the doubly robust estimator is for the treated or for all; use estimator='weighting'.")
    positions, _ = treated_rows(rows, group)
    design, constant = covariates_of(rows, positions)
    folds, fold_notes = folds_of(rows, positions, settings)
    predicted, model_notes = cross_fit(rows, positions, design, folds, population, trimmed=settings.trim is not None)
    arms, kept, trimmed, trim_notes = _arms(rows, positions, predicted, population, settings.trim)
    robust = robust_means(arms, predicted, population)
    steps = _steps(rows, positions, robust)
    covariances, fixed = _covariances(rows, positions[kept], steps)
    made = {name: on_risk_scales(robust.risks, cov.matrix) for name, cov in covariances.items()}
    made |= {name + FIXED_WEIGHTS: on_risk_scales(robust.risks, cov.matrix) for name, cov in fixed.items()}
    degrees = {name: cov.df if len(cov.n_clusters) == 2 else np.inf for name, cov in covariances.items()}
    names = (f"controls without variation left out: {', '.join(constant)}",) if constant else ()
    weight = np.ones(rows.n) if rows.frequency is None else rows.frequency
    used = positions[kept]
    firms = None if rows.firm is None else int(np.count_nonzero(np.bincount(rows.firm[used])))
    result = GroupResult(
        group.name,
        counted(weight[used], rows.y[used], weight[used][rows.treated[used]], firms),
        MARGINAL_SCALES,
        risk_values(robust.risks),
        made,
        degrees=degrees | {name + FIXED_WEIGHTS: df for name, df in degrees.items()},
        notes=(
            *names,
            *fold_notes,
            *model_notes,
            *trim_notes,
            *_risk_notes(robust),
            *cluster_notes(rows, used, covariances),
        ),
    )
    return result, trimmed, added_up(lambda _: steps, risk_gradient(robust.risks))


def robust_means(arms: Arms, predicted: Predicted, population: Population) -> Robust:
    """Risks of the two worlds: mean prediction over the population plus the weighted mean residual of the arm.

    The treated need no model of their own world in an effect on the treated: their mean is observed.

    References
    ----------
    Robins, Rotnitzky and Zhao (1994), JASA 89, 846-866; Chernozhukov and others (2018), Econometrics Journal 21,
    C1-C68.
    """
    n = len(arms.y)
    risks, influence, derivative = np.zeros(2), np.zeros((2, n)).T, np.zeros((2, n)).T  # columns lie together
    share = arms.base / arms.base.sum()
    slope = np.zeros(n) if arms.slope is None else arms.slope
    for j, (arm, model) in enumerate(((arms.treated, predicted.with_), (~arms.treated, predicted.without))):
        if population == "treated" and j == 0:
            risks[0] = share @ arms.y
            influence[:, 0] = share * (arms.y - risks[0])
            continue
        weight, total = np.where(arm, arms.correction, 0.0), float(arms.correction[arm].sum())
        mean, residual = float(share @ model), np.where(arm, arms.y - model, 0.0)
        left = float(weight @ residual) / total
        risks[j] = mean + left
        influence[:, j] = share * (model - mean) + weight / total * (residual - left)
        derivative[:, j] = np.where(arm, slope / total * (residual - left), 0.0)
    return Robust(risks, influence, derivative)


def folds_of(rows: Rows, positions: Positions, settings: CrossFit) -> tuple[Positions, tuple[str, ...]]:
    """Fold of each row, (m,): firms and matched sets stay whole, treated firms are spread evenly."""
    if settings.folds == 1:
        return np.zeros(len(positions), dtype=np.intp), ("not cross-fitted: one fold",)
    units, notes = _blocks(rows, positions)
    treated = np.zeros(units.count, dtype=bool)
    treated[units.codes[rows.treated[positions]]] = True
    if min(int(treated.sum()), units.count) < settings.folds:
        raise NoParticipantError(
            f"no treated rows in some folds: expected treated rows in at least {settings.folds} firms or sets, one for "
            f"each fold, found {int(treated.sum())}. Ask for fewer folds."
        )
    fold = np.empty(units.count, dtype=np.intp)
    random = np.random.default_rng(settings.seed)
    for kind in (treated, ~treated):
        members = np.flatnonzero(kind)
        fold[random.permutation(members)] = np.arange(len(members)) % settings.folds
    return fold[units.codes], notes


def _blocks(rows: Rows, positions: Positions) -> tuple[Clusters, tuple[str, ...]]:
    """Rows that must share a fold."""
    sets = None if rows.compared is None else rows.compared.sets
    firm = np.arange(len(positions)) if rows.firm is None else rows.firm[positions]
    firms = clusters_of(firm)
    if sets is None:
        return firms, ()
    own = sets[positions]
    inside = np.flatnonzero(own >= 0)
    size = firms.count + int(own.max(initial=-1)) + 1
    edges = (np.ones(len(inside)), (firms.codes[inside], firms.count + own[inside]))
    _, label = sparse.csgraph.connected_components(sparse.csr_array(edges, shape=(size, size)), directed=False)
    blocks = clusters_of(label[firms.codes])
    if np.bincount(blocks.codes).max() > LARGEST_BLOCK * len(positions):
        return firms, ("matched sets link more than half of the rows: folds keep firms whole, not sets",)
    return blocks, ()


def cross_fit(
    rows: Rows, positions: Positions, design: Design, folds: Positions, population: Population, *, trimmed: bool = False
) -> tuple[Predicted, tuple[str, ...]]:
    """Predict each fold by models fitted on the others; the weights of a design stand in for a propensity score."""
    order = np.lexsort((rows.treated[positions], folds))  # rows of a fold lie together, and in it the arms
    fold, place, design = folds[order], positions[order], rows_of(design, order)
    y, treated = rows.y[place], rows.treated[place]
    frequency = np.ones(len(y)) if rows.frequency is None else rows.frequency[place]
    probability = None if rows.probability is None else rows.probability[place]
    n = len(y)
    found = Predicted(*(np.full(n, np.nan) for _ in range(3)))
    arms = {"without": ~treated} if population == "treated" else {"with_": treated, "without": ~treated}
    targets: dict[str, tuple[Floats, Mask]] = {name: (y, arm) for name, arm in arms.items()}
    if rows.compared is None:
        targets["score"] = (treated.astype(np.float64), np.ones(n, dtype=bool))
    certain: dict[str, None] = {}
    lost = False
    for name, (target, arm) in targets.items():
        start: Logit | None = None
        weight = frequency if probability is None else frequency * probability
        for number, coef in enumerate(_quick_fits(target, design, arm, fold, weight)):
            test = slice(*np.searchsorted(fold, [number, number + 1]).tolist())
            levels: tuple[SeparatedLevel, ...] = ()
            if coef is None:
                train = arm & (fold != number) if fold.any() else arm
                start = _nuisance(name, target, design, (np.where(train, frequency, 0.0), probability), start)
                predicted, levels, lost = start.predict(design, test), start.certain, lost or bool(start.lost)
            else:
                predicted = get_link("logit").probability(design.predict(coef, test))
            if name == "score" and not trimmed:
                check_overlap(levels, predicted, treated[test].astype(np.float64), population)
            getattr(found, name)[order[test]] = predicted
            certain |= dict.fromkeys(level.term.name for level in levels)
    notes = [f"outcome or treatment certain in some fold, and predicted as such, at {list(certain)}"] if certain else []
    notes += ["in some fold a combination of terms predicts rows perfectly: they left its fit"] if lost else []
    return found, tuple(notes)


def _quick_fits(
    target: Floats, design: Design, arm: Mask, fold: Positions, weight: Floats
) -> tuple[Floats | None, ...]:
    """Coefficients on the rows of an arm outside each fold, rows sorted; None where the fit needs more care."""
    last = int(fold.max(initial=0))
    if last == 0:
        return (None,)
    its = np.flatnonzero(arm)
    ends = np.searchsorted(fold[its], np.arange(last + 2))
    if (np.diff(ends) == 0).any():
        return (None,) * (last + 1)
    slices = tuple(slice(int(its[a]), int(its[b - 1]) + 1) for a, b in pairwise(ends))
    return fits_without_each(Parts(target, design, None if (weight == 1.0).all() else weight, slices))


def _nuisance(
    name: str, target: Floats, design: Design, weight: tuple[Floats, Floats | None], start: Logit | None
) -> Logit:
    if name == "score":
        return fit_propensity(target, design, weight, start)
    try:
        return fit_logit(target, design, weight, start)
    except NoEventError as error:
        arm = "treated" if name == "with_" else "untreated"
        raise NoEventError(
            f"no events, or only events, among the {arm} rows outside some fold, so their risk cannot be modelled. Ask "
            "for fewer folds, or use estimator='weighting'."
        ) from error


def _arms(
    rows: Rows, positions: Positions, predicted: Predicted, population: Population, trim: float | None
) -> tuple[Arms, Mask, bool, tuple[str, ...]]:
    """Weights of the comparison, the rows that take part, and whether trimming left treated rows out."""
    treated, n = rows.treated[positions], len(positions)
    weight = np.ones(n) if rows.probability is None else rows.probability[positions]
    if rows.frequency is not None:
        weight = weight * rows.frequency[positions]
    kept = np.ones(n, dtype=bool)
    slope = None
    if rows.compared is not None:
        own = rows.compared.weight[positions]
        base, correction = weight / own, weight
        if rows.weighting is not None:
            slope = rows.weighting.slope[positions]
            slope = slope if rows.frequency is None else slope * rows.frequency[positions]
        if population == "treated":  # the design's weight of the treated, one unless it says otherwise
            base = np.where(treated, weight, 0.0)
    else:
        if trim is not None:
            kept = predicted.score <= 1 - trim
            kept &= (population == "treated") | (predicted.score >= trim)
        correction = weight * propensity_weights(predicted.score, treated.astype(np.float64), population)[0] * kept
        base = np.where(kept & (treated | (population == "all")), weight, 0.0)
    notes: tuple[str, ...] = ()
    if trim is not None and rows.compared is None:
        lost = [float((~kept & arm).sum() / arm.sum()) for arm in (treated, ~treated)]
        notes = (f"trimmed at a score of {trim:g}: {lost[0]:.2%} of the treated rows, {lost[1]:.2%} of the others",)
    arms = Arms(rows.y[positions], treated, base, correction, slope)
    return arms, kept, bool((~kept & treated).any()), notes


def _steps(rows: Rows, positions: Positions, robust: Robust) -> list[Sums]:
    """What the comparison, and the estimation of a design's weights, add to the two risks per cluster."""

    def sums(clusters: Clusters) -> Floats:
        return sum_by(robust.influence, Clusters(clusters.codes[positions], clusters.count))

    if rows.weighting is None:
        return [sums]
    return [sums, of_weights(rows.weighting, weight_derivative(rows.weighting, positions, robust.derivative))]


def _covariances(rows: Rows, used: Positions, steps: list[Sums]) -> tuple[dict[str, Covariance], dict[str, Covariance]]:
    """Covariance of the two risks per choice of clusters, and with the weights of a design taken as known."""
    mass = np.zeros(rows.n)
    mass[used] = 1.0 if rows.frequency is None else rows.frequency[used]
    over = partial(_per_choice, rows.clusterings, Counted(mass, 2))
    return over(steps), over(steps[:1]) if len(steps) > 1 else {}


def _per_choice(clusterings: tuple[Clustering, ...], counts: Counted, steps: list[Sums]) -> dict[str, Covariance]:
    found = {}
    for choice in clusterings:
        if choice.correction == "cr3":
            raise SettingsError('"cr3" bends the fit of a regression; for estimator="doubly_robust" use another.')
        found[choice.name] = summed_covariance(steps, choice.dimensions, counts, choice.correction)
    return found


def _risk_notes(robust: Robust) -> list[str]:
    outside = not ((robust.risks > 0) & (robust.risks < 1)).all()
    return ["a corrected risk lies outside 0 to 1, so it has no odds ratio: look at the overlap"] if outside else []


def risk_values(risks: Floats) -> Floats:
    """Put the risks of the two worlds on the scales: odds ratio, risk ratio, risk difference, with, without."""
    one, zero = (float(r) for r in risks)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.divide(one * (1 - zero), (1 - one) * zero)
        return np.array([odds, np.divide(one, zero), one - zero, one, zero])


def on_risk_scales(risks: Floats, matrix: Floats) -> Floats:
    """Move the covariance of the two risks to the scales, ratios in logs."""
    gradient = risk_gradient(risks)
    return np.asarray(gradient @ matrix @ gradient.T, dtype=np.float64)


def risk_gradient(risks: Floats) -> Floats:
    """Derivative of the scales in the two risks, ratios in logs, (5, 2)."""
    one, zero = risks
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.array(
            [[1 / (one * (1 - one)), -1 / (zero * (1 - zero))], [1 / one, -1 / zero], [1, -1], [1, 0], [0, 1]]
        )
