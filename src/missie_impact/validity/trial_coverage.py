"""Variants of the trials over simulated registers: per protocol, dose, and markets that a mission did not visit.

Per protocol and dose are judged by their stored truth; placebo markets by none, an odds ratio of one and a risk
difference of nothing, which holds while effects do not spill over.

Run as ``python -m missie_impact.validity.trial_coverage --out DIR``. Each register is a line in a journal in DIR, so
that a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd

from missie_impact.effects import Effect, per_protocol, structural_transition
from missie_impact.effects.becoming.dose import DOSE as MISSIONS
from missie_impact.effects.becoming.dose import count_missions
from missie_impact.errors import MissieError
from missie_impact.panel import Panel, build_panel
from missie_impact.risksets import RiskSet, transition_risk_set
from missie_impact.simulation.parameters import SimulationSettings
from missie_impact.simulation.registers import simulate_registers
from missie_impact.validity.journal import drawn
from missie_impact.validity.judged import judged
from missie_impact.validity.placebo import placebo_markets
from missie_impact.validity.stored import truth_of

FIRST_SEED = 800_000
NO_LATER, DOSE, NONE = "transition_no_later_mission", "transition_dose", "none"
NO_EFFECT = {"odds_ratio": 1.0, "risk_difference": 0.0}
ESTIMANDS = {"odds_ratio": "or_marginal_att", "risk_difference": "rd_att"}


@dataclass(frozen=True, slots=True)
class Variant:
    """An estimator and the truth it is judged by.

    Attributes
    ----------
    name : of the estimator
    population, group : of its truth; population "none" where there is no effect
    scales : judged
    estimate : makes the effect
    """

    name: str
    population: str
    group: str
    scales: tuple[str, ...]
    estimate: Callable[[Panel, RiskSet], Effect]


def _one_mission(panel: Panel, risk: RiskSet) -> Effect:
    """Firms on one mission against those on none: small registers have too few of the others for a trend."""
    counted = count_missions(risk, panel)
    rows = panel.engine.store(counted.rows.filter(nw.col(MISSIONS) <= 1), "one_mission")
    some = replace(counted, rows=rows, n_rows=panel.engine.count(rows))
    return structural_transition(some, cluster="firm")


VARIANTS = (
    Variant("intention to treat", "transition", "all", ("odds_ratio", "risk_difference"),
            lambda _, risk: structural_transition(risk, cluster="firm")),
    Variant("per protocol", NO_LATER, "all", ("odds_ratio", "risk_difference"),
            lambda panel, risk: per_protocol(risk, cluster="firm", panel=panel)),
    Variant("one mission in t", DOSE, "dose=1", ("odds_ratio", "risk_difference"), _one_mission),
    Variant("placebo markets, transition", NONE, "all", ("odds_ratio",),
            lambda panel, _: placebo_markets(panel, "transition", cluster="firm").effect),
    Variant("placebo markets, entry", NONE, "all", ("risk_difference",),
            lambda panel, _: placebo_markets(panel, "entry", cluster="firm").effect),
)  # fmt: skip


def estimate_once(seed: int, firms: int) -> dict[str, list[float]]:
    """Draw registers once and estimate: "variant; scale" -> estimate, conf_low, conf_high (NaN where it fails)."""
    found: dict[str, list[float]] = {}
    with simulate_registers(seed, firms=firms, progress=False) as registers:
        panel = build_panel(registers)
        risk = transition_risk_set(panel)
        for variant in VARIANTS:
            try:
                effect = variant.estimate(panel, risk)
            except MissieError:
                effect = None
            for scale in variant.scales:
                found[f"{variant.name}; {scale}"] = _ends(effect, scale)
    return found


def _ends(effect: Effect | None, scale: str) -> list[float]:
    if effect is None:
        return [math.nan] * 3
    one = effect.effect(scale)
    return [one.estimate, one.conf_low, one.conf_high]


def summary(draws: Sequence[Mapping[str, Sequence[float]]]) -> pd.DataFrame:
    """Sum draws up: one row per variant and scale, judged by the rule of :mod:`missie_impact.validity.coverage`."""
    key, rows = SimulationSettings().truth_key(), []
    for variant in VARIANTS:
        for scale in variant.scales:
            known = truth_of(key, ESTIMANDS[scale], variant.population, variant.group)
            truth = NO_EFFECT[scale] if variant.population == NONE else known
            values = np.array([draw[f"{variant.name}; {scale}"] for draw in draws], dtype=np.float64)
            rows.append(
                {"estimator": variant.name, "scale": scale} | judged(values, truth, ratio=scale == "odds_ratio")
            )
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the validation and write ``trial_coverage.csv``."""
    parser = argparse.ArgumentParser(prog="python -m missie_impact.validity.trial_coverage", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the journal and trial_coverage.csv")
    parser.add_argument("--draws", type=int, default=1000, help="registers")
    parser.add_argument("--firms", type=int, default=40_000, help="firms per register")
    asked = parser.parse_args(arguments)
    journal, seeds = asked.out / f"trials-{asked.firms}.jsonl", range(FIRST_SEED, FIRST_SEED + asked.draws)
    done = drawn(journal, seeds, partial(estimate_once, firms=asked.firms), "registers")
    table = summary(list(done.values()))
    table.to_csv(asked.out / "trial_coverage.csv", index=False)
    sys.stdout.write("Simulated registers.\n" + table.to_string(index=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
