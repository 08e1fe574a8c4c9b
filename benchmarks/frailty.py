"""A normal effect per firm in a complementary log-log hazard, 50 thousand spell-years: ours against lme4's glmer.

Both fit the same simulated rows with 8 adaptive quadrature points, each in a process of its own; ours is the best of
three, lme4 runs once because it takes that long. A million rows are fitted by ours alone. Run::

    python benchmarks/frailty.py            # R with lme4 if it is there
    python benchmarks/frailty.py --million  # ours on a million rows as well
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

POINTS = 8
COEF = {"late": -0.4, "log_size": -0.3, "treated": float(np.log(0.5))}
R_SCRIPT = """
suppressMessages(library(lme4))
rows <- read.csv(commandArgs(TRUE)[1])
rows$year <- factor(rows$year)
took <- system.time(
  fit <- glmer(y ~ year + treated + log_size + (1 | firm), rows, family = binomial("cloglog"), nAGQ = 8)
)[["elapsed"]]
values <- c(took, as.numeric(logLik(fit)), fixef(fit)[["treated"]], sqrt(unlist(VarCorr(fit))[[1]]))
cat(sprintf("[%s]", paste(sprintf("%.10g", values), collapse = ",")), "\n")
"""


def simulate(n: int, seed: int = 2026):
    """Spell-years of firms in about four markets each, left at most once: outcome, year, treated, log size, firm."""
    rng = np.random.default_rng(seed)
    pairs = n // 3
    firm = rng.integers(0, pairs // 4, pairs)
    u, size = rng.normal(0, 0.9, pairs // 4)[firm], rng.normal(0, 1, pairs)
    treated = (rng.random(pairs) < 0.3).astype(np.int64)
    parts, alive = [], np.arange(pairs)
    for year in range(8):
        eta = -1.6 - 0.1 * year + np.log(0.5) * treated[alive] - 0.3 * size[alive] + u[alive]
        y = rng.random(len(alive)) < -np.expm1(-np.exp(eta))
        parts.append((y.astype(float), np.full(len(alive), year), treated[alive], size[alive], firm[alive]))
        alive = alive[~y]
    y, year, treated, size, firm = (np.concatenate(v) for v in zip(*parts, strict=True))
    order = np.argsort(firm, kind="stable")[:n]
    return y[order], year[order], treated[order], size[order], np.unique(firm[order], return_inverse=True)[1]


def run_ours(y, year, treated, size, firm):
    from missie_impact.numerics.design import Column, Factor, build_design
    from missie_impact.numerics.frailty import fit_gaussian_frailty
    from missie_impact.numerics.frailty_data import frailty_data

    factors = [Factor("treated", treated, ("0", "1")), Factor("year", year, tuple(map(str, range(8))))]
    design = build_design(factors, [Column("log_size", size)])
    fit = fit_gaussian_frailty(frailty_data(y, design, firm), link="cloglog", points=POINTS)
    return fit.log_likelihood, float(fit.coef[1]), fit.sd


def child(rows: int, repeats: int) -> None:
    run_ours(*simulate(2_000))
    data, seconds = simulate(rows), float("inf")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(repeats):
        start = time.perf_counter()
        found = run_ours(*data)
        seconds = min(seconds, time.perf_counter() - start)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024**2
    sys.stdout.write(json.dumps([seconds, *found, len(data[0]), more]) + "\n")


def lme4(rows: int) -> list[float] | None:
    """Time and optimum of glmer, or None where R or lme4 is not there."""
    if shutil.which("Rscript") is None:
        return None
    y, year, treated, size, firm = simulate(rows)
    with tempfile.TemporaryDirectory() as folder:
        table, script = Path(folder, "rows.csv"), Path(folder, "fit.R")
        header = "y,year,treated,log_size,firm"
        np.savetxt(table, np.column_stack([y, year, treated, size, firm]), "%.17g", ",", header=header, comments="")
        script.write_text(R_SCRIPT)
        done = subprocess.run(["Rscript", str(script), str(table)], capture_output=True, text=True, check=False)
    return None if done.returncode else json.loads(done.stdout.splitlines()[-1])


def ours(rows: int, repeats: int) -> list[float]:
    command = [sys.executable, __file__, "--child", str(rows), "--repeats", str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, options.repeats)
    line = "| {:8s} | {:>9,} | {:8.2f} | {:14.4f} | {:10.6f} | {:8.6f} |\n"
    sys.stdout.write("| program | rows | seconds | log likelihood | treated | sd |\n|---|---:|---:|---:|---:|---:|\n")
    mine = ours(options.rows, options.repeats)
    sys.stdout.write(line.format("ours", mine[4], *mine[:4]))
    peer = lme4(options.rows)
    if peer is not None:
        sys.stdout.write(line.format("lme4", mine[4], *peer))
    if options.million:
        many = ours(1_000_000, 1)
        sys.stdout.write(line.format("ours", many[4], *many[:4]))
        sys.stdout.write(f"\na million rows took {many[5]:.2f} GB more than their data\n")
    if peer is not None:
        sys.stdout.write(f"\nours is {peer[0] / mine[0]:.0f} times as fast as lme4\n")
    return None


if __name__ == "__main__":
    main()
