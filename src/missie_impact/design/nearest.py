"""Greedy matching on one number, without a loop over rows.

Treated units choose one after the other, the largest score first, each the nearest control that is still free. Walking
down the scores, free controls that have been passed lie on a stack with the nearest on top, and the nearest free one
below is the head of a queue. If it were known who takes from above and who from below, one pass of cumulative maxima
would give the queue's head, and one of nested brackets the top of the stack, at every moment. So guess, compute, let
everyone choose again by what was computed, and repeat until nobody changes. The first wrong choice is right after every
round, hence the end is the greedy matching itself, and in practice a handful of rounds gets there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from missie_impact.errors import ConvergenceError

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Mask = NDArray[np.bool_]

NOBODY = -1
_NONE, _BELOW, _ABOVE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Side:
    """Treated units or controls.

    Attributes
    ----------
    score : (n,) finite
    stratum : (n,) only units of one stratum are matched
    rank : (n,) who comes first among equals, distinct
    """

    score: Floats
    stratum: Positions
    rank: Positions

    def take(self, rows: Positions | Mask) -> Side:
        """Return some of the units."""
        return Side(self.score[rows], self.stratum[rows], self.rank[rows])


def greedy(treated: Side, controls: Side, *, caliper: float = np.inf, ratio: int = 1) -> Positions:
    """Match without replacement: treated by falling score, ties by rank; nearest free control, ties by rank.

    With a ratio above one everybody gets a first control before anybody gets a second one, as in MatchIt.

    Parameters
    ----------
    caliper : largest distance of a pair
    ratio : controls per treated unit

    Returns
    -------
    (m, ratio) positions among the controls, -1 where none was left
    """
    chosen = np.full((len(treated.score), ratio), NOBODY, dtype=np.intp)
    free = np.flatnonzero(np.isin(controls.stratum, treated.stratum))
    for turn in range(ratio):
        if not len(free):
            break
        found = _one_each(treated, controls.take(free), caliper)
        has = found >= 0
        chosen[has, turn] = free[found[has]]
        free = np.delete(free, found[has])
    return chosen


def nearest(treated: Side, controls: Side, *, caliper: float = np.inf, ratio: int = 1) -> Positions:
    """Match with replacement: the nearest controls of each treated unit, ties by rank.

    Returns
    -------
    (m, ratio) positions among the controls, nearest first, -1 where there is no further one
    """
    line = _line_up(treated, controls)
    below, above = line.first.copy(), line.first - 1
    chosen = np.full((len(treated.score), ratio), NOBODY, dtype=np.intp)
    # Among equals above, those of lowest rank come first, so the way up goes through each clump in its own order.
    for turn in range(ratio):
        up = np.where(above >= line.start, line.upward[np.maximum(above, 0)], NOBODY)
        down = np.where(below < line.end, below, NOBODY)
        choice = line.choose(down, up, caliper)
        taken = np.where(choice == _BELOW, down, np.where(choice == _ABOVE, up, NOBODY))
        has = taken >= 0
        chosen[line.treated[has], turn] = line.controls[taken[has]]
        below, above = below + (choice == _BELOW), above - (choice == _ABOVE)
    return chosen


@dataclass(frozen=True, slots=True)
class _Line:
    """Both sides lined up by stratum, falling score, rank. Lines of m treated units and n controls.

    Attributes
    ----------
    treated, controls : positions in the order of the line
    score, place, number : (m,) score, rank and stratum number of the treated
    c_score, c_place, c_number : (n,) the same of the controls
    first : (m,) the first control of the line that does not lie above; start, end : bounds of its stratum
    upward : (n,) the line with each clump of equal scores turned round: what a walk upwards meets first
    """

    treated: Positions
    controls: Positions
    score: Floats
    number: Positions
    c_score: Floats
    c_place: Positions
    c_number: Positions
    first: Positions
    start: Positions
    end: Positions
    upward: Positions

    def choose(self, down: Positions, up: Positions, caliper: float) -> NDArray[np.int8]:
        """Whether the control below or above is nearer, by their places in the line (-1: none there)."""
        below, above = np.full(len(down), np.inf), np.full(len(up), np.inf)
        has, over = down >= 0, up >= 0
        below[has] = np.abs(self.c_score[down[has]] - self.score[has])
        above[over] = np.abs(self.c_score[up[over]] - self.score[over])
        below[below > caliper], above[above > caliper] = np.inf, np.inf
        first = self.c_place[down] < self.c_place[up]
        choice = np.where((below < above) | ((below == above) & first), _BELOW, _ABOVE)
        return np.where(np.isinf(below) & np.isinf(above), _NONE, choice).astype(np.int8)


def _line_up(treated: Side, controls: Side) -> _Line:
    m = len(treated.score)
    stratum = np.concatenate([treated.stratum, controls.stratum])
    number = np.unique(stratum, return_inverse=True)[1].reshape(-1).astype(np.intp)
    score = np.concatenate([treated.score, controls.score])
    kind = np.repeat([0, 1], [m, len(controls.score)])  # a control of equal score lies below
    order = np.lexsort((np.concatenate([treated.rank, controls.rank]), kind, -score, number))
    is_control = order >= m
    who, cont = order[~is_control], order[is_control]
    first = np.cumsum(is_control)[~is_control]
    sizes = np.bincount(number[cont], minlength=int(number.max(initial=0)) + 1)
    ends = np.cumsum(sizes)
    c_score, c_number = score[cont], number[cont]
    new = np.ones(len(cont), dtype=bool)
    new[1:] = (c_score[1:] != c_score[:-1]) | (c_number[1:] != c_number[:-1])
    begin = np.flatnonzero(new)
    clump = np.cumsum(new) - 1
    upward = begin[clump] + np.append(begin[1:], len(cont))[clump] - 1 - np.arange(len(cont))
    return _Line(
        treated=who,
        controls=cont - m,
        score=score[who],
        number=number[who],
        c_score=c_score,
        c_place=controls.rank[cont - m],
        c_number=c_number,
        first=first.astype(np.intp),
        start=(ends - sizes)[number[who]],
        end=ends[number[who]],
        upward=upward,
    )


def _one_each(treated: Side, controls: Side, caliper: float) -> Positions:
    """Greedy matching with one control each: (m,) positions among the controls or -1."""
    line = _line_up(treated, controls)
    m = len(line.treated)
    down = np.where(line.first < line.end, line.first, NOBODY)
    up = np.where(line.first > line.start, line.upward[np.maximum(line.first - 1, 0)], NOBODY)
    choice = line.choose(down, up, caliper)
    for _ in range(m + 2):
        down, up = _heads(line, choice)
        again = line.choose(down, up, caliper)
        if np.array_equal(again, choice):
            break
        choice = again
    else:  # cannot happen: each round settles at least one more unit
        raise ConvergenceError(f"matching did not settle in {m + 2} rounds; please report this.")
    place = np.where(choice == _BELOW, down, np.where(choice == _ABOVE, up, NOBODY))
    chosen = np.full(m, NOBODY, dtype=np.intp)
    has = place >= 0
    chosen[line.treated[has]] = line.controls[place[has]]
    return chosen


def _heads(line: _Line, choice: NDArray[np.int8]) -> tuple[Positions, Positions]:
    """What every treated unit finds below and above at its turn if all chose as given."""
    m, n = len(line.treated), len(line.controls)
    takers = np.flatnonzero(choice == _BELOW)
    # The k-th taker from below takes the first control not above it that the k takers before it have left.
    turn, apart = np.arange(len(takers)), line.number[takers] * (m + n + 1)
    taken = turn + np.maximum.accumulate(line.first[takers] - turn + apart) - apart
    after = np.zeros(m, dtype=np.intp)
    after[takers] = np.minimum(taken + 1, line.end[takers])
    before = np.concatenate([[0], np.maximum.accumulate(after)[:-1]]) if m else after
    head = np.maximum(line.first, before)
    gone = np.zeros(n, dtype=bool)
    gone[taken[taken < line.end[takers]]] = True
    return np.where(head < line.end, head, NOBODY), _tops(line, choice, gone)


def _tops(line: _Line, choice: NDArray[np.int8], gone: Mask) -> Positions:
    """The nearest free control above each treated unit at its turn: top of a stack of those that were passed."""
    m = len(line.treated)
    turn = np.searchsorted(line.first, np.arange(len(gone)), side="right")  # when a control is passed
    passed = ~gone & (turn < m)
    passed &= line.number[np.minimum(turn, m - 1)] == line.c_number
    place = line.upward[passed[line.upward]]
    time = turn[place]
    pushed = np.cumsum(np.bincount(time, minlength=m))  # up to and with each turn
    pops = choice == _ABOVE
    popped = np.cumsum(pops) - pops  # before each turn
    origin = np.searchsorted(line.number, line.number, side="left")  # first turn of the stratum
    base = np.concatenate([[0], pushed])[origin]
    level = pushed - base - (popped - popped[origin])
    # Taking from an empty stack takes nothing: such turns are added back.
    lost = np.where(pops, 1 - level, 0) + line.number * (m + 1)
    lost = np.maximum.accumulate(np.concatenate([[0], lost[:-1]]))
    empty = np.maximum(lost - line.number * (m + 1), 0)
    level = level + empty
    rise = np.arange(len(place)) + 1 - base[time] - (popped - popped[origin])[time] + empty[time]
    order = np.argsort(rise, kind="stable")
    width = len(place) + 1
    found = np.searchsorted(rise[order] * width + order, level * width + pushed - 1, side="right") - 1
    top = np.full(m, NOBODY, dtype=np.intp)
    has = level > 0
    top[has] = place[order[found[has]]]
    return top
