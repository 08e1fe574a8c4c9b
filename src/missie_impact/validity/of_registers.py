"""The truth of simulated registers: stored for their settings, and realised over the treated a comparison kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import narwhals as nw
import numpy as np
import pandas as pd

from missie_impact.design import Design
from missie_impact.errors import SettingsError
from missie_impact.registers import Registers
from missie_impact.risksets import RiskSet
from missie_impact.validity.stored import stored_truth

POTENTIAL_OUTCOMES = "potential_outcomes.parquet"
LEFT_WITHIN = "left_within_"
# population of the truth -> its outcomes in the file of potential outcomes
OUTCOMES = {
    "transition": ["structural"],
    "entry": ["entered"],
    "fdi": ["invested"],
    "exit": [f"{LEFT_WITHIN}{years}" for years in (1, 3, 5)],
}
KEY = ["firm", "market", "year"]
COLUMNS = ["estimand", "population", "stored", "mc_error", "realised", "n_treated"]


def truth(
    registers: Registers, source: RiskSet | Design, *, outcome: Literal["trade", "fdi"] = "trade"
) -> pd.DataFrame:
    """Return what an estimate on a risk set or a design of simulated registers should find.

    The stored truth is a parameter of the generator, the same for every seed: what intervals are judged by. The
    realised truth averages the potential outcomes of the treated units that the comparison kept, with their weights;
    it moves with the draw, and with who was dropped.

    Parameters
    ----------
    registers : simulated, read from their files
    source : transition, entry or exit risk set made from them, or a design on one
    outcome : of an entry risk set, as it was made

    Returns
    -------
    DataFrame
        One row per estimand: estimand, population, stored, mc_error (of the stored one), realised, n_treated (units
        in the realised one). What is not known is NaN.

    Raises
    ------
    SettingsError
        If the registers were not simulated, or the table is a researcher's own.

    Examples
    --------
    >>> import tempfile
    >>> import missie_impact as mi
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with mi.simulate_registers(seed=1, firms=4_000, out=folder, progress=False) as registers:
    ...         risk = mi.transition_risk_set(mi.build_panel(registers))
    ...         mi.truth(registers, risk).columns.tolist()
    ['estimand', 'population', 'stored', 'mc_error', 'realised', 'n_treated']
    """
    risk = source.risk if isinstance(source, Design) else source
    simulated = registers.settings.simulated
    if simulated is None:
        raise SettingsError("truth: expected simulated registers, found registers of a user, whose truth is not known.")
    population = _population(risk, outcome)
    stored = stored_truth(str(simulated.settings.get("truth_key", "")))
    known = stored[(stored["population"] == population) & (stored["group"] == "all")]
    rows = known[["estimand", "population", "value", "mc_error"]].set_axis(COLUMNS[:4], axis=1)
    realised, n_treated = realised_truth(registers, population, _treated(source, risk))
    found = pd.DataFrame(
        [(name, population, value) for name, value in realised.items()], columns=[*COLUMNS[:2], "realised"]
    )
    joined = rows.merge(found, on=["estimand", "population"], how="outer")
    return joined.assign(n_treated=n_treated)[COLUMNS].reset_index(drop=True)


def realised_truth(
    registers: Registers, population: str, treated: pd.DataFrame | None = None
) -> tuple[dict[str, float], int]:
    """Average the potential outcomes of the participants of a question, where they were written.

    Parameters
    ----------
    population : "transition", "entry", "fdi" or "exit"
    treated : firm, year, perhaps market, and weight of the units to average over; None for all participants

    Returns
    -------
    estimand -> value, and the number of units averaged
    """
    path = potential_outcomes(registers)
    if path is None:
        return {}, 0
    rows = registers.engine.scan(path).filter(nw.col("outcome").is_in(OUTCOMES[population]))
    frame = registers.engine.collect(rows, sort_by=["outcome", *KEY])
    if treated is None:
        frame = frame.assign(weight=1.0)
    else:
        frame = frame.merge(treated, on=[c for c in KEY if c in treated], how="inner", validate="many_to_one")
    found: dict[str, float] = {}
    for outcome, part in frame.groupby("outcome"):
        without, with_ = (float(np.average(part[world], weights=part["weight"])) for world in ("y0", "y1"))
        if str(outcome).startswith(LEFT_WITHIN):
            found[f"survival_difference_{str(outcome).removeprefix(LEFT_WITHIN)}"] = without - with_
        else:
            found |= _scales(without, with_)
    return found, len(frame[KEY].drop_duplicates())


def potential_outcomes(registers: Registers) -> Path | None:
    """Return the file of potential outcomes of simulated registers, None where there is none."""
    simulated = registers.settings.simulated
    folder = None if simulated is None else simulated.folder
    path = None if folder is None else Path(folder) / POTENTIAL_OUTCOMES
    return path if path is not None and path.exists() else None


def _population(risk: RiskSet, outcome: str) -> str:
    if risk.question == "entry":
        return "fdi" if outcome == "fdi" else "entry"
    if risk.question in ("transition", "exit"):
        return risk.question
    raise SettingsError(
        f"truth: expected a transition, entry or exit risk set, found one of the question {risk.question!r}."
    )


def _treated(source: RiskSet | Design, risk: RiskSet) -> pd.DataFrame:
    """Treated units with their weight, each once."""
    roles = risk.roles
    keys = [c for c in (roles.firm, roles.market, roles.year) if c is not None]
    frame = risk.collect([*keys, roles.treatment])
    weight = np.ones(len(frame)) if isinstance(source, RiskSet) else np.asarray(source.weight, dtype=np.float64)
    kept = frame.assign(weight=weight)[(frame[roles.treatment] == 1).to_numpy(dtype=bool) & (weight > 0)]
    return kept.drop(columns=roles.treatment).drop_duplicates(keys)


def _scales(without: float, with_: float) -> dict[str, float]:
    scales = {"rd_att": with_ - without}
    if 0 < without < 1 and 0 < with_ < 1:
        scales |= {"rr_att": with_ / without, "or_marginal_att": with_ * (1 - without) / ((1 - with_) * without)}
    return scales
