"""Description of survival: Kaplan-Meier curves with bands, life tables, medians and restricted means, by arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.effects.fitting.groups import no_estimate
from missie_impact.effects.fitting.rows import ClusterChoice, Group, Source
from missie_impact.effects.result import Effect, GroupResult
from missie_impact.effects.survival.curves import Curve, curve_table
from missie_impact.effects.survival.followed import Followed, describe, follow
from missie_impact.effects.survival.points import (
    BAND_NOTE,
    DEFAULT_CURVE,
    Arm,
    CurveOptions,
    added,
    arm_of,
    curve_covariance,
    joint_covariance,
    points,
)
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow, FlowStep
from missie_impact.numerics.bands import interval_of
from missie_impact.numerics.survival import SurvivalCurve, kaplan_meier

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
Event = Literal["outcome", "any"]

MEAN_SCALES = (
    "restricted_mean_difference", "restricted_mean_ratio", "restricted_mean_with", "restricted_mean_without",
)  # fmt: skip
MOST_INTERVALS = 40


def survival_curve(
    risk: Source,
    *,
    cluster: ClusterChoice,
    by: str | Sequence[str] | None = None,
    start: float | None = None,
    event: Event = "outcome",
    options: CurveOptions = DEFAULT_CURVE,
) -> Curve:
    """Estimate the share still there along time, by arm (Kaplan-Meier), with delayed entry and right censoring.

    Parameters
    ----------
    risk : exit risk set, entrants, own table with a duration, or a design made on one (its weights are used)
    cluster : of the errors; None takes rows on their own (Greenwood) where there are no probability weights. The
        numbers are those of R's ``survfit``, with ``cluster=`` where clusters are given
    by : columns that make subgroups
    start : look only at those still there at this time; the way out where early risk sets are tiny
    event : "outcome", other causes then end the row unseen; "any": leaving by whatever cause
    options : level, kind of interval, times, bands

    Returns
    -------
    Curve
        One line per group, arm ("treated", "untreated") and time with an event. Trials start at their time zero. A
        treatment that switches within a spell gives Simon-Makuch curves, named "display only".

    Raises
    ------
    SettingsError, MissingValueError
        If ``event`` is unknown, the risk set has no duration, or rows have no time.

    References
    ----------
    Kaplan and Meier (1958), JASA 53, 457-481; Simon and Makuch (1984), Statistics in Medicine 3, 35-44.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 1] * 3, "since": 0, "until": [1, 2, 2, 3, 4, 4]})
    >>> table["left"] = [1, 1, 1, 1, 0, 0]
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", start="since", duration="until")
    >>> curve = mi.survival_curve(risk, cluster=None).table
    >>> curve.loc[curve["arm"] == "treated", ["time", "estimate"]].round(2).values.tolist()
    [[0.0, 1.0], [2.0, 0.67], [3.0, 0.33], [4.0, 0.33]]
    """
    followed = follow(risk, cluster=cluster, by=by, start=start)
    cause, outcome, note = _event(followed, event)
    tables, warned = [], []
    for group, inside in followed.groups():
        for name, positions in followed.arms(inside):
            arm = arm_of(followed, positions, options, cause=cause)
            place = np.searchsorted(arm.curves.time, arm.time, side="right")
            value = np.concatenate([[1.0], arm.curves.survival])[place]
            covariance = curve_covariance(followed, arm, 1, greenwood=True)
            events = (arm.exits.cause > 0).astype(np.float64)
            made = points(followed, arm, value, covariance, events, options)
            tables.append(made.assign(group=group, arm=name, reason="" if len(made) else "no events"))
            warned += [f"{group}, {name}: {text}" for text in _whole_curve(arm).notes]
    design, notes = describe(followed)
    return Curve(
        outcome=outcome,
        kind="survival",
        scale="survival",
        table=curve_table(pd.concat(tables, ignore_index=True)),
        conf_level=options.conf_level,
        design=design,
        notes=(*notes, *note, *warned, _errors(followed), *((BAND_NOTE,) if options.bands else ())),
        flow=flow_of(followed),
        simulated=followed.risk.simulated,
    )


def median_survival(
    risk: Source,
    *,
    cluster: ClusterChoice,
    by: str | Sequence[str] | None = None,
    start: float | None = None,
    event: Event = "outcome",
    shares: Sequence[float] = (0.5,),
    options: CurveOptions = DEFAULT_CURVE,
) -> pd.DataFrame:
    """Return the time by which half (or other shares) has left, by group and arm, with its interval.

    The interval is where the pointwise interval of the curve crosses the same height, as in R's ``survfit``.

    Returns
    -------
    DataFrame
        group, arm, share, estimate, conf_low, conf_high, n_rows, n_events, n_firms, reason. NaN where the curve, or an
        end of its interval, does not come down so far.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 1] * 3, "since": 0, "until": [1, 2, 2, 3, 4, 4]})
    >>> table["left"] = [1, 1, 1, 1, 0, 0]
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", start="since", duration="until")
    >>> mi.median_survival(risk, cluster=None).set_index("arm")["estimate"].to_dict()
    {'treated': 3.0, 'untreated': 2.0}
    """
    bad = [share for share in shares if not 0 < share < 1]
    if bad:
        raise SettingsError(f"shares: expected numbers between 0 and 1, found {bad}.")
    followed = follow(risk, cluster=cluster, by=by, start=start)
    cause, _, _ = _event(followed, event)
    lines = []
    for group, inside in followed.groups():
        for name, positions in followed.arms(inside):
            arm = arm_of(followed, positions, replace(options, times=None), cause=cause)
            curve = _with_clusters(followed, arm, options)
            for share in shares:
                middle, low, high = curve.quantile(share)
                reason = "the curve does not come down so far" if np.isnan(middle) else ""
                lines.append([group, name, share, middle, low, high, *_sizes(followed, arm), reason])
    columns = ["group", "arm", "share", "estimate", "conf_low", "conf_high", "n_rows", "n_events", "n_firms", "reason"]
    return pd.DataFrame(lines, columns=columns)


def life_table(
    risk: Source,
    *,
    cluster: ClusterChoice,
    by: str | Sequence[str] | None = None,
    start: float | None = None,
    breaks: Sequence[float] | None = None,
    event: Event = "outcome",
    options: CurveOptions = DEFAULT_CURVE,
) -> pd.DataFrame:
    """Tabulate, by group and arm, who was there in each interval of time, who came late, who left and who remained.

    Parameters
    ----------
    breaks : ends of the intervals, the first one its beginning. None takes whole units of time where all times are
        whole numbers and there are at most 40 of them, else twenty intervals of equal length
    risk, cluster, by, start, event, options : see :func:`survival_curve`

    Returns
    -------
    DataFrame
        group, arm, time_from, time_to, n_at_risk (at the beginning), n_entered (later in the interval, or at its
        beginning where it begins the table), n_events, n_other (seen to leave otherwise, or no longer), exposure
        (time at risk), rate (events per time at risk), exit_probability (given survival to the beginning), survival
        (to the end), std_error, conf_low, conf_high.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 1] * 3, "since": 0, "until": [1, 2, 2, 3, 4, 4]})
    >>> table["left"] = [1, 1, 1, 1, 0, 0]
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", start="since", duration="until")
    >>> found = mi.life_table(risk, cluster=None).query("arm == 'untreated'")
    >>> found[["time_to", "n_at_risk", "n_events"]].values.tolist()
    [[1.0, 3.0, 1.0], [2.0, 2.0, 1.0], [3.0, 1.0, 0.0], [4.0, 1.0, 0.0]]
    """
    followed = follow(risk, cluster=cluster, by=by, start=start)
    cause, _, _ = _event(followed, event)
    edges = _edges(followed, breaks)
    wanted = replace(options, times=tuple(edges[1:].tolist()), bands=False)
    tables = []
    for group, inside in followed.groups():
        for name, positions in followed.arms(inside):
            arm = arm_of(followed, positions, wanted, cause=cause)
            steps = np.concatenate([[1.0], arm.curves.survival])
            value = steps[np.searchsorted(arm.curves.time, arm.time, side="right")]
            made = points(followed, arm, value, curve_covariance(followed, arm, 1, greenwood=True),
                          (arm.exits.cause > 0).astype(np.float64), wanted)  # fmt: skip
            tables.append(_intervals(arm, edges, made).assign(group=group, arm=name))
    found = pd.concat(tables, ignore_index=True)
    return found[["group", "arm", *(c for c in found.columns if c not in ("group", "arm"))]]


def restricted_mean(
    risk: Source,
    *,
    cluster: ClusterChoice,
    horizon: float,
    by: str | Sequence[str] | None = None,
    start: float | None = None,
    event: Event = "outcome",
    options: CurveOptions = DEFAULT_CURVE,
) -> Effect:
    """Compare mean time survived up to a horizon between the arms: areas under the two curves.

    Parameters
    ----------
    horizon : time up to which survival is counted; within the follow-up of both arms
    risk, cluster, by, start, event, options : see :func:`survival_curve`

    Returns
    -------
    Effect
        Scales ``restricted_mean_difference`` (treated less untreated), ``restricted_mean_ratio``,
        ``restricted_mean_with``, ``restricted_mean_without``, in units of time. Arms are as observed, or weighted by
        the design; nothing is adjusted for besides.

    Raises
    ------
    SettingsError
        If arms are not followed up to the horizon.

    References
    ----------
    Royston and Parmar (2013), BMC Medical Research Methodology 13, 152.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 1] * 3, "since": 0, "until": [1, 2, 2, 3, 4, 4]})
    >>> table["left"] = [1, 1, 1, 1, 0, 0]
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", start="since", duration="until")
    >>> found = mi.restricted_mean(risk, cluster=None, horizon=4)
    >>> round(found.effect("restricted_mean_difference").estimate, 2)
    0.67
    """
    followed = follow(risk, cluster=cluster, by=by, start=start)
    cause, outcome, note = _event(followed, event)
    results = []
    for group, inside in followed.groups():
        members = Group(group, inside)
        arms = dict(followed.arms(inside))
        reached = {name: float(followed.stop[p].max()) for name, p in arms.items()}
        reason = "" if len(arms) == 2 else f"no {'treated' if 'treated' not in arms else 'untreated'} rows"
        if not reason and min(reached.values()) < horizon:
            reason = "nobody is followed up to the horizon in one arm"
        if reason and group == "all":
            raise SettingsError(
                f"restricted mean up to {horizon:g}: {reason}. Expected two arms, followed at least so far."
            )
        counts = no_estimate(followed.rows, members, MEAN_SCALES, reason)
        results.append(counts if reason else _mean_result(followed, arms, horizon, cause, counts))
    design, notes = describe(followed)
    return Effect(
        outcome=outcome,
        term=followed.risk.roles.treatment,
        design=design,
        model=f"Kaplan-Meier up to {horizon:g}",
        population="observed",
        groups=tuple(results),
        vcov=followed.error,
        vcovs=(followed.error,),
        conf_level=options.conf_level,
        flow=flow_of(followed),
        notes=(*notes, *note, _errors(followed)),
        simulated=followed.risk.simulated,
    )


def _mean_result(
    followed: Followed, arms: dict[str, Codes], horizon: float, cause: Codes | None, counts: GroupResult
) -> GroupResult:
    means, columns, greenwood = [], [], []
    for name in ("treated", "untreated"):
        arm = arm_of(followed, arms[name], DEFAULT_CURVE, cause=cause)
        curve = _whole_curve(arm)
        first = float(arm.exits.start.min())
        mean, error = curve.restricted_mean(horizon)
        means.append(mean - first)  # survival is one up to the first start, which nobody is seen to live through
        greenwood.append(error**2)
        columns.append((arm.positions, _area(followed, arm, curve, horizon)))
    if followed.clusters or followed.rows.probability is not None:
        joint = joint_covariance(followed, columns)
    else:
        joint = np.diag(greenwood)
    one, zero = means
    values = np.array([one - zero, one / zero if zero > 0 else np.nan, one, zero])
    slopes = np.array([[1.0, -1.0], [1 / one, -1 / zero], [1.0, 0.0], [0.0, 1.0]])  # the ratio in logs
    covariance = slopes @ joint @ slopes.T
    return replace(
        counts,
        scales=MEAN_SCALES,
        values=values,
        covariances={followed.error: covariance},
        degrees={followed.error: _degrees(followed)},
    )


def _area(followed: Followed, arm: Arm, curve: SurvivalCurve, horizon: float) -> Floats:
    """What each row adds to the area under the curve up to the horizon."""
    inside = curve.time < horizon
    widths = np.diff(np.concatenate([curve.time[inside], [horizon]]))
    total = np.zeros(len(arm.positions))
    for t, width in zip(curve.time[inside], widths, strict=True):
        total += width * added(followed, arm, 1, float(t))
    return total


def _degrees(followed: Followed) -> float:
    if len(followed.clusters) < 2:
        return float("inf")
    return float(min(c.count for c in followed.clusters) - 1)


def _event(followed: Followed, event: Event) -> tuple[Codes | None, str, tuple[str, ...]]:
    """0/1 of the event per row, its name, and what to say about the other causes."""
    if event not in ("outcome", "any"):
        raise SettingsError(f"event: expected 'outcome' or 'any', found {event!r}.")
    if event == "any":
        return (followed.cause > 0).astype(np.intp), " or ".join(followed.causes), ()
    happened = followed.rows.y.astype(np.intp)
    own = {followed.causes[c - 1] for c in np.unique(followed.cause[(happened == 1) & (followed.cause > 0)])}
    others = [c for c in followed.causes if c not in own]
    note = f"{', '.join(others)} end a row unseen: one less this curve is not the share that leaves" if others else ""
    return happened, " or ".join(c for c in followed.causes if c in own) or followed.causes[0], (note,) if note else ()


def _whole_curve(arm: Arm) -> SurvivalCurve:
    exits = arm.exits
    return kaplan_meier(exits.stop, exits.cause > 0, start=exits.start, frequency=exits.weight)


def _with_clusters(followed: Followed, arm: Arm, options: CurveOptions) -> SurvivalCurve:
    """Return the curve with intervals from the errors asked for, at all its times (some of them where very many)."""
    curve = kaplan_meier(
        arm.exits.stop, arm.exits.cause > 0, start=arm.exits.start, frequency=arm.exits.weight,
        interval=options.interval, level=options.conf_level,
    )  # fmt: skip
    if not followed.clusters and arm.exits.probability is None:
        return curve
    error = np.sqrt(np.diag(curve_covariance(followed, arm, 1)))
    place = np.searchsorted(arm.time, curve.time, side="right") - 1
    shown = np.where(curve.survival > 0, error[place], np.nan)
    low, high = interval_of(curve.survival, shown, options.quantile, options.interval)
    return replace(curve, std_error=shown, conf_low=low, conf_high=high)


def _sizes(followed: Followed, arm: Arm) -> list[object]:
    frequency, firm = arm.exits.frequency, followed.rows.firm
    firms = None if firm is None else len(np.unique(firm[arm.positions]))
    return [round(float(frequency.sum())), round(float(frequency[arm.exits.cause > 0].sum())), firms]


def _edges(followed: Followed, breaks: Sequence[float] | None) -> Floats:
    if breaks is not None:
        edges = np.asarray(list(breaks), dtype=np.float64)
        if len(edges) < 2 or (np.diff(edges) <= 0).any():
            raise SettingsError("breaks: expected at least two rising numbers.")
        return edges
    stop, start = followed.stop[followed.there], followed.start[followed.there]
    low, high = float(start.min()), float(stop.max())
    whole = (stop == np.floor(stop)).all() and (start == np.floor(start)).all()
    if whole and high - low <= MOST_INTERVALS:
        return np.arange(low, high + 1)
    return np.linspace(low, high, 21)


def _intervals(arm: Arm, edges: Floats, made: pd.DataFrame) -> pd.DataFrame:
    start, stop, frequency = arm.exits.start, arm.exits.stop, arm.exits.frequency
    lines, before = [], 1.0
    for j, (low, high) in enumerate(pairwise(edges)):
        if j >= len(made):
            break
        inside = (stop > low) & (start < high)
        ends = inside & (stop <= high)
        event = ends & (arm.exits.cause > 0)
        # a row that goes on as another of the same unit neither enters nor leaves: both are counted net
        arrived, left = inside & (start > low), ends & ~event & (stop < high)
        exposure = float((frequency * (np.minimum(stop, high) - np.maximum(start, low)))[inside].sum())
        there = float(frequency[inside & (start <= low)].sum())
        events = float(frequency[event].sum())
        survival = float(made["estimate"].iloc[j])
        lines.append(
            [low, high, there, float(frequency[arrived].sum()), events, float(frequency[left].sum()), exposure,
             events / exposure if exposure > 0 else np.nan, 1 - survival / before if before > 0 else np.nan, survival]
        )  # fmt: skip
        before = survival
    columns = ["time_from", "time_to", "n_at_risk", "n_entered", "n_events", "n_other", "exposure", "rate",
               "exit_probability", "survival"]  # fmt: skip
    table = pd.DataFrame(lines, columns=columns)
    return table.assign(**{c: made[c].to_numpy()[: len(table)] for c in ("std_error", "conf_low", "conf_high")})


def _errors(followed: Followed) -> str:
    if followed.clusters:
        named = followed.error if followed.rows.clusterings[0].dimensions else "unit"
        return f"errors: influences summed by {named}, without a small-sample factor"
    if followed.rows.probability is not None:
        return "errors: influences of rows on their own"
    return "errors: Greenwood, rows on their own"


def flow_of(followed: Followed) -> Flow:
    """Return the flow of the risk set with the rows that make the curves behind it."""
    there, firm = followed.there, followed.rows.firm
    frequency = followed.rows.frequency
    rows = int(there.sum()) if frequency is None else round(float(frequency[there].sum()))
    firms = None if firm is None else len(np.unique(firm[there]))
    return followed.risk.flow.then(FlowStep("in the curves", rows, firms, None, "; ".join(followed.notes)))
