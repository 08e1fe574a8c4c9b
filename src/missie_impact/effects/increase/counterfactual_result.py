"""What the counterfactual indicator hands over: observed, expected without support, and the difference."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from missie_impact.definitions import Definitions
from missie_impact.display import html_table
from missie_impact.errors import SettingsError
from missie_impact.flow import Flow

SHOWN = ["cohort", "group", "matching", "figure", "unit", "observed", "expected", "difference", "conf_low", "conf_high",
         "interval", "top_1", "top_5", "top_10", "n_firms"]  # fmt: skip
HEAVY = "indicative, heavy tail"


@dataclass(frozen=True, slots=True, eq=False)
class CounterfactualIndicator:
    """The budget indicator beside the same statistic for comparable pairs without support. Aggregates only.

    Made by :func:`counterfactual_indicator`.

    Attributes
    ----------
    table : one row per cohort (and "all"), group, matching and figure. ``observed``, ``expected`` (without support),
        ``correction`` (the part of ``expected`` that makes up for what matches differ in), ``difference``, its
        ``std_error``, ``conf_low``, ``conf_high`` (percentile bootstrap of matched sets by firm),
        the same for the studentised and m-out-of-n bootstraps, ``interval`` ("indicative, heavy tail" for sums of raw
        euro), shares of the largest 1, 5, 10 firms in the absolute differences and the range without one firm (as
        shares of the difference), ``n_firms``, ``n_pairs``, ``n_unmatched``, ``n_across_sectors`` (matched over all
        sectors), ``reason``. Shares are in percent
    balance : per cohort, matching and covariate: means and standardised differences before and after
    placebo : as ``table``, with all that is measured before the support; None where the data begin too late
    instruments : the support that counts; None for all
    definitions : the rules in force
    conf_level : of the intervals
    notes : what a reader must know
    flow : who is lost on the way
    simulated : the registers were simulated
    """

    table: pd.DataFrame
    balance: pd.DataFrame
    placebo: pd.DataFrame | None
    instruments: tuple[str, ...] | None
    definitions: Definitions
    conf_level: float
    notes: tuple[str, ...]
    flow: Flow = field(default_factory=Flow)
    simulated: bool = False

    def row(
        self, figure: str, *, cohort: str = "all", group: str = "all", matching: str = "with_last_year"
    ) -> pd.Series:
        """Return one line of the table.

        Raises
        ------
        SettingsError
            If there is none, with what there is.
        """
        t = self.table
        found = t[(t["figure"] == figure) & (t["cohort"] == str(cohort)) & (t["group"] == group)
                  & (t["matching"] == matching)]  # fmt: skip
        if found.empty:
            there = {c: sorted(t[c].unique()) for c in ("figure", "cohort", "group", "matching")}
            raise SettingsError(f"no such line of the counterfactual indicator: expected one of {there}.")
        return found.iloc[0]

    def bracket(self, figure: str, *, cohort: str = "all", group: str = "all") -> tuple[float, float]:
        """Return the smallest and the largest difference over the matchings on the path."""
        t = self.table
        here = t[(t["figure"] == figure) & (t["cohort"] == str(cohort)) & (t["group"] == group)]
        found = here.loc[here["matching"] != "base_year", "difference"].to_numpy(dtype=float)
        return float(found.min()), float(found.max())

    def figure_data(self, figure: str = "share_growers", *, cohort: str = "all") -> pd.DataFrame:
        """Return what one picture needs: group, matching, bar (observed, expected, difference), value and interval."""
        t = self.table[(self.table["figure"] == figure) & (self.table["cohort"] == str(cohort))]
        bars = []
        for name in ("observed", "expected", "difference"):
            ends = ["conf_low", "conf_high"] if name == "difference" else [None, None]
            part = t[["group", "matching", "unit"]].assign(bar=name, value=t[name])
            for column, end in zip(("low", "high"), ends, strict=True):
                part[column] = float("nan") if end is None else t[end]
            bars.append(part)
        return pd.concat(bars, ignore_index=True)

    def __repr__(self) -> str:
        matchings = list(dict.fromkeys(self.table["matching"]))
        return f"CounterfactualIndicator({len(self.table)} lines; matchings {matchings})"

    def _repr_html_(self) -> str:
        title = "Budget indicator beside comparable pairs without support"
        return html_table(self.table[SHOWN], title=title, notes=self.notes, simulated=self.simulated)
