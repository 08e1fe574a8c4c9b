"""What stands beside a comparison of entrants: effects on all who could enter, and bounds for always-entrants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.effects.becoming.entry import market_entry
from missie_impact.effects.becoming.transition import OUTCOMES
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, Task, put_together
from missie_impact.effects.fitting.groups import SumsOf, estimate_group, flow_of
from missie_impact.effects.fitting.rows import ClusterChoice, Clustering, Group, Request, cluster_dimensions, read_rows
from missie_impact.effects.fitting.standardise import RISK_SCALES, risk_scales
from missie_impact.effects.increase.poisson import poisson_effect
from missie_impact.effects.result import Effect
from missie_impact.effects.survival.followed import Followed
from missie_impact.errors import MissieError
from missie_impact.numerics.covariance import Clusters, clusters_of, correction_factor, dimensions, positive_part
from missie_impact.numerics.selection_bounds import always_selected_bounds
from missie_impact.numerics.tails import concentration
from missie_impact.panel import Panel
from missie_impact.risksets import trials
from missie_impact.risksets.entrants import activity_years
from missie_impact.risksets.entry import Outcome, entry_risk_set
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Columns = list[tuple[Positions, Floats]]

LATER = 3
ENTERING = "entering"
EXPORTS = "exports in t+1..t+3, zeros included"
WINSORISED = f"{EXPORTS}, winsorised"
RISKS = ("risk_with", "risk_without")
EUR, CUT = "exports_eur_later", "exports_eur_later_cut"
over_treated = partial(risk_scales, population="treated")


@dataclass(frozen=True, slots=True)
class Entering:
    """The effect on entering and what it is made of.

    Attributes
    ----------
    effect : on all who could enter
    risk : their rows
    clustering, sums : its error, and what each cluster adds to its scales
    """

    effect: Effect
    risk: RiskSet
    clustering: Clustering
    sums: SumsOf


@dataclass(frozen=True, slots=True)
class Stayed:
    """Survival of entrants at some years, and what each of their rows adds to it.

    Attributes
    ----------
    years : (t,) years since entry
    value : (2t,) survival with, then without
    columns : (2t,) positions of rows and what they add
    followed : the rows
    """

    years: tuple[int, ...]
    value: Floats
    columns: Columns
    followed: Followed


def entering(panel: Panel, outcome: Outcome, cluster: ClusterChoice, controls: Sequence[str] | None) -> Entering:
    """Estimate the effect on entering, as :func:`market_entry` does, and keep what its clusters add."""
    risk = entry_risk_set(panel, outcome=outcome)
    years = () if risk.roles.year is None else (risk.roles.year,)
    rows = read_rows(risk, Request(controls, years, cluster=(cluster,)))
    everyone = Group("all", np.ones(rows.n, dtype=bool))
    result, fitted, sums = estimate_group(rows, everyone, "logit", over_treated)
    task = Task(OUTCOMES.get(risk.question, risk.roles.outcome), "logit", "logit", "treated", over_treated)
    effect = put_together(risk, rows, (result,), task, DEFAULT_OPTIONS, flow_of(risk.flow, fitted))
    return Entering(effect, risk, rows.clusterings[0], cast(SumsOf, sums))


def unconditional_effects(
    panel: Panel, made: Entering, outcome: Outcome, cluster: ClusterChoice, controls: Sequence[str] | None
) -> tuple[dict[str, Effect], tuple[str, ...]]:
    """Return effects on all who could enter, whether or not they did, and notes.

    Being there in t+3, and exports to the market summed over t+1..t+3 with zeros for those who do not export: the ratio
    of means (Poisson), raw and with each firm's sum cut at three times the yearly amount of the definitions.
    """
    seen = _later(panel, made.risk, outcome)
    found, notes = {ENTERING: made.effect}, []
    there = "trading in t+3" if outcome == "trade" else "an affiliate in t+3"
    threshold = LATER * panel.definitions.indicator_winsor_eur

    def of_exports(name: str, column: str) -> Effect:
        effect = _exports(seen, column, cluster, controls)
        return replace(effect, outcome=f"{name}, EUR", notes=(*effect.notes, *_tails(seen, column, threshold)))

    def of_presence() -> Effect:
        effect = market_entry(_with_outcome(seen, "there_later"), cluster=cluster, controls=controls)
        return replace(effect, outcome=f"{there}, whether or not entered")

    tasks: dict[str, Callable[[], Effect]] = {there: of_presence, EXPORTS: partial(of_exports, EXPORTS, EUR)}
    for name, task in (tasks | {WINSORISED: partial(of_exports, WINSORISED, CUT)}).items():
        try:
            found[name] = task()
        except MissieError as error:
            notes.append(f"no effect on {name}: {str(error).split('. ')[0]}")
    return found, tuple(notes)


def _with_outcome(risk: RiskSet, column: str) -> RiskSet:
    return replace(risk, roles=replace(risk.roles, outcome=column), after_columns=(*risk.after_columns, column))


def _later(panel: Panel, risk: RiskSet, outcome: Outcome) -> RiskSet:
    """Rows whose t+3 lies in the data, with being there in t+3 and exports in t+1..t+3, zero where there are none."""
    key = ["firm", "market", "year"]
    active = activity_years(panel, outcome).with_columns(year=nw.col("year").cast(nw.Int64) - LATER)
    flagged = trials.flag(risk.rows, active, key, "there_later")
    yearly = panel.pair_years.select(
        "firm", "market", nw.col("year").cast(nw.Int64), eur=(nw.col("exports_cents").cast(nw.Float64) / 100).clip(0.0)
    )
    ahead = nw.concat([yearly.with_columns(year=nw.col("year") - k) for k in range(1, LATER + 1)])
    total = ahead.group_by(*key).agg(nw.col("eur").sum().alias(EUR))
    joined = flagged.join(total, on=key, how="left").with_columns(nw.col(EUR).fill_null(0.0))
    cut = LATER * panel.definitions.indicator_winsor_eur
    known = joined.with_columns(nw.col(EUR).clip(upper_bound=cut).alias(CUT))
    seen = panel.engine.store(known.filter(nw.col("year") + LATER <= panel.last_year), f"entry_later_{outcome}")
    return replace(risk, rows=seen, n_rows=panel.engine.count(seen))


def _exports(risk: RiskSet, column: str, cluster: ClusterChoice, controls: Sequence[str] | None) -> Effect:
    named = () if controls is None else tuple(c for c in controls if c in risk.columns)
    year = () if risk.roles.year is None else (risk.roles.year,)
    dims = None if cluster is None else cluster_dimensions(cluster, risk)[1]
    return poisson_effect(_with_outcome(risk, column), effects=year, controls=named, cluster=dims)


def _tails(risk: RiskSet, column: str, threshold: float) -> list[str]:
    """How heavy the tail is: shares of the largest firms in the exports of the treated."""
    if column == CUT:
        return [f"sums count up to EUR {threshold:,.0f} per firm and market, an amount fixed in the definitions"]
    columns = ["firm", risk.roles.treatment, EUR]
    frame = risk.collect(columns)
    treated = frame[frame[risk.roles.treatment] == 1]
    top = concentration(treated.groupby("firm")[EUR].sum().to_numpy(dtype=np.float64)).tops
    if not np.isfinite(top).all():
        return ["indicative, heavy tail: few firms export at all"]
    return [
        "indicative, heavy tail; share of the largest 1, 5 and 10 firms in the exports of the treated: "
        f"{top[0]:.0%}, {top[1]:.0%}, {top[2]:.0%}"
    ]


def always_entrant_bounds(stayed: Stayed, made: Entering, cluster: ClusterChoice, level: float) -> pd.DataFrame:
    """Bound the survival difference of those who would enter with and without a mission, with an interval per year.

    Errors take the two probabilities to enter as estimated, and firms that stand among entrants and among all who could
    enter as one cluster. The share of always-entrants is taken to be the same in all strata of the comparison.
    """
    risks = np.array([made.effect.effect(scale).estimate for scale in RISKS])
    covariance, units = _joint_covariance(stayed, made, cluster)
    t, lines = len(stayed.years), []
    for j, year in enumerate(stayed.years):
        place = [j, t + j, 2 * t, 2 * t + 1]
        value = np.concatenate([stayed.value[[j, t + j]], risks])
        found = always_selected_bounds(value, covariance[np.ix_(place, place)], level=level, n=units)
        ends = (("lowest", found.lowest, found.error_lowest), ("highest", found.highest, found.error_highest))
        for name, end, error in ends:
            one_sided = (found.conf_low, np.nan) if name == "lowest" else (np.nan, found.conf_high)
            lines.append(["all", f"always_entrant_difference_{name}", year, end, error, *one_sided, found.reason])
    columns = ["group", "scale", "year", "estimate", "std_error", "conf_low", "conf_high", "reason"]
    return pd.DataFrame(lines, columns=columns)


def _joint_covariance(stayed: Stayed, made: Entering, cluster: ClusterChoice) -> tuple[Floats, int]:
    """Covariance of survival and of the two risks, (2t + 2, 2t + 2), and the smallest number of clusters."""
    n, m = stayed.followed.rows.n, made.risk.n_rows
    pairs = _in_common(stayed.followed.risk, made.risk, cluster, n + m)
    size = len(stayed.columns) + 2
    total, counts = np.zeros((size, size)), []
    for part, sign in dimensions(pairs):
        sums = np.zeros((part.count, size))
        for j, (positions, added) in enumerate(stayed.columns):
            sums[:, j] = np.bincount(part.codes[:n][positions], added, minlength=part.count)
        entry = made.sums(made.clustering)(Clusters(part.codes[n:], part.count))
        there = int(np.count_nonzero(entry.any(axis=1)))
        factor = correction_factor("g_over_gm1", there, np.nan, 0) if made.clustering.dimensions else 1.0
        sums[:, -2:] = entry[:, [RISK_SCALES.index(name) for name in RISKS]] * np.sqrt(factor)
        total += sign * sums.T @ sums
        counts.append(there)
    return (positive_part(total)[0] if len(pairs) == 2 else total), min(counts)


def _in_common(one: RiskSet, other: RiskSet, cluster: ClusterChoice, n: int) -> list[Clusters]:
    """Clusters of the rows of two risk sets, one behind the other; the same label is the same cluster."""
    if cluster is None:
        return [Clusters(np.arange(n), n)]
    made = []
    for columns in cluster_dimensions(cluster, one)[1]:
        listed = list(columns)
        both = pd.concat([one.collect(listed)[listed], other.collect(listed)[listed]], ignore_index=True)
        made.append(clusters_of(*(pd.factorize(both[c], use_na_sentinel=False)[0] for c in listed)))
    return made
