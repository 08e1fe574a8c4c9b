"""P values of a family of tests by a step-down that knows how the statistics hang together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from missie_impact.errors import SettingsError

Floats = NDArray[np.float64]


def step_down(statistics: ArrayLike, draws: ArrayLike) -> Floats:
    """Adjust the p values of one family by the joint distribution of its statistics.

    Parameters
    ----------
    statistics : (m,) estimates over their errors
    draws : (b, m) of the same statistics under the null, all drawn together, such as cluster-bootstrap ones centred at
        the estimate

    References
    ----------
    Romano and Wolf (2005), Econometrica 73, 1237-1282; (2016), Statistics and Probability Letters 113, 38-40.
    """
    size, null = np.abs(np.asarray(statistics, dtype=np.float64)), np.abs(np.asarray(draws, dtype=np.float64))
    if null.ndim != 2 or null.shape[1] != len(size) or not len(null):
        raise SettingsError(f"expected draws of {len(size)} statistics each, found shape {null.shape}.")
    order, found, last = np.argsort(-size, kind="stable"), np.empty(len(size)), 0.0
    for place, j in enumerate(order):
        largest = null[:, order[place:]].max(axis=1)
        last = max(last, (1 + int((largest >= size[j]).sum())) / (1 + len(null)))
        found[j] = last
    return found
