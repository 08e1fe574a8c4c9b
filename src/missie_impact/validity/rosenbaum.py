"""Bounds for matched pairs: how unequal the odds of treatment within a pair would have to be to undo a finding.

``gamma`` is the largest ratio of the two odds of treatment within a pair that an unobserved cause is allowed; 1 is
chance alone. A bound is the largest one-sided p value that such a cause could have left behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import scipy  # scipy.stats loads slowly: at its first use
from numpy.typing import ArrayLike, NDArray
from scipy import special

from missie_impact.design.design import Design
from missie_impact.errors import SettingsError

Floats = NDArray[np.float64]
Zeros = Literal["ranked", "dropped"]
GAMMAS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0)


def rosenbaum_bounds(design: Design, gammas: Sequence[float] = GAMMAS) -> pd.DataFrame:
    """Bound the p value of McNemar's test on a design of matched pairs with an outcome of 0 or 1.

    Parameters
    ----------
    design : matched one to one, without replacement
    gammas : largest ratio of the odds of treatment within a pair

    Returns
    -------
    DataFrame
        As :func:`rosenbaum_binary`, for more events among the treated, or for fewer where these have fewer; with
        treated_only and control_only, the pairs in which one member alone has the outcome.

    Raises
    ------
    SettingsError
        If the design does not consist of pairs, or no pair differs.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [1, 1, 0, 0, 0], "later": [1, 1, 0, 1, 0], "size": [3.0, 5.0, 3.1, 5.2, 9.0]})
    >>> risk = mi.RiskSet.from_frame(table, outcome="later", treatment="went")
    >>> design = mi.match(risk, on=["size"], method="mahalanobis")
    >>> mi.rosenbaum_bounds(design, gammas=(1.0, 2.0))["p_upper"].round(3).tolist()
    [0.5, 0.667]
    """
    if design.sets is None:
        raise SettingsError("bounds need matched pairs: expected a design of matched sets without replacement.")
    roles = design.risk.roles
    frame = design.risk.collect([roles.treatment, roles.outcome]).assign(set=design.sets)
    paired = frame[frame["set"] >= 0]
    sizes = paired.groupby("set")[roles.treatment].agg(["size", "sum"])
    wrong = int(((sizes["size"] != 2) | (sizes["sum"] != 1)).sum())
    if wrong:
        raise SettingsError(f"bounds need pairs of one treated and one other: found {wrong} sets that are not.")
    arms = paired.pivot(index="set", columns=roles.treatment, values=roles.outcome)
    alone = [int(((arms[one] == 1) & (arms[other] == 0)).sum()) for one, other in ((1, 0), (0, 1))]
    table = rosenbaum_binary(max(alone), min(alone), gammas)
    return table.assign(treated_only=alone[0], control_only=alone[1])


def rosenbaum_binary(
    treated_only: int, control_only: int, gammas: Sequence[float] = GAMMAS, *, continuity: bool = True
) -> pd.DataFrame:
    """Bound the p value of McNemar's test on pairs of which one member has the outcome.

    Parameters
    ----------
    treated_only, control_only : pairs in which only the treated, only the untreated member has the outcome; the larger
        is to be the first, else turn the outcome round
    continuity : whether the normal approximation moves half a count, as printed tables do

    Returns
    -------
    DataFrame
        gamma, p_upper (exact binomial), p_upper_normal.

    Raises
    ------
    SettingsError
        If no pair differs, or a gamma is below 1.

    References
    ----------
    Rosenbaum (2002), Observational Studies, section 4.3.2.

    Examples
    --------
    >>> import missie_impact as mi
    >>> mi.rosenbaum_binary(10, 2, gammas=(1.0, 2.0))["p_upper"].round(3).tolist()
    [0.019, 0.181]
    """
    if min(treated_only, control_only) < 0 or treated_only + control_only == 0:
        raise SettingsError("expected counts of at least zero and one pair that differs, found none.")
    pairs, gamma = treated_only + control_only, _gammas(gammas)
    share = gamma / (1 + gamma)
    exact = special.bdtrc(treated_only - 1, pairs, share) if treated_only else np.ones(len(gamma))
    moved = treated_only - (0.5 if continuity else 0.0)
    z = (moved - pairs * share) / np.sqrt(pairs * share * (1 - share))
    return pd.DataFrame({"gamma": gamma, "p_upper": exact, "p_upper_normal": special.ndtr(-z)})


def rosenbaum_signed_rank(
    difference: ArrayLike, gammas: Sequence[float] = GAMMAS, *, zeros: Zeros = "ranked"
) -> pd.DataFrame:
    """Bound the p value of Wilcoxon's signed-rank test on differences within pairs, treated minus untreated.

    Parameters
    ----------
    difference : (n,) one per pair; larger is what the treatment is thought to bring
    zeros : pairs without a difference are "ranked" and then given no weight (Rosenbaum), or "dropped" first (most
        software)

    Returns
    -------
    DataFrame
        gamma, n, statistic, expected, variance, z, p_upper.

    Raises
    ------
    SettingsError
        If differences are not finite or all zero, a gamma is below 1, or ``zeros`` is unknown.

    References
    ----------
    Rosenbaum (2002), Observational Studies, section 4.3.3.

    Examples
    --------
    >>> import missie_impact as mi
    >>> mi.rosenbaum_signed_rank([3, 2, 5, -1, 4], gammas=(1.0, 2.0))["p_upper"].round(3).tolist()
    [0.04, 0.126]
    """
    if zeros not in ("ranked", "dropped"):
        raise SettingsError(f"zeros: expected 'ranked' or 'dropped', found {zeros!r}.")
    values = _differences(difference)
    values = values[values != 0] if zeros == "dropped" else values
    rank = scipy.stats.rankdata(np.abs(values))
    rank[values == 0] = 0.0
    statistic, gamma = float(rank[values > 0].sum()), _gammas(gammas)
    share = gamma / (1 + gamma)
    expected, variance = share * rank.sum(), share * (1 - share) * (rank**2).sum()
    z = (statistic - expected) / np.sqrt(variance)
    columns = {"expected": expected, "variance": variance, "z": z, "p_upper": special.ndtr(-z)}
    return pd.DataFrame({"gamma": gamma, "n": len(values), "statistic": statistic, **columns})


def rosenbaum_effect(
    difference: ArrayLike, gammas: Sequence[float] = GAMMAS, *, step: float | None = None
) -> pd.DataFrame:
    """Bound the Hodges-Lehmann estimate of an additive effect on differences within pairs.

    Parameters
    ----------
    difference : (n,) one per pair, treated minus untreated
    step : None: the ends as Rosenbaum defines them. A number searches outward in steps of it from the estimate
        without pairs that do not differ, as R's ``rbounds::hlsens`` does with 0.1

    Returns
    -------
    DataFrame
        gamma, low, high.

    Raises
    ------
    SettingsError
        If differences are not finite or all zero, or a gamma is below 1.

    References
    ----------
    Rosenbaum (1993), JASA 88, 1250-1253.

    Examples
    --------
    >>> import missie_impact as mi
    >>> mi.rosenbaum_effect([3.0, 2.0, 5.0, -1.0, 4.0], gammas=(1.0, 2.0))[["low", "high"]].values.tolist()
    [[3.0, 3.0], [2.0, 3.5]]
    """
    values = _differences(difference)
    total, rows = len(values) * (len(values) + 1) / 2, []
    start = _level(values[values != 0], 0.5) if step is not None else 0.0
    for gamma in _gammas(gammas):
        share = float(gamma / (1 + gamma))
        ends = (_level(values, share), _level(values, 1 - share))
        if step is not None:
            ends = (start, start) if gamma == 1 else _stepped(values, start, step, share * total)
        rows.append((float(gamma), *ends))
    return pd.DataFrame(rows, columns=["gamma", "low", "high"])


def _level(values: Floats, share: float) -> float:
    """Shift at which the signed-rank statistic falls to a share of its largest value; the middle where it rests."""
    expected = share * len(values) * (len(values) + 1) / 2
    slack = 1e-9 * expected
    return (_last(values, expected + slack) + _last(values, expected - slack)) / 2


def _last(values: Floats, bound: float) -> float:
    """Largest shift at which the signed-rank statistic still exceeds a bound, by bisection."""
    low, high = float(values.min()) - 1.0, float(values.max()) + 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        low, high = (middle, high) if _statistic(values, middle) > bound else (low, middle)


def _stepped(values: Floats, start: float, step: float, largest: float) -> tuple[float, float]:
    """First points of a grid, outward from ``start``, that reach the bounds of the signed-rank statistic."""
    total, just = len(values) * (len(values) + 1) / 2, 1e-6 * step
    down, up = 0, 0
    while _statistic(values, start - down * step - just) < largest * (1 - 1e-12):
        down += 1
    while _statistic(values, start + up * step - just) > (total - largest) * (1 + 1e-12):
        up += 1
    return start - down * step, start + up * step


def _statistic(values: Floats, shift: float) -> float:
    moved = values - shift
    return float(scipy.stats.rankdata(np.abs(moved))[moved > 0].sum())


def _differences(difference: ArrayLike) -> Floats:
    values = np.asarray(difference, dtype=np.float64)
    missing = len(values) - int(np.isfinite(values).sum())
    if missing or not values.any():
        raise SettingsError(f"expected finite differences, not all zero; found {missing} of {len(values)} not finite.")
    return values


def _gammas(gammas: Sequence[float]) -> Floats:
    values = np.asarray(gammas, dtype=np.float64)
    if not len(values) or (values < 1).any():
        raise SettingsError("gammas: expected numbers of at least 1, the largest ratio of the odds within a pair.")
    return values
