"""What random effects give on simulated registers, where missions depend on past trade and hence on the effect.

Recovery is asked of :mod:`missie_impact.validity.frailty_recovery` only; here the bias is measured and shown. Models
are scored on what has a stored truth: the marginal hazard ratio over the treated and the difference in survival.

Run as ``python -m missie_impact.validity.frailty_on_registers --out DIR``; each register is a line in a journal in DIR.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from missie_impact.effects import Effect, Frailty, market_exit
from missie_impact.errors import MissieError
from missie_impact.panel import Panel, build_panel
from missie_impact.risksets import exit_risk_set
from missie_impact.simulation.registers import simulate_registers
from missie_impact.validity.coverage import REGIMES, Regime
from missie_impact.validity.journal import drawn
from missie_impact.validity.stored import truth_of

FIRST_SEED = 800_000
POINTS = 7
SCALES = {
    "hazard_ratio": "hr_marginal_att",
    "survival_difference_5": "survival_difference_5",
    "hazard_ratio_conditional": "",
    "frailty_variance": "",
}
MODELS = ("trials, no random effect", "trials, firm", "trials, pair", "spells, firm", "spells, pair")
Found = dict[str, dict[str, float]]


def fit_once(regime: Regime, seed: int, firms: int) -> Found:
    """Draw registers once and fit all models: model -> scale -> estimate; empty where a model has no fit."""
    with simulate_registers(
        seed, firms=firms, truth=regime.truth, selection=regime.selection, attendance=regime.attendance, progress=False
    ) as registers:
        panel = build_panel(registers)
        return {model: _numbers(make) for model, make in _models(panel).items()}


def _models(panel: Panel) -> Mapping[str, Callable[[], Effect]]:
    def trials(level: str | None) -> Effect:
        frailty = None if level is None else Frailty(level, points=POINTS)
        return market_exit(exit_risk_set(panel), cluster="firm", frailty=frailty)

    def spells(level: str) -> Effect:
        risk = exit_risk_set(panel, kind="spells", before_entry=True)
        return market_exit(risk, cluster="firm", controls=risk.controls, frailty=Frailty(level, points=POINTS))

    made = (
        lambda: trials(None), lambda: trials("firm"), lambda: trials("pair"), lambda: spells("firm"),
        lambda: spells("pair"),
    )  # fmt: skip
    return dict(zip(MODELS, made, strict=True))


def _numbers(make: Callable[[], Effect]) -> dict[str, float]:
    try:
        made = make()
    except MissieError:
        return {}
    return {scale: made.effect(scale).estimate for scale in SCALES if scale in made.scales}


def register_table(regime: Regime, draws: Iterable[Found]) -> pd.DataFrame:
    """Sum draws up.

    Returns
    -------
    DataFrame
        One row per model and scale: regime, truth (NaN where none is stored), mean (ratios: exponential of the mean
        logarithm; variance: the median), bias (ratios: of the log), monte_carlo_error, moved and moved_error (mean
        change against the model without a random effect on the same registers), draws, failed, at_zero (share of draws
        with a variance of zero).
    """
    listed, lines = list(draws), []
    for model in MODELS:
        for scale, estimand in SCALES.items():
            values = np.array([draw.get(model, {}).get(scale, math.nan) for draw in listed])
            kept = values[np.isfinite(values)]
            if not len(kept):
                continue
            truth = truth_of(regime.truth_key(), estimand, "exit") if estimand else math.nan
            lines.append({"regime": regime.name, "model": model, "scale": scale} | _summary(scale, kept, truth))
            lines[-1]["failed"] = len(values) - len(kept)
            base = np.array([draw.get(MODELS[0], {}).get(scale, math.nan) for draw in listed])
            both = np.log(values / base) if scale.startswith("hazard_ratio") else values - base
            both = both[np.isfinite(both)]
            if len(both) > 1 and model != MODELS[0]:
                error = float(both.std(ddof=1) / math.sqrt(len(both)))
                lines[-1] |= {"moved": float(both.mean()), "moved_error": error}
    return pd.DataFrame(lines)


def _summary(scale: str, values: np.ndarray[tuple[int], np.dtype[np.float64]], truth: float) -> dict[str, float]:
    if scale == "frailty_variance":
        zero = float((values == 0).mean())
        return {"mean": float(np.median(values)), "draws": len(values), "at_zero": zero}
    ratio = scale.startswith("hazard_ratio")
    shown, target = (np.log(values), math.log(truth)) if ratio else (values, truth)
    mean, error = float(shown.mean()), float(shown.std(ddof=1) / math.sqrt(len(shown))) if len(shown) > 1 else math.nan
    return {
        "truth": truth, "mean": math.exp(mean) if ratio else mean, "bias": mean - target, "monte_carlo_error": error,
        "draws": len(values),
    }  # fmt: skip


def run(out: Path, regime: Regime, draws: int, firms: int, *, progress: bool | None = None) -> pd.DataFrame:
    """Draw, or read from the journal, as many registers as asked for, and sum them up."""
    seeds = range(FIRST_SEED, FIRST_SEED + draws)
    journal = out / f"frailty-{regime.truth_key()}-{firms}.jsonl"
    done = drawn(journal, seeds, lambda seed: fit_once(regime, seed, firms), regime.name, progress=progress)
    return register_table(regime, done.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the bias and write ``frailty_on_registers.csv``."""
    parser = argparse.ArgumentParser(prog="python -m missie_impact.validity.frailty_on_registers", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the journals and the table")
    parser.add_argument("--draws", type=int, default=40, help="registers per regime")
    parser.add_argument("--firms", type=int, default=40_000, help="firms per register")
    asked = parser.parse_args(arguments)
    chosen = [regime for regime in REGIMES if regime.name in ("observed_history", "no_effect")]
    table = pd.concat([run(asked.out, regime, asked.draws, asked.firms) for regime in chosen], ignore_index=True)
    table.to_csv(asked.out / "frailty_on_registers.csv", index=False, float_format="%.6g")
    sys.stdout.write("Simulated registers.\n" + table.to_string(index=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
