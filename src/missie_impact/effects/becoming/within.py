"""Within the firm: whether it happens in the mission's market rather than in the firm's other markets of the year.

Conditional logit over the markets of a firm and year. Whatever is common to the firm in that year is conditioned away,
and with it every level: the odds ratio holds given the firm and year, no risk follows from it, and it is another number
than the marginal odds ratio of the headline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.becoming.transition import OUTCOMES
from missie_impact.effects.becoming.within_rows import WITHIN_CONTROLS, Stratified, stratify
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, AlsoCluster, FitOptions
from missie_impact.effects.fitting.groups import each_group
from missie_impact.effects.fitting.rows import ClusterChoice, Clustering, Group, Request, Rows, Source, parts, read_rows
from missie_impact.effects.result import Counts, Effect, GroupResult, TermName
from missie_impact.errors import (
    ConvergenceError,
    MissingValueError,
    SeparationError,
    SettingsError,
)
from missie_impact.flow import FlowStep
from missie_impact.numerics.conditional import (
    ConditionalFit,
    StrataData,
    conditional_scores,
    fit_conditional,
    strata_data,
)
from missie_impact.numerics.covariance import cluster_covariance, clusters_of
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

FIRM_YEAR = ("firm", "year")
FOLLOW_UP = "follow_up"
FEW_STRATA = 30


def within_firm(
    risk: Source,
    *,
    cluster: ClusterChoice,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    strata: Sequence[str] = FIRM_YEAR,
    by: str | Sequence[str] | None = None,
    exposure: str | None = None,
    also_cluster: AlsoCluster = (),
    options: FitOptions = DEFAULT_OPTIONS,
) -> Effect:
    """Estimate the odds ratio of the outcome in the mission's market against the other markets of the firm and year.

    Parameters
    ----------
    risk : firm x market risk set made with ``comparison="within_firm"``, exit spells, or an own table with strata
    cluster : "firm", or a column that is the same for all rows of a stratum; None for the inverse information
    controls : columns that differ between the rows of a stratum; what does not is conditioned away and left out by
        name. The default list stands for the pair's trade history, trade with neighbours and the market's popularity;
        ``"market_year"`` adds market x year effects
    strata : roles ("firm", "year") or columns whose combinations are the strata; follow-up of exit trials is added
    by : columns; each level is fitted on its own, beside "all"
    exposure : a numeric column whose odds ratio per unit is wanted instead of the treatment's
    also_cluster, options : as in :func:`missie_impact.effects.structural_transition`

    Returns
    -------
    Effect
        Scales ``odds_ratio_within_firm_year`` and ``log_odds_within_firm_year`` (other strata: ``..._within_strata``).
        No risk ratio or risk difference: a conditional likelihood has no levels. Notes and flow count used strata.

    Raises
    ------
    SettingsError
        If strata are firm x market for an absorbing event, rows carry unequal weights, or a cluster splits strata.
    NoEventError, NoParticipantError, SeparationError, CollinearityError, ConvergenceError
        Where the whole call has no estimate. A subgroup without one is NaN with its reason.

    References
    ----------
    Chamberlain (1980), Review of Economic Studies 47, 225-238; R's ``survival::clogit(method = "exact")``.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"firm": [1, 1, 2, 2, 3, 3, 4, 4], "went": [0, 1] * 4})
    >>> table["structural"] = [0, 1, 0, 1, 0, 1, 1, 0]
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went", firm="firm")
    >>> found = mi.within_firm(risk, cluster="firm", controls=None, strata=("firm",))
    >>> round(found.effect("odds_ratio_within_strata").estimate, 2)
    3.0
    """
    source, _ = parts(risk)
    columns = _strata_columns(source, strata)
    request = _request(source, controls, by, (cluster, *also_cluster), options)
    rows = read_rows(risk, request)
    frame = source.collect([*columns, *([exposure] if exposure else [])])
    codes = _strata_codes(frame[list(columns)], rows, source, columns)
    values = rows.treated.astype(np.float64) if exposure is None else _numbers(frame, exposure)
    task = _Task(rows, codes, values, exposure or rows.treatment, _scales(source, columns))
    results = each_group(rows, partial(_group, task))
    main = rows.clusterings[0].name
    counts = results[0].counts
    used = (counts.n_rows, counts.n_firms, counts.n_treated, task.words(results))
    step = FlowStep("in strata that say something", *used)
    return Effect(
        outcome=OUTCOMES.get(source.question, source.roles.outcome),
        term=task.exposure,
        design=f"within {' x '.join(columns)}",
        model="conditional logit",
        population="treated",
        groups=results,
        vcov=main,
        vcovs=tuple(results[0].covariances),
        conf_level=options.conf_level,
        flow=source.flow.then(step),
        notes=(
            f"odds ratio given {' x '.join(columns)}: no level is estimated, so no risk follows from it, and it is not "
            "the marginal odds ratio",
            *results[0].notes,
        ),
        simulated=source.simulated,
    )


@dataclass(frozen=True, slots=True)
class _Task:
    """Rows with their strata, the exposure and the names of the scales."""

    rows: Rows
    strata: Codes
    values: Floats
    exposure: str
    scales: tuple[str, str]

    def words(self, results: Sequence[GroupResult]) -> str:
        """Why rows are not in the likelihood."""
        return next((note for note in results[0].notes if "strata used" in note), "")


def _request(
    source: RiskSet,
    controls: Sequence[str] | None,
    by: str | Sequence[str] | None,
    cluster: tuple[ClusterChoice, ...],
    options: FitOptions,
) -> Request:
    wanted = controls
    if controls is not None and tuple(controls) == DEFAULT_CONTROLS:
        wanted = tuple(name for name in WITHIN_CONTROLS if name in source.columns)
    duration, classes = source.roles.duration, options.duration_classes
    in_spells = source.design != "trials" and duration is not None and classes is not None
    pair = (duration, classes) if in_spells and duration is not None and classes is not None else None
    return Request(wanted, classes=pair, by=by, cluster=cluster, correction=options.correction)


def _strata_columns(source: RiskSet, strata: Sequence[str]) -> tuple[str, ...]:
    if isinstance(strata, str) or not strata:
        raise SettingsError(f"strata: expected a list of roles or columns such as {list(FIRM_YEAR)}, found {strata!r}.")
    roles = source.roles.named()
    columns = [roles.get(name, name) for name in strata]
    absent = [c for c in columns if c not in source.columns]
    if absent:
        raise SettingsError(
            f"strata {absent} are no columns of the risk set; it holds {source.columns}. Name firm= and year= when you "
            "make it, or name your own columns with strata= (market_exit: ExitOptions(strata=...))."
        )
    if tuple(strata) == FIRM_YEAR and source.design == "trials" and FOLLOW_UP in source.columns:
        columns.append(FOLLOW_UP)  # a trial's years of follow-up are different years
    return tuple(dict.fromkeys(columns))


def _scales(source: RiskSet, columns: tuple[str, ...]) -> tuple[str, str]:
    own = {source.roles.firm, source.roles.year}
    firm_year = None not in own and own <= set(columns) <= own | {FOLLOW_UP}
    what = "within_firm_year" if firm_year else "within_strata"
    return f"odds_ratio_{what}", f"log_odds_{what}"


def _strata_codes(frame: pd.DataFrame, rows: Rows, source: RiskSet, columns: tuple[str, ...]) -> Codes:
    missing = int(frame.isna().any(axis=1).sum())
    if missing:
        raise MissingValueError(f"strata {list(columns)}: expected a value in every row, found {missing} without one.")
    codes = clusters_of(*(pd.factorize(frame[column])[0] for column in columns)).codes
    pair = {source.roles.firm, source.roles.market}
    if None not in pair and pair <= set(columns) and source.roles.year not in columns:
        absorbing = source.question != "own table" or np.bincount(codes, rows.y).max() <= 1
        if absorbing:
            raise SettingsError(
                f"strata {list(columns)}: firm x market effects condition on an event that ends the rows of its pair, "
                "so that the event always comes last and time alone explains it. Use firm x year."
            )
    if rows.probability is not None and not np.isin(rows.probability, (0.0, 1.0)).all():
        raise SettingsError(
            "a conditional likelihood takes no sampling or balancing weights: expected weights of 0 or 1. Make the "
            "risk set without drawn controls, or match one to one."
        )
    if rows.frequency is not None and (rows.frequency % 1 != 0).any():
        raise SettingsError("a conditional likelihood repeats rows: expected whole frequency weights.")
    return codes


def _numbers(frame: pd.DataFrame, column: str) -> Floats:
    values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = len(values) - int(np.isfinite(values).sum())
    if wrong:
        raise MissingValueError(f"exposure `{column}`: expected finite numbers, found {wrong} rows without one.")
    return values


def _group(task: _Task, group: Group) -> GroupResult:
    rows = task.rows
    there = group.rows.copy()
    for weight in (rows.frequency, rows.probability):
        there &= True if weight is None else weight > 0
    used = stratify(rows, np.flatnonzero(there), task.strata, task.values, task.exposure)
    data = strata_data(used.x, rows.y[used.positions], task.strata[used.positions])
    try:
        fit = fit_conditional(data)
    except ConvergenceError as error:
        if "no finite" not in str(error):
            raise
        terms = _separating(data, used)
        raise SeparationError(
            f"separation: within strata terms {terms} order events and other rows perfectly, so there is no finite "
            "odds ratio. Leave out controls, merge their levels, or ask for fewer groups."
        ) from error
    covariances = {c.name: _covariance(task, used, data, fit, c) for c in rows.clusterings}
    size = len(fit.coef)
    gone = [TermName(name, level) for name, level, _ in used.left_out]
    wide = {name: _padded(matrix, len(gone)) for name, matrix in covariances.items()}
    firms = None if rows.firm is None else len(np.unique(rows.firm[used.positions]))
    treated = int(rows.treated[used.positions].sum())
    return GroupResult(
        group=group.name,
        counts=Counts(len(used.positions), firms, treated, int(rows.y[used.positions].sum())),
        scales=task.scales,
        values=np.array([np.exp(fit.coef[0]), fit.coef[0]]),
        covariances={name: np.full((2, 2), matrix[0, 0]) for name, matrix in covariances.items()},
        terms=(*used.terms, *gone),
        coef=np.concatenate([fit.coef, np.full(len(gone), np.nan)]),
        term_reasons=(*([""] * size), *(reason for _, _, reason in used.left_out)),
        coef_covariances=wide,
        degrees=dict.fromkeys(covariances, np.inf),
        notes=_notes(task, used, fit),
        log_likelihood=fit.log_likelihood,
    )


def _separating(data: StrataData, used: Stratified) -> list[str]:
    """Name the terms that separate on their own; all of them where only a combination does."""
    alone = []
    for j, term in enumerate(used.terms):
        try:
            fit_conditional(replace(data, x=data.x[:, [j]]))
        except ConvergenceError:
            alone.append(term.label)
    return alone or [term.label for term in used.terms]


def _covariance(task: _Task, used: Stratified, data: StrataData, fit: ConditionalFit, clustering: Clustering) -> Floats:
    """Inverse information, or scores of strata summed by the cluster each lies in."""
    if not clustering.dimensions:
        return fit.bread
    if len(clustering.dimensions) > 1 or clustering.correction == "cr3":
        raise SettingsError(
            "a conditional likelihood has one score per stratum: expected one cluster dimension that holds whole "
            'strata, such as "firm", and a correction among "cr0", "g_over_gm1", "cr1".'
        )
    codes, strata = clustering.dimensions[0].codes[used.positions], task.strata[used.positions]
    scores, labels = conditional_scores(data, fit.coef)
    found, place = np.unique(strata, return_inverse=True)
    cluster = np.empty(len(found), dtype=np.intp)
    cluster[place] = codes
    if (cluster[place] != codes).any():
        split = len(np.unique(place[cluster[place] != codes]))
        raise SettingsError(
            f"cluster {clustering.name!r}: expected clusters that hold whole strata, found {split} strata in several. "
            'Cluster by "firm".'
        )
    numbers, own = np.unique(cluster[labels], return_inverse=True)
    sums = np.zeros((len(numbers), scores.shape[1]))
    np.add.at(sums, own, scores)
    return cluster_covariance(fit.bread, sums, clustering.correction, n_rows=float(fit.n_rows)).matrix


def _padded(matrix: Floats, more: int) -> Floats:
    return np.pad(matrix, ((0, more), (0, more)), constant_values=np.nan)


def _notes(task: _Task, used: Stratified, fit: ConditionalFit) -> tuple[str, ...]:
    firms = task.rows.firm
    by_firms = "" if firms is None else f" of {len(np.unique(firms[used.positions])):,} firms"
    notes = [
        f"{fit.n_strata:,} of {used.n_strata:,} strata used{by_firms}; the others have only events or none",
        f"the exposure differs within {used.n_differ:,} of them; the rest speak of controls only",
    ]
    if used.same:
        notes.append(f"the same within strata, so conditioned away: {', '.join(used.same)}")
    notes += [f"{reason} at {name}={level}" if level else f"{name}: {reason}" for name, level, reason in used.left_out]
    if used.n_differ < FEW_STRATA:
        notes.append(f"only {used.n_differ} strata decide on the exposure: errors are likely too small")
    return tuple(notes)
