"""Cox regression on the rows of an exit question, for comparison with the discrete-time hazards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.compared import WeightScores
from missie_impact.effects.fitting.estimate import Task, put_together
from missie_impact.effects.fitting.groups import certain_notes, certain_text, each_group, spread, term_name
from missie_impact.effects.fitting.model import Certain, counted
from missie_impact.effects.fitting.rows import Clustering, Group, Request, Rows, Source, parts, read_rows
from missie_impact.effects.fitting.spans import row_starts
from missie_impact.effects.fitting.stacked import of_weights, weight_derivative, weight_ratio
from missie_impact.effects.leaving.exit_options import ExitOptions
from missie_impact.effects.result import Counts, Effect, Fit, GroupResult, TermName
from missie_impact.effects.survival.followed import weights_note
from missie_impact.errors import (
    CollinearityError,
    ConvergenceError,
    NoEventError,
    NoParticipantError,
    SchemaError,
    SeparationError,
    SettingsError,
)
from missie_impact.flow import FlowStep
from missie_impact.numerics.bands import influence_covariance
from missie_impact.numerics.cells import Term
from missie_impact.numerics.covariance import Clusters, Covariance, clusters_of
from missie_impact.numerics.cox import (
    CoxData,
    CoxFit,
    cox_covariance,
    cox_data,
    cox_score_residuals,
    fit_cox,
    martingale_residuals,
)
from missie_impact.numerics.cox_exact import fit_cox_exact
from missie_impact.numerics.design import Column, Design, Factor, aliased, build_design
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Mask = NDArray[np.bool_]

COX_SCALES = ("hazard_ratio_conditional", "log_hazard")
STRATUM = "(stratum)"


@dataclass(frozen=True, slots=True)
class CoxRows:
    """Rows of a risk set on a time scale.

    Attributes
    ----------
    rows : outcome, treatment, controls, clusters, groups
    start, stop : (n,) each row is at risk over (start, stop]
    strata : (n,) number of the stratum, or None
    there : (n,) rows whose time is known
    notes : what was read from the rows, or left out
    """

    rows: Rows
    start: Floats
    stop: Floats
    strata: Positions | None
    there: Mask
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CoxFitted:
    """A fit on some rows.

    Attributes
    ----------
    data, fit : the risk sets and the optimum
    terms : its columns, the treatment first
    used : positions of its rows; a row of frequency two stands twice
    certain : levels without an event, which left with their rows
    aliased : columns that say nothing new
    constant : controls without variation
    """

    data: CoxData
    fit: CoxFit
    terms: tuple[Term, ...]
    used: Positions
    certain: tuple[Certain, ...]
    aliased: tuple[Term, ...]
    constant: tuple[str, ...]


def cox_effect(source: Source, request: Request, task: Task, options: ExitOptions, keep_fit: bool = False) -> Effect:
    """Fit all groups by partial likelihood and put the result together."""
    if options.ties == "exact" and keep_fit:
        raise SettingsError("ties='exact' keeps no fit; leave keep_fit out.")
    read = read_cox_rows(source, request, options)
    fits: dict[str, Fit] = {}

    def one(group: Group) -> GroupResult:
        fitted = fit_cox_rows(read, group.rows, options)
        fits[group.name] = Fit(fitted.fit, martingale_residuals(fitted.data, fitted.fit.coef), fitted.used)
        return _result(read, group, fitted, options)

    results = each_group(read.rows, one)
    counts, risk = results[0].counts, parts(source)[0]
    gone = "; ".join(note for note in results[0].notes if "left the likelihood" in note)
    flow = risk.flow.then(FlowStep("in the likelihood", counts.n_rows, counts.n_firms, counts.n_treated, gone))
    made = put_together(source, read.rows, results, task, options, flow)
    return replace(made, fits=fits) if keep_fit else made


def read_cox_rows(source: Source, request: Request, options: ExitOptions) -> CoxRows:
    """Read rows, their time at risk and their strata.

    Raises
    ------
    SettingsError
        If there is no duration, rows do not end after they begin, or spells began before the data were there and
        nothing was said about them.
    """
    risk, _ = parts(source)
    roles = risk.roles
    if roles.duration is None:
        raise SettingsError(
            "model='cox' needs a time scale: name the column with duration= (and start=) when you make the risk set."
        )
    rows = read_rows(source, request)
    asked = [roles.duration, roles.start, roles.outcome, roles.firm, roles.market, *options.strata]
    columns = list(dict.fromkeys(c for c in asked if c is not None))
    absent = [c for c in columns if c not in risk.columns]
    if absent:
        raise SchemaError(f"columns {absent} are not in the risk set; it holds {risk.columns}.")
    frame = risk.collect(columns)
    stop = frame[roles.duration].to_numpy(dtype=np.float64, na_value=np.nan)
    start, note = row_starts(frame, roles)
    unseen: Mask = ~(np.isfinite(stop) & np.isfinite(start))
    notes = [note] if note else []
    if unseen.any():
        check_unseen_origin(int(unseen.sum()), risk, options, "a Cox model")
        notes.append(f"{int(unseen.sum())} rows of spells that began before the data are left out")
    bad = int(np.count_nonzero(~unseen & ~(stop > start)))
    if bad:
        raise SettingsError(
            f"{bad} of {len(stop)} rows do not end after they begin, so they were never at risk: drop them."
        )
    strata = None
    if options.strata:
        missing = int(frame[list(options.strata)].isna().any(axis=1).sum())
        if missing:
            raise SettingsError(f"strata {list(options.strata)}: {missing} rows have none; fill them or drop the rows.")
        strata = clusters_of(*(frame[c].astype(str).to_numpy() for c in options.strata)).codes
    return CoxRows(rows, start, stop, strata, ~unseen, tuple(notes))


def check_unseen_origin(n_rows: int, risk: RiskSet, options: ExitOptions, model: str) -> None:
    """Refuse rows whose clock is unknown in a model that needs it, unless they are to be dropped.

    Raises
    ------
    SettingsError
        If there are such rows and ``unseen_origin`` is not "drop".
    """
    if n_rows and options.unseen_origin != "drop":
        raise SettingsError(
            f"{n_rows} of {risk.n_rows} rows belong to spells that began before the data: {model} needs to know how "
            "long a spell has lasted. Leave them out with ExitOptions(unseen_origin='drop'), use model='cloglog', "
            "which gives them a duration class of their own, or trials, where the clock starts at eligibility."
        )


def fit_cox_rows(read: CoxRows, group: Mask, options: ExitOptions) -> CoxFitted:
    """Fit treatment and controls on the rows of a group.

    A level without an event leaves with its rows: its hazard ratio is zero, and rows of hazard zero weigh nothing.
    """
    rows = read.rows
    there = group & read.there
    for weight in (rows.frequency, rows.probability):
        there = there & (True if weight is None else weight > 0)
    used, certain = _with_events(rows, np.flatnonzero(there))
    _check_arms(rows, used)
    design, constant = _design(read, used)
    strata = [j for j, term in enumerate(design.terms) if term.variable == STRATUM]
    treatment = design.positions(rows.treatment)
    gone = [j for j in aliased(design, last=treatment) if j not in strata]
    if set(gone) & set(treatment):
        raise CollinearityError(
            f"`{rows.treatment}` is a combination of the other columns in the {len(used)} rows that can be used, so "
            "its effect is not identified. Leave out the column that repeats it."
        )
    kept = design.without([0, *strata, *gone])
    repeated = used if rows.frequency is None else _repeated(rows.frequency, used)
    weight = None if rows.probability is None else rows.probability[repeated]
    place = np.searchsorted(used, repeated)
    data = cox_data(
        kept.written_out(place), read.stop[repeated], rows.y[repeated], start=read.start[repeated],
        strata=None if read.strata is None else read.strata[repeated], weight=weight,
        ties="breslow" if options.ties == "exact" else options.ties,
    )  # fmt: skip
    fit = _maximised(data, options, kept.terms)
    out = tuple(design.terms[j] for j in gone)
    return CoxFitted(data, fit, kept.terms, repeated, certain, out, constant)


def cox_clustered(read: CoxRows, fitted: CoxFitted) -> dict[str, Covariance]:
    """Covariance of the coefficients under every error asked for; clustered ones without a factor, as in R."""
    found = {}
    for clustering in read.rows.clusterings:
        if fitted.fit.ties == "exact" and clustering.name != "model":
            raise SettingsError(
                f"ties='exact': errors {clustering.name!r} are not known for it, since a row has no score of its own. "
                "Say cluster=None, or use ties='efron'."
            )
        if read.rows.weighting is not None:
            found[clustering.name] = _with_weights(read, fitted, read.rows.weighting, clustering)
            continue
        own = [clusters_of(d.codes[fitted.used]) for d in clustering.dimensions]
        if clustering.dimensions or clustering.name == "hc0":
            found[clustering.name] = cox_covariance(fitted.data, fitted.fit, own)
        else:
            found[clustering.name] = Covariance(fitted.fit.bread, (), "model", np.inf)
    return found


def _with_weights(read: CoxRows, fitted: CoxFitted, weighting: WeightScores, clustering: Clustering) -> Covariance:
    """Covariance of the coefficients of a weighted design, the estimation of its weights included."""
    rows, used = read.rows, fitted.used
    influence = cox_score_residuals(fitted.data, fitted.fit.coef) @ fitted.fit.bread
    moved = influence * weight_ratio(rows, weighting, used)[:, None]
    further = of_weights(weighting, weight_derivative(weighting, used, moved))
    clusters = clustering.dimensions or (Clusters(np.arange(rows.n), rows.n),)
    matrix = influence_covariance([(used, column) for column in influence.T], clusters, further)
    counts = tuple(len(np.unique(d.codes[used])) for d in clustering.dimensions)
    df = min(counts) - 1.0 if counts else np.inf
    return Covariance(matrix, counts, "cr0" if counts else "hc0", df)


def _result(read: CoxRows, group: Group, fitted: CoxFitted, options: ExitOptions) -> GroupResult:
    rows, fit = read.rows, fitted.fit
    covariances = cox_clustered(read, fitted)
    names = [term_name(term, rows.plain) for term in (*fitted.terms, *fitted.aliased)]
    reasons = [""] * len(fitted.terms) + ["collinear with others"] * len(fitted.aliased)
    for found in fitted.certain:
        names.append(TermName(found.variable, "" if found.variable in rows.plain else found.level))
        reasons.append(certain_text(found))
    values = np.full(len(names), np.nan)
    values[: len(fit.coef)] = fit.coef
    places, b = list(range(len(fit.coef))), float(fit.coef[0])
    notes = [*read.notes, *certain_notes(fitted.certain), f"partial likelihood, ties by {options.ties}"]
    if fitted.constant:
        notes.append(f"controls without variation left out: {', '.join(fitted.constant)}")
    if options.ties == "exact":
        notes.append("exact ties: the coefficient is a log odds ratio of the discrete hazard")
    if options.strata:
        notes.append(f"a baseline of its own for each {' x '.join(options.strata)}")
    if rows.probability is not None:
        notes.append(weights_note(rows))
    if any(c.dimensions for c in rows.clusterings):
        notes.append("clustered errors without a small-sample factor, as R's coxph")
    notes += [f"{name}: {note}" for name, cov in covariances.items() for note in cov.notes]
    return GroupResult(
        group=group.name,
        counts=_counts(rows, fitted.used),
        scales=COX_SCALES,
        values=np.array([np.exp(b), b]),
        covariances={name: np.full((2, 2), cov.matrix[0, 0]) for name, cov in covariances.items()},
        terms=tuple(names),
        coef=values,
        term_reasons=tuple(reasons),
        coef_covariances={name: spread(cov.matrix, places, len(names)) for name, cov in covariances.items()},
        degrees={name: cov.df if len(cov.n_clusters) == 2 else np.inf for name, cov in covariances.items()},
        notes=tuple(notes),
        log_likelihood=fit.log_likelihood,
    )


def _counts(rows: Rows, used: Positions) -> Counts:
    units = rows.treated[used] if rows.first is None else rows.treated[used] & rows.first[used]
    firms = None if rows.firm is None else len(np.unique(rows.firm[used]))
    return counted(np.ones(len(used)), rows.y[used], np.ones(int(units.sum())), firms)


def _repeated(frequency: Floats, used: Positions) -> Positions:
    """Rows as often as they count: Efron's ties are those of the rows, not of their weights."""
    if (frequency[used] % 1 != 0).any():
        raise SettingsError("model='cox' repeats rows: expected whole frequency weights.")
    return np.repeat(used, frequency[used].astype(np.intp))


def _with_events(rows: Rows, positions: Positions) -> tuple[Positions, tuple[Certain, ...]]:
    """Leave out levels of controls in which nothing happens, until none is left."""
    found: list[Certain] = []
    factors = [v for v in rows.variables if isinstance(v, Factor)]
    while True:
        before = len(found)
        for factor in factors:
            codes, size = factor.codes[positions], len(factor.levels)
            number = np.bincount(codes, minlength=size)
            events = np.bincount(codes, rows.y[positions], minlength=size)
            empty = np.flatnonzero((number > 0) & (events == 0))
            if len(empty) and events.sum() > 0:
                found += [Certain(factor.name, factor.levels[k], int(number[k]), 0) for k in empty]
                positions = positions[~np.isin(codes, empty)]
        if len(found) == before:
            return positions, tuple(found)


def _check_arms(rows: Rows, used: Positions) -> None:
    treated, events = rows.treated[used], rows.y[used] == 1.0
    if not treated.any() or treated.all():
        missing = "treated" if not treated.any() else "untreated"
        raise NoParticipantError(
            f"no {missing} rows: expected some among {len(used)} rows of the risk set, found none."
        )
    if not events.any():
        raise NoEventError(f"no events: expected some among {len(used)} rows of the risk set, found none.")
    for name, arm in (("treated", treated), ("untreated", ~treated)):
        if not events[arm].any():
            raise SeparationError(
                f"separation: the {int(arm.sum())} {name} rows have no events, so the effect of `{rows.treatment}` has "
                "no finite estimate. Ask for fewer groups, or use an exact method."
            )


def _design(read: CoxRows, used: Positions) -> tuple[Design, tuple[str, ...]]:
    """Constant, strata, treatment, controls; controls without variation are left out by name."""
    rows = read.rows
    factors: list[Factor] = []
    if read.strata is not None:
        found, codes = np.unique(read.strata[used], return_inverse=True)
        factors.append(Factor(STRATUM, codes.reshape(-1).astype(np.intp), tuple(str(k) for k in range(len(found)))))
    factors.append(Factor(rows.treatment, rows.treated[used].astype(np.intp), ("0", "1")))
    columns, constant = [], []
    for variable in rows.variables:
        if isinstance(variable, Column):
            values = variable.values[used]
            if values.min() == values.max():
                constant.append(variable.name)
            else:
                columns.append(Column(variable.name, values))
            continue
        found, codes = np.unique(variable.codes[used], return_inverse=True)
        if len(found) < 2:
            constant.append(variable.name)
        else:
            levels = tuple(variable.levels[int(k)] for k in found)
            factors.append(Factor(variable.name, codes.reshape(-1).astype(np.intp), levels))
    return build_design(factors, columns), tuple(constant)


def _maximised(data: CoxData, options: ExitOptions, terms: Sequence[Term]) -> CoxFit:
    try:
        return fit_cox_exact(data) if options.ties == "exact" else fit_cox(data, ties=options.ties)
    except ConvergenceError as error:
        if "no finite" not in str(error):
            raise
        raise SeparationError(
            f"separation: one of {[term.name for term in terms]}, or a combination of them, orders all events before "
            "the others at risk: no finite hazard ratio. Leave out controls, or ask for fewer groups."
        ) from error
    except CollinearityError as error:
        raise CollinearityError(
            f"terms {[term.name for term in terms]}: one of them does not vary within the risk sets, or is a "
            "combination of others there, such as a control that is the same in all rows of a stratum. Leave it out."
        ) from error


def clusters_of_used(fitted: CoxFitted, clusters: Clusters) -> Clusters:
    """Clusters of the rows of a fit."""
    return clusters_of(clusters.codes[fitted.used])
