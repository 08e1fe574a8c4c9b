"""Spells, status and the exit risk set of 13 million trade rows: this library against the dense pandas way.

Each side runs in a process of its own, one after the other, on the same files. Printed: seconds per step, peak
memory of the process, the ratios, and whether both give the same rows for a sample of firms.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

import trade_rows

Side = Literal["dense", "library"]
SAMPLE = 499  # every 499th firm is compared row for row
KEYS = {
    "spells": ["firm", "market", "spell"],
    "status": ["firm", "market", "year"],
    "exits": ["firm", "market", "year"],
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one side took: seconds per step, and the most memory its process ever held."""

    seconds: dict[str, float]
    rows: dict[str, int]
    peak_gb: float

    @property
    def work_seconds(self) -> float:
        """Everything after reading and checking the files."""
        return sum(seconds for step, seconds in self.seconds.items() if step != "read")


def dense_side(folder: Path, last_year: int, out: Path) -> dict[str, dict[str, float]]:
    import dense_panel

    clock = [time.perf_counter()]
    tables = dense_panel.read(folder)
    clock.append(time.perf_counter())
    panel = dense_panel.build(tables, trade_rows.FIRST_YEAR, last_year)
    clock.append(time.perf_counter())
    made = {"spells": panel.spells, "status": panel.status, "exits": panel.exits}
    for name, frame in made.items():
        _write_sample(frame, name, out)
    steps = dict(zip(["read", "panel, spells, status, exits"], _differences(clock), strict=True))
    return {"seconds": steps, "rows": {name: len(frame) for name, frame in made.items()}}


def library_side(folder: Path, out: Path) -> dict[str, dict[str, float]]:
    import narwhals as nw

    import missie_impact as mi

    clock = [time.perf_counter()]
    with mi.read_registers(folder / "study.toml") as registers:
        clock.append(time.perf_counter())
        panel = mi.build_panel(registers)
        clock.append(time.perf_counter())
        spells = panel.engine.store(panel.spells("export"), "bench_spells")
        clock.append(time.perf_counter())
        status = panel.engine.store(panel.status("market", "export"), "bench_status")
        clock.append(time.perf_counter())
        exits = mi.exit_risk_set(panel, kind="spells").rows
        clock.append(time.perf_counter())
        made = {
            "spells": spells,
            "status": status.with_columns(structural=(nw.col("status") == "structural").fill_null(False)),
            "exits": exits,
        }
        rows = {name: panel.engine.count(lazy) for name, lazy in made.items()}
        for name, lazy in made.items():
            part = lazy.filter(nw.col("firm") % SAMPLE == 0)
            _write_sample(panel.collect(part, KEYS[name]), name, out)
    steps = ["read", "panel", "spells", "status", "exits"]
    return {"seconds": dict(zip(steps, _differences(clock), strict=True)), "rows": rows}


def run(side: Side, folder: Path, last_year: int, out: Path) -> Run:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--out", str(out)]
    process = subprocess.Popen([*command, "--last-year", str(last_year)], stdout=subprocess.PIPE, text=True)
    text = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"the {side} side failed")
    answer = json.loads(text.splitlines()[-1])
    return Run(answer["seconds"], answer["rows"], usage.ru_maxrss / 1024**2)


def compare(dense: Path, library: Path) -> list[str]:
    """Compare the samples column by column; return what differs."""
    differing = []
    for name, keys in KEYS.items():
        left, right = pd.read_parquet(dense / f"{name}.parquet"), pd.read_parquet(library / f"{name}.parquet")
        columns = [column for column in left.columns if column in right.columns]
        left, right = (frame[columns].astype(str).sort_values(keys, ignore_index=True) for frame in (left, right))
        if len(left) != len(right):
            differing.append(f"{name}: {len(left)} against {len(right)} rows")
        else:
            differing += [f"{name}.{c}" for c in columns if not left[c].equals(right[c])]
    return differing


def _write_sample(frame: pd.DataFrame, name: str, out: Path) -> None:
    frame[frame["firm"] % SAMPLE == 0].to_parquet(out / f"{name}.parquet", index=False)


def _differences(clock: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(clock)]


def report(dense: Run, library: Run, differing: list[str]) -> str:
    """Write both runs and their ratios as Markdown."""
    lines = ["| step | dense pandas, s | library, s |", "|---|---:|---:|"]
    for step in dict.fromkeys([*dense.seconds, *library.seconds]):
        left, right = (f"{side.seconds[step]:.1f}" if step in side.seconds else "" for side in (dense, library))
        lines.append(f"| {step} | {left} | {right} |")
    lines += [
        f"| all after reading | {dense.work_seconds:.1f} | {library.work_seconds:.1f} |",
        f"| peak memory, GB | {dense.peak_gb:.2f} | {library.peak_gb:.2f} |",
        "",
        f"library / dense: time {library.work_seconds / dense.work_seconds:.3f} (after reading), "
        f"{sum(library.seconds.values()) / sum(dense.seconds.values()):.3f} (with reading and checking), "
        f"memory {library.peak_gb / dense.peak_gb:.3f}",
        f"rows: {library.rows}",
        f"sample of every {SAMPLE}th firm: " + ("identical" if not differing else f"differs in {differing}"),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firms", type=int, default=trade_rows.Size().firms)
    parser.add_argument("--folder", type=Path, help="keep the files here (default: a temporary folder)")
    parser.add_argument("--side", choices=["dense", "library"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--last-year", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        folder, out = arguments.folder, arguments.out
        answer = (
            dense_side(folder, arguments.last_year, out) if arguments.side == "dense" else library_side(folder, out)
        )
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    standard = trade_rows.Size()
    size = trade_rows.Size(firms=arguments.firms, missions=standard.missions * arguments.firms // standard.firms)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "files"
        trade_rows.write_files(folder, size)
        outs = [Path(temporary) / side for side in ("dense", "library")]
        for out in outs:
            out.mkdir()
        last_year = trade_rows.FIRST_YEAR + size.years - 1
        runs = [run("dense", folder, last_year, outs[0]), run("library", folder, last_year, outs[1])]
        differing = compare(*outs)
        sys.stdout.write(report(*runs, differing))
    if differing:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
