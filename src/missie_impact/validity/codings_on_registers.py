"""What each way of coding participation gives where missions do nothing: survivors' bias, by who may attend.

Run as ``python -m missie_impact.validity.codings_on_registers --out DIR``; each register is a line in a journal in DIR.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from missie_impact.effects.leaving.exit_codings import CODINGS, exit_codings
from missie_impact.panel import build_panel
from missie_impact.simulation.parameters import Attendance
from missie_impact.simulation.registers import simulate_registers
from missie_impact.validity.journal import drawn

FIRST_SEED = 900_000


def hazard_ratios(seed: int, firms: int, attendance: Attendance) -> dict[str, float]:
    """Draw registers without any effect and estimate under every coding: coding -> conditional hazard ratio."""
    with simulate_registers(seed, firms=firms, truth="none", attendance=attendance, progress=False) as registers:
        found = exit_codings(build_panel(registers))
    return dict(zip(found["coding"], found["hazard_ratio"].astype(float), strict=True))


def coding_table(draws: Iterable[Mapping[str, float]]) -> pd.DataFrame:
    """Sum draws up.

    Returns
    -------
    DataFrame
        One row per coding: hazard_ratio (exponential of the mean logarithm; the truth is 1), smallest, largest,
        monte_carlo_error (of the mean logarithm), draws, failed.
    """
    listed, lines = list(draws), []
    for coding in CODINGS:
        values = np.array([draw.get(coding, math.nan) for draw in listed])
        kept = values[np.isfinite(values)]
        logs = np.log(kept)
        line = {"coding": coding, "draws": len(kept), "failed": len(values) - len(kept)}
        if len(kept) > 1:
            line |= {
                "hazard_ratio": math.exp(logs.mean()), "smallest": kept.min(), "largest": kept.max(),
                "monte_carlo_error": logs.std(ddof=1) / math.sqrt(len(kept)),
            }  # fmt: skip
        lines.append(line)
    return pd.DataFrame(lines)


def run(out: Path, draws: int, firms: int, *, progress: bool | None = None) -> pd.DataFrame:
    """Draw, or read from the journals, registers of every rule of attendance, and sum them up."""
    parts = []
    for attendance in get_args(Attendance):
        once = partial(hazard_ratios, firms=firms, attendance=attendance)
        seeds = range(FIRST_SEED, FIRST_SEED + draws)
        found = drawn(out / f"codings-{attendance}-{firms}.jsonl", seeds, once, attendance, progress=progress)
        parts.append(coding_table(found.values()).assign(attendance=attendance))
    return pd.concat(parts, ignore_index=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the bias and write ``codings_on_registers.csv``."""
    parser = argparse.ArgumentParser(prog="python -m missie_impact.validity.codings_on_registers", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the journals and the table")
    parser.add_argument("--draws", type=int, default=40, help="registers per rule of attendance")
    parser.add_argument("--firms", type=int, default=40_000, help="firms per register")
    asked = parser.parse_args(arguments)
    table = run(asked.out, asked.draws, asked.firms)
    table.to_csv(asked.out / "codings_on_registers.csv", index=False, float_format="%.6g")
    sys.stdout.write("Simulated registers without any effect.\n" + table.to_string(index=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
