"""Make the published budget indicator (R6) come out of simulated registers: default seed, national scale only.

The support lists hold exactly the published number of linked SME (see :mod:`missie_impact.simulation.registers`). Then
two edits of exports in the three years after support follow, the same in every world: the pairs with a mean increase
nearest to zero are moved over zero until the published share of firms is met, and one factor per cohort and size
stretches the positive increases to the published sums. Both scale values that are positive, so that no pair starts
or stops trading in any year; pairs supported in both cohorts are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from missie_impact.errors import SettingsError
from missie_impact.published import published_figure
from missie_impact.simulation.companions import EXPORT_STREAMS, TradeYear
from missie_impact.simulation.identities import Identities
from missie_impact.simulation.keys import Bools, Floats, Ints

HORIZON = 3
MARKETS_A_FIRM = 1024  # above the number of markets: firm x MARKETS_A_FIRM + market names a pair
MOVE = 0.005  # how far beyond zero a pair is moved, as a share of its exports in the year of support
SMALLEST_MOVED_EUR = 2_000
SMALLEST_STRETCHED_EUR = 20  # increases too small to survive rounding to whole EUR are not stretched


@dataclass(frozen=True, slots=True)
class CohortTarget:
    """Published figures of one cohort.

    Attributes
    ----------
    firms, growers : number of linked SME with support, and of those with an increase
    sme_eur, large_eur : increase a year, mean over three years, of SME and of large firms
    """

    firms: int
    growers: int
    sme_eur: float
    large_eur: float


@dataclass(frozen=True, slots=True)
class CohortEdits:
    """What was done to one cohort, for the record that goes with the registers.

    Attributes
    ----------
    year : year of support
    sme, growers_before, growers : linked SME, and those with an increase before and after the moves
    pairs_moved, largest_move_eur : pairs moved over zero, and the largest mean increase among them before (absolute)
    sme_factor, large_factor : factors on the positive increases
    sme_eur, large_eur : sums attained
    """

    year: int
    sme: int
    growers_before: int
    growers: int
    pairs_moved: int
    largest_move_eur: float
    sme_factor: float
    large_factor: float
    sme_eur: float
    large_eur: float


@dataclass(frozen=True, slots=True)
class Supported:
    """Linked firm x market pairs supported in one year, each once.

    Attributes
    ----------
    year : year of support
    firm, market : (m,) positions
    large : (m,) the firm is large in the sense of the letter, in the year of support
    """

    year: int
    firm: Ints
    market: Ints
    large: Bools

    def code(self) -> Ints:
        """Return one number per pair."""
        return np.asarray(self.firm * MARKETS_A_FIRM + self.market)


def cohort_target(year: int) -> CohortTarget:
    """Read the published figures of the cohort 2020 or 2021."""
    read = {name: published_figure(f"R6.{year}.{name}").read_as for name in ("sme.firms", "sme.growers")}
    money = {name: published_figure(f"R6.{year}.{name}").read_as for name in ("sme.eur", "large.eur")}
    return CohortTarget(
        int(read["sme.firms"] or 0), int(read["sme.growers"] or 0), money["sme.eur"] or 0.0, money["large.eur"] or 0.0
    )


def meet_indicator(
    trades: Mapping[int, TradeYear],
    cohorts: tuple[Supported, ...],
    targets: Mapping[int, CohortTarget],
    identities: Identities,
) -> tuple[CohortEdits, ...]:
    """Edit the exports in ``trades`` (in place, before anything is handed on) until the published indicator holds.

    Raises
    ------
    SettingsError
        The number of supported SME is not the one wanted, or too few pairs are free to be edited.
    """
    codes, times = np.unique(np.concatenate([c.code() for c in cohorts]), return_counts=True)
    return tuple(_meet_cohort(trades, c, targets[c.year], codes[times > 1], identities) for c in cohorts)


def mean_increase(trades: Mapping[int, TradeYear], pairs: Supported, identities: Identities) -> Floats:
    """Return the mean over t+1..t+3 of exports less those in t, EUR per pair, shape (m,)."""
    x = _exports(trades, pairs, identities)
    return np.asarray(x[1:].mean(axis=0) - x[0])


def _meet_cohort(
    trades: Mapping[int, TradeYear], pairs: Supported, target: CohortTarget, shared: Ints, identities: Identities
) -> CohortEdits:
    free = ~np.isin(pairs.code(), shared)
    n_sme = len(np.unique(pairs.firm[~pairs.large]))
    if n_sme != target.firms:
        raise SettingsError(f"expected {target.firms} linked SME with support in {pairs.year}, found {n_sme}.")
    before = len(_growers(pairs, mean_increase(trades, pairs, identities)))
    moved, furthest = _move(trades, pairs, target.growers - before, free, identities)
    factors = [
        _stretch(trades, pairs, free & (pairs.large == large), wanted, identities)
        for large, wanted in ((False, target.sme_eur), (True, target.large_eur))
    ]
    increase = np.maximum(mean_increase(trades, pairs, identities), 0)
    return CohortEdits(
        year=pairs.year,
        sme=n_sme,
        growers_before=before,
        growers=len(_growers(pairs, increase)),
        pairs_moved=moved,
        largest_move_eur=furthest,
        sme_factor=factors[0],
        large_factor=factors[1],
        sme_eur=float(increase[~pairs.large].sum()),
        large_eur=float(increase[pairs.large].sum()),
    )


def _growers(pairs: Supported, increase: Floats) -> Ints:
    """Return the SME with an increase in any of their supported markets."""
    return np.unique(pairs.firm[~pairs.large & (increase > 0)])


def _move(
    trades: Mapping[int, TradeYear], pairs: Supported, wanted: int, free: Bools, identities: Identities
) -> tuple[int, float]:
    """Turn ``wanted`` more SME into growers (fewer, if negative), those with increases nearest to zero first."""
    x = _exports(trades, pairs, identities)
    later, increase = x[1:].mean(axis=0), x[1:].mean(axis=0) - x[0]
    movable = free & ~pairs.large & (x[0] >= SMALLEST_MOVED_EUR) & (later >= SMALLEST_MOVED_EUR / 2)
    if wanted >= 0:
        candidates = np.flatnonzero(movable & ~np.isin(pairs.firm, _growers(pairs, increase)))
        order = candidates[np.argsort(-increase[candidates], kind="stable")]
        chosen = order[np.unique(pairs.firm[order], return_index=True)[1]]
        rows = chosen[np.argsort(-increase[chosen], kind="stable")][:wanted]
        found = len(rows)
    else:
        grows = ~pairs.large & (increase > 0)
        stuck = np.unique(pairs.firm[grows & ~movable])
        candidates = np.flatnonzero(grows & ~np.isin(pairs.firm, stuck))
        order = candidates[np.argsort(-increase[candidates], kind="stable")]
        firms, first = np.unique(pairs.firm[order], return_index=True)
        nearest = firms[np.argsort(increase[order[first]], kind="stable")][:-wanted]
        rows, found = candidates[np.isin(pairs.firm[candidates], nearest)], len(nearest)
    if found < abs(wanted):
        raise SettingsError(f"expected {abs(wanted)} firms that can be moved over zero in {pairs.year}, found {found}.")
    factor = np.ones(len(pairs.firm))
    factor[rows] = x[0, rows] * (1 + np.sign(wanted) * MOVE) / later[rows]
    _scale(trades, pairs, factor)
    return len(rows), float(np.abs(increase[rows]).max(initial=0.0))


def _stretch(
    trades: Mapping[int, TradeYear], pairs: Supported, rows: Bools, wanted: float, identities: Identities
) -> float:
    """Multiply the positive increases of some pairs so that their size class sums to ``wanted``; return the factor."""
    large = bool(pairs.large[rows][0]) if rows.any() else False
    x = _exports(trades, pairs, identities)
    later, increase = x[1:].mean(axis=0), x[1:].mean(axis=0) - x[0]
    total = np.maximum(increase, 0)[pairs.large == large].sum()
    stretched = rows & (increase > SMALLEST_STRETCHED_EUR)
    own = float(increase[stretched].sum())
    if own <= 0 or total - own >= wanted:
        raise SettingsError(f"the increase of {wanted:.3g} EUR published for {pairs.year} is out of reach by a factor.")
    ratio = (wanted - (total - own)) / own
    stretched &= increase * min(ratio, 1.0) > SMALLEST_STRETCHED_EUR
    factor = np.ones(len(pairs.firm))
    factor[stretched] = (x[0] + ratio * increase)[stretched] / later[stretched]
    _scale(trades, pairs, factor)
    return float(ratio)


def _exports(trades: Mapping[int, TradeYear], pairs: Supported, identities: Identities) -> Floats:
    """Return exports in t..t+3, shape (4, m); 0 without trade and after an identity is lost."""
    x = np.zeros((1 + HORIZON, len(pairs.firm)))
    for k in range(1 + HORIZON):
        trade = trades[pairs.year + k]
        row, found = _locate(trade, pairs)
        x[k] = np.where(found, trade.exports_eur()[row], 0) * identities.delivered(pairs.firm, trade.year)
    return x


def _scale(trades: Mapping[int, TradeYear], pairs: Supported, factor: Floats) -> None:
    """Multiply the exports of t+1..t+3 by a factor per pair; what is positive stays at least 1 EUR."""
    for k in range(1, 1 + HORIZON):
        trade = trades[pairs.year + k]
        row, found = _locate(trade, pairs)
        found &= factor != 1
        for stream in EXPORT_STREAMS:
            old = trade.value_eur[stream, row[found]]
            trade.value_eur[stream, row[found]] = np.where(old > 0, np.maximum(np.rint(old * factor[found]), 1), 0)


def _locate(trade: TradeYear, pairs: Supported) -> tuple[Ints, Bools]:
    code, wanted = trade.firm * MARKETS_A_FIRM + trade.market, pairs.code()
    row = np.minimum(np.searchsorted(code, wanted), max(len(code) - 1, 0))
    return row, np.asarray(code[row] == wanted)
