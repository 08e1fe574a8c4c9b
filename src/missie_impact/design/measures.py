"""Weighted moments and distances between two groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from missie_impact.design.units import Floats, Mask


@dataclass(frozen=True, slots=True)
class Sample:
    """Units with weights. ``frequency`` says how many units a row stands for; ``weight`` includes it."""

    frequency: Floats
    weight: Floats

    def take(self, rows: Mask) -> Sample:
        """Return some of the units."""
        return Sample(self.frequency[rows], self.weight[rows])


@dataclass(frozen=True, slots=True)
class Arms:
    """Treated and untreated units with their weights before and after."""

    treated: Mask
    frequency: Floats
    before: Floats
    after: Floats

    def stage(self, name: str) -> Sample:
        """Return the weights of "before" or "after"."""
        return Sample(self.frequency, self.before if name == "before" else self.after)


def moments(values: Floats, sample: Sample) -> tuple[float, float]:
    """Weighted mean and variance; with equal weights the variance divides by n - 1. NaN without units."""
    total = float(sample.weight.sum())
    if not total > 0:
        return math.nan, math.nan
    mean = float(sample.weight @ values) / total
    rest = total - _own_share(sample)
    spread = float(sample.weight @ (values - mean) ** 2)
    return mean, spread / rest if rest > 1e-12 * total else math.nan


def effective_size(sample: Sample) -> float:
    """Kish's effective number of units: the square of the sum of weights over the sum of their squares."""
    total = float(sample.weight.sum())
    return total / _own_share(sample) if total > 0 else 0.0


def ks_distance(values: Floats, treated: Mask, weight: Floats) -> float:
    """Largest distance between two weighted distribution functions, the Kolmogorov-Smirnov statistic."""
    sums = float(weight[treated].sum()), float(weight[~treated].sum())
    if not min(sums) > 0:
        return math.nan
    order = np.argsort(values, kind="stable")
    step = np.where(treated, weight / sums[0], -weight / sums[1])[order]
    last = np.append(np.flatnonzero(np.diff(values[order]) != 0), len(values) - 1)  # equal values step together
    return float(np.abs(np.cumsum(step)[last]).max())


def _own_share(sample: Sample) -> float:
    """Sum of squared weights over their sum, rows counted by frequency."""
    each = np.divide(sample.weight, sample.frequency, out=np.zeros_like(sample.weight), where=sample.frequency > 0)
    return float(sample.weight @ each) / float(sample.weight.sum())
