"""Analytic standard errors against a bootstrap of whole firms, or matched sets, with every step estimated again.

1,500 rows of 300 firms that share a part of their outcome; errors clustered by firm. The ratio of analytic to
bootstrapped error should lie within 5 per cent and two Monte-Carlo errors of one. Run::

    python benchmarks/bootstrap_errors.py               # 1,000 draws
    python benchmarks/bootstrap_errors.py --draws 4000
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pandas as pd

import missie_impact as mi
from missie_impact.design import match, weight

SCALES = ("odds_ratio", "risk_ratio", "risk_difference")
ON = ["x", "z"]


def simulate(seed: int = 3, firms: int = 300, n: int = 1500) -> pd.DataFrame:
    """Rows of firms with a part in common, participation by x and z."""
    r = np.random.default_rng(seed)
    firm = r.integers(0, firms, n)
    common = r.normal(0, 0.7, firms)[firm]
    x, z = r.normal(size=n) + 0.3 * common, (r.random(n) < 0.4).astype(int)
    treated = (r.random(n) < 1 / (1 + np.exp(0.8 - 0.6 * x - 0.4 * z))).astype(int)
    outcome = (r.random(n) < 1 / (1 + np.exp(0.5 - 0.7 * treated - 0.5 * x + 0.4 * z - 0.6 * common))).astype(int)
    return pd.DataFrame({"firm": firm, "x": x, "z": z, "treated": treated, "outcome": outcome})


def cases(risk: mi.RiskSet) -> list[tuple[str, object, str, str | None]]:
    """Words, source, estimator and population of each comparison."""
    ate = weight(risk, on=ON, estimand="ate")
    both = weight(risk, on=ON, estimand="ate", method="entropy")
    return [
        ("regression, ATT", risk, "regression", "treated"),
        ("weighting, ATT", risk, "weighting", "treated"),
        ("weighting, ATE", risk, "weighting", "all"),
        ("weighting, ATO", risk, "weighting", "overlap"),
        ("doubly robust, ATT", risk, "doubly_robust", "treated"),
        ("doubly robust, ATE", risk, "doubly_robust", "all"),
        ("regression on weighted rows, ATT", weight(risk, on=ON), "regression", None),
        ("entropy balancing, ATT", weight(risk, on=ON, method="entropy"), "weighting", None),
        ("entropy balancing, ATE", both, "weighting", None),
        ("doubly robust on weighted rows, ATE", ate, "doubly_robust", None),
        ("matched without replacement, by set", match(risk, on=ON, caliper_sd=0.2, seed=1), "weighting", None),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=5)
    asked = parser.parse_args()
    risk = mi.RiskSet.from_frame(simulate(), outcome="outcome", treatment="treated", firm="firm")
    options = mi.FitOptions(bootstrap=mi.Bootstrap(draws=asked.draws, seed=asked.seed, progress=False))
    within = 0.05 + 2 / np.sqrt(2 * asked.draws)
    lines = [
        f"{asked.draws} draws; within {within:.1%} of one:",
        "| estimator | risk difference: analytic | bootstrap | ratio | ratio, log risk ratio | ratio, log odds ratio |",
        "|---|---|---|---|---|---|",
    ]
    for words, source, estimator, population in cases(risk):
        cluster = "matched_set" if words.startswith("matched") else "firm"
        effect = mi.structural_transition(
            source, estimator=estimator, standardise=population, controls=ON, cluster=cluster, options=options
        )
        drawn = effect.bootstrap.set_index("scale")["std_error"]
        analytic = effect.tidy().set_index("scale")["std_error"]
        ratio = {scale: analytic[scale] / drawn[scale] for scale in SCALES}
        lines.append(
            f"| {words} | {analytic['risk_difference']:.5f} | {drawn['risk_difference']:.5f} | "
            f"{ratio['risk_difference']:.3f} | {ratio['risk_ratio']:.3f} | {ratio['odds_ratio']:.3f} |"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
