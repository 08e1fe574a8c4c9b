"""The design: which rows are compared with which, settled before the outcome is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from missie_impact.design.support import Support
from missie_impact.design.units import Units
from missie_impact.display import html_facts
from missie_impact.flow import Flow, FlowStep
from missie_impact.numerics.design import Design as Covariates
from missie_impact.risksets.riskset import RiskSet

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

Estimand = Literal["att", "att_on_support", "ate", "ate_on_support", "ato"]
WORDS: dict[str, str] = {
    "att": "average effect on the treated",
    "att_on_support": "average effect on the treated that have somebody to be compared with",
    "ate": "average effect on all units",
    "ate_on_support": "average effect on all units of levels that hold treated and untreated ones",
    "ato": "average effect on units that might as well have been treated or not (overlap)",
}


@dataclass(frozen=True, slots=True, eq=False)
class WeightModel:
    """How weights were estimated, so that errors can carry it (stacked estimating equations). Holds row-level numbers.

    The estimating equations are sum_i psi_i = 0 with psi_i = score_i x_i for coefficients gamma, and weight_i is a
    function of x_i' gamma alone.

    Attributes
    ----------
    covariates : columns x_i of the rows of the equations, as a numerics design
    score : psi_i = score_i x_i, weights of the risk set included; sums to zero over these rows at the estimate
    slope : (n,) derivative of ``Design.weight`` by x_i' gamma
    bread : (k, k) inverse of - sum_i d psi_i / d gamma
    coef : (k,) gamma
    rows : row of the risk set of each row of the equations; None: all n in their order. A row that stands in them
        several times has its weight from the last one
    """

    covariates: Covariates
    score: Floats
    slope: Floats
    bread: Floats
    coef: Floats
    rows: Positions | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Design:
    """A comparison on a risk set of n rows, made without the outcome. Made by :func:`match` and :func:`weight`.

    Attributes
    ----------
    risk : the rows
    weight : (n,) weight of each row of ``risk.collect()``; 0 leaves it out. It multiplies weights of the risk set
        itself (``frequency``, ``probability``). Matched: treated 1, controls by MatchIt's rule
    estimand : whose effect the comparison gives; its name changes with the first unit left out
    method : in words
    on, exact : what units are compared on, and within
    sets : (n,) matched set of each row, -1 for none; None with replacement and for weights
    pairs : (m, 2) rows of a treated unit and of a control matched to it (first row of a unit); None for weights
    score : (n,) fitted probability of treatment, or None
    model : how weights were estimated; None for matching
    score_model : the propensity behind a matching, for errors that include its estimation (slope 0: pairs do not move
        smoothly with it); None without a score
    alike : (c, 1 + q) rows with replacement: a control in use and the nearest other controls of other firms, -1 for
        none, which tell how far outcomes of such units scatter; else None
    support : common support of the score; None without a score
    flow : units lost at each step, and why
    notes : what a reader must know
    caliper : largest distance of a pair, in standard deviations, or None
    ratio, replace, seed : settings of a matching
    """

    risk: RiskSet
    weight: Floats
    estimand: Estimand
    method: str
    on: tuple[str, ...]
    exact: tuple[str, ...] = ()
    sets: Positions | None = None
    pairs: Positions | None = None
    score: Floats | None = None
    model: WeightModel | None = None
    score_model: WeightModel | None = None
    alike: Positions | None = None
    support: Support | None = None
    flow: Flow = field(default_factory=Flow)
    notes: tuple[str, ...] = ()
    caliper: float | None = None
    ratio: int | None = None
    replace: bool | None = None
    seed: int | None = None

    @property
    def n_treated(self) -> int:
        """Treated units of the risk set."""
        return self.flow.steps[-2].participants or 0

    @property
    def n_treated_kept(self) -> int:
        """Treated units that the comparison keeps."""
        return self.flow.steps[-1].participants or 0

    @property
    def n_controls_kept(self) -> int:
        """Untreated units with a positive weight."""
        return self.flow.steps[-1].rows - self.n_treated_kept

    @property
    def share_dropped(self) -> float:
        """Share of the treated units that have nobody to be compared with."""
        return 1.0 - self.n_treated_kept / self.n_treated

    def facts(self) -> dict[str, object]:
        """Counts and settings by name."""
        facts: dict[str, object] = {
            "method": self.method,
            "estimand": f"{self.estimand}: {WORDS[self.estimand]}",
            "compared on": f"{len(self.on)} terms: {', '.join(self.on)}",
            "within": ", ".join(self.exact) or "no strata",
            "treated units": self.n_treated,
            "treated units kept": self.n_treated_kept,
            "share of treated units left out": self.share_dropped,
            "untreated units kept": self.n_controls_kept,
        }
        settings = {"caliper (standard deviations)": self.caliper, "seed": self.seed}
        return facts | {name: value for name, value in settings.items() if value is not None}

    def __repr__(self) -> str:
        source = ", simulated" if self.risk.simulated else ""
        return (
            f"Design({self.method}, {self.estimand}, {self.n_treated_kept:,} of {self.n_treated:,} treated, "
            f"{self.n_controls_kept:,} untreated{source})"
        )

    def _repr_html_(self) -> str:
        facts = html_facts(self.facts(), title="Design", notes=self.notes, simulated=self.risk.simulated)
        support = "" if self.support is None else self.support._repr_html_()
        return facts + support + self.flow._repr_html_()


def flow_of(units: Units, weight: Floats, reason: str) -> Flow:
    """The flow of the risk set with two steps behind it: its units, and those that the comparison keeps."""
    everyone = units.count(np.ones(units.n, dtype=bool))
    kept = units.count(weight > 0)
    before = FlowStep("units of the risk set", *everyone, table="design")
    return units.risk.flow.then(before, FlowStep("compared", *kept, reason=reason, table="design"))


def left_out(units: Units, weight: Floats) -> tuple[int, int]:
    """Treated and untreated units without a weight."""
    gone, treated = ~(weight[units.first] > 0), units.treated[units.first]
    return int((gone & treated).sum()), int((gone & ~treated).sum())


def reason_of(lost: tuple[int, int], treated: str, controls: str) -> str:
    """Say why units were left out."""
    parts = [f"{n:,} {words}" for n, words in zip(lost, (treated, controls), strict=True) if n]
    return "; ".join(parts)
