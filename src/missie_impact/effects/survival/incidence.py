"""Cumulative incidence of competing exits by arm, as observed (Aalen-Johansen)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from missie_impact.effects.fitting.rows import ClusterChoice, Source
from missie_impact.effects.survival.curves import Curve, curve_table
from missie_impact.effects.survival.followed import describe, follow
from missie_impact.effects.survival.points import (
    BAND_NOTE,
    DEFAULT_CURVE,
    CurveOptions,
    arm_of,
    curve_covariance,
    points,
)
from missie_impact.effects.survival.survival import flow_of


def cumulative_incidence(
    risk: Source,
    *,
    cluster: ClusterChoice,
    by: str | Sequence[str] | None = None,
    start: float | None = None,
    options: CurveOptions = DEFAULT_CURVE,
) -> Curve:
    """Estimate the share that has left by each cause along time, by arm, with delayed entry and exact ties.

    Parameters
    ----------
    risk : risk set with a cause (exit risk set, own table with ``cause=``), or a design made on one. A cause that is
        missing, empty, 0, "none", "censored" or "open" says that nothing happened. Without a cause the outcome is the
        only one
    cluster : of the errors; None takes each row (in trials each unit) on its own, as R's ``survfit`` of several
        states does. A unit cut into rows needs ``cluster=``
    by, start, options : see :func:`survival_curve`

    Returns
    -------
    Curve
        One group per cause (``exit``, ``death``, ``lost``; with ``by=`` also ``size=sme: exit``), arms "treated" and
        "untreated". The incidences of an arm and its survival add to one at every time.

    References
    ----------
    Aalen and Johansen (1978), Scandinavian Journal of Statistics 5, 141-150; Geskus (2011), Biometrics 67, 39-49.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 1] * 4, "since": 0, "until": [1, 1, 2, 2, 3, 3, 4, 4]})
    >>> table["cause"] = ["exit", "exit", "death", "exit", "exit", "death", "open", "open"]
    >>> table["left"] = (table["cause"] == "exit").astype(int)
    >>> roles = {"outcome": "left", "treatment": "went", "start": "since", "duration": "until", "cause": "cause"}
    >>> curve = mi.cumulative_incidence(mi.RiskSet.from_frame(table, **roles), cluster=None).table
    >>> curve.query("group == 'exit' and arm == 'untreated'")["estimate"].round(2).tolist()
    [0.0, 0.25, 0.25, 0.5, 0.5]
    """
    followed = follow(risk, cluster=cluster, by=by, start=start)
    tables = []
    for group, inside in followed.groups():
        for name, positions in followed.arms(inside):
            arm = arm_of(followed, positions, options)
            place = np.searchsorted(arm.curves.time, arm.time, side="right")
            found = np.vstack([np.zeros(len(followed.causes)), arm.curves.incidence])[place]
            for k, cause in enumerate(followed.causes):
                covariance = curve_covariance(followed, arm, k)
                events = (arm.exits.cause == k + 1).astype(np.float64)
                made = points(followed, arm, found[:, k], covariance, events, options)
                label = cause if group == "all" else f"{group}: {cause}"
                tables.append(made.assign(group=label, arm=name, reason="" if len(made) else "no events"))
    design, notes = describe(followed)
    single = ("no cause column: the outcome is the only cause",) if followed.risk.roles.cause is None else ()
    errors = f"errors: influences summed by {followed.error}" if followed.clusters else "errors: rows on their own"
    return Curve(
        outcome=", ".join(followed.causes),
        kind="cumulative_incidence",
        scale="cumulative_incidence",
        table=curve_table(pd.concat(tables, ignore_index=True)),
        conf_level=options.conf_level,
        design=design,
        notes=(*notes, *single, errors, *((BAND_NOTE,) if options.bands else ())),
        flow=flow_of(followed),
        simulated=followed.risk.simulated,
    )
