"""Rows of a hazard whose clusters share a random effect, in order of their clusters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Codes, Design, Floats


@dataclass(frozen=True, slots=True)
class FrailtyData:
    """Rows in order of their clusters.

    Attributes
    ----------
    y, design, frequency : of the rows, sorted by cluster
    before_entry : (n,) rows before the cluster was first followed; they hold no event
    starts : (G,) first row of each cluster
    weight : (G,) probability weight of each cluster
    """

    y: Floats
    design: Design
    frequency: Floats
    before_entry: NDArray[np.bool_]
    starts: Codes
    weight: Floats

    @property
    def cluster(self) -> Codes:
        """Cluster of each row, shape (n,)."""
        return np.repeat(np.arange(len(self.starts)), np.diff(np.append(self.starts, len(self.y))))


def frailty_data(
    y: Floats,
    design: Design,
    cluster: NDArray[np.integer[Any]],
    *,
    frequency: Floats | None = None,
    cluster_weight: Floats | None = None,
    before_entry: NDArray[np.bool_] | None = None,
) -> FrailtyData:
    """Sort rows by cluster.

    Parameters
    ----------
    y : (n,) 0 or 1
    cluster : (n,) 0 .. G - 1, every number used
    frequency : (n,) weights that count rows of the cluster
    cluster_weight : (G,) probability weights, per cluster because its rows are one draw
    before_entry : (n,) rows of years survived before the cluster was first seen at risk

    Raises
    ------
    SettingsError
        If a cluster number is not used, or a row before entry has an event.
    """
    codes = np.asarray(cluster, dtype=np.intp)
    order = np.argsort(codes, kind="stable")
    count = np.bincount(codes)
    if (count == 0).any():
        raise SettingsError(f"{int((count == 0).sum())} cluster numbers have no row; number clusters without gaps.")
    before = np.zeros(len(y), dtype=bool) if before_entry is None else np.asarray(before_entry, dtype=bool)
    wrong = int(np.count_nonzero(before & (y > 0)))
    if wrong:
        raise SettingsError(f"{wrong} rows before entry have an event; such a cluster would never have been seen.")
    weight = np.ones(len(count)) if cluster_weight is None else np.asarray(cluster_weight, dtype=np.float64)
    f = np.ones(len(y)) if frequency is None else np.asarray(frequency, dtype=np.float64)
    starts = (np.cumsum(count) - count).astype(np.intp)
    return FrailtyData(y[order], pick_rows(design, order), f[order], before[order], starts, weight)


def pick_rows(design: Design, order: Codes) -> Design:
    """Return some rows with the same columns, whatever levels they have."""
    offset = None if design.offset is None else design.offset[order]
    return replace(design, cell=design.cell[order], continuous=design.continuous[:, order], offset=offset)


def followed_rows(data: FrailtyData) -> tuple[Floats, Design, Floats, Floats]:
    """Return outcome, design, frequency and probability weights of the rows from entry on."""
    rows = np.flatnonzero(~data.before_entry)
    return data.y[rows], pick_rows(data.design, rows), data.frequency[rows], data.weight[data.cluster[rows]]
