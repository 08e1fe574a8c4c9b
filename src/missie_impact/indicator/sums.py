"""From supported pairs to shares and sums. Sums are whole cents, so that they do not depend on the order of rows.

The same code sums pairs that had support and the pairs they are compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.definitions import Definitions
from missie_impact.indicator.paths import year_column
from missie_impact.indicator.result import IndicatorRow, TailRow
from missie_impact.numerics.tails import concentration, top_shares, winsorised

UNIT = ["firm", "cohort"]
FIGURES = ("gross", "net", "gross_firm", "base")


class _Cell(NamedTuple):
    cohort: int
    instrument: str
    group: str


def base_years(definitions: Definitions) -> tuple[int, ...]:
    """Return the base years relative to the support year: (0,), or (-2, -1) for the mean of two years before."""
    return (0,) if definitions.indicator_base == "t" else (-2, -1)


def measured_years(definitions: Definitions) -> tuple[int, ...]:
    """Return the years the indicator needs, relative to the support year."""
    return (*base_years(definitions), *range(1, definitions.indicator_horizon + 1))


def add_increase(pairs: pd.DataFrame, definitions: Definitions) -> pd.DataFrame:
    """Add the increase of each pair.

    Parameters
    ----------
    pairs : one row per firm, market and cohort with the exports of the measured years, in cents

    Returns
    -------
    The same rows with ``increase`` (mean increase in cents times ``scale``, a whole number), ``scale``, ``any_year``
    (a year after lies above the base) and ``base`` (cents per year times ``scale``)
    """
    horizon, based = definitions.indicator_horizon, base_years(definitions)
    n_base = len(based)
    after = pairs[[year_column(k) for k in range(1, horizon + 1)]].to_numpy()
    base = pairs[[year_column(k) for k in based]].to_numpy().sum(axis=1)
    return pairs.assign(
        increase=n_base * after.sum(axis=1) - horizon * base,
        base=horizon * base,
        scale=horizon * n_base,
        any_year=n_base * after.max(axis=1) > base,
    )


def add_fate(pairs: pd.DataFrame, definitions: Definitions) -> pd.DataFrame:
    """Add ``gone`` and ``lost``: the firm ceased, or lost its identity, up to the last year measured."""
    last = pairs["cohort"] + definitions.indicator_horizon
    lost = (pairs["lost_year"] <= last).fillna(False).astype(bool)
    return pairs.assign(gone=(pairs["ended"] <= last).fillna(False).astype(bool) & ~lost, lost=lost)


def by_firm(pairs: pd.DataFrame) -> pd.DataFrame:
    """Sum the pairs of each firm: gross (positive increases), net, base (times scale), any_year (in any pair)."""
    codes, firms = pd.factorize(pairs["firm"])
    increase = pairs["increase"].to_numpy(dtype=np.int64)

    def summed(values: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]:
        # Whole numbers below 2 ** 53 (EUR 30,000 billion) add up exactly as floats.
        return np.bincount(codes, values.astype(np.float64), minlength=len(firms)).astype(np.int64)

    return pd.DataFrame(
        {
            "gross": summed(np.maximum(increase, 0)),
            "net": summed(increase),
            "base": summed(pairs["base"].to_numpy(dtype=np.int64)),
            "any_year": summed(pairs["any_year"].to_numpy(dtype=np.bool_)) > 0,
        },
        index=pd.Index(firms, name="firm"),
    )


def indicator_rows(
    pairs: pd.DataFrame, membership: pd.DataFrame, cohorts: tuple[int, ...], definitions: Definitions, *,
    per_instrument: bool, by: bool,
) -> tuple[tuple[IndicatorRow, ...], tuple[TailRow, ...]]:  # fmt: skip
    """Return one record per cohort, instrument and group, the totals first, and who carries each sum.

    Parameters
    ----------
    pairs : supported pairs with their increase and fate, see `add_increase`
    membership : firm, market, cohort, instrument; a pair may have several instruments
    """
    used = membership.drop_duplicates([*UNIT, "instrument"]).groupby(UNIT, sort=False).size()
    several = used[used > 1].reset_index()[UNIT].assign(several=True)
    pairs = pairs.merge(several, on=UNIT, how="left")
    pairs["several"] = pairs["several"].eq(True)
    parts = [("all", pairs)]
    if per_instrument:
        keys = ["firm", "market", "cohort"]
        with_instrument = pairs.merge(membership, on=keys, how="inner")
        parts += [(str(name), part) for name, part in with_instrument.groupby("instrument", sort=True)]
    rows, tails = [], []
    for cell, part in _cells(parts, cohorts, _levels(pairs) if by else []):
        firms = by_firm(part)
        scale = int(part["scale"].iloc[0]) if len(part) else 1
        rows.append(_row(cell, part, firms, 100.0 * scale))
        tails += _tails(cell, firms, 100.0 * scale, definitions.indicator_winsor_eur)
    return tuple(rows), tuple(tails)


def overlap(membership: pd.DataFrame) -> tuple[tuple[int, str, str, int], ...]:
    """Return cohort, one instrument, another, and the firms that had both in the cohort; none where no firm had."""
    found = []
    for cohort, part in membership.groupby("cohort", sort=True):
        firms = {str(name): set(rows) for name, rows in part.groupby("instrument", sort=True)["firm"]}
        for one, other in combinations(firms, 2):
            if both := len(firms[one] & firms[other]):
                found.append((int(str(cohort)), one, other, both))
    return tuple(found)


def _levels(pairs: pd.DataFrame) -> list[str]:
    """Levels of the grouping: sme before others, unknown last."""
    return sorted(pairs["group"].unique(), key=lambda name: (name == "unknown", name != "sme", name))


def _cells(
    parts: list[tuple[str, pd.DataFrame]], cohorts: tuple[int, ...], levels: list[str]
) -> Iterator[tuple[_Cell, pd.DataFrame]]:
    for cohort in cohorts:
        for instrument, part in parts:
            of_cohort = part[part["cohort"] == cohort]
            yield _Cell(cohort, instrument, "all"), of_cohort
            for level in levels:
                yield _Cell(cohort, instrument, level), of_cohort[of_cohort["group"] == level]


def _row(cell: _Cell, pairs: pd.DataFrame, firms: pd.DataFrame, to_eur: float) -> IndicatorRow:
    """Sum one cell."""
    gross, net = firms["gross"], firms["net"]
    growers, growers_sum, any_year = int((gross > 0).sum()), int((net > 0).sum()), int(firms["any_year"].sum())
    n_firms = len(firms)
    gross_top, net_top = top_shares(gross), top_shares(net)
    return IndicatorRow(
        cohort=cell.cohort,
        instrument=cell.instrument,
        group=cell.group,
        n_firms=n_firms,
        n_pairs=len(pairs),
        n_growers=growers,
        share_growers=_share(growers, n_firms),
        n_growers_sum=growers_sum,
        share_growers_sum=_share(growers_sum, n_firms),
        n_growers_any_year=any_year,
        share_growers_any_year=_share(any_year, n_firms),
        gross_eur=int(gross.sum()) / to_eur,
        net_eur=int(net.sum()) / to_eur,
        gross_firm_eur=int(net.clip(lower=0).sum()) / to_eur,
        base_eur=int(firms["base"].sum()) / to_eur,
        gross_top_1=gross_top[0],
        gross_top_5=gross_top[1],
        gross_top_10=gross_top[2],
        net_top_1=net_top[0],
        net_top_5=net_top[1],
        net_top_10=net_top[2],
        n_several=_firms_with(pairs, "several"),
        n_ended=_firms_with(pairs, "gone"),
        n_lost=_firms_with(pairs, "lost"),
        reason="" if n_firms else "no linked supported firm in this cell",
    )


def _tails(cell: _Cell, firms: pd.DataFrame, to_eur: float, threshold: float) -> list[TailRow]:
    """Say of each euro figure of a cell which share the largest firms carry."""
    amounts = {name: firms["net"].clip(lower=0) if name == "gross_firm" else firms[name] for name in FIGURES}
    rows = []
    for name, values in amounts.items():
        whole = values.to_numpy(dtype=np.int64)
        carried = concentration(whole)
        rows.append(
            TailRow(
                *cell,
                figure=f"{name}_eur",
                eur=int(whole.sum()) / to_eur,
                n_contributing=carried.n,
                top_1=carried.tops[0],
                top_5=carried.tops[1],
                top_10=carried.tops[2],
                without_one_low=carried.without_one[0],
                without_one_high=carried.without_one[1],
                trimmed_share=carried.trimmed,
                winsorised_eur=float(winsorised(whole, threshold * to_eur).sum()) / to_eur,
                tail_index=carried.hill,
            )
        )
    return rows


def _share(count: int, total: int) -> float:
    return count / total if total else float("nan")


def _firms_with(pairs: pd.DataFrame, mark: str) -> int:
    return len(pd.unique(pairs["firm"].to_numpy()[pairs[mark].to_numpy(dtype=np.bool_)]))
