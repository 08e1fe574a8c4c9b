"""Common support: where the scores of treated and untreated units lie, before and after."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from missie_impact.design.units import Floats, Mask
from missie_impact.display import html_table

BINS = 20
DIGITS = 2  # bounds are rounded outward, so that no unit's own score is shown


@dataclass(frozen=True, slots=True, eq=False)
class Support:
    """Aggregates of the score, for a table and a mirrored histogram.

    Attributes
    ----------
    ranges : by group ("treated", "untreated"): lowest and highest score (rounded outward), mean, units, units whose
        score lies outside the range of the other group
    figure : by group and stage ("before", "after"): share of the group's weight in each of 20 classes of the score,
        with their bounds and number of units
    """

    ranges: pd.DataFrame
    figure: pd.DataFrame

    @property
    def n_treated_outside(self) -> int:
        """Treated units whose score is above or below every untreated unit's."""
        return int(self.ranges.loc[self.ranges["group"] == "treated", "n_outside"].sum())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of it."""
        outside = self.n_treated_outside
        return (f"{outside:,} treated units score outside the range of all untreated ones",) if outside else ()

    def _repr_html_(self) -> str:
        return html_table(self.ranges, title="Common support of the score")


def support_of(score: Floats, treated: Mask, before: Floats, after: Floats) -> Support:
    """Describe (n,) scores of units with their weights before and after."""
    arms = {"treated": treated, "untreated": ~treated}
    there = {name: score[arm & (before > 0)] for name, arm in arms.items()}
    other = {"treated": there["untreated"], "untreated": there["treated"]}
    ranges = [
        {
            "group": name,
            "lowest": _outward(float(values.min()), up=False),
            "highest": _outward(float(values.max()), up=True),
            "mean": float(np.average(values, weights=before[arms[name] & (before > 0)])),
            "n_units": len(values),
            "n_outside": int(((values < other[name].min()) | (values > other[name].max())).sum()),
        }
        for name, values in there.items()
    ]
    edges = np.linspace(0.0, max(_outward(float(score.max()), up=True), 1e-9), BINS + 1)
    place = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, BINS - 1)
    rows = []
    for name, arm in arms.items():
        for stage, weight in (("before", before), ("after", after)):
            used = arm & (weight > 0)
            mass = np.bincount(place[used], weight[used], BINS)
            number = np.bincount(place[used], minlength=BINS)
            share = mass / mass.sum() if mass.sum() > 0 else mass
            bins = {"low": edges[:-1], "high": edges[1:], "share": share, "n_units": number}
            rows.append(pd.DataFrame({"group": name, "stage": stage, **bins}))
    return Support(pd.DataFrame(ranges), pd.concat(rows, ignore_index=True))


def _outward(value: float, *, up: bool) -> float:
    if value <= 0.0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - DIGITS + 1)
    rounded = math.ceil(value / unit) if up else math.floor(value / unit)
    return min(rounded * unit, 1.0)
