"""Binomial regression on cells: one pass over the rows per step, whatever the number of factor levels.

Fisher scoring with step halving. Same likelihood, optimum and standard errors as with all dummies written out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from missie_impact.errors import CollinearityError, ConvergenceError, NoEventError, SeparationError, SettingsError
from missie_impact.numerics.cells import Design, Floats, Term
from missie_impact.numerics.likelihood import Block, Blocks, Moments, loglik_at, moments_at, total_moments
from missie_impact.numerics.links import LinkName, get_link

__all__ = ["BinomialFit", "Block", "Blocks", "fit_binomial", "fit_blocks", "loglik_at", "moments_at", "score_rows"]

LEAST_GAIN = 0.25  # share of the rise along the score that a step must bring; half of it is perfect
HALVINGS = 30
NEAR_ENOUGH = 1.0  # standard deviations of score: no use in starting values nearer than cell means are right
SETTLED_ETA = 1e-3  # a last step that moves no row's linear predictor by more has settled
SEPARATING_SHARE = 0.02  # of the largest movement: what is left of the finite part of a diverging step


@dataclass(frozen=True, slots=True)
class BinomialFit:
    """Maximum-likelihood fit of a binary outcome. It holds no microdata.

    Attributes
    ----------
    coef : (k,) coefficients, dummies first
    bread : (k, k) inverse of the expected information: the model-based covariance
    log_likelihood : at the optimum; with probability weights the weighted pseudo log likelihood
    n_rows : rows, frequency counted, probability not
    n_events : events, counted the same way
    steps : Newton steps taken over all rows
    gradient : largest score in units of its own standard deviation
    link : its name
    terms : the k columns
    """

    coef: Floats
    bread: Floats
    log_likelihood: float
    n_rows: float
    n_events: float
    steps: int
    gradient: float
    link: LinkName
    terms: tuple[Term, ...]

    @property
    def std_error(self) -> Floats:
        """Model-based standard errors (k,): right only without clusters and without probability weights."""
        errors: Floats = np.sqrt(np.diag(self.bread))
        return errors


def fit_binomial(
    y: Floats,
    design: Design,
    *,
    link: LinkName = "cloglog",
    frequency: Floats | None = None,
    probability: Floats | None = None,
    tolerance: float = 1e-8,
    max_steps: int = 50,
) -> BinomialFit:
    """Fit P(y = 1) = link(design) by maximum likelihood.

    Parameters
    ----------
    y : (n,) 0 or 1, or a share of events among ``frequency`` equal rows
    design : covariates without aliased columns (`missie_impact.numerics.design.aliased`); an offset stands in it
    link : "cloglog" (discrete-time proportional hazards), "logit" or "probit"
    frequency : (n,) weights that count rows; they enter ``n_rows`` and the likelihood
    probability : (n,) weights that enter scores only; the error must then be a robust one
    tolerance : largest score at the optimum, in units of its own standard deviation
    max_steps : passes allowed

    Returns
    -------
    BinomialFit
        Model-based covariance in it; clustered ones in `missie_impact.numerics.covariance`.

    Raises
    ------
    NoEventError
        If no row has an event, or every row has one.
    SeparationError
        If a combination of columns separates events from other rows.
    CollinearityError
        If a column is a combination of others.
    ConvergenceError
        If the steps do not settle.

    References
    ----------
    Prentice and Gloeckler (1978), Biometrics 34, 57-67; McCullagh and Nelder (1989), section 4.
    """
    block = Block(np.asarray(y, dtype=np.float64), design, frequency, probability)
    _check(block)
    counts = _counts(lambda: (block,))
    block = _collapsed(block)
    start = _start_from_cells(block, link)
    return _fit(lambda: (block,), counts, link, start, tolerance, max_steps)


def fit_blocks(
    blocks: Blocks,
    *,
    link: LinkName = "cloglog",
    start: Floats | None = None,
    tolerance: float = 1e-8,
    max_steps: int = 50,
) -> BinomialFit:
    """Fit over blocks of rows, read again at each step, so that the rows need not fit in memory.

    Parameters
    ----------
    blocks : called once per step; gives blocks whose designs have the same terms in the same order
    start : (k,) starting values; the share of events if left out
    link, tolerance, max_steps : as in `fit_binomial`
    """
    return _fit(blocks, _counts(blocks), link, start, tolerance, max_steps)


@dataclass(frozen=True, slots=True)
class _Counts:
    n_rows: float
    n_events: float
    mass: float
    share: float
    terms: tuple[Term, ...]


def _fit(
    blocks: Blocks, counts: _Counts, link: LinkName, start: Floats | None, tolerance: float, max_steps: int
) -> BinomialFit:
    terms = counts.terms
    if not 0 < counts.n_events < counts.n_rows:
        raise NoEventError(
            f"expected events and other rows, found {counts.n_events:g} events in {counts.n_rows:g} rows."
        )
    coef = _start(terms, counts.share, link)
    here, direction, gradient = total_moments(blocks, coef if start is None else start, link), None, np.inf
    if start is not None:
        null = counts.mass * (counts.share * np.log(counts.share) + (1 - counts.share) * np.log1p(-counts.share))
        near = np.isfinite(here.log_likelihood) and here.log_likelihood > null
        coef, here = (start, here) if near else (coef, total_moments(blocks, coef, link))
    for step in range(1, max_steps + 1):
        gradient = _scaled_gradient(here)
        if gradient <= tolerance and not _still_moving(blocks, direction, terms):
            bread = _inverse(here.information, terms)
            n_rows, n_events = counts.n_rows, counts.n_events
            return BinomialFit(coef, bread, here.log_likelihood, n_rows, n_events, step, gradient, link, terms)
        try:
            direction = _solve(here.information, here.score, terms)
        except CollinearityError:
            _still_moving(blocks, direction, terms)  # a vanished information may be separation, which says more
            raise
        coef, here = _advance(blocks, coef, direction, here, link)
    _still_moving(blocks, direction, terms)
    raise ConvergenceError(
        f"no maximum after {max_steps} steps over {counts.n_rows:g} rows; the scaled gradient is still {gradient:.1e}, "
        f"expected at most {tolerance:.1e}. Rescale continuous columns, leave out controls, or give a larger max_steps."
    )


def score_rows(
    fit: BinomialFit,
    y: Floats,
    design: Design,
    *,
    frequency: Floats | None = None,
    probability: Floats | None = None,
) -> Floats:
    """Score of each row in its linear predictor, weights included, shape (n,).

    The score vector of row i is this number times its covariates. Sums per cluster make the meat of a sandwich.
    """
    block = Block(np.asarray(y, dtype=np.float64), design, frequency, probability)
    quick, weight = get_link(fit.link).quick, block.weight
    score, cells = np.empty(design.n_rows), design.predict_cells(fit.coef)
    for rows in design.slices():
        score[rows] = quick(block.y[rows], design.predict(fit.coef, rows, cells))[1]
    return score if weight is None else score * weight


def _check(block: Block) -> None:
    n = block.design.n_rows
    for name, values in (("y", block.y), ("frequency", block.frequency), ("probability", block.probability)):
        if values is None:
            continue
        if len(values) != n:
            raise SettingsError(f"{name} has {len(values)} rows, the design has {n}.")
        bad = n - int(np.count_nonzero((values >= 0) & (values < np.inf)))
        if bad:
            raise SettingsError(f"{name} must be finite and not negative; {bad} of {n} rows are not.")
    above = int(np.count_nonzero(block.y > 1))
    if above:
        raise SettingsError(f"y must lie between 0 and 1; {above} of {n} rows exceed 1.")


def _collapsed(block: Block) -> Block:
    """Return one row per cell where rows differ in nothing else: the same likelihood from fewer rows."""
    design = block.design
    if len(design.continuous) or design.offset is not None or design.n_rows <= design.n_cells:
        return block
    return _cell_means(block)


def _cell_means(block: Block) -> Block:
    """One row per cell: share of events and mean of the continuous columns, by weight."""
    design, weight = block.design, block.weight
    n = np.ones(design.n_rows) if block.frequency is None else block.frequency
    w = n if block.probability is None else n * block.probability
    mass = design.per_cell(w)
    divisor = np.where(mass > 0, mass, 1.0)
    share = design.per_cell(block.y if weight is None else weight * block.y) / divisor
    means = np.array([design.per_cell(w * x) / divisor for x in design.continuous]).reshape(-1, design.n_cells)
    offset = None if design.offset is None else design.per_cell(w * design.offset) / divisor
    cells = Design(
        np.arange(design.n_cells), design.codes, design.dummies, means, design.terms, design.layout, design.kept, offset
    )
    rows = design.per_cell(n)
    probability = None if block.probability is None else mass / np.where(rows > 0, rows, 1.0)
    # y is a weighted share: counts of events stay exact only without probability weights, see _counts
    return Block(np.clip(share, 0.0, 1.0), cells, rows, probability)


def _start_from_cells(block: Block, link: LinkName) -> Floats | None:
    """Fit cells at the means of their continuous columns: nearly free, and near enough to save passes."""
    design = block.design
    few, many = 20 * design.n_columns, design.n_rows // 4
    if not len(design.continuous) or not few < design.n_cells < many:
        return None
    cells = _cell_means(block)
    mass = cells.frequency if cells.weight is None else cells.weight
    share = float(np.average(cells.y, weights=mass)) if mass is not None and mass.sum() > 0 else 0.0
    coef = _start(design.terms, share, link)
    try:
        here = total_moments(lambda: (cells,), coef, link)
        for _ in range(6):
            if _scaled_gradient(here) < NEAR_ENOUGH:
                break
            direction = _solve(here.information, here.score, design.terms)
            coef, here = _advance(lambda: (cells,), coef, direction, here, link)
    except (CollinearityError, ConvergenceError):
        return None  # only a starting value: the fit itself names what is wrong
    return coef if np.isfinite(coef).all() and np.abs(coef).max() < 1e3 else None


def _counts(blocks: Blocks) -> _Counts:
    n_rows = n_events = mass = events = 0.0
    terms: tuple[Term, ...] | None = None
    for block in blocks():
        frequency = np.ones(len(block.y)) if block.frequency is None else block.frequency
        weight = frequency if block.probability is None else frequency * block.probability
        n_rows, n_events = n_rows + float(frequency.sum()), n_events + float(frequency @ block.y)
        mass, events = mass + float(weight.sum()), events + float(weight @ block.y)
        if terms is not None and block.design.terms != terms:
            raise SettingsError("expected blocks of the same terms in the same order, found different ones.")
        terms = block.design.terms
    if terms is None:
        raise SettingsError("expected at least one block of rows, found none.")
    return _Counts(n_rows, n_events, mass, events / mass if mass > 0 else 0.0, terms)


def _start(terms: tuple[Term, ...], share: float, link: LinkName) -> Floats:
    coef = np.zeros(len(terms))
    if terms and terms[0].variables == ("(Intercept)",):
        coef[0] = float(get_link(link).eta(np.clip(np.array([share]), 1e-6, 1 - 1e-6))[0])
    return coef


def _advance(blocks: Blocks, coef: Floats, direction: Floats, here: Moments, link: LinkName) -> tuple[Floats, Moments]:
    """Go along the direction, half as far as long as the likelihood falls."""
    slack = 1e-10 * (1.0 + abs(here.log_likelihood))  # rounding of a sum of many rows
    # A rise alone is not enough: rows of little weight could be thrown far out while the others gain.
    promised = LEAST_GAIN * float(here.score @ direction)
    for halving in range(HALVINGS):
        trial = coef + direction * 0.5**halving
        there = total_moments(blocks, trial, link)
        least = here.log_likelihood + promised * 0.5**halving - slack
        if np.isfinite(there.log_likelihood) and there.log_likelihood >= least:
            return trial, there
    raise ConvergenceError(
        f"no step along the score raises the likelihood, after {HALVINGS} halvings. "
        "Look for values of very different size in one column, or an offset far out of range."
    )


def _scaled_gradient(here: Moments) -> float:
    deviation = np.sqrt(np.maximum(np.diag(here.information), np.finfo(float).tiny))
    return float(np.abs(here.score / deviation).max(initial=0.0))


def _factor(information: Floats, terms: tuple[Term, ...]) -> tuple[Floats, Floats]:
    scale = np.sqrt(np.diag(information))
    empty = np.flatnonzero(~(scale > 0))
    if len(empty):
        raise CollinearityError(
            f"columns {[terms[j].name for j in empty]} hold no information: they are zero in every row that counts. "
            "Drop them, or merge the level with another."
        )
    try:
        return linalg.cholesky(information / np.outer(scale, scale), lower=True), scale
    except np.linalg.LinAlgError as error:
        raise CollinearityError(
            f"the {len(terms)} columns are not independent on the rows that count: one of them is a combination of "
            "others. Find it with aliased() and drop it."
        ) from error


def _solve(information: Floats, score: Floats, terms: tuple[Term, ...]) -> Floats:
    lower, scale = _factor(information, terms)
    step: Floats = linalg.cho_solve((lower, True), score / scale) / scale
    return step


def _inverse(information: Floats, terms: tuple[Term, ...]) -> Floats:
    lower, scale = _factor(information, terms)
    inverse: Floats = linalg.cho_solve((lower, True), np.eye(len(scale))) / np.outer(scale, scale)
    return (inverse + inverse.T) / 2


def _furthest(blocks: Blocks, direction: Floats) -> float:
    """Bound on how far a step moves any row, from the ranges of the columns: far cheaper than the rows themselves."""
    furthest = 0.0
    for block in blocks():
        design = block.design
        cells = float(np.abs(design.predict_cells(direction)).max(initial=0.0))
        columns = [max(float(x.max(initial=0.0)), -float(x.min(initial=0.0))) for x in design.continuous]
        furthest = max(furthest, cells + float(np.abs(direction[design.n_dummies :]) @ np.array(columns)))
    return furthest


def _still_moving(blocks: Blocks, direction: Floats | None, terms: tuple[Term, ...]) -> bool:
    """Tell whether the last step still moved rows, and raise if it moved them towards perfect prediction.

    Under separation the score vanishes while the steps do not; they then point along the separating direction.
    """
    if direction is None or _furthest(blocks, direction) < SETTLED_ETA:
        return False
    largest, against, moved, size = 0.0, 0.0, 0, np.zeros(len(terms))
    for again in (False, True):
        for block in blocks():
            design = replace(block.design, offset=None)
            cells = design.predict_cells(direction)
            for rows in design.slices():
                y, along = block.y[rows], design.predict(direction, rows, cells)
                if block.weight is not None:
                    along = np.where(block.weight[rows] > 0, along, 0.0)
                if again:
                    moved += int(np.count_nonzero(np.abs(along) > SEPARATING_SHARE * largest))
                    continue
                largest = max(largest, float(np.abs(along).max(initial=0.0)))
                wrong = np.where(y <= 0, along, np.where(y >= 1, -along, np.abs(along)))
                against = max(against, float(wrong.max(initial=0.0)))
            spread = np.abs(design.continuous).max(axis=1, initial=0.0)
            size = np.maximum(size, np.abs(direction) * np.concatenate([np.ones(design.n_dummies), spread]))
        if largest < SETTLED_ETA:
            return False
        if against > SEPARATING_SHARE * largest:
            return True
    names = [term.name for term, part in zip(terms, size, strict=True) if part > SEPARATING_SHARE * largest]
    raise SeparationError(
        f"terms {names} separate events from other rows perfectly in at least {moved} rows, so they have no finite "
        "estimate. Merge levels, leave the term out, or leave out these rows."
    )
