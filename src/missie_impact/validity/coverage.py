"""Do the intervals hold the truth? Bias and coverage over many simulated registers, one line per estimator and regime.

Run as ``python -m missie_impact.validity.coverage --out DIR``. Each register is a line in a journal in DIR, so that a
run that was interrupted goes on where it stopped, and a question can be asked later of registers drawn before.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from missie_impact.design import match, weight
from missie_impact.effects import Effect, FitOptions, market_entry, market_exit, structural_transition
from missie_impact.errors import MissieError
from missie_impact.panel import Panel, build_panel
from missie_impact.risksets import RiskSet, entry_risk_set, exit_risk_set, transition_risk_set
from missie_impact.simulation.parameters import Attendance, Selection, SimulationSettings, Truth
from missie_impact.simulation.registers import simulate_registers
from missie_impact.validity.journal import add_to_journal, read_journal
from missie_impact.validity.judged import judged
from missie_impact.validity.stored import stored_truth

FIRST_SEED = 500_000  # apart from the seeds of the stored truth and of the study


@dataclass(frozen=True, slots=True)
class Regime:
    """How participation comes about in a set of registers."""

    name: str
    truth: Truth = "cbs_2024"
    selection: Selection = "observed_history"
    attendance: Attendance = "status_last_year"

    def truth_key(self) -> str:
        """Return the key under which the truth of these settings is stored."""
        settings = SimulationSettings(truth=self.truth, selection=self.selection, attendance=self.attendance)
        return settings.truth_key()


REGIMES = (
    Regime("observed_history"),
    Regime("no_effect", truth="none"),
    Regime("still_trading, no effect", truth="none", attendance="still_trading"),
    Regime("unobserved", selection="unobserved"),
)


@dataclass(frozen=True, slots=True)
class Estimator:
    """Estimates of the study from one risk set, each scale with the name of its truth.

    Attributes
    ----------
    name : of the estimator
    question : risk set it runs on, a key of ``QUESTIONS``
    scales : scale -> estimand under which its truth is stored
    estimate : makes the effect
    """

    name: str
    question: str
    scales: Mapping[str, str]
    estimate: Callable[[RiskSet], Effect]


QUESTIONS: dict[str, Callable[[Panel], RiskSet]] = {
    "transition": transition_risk_set,
    "exit": partial(exit_risk_set, controls_per_treated=40),  # as the study
    "entry": entry_risk_set,
    "fdi": lambda panel: entry_risk_set(panel, outcome="fdi"),
}
# What participation depends on most. Outcome models of regression and matched sets hold all default controls.
MATCHED_ON = (
    "log_workers", "log_productivity", "log_exports", "export_growth", "log_markets", "log_imports", "host_trade",
    "host_neighbour_trade", "activity_pattern", "foreign_controlled",
)  # fmt: skip
# Matched sets of a small register hold some five rows per coefficient: their errors count the coefficients.
FEW_ROWS = FitOptions(correction="cr1")
RISKS = {"odds_ratio": "or_marginal_att", "risk_ratio": "rr_att", "risk_difference": "rd_att"}
SURVIVAL = {
    "hazard_ratio": "hr_marginal_att",
    "survival_difference_1": "survival_difference_1",
    "survival_difference_3": "survival_difference_3",
    "survival_difference_5": "survival_difference_5",
    "yearly_exit_probability_with": "yearly_exit_probability_with",
    "yearly_exit_probability_without": "yearly_exit_probability_without",
}
LEVELS = ("yearly_exit_probability_with", "yearly_exit_probability_without")  # not a contrast of the two worlds
DIFFERENCE = {"risk_difference": "rd_att"}


def _matched(risk: RiskSet) -> Effect:
    design = match(risk, on=MATCHED_ON, exact=["year"], ratio=5, seed=1)
    return structural_transition(design, cluster="firm", options=FEW_ROWS)


def _weighted(risk: RiskSet) -> Effect:
    return structural_transition(weight(risk, on=MATCHED_ON), cluster="firm", controls=None, estimator="weighting")


def _doubly_robust(risk: RiskSet) -> Effect:
    return structural_transition(risk, cluster="firm", controls=MATCHED_ON, estimator="doubly_robust")


ESTIMATORS = (
    Estimator("transition, regression", "transition", RISKS, lambda risk: structural_transition(risk, cluster="firm")),
    Estimator("transition, matched", "transition", RISKS, _matched),
    Estimator("transition, weighted", "transition", RISKS, _weighted),
    Estimator("transition, doubly robust", "transition", RISKS, _doubly_robust),
    Estimator(
        "transition, naive", "transition", RISKS,
        lambda risk: structural_transition(risk, controls=(), cluster="firm"),
    ),
    Estimator("exit, cloglog", "exit", SURVIVAL, lambda risk: market_exit(risk, cluster="firm")),
    Estimator("entry, regression", "entry", DIFFERENCE, lambda risk: market_entry(risk, cluster="firm")),
    Estimator("fdi, regression", "fdi", DIFFERENCE, lambda risk: market_entry(risk, cluster="firm")),
)  # fmt: skip


def estimate_once(
    regime: Regime, seed: int, firms: int, questions: Sequence[str] = tuple(QUESTIONS)
) -> dict[str, list[float]]:
    """Draw registers once and estimate: "estimator; scale" -> estimate, conf_low, conf_high (NaN where it fails)."""
    found: dict[str, list[float]] = {}
    with simulate_registers(
        seed,
        firms=firms,
        truth=regime.truth,
        selection=regime.selection,
        attendance=regime.attendance,
        progress=False,
    ) as registers:
        panel = build_panel(registers)
        for question in questions:
            found |= _answers(question, partial(QUESTIONS[question], panel))
    return found


def _keys(question: str) -> list[str]:
    return [f"{e.name}; {scale}" for e in ESTIMATORS if e.question == question for scale in e.scales]


def _answers(question: str, made: Callable[[], RiskSet]) -> dict[str, list[float]]:
    """Estimates of all estimators of one question."""
    asked = [estimator for estimator in ESTIMATORS if estimator.question == question]
    found = {key: [math.nan] * 3 for key in _keys(question)}
    try:
        risk = made()
    except MissieError:
        return found
    for estimator in asked:
        try:
            effect = estimator.estimate(risk)
        except MissieError:
            continue
        for scale in estimator.scales:
            one = effect.effect(scale)
            found[f"{estimator.name}; {scale}"] = [one.estimate, one.conf_low, one.conf_high]
    return found


def coverage_table(regime: str, truth: pd.DataFrame, draws: Iterable[Mapping[str, Sequence[float]]]) -> pd.DataFrame:
    """Sum draws up: one row per estimator, judged by the acceptance rule.

    Parameters
    ----------
    regime : name of the regime
    truth : of :func:`true_values`
    draws : results of :func:`estimate_once`

    Returns
    -------
    DataFrame
        regime, estimator, estimand, and the columns of :func:`missie_impact.validity.judged.judged`.
    """
    listed = list(draws)
    rows = []
    whole = truth[truth["group"] == "all"].set_index(["estimand", "population"])
    known, errors = whole["value"].to_dict(), whole["mc_error"].to_dict()
    for estimator in ESTIMATORS:
        for scale, estimand in estimator.scales.items():
            key = f"{estimator.name}; {scale}"
            values = np.array([draw[key] for draw in listed if key in draw], dtype=np.float64).reshape(-1, 3)
            name = {"regime": regime, "estimator": estimator.name, "estimand": estimand}
            key_of_truth = (estimand, estimator.question)
            target, error = float(known.get(key_of_truth, math.nan)), float(errors.get(key_of_truth, 0.0))
            rows.append(name | judged(values, target, ratio=scale.endswith("ratio"), truth_error=error))
    return pd.DataFrame(rows)


def run(
    out: Path,
    regime: Regime,
    seeds: Sequence[int],
    firms: int,
    questions: Sequence[str] = tuple(QUESTIONS),
    *,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Draw registers, or read from the journal what was found on them before, and sum up all that the journal holds."""
    from tqdm import tqdm

    out.mkdir(parents=True, exist_ok=True)
    journal = out / f"{regime.truth_key()}-{firms}.jsonl"
    done = read_journal(journal)
    todo = {seed: [q for q in questions if not done.get(seed, {}).keys() >= set(_keys(q))] for seed in seeds}
    hide = None if progress is None else not progress
    for seed in tqdm([s for s in seeds if todo[s]], desc=regime.name, unit="register", disable=hide, file=sys.stderr):
        found = estimate_once(regime, seed, firms, todo[seed])
        add_to_journal(journal, seed, found)
    return coverage_table(regime.name, true_values(regime), read_journal(journal).values())


def true_values(regime: Regime) -> pd.DataFrame:
    """Return the stored truth of a regime; where missions do nothing ratios are one and differences zero."""
    stored = stored_truth(regime.truth_key())
    if regime.truth != "none":
        return stored
    contrasts = (
        (e, scale, estimand) for e in ESTIMATORS for scale, estimand in e.scales.items() if scale not in LEVELS
    )
    asked = {(e.question, scale, estimand) for e, scale, estimand in contrasts}
    rows = [(estimand, question, "all", float(scale.endswith("ratio"))) for question, scale, estimand in sorted(asked)]
    known = pd.DataFrame(rows, columns=["estimand", "population", "group", "value"]).assign(mc_error=0.0)
    return pd.concat([known, stored.loc[stored["estimand"].isin(LEVELS), list(known)]], ignore_index=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the validation and write ``coverage.csv``."""
    parser = argparse.ArgumentParser(prog="python -m missie_impact.validity.coverage", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the journals and coverage.csv")
    parser.add_argument("--draws", type=int, default=1000, help="registers per regime")
    parser.add_argument("--skip", type=int, default=0, help="registers left to another process that shares the folder")
    parser.add_argument("--firms", type=int, default=40_000, help="firms per register")
    parser.add_argument("--regime", choices=[regime.name for regime in REGIMES], help="one regime only")
    parser.add_argument("--question", choices=list(QUESTIONS), action="append", help="these questions only")
    asked = parser.parse_args(arguments)
    chosen = [regime for regime in REGIMES if asked.regime in (None, regime.name)]
    seeds = range(FIRST_SEED + asked.skip, FIRST_SEED + asked.draws)
    questions = asked.question or list(QUESTIONS)
    table = pd.concat([run(asked.out, regime, seeds, asked.firms, questions) for regime in chosen], ignore_index=True)
    table.to_csv(asked.out / "coverage.csv", index=False)
    sys.stdout.write("Simulated registers.\n" + table.to_string(index=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
