"""How the effect changes over the years since the mission."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.becoming.transition import OUTCOMES
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, DESIGN_TEXT, FitOptions
from missie_impact.effects.fitting.groups import each_group, estimate_group, flow_of
from missie_impact.effects.fitting.model import Fitted
from missie_impact.effects.fitting.rows import ClusterChoice, Group, Request, Rows, Source, parts
from missie_impact.effects.fitting.standardise import conditional_scales
from missie_impact.effects.leaving.exit_baseline import FOLLOW_UP, exit_request, exit_rows
from missie_impact.effects.leaving.exit_options import ExitModel, check_model, exit_options, link_of
from missie_impact.effects.result import GroupResult, inference
from missie_impact.effects.survival.curves import Curve, curve_table
from missie_impact.errors import SchemaError, SettingsError
from missie_impact.numerics.bands import critical_value
from missie_impact.numerics.design import Factor
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

YEARS_SINCE = "years_since"
MOST_YEARS = 20
OPEN_YEAR = 6
RATIOS = {"cloglog": "hazard_ratio_conditional", "logit": "odds_ratio_conditional"}


def effect_by_year(
    risk: Source,
    *,
    cluster: ClusterChoice,
    model: ExitModel = "cloglog",
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    since: str | None = None,
    options: FitOptions = DEFAULT_OPTIONS,
) -> Curve:
    """Estimate the ratio of hazards in every year since the mission: the treatment times years, in one likelihood.

    Parameters
    ----------
    risk : exit risk set (trials or spells), own table, or a design made on one
    model : "cloglog" (hazard ratios) or "logit" (odds ratios)
    cluster, controls, by, options : see :func:`market_exit`
    since : column with the whole years since the mission of treated rows; what it says of untreated rows plays no part.
        Left out: the follow-up of trials, the years since the first mission of whole spells (6 stands for 6 and more),
        the duration of own tables

    Returns
    -------
    Curve
        Kind "event_time": one point per year with its interval, and a band that holds for all years at once. A year
        without an event among the treated is NaN with its reason. ``n_at_risk``, ``n_events`` and ``n_firms`` are those
        of the treated. Notes hold the test that the effect is the same in all years.

    Raises
    ------
    SettingsError
        If the rows have no such years, more than twenty of them, or only one.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 1, 1] * 2, "year": [1] * 4 + [2] * 4, "left": [0, 1] * 4})
    >>> table["rows"] = [80, 20, 90, 10, 80, 20, 80, 20]
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", duration="year", frequency="rows")
    >>> mi.effect_by_year(risk, cluster=None, controls=None).table["estimate"].round(2).tolist()
    [0.47, 1.0]
    """
    chosen = exit_options(options)
    check_model(model, chosen)
    if model not in RATIOS:
        raise SettingsError(f"model={model!r}: effects by year are ratios, expected one of {sorted(RATIOS)}.")
    source, _ = parts(risk)
    request = Request(controls, by=by, cluster=(cluster,), correction=options.correction)
    rows, _ = exit_rows(risk, exit_request(source, request, chosen), chosen)
    year, years = _years(source, rows, since)
    wide = with_years(rows, year, years)
    fits: dict[str, Fitted] = {}

    def one(group: Group) -> GroupResult:
        result, fits[group.name], _ = estimate_group(wide, group, link_of(model), conditional_scales)
        return result

    results = each_group(wide, one)
    tables, notes = [], []
    for result in results:
        table, note = _points(wide, result, fits.get(result.group), (year, years), options)
        tables.append(table)
        notes.append(f"{result.group}: {note}" if note and len(results) > 1 else note)
    weighted = ", weighted" if rows.probability is not None else ""
    return Curve(
        outcome=OUTCOMES.get(source.question, source.roles.outcome),
        kind="event_time",
        scale=RATIOS[model],
        table=curve_table(pd.concat(tables, ignore_index=True)),
        conf_level=options.conf_level,
        design=DESIGN_TEXT[source.design] + weighted,
        notes=(f"errors: {rows.clusterings[0].name}", *(note for note in notes if note), *results[0].notes),
        flow=flow_of(source.flow, fits["all"]),
        simulated=source.simulated,
    )


def _years(risk: RiskSet, rows: Rows, since: str | None) -> tuple[Positions, list[int]]:
    """Year since the mission of each row as a number 0 .. K - 1, and the K years of treated rows."""
    default = {"trials": FOLLOW_UP, "spells": YEARS_SINCE}.get(risk.design, risk.roles.duration)
    column = since or default
    if column is None or column not in risk.columns:
        raise SchemaError(f"years since the mission: no column {column!r} in the risk set; it holds {risk.columns}.")
    numbers = risk.collect([column])[column].to_numpy(dtype=np.float64, na_value=np.nan)
    if len(numbers) != rows.n:
        raise SettingsError("rows were dropped from the baseline: name years since the mission for the rows that stay.")
    wrong = int(np.count_nonzero(rows.treated & ~(numbers % 1 == 0)))
    if wrong:
        raise SettingsError(f"column `{column}`: expected whole years in treated rows, found {wrong} rows without.")
    if since is None and risk.design == "spells":
        numbers = np.minimum(numbers, OPEN_YEAR)
    years = np.unique(numbers[rows.treated])
    if not 2 <= len(years) <= MOST_YEARS:
        raise SettingsError(
            f"column `{column}`: expected 2 to {MOST_YEARS} years since the mission, found {len(years)}. Take "
            "classes of years in a column of your own and name it with since=."
        )
    place = np.searchsorted(years, np.where(rows.treated, numbers, years[0]))
    return place.astype(np.intp), [int(y) for y in years]


def _base(rows: Rows, year: Positions, years: list[int]) -> int:
    """Year the others are compared with inside the fit: that of most events among the treated."""
    events = np.bincount(year[rows.treated], rows.y[rows.treated], minlength=len(years))
    return int(np.argmax(events))


def with_years(rows: Rows, year: Positions, years: list[int]) -> Rows:
    """Add the treatment times years; the year of most events among the treated stays at the treatment itself."""
    base = _base(rows, year, years)
    made, factors = [], {}
    for k, label in enumerate(years):
        if k == base:
            continue
        name, inside = f"{rows.treatment}:year {label}", (year == k).astype(np.float64)
        made.append(Factor(name, ((year == k) & rows.treated).astype(np.intp), ("0", "1")))
        factors[name] = inside
    return replace(
        rows,
        variables=(*rows.variables, *made),
        products={**rows.products, **factors},
        plain=rows.plain | frozenset(v.name for v in made),
    )


def _points(
    rows: Rows, result: GroupResult, fitted: Fitted | None, at: tuple[Positions, list[int]], options: FitOptions
) -> tuple[pd.DataFrame, str]:
    """Points of one group, and what the test of equal effects says."""
    year, years = at
    if fitted is None:
        return pd.DataFrame(
            [{"group": result.group, "arm": "treated", "time": y, "reason": result.reason} for y in years]
        ), ""
    place = {term.variable: j for j, term in enumerate(result.terms)}
    matrix = result.coef_covariances[rows.clusterings[0].name]
    main, base = place[rows.treatment], _base(rows, year, years)
    to_years, reasons = np.zeros((len(years), len(result.terms))), [""] * len(years)
    for k, label in enumerate(years):
        to_years[k, main] = 1.0
        other = place.get(f"{rows.treatment}:year {label}")
        if k == base:
            continue
        if other is None or not math.isfinite(result.coef[other]):
            reasons[k] = "no treated row" if other is None else result.term_reasons[other]
        else:
            to_years[k, other] = 1.0
    known = [k for k, reason in enumerate(reasons) if not reason]
    finite = np.isfinite(result.coef)
    slope = to_years[known][:, finite]
    logs, covariance = slope @ result.coef[finite], slope @ matrix[finite][:, finite] @ slope.T
    band = critical_value(covariance, options.conf_level)
    degrees = result.degrees.get(rows.clusterings[0].name, math.inf)
    points: list[dict[str, Any]] = []
    for k, label in enumerate(years):
        inside = fitted.group & rows.treated & (year == k)
        firms = math.nan if rows.firm is None else len(np.unique(rows.firm[inside]))
        point: dict[str, Any] = {
            "group": result.group, "arm": "treated", "time": float(label), "n_at_risk": int(inside.sum()),
            "n_events": int(rows.y[inside].sum()), "n_firms": firms, "reason": reasons[k],
        }  # fmt: skip
        if k in known:
            log, error = float(logs[known.index(k)]), math.sqrt(covariance[known.index(k), known.index(k)])
            low, high = inference(log, error, degrees, options.conf_level)[3:]
            point |= {
                "estimate": math.exp(log), "std_error": error, "conf_low": math.exp(low), "conf_high": math.exp(high),
                "band_low": math.exp(log - band * error), "band_high": math.exp(log + band * error),
            }  # fmt: skip
        points.append(point)
    return pd.DataFrame(points), _constant(logs, covariance)


def _constant(logs: Floats, covariance: Floats) -> str:
    """Say how well one effect for all years fits."""
    if len(logs) < 2:
        return ""
    apart = np.diff(np.eye(len(logs)), axis=0)
    gap = apart @ logs
    statistic = float(gap @ np.linalg.solve(apart @ covariance @ apart.T, gap))
    p = float(special.chdtrc(len(gap), statistic))
    return f"the same in all years: chi2({len(gap)}) = {statistic:.2f}, p = {p:.3f}"
