"""Estimators of a difference between two arms on the same rows: regression, weighting, doubly robust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.becoming.doubly_robust import robust_group
from missie_impact.effects.becoming.matching import matched_group, sets_of
from missie_impact.effects.becoming.weighting import population_of, weigh_group
from missie_impact.effects.draws import on_scales, usable
from missie_impact.effects.fitting.across import across_groups
from missie_impact.effects.fitting.bootstrap import (
    Redraw,
    of_doubly_robust,
    of_regression,
    of_weighting,
    redrawn,
    wild_p_value,
)
from missie_impact.effects.fitting.compared import POPULATIONS
from missie_impact.effects.fitting.estimate import DESIGN_TEXT, FitOptions, Task, effect, put_together
from missie_impact.effects.fitting.groups import SumsOf, each_group, flow_of
from missie_impact.effects.fitting.model import Fitted, fit_group
from missie_impact.effects.fitting.rows import Group, Request, Rows, Source, parts, read_rows
from missie_impact.effects.fitting.standardise import Population, risk_scales
from missie_impact.effects.result import Effect, Fit, GroupResult, is_ratio
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow, FlowStep

Estimator = Literal["regression", "weighting", "doubly_robust", "matching"]


def compare_arms(
    source: Source,
    request: Request,
    outcome: str,
    estimator: Estimator,
    population: Population | None,
    options: FitOptions,
    keep_fit: bool,
) -> Effect:
    """Read the rows and compare the arms, in all rows and in each subgroup.

    Parameters
    ----------
    outcome : what happens to the unit, in words
    population : over whom; None takes that of the design, or the treated
    """
    rows = read_rows(source, request)
    made_for = rows.compared.estimand if rows.compared is not None else None
    if estimator == "regression":
        whom = population if population is not None else population_of(rows, None)
        if whom == "overlap" and made_for != "ato":
            raise SettingsError("standardise='overlap': a regression needs overlap weights; use estimator='weighting'.")
        over: Population = "treated" if whom == "treated" else "all"
        named = _named(whom, made_for, False) if population is None else whom
        task = Task(outcome, "logit", "logit", named, partial(risk_scales, population=over))
        made = effect(source, request, task, options, keep_fit, rows)
        made = _redrawn(made, rows, options, lambda group: of_regression(fit_group(rows, group.rows, "logit"), over))
        return _described(_tested(made, rows, options), rows, "")
    if rows.products:
        raise SettingsError(
            f"{sorted(rows.products)} multiply the treatment: expected controls alone, or a regression."
        )
    whom = population_of(rows, population)
    if estimator == "weighting":
        return _weighted(source, rows, outcome, whom, options, keep_fit)
    if estimator == "doubly_robust":
        return _doubly_robust(source, rows, outcome, whom, options, keep_fit)
    if estimator == "matching":
        return _matched(source, rows, outcome, whom, options, keep_fit)
    raise SettingsError(f"estimator: expected one of {list(get_args(Estimator))}, found {estimator!r}.")


def _weighted(
    source: Source, rows: Rows, outcome: str, whom: Population, options: FitOptions, keep_fit: bool
) -> Effect:
    rows = _without_model_errors(rows)
    fits: dict[str, Fit] = {}
    whole: list[Fitted] = []
    sums: dict[str, SumsOf] = {}

    def one(group: Group) -> GroupResult:
        result, fitted, of = weigh_group(rows, group, whom)
        sums.update({} if of is None else {group.name: of})
        whole[:] = whole or [fitted]
        fits[group.name] = Fit(fitted.fit, fitted.scores.row, fitted.used)
        return result

    results = each_group(rows, one)
    made_for = rows.compared.estimand if rows.compared is not None else None
    task = _task(outcome, "weighted arms", _named(whom, made_for, False))
    made = put_together(source, rows, results, task, options, flow_of(parts(source)[0].flow, whole[0]))
    made = _redrawn(made, rows, options, lambda group: of_weighting(rows, group, whom))
    made = replace(made, fits=fits if keep_fit else None, across=_across(rows, results, sums))
    return _described(made, rows, "inverse-probability weighting")


def _doubly_robust(
    source: Source, rows: Rows, outcome: str, whom: Population, options: FitOptions, keep_fit: bool
) -> Effect:
    if keep_fit:
        raise SettingsError("keep_fit=True: the doubly robust estimator has a fit per fold and keeps none of them.")
    rows = _without_model_errors(rows)
    trimmed: list[bool] = []
    sums: dict[str, SumsOf] = {}

    def one(group: Group) -> GroupResult:
        result, fewer, sums[group.name] = robust_group(rows, group, whom, options.cross_fit)
        trimmed.append(fewer)
        return result

    results = each_group(rows, one)
    counts = results[0].counts
    step = FlowStep("in the comparison", counts.n_rows, counts.n_firms, counts.n_treated)
    flow: Flow = parts(source)[0].flow.then(step)
    made_for = rows.compared.estimand if rows.compared is not None else None
    task = _task(outcome, "logits of outcome and treatment", _named(whom, made_for, any(trimmed)))
    made = put_together(source, rows, results, task, options, flow)
    made = _redrawn(made, rows, options, lambda group: of_doubly_robust(rows, group, whom, options.cross_fit))
    made = replace(made, across=_across(rows, results, sums))
    folds = options.cross_fit.folds
    return _described(made, rows, "doubly robust" + (f", {folds} folds" if folds > 1 else ""))


def _across(rows: Rows, results: tuple[GroupResult, ...], sums: dict[str, SumsOf]) -> dict[str, NDArray[np.float64]]:
    return across_groups(rows, results, sums) if len(results) > 1 else {}


def _matched(source: Source, rows: Rows, outcome: str, whom: Population, options: FitOptions, keep_fit: bool) -> Effect:
    """Compare the means of matched sets; without replacement these are weighted arms with errors by set."""
    if _in_sets(rows):
        made = _weighted(source, rows, outcome, whom, options, keep_fit)
        design = made.design.replace("inverse-probability weighting", "matched sets")
        return replace(made, model="means of matched sets", design=design)
    if keep_fit or options.bootstrap is not None:
        raise SettingsError(
            "estimator='matching' with replacement keeps no fit and has no bootstrap, whose variance would be wrong: "
            "leave keep_fit and bootstrap out, or match without replacement."
        )
    rows = _without_model_errors(rows)
    sets = sets_of(rows)
    results = each_group(rows, lambda group: matched_group(rows, group, sets))
    counts = results[0].counts
    step = FlowStep("in the comparison", counts.n_rows, counts.n_firms, counts.n_treated)
    made_for = rows.compared.estimand if rows.compared is not None else None
    task = _task(outcome, "means of matched sets", _named(whom, made_for, False))
    made = put_together(source, rows, results, task, options, parts(source)[0].flow.then(step))
    design = f"matched sets on {DESIGN_TEXT[parts(source)[0].design].removeprefix('regression on ')}"
    method = "" if rows.compared is None else f", {rows.compared.method}"
    return replace(made, design=design + method)


def _redrawn(made: Effect, rows: Rows, options: FitOptions, redraw: Callable[[Group], Redraw]) -> Effect:
    """Add a bootstrap by cluster to every group that has an estimate."""
    if options.bootstrap is None:
        return made
    label = f"{rows.clusterings[0].name}, bootstrap"
    results, failures = [], 0
    for result, group in _groups(made, rows):
        if result.reason:
            results.append(result)
            continue
        risks = redrawn(rows, redraw(group), options.bootstrap, group.name)
        draws = on_scales(result.scales, risks)
        moved, failed = usable(draws, [is_ratio(scale) for scale in result.scales])
        failures = max(failures, failed)
        known = {**result.covariances, label: np.atleast_2d(np.cov(moved, rowvar=False))}
        results.append(replace(result, draws=draws, covariances=known))
    done = min(len(r.draws) for r in results if r.draws is not None)
    note = f"bootstrap: {done} draws of {'matched sets' if _in_sets(rows) else 'clusters'}, never matched again"
    note += f", up to {failures} without an estimate left out" if failures else ""
    vcovs = tuple(results[0].covariances)
    return replace(made, groups=tuple(results), vcovs=vcovs, notes=(*made.notes, note))


def _tested(made: Effect, rows: Rows, options: FitOptions) -> Effect:
    """Add the p value of a score wild bootstrap to every group that has an estimate."""
    if options.wild is None:
        return made
    results, name = [], f"log_odds, wild bootstrap by {rows.clusterings[0].name}"
    for result, group in _groups(made, rows):
        if not result.reason:
            fitted = fit_group(rows, group.rows, "logit")
            p = wild_p_value(fitted, rows.clusterings[0], options.wild)
            result = replace(result, tests={**result.tests, name: p})
        results.append(result)
    note = f"{name}, no effect imposed: p = {results[0].tests[name]:.4f} for all"
    return replace(made, groups=tuple(results), notes=(*made.notes, note))


def _groups(made: Effect, rows: Rows) -> list[tuple[GroupResult, Group]]:
    groups = [Group("all", np.ones(rows.n, dtype=bool)), *rows.groups]
    return list(zip(made.groups, groups, strict=True))


def _in_sets(rows: Rows) -> bool:
    return rows.compared is not None and rows.compared.sets is not None


def _task(outcome: str, model: str, population: str) -> Task:
    return Task(outcome, "logit", model, population, partial(risk_scales, population="all"))


def _without_model_errors(rows: Rows) -> Rows:
    """Weighted arms have no model-based errors: rows on their own are HC0."""
    return replace(
        rows, clusterings=tuple(replace(c, name="hc0") if c.name == "model" else c for c in rows.clusterings)
    )


def _named(whom: Population, made_for: str | None, trimmed: bool) -> str:
    """Population in words; another one as soon as a treated row was dropped."""
    if trimmed:
        return f"{whom} on support"
    return POPULATIONS[made_for] if made_for is not None else whom


def _described(made: Effect, rows: Rows, how: str) -> Effect:
    """Say in the design of a result how arms were compared and on which rows."""
    design = made.design
    if how:
        design = how + design.removeprefix("regression").removesuffix(", weighted")
    notes = list(made.notes)
    if rows.compared is not None:
        design = f"{design.removesuffix(', weighted')}, {rows.compared.method}"
        notes += _set_notes(rows)
    if made.vcov.endswith("fixed weights"):
        notes.append("errors take the weights and the rows averaged over as known, as R's vcovCL of a weighted glm")
    return replace(made, design=design, notes=tuple(notes))


def _set_notes(rows: Rows) -> list[str]:
    compared = rows.compared
    if compared is None or (compared.sets is None and compared.pairs is None):
        return []
    if compared.sets is None:
        return [
            "controls were matched with replacement: errors count a control as often as it was used, and take the "
            "pairing as known; estimator='matching' has the errors of matched means, 'doubly_robust' corrects for what "
            "pairs differ in"
        ]
    if np.all(compared.sets < 0):
        return []
    left = [c.name for c in rows.clusterings if not ("matched" in c.name or "mission" in c.name)]
    return [f"errors by {name}: matched sets are not among these clusters" for name in left]
