"""Weights that make treated and untreated units alike: by the propensity, or by balancing the means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from missie_impact.design.balancing import balance_both_arms, balance_means
from missie_impact.design.design import Design, Estimand, WeightModel, flow_of, left_out, reason_of
from missie_impact.design.propensity import Propensity, fit_propensity, score_model
from missie_impact.design.support import support_of
from missie_impact.design.units import Floats, Units, read_units
from missie_impact.errors import SettingsError
from missie_impact.risksets.riskset import RiskSet

Target = Literal["att", "ate", "ato"]
Method = Literal["logit", "entropy"]
HEAVY_SHARE = 0.1  # of a group's weight, carried by one unit


def weight(risk: RiskSet, *, on: Sequence[str], estimand: Target = "att", method: Method = "logit") -> Design:
    """Weight the rows of a risk set without looking at the outcome.

    Parameters
    ----------
    on : controls to compare on, in the language of controls; in trials the mission year is added as a factor
    estimand : with e the propensity of a unit, "att": treated 1, others e / (1 - e); "ate": 1 / e and 1 / (1 - e);
        "ato" (overlap): 1 - e and e
    method : "logit", or "entropy": weights exp(x'g) under which untreated units ("att") have exactly the means of the
        treated in every term, or each arm ("ate") those of all units; the "ato" has no means known beforehand

    Returns
    -------
    Design
        Weights are not normalised: their sums differ between groups, so estimators divide by them (Hajek). ``model``
        holds the estimating equations for errors that carry the estimation of the weights.

    Raises
    ------
    SeparationError
        If terms of the propensity separate treated from untreated units.
    CollinearityError, ConvergenceError
        If entropy balancing cannot reach the means of some terms; it names them.

    References
    ----------
    Hirano, Imbens and Ridder (2003), Econometrica 71, 1161-1189; Li, Morgan and Zaslavsky (2018), JASA 113, 390-400;
    Hainmueller (2012), Political Analysis 20, 25-46; Chan, Yam and Zhang (2016), JRSS B 78, 673-700, for both arms.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [1, 1, 1, 0, 0, 0, 0], "left": [0] * 7, "large": [1, 1, 0, 1, 0, 0, 0]})
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went")
    >>> design = mi.weight(risk, on=["large"])
    >>> design.weight.round(2).tolist()
    [1.0, 1.0, 1.0, 2.0, 0.33, 0.33, 0.33]
    """
    if estimand not in get_args(Target):
        raise SettingsError(f"estimand: expected one of {list(get_args(Target))}, found {estimand!r}.")
    if method not in get_args(Method):
        raise SettingsError(f"method: expected one of {list(get_args(Method))}, found {method!r}.")
    if method == "entropy" and estimand == "ato":
        raise SettingsError(
            "entropy balancing gives units the means of a population known beforehand, the treated ('att') or all "
            "units ('ate'); whom the 'ato' is about follows from the propensity. Use method='logit', whose overlap "
            "weights balance the means of all terms exactly."
        )
    units, asked = read_units(risk, on), tuple(on)
    if method == "entropy":
        balanced = balance_means(units) if estimand == "att" else balance_both_arms(units)
        words = "entropy balancing" if estimand == "att" else "entropy balancing of both arms"
        return _design(units, asked, balanced.weight, estimand, words, balanced.model, balanced.notes)
    fitted = fit_propensity(units)
    made, slope = _weights(fitted, units, estimand)
    model = score_model(fitted, units, slope)
    words = {"att": "treated", "ate": "all units", "ato": "overlap"}[estimand]
    return _design(units, asked, made, estimand, f"propensity weights for {words}", model, fitted.notes, fitted)


def _weights(fitted: Propensity, units: Units, estimand: Target) -> tuple[Floats, Floats]:
    """Weights, and their derivatives by the linear predictor; zero where there is nobody to compare with."""
    e, eta, treated = fitted.score, np.where(fitted.comparable, fitted.linear, 0.0), units.treated
    odds = np.exp(eta)
    if estimand == "att":
        made, slope = np.where(treated, 1.0, odds), np.where(treated, 0.0, odds)
    elif estimand == "ate":
        made = np.where(treated, 1.0 + 1.0 / odds, 1.0 + odds)
        slope = np.where(treated, -1.0 / odds, odds)
    else:
        made = np.where(treated, 1.0 - e, e)
        slope = np.where(treated, -1.0, 1.0) * e * (1.0 - e)
    return np.where(fitted.comparable, made, 0.0), np.where(fitted.comparable, slope, 0.0)


def _design(
    units: Units,
    asked: tuple[str, ...],
    made: Floats,
    estimand: Target,
    method: str,
    model: WeightModel,
    notes: tuple[str, ...],
    fitted: Propensity | None = None,
) -> Design:
    lost = left_out(units, made)
    names: dict[Target, Estimand] = {"att": "att_on_support", "ate": "ate_on_support", "ato": "ato"}
    dropped = lost[0] if estimand == "att" else sum(lost)
    first, own = units.first, units.own_weight()[units.first]
    support = None
    if fitted is not None:
        support = support_of(fitted.score[first], units.treated[first], own, own * made[first])
    return Design(
        risk=units.risk,
        weight=made,
        estimand=names[estimand] if dropped else estimand,
        method=method,
        on=asked,
        score=None if fitted is None else fitted.score,
        model=model,
        support=support,
        flow=flow_of(units, made, reason_of(lost, "treated without comparable controls", "not comparable")),
        notes=(*units.notes, *notes, *(support.notes if support else ()), *_heavy_note(units, made)),
    )


def _heavy_note(units: Units, made: Floats) -> tuple[str, ...]:
    """Say when few units carry a group."""
    total, notes = made * units.own_weight(), []
    for name, arm in (("treated", units.treated), ("untreated", ~units.treated)):
        share = float(total[arm].max() / total[arm].sum())
        if share > max(HEAVY_SHARE, 3.0 / np.count_nonzero(total[arm])):
            notes.append(f"one {name} unit carries {share:.0%} of the weight of its group")
    return tuple(notes)
