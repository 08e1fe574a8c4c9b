"""Do structural traders leave a market less often? Discrete-time hazards, Cox and conditional models of exit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from missie_impact.definitions import DEFAULT_CONTROLS
from missie_impact.effects.becoming.transition import OUTCOMES
from missie_impact.effects.becoming.within import FIRM_YEAR, within_firm
from missie_impact.effects.fitting.estimate import DEFAULT_OPTIONS, AlsoCluster, FitOptions, Task, effect
from missie_impact.effects.fitting.groups import ScalesOf
from missie_impact.effects.fitting.rows import ClusterChoice, Request, Source, parts
from missie_impact.effects.fitting.standardise import conditional_scales
from missie_impact.effects.leaving.exit_baseline import FOLLOW_UP, exit_request, exit_rows, frailty_request
from missie_impact.effects.leaving.exit_cox import cox_effect
from missie_impact.effects.leaving.exit_options import ExitModel, check_model, exit_options, link_of
from missie_impact.effects.leaving.exit_survival import survival_scales
from missie_impact.effects.leaving.frailty import Frailty, frailty_effect
from missie_impact.effects.result import Effect
from missie_impact.errors import SettingsError

__all__ = ["FOLLOW_UP", "market_exit"]


def market_exit(
    risk: Source,
    *,
    cluster: ClusterChoice,
    model: ExitModel = "cloglog",
    controls: Sequence[str] | None = DEFAULT_CONTROLS,
    by: str | Sequence[str] | None = None,
    also_cluster: AlsoCluster = (),
    frailty: Frailty | None = None,
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
    model : "cloglog" (proportional hazards), "logit" (proportional odds of exit), "probit", "cox" (partial likelihood
        on the time scale of the rows) or "conditional" (within firm and year, see :func:`within_firm`)
    controls : see :func:`structural_transition`; with the default list the coefficient of ``log_exports``, frozen at
        time zero, differs by year of follow-up in trials (own lists are taken as they stand: "log_exports:follow_up").
        "treated:x" (the treatment's own name) is how the effect differs by x,
        "treated:follow_up" effects by year since the mission, "treated:start" its fading per year
    frailty : a random effect per firm or pair, ``Frailty("firm")``, for "cloglog" and "logit"; see
        :func:`frailty_effect` for what it assumes and returns
    cluster, by, also_cluster, keep_fit : see :func:`structural_transition`
    options : :class:`ExitOptions`: baseline, duration classes, strata and ties of Cox, level of the intervals

    Returns
    -------
    Effect
        Trials, and own tables of years at risk with a treatment fixed at time zero: ``hazard_ratio`` (marginal over the
        treated), ``survival_difference_1/3/5``, ``yearly_exit_probability_with`` and ``_without``,
        ``survival_with_1/3/5``, ``survival_without_1/3/5``. Always: ``hazard_ratio_conditional`` and ``log_hazard``
        (cloglog, cox); ``odds_ratio_conditional`` and ``log_odds`` (logit); ``probit_index`` (probit).

    Raises
    ------
    NoParticipantError, NoEventError, SeparationError, CollinearityError
        Where the whole call has no estimate. A subgroup without one is NaN with its reason.
    SettingsError
        If the model is unknown, or asks for what the rows do not have.

    References
    ----------
    Prentice and Gloeckler (1978), Biometrics 34, 57-67; Allison (1982), Sociological Methodology 13, 61-98; Efron
    (1977), JASA 72, 557-565.

    Examples
    --------
    >>> import pandas as pd
    >>> import missie_impact as mi
    >>> table = pd.DataFrame({"went": [0, 0, 1, 1], "year": 1, "left": [0, 1, 0, 1], "rows": [80, 20, 90, 10]})
    >>> risk = mi.RiskSet.from_frame(table, outcome="left", treatment="went", duration="year", frequency="rows")
    >>> found = mi.market_exit(risk, cluster=None, controls=None)
    >>> round(found.effect("hazard_ratio_conditional").estimate, 2)
    0.47
    """
    chosen = exit_options(options)
    check_model(model, chosen)
    source, _ = parts(risk)
    asked = Request(controls, by=by, cluster=(cluster, *also_cluster), correction=options.correction)
    outcome = OUTCOMES.get(source.question, source.roles.outcome)
    if frailty is not None:
        if model in ("cox", "conditional"):
            raise SettingsError(f"frailty: expected model 'cloglog' or 'logit', found {model!r}.")
        request = frailty_request(source, asked, chosen)
        return frailty_effect(
            risk, request, frailty, link_of(model), options, keep_fit=keep_fit, horizon=chosen.horizon
        )
    if model == "conditional":
        if keep_fit:
            raise SettingsError("model='conditional' keeps no fit; leave keep_fit out.")
        strata = chosen.strata or FIRM_YEAR
        return within_firm(
            risk, cluster=cluster, controls=controls, strata=strata, by=by, also_cluster=also_cluster, options=options
        )
    if model == "cox":
        request = exit_request(source, asked, chosen, clock=True)
        task = Task(outcome, "cloglog", "Cox regression", "treated", conditional_scales)
        return cox_effect(risk, request, task, chosen, keep_fit)
    rows, follow = exit_rows(risk, exit_request(source, asked, chosen), chosen)
    scales: ScalesOf = conditional_scales if follow is None else partial(survival_scales, follow=follow)
    task = Task(outcome, link_of(model), f"{model} hazard", "treated", scales)
    return effect(risk, asked, task, options, keep_fit, rows=rows)
