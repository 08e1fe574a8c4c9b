"""An effect before the mission, or in markets it did not visit? The design is put to outcomes it could not change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.display import html_table
from missie_impact.effects import Effect, market_entry, market_exit, structural_transition
from missie_impact.effects.fitting.rows import ClusterChoice
from missie_impact.effects.result import Estimate, is_ratio
from missie_impact.errors import SettingsError
from missie_impact.numerics.covariance import interval
from missie_impact.panel import Panel
from missie_impact.risksets.placebo import PlaceboQuestion, placebo_market_risk_set, placebo_risk_set
from missie_impact.risksets.riskset import RiskSet

SCALES = {"transition": "odds_ratio", "exit": "hazard_ratio", "entry": "risk_difference"}
RATIO_MARGIN, DIFFERENCE_MARGIN = 1.10, 0.01
FAILURE = "a failure of the design"
PASSES = "no effect within the margin where there can be none"
UNDECIDED = "undecided: too few rows to tell"


@dataclass(frozen=True, slots=True, eq=False)
class Placebo:
    """A placebo effect and what it says of the design.

    Made by :func:`placebo` and :func:`placebo_markets`.

    Attributes
    ----------
    question : "transition", "exit" or "entry"
    lag : years from the placebo date to the mission; 0 for placebo markets
    effect : the placebo effect on all scales
    scale, margin : on which scale and within what it counts as none; a ratio m means from 1/m to m
    estimate, conf_low, conf_high : on that scale
    equivalence_low, equivalence_high : the interval at twice the error (90% for 95%), which is to lie in the margin
    verdict : passes, undecided, or a failure of the design
    kind : "date" or "market"
    """

    question: str
    lag: int
    effect: Effect
    scale: str
    margin: float
    estimate: float
    conf_low: float
    conf_high: float
    equivalence_low: float
    equivalence_high: float
    verdict: str
    kind: Literal["date", "market"] = "date"

    @property
    def failed(self) -> bool:
        """Whether the design shows an effect where there can be none."""
        return self.verdict == FAILURE

    def frame(self) -> pd.DataFrame:
        """Return one row: everything but the effect."""
        return pd.DataFrame([{name: getattr(self, name) for name in self.__slots__ if name != "effect"}])

    @property
    def where(self) -> str:
        """When, or where, the placebo takes place, in words."""
        return f"{self.lag} years before the mission" if self.kind == "date" else "markets not visited"

    def __repr__(self) -> str:
        return f"Placebo({self.question}, {self.where}: {self.verdict})"

    def _repr_html_(self) -> str:
        title = f"Placebo, {self.where}: {self.verdict}"
        return html_table(self.frame(), title=title, notes=self.effect.notes, simulated=self.effect.simulated)


def placebo(
    panel: Panel,
    question: PlaceboQuestion = "transition",
    *,
    cluster: ClusterChoice,
    lag: int | None = None,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    margin: float | None = None,
) -> Placebo:
    """Estimate the effect of missions in t at a placebo date, with outcomes that end at t-1.

    A design that shows an effect there compares firms that differed before they went. Participation that follows the
    years between the placebo date and the mission makes such an effect too, although controls up to t-1 would hold it:
    a failure asks for an explanation, a pass is not yet proof.

    Parameters
    ----------
    panel : with trade from well before the first mission
    lag : see :func:`missie_impact.risksets.placebo.placebo_risk_set`
    margin : of no effect: a ratio above 1 (default 1.10), entry: a risk difference (default 0.01)
    cluster, controls : as in the estimators

    Returns
    -------
    Placebo
        ``failed`` where the estimate lies outside the margin and its interval holds no zero effect; it passes where
        the interval at twice the error lies inside.

    Raises
    ------
    SettingsError
        If question, lag or margin make no placebo.
    NoParticipantError
        If no mission leaves a placebo date in the data.

    References
    ----------
    Imbens and Rubin (2015), Causal Inference, chapter 21; Schuirmann (1987), Journal of Pharmacokinetics and
    Biopharmaceutics 15, 657-680, for the two one-sided tests.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> found = mi.placebo(panel, "entry", cluster="firm", controls=["log_exports"])
    >>> found.scale, found.lag
    ('risk_difference', 3)
    """
    risk = placebo_risk_set(panel, question, lag=lag)
    effect = _estimate(risk, question, cluster, controls)
    widened = risk.definitions.washout if risk.definitions is not None else 0
    return judge(effect, question, widened - panel.definitions.washout, margin)


def placebo_markets(
    panel: Panel,
    question: PlaceboQuestion = "transition",
    *,
    cluster: ClusterChoice,
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    margin: float | None = None,
) -> Placebo:
    """Estimate the effect of missions in t on host markets of t that they did not visit.

    Who goes differs from others in ways that also matter elsewhere; where controls hold these, nothing is left in
    markets without a visit. An effect there is a failure of the design, or a mission that spills over to other markets:
    the two cannot be told apart.

    Parameters
    ----------
    panel : as made by :func:`build_panel`
    question : "transition" (firm x market), "exit" or "entry"
    margin : of no effect, as in :func:`placebo`
    cluster, controls : as in the estimators

    Returns
    -------
    Placebo
        With ``kind`` "market".

    Raises
    ------
    SettingsError
        If question or margin make no placebo.
    NoParticipantError
        If no mission year has a second host.

    References
    ----------
    Lipsitch, Tchetgen Tchetgen and Cohen (2010), Epidemiology 21, 383-388, on negative-control outcomes.

    Examples
    --------
    ``panel`` as made by :func:`build_panel`:

    >>> import missie_impact as mi
    >>> found = mi.placebo_markets(panel, "entry", cluster="firm", controls=["log_exports"])
    >>> found.kind, found.scale
    ('market', 'risk_difference')
    """
    risk = placebo_market_risk_set(panel, question)
    return replace(judge(_estimate(risk, question, cluster, controls), question, 0, margin), kind="market")


def _estimate(risk: RiskSet, question: str, cluster: ClusterChoice, controls: Sequence[str] | None) -> Effect:
    if question == "exit":
        return market_exit(risk, cluster=cluster, controls=controls)
    estimator = structural_transition if question == "transition" else market_entry
    return estimator(risk, cluster=cluster, controls=controls)


def judge(effect: Effect, question: str, lag: int, margin: float | None = None) -> Placebo:
    """Judge a placebo effect of one's own making by its margin."""
    scale = SCALES[question]
    ratio = is_ratio(scale)
    margin = (RATIO_MARGIN if ratio else DIFFERENCE_MARGIN) if margin is None else margin
    if not margin > (1.0 if ratio else 0.0):
        raise SettingsError(f"margin: expected more than {1 if ratio else 0} for {scale}, found {margin}.")
    found = effect.effect(scale)
    low, high = _equivalence(found, effect.conf_level, ratio)
    inner, outer = (1 / margin, margin) if ratio else (-margin, margin)
    none = 1.0 if ratio else 0.0
    if inner <= low and high <= outer:
        verdict = PASSES
    elif not inner <= found.estimate <= outer and not found.conf_low <= none <= found.conf_high:
        verdict = FAILURE
    else:
        verdict = UNDECIDED
    ends = (found.estimate, found.conf_low, found.conf_high)
    return Placebo(question, lag, effect, scale, margin, *ends, low, high, verdict)


def _equivalence(found: Estimate, conf_level: float, ratio: bool) -> tuple[float, float]:
    centre = math.log(found.estimate) if ratio else found.estimate
    low, high = (float(end) for end in interval(centre, found.std_error, level=2 * conf_level - 1))
    return (math.exp(low), math.exp(high)) if ratio else (low, high)
