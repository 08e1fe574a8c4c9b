"""Numbers along time, by group and arm: survival, incidence, hazards, effects by year since the mission."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from missie_impact.display import html_table
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow

CurveKind = Literal["survival", "cumulative_incidence", "hazard", "event_time"]

CURVE_COLUMNS = (
    "group", "arm", "time", "estimate", "std_error", "conf_low", "conf_high", "band_low", "band_high",
    "n_at_risk", "n_events", "n_firms", "reason",
)  # fmt: skip
CURVE_TEXT = frozenset({"group", "arm", "reason"})


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A curve per group and arm, with what stands behind each of its points. Aggregates only.

    Made by :func:`survival_curve`, :func:`standardised_survival` and the other curves.

    Attributes
    ----------
    outcome : what happens to the unit, such as "leaving the market"
    kind : decides how it is drawn: steps for survival and incidence, points for the others
    scale : of ``estimate``, such as "survival", "cumulative_incidence", "hazard_ratio"
    table : one row per group, arm and time, columns ``CURVE_COLUMNS``; ``band_low`` and ``band_high`` hold for all
        times at once, NaN where they were not asked for
    conf_level : of intervals and bands
    design : how arms are compared
    notes : what a reader must know
    flow : who is lost on the way
    simulated : whether the registers are simulated ones
    """

    outcome: str
    kind: CurveKind
    scale: str
    table: pd.DataFrame
    conf_level: float = 0.95
    design: str = ""
    notes: tuple[str, ...] = ()
    flow: Flow = field(default_factory=Flow)
    simulated: bool = False

    def __post_init__(self) -> None:
        wrong = sorted(set(self.table.columns) ^ set(CURVE_COLUMNS))
        if wrong:
            raise SettingsError(f"curve: expected columns {list(CURVE_COLUMNS)}, found a difference in {wrong}.")

    def tidy(self) -> pd.DataFrame:
        """Return a copy of the table."""
        return self.table.copy()

    def at(self, time: float) -> pd.DataFrame:
        """Return the last point of each group and arm up to a time."""
        reached = self.table[self.table["time"] <= time]
        return reached.groupby(["group", "arm"], sort=False).tail(1).reset_index(drop=True)

    def __repr__(self) -> str:
        arms = len(self.table[["group", "arm"]].drop_duplicates())
        source = ", simulated" if self.simulated else ""
        return f"Curve({self.outcome}; {self.scale}; {arms} curves, {len(self.table)} points{source})"

    def _repr_html_(self) -> str:
        notes = (self.design, f"{self.conf_level:.0%} intervals", *self.notes)
        shown = self.table.dropna(axis="columns", how="all")
        return html_table(shown, title=f"{self.scale}: {self.outcome}", notes=notes, simulated=self.simulated)


def curve_table(points: pd.DataFrame) -> pd.DataFrame:
    """Put points into the columns of a curve; columns that are not there are empty."""
    unknown = sorted(set(points.columns) - set(CURVE_COLUMNS))
    if unknown:
        raise SettingsError(f"curve: expected some of {list(CURVE_COLUMNS)}, found {unknown} too.")
    made = points.copy()
    for name in CURVE_COLUMNS:
        if name not in made:
            made[name] = "" if name in CURVE_TEXT else float("nan")
    return made[list(CURVE_COLUMNS)].reset_index(drop=True)
