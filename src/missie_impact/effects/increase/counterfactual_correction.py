"""What matching leaves of differences between supported pairs and their matches, times what these predict.

Supported firms are larger than even their nearest matches, and larger exporters stay longer in a market. As in Abadie
and Imbens (2011), a linear model of growing is fitted to all candidates without support, and its difference between a
supported pair and its matches is added to what is expected. No outcome of a supported pair is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROWS_PER_COLUMN = 10  # fewer candidates than this, and a class of pairs is left as matched
DEPENDENT = 1e-10


@dataclass(frozen=True, slots=True)
class Left:
    """What one trial adds to the correction. Sums and differences alone, so that trials of any size can be added up.

    Attributes
    ----------
    kinds : (n,) class of each supported pair: no exports on the path, in some years, in all
    gap : (n, p) covariates of the pair less the mean of its matches
    crossproduct : class -> (p, p) of the candidates
    moments : class -> (p,) covariates times growing
    n_candidates : class -> number
    """

    kinds: NDArray[np.intp]
    gap: Floats
    crossproduct: dict[int, Floats]
    moments: dict[int, Floats]
    n_candidates: dict[int, int]


def left_by_matching(
    covariates: pd.DataFrame,
    path: NDArray[np.int64],
    grown: NDArray[np.bool_],
    treated: NDArray[np.bool_],
    mine: NDArray[np.intp],
    theirs: NDArray[np.intp],
) -> Left:
    """Describe what the matches of a trial differ in.

    Parameters
    ----------
    covariates : n pairs, what they are matched on
    path : (n, years) exports of the years of the matching
    grown : (n,) positive mean increase
    mine, theirs : rows of supported pairs and of their matches
    """
    years = path.shape[1]
    pattern = (path > 0) @ (1 << np.arange(years))
    x = np.column_stack([covariates.to_numpy(dtype=np.float64), np.eye(2**years)[pattern]])  # no other constant needed
    active = (path > 0).sum(axis=1)
    kind = np.where(active == years, 2, np.where(active > 0, 1, 0)).astype(np.intp)
    unit, place = np.unique(mine, return_inverse=True)
    mean = np.zeros((len(unit), x.shape[1]))
    np.add.at(mean, place, x[theirs])
    mean /= np.bincount(place)[:, None]
    parts = {k: np.flatnonzero(~treated & (kind == k)) for k in range(3)}
    return Left(
        kinds=kind[unit],
        gap=x[unit] - mean,
        crossproduct={k: x[rows].T @ x[rows] for k, rows in parts.items()},
        moments={k: x[rows].T @ grown[rows].astype(np.float64) for k, rows in parts.items()},
        n_candidates={k: len(rows) for k, rows in parts.items()},
    )


def corrections(trials: Sequence[Left]) -> list[Floats]:
    """Return for the supported pairs of each trial what is added to the chance of growing that their matches show."""
    slopes = [_slopes(trials, kind) for kind in range(3)]
    return [np.einsum("ij,ij->i", left.gap, np.stack(slopes)[left.kinds]) for left in trials]


def _slopes(trials: Sequence[Left], kind: int) -> Floats:
    """Least squares over all trials; zero where candidates are few."""
    cross = sum((left.crossproduct[kind] for left in trials), start=np.zeros_like(trials[0].crossproduct[kind]))
    moments = sum((left.moments[kind] for left in trials), start=np.zeros(len(cross)))
    scale = np.sqrt(np.diag(cross))
    used = scale > 0
    if sum(left.n_candidates[kind] for left in trials) < ROWS_PER_COLUMN * int(used.sum()):
        return np.zeros(len(cross))
    scale[~used] = 1.0
    inverse = np.linalg.pinv(cross / np.outer(scale, scale), rcond=DEPENDENT, hermitian=True)
    return np.asarray(inverse @ (moments / scale) / scale)
