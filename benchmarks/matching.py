"""Nearest-neighbour matching on the propensity score: ours against R's MatchIt and a Python peer, on the same rows.

Each program fits its own logit and matches without replacement, one to one, the largest score first, without a
caliper, in a process of its own. MatchIt before 4.5.4 ignores calipers, and does not always take the nearest free
control either. Reported: the time from a table in memory to pairs, the peak memory of the whole process, and the mean
distance of the pairs. Run::

    python benchmarks/matching.py                      # 10 thousand treated; 20 and 100 thousand, 1 million controls
    python benchmarks/matching.py --controls 100000    # one size
    python benchmarks/matching.py --peer-python /path/to/another/python   # with the Python peers

A peer that is not installed is skipped with a line, and one that needs more than ``--limit`` seconds or 8 GB is
stopped.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TREATED = 10_000
CONTROLS = (20_000, 100_000, 1_000_000)
MEMORY_BYTES = 8 << 30  # of each process
COVARIATES = ("x1", "x2", "x3", "sector")
MATCHIT = """
suppressPackageStartupMessages(library(MatchIt))
arguments <- commandArgs(TRUE)
d <- read.csv(arguments[1]); d$sector <- factor(d$sector)
start <- proc.time()[["elapsed"]]
m <- matchit(treated ~ x1 + x2 + x3 + sector, d, method = "nearest", distance = "glm", m.order = "largest")
seconds <- proc.time()[["elapsed"]] - start
pair <- m$match.matrix[, 1]
gap <- mean(abs(m$distance[names(pair)] - m$distance[pair]), na.rm = TRUE)
memory <- sub("[^0-9]*([0-9]+).*", "\\\\1", grep("VmHWM", readLines("/proc/self/status"), value = TRUE))
cat(sprintf('{"seconds": %f, "peak_mb": %f, "pairs": %d, "gap": %.12g, "version": "MatchIt %s"}\\n', seconds,
  as.numeric(memory) / 1024, sum(!is.na(pair)), gap, packageVersion("MatchIt")))
"""


def simulate(n_treated: int, n_controls: int, seed: int = 2026):
    """Treated firms somewhat larger than the others: three numbers and a sector."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    treated = np.repeat([1, 0], [n_treated, n_controls])
    x = rng.normal(size=(3, len(treated))) + 0.4 * treated
    sector = rng.choice(list("CFGHJM"), len(treated), p=[0.2, 0.1, 0.3, 0.1, 0.2, 0.1])
    outcome = (rng.random(len(treated)) < 0.2 + 0.05 * treated).astype(int)
    table = {"treated": treated, "outcome": outcome, **{f"x{i + 1}": values for i, values in enumerate(x)}}
    frame = pd.DataFrame({**table, "sector": sector})
    return frame.sample(frac=1.0, random_state=seed, ignore_index=True)


def run_ours(frame):
    """The design alone, from the table in memory."""
    import missie_impact as mi
    from missie_impact.design import match

    start = time.perf_counter()
    risk = mi.RiskSet.from_frame(frame, outcome="outcome", treatment="treated")
    design = match(risk, on=list(COVARIATES))
    seconds = time.perf_counter() - start
    gap = np.abs(design.score[design.pairs[:, 0]] - design.score[design.pairs[:, 1]]).mean()
    return seconds, len(design.pairs), gap, "missie_impact"


def run_pymatchit(frame):
    import contextlib
    import importlib.metadata
    import io

    from pymatchit import MatchIt

    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        model = MatchIt(data=frame, method="nearest", distance="glm", replace=False, m_order="largest", random_state=1)
        model.fit("treated ~ x1 + x2 + x3 + C(sector)")
    seconds = time.perf_counter() - start
    version = f"pymatchit-causal {importlib.metadata.version('pymatchit-causal')}"
    score = np.asarray(model.distance_measure, dtype=float)
    gaps = [abs(score[mine] - score[one]) for mine, theirs in model.matched_indices.items() for one in theirs]
    return seconds, len(gaps), float(np.mean(gaps)), version


def run_scikit_learn(frame):
    """What is done by hand with scikit-learn: a logit, neighbours, and a loop that skips those that are taken."""
    import pandas as pd
    import sklearn
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import NearestNeighbors

    start = time.perf_counter()
    columns = pd.get_dummies(frame[list(COVARIATES)], columns=["sector"], drop_first=True, dtype=float).to_numpy()
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=500).fit(columns, frame["treated"])
    score = model.predict_proba(columns)[:, 1]
    treated = np.flatnonzero(frame["treated"] == 1)
    controls = np.flatnonzero(frame["treated"] == 0)
    treated = treated[np.argsort(-score[treated], kind="stable")]
    near = NearestNeighbors(n_neighbors=min(200, len(controls))).fit(score[controls, None])
    distance, who = near.kneighbors(score[treated, None])
    used, gaps = set(), []
    for row, gap in zip(who, distance, strict=True):
        for candidate, far in zip(row, gap, strict=True):
            if candidate not in used:
                used.add(candidate)
                gaps.append(far)
                break
    return time.perf_counter() - start, len(gaps), float(np.mean(gaps)), f"scikit-learn {sklearn.__version__}"


RUNS = {"ours": run_ours, "pymatchit": run_pymatchit, "scikit_learn": run_scikit_learn}


def child(name: str, path: str) -> None:
    """Run one program on the stored rows and say what it took."""
    import pandas as pd

    seconds, pairs, gap, version = RUNS[name](pd.read_csv(path))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(
        json.dumps({"seconds": seconds, "peak_mb": peak, "pairs": pairs, "gap": gap, "version": version}) + "\n"
    )


def bounded() -> None:
    """Keep a peer that builds a matrix of all distances from filling the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def measured(command: list[str], limit: float) -> dict[str, object] | str:
    """Result of one process, or why there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, preexec_fn=bounded)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:g} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return f"skipped: {last}"
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def compare_matching(n_controls: int, peers: list[str], peer_python: str, limit: float) -> list[str]:
    """Rows of a Markdown table for one number of controls."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder) / "rows.csv", Path(folder) / "matchit.R"
        simulate(TREATED, n_controls).to_csv(path, index=False)
        script.write_text(MATCHIT, encoding="utf-8")
        for name in peers:
            if name == "MatchIt" and shutil.which("Rscript") is None:
                lines.append(f"| {n_controls:,} | MatchIt | skipped: Rscript is not there | | | |")
                continue
            python = peer_python if name in ("pymatchit", "scikit_learn") else sys.executable
            own = [python, __file__, "--child", name, str(path)]
            found = measured(["Rscript", str(script), str(path)] if name == "MatchIt" else own, limit)
            if isinstance(found, str):
                lines.append(f"| {n_controls:,} | {name} | {found} | | | |")
            else:
                text = "| {:,} | {version} | {seconds:.2f} s | {peak_mb:,.0f} MB | {pairs:,} | {gap:.3e} |"
                lines.append(text.format(n_controls, **found))
            sys.stderr.write(lines[-1] + "\n")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--controls", type=int, action="append")
    parser.add_argument("--peers", nargs="*", default=["ours", "MatchIt", "pymatchit", "scikit_learn"])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--limit", type=float, default=600.0)
    parser.add_argument("--child", nargs=2, metavar=("NAME", "ROWS"))
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    lines = ["| controls | program | time | peak memory | pairs | mean distance |", "|---|---|---|---|---|---|"]
    for n_controls in arguments.controls or CONTROLS:
        lines += compare_matching(n_controls, arguments.peers, arguments.peer_python, arguments.limit)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
