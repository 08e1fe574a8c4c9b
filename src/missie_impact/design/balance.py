"""Are treated and untreated units alike? Differences before and after, with a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from missie_impact.design.design import Design
from missie_impact.design.measures import Arms, effective_size, ks_distance, moments
from missie_impact.design.units import Floats, Mask, Units, read_units
from missie_impact.display import html_table
from missie_impact.errors import SettingsError
from missie_impact.numerics.design import Factor
from missie_impact.risksets.controls import level_text

THRESHOLD = 0.1
SCORE = "propensity score"
STAGES = ("before", "after")
COLUMNS = (
    "group", "term", "variable", "level", "kind", "sd",
    *(f"{name}_{stage}" for stage in STAGES
      for name in ("mean_treated", "mean_untreated", "difference", "variance_ratio", "ks")),
    "within", "reason",
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Balance:
    """How alike treated and untreated units are, before and after matching or weighting. Aggregates only.

    Made by :func:`balance`.

    Attributes
    ----------
    table : one row per group and term, ready for a love plot: means, ``difference_before`` and ``difference_after``
        (standardised), variance ratios (treated over untreated; numbers that are not 0/1), Kolmogorov-Smirnov
        distances, whether the difference is ``within`` the threshold, and the ``reason`` where there is none
    sizes : per group: units and effective sample sizes (Kish) of treated and untreated, before and after
    threshold : largest standardised difference that counts as balanced
    denominator : what differences are divided by
    design : method of the design, in words
    """

    table: pd.DataFrame
    sizes: pd.DataFrame
    threshold: float
    denominator: str
    design: str
    simulated: bool = False

    @property
    def balanced(self) -> bool:
        """Whether every term that has a difference lies within the threshold, in every group."""
        return not self.beyond

    @property
    def beyond(self) -> tuple[str, ...]:
        """Terms beyond the threshold, with their group where there are several; the largest first."""
        judged = self.table[(self.table["kind"] != "score") & ~self.table["within"] & (self.table["reason"] == "")]
        ordered = judged.iloc[np.argsort(-judged["difference_after"].abs().to_numpy(), kind="stable")]
        several = self.table["group"].nunique() > 1
        pairs = zip(ordered["group"], ordered["term"], strict=True)
        return tuple(f"{term} ({group})" if several else str(term) for group, term in pairs)

    @property
    def verdict(self) -> str:
        """One sentence: balanced or not, by which threshold, and where not."""
        judged = int(((self.table["kind"] != "score") & (self.table["reason"] == "")).sum())
        unit = f"{self.threshold:g} standard deviations"
        if self.balanced:
            return f"Balanced: treated and untreated differ by at most {unit} in each of {judged} terms."
        named = ", ".join(self.beyond[:5]) + (", ..." if len(self.beyond) > 5 else "")
        return f"Not balanced: {len(self.beyond)} of {judged} terms differ by more than {unit}: {named}."

    def __repr__(self) -> str:
        return f"Balance({self.verdict})"

    def _repr_html_(self) -> str:
        notes = (self.verdict, f"Differences are divided by {self.denominator}.")
        shown = self.table.drop(columns=["variable", "level"])
        table = html_table(shown, title=f"Balance: {self.design}", notes=notes, simulated=self.simulated)
        return table + html_table(self.sizes, title="Effective sample sizes")


def balance(
    design: Design,
    *,
    by: str | Sequence[str] | None = None,
    also: Sequence[str] = (),
    threshold: float = THRESHOLD,
) -> Balance:
    """Compare treated and untreated units of a design, term by term, before and after.

    Parameters
    ----------
    by : columns whose levels are judged each on their own, beside all units together
    also : further controls to look at, beside those that the design was made on
    threshold : largest standardised difference that counts as balanced (0.1)

    Returns
    -------
    Balance
        A difference is (mean treated - mean untreated) / sd. For effects on the treated sd is the standard deviation
        of all treated units before matching, as in MatchIt and cobalt; for "ate" and "ato" the root of the mean of
        both groups' variances. All levels of a factor are shown. Within a subgroup sd is that of the subgroup.

    Raises
    ------
    SettingsError
        If the threshold is not above zero.

    References
    ----------
    Austin (2011), Multivariate Behavioral Research 46, 399-424; Stuart (2010), Statistical Science 25, 1-21.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [1, 1, 1, 0, 0, 0, 0], "left": [0] * 7, "large": [1, 1, 0, 1, 0, 0, 0]})
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went")
    >>> found = mi.balance(mi.weight(risk, on=["large"]))
    >>> found.table[["difference_before", "difference_after"]].round(2).abs().values.tolist()
    [[0.72, 0.0], [0.72, 0.0]]
    """
    if not threshold > 0:
        raise SettingsError(f"threshold: expected a number above 0, found {threshold!r}.")
    units = read_units(design.risk, design.on, also=also)
    own = units.own_weight()[units.first]
    after = own * design.weight[units.first]
    pooled = design.estimand in ("ate", "ate_on_support", "ato")
    rows, sizes = [], []
    for name, chosen in _groups(units, by):
        arms = Arms(units.treated[units.first][chosen], _effective_rows(units)[chosen], own[chosen], after[chosen])
        sizes.append({"group": name, **_sizes(arms)})
        rows += [{"group": name, **row} for row in _terms(design, units, chosen, arms, pooled, threshold)]
    words = "the root of the mean variance of both groups" if pooled else "the standard deviation of the treated"
    return Balance(
        pd.DataFrame(rows, columns=list(COLUMNS)),
        pd.DataFrame(sizes),
        threshold,
        words + " before",
        design.method,
        design.risk.simulated,
    )


def _effective_rows(units: Units) -> Floats:
    ones = np.ones(units.n) if units.frequency is None else units.frequency
    return ones[units.first]


def _groups(units: Units, by: str | Sequence[str] | None) -> list[tuple[str, Mask]]:
    everyone: Mask = np.ones(len(units.first), dtype=bool)
    groups = [("all", everyone)]
    columns = [] if by is None else [by] if isinstance(by, str) else list(by)
    if columns:
        frame = units.risk.covariates(columns).iloc[units.first]
        for column in columns:
            codes, levels = pd.factorize(frame[column], sort=True)
            groups += [(f"{column}={level_text(level)}", codes == i) for i, level in enumerate(levels)]
    return groups


def _sizes(arms: Arms) -> dict[str, float]:
    sizes: dict[str, float] = {}
    for name, arm in (("treated", arms.treated), ("untreated", ~arms.treated)):
        for stage, sample in ((s, arms.stage(s)) for s in STAGES):
            here = sample.take(arm)
            sizes[f"n_{name}_{stage}"] = int((here.weight > 0).sum())
            sizes[f"effective_{name}_{stage}"] = effective_size(here)
    return sizes


def _terms(
    design: Design, units: Units, chosen: Mask, arms: Arms, pooled: bool, threshold: float
) -> list[dict[str, object]]:
    rows = units.first[chosen]
    found = []
    if design.score is not None:
        found.append(_row(SCORE, SCORE, "", "score", design.score[rows], arms, pooled, threshold))
    for variable in units.variables:
        if not isinstance(variable, Factor):
            values = variable.values[rows]
            found.append(_row(variable.name, variable.name, "", "number", values, arms, pooled, threshold))
            continue
        two = variable.levels == ("0", "1")
        for code, level in enumerate(variable.levels):
            if two and code == 0:
                continue
            name = variable.name if two else f"{variable.name}[{level}]"
            values = (variable.codes[rows] == code).astype(np.float64)
            found.append(_row(name, variable.name, "" if two else level, "level", values, arms, pooled, threshold))
    return found


def _row(
    term: str, variable: str, level: str, kind: str, values: Floats, arms: Arms, pooled: bool, threshold: float
) -> dict[str, object]:
    """One line of the table."""
    treated, row = arms.treated, {"term": term, "variable": variable, "level": level, "kind": kind}
    spreads = [moments(values[arm], arms.stage("before").take(arm))[1] for arm in (treated, ~treated)]
    sd = math.sqrt(sum(spreads) / 2) if pooled else math.sqrt(spreads[0])
    measured: dict[str, object] = {"sd": sd}
    for stage in STAGES:
        sample = arms.stage(stage)
        (mean1, var1), (mean0, var0) = (moments(values[arm], sample.take(arm)) for arm in (treated, ~treated))
        gap = mean1 - mean0
        measured |= {f"mean_treated_{stage}": mean1, f"mean_untreated_{stage}": mean0}
        measured[f"difference_{stage}"] = gap / sd if sd > 0 else 0.0 if abs(gap) < 1e-12 else math.nan
        ratio = var1 / var0 if kind != "level" and var0 > 0 else math.nan
        measured[f"variance_ratio_{stage}"] = ratio
        measured[f"ks_{stage}"] = abs(gap) if kind == "level" else ks_distance(values, treated, sample.weight)
    after = measured["difference_after"]
    missing = isinstance(after, float) and math.isnan(after)
    measured["within"] = isinstance(after, float) and abs(after) <= threshold
    measured["reason"] = _reason(arms, sd) if missing else ""
    return {**row, **measured}


def _reason(arms: Arms, sd: float) -> str:
    after = arms.stage("after").weight
    for name, arm in (("treated", arms.treated), ("untreated", ~arms.treated)):
        if not (after[arm] > 0).any():
            return f"no {name} unit is kept here"
    return "does not vary among the treated" if not sd > 0 else "too few units"
