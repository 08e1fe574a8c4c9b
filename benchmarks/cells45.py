"""45 million spell-years of factors alone: counted into cells by the engine, fitted, errors by firm exact.

The rows are drawn inside the engine (random, not the calibrated simulation) before the clock starts. Run::

    python benchmarks/cells45.py
    python benchmarks/cells45.py --rows 1000000 --check   # and compare with the fit on rows
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time

import duckdb
import narwhals as nw
import numpy as np

from missie_impact.effects.leaving.cells import hazard_from_cells
from missie_impact.effects.leaving.exit import market_exit
from missie_impact.effects.leaving.exit_options import ExitOptions
from missie_impact.registers import Engine
from missie_impact.risksets.riskset import RiskSet, Roles

LEVELS = {"f0": 12, "f1": 10, "f2": 14, "f3": 13}  # 45 dummies beside the reference levels
DRAW = """
COPY (
  WITH drawn AS (
    SELECT (random() * {firms})::BIGINT AS firm, (random() < 0.1)::TINYINT AS treated,
      (random() * 11.999)::INT::TINYINT % 12 AS f0, (random() * 9.999)::INT::TINYINT % 10 AS f1,
      (random() * 13.999)::INT::TINYINT % 14 AS f2, (random() * 12.999)::INT::TINYINT % 13 AS f3, random() AS u
    FROM range({rows})
  )
  SELECT firm, treated, f0, f1, f2, f3,
    (u < 1 - exp(-exp(-2.2 - 0.69 * treated + 0.03 * f0 - 0.02 * f1 + 0.01 * f2 - 0.03 * f3)))::TINYINT AS y
  FROM drawn
) TO '{path}' (FORMAT parquet)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=45_000_000)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/rows.parquet"
        with duckdb.connect(config={"memory_limit": "1GB", "threads": 2}) as connection:
            connection.execute("SELECT setseed(0.5)")
            connection.execute(DRAW.format(rows=options.rows, firms=options.rows * 6 // 100, path=path))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        with Engine(folder, threads=2, memory_limit="2GB") as engine:
            rows = nw.from_native(engine.scan(path).to_native())
            risk = RiskSet(rows, engine, Roles("y", "treated", "firm"), "own table", "trials", options.rows)
            start = time.perf_counter()
            found = hazard_from_cells(risk, cluster="firm", controls=list(LEVELS))
            seconds = time.perf_counter() - start
            number = found.effect("log_hazard")
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
            sys.stdout.write(
                f"{options.rows:,} rows: {seconds:.1f} s, {after:.2f} GB at the peak ({before:.2f} GB before), "
                f"log hazard ratio {number.estimate:.6f} ({number.std_error:.6f})\n"
            )
            if options.check:
                own = RiskSet.from_frame(risk.rows.collect(), outcome="y", treatment="treated", firm="firm")
                controls = [f"C({name})" for name in LEVELS]
                by_row = market_exit(own, cluster="firm", controls=controls, options=ExitOptions()).effect("log_hazard")
                apart = np.abs([by_row.estimate / number.estimate - 1, by_row.std_error / number.std_error - 1]).max()
                sys.stdout.write(f"furthest from the fit on rows: {apart:.1e}\n")


if __name__ == "__main__":
    main()
