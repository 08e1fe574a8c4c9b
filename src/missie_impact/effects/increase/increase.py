"""Did exports to the market rise because of the support? In EUR, in growers, at both margins, and as a ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import narwhals as nw
import numpy as np
import pandas as pd

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.fitting.estimate import AlsoCluster
from missie_impact.effects.fitting.groups import FEW_TREATED_CLUSTERS, each_group
from missie_impact.effects.fitting.rows import ClusterChoice, Group, Mask, Request, Rows, Source, parts, read_rows
from missie_impact.effects.increase.increase_parts import MEASURES, Amounts, Measure, measure, scales_of, yearly_only
from missie_impact.effects.result import Counts, Effect, GroupResult
from missie_impact.errors import SchemaError, SettingsError
from missie_impact.flow import FlowStep
from missie_impact.numerics.cells import Floats
from missie_impact.numerics.covariance import correction_factor, dimensions, positive_part
from missie_impact.risksets.increase import AGE_CLASS
from missie_impact.risksets.riskset import RiskSet

Estimator = Literal["regression", "poisson"]
YearlyErrors = Literal["leave_one_out", "sandwich"]
GROWN = "grown_"
AFTER, BEFORE, IN_T = "exports_eur_after_", "exports_eur_before_", "exports_eur_in_t"
SIGNIFICANT = 2
MODELS = "Poisson for amounts, fractional logit for winsorised ones, logit for shares"
TRENDS = (AGE_CLASS, "pair_pattern")
LEFT_OUT = "no exports in t-4..t-1, or treated where nobody is comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncreaseOptions:
    """Settings that are rarely changed.

    Attributes
    ----------
    winsorise_eur : mean yearly exports after t count up to this amount on the winsorised scales. None: the 99th
        percentile of mean yearly exports in t-4..t-1 of pairs that had any, to two digits; known before t
    before, after : columns of yearly exports before t (earliest first) and after it; those of a built risk set if empty
    trends : classes known at t-1 within which pairs would have grown alike ("poisson", ``mean_ratio_yearly``): year
        effects are of market, trial year and these. None: ``age_class`` and ``pair_pattern`` (years with exports among
        t-4..t-1) of a built risk set, since exports of young firms grow and broken paths return to their mean; () for
        none
    yearly_errors : of the yearly ratios. "leave_one_out": from what the ratio loses without each pair, its cell fitted
        anew, for cells in which few pairs carry the exports; "sandwich": from scores, as software for Poisson with
        fixed effects, too small there
    conf_level : of intervals
    measures : what to measure: "amounts", "winsorised", "growers", "extensive" and "intensive" (margin), "yearly"; each
        but the last is a model of its own. All by default

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 1, 1], "rise": [10.0, 0.0, 40.0, 20.0], "before": 100.0})
    >>> table["after"] = table["before"] + table["rise"]
    >>> risk = mi.RiskSet.from_frame(table, outcome="rise", treatment="went")
    >>> options = mi.IncreaseOptions(before=("before",), after=("after",), winsorise_eur=130.0)
    >>> found = mi.export_increase(risk, cluster=None, controls=None, options=options)
    >>> round(found.effect("att_eur_winsorised").estimate, 2)
    20.0
    """

    winsorise_eur: float | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    trends: tuple[str, ...] | None = None
    conf_level: float = 0.95
    yearly_errors: YearlyErrors = "leave_one_out"
    measures: tuple[Measure, ...] = MEASURES

    def __post_init__(self) -> None:
        if self.yearly_errors not in get_args(YearlyErrors):
            raise SettingsError(
                f"yearly_errors: expected one of {list(get_args(YearlyErrors))}, found {self.yearly_errors!r}."
            )
        unknown = sorted(set(self.measures) - set(MEASURES))
        if unknown or not self.measures:
            raise SettingsError(f"measures: expected some of {list(MEASURES)}, found {unknown or 'none'}.")
        if self.winsorise_eur is not None and not self.winsorise_eur > 0:
            raise SettingsError("winsorise_eur: expected an amount above 0.")
        if not 0.5 < self.conf_level < 1:
            raise SettingsError(f"conf_level: expected a number between 0.5 and 1, found {self.conf_level}.")


DEFAULTS = IncreaseOptions()


def export_increase(
    risk: Source,
    *,
    cluster: ClusterChoice,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    also_cluster: AlsoCluster = (),
    estimator: Estimator = "regression",
    options: IncreaseOptions = DEFAULTS,
) -> Effect:
    """Estimate what support adds to exports to the market in the three years after it.

    Parameters
    ----------
    risk : increase risk set, own table (outcome: the increase; yearly exports named in ``options``), or a design
    cluster : as in `structural_transition`; no default
    controls : of the models of what the treated would have had; known at t-1 or earlier. With any, models of amounts
        also hold the pair's own path: log(1 + exports) of each year before t, of their mean, and its square. Not used
        by "poisson"
    by : columns; each level on its own, beside "all"
    estimator : "regression": models fitted to the untreated predict the treated; "poisson": yearly levels with
        fixed effects of pair and trial, and of market, trial year, trend class and year

    Returns
    -------
    Effect
        ``att_eur`` (mean yearly exports in t+1..t+3, observed less predicted; the mean increase differs by the same
        amount, since t itself is not affected) with ``mean_eur_with`` and ``mean_eur_without``; ``mean_ratio``;
        ``att_eur_winsorised`` and ``mean_ratio_winsorised``; ``grower_share_with``, ``_without``, ``_difference``;
        ``export_share_difference`` (extensive margin: exporting in t+1..t+3, of pairs without exports in t-1);
        ``mean_ratio_of_exporters`` (intensive margin: a comparison of those who export, not an effect);
        ``mean_ratio_yearly`` and ``mean_ratio_yearly_winsorised`` (Poisson with fixed effects; the second on years
        that count up to ``winsorise_eur``).

    Raises
    ------
    SchemaError
        If the table lacks yearly exports.
    NoParticipantError, NoEventError
        If the whole call has no estimate. A subgroup or a scale without one is NaN with its reason in the notes.

    References
    ----------
    Santos Silva and Tenreyro (2006), REStat 88, 641-658; Papke and Wooldridge (1996), Journal of Applied Econometrics
    11, 619-632; Wooldridge (2023), Econometrics Journal 26, C31-C66.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 0, 1, 1], "rise": [10.0, 0.0, -10.0, 40.0, 20.0]})
    >>> table["before"], table["after"] = 100.0, 100.0 + table["rise"]
    >>> risk = mi.RiskSet.from_frame(table, outcome="rise", treatment="went")
    >>> options = mi.IncreaseOptions(before=("before",), after=("after",), winsorise_eur=150.0)
    >>> round(mi.export_increase(risk, cluster=None, controls=None, options=options).effect("att_eur").estimate, 2)
    30.0
    """
    if estimator not in get_args(Estimator):
        raise SettingsError(f"estimator: expected one of {list(get_args(Estimator))}, found {estimator!r}.")
    source, _ = parts(risk)
    before, after = _columns(source, options)
    always = tuple(c for c in (source.roles.year,) if c is not None)
    request = Request(controls if estimator == "regression" else None, always, None, by, (cluster, *also_cluster))
    rows = read_rows(_with_growers(risk, source), request)
    left_out = options.yearly_errors == "leave_one_out"
    amounts = replace(
        _amounts(source, before, after, options),
        path_counts=bool(controls),
        leave_one_out=left_out,
        measures=options.measures if estimator == "regression" else ("yearly",),
    )

    def one(group: Group) -> GroupResult:
        return _group(rows, group, amounts, estimator)

    results = each_group(rows, one)
    whole = results[0]
    main = rows.clusterings[0].name
    how = "regression on the untreated" if estimator == "regression" else "fixed effects of pair and trial"
    notes = [f"winsorised scales: exports after t count up to EUR {amounts.threshold:,.0f} a year"]
    if rows.left_out:
        notes.append(f"controls left out, no such column: {', '.join(rows.left_out)}")
    if rows.probability is not None:
        notes.append("errors take the weights as given")
    return Effect(
        outcome="exports to the market", term=rows.treatment, design=f"{how}, stacked trials",
        model=MODELS, population="treated", groups=results, vcov=main,
        vcovs=tuple(whole.covariances), conf_level=options.conf_level,
        flow=source.flow.then(FlowStep("pairs compared", whole.counts.n_rows, whole.counts.n_firms,
                                       whole.counts.n_treated, reason=LEFT_OUT)),
        notes=(*notes, *whole.notes), simulated=source.simulated,
    )  # fmt: skip


def _columns(risk: RiskSet, options: IncreaseOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns of yearly exports before and after t, earliest first."""
    before = options.before or tuple(sorted((c for c in risk.columns if c.startswith(BEFORE)), reverse=True))
    after = options.after or tuple(sorted(c for c in risk.columns if c.startswith(AFTER)))
    absent = [c for c in (*before, *after) if c not in risk.columns]
    if absent or not before or not after:
        raise SchemaError(
            f"export increase: expected columns of yearly exports before and after t, found {absent or 'them'} absent. "
            "Name them in IncreaseOptions(before=..., after=...)."
        )
    return before, after


def _with_growers(source: Source, risk: RiskSet) -> Source:
    """The same rows with growing as the outcome: a positive mean increase."""
    grown = nw.when(nw.col(risk.roles.outcome) > 0).then(1).otherwise(0).cast(nw.Int64)
    rows = risk.rows.with_columns(grown.alias(GROWN))
    changed = replace(risk, rows=rows, roles=replace(risk.roles, outcome=GROWN))
    if isinstance(source, RiskSet):
        return changed
    designed: Any = source
    moved: Source = replace(designed, risk=changed)
    return moved


def _amounts(risk: RiskSet, before: Sequence[str], after: Sequence[str], options: IncreaseOptions) -> Amounts:
    roles = risk.roles
    trends = _trends(risk, options)
    extra = [c for c in (roles.market, roles.year, roles.firm) if c is not None]
    frame = risk.collect(list(dict.fromkeys([*before, *after, *extra, *trends])))
    past, future = (frame[list(c)].to_numpy(dtype=np.float64, na_value=np.nan) for c in (before, after))
    wrong = int((~(np.isfinite(past).all(axis=1) & np.isfinite(future).all(axis=1))).sum())
    negative = int(((past < 0).any(axis=1) | (future < 0).any(axis=1)).sum())
    if wrong or negative:
        raise SchemaError(
            f"yearly exports: expected amounts of at least 0 in every row, found {wrong} rows without one and "
            f"{negative} with a negative one. Years without trade are 0."
        )
    threshold = options.winsorise_eur or _threshold(past)
    cells = _number(frame, [c for c in (roles.market, roles.year, *trends) if c is not None])
    firm = None if roles.firm is None else pd.factorize(frame[roles.firm])[0]
    return Amounts(past, future, threshold, cells, firm)


def _trends(risk: RiskSet, options: IncreaseOptions) -> tuple[str, ...]:
    if options.trends is None:
        return tuple(c for c in TRENDS if c in risk.columns)
    absent = [c for c in options.trends if c not in risk.columns]
    if absent:
        raise SchemaError(f"trends: columns {absent} are not in the table; it holds {risk.columns}.")
    return options.trends


def _threshold(past: Floats) -> float:
    level = past.mean(axis=1)
    some = level[level > 0]
    if not len(some):
        raise SettingsError("winsorise_eur: nobody exported before t; name an amount.")
    amount = float(np.quantile(some, 0.99))
    unit = 10.0 ** (math.floor(math.log10(amount)) - SIGNIFICANT + 1)
    return max(round(amount / unit) * unit, unit)


def _number(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray[Any, np.dtype[np.intp]]:
    if not columns:
        return np.zeros(len(frame), dtype=np.intp)
    return frame.groupby(list(columns), sort=True, dropna=False).ngroup().to_numpy().astype(np.intp)


def _group(rows: Rows, group: Group, amounts: Amounts, estimator: Estimator) -> GroupResult:
    weight = np.ones(rows.n)
    for factor in (rows.frequency, rows.probability):
        weight = weight if factor is None else weight * factor
    found = (measure if estimator == "regression" else yearly_only)(rows, group.rows, weight, amounts)
    covariances = {c.name: _covariance(found.influence, found.used, rows, c.dimensions) for c in rows.clusterings}
    chosen = found.used
    frequency = np.ones(rows.n) if rows.frequency is None else rows.frequency
    return GroupResult(
        group=group.name,
        counts=Counts(
            round(float(frequency[chosen].sum())),
            None if rows.firm is None else len(np.unique(rows.firm[chosen])),
            round(float(frequency[chosen & rows.treated].sum())),
            round(float((frequency * rows.y)[chosen].sum())),
        ),
        scales=scales_of(amounts.measures),
        values=found.value,
        covariances=covariances,
        degrees={
            c.name: float(min(d.count for d in c.dimensions) - 1) if len(c.dimensions) == 2 else math.inf
            for c in rows.clusterings
        },
        notes=(*found.notes, *_few(rows, chosen)),
    )


def _few(rows: Rows, chosen: Mask) -> list[str]:
    """Say where few clusters hold treated rows."""
    treated = np.flatnonzero(chosen & rows.treated)
    counts = {
        c.name: min((len(np.unique(d.codes[treated])) for d in c.dimensions), default=0) for c in rows.clusterings
    }
    return [
        f"{name}: only {count} clusters with treated rows: errors are likely too small"
        for name, count in counts.items()
        if 0 < count < FEW_TREATED_CLUSTERS
    ]


def _covariance(influence: Floats, used: Mask, rows: Rows, clusters: Sequence[Any]) -> Floats:
    """Covariance of the scales from what each row adds, by clusters; rows alone without them."""
    if not clusters:
        frequency = 1.0 if rows.frequency is None else np.where(rows.frequency > 0, rows.frequency, 1.0)[:, None]
        total: Floats = (influence / frequency).T @ influence
        return total
    total = np.zeros((influence.shape[1], influence.shape[1]))
    for part, sign in dimensions(clusters):
        sums = np.zeros((part.count, influence.shape[1]))
        np.add.at(sums, part.codes, influence)
        there = len(np.unique(part.codes[used]))
        total += sign * correction_factor("g_over_gm1", there, rows.n, 1) * sums.T @ sums
    # a scale without an estimate has no influence; it stays NaN
    gone = np.isnan(influence).any(axis=0)
    if len(clusters) == 2 and not gone.any():
        total = positive_part(total)[0]
    return total
