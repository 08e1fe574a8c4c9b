"""A million spell-years, 45 columns of factors, two continuous, a treatment, errors by firm: ours against its peers.

Each program fits the same complementary log-log hazard in a process of its own, on the same simulated rows and to a
gradient of 1e-8, and reports the best time of three and the memory that fitting added. Run::

    python benchmarks/hazard_cells.py            # statsmodels on a tenth of the rows
    python benchmarks/hazard_cells.py --full     # statsmodels on all rows (about 5 GB)
    python benchmarks/hazard_cells.py --rows 100000
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LEVELS = (12, 10, 14, 13)  # 45 dummies beside the reference levels
FIRMS_PER_ROW = 0.06
PEERS = ("ours", "glum", "statsmodels")
R_SCRIPT = """
suppressMessages(library(sandwich))
rows <- read.csv(commandArgs(TRUE)[1])
for (name in c("f0", "f1", "f2", "f3")) rows[[name]] <- factor(rows[[name]])
before <- sum(gc(reset = TRUE)[, 6])
took <- system.time({
  fit <- glm(y ~ treated + f0 + f1 + f2 + f3 + x0 + x1, binomial("cloglog"), rows, epsilon = 1e-10, maxit = 50)
  error <- sqrt(vcovCL(fit, rows$firm, type = "HC0")["treated", "treated"])
})[["elapsed"]]
more <- (sum(gc()[, 6]) - before) / 1024
cat(sprintf("[%.6g,%.6g,%.10g,%.10g]", took, more, coef(fit)[["treated"]], error), "\\n")
"""


def simulate(n: int, seed: int = 2026):
    """Factors, continuous columns, treatment, outcome and firm of n simulated spell-years."""
    rng = np.random.default_rng(seed)
    factors = [rng.integers(0, size, n) for size in LEVELS]
    effects = [np.concatenate([[0.0], rng.normal(0, 0.3, size - 1)]) for size in LEVELS]
    treated = (rng.random(n) < 0.1).astype(np.int64)
    x = rng.normal(size=(2, n))
    eta = -2.2 + sum(e[f] for e, f in zip(effects, factors, strict=True)) + np.log(0.5) * treated + x.T @ [0.3, -0.2]
    y = (rng.random(n) < -np.expm1(-np.exp(eta))).astype(float)
    return factors, x, treated, y, rng.integers(0, int(FIRMS_PER_ROW * n), n)


def dense(factors, x, treated):
    """The model matrix with every dummy written out."""
    dummies = [(f[:, None] == np.arange(1, size)) for f, size in zip(factors, LEVELS, strict=True)]
    return np.column_stack([np.ones(len(treated)), treated, *dummies, x.T]).astype(float)


def sandwich(matrix, score, information, firm):
    """Clustered errors as R's vcovCL for those peers that have none with the expected information."""
    from scipy import sparse

    g = firm.max() + 1
    sums = sparse.csr_array((score, (firm, np.arange(len(firm)))), shape=(g, len(firm))) @ matrix
    bread = np.linalg.inv(matrix.T @ (matrix * information[:, None]))
    return np.sqrt(np.diag(g / (g - 1) * bread @ sums.T @ sums @ bread))


def run_ours(factors, x, treated, y, firm):
    from missie_impact.numerics.binomial import fit_binomial
    from missie_impact.numerics.covariance import clusters_of, covariance, fit_scores
    from missie_impact.numerics.design import Column, Factor, build_design

    columns = [Column(f"x{j}", values) for j, values in enumerate(x)]
    named = [
        Factor(f"f{j}", codes, tuple(map(str, range(size))))
        for j, (codes, size) in enumerate(zip(factors, LEVELS, strict=True))
    ]
    design = build_design([Factor("treated", treated, ("0", "1")), *named], columns)
    fit = fit_binomial(y, design, link="cloglog")
    errors = covariance(fit_scores(fit, y, design), [clusters_of(firm)]).std_error
    return fit.coef[1], errors[1], fit.gradient


def run_glum(factors, x, treated, y, firm):
    import pandas as pd
    import tabmat
    from glum import GeneralizedLinearRegressor

    categories = [tabmat.CategoricalMatrix(pd.Categorical(f), drop_first=True) for f in factors]
    matrix = tabmat.SplitMatrix([tabmat.DenseMatrix(np.column_stack([treated, x.T]).astype(float)), *categories])
    model = GeneralizedLinearRegressor(
        family="binomial", link="cloglog", alpha=0, gradient_tol=1e-8, expected_information=True, max_iter=100
    ) if _glum_has("expected_information") else GeneralizedLinearRegressor(
        family="binomial", link="cloglog", alpha=0, gradient_tol=1e-8, max_iter=100
    )  # fmt: skip
    model.fit(matrix, y)
    errors = model.std_errors(matrix, y, clusters=firm, expected_information=True)
    return model.coef_[0], errors[1], None


def _glum_has(name: str) -> bool:
    import inspect

    from glum import GeneralizedLinearRegressor

    return name in inspect.signature(GeneralizedLinearRegressor.__init__).parameters


def run_statsmodels(factors, x, treated, y, firm):
    import statsmodels.api as sm

    matrix = dense(factors, x, treated)
    family = sm.families.Binomial(sm.families.links.CLogLog())
    fit = sm.GLM(y, matrix, family=family).fit(tol=1e-10, maxiter=100)
    mu, rate = fit.fittedvalues, np.exp(matrix @ fit.params)
    slope = rate * np.exp(-rate)
    errors = sandwich(matrix, (y - mu) * slope / (mu * (1 - mu)), slope**2 / (mu * (1 - mu)), firm)
    return fit.params[1], errors[1], None


def peak() -> float:
    """Largest memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def child(name: str, rows: int, repeats: int) -> None:
    data = simulate(rows)
    run = {"ours": run_ours, "glum": run_glum, "statsmodels": run_statsmodels}[name]
    run(*simulate(2_000))  # imports and first calls are not what is compared
    before, seconds = peak(), float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        coef, error, gradient = run(*data)
        seconds = min(seconds, time.perf_counter() - start)
    report = {"seconds": seconds, "gb": peak() - before, "rows": rows, "coef": float(coef), "error": float(error)}
    sys.stdout.write(json.dumps(report | {"gradient": gradient}) + "\n")


def in_r(rows: int) -> dict[str, float] | None:
    """R's glm with sandwich::vcovCL, once; None where R or the package is not there."""
    if shutil.which("Rscript") is None:
        return None
    factors, x, treated, y, firm = simulate(rows)
    with tempfile.TemporaryDirectory() as folder:
        table, script = Path(folder, "rows.csv"), Path(folder, "fit.R")
        header = "y,treated,f0,f1,f2,f3,x0,x1,firm"
        np.savetxt(table, np.column_stack([y, treated, *factors, *x, firm]), "%.12g", ",", header=header, comments="")
        script.write_text(R_SCRIPT)
        done = subprocess.run(["Rscript", str(script), str(table)], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    seconds, more, coef, error = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": seconds, "gb": more, "rows": rows, "coef": coef, "error": error}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--full", action="store_true", help="statsmodels on all rows")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("--child", choices=PEERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child, options.rows, options.repeats)
    found = {}
    for name in PEERS:
        if name != "ours" and importlib.util.find_spec(name) is None:
            sys.stdout.write(f"{name}: not installed, skipped\n")
            continue
        rows = options.rows if name != "statsmodels" or options.full else options.rows // 10
        command = [sys.executable, __file__, "--child", name, "--rows", str(rows), "--repeats", str(options.repeats)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stdout.write(f"{name}: failed, skipped\n{done.stderr[-600:]}\n")
            continue
        found[name] = json.loads(done.stdout.splitlines()[-1])
    r = in_r(options.rows)
    found |= {} if r is None else {"R glm": r}
    for name, shown in found.items():
        sys.stdout.write(
            f"{name:12s} {shown['rows']:>9,} rows  {shown['seconds']:7.2f} s  {shown['gb']:5.2f} GB more   "
            f"log hazard ratio {shown['coef']:.6f} ({shown['error']:.6f})\n"
        )
    ours = found.get("ours")
    for name, shown in found.items():
        if name == "ours" or ours is None:
            continue
        per_row = shown["seconds"] / shown["rows"] / (ours["seconds"] / ours["rows"])
        same = "" if shown["rows"] == ours["rows"] else " (per row)"
        sys.stdout.write(f"ours is {per_row:.1f} times as fast as {name}{same}\n")
    return None


if __name__ == "__main__":
    main()
