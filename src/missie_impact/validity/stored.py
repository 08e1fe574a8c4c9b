"""The truth of simulated registers: expected potential outcomes over a large population, stored per settings.

Every eligible unit of many national worlds goes through its trial year in both arms, with the same keyed draws, and
counts with its participation probability. The arms come from the mechanism itself
(:mod:`missie_impact.simulation.potential`): histories hold the effects of earlier missions, missions after t follow in
each arm from its own history, a firm may go on several missions in t, and a firm's other markets move along.
What remains simplified: units are drawn with known probability rather than all written out, and a pair's arms differ
in the mission to its own host only.

Truths hold for goods exports as simulated. What the files add (links that fail, lost identities, corrections) is no
part of them. Their error is a jackknife over the worlds.

``python -m missie_impact.validity.stored`` computes and stores them; it can be stopped and taken up again.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from missie_impact.numerics.binomial import fit_binomial
from missie_impact.numerics.design import build_design, factor_of
from missie_impact.simulation.markets import GROUPS, load_calendar, load_markets
from missie_impact.simulation.parameters import (
    ATTENDANCES,
    FIRMS_NATIONAL,
    SELECTIONS,
    TRUTHS,
    SimulationSettings,
)
from missie_impact.simulation.population import draw_firms
from missie_impact.simulation.potential import EXIT_YEARS, Sampling, Trial, Trials
from missie_impact.simulation.state import Setting
from missie_impact.simulation.worlds import Step, run

Floats = NDArray[np.float64]
Sums = dict[str, Floats]

FIRST_SEED = 2**40  # far from any seed a user draws registers with
COLUMNS = ("settings", "estimand", "scale", "population", "group", "model", "value", "mc_error", "n_effective")
SCALES = {
    "or_marginal_att": "odds_ratio",
    "rr_att": "risk_ratio",
    "rd_att": "risk_difference",
    "risk_without": "probability",
    "risk_with": "probability",
    "hr_marginal_att": "hazard_ratio",
}
EVERY_YEAR = "exit"  # trials 2008-2022, rows as far as the register decides them
NO_LATER = "transition_no_later_mission"  # a mission in t against none in t..t+3
DOSE = "transition_dose"  # a group per number of missions in t
MOST_MISSIONS = 3  # "3+"
OF_FIRMS = ("transition", NO_LATER, DOSE)
FULL = "exit_full_follow_up"  # trials whose five years all lie in the register


def population_sums(settings: SimulationSettings, *, pairs: bool = True) -> Sums:
    """Run one world and sum weights and outcomes of its trials; the parts a truth is made of.

    Parameters
    ----------
    pairs : run the trials of pairs too, which take most of the time

    Returns
    -------
    dict
        ``population|group`` to sums: for risks (weight, weight squared, weighted y0, weighted y1); for exits
        (weight, weight squared, then at risk and gone, each arm x year).
    """
    setting = Setting(settings, load_markets(), load_calendar())
    sampling = Sampling(realised=False, never_later=True)
    trials = Trials(setting, sampling if pairs else dataclasses.replace(sampling, pair_trials=(1, 0)))

    def look(step: Step) -> None:
        trials.step(step.state, step.intentions, step.year)

    run(setting, draw_firms(settings, np.arange(settings.firms)), before=look, progress=False)
    sums: Sums = {}
    for trial in trials.done:
        for name, values in _trial_sums(trial, settings.last_year):
            sums[name] = sums[name] + values if name in sums else values
    return sums


def _trial_sums(trial: Trial, last_year: int) -> Iterator[tuple[str, Floats]]:
    weight = trial.units.weight * trial.attended
    if trial.of_firms:
        without, with_, never_later = trial.structural()
        yield from _risk_sums("transition", trial, weight, np.stack([without, with_]))
        yield from _risk_sums(NO_LATER, trial, weight, np.stack([never_later, with_]))
        for dose in range(1, MOST_MISSIONS + 1):
            went = trial.missions >= dose if dose == MOST_MISSIONS else trial.missions == dose
            name = f"{DOSE}|dose={dose}{'+' if dose == MOST_MISSIONS else ''}"
            yield name, _summed(weight * went, np.stack([without, with_]))
        return
    if trial.year + 2 <= last_year:
        yield from _risk_sums("entry", trial, weight * trial.units.outside, trial.entered())
        yield from _risk_sums("fdi", trial, weight * trial.units.without_affiliate, trial.invested())
    at, gone = trial.exits(last_year)
    weight = weight * trial.units.structural * trial.active[0][1]
    for group, rows in _groups(trial, with_hosts=False):
        w = weight * rows
        head = np.array([w.sum(), (w**2).sum()])
        values = np.concatenate([head, (at @ w).ravel(), (gone @ w).ravel()])
        yield f"{EVERY_YEAR}|{group}", values
        if trial.year + EXIT_YEARS <= last_year - 1:
            yield f"{FULL}|{group}", values


def _risk_sums(population: str, trial: Trial, weight: Floats, y: NDArray[np.bool_]) -> Iterator[tuple[str, Floats]]:
    for group, rows in _groups(trial, with_hosts=population not in OF_FIRMS):
        yield f"{population}|{group}", _summed(weight * rows, y)


def _summed(weight: Floats, y: NDArray[np.bool_]) -> Floats:
    return np.array([weight.sum(), (weight**2).sum(), weight @ y[0], weight @ y[1]])


def _groups(trial: Trial, with_hosts: bool) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    units = trial.units
    sizes = {"sme": units.sme, "not_sme": ~units.sme}
    yield "all", np.ones(len(units), np.bool_)
    yield from sizes.items()
    if with_hosts:
        for i, name in enumerate(GROUPS):
            yield name, units.group == i
            for size, rows in sizes.items():
                yield f"{size}:{name}", rows & (units.group == i)


def estimands(name: str, total: Floats) -> dict[str, float]:
    """Turn the sums of one population and group into its truths; NaN where nothing happened."""
    return _exit_truths(total) if name.startswith("exit") else _risk_truths(total)


def _risk_truths(total: Floats) -> dict[str, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        p0, p1 = total[2] / total[0], total[3] / total[0]
        return {
            "or_marginal_att": float(p1 / (1 - p1) / (p0 / (1 - p0))),
            "rr_att": float(p1 / p0),
            "rd_att": float(p1 - p0),
            "risk_without": float(p0),
            "risk_with": float(p1),
        }


def _exit_truths(total: Floats) -> dict[str, float]:
    at, gone = total[2:].reshape(2, 2, EXIT_YEARS)
    with np.errstate(divide="ignore", invalid="ignore"):
        hazard = gone / at
    survival = np.cumprod(1 - hazard, axis=1)
    yearly = (1 - survival[:, -1]) / (1 + survival[:, :-1].sum(axis=1))
    out = {"hr_marginal_att": _hazard_ratio(at, gone)}
    for k in (1, 3, 5):
        out[f"survival_difference_{k}"] = float(survival[1, k - 1] - survival[0, k - 1])
    for arm, name in enumerate(("without", "with")):
        out[f"yearly_exit_probability_{name}"] = float(yearly[arm])
        for k in range(EXIT_YEARS):
            out[f"exit_probability_{name}_{k + 1}"] = float(hazard[arm, k])
    return out


def _hazard_ratio(at: Floats, gone: Floats) -> float:
    """Coefficient of the arm in a complementary log-log model with year dummies on the expected histories."""
    if not (gone > 0).all():
        return float("nan")
    arm = factor_of("arm", np.repeat(["0", "1"], EXIT_YEARS))
    year = factor_of("year", np.tile(np.arange(EXIT_YEARS), 2).astype(str))
    share, scale = (gone / at).ravel(), 1000.0 / at.sum()
    fit = fit_binomial(share, build_design([arm, year], []), link="cloglog", frequency=at.ravel() * scale)
    return float(np.exp(fit.coef[1]))


def truth_table(settings_key: str, batches: Sequence[Mapping[str, Floats]]) -> pd.DataFrame:
    """Join worlds to truths.

    Returns
    -------
    DataFrame : columns ``COLUMNS``; ``mc_error`` by the jackknife over worlds, on the scale of the value (NaN for one
        world); ``n_effective`` is the squared sum of weights over the sum of squares
    """
    rows: list[tuple[object, ...]] = []
    for name in batches[0]:
        population, group = name.split("|")
        each = np.array([batch[name] for batch in batches])
        total, n = each.sum(axis=0), len(each)
        value = estimands(name, total)
        without_one = [estimands(name, total - part) for part in each] if n > 1 else []
        for estimand, x in value.items():
            error = float("nan")
            if without_one:
                left_out = np.array([found[estimand] for found in without_one])
                with np.errstate(invalid="ignore"):  # an infinite ratio has no error
                    error = float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))
            model = "cloglog, year dummies" if estimand == "hr_marginal_att" else "none"
            scale = SCALES.get(estimand, "probability")
            effective = float(total[0] ** 2 / total[1]) if total[1] else 0.0
            rows.append((settings_key, estimand, scale, population, group, model, x, error, effective))
    return pd.DataFrame(rows, columns=list(COLUMNS))


@cache
def _stored() -> pd.DataFrame:
    text = (files("missie_impact.validity") / "data" / "truth.csv").read_text(encoding="utf-8")
    return pd.read_csv(io.StringIO(text), dtype={"settings": str})


def stored_truth(settings_key: str) -> pd.DataFrame:
    """Return the stored truths of settings (:meth:`SimulationSettings.truth_key`); empty where none is stored.

    Returns
    -------
    DataFrame : settings, estimand, scale, population, group, model, value, mc_error, n_effective. Populations:
        ``transition`` (firms, trials 2008-2020), ``transition_no_later_mission`` (the same against none in t..t+3),
        ``transition_dose`` (by missions in t, groups dose=1, dose=2, dose=3+), ``exit`` (structural pairs, trials
        2008-2022, years as far as the register decides them), ``exit_full_follow_up`` (trials 2008-2018), ``entry``,
        ``fdi`` (pairs, 2008-2022). Groups: all, sme, not_sme; for entry and fdi also country groups, and size:country
        group.
    """
    table = _stored()
    return table[table["settings"] == settings_key].reset_index(drop=True)


def truth_of(settings_key: str, estimand: str, population: str, group: str = "all") -> float:
    """Return one stored truth, NaN where none is stored."""
    table = stored_truth(settings_key)
    found = table[(table["estimand"] == estimand) & (table["population"] == population) & (table["group"] == group)]
    return float(found["value"].iloc[0]) if len(found) else float("nan")


def compute_truth(
    settings: SimulationSettings,
    worlds: int,
    work: Path,
    *,
    only: Sequence[str] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Run the worlds that are still missing in ``work`` and return the truths; one line of sums per world is kept.

    Parameters
    ----------
    only : populations wanted; None for all. Those of firms are far quicker than those of pairs
    """
    key, pairs = settings.truth_key(), only is None or not set(only) <= set(OF_FIRMS)
    work.mkdir(parents=True, exist_ok=True)
    journal = work / f"{key}-{settings.firms}{'' if pairs else '-firms'}.jsonl"
    done = _read_journal(journal)
    todo = [b for b in range(worlds) if b not in done]
    hide = None if progress is None else not progress
    bar = tqdm(todo, desc=f"truth {key}", unit="world", initial=worlds - len(todo), total=worlds, disable=hide)
    for b in bar:
        done[b] = population_sums(dataclasses.replace(settings, seed=FIRST_SEED + b), pairs=pairs)
        with journal.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"world": b, "sums": {k: v.tolist() for k, v in done[b].items()}}) + "\n")
    table = truth_table(key, [done[b] for b in range(worlds)])
    return table if only is None else table[table["population"].isin(only)].reset_index(drop=True)


def _read_journal(path: Path) -> dict[int, Sums]:
    if not path.exists():
        return {}
    found: dict[int, Sums] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # a line cut off when the run was stopped
        found[int(entry["world"])] = {k: np.array(v) for k, v in entry["sums"].items()}
    return found


def write_truth(path: Path, table: pd.DataFrame) -> None:
    """Put truths in the file of stored ones, in place of older ones of the same settings and population."""
    old = pd.read_csv(path, dtype={"settings": str}) if path.exists() else pd.DataFrame(columns=list(COLUMNS))
    key = ["settings", "population"]
    kept = old[~pd.MultiIndex.from_frame(old[key]).isin(pd.MultiIndex.from_frame(table[key]))]
    both = table if kept.empty else pd.concat([kept, table], ignore_index=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    both.to_csv(path, index=False, float_format="%.8g", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute and store the truth of settings; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m missie_impact.validity.stored", description=main.__doc__)
    parser.add_argument("--truth", choices=TRUTHS, default="cbs_2024")
    parser.add_argument("--selection", choices=SELECTIONS, default="observed_history")
    parser.add_argument("--attendance", choices=ATTENDANCES, default="status_last_year")
    parser.add_argument("--spillover", type=float, default=0.0)
    parser.add_argument("--worlds", type=int, default=150, help="national worlds, some 10 seconds each")
    parser.add_argument("--firms", type=int, default=FIRMS_NATIONAL, help="firms per world")
    parser.add_argument("--only", nargs="+", metavar="POPULATION", help=f"{', '.join(OF_FIRMS)} are quick on their own")
    parser.add_argument("--work", type=Path, default=Path("truth-work"), help="folder of the unfinished run")
    parser.add_argument("--out", type=Path, default=Path(str(files("missie_impact.validity") / "data" / "truth.csv")))
    asked = parser.parse_args(arguments)
    settings = SimulationSettings(
        firms=asked.firms,
        truth=asked.truth,
        selection=asked.selection,
        attendance=asked.attendance,
        spillover=asked.spillover,
    )
    table = compute_truth(settings, asked.worlds, asked.work, only=asked.only)
    write_truth(asked.out, table)
    shown = table[table["group"] == "all"].drop(columns=["settings", "scale"])
    sys.stdout.write(shown.to_string(index=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
