"""How far an effect stands when parallel trends fail by no more than said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from missie_impact.display import html_table
from missie_impact.effects.increase.event_study import EventStudy
from missie_impact.effects.increase.group_time import GroupTimeEffects
from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Floats
from missie_impact.numerics.covariance import interval
from missie_impact.numerics.honest import relative_bounds, smoothness_interval
from missie_impact.numerics.honest_relative import relative_interval

Violation = Literal["smoothness", "relative_magnitudes"]


@dataclass(frozen=True, slots=True, eq=False)
class HonestBounds:
    """Intervals of an effect by the size of the violation allowed.

    Made by :func:`honest_bounds`.

    Attributes
    ----------
    outcome, violation, effect : what is bounded, under what, and which average of effects
    table : bound, low, high, with_sampling (whether sampling error is in the interval)
    original : estimate, low and high under parallel trends
    breakdown : largest bound among those tried whose interval leaves out zero; NaN if none does
    conf_level : of intervals
    """

    outcome: str
    violation: Violation
    effect: str
    table: pd.DataFrame
    original: tuple[float, float, float]
    breakdown: float
    conf_level: float
    simulated: bool = False

    def tidy(self) -> pd.DataFrame:
        """Return a copy of the table."""
        return self.table.copy()

    def __repr__(self) -> str:
        return f"HonestBounds({self.outcome}; {self.violation}; {len(self.table)} bounds; breakdown {self.breakdown:g})"

    def _repr_html_(self) -> str:
        return html_table(
            self.table, title=f"{self.outcome}: {self.effect} under {self.violation}", simulated=self.simulated
        )


def honest_bounds(
    source: EventStudy | GroupTimeEffects,
    *,
    violation: Violation = "smoothness",
    bounds: Sequence[float],
    effect: ArrayLike | None = None,
    sampling: bool = True,
    conf_level: float = 0.95,
) -> HonestBounds:
    """Bound an effect when the difference in trends is restricted, not zero.

    Parameters
    ----------
    source : group-time effects with a universal base period, or an event study (`event_study` takes any estimates)
    violation : "smoothness": from one period to the next the slope of the difference in trends changes by at most M;
        intervals of fixed length. "relative_magnitudes": it moves by at most Mbar times its largest move before
        treatment; every effect that the conditional and least favourable hybrid test accepts
    bounds : values of M or Mbar
    effect : weights of the effects after treatment, in order of time; the first alone if left out
    sampling : whether relative magnitudes hold sampling error; without it, the set identified at the point estimates
    conf_level : of intervals

    Returns
    -------
    HonestBounds

    Raises
    ------
    SettingsError
        If the base period varies, periods are not consecutive, there is nothing before treatment, or weights and
        effects differ in number.

    References
    ----------
    Rambachan and Roth (2023), Review of Economic Studies 90, 2555-2591; Andrews, Roth and Pakes (2023), Review of
    Economic Studies 90, 2763-2791; R's HonestDiD.

    Examples
    --------
    >>> import numpy as np
    >>> import missie_impact as mi
    >>> study = mi.event_study([-2, 0, 1], [0.1, 1.0, 1.2], np.diag([0.01, 0.01, 0.01]))
    >>> found = mi.honest_bounds(study, bounds=[0.0, 0.2, 0.4])
    >>> found.table["bound"].tolist(), found.breakdown
    ([0.0, 0.2, 0.4], 0.4)
    """
    if violation not in get_args(Violation):
        raise SettingsError(f"violation: expected one of {list(get_args(Violation))}, found {violation!r}.")
    if not len(bounds) or min(bounds) < 0:
        raise SettingsError("bounds: expected one or more numbers of at least 0.")
    if not isinstance(source, (EventStudy, GroupTimeEffects)):
        raise SettingsError(
            f"source: expected group-time effects or an event study (event_study()), found {type(source).__name__}."
        )
    study = source.event_study() if isinstance(source, GroupTimeEffects) else source
    n_before, weights = _checked(study, effect)
    value = float(weights @ study.estimate[n_before:])
    after = study.covariance[n_before:, n_before:]
    low, high = interval(value, np.sqrt(weights @ after @ weights), level=conf_level)
    rows = []
    for bound in bounds:
        if violation == "smoothness":
            found = smoothness_interval(study.estimate, study.covariance, n_before, weights, float(bound), conf_level)
            ends = found.centre - found.half, found.centre + found.half
        elif sampling:
            ends = relative_interval(study.estimate, study.covariance, n_before, weights, float(bound), conf_level)
        else:
            ends = relative_bounds(study.estimate, n_before, weights, float(bound))
        rows.append((float(bound), *ends, sampling or violation == "smoothness"))
    table = pd.DataFrame(rows, columns=["bound", "low", "high", "with_sampling"])
    clear = table[(table["low"] > 0) | (table["high"] < 0)]["bound"]
    words = "effect in the first period" if effect is None else "weighted average of effects"
    return HonestBounds(
        study.outcome, violation, words, table, (value, float(low), float(high)),
        float(clear.max()) if len(clear) else float("nan"), conf_level, study.simulated,
    )  # fmt: skip


def _checked(study: EventStudy, effect: ArrayLike | None) -> tuple[int, Floats]:
    if study.base_period != "universal":
        raise SettingsError(
            "honest bounds: expected estimates compared with one base period, found a varying one. Estimate with "
            'GroupTimeOptions(base_period="universal").'
        )
    steps = np.diff(np.sort(np.append(study.times, study.base)))
    if not np.allclose(steps, steps[0]):
        raise SettingsError("honest bounds: expected consecutive periods around the base period, found gaps.")
    n_before, n_after = len(study.before), len(study.after)
    if not n_before or not n_after:
        raise SettingsError(
            f"honest bounds: expected estimates before and after the base period, found {n_before} and {n_after}."
        )
    weights = np.eye(n_after)[0] if effect is None else np.asarray(effect, dtype=np.float64).reshape(-1)
    if len(weights) != n_after:
        raise SettingsError(f"effect: expected {n_after} weights, one per period after the base, found {len(weights)}.")
    if not np.isfinite(weights).all() or not weights.any():
        raise SettingsError("effect: expected finite weights that are not all zero.")
    return n_before, weights
