"""The budget indicator against one DuckDB pass that only sums the file, and the counterfactual indicator.

20 million trade rows of 366 thousand firms over 21 years (random, not the calibrated simulation), about 10 thousand
supported pairs in each of two cohorts. Both are timed in the same process, one after the other in turn, so that what
else runs on the machine hits both. Printed: best times, their ratio, and time and peak memory of the counterfactual.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

import trade_rows

COHORTS = (2020, 2021)
TIMES = 7


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def measure(folder: Path, threads: int) -> str:
    import missie_impact as mi
    from missie_impact.effects import counterfactual_indicator

    connection = duckdb.connect(config={"threads": threads})
    query = f"SELECT sum(value_eur) FROM read_parquet('{folder / 'trade.parquet'}')"
    with mi.read_registers(folder / "study.toml") as registers:
        n_rows = registers.rows["trade"]
        panel = mi.build_panel(registers)
        before = peak_gb()
        sums, indicators = [], []
        for _ in range(TIMES):
            sums.append(seconds(lambda: connection.sql(query).fetchall()))
            indicators.append(seconds(lambda: mi.budget_indicator(panel, COHORTS)))
        n_pairs = sum(row.n_pairs for row in mi.budget_indicator(panel, COHORTS, by=None).rows)
        whole = seconds(lambda: counterfactual_indicator(panel, COHORTS))
    one, other = min(sums), min(indicators)
    lines = [
        "| step | seconds |",
        "|---|---:|",
        f"| one DuckDB pass that sums the file ({n_rows:,d} rows) | {one:.3f} |",
        f"| budget indicator ({n_pairs:,d} supported pairs, two cohorts, panel built) | {other:.3f} |",
        f"| **ratio** | **{other / one:.1f}** |",
        f"| counterfactual indicator, two matchings and their placebos | {whole:.1f} |",
        "",
        f"Peak memory, GB: reading and panel {before:.2f}, whole process {peak_gb():.2f}",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firms", type=int, default=366_000)
    parser.add_argument("--folder", type=Path, help="keep the files here (default: a temporary folder)")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    size = trade_rows.Size(firms=arguments.firms, years=21, missions=210_000 * arguments.firms // 366_000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        trade_rows.write_files(folder, size)
        sys.stdout.write(measure(folder, arguments.threads))


if __name__ == "__main__":
    main()
