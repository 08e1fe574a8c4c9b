"""Hazards of factors alone, from counts: the engine counts rows per cell, errors come from a second pass by cluster.

Rows that share the levels of all factors share their likelihood, so a fit needs one count of rows and events per cell,
however many rows there are. Clustered errors need the score sum of each cluster: the engine hands on cluster, cell and
event of the rows in parts of whole clusters, and no part is larger than memory allows. Both passes together give what
the fit on rows gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.effects.becoming.transition import OUTCOMES
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, DESIGN_TEXT, FitOptions
from missie_impact.effects.fitting.groups import spread, term_name
from missie_impact.effects.fitting.standardise import CONDITIONAL
from missie_impact.effects.result import Counts, Effect, GroupResult
from missie_impact.errors import CollinearityError, MissingValueError, SchemaError, SettingsError
from missie_impact.flow import FlowStep
from missie_impact.numerics.binomial import BinomialFit, fit_binomial
from missie_impact.numerics.covariance import correction_factor
from missie_impact.numerics.design import Design, Factor, build_design
from missie_impact.numerics.links import LinkName, get_link
from missie_impact.numerics.separation import Settled, settle
from missie_impact.registers.engine import Lazy, distinct
from missie_impact.risksets.controls import level_text
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

ROWS_AT_A_TIME = 3_000_000
CELL, CLUSTER, N, EVENTS = "cell_number_", "cluster_number_", "n_rows_", "n_events_"


@dataclass(frozen=True, slots=True)
class Cells:
    """Rows counted by the levels of their factors.

    Attributes
    ----------
    table : one row per cell: its factors, rows and events (`n_rows_`, `n_events_`), and rows without a level are none
    factors : names, the treatment first
    """

    table: pd.DataFrame
    factors: tuple[str, ...]


def count_cells(risk: RiskSet, factors: Sequence[str]) -> Cells:
    """Count rows and events per combination of treatment and factors, in the engine.

    Parameters
    ----------
    factors : columns; every value is a level

    Raises
    ------
    SchemaError
        If a column is not there, or the risk set has weights.
    MissingValueError
        If a factor is missing in some rows.
    """
    roles = risk.roles
    if roles.frequency is not None or roles.probability is not None:
        raise SchemaError("counts of rows per cell need rows without weights; use market_exit for weighted ones.")
    names = list(dict.fromkeys([roles.treatment, *factors]))
    absent = [name for name in names if name not in risk.columns]
    if absent:
        raise SchemaError(f"factors {absent} are not in the risk set; it holds {risk.columns}.")
    counted = risk.rows.group_by(*names).agg(
        nw.len().cast(nw.Int64).alias(N), nw.col(roles.outcome).cast(nw.Int64).sum().cast(nw.Int64).alias(EVENTS)
    )
    table = risk.engine.collect(counted, sort_by=names).reset_index(drop=True)
    missing = table[names].isna().any(axis=1)
    if missing.any():
        lost = int(table.loc[missing, N].sum())
        raise MissingValueError(
            f"factors {names}: expected a level in every row, found {lost} of {int(table[N].sum())} rows without one."
        )
    return Cells(table, tuple(names))


def hazard_from_cells(
    risk: RiskSet,
    *,
    cluster: str,
    controls: Sequence[str],
    model: LinkName = "cloglog",
    options: FitOptions = DEFAULT_OPTIONS,
) -> Effect:
    """Estimate the effect on a yearly hazard with factors alone, from counts and one pass by cluster.

    Equal to :func:`market_exit` with every control a factor, at any number of rows: memory holds the cells, and score
    sums of some clusters at a time.

    Parameters
    ----------
    risk : exit risk set, or own table without weights
    cluster : "firm", "market" or a column
    controls : columns taken as factors, the baseline (duration, follow-up) and years among them
    model : link of the hazard

    Returns
    -------
    Effect
        ``hazard_ratio_conditional`` and ``log_hazard`` (logit: ``odds_ratio_conditional``, ``log_odds``).

    Raises
    ------
    SchemaError, MissingValueError
        If a column is not there or has rows without a level, or rows have weights.
    CollinearityError
        If all rows are treated, or none.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"firm": range(200), "went": [0, 1] * 100, "year": 1})
    >>> table["left"] = [1, 1, 1, 0] * 10 + [0] * 160
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", firm="firm", duration="year")
    >>> found = mi.hazard_from_cells(risk, cluster="firm", controls=["year"])
    >>> round(found.effect("hazard_ratio_conditional").estimate, 2)
    0.47
    """
    roles = risk.roles
    column = (getattr(roles, cluster) or cluster) if cluster in ("firm", "market") else cluster
    if column not in risk.columns:
        raise SchemaError(f"cluster={cluster!r} is no column of the risk set; it holds {risk.columns}.")
    if options.correction not in ("g_over_gm1", "cr0", "cr1"):
        raise SettingsError(f"correction={options.correction!r} needs the rows of a cluster; choose another.")
    cells = count_cells(risk, [name.removeprefix("C(").removesuffix(")") for name in controls])
    n = cells.table[N].to_numpy(dtype=np.float64)
    y = cells.table[EVENTS].to_numpy(dtype=np.float64) / n
    settled = settle(y, _design(cells), frequency=n, essential=[roles.treatment])
    fit = fit_binomial(y[settled.rows], settled.design, link=model, frequency=n[settled.rows])
    meat, clusters = _meat(risk, column, cells, settled, fit)
    factor = correction_factor(options.correction, clusters, fit.n_rows, len(fit.coef))
    return _effect(risk, cluster, settled, fit, factor * fit.bread @ meat @ fit.bread, options)


def _design(cells: Cells) -> Design:
    factors = []
    for name in cells.factors:
        codes, levels = pd.factorize(cells.table[name], sort=True)
        factors.append(Factor(name, codes.astype(np.intp), tuple(level_text(level) for level in levels)))
    if len(factors[0].levels) != 2:
        raise CollinearityError(f"`{cells.factors[0]}`: expected treated and untreated rows, found one kind only.")
    return build_design(factors, [])


def _meat(risk: RiskSet, column: str, cells: Cells, settled: Settled, fit: BinomialFit) -> tuple[Floats, int]:
    """Sum over clusters of the outer product of their score sums, and the number of clusters with rows."""
    engine, names = risk.engine, list(cells.factors)
    used = cells.table[settled.rows].reset_index(drop=True)
    eta = settled.design.predict(fit.coef)
    scores = np.array([get_link(fit.link).quick(np.full(len(eta), v), eta)[1] for v in (0.0, 1.0)])
    x = settled.design.written_out()
    numbered = engine.take(used[names].assign(**{CELL: np.arange(len(used))}))
    labels = distinct(risk.rows.select(column))
    known = engine.store(labels.with_row_index(CLUSTER, order_by=column), "cluster_numbers")
    wanted = risk.rows.select(column, *names, risk.roles.outcome).join(known, on=column, how="inner")
    coded = wanted.join(numbered, on=names, how="inner").select(
        nw.col(CLUSTER).cast(nw.Int64),
        nw.col(CELL).cast(nw.Int64),
        nw.col(risk.roles.outcome).cast(nw.Int64).alias(EVENTS),
    )
    stored = engine.store(coded, "coded_rows")
    count, meat, seen = engine.count(known), np.zeros((x.shape[1],) * 2), 0
    parts = max(1, int(np.ceil(fit.n_rows / ROWS_AT_A_TIME)))
    size = -(-count // parts)
    for first in range(0, count, size):
        part, there = _cluster_sums(stored, risk, (first, min(first + size, count)), scores, x)
        meat += part.T @ part
        seen += there
    engine.forget(stored, known)
    return meat, seen


def _cluster_sums(stored: Lazy, risk: RiskSet, span: tuple[int, int], scores: Floats, x: Floats) -> tuple[Floats, int]:
    """Score sums of the clusters of a span, (clusters, k), and how many of them have rows."""
    first, last = span
    frame = risk.engine.collect(stored.filter((nw.col(CLUSTER) >= first) & (nw.col(CLUSTER) < last)))
    cluster = frame[CLUSTER].to_numpy(dtype=np.intp) - first
    cell = frame[CELL].to_numpy(dtype=np.intp)
    score = scores[frame[EVENTS].to_numpy(dtype=np.intp), cell]
    width, total = x.shape[1], np.zeros((last - first) * x.shape[1])
    columns = _present(x)
    for s in range(columns.shape[1]):  # every cell has few columns that are one
        at = columns[:, s][cell]
        inside = at >= 0
        total += np.bincount(cluster[inside] * width + at[inside], score[inside], minlength=len(total))
    there = np.bincount(cluster, minlength=last - first)
    return total.reshape(last - first, width), int(np.count_nonzero(there))


def _present(x: Floats) -> Codes:
    """Columns that are one in each cell, (cells, most), filled up with -1."""
    number = (x != 0).sum(axis=1)
    found = np.full((len(x), int(number.max(initial=0))), -1, dtype=np.intp)
    rows, columns = np.nonzero(x)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
    found[rows, place] = columns
    return found


def _effect(
    risk: RiskSet, cluster: str, settled: Settled, fit: BinomialFit, matrix: Floats, options: FitOptions
) -> Effect:
    treatment = risk.roles.treatment
    at = settled.design.positions(treatment)[0]
    b, names = float(fit.coef[at]), CONDITIONAL[fit.link]
    values = np.array([np.exp(b), b][-len(names) :])
    k = len(fit.coef)
    lost = sum(level.n_rows for level in settled.separated)
    notes = ["from counts per cell: factors only, errors by one pass over the clusters"]
    notes += [f"{lost:g} rows of levels without events, or with events only, left the likelihood"] if lost else []
    counts = Counts(round(fit.n_rows), None, 0, round(fit.n_events))
    result = GroupResult(
        group="all",
        counts=counts,
        scales=names,
        values=values,
        covariances={cluster: np.full((len(names),) * 2, matrix[at, at])},
        terms=tuple(term_name(term, frozenset({treatment})) for term in fit.terms),
        coef=fit.coef,
        term_reasons=("",) * k,
        coef_covariances={cluster: spread(matrix, list(range(k)), k)},
        notes=tuple(notes),
        log_likelihood=fit.log_likelihood,
    )
    return Effect(
        outcome=OUTCOMES.get(risk.question, risk.roles.outcome),
        term=treatment,
        design=DESIGN_TEXT[risk.design],
        model=f"{fit.link} hazard from counts",
        population="treated",
        groups=(result,),
        vcov=cluster,
        vcovs=(cluster,),
        conf_level=options.conf_level,
        flow=risk.flow.then(FlowStep("in the likelihood", counts.n_rows)),
        notes=tuple(notes),
        simulated=risk.simulated,
    )
