"""What bootstrap draws say: errors and percentile intervals per group and scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from missie_impact.effects.result import GroupResult

Floats = NDArray[np.float64]

COLUMNS = ["group", "scale", "estimate", "std_error", "conf_low", "conf_high", "draws", "failed"]


def on_scales(scales: Sequence[str], risks: Floats) -> Floats:
    """Turn drawn risks with and without (and log odds given the controls), (B, 2 or 3), into scales, (B, s)."""
    one, zero = risks[:, 0], risks[:, 1]
    log_odds = risks[:, 2] if risks.shape[1] > 2 else np.full(len(risks), np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        made = {
            "odds_ratio": one * (1 - zero) / ((1 - one) * zero),
            "risk_ratio": one / zero,
            "risk_difference": one - zero,
            "risk_with": one,
            "risk_without": zero,
            "odds_ratio_conditional": np.exp(log_odds),
            "log_odds": log_odds,
        }
    return np.column_stack([made[scale] for scale in scales])


def usable(draws: Floats, ratios: Sequence[bool]) -> tuple[Floats, int]:
    """Draws that gave every scale a number, ratios in logs, and how many did not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(np.array(ratios), np.log(draws), draws)
    fine = np.isfinite(moved).all(axis=1)
    return moved[fine], int((~fine).sum())


def bootstrap_table(groups: Sequence[GroupResult], conf_level: float, ratios: Mapping[str, bool]) -> pd.DataFrame:
    """One row per group and scale: standard error of the draws (ratios in logs) and percentile interval."""
    found = []
    for result in groups:
        if result.draws is None:
            continue
        are = [ratios[scale] for scale in result.scales]
        moved, failed = usable(result.draws, are)
        tail = 100 * (1 - conf_level) / 2
        ends = np.percentile(moved, [tail, 100 - tail], axis=0)
        for j, scale in enumerate(result.scales):
            low, high = (float(np.exp(e)) if are[j] else float(e) for e in ends[:, j])
            error = float(moved[:, j].std(ddof=1))
            found.append([result.group, scale, float(result.values[j]), error, low, high, len(result.draws), failed])
    return pd.DataFrame(found, columns=COLUMNS)
