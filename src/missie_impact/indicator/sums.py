"""From supported pairs to shares and sums. Sums are whole cents, so that they do not depend on the order of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from missie_impact.definitions import Definitions
from missie_impact.indicator.result import IndicatorRow

MIN_FIRMS = 10  # a share of the largest firms of fewer contributors could reveal one of them
TOPS = (1, 5, 10)
UNIT = ["firm", "cohort"]


class _Cell(NamedTuple):
    cohort: int
    instrument: str
    group: str


def add_increase(pairs: pd.DataFrame, definitions: Definitions) -> pd.DataFrame:
    """Add the increase of each supported pair.

    Parameters
    ----------
    pairs : one row per firm, market and cohort with base_cents (sum over base years), later_cents (sum over the years
        after), best_cents (largest year after), ended, lost_year

    Returns
    -------
    The same rows with ``increase`` (mean increase in cents times ``scale``, a whole number), ``scale``, ``any_year``
    (a year after lies above the base), ``base`` (cents per year times ``scale``), ``gone`` and ``lost`` (the firm
    ceased, or lost its identity, up to the last year measured)
    """
    horizon = definitions.indicator_horizon
    n_base = 1 if definitions.indicator_base == "t" else 2
    last = pairs["cohort"] + horizon
    lost = (pairs["lost_year"] <= last).fillna(False).astype(bool)
    return pairs.assign(
        increase=n_base * pairs["later_cents"] - horizon * pairs["base_cents"],
        base=horizon * pairs["base_cents"],
        scale=horizon * n_base,
        any_year=n_base * pairs["best_cents"] > pairs["base_cents"],
        gone=(pairs["ended"] <= last).fillna(False).astype(bool) & ~lost,
        lost=lost,
    )


def indicator_rows(
    pairs: pd.DataFrame, membership: pd.DataFrame, cohorts: tuple[int, ...], *, per_instrument: bool, by: bool
) -> tuple[IndicatorRow, ...]:
    """Return one record per cohort, instrument and group; the totals come first.

    Parameters
    ----------
    pairs : supported pairs with their increase, see `add_increase`
    membership : firm, market, cohort, instrument; a pair may have several instruments
    """
    used = membership.groupby(UNIT, sort=False)["instrument"].nunique()
    several = used[used > 1].reset_index()[UNIT].assign(several=True)
    pairs = pairs.merge(several, on=UNIT, how="left")
    pairs["several"] = pairs["several"].eq(True)
    parts = [("all", pairs)]
    if per_instrument:
        keys = ["firm", "market", "cohort"]
        with_instrument = pairs.merge(membership, on=keys, how="inner")
        parts += [(str(name), part) for name, part in with_instrument.groupby("instrument", sort=True)]
    return tuple(_row(cell, part) for cell, part in _cells(parts, cohorts, _levels(pairs) if by else []))


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


def _row(cell: _Cell, pairs: pd.DataFrame) -> IndicatorRow:
    """Sum one cell."""
    positive = pairs["increase"].clip(lower=0)
    firms = pairs.assign(gross=positive).groupby("firm", sort=False)
    gross, net = firms["gross"].sum(), firms["increase"].sum()
    growers, growers_sum = int((gross > 0).sum()), int((net > 0).sum())
    any_year = int(firms["any_year"].any().sum())
    n_firms = len(gross)
    to_eur = 100.0 * (int(pairs["scale"].iloc[0]) if len(pairs) else 1)
    gross_top, net_top = _top_shares(gross), _top_shares(net.abs())
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
        base_eur=int(pairs["base"].sum()) / to_eur,
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


def _share(count: int, total: int) -> float:
    return count / total if total else float("nan")


def _firms_with(pairs: pd.DataFrame, mark: str) -> int:
    return int(pairs.loc[pairs[mark], "firm"].nunique())


def _top_shares(amounts: pd.Series[int]) -> tuple[float, float, float]:
    """Shares of the largest 1, 5 and 10 firms in a sum of amounts that are not negative."""
    contributing = np.sort(amounts[amounts > 0].to_numpy(dtype=np.int64))[::-1]
    if len(contributing) < MIN_FIRMS:
        return (float("nan"),) * 3
    total = int(contributing.sum())
    one, five, ten = (int(contributing[:n].sum()) / total for n in TOPS)
    return one, five, ten
