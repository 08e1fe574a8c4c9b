"""Who is lost at each step, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from missie_impact.display import html_table

PART = "..."


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One step of a selection: what is left after it.

    Attributes
    ----------
    step : name of the step, in the order of the data; one that begins with "..." counts a part of the step before it,
        at which nothing is lost
    rows, firms, participants : counts left after the step; None where a count has no meaning
    reason : why rows were left out, empty where none were
    table : the table the rows belong to; what is lost is counted within a table
    """

    step: str
    rows: int
    firms: int | None = None
    participants: int | None = None
    reason: str = ""
    table: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """The steps from the first file to the last row.

    Attributes
    ----------
    steps : in order
    simulated : they count rows of simulated registers, which every rendering then says
    """

    steps: tuple[FlowStep, ...] = ()
    simulated: bool = False

    def then(self, *steps: FlowStep) -> Flow:
        """Return this flow with further steps behind it."""
        return replace(self, steps=(*self.steps, *steps))

    def of(self, table: str) -> Flow:
        """Return the steps as those of a table."""
        return replace(self, steps=tuple(replace(step, table=table) for step in self.steps))

    def frame(self) -> pd.DataFrame:
        """Return one row per step: table, step, rows, firms, participants, lost_rows, reason."""
        columns = ["table", "step", "rows", "firms", "participants", "reason"]
        table = pd.DataFrame([[getattr(s, c) for c in columns] for s in self.steps], columns=columns)
        for count in ("rows", "firms", "participants"):
            table[count] = table[count].astype("Int64")
        left = ~table["step"].str.startswith(PART)
        lost = (-table[left].groupby("table")["rows"].diff()).clip(lower=0).astype("Int64").reindex(table.index)
        table.insert(5, "lost_rows", lost)
        return table

    def _repr_html_(self) -> str:
        return html_table(self.frame(), title="Who is lost at each step", simulated=self.simulated)
