"""Greedy matching on the Mahalanobis distance, without a loop over rows.

Covariates are turned and stretched so that the distance is the plain one between points; controls with equal
covariates share a point, whose place in a list of neighbours they take together. Treated units that still need a
control all ask the nearest point that can take them; a point keeps as many as it has free controls, those that come
first in the order of matching, and the others ask their next point. Nobody who comes later can push out somebody who
comes first, so the end is what they would have got by choosing one after the other (serial dictatorship).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial import cKDTree

from missie_impact.design.nearest import NOBODY, Floats, Positions

DIGITS = 9  # distances are equal when they agree to so many decimals (standard deviations)
INDEPENDENT = 1e-10  # share of the largest variance below which a direction is a combination of others
FIRST_NEIGHBOURS = 8


@dataclass(frozen=True, slots=True)
class Points:
    """Treated units or controls: (n, d) coordinates, (n,) stratum, (n,) rank among equals, distinct."""

    coordinates: Floats
    stratum: Positions
    rank: Positions

    def take(self, rows: Positions) -> Points:
        """Return some of the units."""
        return Points(self.coordinates[rows], self.stratum[rows], self.rank[rows])


def whitened(columns: Floats, treated: NDArray[np.bool_], weight: Floats) -> Floats:
    """Turn (n, p) covariates into coordinates in which the plain distance is the Mahalanobis distance.

    The covariance is that within treated and controls, pooled, as in MatchIt; directions without variance are left out.
    """
    centred = columns.copy()
    for arm in (treated, ~treated):
        centred[arm] -= np.average(columns[arm], axis=0, weights=weight[arm])
    total = float(weight.sum())
    covariance = (centred * weight[:, None]).T @ centred / (total - 2.0)
    scale = np.sqrt(np.diag(covariance))
    scale[scale == 0.0] = 1.0
    values, vectors = linalg.eigh(covariance / np.outer(scale, scale))
    keep = values > INDEPENDENT * values.max(initial=0.0)
    if not keep.any():  # nothing varies: everybody stands in one place
        return np.zeros((len(columns), 1))
    return np.asarray(np.round(columns / scale @ (vectors[:, keep] / np.sqrt(values[keep])), DIGITS + 1))


def greedy_points(treated: Points, controls: Points, *, caliper: float = np.inf, ratio: int = 1) -> Positions:
    """Match without replacement in the order of ``rank``; (m, ratio) positions among the controls, -1 for none.

    Of points at the same distance the one whose first free control ranks first is taken; within a point, by rank.
    """
    chosen = np.full((len(treated.rank), ratio), NOBODY, dtype=np.intp)
    for mine, theirs in _by_stratum(treated.stratum, controls.stratum):
        free = theirs
        for turn in range(ratio):
            if not len(free):
                break
            crowd = _crowd(treated.take(mine), controls.take(free), caliper)
            found = crowd.settle()
            has = found >= 0
            chosen[mine[has], turn] = free[found[has]]
            free = np.delete(free, found[has])
    return chosen


def nearest_points(treated: Points, controls: Points, *, caliper: float = np.inf, ratio: int = 1) -> Positions:
    """Match with replacement; (m, ratio) positions among the controls, nearest first, -1 for none."""
    chosen = np.full((len(treated.rank), ratio), NOBODY, dtype=np.intp)
    for mine, theirs in _by_stratum(treated.stratum, controls.stratum):
        crowd = _crowd(treated.take(mine), controls.take(theirs), caliper)
        crowd.look(ratio)
        used = np.zeros(len(mine), dtype=np.intp)  # of the point that is being used up
        place = np.zeros(len(mine), dtype=np.intp)
        for turn in range(ratio):
            point = crowd.point(np.arange(len(mine)), place)
            has = point >= 0
            at = np.flatnonzero(has)
            chosen[mine[at], turn] = theirs[crowd.members[crowd.begin[point[at]] + used[at]]]
            used[at] += 1
            spent = at[used[at] >= crowd.size[point[at]]]
            place[spent], used[spent] = place[spent] + 1, 0
    return chosen


@dataclass(slots=True)
class _Crowd:
    """Treated units of a stratum and the points they may ask.

    Attributes
    ----------
    tree : of the distinct points of controls
    members, begin, size : controls of each point by rank, one after the other
    order : (points,) which point comes first at equal distance
    priority : (m,) who of the treated comes first
    spot : (m,) which of the distinct places of treated units each is at
    spots : coordinates of these places
    neighbours : (spots, k) points by distance, -1 beyond the caliper
    sure : (spots,) how many of them are known to be in their final order
    """

    tree: Any
    members: Positions
    begin: Positions
    size: Positions
    order: Positions
    priority: Positions
    spot: Positions
    spots: Floats
    caliper: float
    neighbours: Positions
    sure: Positions

    def look(self, k: int) -> None:
        """Find at least k neighbours of every place, those at equal distance with them."""
        n = len(self.size)
        wanted = min(max(FIRST_NEIGHBOURS, 2 * k), n)
        while True:
            distance, point = self.tree.query(self.spots, k=np.arange(1, wanted + 1))
            distance = np.round(distance, DIGITS)
            by = np.lexsort((self.order[point], distance), axis=1)
            point, distance = np.take_along_axis(point, by, 1), np.take_along_axis(distance, by, 1)
            complete = wanted == n
            # The last distance may go on beyond what was looked at, so its points are not in their order yet.
            sure = np.full(len(point), n) if complete else (distance < distance[:, -1:]).sum(axis=1)
            beyond = distance > self.caliper
            self.neighbours = np.where(beyond, NOBODY, point)
            self.sure = np.where(beyond.any(axis=1), np.maximum(sure, wanted), sure)
            if complete or int(self.sure.min()) >= min(k, n):
                return
            wanted = min(2 * wanted, n)

    def point(self, who: Positions, place: Positions) -> Positions:
        """The point at a place of each one's list; -1 at its end."""
        width = self.neighbours.shape[1]
        found = self.neighbours[self.spot[who], np.minimum(place, width - 1)]
        return np.where(place < width, found, NOBODY)

    def settle(self) -> Positions:
        """(m,) control of each treated unit, or -1."""
        m = len(self.priority)
        self.look(1)
        held = np.full(m, NOBODY, dtype=np.intp)
        place = np.zeros(m, dtype=np.intp)
        last = np.full(len(self.size), self.priority.max() + 1)  # a full point takes only who comes before this one
        asking = np.arange(m)
        while len(asking):
            while int((self.sure[self.spot[asking]] - place[asking]).min()) <= 0:
                reach = int(place[asking].max()) + 1
                if reach > len(self.size) or self.neighbours.shape[1] == len(self.size):
                    break
                self.look(reach)
            target = self.point(asking, place[asking])
            asking, target = asking[target >= 0], target[target >= 0]
            refused = self.priority[asking] > last[target]
            place[asking[refused]] += 1
            held[asking[~refused]] = target[~refused]
            out = self._push_out(held, np.unique(target[~refused]), last)
            held[out] = NOBODY
            place[out] += 1
            asking = np.concatenate([asking[refused], out])
        return self._controls(held)

    def _push_out(self, held: Positions, asked: Positions, last: Positions) -> Positions:
        """Treated units for whom the points that were asked have no control left."""
        at = np.flatnonzero(np.isin(held, asked)) if len(asked) else np.empty(0, dtype=np.intp)
        at = at[np.lexsort((self.priority[at], held[at]))]
        position = _count_within(held[at])
        size = self.size[held[at]]
        full = position == size - 1
        last[held[at][full]] = self.priority[at][full]
        return at[position >= size]

    def _controls(self, held: Positions) -> Positions:
        found = np.full(len(held), NOBODY, dtype=np.intp)
        at = np.flatnonzero(held >= 0)
        at = at[np.lexsort((self.priority[at], held[at]))]
        found[at] = self.members[self.begin[held[at]] + _count_within(held[at])]
        return found


def _crowd(treated: Points, controls: Points, caliper: float) -> _Crowd:
    points, which = _distinct(controls.coordinates)
    spots, spot = _distinct(treated.coordinates)
    members = np.lexsort((controls.rank, which)).astype(np.intp)
    size = np.bincount(which, minlength=len(points)).astype(np.intp)
    begin = (np.cumsum(size) - size).astype(np.intp)
    order = controls.rank[members[begin]]
    nothing = np.empty((len(spots), 0), dtype=np.intp)
    unknown = np.zeros(len(spots), dtype=np.intp)
    return _Crowd(cKDTree(points), members, begin, size, order, treated.rank, spot, spots, caliper, nothing, unknown)


def _distinct(places: Floats) -> tuple[Floats, Positions]:
    """Distinct rows in order, and which of them each row is; ``np.unique(axis=0)`` is several times slower."""
    order = np.lexsort(places.T[::-1])
    ordered = places[order]
    new = np.ones(len(places), dtype=np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    which = np.empty(len(places), dtype=np.intp)
    which[order] = np.cumsum(new) - 1
    return ordered[new], which


def _by_stratum(treated: Positions, controls: Positions) -> list[tuple[Positions, Positions]]:
    """Positions of treated units and of controls, for every stratum that has both."""
    mine, theirs = np.argsort(treated, kind="stable"), np.argsort(controls, kind="stable")
    both = np.intersect1d(treated, controls)
    of_mine = [np.searchsorted(treated[mine], both, side=side) for side in ("left", "right")]
    of_theirs = [np.searchsorted(controls[theirs], both, side=side) for side in ("left", "right")]
    bounds = zip(*of_mine, *of_theirs, strict=True)
    return [(mine[a:b].astype(np.intp), theirs[c:d].astype(np.intp)) for a, b, c, d in bounds]


def _count_within(group: Positions) -> Positions:
    """How many of the same group came before, for sorted groups."""
    new = np.ones(len(group), dtype=bool)
    new[1:] = group[1:] != group[:-1]
    begin = np.flatnonzero(new)
    return np.arange(len(group)) - begin[np.cumsum(new) - 1] if len(group) else group
