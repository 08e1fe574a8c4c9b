"""One regression: which rows and columns can be used, the fit, and the two worlds it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.rows import Mask, Rows
from missie_impact.effects.fitting.separated import separated_rows
from missie_impact.effects.result import Counts
from missie_impact.errors import (
    CollinearityError,
    ConvergenceError,
    MissieError,
    NoEventError,
    NoParticipantError,
    SeparationError,
)
from missie_impact.numerics.binomial import BinomialFit, fit_binomial
from missie_impact.numerics.cells import INTERCEPT
from missie_impact.numerics.covariance import Clusters, Scores, clusters_of, fit_scores, with_information
from missie_impact.numerics.design import Column, Design, Factor, build_design
from missie_impact.numerics.links import LinkName
from missie_impact.numerics.separation import Settled, settle

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

CERTAIN = 40.0  # a linear predictor so large that logit and cloglog are 0 or 1 in double precision


@dataclass(frozen=True, slots=True)
class Certain:
    """Rows that leave the likelihood because the model predicts them perfectly.

    Attributes
    ----------
    variable, level : what predicts them; level empty for a combination of terms
    rows, events : how many, and how many of them have the event
    """

    variable: str
    level: str
    rows: int
    events: int


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fit and what was left out on the way to it.

    Attributes
    ----------
    rows : the whole risk set
    group : (n,) rows of the group with a positive weight
    used : positions of the rows in the likelihood
    settled : their design
    fit, scores : the optimum and its score equations
    certain : levels that left with their rows
    combined : positions of rows that a combination of terms predicts perfectly
    constant : controls without variation in the group
    """

    rows: Rows
    group: Mask
    used: Positions
    settled: Settled
    fit: BinomialFit
    scores: Scores
    certain: tuple[Certain, ...]
    combined: Positions
    constant: tuple[str, ...]

    @property
    def treatment(self) -> int:
        """Position of the treatment's coefficient."""
        return self.settled.design.positions(self.rows.treatment)[0]

    def counts(self) -> Counts:
        """Count what stands behind the estimate."""
        rows, used = self.rows, self.used
        units = self.group & rows.treated
        units = units if rows.first is None else units & rows.first
        weight = np.ones(rows.n) if rows.frequency is None else rows.frequency
        firms = None if rows.firm is None else len(np.unique(rows.firm[used]))
        return counted(weight[used], rows.y[used], weight[units], firms)

    def weights(self, positions: Positions) -> Floats:
        """Frequency times probability weight of some rows."""
        weight = np.ones(len(positions))
        for factor in (self.rows.frequency, self.rows.probability):
            weight = weight if factor is None else weight * factor[positions]
        return weight

    def world(
        self, positions: Positions, arm: int | Positions, replaced: Mapping[str, NDArray[Any]] | None = None
    ) -> Design:
        """Covariates of some rows with the treatment set to ``arm``, columns and products as in the fit.

        Parameters
        ----------
        positions : rows of the risk set, those outside the likelihood among them
        arm : 1 with, 0 without treatment; or which of them for each row
        replaced : what to use instead of the rows' own, such as another year of follow-up: codes of a factor, values of
            a column, of a product what the treatment is multiplied with
        """
        layout, replaced = self.settled.design.layout, replaced or {}
        for name, values in self.rows.products.items():
            replaced = {**replaced, name: arm * replaced.get(name, values[positions])}
        known = {v.name: v for v in self.rows.variables if isinstance(v, Factor)}
        codes = {name: v.codes[positions] for name, v in known.items()}
        codes |= {name: np.asarray(replaced[name], dtype=np.intp) for name in known if name in replaced}
        offset = self._certainty(positions, codes)
        factors = []
        for name, levels in layout.factors:
            if name == self.rows.treatment:
                factors.append(Factor(name, np.full(len(positions), arm, dtype=np.intp), levels))  # both arms are there
                continue
            # A level that left the likelihood stands at the reference here; the offset says what is certain about it.
            place = {level: i for i, level in enumerate(levels)}
            number = np.array([place.get(level, 0) for level in known[name].levels], dtype=np.intp)
            factors.append(Factor(name, number[codes[name]], levels))
        columns = [c for c in self.rows.variables if isinstance(c, Column) and c.name in layout.columns]
        taken = [Column(c.name, replaced.get(c.name, c.values[positions])) for c in columns]
        design = build_design(factors, taken, offset=offset if offset.any() else None, n_rows=len(positions))
        kept = set(self.settled.design.kept)
        return design.without([j for j in range(design.n_columns) if j not in kept])

    def together(self, positions: Positions, dimensions: Sequence[Clusters]) -> list[tuple[Clusters, Clusters]]:
        """Clusters of the rows of the fit and of some rows under the same numbers, per dimension."""
        return [number_together(d.codes[self.used], d.codes[positions]) for d in dimensions]

    def _certainty(self, positions: Positions, codes: Mapping[str, NDArray[np.integer[Any]]]) -> Floats:
        """Shift of the linear predictor that makes a certain outcome certain; zero for rows in the likelihood."""
        outcome = np.where(self.rows.y[positions] == 1.0, CERTAIN, -CERTAIN)
        offset = np.where(np.isin(positions, self.combined), outcome, 0.0)
        levels = {v.name: v.levels for v in self.rows.variables if isinstance(v, Factor)}
        for found in self.certain:  # in the order in which they left: the first reason is the one that holds
            if found.level:
                inside = codes[found.variable] == levels[found.variable].index(found.level)
                offset[inside & (offset == 0.0)] = CERTAIN if found.events else -CERTAIN
        return offset


def counted(weight: Floats, y: Floats, treated: Floats, firms: int | None) -> Counts:
    """Count rows and events, and treated units by their frequency weights."""
    return Counts(round(float(weight.sum())), firms, round(float(treated.sum())), round(float(weight @ y)))


def number_together(one: Positions, other: Positions) -> tuple[Clusters, Clusters]:
    """Number the clusters of two sets of rows with the same numbers."""
    joint = clusters_of(np.concatenate([one, other]))
    return Clusters(joint.codes[: len(one)], joint.count), Clusters(joint.codes[len(one) :], joint.count)


def fit_group(rows: Rows, group: Mask, link: LinkName) -> Fitted:
    """Fit the treatment and all controls on the rows of a group.

    Levels of a control without an event (or with only events) leave with their rows; columns that say nothing new are
    dropped.

    Raises
    ------
    NoParticipantError
        If nobody, or everybody, in the group is treated.
    NoEventError
        If no row, or every row, has the event.
    SeparationError
        If the treatment predicts the outcome perfectly.
    CollinearityError
        If the treatment is a combination of controls.
    """
    there = group.copy()
    for weight in (rows.frequency, rows.probability):
        there &= True if weight is None else weight > 0
    positions: Positions = np.flatnonzero(there)
    _check_arms(rows, positions)
    combined: list[Positions] = []
    while True:
        design, constant = _design(rows, positions)
        y, frequency, probability = _parts(rows, positions)
        settled = settle(y, design, frequency=frequency, probability=probability, essential=[rows.treatment])
        del design  # as large as the settled one
        used = positions[settled.rows]
        y, frequency, probability = _parts(rows, used)
        try:
            fit = fit_binomial(y, settled.design, link=link, frequency=frequency, probability=probability)
            break
        except (SeparationError, CollinearityError, ConvergenceError) as error:  # separation may look like the others
            predicted = _predicted_rows(y, settled.design, used, rows.treatment, error)
            combined.append(predicted)
            positions = np.setdiff1d(positions, predicted)
            _check_left(rows, positions, len(predicted))
    scores = fit_scores(fit, y, settled.design, frequency=frequency, probability=probability)
    if any(c.correction == "cr3" for c in rows.clusterings):
        scores = with_information(scores, fit, probability)
    lost = np.concatenate([np.empty(0, dtype=np.intp), *combined])
    certain = [
        Certain(level.term.variable, level.term.level, round(level.n_rows), round(level.n_events))
        for level in settled.separated
    ]
    if len(lost):
        certain.append(Certain("a combination of terms", "", len(lost), round(rows.y[lost].sum())))
    return Fitted(rows, there, used, settled, fit, scores, tuple(certain), lost, constant)


def _check_arms(rows: Rows, positions: Positions) -> None:
    treated, events = int(rows.treated[positions].sum()), int(rows.y[positions].sum())
    n = len(positions)
    if treated == 0:
        raise NoParticipantError(f"no treated rows: expected some among {n} rows of the risk set, found none.")
    if treated == n:
        raise NoParticipantError(f"no untreated rows: expected some among {n} rows of the risk set, found none.")
    if events == 0:
        raise NoEventError(f"no events: expected some among {n} rows of the risk set, found none.")
    if events == n:
        raise NoEventError(f"only events: expected other rows too among {n} rows of the risk set, found none.")
    with_event = int(rows.y[positions][rows.treated[positions]].sum())
    for name, inside, size in (("treated", with_event, treated), ("untreated", events - with_event, n - treated)):
        if inside in (0, size):
            raise SeparationError(
                f"separation: the {size} {name} rows have {'no' if inside == 0 else 'only'} events, so the effect of "
                f"`{rows.treatment}` has no finite estimate. Ask for fewer groups, or use an exact method."
            )


def _check_left(rows: Rows, positions: Positions, n_predicted: int) -> None:
    """What controls leave to compare must hold both arms and outcomes; if not, the reason is separation."""
    try:
        _check_arms(rows, positions)
    except (NoParticipantError, NoEventError, SeparationError) as lacking:
        raise SeparationError(
            f"separation: a combination of controls predicts {n_predicted} of {n_predicted + len(positions)} rows "
            f"perfectly, and the {len(positions)} rows left cannot be compared, so the effect of `{rows.treatment}` "
            "has no finite estimate. Leave out controls, or merge their levels."
        ) from lacking


def _design(rows: Rows, positions: Positions) -> tuple[Design, tuple[str, ...]]:
    """Covariates of some rows, the treatment first; controls without variation are left out by name."""
    factors = [Factor(rows.treatment, rows.treated[positions].astype(np.intp), ("0", "1"))]
    columns, constant = [], []
    for variable in rows.variables:
        kept = variable_on(variable, positions)
        if kept is None:
            constant.append(variable.name)
        elif isinstance(kept, Factor):
            factors.append(kept)
        else:
            columns.append(kept)
    return build_design(factors, columns), tuple(constant)


def variable_on(variable: Factor | Column, positions: Positions) -> Factor | Column | None:
    """Return a control on some rows, levels without a row left out; None where it does not vary."""
    whole = len(positions) == len(variable.values if isinstance(variable, Column) else variable.codes)  # no copy
    if isinstance(variable, Column):
        values = variable.values if whole else variable.values[positions]
        return None if values.min() == values.max() else Column(variable.name, values)
    codes = variable.codes if whole else variable.codes[positions]
    there = np.bincount(codes, minlength=len(variable.levels)) > 0
    if there.sum() < 2:
        return None
    number = np.cumsum(there) - 1
    levels = tuple(level for level, seen in zip(variable.levels, there, strict=True) if seen)
    return Factor(variable.name, number[codes].astype(np.intp), levels)


def _parts(rows: Rows, positions: Positions) -> tuple[Floats, Floats | None, Floats | None]:
    weights = [None if w is None else w[positions] for w in (rows.frequency, rows.probability)]
    return rows.y[positions], weights[0], weights[1]


def _predicted_rows(y: Floats, design: Design, used: Positions, treatment: str, error: MissieError) -> Positions:
    """Rows that a combination of controls predicts perfectly; an error where the treatment has a part in it."""
    found = separated_rows(y, design)
    if found is None:
        if not isinstance(error, SeparationError):
            raise error
        raise ConvergenceError(
            f"the likelihood over {len(y)} rows diverges, although no combination of terms predicts rows perfectly. "
            "Rescale controls of very different size, or leave some out."
        )
    if set(found.columns) & set(design.positions(treatment)):
        names = dict.fromkeys(v for j in found.columns for v in design.terms[j].variables)
        controls = [name for name in names if name not in (treatment, INTERCEPT.variable)]
        raise SeparationError(
            f"separation: {int(found.rows.sum())} of {len(y)} rows are predicted perfectly by `{treatment}` together "
            f"with {len(controls)} controls, so its effect has no finite estimate. Leave out controls or merge their "
            f"levels; those with a part in it: {', '.join(controls)}."
        )
    return used[found.rows]
