"""From rows to results: every group fitted on its own, put on its scales, with its terms and notes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.across import across_groups
from missie_impact.effects.fitting.model import Certain, Fitted, counted, fit_group
from missie_impact.effects.fitting.rows import Clustering, Group, Rows
from missie_impact.effects.fitting.stacked import Sums, stacked_coefficients
from missie_impact.effects.result import Fit, GroupResult, TermName
from missie_impact.errors import (
    CollinearityError,
    ConvergenceError,
    MissieError,
    NoEventError,
    NoParticipantError,
    PositivityError,
    SeparationError,
)
from missie_impact.flow import Flow, FlowStep
from missie_impact.numerics.cells import Term
from missie_impact.numerics.covariance import Covariance, clusters_of, correction_factor, covariance
from missie_impact.numerics.links import LinkName

Floats = NDArray[np.float64]
SumsOf = Callable[[Clustering], Sums]

FEW_TREATED_CLUSTERS = 30
FEW_ROWS_PER_COEFFICIENT = 10
NO_ESTIMATE = (
    NoParticipantError, NoEventError, SeparationError, PositivityError, CollinearityError, ConvergenceError,
)  # fmt: skip
MANY_LEVELS = 3


@dataclass(frozen=True, slots=True)
class Scales:
    """A group's numbers on all scales: values (s,), and per error their (s, s) covariance, ratios in logs.

    ``sums`` gives, per error, what each cluster adds to the scales; it links groups that share clusters.
    """

    names: tuple[str, ...]
    values: Floats
    covariances: Mapping[str, Floats]
    notes: tuple[str, ...] = ()
    sums: SumsOf | None = None


ScalesOf = Callable[[Fitted], Scales]


def estimate_group(
    rows: Rows, group: Group, link: LinkName, scales: ScalesOf
) -> tuple[GroupResult, Fitted, SumsOf | None]:
    """Fit one group and put it on all scales. Errors of `fit_group` pass through."""
    fitted = fit_group(rows, group.rows, link)
    covariances = {c.name: coefficient_covariance(fitted, c) for c in rows.clusterings}
    known = covariances
    if rows.weighting is not None:
        known = {c.name: coefficient_covariance(fitted, c, fixed_weights=True) for c in rows.clusterings}
    made = scales(fitted)
    degrees = {name: cov.df if len(cov.n_clusters) == 2 else np.inf for name, cov in covariances.items()}
    terms, coef, reasons, places = _terms(fitted)
    result = GroupResult(
        group=group.name,
        counts=fitted.counts(),
        scales=made.names,
        values=made.values,
        covariances=made.covariances,
        terms=terms,
        coef=coef,
        term_reasons=reasons,
        coef_covariances={name: spread(cov.matrix, places, len(terms)) for name, cov in covariances.items()},
        degrees={name: degrees[name.removesuffix(FIXED).removesuffix(FIXED_WEIGHTS)] for name in made.covariances},
        notes=(
            *_notes(fitted),
            *_row_notes(fitted, covariances),
            *cluster_notes(rows, fitted.used, covariances),
            *made.notes,
        ),
        log_likelihood=fitted.fit.log_likelihood,
    )
    fixed = {
        name + FIXED: matrix for name, matrix in result.coef_covariances.items() if name + FIXED in made.covariances
    }
    fixed |= {
        name + FIXED_WEIGHTS: spread(cov.matrix, places, len(terms))
        for name, cov in known.items()
        if name + FIXED_WEIGHTS in made.covariances
    }
    return replace(result, coef_covariances={**result.coef_covariances, **fixed}), fitted, made.sums


FIXED = ", fixed covariates"
FIXED_WEIGHTS = ", fixed weights"


def coefficient_covariance(fitted: Fitted, clustering: Clustering, *, fixed_weights: bool = False) -> Covariance:
    """Covariance of the coefficients under one choice of clusters.

    Without clusters: the inverse information, or HC0 where probability weights make that invalid. Where the weights
    were estimated that step is part of it, unless ``fixed_weights``.
    """
    if fitted.rows.weighting is not None and not fixed_weights:
        return stacked_coefficients(fitted, fitted.rows.weighting, clustering)
    if clustering.dimensions:
        used = [clusters_of(d.codes[fitted.used]) for d in clustering.dimensions]
        return covariance(fitted.scores, used, correction=clustering.correction)
    if clustering.name == "hc0":
        return covariance(fitted.scores)
    return Covariance(fitted.fit.bread, (), "model", np.inf)


def covariance_with(fitted: Fitted, clustering: Clustering, k: int) -> Floats:
    """Covariance of all coefficients with one of them, (k,), without the matrix where one dimension allows it."""
    plain = len(clustering.dimensions) == 1 and clustering.correction in ("cr0", "g_over_gm1")
    if fitted.rows.weighting is not None or not plain:
        return np.asarray(coefficient_covariance(fitted, clustering).matrix[:, k], dtype=np.float64)
    scores, own = fitted.scores, clusters_of(clustering.dimensions[0].codes[fitted.used])
    of_row = scores.row * replace(scores.design, offset=None).predict(scores.bread[k])
    influence = np.bincount(own.codes, of_row, minlength=own.count)
    factor = correction_factor(clustering.correction, scores.n_clusters(own), scores.n_rows, len(scores.bread))
    column: Floats = factor * scores.bread @ scores.design.sums(scores.row * influence[own.codes])
    return column


def no_estimate(rows: Rows, group: Group, names: Sequence[str], reason: str) -> GroupResult:
    """Return a group without an estimate: NaN on every scale, counts and the reason."""
    positions = np.flatnonzero(group.rows)
    weight = np.ones(len(positions)) if rows.frequency is None else rows.frequency[positions]
    units = rows.treated[positions] if rows.first is None else rows.treated[positions] & rows.first[positions]
    firms = None if rows.firm is None else len(np.unique(rows.firm[positions]))
    counts = counted(weight, rows.y[positions], weight[units], firms)
    return GroupResult(group.name, counts, tuple(names), np.full(len(names), np.nan), reason=reason)


def each_group(rows: Rows, one: Callable[[Group], GroupResult]) -> tuple[GroupResult, ...]:
    """Estimate all rows and each subgroup on its own with any estimator.

    What empties the whole call raises; a subgroup that cannot be estimated is NaN with its reason.
    """
    whole = one(Group("all", np.ones(rows.n, dtype=bool)))
    results = [whole]
    for group in rows.groups:
        try:
            results.append(one(group))
        except NO_ESTIMATE as error:
            results.append(no_estimate(rows, group, whole.scales, _short(error)))
    return tuple(results)


def estimate_all(
    rows: Rows, link: LinkName, scales: ScalesOf, keep_fit: bool = False
) -> tuple[tuple[GroupResult, ...], Fitted, dict[str, Fit] | None, dict[str, Floats]]:
    """Fit a regression on all rows and on each subgroup.

    Returns
    -------
    the results, the fit of all rows, fits to keep, and per error the joint covariance of all groups and scales
    """
    fits: dict[str, Fit] = {}
    whole: list[Fitted] = []
    sums: dict[str, SumsOf] = {}

    def one(group: Group) -> GroupResult:
        result, fitted, of = estimate_group(rows, group, link, scales)
        sums.update({} if of is None else {group.name: of})
        whole[:] = whole or [fitted]
        fits[group.name] = Fit(fitted.fit, fitted.scores.row, fitted.used)
        return result

    results = each_group(rows, one)
    joint = across_groups(rows, results, sums) if len(results) > 1 else {}
    return results, whole[0], fits if keep_fit else None, joint


def flow_of(risk_flow: Flow, fitted: Fitted) -> Flow:
    """Return the flow of the risk set with the rows that left the likelihood behind it."""
    counts = fitted.counts()
    reason = "; ".join(certain_notes(fitted.certain))
    return risk_flow.then(FlowStep("in the likelihood", counts.n_rows, counts.n_firms, counts.n_treated, reason))


def _terms(fitted: Fitted) -> tuple[tuple[TermName, ...], Floats, tuple[str, ...], list[int]]:
    """All coefficients, those without an estimate among them, and the places of those with one."""
    plain = fitted.rows.plain
    names = [term_name(term, plain) for term in fitted.fit.terms]
    values, reasons = [*fitted.fit.coef.tolist()], [""] * len(names)
    for term in fitted.settled.aliased:
        names.append(term_name(term, plain))
        reasons.append("collinear with others")
    for found in fitted.certain:
        if found.level:
            names.append(TermName(found.variable, "" if found.variable in plain else found.level))
            reasons.append(certain_text(found))
    values += [np.nan] * (len(names) - len(values))
    # The treatment first after the constant: it is what the reader looks for.
    return tuple(names), np.array(values), tuple(reasons), list(range(len(fitted.fit.terms)))


def term_name(term: Term, plain: frozenset[str]) -> TermName:
    """Name a column of a design; a 0/1 column after its variable alone."""
    return TermName(term.variable, "" if term.variable in plain else term.level)


def spread(matrix: Floats, places: list[int], size: int) -> Floats:
    """Put a covariance at the places of the terms that have an estimate, NaN elsewhere."""
    wide = np.full((size, size), np.nan)
    wide[np.ix_(places, places)] = matrix
    return wide


def certain_text(found: Certain) -> str:
    """Say which level left the likelihood with its rows."""
    if not found.level:
        return f"outcome certain for {found.variable}: {found.rows} rows left the likelihood"
    kind = "only" if found.events else "no"
    return f"{kind} events at {found.variable}={found.level}: {found.rows} rows left the likelihood"


def certain_notes(certain: Sequence[Certain]) -> list[str]:
    """One line per level, or per control where many of its levels left."""
    notes = []
    for variable in dict.fromkeys(found.variable for found in certain):
        levels = [found for found in certain if found.variable == variable]
        if len(levels) <= MANY_LEVELS:
            notes += [certain_text(found) for found in levels]
        else:
            rows = sum(found.rows for found in levels)
            notes.append(
                f"no events, or only events, at {len(levels)} levels of {variable}: {rows} rows left the likelihood"
            )
    return notes


def _notes(fitted: Fitted) -> list[str]:
    notes = certain_notes(fitted.certain)
    if fitted.certain:
        notes.append("rows that left the likelihood keep their certain risk, the same in both worlds")
    if fitted.constant:
        notes.append(f"controls without variation left out: {', '.join(fitted.constant)}")
    return notes


def _row_notes(fitted: Fitted, covariances: Mapping[str, Covariance]) -> list[str]:
    """Say where clustered errors take no account of coefficients that use up the rows."""
    n, k = fitted.fit.n_rows, len(fitted.fit.coef)
    uncounted = any(cov.n_clusters and cov.correction in ("cr0", "g_over_gm1") for cov in covariances.values())
    if not uncounted or n >= FEW_ROWS_PER_COEFFICIENT * k:
        return []
    return [
        f"{n:,.0f} rows for {k} coefficients: clustered errors are likely too small; "
        'FitOptions(correction="cr1") counts the coefficients'
    ]


def cluster_notes(rows: Rows, used: NDArray[np.intp], covariances: Mapping[str, Covariance]) -> list[str]:
    """Say what a reader must know of clusters: few, uneven, few with treated rows."""
    notes = [f"{name}: {note}" for name, cov in covariances.items() for note in cov.notes]
    treated = used[rows.treated[used]]
    for clustering in rows.clusterings:
        counts = [len(np.unique(d.codes[treated])) for d in clustering.dimensions]
        if counts and min(counts) < FEW_TREATED_CLUSTERS:
            notes.append(
                f"{clustering.name}: only {min(counts)} clusters with treated rows: errors are likely too small"
            )
    return notes


def _short(error: MissieError) -> str:
    """First clause of an error, for a table."""
    known = ("no treated rows", "no untreated rows", "no events", "only events", "separation", "positivity")
    text = str(error)
    for clause in known:
        if text.startswith(clause):
            return text.split(",")[0].split(". ")[0] if clause in ("separation", "positivity") else clause
    if isinstance(error, CollinearityError):
        return "collinear with others"
    return "separation" if isinstance(error, SeparationError) else "no events"
