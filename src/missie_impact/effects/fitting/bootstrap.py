"""Bootstraps by cluster: whole firms, or whole matched sets, drawn again and every step estimated again.

The draws redo the propensity score, the outcome models and the means; matching is never redone, because the bootstrap
of a matching algorithm has the wrong variance. Beside it a score wild bootstrap, which imposes the null hypothesis.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from missie_impact.effects.becoming.doubly_robust import Arms, CrossFit, Predicted, folds_of, robust_means
from missie_impact.effects.becoming.nuisance import Logit, covariates_of, fit_logit
from missie_impact.effects.becoming.weighting import fit_propensity, population_of, propensity_weights, treated_rows
from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import Clustering, Group, Rows
from missie_impact.effects.fitting.standardise import Population
from missie_impact.errors import SettingsError
from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.cells import Design
from missie_impact.numerics.covariance import Clusters
from missie_impact.numerics.resampled import fit_many

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Redraw = Callable[[Floats], Floats]  # (B, n) times each row was drawn -> (B, 2 or 3) risks with, without, log odds

NUMBERS_AT_A_TIME = 3_000_000
FEWEST_DRAWS = 50  # an interrupted bootstrap with fewer draws has nothing to say


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """A bootstrap by cluster.

    Attributes
    ----------
    draws : how often the clusters are drawn again
    seed : of the draws, the same for every subgroup
    progress : whether a bar is shown; None: on a terminal only

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 10 + [1] * 10, "left": [1] * 2 + [0] * 8 + [1] * 5 + [0] * 5})
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went")
    >>> options = mi.FitOptions(bootstrap=mi.Bootstrap(draws=50, progress=False))
    >>> found = mi.structural_transition(risk, cluster=None, controls=None, options=options)
    >>> found.vcovs
    ('model', 'model, fixed covariates', 'model, bootstrap')
    """

    draws: int = 999
    seed: int = 1
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.draws < FEWEST_DRAWS:
            raise SettingsError(f"draws: expected at least {FEWEST_DRAWS}, found {self.draws}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WildBootstrap:
    """A score wild bootstrap by cluster that imposes the null hypothesis of no effect (regression only).

    Attributes
    ----------
    draws : of the signs of the clusters
    seed : of the draws

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"firm": range(40), "went": [0] * 20 + [1] * 20})
    >>> table["later"] = [0, 0, 0, 1] * 5 + [0, 1] * 10
    >>> risk = mi.RiskSet.from_frame(table, outcome="later", treatment="went", firm="firm")
    >>> options = mi.FitOptions(wild=mi.WildBootstrap(draws=199))
    >>> found = mi.structural_transition(risk, cluster="firm", controls=None, options=options)
    >>> 0 < found.effect("log_odds").p_value < 1
    True
    """

    draws: int = 9_999
    seed: int = 1


def redrawn(rows: Rows, redraw: Redraw, settings: Bootstrap, label: str) -> Floats:
    """Draw clusters and estimate again, (draws done, 2 or 3); an interruption keeps what was done.

    Raises
    ------
    SettingsError
        If the rows have no single dimension to draw, or were matched with replacement.
    """
    from tqdm import tqdm

    units = drawn_units(rows)
    random = np.random.default_rng(settings.seed)
    size = max(1, NUMBERS_AT_A_TIME // rows.n)
    hide = not settings.progress if settings.progress is not None else None
    found: list[Floats] = []
    with tqdm(total=settings.draws, desc=f"bootstrap {label}", unit="draw", disable=hide, file=sys.stderr) as bar:
        try:
            while (done := sum(len(part) for part in found)) < settings.draws:
                many = min(size, settings.draws - done)
                times = np.array(
                    [
                        np.bincount(random.integers(0, units.count, units.count), minlength=units.count)
                        for _ in range(many)
                    ],
                    dtype=np.float64,
                )
                found.append(redraw(times[:, units.codes]))
                bar.update(many)
        except KeyboardInterrupt:
            if sum(len(part) for part in found) < FEWEST_DRAWS:
                raise
    return np.concatenate(found)


def drawn_units(rows: Rows) -> Clusters:
    """Return what is drawn: the clusters of the main error, or matched sets."""
    compared = rows.compared
    if compared is not None and compared.pairs is not None:
        raise SettingsError(
            "bootstrap: it has the wrong variance for matching with replacement (Abadie and Imbens 2008). Match "
            "without replacement, or take the errors from estimating equations."
        )
    main = rows.clusterings[0]
    if not main.dimensions:
        return Clusters(np.arange(rows.n), rows.n)
    if compared is not None and compared.sets is not None:
        sets = compared.sets
        alone = np.where(sets >= 0, sets, int(sets.max(initial=-1)) + 1 + np.arange(len(sets)))
        codes = np.unique(alone, return_inverse=True)[1].reshape(-1).astype(np.intp)
        return Clusters(codes, int(codes.max()) + 1)
    if len(main.dimensions) != 1:
        raise SettingsError(
            f"bootstrap: expected one dimension of clusters to draw, found {main.name!r}. Ask for cluster='firm' and "
            "put the other choice in also_cluster."
        )
    return main.dimensions[0]


def of_regression(fitted: Fitted, population: Population) -> Redraw:
    """Return what estimates a standardised logit again: weights of a design, coefficients, means."""
    rows, used = fitted.rows, fitted.used
    x, offset = fitted.settled.design.written_out(), fitted.settled.design.offset
    weights = weights_again(rows)
    chosen = np.flatnonzero(fitted.group & rows.treated if population == "treated" else fitted.group)
    designs = [fitted.world(chosen, arm) for arm in (1, 0)]
    worlds = [(d.written_out(), np.zeros(len(chosen)) if d.offset is None else d.offset) for d in designs]

    def redraw(times: Floats) -> Floats:
        weight = times * weights(times)
        coef = fit_many(rows.y[used], x, weight[:, used], fitted.fit.coef, offset=offset)
        over = weight[:, chosen]
        risks = [
            (over * special.expit(coef @ columns.T + shift)).sum(axis=1) / over.sum(axis=1) for columns, shift in worlds
        ]
        return np.column_stack([*risks, coef[:, fitted.treatment]])

    return redraw


def of_weighting(rows: Rows, group: Group, population: Population) -> Redraw:
    """Return what weighs the arms again, the propensity score estimated anew."""
    positions, _ = treated_rows(rows, group)
    y, on = rows.y[positions], rows.treated[positions]
    weights = weights_again(rows) if rows.compared is not None else _own_again(rows, positions, population)

    def redraw(times: Floats) -> Floats:
        weight = (times * weights(times))[:, positions]
        with np.errstate(invalid="ignore", divide="ignore"):
            risks = [(weight[:, arm] @ y[arm]) / weight[:, arm].sum(axis=1) for arm in (on, ~on)]
        return np.column_stack(risks)

    return redraw


def of_doubly_robust(rows: Rows, group: Group, population: Population, settings: CrossFit) -> Redraw:
    """Return what estimates the cross-fitted comparison again; copies of a firm stay in its fold."""
    if settings.trim is not None:
        raise SettingsError("bootstrap: trimming changes whom the effect is about from draw to draw; leave trim out.")
    positions, treated = treated_rows(rows, group)
    on, y = treated == 1, rows.y[positions]
    design, _ = covariates_of(rows, positions)
    folds, _ = folds_of(rows, positions, settings)
    base = _base(rows)[positions]
    weights = weights_again(rows) if rows.compared is not None else None
    models = [("without", y, ~on)] + ([("with_", y, on)] if population == "all" else [])
    models += [("score", treated, np.ones(len(on), dtype=bool))] if rows.compared is None else []
    starts = {name: _started(name, target, design, np.where(arm, base, 0.0)) for name, target, arm in models}

    def redraw(times: Floats) -> Floats:
        times_here = times[:, positions]
        total = times_here * (base if weights is None else weights(times)[:, positions])
        found = {name: np.full(times_here.shape, np.nan) for name in ("with_", "without", "score")}
        for name, target, arm in models:
            start, x = starts[name]
            for fold in np.unique(folds):
                train = arm & ((folds != fold) | (not folds.any()))
                coef = fit_many(target[train], x[train], total[:, train], start)
                found[name][:, folds == fold] = special.expit(coef @ x[folds == fold].T)
        out = np.full((len(times), 2), np.nan)
        for b in range(len(times)):
            correction = total[b]
            if weights is None:
                correction = total[b] * propensity_weights(found["score"][b], treated, population)[0]
            over = np.where(on, total[b], 0.0) if population == "treated" else times_here[b] * base
            predicted = Predicted(found["score"][b], found["with_"][b], found["without"][b])
            out[b] = robust_means(Arms(y, on, over, correction), predicted, population).risks
        return out

    return redraw


def wild_p_value(fitted: Fitted, clustering: Clustering, settings: WildBootstrap) -> float:
    """Test no effect (treatment coefficient zero) by a score wild bootstrap of clusters, null imposed.

    With two dimensions the signs are drawn for the one with fewer clusters. Weights are taken as known.

    References
    ----------
    Kline and Santos (2012), Journal of Econometric Methods 1, 23-41; Roodman and others (2019), Stata Journal 19, 4-60.
    """
    used, rows, k = fitted.used, fitted.rows, fitted.treatment
    design = fitted.settled.design.without([k])
    frequency, probability = (None if w is None else w[used] for w in (rows.frequency, rows.probability))
    fit = fit_binomial(rows.y[used], design, link=fitted.fit.link, frequency=frequency, probability=probability)
    weight = fitted.weights(used)
    p = special.expit(design.predict(fit.coef))
    information = weight * p * (1 - p)
    treated = rows.treated[used].astype(np.float64)
    # what the treatment adds to the score beyond the controls
    slopes = fit.bread @ design.sums(information * treated)
    beyond = treated - (design.predict(slopes) if design.offset is None else design.predict(slopes) - design.offset)
    dimension = min(clustering.dimensions, key=lambda c: c.count) if clustering.dimensions else None
    codes = np.arange(len(used)) if dimension is None else np.unique(dimension.codes[used], return_inverse=True)[1]
    score = np.bincount(codes.reshape(-1), weight * (rows.y[used] - p) * beyond).astype(np.float64)
    random = np.random.default_rng(settings.seed)
    size, larger, seen = max(1, NUMBERS_AT_A_TIME // len(score)), 0, _studentised(score[None, :])[0]
    for first in range(0, settings.draws, size):
        signs = random.choice([-1.0, 1.0], (min(size, settings.draws - first), len(score)))
        larger += int(np.count_nonzero(_studentised(signs * score) >= seen * (1 - 1e-12)))
    return (1 + larger) / (1 + settings.draws)


def _studentised(scores: Floats) -> Floats:
    centred = scores - scores.mean(axis=1, keepdims=True)
    return np.asarray(scores.sum(axis=1) ** 2 / (centred**2).sum(axis=1))


def weights_again(rows: Rows) -> Callable[[Floats], Floats]:
    """Return what makes the weights of all rows for each draw: known ones as they are, estimated ones anew."""
    weighting, compared = rows.weighting, rows.compared
    known = np.ones(rows.n) if rows.probability is None else rows.probability
    known = known if rows.frequency is None else known * rows.frequency
    if weighting is None or compared is None:
        return lambda times: known[None, :]
    population = population_of(rows, None)
    place, base = weighting.positions, _base(rows)
    z, treated = weighting.scores.design.written_out(), rows.treated.astype(np.float64)
    counts = (weighting.scores.row != 0.0) & (compared.weight[place] > 0)  # rows of the weights' model
    start = weighting.coef if weighting.coef is not None else np.zeros(z.shape[1])
    x, at = z[counts], place[counts]
    arm = (weighting.scores.row > 0).astype(np.float64)[counts] if weighting.balancing else treated[at]
    last = np.zeros(len(place), dtype=bool)
    last[np.unique(place[::-1], return_index=True)[1]] = True  # of each row the last one makes the weight
    last = last[::-1][counts]

    def again(times: Floats) -> Floats:
        coef = fit_many(arm, x, times[:, at] * base[at], start, balancing=weighting.balancing)
        eta = coef @ x.T
        if weighting.balancing:
            made = np.where(arm == 1, 1.0, np.exp(eta))  # those to be like weigh one
        else:
            made = propensity_weights(special.expit(eta), np.broadcast_to(arm, eta.shape), population)[0]
        whole = np.zeros(times.shape)
        whole[:, at[last]] = (made * base[at])[:, last]
        return whole

    return again


def _own_again(rows: Rows, positions: Positions, population: Population) -> Callable[[Floats], Floats]:
    """Weights of a propensity score fitted on the controls of some rows, anew for each draw."""
    design, _ = covariates_of(rows, positions)
    base, treated = _base(rows)[positions], rows.treated[positions].astype(np.float64)
    start, x = _started("score", treated, design, base)

    def again(times: Floats) -> Floats:
        coef = fit_many(treated, x, times[:, positions] * base, start)
        score = special.expit(coef @ x.T)
        whole = np.zeros(times.shape)
        whole[:, positions] = base * propensity_weights(score, np.broadcast_to(treated, score.shape), population)[0]
        return whole

    return again


def _started(name: str, target: Floats, design: Design, weight: Floats) -> tuple[Floats, Floats]:
    """Coefficients on all rows, and the columns that say something, written out."""
    make: Callable[..., Logit] = fit_propensity if name == "score" else fit_logit
    logit = make(target, design, (None, weight))
    kept = [j for j, term in enumerate(design.terms) if term not in logit.settled.aliased]
    return logit.coef[kept], design.written_out()[:, kept]


def _base(rows: Rows) -> Floats:
    """Sampling times frequency weight of each row, without that of a design."""
    base = np.ones(rows.n) if rows.probability is None else rows.probability
    if rows.compared is not None:
        own = rows.compared.weight
        base = np.where(own > 0, base / np.where(own > 0, own, 1.0), 0.0)
    return base if rows.frequency is None else base * rows.frequency
