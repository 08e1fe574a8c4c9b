"""Do structural traders leave a market less often? Discrete-time hazards on trials, or on an own table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import get_args

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.estimate import DEFAULT_OPTIONS, AlsoCluster, FitOptions, Task, effect
from missie_impact.effects.groups import ScalesOf
from missie_impact.effects.result import Effect
from missie_impact.effects.rows import ClusterChoice, Request, Source, parts
from missie_impact.effects.standardise import conditional_scales, survival_scales
from missie_impact.effects.transition import OUTCOMES
from missie_impact.errors import SettingsError
from missie_impact.numerics.links import LinkName
from missie_impact.risksets.riskset import RiskSet

FOLLOW_UP = "follow_up"


def market_exit(
    risk: Source,
    *,
    cluster: ClusterChoice,
    model: LinkName = "cloglog",
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    also_cluster: AlsoCluster = (),
    keep_fit: bool = False,
    options: FitOptions = DEFAULT_OPTIONS,
) -> Effect:
    """Estimate how a mission changes the yearly hazard of leaving the market.

    A row is a year at risk; its outcome is 1 for the event of interest. Rows that end with a competing event stay in
    the risk set of their year with 0. Trials get a dummy per year of follow-up and per trial year; whole spells and own
    tables get duration classes, whole spells also calendar years. Years enter an own table only as a control.

    Parameters
    ----------
    risk : exit risk set (trials or spells), own table, or a design made on one
    model : "cloglog" (proportional hazards), "logit" (proportional odds of exit) or "probit"
    cluster, controls, by, also_cluster, keep_fit : see :func:`structural_transition`
    options : duration classes, level of the intervals and other settings that are rarely changed

    Returns
    -------
    Effect
        Trials: ``hazard_ratio`` (marginal over the treated), ``survival_difference_1/3/5``,
        ``yearly_exit_probability_with`` and ``_without``, ``survival_with_1/3/5``, ``survival_without_1/3/5``.
        Always: ``hazard_ratio_conditional`` and ``log_hazard`` (cloglog); ``odds_ratio_conditional`` and ``log_odds``
        (logit); ``probit_index`` (probit).

    Raises
    ------
    NoParticipantError, NoEventError, SeparationError, CollinearityError
        Where the whole call has no estimate. A subgroup without one is NaN with its reason.

    References
    ----------
    Prentice and Gloeckler (1978), Biometrics 34, 57-67; Allison (1982), Sociological Methodology 13, 61-98.
    """
    if model not in get_args(LinkName):
        raise SettingsError(f"model: expected one of {list(get_args(LinkName))}, found {model!r}.")
    source, _ = parts(risk)
    asked = Request(controls, by=by, cluster=(cluster, *also_cluster), correction=options.correction)
    request = _request(source, asked, options.duration_classes)
    scales: ScalesOf = conditional_scales
    if request.follow_up is not None:
        scales = partial(survival_scales, follow_up=request.follow_up)
    outcome = OUTCOMES.get(source.question, source.roles.outcome)
    task = Task(outcome, model, f"{model} hazard", "treated", scales)
    return effect(risk, request, task, options, keep_fit)


def _request(risk: RiskSet, request: Request, duration_classes: tuple[int, ...] | None) -> Request:
    """Add the baseline: years of follow-up and trial years, or duration classes."""
    roles = risk.roles
    year = () if roles.year is None else (roles.year,)
    if risk.design == "trials":
        return replace(request, always=(FOLLOW_UP, *year), follow_up=FOLLOW_UP)
    classes = None if roles.duration is None or duration_classes is None else (roles.duration, duration_classes)
    return replace(request, always=year if risk.design == "spells" else (), classes=classes)
