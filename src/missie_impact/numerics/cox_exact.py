"""Cox regression with exact (discrete) ties: a conditional logit of who has the event within each risk set.

Tied events are taken as simultaneous, as R's ``coxph(ties="exact")``; the coefficients are log odds ratios of the
discrete hazard. The sum over placings grows with risk set times events, so this is for small tables.
"""

from __future__ import annotations

import numpy as np

from missie_impact.errors import SettingsError
from missie_impact.numerics.conditional import fit_conditional, strata_data
from missie_impact.numerics.cox import CoxData, CoxFit

MOST_NUMBERS = 2e9  # of one pass over all placings


def fit_cox_exact(data: CoxData, *, tolerance: float = 1e-9) -> CoxFit:
    """Maximise the exact partial likelihood.

    Parameters
    ----------
    data : from `cox_data`, all weights one; its treatment of ties plays no part
    tolerance : largest score at the optimum, in units of its own standard deviation

    Raises
    ------
    SettingsError
        If rows have weights, or risk sets with their ties are too large.
    CollinearityError, ConvergenceError
        As `fit_cox`.

    References
    ----------
    Cox (1972), JRSS B 34, 187-220; Gail, Lubin and Rubinstein (1981), Biometrika 68, 703-707.
    """
    if not (data.weight == 1.0).all():
        raise SettingsError("exact ties place whole rows: expected no weights. Use ties='efron'.")
    at_risk = data.last - data.first
    row = np.repeat(np.arange(len(at_risk)), at_risk)
    within = np.arange(len(row)) - np.repeat(np.cumsum(at_risk) - at_risk, at_risk)
    time = data.first[row] + within
    size, events = np.bincount(time), np.bincount(data.time)
    numbers = float((size * np.minimum(events, size - events)).sum()) * data.x.shape[1] ** 2
    if numbers > MOST_NUMBERS:
        raise SettingsError(
            f"exact ties: up to {int(events.max())} events at one time among up to {int(size.max())} rows at risk are "
            "too many placings. Use ties='efron', or model='logit', which estimates the same odds ratio with a dummy "
            "per time."
        )
    found = fit_conditional(strata_data(data.x[row], data.own[row] == time, time), tolerance=tolerance)
    return CoxFit(
        found.coef, found.bread, found.log_likelihood, found.log_likelihood_null, len(data.event),
        int(data.event.sum()), found.steps, "exact",
    )  # fmt: skip
