"""Estimates before and after treatment with their joint covariance, from any source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from missie_impact.errors import SettingsError
from missie_impact.numerics.cells import Floats
from missie_impact.numerics.pretrends import JointTest, joint_test, slope_for_any_power, slope_for_joint_power

Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class EventStudy:
    """Estimates by time since treatment, the base period left out.

    Made by :func:`event_study`.

    Attributes
    ----------
    outcome : name of the outcome
    times : (r,) rising, without the base period
    estimate : (r,)
    covariance : (r, r)
    base : the period that estimates are compared with
    base_period : "universal" when all are compared with ``base``, else "varying"
    simulated : whether from simulated registers
    """

    outcome: str
    times: Floats
    estimate: Floats
    covariance: Floats
    base: float = -1.0
    base_period: str = "universal"
    simulated: bool = False

    @property
    def before(self) -> Positions:
        """Positions of the estimates before the base period."""
        return np.flatnonzero(self.times < self.base)

    @property
    def after(self) -> Positions:
        """Positions of the estimates after the base period."""
        return np.flatnonzero(self.times > self.base)

    def tidy(self) -> pd.DataFrame:
        """Return one row per time: time, estimate, std_error."""
        error = np.sqrt(np.diag(self.covariance))
        return pd.DataFrame({"time": self.times, "estimate": self.estimate, "std_error": error})

    def pretrend_power(self, level: float = 0.05) -> pd.DataFrame:
        """Return the linear trends that tests of the estimates before treatment would find half and 80% of the time.

        Returns
        -------
        pandas.DataFrame
            One row per power: ``slope_any`` (at least one estimate significant, Roth 2022) and ``slope_joint`` (Wald
            test), in units of the outcome per period. A trend below them may well be there unseen.
        """
        self._universal("pre-trend power")
        chosen = self.before
        if not len(chosen):
            raise SettingsError("pre-trend power: expected estimates before the base period, found none.")
        times, matrix = self.times[chosen] - self.base, self.covariance[np.ix_(chosen, chosen)]
        rows = [
            (
                power,
                slope_for_any_power(times, matrix, power, level),
                slope_for_joint_power(times, matrix, power, level),
            )
            for power in (0.5, 0.8)
        ]
        return pd.DataFrame(rows, columns=["power", "slope_any", "slope_joint"])

    def pretrend_test(self) -> JointTest:
        """Test jointly that all estimates before the base period are zero."""
        chosen = self.before if self.base_period == "universal" else np.flatnonzero(self.times < 0)
        return joint_test(self.estimate[chosen], self.covariance[np.ix_(chosen, chosen)])

    def _universal(self, what: str) -> None:
        if self.base_period != "universal":
            raise SettingsError(
                f"{what}: expected estimates compared with one base period, found a varying one. Estimate with "
                'GroupTimeOptions(base_period="universal").'
            )


def event_study(
    times: ArrayLike, estimate: ArrayLike, covariance: ArrayLike, *, base: float = -1.0, outcome: str = "outcome"
) -> EventStudy:
    """Make an event study from estimates of any program.

    Parameters
    ----------
    times : (r,) time since treatment of each estimate, or calendar years; the base period left out
    estimate : (r,); covariance : (r, r)
    base : period to which all are compared, on the scale of ``times``

    Raises
    ------
    SettingsError
        If shapes differ, times repeat or hold the base period, or the covariance is not one.

    Examples
    --------
    >>> import numpy as np
    >>> import missie_impact as mi
    >>> study = mi.event_study([-2, 0, 1], [0.1, 1.0, 1.2], np.diag([0.01, 0.01, 0.01]))
    >>> study.tidy()["std_error"].round(2).tolist()
    [0.1, 0.1, 0.1]
    """
    try:
        at, value, matrix = (np.asarray(numbers, dtype=np.float64) for numbers in (times, estimate, covariance))
    except (TypeError, ValueError):
        raise SettingsError("event study: expected numbers as times, estimates and covariance.") from None
    if value.shape != at.shape or matrix.shape != (len(at), len(at)):
        raise SettingsError(
            f"event study: expected as many estimates as times and a square covariance, found {len(at)} times, "
            f"{value.shape} estimates and a covariance of {matrix.shape}."
        )
    if len(np.unique(at)) < len(at) or (at == base).any():
        raise SettingsError("event study: expected each time once and no row for the base period.")
    if not (np.isfinite(value).all() and np.isfinite(matrix).all() and np.allclose(matrix, matrix.T)):
        raise SettingsError("event study: expected finite estimates and a symmetric covariance.")
    if (np.diag(matrix) < 0).any():
        raise SettingsError("event study: expected variances of at least 0 on the diagonal of the covariance.")
    order = np.argsort(at)
    return EventStudy(outcome, at[order], value[order], matrix[np.ix_(order, order)], float(base))
