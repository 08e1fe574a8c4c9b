"""How often do intervals of a total hold the truth when a few firms carry it? Coverage by tail weight.

Lognormal amounts per firm; sigma is the weight of the tail. Printed as the table of docs/methods/heavy_tails.md.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from missie_impact.numerics.tails import bootstrap_interval, concentration, resample, smaller_size, winsorised

SIGMAS = (1.0, 1.5, 2.0, 2.5, 2.9)
METHODS = ("percentile", "m_out_of_n", "studentised")
WINSOR_QUANTILE = 2.326  # of the standard normal: the true 99th percentile, fixed beforehand


def coverage(sigma: float, n: int, repetitions: int, draws: int, seed: int) -> dict[str, float]:
    """Share of intervals that hold the true total of n firms, per method; mean top-1 share and tail index."""
    random = np.random.default_rng(seed)
    amounts = random.lognormal(0, sigma, (n, repetitions))
    truth = n * float(np.exp(sigma**2 / 2))
    threshold = float(np.exp(WINSOR_QUANTILE * sigma))
    large = np.random.default_rng(seed + 1).lognormal(0, sigma, 20_000_000)
    cut_truth = n * float(np.minimum(large, threshold).mean())
    found = {}
    for method in METHODS:
        size = smaller_size(n) if method == "m_out_of_n" else None
        # the repetitions share the draws of positions; each has its own amounts
        low, high = bootstrap_interval(resample(amounts, draws=draws, seed=seed, size=size), method)
        found[method] = float(np.mean((low <= truth) & (truth <= high)))
    cut = resample(winsorised(amounts, threshold), draws=draws, seed=seed)
    low, high = bootstrap_interval(cut, "percentile")
    found["winsorised, percentile"] = float(np.mean((low <= cut_truth) & (cut_truth <= high)))
    carried = [concentration(amounts[:, j]) for j in range(0, repetitions, 10)]
    found["top_1"] = float(np.mean([c.tops[0] for c in carried]))
    found["hill"] = float(np.mean([c.hill for c in carried]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firms", type=int, default=2000)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=499)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    names = [*METHODS, "winsorised, percentile"]
    sys.stdout.write("| sigma | " + " | ".join(names) + " | top 1 firm | tail index |\n")
    sys.stdout.write("|---:|" + "---:|" * (len(names) + 2) + "\n")
    for sigma in SIGMAS:
        row = coverage(sigma, arguments.firms, arguments.repetitions, arguments.draws, arguments.seed)
        cells = [f"{100 * row[name]:.0f}%" for name in names]
        sys.stdout.write(f"| {sigma} | " + " | ".join(cells) + f" | {100 * row['top_1']:.0f}% | {row['hill']:.1f} |\n")


if __name__ == "__main__":
    main()
