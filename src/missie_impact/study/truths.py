"""The truth of simulated registers, looked up for a row. A user's registers have none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pandas as pd

from missie_impact.errors import MissieError
from missie_impact.registers import Registers
from missie_impact.validity.of_registers import OUTCOMES, realised_truth
from missie_impact.validity.stored import stored_truth

NO_TRUTH = "no truth is stored for these settings; `missie-impact truth` computes it"


@dataclass(frozen=True, slots=True)
class TruthBook:
    """Truths of the settings that registers were simulated with.

    Attributes
    ----------
    table : rows of `stored_truth`; empty where nothing is stored or nothing was simulated
    realised : (estimand, population) -> the same over the participants drawn, all groups together
    reason : why there is no truth, empty where there is
    """

    table: pd.DataFrame
    realised: dict[tuple[str, str], float] = field(default_factory=dict)
    reason: str = ""

    def value(self, estimand: str, population: str, group: str) -> float:
        """Return the truth of an estimand, NaN where none is stored."""
        if self.table.empty:
            return math.nan
        found = self.table[
            (self.table["estimand"] == estimand)
            & (self.table["population"] == population)
            & (self.table["group"] == group)
        ]
        return float(found["value"].iloc[0]) if len(found) else math.nan

    def realised_value(self, estimand: str, population: str, group: str) -> float:
        """Return the truth of the participants drawn; NaN for subgroups, which the file does not tell."""
        return self.realised.get((estimand, population), math.nan) if group == "all" else math.nan


def truth_book(registers: Registers) -> TruthBook:
    """Return stored and realised truths of simulated registers; an empty book for a user's own."""
    simulated = registers.settings.simulated
    if simulated is None:
        return TruthBook(pd.DataFrame(), reason="registers of the user have no known truth")
    try:
        table = stored_truth(str(simulated.settings.get("truth_key", "")))
    except MissieError as error:
        return TruthBook(pd.DataFrame(), _realised(registers), str(error))
    return TruthBook(table, _realised(registers), "" if len(table) else NO_TRUTH)


def _realised(registers: Registers) -> dict[tuple[str, str], float]:
    """Average the potential outcomes of the participants drawn, where they were written."""
    return {
        (estimand, population): value
        for population in OUTCOMES
        for estimand, value in realised_truth(registers, population)[0].items()
    }
