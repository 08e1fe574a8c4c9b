"""Which rows, strata and columns a conditional likelihood can use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from missie_impact.effects.fitting.rows import Rows
from missie_impact.effects.result import TermName
from missie_impact.errors import CollinearityError, NoEventError, NoParticipantError, SettingsError
from missie_impact.numerics.cells import Column, Factor

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

WITHIN_CONTROLS = ("log_pair_exports", "pair_growth", "pair_pattern", "neighbour_trade", "market_popularity")
"""Default controls that differ between the markets of a firm and year."""

PIVOT = 1e-9
MOST_COLUMNS = 400


@dataclass(frozen=True, slots=True)
class Stratified:
    """Rows and columns of a conditional likelihood.

    Attributes
    ----------
    positions : (n,) rows of the risk set in strata with both events and other rows
    x : (n, k) covariates, the exposure first
    terms : (k,) their names
    left_out : variable, level and reason of what has no coefficient
    same : controls that do not vary within any stratum
    n_strata : strata of the group, useful or not
    n_differ : useful strata in which the exposure differs
    """

    positions: Codes
    x: Floats
    terms: tuple[TermName, ...]
    left_out: tuple[tuple[str, str, str], ...]
    same: tuple[str, ...]
    n_strata: int
    n_differ: int


def stratify(rows: Rows, positions: Codes, strata: Codes, values: Floats, exposure: str) -> Stratified:
    """Leave out strata without variation of the outcome, levels whose outcome is certain, and columns that add nothing.

    Raises
    ------
    NoEventError
        If no stratum has both events and other rows.
    NoParticipantError
        If the exposure differs within none of them.
    CollinearityError
        If the exposure is a combination of controls within strata.
    """
    if rows.frequency is not None:
        positions = np.repeat(positions, rows.frequency[positions].astype(np.intp))
    n_strata = len(np.unique(strata[positions]))
    left: list[tuple[str, str, str]] = []
    while True:
        positions = positions[_informative(rows.y[positions], strata[positions])]
        if not len(positions):
            raise NoEventError(f"no events: none of {n_strata} strata has both events and other rows.")
        certain = _certain(rows, positions)
        if certain is None:
            break
        left += certain[0]
        positions = positions[~certain[1]]
    codes = np.unique(strata[positions], return_inverse=True)[1].reshape(-1).astype(np.intp)
    differs = np.unique(codes[_within(values[positions], codes) != 0.0])
    if not len(differs):
        raise NoParticipantError(
            f"no stratum in which `{exposure}` differs: expected strata with exposed and other rows. Make the risk set "
            'with comparison="within_firm", so that a firm\'s other markets are in it.'
        )
    columns, same = _columns(rows, positions, codes)
    kept = _independent(values[positions], [c for _, c in columns], codes, exposure)
    aliased = [term for j, (term, _) in enumerate(columns) if j not in kept]
    left += [(term.variable, term.level, "collinear with others") for term in aliased]
    chosen = [columns[j] for j in kept]
    x = np.column_stack([values[positions], *(c for _, c in chosen)])
    return Stratified(
        positions, x, (TermName(exposure), *(t for t, _ in chosen)), tuple(left), same, n_strata, len(differs)
    )


def _informative(y: Floats, strata: Codes) -> NDArray[np.bool_]:
    """Rows of strata with both events and other rows."""
    size, events = np.bincount(strata), np.bincount(strata, y)
    useful: NDArray[np.bool_] = ((events > 0) & (events < size))[strata]
    return useful


def _certain(rows: Rows, positions: Codes) -> tuple[list[tuple[str, str, str]], NDArray[np.bool_]] | None:
    """Levels of the first factor that has some without an event, or with only events, and the rows they take along."""
    for factor in (v for v in rows.variables if isinstance(v, Factor)):
        codes = factor.codes[positions]
        size = np.bincount(codes, minlength=len(factor.levels))
        events = np.bincount(codes, rows.y[positions], minlength=len(factor.levels))
        sure = (size > 0) & ((events == 0) | (events == size))
        if sure.any():
            gone = [
                (factor.name, factor.levels[i], f"{'only' if events[i] else 'no'} events, {size[i]} rows left out")
                for i in np.flatnonzero(sure)
            ]
            return gone, sure[codes]
    return None


def _within(values: Floats, codes: Codes) -> Floats:
    """Deviations from the mean of the stratum; exactly zero where a stratum has one value."""
    low, high = (np.full(int(codes.max()) + 1, start) for start in (np.inf, -np.inf))
    np.minimum.at(low, codes, values)
    np.maximum.at(high, codes, values)
    mean = np.bincount(codes, values) / np.bincount(codes)
    return np.where((low == high)[codes], 0.0, values - mean[codes])


def _columns(rows: Rows, positions: Codes, codes: Codes) -> tuple[list[tuple[TermName, Floats]], tuple[str, ...]]:
    """Controls as columns, the first level of a factor that is there left out; and those the same within strata."""
    columns: list[tuple[TermName, Floats]] = []
    same = []
    for variable in rows.variables:
        taken = (variable.values if isinstance(variable, Column) else variable.codes)[positions].astype(np.float64)
        if not _within(taken, codes).any():
            same.append(variable.name)
        elif isinstance(variable, Column):
            columns.append((TermName(variable.name), taken))
        else:
            there = np.unique(variable.codes[positions])[1:]
            if len(columns) + len(there) > MOST_COLUMNS:
                raise SettingsError(
                    f"control `{variable.name}` has {len(there)} levels within strata, more than a conditional "
                    f"likelihood can hold ({MOST_COLUMNS} columns); use a number, such as market_popularity."
                )
            plain = variable.name in rows.plain
            columns += [(TermName(variable.name, "" if plain else variable.levels[i]), taken == i) for i in there]
    return columns, tuple(same)


def _independent(values: Floats, columns: list[Floats], codes: Codes, exposure: str) -> list[int]:
    """Places of the columns that add to those before them within strata; the exposure must add to all."""
    x = np.column_stack([_within(np.asarray(c, dtype=np.float64), codes) for c in (*columns, values)])
    left = x.T @ x
    scale = np.sqrt(np.diag(left))
    scale[scale == 0] = 1.0
    left = left / np.outer(scale, scale)
    kept = []
    for j in range(len(left)):
        if left[j, j] >= PIVOT:
            kept.append(j)
            left = left - np.outer(left[:, j], left[j]) / left[j, j]
    if len(columns) not in kept:
        raise CollinearityError(f"within strata `{exposure}` is a combination of the controls; leave one out.")
    return kept[:-1]
