"""Nearest-neighbour matching of treated units with untreated ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from missie_impact.design.design import Design, Estimand, WeightModel, flow_of, left_out, reason_of
from missie_impact.design.mahalanobis import Points, greedy_points, nearest_points, whitened
from missie_impact.design.nearest import NOBODY, Side, greedy, nearest
from missie_impact.design.propensity import all_terms, fit_propensity, score_model
from missie_impact.design.support import Support, support_of
from missie_impact.design.units import Floats, Mask, Positions, Units, read_units
from missie_impact.errors import NoParticipantError, SettingsError
from missie_impact.numerics.design import Column
from missie_impact.risksets.riskset import RiskSet

Method = Literal["propensity", "linear_propensity", "mahalanobis"]
MAX_COLUMNS = 60  # of a Mahalanobis distance: beyond it all points are about equally far
ALIKE, ALIKE_ASKED = 4, 9  # controls near a control, and how many are looked at: it is one of them itself


def match(
    risk: RiskSet,
    *,
    on: Sequence[str],
    method: Method = "propensity",
    exact: Sequence[str] = (),
    caliper_sd: float | None = None,
    ratio: int = 1,
    replace: bool = False,
    seed: int | None = None,
) -> Design:
    """Match each treated unit with its nearest untreated ones, greedily, without looking at the outcome.

    Treated units choose one after the other: the largest propensity first, or for ``method="mahalanobis"`` in the
    order of the table. With ``ratio`` above one everybody gets a first control before anybody gets a second.

    Parameters
    ----------
    on : controls to compare on, in the language of controls ("log_workers", "C(year)", "log(x)", "a:b", ...)
    method : "propensity": distance on the probability of a logit (MatchIt's default); "linear_propensity": on its
        logit; "mahalanobis": on the covariates themselves
    exact : columns on which a treated unit and its control agree. The mission year is always one of them where the
        risk set has a year, and the country group in trials of pairs
    caliper_sd : largest distance of a pair, in standard deviations of the distance over all units (Mahalanobis: in
        standard deviations of the covariates). Treated units without a control within it are left out, and the
        estimand is called "att_on_support"
    ratio : controls per treated unit, as far as there are
    replace : whether a control can serve several treated units
    seed : None gives equals in the order of the table, as the reference programs do. A number applies the seeded
        rule: equals by their covariates, then by a draw over candidates sorted by key, whatever the order of rows

    Returns
    -------
    Design
        Weights (treated 1; controls the sum over their treated units of one over the number of controls of each,
        scaled to the number of controls used), matched sets, pairs, score, common support, flow.

    Raises
    ------
    NoParticipantError
        If no treated unit finds a control.
    SettingsError
        If a setting is out of range, or the risk set holds frequency weights: a row that stands for two units cannot
        be matched once.
    SeparationError
        If terms of the propensity separate treated from untreated units.

    Notes
    -----
    A unit is a row, in exit trials a pair and trial with all its years. A firm is never its own control. Without
    replacement, rows of a firm that is treated within a stratum are nobody's controls in it; with replacement they may
    serve other firms. Errors for matched designs: `docs/methods/design.md`.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [1, 1, 0, 0, 0], "later": [1, 1, 0, 1, 0], "size": [3.0, 5.0, 3.1, 5.2, 9.0]})
    >>> risk = mi.RiskSet.from_frame(table, outcome="later", treatment="went")
    >>> design = mi.match(risk, on=["size"], method="mahalanobis")
    >>> design.weight.tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0]
    """
    _check(method, caliper_sd, ratio)
    units = read_units(risk, on, exact)
    if units.frequency is not None and (units.frequency != 1.0).any():
        raise SettingsError(
            "the risk set holds frequency weights other than one, and a row that stands for several units cannot be "
            "matched once. Write these rows out, or use weight(...)."
        )
    candidates = _candidates(units, lend=replace)
    distance = _by_points(units, seed) if method == "mahalanobis" else _by_score(units, seed, method)
    rows = units.first
    mine = rows[units.treated[rows] & distance.comparable[rows]]
    theirs = rows[candidates[rows] & distance.comparable[rows]]
    caliper = np.inf if caliper_sd is None else caliper_sd * distance.deviation
    more = _most_own(units, mine, theirs) if replace else 0
    found = distance.pair(mine, theirs, caliper, ratio + more, replace)
    found = _of_others(units, mine, theirs, found)[:, :ratio] if more else found
    if not len(mine) or not (found >= 0).any():
        raise NoParticipantError(
            f"no treated unit of {int(units.treated[rows].sum())} finds a control: expected untreated units in the "
            f"strata {list(units.exact)} and within the caliper. Ask for fewer strata or a wider caliper."
        )
    pairs = _pairs(mine, theirs, found)
    weight = _weights(units, pairs)
    lost = left_out(units, weight)
    reason = reason_of(lost, "treated without a match", "not chosen as a control")
    estimand: Estimand = "att_on_support" if lost[0] else "att"
    support = None if distance.score is None else _support(units, distance.score, weight)
    return Design(
        risk=risk,
        weight=weight,
        estimand=estimand,
        method=_words(method, ratio, replace),
        on=tuple(on),
        exact=units.exact,
        sets=None if replace else _sets(units, pairs),
        pairs=pairs,
        score=distance.score,
        score_model=distance.model,
        alike=_alike(units, distance, theirs, pairs) if replace else None,
        support=support,
        flow=flow_of(units, weight, reason),
        notes=(*units.notes, *distance.notes, *_own_firm_note(units, candidates), *(support.notes if support else ())),
        caliper=caliper_sd,
        ratio=ratio,
        replace=replace,
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class _Distance:
    """How far units are from each other.

    Attributes
    ----------
    pair : (treated rows, candidate rows, caliper, ratio, replace) -> positions among the candidates
    deviation : what one standard deviation of the caliper is
    comparable : (n,) rows that can be matched at all
    score : (n,) propensity or None
    notes : what a reader must know
    model : of the propensity, or None
    """

    pair: Callable[[Positions, Positions, float, int, bool], Positions]
    deviation: float
    comparable: Mask
    score: Floats | None
    notes: tuple[str, ...]
    model: WeightModel | None = None


def _check(method: str, caliper_sd: float | None, ratio: int) -> None:
    if method not in get_args(Method):
        raise SettingsError(f"method: expected one of {list(get_args(Method))}, found {method!r}.")
    if caliper_sd is not None and not caliper_sd >= 0:
        raise SettingsError(f"caliper_sd: expected standard deviations of at least 0, found {caliper_sd!r}.")
    if ratio < 1 or ratio != int(ratio):
        raise SettingsError(f"ratio: expected a whole number of controls of at least 1, found {ratio!r}.")


def _by_score(units: Units, seed: int | None, method: str) -> _Distance:
    fitted = fit_propensity(units)
    value = fitted.score if method == "propensity" else fitted.linear
    here = value[units.first]
    deviation = float(np.std(here[np.isfinite(here)], ddof=1))
    rank = _ranks(units, value, seed)

    def pair(mine: Positions, theirs: Positions, caliper: float, ratio: int, replace: bool) -> Positions:
        treated = Side(value[mine], units.stratum[mine], rank[mine])
        controls = Side(value[theirs], units.stratum[theirs], rank[theirs])
        return (nearest if replace else greedy)(treated, controls, caliper=caliper, ratio=ratio)

    model = score_model(fitted, units, np.zeros(units.n))
    return _Distance(pair, deviation, fitted.comparable, fitted.score, fitted.notes, model)


def _by_points(units: Units, seed: int | None) -> _Distance:
    columns = all_terms(units)
    if columns.n_columns - 1 > MAX_COLUMNS:
        raise SettingsError(
            f"a Mahalanobis distance on {columns.n_columns - 1} columns: in so many directions all units are about "
            f"equally far. Name terms with at most {MAX_COLUMNS} columns, or match on the propensity."
        )
    written = columns.written_out(units.first)[:, 1:]
    own = units.own_weight()[units.first]
    made = whitened(written, units.treated[units.first], own)
    points = np.zeros((units.n, made.shape[1]))
    points[units.first] = made
    rank = _ranks(units, None, seed)

    def pair(mine: Positions, theirs: Positions, caliper: float, ratio: int, replace: bool) -> Positions:
        treated = Points(points[mine], units.stratum[mine], rank[mine])
        controls = Points(points[theirs], units.stratum[theirs], rank[theirs])
        return (nearest_points if replace else greedy_points)(treated, controls, caliper=caliper, ratio=ratio)

    return _Distance(pair, 1.0, np.ones(units.n, dtype=bool), None, ())


def _candidates(units: Units, *, lend: bool) -> Mask:
    """Untreated rows that weigh something in the risk set.

    Unless firms ``lend``, those of firms treated in the same stratum are none: who takes a control from the others
    would have to know which of them may still go to whom.
    """
    free = ~units.treated
    if units.probability is not None:
        free = free & (units.probability > 0)
    if units.firm is None or lend:
        return free
    key = _firm_in_stratum(units)
    return free & ~np.isin(key, key[units.treated])


def _firm_in_stratum(units: Units) -> Positions:
    firm = np.arange(units.n) if units.firm is None else units.firm
    return units.stratum.astype(np.int64) * (int(firm.max()) + 1) + firm


def _most_own(units: Units, mine: Positions, theirs: Positions) -> int:
    """Most candidates that a treated unit finds in its own firm and stratum."""
    if units.firm is None:
        return 0
    key = _firm_in_stratum(units)
    own, number = np.unique(key[theirs], return_counts=True)
    return int(number[np.isin(own, key[mine])].max(initial=0))


def _of_others(units: Units, mine: Positions, theirs: Positions, found: Positions) -> Positions:
    """Put candidates of the treated unit's own firm out, the others moving up."""
    key = _firm_in_stratum(units)
    other = (found != NOBODY) & (key[theirs[found]] != key[mine][:, None])
    order = np.argsort(~other, axis=1, kind="stable")
    return np.take_along_axis(np.where(other, found, NOBODY), order, axis=1)


def _own_firm_note(units: Units, candidates: Mask) -> tuple[str, ...]:
    own = int((~units.treated & ~candidates)[units.first].sum())
    if not own or units.firm is None:
        return ()
    return (f"{own:,} untreated units of firms treated in the same stratum are no controls; they may be those of other "
            "firms with replace=True",)  # fmt: skip


def _ranks(units: Units, score: Floats | None, seed: int | None) -> Positions:
    """Who comes first among equals: distinct ranks of n rows."""
    if seed is None:
        return units.risk.table_order()
    drawn = np.random.default_rng(seed).random(units.n)
    tied = np.ones(units.n, dtype=bool)
    if score is not None:  # only equals need an order, and there are few
        order = np.argsort(score, kind="stable")
        same = score[order][1:] == score[order][:-1]
        tied[order] = np.append(same, False) | np.append(False, same)
    rows = np.flatnonzero(tied)
    keys = [v.values[rows] if isinstance(v, Column) else v.codes[rows] for v in units.variables]
    rank = np.empty(units.n, dtype=np.intp)
    first = np.flatnonzero(~tied)
    rank[first[np.argsort(drawn[first])]] = np.arange(len(first))
    rank[rows[np.lexsort((drawn[rows], *reversed(keys)))]] = len(first) + np.arange(len(rows))
    return rank


def _pairs(mine: Positions, theirs: Positions, found: Positions) -> Positions:
    at, turn = np.nonzero(found != NOBODY)
    return np.column_stack([mine[at], theirs[found[at, turn]]]).astype(np.intp)


def _alike(units: Units, distance: _Distance, theirs: Positions, pairs: Positions) -> Positions:
    """Return the controls in use, each with the nearest other ones of other firms, within its stratum."""
    used = np.unique(pairs[:, 1])
    found = distance.pair(used, theirs, np.inf, ALIKE_ASKED, True)
    near = np.where(found >= 0, theirs[found], NOBODY)
    own = np.arange(units.n) if units.firm is None else units.firm
    other = (near >= 0) & (near != used[:, None]) & (own[near] != own[used][:, None])
    order = np.argsort(~other, axis=1, kind="stable")[:, :ALIKE]
    kept = np.where(np.take_along_axis(other, order, 1), np.take_along_axis(near, order, 1), NOBODY)
    return np.column_stack([used, kept]).astype(np.intp)


def _weights(units: Units, pairs: Positions) -> Floats:
    """Treated 1; controls by MatchIt's rule, divided by their own sampling weight and times that of their treated."""
    own = np.ones(units.n) if units.probability is None else units.probability
    treated, control = pairs.T
    number = np.bincount(treated, minlength=units.n)
    weight = np.bincount(control, own[treated] / number[treated], units.n)
    used = weight > 0
    weight[used] *= used.sum() / (number > 0).sum() / own[used]
    weight[number > 0] = 1.0
    return np.asarray(weight[units.first][units.unit])


def _sets(units: Units, pairs: Positions) -> Positions:
    sets = np.full(units.n, NOBODY, dtype=np.intp)
    number = np.unique(pairs[:, 0], return_inverse=True)[1].reshape(-1)
    sets[pairs[:, 0]], sets[pairs[:, 1]] = number, number
    return sets[units.first][units.unit]


def _support(units: Units, score: Floats, weight: Floats) -> Support:
    first, own = units.first, units.own_weight()[units.first]
    return support_of(score[first], units.treated[first], own, own * weight[first])


def _words(method: str, ratio: int, replace: bool) -> str:
    names = {"propensity": "propensity score", "linear_propensity": "logit of the propensity score"}
    distance = names.get(method, "Mahalanobis distance")
    return f"nearest neighbour on the {distance}, 1:{ratio}, {'with' if replace else 'without'} replacement"
