"""Whether effect and variance are recovered where an unobserved effect is independent of everything else.

The simulated registers make missions depend on past trade, hence on whatever drives it; this generator does not. Spells
are followed from their third year on, so that those who left earlier are never seen: the likelihood that ignores entry
is fitted beside the one that conditions on it.

Run as ``python -m missie_impact.validity.frailty_recovery --out DIR``. Each draw is a line in a journal in DIR, so that
a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from missie_impact.effects.fitting.rows import Request
from missie_impact.effects.leaving.frailty import Frailty, frailty_effect
from missie_impact.effects.leaving.frailty_rows import Distribution
from missie_impact.errors import MissieError
from missie_impact.risksets.riskset import RiskSet
from missie_impact.validity.coverage import BIAS_SHARE, NEAR_COVERAGE, exact_interval

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
        frailty_variance): truth, mean, bias (sd and variance: of logarithms), monte_carlo_error, coverage of the 95%
        interval with its exact 99.9% interval, draws, failed, unbiased, covers.
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
    truth = TRUTH[parameter]
    kept = group[np.isfinite(group[["estimate", "low", "high"]]).all(axis=1)]
    values, n = kept["estimate"].to_numpy(dtype=np.float64), len(kept)
    logs = parameter in RATIOS
    shown, target = (np.log(values), math.log(truth)) if logs else (values, truth)
    bias = float(shown.mean() - target) if n else math.nan
    error = float(shown.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    hits = int(((kept["low"] <= truth) & (truth <= kept["high"])).sum())
    low, high = exact_interval(hits, n)
    share = hits / n if n else math.nan
    allowed = BIAS_SHARE * (1.0 if logs else abs(target)) + 2 * error
    return {
        "likelihood": likelihood, "parameter": parameter, "truth": truth,
        "mean": float(values.mean()) if n else math.nan, "bias": bias,
        "monte_carlo_error": error, "coverage": share, "coverage_low": low, "coverage_high": high, "draws": n,
        "failed": len(group) - n, "unbiased": bool(abs(bias) <= allowed),
        "covers": bool(NEAR_COVERAGE[0] <= share <= NEAR_COVERAGE[1] or low <= 0.95 <= high),
    }  # fmt: skip


def run(
    out: Path, draws: int, units: int, distribution: Distribution = "gaussian", *, progress: bool | None = None
) -> pd.DataFrame:
    """Draw, or read from the journal, as many data sets as asked for, and sum them up."""
    from tqdm import tqdm

    out.mkdir(parents=True, exist_ok=True)
    journal = out / f"frailty-{distribution}-{units}.jsonl"
    done = {seed: [tuple(line) for line in found] for seed, found in read_journal(journal).items()}
    wanted = range(FIRST_SEED, FIRST_SEED + draws)
    hide = None if progress is None else not progress
    todo = [seed for seed in wanted if seed not in done]
    for seed in tqdm(todo, desc=distribution, unit="draw", disable=hide, file=sys.stderr):
        done[seed] = recover_once(seed, units, distribution)
        add_to_journal(journal, seed, done[seed])
    return recovery_table(done[seed] for seed in wanted)


def read_journal(journal: Path) -> dict[int, Any]:
    """What a run found so far, by seed; a line that was cut off does not count."""
    found = {}
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[int(record["seed"])] = record["found"]
    return found


def add_to_journal(journal: Path, seed: int, found: Any) -> None:
    """Write what a seed gave on a line of its own."""
    whole = not journal.exists() or journal.read_text(encoding="utf-8").endswith("\n")
    with journal.open("a", encoding="utf-8") as lines:
        lines.write(("" if whole else "\n") + json.dumps({"seed": seed, "found": found}) + "\n")


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
