"""Spells, status and the exit risk set of 13 million trade rows: this library against two dense pandas ways.

`usual` (usual_panel.py) is written as the pandas documentation teaches; `tuned` (dense_panel.py) by an expert with
memory in mind. Each side runs in a process of its own, one after the other, on the same files. Printed: seconds per
step, peak memory of the process, the ratios, and whether all give the same rows for a sample of firms.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import narwhals as nw
import pandas as pd

import trade_rows

if TYPE_CHECKING:
    import missie_impact as mi

Side = Literal["usual", "tuned", "library"]
SAMPLE = 499  # every 499th firm is compared row for row
KEYS = {
    "spells": ["firm", "market", "spell"],
    "status": ["firm", "market", "year"],
    "exits": ["firm", "market", "year"],
}
# Both sides sum these over all rows: whatever is lazy runs, and the whole tables are compared.
SUMMED = {
    "spells": ["spell", "begin", "end", "length", "active_years", "origin_seen"],
    "status": ["year", "active_years", "window_seen", "structural"],
    "exits": ["year", "duration", "outcome", "treated"],
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one side took: seconds per step by the clock and of the processors, its peak memory, sums of its tables."""

    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    sums: dict[str, dict[str, int]]
    peak_gb: float


class Stopwatch:
    """Seconds per step, by the clock and of the processors."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.peak_gb = 0.0
        self._last = time.perf_counter(), time.process_time()

    def done(self, step: str) -> None:
        """Note what passed since the last step, and the most memory held so far."""
        self.peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        now = time.perf_counter(), time.process_time()
        self.seconds[step], self.cpu_seconds[step] = (b - a for a, b in zip(self._last, now, strict=True))
        self._last = now


def dense_side(side: Side, folder: Path, last_year: int, out: Path) -> tuple[Stopwatch, dict[str, dict[str, int]]]:
    import dense_panel
    import usual_panel

    way = usual_panel if side == "usual" else dense_panel
    watch = Stopwatch()
    tables = way.read(folder)
    watch.done("read")
    panel = way.build(tables, trade_rows.FIRST_YEAR, last_year)
    made = {"spells": panel.spells, "status": panel.status, "exits": panel.exits}
    sums = {
        name: {"rows": len(frame), **{c: int(frame[c].sum()) for c in SUMMED[name]}} for name, frame in made.items()
    }
    watch.done("panel, spells, status, exits")
    for name, frame in made.items():
        _write_sample(frame, name, out)
    return watch, sums


def _summed(panel: mi.Panel, lazy: nw.LazyFrame[Any], name: str) -> dict[str, int]:
    totals = [nw.col(c).cast(nw.Int64).sum().cast(nw.Int64) for c in SUMMED[name]]
    return panel.engine.one(lazy.select(nw.len().cast(nw.Int64).alias("rows"), *totals))


def library_side(folder: Path, out: Path) -> tuple[Stopwatch, dict[str, dict[str, int]]]:
    import missie_impact as mi

    watch = Stopwatch()
    with mi.read_registers(folder / "study.toml") as registers:
        watch.done("read")
        panel = mi.build_panel(registers)
        watch.done("panel")
        structural = (nw.col("status") == "structural").fill_null(False)
        made = {
            "spells": panel.spells(),
            "status": panel.status("market", "either").with_columns(structural=structural),
        }
        sums = {}
        for name, lazy in made.items():
            sums[name] = _summed(panel, lazy, name)
            watch.done(name)
        made["exits"] = mi.exit_risk_set(panel, kind="spells").rows
        watch.done("exits")
        # not counted, because the joins of the controls run here
        sums["exits"] = _summed(panel, made["exits"], "exits")
        for name, lazy in made.items():
            part = lazy.filter(nw.col("firm") % SAMPLE == 0)
            _write_sample(panel.collect(part, KEYS[name]), name, out)
    return watch, sums


def run(side: Side, folder: Path, last_year: int, out: Path) -> Run:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--out", str(out)]
    command += ["--last-year", str(last_year)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Run(**json.loads(answer.stdout.splitlines()[-1]))


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


def unequal_sums(dense: Run, library: Run) -> list[str]:
    """Compare the sums over all rows; return what differs."""
    return [
        f"sum of {name}.{column}: {total} against {library.sums[name][column]}"
        for name, sums in dense.sums.items()
        for column, total in sums.items()
        if total != library.sums[name][column]
    ]


def _write_sample(frame: pd.DataFrame, name: str, out: Path) -> None:
    frame[frame["firm"] % SAMPLE == 0].to_parquet(out / f"{name}.parquet", index=False)


def report(runs: dict[Side, Run], differing: list[str]) -> str:
    """Write all runs and the ratios of the library to the others as Markdown."""
    heads = [f"{side}, s" for side in runs] + [f"{side}, cpu s" for side in runs]
    tables = [run.seconds for run in runs.values()] + [run.cpu_seconds for run in runs.values()]
    lines = [f"| step | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for step in dict.fromkeys(step for table in tables for step in table):
        cells = [table.get(step) for table in tables]
        lines.append(f"| {step} | " + " | ".join("" if cell is None else f"{cell:.1f}" for cell in cells) + " |")
    lines.append("| **all after reading** | " + " | ".join(f"{_after_reading(table):.1f}" for table in tables) + " |")
    peaks = " | ".join(f"{run.peak_gb:.2f}" for run in runs.values())
    lines += [f"| **peak memory, GB** | {peaks} |" + " |" * len(runs), ""]
    library = runs["library"]
    lines += [_ratios(library, run, side) for side, run in runs.items() if side != "library"]
    lines += [
        "rows: " + ", ".join(f"{name} {sums['rows']:,d}" for name, sums in library.sums.items()),
        f"sums over all rows and every {SAMPLE}th firm row for row: "
        + ("identical" if not differing else f"differ in {differing}"),
    ]
    return "\n".join(lines) + "\n"


def _ratios(library: Run, dense: Run, side: Side) -> str:
    clock, cpu = (
        _after_reading(ours) / _after_reading(theirs)
        for ours, theirs in ((library.seconds, dense.seconds), (library.cpu_seconds, dense.cpu_seconds))
    )
    whole = sum(library.seconds.values()) / sum(dense.seconds.values())
    return (
        f"library / {side} pandas: time {clock:.2f}, processor time {cpu:.2f}, time with reading and checking "
        f"{whole:.2f}, memory {library.peak_gb / dense.peak_gb:.2f}\n"
    )


def _after_reading(seconds: dict[str, float]) -> float:
    return sum(value for step, value in seconds.items() if step != "read")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firms", type=int, default=trade_rows.Size().firms)
    parser.add_argument("--folder", type=Path, help="keep the files here (default: a temporary folder)")
    parser.add_argument("--side", choices=get_args(Side), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--last-year", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        folder, out = arguments.folder, arguments.out
        dense = arguments.side != "library"
        watch, sums = (
            dense_side(arguments.side, folder, arguments.last_year, out) if dense else library_side(folder, out)
        )
        sys.stdout.write(
            json.dumps(
                {"seconds": watch.seconds, "cpu_seconds": watch.cpu_seconds, "sums": sums, "peak_gb": watch.peak_gb}
            )
            + "\n"
        )
        return
    standard = trade_rows.Size()
    size = trade_rows.Size(firms=arguments.firms, missions=standard.missions * arguments.firms // standard.firms)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "files"
        # in a process of its own: one that is started reports the peak of its parent as its own where that is higher
        write = [sys.executable, trade_rows.__file__, str(folder), "--firms", str(size.firms)]
        subprocess.run(write, stdout=subprocess.DEVNULL, check=True)
        outs: dict[Side, Path] = {side: Path(temporary) / side for side in get_args(Side)}
        for out in outs.values():
            out.mkdir()
        last_year = trade_rows.FIRST_YEAR + size.years - 1
        runs = {side: run(side, folder, last_year, out) for side, out in outs.items()}
        differing = [
            f"{side} {text}"
            for side in ("usual", "tuned")
            for text in compare(outs[side], outs["library"]) + unequal_sums(runs[side], runs["library"])
        ]
        sys.stdout.write(report(runs, differing))
    if differing:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
