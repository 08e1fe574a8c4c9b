"""Whether effect and variance are recovered where an unobserved effect is independent of everything else.

The simulated registers make missions depend on past trade, hence on whatever drives it; this generator does not. Spells
are followed from their third year on, so that those who left earlier are never seen: the likelihood that ignores entry
is fitted beside the one that conditions on it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from missie_impact.effects.frailty import Frailty, frailty_effect
from missie_impact.effects.frailty_rows import Distribution
from missie_impact.effects.rows import Request
from missie_impact.risksets.riskset import RiskSet

LOG_HAZARD_RATIO = float(np.log(0.5))
VARIANCE = 0.8
FIRST_YEAR = 3
YEARS = 12


def late_entrants(n: int, seed: int, distribution: Distribution = "gaussian") -> pd.DataFrame:
    """Simulate yearly exits of n units, and keep those that survive to year 3.

    Returns
    -------
    DataFrame
        unit, duration, outcome, treated, x, before_entry (years 1 and 2): one row per unit and year at risk.
    """
    rng = np.random.default_rng(seed)
    if distribution == "gaussian":
        effect = rng.normal(0.0, np.sqrt(VARIANCE), n)
    else:
        effect = np.log(rng.gamma(1 / VARIANCE, VARIANCE, n))
    treated, x = rng.integers(0, 2, n), rng.normal(size=n)
    alive, years = np.ones(n, dtype=bool), []
    for year in range(1, YEARS + 1):
        hazard = -np.expm1(-np.exp(-1.7 + LOG_HAZARD_RATIO * treated + 0.4 * x + effect))
        exits = alive & (rng.random(n) < hazard)
        at_risk = np.flatnonzero(alive)
        years.append(pd.DataFrame({"unit": at_risk, "duration": year, "outcome": exits[at_risk].astype(np.int64)}))
        alive &= ~exits
    rows = pd.concat(years, ignore_index=True)
    rows = rows[rows["unit"].isin(rows.loc[rows["duration"] == FIRST_YEAR, "unit"])].reset_index(drop=True)
    unit = rows["unit"].to_numpy()
    early = (rows["duration"] < FIRST_YEAR).astype(np.int64)
    return rows.assign(treated=treated[unit], x=x[unit], before_entry=early)


def recover_frailty(
    draws: int, seed: int, *, units: int = 4_000, distribution: Distribution = "gaussian"
) -> pd.DataFrame:
    """Fit many draws with and without conditioning on entry.

    Parameters
    ----------
    draws : number of simulated data sets
    seed : of the first; the others follow
    units : simulated per draw, about two thirds of whom are seen

    Returns
    -------
    DataFrame
        One row per likelihood ("conditional on entry", "entry ignored") and parameter (log_hazard, frailty_variance):
        truth, mean, bias, monte_carlo_error, coverage of the 95% interval, draws.
    """
    found = []
    for draw in range(draws):
        rows = late_entrants(units, seed + draw, distribution)
        naive = rows[rows["before_entry"] == 0].assign(duration=lambda table: table["duration"] - FIRST_YEAR + 1)
        for likelihood, table in (("conditional on entry", rows), ("entry ignored", naive)):
            risk = RiskSet.from_frame(table, outcome="outcome", treatment="treated", firm="unit", duration="duration")
            made = frailty_effect(
                risk, Request(["x"], cluster=("firm",)), Frailty("firm", distribution, points=9), "cloglog"
            )
            for scale, truth in (("log_hazard", LOG_HAZARD_RATIO), ("frailty_variance", VARIANCE)):
                number = made.effect(scale)
                covered = number.conf_low <= truth <= number.conf_high
                found.append((likelihood, scale, truth, number.estimate, covered))
    table = pd.DataFrame(found, columns=["likelihood", "parameter", "truth", "estimate", "covered"])
    groups = table.groupby(["likelihood", "parameter", "truth"], as_index=False)
    summary = groups.agg(
        mean=("estimate", "mean"), sd=("estimate", "std"), coverage=("covered", "mean"), draws=("estimate", "size")
    )
    summary["bias"] = summary["mean"] - summary["truth"]
    summary["monte_carlo_error"] = summary["sd"] / np.sqrt(summary["draws"])
    return summary.drop(columns="sd")
