"""Subdistribution hazard of one cause (Fine and Gray): for a treatment and covariates fixed at time zero only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, FitOptions, Task, put_together
from missie_impact.effects.fitting.groups import Scales, coefficient_covariance, each_group, estimate_group, no_estimate
from missie_impact.effects.fitting.model import Fitted, variable_on
from missie_impact.effects.fitting.rows import ClusterChoice, Group, Mask, Request, Rows, Source, read_rows
from missie_impact.effects.result import Effect, GroupResult, TermName
from missie_impact.effects.survival.followed import Followed, follow, weights_note
from missie_impact.effects.survival.survival import flow_of
from missie_impact.errors import NoEventError, NoParticipantError, SettingsError
from missie_impact.numerics.bands import influence_covariance
from missie_impact.numerics.covariance import Clusters
from missie_impact.numerics.design import Column, Design, Factor, aliased, build_design
from missie_impact.numerics.subdistribution import (
    UnitTimes,
    Weights,
    chance_before,
    fit_subdistribution,
    stay_weights,
    subdistribution_scores,
)

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
Model = Literal["cox", "cloglog", "logit"]

SCALES = ("subdistribution_hazard_ratio", "log_subdistribution_hazard")
LOGIT_SCALES = ("subdistribution_odds_ratio", "log_subdistribution_odds")
NAMES = {
    "fine_gray": "weights of Fine and Gray, as R's crr",
    "geskus": "weights of Geskus, as R's finegray",
}
PERIOD = "period"
LARGEST_COPY = 20_000_000


@dataclass(frozen=True, slots=True)
class Units:
    """Units of a risk set, one line each, in place of its rows.

    Attributes
    ----------
    rows : treatment, covariates, clusters and groups at the first row of each unit
    times : entry, exit and cause; 1 is the cause of interest
    """

    rows: Rows
    times: UnitTimes


def subdistribution_hazard(
    risk: Source,
    *,
    cluster: ClusterChoice,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    model: Model = "cox",
    cause: str | None = None,
    weights: Weights | None = None,
    options: FitOptions = DEFAULT_OPTIONS,
) -> Effect:
    """Estimate how the treatment shifts the subdistribution hazard of one cause, whose sum is its incidence.

    Whoever leaves by another cause stays in the risk set, weighted by the chance of still being seen. It says whether
    the treatment raises or lowers the incidence of the cause, not by which way; it has a meaning only for a treatment
    and covariates known at time zero.

    Parameters
    ----------
    risk : risk set with a cause; units are rows of one firm (and market, year) that follow each other
    cluster : None takes each unit on its own. Cox: no small-sample factor, as in R
    controls : fixed at time zero, an error otherwise
    by : columns that make subgroups
    model : "cox" for exact times (Breslow ties, as R's ``crr``), "cloglog" or "logit" for discrete periods, with a
        dummy per period
    cause : name of the cause of interest; None takes the outcome
    weights : "fine_gray" or "geskus", see :func:`~missie_impact.numerics.subdistribution.stay_weights`; None takes the
        first, or the second under delayed entry and for discrete periods
    options : level of intervals, small-sample factor of the discrete models

    Returns
    -------
    Effect
        ``subdistribution_hazard_ratio`` and its logarithm (logit: odds ratio). Errors of "cox" with weights
        "fine_gray" count the estimation of the weights; the others take the weights as known.

    Raises
    ------
    SettingsError
        If the treatment or a control changes within a unit: fit cause-specific hazards and standardise the incidence.

    References
    ----------
    Fine and Gray (1999), JASA 94, 496-509; Geskus (2011), Biometrics 67, 39-49; Berger and others (2020),
    Biostatistics 21, 449-466.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 1] * 4, "since": 0, "until": [1, 2, 2, 1, 3, 4, 4, 3]})
    >>> table["cause"] = ["exit", "exit", "death", "death", "exit", "exit", "open", "exit"]
    >>> table["left"] = (table["cause"] == "exit").astype(int)
    >>> roles = {"outcome": "left", "treatment": "went", "start": "since", "duration": "until", "cause": "cause"}
    >>> found = mi.subdistribution_hazard(mi.RiskSet.from_frame(table, **roles), cluster=None, controls=None)
    >>> round(found.effect("subdistribution_hazard_ratio").estimate, 2)
    1.42
    """
    if model not in get_args(Model):
        raise SettingsError(f"model: expected one of {list(get_args(Model))}, found {model!r}.")
    followed = follow(risk, cluster=cluster, by=by)
    year = followed.risk.roles.year
    always = (year,) if followed.risk.design == "trials" and year is not None else ()
    request = Request(controls, always=always, by=by, cluster=(cluster,), correction=options.correction)
    units = units_of(followed, read_rows(risk, request), cause)
    if model == "cox":
        kind = weights or ("geskus" if units.times.delayed else "fine_gray")
        results = each_group(units.rows, lambda group: _cox(units, group, kind))
    else:
        kind = weights or "geskus"
        results = each_group(units.rows, lambda group: _discrete(units, group, kind, model))
    named = cause or " or ".join(followed.causes[c - 1] for c in np.unique(followed.cause[followed.rows.y == 1.0]))
    task = Task(named, "cloglog", f"subdistribution hazard ({model}), {NAMES[kind]}", "treated", lambda fitted: _none())
    made = put_together(risk, units.rows, results, task, options, flow_of(followed))
    note = "a ratio of subdistribution hazards: it orders the incidence of the cause, it is no effect on its rate"
    known = [weights_note(units.rows, included=False)] if units.rows.probability is not None else []
    return replace(made, notes=(*made.notes, *followed.notes, *known, note))


def units_of(followed: Followed, rows: Rows, cause: str | None) -> Units:
    """Put the rows of each unit into one line, checked.

    Raises
    ------
    SettingsError
        If the treatment or a control changes within a unit, a unit goes on after an event, or the rows do not tell
        which of them belong together.
    """
    if followed.switching:
        raise SettingsError(f"the treatment changes within units: {INSTEAD}")
    if followed.unit is None:
        raise SettingsError(
            "rows of a firm overlap and follow each other, so they do not tell which make one unit. Name the columns "
            "that do (firm=, market=, year=) when you make the risk set."
        )
    there = np.flatnonzero(followed.there)
    order = there[np.lexsort((followed.start[there], followed.unit.codes[there]))]
    unit = followed.unit.codes[order]
    first = np.concatenate([[True], np.diff(unit) != 0])
    last = np.concatenate([first[1:], [True]])
    early = int(np.count_nonzero((followed.cause[order] > 0) & ~last))
    if early:
        raise SettingsError(f"{early} rows with an event are followed by further rows of the same unit: drop those.")
    heads, number = order[first], np.cumsum(first) - 1
    for variable in rows.variables:
        values = variable.values if isinstance(variable, Column) else variable.codes
        changed = int(np.count_nonzero(values[order] != values[heads][number]))
        if changed:
            raise SettingsError(f"control `{variable.name}` changes within units in {changed} rows: {INSTEAD}")
    event = _of_interest(followed, cause)[order[last]]
    kind = np.where(event, 1, np.where(followed.cause[order[last]] > 0, 2, 0)).astype(np.intp)
    lines = rows_at(rows, heads)
    named = tuple(c if c.dimensions else replace(c, name="unit") for c in lines.clusterings)
    lines = replace(lines, y=event.astype(np.float64), clusterings=named)
    weight = np.ones(len(heads))
    for one in (lines.frequency, lines.probability):
        weight = weight if one is None else weight * one
    return Units(lines, UnitTimes(followed.start[heads], followed.stop[order[last]], kind, weight))


INSTEAD = (
    "the subdistribution hazard has no meaning then. Fit the cause-specific hazards (cause_specific_hazards) and "
    "compare standardised_incidence."
)


def rows_at(rows: Rows, positions: Codes, *, outcome: Floats | None = None) -> Rows:
    """Return the rows at some positions, repeated where a position is."""

    def taken(values: NDArray[np.float64] | None) -> Floats | None:
        return None if values is None else values[positions]

    variables: list[Factor | Column] = [
        Column(v.name, v.values[positions]) if isinstance(v, Column) else Factor(v.name, v.codes[positions], v.levels)
        for v in rows.variables
    ]
    clusterings = tuple(
        replace(c, dimensions=tuple(_renumbered(d, positions) for d in c.dimensions)) for c in rows.clusterings
    )
    return replace(
        rows,
        y=rows.y[positions] if outcome is None else outcome,
        treated=rows.treated[positions],
        frequency=taken(rows.frequency),
        probability=taken(rows.probability),
        variables=tuple(variables),
        firm=None if rows.firm is None else rows.firm[positions],
        clusterings=clusterings,
        groups=tuple(replace(g, rows=g.rows[positions]) for g in rows.groups),
        first=None,
        unit=None,
        weighting=None,
        products={name: values[positions] for name, values in rows.products.items()},
        crossed={name: tuple(part[positions] for part in parts) for name, parts in rows.crossed.items()},
    )


def _renumbered(clusters: Clusters, positions: Codes) -> Clusters:
    found, codes = np.unique(clusters.codes[positions], return_inverse=True)
    return Clusters(codes.reshape(-1).astype(np.intp), len(found))


def _of_interest(followed: Followed, cause: str | None) -> Mask:
    if cause is None:
        happened: Mask = followed.rows.y == 1.0
        return happened
    if cause not in followed.causes:
        raise SettingsError(f"cause={cause!r}: expected one of {list(followed.causes)}.")
    return np.asarray(followed.cause == followed.causes.index(cause) + 1, dtype=bool)


def _cox(units: Units, group: Group, kind: Weights) -> GroupResult:
    rows = units.rows
    there: Codes = np.flatnonzero(group.rows & (units.times.weight > 0))
    _check(rows, there)
    design = _design(rows, there)
    keep = [j for j in range(design.n_columns) if j not in aliased(design, units.times.weight[there])]
    x = design.written_out()[:, keep][:, 1:]  # the constant says nothing in a partial likelihood
    terms = [design.terms[j] for j in keep][1:]
    if terms[0].variable != rows.treatment:
        raise SettingsError(f"`{rows.treatment}` is a combination of controls; leave one of them out.")
    part = units.times.at(there)
    weights = stay_weights(part, kind)
    fit = fit_subdistribution(x, part, weights)
    influence = sum(subdistribution_scores(x, part, weights, fit.coef)) @ fit.bread
    covariances = {}
    for clustering in rows.clusterings:
        added = influence
        if not clustering.dimensions and rows.frequency is not None:
            added = influence / np.sqrt(rows.frequency[there])[:, None]  # f equal units are f squares of one each
        clusters = [_renumbered(d, there) for d in clustering.dimensions] or [
            Clusters(np.arange(len(there)), len(there))
        ]
        columns = [(np.arange(len(there)), column) for column in added.T]
        covariances[clustering.name] = influence_covariance(columns, clusters)
    counts = no_estimate(rows, Group(group.name, group.rows), SCALES, "")
    return replace(
        counts,
        values=np.array([np.exp(fit.coef[0]), fit.coef[0]]),
        covariances={name: np.full((2, 2), matrix[0, 0]) for name, matrix in covariances.items()},
        terms=tuple(TermName(t.variable, "" if t.variable in rows.plain else t.level) for t in terms),
        coef=fit.coef,
        term_reasons=("",) * len(terms),
        coef_covariances=covariances,
        degrees=dict.fromkeys(covariances, float("inf")),
        log_likelihood=fit.log_likelihood,
        notes=("weights of those who left otherwise are taken as known",) if kind == "geskus" else (),
    )


def _design(rows: Rows, there: Codes) -> Design:
    factors = [Factor(rows.treatment, rows.treated[there].astype(np.intp), ("0", "1"))]
    columns: list[Column] = []
    for variable in rows.variables:
        kept = variable_on(variable, there)
        if isinstance(kept, Factor):
            factors.append(kept)
        elif kept is not None:
            columns.append(kept)
    return build_design(factors, columns)


def _check(rows: Rows, there: Codes) -> None:
    treated, events = int(rows.treated[there].sum()), int(rows.y[there].sum())
    if treated in (0, len(there)):
        raise NoParticipantError(f"no {'un' if treated else ''}treated rows: expected some among {len(there)} units.")
    if not events:
        raise NoEventError(f"no events: expected some among {len(there)} units, found none.")


def _discrete(units: Units, group: Group, kind: Weights, model: Literal["cloglog", "logit"]) -> GroupResult:
    """Binary model of the periods of the weighted risk set: others stay in it to the last period."""
    times = units.times
    there: Codes = np.flatnonzero(group.rows & (times.weight > 0))
    periods = np.unique(np.concatenate([times.exit, times.entry]))
    uneven = int(np.count_nonzero(times.exit % 1)) + int(np.count_nonzero(times.entry % 1))
    if uneven:
        raise SettingsError(
            f"model={model!r} needs whole periods; {uneven} entries or exits lie between them. Use model='cox'."
        )
    last = periods[-1]
    end = np.where(times.cause[there] == 2, last, times.exit[there])
    number = (end - times.entry[there]).astype(np.intp)
    if number.sum() > LARGEST_COPY:
        raise SettingsError(f"{int(number.sum())} periods of units are too many to write out; use model='cox'.")
    owner = np.repeat(there, number)
    steps = np.arange(len(owner)) - np.repeat(np.cumsum(number) - number, number)
    period = times.entry[owner] + steps + 1
    part = times.at(there)
    stays = period > times.exit[owner]
    weight = np.where(stays, chance_before(part, period, kind) / chance_before(part, times.exit[owner], kind), 1.0)
    y = ((times.cause[owner] == 1) & (period == times.exit[owner])).astype(np.float64)
    rows = rows_at(units.rows, owner, outcome=y)
    levels, codes = np.unique(period, return_inverse=True)
    baseline = Factor(PERIOD, codes.reshape(-1).astype(np.intp), tuple(f"{level:g}" for level in levels))
    carried = weight if rows.probability is None else weight * rows.probability
    alone = Clusters(np.unique(owner, return_inverse=True)[1].reshape(-1).astype(np.intp), len(there))
    clusterings = tuple(c if c.dimensions else replace(c, dimensions=(alone,)) for c in rows.clusterings)
    rows = replace(rows, probability=carried, variables=(*rows.variables, baseline), clusterings=clusterings)
    everyone = Group(group.name, np.ones(rows.n, dtype=bool))
    result, _, _ = estimate_group(rows, everyone, model, lambda fitted: _conditional(fitted, model))
    counted = no_estimate(units.rows, Group(group.name, group.rows), result.scales, "").counts
    return replace(
        result, counts=counted, notes=(*result.notes, "weights of those who left otherwise are taken as known")
    )


def _conditional(fitted: Fitted, model: str) -> Scales:
    b, k = float(fitted.fit.coef[fitted.treatment]), fitted.treatment
    covariances = {
        c.name: np.full((2, 2), float(coefficient_covariance(fitted, c).matrix[k, k])) for c in fitted.rows.clusterings
    }
    return Scales(SCALES if model == "cloglog" else LOGIT_SCALES, np.array([np.exp(b), b]), covariances)


def _none() -> Scales:
    return Scales((), np.empty(0), {})
