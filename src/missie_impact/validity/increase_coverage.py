"""Do the estimates of the increase hold the truth? Bias and coverage over simulated registers, by regime.

Each estimator has a regime that identifies it: the regression on the untreated and the matched indicator where
participation depends on what was seen up to t-1, the fixed effects where it depends on permanent levels (multiplicative
parallel trends). All are shown in both.

Run as ``python -m missie_impact.validity.increase_coverage --out DIR``. The truth is made first, from worlds of their
own; it and each register are lines in journals in DIR, so that a run that was interrupted goes on where it stopped, and
a question can be asked later of registers drawn before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from tqdm import tqdm

from missie_impact.effects.increase.counterfactual import CounterfactualOptions, counterfactual_indicator
from missie_impact.effects.increase.increase import IncreaseOptions, export_increase
from missie_impact.effects.increase.increase_parts import Measure
from missie_impact.panel import Panel, build_panel
from missie_impact.risksets import increase_risk_set
from missie_impact.simulation.markets import load_calendar, load_markets
from missie_impact.simulation.parameters import Selection, SimulationSettings, Truth
from missie_impact.simulation.population import draw_firms
from missie_impact.simulation.potential import Sampling, Trial, Trials
from missie_impact.simulation.registers import simulate_registers
from missie_impact.simulation.state import Setting
from missie_impact.simulation.worlds import Step, run
from missie_impact.validity.journal import add_to_journal, drawn, read_journal
from missie_impact.validity.judged import judged

FIRST_SEED = 710_000  # apart from the 700 thousands, on which models were chosen
FIRST_TRUTH_SEED = 2**41
TRUTH_FIRMS = 120_000
WINSOR_EUR = 5e6  # fixed beforehand: about the 97th percentile of a pair's yearly exports
HORIZON = 3
COHORTS = tuple(range(2012, 2020))
SCALES: dict[str, dict[str, str]] = {  # by question: scale -> estimand
    "winsorised": {
        "mean_ratio_winsorised": "mean_ratio_winsorised",
        "att_eur_winsorised": "att_eur_winsorised",
        "grower_share_difference": "grower_share_difference",
    },
    "raw": {
        "mean_ratio": "mean_ratio",
        "att_eur": "att_eur",
        "export_share_difference": "export_share_difference",
    },
    "yearly": {
        "mean_ratio_yearly": "mean_ratio",
        "mean_ratio_yearly_winsorised": "mean_ratio_winsorised_yearly",
    },
}
MEASURES: dict[str, tuple[Measure, ...]] = {
    "winsorised": ("winsorised", "growers"),
    "raw": ("amounts", "extensive"),
    "yearly": ("yearly",),
}
MATCHINGS = {"indicator": "with_last_year", "bracket": "without_last_year"}  # by question
QUESTIONS = (*SCALES, *MATCHINGS)
FIGURES = {"share_growers": "share_growers_pp", "share_pairs": "share_pairs_pp"}


@dataclass(frozen=True, slots=True)
class Regime:
    """Which effects are planted, and what participation depends on."""

    truth: Truth
    selection: Selection

    @property
    def name(self) -> str:
        """Regime and effects in one word."""
        return f"{self.selection}-{self.truth}"

    def settings(self, seed: int, firms: int) -> SimulationSettings:
        """Return what a world is drawn with."""
        return SimulationSettings(seed=seed, firms=firms, truth=self.truth, selection=self.selection)


REGIMES = (
    Regime("none", "observed_history"),
    Regime("cbs_2024", "observed_history"),
    Regime("none", "fixed_level"),
    Regime("cbs_2024", "fixed_level"),
)


def world_sums(settings: SimulationSettings) -> dict[str, list[float]]:
    """Put those who took part in one world through both arms: per estimand the units, the sum without, the sum with.

    Pairs whose trade of t+1..t+3 the register holds; amounts in EUR a year.
    """
    setting = Setting(settings, load_markets(), load_calendar())
    trials = Trials(setting, Sampling(realised=True))

    def look(step: Step) -> None:
        trials.step(step.state, step.intentions, step.year)

    run(setting, draw_firms(settings, np.arange(settings.firms)), before=look, progress=False)
    sums: dict[str, np.ndarray] = {}
    for trial in trials.done:
        if trial.of_firms or trial.year + HORIZON > settings.last_year or not len(trial.units):
            continue
        for name, values in _trial_sums(trial):
            sums[name] = sums.get(name, np.zeros(3)) + values
    return {name: values.tolist() for name, values in sums.items()}


def _trial_sums(trial: Trial) -> Iterator[tuple[str, np.ndarray]]:
    units = trial.units
    there = trial.attended & (units.dead > trial.year)
    based, starting = there & (units.path > 0), there & (units.path > 0) & (units.path & 1 == 0)
    years = np.stack(trial.exports[1 : HORIZON + 1])
    after = years.mean(axis=0)
    grown = after > trial.exports[0]
    for name, rows, values in (
        ("mean_eur", based, after),
        ("mean_eur_winsorised", based, np.minimum(after, WINSOR_EUR)),
        ("mean_eur_winsorised_yearly", based, np.minimum(years, WINSOR_EUR).mean(axis=0)),
        ("grower_share", based, grown),
        ("export_share", starting, after > 0),
    ):
        yield name, np.array([rows.sum(), *(values[:, rows].sum(axis=1))])
    if trial.year in COHORTS:
        yield "share_pairs", np.array([there.sum(), *(grown[:, there].sum(axis=1))])
        firm, place = np.unique(units.firm[there], return_inverse=True)
        # any of the firm's pairs: each with its own mission, or without it
        any_pair = [len(np.unique(place[grown[arm, there]])) for arm in (0, 1)]
        yield "share_growers", np.array([len(firm), *any_pair], dtype=np.float64)


def truths(sums: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Turn sums over worlds into the truth of each estimand."""
    mean = {name: (without / n, with_ / n) for name, (n, without, with_) in sums.items()}
    found = {}
    for name, (without, with_) in mean.items():
        if name.startswith("mean_eur"):
            tail = name.removeprefix("mean_eur")
            found[f"mean_ratio{tail}"] = with_ / without
            found[f"att_eur{tail}"] = with_ - without
        elif name in FIGURES:
            found[FIGURES[name]] = 100 * (with_ - without)
        else:
            found[f"{name}_difference"] = with_ - without
    return found


def true_values(out: Path, regime: Regime, worlds: int, *, progress: bool | None = None) -> pd.DataFrame:
    """Return the truth of a regime over many worlds, with its jackknife error over them.

    Returns
    -------
    DataFrame
        Index estimand; value, mc_error, n_units.
    """
    if regime.truth == "none":
        worlds = min(worlds, 2)  # the arms do not differ
    journal = out / f"truth-{regime.name}.jsonl"
    seeds = range(FIRST_TRUTH_SEED, FIRST_TRUTH_SEED + worlds)

    def once(seed: int) -> dict[str, list[float]]:
        return world_sums(regime.settings(seed, TRUTH_FIRMS))

    done = drawn(journal, seeds, once, f"truth, {regime.name}", progress=progress)
    names = sorted({name for seed in seeds for name in done[seed]})
    each = {name: np.array([done[seed].get(name, [0.0] * 3) for seed in seeds]) for name in names}
    whole = truths({name: values.sum(axis=0) for name, values in each.items()})
    without = [truths({name: v.sum(axis=0) - v[k] for name, v in each.items()}) for k in range(worlds)]
    left = pd.DataFrame(without)
    error = np.sqrt((worlds - 1) / worlds * ((left - left.mean()) ** 2).sum())
    table = pd.DataFrame({"value": pd.Series(whole), "mc_error": error})
    return table.assign(n_units=int(each["share_pairs"][:, 0].sum())).rename_axis("estimand")


def _increase(panel: Panel, questions: Sequence[str]) -> dict[str, list[float]]:
    asked = [question for question in questions if question in SCALES]
    if not asked:
        return {}
    measures = tuple(measure for question in asked for measure in MEASURES[question])
    options = IncreaseOptions(winsorise_eur=WINSOR_EUR, measures=measures)
    effect = export_increase(increase_risk_set(panel), cluster="firm", options=options)
    found = {}
    for question in asked:
        for scale, estimand in SCALES[question].items():
            one = effect.effect(scale)
            found[f"{estimand}; export_increase, {scale}"] = [one.estimate, one.conf_low, one.conf_high]
    return found


def _indicator(panel: Panel, questions: Sequence[str]) -> dict[str, list[float]]:
    matchings = [matching for question, matching in MATCHINGS.items() if question in questions]
    if not matchings:
        return {}
    options = CounterfactualOptions(placebo=False)
    made = counterfactual_indicator(
        panel, COHORTS, by=None, instruments=["mission"], matchings=matchings, options=options
    )
    found = {}
    for matching in matchings:
        for figure, estimand in FIGURES.items():
            line = made.row(figure, matching=matching)
            ends = [float(cast(float, line[name])) for name in ("difference", "conf_low", "conf_high")]
            found[f"{estimand}; counterfactual_indicator, {matching}"] = ends
    return found


def _keys(question: str) -> set[str]:
    if question in SCALES:
        return {f"{estimand}; export_increase, {scale}" for scale, estimand in SCALES[question].items()}
    return {f"{estimand}; counterfactual_indicator, {MATCHINGS[question]}" for estimand in FIGURES.values()}


def estimate_once(regime: Regime, seed: int, firms: int, questions: Sequence[str]) -> dict[str, list[float]]:
    """Draw registers once and estimate: "estimand; estimator" -> estimate, conf_low, conf_high (NaN where it fails)."""
    with simulate_registers(
        seed, firms=firms, truth=regime.truth, selection=regime.selection, flows="goods_exports", progress=False
    ) as registers:
        panel = build_panel(registers)
        return _increase(panel, questions) | _indicator(panel, questions)


def summary(regime: Regime, truth: pd.DataFrame, draws: Sequence[Mapping[str, Sequence[float]]]) -> pd.DataFrame:
    """Sum draws up: one row per estimator, judged by the acceptance rule of :mod:`missie_impact.validity.coverage`."""
    rows = []
    for name in sorted({name for draw in draws for name in draw}):
        estimand, estimator = name.split("; ")
        values = np.array([draw[name] for draw in draws if name in draw], dtype=np.float64)
        value, error = (float(truth[column].to_dict()[estimand]) for column in ("value", "mc_error"))
        found = judged(values, value, ratio=estimand.startswith("mean_ratio"), truth_error=error)
        labels = {"regime": regime.selection, "planted": regime.truth, "estimator": estimator, "estimand": estimand}
        rows.append(labels | found | {"truth_error": error})
    return pd.DataFrame(rows)


def run_regime(
    out: Path,
    regime: Regime,
    seeds: Sequence[int],
    firms: int,
    worlds: int,
    questions: Sequence[str],
    *,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Draw registers, or read from the journal what was found on them before, and sum up all that the journal holds."""
    out.mkdir(parents=True, exist_ok=True)
    journal = out / f"{regime.name}-{firms}.jsonl"
    done = read_journal(journal)
    todo = {seed: [q for q in questions if not done.get(seed, {}).keys() >= _keys(q)] for seed in seeds}
    hide = None if progress is None else not progress
    for seed in tqdm([s for s in seeds if todo[s]], desc=regime.name, unit="register", disable=hide, file=sys.stderr):
        add_to_journal(journal, seed, estimate_once(regime, seed, firms, todo[seed]))
    truth = true_values(out, regime, worlds, progress=progress)
    return summary(regime, truth, list(read_journal(journal).values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the validation and write ``increase_coverage.csv``."""
    parser = argparse.ArgumentParser(prog="python -m missie_impact.validity.increase_coverage", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the journals and increase_coverage.csv")
    parser.add_argument("--draws", type=int, default=1000, help="registers per regime")
    parser.add_argument("--skip", type=int, default=0, help="registers left to another process that shares the folder")
    parser.add_argument("--firms", type=int, default=20_000, help="firms per register")
    parser.add_argument("--worlds", type=int, default=40, help=f"worlds of {TRUTH_FIRMS:,} firms behind each truth")
    parser.add_argument("--regime", choices=[regime.name for regime in REGIMES], help="one regime only")
    parser.add_argument("--question", choices=QUESTIONS, action="append", help="these questions only")
    asked = parser.parse_args(arguments)
    chosen = [regime for regime in REGIMES if asked.regime in (None, regime.name)]
    seeds = range(FIRST_SEED + asked.skip, FIRST_SEED + asked.draws)
    questions = asked.question or QUESTIONS
    parts = [run_regime(asked.out, regime, seeds, asked.firms, asked.worlds, questions) for regime in chosen]
    table = pd.concat(parts, ignore_index=True)
    table.to_csv(asked.out / "increase_coverage.csv", index=False)
    sys.stdout.write("Simulated registers.\n" + table.to_string(index=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
