"""Doubly robust effects: ours against scikit-learn by hand, and against statsmodels as it comes.

On the treated: the same rows, the same five folds in number, logits without penalty on the same columns. On all rows,
without folds: `TreatmentEffect.aipw` of statsmodels, whose outcome models are linear, ours logits. Each program runs in
a process of its own, after a call on few rows that loads its modules. Reported: the time from a table in memory to
estimate and error, and the peak memory of the whole process.
Run::

    python benchmarks/doubly_robust.py                     # 10 thousand treated; 100 thousand and 1 million controls
    python benchmarks/doubly_robust.py --controls 100000   # one size
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from matching import COVARIATES, TREATED, measured, simulate

CONTROLS = (100_000, 1_000_000)
FOLDS = 5


def run_ours(frame, over="treated", folds=FOLDS):
    import missie_impact as mi
    from missie_impact.effects import structural_transition

    start = time.perf_counter()
    risk = mi.RiskSet.from_frame(frame, outcome="outcome", treatment="treated", firm="firm")
    effect = structural_transition(
        risk,
        controls=list(COVARIATES),
        cluster="firm",
        estimator="doubly_robust",
        standardise=over,
        options=mi.FitOptions(cross_fit=mi.CrossFit(folds=folds)),
    )
    found = effect.effect("risk_difference")
    return time.perf_counter() - start, found.estimate, found.std_error, f"missie_impact, {over}"


def run_ours_all(frame):
    return run_ours(frame, "all", 1)


def columns_of(frame):
    import pandas as pd

    return pd.get_dummies(frame[list(COVARIATES)], columns=["sector"], drop_first=True, dtype=float).to_numpy()


def run_scikit_learn(frame):
    import sklearn
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    start = time.perf_counter()
    x, y, on = columns_of(frame), frame["outcome"].to_numpy(), frame["treated"].to_numpy() == 1
    firm = frame["firm"].to_numpy()
    score, without = np.empty(len(y)), np.empty(len(y))
    for train, test in GroupKFold(FOLDS).split(x, y, firm):
        controls = train[~on[train]]
        score[test] = LogisticRegression(C=np.inf, max_iter=500).fit(x[train], on[train]).predict_proba(x[test])[:, 1]
        model = LogisticRegression(C=np.inf, max_iter=500).fit(x[controls], y[controls])
        without[test] = model.predict_proba(x[test])[:, 1]
    weight = np.where(on, 0.0, score / (1 - score))
    left = weight @ (y - without) / weight.sum()
    zero, one = without[on].mean() + left, y[on].mean()
    part = on * (y - one - without + without[on].mean()) / on.sum() - weight * (y - without - left) / weight.sum()
    sums = np.bincount(np.unique(firm, return_inverse=True)[1], part)
    error = np.sqrt((sums**2).sum())
    return time.perf_counter() - start, one - zero, error, f"scikit-learn {sklearn.__version__} by hand, treated"


def run_statsmodels(frame):
    import statsmodels
    import statsmodels.api as sm
    from statsmodels.treatment.treatment_effects import TreatmentEffect

    start = time.perf_counter()
    x, on = sm.add_constant(columns_of(frame)), frame["treated"].to_numpy()
    score = sm.Logit(on, x).fit(disp=0)
    both = TreatmentEffect(sm.OLS(frame["outcome"].to_numpy(dtype=float), x), on, results_select=score).aipw()
    found = both.summary_frame().loc["ATE"]
    version = f"statsmodels {statsmodels.__version__}, all"
    return time.perf_counter() - start, found["coef"], found["std err"], version


RUNS = {"ours": run_ours, "scikit_learn": run_scikit_learn, "ours_all": run_ours_all, "statsmodels": run_statsmodels}
WARM_UP = 3_000


def child(name: str, path: str) -> None:
    """Run one program on the stored rows and say what it took."""
    import pandas as pd

    frame = pd.read_csv(path)
    RUNS[name](frame.sample(WARM_UP, random_state=1).reset_index(drop=True))
    seconds, estimate, error, version = RUNS[name](frame)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"seconds": seconds, "peak_mb": peak, "estimate": float(estimate), "error": float(error)}
    sys.stdout.write(json.dumps({**found, "version": version}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--controls", type=int, action="append")
    parser.add_argument("--peers", nargs="*", default=list(RUNS))
    parser.add_argument("--limit", type=float, default=600.0)
    parser.add_argument("--child", nargs=2, metavar=("NAME", "ROWS"))
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    lines = ["| controls | program | time | peak memory | estimate | error |", "|---|---|---|---|---|---|"]
    for n_controls in arguments.controls or CONTROLS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.csv"
            frame = simulate(TREATED, n_controls)
            frame.assign(firm=np.arange(len(frame)) // 3).to_csv(path, index=False)
            for name in arguments.peers:
                found = measured([sys.executable, __file__, "--child", name, str(path)], arguments.limit)
                if isinstance(found, str):
                    lines.append(f"| {n_controls:,} | {name} | {found} | | | |")
                else:
                    text = "| {:,} | {version} | {seconds:.2f} s | {peak_mb:,.0f} MB | {estimate:.5f} | {error:.5f} |"
                    lines.append(text.format(n_controls, **found))
                sys.stderr.write(lines[-1] + "\n")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
