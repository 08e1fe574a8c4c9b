"""Exports in the prices of the support year, by a price index that the user gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from missie_impact.errors import SchemaError, SettingsError, YearRangeError
from missie_impact.indicator.paths import year_column

Deflator = Mapping[int, float] | pd.DataFrame


def read_deflator(deflator: Deflator | None, cohorts: Sequence[int], offsets: Iterable[int]) -> dict[int, float] | None:
    """Return year -> price index; None for nominal values.

    Parameters
    ----------
    deflator : year -> index, or a frame with the columns ``year`` and ``index`` (any base year)

    Raises
    ------
    SchemaError
        If the frame lacks a column or names a year twice.
    SettingsError
        If an index is not above zero.
    YearRangeError
        If a year that the cohorts need is missing; the message names it.
    """
    if deflator is None:
        return None
    prices = _as_dict(deflator)
    wrong = sorted(year for year, index in prices.items() if not (math.isfinite(index) and index > 0))
    if wrong:
        raise SettingsError(f"deflator: expected price indices above zero, found others in the years {wrong}.")
    needed = sorted({t + k for t in cohorts for k in offsets})
    missing = [year for year in needed if year not in prices]
    if missing:
        raise YearRangeError(
            f"deflator: expected a price index for {needed[0]}-{needed[-1]}, missing: "
            f"{', '.join(map(str, missing))}. Add these years, or leave the deflator out for nominal values."
        )
    return prices


def _as_dict(deflator: Deflator) -> dict[int, float]:
    if isinstance(deflator, Mapping):
        return {int(year): float(index) for year, index in deflator.items()}
    if not isinstance(deflator, pd.DataFrame):
        raise SettingsError(
            f"deflator: expected a mapping of years to indices, a frame or None, found {type(deflator).__name__}."
        )
    lacking = [name for name in ("year", "index") if name not in deflator.columns]
    if lacking:
        raise SchemaError(f"deflator: expected the columns year and index, missing {lacking}.")
    twice = sorted(int(year) for year in deflator.loc[deflator["year"].duplicated(), "year"].unique())
    if twice:
        raise SchemaError(f"deflator: expected each year once, found {twice} more than once.")
    return {int(year): float(index) for year, index in zip(deflator["year"], deflator["index"], strict=True)}


def in_prices_of_support(
    pairs: pd.DataFrame, prices: Mapping[int, float] | None, offsets: Iterable[int]
) -> pd.DataFrame:
    """Return the pairs with exports in the prices of the support year, to whole cents; nominal without prices."""
    if prices is None:
        return pairs
    index, cohort = pd.Series(prices), pairs["cohort"].to_numpy()
    of_cohort = index.reindex(cohort).to_numpy()
    real = {
        year_column(k): np.rint(pairs[year_column(k)].to_numpy() * (of_cohort / index.reindex(cohort + k).to_numpy()))
        for k in offsets
    }
    return pairs.assign(**{name: values.astype(np.int64) for name, values in real.items()})
