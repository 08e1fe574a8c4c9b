"""How strong would an unobserved cause have to be? E-values, and what a cause of given strength would leave over.

An E-value is the risk ratio that an unobserved cause would need with both the treatment and the outcome, beyond the
controls, to explain an estimate away. It says nothing about whether there is such a cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from missie_impact.display import html_table
from missie_impact.effects.result import Effect, Estimate
from missie_impact.errors import SettingsError
from missie_impact.numerics.covariance import interval

Floats = NDArray[np.float64]
RatioScale = Literal["risk_ratio", "odds_ratio", "hazard_ratio", "standardised_difference"]

COMMON = 0.15  # outcomes that happen more often are not rare: odds and hazard ratios are then no risk ratios
PREFERRED = ("risk_ratio", "hazard_ratio", "odds_ratio", "hazard_ratio_conditional", "odds_ratio_conditional")
STRENGTHS = (1.25, 1.5, 2.0, 3.0, 5.0)
GRID = 1e-4


@dataclass(frozen=True, slots=True)
class EValue:
    """An E-value and how it was reached.

    Made by :func:`e_value`, :func:`e_value_of` and :func:`e_value_of_difference`.

    Attributes
    ----------
    scale : of the estimate
    estimate, conf_low, conf_high : on that scale
    conversion : how they became risk ratios, in words
    risk_ratio, risk_ratio_low, risk_ratio_high : after it
    true : the risk ratio that an unobserved cause is to leave over; 1 is no effect
    point : strength needed to move the estimate to ``true``
    limit : strength needed to move the nearer end of the interval there; 1 where the interval holds it
    simulated : whether the estimate comes from simulated registers
    """

    scale: str
    estimate: float
    conf_low: float
    conf_high: float
    conversion: str
    risk_ratio: float
    risk_ratio_low: float
    risk_ratio_high: float
    true: float
    point: float
    limit: float
    simulated: bool = False

    def frame(self) -> pd.DataFrame:
        """Return one row: every attribute as a column."""
        return pd.DataFrame([{name: getattr(self, name) for name in self.__slots__}])

    def _repr_html_(self) -> str:
        shown = self.frame().drop(columns=["conversion", "simulated"])
        return html_table(shown, title="E-value", notes=(self.conversion,), simulated=self.simulated)


def e_value(
    source: Effect | Estimate,
    *,
    scale: str | None = None,
    group: str = "all",
    common: bool | None = None,
    true: float = 1.0,
) -> EValue:
    """Return the E-value of an estimate.

    Outcomes above 15 per cent take the risk ratio; an odds ratio or a hazard ratio is turned into one by the
    square-root approximation, and ``conversion`` says so.

    Parameters
    ----------
    source : an effect, or one of its estimates
    scale : of an effect; the risk ratio if it has one, else hazard or odds ratio
    group : of an effect
    common : whether the outcome is common. None: judged from the risks (survivals) of an effect, and taken as common,
        which gives the smaller E-value, where it has none
    true : risk ratio that is to be left over

    Raises
    ------
    SettingsError
        If the scale is no ratio, or the estimate is missing.

    References
    ----------
    VanderWeele and Ding (2017), Annals of Internal Medicine 167, 268-274; R's ``EValue``.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0] * 10 + [1] * 10, "structural": [1] * 2 + [0] * 8 + [1] * 5 + [0] * 5})
    >>> risk = mi.RiskSet.from_frame(table, outcome="structural", treatment="went")
    >>> found = mi.structural_transition(risk, cluster=None, controls=None)
    >>> round(mi.e_value(found).point, 2)
    4.44
    """
    if isinstance(source, Estimate):
        return _of_estimate(source, True if common is None else common, true, simulated=False)
    if not isinstance(source, Effect):
        raise SettingsError(
            f"source: expected an effect or one of its estimates, found {type(source).__name__}. "
            "Numbers go to e_value_of()."
        )
    wanted = scale or next((name for name in PREFERRED if name in source.scales), None)
    if wanted is None:
        raise SettingsError(
            f"an E-value needs a ratio: expected one of {list(PREFERRED)}, found {list(source.scales)}."
        )
    common = _is_common(source, group) if common is None else common
    return _of_estimate(source.effect(wanted, group=group), common, true, simulated=source.simulated)


def e_value_of(
    estimate: float,
    conf_low: float,
    conf_high: float,
    *,
    scale: RatioScale = "risk_ratio",
    common: bool = True,
    true: float = 1.0,
) -> EValue:
    """Return the E-value of a published estimate.

    Parameters
    ----------
    estimate, conf_low, conf_high : on ``scale``; a standardised difference is in standard deviations
    common : whether the outcome happens to more than about 15 per cent; for odds and hazard ratios
    true : risk ratio that is to be left over

    Raises
    ------
    SettingsError
        If the scale is unknown, a ratio is not above zero, or the estimate lies outside its interval.

    Examples
    --------
    >>> import missie_impact as mi
    >>> value = mi.e_value_of(1.6, 1.2, 2.1)
    >>> round(value.point, 2), round(value.limit, 2)
    (2.58, 1.69)
    """
    convert, words = _conversion(scale, common)
    numbers = (estimate, conf_low, conf_high)
    if scale != "standardised_difference" and min(numbers) <= 0:
        raise SettingsError(f"{scale}: expected ratios above zero, found one that is not.")
    if not conf_low <= estimate <= conf_high or not true > 0:
        raise SettingsError("expected conf_low <= estimate <= conf_high and a true risk ratio above zero.")
    ratios = [convert(value) for value in numbers]
    point, limit = _strength(ratios[0] / true), 1.0
    if ratios[1] > true:
        limit = _strength(ratios[1] / true)
    elif ratios[2] < true:
        limit = _strength(ratios[2] / true)
    return EValue(scale, *numbers, words, ratios[0], ratios[1], ratios[2], true, point, limit)


def e_value_of_difference(estimate: float, std_error: float, *, true: float = 1.0) -> EValue:
    """Return the E-value of a standardised mean difference, through exp(0.91 d).

    The interval of the risk ratio is exp(0.91 d +- 1.78 errors), as in the source.

    Examples
    --------
    >>> import missie_impact as mi
    >>> round(mi.e_value_of_difference(0.5, 0.1).point, 2)
    2.53
    """
    half = 1.78 * std_error / 0.91
    return e_value_of(estimate, estimate - half, estimate + half, scale="standardised_difference", true=true)


def e_value_of_counts(
    treated_yes: int, treated_no: int, control_yes: int, control_no: int, *, conf_level: float = 0.95
) -> tuple[float, float]:
    """Return the E-values of a risk difference from a two-by-two table: of the estimate and of its lower limit.

    The limit is the first value on a grid of 0.0001 of the bias factor at which the interval reaches zero, as in R.

    Raises
    ------
    SettingsError
        If an arm has no rows, no untreated row has the outcome, or the treated have the smaller risk.

    References
    ----------
    Ding and VanderWeele (2016), Epidemiology 27, 368-377; R's ``EValue::evalues.RD``.

    Examples
    --------
    >>> import missie_impact as mi
    >>> point, limit = mi.e_value_of_counts(40, 60, 20, 80)
    >>> round(point, 2), round(limit, 2)
    (3.41, 1.92)
    """
    n_1, n_0 = treated_yes + treated_no, control_yes + control_no
    if min(treated_yes, treated_no, control_yes, control_no) < 0 or not (n_1 and n_0 and control_yes):
        raise SettingsError("expected counts of at least zero, with rows in both arms and events among the untreated.")
    f, p_1, p_0 = n_1 / (n_1 + n_0), treated_yes / n_1, control_yes / n_0
    if p_1 < p_0:
        raise SettingsError("the treated have the smaller risk: swap outcome and no outcome before asking.")
    gap = p_0 * (1 - f) - p_1 * f
    factor = 0.5 * (math.sqrt(gap**2 + 4 * p_1 * p_0 * f * (1 - f)) - gap) / (p_0 * f)
    v_f, v_1, v_0 = f * (1 - f) / (n_1 + n_0), p_1 * (1 - p_1) / n_1, p_0 * (1 - p_0) / n_0
    low, _ = interval(p_1 - p_0, math.sqrt(v_1 + v_0), level=conf_level)
    if low <= 0:
        return _strength(factor), 1.0
    bias = 1.0 + GRID * np.arange(int((factor - 1) / GRID + 1e-9) + 1)
    difference, share = p_1 - p_0 * bias, f + (1 - f) / bias
    variance = (v_1 + v_0 * bias**2) * share**2 + difference**2 * (1 - 1 / bias) ** 2 * v_f
    lower, _ = interval(difference * share, np.sqrt(variance), level=conf_level)
    reached = np.flatnonzero(lower <= 0)
    return _strength(factor), _strength(float(bias[reached[0]])) if len(reached) else _strength(factor)


def bias_factor(with_treatment: float, with_outcome: float) -> float:
    """Return the largest ratio by which a cause can shift a risk ratio.

    Parameters
    ----------
    with_treatment : risk ratio between treatment and cause
    with_outcome : risk ratio between cause and outcome, the larger of the two arms

    Raises
    ------
    SettingsError
        If a risk ratio is below 1: a protective cause is to be turned round.

    References
    ----------
    Ding and VanderWeele (2016), Epidemiology 27, 368-377.

    Examples
    --------
    >>> import missie_impact as mi
    >>> round(mi.bias_factor(2.0, 2.0), 3)
    1.333
    """
    if min(with_treatment, with_outcome) < 1:
        raise SettingsError("expected strengths of at least 1; turn a protective cause round.")
    return with_treatment * with_outcome / (with_treatment + with_outcome - 1)


def confounding_table(value: EValue, strengths: Sequence[float] = STRENGTHS) -> pd.DataFrame:
    """Show what is left of a risk ratio under unobserved causes of given strengths.

    Parameters
    ----------
    value : an E-value, for its risk ratio and interval
    strengths : risk ratios of the cause with the treatment and with the outcome; all pairs are shown

    Returns
    -------
    DataFrame
        with_treatment, with_outcome, bias_factor, risk_ratio, conf_low, conf_high (moved towards one by the bias
        factor, the worst case) and explained_away (the estimate reaches ``true`` or passes it).

    Raises
    ------
    SettingsError
        If a strength is below 1.

    Examples
    --------
    >>> import missie_impact as mi
    >>> table = mi.confounding_table(mi.e_value_of(2.0, 1.5, 2.7), strengths=(2.0,))
    >>> table[["bias_factor", "risk_ratio"]].round(2).values.tolist()
    [[1.33, 1.5]]
    """
    rows = []
    above = value.risk_ratio >= value.true
    for one in strengths:
        for other in strengths:
            factor = bias_factor(one, other)
            by = 1 / factor if above else factor
            moved = value.risk_ratio * by
            gone = moved <= value.true if above else moved >= value.true
            ends = (value.risk_ratio_low * by, value.risk_ratio_high * by)
            rows.append((one, other, factor, moved, *ends, gone))
    names = ["with_treatment", "with_outcome", "bias_factor", "risk_ratio", "conf_low", "conf_high", "explained_away"]
    return pd.DataFrame(rows, columns=names)


def _of_estimate(estimate: Estimate, common: bool, true: float, *, simulated: bool) -> EValue:
    if not math.isfinite(estimate.estimate):
        raise SettingsError(f"group {estimate.group!r} has no estimate: {estimate.reason or 'no reason given'}.")
    numbers = (estimate.estimate, estimate.conf_low, estimate.conf_high)
    found = e_value_of(*numbers, scale=_kind(estimate.scale), common=common, true=true)
    values = {name: getattr(found, name) for name in EValue.__slots__}
    return EValue(**(values | {"scale": estimate.scale, "simulated": simulated}))


def _kind(scale: str) -> RatioScale:
    kinds: tuple[RatioScale, ...] = ("risk_ratio", "odds_ratio", "hazard_ratio")
    for kind in kinds:
        if scale.startswith(kind):
            return kind
    raise SettingsError(f"an E-value needs a ratio: expected one of {list(PREFERRED)}, found {scale!r}.")


def _is_common(effect: Effect, group: str) -> bool:
    """Whether more than 15 per cent have the outcome in either world; unknown counts as common."""
    risks = [
        effect.effect(name, group=group).estimate for name in ("risk_with", "risk_without") if name in effect.scales
    ]
    stays = [name for name in effect.scales if name.startswith(("survival_with_", "survival_without_"))]
    risks += [1 - effect.effect(name, group=group).estimate for name in stays]
    known = [risk for risk in risks if math.isfinite(risk)]
    return not known or max(known) > COMMON


def _conversion(scale: str, common: bool) -> tuple[Callable[[float], float], str]:
    if scale == "risk_ratio":
        return float, "a risk ratio as it is"
    if scale == "standardised_difference":
        return lambda d: math.exp(0.91 * d), "standardised difference d taken as a risk ratio of exp(0.91 d)"
    if scale not in ("odds_ratio", "hazard_ratio"):
        raise SettingsError(f"scale: expected a ratio or 'standardised_difference', found {scale!r}.")
    words = scale.replace("_", " ")
    if not common:
        return float, f"rare outcome: the {words} taken as a risk ratio"
    if scale == "odds_ratio":
        return math.sqrt, "common outcome: the square root of the odds ratio taken as a risk ratio"
    return _ratio_of_hazards, "common outcome: risk ratio of about (1 - 0.5^sqrt(HR)) / (1 - 0.5^sqrt(1/HR))"


def _ratio_of_hazards(hazard_ratio: float) -> float:
    return float((1 - 0.5 ** math.sqrt(hazard_ratio)) / (1 - 0.5 ** math.sqrt(1 / hazard_ratio)))


def _strength(ratio: float) -> float:
    """E-value of a risk ratio against one."""
    away = max(ratio, 1 / ratio)
    return away + math.sqrt(away * (away - 1))
