"""What if nobody had gone: survival and incidence of the treated with and without treatment, from hazard models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.fitting.compared import WeightScores
from missie_impact.effects.fitting.estimate import DESIGN_TEXT
from missie_impact.effects.fitting.model import Fitted, fit_group
from missie_impact.effects.fitting.rows import ClusterChoice, Mask, Request, Rows, Source, read_rows
from missie_impact.effects.fitting.stacked import Sums, weights_in_means
from missie_impact.effects.leaving.exit import FOLLOW_UP
from missie_impact.effects.survival.curves import Curve, curve_table
from missie_impact.effects.survival.followed import Followed, follow, weights_note
from missie_impact.effects.survival.points import BAND_NOTE, DEFAULT_CURVE, CurveOptions
from missie_impact.effects.survival.survival import flow_of
from missie_impact.errors import MissieError, NoEventError, SeparationError, SettingsError
from missie_impact.numerics.bands import critical_value, interval_of
from missie_impact.numerics.cells import Design
from missie_impact.numerics.competing import CauseModels, Equation, Worlds, stacked_bread, standardised_worlds
from missie_impact.numerics.covariance import Clusters
from missie_impact.numerics.design import Factor
from missie_impact.numerics.links import LinkName
from missie_impact.numerics.multinomial import fit_multinomial, multinomial_scores

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
HazardModel = Literal["cloglog", "logit", "probit", "multinomial"]

MOST_YEARS = 60
WORLDS = ("with", "without", "difference")
OTHER = "other exits"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A risk set read for models of all causes.

    Attributes
    ----------
    followed : its rows along time
    rows : its rows for models
    year : name of the factor that numbers the years of follow-up
    time : (Y,) time since time zero at the end of each of its levels
    """

    followed: Followed
    rows: Rows
    year: str
    time: Floats


def standardised_survival(
    risk: Source,
    *,
    cluster: ClusterChoice,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    model: LinkName = "cloglog",
    options: CurveOptions = DEFAULT_CURVE,
) -> Curve:
    """Estimate how many of the treated stay along time, with their mission and had nobody gone.

    The hazard model of :func:`market_exit` (one dummy per year of follow-up, trial years, controls) predicts every year
    of each treated unit in both worlds, covariates as they were at time zero; averaged, the predictions are the two
    curves. Other causes leave the risk set without an event, so these are curves of the outcome alone.

    Parameters
    ----------
    risk : exit risk set of trials, or an own table with one row per unit and year (``duration=``, and ``start=`` or
        rows of one unit of time) and a treatment fixed at time zero
    cluster, controls, by : see :func:`market_exit`
    model : link of the hazard
    options : level, kind of interval, bands

    Returns
    -------
    Curve
        Arms "with", "without" and "difference" (with less without). Errors from the stacked equations of model and
        means; bands hold for all years at once.

    Raises
    ------
    SettingsError
        If the treatment switches within a unit, or rows are not years of units.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> risk = mi.exit_risk_set(panel)
    >>> curve = mi.standardised_survival(risk, cluster="firm", controls=["log_exports"])
    >>> curve.table["arm"].unique().tolist()
    ['with', 'without', 'difference']
    """
    prepared = _prepare(risk, cluster, controls, by)
    happened = prepared.rows.y.astype(np.intp)
    tables, notes = _all_groups(prepared, happened, ("survival",), model, options)
    return _curve(prepared, "survival", tables, (f"{model} hazard", *notes), options)


def standardised_incidence(
    risk: Source,
    *,
    cluster: ClusterChoice,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    model: HazardModel = "cloglog",
    options: CurveOptions = DEFAULT_CURVE,
) -> Curve:
    """Estimate the share of the treated that leaves by each cause, with their mission and had nobody gone.

    Every cause has its own hazard model of the same covariates; S(t) = prod(1 - sum h_k), F_k = sum S(t-1) h_k(t), over
    the treated in both worlds. "multinomial" fits one multinomial logit instead: the check.

    Parameters
    ----------
    risk, cluster, controls, by, options : see :func:`standardised_survival`; the risk set has a cause
    model : link of the hazards, or "multinomial"

    Returns
    -------
    Curve
        One group per cause (``size=sme: exit`` with ``by=``), and ``still there``; arms "with", "without" and
        "difference". Competing causes too rare for a model of their own are taken together as "other exits".

    Raises
    ------
    SettingsError
        If the model is unknown, or as :func:`standardised_survival`.

    References
    ----------
    Prentice, Kalbfleisch and others (1978), Biometrics 34, 541-554; Young and others (2020), Statistics in Medicine 39,
    1199-1236.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> risk = mi.exit_risk_set(panel)
    >>> curve = mi.standardised_incidence(risk, cluster="firm", controls=["log_exports"])
    >>> sorted(curve.table["group"].unique())
    ['exit', 'other exits', 'still there']
    """
    if model not in get_args(HazardModel):
        raise SettingsError(f"model: expected one of {list(get_args(HazardModel))}, found {model!r}.")
    prepared = _prepare(risk, cluster, controls, by)
    followed = prepared.followed
    tables, notes = _all_groups(prepared, followed.cause, followed.causes, model, options)
    named = "multinomial logit" if model == "multinomial" else f"{model} hazard of every cause"
    return _curve(prepared, "cumulative_incidence", tables, (named, *notes), options)


def _curve(
    prepared: Prepared,
    kind: Literal["survival", "cumulative_incidence"],
    tables: list[pd.DataFrame],
    notes: Sequence[str],
    options: CurveOptions,
) -> Curve:
    followed = prepared.followed
    late = "" if followed.risk.design == "trials" else "averaged over treated units seen from the first year on"
    left = f"controls left out, no such column: {', '.join(prepared.rows.left_out)}" if prepared.rows.left_out else ""
    weighted = ", weighted" if prepared.rows.probability is not None else ""
    known = weights_note(prepared.rows, included=not any("multinomial" in note for note in notes))
    band = BAND_NOTE if options.bands else ""
    return Curve(
        outcome=followed.causes[0] if kind == "survival" else ", ".join(followed.causes),
        kind=kind,
        scale=kind,
        table=curve_table(pd.concat(tables, ignore_index=True)),
        conf_level=options.conf_level,
        design=f"{DESIGN_TEXT[followed.risk.design]}{weighted}, standardised over the treated",
        notes=tuple(note for note in (*notes, *followed.notes, late, left, known, band) if note),
        flow=flow_of(followed),
        simulated=followed.risk.simulated,
    )


def _prepare(
    source: Source, cluster: ClusterChoice, controls: Sequence[str] | None, by: str | Sequence[str] | None
) -> Prepared:
    followed = follow(source, cluster=cluster, by=by)
    risk = followed.risk
    check_time_zero(followed)
    trials = risk.design == "trials"
    year = FOLLOW_UP if trials else str(risk.roles.duration)
    always = (year,) if not trials or risk.roles.year is None else (year, risk.roles.year)
    rows = read_rows(source, Request(controls, always=always, by=by, cluster=(cluster,), follow_up=year))
    width = followed.stop - followed.start
    uneven = int(np.count_nonzero(np.abs(width - width[0]) > 1e-9))
    if uneven:
        raise SettingsError(
            f"curves from hazard models need one row per unit and period, all equally long; {uneven} of {len(width)} "
            "rows differ from the first. Split the rows, or use survival_curve."
        )
    levels = next(v.levels for v in rows.variables if isinstance(v, Factor) and v.name == year)
    if len(levels) > MOST_YEARS:
        raise SettingsError(
            f"expected at most {MOST_YEARS} periods of follow-up, found {len(levels)}; take longer ones."
        )
    time = np.arange(1.0, len(levels) + 1) if trials else np.unique(followed.stop)
    return Prepared(followed, rows, year, time)


def check_time_zero(followed: Followed) -> None:
    """Raise where the treatment is not fixed at a time zero, so that two worlds have no meaning."""
    if followed.switching:
        raise SettingsError(
            "the treatment switches within units, so there is no time zero from which to compare two worlds. Model the "
            "cause-specific hazards (market_exit, cause_specific_hazards) with the switching treatment, or take trials "
            "(exit_risk_set(panel, kind='trials')) and standardised_incidence."
        )


def _all_groups(
    prepared: Prepared, cause: Codes, causes: tuple[str, ...], model: HazardModel, options: CurveOptions
) -> tuple[list[pd.DataFrame], list[str]]:
    """Curves of all rows and of each subgroup. What empties the whole call raises; a subgroup says its reason."""
    tables: list[pd.DataFrame] = []
    notes: list[str] = []
    for group, inside in prepared.followed.groups():
        try:
            found, said = _group_curves(prepared, inside, cause, causes, model)
        except MissieError as error:
            if group == "all":
                raise
            reason = str(error).split(",")[0].split(". ")[0]
            label = group if causes == ("survival",) else f"{group}: {causes[0]}"
            tables.append(pd.DataFrame({"group": [label], "arm": ["with"], "time": [np.nan], "reason": [reason]}))
            continue
        notes += said if group == "all" else [f"{group}: {note}" for note in said]
        for position, name in found.shown(causes == ("survival",)):
            label = "all" if name == "survival" else name
            label = label if group == "all" else group if name == "survival" else f"{group}: {name}"
            tables.append(_table(prepared, inside, found, position, options).assign(group=label))
    return tables, notes


@dataclass(frozen=True, slots=True)
class _Found:
    """Curves of a group: the causes that were modelled, and both worlds."""

    names: tuple[str, ...]
    worlds: Worlds
    cause: Codes

    def shown(self, survival_only: bool) -> list[tuple[int, str]]:
        """Position among the curves and name of each that is shown."""
        if survival_only:
            return [(len(self.names), "survival")]
        return [*enumerate(self.names), (len(self.names), "still there")]


def _group_curves(
    prepared: Prepared, inside: Mask, cause: Codes, causes: tuple[str, ...], model: HazardModel
) -> tuple[_Found, list[str]]:
    try:
        return _Found(causes, _worlds(prepared, inside, cause, len(causes), model), cause), []
    except (NoEventError, SeparationError):
        if len(causes) < 3:
            raise
    merged = np.minimum(cause, 2)
    rare = f"{', '.join(causes[1:])} taken together: too rare in one arm for models of their own"
    return _Found((causes[0], OTHER), _worlds(prepared, inside, merged, 2, model), merged), [rare]


def _worlds(prepared: Prepared, inside: Mask, cause: Codes, n_causes: int, model: HazardModel) -> Worlds:
    rows, followed = prepared.rows, prepared.followed
    first = rows.first
    fits = [
        fit_group(replace(rows, y=(cause == k + 1).astype(np.float64)), inside, _link(model)) for k in range(n_causes)
    ]
    units: Codes = np.flatnonzero(inside & rows.treated & (np.ones(rows.n, dtype=bool) if first is None else first))
    if not len(units):
        raise SettingsError("no treated unit is seen from the first year on, so there is nobody to average over.")
    clusters = rows.clusterings[0].dimensions
    own = clusters or followed.clusters or (followed.unit or Clusters(np.arange(rows.n), rows.n),)
    correction = rows.clusterings[0].correction if clusters else "cr0"
    weight = fits[0].weights(units)
    y = len(prepared.time)
    if model == "multinomial":
        models = _multinomial(prepared, fits, cause, units, y)
    else:
        equations = tuple(Equation(f.fit.coef, f.scores, f.used, _designs(f, units, prepared.year, y)) for f in fits)
        models = CauseModels(equations, stacked_bread([f.fit.bread for f in fits]), model)
    also = None
    if rows.weighting is not None and model != "multinomial":
        also = partial(_weights_add, fits, rows.weighting, units)
    return standardised_worlds(models, units, weight, own, correction=correction, also=also)


def _weights_add(fits: list[Fitted], weighting: WeightScores, units: Codes, gradient: Floats, moment: Floats) -> Sums:
    """What estimating the weights adds to the curves per cluster, through the models and through who is averaged."""
    edges = np.cumsum([len(f.fit.coef) for f in fits])[:-1]
    return weights_in_means(fits, weighting, units, np.split(gradient, edges, axis=1), moment)


def _link(model: HazardModel) -> LinkName:
    return "logit" if model == "multinomial" else model


def _designs(fitted: Fitted, units: Codes, year: str, n_years: int) -> tuple[Design, Design]:
    tiled = np.tile(units, n_years)
    years = {year: np.repeat(np.arange(n_years, dtype=np.intp), len(units))}
    return fitted.world(tiled, 1, years), fitted.world(tiled, 0, years)


def _multinomial(prepared: Prepared, fits: list[Fitted], cause: Codes, units: Codes, n_years: int) -> CauseModels:
    """One model for all causes on the rows that every binary model could use."""
    base = fits[0]
    if any(len(f.used) != len(base.used) or f.settled.design.terms != base.settled.design.terms for f in fits):
        raise SettingsError(
            "the multinomial logit needs the same covariates for every cause, and some levels have no events of one "
            "cause. Merge levels, or leave the control out."
        )
    design, outcome = base.settled.design, cause[base.used]
    weight = base.weights(base.used)
    fit = fit_multinomial(outcome, design, len(fits), weight=weight)
    scores = multinomial_scores(fit, outcome, design, weight=weight)
    worlds = _designs(base, units, prepared.year, n_years)
    return CauseModels(
        tuple(Equation(c, s, base.used, worlds) for c, s in zip(fit.coef, scores, strict=True)), fit.bread, None
    )


def _table(prepared: Prepared, inside: Mask, found: _Found, position: int, options: CurveOptions) -> pd.DataFrame:
    """Curves of one cause, or of survival: with, without and their difference, by year."""
    worlds, y = found.worlds, len(prepared.time)
    size = worlds.value.shape[1] * y
    first = position * y
    places = [np.arange(first, first + y), np.arange(size + first, size + first + y)]
    one, zero = (worlds.value.reshape(-1)[p] for p in places)
    select = np.zeros((3 * y, 2 * size))
    for arm, p in enumerate(places):
        select[arm * y + np.arange(y), p] = 1.0
    select[2 * y :] = select[:y] - select[y : 2 * y]
    covariance = select @ worlds.covariance @ select.T
    tables = []
    for arm, (name, value) in enumerate(zip(WORLDS, (one, zero, one - zero), strict=True)):
        own = covariance[arm * y : (arm + 1) * y, arm * y : (arm + 1) * y]
        tables.append(_points(prepared, inside, found, position, name, value, own, options))
    return pd.concat(tables, ignore_index=True)


def _points(
    prepared: Prepared, inside: Mask, found: _Found, position: int, arm: str, value: Floats, covariance: Floats,
    options: CurveOptions,
) -> pd.DataFrame:  # fmt: skip
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    error = np.where(error > 0, error, np.nan)
    table = pd.DataFrame({"arm": arm, "time": prepared.time, "estimate": value, "std_error": error, "reason": ""})

    def ends(quantile: float) -> tuple[Floats, Floats]:
        if arm == "difference":
            return value - quantile * error, value + quantile * error
        return interval_of(value, error, quantile, options.interval)

    table["conf_low"], table["conf_high"] = ends(options.quantile)
    if options.bands:
        critical = critical_value(covariance, options.conf_level, draws=options.draws, seed=options.seed)
        table["band_low"], table["band_high"] = ends(critical)
    if arm == "difference":
        return table
    return table.assign(**_behind(prepared, inside, found, position, arm == "with"))


def _behind(prepared: Prepared, inside: Mask, found: _Found, position: int, treated: bool) -> dict[str, Floats]:
    """Rows at risk, events and firms of the arm that is observed in this world, by year."""
    rows = prepared.rows
    there = np.flatnonzero(inside & (rows.treated == treated))
    weight = np.ones(len(there)) if rows.frequency is None else rows.frequency[there]
    factor = next(v for v in rows.variables if isinstance(v, Factor) and v.name == prepared.year)
    year, y = factor.codes[there], len(prepared.time)
    kind = found.cause[there]
    event = kind > 0 if position == len(found.names) else kind == position + 1
    firms = np.full(y, np.nan)
    if rows.firm is not None:
        pairs = np.unique(year * (int(rows.firm.max()) + 1) + rows.firm[there])
        firms = np.bincount(pairs // (int(rows.firm.max()) + 1), minlength=y).astype(np.float64)
    return {
        "n_at_risk": np.bincount(year, weight, y),
        "n_events": np.bincount(year, weight * event, y),
        "n_firms": firms,
    }
