"""When the rows of a risk set begin, where the table does not say."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.numerics.covariance import clusters_of
from missie_impact.risksets.riskset import Roles

Floats = NDArray[np.float64]

YEAR_BY_YEAR = "no start column: each row covers one unit of time up to its duration"
WHOLE = "no start column, and rows do not follow each other: each row covers the time from zero to its duration"
UNNAMED = "; no column tells which rows belong together, so this was read from their numbers: name firm= or start="


def row_starts(frame: pd.DataFrame, roles: Roles) -> tuple[Floats, str]:
    """Return when each row begins to be at risk, and a note where that had to be read from the rows.

    Rows that follow each other (durations d - 1 and d of one unit; without a unit, numbers of rows that fall by at
    least the events) are one unit of time long. Rows that do not are whole spells and begin at zero. Every estimator
    that needs a time at risk asks here, so that they all read one table alike
    (`docs/decisions/0006-rows-without-a-start.md`).

    Parameters
    ----------
    frame : (n rows) with duration and outcome; start, firm and market where the roles name them
    roles : of the risk set; the duration must be named
    """
    stop = frame[str(roles.duration)].to_numpy(dtype=np.float64, na_value=np.nan)
    if roles.start is not None:
        return frame[roles.start].to_numpy(dtype=np.float64, na_value=np.nan), ""
    known = np.isfinite(stop)
    event = frame[roles.outcome].to_numpy(dtype=np.float64) > 0
    unit = [c for c in (roles.firm, roles.market) if c is not None]
    keys = [pd.factorize(frame[c])[0][known] for c in unit]
    unnamed = "" if keys else UNNAMED
    if _year_by_year(stop[known], event[known], keys):
        return stop - 1.0, YEAR_BY_YEAR + unnamed
    return np.where(known, 0.0, np.nan), WHOLE + unnamed


def _year_by_year(stop: Floats, event: NDArray[np.bool_], keys: list[NDArray[np.intp]]) -> bool:
    if not len(stop) or (stop % 1 != 0).any() or (stop < 1).any():
        return False
    later = stop > 1
    if not later.any():
        return True
    if keys:
        unit, width = clusters_of(*keys).codes.astype(np.int64), int(stop.max()) + 1
        rows = unit * width + stop.astype(np.int64)
        return bool(np.isin(rows[later] - 1, rows).mean() >= 0.5)
    number = np.bincount(stop.astype(np.intp))[1:]
    events = np.bincount(stop.astype(np.intp), event)[1:]
    return bool((number[1:] <= number[:-1] - events[:-1]).all())
