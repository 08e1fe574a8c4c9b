"""Whether effect and variance are recovered where an unobserved effect is independent of everything else.

The simulated registers make missions depend on past trade, hence on whatever drives it; this generator does not. Spells
are followed from their third year on, so that those who left earlier are never seen: the likelihood that ignores entry
is fitted beside the one that conditions on it.

Run as ``python -m missie_impact.validity.frailty_recovery --out DIR``. Each draw is a line in a journal in DIR, so that
a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from missie_impact.effects.fitting.rows import Request
from missie_impact.effects.leaving.frailty import Frailty, frailty_effect
from missie_impact.effects.leaving.frailty_rows import Distribution
from missie_impact.errors import MissieError
from missie_impact.risksets.riskset import RiskSet
from missie_impact.validity.journal import drawn
from missie_impact.validity.judged import judged

LOG_HAZARD_RATIO = float(np.log(0.5))
VARIANCE = 0.8
FIRST_YEAR = 3
YEARS = 12
FIRST_SEED = 700_000
TRUTH = {"log_hazard": LOG_HAZARD_RATIO, "frailty_sd": math.sqrt(VARIANCE), "frailty_variance": VARIANCE}
RATIOS = ("frailty_sd", "frailty_variance")
CONDITIONAL, IGNORED = "conditional on entry", "entry ignored"
Line = tuple[str, str, float, float, float]


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


def recover_once(seed: int, units: int, distribution: Distribution = "gaussian") -> list[Line]:
    """Fit one draw by both likelihoods: likelihood, parameter, estimate, ends of its 95% interval (NaN where none)."""
    rows = late_entrants(units, seed, distribution)
    naive = rows[rows["before_entry"] == 0].assign(duration=lambda table: table["duration"] - FIRST_YEAR + 1)
    found: list[Line] = []
    for likelihood, table in ((CONDITIONAL, rows), (IGNORED, naive)):
        risk = RiskSet.from_frame(table, outcome="outcome", treatment="treated", firm="unit", duration="duration")
        request, scales = Request(["x"], cluster=("firm",)), _scales(distribution)
        try:
            made = frailty_effect(risk, request, Frailty("firm", distribution), "cloglog")
        except MissieError:
            found += [(likelihood, scale, math.nan, math.nan, math.nan) for scale in scales]
            continue
        for number in map(made.effect, scales):
            found.append((likelihood, number.scale, number.estimate, number.conf_low, number.conf_high))
    return found


def _scales(distribution: Distribution) -> list[str]:
    return [scale for scale in TRUTH if distribution == "gaussian" or scale != "frailty_sd"]


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
        As :func:`recovery_table`.
    """
    return recovery_table(recover_once(seed + draw, units, distribution) for draw in range(draws))


def recovery_table(draws: Iterable[Sequence[Line]]) -> pd.DataFrame:
    """Sum draws up, judged by the acceptance rule of the registers.

    Returns
    -------
    DataFrame
        One row per likelihood ("conditional on entry", "entry ignored") and parameter (log_hazard, frailty_sd,
        frailty_variance; these two are judged on the logarithm), with the columns of
        :func:`missie_impact.validity.judged.judged`.
    """
    columns = ["likelihood", "parameter", "estimate", "low", "high"]
    table = pd.DataFrame([line for draw in draws for line in draw], columns=columns)
    present = table.drop_duplicates(["likelihood", "parameter"]).sort_values(["likelihood", "parameter"])
    made = []
    for likelihood, parameter in zip(present["likelihood"], present["parameter"], strict=True):
        chosen = (table["likelihood"] == likelihood) & (table["parameter"] == parameter)
        made.append(_line(likelihood, parameter, table[chosen]))
    return pd.DataFrame(made)


def _line(likelihood: str, parameter: str, group: pd.DataFrame) -> dict[str, Any]:
    logs = parameter in RATIOS
    values = group[["estimate", "low", "high"]].to_numpy(dtype=np.float64)
    found = judged(values, TRUTH[parameter], ratio=logs, effect_size=1.0 if logs else None)
    return {"likelihood": likelihood, "parameter": parameter} | found


def run(
    out: Path, draws: int, units: int, distribution: Distribution = "gaussian", *, progress: bool | None = None
) -> pd.DataFrame:
    """Draw, or read from the journal, as many data sets as asked for, and sum them up."""
    seeds, once = range(FIRST_SEED, FIRST_SEED + draws), partial(recover_once, units=units, distribution=distribution)
    done = drawn(out / f"frailty-{distribution}-{units}.jsonl", seeds, once, distribution, progress=progress)
    return recovery_table(done.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recovery and write ``frailty_recovery.csv``."""
    parser = argparse.ArgumentParser(prog="python -m missie_impact.validity.frailty_recovery", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the journals and frailty_recovery.csv")
    parser.add_argument("--draws", type=int, default=1000, help="data sets per distribution")
    parser.add_argument("--units", type=int, default=4_000, help="units simulated per data set")
    asked = parser.parse_args(arguments)
    tables = [
        run(asked.out, asked.draws, asked.units, distribution).assign(distribution=distribution, units=asked.units)
        for distribution in get_args(Distribution)
    ]
    table = pd.concat(tables, ignore_index=True)
    table.to_csv(asked.out / "frailty_recovery.csv", index=False, float_format="%.6g")
    sys.stdout.write("Simulated data.\n" + table.to_string(index=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
