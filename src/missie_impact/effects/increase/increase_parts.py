"""The measures of an increase: each its value and what every row adds to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.rows import Mask, Rows
from missie_impact.errors import ConvergenceError, NoEventError, NoParticipantError, SeparationError, SettingsError
from missie_impact.numerics.cells import Column, Floats
from missie_impact.numerics.common_ratio import common_ratio
from missie_impact.numerics.imputed import Family, Imputed, comparable, impute

Measure = Literal["amounts", "winsorised", "growers", "extensive", "intensive", "yearly"]
SCALES: dict[Measure, tuple[str, ...]] = {
    "amounts": ("att_eur", "mean_eur_with", "mean_eur_without", "mean_ratio"),
    "winsorised": ("att_eur_winsorised", "mean_ratio_winsorised"),
    "growers": ("grower_share_difference", "grower_share_with", "grower_share_without"),
    "extensive": ("export_share_difference", "export_share_with", "export_share_without"),
    "intensive": ("mean_ratio_of_exporters",),
    "yearly": ("mean_ratio_yearly", "mean_ratio_yearly_winsorised"),
}
MEASURES: tuple[Measure, ...] = get_args(Measure)


def scales_of(measures: Sequence[Measure]) -> tuple[str, ...]:
    """Names of the scales of some measures, in the order of ``MEASURES``."""
    return tuple(scale for name in MEASURES if name in measures for scale in SCALES[name])


@dataclass(frozen=True, slots=True)
class Amounts:
    """Yearly exports of n rows in EUR.

    Attributes
    ----------
    before, after : (n, years)
    threshold : of the winsorised mean after t, and of the winsorised years
    cells : (n,) market, trial year and trend class
    firm : (n,) number of the firm, or None
    path_counts : whether models of amounts hold what pairs exported before t
    leave_one_out : whether the yearly ratios take their errors from leaving out each pair
    measures : those asked for
    """

    before: Floats
    after: Floats
    threshold: float
    cells: NDArray[np.intp]
    firm: NDArray[np.intp] | None
    path_counts: bool = True
    leave_one_out: bool = True
    measures: tuple[Measure, ...] = MEASURES


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of scales, ratios as themselves; influence (n, s), of ratios on the logarithm; what a reader must know.

    ``used`` (n,) are the rows compared: those counted.
    """

    value: Floats
    influence: Floats
    notes: tuple[str, ...]
    used: Mask


def measure(rows: Rows, group: Mask, weight: Floats, amounts: Amounts) -> Measured:
    """All measures of one group."""
    level = amounts.after.mean(axis=1)
    notes: list[str] = []
    new = group & (weight > 0) & ~(amounts.before > 0).any(axis=1)
    if new.any():
        notes.append(
            f"{int((new & rows.treated).sum())} treated and {int((new & ~rows.treated).sum())} other pairs without "
            "exports in any year before t are not compared: whether they enter is the question of market_entry"
        )
    group = group & ~new
    there = group & (weight > 0)
    used = there & (~rows.treated | comparable(rows.treated, rows.variables, there))
    starters = group & (amounts.before[:, -1] == 0)
    whole, cut = ((_with_path(rows, each) if amounts.path_counts else rows) for each in _both(amounts))
    makers: dict[Measure, Callable[[], Floats]] = {
        "amounts": lambda: _amount(whole, group, weight, level, notes),
        "winsorised": lambda: _winsorised(cut, group, weight, np.minimum(level, amounts.threshold), amounts.threshold),
        "growers": lambda: _shares(rows, group, weight, rows.y, notes, "growers"),
        "extensive": lambda: _shares(rows, starters, weight, (level > 0).astype(np.float64), notes, "extensive margin"),
        "intensive": lambda: _ratio_only(whole, group & (level > 0), weight, level, notes),
        "yearly": lambda: np.concatenate([_row(_yearly(rows, group, weight, each, notes)) for each in _both(amounts)]),
    }
    parts = [makers[name]() for name in MEASURES if name in amounts.measures]
    notes += _tails(rows, group, weight, level, amounts.firm)
    stacked = np.concatenate(parts)
    return Measured(stacked[:, 0], stacked[:, 1:].T, tuple(dict.fromkeys(notes)), used)


def yearly_only(rows: Rows, group: Mask, weight: Floats, amounts: Amounts) -> Measured:
    """The ratios from yearly levels with fixed effects alone; errors of the fit pass through."""
    notes: list[str] = []
    found = [_row(_fixed_effects(rows, group, weight, each, notes)) for each in _both(amounts)]
    stacked = np.concatenate(found)
    used = group & (weight > 0) & (amounts.before > 0).any(axis=1)
    return Measured(stacked[:, 0], stacked[:, 1:].T, tuple(dict.fromkeys(notes)), used)


def _both(amounts: Amounts) -> tuple[Amounts, Amounts]:
    """The yearly exports as they are, and cut at the threshold."""
    before, after = (np.minimum(years, amounts.threshold) for years in (amounts.before, amounts.after))
    return amounts, replace(amounts, before=before, after=after)


def _with_path(rows: Rows, amounts: Amounts) -> Rows:
    return replace(rows, variables=(*rows.variables, *_path(amounts)))


def _path(amounts: Amounts) -> tuple[Column, ...]:
    """What pairs exported before t, for the models of amounts: few firms carry them, and their own past says most."""
    mean = np.log1p(amounts.before.mean(axis=1))
    years = [Column(f"path_{j}", np.log1p(amounts.before[:, j])) for j in range(amounts.before.shape[1])]
    return (*years, Column("path_mean", mean), Column("path_mean_squared", mean**2))


def _row(found: tuple[float, Floats]) -> Floats:
    return np.concatenate([[found[0]], found[1]])[None, :]


def _winsorised(rows: Rows, group: Mask, weight: Floats, y: Floats, threshold: float) -> Floats:
    """Effect and ratio. What is cut at an amount is a share of it, which no factor can raise above one."""
    lines = _amount(rows, group, weight, y / threshold, [], "share")[[0, 3]]
    lines[0] *= threshold
    return lines


def _amount(rows: Rows, group: Mask, weight: Floats, y: Floats, notes: list[str], family: Family = "poisson") -> Floats:
    """att, with, without, ratio; one line each: the value, then the influence of every row."""
    found = impute(y, rows.treated, rows.variables, weight, group, family)
    if found.dropped:
        notes.append(
            f"{found.dropped} treated pairs at a level of a control where nobody is untreated are not averaged over: "
            "the effect on the treated with comparable pairs"
        )
    one, zero = found.influence_observed, found.influence_predicted
    if found.observed <= 0 or found.predicted <= 0:
        ratio = _nothing(rows.n, 1)[0]
    else:
        ratio = np.concatenate([[found.observed / found.predicted], one / found.observed - zero / found.predicted])
    return np.vstack([_difference(found), ratio])


def _difference(found: Imputed) -> Floats:
    one, zero = found.influence_observed, found.influence_predicted
    return np.vstack([
        np.concatenate([[found.observed - found.predicted], one - zero]),
        np.concatenate([[found.observed], one]),
        np.concatenate([[found.predicted], zero]),
    ])  # fmt: skip


def _shares(rows: Rows, group: Mask, weight: Floats, y: Floats, notes: list[str], what: str) -> Floats:
    def make() -> Floats:
        found = impute(y, rows.treated, rows.variables, weight, group, "logit")
        lines = _difference(found)
        if found.observed in (0.0, 1.0):  # no treated row varies: an error would be that of the prediction alone
            notes.append(f"{what}: {'all' if found.observed else 'none'} of the treated do; no error is given")
            lines[:2, 1:] = np.nan
        return lines

    return _tried(make, rows.n, 3, notes, what)


def _ratio_only(rows: Rows, group: Mask, weight: Floats, level: Floats, notes: list[str]) -> Floats:
    notes.append("mean_ratio_of_exporters compares pairs that export after t: a comparison, not an effect")
    return _tried(lambda: _amount(rows, group, weight, level, [])[[3]], rows.n, 1, notes, "intensive margin")


def _yearly(rows: Rows, group: Mask, weight: Floats, amounts: Amounts, notes: list[str]) -> tuple[float, Floats]:
    line = _tried(lambda: _row(_fixed_effects(rows, group, weight, amounts, notes)), rows.n, 1, notes, "yearly Poisson")
    return float(line[0, 0]), line[0, 1:]


def _fixed_effects(rows: Rows, group: Mask, weight: Floats, amounts: Amounts, notes: list[str]) -> tuple[float, Floats]:
    """Ratio by Poisson on yearly levels; effects of pair and trial, and of market, trial year, trend class and year."""
    based = group & (weight > 0) & (amounts.before > 0).any(axis=1)
    k = np.flatnonzero(based)
    treated = rows.treated[k]
    if not treated.any() or treated.all():
        raise NoParticipantError("no treated rows" if not treated.any() else "no untreated rows")
    early, late = (weight[k] * years[k].sum(axis=1) for years in (amounts.before, amounts.after))
    copies = None if rows.frequency is None else rows.frequency[k]
    found = common_ratio(early, late, treated, amounts.cells[k], copies, leave_one_out=amounts.leave_one_out)
    gone = int((group & (weight > 0)).sum()) - len(k)
    notes.append(f"mean_ratio_yearly: {gone} pairs without exports before t belong to the extensive margin")
    mute = int((treated & ~found.informative).sum())
    if mute:
        notes.append(
            f"mean_ratio_yearly: {mute} treated pairs say nothing: nobody of their market, trial year and trend class "
            "is untreated and exports"
        )
    influence = np.zeros(rows.n)
    influence[k] = found.influence
    return float(np.exp(found.log_ratio)), influence


def _tried(make: Callable[[], Floats], n: int, size: int, notes: list[str], what: str) -> Floats:
    """The measure, or NaN with its reason among the notes."""
    try:
        return make()
    except (NoParticipantError, NoEventError, ConvergenceError, SeparationError, SettingsError) as error:
        notes.append(f"{what}: no estimate, {str(error).split('.')[0]}")
        return _nothing(n, size)


def _nothing(n: int, size: int) -> Floats:
    return np.full((size, n + 1), np.nan)


def _tails(rows: Rows, group: Mask, weight: Floats, level: Floats, firm: NDArray[np.intp] | None) -> list[str]:
    """Shares of the largest firms in the exports of the treated, which an amount is never shown without."""
    chosen = group & rows.treated & (weight > 0)
    if firm is None or not chosen.any() or not level[chosen].any():
        return ["amounts in EUR: indicative, heavy tail"]
    totals = np.sort(np.bincount(firm[chosen], (weight * level)[chosen]))[::-1]
    share = [totals[:top].sum() / totals.sum() for top in (1, 5, 10)]
    return [
        "amounts in EUR: indicative, heavy tail; share of the largest 1, 5 and 10 firms in the exports of the treated "
        f"after t: {share[0]:.0%}, {share[1]:.0%}, {share[2]:.0%}"
    ]
